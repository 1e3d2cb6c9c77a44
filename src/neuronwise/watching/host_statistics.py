"""Statistics of a PyTorch model on the CPU: NumPy works on the tensors' own memory.

On small layers its calls take a fraction of the time of torch's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.recording import SATURATED_WITHIN
from neuronwise.recording.quantities import norm
from neuronwise.watching.torch_layers import WatchedLayer
from neuronwise.watching.torch_statistics import (
    BIASES,
    COUNTS,
    FIELD,
    NORMS,
    OF_ACTIVATIONS,
    Seen,
    TorchStatistics,
    on_host,
)

if TYPE_CHECKING:
    import torch

_WEIGHTS, _GRADIENTS, _UPDATES = range(3)
# So many bytes of large weights are worked through at a time, so that they are read from memory once.
_BLOCK_BYTES = 1 << 18


class HostStatistics(TorchStatistics):
    """See `TorchStatistics`."""

    def __init__(self, layers: Sequence[WatchedLayer], values: NDArray[Any]) -> None:
        super().__init__(layers, values)
        self._weightless = [layer for layer in layers if not layer.has_weights]
        limits = np.finfo(values.dtype)
        self._least, self._tiny = math.sqrt(limits.tiny / limits.eps), float(limits.tiny / limits.eps)
        self._norms = [values[FIELD[name]] for name in NORMS]
        self._biases = [values[FIELD[name]] for name in BIASES]
        self._counts = [values[FIELD[name]] for name in COUNTS]
        self._activations = [[values[FIELD[name], layer.place] for name in OF_ACTIVATIONS] for layer in layers]
        self._before: dict[WatchedLayer, NDArray[Any]] = {}
        self._ones: dict[tuple[int, Any], NDArray[Any]] = {}
        self._rows: list[tuple[WatchedLayer, NDArray[Any]]] = []

    def before_step(self, scale: Any) -> None:
        """See `TorchStatistics.before_step`."""
        self._forget(_GRADIENTS)
        for layer in self.weighted:
            weight = on_host(layer.weight)
            before = self._before.get(layer)
            if before is None or before.shape != weight.shape:
                self._before[layer] = weight.copy()
            else:
                np.copyto(before, weight)
            gradient, of_bias = layer.weight_gradient, layer.bias_gradient
            if gradient is not None:
                self._take_norms(layer, on_host(gradient.to_dense() if gradient.is_sparse else gradient), _GRADIENTS)
            if of_bias is not None:
                self._biases[_GRADIENTS][layer.place] = on_host(of_bias)
                if gradient is None:
                    self._counts[_GRADIENTS][layer.place] = ~np.isfinite(self._biases[_GRADIENTS][layer.place])
        self._finish(_GRADIENTS)
        if scale is not None:
            self._norms[_GRADIENTS] /= float(scale)
            self._biases[_GRADIENTS] /= float(scale)

    def after_step(self, *, with_update: bool = True, with_activations: bool = True) -> None:
        """See `TorchStatistics.after_step`."""
        if not with_update:
            self._forget(_GRADIENTS)
        self._forget(_WEIGHTS)
        self._norms[_UPDATES].fill(math.nan)
        updates = []
        for layer in self.weighted:
            weight, bias = on_host(layer.weight), layer.bias
            if bias is not None:
                self._biases[_WEIGHTS][layer.place] = on_host(bias)
            before = self._before.get(layer)
            if not with_update or before is None or before.shape != weight.shape:
                self._take_norms(layer, weight, _WEIGHTS)
                continue
            rows, update = (one.reshape(layer.layout.neurons, -1) for one in (weight, before))
            with np.errstate(all="ignore"):
                for block in _blocks(rows):
                    self._squares(layer, block, rows[block], _WEIGHTS)
                    np.subtract(update[block], rows[block], out=update[block])
                    self._squares(layer, block, update[block], _UPDATES)
            self._rows.append((layer, rows))
            updates.append((layer, update))
        self._finish(_WEIGHTS)
        self._rows = updates
        self._finish(_UPDATES)
        for layer, fields in zip(self.layers, self._activations, strict=True):
            seen = self.seen.get(layer) if with_activations else None
            for field, value in zip(fields, (math.nan,) * len(fields) if seen is None else seen.fields(), strict=True):
                field[...] = value
        update, ratio = self._norms[_UPDATES], self.values[FIELD["update_ratio"]]
        with np.errstate(all="ignore"):
            np.divide(update, self._norms[_WEIGHTS], out=ratio)
        ratio[update == 0] = 0

    def fetch(self) -> None:
        """See `TorchStatistics.fetch`: there is nothing to wait for."""

    def take(self, waiting: Any) -> None:
        """See `TorchStatistics.take`."""

    def _forget(self, kind: int) -> None:
        for field in (self._norms, self._biases, self._counts):
            field[kind].fill(math.nan)

    def _take_norms(self, layer: WatchedLayer, values: NDArray[Any], kind: int) -> None:
        """Compute the squares of the norms of a layer's rows, of weights, gradients or updates."""
        rows = values.reshape(layer.layout.neurons, -1)
        with np.errstate(all="ignore"):
            self._squares(layer, slice(None), rows, kind)
        self._rows.append((layer, rows))

    def _squares(self, layer: WatchedLayer, block: slice, rows: NDArray[Any], kind: int) -> None:
        out = self._norms[kind][layer.place][block]
        if rows.dtype == out.dtype:
            np.vecdot(rows, rows, out)
        else:
            out[...] = np.vecdot(rows, rows)

    def _finish(self, kind: int) -> None:
        """Take the roots; compute those again in float64 that are not certain, and count what is not finite."""
        norms, rows = self._norms[kind], self._rows
        self._rows = []
        with np.errstate(all="ignore"):
            np.sqrt(norms, norms)
            for layer in self._weightless:
                norms[layer.place] = 1  # so that all may be compared at once
            is_all = len(rows) == len(self.weighted)
            if not is_all or not (
                np.minimum.reduce(norms, initial=math.inf) > self._least
                and np.maximum.reduce(norms, initial=0) < math.inf
            ):
                for layer, values in rows:
                    self._correct(layer, values, kind)
            for layer in self._weightless:
                norms[layer.place] = math.nan
        if kind == _UPDATES:
            return
        counts, biases = self._counts[kind], self._biases[kind]
        for layer, _ in rows:
            own = counts[layer.place]
            own[np.isnan(own)] = 0  # else it was counted
        with np.errstate(all="ignore"):
            is_finite = math.isfinite(biases.sum())  # NaN stands for layers without biases too
        if not is_finite:
            for layer, _ in rows:
                if (layer.bias if kind == _WEIGHTS else layer.bias_gradient) is not None:
                    counts[layer.place] += ~np.isfinite(biases[layer.place])

    def _correct(self, layer: WatchedLayer, rows: NDArray[Any], kind: int) -> None:
        norms = self._norms[kind][layer.place]
        doubtful = ~((norms > self._least) & (norms < math.inf))
        if not doubtful.any():
            return
        few = rows[doubtful]
        if not few.any():  # of dead neurons, at every step
            return
        norms[doubtful] = norm(few)
        if kind != _UPDATES:
            counts = np.zeros(len(norms), norms.dtype)
            counts[doubtful] = np.count_nonzero(~np.isfinite(few), axis=1)
            self._counts[kind][layer.place] = counts

    def _ones_of(self, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        found = self._ones.get((count, dtype))
        if found is None:
            found = self._ones[count, dtype] = np.ones(count, dtype)
        return found

    def _measure(self, values: torch.Tensor, activation: str | None) -> Seen:
        """See `TorchStatistics._measure`."""
        array = on_host(values)
        rows, _, places = array.shape
        size = rows * places
        with np.errstate(all="ignore"):
            if places == 1:
                flat, tensor = array[:, :, 0], values[:, :, 0]
                ones = self._ones_of(rows, array.dtype)
                mean, squares = ones @ flat, ones @ (flat * flat)
                low, high = on_host(tensor.amin(0)), on_host(tensor.amax(0))
            else:
                mean = np.matmul(array, self._ones_of(places, array.dtype)).sum(0)
                squares = np.vecdot(array, array).sum(0)
                low, high = on_host(values.amin((0, 2))), on_host(values.amax((0, 2)))
            mean /= size
            central = size * mean * mean
            squares -= central
            nonfinite = None
            # Not finite, or so narrow beside its mean that the difference of the squares is rounding, or so small that
            # the squares are: again in float64.
            if not (squares * 900 >= central).all() or not (squares > size * self._tiny).all():
                mean, squares, nonfinite = self._measure_again(array, mean, squares, low, high)
        return Seen(size, mean, squares, low, high, *_counts_of(array, activation), nonfinite)

    def _measure_again(
        self, array: NDArray[Any], mean: NDArray[Any], squares: NDArray[Any], low: NDArray[Any], high: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        """Return mean, squares and how many are not finite, in float64 where it matters."""
        size = array.shape[0] * array.shape[2]
        mean, squares = mean.astype(np.float64), squares.astype(np.float64)
        doubtful = ~(np.isfinite(squares) & (squares * 900 >= size * mean * mean) & (squares > size * self._tiny))
        doubtful &= ~((low == high) & np.isfinite(low))
        constant = (low == high) & np.isfinite(low)
        mean[constant], squares[constant] = low[constant], 0
        if not doubtful.any():
            return mean, squares, None
        few = array[:, doubtful].astype(np.float64)
        mean[doubtful] = middle = few.mean((0, 2))
        squares[doubtful] = np.square(few - middle[:, None]).sum((0, 2))
        nonfinite = np.zeros(len(mean))
        nonfinite[doubtful] = np.count_nonzero(~np.isfinite(few), axis=(0, 2))
        return mean, squares, nonfinite if nonfinite.any() else None


def _blocks(rows: NDArray[Any]) -> Iterator[slice]:
    """Return slices of some rows each, all of them if they take few bytes."""
    if rows.nbytes <= 2 * _BLOCK_BYTES:
        yield slice(None)
        return
    step = max(1, _BLOCK_BYTES // (rows.nbytes // len(rows)))
    for first in range(0, len(rows), step):
        yield slice(first, first + step)


def _counts_of(array: NDArray[Any], activation: str | None) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Return how many values of each neuron are inactive, and how many saturated; None where that has no meaning."""
    if activation == "relu":
        return _count(array == 0), None
    if activation == "sigmoid":
        return None, _count(np.abs(array - 0.5) > 0.5 - SATURATED_WITHIN)
    if activation == "tanh":
        return None, _count(np.abs(array) > 1 - SATURATED_WITHIN)
    return None, None


def _count(mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return how many of (…, neurons, places) are true, for each neuron.

    By BLAS, in half the time of counting; whole numbers below 2^24 are exact in float32.
    """
    values, places = mask.astype(np.float32), mask.shape[2]
    if max(len(mask), places) >= 1 << 24:
        return np.asarray(np.count_nonzero(mask, axis=(0, 2)))
    if places == 1:
        found: NDArray[Any] = np.ones(len(mask), np.float32) @ values[:, :, 0]
        return found
    return np.asarray(np.matmul(values, np.ones(places, np.float32)).sum(0, dtype=np.float64))
