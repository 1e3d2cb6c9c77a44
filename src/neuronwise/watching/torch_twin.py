"""Copies of a watched model, which answer where the model itself must not be called."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from neuronwise.watching.torch_activations import learn_activations
from neuronwise.watching.torch_layers import WatchedLayer
from neuronwise.watching.torch_values import tensors_in

if TYPE_CHECKING:
    import torch
    from torch import nn

See = Callable[[WatchedLayer, "torch.Tensor", Any], None]
Answered = Callable[["nn.Module", Any, float], None]


class Twins:
    """Copies of a model that answer a probe, and rows held out. What fails is left out from then on.

    Args:
        model: The model.
        probe: Inputs, or None.
        validation: (inputs, targets), or None.
        loss: The loss module, or None.
        tell: Called with a sentence and the error where something is left out.
        strict: Whether that error is raised instead.

    Attributes:
        answered: Called with the copy that answered the rows held out, its answers and the loss; or None.
    """

    def __init__(
        self,
        model: nn.Module,
        probe: Any,
        validation: tuple[Any, Any] | None,
        loss: nn.Module | None,
        *,
        tell: Callable[[str, Exception], None],
        strict: bool,
    ) -> None:
        self._model, self._probe, self._loss = model, probe, loss
        self._validation = validation if loss is not None else None
        self._tell, self._strict = tell, strict
        self.answered: Answered | None = None

    @property
    def have_probe(self) -> bool:
        """Whether there are inputs to ask a copy about."""
        return self._probe is not None

    def learn(self, layers: Sequence[WatchedLayer]) -> None:
        """Find by a copy that answers the probe which activation function follows which layer."""
        import torch

        produced: dict[Any, WatchedLayer] = {}

        def see(layer: WatchedLayer, values: torch.Tensor, given: Any) -> None:
            if values.grad_fn is not None:
                produced[values.grad_fn] = layer

        with self._left_out_if_it_fails("probe"), torch.enable_grad():
            learn_activations(tensors_in(self._asked(layers, see)), produced)

    def ask(self, layers: Sequence[WatchedLayer], see: See) -> None:
        """Let an uncompiled copy of the model answer the probe.

        Args:
            layers: Its layers.
            see: Called with layer, output and what the module was given.
        """
        import torch

        with self._left_out_if_it_fails("probe"), torch.no_grad():
            self._asked(layers, see)

    def _asked(self, layers: Sequence[WatchedLayer], see: See) -> Any:
        twin = copy.deepcopy(self._model)
        own = dict(twin.named_modules())
        for layer in layers:
            if layer.answers:
                path = layer.path.rpartition(".")[0] if layer.unseen else layer.path
                own[path].register_forward_hook(_hook_for(layer, see))
        with same_random_state(self._model):
            return twin(self._probe)

    def validate(self) -> float | None:
        """Return the loss of a copy in evaluation mode on the rows held out; None where there is none."""
        import torch

        if self._validation is None or self._loss is None:
            return None
        inputs, targets = self._validation
        with self._left_out_if_it_fails("validation"):
            twin = copy.deepcopy(self._model).eval()
            with torch.no_grad(), same_random_state(self._model):
                out = twin(inputs)
                value = float(self._loss.forward(out, targets))
                if self.answered is not None:
                    self.answered(twin, out, value)
                return value
        return None

    @contextmanager
    def _left_out_if_it_fails(self, argument: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._strict:
                raise
            setattr(self, f"_{argument}", None)
            self._tell(f"{argument}= is left out: a copy of the model, or the loss, failed on it", error)


def same_random_state(model: nn.Module) -> AbstractContextManager[None]:
    """Leave the random state as it was, also of the GPUs that the model is on."""
    import torch

    devices = {one.device for one in model.parameters() if one.device.type == "cuda"}
    found: AbstractContextManager[None] = torch.random.fork_rng(devices=list(devices))
    return found


def _hook_for(layer: WatchedLayer, see: See) -> Callable[[Any, Any, Any], None]:
    def hook(module: Any, given: Any, output: Any) -> None:
        values = next(tensors_in(given if layer.looks_at_inputs else output), None)
        if values is not None:
            see(layer, values, given)

    return hook
