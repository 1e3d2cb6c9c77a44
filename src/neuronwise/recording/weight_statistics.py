"""Of the statistics those of weights: norms of the rows of weights, gradients and updates; and the biases."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.recording.layout import LayerLayout, Layout, Place
from neuronwise.recording.quantities import norm

Array = NDArray[np.floating[Any]]
# Parameters, gradients and update of a step, each flat; None of what there is none.
Flats = tuple[Array | None, Array | None, Array | None]

# In the order of `Flats`; of an update's bias there is no statistic.
NORMS = ("weight_norm", "grad_norm", "update_norm")
BIASES = ("bias", "bias_grad")
COUNTS = ("nonfinite_weights", "nonfinite_gradients")
# Layers of fewer weights are copied and gone through later, many steps at once: one copy takes less time than calls for
# each of them. Of larger ones a copy would take longer.
AT_ONCE_WEIGHTS = 4096


class WeightStatistics:
    """Measures the weights of steps; what of it can wait is done for all of them in `finish`.

    Args:
        layout: The layers.
        capacity: How many steps may be taken before `finish`. All of them have gradients and updates, or none.

    Attributes:
        copied: How many values of a step are copied, of each array.
        least: The squares of values around this and below are out of the range in which they are exact.
    """

    def __init__(self, layout: Layout, capacity: int) -> None:
        limits = np.finfo(layout.dtype)
        self.least = math.sqrt(limits.tiny / limits.eps)
        self._now: list[_Rows] = []
        self._later: list[_Rows] = []
        self._biases: list[tuple[slice, slice]] = []  # among the neurons, among what is copied
        layers = [layer for layer in layout.observed if layer.weights is not None]
        large = [layer for layer in layers if _weights(layer).size >= AT_ONCE_WEIGHTS]
        small = [layer for layer in layers if layer not in large]
        biased = {layer.name: layer.parameters[layer.biases] for layer in layout.observed if layer.biases is not None}
        self._runs, offsets, self.copied = _copied([*map(_weights, small), *biased.values()])
        column = 0
        for layer in [*large, *small]:
            columns = slice(column, column := column + layer.neurons)
            place = _weights(layer)
            if layer in large:
                self._now.append(_Rows(layer, place.offset, columns))
            else:
                self._later.append(_Rows(layer, offsets[place.offset], columns))
        self._large = slice(0, sum(layer.neurons for layer in large))
        for layer in layout.observed:
            if (bias := biased.get(layer.name)) is not None:
                start = offsets[bias.offset]
                self._biases.append((_neurons(layer), slice(start, start + bias.size)))
        self._norms = np.empty((capacity, len(NORMS), column), layout.dtype)
        self._kept = np.empty((len(NORMS), capacity, self.copied), layout.dtype)
        self._counts = np.zeros((capacity, len(COUNTS), layout.neuron_count), layout.dtype)
        self._has_counts = False
        self._flats: Flats = (None, None, None)
        self._rates = np.full(capacity, np.nan)
        self._given: list[tuple[int, Array]] = []
        # For each step that may be taken: where to copy what; rows and where their squares go; norms to look at.
        self._copies: list[list[tuple[Array, Array]]] = []
        self._products: list[list[tuple[Array, Array]]] = []
        self._found: list[Array] = []
        # Which norms were doubtful last, and the rows they are of.
        self._low, self._low_rows = b"", list[NDArray[Any]]()

    def take(self, place: int, flats: Flats, rate: float | None = None) -> None:
        """Measure a step, the `place`-th since `finish`; its arrays are not needed any more afterwards.

        Args:
            place: Where it stands.
            flats: Its arrays.
            rate: What the gradients were multiplied by to give the update, where that is not among the arrays.
        """
        self._rates[place] = math.nan if rate is None else rate
        bound = self._flats
        if flats[0] is not bound[0] or flats[1] is not bound[1] or flats[2] is not bound[2]:
            self._bind(flats)
        for to, values in self._copies[place]:
            np.copyto(to, values)
        if not self._now:
            return
        for rows, squares in self._products[place]:
            np.vecdot(rows, rows, squares)
        norms = self._found[place]
        np.sqrt(norms, norms)
        if self._is_doubtful(norms) and not self._are_of_zeros(norms):
            for kind, flat in self._given:
                for part in self._now:
                    self._correct(part, kind, slice(place, place + 1), part.of(flat[None]))

    def _are_of_zeros(self, norms: Array) -> bool:
        """Return whether all norms that are doubtful are of rows of zeros: those of dead neurons, at every step."""
        low = norms <= self.least
        if (pattern := low.tobytes()) != self._low:
            rows = [
                (norm_row[part.columns], _bits(part.of(flat)))
                for norm_row, (_, flat) in zip(low, self._given, strict=True)
                for part in self._now
            ]
            self._low = pattern
            self._low_rows = [of_part[row] for which, of_part in rows for row in np.flatnonzero(which).tolist()]
        return bool(np.maximum.reduce(norms, None) < math.inf) and not any(map(np.count_nonzero, self._low_rows))

    def _bind(self, flats: Flats) -> None:
        """Take views of these arrays, which are the same at every step of a training."""
        self._flats, self._low = flats, b""
        self._given = given = [(kind, flat) for kind, flat in enumerate(flats) if flat is not None]
        self._norms.fill(np.nan)
        places = range(len(self._norms))
        # Kinds that are given come first, but for checkpoints of others, of which there are no gradients.
        kinds = slice(0, len(given)) if len(given) == given[-1][0] + 1 else slice(0, len(NORMS), 2)
        self._found = [self._norms[place, kinds, self._large] for place in places]
        self._copies = [
            [
                (self._kept[kind, place, to : to + last - first], flat[first:last])
                for kind, flat in given
                for first, last, to in self._runs
            ]
            for place in places
        ]
        self._products = [
            [(part.of(flat), self._norms[place, kind, part.columns]) for kind, flat in given for part in self._now]
            for place in places
        ]

    def finish(self, values: dict[str, Array], n: int) -> None:
        """Fill the statistics of the n steps taken, each (n, neurons); of what was not given they are NaN."""
        for name in (*NORMS, *BIASES, *COUNTS):
            values[name][...] = np.nan
        for kind, _ in self._given:
            kept = self._kept[kind, :n]
            for part in self._later:
                rows, norms = part.of(kept), self._norms[:n, kind, part.columns]
                np.vecdot(rows, rows, norms)
                np.sqrt(norms, norms)
                self._correct(part, kind, slice(0, n), rows)
            for part in (*self._now, *self._later):
                values[NORMS[kind]][:, part.neurons] = self._norms[:n, kind, part.columns]
            if kind >= len(BIASES):
                continue
            for neurons, where in self._biases:
                biases = kept[:, where]
                values[BIASES[kind]][:, neurons] = biases
                if not math.isfinite(biases.sum()):
                    self._counts[:n, kind, neurons] += ~np.isfinite(biases)
                    self._has_counts = True
            values[COUNTS[kind]][...] = self._counts[:n, kind]
        if self._flats[2] is None:  # NaN where there was no update
            np.multiply(values["grad_norm"], self._rates[:n, None], out=values["update_norm"], casting="same_kind")
        if self._has_counts:
            self._counts.fill(0)
            self._has_counts = False

    def _is_doubtful(self, norms: Array) -> bool:
        return not (np.minimum.reduce(norms, None) > self.least and np.maximum.reduce(norms, None) < math.inf)

    def _correct(self, part: _Rows, kind: int, steps: slice, rows: Array) -> None:
        """Compute norms again in float64 that the quick way cannot tell for certain; count what is not finite.

        Args:
            part: The layer.
            kind: Of weights, gradients or updates.
            steps: The steps whose norms were computed.
            rows: What they are of, (steps, neurons, values).
        """
        norms = self._norms[steps, kind, part.columns]
        if not self._is_doubtful(norms):
            return
        where = np.nonzero(~((norms > self.least) & (norms < np.inf)))
        few = rows[where]
        if not few.any():  # weights that get no gradient at all, of dead neurons: often, and at every step
            return
        norms[where] = norm(few)
        if kind < len(COUNTS):
            self._counts[steps, kind, part.neurons][where] += np.count_nonzero(~np.isfinite(few), axis=1)
            self._has_counts = True


class _Rows:
    """The rows of weights of a layer: where they stand in a flat array, and their columns among the norms."""

    def __init__(self, layer: LayerLayout, offset: int, columns: slice) -> None:
        self.neurons, self.columns = _neurons(layer), columns
        self._place = slice(offset, offset + _weights(layer).size)
        self._count = layer.neurons

    def of(self, flat: Array) -> Array:
        """Return the rows, (…, neurons, values), as a view of (…, flat)."""
        return flat[..., self._place].reshape(*flat.shape[:-1], self._count, -1)


def _bits(values: Array) -> NDArray[Any]:
    """Return the bits of values, as whole numbers, of which it is quicker to count what is not 0."""
    return values.view(f"u{values.dtype.itemsize}")


def _weights(layer: LayerLayout) -> Place:
    assert layer.weights is not None
    return layer.parameters[layer.weights]


def _neurons(layer: LayerLayout) -> slice:
    return slice(layer.first_neuron, layer.first_neuron + layer.neurons)


def _copied(places: Iterable[Place]) -> tuple[list[tuple[int, int, int]], dict[int, int], int]:
    """Return what is copied of a flat array to hold these places, neighbours joined.

    Returns:
        Runs (first, last, where it goes), where each place goes by its offset, and how many values there are.
    """
    runs: list[tuple[int, int, int]] = []
    offsets: dict[int, int] = {}
    size = 0
    for place in sorted(places, key=lambda place: place.offset):
        offsets[place.offset] = size
        if runs and runs[-1][1] == place.offset:
            runs[-1] = (runs[-1][0], place.offset + place.size, runs[-1][2])
        else:
            runs.append((place.offset, place.offset + place.size, size))
        size += place.size
    return runs, offsets, size
