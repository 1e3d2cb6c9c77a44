"""Buffers that begin at a cache line, and large ones at a large page.

NumPy promises 16 bytes only. A processor loads 32 or 64 bytes at once; where they straddle two cache lines each load
counts twice, which was seen to cost a tenth of a small network's step (docs/performance.md). NumPy also asks Linux for
pages of 2 MiB where an array takes 4 MiB; with the usual ones of 4 KiB a processor looks up addresses all the time when
it goes through a few arrays of one or two MiB. So such an array is laid into 4 MiB, of which only what is used takes
memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_CACHE_LINE = 64
_LARGE_PAGE = 2**21
_LARGE_PAGES_FROM = 2**22  # bytes, of NumPy


def empty_buffer(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array of any content that begins at a multiple of 64 bytes, from 1 MiB on of 2 MiB."""
    size = math.prod(shape) * dtype.itemsize
    boundary, length = _CACHE_LINE, size
    if size >= _LARGE_PAGE // 2:
        boundary, length = _LARGE_PAGE, max(size, _LARGE_PAGES_FROM)
    memory = np.empty(length + boundary, dtype=np.uint8)
    start = -memory.ctypes.data % boundary
    return memory[start : start + size].view(dtype).reshape(shape)


def zeros_buffer(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array of zeros that begins where `empty_buffer` begins."""
    buffer = empty_buffer(shape, dtype)
    buffer.fill(0)
    return buffer
