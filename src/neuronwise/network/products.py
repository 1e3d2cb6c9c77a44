"""Matrix products, in pieces where that is faster.

OpenBLAS, which NumPy brings along, has a second way for small float32 products on processors with AVX-512: it reads the
matrices where they lie, while the general way copies both first. In a mini-batch of 10 or 32 rows that copying takes
longer than the product. OpenBLAS takes the second way up to 10^6 multiplications (interface/gemm.c and
kernel/x86_64/sgemm_small_kernel_permit_skylakex.c), and a dense layer is soon larger, so larger products are taken
here in pieces of that size: a batch of 32 through 784 × 128 weights in half the time (docs/performance.md).

Pieces are rows and columns of the result, so each of its numbers is still one sum, though added up in another order.
How a product is cut follows from its shape and the processor alone, never from a measurement or from what else goes
on: a training repeated on the same machine has the same bits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

# What OpenBLAS calls the processors for which it has that second way.
_PROCESSORS = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})
_MOST = 1_000_000  # multiplications of a piece
_MOST_OUTPUTS = 1_200  # numbers of a piece of A B.T, whose rows it multiplies one by one
# Larger products do not gain; they are also those that several threads should share.
_LARGE, _LARGE_ROWS = 16_000_000, 60_000_000
# Nanoseconds: copying a number in the general way, a further call, the end of the sum of one number of A B.T.
_COPY, _CALL, _SUM = 0.28, 500.0, 0.4


def product(A: Array, B: Array, out: Array) -> Callable[[], Any]:
    """Return a function that computes out = A B from what the three buffers hold whenever it is called.

    Args:
        A: (rows, k).
        B: (k, columns); like A it may be a transposed view.
        out: (rows, columns).
    """
    rows, columns = out.shape
    r, c = rows, columns
    if out.dtype == np.float32 and _reads_in_place():
        r, c = piece(rows, columns, A.shape[1], A_transposed=_is_transposed(A), B_transposed=_is_transposed(B))
    contiguous = out.flags.c_contiguous  # which `dot`, the faster of the two, insists on
    if (r, c) == (rows, columns):
        return functools.partial(np.dot if contiguous else np.matmul, A, B, out)
    multiply = np.dot if contiguous and c == columns else np.matmul
    pieces = [
        functools.partial(multiply, A[i : i + r], B[:, j : j + c], out[i : i + r, j : j + c])
        for i in range(0, rows, r)
        for j in range(0, columns, c)
    ]

    def multiply_pieces() -> None:
        for multiply_piece in pieces:
            multiply_piece()

    return multiply_pieces


def piece(rows: int, columns: int, k: int, *, A_transposed: bool, B_transposed: bool) -> tuple[int, int]:
    """Return rows and columns of the pieces in which (rows, k) times (k, columns) is fastest; all where whole is.

    The sizes were found by trying out (docs/performance.md), the last test is an estimate of what is won and lost.
    """
    whole = rows, columns
    most = min(_MOST // k, _MOST_OUTPUTS if B_transposed else _MOST)
    size = rows * columns * k
    if rows * columns <= most or size > _LARGE_ROWS or (A_transposed and B_transposed):
        return whole
    if A_transposed:  # dW = delta.T x
        r = _even(rows, 64, 8)
        c = _even(columns, min(most // r, 400), 16)
        if k > 128:
            return whole
    elif most // columns >= 8:
        r, c = _even(rows, most // columns, 8), columns
    elif B_transposed:  # z = x W.T
        r = _even(rows, 128, 8)
        c = _even(columns, most // r, 8)
    else:  # dx = delta W
        r, c = _even(rows, min(rows, most // 128), 8), 128
        if size > 10_000_000 or most // 128 < min(rows, 8):
            return whole
    if size > _LARGE and not B_transposed:
        return whole
    won = _COPY * (rows + columns) * k
    lost = _CALL * math.ceil(rows / r) * math.ceil(columns / c) + (_SUM * rows * columns if B_transposed else 0.0)
    return (r, c) if won > lost else whole


def _even(n: int, most: int, step: int) -> int:
    """Return a size of at most `most`, a multiple of `step`, that cuts n into pieces as alike as can be."""
    if n <= most:
        return n
    most = max(most // step * step, step)
    size = math.ceil(n / math.ceil(n / most))
    return min(math.ceil(size / step) * step, most)


def _is_transposed(array: Array) -> bool:
    return array.strides[0] == array.itemsize and array.strides[1] != array.itemsize


@functools.cache
def _reads_in_place() -> bool:
    """Return whether NumPy's BLAS is OpenBLAS on a processor where it reads small matrices in place."""
    from threadpoolctl import threadpool_info

    return any(
        info.get("internal_api") == "openblas" and info.get("architecture") in _PROCESSORS for info in threadpool_info()
    )
