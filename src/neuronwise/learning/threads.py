"""How many threads the matrix products use."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from neuronwise.learning.arguments import whole_number


def blas_threads(threads: int | None) -> AbstractContextManager[Any]:
    """Return a context in which matrix products use this many threads.

    One is the default: the products of small networks are too short to share, and on a busy machine two
    threads were seen to make a step 100 to 1000 times slower.
    """
    if threads is None:
        return nullcontext()
    limits: AbstractContextManager[Any] = _libraries().limit(limits=whole_number(threads, "threads", 1))
    return limits


@functools.cache
def _libraries() -> Any:
    """Return what sets the threads of NumPy's BLAS, which is loaded by now; to look for it takes a millisecond."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
