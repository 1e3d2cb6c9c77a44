from __future__ import annotations

import decimal
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data.array_targets import array_target
from neuronwise.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("y", "task", "classes", "ids"),
    [
        (["dog", "cat", "dog"], "binary", ["cat", "dog"], [1, 0, 1]),
        (np.array(["b", "a", "c"]), "multiclass", ["a", "b", "c"], [1, 0, 2]),
        (np.array(["b", "a", "c"], dtype=object)[:, None], "multiclass", ["a", "b", "c"], [1, 0, 2]),
        (pd.Series(["b", "a", "b"]), "binary", ["a", "b"], [1, 0, 1]),
        (pd.Categorical(["b", "a", "b"]), "binary", ["a", "b"], [1, 0, 1]),
        ([True, False], "binary", [False, True], [1, 0]),
        (np.array([True, False], dtype=object), "binary", [False, True], [1, 0]),
        ([1, -1, 1, -1], "binary", [-1, 1], [1, 0, 1, 0]),
        ([10, 20, 30] * 5, "multiclass", [10, 20, 30], [0, 1, 2] * 5),
        ([0.0, 1.0, 2.0] * 5, "multiclass", [0.0, 1.0, 2.0], [0, 1, 2] * 5),
        ([0.5, 1.5, 0.5], "binary", [0.5, 1.5], [0, 1, 0]),
        (np.array([3, 5, 3, 5], dtype=">u4"), "binary", [3, 5], [0, 1, 0, 1]),
        ([0.0, 1.0, 1.0], "binary", [0.0, 1.0], [0, 1, 1]),
        ([[1, 0, 0], [0, 0, 1]], "multiclass", [0, 1, 2], [0, 2]),
        ([[1.0, 0.0], [0.0, 1.0]], "binary", [0, 1], [0, 1]),
        (np.array([[True, False], [False, True]]), "binary", [0, 1], [0, 1]),
    ],
)
def test_classes_are_found(y: Any, task: str, classes: list[Any], ids: list[int]) -> None:
    target = array_target(y)
    assert target.task == task
    assert target.classes == classes
    assert [type(value) for value in target.classes] == [type(value) for value in classes]
    assert target.class_names == [str(value) for value in classes]
    assert target.y.dtype == np.int64
    assert target.y.tolist() == ids


@pytest.mark.parametrize(
    "y",
    [
        [0.5, 1.5, 2.5],
        [0.5, 1.5, 2.5] * 9,
        [0.0, 1.0, 2.0],
        [10, 20, 30] * 4,
        list(range(10)),
        [100, 200, 300],
        list(range(21)) * 5,
        np.array([[1.5], [2.5], [3.5]]),
        np.array([1.5, 2.5, 3.5], dtype=">f2"),
        np.array([1, 2.5, decimal.Decimal(4)], dtype=object),
    ],
)
def test_quantities_are_found(y: Any) -> None:
    target = array_target(y)
    assert target.task == "regression"
    assert target.classes == []
    assert target.y.dtype == np.float32
    np.testing.assert_array_equal(target.y, np.asarray(y, dtype=np.float32).reshape(-1))


def test_several_quantities_are_found() -> None:
    target = array_target([[1.5, 2], [3, 4]])
    assert target.task == "regression"
    assert target.y.tolist() == [[1.5, 2], [3, 4]]
    assert array_target([[1, 0], [0, 1]], task="regression").y.tolist() == [[1, 0], [0, 1]]


def test_the_task_can_be_given() -> None:
    assert array_target([0, 1, 2, 3], task="multiclass").classes == [0, 1, 2, 3]
    assert array_target([0, 1] * 5, task="regression").y.dtype == np.float32
    assert array_target([0, 1] * 5, task="multiclass").task == "multiclass"
    assert array_target([0, 1], task="classification").task == "binary"
    assert array_target([0, 1, 2], task="classification").task == "multiclass"
    assert array_target([[1, 0], [0, 1]], task="classification").task == "binary"
    assert array_target([0.0, 1.0, 2.0], task="multiclass").classes == [0.0, 1.0, 2.0]


def test_the_reason_is_said() -> None:
    assert array_target([0, 1, 2] * 5).why == "y holds whole numbers with 3 different values in 15 rows: classes."
    assert array_target(range(9)).why == "y holds whole numbers with 9 different values in 9 rows: a quantity."


@pytest.mark.parametrize(
    ("y", "task", "text"),
    [
        ([], None, "y is empty"),
        ([[], []], None, "y has no columns"),
        ([3.5] * 4, None, r"y is constant \(always 3.5\): there is nothing to learn"),
        (["a"] * 4, None, r"y is constant \(always 'a'\)"),
        ([7] * 4, "multiclass", r"y is constant \(always 7\)"),
        ([[1, 0], [1, 0]], None, "y is constant"),
        ([[2.5, 3], [2.5, 3]], None, "every column of y is constant"),
        ([1.0, np.nan, 2.0], None, "Input y contains NaN: 1 value, the first at row 1"),
        ([[1.0, 2], [3, np.inf]], None, "Input y contains infinity: 1 value, the first at row 1, column 1"),
        (["a", None, "b"], None, "1 of 3, the first is a missing value at row 1"),
        (["a", np.nan, "b"], None, "the first is a missing value at row 1"),
        (np.array(["a", pd.NA], dtype=object), None, "the first is a missing value at row 1"),
        (np.array(["a", 1, "b"], dtype=object), None, r"1 of 3, the first is 1 \(int\) at row 1"),
        (np.array([1, None, 2], dtype=object), None, "Input y contains NaN: 1 value, the first at row 1"),
        ([[1, 1], [0, 1]], None, "2 columns that are not one-hot"),
        ([[2, 1], [0, 1]], "multiclass", "2 columns that are not one-hot"),
        ([["a", "b"], ["a", "b"]], None, r"text of shape \(2, 2\): one class per row expected"),
        (["a", "b"], "regression", "a regression needs numbers, y holds text: 'a'"),
        ([0, 1, 2], "binary", "task binary means two classes, y has 3"),
        ([[1, 0, 0], [0, 1, 0]], "binary", "task binary means two classes, y has 3 columns"),
        (
            [str(i) for i in range(1001)],
            None,
            r"1,001 different values in 1,001 rows are too many classes \(at most 1,000",
        ),
        (np.zeros((2, 2, 2)), None, r"y of shape \(n,\)"),
        (np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"), None, "Input y holds dates"),
        (np.array([1e300, 0, 1]), None, "too large for float32"),
    ],
)
def test_targets_without_a_meaning_are_refused(y: Any, task: str | None, text: str) -> None:
    with pytest.raises(DataError, match=text):
        array_target(y, task)


def test_an_unknown_task_is_refused_with_a_guess() -> None:
    with pytest.raises(UsageError, match=re.escape("'regresion' is no task") + ".*Did you mean 'regression'"):
        array_target([1, 2], "regresion")


@given(st.lists(st.text(min_size=1, max_size=3), min_size=2, max_size=30))
def test_class_ids_lead_back_to_the_classes(y: list[str]) -> None:
    if len(set(y)) == 1:
        return
    target = array_target(np.array(y, dtype=object))
    assert [target.classes[i] for i in target.y] == y
