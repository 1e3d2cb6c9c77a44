"""What is known of one column: its kind, why, and how its cells are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.reading import RawTable
from neuronwise.errors import DataError

Kind = Literal["numeric", "category", "yes/no", "date", "identifier", "constant", "text", "dropped"]

INPUT_KINDS: frozenset[Kind] = frozenset({"numeric", "category", "yes/no", "date"})
"""The kinds that become input neurons; columns of the other kinds are left out, each with its reason."""
ODD_SHARE = 0.01
"""Share of a column's cells that may be unreadable before the column is no longer numeric (or a date)."""


@dataclass(frozen=True)
class Column:
    """The kind of a column and how its cells are read.

    Attributes:
        name: As in the table, verbatim.
        kind: What it is taken for.
        reason: Why, in words for the user.
        n_missing: Rows without a value.
        n_distinct: Distinct values.
        examples: The first few distinct cells.
        log: The logarithm of 1 + the number is learned.
        place: Latitude or longitude: sine and cosine waves over it are learned too.
        decimal: Decimal sign of numbers in text.
        date_format: strptime format of dates in text, None if the source holds dates; of a number, ``"%H:%M"`` if the
            cells are times of day, learned as hours since midnight.
        odd: Cells that could not be read and count as missing.
    """

    name: str
    kind: Kind
    reason: str
    n_missing: int
    n_distinct: int
    examples: tuple[str, ...] = ()
    log: bool = False
    place: bool = False
    decimal: str = "."
    date_format: str | None = None
    odd: tuple[str, ...] = ()

    @property
    def is_input(self) -> bool:
        """Whether the column becomes input neurons."""
        return self.kind in INPUT_KINDS


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column's distinct cells as finite numbers, NaN where one is odd; `said` tells of signs and odd cells."""

    values: NDArray[np.float64]
    decimal: str
    odd: tuple[str, ...]
    said: tuple[str, ...]


def read_number_column(table: RawTable, name: str, *, forced: bool = False, target: bool = False) -> Numbers | None:
    """Return the column as numbers, or None if more than `ODD_SHARE` of its cells are none.

    If `forced`, the first cell that is no number raises instead. `target` gives errors the advice for a target.

    Raises:
        DataError: An infinite number, or, when forced, a cell that is no number; with its place.
    """
    cells = table.cells(name)
    reading = cells.reading
    bad = np.isnan(reading.values) & (cells.counts > 0)
    n_bad = int(cells.counts[bad].sum())
    if n_bad and (forced or n_bad > ODD_SHARE * cells.n_present):
        if not forced:
            return None
        row = int(cells.rows_of(bad)[0])
        more = f" ({n_bad:,} of {cells.n_present:,} cells are none)" if n_bad > 1 else ""
        raise DataError(
            f"{show(cells.word(int(cells.codes[row])))} is not a number{more}",
            where=table.where(row, name),
            hint="Correct or empty the cell, choose another target, or learn classes: --task multiclass"
            if target
            else f"Let it be a category: --category {name}, or leave it out: --drop {name}",
        )
    check_finite(table, name, reading.values, target=target)
    said = []
    if reading.signs:
        said.append(f"{' and '.join(reading.signs)} taken off")
    if reading.brackets:
        said.append("numbers in brackets are negative, as in accounting")
    if reading.decimal == "," and cells.has_commas:
        said.append("decimal comma")
    odd: tuple[str, ...] = ()
    if n_bad:
        rows = cells.rows_of(bad)
        odd = tuple(dict.fromkeys(cells.word(code) for code in np.flatnonzero(bad).tolist()))
        said.append(told_odd(table, name, rows, odd, "no number"))
    return Numbers(reading.values, reading.decimal, odd, tuple(said))


def check_finite(table: RawTable, name: str, values: NDArray[np.float64], *, target: bool = False) -> None:
    """Raise a DataError with place and count if one of the distinct cells' numbers is infinite."""
    infinite = np.isinf(values)
    if infinite.any():
        cells = table.cells(name)
        rows = cells.rows_of(infinite)
        first = cells.word(int(cells.codes[rows[0]]))
        raise DataError(
            f"{show(first)} is infinite ({len(rows):,} such cell{'s' * (len(rows) > 1)})",
            where=table.where(int(rows[0]), name),
            hint="Correct the cell, or empty it: a row without a target is left out."
            if target
            else f"Empty the cell to have it taken as missing, or leave the column out: --drop {name}",
        )


def told_odd(table: RawTable, name: str, rows: NDArray[np.int64], odd: tuple[str, ...], what: str) -> str:
    """Return a sentence on cells that count as missing because they are `what`."""
    said = f"cell is {what} and counts" if len(rows) == 1 else f"cells are {what} and count"
    first = table.where(int(rows[0])) if table.delimiter else f"row {table.number_of(int(rows[0]))}"
    return f"{len(rows):,} {said} as missing: {show(odd[0])} ({first})"


def show(cell: object, limit: int = 40) -> str:
    """Return a cell in quotes, shortened."""
    text = str(cell)
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def figure(value: float) -> str:
    """Return a number as a person would write it: 21,613 · 0.75 · 1.2e+09."""
    if value == round(value) and abs(value) < 1e15:
        # Without a comma below 10,000, so that years look like years.
        return f"{value:.0f}" if abs(value) < 10_000 else f"{value:,.0f}"
    return f"{value:,.6g}" if 1e-4 <= abs(value) < 1e9 else f"{value:.4g}"
