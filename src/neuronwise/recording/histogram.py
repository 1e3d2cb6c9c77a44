"""A histogram of the values of a layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.recording.rows import BINS

Array = NDArray[np.floating[Any]]

# A histogram is of at most so many values of a layer, evenly spread.
SAMPLE = 16_384


def histogram(values: Array | None, counts: NDArray[np.uint32], ends: Array) -> None:
    """Fill 64 counts of equal width between the least and the greatest finite value, and these two.

    Of more than 16,384 values, so many evenly spread over them are counted, so that the sum of the counts says how many
    were. What is NaN or infinite is not counted. Without finite values all counts are 0 and the ends NaN.
    """
    counts[...], ends[...] = 0, np.nan
    if values is None:
        return
    flat = np.ravel(values, order="K")
    if flat.size > SAMPLE:
        flat = flat[:: _spacing(flat.size, values.shape[-1])]
    if not flat.size:
        return
    low, high = float(np.minimum.reduce(flat)), float(np.maximum.reduce(flat))
    if not (math.isfinite(low) and math.isfinite(high)):
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
    ends[0], ends[1] = low, high
    if not high > low:
        counts[0] = flat.size
        return
    # A quarter of each where the distance of two huge numbers is more than the dtype holds. Divided before multiplied:
    # what 64 classes of a tiny distance are multiplied with may be infinite.
    low_value, high_value = flat.dtype.type(low), flat.dtype.type(high)
    if not np.isfinite(high_value - low_value):
        flat, low_value, high_value = flat * flat.dtype.type(0.25), low_value / 4, high_value / 4
    places = flat - low_value
    places /= high_value - low_value
    places *= BINS
    index = places.astype(np.intp)
    np.minimum(index, BINS - 1, out=index)
    counts[...] = np.bincount(index, minlength=BINS)


def _spacing(size: int, row: int) -> int:
    """Return how far the values that are counted lie apart: not always in the same columns of a matrix."""
    spacing = -(-size // SAMPLE)
    while math.gcd(spacing, row) > 1:
        spacing += 1
    return spacing
