"""How well each neuron alone tells two classes apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.judging import passes
from neuronwise.network import Network
from neuronwise.network.channels import neuron_axes

BLUNT = 0.05
"""A neuron with |AUC - 1/2| below this does not tell two classes apart."""
_MOST_ROWS, _COLUMNS = 2_000, 128


@dataclass(frozen=True)
class Pair:
    """Two classes that are taken for each other, and what each hidden neuron does about it.

    Attributes:
        first: A class's number.
        second: Another's.
        confused: Rows of either that were taken for the other.
        rows: Rows of both.
        neurons: Names of all hidden neurons with weights.
        auc: For each the share of pairs of a row of the first and one of the second class for which it is more active
            on the first, ties half (the area under the ROC curve): 1 or 0 separate, 1/2 does not. NaN where it is not
            finite.
    """

    first: int
    second: int
    confused: int
    rows: int
    neurons: tuple[str, ...]
    auc: NDArray[np.float64]

    @property
    def order(self) -> NDArray[np.int64]:
        """Neurons from the one that separates best on; those that are not finite last."""
        strength = np.where(np.isnan(self.auc), -1.0, np.abs(self.auc - 0.5))
        return np.argsort(-strength, kind="stable")

    @property
    def blunt(self) -> NDArray[np.int64]:
        """Neurons that do not tell the two apart."""
        return np.flatnonzero(np.abs(self.auc - 0.5) < BLUNT)


def auc_of(values: NDArray[Any], is_first: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the AUC of each column of values, (rows, neurons): by ranks, as Mann and Whitney (1947), ties averaged.

    AUC = (Σ ranks of the first - n₁ (n₁ + 1) / 2) / (n₁ n₂); NaN where a value is NaN or a class has no rows.
    """
    from scipy.stats import rankdata

    n1, n2 = int(is_first.sum()), int((~is_first).sum())
    if not n1 or not n2:
        return np.full(values.shape[1], np.nan)
    sums = np.empty(values.shape[1])
    for start in range(0, values.shape[1], _COLUMNS):  # ranks of all at once would take six times the memory
        some = slice(start, start + _COLUMNS)
        ranks = rankdata(values[:, some], axis=0)  # the mean rank of ties; NaN for a column that holds NaN
        sums[some] = ranks[is_first].sum(axis=0)
    found: NDArray[np.float64] = (sums - n1 * (n1 + 1) / 2) / (n1 * n2)
    return found


def separate(
    network: Network, X: NDArray[Any], ids: NDArray[np.int64], pairs: list[tuple[int, int, int]]
) -> list[Pair]:
    """Return, for pairs of classes with how often they are confused, what each hidden neuron tells of them.

    Of each class at most 2,000 rows are looked at, an even spread. A convolution's neuron is its channel: the mean of
    its activation over all places.
    """
    axes = neuron_axes(network.layers)
    hidden = [place for place, layer in enumerate(network.layers[:-1]) if "W" in layer.parameters]
    if not hidden or not pairs:
        return []
    classes = sorted({one for first, second, _ in pairs for one in (first, second)})
    rows_of = {one: _spread(np.flatnonzero(ids == one)) for one in classes}
    rows = np.concatenate([rows_of[one] for one in classes])
    every = []
    for _, space in passes(network, X[rows]):
        of_layers = []
        for place in hidden:
            a, axis = space.passes[place].a, axes[place]
            others = tuple(i for i in range(1, a.ndim) if i != axis)
            of_layers.append(a.mean(axis=others).reshape(len(a), -1) if others else a.copy())
        every.append(np.concatenate(of_layers, axis=1))
    values, of_class = np.concatenate(every), ids[rows]
    counts = [
        1 if axes[place] is None else network.layers[place].output_shape[(axes[place] or 1) - 1] for place in hidden
    ]
    names = tuple(
        f"{network.layers[place].name}[{j}]" for place, n in zip(hidden, counts, strict=True) for j in range(n)
    )
    found = []
    for first, second, confused in pairs:
        both = (of_class == first) | (of_class == second)
        auc = auc_of(values[both], of_class[both] == first)
        found.append(Pair(first, second, confused, int(((ids == first) | (ids == second)).sum()), names, auc))
    return found


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows if len(rows) <= _MOST_ROWS else rows[np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(np.int64)]
