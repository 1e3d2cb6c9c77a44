"""Sizes of values that may be NaN or infinite: in which order they are told, and what of them can be drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Larger than any value that is drawn, and small enough that squares and sums of it are finite.
_LARGE = 1e100


def sizes(values: ArrayLike) -> NDArray[np.float64]:
    """Return |values|, with those that are not finite as the largest of all: they are what one wants to see."""
    wide = np.abs(np.asarray(values, np.float64))
    return np.where(np.isfinite(wide), np.minimum(wide, _LARGE), _LARGE)


def by_size(values: ArrayLike, most: int | None = None) -> list[int]:
    """Return the places of values, (n,), the largest |value| first, those not finite before all; at most so many."""
    order: list[int] = np.argsort(-sizes(values), kind="stable")[:most].tolist()
    return order


def drawable(values: ArrayLike) -> NDArray[Any]:
    """Return values with 0 for those that are not finite, of which no bar or line can be drawn."""
    wide = np.asarray(values, np.float64)
    return np.where(np.isfinite(wide), wide, 0.0)
