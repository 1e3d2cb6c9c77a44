"""A PyTorch model looked at by autograd: outputs of its modules, its logits, and what its constants come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.errors import NotFoundError, UsageError, did_you_mean
from neuronwise.explaining.path import TrapezoidSums, refine
from neuronwise.explaining.prediction import Found
from neuronwise.explaining.prediction_result import LayerContributions, Values

if TYPE_CHECKING:
    import torch
    from torch import nn

# Modules whose output is, piece by piece, linear in their input; with their biases the constants.
_STRAIGHT = (
    *("Linear", "Identity", "Flatten", "Unflatten", "Permute", "Upsample", "PixelShuffle"),
    *("ReLU", "LeakyReLU", "PReLU", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"),
    *(f"{kind}{axes}d" for axes in (1, 2, 3) for kind in ("Conv", "ConvTranspose", "BatchNorm", "ZeroPad")),
    *(f"{kind}Pool{axes}d" for axes in (1, 2, 3) for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg")),
)
_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
# The last module, if it is one of these, turns logits into what is left out of the explanation.
_ENDS = ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid")
# Beyond this share of what was added, the sum of gradient × input and constants is not the output.
_EXACT = {"float32": 1e-4, "float64": 1e-9}
# Where modules of these names are the known ones: a class of a user's may compute anything.
_OURS = ("torch.nn.", "neuronwise.network.exchange.")


class Looker:
    """A model and what is read off it: outputs of modules, the logits, constants."""

    def __init__(self, model: nn.Module, x: torch.Tensor, layers: Sequence[str] | None) -> None:
        self.model = model
        self.modules = dict(model.named_modules())
        leaves = {name: module for name, module in self.modules.items() if not list(module.children())}
        self.curved = [
            f"{name} ({type(module).__name__})" if name else type(module).__name__
            for name, module in leaves.items()
            if type(module).__name__ not in (*_STRAIGHT, *_ENDS) or not type(module).__module__.startswith(_OURS)
        ]
        self.layers: list[str] = []
        self._copies: dict[str, torch.Tensor] = {}
        self.end: str | None = None
        self._end_module: nn.Module | None = None
        seen = self._run(x, list(leaves))
        self.answer = seen.answer
        if not _is_tensor(self.answer) or self.answer.shape[:1] != (1,) or self.answer.ndim > 2:
            shape = tuple(self.answer.shape) if _is_tensor(self.answer) else type(self.answer).__name__
            raise UsageError(
                f"the model must return one tensor (1, outputs) for one input, got {shape}",
                where="argument model",
                hint="one input is explained at a time: x[0]",
            )
        for name in leaves:
            if type(leaves[name]).__name__ in _ENDS and seen.outputs.get(name) is seen.answer:
                self.end, self._end_module = type(leaves[name]).__name__, leaves[name]
            elif type(leaves[name]).__name__ in _ENDS:
                self.curved.append(f"{name} ({type(leaves[name]).__name__})")
        # In the order in which they were called; those never called are none of the answer's.
        called = [name for name in seen.outputs if _is_tensor(seen.outputs[name])]
        self.biases = {
            f"{name}.{key}" if name else key: parameter
            for name, module in self.modules.items()
            if type(module).__name__ not in _NORMS
            for key, parameter in module.named_parameters(recurse=False)
            if key == "bias"
        }
        # Copies stand in for those of which no gradient is asked, so that the model's own stay as they are.
        self._copies = {
            name: bias.detach().clone().requires_grad_() for name, bias in self.biases.items() if not bias.requires_grad
        }
        self.biases |= self._copies
        self.norms = [name for name in called if type(leaves[name]).__name__ in _NORMS]
        if layers is None:
            with_parameters = [name for name in called if any(True for _ in leaves[name].parameters())]
            last = [name for name in with_parameters if seen.outputs[name] is seen.logits(self._end_module)]
            self.layers = [name for name in with_parameters if name not in last]
        else:
            for name in layers:
                if name not in self.modules:
                    raise NotFoundError(
                        f"there is no module {name!r:.100}.{did_you_mean(str(name), self.modules)}",
                        where="argument layers",
                        hint=f"the modules are {', '.join(called[:20])}",
                    )
            self.layers = list(layers)

    def _run(self, x: torch.Tensor, watched: Sequence[str], cut: str | None = None) -> _Seen:
        """Return what modules hand on for inputs; the hooks are gone afterwards.

        With `cut`, what that module hands on is taken as given: gradients end there.
        """
        import torch

        outputs: dict[str, Any] = {}
        taken: dict[int, Any] = {}
        handles = []

        def hook_of(name: str) -> Any:
            def hook(module: Any, args: Any, out: Any) -> Any:
                outputs[name] = out.detach().requires_grad_() if name == cut else out
                taken[id(module)] = args[0] if args else None
                return outputs[name] if name == cut else None

            return hook

        try:
            for name in dict.fromkeys(watched):
                handles.append(self.modules[name].register_forward_hook(hook_of(name)))
            answer = torch.func.functional_call(self.model, self._copies, (x,)) if self._copies else self.model(x)
        finally:
            for handle in handles:
                handle.remove()
        return _Seen(answer, outputs, taken)

    def straight(self, x: torch.Tensor, origin: torch.Tensor, seed: Values) -> Found | None:
        """Return the exact sum, or None where it is not the output."""
        point, start_at = _numbers(x, x)[0], _numbers(origin, origin)[0]
        value, slope, terms, _ = self._linear(x, seed, None)
        with np.errstate(all="ignore"):
            inputs = slope * (point - start_at)
            start = sum(terms.values()) + float((slope * start_at).sum())
            missing = value - start - float(inputs.sum())
            size = abs(start) + sum(map(abs, terms.values())) + float(np.abs(inputs).sum())
        dtype = str(x.dtype).removeprefix("torch.")
        if not abs(missing) <= _EXACT.get(dtype, 1e-2) * size:
            return None
        told = []
        for name in self.layers:
            # With the module's output taken as given, what is left are the constants above, and what passes it by.
            _, beside, above, (level, slopes) = self._linear(x, seed, name)
            rest = sum(above.values()) + float((beside * point).sum())
            told.append(_layer(name, level, level * slopes, slopes, rest, value))
        return Found(value, start, inputs, terms, tuple(told))

    def _linear(
        self, x: torch.Tensor, seed: Values, cut: str | None
    ) -> tuple[float, Values, dict[str, float], tuple[Values, Values]]:
        """Return the output, its gradient by x, what constants add, and output and gradient of the cut module."""
        import torch

        x = x.clone().requires_grad_()
        seen, out = self._weighted(x, seed, cut)
        norms = [seen.outputs[name] for name in self.norms]
        middle = [seen.outputs[cut]] if cut is not None else []
        if not all(map(_is_tensor, middle)):
            raise UsageError(f"the module {cut!r} does not hand on one tensor", where="argument layers")
        asked = [x, *self.biases.values(), *norms, *middle]
        needed = [one for one in asked if one.requires_grad]
        found = dict(zip(map(id, needed), torch.autograd.grad(out.sum(), needed, allow_unused=True), strict=True))
        terms: dict[str, float] = {}
        for path, bias in self.biases.items():
            if (grad := found.get(id(bias))) is not None:
                name = path.rpartition(".")[0] or "the model"
                terms[name] = terms.get(name, 0.0) + float((grad.double() * bias.detach().double()).sum())
        for name, made in zip(self.norms, norms, strict=True):
            grad = found.get(id(made))
            if grad is not None and name != cut:
                constant = _constant(self.modules[name], grad)
                terms[name] = terms.get(name, 0.0) + float((grad.double() * constant).sum())
        ends = [(_numbers(one, x)[0], _numbers(found.get(id(one)), one)[0]) for one in middle]
        cut_at = ends[0] if ends else (np.zeros(0), np.zeros(0))
        return float(out.detach().double().sum()), _numbers(found.get(id(x)), x)[0], terms, cut_at

    def along(self, x: torch.Tensor, origin: torch.Tensor, seed: Values, steps: int | None) -> Found:
        """Return integrated gradients and conductances, as `neuronwise.explaining.path` defines them."""
        import torch

        point, first = x.detach().double(), origin.double()
        way = _numbers(point - first, x)[0]
        size = max(1, min(256, 1_000_000 // max(way.size, 1)))

        def look(at: Values, layers: bool) -> tuple[Values, Values, dict[str, tuple[Values, Values]]]:
            alphas = torch.as_tensor(at, device=x.device).reshape(-1, *(1,) * (x.ndim - 1))
            points = (first + alphas * (point - first)).to(x.dtype).requires_grad_()
            seen, out = self._weighted(points, seed)
            middle = [(name, made) for name, made in self._layer_outputs(seen) if made.requires_grad and layers]
            grads = torch.autograd.grad(out.sum(), [points, *(made for _, made in middle)], allow_unused=True)
            told = {
                name: (_numbers(grad, made), _numbers(made, made))
                for (name, made), grad in zip(middle, grads[1:], strict=True)
            }
            return _numbers(out, out), _numbers(grads[0], points), told

        def line(at: Values) -> tuple[Values, Values]:
            parts = [look(at[begin : begin + size], False)[:2] for begin in range(0, len(at), size)]
            slopes = [(gradient * way).reshape(len(F), -1).sum(axis=1) for F, gradient in parts]
            return np.concatenate([F for F, _ in parts]), np.concatenate(slopes)

        with np.errstate(all="ignore"):
            at, is_close = refine(line, torch.finfo(x.dtype).eps, steps)
            sums = TrapezoidSums(at)
            start = value = 0.0
            levels: dict[str, Values] = {}
            for begin in range(0, len(at), size):
                F, gradient, layers = look(at[begin : begin + size], True)
                start, value = (float(F[0]) if begin == 0 else start), float(F[-1])
                sums.add(gradient, layers)
                levels = {name: level[-1] for name, (_, level) in layers.items()}
            inputs = sums.slope * way
            inputs[way == 0] = 0.0
        told = tuple(_layer(name, levels[name], sums.layers[name], None, start, value) for name in levels)
        return Found(value, start, inputs, {}, told, len(at) - 1, is_close)

    def _weighted(self, x: torch.Tensor, seed: Values, cut: str | None = None) -> tuple[_Seen, torch.Tensor]:
        """Return what was seen, and the output asked about of each row, (rows,)."""
        import torch

        watched = [*self.layers, *self.norms, *(n for n, m in self.modules.items() if m is self._end_module)]
        seen = self._run(x, watched, cut)
        logits = seen.logits(self._end_module)
        weights = torch.as_tensor(seed, dtype=logits.dtype, device=logits.device)
        return seen, (logits.reshape(len(logits), -1) * weights).sum(dim=1)

    def _layer_outputs(self, seen: _Seen) -> list[tuple[str, torch.Tensor]]:
        outputs = []
        for name in self.layers:
            out: Any = seen.outputs.get(name)
            if not _is_tensor(out):
                raise UsageError(f"the module {name!r} does not hand on one tensor", where="argument layers")
            outputs.append((name, out))
        return outputs


@dataclass(frozen=True)
class _Seen:
    """What a forward pass left: the answer, the modules' outputs, and their inputs by the module's id."""

    answer: Any
    outputs: dict[str, Any]
    taken: dict[int, Any]

    def logits(self, end: nn.Module | None) -> Any:
        return self.answer if end is None else self.taken[id(end)]


def _constant(norm: Any, like: torch.Tensor) -> torch.Tensor:
    """Return what a batch normalisation in evaluation makes of zeros, in the shape of its output."""
    import torch

    with torch.no_grad():
        made: torch.Tensor = torch.nn.functional.batch_norm(
            torch.zeros_like(like, dtype=torch.float64), norm.running_mean.double(), norm.running_var.double(),
            None if norm.weight is None else norm.weight.double(), None if norm.bias is None else norm.bias.double(),
            False, 0.0, norm.eps,
        )  # fmt: skip
    return made


def _layer(
    name: str, level: Values, contributions: Values, slopes: Values | None, start: float, value: float
) -> LayerContributions:
    """Return a module's contributions; channels, which torch has first, are summed over their places."""
    if contributions.ndim > 1:
        axes = tuple(range(1, contributions.ndim))
        contributions, level, slopes = contributions.sum(axis=axes), level.mean(axis=axes), None
    contributions, level = contributions.reshape(-1), level.reshape(-1)
    names = tuple(f"{name}[{place}]" for place in range(len(contributions)))
    flat = None if slopes is None else slopes.reshape(-1)
    gap = value - start - float(contributions.sum())
    return LayerContributions(name, names, level, flat, contributions, start, gap, "output")


def _numbers(values: torch.Tensor | None, like: torch.Tensor) -> Values:
    """Return a tensor as float64; zeros of another's shape for None, which is autograd's word for no influence."""
    if values is None:
        return np.zeros(tuple(like.shape))
    made: Values = values.detach().cpu().double().numpy()
    return made


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)
