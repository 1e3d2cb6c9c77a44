"""How a neuron's activation level goes with the targets: class by class, or with a value; and how sparse it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassAnswer:
    """How a neuron answers to the examples of one class.

    Attributes:
        name: Of the class.
        examples: How many of them there were.
        mean: Mean activation level over them.
        active: Share of them with z > 0.
        auc: Area under the ROC curve of the level alone, these examples against all others: the share of pairs of one
            of these and one of the others in which it is higher for these (a tie counts half). 0.5 tells nothing, 1 or
            0 separates them wholly. NaN where there are none of either, or a level is not finite.
    """

    name: str
    examples: int
    mean: float
    active: float
    auc: float

    @property
    def separates(self) -> float:
        """The AUC, or 1 less it where the neuron is low for this class: from 0.5 to 1."""
        return max(self.auc, 1 - self.auc)


@dataclass(frozen=True)
class Quarter:
    """How a neuron answers to a quarter of the examples, ordered by their target.

    Attributes:
        least, greatest: Target in it, in its own unit.
        words: The same in words.
        examples: How many.
        mean: Mean activation level.
        active: Share with z > 0.
    """

    least: float
    greatest: float
    words: str
    examples: int
    mean: float
    active: float


def class_answers(
    names: tuple[str, ...], ids: NDArray[np.int64], z: NDArray[np.float64], a: NDArray[np.float64]
) -> tuple[ClassAnswer, ...]:
    """Return the answers to each class, in their order; z, a and the classes of the examples are (rows,).

    The AUC is read off the ranks of the levels (Hanley and McNeil 1982, Radiology 143, p. 31: it is Wilcoxon's
    statistic), one order for all classes; equal to `sklearn.metrics.roc_auc_score`.
    """
    from scipy.stats import rankdata

    # A level that is not finite has no place in an order.
    ranks = rankdata(a) if np.isfinite(a).all() else None
    found = []
    for place, name in enumerate(names):
        own = ids == place
        count = int(own.sum())
        others, auc = len(ids) - count, float("nan")
        if ranks is not None and count and others:
            auc = float((ranks[own].sum() - count * (count + 1) / 2) / (count * others))
        mean = float(a[own].mean()) if count else np.nan
        found.append(ClassAnswer(name, count, mean, float((z[own] > 0).mean()) if count else np.nan, auc))
    return tuple(found)


def quarters(
    target: NDArray[np.float64], z: NDArray[np.float64], a: NDArray[np.float64], words: Callable[[float], str] = str
) -> tuple[tuple[Quarter, ...], float]:
    """Return the answers to four equal parts of the examples by target, and Spearman's rank correlation with it.

    The correlation is NaN where either does not vary, or is not finite. `words` writes a target as a person would.
    """
    from scipy.stats import rankdata

    order = np.argsort(target, kind="stable")
    parts = [part for part in np.array_split(order, 4) if len(part)]
    found = []
    for part in parts:
        least, greatest = float(target[part[0]]), float(target[part[-1]])
        said = f"{words(least)} to {words(greatest)}"
        found.append(Quarter(least, greatest, said, len(part), float(a[part].mean()), float((z[part] > 0).mean())))
    if not (np.isfinite(a).all() and np.isfinite(target).all()) or a.min() == a.max() or target.min() == target.max():
        return tuple(found), np.nan
    return tuple(found), float(np.corrcoef(rankdata(a), rankdata(target))[0, 1])


def sparseness(a: NDArray[np.float64]) -> float:
    """Return how sparse activation levels, (rows,), are: 0 where all are equal, 1 where one example has all.

    (1 - (Σ |a| / n)² / (Σ a² / n)) / (1 - 1 / n): Vinje and Gallant 2000, Science 287, p. 1274, after Rolls and Tovee
    1995. NaN where all are 0, one is not finite, or there is one example only.
    """
    n = len(a)
    largest = float(np.abs(a).max(initial=0.0))
    if n < 2 or not np.isfinite(largest) or largest == 0:
        return float("nan")
    scaled = np.abs(a) / largest
    return float((1 - scaled.mean() ** 2 / np.square(scaled).mean()) / (1 - 1 / n))
