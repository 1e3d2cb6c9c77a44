"""Tables that are too large to be read whole: surveyed in one pass, then read in parts as often as needed.

What is decided about columns is decided on a uniform sample of rows, which is all rows where there are no more. What a
part then gives is what the whole table would give, cell for cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.budget import is_parquet, memory_budget, whole_bytes
from neuronwise.data.cells import make_cells
from neuronwise.data.frames import frame_from_arrow, normalise_frame
from neuronwise.data.number_cells import Style, number_cells
from neuronwise.data.reading import RawTable, check_column, no_such_row, read_table
from neuronwise.data.sampling import RowSampler, Sample
from neuronwise.data.stream_parquet import ParquetSource
from neuronwise.data.stream_text import TextSource
from neuronwise.data.textfile import find_file
from neuronwise.errors import DataError
from neuronwise.files import format_bytes
from neuronwise.network import generator

MAX_ROWS = 500_000_000
"""Most rows of a table that is read in parts."""
SAMPLE_CELLS = 4_000_000
"""Cells (rows × columns) of the sample on which columns are judged."""
SAMPLE_ROWS = (2_000, 200_000)
"""Fewest and most rows of that sample."""
CHUNK_BYTES = 8_000_000
"""Bytes of text read at once."""
CHUNK_CELLS = 1_000_000
"""Cells of Parquet read at once."""
_FEW_WORDS = 200_000

Told = Callable[[str, int, int], None]
"""Hears of progress: what is being done, rows done, rows in all (estimated, as long as they are not known)."""


@dataclass(frozen=True)
class StreamOptions:
    """How a long table is read.

    Attributes:
        budget: Bytes of memory that the data may take.
        sample_rows: Rows on which columns are judged; None: by the number of columns.
        chunk_bytes: Bytes of text read at once.
        chunk_rows: Rows of Parquet read at once; None: by the number of columns.
        told: Hears of progress.
    """

    budget: int
    sample_rows: int | None = None
    chunk_bytes: int = CHUNK_BYTES
    chunk_rows: int | None = None
    told: Told | None = None


def open_table(source: object, memory: int | str | None = None, told: Told | None = None) -> RawTable | StreamedTable:
    """Return the table in `source`: whole, or to be read in parts if it would take more than the memory budget.

    Args:
        source: As for `read_table`. Frames are in memory already and are taken whole.
        memory: The budget, in bytes or like ``"2GB"``; None: `NEURONWISE_MEMORY`, else 1 GB.
        told: Hears of the progress of long readings.

    Raises:
        DataError: As `read_table`; of a long table what is found at its beginning.
        UsageError: As `read_table`, or `memory` is no size.
    """
    budget = memory_budget(memory)
    if not isinstance(source, (str, Path)):
        return read_table(source)
    path = find_file(Path(source).expanduser())
    needed = whole_bytes(path)
    if needed <= budget:
        return read_table(source)
    return StreamedTable(path, str(source), needed, StreamOptions(budget, told=told))


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over a long table found.

    Attributes:
        n_rows: Rows.
        fingerprint: sha256 of the file.
        sample: Some rows, or all.
        kept: Whole columns that were asked for.
        lines: The line of each row, None where row r stands on line r + 2.
    """

    n_rows: int
    fingerprint: str
    sample: RawTable
    kept: dict[str, Any]
    lines: NDArray[np.int64] | None = field(repr=False)

    @property
    def is_whole(self) -> bool:
        """Whether the sample is the table."""
        return len(self.sample) == self.n_rows


class StreamedTable:
    """A table on disk that is never in memory whole.

    Attributes:
        name: File name; errors begin with it.
        source: The path as given.
        column_names: Names in the order of the table.
        needed_bytes: About what reading it whole would take.
        options: How it is read.
    """

    def __init__(self, path: Path, source: str, needed_bytes: int, options: StreamOptions) -> None:
        self.name, self.source, self.needed_bytes, self.options = path.name, source, needed_bytes, options
        self._path, self._state = path, _state(path)
        columnar = is_parquet(path)
        self._text = None if columnar else TextSource(path, options.chunk_bytes)
        self._parquet = ParquetSource(path, options.chunk_rows, CHUNK_CELLS) if columnar else None
        self.column_names = list(self._text.header.names if self._text else self._parquet.names)  # type: ignore[union-attr]
        self._survey: Survey | None = None

    def __len__(self) -> int:
        return self.n_rows

    @property
    def survey(self) -> Survey:
        """What the first pass found (it is made if it was not)."""
        return self._survey or self.look_through()

    @property
    def n_rows(self) -> int:
        """Rows, without the header."""
        return self.survey.n_rows

    @property
    def fingerprint(self) -> str:
        """sha256 of the file, as of a table read whole."""
        return self.survey.fingerprint

    @property
    def sample(self) -> RawTable:
        """The rows on which columns are judged; all rows, if there are few."""
        return self.survey.sample

    def check_column(self, column: str) -> None:
        """Raise a DataError if there is no such column."""
        check_column(column, self.column_names, self.name)

    def notes(self) -> list[str]:
        """Return what was found out while reading, in sentences."""
        sample = self.sample
        said = [
            *sample.notes,
            f"read in parts: read whole it would take about {format_bytes(self.needed_bytes)} of memory, and "
            f"{format_bytes(self.options.budget)} are granted (--memory or NEURONWISE_MEMORY changes that)",
        ]
        if not self.survey.is_whole:
            said.append(
                f"kinds of columns, categories and scaling come from {len(sample):,} of the {self.n_rows:,} rows, "
                "drawn by chance; the target is taken from all"
            )
        return said

    def look_through(self, keep: Sequence[str] = ()) -> Survey:
        """Read the table once: its sample, the number of its rows, and the columns `keep` whole.

        Raises:
            DataError: As `read_table`, with file and line; the file changes while it is read.
        """
        keep = [name for name in keep if name in self.column_names]
        low, high = SAMPLE_ROWS
        size = self.options.sample_rows or min(max(SAMPLE_CELLS // len(self.column_names), low), high)
        sampler = RowSampler(size, generator(0, "sample of a long table"))
        kept: dict[str, list[Any]] = {name: [] for name in keep}
        lines: list[NDArray[np.int64]] = []
        n_rows, plain = 0, True
        found = {"passed": 0, "fingerprint": ""}
        total = self._parquet.n_rows if self._parquet else 0
        for cells, at in self._chunks(None, found):
            sampler.feed(cells, n_rows, at)
            for name in keep:
                kept[name].append(cells[name].combine_chunks())
            plain = plain and (self._text is None or (at[0] == n_rows + 2 and at[-1] == at[0] + len(at) - 1))
            lines.append(at)
            n_rows += cells.num_rows
            if n_rows > MAX_ROWS:
                raise DataError(f"the table has more than {MAX_ROWS:,} rows, the limit", where=self.name)
            if not self._parquet and found["passed"]:
                total = n_rows * self._text.size_bytes // found["passed"]  # type: ignore[union-attr]
            self._tell("reading", n_rows, max(total, n_rows))
        self._check_unchanged()
        if self._parquet is not None:
            found["fingerprint"] = self._parquet.fingerprint()
        drawn = sampler.finish()
        sample = self._raw(drawn, str(found["fingerprint"]), n_rows)
        self._survey = Survey(
            n_rows,
            str(found["fingerprint"]),
            sample,
            {name: _chunked(parts) for name, parts in kept.items()},
            None if plain else np.concatenate(lines),
        )
        return self._survey

    def column(self, name: str) -> RawTable:
        """Return the whole of one column that was kept, as a table; the sample, if that is the whole table.

        Raises:
            DataError: There is no such column, or it holds lists and the like.
        """
        survey = self.survey
        survey.sample.check_column(name)
        if survey.is_whole:
            return survey.sample
        raw = survey.kept[name]
        series = self._frame({name: raw})[name]
        sample = survey.sample
        sample.cells(name)  # refuses what is no column of cells
        style = number_style(sample, name, share=0.95)
        if style is None or not self._has_many_words(raw):
            fallback = "," if sample.delimiter == ";" else "."
            cells = make_cells(series, prefer=sample.decimal_hint if sample.delimiter else None, fallback=fallback)
        else:
            cells = number_cells(series, style) or make_cells(series)
        return RawTable(
            series.to_frame(name),
            self.name,
            self.source,
            sample.notes,
            survey.fingerprint,
            sample.delimiter,
            declared=sample.declared,
            _lines=survey.lines,
            _cells={name: cells},
        )

    def forget(self) -> None:
        """Give back the memory of what was looked at to decide about columns; it is found again when asked for."""
        import pyarrow as pa

        self.sample.forget()
        self.survey.kept.clear()
        pa.default_memory_pool().release_unused()

    def groups(self, name: str) -> NDArray[np.float64]:
        """Return the group of each row by a kept column, as a number; NaN where the cell is missing."""
        import pandas as pd

        codes = np.asarray(pd.factorize(self._frame({name: self.survey.kept[name]})[name])[0])
        return np.where(codes < 0, np.nan, codes)

    def row(self, row: int) -> RawTable:
        """Return one row, counted from 0, as a table of its own.

        Raises:
            UsageError: There is no such row.
        """
        if not 0 <= row < self.n_rows:
            raise no_such_row(row, self.n_rows, self.name)
        styles = {name: style for name in self.column_names if (style := self._style(name)) is not None}
        for first, part in self.parts(self.column_names, styles, "looking for the row"):
            if row < first + len(part):
                return part.one_row(row - first)
        raise AssertionError("the file has as many rows as before")

    def _style(self, name: str) -> Style | None:
        return None if name in self.sample.refused else number_style(self.sample, name, share=0.95)

    def parts(self, columns: Sequence[str], styles: Mapping[str, Style], what: str) -> Iterator[tuple[int, RawTable]]:
        """Yield the number of the first row and the cells of some columns, part by part.

        Args:
            columns: The columns wanted.
            styles: How numbers are written in those of them that are numbers (see `number_style`).
            what: What is being done, for who hears of progress.

        Raises:
            DataError: The file is not the one that was surveyed.
        """
        survey = self.survey
        first = 0
        found = {"passed": 0, "fingerprint": ""}
        self._check_unchanged()
        for cells, lines in self._chunks(columns, found):
            rows = np.arange(first, first + cells.num_rows)
            frame, declared, refused = self._normalised(cells)
            yield (
                first,
                RawTable(
                    frame,
                    self.name,
                    self.source,
                    (),
                    survey.fingerprint,
                    survey.sample.delimiter,
                    declared=declared,
                    refused=refused,
                    styles=styles,
                    _lines=lines,
                    _rows=rows,
                ),
            )
            first += cells.num_rows
            self._tell(what, first, survey.n_rows)
        self._check_unchanged()

    def _chunks(self, columns: Sequence[str] | None, found: dict[str, Any]) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        """Yield tables of cells and the line of each row (0 where there are no lines)."""
        if self._parquet is not None:
            for table in self._parquet.chunks(columns):
                yield table, np.zeros(table.num_rows, np.int64)
            return

        def told(passed: int, fingerprint: str | None) -> None:
            found["passed"] = passed
            found["fingerprint"] = fingerprint or ""

        assert self._text is not None
        yield from self._text.chunks(columns, told)

    def _raw(self, drawn: Sample, fingerprint: str, n_rows: int) -> RawTable:
        rows = None if len(drawn.rows) == n_rows else drawn.rows
        if self._text is None:
            plain, nested = frame_from_arrow(drawn.cells, self.name)
            frame, declared, notes, refused = normalise_frame(plain, self.name)
            return RawTable(
                frame,
                self.name,
                self.source,
                ("Parquet", *notes),
                fingerprint,
                declared=declared,
                refused=refused | nested,
                _rows=rows,
            )
        sample = RawTable(
            drawn.cells.to_pandas(),
            self.name,
            self.source,
            self._text.notes,
            fingerprint,
            self._text.header.dialect.delimiter,
            _lines=drawn.lines,
            _rows=rows,
        )
        if sample.decimal_hint == ",":
            object.__setattr__(sample, "notes", (*sample.notes, "decimal comma"))
        return sample

    def _normalised(self, cells: Any) -> tuple[Any, frozenset[str], dict[str, DataError]]:
        if self._text is not None:
            return cells.to_pandas(), frozenset(), {}
        plain, nested = frame_from_arrow(cells, self.name)
        frame, declared, _, refused = normalise_frame(plain, self.name)
        return frame, declared, refused | nested

    def _frame(self, columns: dict[str, Any]) -> Any:
        import pyarrow as pa

        return self._normalised(pa.table(columns))[0]

    def _has_many_words(self, raw: Any) -> bool:
        import pyarrow.compute as pc

        return bool(pc.count_distinct(raw).as_py() > _FEW_WORDS)

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.options.told is not None:
            self.options.told(what, done, total)

    def _check_unchanged(self) -> None:
        if _state(self._path) != self._state:
            raise DataError(
                "the file changed while it was read", where=self.name, hint="Try again when nothing writes to it."
            )


def number_style(table: RawTable, name: str, remembered: str | None = None, *, share: float = 0.0) -> Style | None:
    """Return how the numbers of a column are written, None if no more than `share` of its cells are numbers.

    `remembered` decides between point and comma where neither the column nor its table does.
    """
    cells = table.cells(name)
    if cells.form in ("integer", "real"):
        return Style()
    if cells.form != "text" or not cells.n_distinct:
        return None
    reading = cells.numbers(remembered)
    known = int(cells.counts[~np.isnan(reading.values)].sum())
    return Style(reading.decimal, reading.brackets) if known > share * cells.n_present else None


def _chunked(parts: list[Any]) -> Any:
    import pyarrow as pa

    return pa.chunked_array(parts)


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
