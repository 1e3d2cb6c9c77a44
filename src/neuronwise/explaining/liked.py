"""The examples that a neuron likes most and least, told in the units of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.average_terms import AverageTerms
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neurons import Located, input_count, map_shape, picture_plan
from neuronwise.explaining.pattern import Pattern, field_of
from neuronwise.explaining.result import Block, Table
from neuronwise.explaining.sizes import by_size, drawable
from neuronwise.network import Network
from neuronwise.network.layers import UnitNames

_COLUMNS = 5


@dataclass(frozen=True)
class Liked:
    """An example that a neuron likes, or does not.

    Attributes:
        row: Its number.
        z: The neuron's pre-activation on it; of a convolution where that is largest.
        a: Its activation level.
        place: (row, column) of that place; None for a neuron that has one only.
        window: What it sees from there: first row, first column, rows and columns of the picture, beyond whose edges
            it may reach; None for a neuron that sees all.
        target: What the example is, in words; ``""`` where that is not known.
        answer: What the network answers, in words.
        values: Of a table, some of its columns with their values in original units.
    """

    row: int
    z: float
    a: float
    place: tuple[int, int] | None
    window: tuple[int, int, int, int] | None
    target: str
    answer: str
    values: tuple[tuple[str, str], ...]


class Liking:
    """Tells of chosen examples."""

    def __init__(
        self,
        network: Network,
        meaning: Meaning,
        found: Located,
        X: NDArray[Any],
        numbers: NDArray[Any],
        z: NDArray[np.float64],
        a: NDArray[np.float64],
        at: NDArray[np.int64],
    ) -> None:
        self._network, self._meaning, self._X, self._numbers = network, meaning, X, numbers
        self._z, self._a, self._at = z, a, at
        self._map = map_shape(network, found.position) if found.place is None else None
        self._field = None if self._map is None else field_of(network, found)
        self._names: tuple[str, ...] = ()
        self._ids: NDArray[np.int64] | None = None
        self._values: NDArray[np.float64] | None = None
        self._columns: list[tuple[str, int | None]] = []

    def describe(
        self,
        names: tuple[str, ...],
        ids: NDArray[np.int64] | None,
        values: NDArray[np.float64] | None,
        columns: list[tuple[str, int | None]],
    ) -> None:
        """Take what the examples are: classes, or values, and which columns tell of them."""
        self._names, self._ids, self._values, self._columns = names, ids, values, columns

    def __call__(self, chosen: NDArray[np.int64]) -> tuple[Liked, ...]:
        """Return what is told of the examples at these places, in that order."""
        if not len(chosen):
            return ()
        y_hat = self._network.predict(self._X[chosen])
        return tuple(
            Liked(
                int(self._numbers[i]), float(self._z[i]), float(self._a[i]),
                *self._where(int(self._at[i])),
                self._target(i), self._meaning.answer_words(y_hat[place]),
                tuple((name, self._words(name, input_place, i)) for name, input_place in self._columns),
            )
            for place, i in enumerate(chosen.tolist())
        )  # fmt: skip

    def _where(self, at: int) -> tuple[tuple[int, int] | None, tuple[int, int, int, int] | None]:
        """Return a place, counted row by row, as row and column, and what is seen from there."""
        if self._map is None:
            return None, None
        place = divmod(at, self._map[1])
        return place, None if self._field is None else (*self._field.start(*place), *self._field.size)

    def _words(self, column: str, place: int | None, i: int) -> str:
        x = self._X[i].reshape(-1)
        if place is None:
            return self._meaning.column_words(column, x)
        value = float(x[place])
        return self._meaning.original_words(place, value) or f"{value:.4g}"

    def _target(self, i: int) -> str:
        if self._ids is not None:
            return self._names[int(self._ids[i])]
        return self._meaning.target_words(self._values[i]) if self._values is not None else ""


def telling_columns(
    shown: Pattern, terms: AverageTerms | None, meaning: Meaning, X: NDArray[Any]
) -> list[tuple[str, int | None]]:
    """Return the columns of a table by which its rows are told, those that move the neuron most.

    Of a date, which is many inputs, it is the input that does: its name and place. Of others the place is None.
    """
    if shown.is_picture or isinstance(meaning.input_names, UnitNames):
        return []
    if shown.is_weights and terms is not None:
        moves = terms.moves
    else:
        moves = np.abs(shown.mean) * X.reshape(len(X), -1).astype(np.float64).std(axis=0)
    with np.errstate(all="ignore"):
        squares = drawable(drawable(moves) ** 2)
    columns = meaning.columns
    told: list[tuple[str, int | None]] = []
    for i in by_size(meaning.by_column(squares), _COLUMNS):
        places = meaning.groups.get(columns[i])
        if places is not None and meaning.is_date(columns[i]):
            place = int(places[np.argmax(squares[places])])
            told.append((meaning.input_names[place], place))
        else:
            told.append((columns[i], None))
    return told


def pictures_of(network: Network, meaning: Meaning, X: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return examples as pictures, (rows, channels, rows of pixels, columns); None where they are none."""
    plan = picture_plan(network, 0, meaning.picture_shape)
    return None if plan is None else plan.channels(X.reshape(len(X), input_count(network)).astype(np.float64))


def liked_table(liked: tuple[Liked, ...], title: str) -> Block:
    """Return a table of examples, or a sentence where there are none."""
    if not liked:
        return f"{title}: none, as no z is finite"
    has_place, has_target = liked[0].place is not None, bool(liked[0].target)
    heads = ["row", *(["place"] if has_place else []), "z", "level"]
    heads += [*(["is"] if has_target else []), "answer", *(name for name, _ in liked[0].values)]
    rows = [
        (
            str(one.row), *([str(one.place)] if has_place else []), f"{one.z:+.4g}", f"{one.a:.4g}",
            *([one.target] if has_target else []), one.answer, *(value for _, value in one.values),
        )
        for one in liked
    ]  # fmt: skip
    return Table(tuple(heads), tuple(rows), title)
