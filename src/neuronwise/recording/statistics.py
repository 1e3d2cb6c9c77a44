"""Statistics: what is measured of every neuron and layer at a step; docs/reference/quantities.md defines each.

Fast, because a training waits for it: products by BLAS, one pass for what is usually finite. Where a result is not
finite it is computed again in float64, so that large finite values never look infinite, and what is NaN or infinite is
counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.network.channels import neuron_axes
from neuronwise.recording.histogram import histogram
from neuronwise.recording.layout import LayerLayout, Layout
from neuronwise.recording.quantities import scale_of
from neuronwise.recording.rows import (
    HISTOGRAMS,
    NEURON_FIELDS,
    layers_dtype,
    neurons_dtype,
)
from neuronwise.recording.weight_statistics import NORMS, WeightStatistics

if TYPE_CHECKING:
    from neuronwise.network import Network, Pass

Array = NDArray[np.floating[Any]]

# A sigmoid or tanh is called saturated closer than this to an end of its range.
SATURATED_WITHIN = 0.03
_STEPS_TO_HALVE = 4


@dataclass(frozen=True)
class Measured:
    """What of a step is measured.

    Attributes:
        parameters: After the step, flat.
        gradients: Of the mean loss, after clipping, flat; None at step 0.
        update: What the step subtracted, flat; None at step 0, and where `rate` says all of it.
        passes: x, z and a of each layer on the batch, by the weights before the step; none at step 0.
        rate: The learning rate, where the update is nothing but it times the gradients: what is measured of the update
            then follows from the gradients.
    """

    parameters: Array
    gradients: Array | None
    update: Array | None
    passes: Sequence[Pass]
    rate: float | None = None


class Statistics:
    """Measures the neurons and layers of steps, with buffers and views made once.

    Where every step is measured, several are taken before their activations are gone through at once, which costs less
    than half; the numbers are the same.

    Args:
        network: The network; None of a model of another framework, of which there are no activations.
        layout: Its layout.
        capacity: How many steps may be taken before `finish`.
    """

    def __init__(self, network: Network | None, layout: Layout, capacity: int = 1) -> None:
        self.layout, self.capacity = layout, capacity
        self._rows: NDArray[np.void] = np.zeros(capacity, neurons_dtype(layout.neuron_count, layout.dtype))
        self.layers: NDArray[np.void] = np.zeros(1, layers_dtype(len(layout.observed), layout.dtype))
        axes: dict[str, int | None] = dict.fromkeys(layout.layers)
        if network is not None:
            axes = dict(zip(layout.layers, neuron_axes(network.layers), strict=True))
        positions = {name: position for position, name in enumerate(layout.layers)}
        self._weights = WeightStatistics(layout, capacity)
        values = {layer.name: layer.neuron_count for layer in network.layers} if network is not None else {}
        self._parts = [
            _Part(layer, positions[layer.name], axes[layer.name], capacity, values.get(layer.name, 0))
            for layer in layout.observed
        ]
        self._steps: NDArray[np.int64] = self._rows["step"]
        self._count = 0

    @property
    def count(self) -> int:
        """How many steps are taken and not finished."""
        return self._count

    def bytes_per_step(self, batch_size: int) -> int:
        """Return how many bytes are kept of a step until `finish`."""
        values = batch_size * sum(part.values for part in self._parts) + len(NORMS) * self._weights.copied
        return values * self.layout.dtype.itemsize

    def measure_neurons(self, step: Measured) -> NDArray[np.void]:
        """Return the row of statistics of every neuron, (1,): a buffer, without step and checksums."""
        with np.errstate(all="ignore"):
            self.take(step)
        return self.finish()

    def take(self, step: Measured, number: int = 0) -> None:
        """Measure the weights of a step, and keep its activations until `finish`.

        Values that are not finite are expected: what NumPy warns of should be ignored around it.

        Args:
            step: What is measured; nothing of it is needed any more afterwards, if `capacity` is above 1.
            number: The number of the step.
        """
        place, passes = self._count, step.passes
        self._weights.take(place, (step.parameters, step.gradients, step.update), step.rate)
        for part in self._parts:
            part.keep(place, passes[part.position].a if passes else None)
        self._steps[place] = number
        self._count += 1

    def finish(self) -> NDArray[np.void]:
        """Return the rows of the steps taken, (n,): a buffer, without checksums."""
        n, self._count = self._count, 0
        rows = self._rows[:n]
        values = {name: rows[name] for name in NEURON_FIELDS}
        with np.errstate(all="ignore"):
            self._weights.finish(values, n)
            np.divide(values["update_norm"], values["weight_norm"], out=values["update_ratio"])
            # Nothing moved: 0, also of weights that are all 0.
            values["update_ratio"][values["update_norm"] == 0] = 0
            for part in self._parts:
                part.activations(values, n)
                part.correct_activations(values, n, self._weights.least)
        return rows

    def measure_layers(self, step: Measured) -> NDArray[np.void]:
        """Return the row of histograms of every layer, (1,): a buffer, without step and checksums."""
        row = self.layers[0]
        with np.errstate(all="ignore"):
            for place, part in enumerate(self._parts):
                layer = part.layer
                one, key = step.passes[part.position] if step.passes else None, layer.weights
                found: dict[str, Array | None] = {
                    "W": None if key is None else layer.parameters[key].of(step.parameters),
                    "dW": None if key is None or step.gradients is None else layer.parameters[key].of(step.gradients),
                    "z": None if one is None else one.z,
                    "a": None if one is None else one.a,
                }
                for name in HISTOGRAMS:
                    histogram(found[name], row[f"{name}_counts"][place], row[f"{name}_range"][place])
        return self.layers


_OF_ACTIVATIONS = ("mean", "std", "min", "max", "inactive", "saturated", "nonfinite_activations")


class _Part:
    """The neurons of one layer: views of their weights, and their activations of the steps taken."""

    def __init__(self, layer: LayerLayout, position: int, axis: int | None, capacity: int, values: int) -> None:
        self.layer, self.position, self.axis, self.values = layer, position, axis, values
        self.place = slice(layer.first_neuron, layer.first_neuron + layer.neurons)
        self._capacity = capacity
        # Activations as (steps, values of a neuron, neurons), one array for each batch size; and which step has which.
        self._kept: dict[int, Array] = {}
        self._sizes: list[int] = []
        self._ones: dict[int, Array] = {}
        self._scratch = np.empty(0)

    def keep(self, place: int, a: Array | None) -> None:
        """Keep the activations of a step until they are gone through."""
        if a is None:
            self._sizes.append(0)
            return
        a = _by_neuron(a, self.axis)
        size = len(a)
        self._sizes.append(size)
        if self._capacity == 1:
            self._kept = {size: a[None]}
            return
        if size not in self._kept:
            self._kept[size] = np.empty((self._capacity, *a.shape), dtype=a.dtype)
        self._kept[size][place] = a

    def activations(self, values: dict[str, Array], n: int) -> None:
        """Fill what is measured of the activations of all steps kept."""
        for first, last, size in self._runs(n):
            to = {name: values[name][first:last, self.place] for name in _OF_ACTIVATIONS}
            if not size:
                for field in to.values():
                    field[...] = np.nan
                continue
            a = self._kept[size][first:last] if self._capacity > 1 else self._kept[size]
            if (ones := self._ones.get(size)) is None:
                ones = self._ones[size] = np.ones(size, dtype=a.dtype)
            if self._scratch.shape != a.shape:
                self._scratch = np.empty_like(a)
            scratch = self._scratch
            mean = np.matmul(ones, a)
            mean /= size
            np.multiply(a, a, scratch)
            variance = np.matmul(ones, scratch)
            variance /= size
            variance -= mean * mean  # the variance is the mean of the squares less the square of the mean
            to["mean"][...] = mean
            np.sqrt(variance, out=to["std"])
            # The sum makes 0 of -0: which of them is found depends on the order.
            np.add(_extreme(np.minimum, a, scratch), 0, out=to["min"])
            np.add(_extreme(np.maximum, a, scratch), 0, out=to["max"])
            activation = self.layer.activation
            to["inactive"][...] = self._share(np.equal(a, 0), ones) if activation == "relu" else np.nan
            to["saturated"][...] = np.nan
            if activation == "sigmoid":
                to["saturated"][...] = self._share(np.abs(a - 0.5) > 0.5 - SATURATED_WITHIN, ones)
            elif activation == "tanh":
                to["saturated"][...] = self._share(np.abs(a) > 1 - SATURATED_WITHIN, ones)
            to["nonfinite_activations"][...] = 0

    def _runs(self, n: int) -> list[tuple[int, int, int]]:
        """Return runs of steps with batches of one size: first, the one after the last, the size."""
        starts = [i for i in range(n) if i == 0 or self._sizes[i] != self._sizes[i - 1]]
        return [(first, last, self._sizes[first]) for first, last in zip(starts, [*starts[1:], n], strict=True)]

    def _share(self, mask: NDArray[np.bool_], ones: Array) -> Array:
        """Return the share of values that are true: the count is exact, as whole numbers below 2^24 are in float32."""
        np.copyto(self._scratch, mask)
        shares: Array = np.matmul(ones, self._scratch)
        shares /= len(ones)
        return shares

    def correct_activations(self, values: dict[str, Array], n: int, least: float) -> None:
        """Compute mean and deviation again in float64 where the quick way cannot tell; count what is not finite."""
        mean, std = values["mean"][:n, self.place], values["std"][:n, self.place]
        # Not finite, or so narrow beside its mean that the difference of the squares is rounding, or so small that
        # the squares are.
        doubtful = ~(np.isfinite(std) & (std * 30 >= np.abs(mean)))
        doubtful |= (std <= least) & (values["max"][:n, self.place] > values["min"][:n, self.place])
        for step in np.flatnonzero(doubtful.any(axis=1)).tolist():
            if (size := self._sizes[step]) == 0:
                continue
            which = doubtful[step]
            a = self._kept[size][step if self._capacity > 1 else 0][:, which]
            mean[step, which], std[step, which] = _mean_and_deviation(a)
            count = values["nonfinite_activations"][step, self.place]
            count[which] += np.count_nonzero(~np.isfinite(a), axis=0)
        self._sizes = []


def _extreme(function: np.ufunc, a: Array, scratch: Array) -> Array:
    """Return the least or greatest along axis 1 of (steps, values, neurons).

    Of many steps by halves, all steps at once, since whole blocks are quicker than rows.
    """
    if len(a) < _STEPS_TO_HALVE:
        found: Array = function.reduce(a, axis=1)
        return found
    count = a.shape[1]
    while count > 1:
        half = count // 2
        to = scratch[:, : count - half]
        function(a[:, :half], a[:, half : 2 * half], out=to[:, :half])
        if count % 2:
            to[:, half] = a[:, 2 * half]
        a, count = to, count - half
    return a[:, 0]


def _mean_and_deviation(a: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both of each column, computed in float64 and scaled so that no square is out of range."""
    wide = a.astype(np.float64)
    finite = np.isfinite(wide)
    scale = scale_of(np.abs(wide).max(axis=0))
    wide /= scale
    # From the first value on, so that those that are all the same have their mean exactly, and no deviation.
    first = np.where(finite[0], wide[0], 0.0)
    wide -= first
    middle = wide.mean(axis=0)
    return (first + middle) * scale, np.sqrt(np.square(wide - middle).mean(axis=0)) * scale


def _by_neuron(a: Array, axis: int | None) -> Array:
    """Return activations, (batch, *output_shape), as (values of a neuron, neurons)."""
    if axis is None:
        return a.reshape(-1, 1)
    if a.ndim == 2:
        return a
    return np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis])
