"""Answers with one neuron silenced, for every neuron of a layer and every row, without computing all of them again.

The layers before are computed once. Where a dense layer follows, its z is not computed again but corrected: with
activation a_j replaced by v_j, z becomes z - (a_j - v_j) w_j, w_j the weights that listen to neuron j (column j of W).
Layers between that treat each unit by itself (dropout, batch normalisation, a lone activation) are passed by v_j too.
Rows for which a_j is v_j already (half of them, where a ReLU is 0) keep their answer and are not computed at all.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.judging import outputs, passes
from neuronwise.network import ActivationLayer, BatchNorm, Dense, Dropout, Flatten, Layer, Network, Workspace
from neuronwise.network.channels import neuron_axes

Array = NDArray[np.floating[Any]]
Mode = Literal["zero", "mean"]

# Numbers of the widest layer that are worked on at once: they should stay in a cache.
_NUMBERS_AT_ONCE = 2**18
# Neurons of which the answers are computed a second time, in the plain way.
_CHECKED_NEURONS = 3


class Silencer:
    """Replaces the activation of one neuron of a layer in one row: the answers of many such pairs at a time."""

    def __init__(self, network: Network, position: int) -> None:
        self._network, self._position = network, position
        layer, rest = network.layers[position], network.layers[position + 1 :]
        axis = neuron_axes(network.layers)[position]
        self._axis = axis
        self.count = 1 if axis is None else layer.output_shape[axis - 1]
        alone = next((i for i, one in enumerate(rest) if not _is_unit_by_unit(one)), len(rest))
        self._dense: Dense | None = None
        if len(layer.output_shape) == 1 and alone < len(rest) and isinstance(following := rest[alone], Dense):
            self._dense, self._W = following, np.ascontiguousarray(following.W.T)
        self._chain = rest[:alone] if self._dense is not None else []
        after = rest[alone + 1 :] if self._dense is not None else rest
        shape = self._dense.output_shape if self._dense is not None else layer.output_shape
        widest = max(int(np.prod(one)) for one in (shape, *(one.output_shape for one in after)))
        self._batch = max(16, min(2048, _NUMBERS_AT_ONCE // widest))
        self.rows_at_once = network.rows_at_a_time
        # A number that is copied, corrected and bent takes about as long as 16 multiplications in a matrix product.
        self.numbers_per_pair = sum(_multiplications(one) for one in after) + 16 * int(np.prod(shape))
        self._tail = Workspace(after, shape, self._batch, network.dtype) if after else None
        if self._dense is not None:
            buffer = (self._batch, *shape)
            self._z, self._scratch = np.zeros(buffer, network.dtype), np.zeros(buffer, network.dtype)
            self._a = self._tail.x if self._tail is not None else np.zeros(buffer, network.dtype)
        elif self._tail is not None:
            self._tail.x[...] = 0

    def held(self, X: NDArray[Any], mode: Mode) -> Array:
        """Return what a silenced neuron's activation is replaced by, in the shape of one output of the layer."""
        shape = self._network.layers[self._position].output_shape
        total = np.zeros(shape)
        if mode == "mean":
            for _, space in passes(self._network, X):
                total += space.passes[self._position].a.sum(axis=0, dtype=np.float64)
        return np.asarray(total / len(X), self._network.dtype)

    def silence(self, space: Workspace, held: Array) -> Any:
        """Yield (rows, neurons, z, a): pairs whose activation is replaced by another, and the outputs they give.

        z and a are (pairs, outputs), buffers that the next pairs overwrite; rows count from the first of the workspace.
        """
        with np.errstate(all="ignore"):
            yield from self._by_correction(space, held) if self._dense is not None else self._by_replacing(space, held)

    def _by_correction(self, space: Workspace, held: Array) -> Any:
        assert self._dense is not None
        place = self._position + len(self._chain) + 1
        a, z = space.passes[place].x, space.passes[place].z
        assert z is not None
        if self._chain:
            chain = Workspace(self._chain, self._network.layers[self._position].output_shape, 1, self._network.dtype)
            chain.x[0] = held
            held = chain.forward()[0].copy()
        change = a - held
        neurons, rows = np.nonzero((change != 0).T)  # NaN is not 0: such rows are computed
        for start in range(0, len(rows), self._batch):
            r, j = rows[start : start + self._batch], neurons[start : start + self._batch]
            n = len(r)
            np.take(z, r, axis=0, out=self._z[:n])
            np.take(self._W, j, axis=0, out=self._scratch[:n])
            self._scratch[:n] *= change[r, j][:, None]
            self._z[:n] -= self._scratch[:n]
            self._dense.activation.forward(self._z, self._a)
            if self._tail is None:
                yield r, j, self._z[:n], self._a[:n]
            else:
                self._tail.forward()
                z_out, a_out = outputs(self._tail)
                yield r, j, z_out[:n], a_out[:n]

    def _by_replacing(self, space: Workspace, held: Array) -> Any:
        assert self._tail is not None
        a = self._by_neuron(space.passes[self._position].a)
        value = self._by_neuron(held[None])[0]
        other = (a != value).reshape(*a.shape[:2], -1).any(axis=2)
        neurons, rows = np.nonzero(other.T)
        x = self._by_neuron(self._tail.x)
        for start in range(0, len(rows), self._batch):
            r, j = rows[start : start + self._batch], neurons[start : start + self._batch]
            x[: len(r)] = a[r]
            x[np.arange(len(r)), j] = value[j]
            self._tail.forward()
            z_out, a_out = outputs(self._tail)
            yield r, j, z_out[: len(r)], a_out[: len(r)]

    def _by_neuron(self, values: Array) -> Array:
        """Return a view (batch, neurons, …) of values (batch, *output_shape)."""
        return values[:, None] if self._axis is None else np.moveaxis(values, self._axis, 1)

    def check(self, X: NDArray[Any], held: Array, loss_increase: NDArray[np.float64]) -> tuple[float, float]:
        """Return the largest difference from outputs computed layer by layer, and the largest output, of some rows."""
        network, position = self._network, self._position
        key = np.where(np.isnan(loss_increase), np.inf, loss_increase)
        some = np.argsort(-key, kind="stable")[:_CHECKED_NEURONS]
        space = network.workspace(len(X))
        with np.errstate(all="ignore"):
            np.copyto(space.x, X)
            space.forward()
        found = {int(j): outputs(space)[0].astype(np.float64) for j in some}
        for r, j, z, _ in self.silence(space, held):
            for neuron in some.tolist():
                found[neuron][r[j == neuron]] = z[j == neuron]
        plain = Workspace(network.layers[position + 1 :], network.layers[position].output_shape, len(X), network.dtype)
        gap = largest = 0.0
        for neuron, values in found.items():
            plain.x[...] = space.passes[position].a
            self._by_neuron(plain.x)[:, neuron] = self._by_neuron(held[None])[:, neuron]
            with np.errstate(all="ignore"):
                plain.forward()
                z = outputs(plain)[0].astype(np.float64)
                differ = np.abs(values - z)[~((values == z) | (np.isnan(values) & np.isnan(z)))]
            gap, largest = max(gap, float(differ.max(initial=0.0))), max(largest, float(np.abs(z).max(initial=0.0)))
        return gap, largest


def _multiplications(layer: Layer) -> int:
    """Return about how many multiplications a layer takes for one row."""
    W = layer.parameters.get("W")
    return 8 * layer.neuron_count if W is None else W.size * (layer.neuron_count // len(W))


def _is_unit_by_unit(layer: Layer) -> bool:
    """Return whether each output of a layer depends on the one input of the same place alone, in use."""
    if isinstance(layer, (ActivationLayer, BatchNorm)):
        return layer.activation.name != "softmax"
    return isinstance(layer, (Dropout, Flatten))
