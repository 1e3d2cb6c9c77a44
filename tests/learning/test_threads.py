"""Threads of the matrix products."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info

from neuronwise.errors import UsageError
from neuronwise.learning.arguments import whole_number
from neuronwise.learning.threads import _libraries, blas_threads


def _blas() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_the_number_holds_inside_and_is_restored_outside() -> None:
    _libraries.cache_clear()  # an earlier test may have imported a library with a BLAS of its own
    before = _blas()
    with blas_threads(1):
        assert set(_blas()) == {1}
    assert _blas() == before
    with pytest.raises(RuntimeError), blas_threads(1):
        raise RuntimeError
    assert _blas() == before


def test_none_leaves_them_as_they_are() -> None:
    before = _blas()
    with blas_threads(None):
        assert _blas() == before


@pytest.mark.parametrize("wrong", [0, -1, 1.0, "2", True])
def test_a_number_that_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError) as caught:
        blas_threads(wrong)  # type: ignore[arg-type]
    assert str(caught.value) == f"argument threads: expected a whole number from 1, got {wrong!r}"
    with pytest.raises(UsageError, match="argument epochs: expected a whole number from 1"):
        whole_number(wrong, "epochs", 1)
