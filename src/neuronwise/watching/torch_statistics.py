"""The statistics of a PyTorch model's neurons at a step; docs/reference/quantities.md defines each.

On the CPU NumPy works on the tensors' own memory, as its calls take a fraction of the time of torch's on small layers.
On a GPU all is computed there, and goes to the host in one copy that nothing waits for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.recording import NEURON_FIELDS, SATURATED_WITHIN
from neuronwise.recording.quantities import norm
from neuronwise.watching.torch_layers import WatchedLayer, tensors_in

if TYPE_CHECKING:
    import torch

_FIELD = {name: place for place, name in enumerate(NEURON_FIELDS)}
_OF_ACTIVATIONS = ("mean", "std", "min", "max", "inactive", "saturated", "nonfinite_activations")


class TorchStatistics:
    """Measures the neurons of some layers at a step.

    Args:
        layers: The layers; all parameters on one device, or each on its own.
        values: Where the statistics go, (fields in the order of `NEURON_FIELDS`, neurons).

    Attributes:
        order: The layers in the order in which they were called in this step.
        bad: The first of them with an activation that is NaN or infinite, its first such neuron, and whether its
            ``"input"``, its ``"weight"`` or only its ``"activation"`` is; None if there is none, or it is on a GPU.
    """

    def __init__(self, layers: Sequence[WatchedLayer], values: NDArray[Any]) -> None:
        import torch

        self.layers, self._values = layers, values
        self.is_on_host = all(layer.weight.device.type == "cpu" for layer in layers)
        self._out = torch.from_numpy(values)
        if not self.is_on_host:
            device = next(layer.weight.device for layer in layers if layer.weight.device.type != "cpu")
            self._out = torch.empty(values.shape, dtype=self._out.dtype, device=device)
        least = np.finfo(values.dtype)
        self._least = math.sqrt(least.tiny / least.eps)
        self._before: dict[WatchedLayer, torch.Tensor] = {}
        self._seen: dict[WatchedLayer, _Seen] = {}
        self.bad: tuple[WatchedLayer, int, str] | None = None

    @property
    def order(self) -> list[WatchedLayer]:
        """See the class."""
        return list(self._seen)

    def begin(self) -> None:
        """Forget what was seen of the step before."""
        self._seen.clear()
        self._before.clear()
        self.bad = None

    def see(self, layer: WatchedLayer, values: torch.Tensor, given: Any) -> None:
        """Take in the activations of one call, and of several calls within a step all together.

        Args:
            layer: The layer.
            values: Its output, (or for a transposed convolution its input), before the activation function.
            given: What the module was given.
        """
        values = values.detach()
        found = layer.neurons_of(values if layer.activation is None else layer.activation(values))
        if found is None:
            return
        kind = layer.layout.activation
        one = _seen_on_host(found, kind, self._values.dtype) if self.is_on_host else _seen_on_device(found, kind)
        before = self._seen.get(layer)
        self._seen[layer] = one if before is None else _joined(before, one)
        if self.is_on_host and self.bad is None and (places := np.flatnonzero(one.nonfinite)).size:
            is_given = any(not bool(tensor.isfinite().all()) for tensor in tensors_in(given))
            is_own = any(not bool(tensor.isfinite().all()) for tensor in layer.parameters)
            self.bad = layer, int(places[0]), "weight" if is_own else "input" if is_given else "activation"

    def before_step(self, scale: float) -> None:
        """Measure the gradients, and keep the weights to compare with.

        Args:
            scale: What the gradients were multiplied by, and the optimizer divides by.
        """
        self._out[[_FIELD["grad_norm"], _FIELD["bias_grad"], _FIELD["nonfinite_gradients"]]] = math.nan
        for layer in self.layers:
            weight, bias = layer.weight, layer.bias
            self._before[layer] = weight.detach().clone()
            if weight.grad is not None:
                count = self._norms(layer, weight.grad, "grad_norm")
                if bias is not None and bias.grad is not None:
                    count = count + self._copy(layer, bias.grad, "bias_grad")
                self._put(layer, count, "nonfinite_gradients")
                if scale != 1:
                    self._out[_FIELD["grad_norm"], layer.place] /= scale
                    self._out[_FIELD["bias_grad"], layer.place] /= scale

    def after_step(self, *, with_update: bool = True, with_activations: bool = True) -> None:
        """Measure the weights, what the step subtracted from them, and the activations seen; `values` is filled.

        Args:
            with_update: Whether `before_step` was called: else updates are NaN, and gradients.
            with_activations: Whether activations belong to this step: else they are NaN.
        """
        out = self._out
        if not with_update:
            out[[_FIELD["grad_norm"], _FIELD["bias_grad"], _FIELD["nonfinite_gradients"], _FIELD["update_norm"]]] = (
                math.nan
            )
        for layer in self.layers:
            weight, bias = layer.weight.detach(), layer.bias
            count = self._norms(layer, weight, "weight_norm")
            if bias is not None:
                count = count + self._copy(layer, bias.detach(), "bias")
            else:
                self._put(layer, math.nan, "bias")
            self._put(layer, count, "nonfinite_weights")
            if with_update and (before := self._before.get(layer)) is not None:
                self._norms(layer, before.sub_(weight), "update_norm")
            seen = self._seen.get(layer) if with_activations else None
            for name in _OF_ACTIVATIONS:
                self._put(layer, math.nan if seen is None else seen.field(name), name)
        update, ratio = out[_FIELD["update_norm"]], out[_FIELD["update_ratio"]]
        ratio.copy_(update)
        ratio /= out[_FIELD["weight_norm"]]
        ratio[update == 0] = 0.0

    def fetch(self) -> Any:
        """Return what has to be waited for until `values` is filled; None if it is.

        On a GPU the copy to the host is begun.
        """
        if self.is_on_host:
            return None
        import torch

        host = torch.empty(self._out.shape, dtype=self._out.dtype, pin_memory=self._out.device.type == "cuda")
        host.copy_(self._out, non_blocking=True)
        event = torch.cuda.Event() if self._out.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if event is not None:
            event.record()
        return host, event

    def take(self, host: torch.Tensor) -> None:
        """Fill `values` with what has come from a GPU."""
        self._values[...] = host.numpy()

    def of(self, name: str) -> NDArray[Any]:
        """Return a statistic of all neurons; on a GPU that of the last step whose values have come."""
        found: NDArray[Any] = self._values[_FIELD[name]]
        return found

    def _norms(self, layer: WatchedLayer, tensor: torch.Tensor, name: str) -> Any:
        """Fill norms of rows, and return how many values of each are not finite."""
        if tensor.is_sparse:
            tensor = tensor.to_dense()
        rows = tensor.reshape(layer.layout.neurons, -1)
        if not self.is_on_host:
            import torch

            wide = torch.promote_types(rows.dtype, torch.float32)
            self._put(layer, torch.linalg.vector_norm(rows, dim=1, dtype=wide), name)
            return (~rows.isfinite()).sum(1)
        values = on_host(rows)
        norms: NDArray[Any] = self._values[_FIELD[name], layer.place]
        with np.errstate(all="ignore"):
            np.sqrt(np.vecdot(values, values), norms)
            if norms.min(initial=math.inf) > self._least and norms.max(initial=0.0) < math.inf:
                return 0
            which = np.flatnonzero(~((norms > self._least) & (norms < math.inf)))
            few = values[which]
            counts = np.zeros(len(norms))
            if few.any():
                norms[which] = norm(few)
                counts[which] = np.count_nonzero(~np.isfinite(few), axis=1)
            return counts

    def _copy(self, layer: WatchedLayer, tensor: torch.Tensor, name: str) -> Any:
        if not self.is_on_host:
            self._put(layer, tensor, name)
            return (~tensor.isfinite()).int()
        values = on_host(tensor)
        self._values[_FIELD[name], layer.place] = values
        return 0 if math.isfinite(values.sum()) else (~np.isfinite(values)).astype(np.float64)

    def _put(self, layer: WatchedLayer, values: Any, name: str) -> None:
        if self.is_on_host:
            self._values[_FIELD[name], layer.place] = values
        else:
            self._out[_FIELD[name], layer.place] = values


class _Seen:
    """What was seen of a layer's activations: counts and moments of each neuron, as arrays or as tensors."""

    def __init__(
        self, size: int, mean: Any, squares: Any, low: Any, high: Any, inactive: Any, saturated: Any, nonfinite: Any
    ) -> None:
        self.size, self.mean, self.squares, self.low, self.high = size, mean, squares, low, high
        self.inactive, self.saturated, self.nonfinite = inactive, saturated, nonfinite

    def field(self, name: str) -> Any:
        """Return a statistic of each neuron."""
        if name == "std":
            return (self.squares / self.size) ** 0.5
        if name in ("inactive", "saturated"):
            count = getattr(self, name)
            return math.nan if count is None else count / self.size
        return getattr(self, {"mean": "mean", "min": "low", "max": "high"}.get(name, "nonfinite"))


def _joined(one: _Seen, other: _Seen) -> _Seen:
    """Return both together (Chan, Golub, LeVeque 1979); squares are sums of squared distances from the mean."""
    size = one.size + other.size
    away = other.mean - one.mean
    extreme: Any = np
    if not isinstance(one.low, np.ndarray):
        import torch

        extreme = torch
    return _Seen(
        size,
        one.mean + away * (other.size / size),
        one.squares + other.squares + away * away * (one.size * other.size / size),
        extreme.minimum(one.low, other.low),
        extreme.maximum(one.high, other.high),
        None if one.inactive is None or other.inactive is None else one.inactive + other.inactive,
        None if one.saturated is None or other.saturated is None else one.saturated + other.saturated,
        one.nonfinite + other.nonfinite,
    )


def on_host(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor as an array: its own memory, where NumPy knows its dtype."""
    import torch

    tensor = tensor.detach()
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    found: NDArray[Any] = tensor.numpy()
    return found


def _seen_on_host(values: torch.Tensor, activation: str | None, dtype: np.dtype[Any]) -> _Seen:
    """Return what one call shows, of values (…, neurons, places)."""
    import torch

    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    array: NDArray[Any] = values.numpy()
    rows, _, places = array.shape
    size = rows * places
    with np.errstate(all="ignore"):
        if places == 1:
            flat = array[:, :, 0]
            ones = np.ones(rows, array.dtype)
            mean = ones @ flat / size
            squares = ones @ (flat * flat)
        else:
            mean = np.matmul(array, np.ones(places, array.dtype)).sum(0) / size
            squares = np.vecdot(array, array).sum(0)
        squares -= size * mean * mean
        low, high = values.amin((0, 2)).numpy(), values.amax((0, 2)).numpy()
        mean, squares = mean.astype(np.float64), squares.astype(np.float64)
        nonfinite = np.zeros(len(mean))
        # Not finite, or so narrow beside its mean that the difference of the squares is rounding, or so small that the
        # squares are: again in float64.
        doubtful = ~(np.isfinite(squares) & (squares * 900 >= size * mean * mean))
        least = np.finfo(dtype)
        doubtful |= (squares <= size * (least.tiny / least.eps)) & (high > low)
        if doubtful.any():
            few = array[:, doubtful].astype(np.float64)
            nonfinite[doubtful] = np.count_nonzero(~np.isfinite(few), axis=(0, 2))
            mean[doubtful] = middle = few.mean((0, 2))
            squares[doubtful] = np.square(few - middle[:, None]).sum((0, 2))
        inactive = saturated = None
        if activation == "relu":
            inactive = (array == 0).sum((0, 2))
        elif activation == "sigmoid":
            saturated = (np.abs(array - 0.5) > 0.5 - SATURATED_WITHIN).sum((0, 2))
        elif activation == "tanh":
            saturated = (np.abs(array) > 1 - SATURATED_WITHIN).sum((0, 2))
    return _Seen(size, mean, np.maximum(squares, 0.0), low, high, inactive, saturated, nonfinite)


def _seen_on_device(values: torch.Tensor, activation: str | None) -> _Seen:
    """Return likewise, computed where the values are."""
    import torch

    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    size = values.shape[0] * values.shape[2]
    variance, mean = torch.var_mean(values, (0, 2), correction=0)
    inactive = saturated = None
    if activation == "relu":
        inactive = (values == 0).sum((0, 2))
    elif activation == "sigmoid":
        saturated = ((values - 0.5).abs() > 0.5 - SATURATED_WITHIN).sum((0, 2))
    elif activation == "tanh":
        saturated = (values.abs() > 1 - SATURATED_WITHIN).sum((0, 2))
    return _Seen(
        size,
        mean.double(),
        variance.double() * size,
        values.amin((0, 2)),
        values.amax((0, 2)),
        inactive,
        saturated,
        (~values.isfinite()).sum((0, 2)),
    )
