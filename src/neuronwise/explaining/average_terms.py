"""What each weight of a neuron comes to on many examples: a weight alone is no importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.sizes import by_size, drawable

# Inputs whose deviations differ by more than this, or whose correlation is above, are told of.
_SCALES, _CORRELATED = 3.0, 0.7
_LISTED, _SAMPLE = 12, 4_096


@dataclass(frozen=True)
class AverageTerms:
    """The terms of a neuron's sum over many examples, for each of its inputs, (inputs,).

    Attributes:
        names: Of the inputs, or of the neurons of the layer below.
        weights: The weights.
        mean: Mean of input × weight over the examples.
        size: Mean of |input × weight|: how much the term comes to, of either sign.
        moves: Standard deviation of input × weight: how much it makes z differ between examples.
        warnings: Sentences on why weights are no importances here: inputs of different scale, or correlated ones.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    mean: NDArray[np.float64]
    size: NDArray[np.float64]
    moves: NDArray[np.float64]
    warnings: tuple[str, ...]

    def order(self) -> list[int]:
        """Return the places of the inputs by |weight|, the largest first."""
        return by_size(self.weights)


class TermSums:
    """Sums of a neuron's inputs over batches, in float64."""

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self._weights, self._count = weights, 0
        self._sum, self._sizes, self._squares = (np.zeros(len(weights)) for _ in range(3))
        self._sample: list[NDArray[Any]] = []
        self._sampled = 0

    def add(self, seen: NDArray[Any]) -> None:
        """Add what the neuron saw of a batch, (batch, inputs)."""
        wide = seen.astype(np.float64)
        with np.errstate(all="ignore"):
            if not self._count:
                self._first = drawable(wide.mean(axis=0))
            away = wide - self._first
            self._sum += away.sum(axis=0)
            self._squares += np.einsum("ij,ij->j", away, away)
            self._sizes += np.abs(wide).sum(axis=0)
        self._count += len(wide)
        if self._sampled < _SAMPLE:
            self._sample.append(wide[: _SAMPLE - self._sampled])
            self._sampled += len(self._sample[-1])

    def told(self, names: Sequence[str]) -> AverageTerms:
        """Return the terms on average."""
        w, n = self._weights, self._count
        with np.errstate(all="ignore"):
            away = self._sum / n
            deviation = np.sqrt(np.maximum(self._squares / n - away**2, 0.0))
            mean, size, moves = w * (away + self._first), np.abs(w) * self._sizes / n, np.abs(w) * deviation
        warnings = tuple(
            one for one in (_scales(names, w, deviation), _correlated(names, w, self._sample, deviation)) if one
        )
        return AverageTerms(tuple(names), w, mean, size, moves, warnings)


def _scales(names: Sequence[str], w: NDArray[np.float64], deviation: NDArray[np.float64]) -> str:
    """Return a sentence if the inputs with weights differ much in how far they vary; "" if not."""
    varies = np.isfinite(deviation) & (deviation > 1e-9 * np.nanmax(deviation, initial=0.0)) & (w != 0)
    if varies.sum() < 2:
        return ""
    places = np.flatnonzero(varies)
    low, high = places[deviation[places].argmin()], places[deviation[places].argmax()]
    if deviation[high] <= _SCALES * deviation[low]:
        return ""
    return (
        f"The inputs differ in scale: {names[high]} varies by {deviation[high]:.2g}, {names[low]} by "
        f"{deviation[low]:.2g}. So a weight alone is no importance: look at what it moves z by."
    )


def _correlated(
    names: Sequence[str], w: NDArray[np.float64], sample: list[NDArray[Any]], deviation: NDArray[np.float64]
) -> str:
    """Return a sentence if some of the inputs that move z most go together; "" if not."""
    with np.errstate(all="ignore"):
        moves = drawable(np.abs(w) * deviation)
    top = np.argsort(-moves, kind="stable")[:_LISTED]
    top = top[moves[top] > 0]
    if len(top) < 2 or not sample:
        return ""
    seen = np.concatenate([part[:, top] for part in sample])
    seen = seen[np.isfinite(seen).all(axis=1)]
    seen = seen[:, (seen.min(axis=0, initial=np.inf) < seen.max(axis=0, initial=-np.inf))] if len(seen) > 2 else seen
    if len(seen) < 3 or seen.shape[1] != len(top):
        return ""
    together = np.corrcoef(seen, rowvar=False)
    np.fill_diagonal(together, 0.0)
    i, j = np.unravel_index(int(np.nanargmax(np.abs(together))), together.shape)
    if abs(together[i, j]) < _CORRELATED:
        return ""
    pairs = int((np.abs(np.triu(together)) >= _CORRELATED).sum())
    more = f", and {pairs - 1} more such {'pair' if pairs == 2 else 'pairs'}" if pairs > 1 else ""
    return (
        f"Inputs go together: {names[top[i]]} and {names[top[j]]} correlate {together[i, j]:+.2f}{more}. Their weights "
        "share one effect between them, so look at them together."
    )
