"""What the shape of a column's cells says: names or text, digits with leading zeros, a long tail."""

from __future__ import annotations

import re

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
    length = sum(map(len, cells.words[:1000])) / min(k, 1000)
    if k <= MAX_CATEGORIES and (k <= n / 4 or (k <= 20 and k <= n / 2)) and length <= 200:
        return make_column(cells, name, "category", several)
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


def _are_tokens(words: tuple[str, ...]) -> bool:
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
