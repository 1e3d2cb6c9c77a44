from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data.splitting import split_rows
from neuronwise.errors import UsageError

fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**40)


def assert_complete(train: np.ndarray[Any, Any], held_out: np.ndarray[Any, Any], n: int) -> None:
    assert train.dtype == held_out.dtype == np.int64
    assert len(train) > 0
    assert len(held_out) > 0
    assert (np.diff(train) > 0).all()
    assert (np.diff(held_out) > 0).all()
    assert sorted([*train, *held_out]) == list(range(n))


@given(n=st.integers(2, 200), fraction=fractions, seed=seeds)
def test_every_row_stands_on_one_side(n: int, fraction: float, seed: int) -> None:
    train, held_out = split_rows(n, fraction=fraction, seed=seed)
    assert_complete(train, held_out, n)
    assert len(held_out) == min(max(round(fraction * n), 1), n - 1)


@given(classes=st.lists(st.integers(0, 6), min_size=2, max_size=120), fraction=fractions, seed=seeds)
def test_every_class_is_held_out_in_proportion(classes: list[int], fraction: float, seed: int) -> None:
    y = np.array(classes)
    train, held_out = split_rows(len(y), y=y, task="multiclass", fraction=fraction, seed=seed)
    assert_complete(train, held_out, len(y))
    counts = np.bincount(y, minlength=7)
    if counts.max() == 1:
        return  # every class has one row: split by chance
    held = np.bincount(y[held_out], minlength=7)
    assert (held[counts == 1] == 0).all()
    assert (held[counts > 1] < counts[counts > 1]).all()
    n = int(counts[counts > 1].sum())
    share = min(max(round(fraction * n), 1), n - 1) / n
    assert (np.abs(held - counts * share)[counts > 1] <= 1 + 1e-9).all()


@given(
    groups=st.lists(st.integers(0, 8), min_size=2, max_size=80).filter(lambda g: len(set(g)) > 1),
    fraction=fractions,
    seed=seeds,
)
def test_no_group_stands_on_both_sides(groups: list[int], fraction: float, seed: int) -> None:
    codes = np.array(groups)
    train, held_out = split_rows(len(groups), groups=codes, fraction=fraction, seed=seed)
    assert_complete(train, held_out, len(groups))
    assert not set(codes[train]) & set(codes[held_out])
    n = len(set(groups))
    assert len(set(codes[held_out])) == min(max(round(fraction * n), 1), n - 1)


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (["a"] * 90 + ["b"] * 10, "binary"),
        (["a"] * 90 + ["b"] * 10, None),
        (pd.Series(["a"] * 90 + ["b"] * 10), "multiclass"),
        ([0] * 90 + [1] * 10, None),
        (np.array([[1, 0]] * 90 + [[0, 1]] * 10), "binary"),
        (np.array([[1, 0]] * 90 + [[0, 1]] * 10), None),
        (np.array([0.0] * 90 + [1.0] * 10)[:, None], "binary"),
        ([True] * 90 + [False] * 10, None),
    ],
)
def test_classes_of_any_type_are_split_in_proportion(y: Any, task: str | None) -> None:
    for seed in range(5):
        _, held_out = split_rows(100, y=y, task=task, fraction=0.2, seed=seed)
        assert (held_out >= 90).sum() == 2
        assert len(held_out) == 20


def test_numbers_are_split_by_chance() -> None:
    y = np.linspace(0, 1, 100)
    plain = split_rows(100, seed=4)[1]
    np.testing.assert_array_equal(split_rows(100, y=y, seed=4)[1], plain)
    np.testing.assert_array_equal(split_rows(100, y=[0, 1] * 50, task="regression", seed=4)[1], plain)
    np.testing.assert_array_equal(split_rows(100, y=[7] * 100, seed=4)[1], plain)


@pytest.mark.parametrize("n", range(2, 12))
def test_tiny_data_with_many_classes_can_be_split(n: int) -> None:
    for y in (list(range(n)), [0] * (n - 1) + [1], [i // 2 for i in range(n)], [0] * n):
        for fraction in (0.01, 0.15, 0.5, 0.99):
            assert_complete(*split_rows(n, y=y, task="multiclass", fraction=fraction), n)


def test_a_class_with_one_row_is_learned_from() -> None:
    y = ["rare", *["a"] * 20, *["b"] * 20]
    assert all(0 in split_rows(41, y=y, task="multiclass", fraction=0.5, seed=seed)[0] for seed in range(20))


def test_the_split_depends_on_seed_and_purpose_only() -> None:
    first = split_rows(1000, seed=1)[1]
    np.random.seed(5)
    state = np.random.get_state()[1].tolist()
    np.testing.assert_array_equal(split_rows(1000, seed=1)[1], first)
    split_rows(100, y=[0, 1] * 50, task="binary")
    split_rows(100, groups=[0, 1] * 50)
    assert np.random.get_state()[1].tolist() == state
    others = [split_rows(1000, seed=2)[1], split_rows(1000, seed=1, purpose="validation")[1]]
    for other in others:
        # Independent halves of 15 % share 15 % of 150 rows, about 22.
        assert len(np.intersect1d(first, other)) < 50


def test_another_process_makes_the_same_split() -> None:
    code = (
        "from neuronwise.data.splitting import split_rows as s;"
        "print([s(30, seed=3)[1].tolist(), s(30, y=[0, 1] * 15, task='binary', seed=3)[1].tolist(),"
        " s(30, groups=['a', 'b', 'c'] * 10, seed=3)[1].tolist()])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    here = [
        split_rows(30, seed=3)[1].tolist(),
        split_rows(30, y=[0, 1] * 15, task="binary", seed=3)[1].tolist(),
        split_rows(30, groups=["a", "b", "c"] * 10, seed=3)[1].tolist(),
    ]
    assert outputs == {f"{here}\n"}


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    groups = pd.Series(["a"] * 10 + [None] * 10)
    for values in (groups, groups.to_numpy(), np.array([1.0] * 10 + [np.nan] * 10)):
        train, held_out = split_rows(20, groups=values, fraction=0.5, seed=1)
        assert_complete(train, held_out, 20)
        # Of 11 groups 6 are held out: ten rows are not bound together.
        assert 0 < (held_out >= 10).sum() < 10


def test_groups_go_before_classes() -> None:
    groups = np.repeat(np.arange(10), 3)
    train, held_out = split_rows(30, y=[0, 1, 1] * 10, task="binary", groups=groups)
    assert not set(groups[train]) & set(groups[held_out])


def test_one_group_is_refused_with_advice() -> None:
    with pytest.raises(
        UsageError, match=r"argument groups: all rows belong to one group(.|\n)*validation rows without"
    ):
        split_rows(5, groups=["x"] * 5, purpose="validation")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n": 1}, "argument n: 1 row cannot be split: at least 2 are needed"),
        ({"n": 0}, "argument n: 0 rows cannot be split"),
        ({"n": -3}, "argument n: a whole number from 0 expected, not -3"),
        ({"n": 10.0}, "argument n: a whole number from 0 expected, not 10.0"),
        ({"n": 10, "fraction": 0}, "argument fraction: a share above 0 and below 1 expected, not 0"),
        ({"n": 10, "fraction": 1}, "argument fraction"),
        ({"n": 10, "fraction": float("nan")}, "argument fraction"),
        ({"n": 10, "seed": -1}, "argument seed"),
        ({"n": 10, "seed": True}, "argument seed"),
        ({"n": 10, "groups": [1, 2]}, r"argument groups: groups has shape \(2,\), but there are 10 rows"),
        ({"n": 10, "y": [1, 2]}, r"argument y: y has shape \(2,\), but there are 10 rows"),
        ({"n": 2, "y": [1, 2], "task": "binry"}, "Did you mean 'binary'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        split_rows(**arguments)
