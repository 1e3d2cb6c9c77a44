"""Text tables: every common way of writing them is read, and every broken one is refused with its place."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data import delimited, read_table, textfile
from neuronwise.errors import DataError, UsageError


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows_of(path: Path) -> list[list[str]]:
    table = read_table(path)
    return [table.column_names, *table.frame.to_numpy().tolist()]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,x\n2,y\n", "','"),
        ("a;b\n1;x\n2;y\n", "';'"),
        ("a\tb\n1\tx\n2\ty\n", "tab"),
        ("a|b\n1|x\n2|y\n", "'|'"),
        ("a,b\r\n1,x\r\n2,y\r\n", "','"),
        ("a,b\r\n1,x\n2,y", "','"),
        ("a,b\r1,x\r2,y\r", "','"),
        ('"a","b"\n"1","x"\n"2","y"\n', "','"),
        ('a, "b"\n1, "x"\n2, "y"\n', "','"),
        ("\ufeffa,b\n1,x\n2,y\n", "byte order mark"),
        ("a,b\n\n1,x\n\n2,y\n\n", "','"),
    ],
)
def test_reads_every_common_way_of_writing_the_same_table(tmp_path: Path, content: str, said: str) -> None:
    path = write(tmp_path, content)
    assert rows_of(path) == [["a", "b"], ["1", "x"], ["2", "y"]]
    assert any(said in note for note in read_table(path).notes)


def test_reads_gzipped_tables_whatever_their_name(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"a,b\n1,x\n"), "t.csv")
    assert rows_of(path) == [["a", "b"], ["1", "x"]]
    assert "unpacked by gzip" in read_table(path).notes


def test_keeps_cells_as_they_are_written(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n007, 1.50 \n1.225E+06,"x ""y"", z"\n,NA\n')
    assert read_table(path).frame.to_numpy().tolist() == [["007", " 1.50 "], ["1.225E+06", 'x "y", z'], ["", "NA"]]


def test_a_quote_inside_an_unquoted_field_is_a_letter(tmp_path: Path) -> None:
    assert rows_of(write(tmp_path, 'a,b\n1,5" pipe\n'))[1] == ["1", '5" pipe']


def test_knows_the_line_of_each_row_past_newlines_in_quotes_and_blank_lines(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, 'a,b\n1,"x\ny"\n\n2,z\n'))
    assert [table.line_of(row) for row in range(2)] == [2, 5]
    assert table.where(1, "b") == "t.csv:5, column b"


def test_counts_lines_from_one_after_the_header(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "a,b\n1,2\n3,4\n")).line_of(1) == 3


def test_fingerprint_is_the_sha256_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,2\n")
    assert read_table(path).fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()


REFUSED = {
    "empty": (b"", "t.csv: the file is empty"),
    "blank lines only": (b"\n\n", "t.csv: the file is empty"),
    "header only": (b"a,b\n", "t.csv: the file has a header and no rows"),
    "too many fields": (b"a,b\n1,2\n1,2,3\n", "t.csv:3: this row has 3 fields where the header has 2"),
    "too few fields": (b"a,b\n1,2\n\n1\n", "t.csv:4: this row has 1 field where the header has 2"),
    "NUL": (b"a,b\n1,2\n3,\x004\n", "t.csv:3: byte 3 of this line is NUL"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8 t.csv"),
    "UTF-16 without mark": ("a,b\n1,2\n".encode("utf-16-be"), "the file is UTF-16 text"),
    "Latin-1": ("a,b\n1,2\ncafé,3\n".encode("latin-1"), "t.csv:3: byte 4 of this line (0xe9) is not UTF-8"),
    "open quote": (b'a,b\n1,"x\n2,3\n4,5\n', 't.csv:2: a quote (") opens a field in this row and is not closed'),
    "text after a quote": (b'a,b\n3,4\n1,"x"y\n2,3\n', 't.csv:3: a quote (") opens a field'),
    "duplicate names": (b"a,b,a\n1,2,3\n", "t.csv:1: two columns are named 'a': column 1 and column 3"),
    "empty name": (b"a,,b\n1,2,3\n", "t.csv:1: column 2 of 3 has no name"),
    "pandas index": (b",a\n0,1\n", "index=False"),
    "no header": (b"1,2.5\n3,4\n", "t.csv:1: the first line holds numbers where names belong: 1, 2.5"),
    "separated by spaces": (b"a b\n1 2\n", "the fields seem to be separated by spaces"),
    "zip": (b"PK\x03\x04....", "it is a ZIP archive or an Excel workbook"),
    "pickle": (b"\x80\x04\x95\x00", "a pickle, which is never opened"),
    "web page": (b"\n<!DOCTYPE html><html></html>", "it is a web page"),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "cut gzip": (gzip.compress(b"a,b\n1,2\n" * 1000)[:50], "the gzip stream is damaged or cut off"),
    "cut Parquet": (b"PAR1abcdef", "the Parquet file is damaged or cut off"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(tmp_path: Path, case: str) -> None:
    content, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        read_table(write(tmp_path, content))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_names_a_file_close_to_one_that_is_missing(tmp_path: Path) -> None:
    write(tmp_path, "a\n1\n", "houses.csv")
    with pytest.raises(DataError, match="no such file") as caught:
        read_table(tmp_path / "house.csv")
    assert "Did you mean" in str(caught.value)
    assert "houses.csv" in str(caught.value)


def test_refuses_a_folder_and_names_the_tables_in_it(tmp_path: Path) -> None:
    write(tmp_path, "a\n1\n", "houses.csv")
    with pytest.raises(DataError, match="this is a folder") as caught:
        read_table(tmp_path)
    assert "houses.csv" in str(caught.value)


def test_refuses_a_device() -> None:
    with pytest.raises(DataError, match="device or a pipe"):
        read_table("/dev/zero")


@pytest.mark.parametrize(
    ("thing", "hint"), [({"a": [1]}, "pandas.DataFrame(data)"), ([[1]], "pandas.DataFrame"), (3, "")]
)
def test_refuses_what_is_no_table(thing: object, hint: str) -> None:
    with pytest.raises(UsageError, match="a table is a path or a DataFrame") as caught:
        read_table(thing)
    assert hint in str(caught.value)


def test_numbers_in_a_row_are_accepted_as_names(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "0,1,2\n5,6,7\n"))
    assert table.column_names == ["0", "1", "2"]
    assert "the columns are named by numbers, 0 to 2" in table.notes


def test_a_line_without_end_is_refused_before_the_file_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textfile, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(textfile, "_CHUNK", 256)
    read = []
    original = textfile._read_bounded

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            read.append(size)
            return super().read(size)

    with pytest.raises(DataError, match=r"t\.csv:2: this line is longer than 1\.0 kB"):
        original(Counting(b"a,b\n" + b"x" * 100_000), "t.csv")
    assert len(read) < 10


def test_a_gzip_bomb_is_refused_at_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfile, "MAX_BYTES", 10_000_000)
    path = write(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 5_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"larger than 10\.0 MB"):
        read_table(path)


def test_zeros_in_a_gzip_bomb_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NUL"):
        read_table(write(tmp_path, gzip.compress(bytes(50_000_000), 1)))


def test_too_long_a_cell_is_refused_by_both_readers(tmp_path: Path) -> None:
    for content in (f"a,b\n1,2\n3,{'x' * 140_000}\n", f'a,b\n1,"2\n"\n3,{"x" * 140_000}\n'):
        with pytest.raises(DataError, match="a cell is longer than 131,072 characters"):
            read_table(write(tmp_path, content))


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(10_001))
    with pytest.raises(DataError, match="the table has 10,001 columns; the limit is 10,000"):
        read_table(write(tmp_path, f"{names}\n{names}\n"))


def test_hostile_names_are_kept_verbatim(tmp_path: Path) -> None:
    names = ["</script>", "__proto__", "constructor", "x" * 10_000, "\u202eabc", "naïve", "=cmd|' /C calc'!A0"]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([names, ["1"] * len(names)])
    assert read_table(write(tmp_path, buffer.getvalue())).column_names == names


cells = st.text(st.sampled_from('ab1,;"\n\r é'), max_size=6)


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_reads_back_whatever_the_csv_module_writes(
    tmp_path: Path, rows: list[tuple[str, str, str]], delimiter: str
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter).writerows([("first", "second", "third"), *rows])
    path = tmp_path / "t.csv"
    path.write_bytes(buffer.getvalue().encode())
    # A cell that begins with a separator and a quote looks like the style `a, "b"`; that reading is tested above.
    if f'{delimiter} "' in buffer.getvalue():
        return
    table = read_table(path)
    assert table.frame.to_numpy().tolist() == [list(row) for row in rows]
    assert [table.line_of(i) for i in range(len(rows))] == lines_by_csv(buffer.getvalue(), delimiter)


def lines_by_csv(text: str, delimiter: str) -> list[int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    starts, line = [], 1
    for _ in reader:
        starts.append(line)
        line = reader.line_num + 1
    return starts[1:]


@given(st.text(st.sampled_from('a1,"\n '), max_size=30))
def test_the_fast_reader_never_differs_from_the_slow_one(body: str) -> None:
    text = textfile.TextFile("t.csv", f"x,y\n{body}".encode(), "", ())
    dialect = delimited.Dialect(",")
    fast = delimited.read_fast(text.data, dialect, ["x", "y"])
    if fast is not None:
        records = delimited.read_records(delimited.text_lines(text.data), text.name, dialect)
        slow = [row for batch, _ in delimited.read_slow(records, text.name, ["x", "y"]) for row in batch.to_pylist()]
        assert fast.rename_columns(["x", "y"]).to_pylist() == slow


def test_reads_king_county_quickly_and_whole(shared_data: Path) -> None:
    path = shared_data / "housing" / "kc_house_data.csv"
    read_table(path)
    started = time.perf_counter()
    table = read_table(path)
    # Generous, for busy machines: measured 0.1 s.
    assert time.perf_counter() - started < 1.0
    assert (len(table), len(table.column_names)) == (21_613, 21)
    assert table.fingerprint == "aa501a2b18e0d0a288a0fdeb043b2c89d6c7e2ead1f9588165537d4e4e12b9df"
    assert [table.line_of(row) for row in table.cells("sqft_above").rows_of_missing()] == [12, 19]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_refuses_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a\n1\n")
    path.chmod(0)
    with pytest.raises(DataError, match="permission denied"):
        read_table(path)
