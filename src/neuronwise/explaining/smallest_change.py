"""The smallest change of one column that flips a class, or moves a price by a given amount: found by search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data import ArrayEncoder, FeatureEncoder, PixelEncoder
from neuronwise.data.columns import figure
from neuronwise.errors import UsageError
from neuronwise.explaining.changed_inputs import encode_cells, encoding_of, find_column
from neuronwise.explaining.meaning import Meaning, decoded
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.units import OutputUnit, round_to
from neuronwise.network import Network

Values = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Values of a number that are tried over its range, then between the last that is not enough and the first that is.
_GRID, _FINER, _ROUNDS = 2_001, 65, 4
_MOST_DAYS = 5_000
_MOST_WHOLE = 5_000
_SHOWN = 8


@dataclass(frozen=True)
class SmallestChange(Explanation):
    """The smallest change of a column that brings about what was wanted, or that none does.

    Attributes:
        column: The column.
        wanted: What was wanted, in words.
        before: The answer now, in words.
        value: What the column has now, in words.
        found: The nearest value that does it, as a cell of the data has it; None where none does.
        after: The answer then, in words; "" where none does.
        searched: Where was looked, in words.
        enough: All values that do it: of categories each, with the answer; of numbers the nearest on either side.
        reach: The answers at the ends of what is possible: the lowest and the highest of a number, else the answers
            of the other classes that came closest, in words.
    """

    column: str
    wanted: str
    before: str
    value: str
    found: str | None
    after: str
    searched: str
    enough: tuple[tuple[str, str], ...]
    reach: str

    def blocks(self) -> list[Block]:
        """Return what was found, or that nothing was."""
        if self.found is None:
            return [
                f"No {self.column} {self.wanted}: {self.before} now, with {self.column} {self.value}.",
                f"Searched: {self.searched}. {self.reach}",
            ]
        blocks: list[Block] = [
            f"{self.column} {self.value} → {self.found} {self.wanted}: {self.before} → {self.after}",
            f"Searched: {self.searched}. Everything else stays as it is. {self.reach}",
        ]
        if len(self.enough) > 1:
            rows = tuple(self.enough[:_SHOWN])
            title = f"{len(self.enough):,} values do it" if len(self.enough) > _SHOWN else ""
            blocks.append(Table((self.column, "answer"), rows, title))
        return blocks


def smallest_change(
    network: Network,
    x: ArrayLike,
    column: str,
    *,
    by: float | None = None,
    to: str | None = None,
    seen: tuple[float, float] | None = None,
    meaning: Meaning | None = None,
    unit: str | None = None,
) -> SmallestChange:
    """Return the smallest change of one column that flips the class, or moves the answer by an amount.

    Numbers are tried over the range seen in training in 2,000 steps (even ones of what the network is given, so finer
    among small values of a column whose logarithm is learned), and then more closely where the answer turns; whole
    numbers one by one, where the smallest, the largest and the middle one seen are whole; dates day by day; of
    categories all that are known; all other columns stay. A turn and its return within one step is missed.

    Args:
        network: The network.
        x: One input, (*input_shape).
        column: Name of the column, or of the input where there is no table.
        by: By how much the answer of a regression has to rise (or, negative, fall), in its own unit; None for classes.
        to: The class it has to become; default any other.
        seen: (lowest, highest) to search, in the unit of the data; default what is known of training.
        meaning: Names, encoder and target; default the network's own names.
        unit: Sign of money before amounts.

    Raises:
        NotFoundError: There is no such column or class.
        UsageError: `by` where classes are predicted, none where a number is; or nothing is known of the range.
    """
    meaning = meaning or Meaning.of(network)
    rows = network.check_input(x)
    if len(rows) != 1:
        raise UsageError(f"one input is changed at a time, got {len(rows):,}", where="argument x", hint="x[0]")
    column = find_column(meaning, column)
    flat = np.asarray(rows[0], network.dtype).reshape(-1)
    words = OutputUnit.of(meaning.target, unit)
    aim = _Aim.of(network, meaning, network.predict(rows)[0], by, to, words)

    def answers(cells: Sequence[object]) -> Values:
        places, values, _ = encode_cells(meaning, column, cells)
        changed = np.repeat(flat[None], len(cells), axis=0)
        changed[:, places] = values
        return np.asarray(network.predict(changed.reshape(-1, *network.input_shape)), np.float64)

    cells, numbers, searched, finer = _candidates(meaning, column, seen)
    value = meaning.column_words(column, flat) if meaning.groups else _input_words(meaning, column, flat)
    y = answers(cells)
    enough = aim.reached(y)
    reach = aim.reach(y)
    if not enough.any():
        return SmallestChange(column, aim.wanted, aim.before, value, None, "", searched, (), reach)
    if numbers is None:
        # Categories have no order: the one that changes the answer least comes first.
        order = np.flatnonzero(enough)[np.argsort(aim.distance(y[enough]), kind="stable")]
        told = tuple((str(cells[i]), aim.words(y[i])) for i in order.tolist())
        return SmallestChange(column, aim.wanted, aim.before, value, told[0][0], told[0][1], searched, told, reach)
    now = _current(meaning, column, flat)
    sides = []
    for side in (numbers < now, numbers > now):
        hits = np.flatnonzero(enough & side)
        if len(hits):
            nearest = hits[np.argmin(np.abs(numbers[hits] - now))]
            hit = float(numbers[nearest]), str(cells[nearest])
            sides.append(hit if finer is None else _closer(answers, aim, now, numbers, hit[0], finer))
    sides.sort(key=lambda item: abs(item[0] - now))
    told = tuple((cell, aim.words(answers([cell])[0])) for _, cell in sides)
    return SmallestChange(column, aim.wanted, aim.before, value, told[0][0], told[0][1], searched, told, reach)


@dataclass(frozen=True)
class _Aim:
    """What is wanted of an answer."""

    wanted: str
    before: str
    reached: Callable[[Values], Bools]
    distance: Callable[[Values], Values]
    words: Callable[[Values], str]
    reach: Callable[[Values], str]

    @classmethod
    def of(
        cls, network: Network, meaning: Meaning, y_hat: Any, by: float | None, to: str | None, unit: OutputUnit | None
    ) -> _Aim:
        y_hat = np.asarray(y_hat, np.float64)
        target = meaning.target
        last = network.layers[-1].activation
        is_yes_no = last is not None and last.name == "sigmoid"
        single = y_hat.size == 1 and not is_yes_no
        regression = target.task == "regression" if target is not None else single
        if regression:
            if by is None or to is not None:
                raise UsageError(
                    "this network predicts a number, which has no class to flip",
                    where="argument by" if by is None else "argument to",
                    hint="say by how much it has to move: by=50000, on the command line --move COLUMN --by 50000",
                )
            if not np.isfinite(by) or by == 0:
                raise UsageError(f"expected an amount other than 0, got {by!r}", where="argument by")
            return cls._number(y_hat, by, unit, meaning)
        if by is not None:
            raise UsageError(
                "this network predicts a class, which moves by no amount",
                where="argument by",
                hint="leave it out, on the command line --flip COLUMN",
            )
        return cls._class(network, meaning, y_hat, to)

    @classmethod
    def _number(cls, y_hat: Values, by: float, unit: OutputUnit | None, meaning: Meaning) -> _Aim:
        def amounts(y: Values) -> Values:
            first = y.reshape(len(y), -1)[:, 0]
            return first if unit is None else np.array([unit.amount(float(value)) for value in first])

        def words(amount: float) -> str:
            return (
                f"{meaning.output_names[0]} {unit.words(amount) if unit is not None else figure(round_to(amount, 5))}"
            )

        was = float(amounts(y_hat[None])[0])
        up = by > 0
        size = unit.words(abs(by)) if unit is not None else figure(abs(by))
        return cls(
            f"{'raises' if up else 'lowers'} it by {size} or more",
            words(was),
            lambda y: (amounts(y) - was >= by) if up else (amounts(y) - was <= by),
            lambda y: np.abs(amounts(y) - was),
            lambda y: words(float(amounts(y[None])[0])),
            lambda y: (
                f"There the answer goes from {words(float(amounts(y).min()))} to {words(float(amounts(y).max()))}."
            ),
        )

    @classmethod
    def _class(cls, network: Network, meaning: Meaning, y_hat: Values, to: str | None) -> _Aim:
        target = meaning.target
        names = [str(name) for name in (target.classes if target is not None else meaning.output_names)]
        if len(names) == 1:
            names = [f"not {names[0]}", names[0]]

        def shares(y: Values) -> Values:
            flat = y.reshape(len(y), -1)
            return np.hstack([1 - flat, flat]) if flat.shape[1] == 1 else flat

        was = int(shares(y_hat[None])[0].argmax())
        wanted = None
        if to is not None:
            if to not in names:
                meaning.output(to)
            wanted = names.index(to) if to in names else meaning.output(to)
            if wanted == was:
                raise UsageError(f"the answer is {to!r:.100} already", where="argument to")

        def reached(y: Values) -> Bools:
            chosen = shares(y).argmax(axis=1)
            return np.asarray(chosen == wanted if wanted is not None else chosen != was)

        def reach(y: Values) -> str:
            others = shares(y) if wanted is None else shares(y)[:, [wanted]]
            if wanted is None:
                others = np.delete(others, was, axis=1)
            best = float(others.max())
            name = names[wanted] if wanted is not None else "another class"
            return f"The most that {name} gets there is {100 * best:.1f} %."

        return cls(
            "makes it another class" if wanted is None else f"makes it {names[wanted]}",
            meaning.answer_words(y_hat),
            reached,
            lambda y: np.abs(shares(y)[:, was] - shares(y_hat[None])[0, was]),
            meaning.answer_words,
            reach,
        )


def _candidates(
    meaning: Meaning, column: str, seen: tuple[float, float] | None
) -> tuple[list[object], Values | None, str, Callable[[float], str] | None]:
    """Return what to try.

    Returns:
        Cells; their numbers, where they have an order; in words what they are; and what makes a cell of a number
        between them, None where there are none between (days, times, whole numbers).
    """
    encoder = meaning.encoder
    if isinstance(encoder, FeatureEncoder):
        encoding = encoding_of(encoder, column)
        first = encoder.inputs[int(meaning.groups[column][0])]
        if encoding.column.kind == "category":
            return list(encoding.categories), None, f"all {len(encoding.categories):,} known categories", None
        if encoding.column.kind == "yes/no":
            return ["yes", "no"], None, "yes and no", None
        form = encoding.column.date_format
        if encoding.column.kind == "date":
            days = next(one for one in encoder.inputs if one.column == column and one.part == "days since first")
            numbers = np.unique(np.linspace(round(days.minimum), round(days.maximum), _MOST_DAYS).round())
            origin = np.datetime64(encoding.origin or "1970-01-01", "s")
            cells = [_date(origin + np.timedelta64(int(day * 86_400), "s"), form) for day in numbers]
            ends = [meaning.date_words(column, day) for day in (days.minimum, days.maximum)]
            return list(cells), numbers, f"{len(numbers):,} days from {ends[0]} to {ends[1]}", None
        low, high = seen or (first.minimum, first.maximum)
        if form is not None:
            numbers = np.arange(math.ceil(low * 60), math.floor(high * 60) + 1) / 60
            cells = [f"{round(hour * 60) // 60:02d}:{round(hour * 60) % 60:02d}" for hour in numbers.tolist()]
            return list(cells), numbers, f"{len(numbers):,} minutes from {cells[0]} to {cells[-1]}", None
        decimal = encoding.column.decimal
        # The smallest, the largest and the middle one seen are whole: so, most likely, are all.
        is_whole = all(float(value).is_integer() for value in (low, high, first.fill))
        if seen is None and is_whole and high - low < _MOST_WHOLE:
            numbers = np.arange(low, high + 1)
            words = f"the whole numbers from {figure(low)} to {figure(high)}"
            return [_cell(value, decimal) for value in numbers], numbers, words, None
        is_log = first.transform == "log"
        ends_of = (math.log1p(low), math.log1p(high)) if is_log else (float(low), float(high))
        numbers = np.linspace(*ends_of, _GRID)
        numbers = np.expm1(numbers) if is_log else numbers
        tried: list[object] = [_cell(value, decimal) for value in numbers]
        return tried, numbers, _range(low, high), lambda value: _cell(value, decimal)
    if seen is None and isinstance(encoder, PixelEncoder):
        seen = 0.0, encoder.maximum
    if seen is None and isinstance(encoder, ArrayEncoder):
        seen = encoder.minimum, encoder.maximum
    if seen is None:
        raise UsageError(
            "nothing is known of the values that this input may have", where="argument seen", hint="seen=(0.0, 1.0)"
        )
    numbers = np.linspace(*seen, _GRID)
    return list(numbers), numbers, _range(*seen), lambda value: repr(float(value))


def _range(low: float, high: float) -> str:
    return f"{figure(round_to(low, 6))} to {figure(round_to(high, 6))}, in {_GRID - 1:,} steps and then more closely"


def _cell(value: float, decimal: str) -> str:
    """Return a number as a cell that is read as that number, with the column's decimal sign."""
    words = repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    return words.replace(".", ",") if decimal == "," else words


def _date(moment: np.datetime64, form: str | None) -> str:
    return str(moment.astype("datetime64[s]").item().strftime(form or "%Y-%m-%d"))


def _closer(
    answers: Callable[[Sequence[object]], Values],
    aim: _Aim,
    now: float,
    numbers: Values,
    good: float,
    cell: Callable[[float], str],
) -> tuple[float, str]:
    """Return the number nearest to the present one that is enough, and its cell: between one that is and the next."""
    toward = numbers[(numbers < good) & (numbers > now)] if good > now else numbers[(numbers > good) & (numbers < now)]
    bad = now if not len(toward) else float(toward[np.argmin(np.abs(toward - good))])
    for _ in range(_ROUNDS):
        tried = np.linspace(bad, good, _FINER)
        ok = np.flatnonzero(aim.reached(answers([cell(value) for value in tried])))
        if not len(ok) or ok[0] == 0:
            break
        bad, good = float(tried[ok[0] - 1]), float(tried[ok[0]])
    # As few digits as still do it, rounded away from the present value.
    for digits in range(2, 8):
        step = 10.0 ** (np.floor(np.log10(max(abs(good), 1e-12))) + 1 - digits)
        rounded = round_to(float((np.ceil if good > now else np.floor)(good / step) * step), digits)
        inside = numbers.min() <= rounded <= numbers.max()
        if inside and abs(rounded - good) <= 0.02 * abs(good - now) and aim.reached(answers([cell(rounded)]))[0]:
            return rounded, cell(rounded)
    return good, cell(good)


def _current(meaning: Meaning, column: str, flat: NDArray[Any]) -> float:
    """Return what a column of numbers or dates has now, in the unit of the candidates."""
    if isinstance(meaning.encoder, FeatureEncoder):
        inputs = [(meaning.encoder.inputs[i], float(flat[i])) for i in meaning.groups[column].tolist()]
        known, value = next(
            (pair for pair in inputs if pair[0].is_scaled and pair[0].part in (None, "days since first")), inputs[0]
        )
        return decoded(known, value)
    place = list(meaning.input_names).index(column)
    value = float(flat[place])
    if isinstance(meaning.encoder, PixelEncoder):
        return value * meaning.encoder.maximum
    if isinstance(meaning.encoder, ArrayEncoder) and meaning.encoder.means is not None:
        assert meaning.encoder.scales is not None
        return value * float(meaning.encoder.scales[place]) + float(meaning.encoder.means[place])
    return value


def _input_words(meaning: Meaning, column: str, flat: NDArray[Any]) -> str:
    return figure(round_to(_current(meaning, column, flat), 6))
