from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuronwise.data.arrays import check_arrays
from neuronwise.errors import DataError, UsageError


def test_arrays_that_are_right_are_not_copied() -> None:
    X = np.ones((3, 2), np.float32)
    X.flags.writeable = False
    assert check_arrays(X)[0] is X
    X = np.ones((3, 2))
    assert check_arrays(X, dtype=np.float64)[0] is X


NUMBERS = np.array([[0, 1, 2], [3, 4, 100]])


@pytest.mark.parametrize(
    "X",
    [
        NUMBERS.tolist(),
        *(
            NUMBERS.astype(dtype)
            for dtype in ["int8", "uint8", ">i2", "uint64", "int64", "float16", ">f4", ">f8", "float32", "longdouble"]
        ),
        np.asfortranarray(NUMBERS.astype(np.float32)),
        np.repeat(NUMBERS.astype(np.float32), 2, axis=1)[:, ::2],
        NUMBERS.astype(np.float32)[::-1][::-1],
        NUMBERS.astype(object),
        np.array([[decimal.Decimal(int(v)) for v in row] for row in NUMBERS], dtype=object),
        np.array([[0.0, True, 2], [3, np.float32(4), 100]], dtype=object),
        np.ma.masked_array(NUMBERS, mask=False),
        np.matrix(NUMBERS),
        pd.DataFrame(NUMBERS),
        pd.DataFrame(NUMBERS).astype({0: "float32"}),
    ],
    ids=lambda X: f"{type(X).__name__}-{getattr(X, 'dtype', '')}",
)
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_every_kind_of_numbers_is_read_right(X: Any) -> None:
    for dtype in (np.float32, np.float64):
        checked, none = check_arrays(X, dtype=dtype)
        assert none is None
        assert type(checked) is np.ndarray
        assert checked.dtype == dtype
        assert checked.dtype.isnative
        assert checked.flags.c_contiguous
        assert checked.flags.aligned
        np.testing.assert_array_equal(checked, NUMBERS)


def test_unaligned_memory_is_copied_into_order() -> None:
    raw = np.zeros(25, np.uint8)
    X = raw[1:25].view(np.float32).reshape(3, 2)
    assert not X.flags.aligned
    assert check_arrays(X)[0].flags.aligned


def test_yes_and_no_are_one_and_zero() -> None:
    assert check_arrays(np.array([[True, False]]))[0].tolist() == [[1.0, 0.0]]
    assert check_arrays(np.array([[True, False]], dtype=object))[0].tolist() == [[1.0, 0.0]]


@given(hnp.arrays(st.sampled_from(["i1", ">u2", "<i4", ">u8", "?"]), hnp.array_shapes(min_dims=2, max_dims=2)))
def test_whole_numbers_are_right_or_refused(X: np.ndarray[Any, Any]) -> None:
    if int(X.max()) > 2**53:
        with pytest.raises(DataError, match=r"beyond 2\^53"):
            check_arrays(X, dtype=np.float64)
        return
    checked, _ = check_arrays(X, dtype=np.float64)
    assert [[int(v) for v in row] for row in checked] == [[int(v) for v in row] for row in X]


def test_a_missing_value_is_refused_with_count_and_place() -> None:
    X = np.zeros((40, 3))
    X[17, 2] = X[20, 0] = X[39, 1] = np.nan
    with pytest.raises(
        DataError, match=r"^argument X: Input X contains NaN: 3 values, the first at row 17, column 2\n"
    ):
        check_arrays(X)
    X[5, 1] = -np.inf
    with pytest.raises(DataError) as caught:
        check_arrays(X)
    assert caught.value.message == (
        "Input X contains NaN: 3 values, the first at row 17, column 2 "
        "and infinity: 1 value, the first at row 5, column 1"
    )


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, float("nan")])
def test_a_missing_object_is_refused_as_missing(missing: object) -> None:
    X = np.array([[1, 2], [3, missing]], dtype=object)
    with pytest.raises(DataError, match="Input X contains NaN: 1 value, the first at row 1, column 1"):
        check_arrays(X)


def test_finite_values_whose_sum_overflows_are_taken() -> None:
    assert np.isfinite(check_arrays(np.full((4, 4), 3e38, np.float32))[0]).all()


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (np.array([["a", "b"]]), r"Input X holds text \('a'\), numbers are expected"),
        (np.array([["1.5", "2"]]), "Input X holds text"),
        (np.array([[b"1"]]), "Input X holds text"),
        (np.array([[1, "2"]], dtype=object), r"no number: '2' \(str\) at row 0, column 1"),
        (np.array([[1, [2]]], dtype=object), r"no number: \[2\] \(list\) at row 0, column 1"),
        (np.array([[1, 1j]], dtype=object), r"no number: 1j \(complex\)"),
        (pd.DataFrame({"a": [1], "zip": ["x"]}), r"no number: 'x' \(str\) at row 0, column 1"),
        (np.array([[1j]]), "Input X holds complex numbers"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), "Input X holds dates"),
        (np.array([[1]], dtype="m8[D]"), "Input X holds durations"),
        (np.zeros((2, 2), dtype=[("a", "f4")]), "numbers are expected"),
        ([[1, 2], [3]], "Input X is no array"),
        (
            np.ma.masked_array(np.ones((2, 2)), mask=[[0, 0], [1, 1]]),
            "masked array with 2 masked values, the first at row 1, column 0",
        ),
        (scipy.sparse.csr_matrix(np.eye(2)), r"sparse array \(csr_matrix\)\n.*X\.toarray\(\)"),
        (scipy.sparse.coo_array(np.eye(2)), "sparse array"),
        (np.zeros(3), r"a 2-D array \(rows, features\) expected, X has shape \(3,\)\n.*reshape\(-1, 1\)"),
        (np.float64(1), r"shape \(\)"),
        (None, "no number: None|2-D array"),
        (np.zeros((2, 2, 2)), r"X has shape \(2, 2, 2\)\n.*lays every row out flat"),
        (np.zeros((0, 3)), r"X has no rows: its shape is \(0, 3\)"),
        (np.zeros((3, 0)), r"X has no features: its shape is \(3, 0\)"),
        ([], "X has shape"),
        (
            np.array([[1], [2**53 + 1]]),
            r"beyond 2\^53, which floating numbers cannot tell apart: 1 value, the first at row 1, column 0",
        ),
        (np.array([[-(2**53) - 1]]), r"beyond 2\^53"),
        (np.array([[np.iinfo(np.int64).min]]), r"beyond 2\^53"),
        (np.array([[2**64 - 1]], dtype=np.uint64), r"beyond 2\^53"),
        (np.array([[10**30]], dtype=object), r"beyond 2\^53"),
        (
            np.array([[1.0, 1e39]]),
            "Input X contains values too large for float32: 1 value, the first at row 0, column 1",
        ),
    ],
)
def test_what_cannot_be_taken_right_is_refused(X: Any, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        check_arrays(X)
    assert caught.value.where == "argument X"
    assert caught.value.exit_code == 2


def test_large_whole_numbers_up_to_the_limit_are_exact() -> None:
    assert check_arrays([[2**53]], dtype=np.float64)[0][0, 0] == 2**53
    assert check_arrays(np.array([[1e300]]), dtype=np.float64)[0][0, 0] == 1e300


def test_images_are_taken_when_allowed() -> None:
    X = np.zeros((2, 3, 4), np.uint8)
    assert check_arrays(X, allow_nd=True)[0].shape == (2, 3, 4)
    bad = X.astype(float)
    bad[1, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"the first at row 1, place \(2, 3\)"):
        check_arrays(bad, allow_nd=True)


def test_only_two_precisions_are_known() -> None:
    for dtype in (np.float16, np.int64, "U5"):
        with pytest.raises(UsageError, match="dtype is float32 or float64, not"):
            check_arrays([[1]], dtype=dtype)
    assert check_arrays([[1]], dtype=">f4")[0].dtype == np.dtype("=f4")


X3 = np.zeros((3, 1))


@pytest.mark.parametrize(
    ("y", "dtype", "expected"),
    [
        ([0, 2, 1], np.int64, [0, 2, 1]),
        (np.array([0, 2, 1], dtype=">u2")[:, None], np.int64, [0, 2, 1]),
        ([True, False, True], np.int64, [1, 0, 1]),
        ([0.5, 2, 1], np.float32, [0.5, 2, 1]),
        (np.array([[0.5], [2], [1]]), np.float32, [0.5, 2, 1]),
        (np.array([[1, 2]] * 3), np.float32, [[1, 2]] * 3),
        (pd.Series([7.0, 8.0, 9.0], index=[5, 6, 7]), np.float32, [7, 8, 9]),
    ],
)
def test_targets_become_class_ids_or_floats(y: Any, dtype: type, expected: list[Any]) -> None:
    _, checked = check_arrays(X3, y)
    assert checked is not None
    assert checked.dtype == dtype
    assert checked.tolist() == expected


@pytest.mark.parametrize(
    ("y", "text"),
    [
        ([0, 1], "different lengths: 3 rows in X, 2 in y"),
        (np.zeros((1, 3)), "different lengths: 3 rows in X, 1 in y"),
        ([0.0, np.nan, 1], "Input y contains NaN: 1 value, the first at row 1"),
        ([0.0, 1, np.inf], "Input y contains infinity: 1 value, the first at row 2"),
        (["a", "b", "c"], r"Input y holds text \('a'\), numbers are expected\narray_target"),
        (np.zeros((3, 1, 1)), r"y of shape \(n,\) or \(n, k\) expected"),
        (3, r"y of shape \(n,\)"),
        (np.array([0, 1, 2**63], np.uint64), r"class ids beyond 2\^63"),
        ([0.0, 1, 1e40], "Input y contains values too large for float32"),
        (scipy.sparse.csr_matrix(np.eye(3)), "Input y is a sparse array"),
    ],
)
def test_targets_that_cannot_be_taken_right_are_refused(y: Any, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        check_arrays(X3, y)
    assert caught.value.where == "argument y"
