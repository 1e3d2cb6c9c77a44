"""Frames and Parquet: every honest cell type is read right, every other is refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from neuronwise.data import FeatureEncoder, describe_columns, read_table
from neuronwise.errors import DataError

N = 60
rng = np.random.default_rng(0)


def kinds_of(data: Any) -> dict[str, str]:
    return {column.name: column.kind for column in describe_columns(read_table(data))}


READ = {
    "decimal": ([decimal.Decimal(i) / 7 for i in range(N)], "numeric"),
    "numbers as objects": (pd.Series([1, "2", None, 3.5] * 15, dtype=object), "numeric"),
    "nullable integers": (pd.array([1, None, 3, 4] * 15, dtype="Int64"), "numeric"),
    "arrow integers": (pd.array([1, None, 3, 4] * 15, dtype="int64[pyarrow]"), "numeric"),
    "arrow text": (pd.array(["x", None, "y", "y"] * 15, dtype="string[pyarrow]"), "category"),
    "float16": (rng.normal(size=N).astype("f2"), "numeric"),
    "long double": (rng.normal(size=N).astype("g"), "numeric"),
    "big-endian": (rng.normal(size=N).astype(">f8"), "numeric"),
    "unsigned bytes": (np.arange(N, dtype="u1") % 7, "numeric"),
    "sparse": (pd.arrays.SparseArray(rng.normal(size=N)), "numeric"),
    "bool": ([True, False] * 30, "yes/no"),
    "nullable bool": (pd.array([True, None, False] * 20, dtype="boolean"), "yes/no"),
    "bool as objects": (pd.Series([True, None, False] * 20, dtype=object), "yes/no"),
    "times": (pd.date_range("2020-01-01", periods=N), "date"),
    "times with a zone": (pd.date_range("2020-01-01", periods=N, tz="Europe/Berlin"), "date"),
    "days as objects": ([dt.date(2020, 1, 1) + dt.timedelta(i) for i in range(N)], "date"),
    "months": (pd.period_range("2020-01", periods=N, freq="M"), "date"),
    "categories of numbers": (pd.Categorical([1, 2, 3] * 20), "category"),
    "categories of text": (pd.Categorical(["x", "y", None] * 20), "category"),
    "intervals": (pd.cut(rng.normal(size=N), 3), "category"),
    "integers beyond 2^53": (np.arange(N, dtype="i8") + 2**60, "identifier"),
}


@pytest.mark.parametrize("case", READ)
def test_reads(case: str) -> None:
    values, kind = READ[case]
    frame = pd.DataFrame({"column": values, "other": rng.normal(size=N)})
    before = frame.copy(deep=True)
    assert kinds_of(frame)["column"] == kind
    table = read_table(frame)
    x = FeatureEncoder.fit(table, describe_columns(table)).transform(table)
    assert np.isfinite(x).all()
    pd.testing.assert_frame_equal(frame, before)


REFUSED = {
    "complex": ([1j] * 3, "the cells are complex numbers"),
    "lists": ([[1], [2], [3]], "row 0 holds a list"),
    "bytes": ([b"a", b"b", b"c"], "row 0 holds a bytes"),
    "records": ([{}, {}, {}], "row 0 holds a dict"),
    "durations": (pd.to_timedelta([1, 2, 3]), "column.dt.total_seconds()"),
    "broken text": (pd.Series(["ok", "x\ud800", "y"], dtype=object), "row 1: the text is not valid Unicode"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_cells(case: str) -> None:
    values, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        describe_columns(read_table(pd.DataFrame({"column": values})))
    assert message in str(caught.value)
    assert "column column" in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]), "two columns are named 'a'"),
        (pd.DataFrame(np.ones((3, 2)), columns=["a", ""]), "column 2 of 2 has no name"),
        (pd.DataFrame(np.ones((3, 2)), columns=[1, "1"]), "two columns are named '1'"),
        (pd.DataFrame(np.ones((3, 2)), columns=pd.MultiIndex.from_product([["a"], ["b", "c"]])), "2 levels"),
        (pd.DataFrame({"a": []}), "columns and no rows"),
        (pd.DataFrame(index=range(3)), "no column"),
        (pl.DataFrame({"a": [[1], [2]]}), "column a: the cells are of type"),
        (pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}), "column a: the cells are of type"),
    ],
)
def test_refuses_frames(frame: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        describe_columns(read_table(frame))
    assert message in str(caught.value)


def test_names_that_are_no_text_become_text() -> None:
    table = read_table(pd.DataFrame({0: [1.0, 2.0], 1.5: [3.0, 4.0]}))
    assert table.column_names == ["0.0", "1.5"]
    assert "column names that are no text were turned into text" in table.notes


def test_a_named_index_is_left_off_and_said() -> None:
    table = read_table(pd.DataFrame({"a": [1, 2]}, index=pd.Index([7, 8], name="house")))
    assert table.column_names == ["a"]
    assert any("index 'house'" in note for note in table.notes)


def test_refuses_a_lazy_frame_with_the_call_that_mends_it() -> None:
    with pytest.raises(ValueError, match=r"\.collect\(\)"):
        read_table(pl.DataFrame({"a": [1]}).lazy())


def test_polars_pandas_and_parquet_give_the_same_kinds_and_vectors(tmp_path: Path) -> None:
    data = {
        "zip": [98103, 98107, None] * 20,
        "size": [float(i) for i in range(N)],
        "city": ["x", "y", None, "y"] * 15,
        "sold": [dt.date(2020, 1, 1) + dt.timedelta(i) for i in range(N)],
        "pool": [True, False, False] * 20,
    }
    path = tmp_path / "t.parquet"
    pl.DataFrame(data).write_parquet(path)
    sources = [pd.DataFrame(data), pl.DataFrame(data), path]
    pd.DataFrame(data).to_csv(tmp_path / "t.csv", index=False)
    sources.append(tmp_path / "t.csv")
    encoder = FeatureEncoder.fit(read_table(sources[0]), describe_columns(read_table(sources[0])))
    expected = encoder.transform(sources[0])
    for source in sources:
        table = read_table(source)
        assert {c.name: c.kind for c in describe_columns(table)} == kinds_of(sources[0])
        np.testing.assert_array_equal(encoder.transform(table), expected)
    assert "zip=98103" in encoder.input_names


def test_integers_beside_missing_cells_stay_exact_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    big = 2**53 + 1
    pl.DataFrame({"key": [big, None, big + 2]}).write_parquet(path)
    assert read_table(path).cells("key").words == (str(big), str(big + 2))


def test_fingerprint_follows_content_names_and_types() -> None:
    def mark(frame: pd.DataFrame) -> str:
        return read_table(frame).fingerprint

    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert mark(frame) == mark(frame.copy())
    assert mark(frame) == mark(frame.set_index(pd.Index([5, 6])))
    others = [frame.rename(columns={"a": "c"}), frame.iloc[::-1], frame.astype({"a": float}), frame[["b", "a"]]]
    assert len({mark(frame), *map(mark, others)}) == 5


def test_a_parquet_with_too_many_cells_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuronwise.data import frames

    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": range(100)}).write_parquet(path)
    monkeypatch.setattr(frames, "MAX_CELLS", 99)
    with pytest.raises(DataError, match="100 rows × 1 columns; the limit is 99 cells"):
        read_table(path)


UNUSED: dict[str, Any] = {
    "polars list": pl.DataFrame({"a": [1.0, 2.5, 4.0], "extra": [[1], [2, 3], []]}),
    "polars struct": pl.DataFrame({"a": [1.0, 2.5, 4.0], "extra": [{"b": 1}] * 3}),
    "pandas lists": pd.DataFrame({"a": [1.0, 2.5, 4.0], "extra": [[1], [2, 3], []]}),
    "pandas durations": pd.DataFrame({"a": [1.0, 2.5, 4.0], "extra": pd.to_timedelta([1, 2, 3])}),
    "polars durations": pl.DataFrame({"a": [1.0, 2.5, 4.0], "extra": [dt.timedelta(1)] * 3}),
}


@pytest.mark.parametrize("case", UNUSED)
def test_a_column_without_a_plain_form_disturbs_nobody_who_does_not_use_it(case: str, tmp_path: Path) -> None:
    frame = UNUSED[case]
    table = read_table(pd.DataFrame({"a": [1.0, 2.5, 4.0]}))
    encoder = FeatureEncoder.fit(table, describe_columns(table))
    np.testing.assert_array_equal(encoder.transform(frame), encoder.transform(table))
    assert encoder.check(frame) == []
    assert len(encoder.explain_row(frame, 1)) == 1
    with pytest.raises(DataError, match="column extra"):
        describe_columns(read_table(frame))
    with pytest.raises(DataError, match="column extra"):
        describe_columns(read_table(frame), target="extra")
    dropped = describe_columns(read_table(frame), drop=["extra"])
    assert [column.kind for column in dropped] == ["numeric", "dropped"]
    again = FeatureEncoder.fit(read_table(frame), dropped)
    assert again.explain_row(frame, 0)[1].note == "left out (dropped): left out, as asked for"
    if case in ("polars list", "polars struct"):
        frame.write_parquet(tmp_path / "t.parquet")
        np.testing.assert_array_equal(encoder.transform(tmp_path / "t.parquet"), encoder.transform(table))
