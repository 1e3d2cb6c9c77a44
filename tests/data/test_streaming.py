"""Tables read in parts: the same as read whole, in whatever pieces they come; sampled, and honest about what is not."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data import StreamedTable, open_table, read_table
from neuronwise.data import streaming as streaming_module
from neuronwise.data.stream_text import TextSource
from neuronwise.data.streaming import StreamOptions
from neuronwise.errors import DataError, NeuronwiseError, UsageError


def streamed(path: Path, **options: Any) -> StreamedTable:
    return StreamedTable(path, str(path), 10**10, StreamOptions(10**9, **options))


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def by_whole(path: Path) -> Any:
    try:
        table = read_table(path)
    except NeuronwiseError as error:
        return str(error)
    cells, lines = table.frame.to_numpy().tolist(), [table.line_of(row) for row in range(len(table))]
    return cells, lines, table.column_names, table.fingerprint


def by_parts(path: Path, chunk_bytes: int) -> Any:
    cells: list[list[str]] = []
    lines: list[int] = []
    fingerprint: list[str | None] = []
    try:
        source = TextSource(path, chunk_bytes)
        for chunk in source.chunks(told=lambda _, found: fingerprint.append(found)):
            cells += [list(row.values()) for row in chunk.cells.to_pylist()]
            lines += chunk.lines.tolist()
    except NeuronwiseError as error:
        return str(error)
    return cells, lines, source.header.names, fingerprint[-1]


pieces = st.sampled_from([1, 5, 17, 64, 5000])


@given(
    st.sampled_from(['a1,"\n ', "a1,\n", 'a1,\r\n"', "a1,\r", 'aé,"\n', 'a;"\n']).flatmap(
        lambda letters: st.text(st.sampled_from(letters), max_size=60)
    ),
    pieces,
    st.booleans(),
)
def test_any_text_is_read_in_parts_as_it_is_whole(tmp_path: Path, body: str, size: int, packed: bool) -> None:
    data = f"x,y\n{body}".encode()
    path = write(tmp_path, gzip.compress(data) if packed else data)
    assert by_parts(path, size) == by_whole(path)


@given(
    st.lists(st.tuples(*[st.text(st.sampled_from('ab1,"\n\r é'), max_size=5)] * 2), min_size=1, max_size=12),
    pieces,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.sampled_from([b"", b"\n\n", b"\xff,1\n"]),
)
def test_any_written_table_is_read_in_parts_as_it_is_whole(
    tmp_path: Path, rows: list[tuple[str, str]], size: int, end: str, quoted: bool, mark: bytes, rest: bytes
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator=end, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("x", "y"), *rows])
    path = write(tmp_path, mark + buffer.getvalue().encode() + rest)
    assert by_parts(path, size) == by_whole(path)


def test_small_pieces_are_small(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y\n" + "".join(f"{i},{i}\n" for i in range(1000)))
    chunks = list(TextSource(path, 100).chunks())
    assert len(chunks) > 50
    assert max(chunk.cells.num_rows for chunk in chunks) < 30


def test_only_the_columns_wanted_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, 'x,y,z\n1,"a\nb",3\n4,c",6\n')  # the second row is for the slow reader
    rows = [row for chunk in TextSource(path, 8).chunks(["z", "y"]) for row in chunk.cells.to_pylist()]
    assert rows == [{"z": "3", "y": "a\nb"}, {"z": "6", "y": 'c"'}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n" + "1,2\n" * 500 + "3\n" + "1,2\n" * 500, r"t\.csv:502: this row has 1 field where the header has 2"),
        ("a,b\n" + "1,2\n" * 500 + '"3,4\n' + "1,2\n" * 500, r"t\.csv:502: a quote .* not closed properly"),
        (b"a,b\n" + b"1,2\n" * 3000 + b"\xe9,4\n", r"t\.csv:3002: byte 1 of this line \(0xe9\) is not UTF-8"),
        (b"a,b\n" + b"1,2\n" * 3000 + b"\0,4\n", r"t\.csv:3002: byte 1 of this line is NUL"),
        ("a,b\n", "a header and no rows"),
        ("\n \n", "the file is empty"),
        ("a,a\n1,2\n", "two columns are named 'a'"),
    ],
    ids=["ragged", "quote", "bytes", "nul", "header", "empty", "names"],
)
def test_errors_name_the_same_line_as_of_a_small_file(content: str | bytes, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    assert by_parts(path, 64) == by_whole(path)
    with pytest.raises(DataError, match=said):
        streamed(path, chunk_bytes=64).look_through()


def test_a_damaged_gzip_stream_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n" + os.urandom(20_000).hex().encode() + b",1\n")
    with pytest.raises(DataError, match="the gzip stream is damaged or cut off"):
        streamed(write(tmp_path, packed[:-3000])).look_through()


def test_which_rows_are_drawn_depends_on_no_piece(tmp_path: Path) -> None:
    path = write(tmp_path, "x\n" + "".join(f"{i}\n" for i in range(5000)))
    drawn = [streamed(path, sample_rows=300, chunk_bytes=size).sample.frame["x"].tolist() for size in (50, 1000, 10**6)]
    assert drawn[0] == drawn[1] == drawn[2]
    rows = [int(cell) for cell in drawn[0]]
    assert rows == sorted(set(rows))
    assert len(rows) == 300
    assert abs(np.mean(rows) - 2500) < 4 * 1443 / np.sqrt(300)  # a uniform sample: mean within 4 standard errors


def test_a_sampled_row_knows_where_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y\n" + "".join(f'{i},"a\nb"\n' for i in range(500)))
    sample = streamed(path, sample_rows=20, chunk_bytes=77).sample
    for row in range(20):
        number = int(str(sample.cell(row, "x")))
        assert sample.number_of(row) == number
        assert sample.line_of(row) == 2 + 2 * number


def test_parquet_comes_in_parts_with_the_rows_and_types_of_the_whole(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "n": pd.array([1, None, 3] * 40, dtype="Int64"), "f": np.arange(120) / 7, "s": ["a", None, "c"] * 40,
        "c": pd.Categorical(["u", "v", None] * 40), "t": pd.date_range("2020-01-01", periods=120),
    })  # fmt: skip
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=50)
    whole = read_table(tmp_path / "t.parquet")
    table = streamed(tmp_path / "t.parquet", chunk_rows=7)
    parts = [part.frame for _, part in table.parts(["s", "n", "f", "t"], {}, "")]
    assert len(parts) > 15
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole.frame[["s", "n", "f", "t"]])
    assert (table.fingerprint, table.n_rows, table.column_names) == (whole.fingerprint, 120, whole.column_names)
    assert table.sample.notes == whole.notes
    assert table.sample.declared == whole.declared == {"c"}


def test_a_file_that_changes_between_two_readings_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "x\n1\n2\n")
    table = streamed(path)
    table.look_through()
    write(tmp_path, "x\n1\n2\n3\n")
    with pytest.raises(DataError, match="the file changed while it was read"):
        list(table.parts(["x"], {}, ""))


def test_who_asks_hears_how_far_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, "x\n" + "12345\n" * 1000)
    heard: list[tuple[str, int, int]] = []
    table = streamed(path, chunk_bytes=600, told=lambda *said: heard.append(said))
    list(table.parts(["x"], {}, "encoding"))
    reading = [(rows, total) for what, rows, total in heard if what == "reading"]
    assert len(reading) >= 5
    assert reading[-1] == (1000, 1000)
    assert all(rows <= total for rows, total in reading)
    assert heard[-1] == ("encoding", 1000, 1000)


@pytest.mark.parametrize("content", ["y\n" + "\n".join(["a", "b", "NA", "2.0", "2", " a "] * 50), None])
def test_a_kept_column_has_the_cells_of_the_whole_table(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming_module, "_FEW_WORDS", 10)
    numbers = "y;z\n" + "\n".join(f"{i % 97},{i};1" if i % 50 else "?;1" for i in range(1000))
    path = write(tmp_path, content or numbers)
    table, whole = streamed(path, sample_rows=100), read_table(path)
    table.look_through(["y"])
    column = table.column("y")
    assert len(column) == len(whole)
    mine, theirs = column.cells("y"), whole.cells("y")
    for row in range(len(whole)):
        a, b = int(mine.codes[row]), int(theirs.codes[row])
        assert (a < 0) == (b < 0)
        assert a < 0 or mine.word(a) == theirs.words[b]
        assert a < 0 or np.array_equal(mine.reading.values[a], theirs.reading.values[b], equal_nan=True)
    assert (type(mine).__name__ == "NumberCells") == (content is None)


def test_what_fits_is_read_whole_and_what_does_not_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "x\n" + "1\n" * 10_000)
    assert not isinstance(open_table(path), StreamedTable)
    assert isinstance(open_table(path, memory=50_000), StreamedTable)
    assert isinstance(open_table(path, memory="0.1MB"), StreamedTable)
    monkeypatch.setenv("NEURONWISE_MEMORY", "100kB")
    assert isinstance(open_table(path), StreamedTable)
    assert not isinstance(open_table(path, memory="1GB"), StreamedTable)
    monkeypatch.setenv("NEURONWISE_MEMORY", "much")
    with pytest.raises(UsageError, match=r"environment variable NEURONWISE_MEMORY: expected a size .* got 'much'"):
        open_table(path)


def test_one_row_of_a_long_table_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y\n" + "".join(f"{i},{i / 8}\n" for i in range(300)))
    row = streamed(path, chunk_bytes=100).row(217)
    assert row.cell(0, "x") == "217"
    assert row.line_of(0) == 219
    assert row.where(0, "y") == "t.csv:219, column y"
    with pytest.raises(UsageError, match="there is no row 300; rows count from 0 and the last is 299"):
        streamed(path).row(300)
