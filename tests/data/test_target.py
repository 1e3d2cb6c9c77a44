"""Targets: found, shown, overridable; encoded for the network and decoded to the user's unit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data import RawTable, TargetSpec, describe_target, read_table
from neuronwise.errors import DataError, FormatError, UsageError

rng = np.random.default_rng(0)


def table_of(values: Any) -> RawTable:
    values = list(values)
    return read_table(pd.DataFrame({"x": np.arange(len(values)), "y": values}))


FOUND: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "measures": (rng.normal(size=100), "regression", ()),
    "many whole numbers": (rng.integers(0, 100, 400), "regression", ()),
    "few whole numbers": (rng.integers(3, 9, 400), "multiclass", ("3", "4", "5", "6", "7", "8")),
    "few rows for their numbers": ([1, 2, 3, 4, 5, 6, 7, 8, 9, 9], "regression", ()),
    "numbers in the order of size": ([10, 9, 2] * 40, "multiclass", ("2", "9", "10")),
    "0 and 1": ([0, 1, 1] * 10, "binary", ("0", "1")),
    "1 and 0 as text": (["1", "0", "1"] * 10, "binary", ("0", "1")),
    "two numbers": ([5, 7, 7] * 10, "binary", ("5", "7")),
    "yes and no": (["yes", "no", "Yes"] * 10, "binary", ("no", "yes")),
    "bool": ([True, False] * 10, "binary", ("false", "true")),
    "two words": (["good", "bad"] * 10, "binary", ("bad", "good")),
    "words": (["b", "c", "a"] * 10, "multiclass", ("a", "b", "c")),
    "prices as text": (["1.225E+06", "$3,000", "250"] * 10, "regression", ()),
}


@pytest.mark.parametrize("case", FOUND)
def test_finds(case: str) -> None:
    values, task, classes = FOUND[case]
    if case == "prices as text":
        with pytest.raises(UsageError):
            describe_target(table_of(values), "y", task="binary")
        spec = describe_target(table_of(values), "y", task="regression")
    else:
        spec = describe_target(table_of(values), "y")
    assert (spec.task, spec.classes) == (task, classes)
    assert spec.n_outputs == (len(classes) if task == "multiclass" else 1)


def test_a_task_asked_for_is_obeyed() -> None:
    table = table_of([1, 2, 3] * 20)
    assert describe_target(table, "y").task == "multiclass"
    assert describe_target(table, "y", task="regression").task == "regression"
    assert describe_target(table_of([0, 1] * 9), "y", task="multiclass").n_outputs == 2
    assert describe_target(table_of(rng.integers(0, 50, 400)), "y", task="classification").task == "multiclass"


def test_whole_numbers_taken_for_classes_name_the_other_way() -> None:
    assert "--task regression" in describe_target(table_of([1, 2, 3] * 20), "y").reason


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "misspelt": ([1, 2], {"target": "Y2"}, "there is no column 'Y2'. Did you mean 'y'?"),
    "all missing": ([None, None], {}, "the target is missing in all 2 rows"),
    "one row": ([1.5], {}, "only one row has a target"),
    "one row with a target": ([1.5, None], {}, "only one row has a target"),
    "constant": ([3, 3, 3], {}, "the target is '3' in every row"),
    "constant in another writing": (["3", "3.0", "3e0"], {}, "the target is 3 in every row"),
    "text for regression": (["a", "b", "a"], {"task": "regression"}, "row 0, column y: 'a' is not a number (3 of 3"),
    "three for binary": (["a", "b", "c"] * 9, {"task": "binary"}, "a binary target has two values, this one 3"),
    "unique names": ([f"n{i}" for i in range(50)], {}, "the target has 50 classes in 50 rows; nearly every row"),
    "too many classes": ([f"n{i % 1500}" for i in range(6000)], {}, "1,500 classes in 6,000 rows; the limit is 1,000"),
    "dates": (pd.date_range("2020", periods=9), {}, "the target is a date"),
    "infinite": ([1.0, np.inf, 2.5, 3.5], {}, "row 1, column y: 'inf' is infinite (1 such cell)"),
    "no task": ([1, 2, 3], {"task": "ranking"}, "'ranking' is no task"),
    "logarithm of zero": ([0.0, 1.5, 2.5], {"log": True}, "the target goes down to 0"),
    "what to do about it": ([0.0, 1.5, 2.5], {"log": True}, "Leave --log out, or add a column with log(1 + y)"),
    "logarithm below zero": ([-3.0, 1.5, 2.5], {"log": True}, "Leave --log out."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    values, options, message = REFUSED[case]
    options = {"target": "y", **options}
    with pytest.raises(UsageError) as caught:
        describe_target(table_of(values), **options)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_positive_skewed_target_is_learned_as_logarithm_and_said_in_words() -> None:
    prices = np.exp(rng.normal(13, 0.6, 500))
    spec = describe_target(table_of(prices), "y")
    assert spec.log
    assert "its logarithm is learned; every result is told in the original unit" in spec.reason
    assert not describe_target(table_of(prices), "y", log=False).log
    assert not describe_target(table_of(rng.normal(50, 3, 500)), "y").log
    assert not describe_target(table_of(np.r_[prices, 0]), "y").log
    assert describe_target(table_of(rng.normal(50, 3, 500)), "y", log=True).log


def test_rows_without_target_are_counted_and_left_out() -> None:
    table = table_of([1.5, None, 2.5, np.nan, 4.0])
    spec = describe_target(table, "y")
    assert (spec.n_rows, spec.n_missing) == (3, 2)
    assert spec.rows_with_target(table).tolist() == [0, 2, 4]
    assert spec.encode(table).shape == (3, 1)
    assert "2 rows have no target and are left out" in spec.describe()
    with pytest.raises(DataError, match="row 1, column y: this row has no target"):
        spec.encode(table, [0, 1])


def test_odd_cells_of_a_numeric_target_are_missing_and_said() -> None:
    table = table_of([*(f"{i / 3:.3f}" for i in range(300)), "abc"])
    spec = describe_target(table, "y")
    assert (spec.task, spec.odd, spec.n_missing) == ("regression", ("abc",), 1)
    assert any("'abc'" in line for line in spec.describe())


def test_mean_and_scale_are_those_of_the_training_rows() -> None:
    table = table_of([2.0, 4.0, 100.0])
    spec = describe_target(table, "y", log=False).fit(table, [0, 1])
    assert (spec.mean, spec.scale) == (3.0, 1.0)
    assert spec.encode(table, [0, 1, 2]).tolist() == [[-1.0], [1.0], [97.0]]
    with pytest.raises(DataError, match="the target is 2 in all of the 1 training rows"):
        spec.fit(table, [0])


@given(st.lists(st.floats(0.01, 1e6), min_size=2, max_size=20, unique=True), st.booleans())
def test_decoding_undoes_encoding(values: list[float], log: bool) -> None:
    table = table_of(values)
    spec = describe_target(table, "y", task="regression", log=log)
    if log and spec.scale < 1e-4:
        return
    y = spec.encode(table)
    assert (y.dtype, y.shape) == (np.float32, (len(values), 1))
    tolerance = {"rel": 1e-4} if log else {"rel": 1e-5, "abs": 1e-5 * max(values)}
    assert spec.decode(y) == pytest.approx(values, **tolerance)
    assert spec.decode(y[:, 0]) == pytest.approx(spec.decode(y))


def test_classes_are_encoded_as_ids_and_decoded_as_names() -> None:
    table = table_of(["b", "c", "a"] * 5)
    spec = describe_target(table, "y")
    y = spec.encode(table)
    assert (y.dtype, y[:3].tolist()) == (np.int64, [1, 2, 0])
    assert spec.decode(y[:3]).tolist() == ["b", "c", "a"]
    assert spec.decode(np.array([[0.2, 0.7, 0.1]])).tolist() == ["b"]
    two = describe_target(table_of(["no", "yes"] * 5), "y")
    assert two.decode(np.array([[0.2], [0.9]])).tolist() == ["no", "yes"]
    assert two.decode(np.array([0.2, 0.9])).tolist() == ["no", "yes"]


def test_yes_is_one_in_any_writing() -> None:
    table = table_of(["Yes", "yes", "no", "NO"] * 3)
    spec = describe_target(table, "y")
    assert spec.encode(table)[:4].tolist() == [1, 1, 0, 0]
    assert spec.class_counts == (6, 6)


def test_a_class_never_seen_is_refused() -> None:
    spec = describe_target(table_of(["a", "b"] * 5), "y")
    with pytest.raises(DataError, match="row 1, column y: 'z' is none of the 2 classes"):
        spec.encode(table_of(["a", "z"]))


def test_classes_are_the_same_from_integers_floats_and_text() -> None:
    spec = describe_target(table_of([1, 2, 3] * 9), "y")
    for values in ([1, 3], [1.0, 3.0], ["1", "3"], ["1.0", "3.0"]):
        assert spec.encode(table_of(values)).tolist() == [0, 2]


def test_a_class_of_one_row_is_said() -> None:
    assert any("a single row" in line for line in describe_target(table_of(["a", "b"] * 5 + ["c"]), "y").describe())


@pytest.mark.parametrize("values", [np.exp(rng.normal(13, 1, 50)), ["a", "b", "c"] * 9, ["no", "yes"] * 9])
def test_survives_json(values: Any) -> None:
    table = table_of(values)
    spec = describe_target(table, "y")
    again = TargetSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    np.testing.assert_array_equal(again.encode(table), spec.encode(table))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "ranking"}, "'task' must be one of"),
        ({"scale": 0}, "'scale' must be a finite number above 0"),
        ({"scale": "1"}, "'scale' must be a finite number above 0, not '1'"),
        ({"mean": float("nan")}, "'mean' must be a finite number"),
        ({"classes": ["a", "a"]}, "'classes' holds the same text twice"),
        ({"classes": ["a"]}, "classes do not fit the task"),
        ({"class_counts": [-1, 2]}, "'class_counts' must be a whole number"),
        ({"name": None}, "'name' must be a text"),
        ({"log": 1}, "'log' must be true or false"),
        ({"n_rows": 10**400}, "'n_rows' must be a whole number"),
    ],
)
def test_hostile_json_is_refused(change: dict[str, Any], message: str) -> None:
    good = describe_target(table_of(["a", "b"] * 9), "y").to_dict()
    with pytest.raises(FormatError) as caught:
        TargetSpec.from_dict({**good, **change})
    assert message in str(caught.value)


def test_json_that_is_no_object_or_lacks_an_entry_is_refused() -> None:
    good = describe_target(table_of(["a", "b"] * 9), "y").to_dict()
    for key in good:
        with pytest.raises(FormatError, match=f"the entry '{key}' is missing"):
            TargetSpec.from_dict({k: v for k, v in good.items() if k != key})
    with pytest.raises(FormatError, match="expected an object, found list"):
        TargetSpec.from_dict([good])


def test_an_infinite_target_is_not_advised_to_be_dropped() -> None:
    with pytest.raises(DataError, match="is infinite") as caught:
        describe_target(table_of([1.5, np.inf, 2.5, 3.5]), "y")
    assert "--drop" not in str(caught.value)
    assert "a row without a target is left out" in str(caught.value)
    with pytest.raises(DataError, match="is not a number") as caught:
        describe_target(table_of(["1.5", "a", "2.5"]), "y", task="regression")
    assert "--drop" not in str(caught.value)
    assert "--task multiclass" in str(caught.value)


def test_answers_in_another_language_are_two_classes_no_first() -> None:
    assert describe_target(table_of(["ja", "nein", "Ja"] * 10), "y").classes == ("nein", "ja")
    assert describe_target(table_of(["da", "no", "ja"] * 10), "y").classes == ("da", "ja", "no")
