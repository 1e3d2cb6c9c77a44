"""Input neurons: each keeps its name, the column it comes from and the way back to the original unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data.cells import Cells, match_words, yes_no
from neuronwise.data.columns import Column, Kind, check_finite, figure, show
from neuronwise.data.dates import date_parts
from neuronwise.data.places import WAVES
from neuronwise.data.reading import RawTable
from neuronwise.errors import DataError

MISSING = "missing"
UNSEEN = -1.0
_MAX_ODD_WORDS = 100_000


@dataclass(frozen=True)
class Input:
    """One input neuron.

    Attributes:
        name: ``sqft_living``, ``zipcode=98103``, ``date (year)``, ``sqft_above missing``.
        column: Column of the table it is made from.
        kind: Kind of that column.
        part: Part of a date, wave over a place, or ``"missing"`` for a flag that is 1 where the cell was missing.
        category: The category for which it is 1.
        transform: ``"log"`` if log(1 + value) is learned.
        mean, scale: What is subtracted and divided by, after the transform; 0 and 1 where nothing is.
        minimum, maximum: Seen while fitting, in the original unit.
        fill: What stands for a missing cell, in the original unit.
    """

    name: str
    column: str
    kind: Kind
    part: str | None = None
    category: str | None = None
    transform: Literal["identity", "log"] = "identity"
    mean: float = 0.0
    scale: float = 1.0
    minimum: float = 0.0
    maximum: float = 1.0
    fill: float = 0.0

    @property
    def is_scaled(self) -> bool:
        """Whether it is a standardised number (not a flag, category or yes/no)."""
        return self.part != MISSING and self.part not in WAVES and self.kind in ("numeric", "date")

    def decode(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return what values of this neuron mean in the original unit (float64; 0, 1 and waves stay what they are)."""
        raw = np.asarray(values, np.float64) * self.scale + self.mean
        return np.expm1(raw) if self.transform == "log" else raw


class OddCells:
    """The cells of one column that cannot be read, counted where a long table is read in parts and they may be few.

    Attributes:
        n: Rows with such a cell.
        words: The different cells, 100,000 at most.
        where: Where the first one stands, as an error has it.
    """

    def __init__(self) -> None:
        self.n = 0
        self.words: dict[str, None] = {}
        self.where = ""

    def count(self, table: RawTable, name: str, cells: Cells, odd: NDArray[np.bool_]) -> None:
        """Count the rows of `table` whose distinct cell is marked in `odd`."""
        rows = cells.rows_of(odd)
        if not self.n:
            self.where = table.where(int(rows[0]), name)
        self.n += len(rows)
        for code in np.flatnonzero(odd).tolist():
            if len(self.words) == _MAX_ODD_WORDS:
                break
            self.words[cells.word(code)] = None


@dataclass(frozen=True)
class ColumnEncoding:
    """How one column becomes its inputs.

    Attributes:
        column: The column.
        parts: Parts of a date that become inputs.
        origin: First date seen (ISO), from which days are counted.
        categories: Categories that become inputs.
        flag: Whether there is an input that tells of missing cells.
    """

    column: Column
    parts: tuple[str, ...] = ()
    origin: str | None = None
    categories: tuple[str, ...] = ()
    flag: bool = False

    @property
    def width(self) -> int:
        """Numbers per row before sklearn's transformers see them: a value, a category's index or a date's parts."""
        return max(len(self.parts), 1) + self.flag

    def prepare(self, table: RawTable, tally: OddCells | None = None) -> NDArray[np.float64]:
        """Return float64 (distinct cells + 1, width): the numbers of each distinct cell, last those of a missing one.

        Values not known are NaN, categories not known are -1. With a `tally`, cells that are no number (or date) of a
        column of such are counted there and are not known, instead of raising.

        Raises:
            DataError: A cell that cannot be read as the column's kind, or an infinite number; with its place.
        """
        cells = table.cells(self.column.name)
        values = self._values(table, cells, tally)
        prepared = np.full((cells.n_distinct + 1, self.width), np.nan)
        prepared[:-1, : values.shape[1]] = values
        if self.column.kind == "category":
            prepared[-1, 0] = UNSEEN
        if self.flag:
            unknown = np.isnan(prepared[:, 0])
            prepared[:, -1] = unknown
            prepared[-1, -1] = 1.0
        return prepared

    def _values(self, table: RawTable, cells: Cells, tally: OddCells | None) -> NDArray[np.float64]:
        column = self.column
        if column.kind == "category":
            return match_words(cells.words, self.categories).astype(np.float64)[:, None]
        if column.kind == "yes/no":
            values = yes_no(cells.words)
            self._refuse(table, cells, np.isnan(values), "neither yes nor no")
            return values[:, None]
        if column.kind == "date":
            days = cells.dates(column.date_format or "%Y-%m-%d")
            like = f" like {column.examples[0]}" if column.examples else ""
            self._refuse(table, cells, np.isnat(days), f"not a date{like}", tally)
            parts = date_parts(days, np.datetime64(self.origin or "1970-01-01", "s"))
            return np.stack([parts[part] for part in self.parts], axis=1)
        values = cells.as_learned(column.decimal, column.date_format)
        what = "not a time like 7:30" if column.date_format else "not a number"
        self._refuse(table, cells, np.isnan(values), what, tally)
        check_finite(table, column.name, values)
        return values[:, None]

    def _refuse(
        self, table: RawTable, cells: Cells, bad: NDArray[np.bool_], what: str, tally: OddCells | None = None
    ) -> None:
        bad = bad & (cells.counts > 0)
        if not bad.any():
            return
        odd = set(self.column.odd)
        new = bad.copy()
        for code in np.flatnonzero(bad).tolist():
            new[code] = cells.word(code) not in odd
        if new.any() and tally is not None and self.column.kind in ("numeric", "date"):
            tally.count(table, self.column.name, cells, new)
        elif new.any():
            row = int(cells.rows_of(new)[0])
            word = cells.word(int(cells.codes[row]))
            raise DataError(
                f"{show(word)} is {what}, and the column was learned as {self.column.kind}",
                where=table.where(row, self.column.name),
                hint="Correct the cell, or leave it empty to have it taken as missing.",
            )


def fit_column(table: RawTable, column: Column, rows: NDArray[np.int64]) -> ColumnEncoding:
    """Return how the column is encoded, from the given rows alone."""
    cells = table.cells(column.name)
    codes = cells.codes[rows]
    present = np.bincount(codes[codes >= 0], minlength=cells.n_distinct) > 0
    odd = set(column.odd)
    if odd:
        present &= np.array([word not in odd for word in cells.words], bool)
    flag = bool((codes < 0).any() or (odd and not present[codes[codes >= 0]].all()))
    if column.kind == "category":
        return ColumnEncoding(
            column, categories=_in_order([cells.words[i] for i in np.flatnonzero(present).tolist()]), flag=flag
        )
    if column.kind == "date":
        days = cells.dates(column.date_format or "%Y-%m-%d")[present]
        days = days[~np.isnat(days)]
        first = days.min() if len(days) else np.datetime64("1970-01-01", "s")
        parts = date_parts(days, first)
        # A part that never changes teaches nothing; the days are kept so that the column has at least one input.
        kept = tuple(p for p, v in parts.items() if p == "days since first" or (len(v) and v.min() < v.max()))
        return ColumnEncoding(column, parts=kept, origin=str(first), flag=flag)
    return ColumnEncoding(column, flag=flag)


def _in_order(words: list[str]) -> tuple[str, ...]:
    if all(word.isascii() and word.isdigit() for word in words):
        return tuple(sorted(words, key=lambda word: (int(word), word)))
    return tuple(sorted(words))


def inputs_of(encoding: ColumnEncoding) -> list[Input]:
    """Return the inputs of a column, their numbers not yet filled in."""
    name, kind = encoding.column.name, encoding.column.kind
    if kind == "category":
        inputs = [Input(f"{name}={word}", name, kind, category=word) for word in encoding.categories]
    elif kind == "date":
        inputs = [Input(f"{name} ({part})", name, kind, part=part) for part in encoding.parts]
    else:
        inputs = [Input(name, name, kind, transform="log" if encoding.column.log else "identity")]
        if encoding.column.place:
            inputs += [Input(f"{name} ({wave})", name, kind, part=wave, minimum=-1.0) for wave in WAVES]
    if encoding.flag:
        inputs.append(Input(f"{name} {MISSING}", name, kind, part=MISSING))
    return inputs


@dataclass
class Unusual:
    """Cells of one column unlike any that were seen while fitting, of one sort.

    Attributes:
        column: The column.
        what: What is unusual, with ``{cell}`` for the first such cell.
        cell: That cell.
        row: Its row in the source.
        line: Its line in the file, or None.
        n: Rows with such a cell.
    """

    column: str
    what: str
    cell: str
    row: int
    line: int | None
    n: int

    def __str__(self) -> str:
        place = f"row {self.row}" + (f" (line {self.line})" if self.line is not None else "")
        more = f", and {self.n - 1:,} more row{'s' * (self.n > 2)}" if self.n > 1 else ""
        return f"{self.column} {self.what.format(cell=self.cell)} at {place}{more}"


def unusual(table: RawTable, encoding: ColumnEncoding, inputs: list[Input], rows: NDArray[np.int64]) -> list[Unusual]:
    """Return the cells unlike any that were seen while fitting."""
    column = encoding.column
    cells = table.cells(column.name)
    prepared = encoding.prepare(table)
    codes = cells.codes[rows]
    found: list[Unusual] = []

    def tell(bad: NDArray[np.bool_], what: str) -> None:
        at = np.flatnonzero(bad[codes])
        if len(at):
            row = int(rows[at[0]])
            cell = _cell(cells, int(codes[at[0]]), column)
            found.append(Unusual(column.name, what, cell, table.number_of(row), table.line_of(row), len(at)))

    missing = np.zeros(cells.n_distinct + 1, bool)
    missing[-1] = True
    if not encoding.flag:
        zeros = "; all its inputs are 0" if column.kind == "category" else ""
        tell(missing, "is missing, as it never was in training" + zeros)
    if column.kind == "category":
        tell((prepared[:, 0] == UNSEEN) & ~missing, "{cell} was never seen in training; all its inputs are 0")
    elif column.kind in ("numeric", "date"):
        for i, neuron in enumerate(n for n in inputs if n.is_scaled):
            if neuron.kind == "date" and neuron.part != "days since first":
                continue
            beyond = (prepared[:, i] < neuron.minimum) | (prepared[:, i] > neuron.maximum)
            tell(beyond, "{cell} is beyond anything seen in training: " + _range(encoding, neuron))
    return found


def _range(encoding: ColumnEncoding, neuron: Input) -> str:
    if neuron.kind == "date":
        first = np.datetime64(encoding.origin, "s")
        days = [str(first + np.timedelta64(round(d * 86400), "s"))[:10] for d in (neuron.minimum, neuron.maximum)]
        return f"{days[0]} to {days[1]}"
    return f"{figure(neuron.minimum)} to {figure(neuron.maximum)}"


def _cell(cells: Cells, code: int, column: Column) -> str:
    if code < 0:
        return ""
    if column.kind == "numeric" and column.date_format is None:
        return figure(float(cells.numbers(column.decimal).values[code]))
    return show(cells.word(code)) if column.kind == "category" else cells.word(code)
