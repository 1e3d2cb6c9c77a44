"""Any table (CSV, Parquet, a pandas or polars frame) as a `RawTable`: its cells as they are, and where each stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.budget import is_parquet
from neuronwise.data.cells import Cells, make_cells
from neuronwise.data.delimited import read_delimited
from neuronwise.data.frames import Refused, frame_fingerprint, frame_from_arrow, normalise_frame, read_parquet
from neuronwise.data.number_cells import Style, number_cells
from neuronwise.data.textfile import find_file, load_text
from neuronwise.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table before anything is decided about its columns.

    Attributes:
        frame: pandas DataFrame; all cells text if the source is a text file, typed if it is a frame or Parquet.
        name: File name, or ``"table"`` for a frame; errors begin with it.
        source: The path as given, or ``"pandas.DataFrame"`` or ``"polars.DataFrame"``.
        notes: What was found out while reading, in sentences.
        fingerprint: sha256 of the file's bytes, or of the frame's content.
        delimiter: Separator of a text file, else None.
        declared: Columns that their frame declares to be categories.
        refused: Columns whose cells are no number, text, date or truth value, each with the error that using it raises.
        styles: Of a part of a longer table: how its columns of numbers are written, as the whole table says; they are
            read as numbers at once (see `number_cells`).
    """

    frame: pd.DataFrame
    name: str
    source: str
    notes: tuple[str, ...]
    fingerprint: str
    delimiter: str | None = None
    declared: frozenset[str] = frozenset()
    refused: Refused = field(default_factory=dict)
    styles: Mapping[str, Style] | None = None
    _lines: NDArray[np.int64] | None = None
    _rows: NDArray[np.int64] | None = None
    _cells: dict[str, Cells] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def n_rows(self) -> int:
        """Rows, without the header."""
        return len(self.frame)

    @property
    def column_names(self) -> list[str]:
        """Names in the order of the table."""
        return list(self.frame.columns)

    def line_of(self, row: int) -> int | None:
        """Return the line (from 1) of the file on which `row` (from 0) begins; None if the source has no lines."""
        if self.delimiter is None:
            return None
        return int(self._lines[row]) if self._lines is not None else row + 2

    def number_of(self, row: int) -> int:
        """Return the row of the source (from 0) that `row` is: the same, unless this is a part of a longer table."""
        return row if self._rows is None else int(self._rows[row])

    def where(self, row: int | None = None, column: str | None = None) -> str:
        """Return a place for an error: ``"houses.csv:17, column price"`` or ``"table, row 15, column price"``."""
        place = self.name
        if row is not None:
            line = self.line_of(row)
            place += f":{line}" if line is not None else f", row {self.number_of(row)}"
        return place if column is None else f"{place}, column {_short(column)}"

    def cells(self, column: str) -> Cells:
        """Return the distinct cells of `column` (kept, so asking again is free).

        Raises:
            DataError: There is no such column, or its cells are lists, durations or the like.
        """
        self.check_column(column)
        if column in self.refused:
            raise self.refused[column]
        if column not in self._cells:
            self._cells[column] = self._styled_cells(column) or self._make_cells(
                column, self.decimal_hint if self.delimiter and self.styles is None else None
            )
        return self._cells[column]

    def forget(self) -> None:
        """Drop the distinct cells that were kept, which may take much memory; they are found again when asked for."""
        self._cells.clear()

    def cell(self, row: int, column: str) -> object:
        """Return one raw cell: text as written, or the frame's value."""
        self.check_column(column)
        return self.frame[column].iloc[self.check_row(row)]

    def check_column(self, column: str) -> None:
        """Raise a DataError if there is no such column."""
        if column not in self.frame.columns:  # which looks it up; the list of names of a wide table takes long
            check_column(column, self.column_names, self.name)

    def check_row(self, row: int) -> int:
        """Return `row` if the table has it, else raise a UsageError."""
        if not 0 <= row < len(self.frame):
            raise no_such_row(row, len(self.frame), self.name)
        return row

    def one_row(self, row: int) -> RawTable:
        """Return one row as a table of its own, which knows where it stands in this one."""
        line = self.line_of(row)
        return replace(
            self,
            frame=self.frame.iloc[row : row + 1].reset_index(drop=True),
            _lines=None if line is None else np.array([line]),
            _rows=np.array([self.number_of(row)]),
            _cells={},
        )

    @cached_property
    def decimal_hint(self) -> str | None:
        """``","`` or ``"."`` if some column of this text table can be read in one of the two styles only."""
        votes = {".": 0, ",": 0}
        for column in self.column_names:
            text = self.frame[column]
            if not text.str.contains(",", regex=False).any():
                continue
            cells = self._make_cells(column, None)
            known = int(cells.counts[~np.isnan(cells.reading.values)].sum())
            if cells.reading.decided and known >= 0.99 * max(cells.n_present, 1):
                votes[cells.reading.decimal] += 1
        return None if votes["."] == votes[","] else max(votes, key=lambda style: votes[style])

    def _styled_cells(self, column: str) -> Cells | None:
        style = None if self.styles is None else self.styles.get(column)
        return None if style is None else number_cells(self.frame[column], style)

    def _make_cells(self, column: str, prefer: str | None) -> Cells:
        # In a file whose separator is the comma a quoted "1,234" is a thousand; where it is the semicolon, it is not.
        fallback = "," if self.delimiter == ";" else "."
        return make_cells(self.frame[column], prefer=prefer, fallback=fallback)


def read_table(source: object) -> RawTable:
    """Return the table in `source`, its cells untouched.

    Args:
        source: Path of a text table (CSV, TSV, …; any of ``, ; tab |``, plain or gzipped) or a Parquet file, told
            apart by content; or a pandas or polars DataFrame. A RawTable is returned as it is.

    Raises:
        DataError: The file or frame is no table; says where (file and line, or column) and how to mend it. A column
            of lists, durations or the like is refused only when it is used.
        UsageError: `source` is something else.
    """
    if isinstance(source, RawTable):
        return source
    if isinstance(source, (str, Path)):
        return _read_file(source)
    module, kind = type(source).__module__.split(".")[0], type(source).__name__
    if module == "pandas" and kind != "Series" and hasattr(source, "columns"):
        return _from_frame(source, "pandas.DataFrame", {})
    if module == "polars" and kind == "DataFrame":
        return _from_frame(*_from_polars(source))
    advice = {
        "LazyFrame": "Call .collect() first.",
        "Series": "A table has columns: give a DataFrame.",
        "ndarray": "Plain arrays need no reading of columns: give them to fit, or make a DataFrame with column names.",
        "dict": "Make it a DataFrame: pandas.DataFrame(data).",
        "list": "Make it a DataFrame: pandas.DataFrame(data).",
    }
    raise UsageError(f"a table is a path or a DataFrame, not a {kind}", where="argument data", hint=advice.get(kind))


def check_column(column: str, names: list[str], where: str) -> None:
    """Raise a DataError if `column` is none of the `names`."""
    if column not in names:
        shown = ", ".join(_short(name) for name in names[:30])
        more = f" and {len(names) - 30} more" if len(names) > 30 else ""
        raise DataError(
            f"there is no column {_short(column)!r}.{did_you_mean(column, names)}",
            where=where,
            hint=f"The columns are: {shown}{more}.",
        )


def no_such_row(row: int, n_rows: int, where: str) -> UsageError:
    """Return (not raise) the error of a row that is not there."""
    return UsageError(f"there is no row {row}; rows count from 0 and the last is {n_rows - 1:,}", where=where)


def _read_file(source: str | Path) -> RawTable:
    path = find_file(Path(source).expanduser())
    if is_parquet(path):
        import hashlib

        table = read_parquet(path)
        with path.open("rb") as file:
            fingerprint = hashlib.file_digest(file, "sha256").hexdigest()
        plain, nested = frame_from_arrow(table, path.name)
        frame, declared, notes, refused = normalise_frame(plain, path.name)
        notes = ["Parquet", *notes]
        refused |= nested
        return RawTable(frame, path.name, str(source), tuple(notes), fingerprint, declared=declared, refused=refused)
    text = load_text(path)
    found = read_delimited(text)
    raw = RawTable(
        found.table.to_pandas(),
        path.name,
        str(source),
        found.notes,
        text.fingerprint,
        found.delimiter,
        _lines=found.lines,
    )
    if raw.decimal_hint == ",":
        raw = RawTable(
            raw.frame,
            raw.name,
            raw.source,
            (*raw.notes, "decimal comma"),
            raw.fingerprint,
            raw.delimiter,
            _lines=found.lines,
        )
    return raw


def _from_frame(frame: Any, source: str, nested: Refused) -> RawTable:
    plain, declared, notes, refused = normalise_frame(frame, "table")
    refused |= nested
    return RawTable(plain, "table", source, tuple(notes), frame_fingerprint(plain), declared=declared, refused=refused)


def _from_polars(frame: Any) -> tuple[Any, str, Refused]:
    import pyarrow as pa

    try:
        table = frame.to_arrow()
    except (pa.ArrowException, Exception) as error:  # noqa: BLE001 - polars raises its own panic types for objects
        raise DataError(f"the polars frame cannot be read: {str(error).splitlines()[0]}", where="table") from None
    plain, nested = frame_from_arrow(table, "table")
    return plain, "polars.DataFrame", nested


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:57] + "…"
