"""What the shape of a column's cells says: names or text, digits with leading zeros, a long tail."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.cells import Cells
from neuronwise.data.codes import names_an_identifier
from neuronwise.data.columns import Column, Kind

MAX_CATEGORIES = 1_000
"""Most categories of a column, each an input neuron; a column with more is refused, never cut."""


def make_column(cells: Cells, name: str, kind: Kind, reason: str) -> Column:
    """Return a column with the counts of its cells."""
    return Column(name, kind, reason, cells.n_missing, cells.n_distinct)


def kind_of_words(name: str, cells: Cells) -> Column:
    """Return the kind of a column of words: category, identifier or text."""
    k, n = cells.n_distinct, cells.n_present
    several = f"{k:,} distinct texts in {n:,} rows"
    told = several + ", an input each, so that a row with neither can be told from both" * (k == 2)
    length = sum(map(len, cells.words[:1000])) / min(k, 1000)
    if k <= MAX_CATEGORIES and (k <= n / 4 or (k <= 20 and k <= n / 2)) and length <= 200:
        return make_column(cells, name, "category", told)
    if k >= 0.95 * n and n >= 3 and (names_an_identifier(name) or _are_tokens(cells.words)):
        return make_column(cells, name, "identifier", f"{several}: they name the row")
    advice = f"--drop {name} says that this is meant"
    if k <= MAX_CATEGORIES:
        advice += f", --category {name} gives each of them an input neuron"
    limit = (
        f"more than the {MAX_CATEGORIES:,} that could each be an input neuron"
        if k > MAX_CATEGORIES
        else "too few rows for each"
    )
    return make_column(cells, name, "text", f"{several}, {limit}: text is not learned from. {advice}")


_LONGEST_MEASURE = 64
_UNIT = re.compile(
    r"[+\-−]?(?!0\d)(?:\d[\d.,' ]*|[.,]\d+)(?P<after>\s*(?:[°µμ]?[^\W\d_][^\s\d]{0,9}|[°\"'″′]))?"
    r"|(?P<before>[A-Z]{2,3})\s*[+\-−]?\d[\d.,']*"
)


def units(cells: Cells) -> dict[str, int] | None:
    """Return the rows of each unit ("" for none) if the cells are numbers with a unit: 12.3 C, 70 kg, EUR 5."""
    found: dict[str, int] = {}
    strangers = 0
    for word, count in zip(cells.words, cells.counts.tolist(), strict=True):
        match = _UNIT.fullmatch(word) if len(word) <= _LONGEST_MEASURE else None
        if match is None:
            strangers += count
            if strangers > 0.05 * cells.n_present:
                return None
            continue
        unit = (match["after"] or match["before"] or "").strip()
        found[unit] = found.get(unit, 0) + count
        if len(found) > 6:
            return None
    named = set(found) - {""}
    if not named or (len(found) > 1 and all(re.fullmatch("[A-Z]", unit) for unit in named) and not named <= set("CFK")):
        return None  # 12A, 12B and 14A are no measures
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def told_units(name: str, found: dict[str, int]) -> str:
    """Return what is to be done about numbers with these units."""
    if len(found) == 1:
        unit = next(iter(found))
        return (
            f"the cells are numbers with a unit, {unit!r}, and are not read as numbers: remove it, so that only the "
            f"number is left, and name the unit in the column's name. --drop {name} leaves the column out"
        )
    each = ", ".join(f"{unit!r} {count:,}" if unit else f"none {count:,}" for unit, count in found.items())
    return (
        f"the cells are numbers in mixed units ({each} cells), and nothing is converted silently: bring them to one "
        f"unit and remove it. --drop {name} leaves the column out"
    )


def _are_tokens(words: Sequence[str]) -> bool:
    sample = words[:200]
    return (
        len(words) >= 20
        and all(re.fullmatch(r"\S{1,64}", word) for word in sample)
        and (sum(any(c.isdigit() for c in word) for word in sample) > 0.9 * len(sample))
    )


def padded_digits(cells: Cells) -> str | None:
    """Return an example if the cells are digits of one length, three or more, some beginning with 0."""
    if cells.form != "text":
        return None
    words = cells.words
    if len({len(word) for word in words}) != 1 or len(words[0]) < 3 or not all(word.isdigit() for word in words):
        return None
    return next((word for word in words if word.startswith("0") and word.strip("0")), None)


def is_skewed(values: NDArray[np.float64], counts: NDArray[np.int64]) -> bool:
    """Return whether a non-negative number has so long a right tail that its logarithm is the better input."""
    from scipy.stats import skew

    finite = ~np.isnan(values)
    if not finite.any() or values[finite].min() < 0 or counts[finite].sum() < 50:
        return False
    # Zeros are often a mark ("no basement"): the tail is judged on the rest.
    above = finite & (values > 0)
    if above.sum() < 10:
        return False
    tail = np.repeat(values[above], counts[above])
    # One house with 33 bedrooms is no tail.
    tail = np.minimum(tail, np.quantile(tail, 0.999))
    skewness = float(skew(tail))
    return skewness > 2 and abs(float(skew(np.log1p(tail)))) < 0.5 * skewness


def is_heavy_tailed(values: NDArray[np.float64]) -> bool:
    """Return whether the mean lies far above the median, as it does for amounts and not for ids."""
    return float(np.mean(values)) > 1.5 * float(np.median(values))
