"""Text tables (CSV, TSV, …) into columns of raw text cells.

Two readers that must agree: pyarrow's, which is fast, and Python's csv module, which knows lines. The fast one
is used only on files where the two cannot differ (every quote opens or closes a field); on any doubt or error
the slow one decides, reads, or names file and line.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.textfile import TextFile
from neuronwise.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS = 10_000
"""Most columns of a table."""
MAX_CELL = 131_072
"""Longest cell of a text table, in characters."""
_DELIMITERS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
_BATCH = 50_000


@dataclass(frozen=True, eq=False)
class Delimited:
    """Columns of text: `table` a pyarrow Table of strings; `lines` the file line of each row, None for row + 2."""

    table: pa.Table
    delimiter: str
    lines: NDArray[np.int64] | None
    notes: tuple[str, ...]


def read_delimited(text: TextFile) -> Delimited:
    """Return the cells of `text` as they are written.

    Raises:
        DataError: Header only, ragged rows, stray quotes, empty or duplicate column names, numbers in place of a
            header, too many columns, too long a cell; with file and line.
    """
    import pyarrow as pa

    found = find_header(text)
    lines: NDArray[np.int64] | None
    quick = read_fast(text.data, found.dialect, found.fields, found.fields)
    if quick is None:
        records = itertools.islice(read_records(text_lines(text.data), text.name, found.dialect), 1, None)
        batches = list(read_slow(records, text.name, found.names))
        schema = pa.schema([(name, pa.string()) for name in found.names])
        table = pa.Table.from_batches([batch for batch, _ in batches], schema=schema)
        lines = np.concatenate([lines for _, lines in batches] or [np.empty(0, np.int64)])
    else:
        table, lines = quick.rename_columns(found.names), _lines_of_rows(text, found.dialect, quick.num_rows)
    if table.num_rows == 0:
        raise no_rows(text.name)
    return Delimited(table, found.dialect.delimiter, lines, (*text.notes, *found.notes))


@dataclass(frozen=True, eq=False)
class Header:
    """How the fields are separated, the first record as written, the columns' names, and what is to be said of it."""

    dialect: Dialect
    fields: list[str]
    names: list[str]
    notes: tuple[str, ...]


def find_header(text: TextFile) -> Header:
    """Return what the beginning of a text table says; `text` may hold only that, its first record at least.

    Raises:
        DataError: Names empty or twice, numbers in place of a header, too many columns, a stray quote.
    """
    dialect = _find_dialect(text)
    line, fields = next(read_records(text_lines(text.data), text.name, dialect))
    names, notes = _check_header(fields, text.name, line)
    said = f"fields separated by {_DELIMITERS[dialect.delimiter]}" if len(names) > 1 else "one column"
    return Header(dialect, fields, names, (said, *notes))


def no_rows(name: str) -> DataError:
    """Return (not raise) the error of a table that is a header only."""
    return DataError("the file has a header and no rows", where=name, hint="There is nothing to learn from.")


class Dialect(csv.Dialect):
    """The csv module's dialect of a table: its separator, double quotes, strict."""

    quotechar = '"'
    doublequote = True
    lineterminator = "\n"
    quoting = csv.QUOTE_MINIMAL
    strict = True

    def __init__(self, delimiter: str, skipinitialspace: bool = False) -> None:
        self.delimiter = delimiter
        self.skipinitialspace = skipinitialspace
        super().__init__()


def _find_dialect(text: TextFile) -> Dialect:
    sample = text.data[: 1 << 16].decode("utf-8", "ignore")
    whole_lines = sample if len(text.data) <= 1 << 16 else sample[: sample.rfind("\n") + 1] or sample
    best, best_rank = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        try:
            reader = csv.reader(io.StringIO(whole_lines, newline=""), delimiter=delimiter)
            rows = [len(row) for _, row in zip(range(500), reader, strict=False) if row]
        except csv.Error:
            continue
        if rows and rows[0] > 1 and (rank := (sum(n == rows[0] for n in rows) / len(rows), rows[0])) > best_rank:
            best, best_rank = delimiter, rank
    if not best_rank[1]:
        widths = {len(line.split()) for line in whole_lines.splitlines()[:500] if line.strip()}
        if len(widths) == 1 and widths.pop() > 1:
            raise DataError(
                "the fields seem to be separated by spaces, which cannot be told from spaces inside a field",
                where=text.name,
                hint="Separate them by commas, semicolons, tabs or '|'.",
            )
    first = whole_lines.splitlines()[:20]
    return Dialect(best, skipinitialspace=any(f'{best} "' in line for line in first))


def text_lines(data: bytes) -> Iterator[str]:
    """Return the lines of UTF-8 text, each with the end that it has."""
    return io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")


def read_records(
    lines: Iterable[str], file: str, dialect: Dialect, first_line: int = 1
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record begins and its fields; blank lines are passed over.

    Args:
        lines: Lines as `text_lines` gives them, from the beginning of a record on.
        file: Name of the file, for errors.
        dialect: How fields are separated.
        first_line: Number of the first of the lines.

    Raises:
        DataError: A quote that is not closed, or a cell over `MAX_CELL`.
    """
    reader = csv.reader(lines, dialect)
    line = first_line
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = reader.line_num + first_line - 1
            if "field larger" in str(error):
                message, hint = f"a cell is longer than {MAX_CELL:,} characters, the limit", None
                hint = 'Often a stray quote (") is the cause.'
            else:
                end = f" by line {last}" if last > line else ""
                message = f'a quote (") opens a field in this row and is not closed properly{end}'
                hint = 'Remove the stray quote, or write it twice ("") inside a quoted field.'
            raise DataError(message, where=f"{file}:{line}", hint=hint) from None
        if record:
            yield line, record
        line = reader.line_num + first_line


def _check_header(header: list[str], file: str, line: int) -> tuple[list[str], list[str]]:
    names = [name.strip() for name in header]
    where = f"{file}:{line}"
    if len(names) > MAX_COLUMNS:
        raise DataError(f"the table has {len(names):,} columns; the limit is {MAX_COLUMNS:,}", where=where)
    if names and all(_is_number(name) for name in names):
        values = [float(name) for name in names]
        if any(b - a != 1 for a, b in itertools.pairwise(values)) or not values[0].is_integer():
            raise DataError(
                f"the first line holds numbers where names belong: {', '.join(names[:3])} …",
                where=where,
                hint="Put a header line with the column names on top of the file.",
            )
        return names, [f"the columns are named by numbers, {names[0]} to {names[-1]}"]
    check_names(names, where)
    return names, []


def check_names(names: list[str], where: str) -> None:
    """Raise a DataError if a column name is empty or occurs twice."""
    empty = [i for i, name in enumerate(names) if not name.strip()]
    if empty:
        hint = "Give every column a name."
        if empty == [0]:
            hint += " (If pandas wrote the file, index=False leaves out this first column, the index.)"
        elif empty == [len(names) - 1]:
            hint += " (Does the header line end in a separator?)"
        raise DataError(f"column {empty[0] + 1} of {len(names)} has no name", where=where, hint=hint)
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if name in seen:
            raise DataError(
                f"two columns are named {_short(name)!r}: column {seen[name] + 1} and column {i + 1}",
                where=where,
                hint="Rename or remove one of them.",
            )
        seen[name] = i


def read_fast(
    data: bytes,
    dialect: Dialect,
    fields: list[str],
    header: list[str] | None = None,
    columns: Sequence[int] | None = None,
) -> pa.Table | None:
    """Return the cells of `data` (columns f0, f1, …) if the fast reader can be trusted with it, else None.

    Args:
        data: UTF-8 text that begins at the beginning of a record and ends at the end of one.
        dialect: How fields are separated.
        fields: The file's header: a record has as many fields.
        header: The same, if `data` begins with it; it is no row of the result.
        columns: Indices of the columns to be returned; None: all.
    """
    if dialect.skipinitialspace:
        return None
    quoted = b'"' in data
    if quoted and not _quotes_enclose_fields(data, dialect.delimiter):
        return None
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as arrow_csv

    names = [f"f{i}" for i in range(len(fields))]
    kept = names if columns is None else [names[i] for i in columns]
    try:
        table: Any = arrow_csv.read_csv(
            pa.BufferReader(data),
            # The header is read as a row: so nothing is done to its names, and both readers' headers can be compared.
            read_options=arrow_csv.ReadOptions(autogenerate_column_names=True, block_size=1 << 24),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
                include_columns=[] if columns is None else kept,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError):
        return None
    if table.column_names != kept:
        return None
    if header is not None and [column[0].as_py() for column in table.columns] != (
        header if columns is None else [header[i] for i in columns]
    ):
        return None
    if any((pc.max(pc.utf8_length(column)).as_py() or 0) > MAX_CELL for column in table.columns):
        return None
    return table if header is None else table.slice(1)


def _quotes_enclose_fields(data: bytes, delimiter: str) -> bool:
    """Return whether the quotes are used by the book, so that both readers see the same fields.

    In such a file quotes open and close in turn. An opening quote follows a separator or, as the second of a
    doubled quote, a closing one; a closing quote stands before a separator or before the second of a pair.
    """
    at = np.flatnonzero(np.frombuffer(data, np.uint8) == ord('"'))
    if len(at) % 2:
        return False
    padded = np.frombuffer(b"\n" + data + b"\n", np.uint8)
    edge = np.zeros(256, bool)
    edge[[ord(delimiter), ord("\n"), ord("\r")]] = True
    opening, closing = at[0::2], at[1::2]
    doubled = np.zeros(len(opening), bool)
    doubled[1:] = opening[1:] == closing[:-1] + 1
    opens = edge[padded[opening]] | doubled
    closes = edge[padded[closing + 2]] | np.append(doubled[1:], False)
    return bool(opens.all() and closes.all())


def read_slow(
    records: Iterable[tuple[int, list[str]]], file: str, names: list[str]
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    """Yield the cells of up to 50,000 records at a time, with the line of each.

    Raises:
        DataError: A record has more or fewer fields than there are names.
    """
    import pyarrow as pa

    rows: list[list[str]] = []
    lines: list[int] = []

    def batch() -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        columns = [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)]
        made = pa.RecordBatch.from_arrays(columns, names=names), np.array(lines, np.int64)
        rows.clear()
        lines.clear()
        return made

    for line, record in records:
        if len(record) != len(names):
            fewer = len(record) < len(names)
            raise DataError(
                f"this row has {len(record)} field{'s' * (len(record) != 1)} where the header has {len(names)}",
                where=f"{file}:{line}",
                hint="Is a separator missing?"
                if fewer
                else 'Put a cell that holds the separator in double quotes (").',
            )
        rows.append(record)
        lines.append(line)
        if len(rows) == _BATCH:
            yield batch()
    if rows:
        yield batch()


def _lines_of_rows(text: TextFile, dialect: Dialect, n_rows: int) -> NDArray[np.int64] | None:
    data = text.data.rstrip(b"\r\n")
    if line_breaks(data) == n_rows:
        return None
    records = read_records(text_lines(text.data), text.name, dialect)
    return np.fromiter((line for line, _ in records), np.int64)[1:]


def line_breaks(data: bytes) -> int:
    """Return how many line breaks there are: LF, CR, or both as one."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:57] + "…"
