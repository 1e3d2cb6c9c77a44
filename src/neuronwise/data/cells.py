"""One column as its distinct cells: what every decision about a column is made from.

A column of 20,000 rows often has 70 distinct cells; all parsing is done once for each of these. The words are
canonical, so that 98103, 98103.0 and "98103" are one word whether they come from CSV, Parquet or a frame.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.dates import TIME_OF_DAY, Days, read_dates, read_hours
from neuronwise.data.numerals import MISSING_WORDS, NumberReading, read_numbers
from neuronwise.data.words import Words, contain

if TYPE_CHECKING:
    import pandas as pd

Form = Literal["text", "integer", "real", "truth", "date"]
_FEW = 1000
_WHOLE = re.compile(r"-?(0|[1-9]\d*)\.0+", re.ASCII)


@dataclass(frozen=True, eq=False)
class Cells:
    """The distinct cells of a column and which row has which.

    Attributes:
        codes: int64 (rows,), index into the distinct cells, -1 where the cell is missing.
        counts: int64 (distinct,), rows of each distinct cell.
        form: How the source holds the column; CSV is always ``"text"``.
        values: The distinct values of a typed column (float64, exact integers or datetime64), None for text.
        prefer: Decimal sign of this table's other columns, where they decide it.
        fallback: Decimal sign when nothing decides it.
    """

    codes: NDArray[np.int64]
    counts: NDArray[np.int64]
    form: Form
    values: NDArray[Any] | None
    text: Sequence[str] = ()
    prefer: str | None = None
    fallback: str = "."

    @property
    def n_rows(self) -> int:
        """Rows of the column."""
        return len(self.codes)

    @property
    def n_distinct(self) -> int:
        """Distinct cells that are not missing."""
        return len(self.counts)

    @property
    def n_present(self) -> int:
        """Rows whose cell is not missing."""
        return int(self.counts.sum())

    @property
    def n_missing(self) -> int:
        """Rows whose cell is missing."""
        return self.n_rows - self.n_present

    @cached_property
    def words(self) -> Sequence[str]:
        """The distinct cells as canonical text."""
        return self.text if self.values is None else _words_of(self.form, self.values)

    def word(self, code: int) -> str:
        """Return one distinct cell as canonical text."""
        if self.values is None or "words" in self.__dict__:
            return self.words[code]
        return _words_of(self.form, self.values[code : code + 1])[0]

    @property
    def has_commas(self) -> bool:
        """Whether there is a comma in some cell."""
        return contain(self.words, ",")

    @cached_property
    def reading(self) -> NumberReading:
        """The distinct cells as numbers (see `numbers` for a remembered decimal sign)."""
        return self.numbers()

    def numbers(self, remembered: str | None = None) -> NumberReading:
        """Return the distinct cells as numbers; `remembered` decides if neither they nor their table do."""
        if self.form == "date":
            return NumberReading(np.full(self.n_distinct, np.nan), ".")
        if self.values is not None:
            return NumberReading(self.values.astype(np.float64), ".", decided=True)
        return read_numbers(self.text, self.counts, prefer=self.prefer or remembered, fallback=self.fallback)

    def as_learned(self, decimal: str, date_format: str | None) -> NDArray[np.float64]:
        """Return the distinct cells as a numeric column learned them: numbers, or hours if they are times of day."""
        return read_hours(self.words) if date_format == TIME_OF_DAY else self.numbers(decimal).values

    def dates(self, date_format: str) -> Days:
        """Return the distinct cells as datetime64[s]; NaT where they are no dates of `date_format`."""
        if self.values is not None and self.form == "date":
            return self.values.astype("datetime64[s]")
        found = read_dates(self.words, date_format)
        if np.isnat(found).any() and date_format != "%Y-%m-%d":
            # A frame or an export may write the same dates in the one format that cannot be misread.
            found = np.where(np.isnat(found), read_dates(self.words, "%Y-%m-%d"), found)
        return found

    def rows_of(self, distinct: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the rows whose distinct cell is marked in `distinct` (bool, one per distinct cell)."""
        return np.flatnonzero(np.append(distinct, False)[self.codes])

    def rows_of_missing(self) -> NDArray[np.int64]:
        """Return the rows whose cell is missing."""
        return np.flatnonzero(self.codes < 0)


def make_cells(series: pd.Series[Any], *, prefer: str | None = None, fallback: str = ".") -> Cells:
    """Return the cells of a column as `reading` left it: text, int, float, bool or datetime64."""
    import pandas as pd

    codes, distinct = pd.factorize(series, use_na_sentinel=True)
    codes = np.asarray(codes, np.int64)
    form: Form
    if pd.api.types.is_bool_dtype(series.dtype):
        form, values = "truth", np.asarray(distinct, bool)
    elif pd.api.types.is_integer_dtype(series.dtype):
        form, values = "integer", np.asarray(distinct, np.uint64 if "u" in str(series.dtype).lower() else np.int64)
    elif pd.api.types.is_float_dtype(series.dtype):
        form, values = "real", np.asarray(distinct)
    elif pd.api.types.is_datetime64_dtype(series.dtype):
        form, values = "date", np.asarray(distinct)
    else:
        return _text_cells(codes, distinct, prefer, fallback)
    return Cells(codes, np.bincount(codes[codes >= 0], minlength=len(values)), form, values)


def _text_cells(codes: NDArray[np.int64], distinct: Any, prefer: str | None, fallback: str) -> Cells:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = pa.large_string()
    found: Any = pa.array(distinct, kind)
    words = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    # As `canonical_word`, all at once; only what may have blanks around it that pyarrow does not know goes one by one.
    edges = pc.invert(pc.match_substring_regex(words, r"(?s)^[!-~](?:.*[!-~])?$"))
    if pc.any(edges).as_py():
        stripped = [word.strip() for word in words.filter(edges).to_pylist()]
        words = pc.replace_with_mask(words, edges, pa.array(stripped, kind))
    words = whole_words(words)
    missing = pc.is_in(pc.ascii_lower(words), pa.array(sorted(MISSING_WORDS), kind))
    encoded = pc.dictionary_encode(pc.if_else(missing, pa.scalar(None, kind), words))
    renumber = np.append(np.array(pc.fill_null(encoded.indices, -1), np.int64), -1)
    codes = renumber[codes]
    counts = np.bincount(codes[codes >= 0], minlength=len(encoded.dictionary))
    text: Sequence[str] = Words(encoded.dictionary)
    if len(text) <= _FEW:
        text = tuple(text)
    return Cells(codes, counts, "text", None, text, prefer, fallback)


def whole_words(words: Any) -> Any:
    """Return a pyarrow array of stripped text in which 98103.0 is 98103."""
    import pyarrow.compute as pc

    return pc.replace_substring_regex(words, r"^(-?(?:0|[1-9][0-9]*))\.0+$", r"\1")


def canonical_word(cell: str) -> str:
    """Return a cell of text without the blanks around it, 98103.0 as 98103."""
    word = cell.strip()
    return word[: word.index(".")] if _WHOLE.fullmatch(word) else word


def _real_word(value: np.floating[Any]) -> str:
    # str of the scalar itself, so that a float32 0.1 is the word "0.1".
    return str(int(value)) if np.isfinite(value) and value == np.floor(value) and abs(value) < 2**53 else str(value)


def _words_of(form: Form, values: NDArray[Any]) -> tuple[str, ...]:
    if form == "truth":
        return tuple("true" if value else "false" for value in values)
    if form == "date":
        return tuple(str(value).removesuffix("T00:00:00") for value in values.astype("datetime64[s]"))
    if form == "integer":
        return tuple(str(int(value)) for value in values)
    return tuple(_real_word(value) for value in values)


def _set(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


_ENGLISH = _set("yes y true t 1 on no n false f 0 off")
# English first; then German, the Nordic and the Romance languages, the Slavic ones, Hungarian, Finnish, Turkish.
_YES = _set(
    "yes y true t 1 on ja j wahr jo oui vrai si sí sì sim verdadero vero verdadeiro da да tak ano áno igen kyllä evet",
    "是 はい 예",
)
_NO = _set(
    "no n false f 0 off nein falsch nee nej nei non faux falso não nao nu net нет не nie ne nem ei hayır hayir",
    "否 いいえ 아니요",
)


def yes_no(words: Sequence[str]) -> NDArray[np.float64]:
    """Return 1 for each word that says yes (1, yes, true, on, ja, oui, sí …; any case), 0 for no, NaN for others."""
    lower = [unicodedata.normalize("NFC", word.lower()) for word in words]
    return np.array([1.0 if word in _YES else 0.0 if word in _NO else np.nan for word in lower], np.float64)


def are_yes_no(words: Sequence[str]) -> bool:
    """Return whether the words are answers, both yes and no: in English in any mixture, else one word for each.

    Of other languages only one word for yes and one for no may occur: da, no and ja together are languages.
    """
    if len(words) > 20 or set(yes_no(words)) != {0.0, 1.0}:
        return False
    plain = {_without_accents(word.lower()) for word in words}
    return plain <= _ENGLISH or len(plain) == 2


def _without_accents(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


def match_words(words: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    """Return the index in `known` of each word, -1 where it is none of them.

    A word that is not found as text is looked for as a number, if that is unambiguous: 2139 finds "02139".
    """
    index = {word: i for i, word in enumerate(known)}
    found = np.array([index.get(word, -1) for word in words], np.int64)
    if (found < 0).any():
        by_number: dict[float, int] = {}
        for i, word in enumerate(known):
            if (number := _as_number(word)) is not None:
                by_number[number] = -1 if number in by_number else i
        for at in np.flatnonzero(found < 0).tolist():
            if (number := _as_number(words[at])) is not None:
                found[at] = by_number.get(number, -1)
    return found


def _as_number(word: str) -> float | None:
    if not re.fullmatch(r"[+-]?\d{1,15}(\.\d{0,15})?", word, re.ASCII):
        return None
    return float(word)
