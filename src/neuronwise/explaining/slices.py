"""Rows cut into slices, by zip code, by quarters of a number: where a network is weak can only be seen there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import FeatureEncoder
from neuronwise.errors import NotFoundError, did_you_mean
from neuronwise.explaining.meaning import Meaning

_MOST_COLUMNS = 64
# A number with at most so many different values is cut at each of them, another one into quarters.
_MOST_VALUES, _PARTS, _TARGET_PARTS = 8, 4, 5


@dataclass(frozen=True)
class Slicing:
    """Rows cut by one column.

    Attributes:
        by: The column.
        labels: What each slice is, in the column's own unit: ``"98103"``, ``"1,110 to 1,530"``.
        places: The slice of each row, int64 (rows,).
    """

    by: str
    labels: tuple[str, ...]
    places: NDArray[np.int64]


def slicings(X: NDArray[Any], y: NDArray[Any], meaning: Meaning, by: Sequence[str] | None = None) -> list[Slicing]:
    """Return rows cut by each column: categories one by one, numbers into quarters of the rows, a target into fifths.

    Args:
        X: Encoded inputs, (rows, *input_shape).
        y: Targets as in `running.subject.Examples`.
        meaning: Columns, units, target.
        by: Columns, or the target's name; default all columns and a target that is a number. Pictures and arrays of
            more than 64 columns have no slices.

    Raises:
        NotFoundError: There is no such column.
    """
    flat = np.asarray(X).reshape(len(X), -1)
    target = meaning.target
    has_target = target is not None and target.task == "regression"
    usable = [] if meaning.picture_shape is not None or len(meaning.columns) > _MOST_COLUMNS else meaning.columns
    names = [*usable, *([target.name] if target is not None and has_target else [])]
    if by is not None:
        for name in by:
            if name not in names:
                shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
                raise NotFoundError(
                    f"there is no column {name!r:.100} to cut the rows by.{did_you_mean(name, names)}",
                    where="argument by",
                    hint=f"there are {shown}"
                    if names
                    else "pictures have no columns; their classes are told by themselves",
                )
        names = list(dict.fromkeys(by))
    found = []
    for name in names:
        if target is not None and has_target and name == target.name and name not in usable:
            found.append(_by_number(name, target.decode(y), meaning.target_words, _TARGET_PARTS))
        else:
            found.append(_by_column(name, flat, meaning))
    return [one for one in found if len(one.labels) > 1 or by is not None]


def _by_column(name: str, X: NDArray[Any], meaning: Meaning) -> Slicing:
    places = meaning.groups[name].tolist() if meaning.groups else [list(meaning.input_names).index(name)]
    if isinstance(meaning.encoder, FeatureEncoder) and meaning.groups:
        inputs = [meaning.encoder.inputs[place] for place in places]
        is_missing = np.zeros(len(X), bool)
        for place, known in zip(places, inputs, strict=True):
            if known.part == "missing":
                is_missing |= X[:, place] == 1.0
        first = inputs[0]
        if first.kind in ("category", "yes/no"):
            return _by_word(name, _words(X, places, inputs, is_missing))
        place = next((p for p, known in zip(places, inputs, strict=True) if known.is_scaled), places[0])
        part = meaning.encoder.inputs[place].part if meaning.is_date(name) else None
        title = name if part is None else f"{name} ({part})"
        return _by_number(title, X[:, place], _input_words(meaning, place), _PARTS, is_missing)
    return _by_number(name, X[:, places[0]], _input_words(meaning, places[0]), _PARTS)


def _input_words(meaning: Meaning, place: int) -> Callable[[float], str]:
    """Return what turns an input's value into words in its own unit."""
    return lambda value: meaning.original_words(place, value) or f"{value:.4g}"


def _words(X: NDArray[Any], places: list[int], inputs: Sequence[Any], is_missing: NDArray[np.bool_]) -> list[str]:
    """Return what each row has in a column of categories, or of yes and no."""
    if inputs[0].kind == "yes/no":
        found = np.where(X[:, places[0]] == 1.0, "yes", "no").astype(object)
    else:
        found = np.full(len(X), "never seen in training", object)
        for place, known in zip(places, inputs, strict=True):
            if known.category is not None:
                found[X[:, place] == 1.0] = known.category
    found[is_missing] = "missing"
    return [str(one) for one in found]


def _by_word(name: str, words: list[str]) -> Slicing:
    labels, places = np.unique(np.array(words, object).astype(str), return_inverse=True)
    return Slicing(name, tuple(labels.tolist()), places.astype(np.int64))


def _by_number(
    name: str,
    values: NDArray[Any],
    words: Callable[[float], str],
    parts: int,
    is_missing: NDArray[np.bool_] | None = None,
) -> Slicing:
    """Cut at each value of few, else into parts of about as many rows; labels are the ends that occur in a part."""
    known = np.isfinite(values) if is_missing is None else np.isfinite(values) & ~is_missing
    different = np.unique(values[known])
    if len(different) <= _MOST_VALUES:
        cuts = different[1:]
    else:
        quantiles = np.quantile(values[known].astype(np.float64), np.linspace(0, 1, parts + 1)[1:-1])
        cuts = np.unique(quantiles)
    places = np.searchsorted(cuts, values, side="right")
    labels: list[str] = []
    renumbered = np.zeros(len(values), np.int64)
    for part in range(len(cuts) + 1):
        rows = np.flatnonzero(known & (places == part))
        if not len(rows):
            continue
        low, high = (words(float(end)) for end in (values[rows].min(), values[rows].max()))
        renumbered[rows] = len(labels)
        labels.append(low if low == high else f"{low} to {high}")
    odd = {"missing": is_missing, "not finite": ~np.isfinite(values)}
    for what, marked in odd.items():
        if marked is not None and marked.any():
            renumbered[marked] = len(labels)
            labels.append(what)
    return Slicing(name, tuple(labels), renumbered)
