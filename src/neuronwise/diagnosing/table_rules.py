"""Rules on the columns of a table that our own engine learned from: leaks, identifiers, codes, rows in both parts."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from neuronwise.diagnosing.diagnosis import Symptom
from neuronwise.diagnosing.facts import Facts, quantity
from neuronwise.diagnosing.own_facts import OwnFacts
from neuronwise.diagnosing.suspects import Suspect, over, told

_CODE = re.compile(
    r"(^|[_ .-])(zip|zipcode|zip_code|postal|postcode|postal_code|plz|phone|area_code|sku)([_ .-]|$)", re.I
)
_IDENTIFIER = re.compile(r"(^|[_ .-])(id|uuid|guid|index|row|key|nr|number)$", re.I)
# Fewer rows tell nothing of what is unique; so many values make a column one of numbers.
_LEAST_ROWS, _NUMERIC = 50, 20
# Of pictures no column is a feature of its own.
_MOST_COLUMNS = 2000


def columns(facts: Facts) -> list[tuple[str, NDArray[np.float64]]]:
    """Return the columns of the table with their names, of the training rows; none of a picture or without the data."""
    if not isinstance(facts, OwnFacts) or len(facts.X) < _LEAST_ROWS or facts.X.shape[1] > _MOST_COLUMNS:
        return []
    names = facts.stored.description.get("features")
    described = facts.data.get("inputs")
    shape = described.get("shape") if isinstance(described, dict) else None
    if not isinstance(names, list) or len(names) != facts.X.shape[1] or not isinstance(shape, list) or len(shape) != 1:
        return []
    return [(str(name), facts.X[:, place]) for place, name in enumerate(names)]


def _correlations(facts: Facts) -> dict[str, float]:
    """Return for each column how well the target follows from it alone: by a line; of classes, by its mean."""
    every = columns(facts)
    if len(every) < 2 or not isinstance(facts, OwnFacts):
        return {}
    found, y = {}, facts.y
    if facts.task == "classes":
        for name, values in every:
            total = float(values.var())
            if total > 0:
                means = [(np.mean(y == one), values[y == one].mean()) for one in np.unique(y)]
                between = sum(share * (mean - values.mean()) ** 2 for share, mean in means)
                found[name] = float(np.sqrt(between / total))
        return found
    goal = y.reshape(len(y), -1)[:, 0]
    with np.errstate(all="ignore"):
        for name, values in every:
            if values.std() > 0 and goal.std() > 0:
                found[name] = abs(float(np.corrcoef(values, goal)[0, 1]))
    return found


@quantity
def target_from_one_column(facts: Facts) -> float | None:
    """Greatest |correlation| of a column and the target; of classes √(share of its variance that lies between them)."""
    return max(_correlations(facts).values(), default=None)


def identifiers(facts: Facts) -> list[str]:
    """Return the columns that number the rows: all values differ and stand at equal distances, or it is called so."""
    found = []
    for name, values in columns(facts):
        distinct = np.unique(np.round(values, 9))
        if len(distinct) < 0.99 * len(values):
            continue
        # What is left of a count of all rows, of which some are held out, lies evenly all the same.
        line = np.linspace(distinct[0], distinct[-1], len(distinct))
        width = distinct[-1] - distinct[0]
        is_even = width > 0 and float(np.abs(distinct - line).max()) < 0.06 * width
        steps = np.diff(distinct)
        is_whole = (
            bool(np.all(np.abs(steps / steps.min() - np.rint(steps / steps.min())) < 1e-3)) if len(steps) else False
        )
        if (is_even and is_whole and steps.max() < 20 * steps.min()) or _IDENTIFIER.search(name):
            found.append(name)
    return found


@quantity
def identifier_columns(facts: Facts) -> float | None:
    """How many columns number the rows: each value is there once, and they are whole numbers one after the other."""
    return float(len(identifiers(facts))) if columns(facts) else None


def codes(facts: Facts) -> list[str]:
    """Return the columns that are codes by their name and are fed as numbers."""
    return [name for name, values in columns(facts) if _CODE.search(name) and "=" not in name
            and len(np.unique(values)) > _NUMERIC]  # fmt: skip


@quantity
def code_columns(facts: Facts) -> float | None:
    """How many columns are codes (zip codes) by their name, with over 20 values, and fed as numbers."""
    return float(len(codes(facts))) if columns(facts) else None


@quantity
def rows_in_both(facts: Facts) -> float | None:
    """Share of the rows held out whose inputs are those of a training row; only where a column has many values."""
    every = columns(facts)
    if not every or not isinstance(facts, OwnFacts) or not len(facts.held):
        return None
    if not any(len(np.unique(values)) > 5 * _NUMERIC for _, values in every):
        return None
    known = {row.tobytes() for row in np.ascontiguousarray(facts.X)}
    return float(np.mean([row.tobytes() in known for row in np.ascontiguousarray(facts.held)]))


@quantity
def constant_columns(facts: Facts) -> float | None:
    """How many columns have one value only in the training rows."""
    every = columns(facts)
    return float(sum(float(np.ptp(values)) == 0 for _, values in every)) if every else None


@quantity
def farthest_value(facts: Facts) -> float | None:
    """Greatest distance of a value from its column's mean, in its standard deviations; columns of numbers only."""
    found = [
        float(np.abs(values - values.mean()).max() / values.std())
        for _, values in columns(facts)
        if values.std() > 0 and len(np.unique(values)) > _NUMERIC
    ]
    return max(found, default=None)


def twins(facts: Facts) -> list[tuple[str, str]]:
    """Return pairs of columns that are the same, but for a factor and a shift."""
    every = [(name, values) for name, values in columns(facts) if values.std() > 0][:300]
    if len(every) < 2:
        return []
    together = np.abs(np.corrcoef(np.array([values for _, values in every])))
    return [(every[i][0], every[j][0]) for i, j in zip(*np.where(np.triu(together, 1) > 0.99999), strict=True)]


@quantity
def same_columns(facts: Facts) -> float | None:
    """How many pairs of columns are the same, but for a factor and a shift (|correlation| over 0.99999)."""
    return float(len(twins(facts))) if columns(facts) else None


def leaking_target(facts: Facts) -> Suspect | None:
    """Suspect a column that holds the answer."""
    seen = over(
        facts, "target_from_one_column", 0.995, "what is measured before the answer is known hardly tells it all"
    )
    if seen is None:
        return None
    where = tuple(name for name, value in _correlations(facts).items() if value > 0.995)
    return Suspect("leaking_target", 0.85, (seen,), where, always=True)


def identifier(facts: Facts) -> Suspect | None:
    """Suspect a column that only numbers the rows."""
    seen = over(facts, "identifier_columns", 0, "a number of the row tells nothing of it")
    return Suspect("identifier_feature", 0.7, told(seen), tuple(identifiers(facts)), always=True) if seen else None


def code_as_number(facts: Facts) -> Suspect | None:
    """Suspect a code that is fed as a number."""
    seen = over(facts, "code_columns", 0, "98103 is not more than 98101")
    return Suspect("code_as_number", 0.75, told(seen), tuple(codes(facts)), always=True) if seen else None


def in_both(facts: Facts) -> Suspect | None:
    """Suspect rows held out that were learned from."""
    seen = over(facts, "rows_in_both", 0.1, "0 where rows are different")
    return Suspect("duplicate_rows", 0.8, told(seen), (), always=True) if seen else None


TABLE_RULES = (leaking_target, identifier, code_as_number, in_both)


def table_remarks(facts: Facts) -> Iterator[Symptom]:
    """Return what is odd about columns and does no harm by itself."""
    if seen := over(facts, "constant_columns", 0, "a column that never changes tells nothing"):
        names = tuple(name for name, values in columns(facts) if float(np.ptp(values)) == 0)
        yield Symptom("constant_feature", names, (), None, (seen,), f"{_list(names)} has one value only: leave it out.")
    if seen := over(facts, "same_columns", 0, "one of the two is enough"):
        pairs = [" and ".join(pair) for pair in twins(facts)]
        yield Symptom("duplicate_feature", tuple(pairs), (), None, (seen,), f"The same twice: {_list(pairs)}.")
    if seen := over(facts, "farthest_value", 15, "under the normal distribution 5 hardly ever"):
        yield Symptom(
            "outlier", (), (), None, (seen,), f"A value lies {seen.value:.0f} deviations from its column's mean."
        )


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
