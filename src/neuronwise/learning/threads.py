"""How many threads the matrix products use."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from neuronwise.errors import UsageError


def blas_threads(threads: int | None) -> AbstractContextManager[Any]:
    """Return a context in which matrix products use this many threads.

    One is the default: the products of small networks are too short to share, and on a busy machine two
    threads were seen to make a step 100 to 1000 times slower.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(
        None if threads is None else whole_number(threads, "threads", 1), user_api="blas"
    )
    return limits


def whole_number(value: Any, argument: str, least: int) -> int:
    """Return `value` as an int, or say which argument must be a whole number from `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UsageError(f"expected a whole number from {least}, got {value!r}", where=f"argument {argument}")
    return int(value)
