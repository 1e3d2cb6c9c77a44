"""What columns of a table tell by themselves and beside the target: arithmetic, whoever trains on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NUMERIC = 20
"""So many different values make a column one of numbers."""
_SAME = 0.99999
_LEAST_SURE = 150
# What a category tells is known from so many rows of it on; nearly all rows are of such ones.
_LEAST_IN_CATEGORY, _SHARE_IN_CATEGORIES = 5, 0.9


def same_columns(columns: list[NDArray[np.float64]]) -> list[tuple[int, int]]:
    """Return the pairs of places whose columns are the same, but for a factor and a shift."""
    moving = [place for place, one in enumerate(columns) if one.std() > 0]
    if len(moving) < 2:
        return []
    together = np.abs(np.corrcoef(np.array([columns[place] for place in moving])))
    return [(moving[i], moving[j]) for i, j in zip(*np.where(np.triu(together, 1) > _SAME), strict=True)]


def numbers_rows(values: NDArray[np.float64]) -> bool:
    """Return whether a column only numbers the rows: each value is there once, and all stand on an even grid."""
    distinct = np.unique(np.round(values, 9))
    if len(distinct) < max(2, 0.99 * len(values)):
        return False
    # What is left of a count of all rows, of which some are held out, lies evenly all the same.
    line, width = np.linspace(distinct[0], distinct[-1], len(distinct)), distinct[-1] - distinct[0]
    steps = np.diff(distinct)
    apart = steps / steps.min()
    is_even = float(np.abs(distinct - line).max()) < 0.06 * width
    return bool(is_even and np.all(np.abs(apart - np.rint(apart)) < 1e-3) and apart.max() < 20)


def from_each(columns: list[NDArray[np.float64]], y: NDArray[np.float64], *, is_by_class: bool) -> list[float]:
    """Return for each column how well the target follows from it alone, 0 to 1.

    Of numbers the greater of |correlation| and |correlation of the ranks|, of classes √(share of the column's variance
    that lies between them).
    """
    found = []
    for values in columns:
        if values.std() == 0 or y.std() == 0:
            found.append(0.0)
        elif is_by_class:
            means = [(np.mean(y == one), values[y == one].mean()) for one in np.unique(y)]
            between = sum(share * (mean - values.mean()) ** 2 for share, mean in means)
            found.append(float(np.sqrt(between / values.var())))
        else:
            linear = abs(float(np.corrcoef(values, y)[0, 1]))
            is_numeric = len(np.unique(values)) > NUMERIC and len(np.unique(y)) > NUMERIC
            ranked = abs(float(np.corrcoef(_ranks(values), _ranks(y))[0, 1])) if is_numeric else 0.0
            found.append(max(linear, ranked))
    return found


def from_category(values: NDArray[np.int64], y: NDArray[np.float64], *, is_by_class: bool) -> float:
    """Return how well the target follows from a category alone, 0 to 1; 0 where most categories have few rows.

    It is √(share of the target's variance that lies between the categories), of classes √(Goodman and Kruskal's τ).

    Args:
        values: The category of each row, from 0 on.
        y: Target of each row.
        is_by_class: Whether it is a class.
    """
    rows = np.bincount(values).astype(float)
    if rows[rows >= _LEAST_IN_CATEGORY].sum() < _SHARE_IN_CATEGORIES * len(values):
        return 0.0
    goals = (y[:, None] == np.unique(y)).astype(float) if is_by_class else y[:, None]
    means = np.array([np.bincount(values, one) for one in goals.T]).T / np.maximum(rows, 1)[:, None]
    total = float(goals.var(0).sum())
    between = float((rows[:, None] * (means - goals.mean(0)) ** 2).sum()) / len(values)
    return min(1.0, between / total) ** 0.5 if total > 0 else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks, the same for values that are the same."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def farthest(values: NDArray[np.float64]) -> float:
    """Return the greatest distance of a value from the mean, in deviations; 0 where there are few different values."""
    if values.std() == 0 or len(np.unique(values)) <= NUMERIC:
        return 0.0
    return float(np.abs(values - values.mean()).max() / values.std())


def surest_right(out: NDArray[np.float64], goal: NDArray[np.float64], limit: float = 0.5) -> float | None:
    """Return the share of right answers among the surest third of them; None of fewer than 150 rows.

    How sure an answer is, is how far its largest output lies above the next one.

    Args:
        out: Outputs, (rows, classes), or of two classes (rows, 1).
        goal: Classes, (rows,).
        limit: Of a single output what lies above it stands for class 1.
    """
    is_known = out.ndim == 2 and goal.ndim == 1 and len(out) == len(goal) >= _LEAST_SURE
    if not is_known or not np.isfinite(out).all():
        return None
    if out.shape[1] == 1:
        sure, guess = np.abs(out[:, 0] - limit), out[:, 0] > limit
    else:
        top = np.sort(out, axis=1)
        sure, guess = top[:, -1] - top[:, -2], out.argmax(1)
    surest = np.argsort(sure, kind="stable")[-(len(goal) // 3) :]
    return float(np.mean(guess[surest] == goal[surest]))
