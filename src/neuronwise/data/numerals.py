"""Numbers as people write them: 1.225E+06, 1,234.5, 1.234,5, $1,200, 12 %, 1 234.

A whole column is read in one style, decimal point or decimal comma, the one that reads more of its cells. Only
where both read it equally well ("1,234") does something outside the column decide: the other columns, or what
was decided before.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        return NumberReading(plain, ".", decided=any("." in word for word in words))
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
    inner = [word[1:-1].strip() if word.startswith("(") and word.endswith(")") else None for word in words]
    if not any(inner) or any(within and set(within) & set("()+-−") for within in inner):
        return None
    bare = [word if within is None else within for word, within in zip(words, inner, strict=True)]
    reading = read_numbers(bare, counts, prefer=prefer, fallback=fallback)
    if not np.isfinite(reading.values).all():
        return None
    negative = np.array([within is not None for within in inner], bool)
    return dataclasses.replace(reading, values=np.where(negative, -reading.values, reading.values), brackets=True)


def _read_plain(words: Sequence[str]) -> NDArray[np.float64] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        array: Any = pc.cast(pa.array(words, pa.string()), pa.float64())
    except pa.ArrowInvalid:
        return None
    values = np.array(array, np.float64)
    # Arrow also reads words like "NaN(3)"; a word that is no number must stay a word.
    return None if np.isnan(values).any() else values


def _read_style(words: Sequence[str], decimal: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    pattern = _STYLES[decimal]
    values = np.full(len(words), np.nan)
    signs: set[str] = set()
    for i, word in enumerate(words):
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
