"""Histograms of values that lie hardly apart."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.recording.statistics import histogram


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_range_too_narrow_to_divide_by_is_counted_all_the_same(dtype: type) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    values = (np.arange(100) * tiny).astype(dtype).reshape(10, 10)
    counts, ends = np.zeros(64, np.uint32), np.zeros(2, dtype)
    with np.errstate(all="ignore"):
        histogram(values, counts, ends)
    assert counts.sum() == 100
    assert counts.max() <= 3
    assert (ends[0], ends[1]) == (0, values.max())
