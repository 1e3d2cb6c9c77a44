"""Numbers as people write them: 1.225E+06, 1,234.5, 1.234,5, $1,200, 12 %, 1 234.

A whole column is read in one style, decimal point or decimal comma, the one that reads more of its cells. Only
where both read it equally well ("1,234") does something outside the column decide: the other columns, or what
was decided before.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.words import Words, contain

MISSING_WORDS = frozenset(
    {"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "nat", "?", "-", "--", ".", "–", "—"}
)
"""Cells that say "no value", in lower case."""


@dataclass(frozen=True, eq=False)
class NumberReading:
    """What a column's distinct words are as numbers.

    Attributes:
        values: float64, one per word; NaN where the word is no number, ±inf where it is infinite.
        decimal: ``"."`` or ``","``.
        signs: Signs that were taken off, such as ``"$"`` and ``"%"``.
        decided: Whether the words alone decide between point and comma.
        brackets: Whether (57) was read as -57, which is done only if every word is a number then.
    """

    values: NDArray[np.float64]
    decimal: str
    signs: tuple[str, ...] = ()
    decided: bool = False
    brackets: bool = False


def _pattern(decimal: str, groups: str) -> re.Pattern[str]:
    body = rf"\d{{1,3}}(?:(?P<group>[{groups}])\d{{3}})(?:(?P=group)\d{{3}})*|\d+"
    number = rf"(?:{body})(?:{decimal}\d*)?|{decimal}\d+"
    return re.compile(
        rf"(?P<sign>[+\-−]?)\s*(?P<before>[$€£¥₹]?)\s*(?P<sign2>[+\-−]?)(?P<number>{number})"
        r"(?P<power>[eE][+-]?\d+)?\s*(?P<after>[$€£¥₹%]?)",
        re.ASCII,
    )


_SIMPLE = r"^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_FEW = 100
_SPACES = " \u00a0\u202f\u2009"
_STYLES = {".": _pattern(r"\.", rf",'’{_SPACES}"), ",": _pattern(",", rf".'’{_SPACES}")}
_INFINITE = re.compile(r"([+\-−]?)inf(?:inity)?", re.IGNORECASE)


def read_numbers(
    words: Sequence[str], counts: NDArray[np.int64], *, prefer: str | None = None, fallback: str = "."
) -> NumberReading:
    """Return the numbers that the words stand for.

    Args:
        words: Distinct cells, none of them missing.
        counts: Rows of each word.
        prefer: ``"."`` or ``","`` where the words alone do not decide.
        fallback: The same, when nothing is preferred and a separator occurs.
    """
    plain = _read_plain(words)
    # With a preference for the comma, a plain "1.234" may still mean 1234.
    if plain is not None and prefer != ",":
        return NumberReading(plain, ".", decided=contain(words, "."))
    if (accounted := _read_brackets(words, counts, prefer, fallback)) is not None:
        return accounted
    readings = {decimal: _read_style(words, decimal) for decimal in _STYLES}
    found = {d: int(counts[~np.isnan(values)].sum()) for d, (values, _) in readings.items()}
    if found["."] != found[","]:
        decimal, decided = max(found, key=lambda d: found[d]), True
    else:
        decimal, decided = prefer or fallback, False
    values, signs = readings[decimal]
    return NumberReading(values, decimal, signs, decided)


def _read_brackets(
    words: Sequence[str], counts: NDArray[np.int64], prefer: str | None, fallback: str
) -> NumberReading | None:
    """Return the numbers if some are written in brackets, as accountants write negative ones, and all are numbers."""
    if not contain(words, "("):
        return None
    inner = [word[1:-1].strip() if word.startswith("(") and word.endswith(")") else None for word in words]
    if not any(inner) or any(within and set(within) & set("()+-−") for within in inner):
        return None
    bare = [word if within is None else within for word, within in zip(words, inner, strict=True)]
    reading = read_numbers(bare, counts, prefer=prefer, fallback=fallback)
    if not np.isfinite(reading.values).all():
        return None
    negative = np.array([within is not None for within in inner], bool)
    return dataclasses.replace(reading, values=np.where(negative, -reading.values, reading.values), brackets=True)


def read_words(words: Sequence[str], decimal: str, *, brackets: bool = False) -> NDArray[np.float64]:
    """Return the words as numbers of a style that is known; NaN where one is none.

    Args:
        words: Cells, none of them missing.
        decimal: ``"."`` or ``","``.
        brackets: Whether (57) is -57.
    """
    if not brackets:
        return _read_style(words, decimal)[0]
    within = [word.startswith("(") and word.endswith(")") for word in words]
    bare = [word[1:-1].strip() if inner else word for word, inner in zip(words, within, strict=True)]
    values = _read_style(bare, decimal)[0]
    return np.where(np.array(within, bool), -values, values)


def _read_plain(words: Sequence[str]) -> NDArray[np.float64] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        text = words.array if isinstance(words, Words) else pa.array(words, pa.string())
        array: Any = pc.cast(text, pa.float64())
    except pa.ArrowInvalid:
        return None
    values = np.array(array, np.float64)
    # Arrow also reads words like "NaN(3)"; a word that is no number must stay a word.
    return None if np.isnan(values).any() else values


def read_simple(words: Any, decimal: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers in a pyarrow array of text, NaN elsewhere, and for which words that is settled.

    Settled are words of digits, at most one decimal sign and an exponent: pyarrow reads them as the patterns here do.
    Those with the other decimal sign are no numbers, unless it could part thousands.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.scalar(None, words.type)
    kept = words
    if decimal == ",":
        # A point would be a separator of thousands.
        pointed = pc.match_substring(kept, ".")
        kept = pc.if_else(pointed, nothing, pc.replace_substring(kept, ",", "."))
    plain = pc.fill_null(pc.match_substring_regex(kept, _SIMPLE), False)
    values = np.array(pc.cast(pc.if_else(plain, kept, nothing), pa.float64()), np.float64)
    other = "," if decimal == "." else r"\."
    foreign = pc.match_substring_regex(words, rf"^-?([0-9]+{other}[0-9]*|{other}[0-9]+)([eE][+-]?[0-9]+)?$")
    thousands = pc.match_substring_regex(words, rf"^-?[0-9]{{1,3}}{other}[0-9]{{3}}([eE][+-]?[0-9]+)?$")
    settled = pc.or_(plain, pc.fill_null(pc.and_not(foreign, thousands), False))
    return values, np.array(settled, bool)


def _read_style(words: Sequence[str], decimal: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    pattern = _STYLES[decimal]
    values = np.full(len(words), np.nan)
    signs: set[str] = set()
    rest: Iterable[tuple[int, str]] = enumerate(words)
    if len(words) > _FEW:
        import pyarrow as pa

        array = words.array if isinstance(words, Words) else pa.array(words, pa.large_string())
        values, settled = read_simple(array, decimal)
        at = np.flatnonzero(~settled)
        rest = zip(at.tolist(), array.take(at).to_pylist(), strict=True)
    for i, word in rest:
        match = pattern.fullmatch(word)
        if match is None:
            if infinite := _INFINITE.fullmatch(word):
                values[i] = -np.inf if infinite[1] in ("-", "−") and infinite[1] else np.inf
            continue
        if match["sign"] and match["sign2"]:
            continue
        digits = match["number"]
        if match["group"]:
            digits = digits.replace(match["group"], "")
        value = float(digits.replace(",", ".") + (match["power"] or ""))
        negative = (match["sign"] or match["sign2"]) in ("-", "−")
        values[i] = -value if negative else value
        signs.update(sign for sign in (match["before"], match["after"]) if sign)
    return values, tuple(sorted(signs))
