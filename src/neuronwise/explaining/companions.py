"""Which columns go together: their correlation, also where a column is several inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Fewer rows than so many for each input, and a correlation of several inputs is mostly chance.
_ROWS_PER_INPUT = 20
_MOST_ROWS, _MOST_INPUTS = 20_000, 3_000

Pair = tuple[str, str, float]


def companions(
    X: NDArray[Any], names: Sequence[str], groups: Sequence[NDArray[np.int64]], least: float = 0.5, seed: int = 0
) -> list[Pair]:
    """Return pairs of columns whose correlation is at least `least` in size, the strongest first.

    Of two columns of one input each it is Pearson's correlation, with its sign. Else it is the largest correlation that
    any weighted sums of their inputs have (Hotelling 1936, "Relations between two sets of variates"), from 0 to 1: of a
    category and a number that is the correlation of the number with its mean in each category.

    Args:
        X: Inputs, (rows, inputs); of more than 20,000 rows so many are drawn by `seed`.
        names: Of the columns.
        groups: Places of each column's inputs.
        least: From 0 to 1.
        seed: Of that draw.
    """
    if len(X) > _MOST_ROWS:
        X = X[np.sort(np.random.default_rng(seed).choice(len(X), _MOST_ROWS, replace=False))]
    bases = [_basis(X[:, places]) for places in groups]
    usable = [
        place
        for place, basis in enumerate(bases)
        if basis.shape[1] and (basis.shape[1] == 1 or len(X) >= _ROWS_PER_INPUT * basis.shape[1])
    ]
    single = [place for place in usable if bases[place].shape[1] == 1][:_MOST_INPUTS]
    found: list[Pair] = []
    if single:
        r = np.hstack([bases[place] for place in single])
        r = r.T @ r
        for i, j in zip(*np.nonzero(np.triu(np.abs(r) >= least, 1)), strict=True):
            found.append((names[single[i]], names[single[j]], float(r[i, j])))
    several = [place for place in usable if bases[place].shape[1] > 1]
    for i in several:
        for j in usable:
            if j == i or (j in several and j < i) or len(X) < _ROWS_PER_INPUT * (bases[i].shape[1] + bases[j].shape[1]):
                continue
            largest = float(np.linalg.norm(bases[i].T @ bases[j], 2))
            if largest >= least:
                found.append((names[i], names[j], min(largest, 1.0)))
    return sorted(found, key=lambda pair: -abs(pair[2]))


def _basis(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return an orthonormal basis of centred columns, (rows, rank); of one input with its own sign."""
    centred = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    if not np.isfinite(centred).all():
        return np.zeros((len(values), 0))
    size = np.linalg.norm(centred, axis=0)
    kept = centred[:, size > 1e-9 * np.sqrt(len(values))]
    if kept.shape[1] <= 1:
        made: NDArray[np.float64] = kept / np.linalg.norm(kept, axis=0)
        return made
    u, s, _ = np.linalg.svd(kept, full_matrices=False)
    basis: NDArray[np.float64] = u[:, s > 1e-6 * s[0]]
    return basis
