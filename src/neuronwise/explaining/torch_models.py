"""Why this answer of a PyTorch model: the same explanation as of our own networks, by autograd.

The model is not converted and may compute anything: gradients are autograd's, activations are what its modules hand
on. Where all of its modules are made of straight pieces *and* gradient × input plus what the constants come to gives
its output, that sum is the explanation; elsewhere it is integrated gradients. Looking changes nothing: the model
answers in evaluation mode and is put back as it was, no hook stays, no ``.grad`` is touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from neuronwise.errors import NeuronwiseError, NotFoundError, UsageError
from neuronwise.explaining.local_linear import Target
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.prediction import Baseline, Question, assemble
from neuronwise.explaining.prediction_result import Method, PredictionExplanation
from neuronwise.explaining.torch_looking import Looker

if TYPE_CHECKING:
    import torch
    from torch import nn


def explain_torch_prediction(
    model: nn.Module,
    x: Any,
    output: str | int | None = None,
    *,
    against: str | int | None = None,
    baseline: ArrayLike | Baseline | None = None,
    method: Literal["auto", "local linear map", "integrated gradients"] = "auto",
    steps: int | None = None,
    layers: Sequence[str] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> PredictionExplanation:
    """Return why a PyTorch model answers so for one input; see `explain_prediction`, whose result it returns.

    The output is explained as it leaves the model, or, where a Softmax, LogSoftmax or Sigmoid is its last module, as it
    goes into that: as a logit.

    Args:
        model: Any module that takes one tensor and returns one, (1, outputs) or (1,).
        x: One input, a tensor or an array, (*input_shape) or (1, *input_shape).
        output: Name or index of the output; default the largest.
        against: Another output: the difference of both is explained.
        baseline: One input that contributions are counted from; default zeros.
        method: Default exact where that is possible (see above), and integrated gradients elsewhere.
        steps: Steps of integrated gradients; default as many as bring the gap to 1e-4 of the sum of |contributions|.
        layers: Modules by their path, whose outputs are told; default all with parameters, but the last.
        input_names: One for each input.
        output_names: One for each output.

    Raises:
        MissingExtraError: PyTorch is not installed.
        NotFoundError: There is no such output or module.
        UsageError: The input does not fit, the model returns something else, or the exact method was asked of a model
            that is curved.
    """
    from neuronwise.network.exchange.to_torch import import_torch

    torch = import_torch()
    if method not in ("auto", "local linear map", "integrated gradients"):
        raise UsageError(
            f"expected 'auto', 'local linear map' or 'integrated gradients', got {method!r:.100}",
            where="argument method",
        )
    with _as_evaluated(model), torch.inference_mode(mode=False), torch.enable_grad():
        looker, point = _look(model, x, layers)
        y_hat = looker.answer
        meaning = _meaning(point, y_hat, input_names, output_names)
        answers = y_hat.detach().cpu().double().reshape(-1).numpy()
        place = meaning.output(output, answers)
        seed = np.zeros(len(answers))
        seed[place] = 1.0
        other = None
        if against is not None:
            second = meaning.output(against)
            if second == place:
                raise UsageError(f"{against!r:.100} is compared with itself", where="argument against")
            seed[second], other = -1.0, str(meaning.output_names[second])
        name = str(meaning.output_names[place])
        question = Question(Target(0, "z" if looker.end else "a"), seed, name, other)
        reference = Baseline.of(baseline, meaning)
        origin = torch.as_tensor(np.asarray(reference.values, np.float64), dtype=point.dtype, device=point.device)
        origin = origin.reshape(point.shape)
        curved = tuple(looker.curved)
        found = None
        if method != "integrated gradients" and not curved:
            found = looker.straight(point, origin, seed)
            if found is None:
                curved = ("its forward pass",)
        if found is None and method == "local linear map":
            raise UsageError(
                f"not made of straight pieces is {', '.join(curved)}: gradient × input does not add up to the output",
                where="argument method",
                hint="method='integrated gradients'",
            )
        chosen: Method = "local linear map" if found is not None else "integrated gradients"
        if found is None:
            found = looker.along(point, origin, seed, steps)
        shown = point.detach().cpu().double().numpy()[0]
        if looker.end == "LogSoftmax":
            answers = np.exp(answers)
    return assemble(found, chosen, curved, question, answers, shown, reference, meaning, None)


@contextlib.contextmanager
def _as_evaluated(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, each of its modules back afterwards.

    By the flag alone: a model's own `train` and `eval` may do more than that, which could not be taken back.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


def _inputs(model: nn.Module, x: Any) -> list[torch.Tensor]:
    """Return what one input may be as a batch of one, the likelier first, where and of the type the parameters are.

    A convolution takes (1, rows, columns) as one picture without a batch, so a batch is put before it first.
    """
    import torch

    first = next(model.parameters(), None)
    try:
        given = x.detach() if isinstance(x, torch.Tensor) else torch.as_tensor(np.asarray(x))
    except (TypeError, ValueError) as error:
        raise UsageError(f"the input is no array of numbers: {error}", where="argument x") from None
    dtype = first.dtype if first is not None and first.dtype.is_floating_point else torch.get_default_dtype()
    made = given.to(dtype=dtype, device=first.device if first is not None else given.device).clone()
    if made.ndim == 0:
        raise UsageError("one input is explained, got a single number", where="argument x", hint="x[None]")
    return [made[None], made] if made.ndim > 1 and len(made) == 1 else [made[None]]


def _look(model: nn.Module, x: Any, layers: Sequence[str] | None) -> tuple[Looker, torch.Tensor]:
    """Return the model looked at, and its input as a batch of one."""
    tried = _inputs(model, x)
    for place, point in enumerate(tried):
        try:
            return Looker(model, point, layers), point
        except (RuntimeError, ValueError, TypeError) as error:
            if isinstance(error, NotFoundError):
                raise
            if place == len(tried) - 1:
                if isinstance(error, NeuronwiseError):
                    raise
                raise UsageError(
                    f"the model does not take one input of shape {tuple(point.shape)}: {error}", where="argument x"
                ) from None
    raise AssertionError("at least one shape is tried")


def _meaning(
    x: torch.Tensor, y_hat: torch.Tensor, input_names: Sequence[str] | None, output_names: Sequence[str] | None
) -> Meaning:
    """Return names for a model's inputs and outputs."""
    shape, count = tuple(x.shape[1:]), y_hat.numel()
    inputs = int(np.prod(shape))
    names = list(input_names) if input_names is not None else [f"x[{place}]" for place in range(inputs)]
    outputs = list(output_names) if output_names is not None else [f"output[{place}]" for place in range(count)]
    for given, wanted, where in ((names, inputs, "input_names"), (outputs, count, "output_names")):
        if len(given) != wanted:
            raise UsageError(f"{wanted:,} names are needed, got {len(given):,}", where=f"argument {where}")
    picture = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    return Meaning(names, outputs, picture_shape=picture if len(picture) == 2 else None)
