"""Sums over batches of what the neurons of a layer answer, in float64: means, deviations, shares, by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.sizes import drawable
from neuronwise.network import Layer
from neuronwise.recording.statistics import SATURATED_WITHIN


class LayerSums:
    """Sums over batches, in float64, from the first batch's mean on so that no digits are lost.

    Args:
        layer: The layer.
        classes: Names of the classes.

    Attributes:
        count: Number of neurons, known after the first batch.
        least, greatest: Level of each, (neurons,).
        nonfinite: How many levels of each are NaN or infinite.
    """

    def __init__(self, layer: Layer, classes: Sequence[str]) -> None:
        self._layer, self._classes = layer, len(classes)
        self.count, self._values = 0, 0
        self._with_target = Together()

    def add(
        self, z: NDArray[Any], a: NDArray[Any], ids: NDArray[np.int64] | None, values: NDArray[np.float64] | None
    ) -> None:
        """Add a batch: z and a (batch, places, neurons), classes or target values (batch,) or None."""
        n = a.shape[-1]
        flat = a.reshape(-1, n).astype(np.float64)
        with np.errstate(all="ignore"):
            if not self.count:
                self.count = n
                self._first = drawable(flat.mean(axis=0))
                self._sum, self._squares = np.zeros(n), np.zeros(n)
                self.least, self.greatest = np.full(n, np.inf), np.full(n, -np.inf)
                self._active, self._ends, self.nonfinite = (np.zeros(n, np.int64) for _ in range(3))
                self._by_class, self._in_class = np.zeros((self._classes, n)), np.zeros(self._classes)
            self._values += len(flat)
            away = flat - self._first
            self._sum += away.sum(axis=0)
            self._squares += np.einsum("ij,ij->j", away, away)
            self.least = np.minimum(self.least, flat.min(axis=0))
            self.greatest = np.maximum(self.greatest, flat.max(axis=0))
            self._active += (z.reshape(-1, n) > 0).sum(axis=0)
            self.nonfinite += (~np.isfinite(flat)).sum(axis=0)
            if (ends := ends_of(self._layer)) is not None:
                self._ends += ((flat < ends[0] + SATURATED_WITHIN) | (flat > ends[1] - SATURATED_WITHIN)).sum(axis=0)
            if ids is not None:
                for place, levels in _grouped(ids, a.mean(axis=1, dtype=np.float64)):
                    self._by_class[place] += levels.sum(axis=0)
                    self._in_class[place] += len(levels)
            if values is not None:
                self._with_target.add(a.mean(axis=1, dtype=np.float64), values)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean level of each neuron, (neurons,)."""
        with np.errstate(all="ignore"):
            mean: NDArray[np.float64] = self._first + self._sum / self._values
        return mean

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation of each, exactly 0 where all levels are the same."""
        with np.errstate(all="ignore"):
            variance = self._squares / self._values - (self._sum / self._values) ** 2
            return np.where(self.is_still, 0.0, np.sqrt(np.maximum(variance, 0.0)))

    @property
    def is_still(self) -> NDArray[np.bool_]:
        """Whether all levels of each are the same."""
        same: NDArray[np.bool_] = np.equal(self.greatest, self.least)
        return same

    @property
    def active(self) -> NDArray[np.float64]:
        """Share of values with z > 0; exactly 1 where all have it."""
        return self._active / self._values

    @property
    def saturated_share(self) -> NDArray[np.float64]:
        """Share of levels at an end of the range; NaN of functions without ends."""
        return self._ends / self._values if ends_of(self._layer) is not None else np.full(self.count, np.nan)

    @property
    def class_means(self) -> NDArray[np.float64]:
        """Mean level over the examples of each class, (neurons, classes); NaN for a class without any."""
        with np.errstate(all="ignore"):
            return (self._by_class / self._in_class[:, None]).T

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Pearson's correlation of each with the target, (neurons,); NaN where there is none."""
        return np.where(self.is_still, np.nan, self._with_target.correlation(self.count))


class Together:
    """Sums for the correlation of neurons with a target, over batches, from the first batch's means on."""

    def __init__(self) -> None:
        self._n = 0

    def add(self, levels: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        """Add a batch: levels (batch, neurons), values (batch,)."""
        if not self._n:
            n = levels.shape[1]
            self._middle = drawable(levels.mean(axis=0)), float(values.mean())
            self._sums, self._squares, self._products = (np.zeros(n) for _ in range(3))
            self._sum = self._square = 0.0
        a, t = levels - self._middle[0], values - self._middle[1]
        self._n += len(t)
        self._sums += a.sum(axis=0)
        self._squares += np.einsum("ij,ij->j", a, a)
        self._products += t @ a
        self._sum += float(t.sum())
        self._square += float(t @ t)

    def correlation(self, neurons: int) -> NDArray[np.float64]:
        """Return Pearson's correlation of each neuron, (neurons,)."""
        if not self._n:
            return np.full(neurons, np.nan)
        n = self._n
        with np.errstate(all="ignore"):
            spread = np.maximum(self._squares - self._sums**2 / n, 0.0) * max(self._square - self._sum**2 / n, 0.0)
            together = (self._products - self._sums * self._sum / n) / np.sqrt(spread)
        return np.where(spread > 0, together, np.nan)


def ends_of(layer: Layer) -> tuple[float, float] | None:
    """Return the ends of the range of a sigmoid or tanh."""
    assert layer.activation is not None
    return {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}.get(layer.activation.name)


def _grouped(ids: NDArray[np.int64], values: NDArray[np.float64]) -> Sequence[tuple[int, NDArray[np.float64]]]:
    return [(int(one), values[ids == one]) for one in np.unique(ids)]
