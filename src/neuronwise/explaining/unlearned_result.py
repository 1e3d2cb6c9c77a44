"""What a network has not learned, as words, tables and a picture; see `neuronwise.explaining.unlearned`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.judging import amount_words
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.separating import Pair

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OFF = 2.0
"""A value counts as wrong where its error is larger than so many times the median error of the network at the end."""
_LEAST_ROWS = 10
_SLICES, _STEPS, _CLASSES = 10, 6, 20


@dataclass(frozen=True)
class SliceErrors:
    """How wrong a network was on each slice of a column.

    Attributes:
        by: The column, or ``"class"``.
        labels: What each slice is.
        rows: Rows of each, (slices,).
        errors: Error of each at each step, (steps, slices): of classes the share of its rows that is wrong, of values
            the mean error. NaN without rows.
        noise: Standard error of each at the end, (slices,): the deviation over its rows / √rows.
    """

    by: str
    labels: tuple[str, ...]
    rows: NDArray[np.int64]
    errors: NDArray[np.float64]
    noise: NDArray[np.float64]


@dataclass(frozen=True)
class WrongRow:
    """A row that is wrong at the end.

    Attributes:
        row: Its number in the data.
        right: What is right, in words.
        answer: What the network answers, in words.
        error: Its loss (classes), or its error.
        state: ``"never learned"`` or ``"forgotten"``; ``"wrong"`` where too few steps were looked at to tell.
    """

    row: int
    right: str
    answer: str
    error: float
    state: str


@dataclass(frozen=True)
class Unlearned(Explanation):
    """What a network has not learned, over the training.

    Attributes:
        rows: Rows looked at.
        rows_are: What they are, in words.
        steps: Steps looked at, ascending; -1 for the network as delivered where no step was named.
        kind: What an error is: ``"share wrong"`` (classes), ``"factor"`` (values learned as logarithms:
            |ln y_hat - ln y|) or ``"amount"`` (|y_hat - y|).
        unit: Of an amount: the target's name, or ``""``.
        errors: Error of all rows at each step, (steps,).
        classes: The errors by class; None where values are learned.
        slices: The errors by slice of each column.
        threshold: The error above which a value counts as wrong; NaN for classes.
        never_learned: Numbers in the data of the rows never learned.
        forgotten: Of those learned and forgotten.
        wrong: How many are wrong at the end.
        worst: The most wrong rows.
        confusion: Rows of each class (first axis) that were taken for each class, at the end; empty for values.
        pairs: The pairs of classes most often confused, with what each hidden neuron tells of them.
    """

    rows: int
    rows_are: str
    steps: tuple[int, ...]
    kind: str
    unit: str
    errors: NDArray[np.float64]
    classes: SliceErrors | None
    slices: tuple[SliceErrors, ...]
    threshold: float
    never_learned: NDArray[np.int64]
    forgotten: NDArray[np.int64]
    wrong: int
    worst: tuple[WrongRow, ...]
    confusion: NDArray[np.int64]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()

    def words(self, error: float) -> str:
        """Return an error in words: ``4.2 %`` (of the rows, or of the value) or an amount."""
        if not math.isfinite(error):
            return "no rows" if math.isnan(error) else str(error)
        if self.kind == "amount":
            return amount_words(error)
        share = error if self.kind == "share wrong" else math.expm1(min(error, 700.0))
        return f"{100 * share:.1f} %" if share < 100 else f"{100 * share:.3g} %"

    @property
    def ranked(self) -> list[tuple[float, SliceErrors, int]]:
        """Classes and slices of at least 10 rows, the surest worse than all first, with (error - all) / noise."""
        found: list[tuple[float, SliceErrors, int]] = []
        for one in ([self.classes] if self.classes is not None else []) + list(self.slices):
            for place in np.flatnonzero(one.rows >= _LEAST_ROWS).tolist():
                excess, noise = float(one.errors[-1, place] - self.errors[-1]), float(one.noise[place])
                sure = excess / noise if noise > 0 else math.copysign(math.inf, excess) if excess else 0.0
                found.append((sure, one, place))
        return sorted(found, key=lambda one: -one[0] if not math.isnan(one[0]) else math.inf)

    @property
    def worst_slices(self) -> list[tuple[SliceErrors, int]]:
        """Those surely worse: so bad a one is shown by chance in 1 of 20 cases at most, among all of them."""
        ranked = self.ranked
        limit = NormalDist().inv_cdf(1 - 0.05 / max(1, len(ranked)))  # Bonferroni
        return [(one, place) for sure, one, place in ranked if sure > limit]

    def blocks(self) -> list[Block]:
        """Where the error is, how it went, which rows and which pairs."""
        said = self._headline()
        blocks: list[Block] = [said]
        if self.kind == "factor":
            blocks.append(
                "An error is a factor, as the logarithm is learned: 12 % is an answer 1.12 times too large or small."
            )
        if self.classes is not None:
            order = np.argsort(-np.nan_to_num(self.classes.errors[-1], nan=-1.0), kind="stable")[:_CLASSES]
            blocks.append(
                self._slice_table(self.classes, order.tolist(), "Share of each class that is wrong, over time")
            )
        worst = [(one, place) for one, place in self.worst_slices if one is not self.classes]
        single = len(self.slices) == 1
        for one in self.slices if single else ():
            order = np.argsort(-np.nan_to_num(one.errors[-1], nan=-1.0), kind="stable").tolist()
            blocks.append(self._slice_table(one, order, f"By {one.by}, over time"))
        if not single and worst:
            blocks.append(self._worst_table(worst[:_SLICES]))
        elif not single and self.slices:
            blocks.append(
                f"no slice of the {len(self.slices)} columns is surely worse than all rows; --by COLUMN shows one"
            )
        if any(isinstance(block, Table) for block in blocks):
            blocks.append(
                "± is two standard errors of the last column; surely worse is what chance shows in 1 of 20 cases at "
                "most, among all classes and slices together."
            )
        blocks += self._row_blocks()
        blocks += self._pair_blocks()
        return [*blocks, *self.notes]

    def _headline(self) -> str:
        every = f"on {self.rows:,} {self.rows_are} {self.words(float(self.errors[-1]))} are wrong"
        if self.kind != "share wrong":
            every = f"on {self.rows:,} {self.rows_are} the mean error is {self.words(float(self.errors[-1]))}"
        found = self.worst_slices
        if not found:
            return f"{every}; no class or slice is surely worse than the others"
        one, place = found[0]
        what = f"{one.by} {one.labels[place]}"
        where = "of its" if self.kind == "share wrong" else "on its"
        return f"{every}; {what} is learned worst: {self.words(one.errors[-1, place])} {where} {one.rows[place]:,} rows"

    def _columns(self) -> list[int]:
        places = np.linspace(0, len(self.steps) - 1, min(len(self.steps), _STEPS)).astype(int)
        return [int(place) for place in np.unique(places)]

    def _step(self, place: int) -> str:
        return "as delivered" if self.steps[place] < 0 else f"step {self.steps[place]:,}"

    def _slice_table(self, one: SliceErrors, order: Sequence[int], title: str) -> Table:
        columns = self._columns()
        rows = [
            (
                one.labels[p],
                f"{one.rows[p]:,}",
                *(self.words(one.errors[c, p]) for c in columns),
                f"{self._noise(one, p)}",
            )
            for p in order
        ]
        rows.append(("all", f"{self.rows:,}", *(self.words(self.errors[c]) for c in columns), ""))
        return Table((one.by, "rows", *map(self._step, columns), "±"), tuple(rows), title=title)

    def _noise(self, one: SliceErrors, place: int) -> str:
        noise = float(one.noise[place])
        if not math.isfinite(noise):
            return ""
        return amount_words(2 * noise) if self.kind == "amount" else f"{200 * noise:.1f}"

    def _worst_table(self, found: Sequence[tuple[SliceErrors, int]]) -> Table:
        columns = self._columns()
        rows = [
            (
                f"{one.by} {one.labels[p]}", f"{one.rows[p]:,}", *(self.words(one.errors[c, p]) for c in columns),
                self._noise(one, p),
            )
            for one, p in found
        ]  # fmt: skip
        rows.append(("all", f"{self.rows:,}", *(self.words(self.errors[c]) for c in columns), ""))
        title = "Slices that are surely worse than all rows, the surest first"
        return Table(("slice", "rows", *map(self._step, columns), "±"), tuple(rows), title=title)

    def _row_blocks(self) -> list[Block]:
        limit = ""
        if self.kind != "share wrong":
            limit = f" (an error above {self.words(self.threshold)}, {OFF:g} times the median error, counts as wrong)"
        never, lost = len(self.never_learned), len(self.forgotten)
        states = f": {never:,} never learned, {lost:,} learned and forgotten" if never or lost else ""
        blocks: list[Block] = [f"{self.wrong:,} of {self.rows:,} rows are wrong at the end{states}{limit}"]
        if self.worst:
            rows = tuple(
                (f"row {one.row:,}", one.right, one.answer, self._error(one.error), one.state) for one in self.worst
            )
            error = "loss" if self.kind == "share wrong" else "error"
            blocks.append(
                Table(("row", "right", "the network", error, "state"), rows, title="The most wrong rows", left=(0, 4))
            )
        return blocks

    def _error(self, error: float) -> str:
        return f"{error:.3g}" if self.kind == "share wrong" else self.words(error)

    def _pair_blocks(self) -> list[Block]:
        blocks: list[Block] = []
        if self.classes is None:
            return blocks
        names = self.classes.labels
        for pair in self.pairs:
            first, second = names[pair.first], names[pair.second]
            forth, back = self.confusion[pair.first, pair.second], self.confusion[pair.second, pair.first]
            best = [place for place in pair.order[:3].tolist() if np.isfinite(pair.auc[place])]
            told = ", ".join(
                f"{pair.neurons[p]} ({max(pair.auc[p], 1 - pair.auc[p]):.2f}, more active on "
                f"{first if pair.auc[p] > 0.5 else second})"
                for p in best
            )
            blunt = len(pair.blunt)
            some = ", ".join(pair.neurons[p] for p in pair.blunt[:3].tolist())
            blunt_words = f"; {blunt:,} of {len(pair.neurons):,} do not tell them apart" + (
                f" ({some} …)" if blunt else ""
            )
            times = "once" if pair.confused == 1 else f"{pair.confused:,} times"
            taken = f"{first} for {second} {forth:,}, {second} for {first} {back:,}"
            blocks.append(
                f"{first} and {second} are taken for each other {times} ({taken})"
                + (f"; told apart best by {told}{blunt_words}" if best else "")
            )
        if any(len(pair.neurons) for pair in self.pairs):
            blocks.append(
                "In brackets the AUC of the neuron alone: the share of pairs of one row each that it puts in the right "
                "order; 1 separates, 0.5 is a coin."
            )
        return blocks

    def figure(self) -> Figure:
        """Error by class (or slice) over time, with numbers; beside it, of classes, which were taken for which."""
        from neuronwise.explaining.unlearned_picture import draw

        return draw(self)
