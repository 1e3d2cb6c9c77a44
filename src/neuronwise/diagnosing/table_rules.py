"""Rules on the columns of a table that our own engine learned from: leaks, identifiers, codes, rows in both parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.diagnosing.diagnosis import Symptom
from neuronwise.diagnosing.facts import Facts, quantity
from neuronwise.diagnosing.own_facts import OwnFacts
from neuronwise.diagnosing.suspects import Suspect, over, told
from neuronwise.watching.columns import NUMERIC, farthest, from_category, from_each, numbers_rows, same_columns

Numbers = NDArray[np.float64]
_CODE = re.compile(
    r"(^|[_ .-])(zip|zipcode|zip_code|postal|postcode|postal_code|plz|phone|area_code|sku)([_ .-]|$)", re.I
)
_IDENTIFIER = re.compile(r"(^|[_ .-])(id|uuid|guid|index|row|key|nr|number)$", re.I)
# Fewer rows tell nothing of what is unique.
_LEAST_ROWS = 50
# Of pictures no column is a feature of its own; so many are compared with one another.
_MOST_COLUMNS, _MOST_COMPARED = 500, 300
FAR = 10
"""So many deviations from the mean make a value an outlier."""


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


def table_of(facts: Facts) -> dict[str, Any]:
    """Return what the columns of the table tell, by their names; empty where there is none, or it was not seen.

    Of our own engine it is found in the training rows, of a watched training the watcher found it in a sample of them,
    whose columns have places only: ``input[3]``.
    """
    if "table" not in facts.__dict__:
        facts.__dict__["table"] = _own_table(facts) if isinstance(facts, OwnFacts) else _seen_table(facts)
    found: dict[str, Any] = facts.__dict__["table"]
    return found


def _own_table(facts: OwnFacts) -> dict[str, Any]:
    every = columns(facts)
    if not every:
        return {}
    names, values = [name for name, _ in every], [one for _, one in every]
    y = facts.y.reshape(len(facts.y), -1)[:, 0]
    with np.errstate(all="ignore"):
        told = from_each(values, y, is_by_class=facts.task == "classes") if len(every) > 1 else [0.0]
        numbering = [name for name, one in every if numbers_rows(one) or (_IDENTIFIER.search(name) and _is_unique(one))]
        same = [(names[i], names[j]) for i, j in same_columns(values[:_MOST_COMPARED])]
    return {
        "constant": [name for name, one in every if float(np.ptp(one)) == 0],
        "same": same,
        "numbering": numbering,
        "target_from": dict(zip(names, told, strict=True)) | _from_categories(facts, every, y),
        "farthest": {name: farthest(one) for name, one in every},
    }


def _from_categories(facts: Facts, every: list[tuple[str, Numbers]], y: Numbers) -> dict[str, float]:
    """Return how well the target follows from each category, whose values are columns of 0 and 1: ``plan=basic``."""
    groups: dict[str, list[Numbers]] = {}
    for name, values in every:
        if "=" in name:
            groups.setdefault(name.partition("=")[0], []).append(values)
    found = {}
    for name, columns_of in groups.items():
        together = np.array(columns_of).T
        if len(columns_of) > 1 and set(np.unique(together)) <= {0.0, 1.0}:
            # Of no value at all, as the first may be left out, is a category of its own.
            which = np.where(together.any(1), together.argmax(1), len(columns_of))
            found[name] = from_category(which, y, is_by_class=facts.task in ("classes", "binary"))
    return found


def _is_unique(values: NDArray[np.float64]) -> bool:
    return len(np.unique(values)) >= 0.99 * len(values)


def _seen_table(facts: Facts) -> dict[str, Any]:
    seen = facts.data.get("table")
    if not isinstance(seen, dict) or not seen:
        return {}

    def named(key: str) -> list[str]:
        return [_name(place) for place in _list_of(seen.get(key)) if isinstance(place, int)]

    def by_name(key: str) -> dict[str, float]:
        values = enumerate(_list_of(seen.get(key)))
        return {_name(place): float(one) for place, one in values if isinstance(one, (int, float))}

    pairs = [one for one in _list_of(seen.get("same")) if isinstance(one, list) and len(one) == 2]
    return {
        "constant": named("constant"),
        "same": [(_name(i), _name(j)) for i, j in pairs],
        "numbering": named("numbering"),
        "target_from": by_name("target_from"),
        "farthest": by_name("farthest"),
    }


def _name(place: object) -> str:
    return f"input[{place}]"


def _list_of(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


@quantity
def target_from_one_column(facts: Facts) -> float | None:
    """Greatest |correlation| of a column and the target, or of their ranks; of classes, categories √(share between)."""
    return max(table_of(facts).get("target_from", {}).values(), default=None)


@quantity
def identifier_columns(facts: Facts) -> float | None:
    """How many columns number the rows: each value is there once, and they are whole numbers one after the other."""
    return _count(facts, "numbering")


def codes(facts: Facts) -> list[str]:
    """Return the columns that are codes by their name and are fed as numbers."""
    return [name for name, values in columns(facts) if _CODE.search(name) and "=" not in name
            and len(np.unique(values)) > 2]  # fmt: skip


@quantity
def code_columns(facts: Facts) -> float | None:
    """How many columns are codes (zip codes) by their name, with over 2 values, and fed as numbers."""
    return float(len(codes(facts))) if columns(facts) else None


@quantity
def rows_in_both(facts: Facts) -> float | None:
    """Share of the rows held out whose inputs are those of a training row; only where a column has many values."""
    if not isinstance(facts, OwnFacts):
        seen = facts.validated[-1].get("known") if facts.validated else None
        return float(seen) if isinstance(seen, (int, float)) else None
    every = columns(facts)
    if not every or not len(facts.held):
        return None
    if not any(len(np.unique(values)) > 5 * NUMERIC for _, values in every):
        return None
    known = {row.tobytes() for row in np.ascontiguousarray(facts.X)}
    return float(np.mean([row.tobytes() in known for row in np.ascontiguousarray(facts.held)]))


@quantity
def constant_columns(facts: Facts) -> float | None:
    """How many columns have one value only in the training rows."""
    return _count(facts, "constant")


@quantity
def farthest_value(facts: Facts) -> float | None:
    """Greatest distance of a value from its column's mean, in its standard deviations; columns of numbers only."""
    return max(table_of(facts).get("farthest", {}).values(), default=None)


@quantity
def farthest_target(facts: Facts) -> float | None:
    """Greatest distance of a target from their mean, in standard deviations; of numbers."""
    low, high = facts.number("targets", "min"), facts.number("targets", "max")
    mean, std = facts.number("targets", "mean"), facts.number("targets", "std")
    if facts.task != "number" or low is None or high is None or mean is None or not std:
        return None
    return max(mean - low, high - mean) / std


@quantity
def same_columns_count(facts: Facts) -> float | None:
    """How many pairs of columns are the same, but for a factor and a shift (|correlation| over 0.99999)."""
    return _count(facts, "same")


def _count(facts: Facts, key: str) -> float | None:
    found = table_of(facts)
    return float(len(found[key])) if found else None


def leaking_target(facts: Facts) -> Suspect | None:
    """Suspect a column that holds the answer."""
    seen = over(
        facts, "target_from_one_column", 0.995, "what is measured before the answer is known hardly tells it all"
    )
    if seen is None:
        return None
    where = tuple(name for name, value in table_of(facts)["target_from"].items() if value > 0.995)
    return Suspect("leaking_target", 0.85, (seen,), where, always=True)


def identifier(facts: Facts) -> Suspect | None:
    """Suspect a column that only numbers the rows."""
    seen = over(facts, "identifier_columns", 0, "a number of the row tells nothing of it")
    return (
        Suspect("identifier_feature", 0.7, told(seen), tuple(table_of(facts).get("numbering", ())), always=True)
        if seen
        else None
    )


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
        names = tuple(table_of(facts)["constant"])
        said = "has one value only: leave it out" if len(names) == 1 else "have one value only: leave them out"
        yield Symptom("constant_feature", names, (), None, (seen,), f"{_list(names)} {said}.")
    if seen := over(facts, "same_columns_count", 0, "one of the two is enough"):
        pairs = [" and ".join(pair) for pair in table_of(facts)["same"]]
        yield Symptom("duplicate_feature", tuple(pairs), (), None, (seen,), f"The same twice: {_list(pairs)}.")
    if seen := over(facts, "farthest_value", FAR, "under the normal distribution 5 hardly ever"):
        names = tuple(name for name, value in table_of(facts)["farthest"].items() if value > FAR)
        yield Symptom(
            "outlier", names, (), None, (seen,),
            f"In {_list(names)} a value lies {seen.value:.0f} deviations from its column's mean.",
        )  # fmt: skip
    if seen := over(facts, "farthest_target", FAR, "under the normal distribution 5 hardly ever"):
        yield Symptom("outlier", (), (), None, (seen,), f"A target lies {seen.value:.0f} deviations from their mean.")
    few = 1 if facts.above("gap", 0.1) else 10
    if table_of(facts) and (seen := over(facts, "parameters_per_row", few, "1: as many equations as unknowns")):
        yield Symptom(
            "more_parameters_than_rows", (), (), None, (seen,),
            f"There are {seen.value:.1f} times as many parameters as rows: watch the gap to the rows held out.",
        )  # fmt: skip


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
