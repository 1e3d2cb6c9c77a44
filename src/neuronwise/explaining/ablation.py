"""What a network loses without one of its neurons: each neuron of a layer silenced in turn, all in one pass.

Silencing a neuron replaces its activation, for every row, by 0 or by its mean over the rows. How that is done for a
whole layer at once stands in `silencing`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.figures import GREY, new_figure, signed_bars
from neuronwise.explaining.judging import Judge, amount_words, outputs, passes
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.silencing import Mode, Silencer
from neuronwise.network import Layer, Loss, Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.floating[Any]]
Progress = Callable[[int, int], None]

MODES: tuple[Mode, ...] = ("zero", "mean")
_SHOWN, _BARS = 15, 24
# Rows of which the answers are computed a second time, in the plain way.
_CHECKED_ROWS = 64


@dataclass(frozen=True)
class LayerImportance(Explanation):
    """How much a network loses without each neuron of a layer.

    Attributes:
        layer: Its name.
        mode: What replaced the activation of a silenced neuron: ``"zero"``, or its ``"mean"`` over these rows.
        rows: Rows it was measured on.
        rows_are: What they are, in words: ``"held-out rows"``.
        neurons: The name of each neuron.
        score_name: ``"accuracy"`` or ``"R²"``.
        loss: Mean loss over the rows of the whole network.
        score: Accuracy, or R² of the values as they are learned, of the whole network.
        classes: Class names; empty where values are learned.
        class_rows: Rows of each class, (classes,).
        class_scores: Share of each class's rows that the whole network gets right, (classes,); NaN without rows.
        loss_increase: Mean loss without the neuron minus `loss`, (neurons,).
        score_change: Score without it minus `score`, (neurons,).
        class_changes: Share of each class's rows that is right without it, minus `class_scores`, (neurons, classes).
        answer_change: Share of the rows that get another class; of values the mean |change of the answer|, in the
            target's unit, (neurons,).
        affected: Share of the rows whose activation was replaced by another value, (neurons,).
        gap: Largest difference between an output found here and by computing the layers again, of the checked neurons.
        largest_output: Largest |output| among those checked.
    """

    layer: str
    mode: Mode
    rows: int
    rows_are: str
    neurons: tuple[str, ...]
    score_name: str
    loss: float
    score: float
    classes: tuple[str, ...]
    class_rows: NDArray[np.int64]
    class_scores: NDArray[np.float64]
    loss_increase: NDArray[np.float64]
    score_change: NDArray[np.float64]
    class_changes: NDArray[np.float64]
    answer_change: NDArray[np.float64]
    affected: NDArray[np.float64]
    gap: float
    largest_output: float
    unit: str = ""

    @property
    def order(self) -> NDArray[np.int64]:
        """Neurons from the most missed to the least, by `loss_increase`; those that are not finite first."""
        key = np.where(np.isnan(self.loss_increase), np.inf, self.loss_increase)
        return np.argsort(-key, kind="stable")

    def blocks(self) -> list[Block]:
        """The ranking, the classes that suffer, and what it does not say."""
        order, said = self.order, "at 0" if self.mode == "zero" else "at its mean"
        best = int(order[0])
        harmless = int(np.count_nonzero(self.loss_increase <= 0))
        blocks: list[Block] = [
            f"{self.neurons[best]} is missed most of the {len(order):,} neurons of {self.layer}: held {said}, "
            f"{self.score_name} goes from {self._score(self.score)} to "
            f"{self._score(self.score + self.score_change[best])} and the loss from {self.loss:.4g} to "
            f"{self.loss + self.loss_increase[best]:.4g}, on {self.rows:,} {self.rows_are}",
            self._table(order),
        ]
        if len(order) > _SHOWN:
            blocks.append(f"the {_SHOWN} most missed of {len(order):,}; --json and to_dict() hold all")
        if harmless:
            verb = "is" if harmless == 1 else "are"
            blocks.append(
                f"{harmless:,} of {len(order):,} {verb} not missed: without {'it' if harmless == 1 else 'one of them'} "
                "the loss is no higher"
            )
        odd = int(np.count_nonzero(~np.isfinite(self.loss_increase)))
        if odd:
            blocks.append(f"{odd:,} give a loss that is not finite: they stand first")
        blocks.append(
            "One neuron at a time: of two that say the same, neither is missed, and what a group does is not the sum."
        )
        blocks.append(
            f"checked: outputs of the most missed neurons computed again, layer by layer, differ by at most "
            f"{self.gap:.1e} (largest output {self.largest_output:.3g})"
        )
        return blocks

    def _score(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.classes else f"{value:.4f}"

    def _table(self, order: NDArray[np.int64]) -> Table:
        rows = []
        for j in order[:_SHOWN].tolist():
            cells = [self.neurons[j], f"{self.loss_increase[j]:+.4f}"]
            if self.classes:
                changes = self.class_changes[j]
                known = np.where(np.isnan(changes), np.inf, changes)
                worst = int(known.argmin())
                cells += [
                    f"{100 * self.score_change[j]:+.1f}",
                    f"{100 * self.answer_change[j]:.1f} %",
                    f"{self.classes[worst]} {100 * changes[worst]:+.1f}" if changes[worst] < 0 else "none",
                ]
            else:
                cells += [f"{self.score_change[j]:+.4f}", amount_words(self.answer_change[j])]
            rows.append((*cells, f"{100 * self.affected[j]:.0f} %"))
        moved = "answers moved by" + (f" ({self.unit})" if self.unit else "")
        own = ("accuracy, points", "answers changed", "hurts most, points") if self.classes else ("R²", moved)
        heads = ("without", "loss", *own, "was not 0 in" if self.mode == "zero" else "was not so in")
        return Table(heads, tuple(rows), title=f"{self.layer}: what is lost without each neuron")

    def figure(self) -> Figure:
        """Ranked bars: how much the loss rises without each neuron; the most missed, and those that are not."""
        order = self.order
        shown = order if len(order) <= _BARS else np.concatenate([order[: _BARS - 6], order[-6:]])
        figure = new_figure(7.0, 1.3 + 0.24 * len(shown))
        axes = figure.add_subplot()
        names, values = [self.neurons[j] for j in shown], self.loss_increase[shown]
        drawn = np.where(np.isfinite(values), values, 0.0)
        label = "loss without the neuron minus loss with it   (+ it is missed, − better without it)"
        held = "0" if self.mode == "zero" else "their mean"
        title = f"{self.layer}: what is lost without each neuron, held at {held} ({self.rows:,} {self.rows_are})"
        signed_bars(axes, names, drawn, title=title, label=label)
        axes.margins(y=0.01)
        if len(shown) < len(order):
            axes.axhline(_BARS - 6 - 0.5, color=GREY, linewidth=0.8, linestyle=":")
            left = len(order) - len(shown)
            axes.text(
                0.99, _BARS - 6 - 0.5, f"{left:,} neurons between", color=GREY, fontsize=8, ha="right", va="center",
                transform=axes.get_yaxis_transform(), bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
        for place, value in enumerate(values):
            if not np.isfinite(value):
                axes.text(0.0, place, f" {value}", color="black", va="center", fontsize=8)
        return figure


def rank_neurons(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    layer: str,
    *,
    mode: Mode = "zero",
    loss: str | Loss | None = None,
    meaning: Meaning | None = None,
    rows_are: str = "rows",
    progress: Progress | None = None,
) -> LayerImportance:
    """Return how much a network loses without each neuron of a layer, each silenced alone.

    A convolution's neuron is its channel, silenced at all places at once.

    Args:
        network: The network, as in use: nothing is dropped.
        X: Inputs, (rows, *input_shape), which it did not learn from.
        y: Class numbers (rows,), or values (rows, outputs).
        layer: Name of a layer before the last.
        mode: ``"zero"``, or ``"mean"``: its mean over the rows, of a channel at each place by itself.
        loss: Default by the output activation.
        meaning: Names and units.
        rows_are: What the rows are, in words.
        progress: Called with the rows done and the rows in all.

    Raises:
        NotFoundError: There is no such layer.
        UsageError: It is the last, or the data does not fit.
    """
    if mode not in MODES:
        raise UsageError(f"a neuron is held at 'zero' or at its 'mean', got {mode!r:.100}", where="argument mode")
    meaning = Meaning.of(network) if meaning is None else meaning
    inputs = network.check_input(X)
    position = _position(network, layer)
    if not len(inputs):
        raise UsageError("at least one row is needed, got none", where="argument X")
    judge = Judge(network, y, loss, meaning)
    if len(judge) != len(inputs):
        raise UsageError(f"{len(inputs):,} inputs need as many targets, got {len(judge):,}", where="argument y")
    silencer = Silencer(network, position)
    held = silencer.held(inputs, mode)
    tally = _Tally(judge, silencer.count)
    for rows, space in passes(network, inputs, silencer.rows_at_once):
        z, a = outputs(space)
        tally.begin(rows, z, a)
        for pairs in silencer.silence(space, held):
            tally.add(*pairs)
        if progress is not None:
            progress(rows.stop, len(inputs))
    gap, largest = silencer.check(inputs[:_CHECKED_ROWS], held, tally.loss_increase)
    return tally.result(network.layers[position].name, mode, rows_are, gap, largest)


def numbers_per_row(network: Network, layer: str) -> int:
    """Return about how many multiplications `rank_neurons` takes for a row, to choose how many rows it is given."""
    silencer = Silencer(network, _position(network, layer))
    return silencer.count * silencer.numbers_per_pair


def _position(network: Network, layer: str) -> int:
    """Return the place of a layer that something listens to."""
    found = network[layer]
    if not isinstance(found, Layer):
        raise UsageError(
            f"{layer!r:.100} is a neuron, and a whole layer is ranked",
            where="argument layer",
            hint=f"name the layer: {layer.rpartition('[')[0]}",
        )
    position = network.layers.index(found)
    if position == len(network.layers) - 1:
        hidden = [one.name for one in network.layers[:-1]]
        raise UsageError(
            f"{layer!r} is the last layer: its activations are the answer itself, nothing listens to them",
            where="argument layer",
            hint=f"layers that can be silenced are {', '.join(hidden)}"
            if hidden
            else "this network has no hidden layer",
        )
    return position


class _Tally:
    """Sums, for each neuron, of what changed without it."""

    def __init__(self, judge: Judge, neurons: int) -> None:
        self._judge, self._n = judge, neurons
        classes = len(judge.class_names)
        self._loss = self._squares = 0.0
        self._loss_change, self._squares_change = np.zeros(neurons), np.zeros(neurons)
        self._answers, self._affected = np.zeros(neurons), np.zeros(neurons)
        self._right, self._right_change = np.zeros(classes), np.zeros(neurons * classes)

    def begin(self, rows: slice, z: Array, a: Array) -> None:
        """Count the answers of the whole network to the next rows."""
        judge = self._judge
        self._first = rows.start
        self._losses = judge.losses(z, a, rows)
        self._loss += float(self._losses.sum())
        if judge.ids is not None:
            self._chosen = judge.chosen(z, a)
            hits = self._chosen == judge.ids[rows]
            self._right += np.bincount(judge.ids[rows][hits], minlength=len(judge.class_names))
        else:
            self._row_squares, self._row_answers = judge.squares(a, rows), judge.answers(a)
            self._squares += float(self._row_squares.sum())

    def add(self, rows: NDArray[np.int64], neurons: NDArray[np.int64], z: Array, a: Array) -> None:
        """Count answers without a neuron each; rows from the first of those begun with."""
        judge, every = self._judge, rows + self._first

        def add(to: NDArray[np.float64], values: Any) -> None:
            to += np.bincount(neurons, weights=values, minlength=self._n)

        add(self._affected, None)
        add(self._loss_change, judge.losses(z, a, every) - self._losses[rows])
        if judge.ids is not None:
            classes, right, before = len(judge.class_names), judge.ids[every], self._chosen[rows]
            now = judge.chosen(z, a)
            add(self._answers, (now != before).astype(np.float64))
            change = (now == right).astype(np.float64) - (before == right)
            self._right_change += np.bincount(
                neurons * classes + right, weights=change, minlength=self._n * classes
            )  # fmt: skip
        else:
            add(self._squares_change, judge.squares(a, every) - self._row_squares[rows])
            add(self._answers, np.abs(judge.answers(a) - self._row_answers[rows]).mean(axis=1))

    @property
    def loss_increase(self) -> NDArray[np.float64]:
        """Mean loss without each neuron minus that of the whole network."""
        return self._loss_change / len(self._judge)

    def result(self, layer: str, mode: Mode, rows_are: str, gap: float, largest: float) -> LayerImportance:
        """Return the finished numbers."""
        judge, rows = self._judge, len(self._judge)
        class_rows = np.zeros(0, np.int64)
        class_scores, class_changes = np.zeros(0), np.zeros((self._n, 0))
        if judge.ids is not None:
            class_rows = np.bincount(judge.ids, minlength=len(judge.class_names))
            with np.errstate(all="ignore"):
                class_scores = self._right / class_rows
                class_changes = self._right_change.reshape(self._n, -1) / class_rows
            score = float(self._right.sum() / rows)
            change = self._right_change.reshape(self._n, -1).sum(axis=1) / rows
        else:
            score = float(judge.r2(self._squares))
            change = judge.r2(self._squares + self._squares_change) - score
        unit = judge.target.name if judge.target is not None and not judge.is_classes else ""
        return LayerImportance(
            layer, mode, rows, rows_are, tuple(f"{layer}[{j}]" for j in range(self._n)), judge.score_words,
            self._loss / rows, score, judge.class_names, class_rows, class_scores, self.loss_increase, change,
            class_changes, self._answers / rows, self._affected / rows, gap, largest, unit,
        )  # fmt: skip
