"""What a layer adds: how well a straight cut through its activations answers, layer by layer and as it learned.

A linear probe (Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes") is a linear
model that is given the activations of a layer instead of the input and has to answer what the network answers. What it
gets right can be told by sums of these activations alone; where the score rises from a layer to the next, that layer
made the answer easier.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.figures import GREY, POSITIVE, ZERO, dress, escape_math, new_figure
from neuronwise.explaining.judging import Judge, outputs, passes
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.network import Dropout, Flatten, Loss, Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INPUT = "input"
"""What the input is called among the layers."""

MOST_ROWS = 5_000
"""Rows that a probe learns from at most, and is tested on at most, unless told otherwise."""
_MOST_UNITS = 2_048
_C, _ALPHA, _ITERATIONS = 0.1, 1.0, 200


@dataclass(frozen=True)
class LayersAdded(Explanation):
    """How well a linear model answers from the activations of each layer, at some steps of the training.

    Attributes:
        layers: The layers in order, the raw ``"input"`` first; of the last its z. Layers that only reshape or drop are
            left out.
        units: Neurons of each that the probe was given, (layers,).
        steps: The steps, ascending; -1 for the network as delivered where no step was named.
        scores: Held-out accuracy, or R² of the values as they are learned, of the probe: (steps, layers). NaN where a
            layer's activations are not finite.
        own: The same score of the network's own answers, (steps,).
        baseline: The same score of the most frequent class, or of the mean, of the rows learned from.
        chance: 1 / classes; NaN where values are learned.
        score_name: ``"accuracy"`` or ``"R²"``.
        rows_learned: Rows that the probes learned from.
        rows_tested: Rows that all scores are measured on.
        notes: What else should be known, in sentences.
    """

    layers: tuple[str, ...]
    units: tuple[int, ...]
    steps: tuple[int, ...]
    scores: NDArray[np.float64]
    own: NDArray[np.float64]
    baseline: float
    chance: float
    score_name: str
    rows_learned: int
    rows_tested: int
    notes: tuple[str, ...]

    @property
    def noise(self) -> float:
        """Two standard errors of an accuracy on so many rows, √(p (1 - p) / n) each; NaN where values are learned."""
        p = float(self.own[-1])
        return 2 * math.sqrt(max(p * (1 - p), 0.0) / self.rows_tested) if self.score_name == "accuracy" else math.nan

    def blocks(self) -> list[Block]:
        """Which layer adds how much, how that came, and what it is compared with."""
        last = self.scores[-1]
        gains = np.diff(last)
        blocks: list[Block] = []
        if len(gains) and np.isfinite(gains).any():
            best = int(np.nanargmax(gains)) + 1
            gain, own = float(gains[best - 1]), self._score(self.own[-1])
            noise = self.noise if math.isfinite(self.noise) else 0.0
            if gain > noise:
                said = (
                    f"{self.layers[best]} adds most: a linear model of its activations reaches {self.score_name} "
                    f"{self._score(last[best])}, of those before it ({self.layers[best - 1]}) "
                    f"{self._score(last[best - 1])}"
                )
            else:
                none = "more than the noise" if noise else "anything"
                said = (
                    f"no layer adds {none}: a linear model of the input reaches {self.score_name} "
                    f"{self._score(last[0])}, of {self.layers[-1]} {self._score(last[-1])}"
                )
            blocks.append(f"{said}; the network itself {own}, on {self.rows_tested:,} held-out rows")
        else:
            blocks.append(f"what each layer adds, on {self.rows_tested:,} held-out rows")
        rows: list[tuple[str, ...]] = []
        for place, name in enumerate(self.layers):
            gained = "" if place == 0 else self._gain(last[place] - last[place - 1])
            rows.append((name, f"{self.units[place]:,}", self._score(last[place]), gained))
        rows.append(("the network's own answer", "", self._score(self.own[-1]), ""))
        simple = "the most frequent class" if self.score_name == "accuracy" else "the mean"
        rows.append((simple, "", self._score(self.baseline), ""))
        if math.isfinite(self.chance):
            rows.append(("chance", "", self._score(self.chance), ""))
        change = "gain, points" if self.score_name == "accuracy" else "gain"
        heads = ("a linear model of the activations of", "numbers", self.score_name, change)
        blocks.append(Table(heads, tuple(rows), title=f"What each layer adds{self._when(len(self.steps) - 1)}"))
        if len(self.steps) > 1:
            grown = [
                (f"{step:,}", *map(self._score, scores), self._score(own))
                for step, scores, own in zip(self.steps, self.scores, self.own, strict=True)
            ]
            blocks.append(Table(("step", *self.layers, "the network"), tuple(grown), title="How that came"))
        blocks.append(
            f"Each linear model (a linear probe) learned from {self.rows_learned:,} rows that the network learned "
            "from, with the network's weights left alone: it shows what is there to be read by sums, not what the "
            "network reads."
        )
        if math.isfinite(self.noise):
            blocks.append(
                f"Differences below {100 * self.noise:.1f} points are within the noise of {self.rows_tested:,} rows "
                "(two standard errors)."
            )
        return [*blocks, *self.notes]

    def _when(self, place: int) -> str:
        return "" if self.steps[place] < 0 else f" after step {self.steps[place]:,}"

    def _score(self, value: float) -> str:
        if not math.isfinite(value):
            return f"{value}"
        return f"{100 * value:.1f} %" if self.score_name == "accuracy" else f"{value:.4f}"

    def _gain(self, value: float) -> str:
        return f"{100 * value:+.1f}" if self.score_name == "accuracy" else f"{value:+.4f}"

    def figure(self) -> Figure:
        """Score after each layer, a line for each step from pale (early) to blue (late)."""
        figure = new_figure(max(5.5, 1.6 + 1.1 * len(self.layers)), 4.2)
        axes = figure.add_subplot()
        places = np.arange(len(self.layers))
        percent = 100.0 if self.score_name == "accuracy" else 1.0
        shades = np.linspace(0.25, 1.0, len(self.steps)) if len(self.steps) > 1 else np.ones(1)
        labelled = set(np.unique(np.linspace(0, len(self.steps) - 1, min(len(self.steps), 8)).astype(int)).tolist())
        for place, (step, scores, own) in enumerate(zip(self.steps, self.scores, self.own, strict=True)):
            colour = np.array(ZERO) * (1 - shades[place]) + np.array(POSITIVE) * shades[place]
            label = ("as delivered" if step < 0 else f"step {step:,}") if place in labelled else None
            axes.plot(places, percent * scores, color=colour / 255, marker="o", markersize=4, label=label)
            axes.plot([len(places) - 0.35], [percent * own], marker="D", markersize=6, color=colour / 255, linestyle="")
        simple = "most frequent class" if self.score_name == "accuracy" else "mean"
        axes.axhline(percent * self.baseline, color=GREY, linestyle="--", linewidth=1, label=simple)
        axes.set_xticks(
            [*places, len(places) - 0.35], [*(escape_math(one) for one in self.layers), "the network\nitself"]
        )
        axes.set_xlim(-0.3, len(places) - 0.05)
        axes.set_ylabel(f"held-out {self.score_name}" + (" in %" if percent > 1 else ""), color=GREY)
        finite = percent * np.concatenate([self.scores.reshape(-1), self.own, [self.baseline]])
        finite = finite[np.isfinite(finite)]
        if percent == 1.0 and len(finite):  # an R² far below 0 would leave no room for those that matter
            axes.set_ylim(max(float(finite.min()), -0.5) - 0.05, max(float(finite.max()), 0.1) + 0.05)
        dress(axes, "What each layer adds: a linear model of its activations")
        axes.legend(fontsize=8, frameon=False, labelcolor=GREY, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return figure


def what_layers_add(
    networks: Network | Iterable[tuple[int, Network]],
    X: ArrayLike,
    y: ArrayLike,
    X_held: ArrayLike,
    y_held: ArrayLike,
    *,
    loss: str | Loss | None = None,
    meaning: Meaning | None = None,
    most: int = MOST_ROWS,
    progress: Callable[[int, int], None] | None = None,
    steps_in_all: int | None = None,
) -> LayersAdded:
    """Return how well a linear model answers from the activations of each layer.

    For classes it is scikit-learn's `LogisticRegression` (C = 0.1, at most 200 iterations), for values its `Ridge`
    (alpha = 1), on activations standardised by the rows learned from. Of a layer with more than 2,048 neurons an even
    spread of 2,048 is taken, which the notes say. Nothing is random.

    Args:
        networks: The network; or pairs of a step and the network after it, ascending and of the same layers, each asked
            for when its turn comes.
        X: Inputs that the probes learn from, (rows, *input_shape): those the network learned from.
        y: Their class numbers (rows,), or values (rows, outputs).
        X_held: Inputs that the scores are measured on.
        y_held: Theirs.
        loss: Default by the output activation.
        meaning: Names and classes.
        most: Rows of each that are used at most, an even spread of them.
        progress: Called with the probes done, and all.
        steps_in_all: How many networks there are, where `networks` cannot tell.

    Raises:
        UsageError: No network or no rows, or data that does not fit.
    """
    pairs: Iterable[tuple[int, Network]] = [(-1, networks)] if isinstance(networks, Network) else networks
    if steps_in_all is None and isinstance(pairs, Sequence):
        steps_in_all = len(pairs)
    steps: list[int] = []
    scores: list[list[float]] = []
    own: list[float] = []
    probes: list[tuple[str, int, int]] = []  # name, place among the passes (-1 for the input), units
    unfinished = done = 0
    learning: tuple[NDArray[Any], Judge] | None = None
    for step, network in pairs:
        if learning is None:
            meaning = Meaning.of(network) if meaning is None else meaning
            learning = _rows(network, X, y, most, loss, meaning)
            testing = _rows(network, X_held, y_held, most, loss, meaning)
            probes = _probed(network)
        found = []
        for _, place, _ in probes:
            if place < 0 and scores:  # the input is the same at every step
                found.append(scores[0][0])
            else:
                known, asked = (_activations(network, data, place) for data in (learning[0], testing[0]))
                value, converged = _probe(known, learning[1], asked, testing[1])
                found.append(value)
                unfinished += not converged
            done += 1
            if progress is not None and steps_in_all:
                progress(done, len(probes) * steps_in_all)
        steps.append(int(step))
        scores.append(found)
        own.append(_own_score(network, *testing))
    if learning is None:
        raise UsageError("at least one network is needed, got none", where="argument networks")
    notes = [
        f"Of {name}'s {count:,} activations an even spread of {_MOST_UNITS:,} was used."
        for name, _, count in probes
        if count > _MOST_UNITS
    ]
    if unfinished:
        notes.append(
            f"{unfinished} of {done} probes stopped after {_ITERATIONS} iterations: a little more was to be had."
        )
    lost = [probes[i][0] for i in range(len(probes)) if not np.isfinite(np.array(scores)[:, i]).all()]
    if lost:
        notes.append(f"Activations that are not finite cannot be probed: {', '.join(lost)}.")
    classes = len(learning[1].class_names)
    return LayersAdded(
        tuple(name for name, _, _ in probes),
        tuple(min(count, _MOST_UNITS) for _, _, count in probes),
        tuple(steps),
        np.array(scores),
        np.array(own),
        _baseline(learning[1], testing[1]),
        1 / classes if classes else math.nan,
        learning[1].score_words,
        len(learning[1]),
        len(testing[1]),
        tuple(notes),
    )


def _rows(
    network: Network, X: ArrayLike, y: ArrayLike, most: int, loss: str | Loss | None, meaning: Meaning
) -> tuple[NDArray[Any], Judge]:
    inputs, targets = network.check_input(X), np.asarray(y)
    if not len(inputs):
        raise UsageError("at least one row is needed, got none", where="argument X")
    if len(inputs) != len(targets):
        raise UsageError(f"{len(inputs):,} inputs need as many targets, got {len(targets):,}", where="argument y")
    if len(inputs) > most:
        chosen = np.linspace(0, len(inputs) - 1, most).astype(np.int64)
        inputs, targets = inputs[chosen], targets[chosen]
    return inputs, Judge(network, targets, loss, meaning)


def _probed(network: Network) -> list[tuple[str, int, int]]:
    """Return name, place and neurons of the input and of each layer that changes what a sum can read."""
    found = [(INPUT, -1, math.prod(network.input_shape))]
    for place, layer in enumerate(network.layers):
        if not isinstance(layer, (Flatten, Dropout)):
            found.append((layer.name, place, layer.neuron_count))
    return found


def _activations(network: Network, X: NDArray[Any], place: int) -> NDArray[np.float32]:
    """Return the activations of a layer, of the last its z: (rows, at most 2,048)."""
    every = math.prod(network.input_shape) if place < 0 else network.layers[place].neuron_count
    chosen = np.linspace(0, every - 1, min(every, _MOST_UNITS)).astype(np.int64)
    found = np.empty((len(X), len(chosen)), np.float32)
    with np.errstate(over="ignore"):
        if place < 0:
            found[...] = X.reshape(len(X), -1)[:, chosen]
            return found
        for rows, space in passes(network, X):
            a = outputs(space)[0] if place == len(network.layers) - 1 else space.passes[place].a
            found[rows] = a.reshape(len(a), -1)[:, chosen]
    return found


def _probe(known: NDArray[Any], learned: Judge, asked: NDArray[Any], tested: Judge) -> tuple[float, bool]:
    """Return the score of a linear model on the rows asked, and whether it was found to the end."""
    if not (np.isfinite(known).all() and np.isfinite(asked).all()):
        return math.nan, True
    mean = known.mean(axis=0, dtype=np.float64)
    scale = known.std(axis=0, dtype=np.float64)
    scale[scale <= 1e-6 * np.maximum(1.0, np.abs(mean))] = 1.0  # of what is the same in all rows only rounding is left
    for values in (known, asked):
        values -= mean.astype(np.float32)
        values /= scale.astype(np.float32)
    if learned.ids is None or tested.ids is None:
        from sklearn.linear_model import Ridge

        y, y_test = learned.targets.reshape(len(known), -1), tested.targets.reshape(len(asked), -1)
        model = Ridge(alpha=_ALPHA).fit(known.astype(np.float64), y.astype(np.float64))
        predicted = np.asarray(model.predict(asked.astype(np.float64))).reshape(len(asked), -1)
        return float(tested.r2(((predicted - y_test) ** 2).sum())), True
    if len(np.unique(learned.ids)) < 2:  # nothing to tell apart
        return float(np.mean(tested.ids == learned.ids[0])), True
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is told with the result
        model = LogisticRegression(C=_C, max_iter=_ITERATIONS).fit(known, learned.ids)
    return float(np.mean(model.predict(asked) == tested.ids)), int(model.n_iter_.max()) < _ITERATIONS


def _own_score(network: Network, X: NDArray[Any], judge: Judge) -> float:
    right = squares = 0.0
    for rows, space in passes(network, X):
        z, a = outputs(space)
        if judge.is_classes:
            right += float(np.count_nonzero(judge.right(z, a, rows)))
        else:
            squares += float(judge.squares(a, rows).sum())
    return right / len(judge) if judge.is_classes else float(judge.r2(squares))


def _baseline(learned: Judge, tested: Judge) -> float:
    """Return the score of answering the most frequent class, or the mean, whatever is asked."""
    if learned.ids is not None and tested.ids is not None:
        return float(np.mean(tested.ids == np.bincount(learned.ids).argmax()))
    mean = learned.targets.mean(axis=0, dtype=np.float64)
    return float(tested.r2(((tested.targets - mean) ** 2).sum()))
