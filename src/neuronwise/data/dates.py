"""Dates as people write them, and the numbers a network can learn from them.

The format is one of a closed list, the same for a whole column, and is kept with the encoder: what was read as
day first while learning is read as day first ever after.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.datetime64]

FORMATS = (
    "%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y.%m.%d",
    "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%d.%m.%y", "%m/%d/%y", "%d/%m/%y",
    "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y",
    "%Y-%m", "%Y/%m", "%Y%m", "%b %Y", "%B %Y", "%b-%Y",
)  # fmt: skip
"""The date formats that are known, in the order in which they are tried (strptime's letters)."""

_WIDTHS = {
    "%Y": r"\d{4}",
    "%m": r"\d{1,2}",
    "%d": r"\d{1,2}",
    "%y": r"\d{2}",
    "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]{3,9}",
}
_TIME = re.compile(
    r"(?P<date>.+?)(?:(?:T|\s+(?=\d{1,2}:))(?P<hour>\d{1,2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,]\d+)?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)
TIME_OF_DAY = "%H:%M"
"""Stands in a numeric column's `date_format` where its cells are times of day, learned as hours since midnight."""
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?\s*(?P<half>[AaPp]\.?[Mm]\.?)?", re.ASCII
)
PARTS = ("year", "month", "day of year", "days since first", "hour")
"""What a date becomes."""


@dataclass(frozen=True, eq=False)
class DateReading:
    """What a column's distinct words are as dates.

    Attributes:
        values: datetime64[s] per word, NaT where the word is no date. A time zone is left off: the local time counts.
        format: One of `FORMATS`.
        ambiguous: Whether day first and month first both read every word.
    """

    values: Days
    format: str
    ambiguous: bool = False


def _pattern(date_format: str) -> re.Pattern[str]:
    compact = date_format in ("%Y%m%d", "%Y%m")
    pattern = re.escape(date_format).replace("%%", "%")
    for letter, width in _WIDTHS.items():
        pattern = pattern.replace(letter, r"\d{2}" if compact and letter in ("%m", "%d") else width)
    return re.compile(pattern.replace(r"\ ", r"\s"), re.ASCII)


_PATTERNS = {date_format: _pattern(date_format) for date_format in FORMATS}


def find_date_format(words: Sequence[str], counts: NDArray[np.int64], *, share: float = 0.99) -> DateReading | None:
    """Return the reading of the first format in which at least `share` of the cells are dates, or None.

    Whole numbers such as 20141013 are dates only if every one of them is, between 1850 and 2150; so are 201410.
    """
    head = [match["date"] for word in words[:50] if (match := _match(_TIME, word))]
    total = int(counts.sum())
    best: DateReading | None = None
    best_found = 0
    for date_format, pattern in _PATTERNS.items():
        if sum(pattern.fullmatch(word) is not None for word in head) < 0.9 * min(len(words), 50):
            continue
        values = read_dates(words, date_format)
        found = int(counts[~np.isnat(values)].sum())
        if found < share * total or (_is_compact(words, date_format) and not _plausible(values, found, total)):
            continue
        if best is None or found > best_found:
            best, best_found = DateReading(values, date_format), found
        elif found == best_found and {best.format[:2], date_format[:2]} == {"%m", "%d"}:
            best = DateReading(best.values, best.format, ambiguous=not np.array_equal(best.values, values))
    return best


def _match(pattern: re.Pattern[str], word: str) -> re.Match[str] | None:
    # No date is longer, and a cell of a million spaces would keep the pattern busy for hours.
    return pattern.fullmatch(word) if len(word) <= 100 else None


def _is_compact(words: Sequence[str], date_format: str) -> bool:
    return date_format in ("%Y%m%d", "%Y%m") and all(word.isdigit() for word in words)


def _plausible(values: Days, found: int, total: int) -> bool:
    years = values[~np.isnat(values)].astype("datetime64[Y]").astype(int) + 1970
    return found == total and len(values) >= 3 and bool((years >= 1850).all() and (years <= 2150).all())


def read_dates(words: Sequence[str], date_format: str) -> Days:
    """Return `words` read by `date_format` (one of `FORMATS`), a time of day after it allowed; NaT where it fails."""
    import pandas as pd

    pattern = _PATTERNS[date_format]
    dates: list[str | None] = []
    seconds = np.zeros(len(words), np.int64)
    for i, word in enumerate(words):
        match = _match(_TIME, word)
        if match is None or not pattern.fullmatch(match["date"]):
            dates.append(None)
            continue
        time = _seconds(match)
        dates.append(match["date"] if time is not None else None)
        seconds[i] = time or 0
    parsed = pd.to_datetime(pd.Series(dates, dtype=object), format=date_format, errors="coerce")
    days: Days = parsed.to_numpy().astype("datetime64[s]") + seconds.astype("timedelta64[s]")
    return days


def read_hours(words: Sequence[str]) -> NDArray[np.float64]:
    """Return the hours since midnight of times such as 07:30, 7:30:15 and 7:30 pm; NaN for other words."""
    matches = [_match(_CLOCK, word) for word in words]
    seconds = [None if match is None else _seconds(match) for match in matches]
    return np.array([np.nan if second is None else second / 3600 for second in seconds], np.float64)


def _seconds(match: re.Match[str]) -> int | None:
    if match["hour"] is None:
        return 0
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
    if hour > 23 or minute > 59 or second > 60:
        return None
    return 3600 * hour + 60 * minute + second


def date_parts(days: Days, origin: np.datetime64) -> dict[str, NDArray[np.float64]]:
    """Return the numbers in each date: year, month (1-12), day of year (1-366), days since `origin`, hour (0-24).

    NaT gives NaN in every part.
    """
    bad = np.isnat(days)
    safe = np.where(bad, origin, days).astype("datetime64[s]")
    year = safe.astype("datetime64[Y]")
    month = safe.astype("datetime64[M]")
    day = safe.astype("datetime64[D]")
    values = (
        year.astype(np.int64) + 1970.0,
        (month - year).astype(np.int64) + 1.0,
        (day - year.astype("datetime64[D]")).astype(np.int64) + 1.0,
        (safe - origin).astype(np.int64) / 86400.0,
        (safe - day).astype(np.int64) / 3600.0,
    )
    return {part: np.where(bad, np.nan, value) for part, value in zip(PARTS, values, strict=True)}
