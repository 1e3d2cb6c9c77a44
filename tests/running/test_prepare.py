"""From whatever the user names to arrays and splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from neuronwise.data import read_images, write_idx
from neuronwise.errors import DataError, UsageError
from neuronwise.running import DataOptions, Prepared, prepare

from .conftest import make_frame


def parts(data: Prepared) -> list[np.ndarray]:
    return [data.train, data.validation, data.test]


@pytest.mark.parametrize("name", ["frame", "polars", "csv", "parquet"])
def test_one_table_from_any_source_is_the_same(name: str, tmp_path: Path) -> None:
    frame = make_frame()
    frame.to_csv(tmp_path / "table.csv", index=False)
    frame.to_parquet(tmp_path / "table.parquet")
    source: Any = {
        "frame": frame, "polars": pl.from_pandas(frame), "csv": str(tmp_path / "table.csv"),
        "parquet": tmp_path / "table.parquet",
    }[name]  # fmt: skip
    expected = prepare(frame, DataOptions("y", drop=["sign"]), 0)
    found = prepare(source, DataOptions("y", drop=["sign"]), 0)
    assert found.kind == "table"
    assert found.encoder.input_names == ["a", "b", "kind=x", "kind=y", "kind=z"]
    np.testing.assert_allclose(found.X, expected.X, rtol=1e-5)
    np.testing.assert_allclose(found.y, expected.y, rtol=1e-5)
    for one, other in zip(parts(found), parts(expected), strict=True):
        assert (one == other).all()


@given(
    rows=st.integers(12, 120),
    test=st.floats(0.05, 0.6),
    validation=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**32 - 1),
    target=st.sampled_from(["y", "sign"]),
)
def test_parts_are_disjoint_and_hold_every_row(
    rows: int, test: float, validation: float, seed: int, target: str
) -> None:
    other = "sign" if target == "y" else "y"
    options = DataOptions(target, drop=[other], test=test, validation=validation)
    try:
        data = prepare(make_frame(rows, 1), options, seed)
    except DataError:  # a part would be empty, or all classes but one held out
        assume(rows < 40)
        return
    together = np.concatenate(parts(data))
    assert sorted(together.tolist()) == list(range(rows))
    assert all(len(part) for part in parts(data))
    if target == "y":
        assert len(data.test) == pytest.approx(rows * test, abs=1.01)


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    frame = make_frame()
    first, again, other = (prepare(frame, DataOptions("y"), seed) for seed in (0, 0, 1))
    assert (first.test == again.test).all()
    assert sorted(first.test) != sorted(other.test)


def test_classes_keep_their_shares_in_every_part() -> None:
    frame = pd.DataFrame({"a": np.arange(300) ** 1.5, "c": ["rare"] * 30 + ["common"] * 270})
    data = prepare(frame, DataOptions("c"), 0)
    for part in parts(data):
        assert np.mean(data.y[part]) == pytest.approx(0.1, abs=0.05)


def test_rows_of_one_group_stay_together_and_the_group_is_no_feature() -> None:
    frame = make_frame(200).assign(house=[f"h{i % 50}" for i in range(200)])
    data = prepare(frame, DataOptions("y", group="house", drop=["sign"]), 0)
    houses = [set(frame["house"].iloc[data.source_rows[part]]) for part in parts(data)]
    assert not houses[0] & houses[1]
    assert not houses[0] & houses[2]
    assert not houses[1] & houses[2]
    assert not [name for name in data.encoder.input_names if "house" in name]
    assert [column.kind for column in data.columns if column.name == "house"] == ["dropped"]


def test_rows_without_a_target_are_left_out_and_their_place_is_kept() -> None:
    frame = make_frame()
    frame.loc[[3, 40], "y"] = np.nan
    data = prepare(frame, DataOptions("y", drop=["sign"]), 0)
    assert len(data.X) == 88
    assert 3 not in data.source_rows
    assert 40 not in data.source_rows
    whole = data.target.decode(data.y)
    np.testing.assert_allclose(whole, frame["y"].to_numpy()[data.source_rows], rtol=1e-5)


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_held_out_rows_never_reach_the_encoder(held_out: str) -> None:
    frame = make_frame(200)
    options = DataOptions("y", drop=["sign"])
    before = prepare(frame, options, 0)
    changed = frame.copy()
    rows = before.source_rows[getattr(before, held_out)]
    # As far off as can be, without making the column another kind: mean, scale, range, categories would all move.
    changed.loc[rows, "a"] = 1e6 + np.arange(len(rows))
    changed.loc[rows[:3], "kind"] = "only held out"
    changed.loc[rows[3], "b"] = np.nan
    after = prepare(changed, options, 0)
    for one, other in zip(parts(before), parts(after), strict=True):
        assert (one == other).all()

    def fitted(data: Prepared) -> dict[str, Any]:
        content = json.loads(json.dumps(data.encoder.to_dict()))
        for encoding in content["columns"]:
            for words in ("reason", "n_missing", "n_distinct", "examples"):  # what is told of the whole table
                encoding.pop(words, None)
                encoding.get("column", {}).pop(words, None)
        return content

    assert fitted(after) == fitted(before)
    assert after.encoder.input_names == before.encoder.input_names
    assert (after.X[after.train] == before.X[before.train]).all()


def test_held_out_targets_never_reach_the_scale_of_the_target() -> None:
    frame = make_frame(200)
    before = prepare(frame, DataOptions("y", drop=["sign"], log=False), 0)
    changed = frame.copy()
    changed.loc[before.test, "y"] = 1e6
    after = prepare(changed, DataOptions("y", drop=["sign"], log=False), 0)
    assert (after.test == before.test).all()
    assert (after.target.mean, after.target.scale) == (before.target.mean, before.target.scale)


def test_a_repeated_identifier_is_told_with_the_way_out() -> None:
    frame = make_frame(200).assign(house_id=[10_000 + 13 * (i // 2) for i in range(200)])
    notes = prepare(frame, DataOptions("y"), 0).notes
    said = [note for note in notes if "--group house_id" in note]
    assert len(said) <= 1
    assert not [note for note in prepare(frame, DataOptions("y", group="house_id"), 0).notes if "--group" in note]


@pytest.mark.parametrize(
    ("y", "task", "shape"),
    [
        (np.linspace(0.0, 1.0, 60) ** 2, "regression", (60, 1)),
        ((np.linspace(0.0, 1.0, 60) ** 2)[:, None], "regression", (60, 1)),
        (np.arange(60) % 2, "binary", (60,)),
        (np.arange(60) % 2 == 0, "binary", (60,)),
        (np.arange(60) % 4, "multiclass", (60,)),
        (np.array(["u", "v", "w"] * 20), "multiclass", (60,)),
    ],
    ids=["numbers", "column", "two", "bool", "four", "names"],
)
def test_arrays_are_numbers_as_they_are(y: Any, task: str, shape: tuple[int, ...]) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    data = prepare((X, y), DataOptions(), 0)
    assert data.kind == "array"
    assert data.target.task == task
    assert data.y.shape == shape
    np.testing.assert_array_equal(data.X, X.astype(np.float32))


BAD_ARRAYS: dict[str, tuple[Any, str]] = {
    "nan in X": (
        (np.where(np.eye(20) > 0, np.nan, 1.0), np.arange(20)),
        "X contains NaN: 20 values, the first at row 0",
    ),
    "inf in X": ((np.where(np.eye(20) > 0, np.inf, 1.0), np.arange(20)), "X contains infinity: 20 values"),
    "nan in y": (
        (np.eye(20), np.where(np.arange(20) == 3, np.nan, 1.0)),
        "y contains NaN: 1 value, the first at row 3",
    ),
    "inf in y": ((np.eye(20), np.where(np.arange(20) == 3, -np.inf, 1.0)), "y contains infinity"),
    "masked y": ((np.eye(20), np.ma.array(np.arange(20), mask=[1] + [0] * 19)), "1 masked value"),
    "text in X": ((np.full((20, 2), "x"), np.arange(20)), "holds text"),
    "no rows": ((np.empty((0, 3)), np.empty(0)), "X has no rows"),
    "no features": ((np.empty((20, 0)), np.arange(20)), "X has no features"),
    "lengths": ((np.eye(20), np.arange(19)), "expected one target per row"),
    "two targets": ((np.eye(20), np.eye(20)), "expected one target per row"),
    "one row": ((np.ones((1, 2)), np.ones(1)), "only one row has a target"),
    "constant target": ((np.eye(20), np.ones(20)), "nothing to learn"),
    "X alone": (np.eye(20), "an array alone has no target"),
    "three": ((np.eye(20), 1, 2), "a tuple of 3"),
    "list": ([[1.0]], "a table is a path or a DataFrame"),
    "nothing": (None, "a table is a path or a DataFrame"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused_with_count_and_place(case: str) -> None:
    data, said = BAD_ARRAYS[case]
    with pytest.raises(UsageError, match=said) as caught:
        prepare(data, DataOptions(), 0)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["target", "group", "category", "numeric", "drop", "image_size"])
def test_what_means_nothing_for_arrays_is_refused(name: str) -> None:
    value: Any = {"image_size": (3, 3)}.get(name, "y" if name in ("target", "group") else ["y"])
    with pytest.raises(UsageError) as caught:
        prepare((np.eye(20), np.arange(20)), DataOptions(**{name: value}), 0)
    assert caught.value.where == f"argument {name}"


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, True, "0.1", None, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["test", "validation"])
def test_a_share_lies_between_0_and_1(name: str, share: Any) -> None:
    with pytest.raises(UsageError, match="expected a share between 0 and 1"):
        DataOptions(**{name: share})


@pytest.mark.parametrize("target", [["y"], 1.5, True, b"y"])
def test_a_target_is_a_name(target: Any) -> None:
    with pytest.raises(UsageError, match="expected the name of a column"):
        prepare(make_frame(), DataOptions(target), 0)


def test_columns_called_by_numbers() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)))
    data = prepare(frame, DataOptions(2), 0)  # type: ignore[arg-type]
    assert data.target.name == "2"
    assert data.encoder.input_names == ["0", "1"]


def test_digits_are_split_by_class() -> None:
    data = prepare("digits", DataOptions(), 0)
    assert data.kind == "image"
    assert data.input_shape == (8, 8)
    assert [len(part) for part in parts(data)] == [1374, 153, 270]
    assert np.bincount(data.y[data.test]).min() >= 25
    assert data.X.min() == 0.0
    assert data.X.max() == 1.0


def test_an_official_test_split_is_held_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, n in (("train", 60), ("t10k", 15)):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", random.integers(0, 255, (n, 4, 4), dtype=np.uint8))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", (np.arange(n) % 3).astype(np.uint8))
    data = prepare(tmp_path, DataOptions(), 0)
    assert data.test.tolist() == list(range(60, 75))
    assert sorted(np.concatenate([data.train, data.validation]).tolist()) == list(range(60))
    assert any("15 images of the official test split" in note for note in data.notes)


def test_images_are_classes_not_numbers() -> None:
    with pytest.raises(UsageError, match="learned by class"):
        prepare("digits", DataOptions(task="regression"), 0)
    images = read_images("digits")
    assert prepare(images, DataOptions(), 0).fingerprint == prepare("digits", DataOptions(), 0).fingerprint
