"""A column read as numbers at once, without looking for its distinct cells: for chunks of long tables.

What it gives is what `Cells` and `numerals` give, cell for cell: pyarrow reads what it and they cannot read
differently, and every other cell goes the slow way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.cells import Cells, canonical_word, whole_words
from neuronwise.data.numerals import MISSING_WORDS, NumberReading, read_simple, read_words

if TYPE_CHECKING:
    import pandas as pd


class Style(NamedTuple):
    """How the numbers of a text column are written: decimal sign, and whether (57) is -57."""

    decimal: str = "."
    brackets: bool = False


_POINT = Style()


@dataclass(frozen=True, eq=False)
class NumberCells(Cells):
    """The cells of a column of numbers, each for itself: `codes` are the rows, `counts` 1, or 0 where one is missing.

    Attributes:
        found: float64 (rows,), NaN where the cell is missing or no number.
        raw: The cells as written; None if the source holds numbers.
        style: How they were read.
    """

    found: NDArray[np.float64] = None  # type: ignore[assignment]
    raw: Any = None
    style: Style = _POINT

    def numbers(self, remembered: str | None = None) -> NumberReading:
        """Return the numbers; the style is known, whatever is remembered."""
        return NumberReading(self.found, self.style.decimal, decided=True, brackets=self.style.brackets)

    def word(self, code: int) -> str:
        """Return the canonical text of one cell."""
        return super().word(code) if self.raw is None else canonical_word(self.raw[code].as_py())

    @property
    def has_commas(self) -> bool:
        """Whether there is a comma in some cell."""
        import pyarrow.compute as pc

        return self.raw is not None and bool(pc.any(pc.match_substring(self.raw, ",")).as_py())

    @cached_property
    def words(self) -> Sequence[str]:
        """All cells as canonical text, repeated ones too."""
        return super().words if self.raw is None else tuple(canonical_word(cell) for cell in self.raw.to_pylist())


def number_cells(series: pd.Series[Any], style: Style) -> NumberCells | None:
    """Return the cells of a column as `reading` left it, or None if it holds neither text nor numbers."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(series.dtype) or pd.api.types.is_datetime64_dtype(series.dtype):
        return None
    if pd.api.types.is_numeric_dtype(series.dtype):
        missing = series.isna().to_numpy(bool)
        values = series.to_numpy(series.dtype if isinstance(series.dtype, np.dtype) else np.float64, na_value=np.nan)
        whole = pd.api.types.is_integer_dtype(series.dtype)
        found = values.astype(np.float64)
        return NumberCells(*_rows(missing), "integer" if whole else "real", values, found=found, style=style)
    import pyarrow as pa

    raw = pa.array(series, pa.large_string())
    raw = raw.combine_chunks() if isinstance(raw, pa.ChunkedArray) else raw
    found, missing = read_text(raw, style)
    return NumberCells(*_rows(missing), "text", None, found=found, raw=raw, style=style)


def _rows(missing: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.where(missing, -1, np.arange(len(missing))), (~missing).astype(np.int64)


def read_text(raw: Any, style: Style) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers in a pyarrow array of text (NaN where there is none), and which cells are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words: Any = raw
    if style.decimal == "." and (found := _cast(words)) is not None:
        return found, np.zeros(len(raw), bool)
    words = whole_words(pc.ascii_trim_whitespace(raw))
    said = pc.is_in(pc.ascii_lower(words), pa.array(sorted(MISSING_WORDS), words.type))
    missing = np.array(pc.or_(said, pc.is_null(words)), bool)
    kept = pc.if_else(pa.array(~missing), words, pa.scalar(None, words.type))
    found = _cast(kept, missing) if style.decimal == "." else None
    if found is None:
        found, settled = read_simple(kept, style.decimal)
        _read_slowly(raw, np.flatnonzero(~settled & ~missing), style, found, missing)
    return found, missing


def _cast(words: Any, missing: NDArray[np.bool_] | None = None) -> NDArray[np.float64] | None:
    """Return the words as numbers if every word is one that is read without doubt."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        found: Any = pc.cast(words, pa.float64())
    except pa.ArrowInvalid:
        return None
    values = np.array(found, np.float64)
    odd = np.isnan(values)
    if missing is not None:
        odd &= ~missing
    return None if odd.any() else values


def _read_slowly(
    raw: Any, rows: NDArray[np.int64], style: Style, found: NDArray[np.float64], missing: NDArray[np.bool_]
) -> None:
    """Read the cells of some rows, each distinct one once, into `found` and `missing`."""
    cells: list[str] = raw.take(rows).to_pylist()
    words = {cell: canonical_word(cell) for cell in cells}
    said = sorted({word for word in words.values() if word.lower() not in MISSING_WORDS})
    values = dict(zip(said, read_words(said, style.decimal, brackets=style.brackets).tolist(), strict=True))
    for row, cell in zip(rows.tolist(), cells, strict=True):
        word = words[cell]
        found[row] = values.get(word, np.nan)
        missing[row] = word not in values
