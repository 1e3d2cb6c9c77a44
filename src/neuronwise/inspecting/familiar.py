"""Whether a picture is like those learned from: how much of it their main directions leave unexplained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DIRECTIONS, _MOST_ROWS, _MOST_INPUTS = 24, 2_000, 4_096


@dataclass(frozen=True)
class Familiar:
    """The subspace in which inputs lie.

    Attributes:
        mean: Their mean, (inputs,).
        directions: The main ones, orthonormal, (k, inputs).
        limit: The 99th percentile, over inputs that were not used to find them, of the share of an input's squared
            distance from `mean` that lies outside these directions.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    limit: float

    def unexplained(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the share for each row of `X`, (rows, inputs): (rows,), from 0 to 1."""
        centred = np.asarray(X, np.float64) - self.mean
        inside = ((centred @ self.directions.T.astype(np.float64)) ** 2).sum(axis=1)
        whole = (centred**2).sum(axis=1)
        with np.errstate(all="ignore"):
            share = np.where(whole > 0, 1 - inside / whole, 0.0)
        return np.clip(share, 0.0, 1.0)


def find_familiar(X: NDArray[np.floating]) -> Familiar | None:
    """Return the subspace of inputs, (rows, inputs), by principal components (Pearson 1901); None of too few or many.

    Four fifths of the rows find the directions, the others the limit.
    """
    rows = np.asarray(X[:_MOST_ROWS], np.float64)
    if len(rows) < 100 or rows.shape[1] > _MOST_INPUTS or rows.shape[1] < 4 or not np.isfinite(rows).all():
        return None
    found_on, judged_on = rows[: len(rows) * 4 // 5], rows[len(rows) * 4 // 5 :]
    mean = found_on.mean(axis=0)
    centred = found_on - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    k = min(_DIRECTIONS, rows.shape[1] // 2)
    familiar = Familiar(mean.astype(np.float32), vectors[:, ::-1][:, :k].T.astype(np.float32), 1.0)
    limit = float(np.percentile(familiar.unexplained(judged_on), 99))
    return Familiar(familiar.mean, familiar.directions, limit)
