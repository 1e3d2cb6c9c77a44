"""A table read in parts is learned from as if it had been read whole; where a sample decides, that is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronwise.data import StreamedTable
from neuronwise.data import streaming as streaming_module
from neuronwise.data.streaming import StreamOptions
from neuronwise.errors import DataError, NeuronwiseError, UsageError
from neuronwise.running import DataOptions, Prepared, TrainOptions, encode_row, prepare
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.prepare_long import prepare_long
from neuronwise.running.reporter import Reporter
from neuronwise.running.training import train_prepared


def make_table(seed: int, n: int) -> pd.DataFrame:
    """Return a table of text cells with every kind of column, some of them with gaps."""
    r = np.random.default_rng(seed)
    sold = pd.to_datetime("2020-01-01") + pd.to_timedelta(r.integers(0, 900, n), unit="D")
    frame = pd.DataFrame({
        "num": r.normal(10, 5, n).round(int(r.integers(0, 5))),
        "whole": r.integers(0, 5000, n),
        "big": np.exp(r.normal(8, 2, n)).round(2),
        "kind": r.choice(["red", "green", "café"], n),
        "zipcode": r.choice(["02139", "98103", "10001"], n),
        "sold": [f"{day:%d.%m.%Y}" for day in sold],
        "at": [f"{h}:{m:02}" for h, m in zip(r.integers(0, 24, n), r.integers(0, 60, n), strict=True)],
        "pool": r.choice(["yes", "no"], n),
        "lat": r.uniform(47, 48, n).round(4),
        "long": r.uniform(-123, -122, n).round(4),
        "comma": [f"{v:.2f}".replace(".", ",") for v in r.normal(0, 100, n)],
        "thousand": [f"{v:,.1f}" for v in r.uniform(0, 1e6, n)],
        "money": [f"${v:,.0f}" for v in r.uniform(0, 1e5, n)],
        "accounts": [f"({v:.1f})" if v > 50 else f"{v:.1f}" for v in r.uniform(0, 100, n)],
        "id": r.permutation(n) + 10**6,
        "text": [f"{'x' * int(r.integers(1, 30))}{i}" for i in range(n)],
        "same": "c",
        "y": np.exp(r.normal(0, 1, n)).round(4),
        "label": r.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]),
        "owner": r.integers(0, max(3, n // 4), n),
    }).astype(object)  # fmt: skip
    for name in frame.columns:
        if r.random() < 0.4:
            frame.loc[r.random(n) < 0.1, name] = r.choice(["", "NA", "?", " "])
    if r.random() < 0.3:
        frame.loc[int(r.integers(n)), "num"] = "odd!"
    return frame


def as_parquet(frame: pd.DataFrame, path: Path, rows: int) -> None:
    typed = frame.drop(columns=["comma"])
    for name in ("num", "whole", "big", "y"):
        typed[name] = pd.to_numeric(typed[name], errors="coerce")
    typed["whole"] = typed["whole"].astype("Int64")
    typed["kind"] = typed["kind"].astype("category")
    typed["sold"] = pd.to_datetime(typed["sold"], format="%d.%m.%Y", errors="coerce")
    for name in typed.columns:
        if typed[name].dtype == object:
            typed[name] = typed[name].astype(str)
    typed.to_parquet(path, row_group_size=rows)


def in_parts(
    path: Path, options: DataOptions, seed: int = 0, start: FittedNetwork | None = None, **how: Any
) -> Prepared:
    settings = StreamOptions(how.pop("budget", 10**9), **how)
    return prepare_long(StreamedTable(path, str(path), 10**10, settings), options, seed, start)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(8, 150),
    source=st.sampled_from(["csv", "csv.gz", "quoted", "semicolons", "parquet"]),
    target=st.sampled_from(["y", "label", "whole"]),
    grouped=st.booleans(),
    piece=st.sampled_from([150, 700, 3001, 20_000]),
    on_disk=st.booleans(),
)
def test_in_parts_is_bit_for_bit_as_whole(
    tmp_path: Path, seed: int, rows: int, source: str, target: str, grouped: bool, piece: int, on_disk: bool
) -> None:
    frame = make_table(seed, rows)
    path = tmp_path / f"t.{source if source in ('csv.gz', 'parquet') else 'csv'}"
    if source == "parquet":
        as_parquet(frame, path, 1 + piece % 100)
    else:
        frame.to_csv(path, index=False, sep=";" if source == "semicolons" else ",", quoting=int(source == "quoted"))
    options = DataOptions(target, group="owner" if grouped else None, drop=["text"] if seed % 2 else [])
    whole: Prepared | str
    found: Prepared | str
    try:
        whole = prepare(path, options, seed)
    except NeuronwiseError as error:
        whole = str(error)
    try:
        found = in_parts(
            path, options, seed, budget=1 if on_disk else 10**9, chunk_bytes=piece, chunk_rows=7 + piece % 40
        )
    except NeuronwiseError as error:
        found = str(error)
    if isinstance(whole, str) or isinstance(found, str):
        assert found == whole
        return
    assert_alike(found, whole)
    assert found.columns == whole.columns
    assert found.target == whole.target
    assert found.encoder.to_dict() == whole.encoder.to_dict()
    own = [note for note in found.notes if note.startswith(("read in parts: ", "the encoded rows"))]
    assert [note for note in found.notes if note not in own] == whole.notes
    assert len(own) == 2
    assert isinstance(found.X, np.memmap) == on_disk == (found.disk_bytes > 0)


def assert_alike(found: Prepared, whole: Prepared) -> None:
    for name in ("X", "y", "train", "validation", "test", "source_rows"):
        mine, theirs = getattr(found, name), getattr(whole, name)
        assert mine.dtype == theirs.dtype, name
        assert np.array_equal(mine, theirs), name
    for name in ("name", "source", "fingerprint", "kind", "input_shape"):
        assert getattr(found, name) == getattr(whole, name), name


def write(tmp_path: Path, **columns: Any) -> Path:
    path = tmp_path / "t.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_where_a_sample_decides_target_and_split_are_those_of_all_rows(tmp_path: Path) -> None:
    for seed, target in enumerate(["y", "label", "whole"]):
        path = tmp_path / "t.csv"
        make_table(seed, 3000).to_csv(path, index=False)
        options = DataOptions(target, group="owner" if seed else None)
        whole, found = prepare(path, options, seed), in_parts(path, options, seed, sample_rows=1500, chunk_bytes=50_000)
        for name in ("y", "train", "validation", "test", "source_rows", "fingerprint", "target"):
            assert np.array_equal(getattr(found, name), getattr(whole, name)), name
        assert {c.name: c.kind for c in found.columns} == {c.name: c.kind for c in whole.columns}
        assert found.encoder.input_names == whole.encoder.input_names
        assert np.abs(np.asarray(found.X) - whole.X).mean() < 0.05  # other means and scales, by a little
        assert {c.name: c.n_missing for c in found.columns if c.is_input} == {
            c.name: c.n_missing for c in whole.columns if c.is_input
        }
        ranges = [
            [(one.minimum, one.maximum) for one in data.encoder.inputs if one.is_scaled] for data in (found, whole)
        ]  # type: ignore[union-attr]
        for mine, theirs in zip(*ranges, strict=True):
            assert mine == pytest.approx(theirs, abs=40)  # days count from the first date of the sample
        assert "from 1,500 of the 3,000 rows, drawn by chance; the target is taken from all" in " ".join(found.notes)


def rare(n: int, usual: list[Any], unusual: dict[int, Any]) -> list[Any]:
    values = [usual[i % len(usual)] for i in range(n)]
    for row, value in unusual.items():
        values[row] = value
    return values


def outside(path: Path, n: int, size: int) -> list[int]:
    """Return rows that are not in the sample of `size`."""
    table = StreamedTable(path, str(path), 0, StreamOptions(1, sample_rows=size))
    drawn = {table.sample.number_of(row) for row in range(size)}
    return [row for row in range(n) if row not in drawn]


def test_what_the_sample_has_not_seen_is_counted_and_said(tmp_path: Path) -> None:
    n = 1000
    y = np.arange(n) ** 1.5
    a, b, c, d, e, *_ = outside(write(tmp_path, y=y), n, 100)
    path = write(
        tmp_path,
        y=y,
        colour=rare(n, ["red", "green"], {a: "mauve", b: "mauve"}),
        size=rare(n, [1.5, 2.25, 3.125, 7.75], {c: "huge", d: ""}),
        day=rare(n, ["2020-01-01", "2020-03-05", "2021-07-09"], {e: "someday"}),
    )
    data = in_parts(path, DataOptions("y"), sample_rows=100, chunk_bytes=700)
    said = [note for note in data.notes if note.startswith(("colour", "size", "day"))]
    assert said == [
        f"colour holds categories that are not in the sample, in 2 rows, such as 'mauve' (t.csv:{a + 2}): all their "
        "inputs are 0",
        "size is missing in 1 rows and never in the sample: they are filled, and no input of its own tells of it",
        f"size: 1 cells beyond the sample are no numbers and count as missing, such as 'huge' (t.csv:{c + 2})",
        f"day: 1 cells beyond the sample are no dates and count as missing, such as 'someday' (t.csv:{e + 2})",
    ]
    names = data.encoder.input_names
    colours = data.X[:, [names.index("colour=red"), names.index("colour=green")]]
    assert np.flatnonzero(colours.sum(axis=1) == 0).tolist() == [a, b]
    # The encoder knows these cells from now on.
    assert np.array_equal(data.encoder.transform(str(path)), data.X)


def test_more_than_a_few_cells_that_are_no_number_are_an_error_with_its_place(tmp_path: Path) -> None:
    n = 1000
    y = np.arange(n) ** 1.5
    rows = outside(write(tmp_path, y=y), n, 100)[10:40]
    path = write(tmp_path, y=y, size=rare(n, [1.5, 2.25, 3.125, 7.75], dict.fromkeys(rows, "n/k")))
    with pytest.raises(DataError) as caught:
        in_parts(path, DataOptions("y"), sample_rows=100, chunk_bytes=700)
    assert caught.value.where == f"t.csv:{rows[0] + 2}, column size"
    assert "'n/k' is no number, and 30 of the 1,000 cells are none" in str(caught.value)
    assert "--category size" in str(caught.value)


def test_a_third_answer_in_a_column_of_two_is_an_error_with_its_place(tmp_path: Path) -> None:
    n = 1000
    y = np.arange(n) ** 1.5
    row = outside(write(tmp_path, y=y), n, 100)[5]
    path = write(tmp_path, y=y, pool=rare(n, ["yes", "no", "no"], {row: "maybe"}))
    said = rf"t\.csv:{row + 2}, column pool: 'maybe' is neither yes nor no"
    with pytest.raises(DataError, match=said):
        in_parts(path, DataOptions("y"), sample_rows=100, chunk_bytes=700)


def test_an_infinite_number_anywhere_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, y=np.arange(1000) ** 1.5, size=rare(1000, [1.5, 2.25, 3.125], {777: "inf"}))
    with pytest.raises(DataError, match=r"t\.csv:779, column size: 'inf' is infinite"):
        in_parts(path, DataOptions("y"), sample_rows=50, chunk_bytes=700)


def test_a_rare_class_is_known_though_the_sample_has_none_of_it(tmp_path: Path) -> None:
    labels = rare(1000, ["a", "b"], {3: "c", 700: "c", 999: "c"})
    data = in_parts(write(tmp_path, x=np.arange(1000.0) ** 1.1, label=labels), DataOptions("label"), sample_rows=30)
    assert data.target.classes == ("a", "b", "c")
    assert data.target.class_counts == (499, 498, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "z"}, "there is no column 'z'"),
        ({"target": "y", "drop": ["q"]}, "there is no column 'q'"),
        ({"target": "y", "group": "y"}, "column 'y' is the target, so it cannot group rows"),
        ({"target": None}, "a table needs a column to predict"),
        ({"target": "y", "category": ["y"]}, "column 'y' is the target"),
    ],
)
def test_wrong_options_are_told_as_for_small_tables(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write(tmp_path, x=np.arange(50.0), y=np.arange(50.0) ** 2)
    texts = []
    for how in (lambda o: prepare(path, o, 0), lambda o: in_parts(path, o)):
        with pytest.raises(UsageError, match=said) as caught:
            how(DataOptions(**options))
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_columns_are_looked_for_before_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamedTable, "look_through", lambda *_: pytest.fail("read"))
    with pytest.raises(DataError, match=r"there is no column 'sizes'.*Did you mean 'size'"):
        in_parts(write(tmp_path, size=[1, 2], y=[1, 2]), DataOptions("y", drop=["sizes"]))


def trained(data: Prepared) -> FittedNetwork:
    run = train_prepared(data, TrainOptions(layers="8", epochs=2, track=False), reporter=Reporter())
    return run.model


@pytest.fixture
def long_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a table that is read in parts of a few rows because the budget is small."""
    monkeypatch.setenv("NEURONWISE_MEMORY", "20kB")
    monkeypatch.setattr(streaming_module, "CHUNK_BYTES", 3000)
    path = tmp_path / "long.csv"
    make_table(5, 600).to_csv(path, index=False)
    return path


def test_predictions_for_a_long_table_are_those_for_it_whole(
    long_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for target in ("y", "label"):
        model = trained(prepare(long_table, DataOptions(target, drop=["text"]), 0))
        new = tmp_path / "new.csv"
        frame = make_table(6, 500)
        frame.loc[400, "kind"] = frame.loc[450, "kind"] = "mauve"
        frame.to_csv(new, index=False)
        parts, unseen = model.predict_frame(new)
        rows, told = model.predict_file(new, tmp_path / "answers.csv")
        model.predict_file(new, tmp_path / "answers.parquet")
        x, said = model.encode(new)
        with monkeypatch.context() as patch:
            patch.setenv("NEURONWISE_MEMORY", "1GB")
            whole, expected = model.predict_frame(new)
            assert np.array_equal(x, model.encode(new)[0])
        assert unseen == told == said == expected
        assert any(
            "'mauve' was never seen in training; all its inputs are 0 at row 400 (line 402)" in one for one in said
        )
        assert rows == 500
        for found in (parts, pd.read_csv(tmp_path / "answers.csv"), pd.read_parquet(tmp_path / "answers.parquet")):
            pd.testing.assert_frame_equal(found, whole, rtol=1e-4, check_dtype=False)


def test_predictions_are_written_whole_or_not_at_all(long_table: Path, tmp_path: Path) -> None:
    model = trained(prepare(long_table, DataOptions("y", drop=["text"]), 0))
    text = long_table.read_text().splitlines()
    text[550] = "1,2,3"
    long_table.write_text("\n".join(text))
    for name in ("answers.csv", "answers.parquet"):
        with pytest.raises(DataError, match=r"long\.csv:551: this row has 3 fields"):
            model.predict_file(long_table, tmp_path / name)
    assert not list(tmp_path.glob("*answers*"))


def test_a_run_goes_on_with_a_long_table_and_says_what_is_new(long_table: Path) -> None:
    model = trained(prepare(long_table, DataOptions("y", drop=["text"]), 0))
    frame = pd.read_csv(long_table, dtype=str, keep_default_na=False)
    frame.loc[333, "kind"] = "mauve"
    frame.to_csv(long_table, index=False)
    options = DataOptions("y")
    found = prepare(long_table, options, 0, model)
    whole = prepare(long_table, dataclasses.replace(options, memory="1GB"), 0, model)
    assert isinstance(found.table, StreamedTable)
    assert not isinstance(whole.table, StreamedTable)
    assert_alike(found, whole)
    assert [n for n in found.notes if "mauve" in n] == [n for n in whole.notes if "mauve" in n] != []


def test_one_row_of_a_long_table_is_shown_as_of_a_small_one(long_table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [encode_row(long_table, row, target="y") for row in (0, 599)]
    monkeypatch.setenv("NEURONWISE_MEMORY", "1GB")
    assert found == [encode_row(long_table, row, target="y") for row in (0, 599)]


def test_what_is_held_in_memory_is_stated(long_table: Path) -> None:
    data = prepare(long_table, DataOptions("y", memory="20kB"), 0)
    assert data.disk_bytes == data.X.nbytes
    assert data.memory_bytes < 400_000_000
    small = prepare(long_table, DataOptions("y", memory="1GB"), 0)
    assert (small.memory_bytes, small.disk_bytes) == (small.X.nbytes + small.y.nbytes, 0)


def test_an_interrupted_reading_leaves_nothing_behind(long_table: Path, tmp_path: Path) -> None:
    def stop(what: str, rows: int, total: int) -> None:
        if what == "encoding" and rows > 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(long_table, DataOptions("y"), 0, reading=stop)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []
