"""Products in pieces are the product, and how one is cut depends on its shape alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.network import products
from neuronwise.network.products import piece, product

SHAPES = [
    (10, 128, 784),
    (32, 128, 784),
    (32, 64, 128),
    (33, 130, 785),
    (128, 128, 784),
    (10, 512, 512),
    (128, 300, 784),
    (512, 10, 64),
    (3, 512, 784),
    (1, 4096, 784),
    (4, 3, 2),
]


@pytest.fixture(params=[True, False], ids=["reads in place", "copies first"])
def _processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_reads_in_place", lambda: request.param)


@pytest.mark.usefixtures("_processor")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_the_three_products_of_a_dense_layer_are_those_of_numpy(m: int, n: int, k: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    x, W, delta = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (n, k), (m, n)))
    tolerance = 1e-3 if dtype is np.float32 else 1e-11
    for A, B in ((x, W.T), (delta.T, x), (delta, W)):
        out = np.full((A.shape[0], B.shape[1]), np.nan, dtype=dtype)
        product(A, B, out)()
        np.testing.assert_allclose(out, A.astype(np.float64) @ B.astype(np.float64), rtol=0, atol=tolerance)


@pytest.mark.usefixtures("_processor")
def test_a_product_reads_its_buffers_when_it_is_called() -> None:
    x, W, z = np.ones((32, 784), np.float32), np.ones((128, 784), np.float32), np.zeros((32, 128), np.float32)
    multiply = product(x, W.T, z)
    multiply()
    assert (z == 784).all()
    x[5], W[7] = 2, 3
    multiply()
    assert z[5, 7] == 6 * 784
    assert z[0, 0] == 784


@pytest.mark.usefixtures("_processor")
def test_a_result_that_does_not_lie_in_one_piece_is_filled_too() -> None:
    A, B = np.random.default_rng(0).standard_normal((2, 64, 64)).astype(np.float32)
    out = np.zeros((64, 128), np.float32)
    product(A, B, out[:, ::2])()
    np.testing.assert_allclose(out[:, ::2], A @ B, atol=1e-4)
    assert not out[:, 1::2].any()


sizes = st.one_of(st.integers(1, 70), st.integers(1, 5_000))


@given(rows=sizes, columns=sizes, k=sizes, kind=st.sampled_from([(False, True), (True, False), (False, False)]))
def test_pieces_are_small_enough_to_be_read_in_place_or_the_whole(
    rows: int, columns: int, k: int, kind: tuple[bool, bool]
) -> None:
    r, c = piece(rows, columns, k, A_transposed=kind[0], B_transposed=kind[1])
    assert 1 <= r <= rows
    assert 1 <= c <= columns
    if (r, c) != (rows, columns):
        assert r * c * k <= 1_000_000
        assert not kind[1] or r * c <= 1_200
        assert math.ceil(rows / r) * math.ceil(columns / c) <= 1_000


def test_a_small_product_and_a_large_one_stay_whole() -> None:
    assert piece(32, 16, 784, A_transposed=False, B_transposed=True) == (32, 16)
    assert piece(4096, 128, 784, A_transposed=False, B_transposed=True) == (4096, 128)


def test_a_small_batch_through_a_large_layer_is_cut() -> None:
    assert piece(32, 128, 784, A_transposed=False, B_transposed=True) == (8, 128)
    assert piece(128, 784, 32, A_transposed=True, B_transposed=False) == (64, 400)
    assert piece(32, 784, 128, A_transposed=False, B_transposed=False) == (8, 784)


def test_the_rows_of_a_batch_do_not_depend_on_what_else_goes_on() -> None:
    # Cut by shape alone: the same bits again, whatever ran in between.
    rng = np.random.default_rng(1)
    x, W = rng.standard_normal((32, 784)).astype(np.float32), rng.standard_normal((128, 784)).astype(np.float32)
    first, second = np.empty((2, 32, 128), np.float32)
    product(x, W.T, first)()
    product(W, x.T, np.empty((128, 32), np.float32))()
    product(x, W.T, second)()
    assert np.array_equal(first, second)
