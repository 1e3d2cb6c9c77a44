"""Buffers that begin at a cache line.

NumPy promises 16 bytes only. A processor loads 32 or 64 bytes at once; where they straddle two cache lines each load
counts twice, which was seen to cost a tenth of a small network's step (docs/performance.md).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_CACHE_LINE = 64


def empty_buffer(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array of any content that begins at a multiple of 64 bytes."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _CACHE_LINE, dtype=np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def zeros_buffer(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array of zeros that begins at a multiple of 64 bytes."""
    buffer = empty_buffer(shape, dtype)
    buffer.fill(0)
    return buffer
