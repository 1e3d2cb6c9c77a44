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
    """See `TorchStatistics`.

    To start a computation on a GPU takes longer than a small one itself, so the rows of all layers' weights lie one
    behind the other in one tensor, and are gone through together.
    """

    is_on_host = False

    def __init__(self, layers: Sequence[WatchedLayer], values: NDArray[Any]) -> None:
        import torch

        super().__init__(layers, values)
        # Of a model that lies on several devices, what is on others goes to the first.
        self._device = next(
            (one.weight.device for one in self.weighted if one.weight.device.type != "cpu"), torch.device("cpu")
        )
        self._dtype = torch.from_numpy(values).dtype
        # A layer without weights has rows of none.
        sizes = [
            layer.weight.numel() // layer.layout.neurons if layer.has_weights else 0
            for layer in layers
            for _ in range(layer.layout.neurons)
        ]
        self._lengths = torch.tensor(sizes, dtype=torch.int64, device=self._device)
        self._missing = {layer: self._full(layer.layout.neurons, math.nan) for layer in layers}
        self._no_weights = {layer: self._full(layer.weight.numel(), 0.0) for layer in self.weighted}
        self._before: torch.Tensor | None = None
        self._out = torch.full(values.shape, math.nan, dtype=self._dtype, device=self._device)
        self._fields: dict[str, torch.Tensor] = {}
        self._patterns: dict[tuple[bool, ...], torch.Tensor] = {}

    def _full(self, count: int, value: float) -> torch.Tensor:
        import torch

        return torch.full((count,), value, dtype=self._dtype, device=self._device)

    def before_step(self, scale: Any) -> None:
        """See `TorchStatistics.before_step`."""
        import torch

        self._before = self._flat([layer.weight for layer in self.weighted])
        gradients = [layer.weight_gradient if layer.has_weights else None for layer in self.layers]
        found = self._flat(
            [
                self._no_weights[one] if g is None else g
                for one, g in zip(self.layers, gradients, strict=True)
                if one.has_weights
            ]
        )
        norms, counts = self._norms(found, scale), self._nonfinite(found)
        biases = [layer.bias_gradient for layer in self.layers]
        own = torch.cat([self._small(one, values) for one, values in zip(self.layers, biases, strict=True)])
        own = own if scale is None else own / scale
        counts = counts + (~own.isfinite() & self._there(biases)).to(self._dtype)
        if any(one is None for one in gradients):
            is_there = self._there(gradients)
            norms = norms.where(is_there, math.nan)
            counts = counts.where(is_there | self._there(biases), math.nan)
        self._fields |= {NORMS[1]: norms, BIASES[1]: own, COUNTS[1]: counts}

    def after_step(self, *, with_update: bool = True, with_activations: bool = True) -> None:
        """See `TorchStatistics.after_step`."""
        import torch

        weights = self._flat([layer.weight for layer in self.weighted])
        biases = [layer.bias for layer in self.layers]
        own = torch.cat([self._small(one, values) for one, values in zip(self.layers, biases, strict=True)])
        counts = self._nonfinite(weights) + (~own.isfinite() & self._there(biases)).to(self._dtype)
        fields = {NORMS[0]: self._of_weights(self._norms(weights)), BIASES[0]: own, COUNTS[0]: self._of_weights(counts)}
        nothing = torch.cat(list(self._missing.values()))
        if with_update and self._before is not None and self._before.shape == weights.shape:
            fields |= {name: self._fields.get(name, nothing) for name in (NORMS[1], BIASES[1], COUNTS[1])}
            update = fields[NORMS[2]] = self._of_weights(self._norms(self._before - weights))
            fields["update_ratio"] = (update / fields[NORMS[0]]).masked_fill(update == 0, 0.0)
        seen = [self.seen.get(layer) if with_activations else None for layer in self.layers]
        columns = [None if one is None else one.fields() for one in seen]
        for place, name in enumerate(OF_ACTIVATIONS):
            values = [None if one is None else one[place] for one in columns]
            parts = [
                self._small(layer, None if isinstance(one, (int, float)) else one)
                for layer, one in zip(self.layers, values, strict=True)
            ]
            fields[name] = torch.cat(parts)
        torch.stack([fields.get(name, nothing) for name in FIELD], out=self._out)
        self._fields.clear()

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

    def _flat(self, tensors: Sequence[Any]) -> torch.Tensor:
        """Return copies of tensors one behind the other."""
        import torch

        parts = [one.detach().to_dense() if one.is_sparse else one.detach() for one in tensors]
        return torch.cat([one.reshape(-1).to(self._device, self._dtype) for one in parts])

    def _small(self, layer: WatchedLayer, values: Any) -> torch.Tensor:
        """Return a number for each neuron of a layer; NaN where there is none."""
        return self._missing[layer] if values is None else values.detach().to(self._device, self._dtype)

    def _there(self, tensors: Sequence[Any]) -> torch.Tensor:
        """Return for each neuron whether its layer's tensor is there."""
        pattern = tuple(one is not None for one in tensors)
        if pattern not in self._patterns:
            import torch

            flags = [
                is_there for is_there, one in zip(pattern, self.layers, strict=True) for _ in range(one.layout.neurons)
            ]
            self._patterns[pattern] = torch.tensor(flags, device=self._device)
        return self._patterns[pattern]

    def _of_weights(self, values: torch.Tensor) -> torch.Tensor:
        """Return a number for each neuron, NaN for those of layers without weights."""
        if len(self.weighted) == len(self.layers):
            return values
        return values.where(self._there([True if layer.has_weights else None for layer in self.layers]), math.nan)

    def _norms(self, flat: torch.Tensor, scale: Any = None) -> torch.Tensor:
        import torch

        found = torch.segment_reduce(flat * flat, "sum", lengths=self._lengths, unsafe=True).sqrt()
        return found if scale is None else found / scale

    def _nonfinite(self, flat: torch.Tensor) -> torch.Tensor:
        """Return how many values of each row are NaN or infinite."""
        import torch

        return torch.segment_reduce((~flat.isfinite()).to(self._dtype), "sum", lengths=self._lengths, unsafe=True)

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
