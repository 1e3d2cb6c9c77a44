"""Statistics of a PyTorch model on a GPU: all is computed there, and goes to the host in one copy.

Nothing waits for it: the values of a step are taken when the next one is recorded. Squares of values beyond about 1e19
are infinite in float32, and so are norms of them then, which on the CPU are computed again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from neuronwise.recording import SATURATED_WITHIN
from neuronwise.watching.torch_layers import WatchedLayer
from neuronwise.watching.torch_statistics import BIASES, COUNTS, FIELD, NORMS, OF_ACTIVATIONS, Seen, TorchStatistics

if TYPE_CHECKING:
    import torch


class DeviceStatistics(TorchStatistics):
    """See `TorchStatistics`."""

    is_on_host = False

    def __init__(self, layers: Sequence[WatchedLayer], values: NDArray[Any]) -> None:
        import torch

        super().__init__(layers, values)
        # Of a model that lies on several devices, what is on others goes to the first.
        device = next(layer.weight.device for layer in layers if layer.weight.device.type != "cpu")
        self._out = torch.full(values.shape, math.nan, dtype=torch.from_numpy(values).dtype, device=device)
        self._before: dict[WatchedLayer, torch.Tensor] = {}

    def before_step(self, scale: Any) -> None:
        """See `TorchStatistics.before_step`."""
        for name in (NORMS[1], BIASES[1], COUNTS[1]):
            self._out[FIELD[name]] = math.nan
        for layer in self.layers:
            weight, bias = layer.weight, layer.bias
            self._before[layer] = weight.detach().clone()
            count: Any = math.nan
            if weight.grad is not None:
                gradient = weight.grad.to_dense() if weight.grad.is_sparse else weight.grad
                count = self._take(layer, gradient if scale is None else gradient / scale, NORMS[1])
            if bias is not None and bias.grad is not None:
                self._put(layer, bias.grad if scale is None else bias.grad / scale, BIASES[1])
                bad = (~bias.grad.isfinite()).int()
                count = bad if weight.grad is None else count + bad
            self._put(layer, count, COUNTS[1])

    def after_step(self, *, with_update: bool = True, with_activations: bool = True) -> None:
        """See `TorchStatistics.after_step`."""
        if not with_update:
            for name in (NORMS[1], BIASES[1], COUNTS[1]):
                self._out[FIELD[name]] = math.nan
        self._out[FIELD[NORMS[2]]] = math.nan
        for layer in self.layers:
            weight, bias = layer.weight.detach(), layer.bias
            count = self._take(layer, weight, NORMS[0])
            if bias is not None:
                self._put(layer, bias.detach(), BIASES[0])
                count = count + (~bias.detach().isfinite()).int()
            self._put(layer, count, COUNTS[0])
            before = self._before.get(layer)
            if with_update and before is not None and before.shape == weight.shape:
                self._take(layer, before.sub_(weight), NORMS[2])
            seen = self.seen.get(layer) if with_activations else None
            fields = (math.nan,) * len(OF_ACTIVATIONS) if seen is None else seen.fields()
            for name, value in zip(OF_ACTIVATIONS, fields, strict=True):
                self._put(layer, value, name)
        update, ratio = self._out[FIELD["update_norm"]], self._out[FIELD["update_ratio"]]
        ratio.copy_(update)
        ratio /= self._out[FIELD["weight_norm"]]
        ratio.masked_fill_(update == 0, 0.0)

    def fetch(self) -> Any:
        """See `TorchStatistics.fetch`: begin the copy to the host."""
        import torch

        is_cuda = self._out.device.type == "cuda"
        host = torch.empty(self._out.shape, dtype=self._out.dtype, pin_memory=is_cuda)
        host.copy_(self._out, non_blocking=is_cuda)
        if not is_cuda:
            return host, None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return host, event

    def take(self, waiting: Any) -> None:
        """See `TorchStatistics.take`."""
        host, event = waiting
        if event is not None:
            event.synchronize()
        self.values[...] = host.numpy()

    def _take(self, layer: WatchedLayer, values: torch.Tensor, name: str) -> torch.Tensor:
        """Fill norms of rows, and return how many values of each are not finite."""
        import torch

        rows = values.reshape(layer.layout.neurons, -1)
        self._put(layer, torch.linalg.vector_norm(rows, dim=1, dtype=self._out.dtype), name)
        return (~rows.isfinite()).sum(1)

    def _put(self, layer: WatchedLayer, values: Any, name: str) -> None:
        self._out[FIELD[name], layer.place] = values

    def _measure(self, values: torch.Tensor, activation: str | None) -> Seen:
        """See `TorchStatistics._measure`."""
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
        low, high = values.amin((0, 2)), values.amax((0, 2))
        nonfinite = (~values.isfinite()).sum((0, 2))
        return Seen(size, mean.double(), variance.double() * size, low, high, inactive, saturated, nonfinite)
