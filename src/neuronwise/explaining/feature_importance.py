"""Which columns the answers rest on, over a whole data set: by shuffling each, and by what each adds.

Two measures, because they answer two questions. *Shuffled*: how much worse do the answers become when a column says
nothing any more? *Added*: how much does it move the answers, right or wrong? A column of noise on which a network has
overfitted adds something, but nothing is lost when it is shuffled among rows that were not learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data import FeatureEncoder
from neuronwise.errors import UsageError
from neuronwise.explaining.companions import Pair, companions
from neuronwise.explaining.figures import GREY, POSITIVE, clip, dress, escape_math, hex_colour, new_figure
from neuronwise.explaining.judging import Judge
from neuronwise.explaining.local_linear import Pullback, Target, row_batches
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.shuffling import cost_of, cost_per_column, shuffle_columns
from neuronwise.explaining.units import OutputUnit
from neuronwise.network import Loss, Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = NDArray[np.float64]
Progress = Callable[[int, int], None]

# Multiplications of the shuffling, about 20 seconds of one core, and of the contributions where they are integrals.
_MOST = 200_000_000_000
_LEAST_ROWS, _ENOUGH_ROWS = 100, 1_000
_REPEATS = 5
# Points of Gauss and Legendre's rule where a network is curved: exact for polynomials of degree 23.
_POINTS = 12
_SHOWN, _PIXELS, _PAIRS, _CATEGORIES = 20, 8, 6, 24


@dataclass(frozen=True)
class Category:
    """What a category adds to the answer, compared with the average row: mean over the rows that have it."""

    name: str
    rows: int
    contribution: float


@dataclass(frozen=True)
class FeatureImportance(Explanation):
    """How much the answers rest on each column.

    Attributes:
        names: Of the columns.
        rows: Rows it was measured on.
        rows_are: What they are, in words.
        score_name: ``"accuracy"`` or ``"R²"``.
        loss, score: Of the network on the rows that were shuffled.
        shuffled_rows: Rows that were shuffled: a draw, where all would take too long.
        repeats: How often each column was shuffled.
        loss_increase: Mean loss with the column shuffled minus `loss`, mean over the repeats, (columns,).
        loss_spread: Standard deviation of that over the repeats, (columns,).
        score_change: Score with it shuffled minus `score`, likewise.
        contribution: Mean |contribution| to the output, (columns,), in the output's own unit; of classes to the logit
            of the class that is chosen for each row.
        contribution_rows: Rows it is the mean of.
        curved: Layers because of which contributions are integrated gradients; empty where they are exact.
        baseline: What contributions are counted from.
        gap: Mean |what the contributions miss of the output|.
        together: Pairs of columns that go together, with their correlation.
        categories: Of each column of categories what they add.
        unit: How the output becomes the target of a regression.
        picture_shape: Of inputs that are pictures.
    """

    names: Sequence[str]
    rows: int
    rows_are: str
    score_name: str
    loss: float
    score: float
    shuffled_rows: int
    repeats: int
    loss_increase: Values
    loss_spread: Values
    score_change: Values
    contribution: Values
    contribution_rows: int
    curved: tuple[str, ...]
    baseline: str
    gap: float
    together: tuple[Pair, ...]
    categories: Mapping[str, tuple[Category, ...]] = field(default_factory=dict)
    unit: OutputUnit | None = None
    picture_shape: tuple[int, ...] | None = None

    @property
    def order(self) -> list[int]:
        """Places of the columns from the one that is missed most to the least, by loss; NaN first."""
        key = np.where(np.isnan(self.loss_increase), np.inf, self.loss_increase)
        order: list[int] = np.argsort(-key, kind="stable").tolist()
        return order

    def blocks(self) -> list[Block]:
        """Return the ranking, what categories add, and what the ranking does not say."""
        order = self.order
        best = order[0]
        what = "pixel" if self.picture_shape is not None else "column"
        blocks: list[Block] = [
            f"{self.names[best]} matters most: shuffled among the rows, {self.score_name} goes from "
            f"{self._score(self.score)} to {self._score(self.score + self.score_change[best])} "
            f"(mean of {self.repeats} × {self.shuffled_rows:,} {self.rows_are}).",
            self._table(order, what),
        ]
        idle = [self.names[i] for i in order if self._is_idle(i)]
        if idle:
            shown = ", ".join(map(str, idle[:8])) + (f" and {len(idle) - 8:,} more" if len(idle) > 8 else "")
            blocks.append(f"Not missed when shuffled, as far as can be told: {shown}.")
        for column, told in self.categories.items():
            blocks.append(self._category_table(column, told))
        blocks += self._caveats(what)
        return blocks

    def _is_idle(self, place: int) -> bool:
        return bool(self.loss_increase[place] <= 2 * self.loss_spread[place] / np.sqrt(max(self.repeats, 1)))

    def _score(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.score_name == "accuracy" else f"{value:.4f}"

    def _table(self, order: list[int], what: str) -> Table:
        unit = self.unit
        headings = [what, "loss when shuffled", self.score_name, "mean |contribution|"]
        if unit is not None:
            headings.append("as a factor" if unit.log else f"in {unit.name}")
        most = _PIXELS if self.picture_shape is not None else _SHOWN
        rows = []
        for i in order[:most]:
            change = 100 * self.score_change[i] if self.score_name == "accuracy" else self.score_change[i]
            digits = 1 if self.score_name == "accuracy" else 4
            spread = f" ± {self.loss_spread[i]:.4f}" if self.repeats > 1 else ""
            row = [
                self.names[i], f"{self.loss_increase[i]:+.4f}{spread}", f"{change:+.{digits}f}",
                f"{self.contribution[i]:.4g}",
            ]  # fmt: skip
            if unit is not None:
                value = float(self.contribution[i])
                row.append(f"× {unit.factor(value):.3f}" if unit.log else unit.words(unit.difference(value, 0.0)))
            rows.append(tuple(row))
        if rest := order[most:]:
            blanks = [""] * (len(headings) - 3)
            rows.append((f"the other {len(rest):,}", f"{self.loss_increase[rest].sum():+.4f} in all", *blanks, ""))
        return Table(tuple(headings), tuple(rows))

    def _category_table(self, column: str, told: tuple[Category, ...]) -> Table:
        unit = self.unit
        shown = list(told)
        title = f"{column}: what it adds, compared with the average row"
        if len(shown) > _CATEGORIES:
            half = _CATEGORIES // 2
            shown = shown[:half] + shown[-half:]
            title += f" (the {half} highest and {half} lowest of {len(told):,})"
        headings = [column, "rows", "contribution"]
        if unit is not None:
            headings.append("factor" if unit.log else f"in {unit.name}")
        rows = []
        for one in shown:
            row = [one.name, f"{one.rows:,}", f"{one.contribution:+.4f}"]
            if unit is not None:
                difference = unit.difference(one.contribution, 0.0)
                row.append(
                    f"× {unit.factor(one.contribution):.3f}" if unit.log else unit.words(difference, signed=True)
                )
            rows.append(tuple(row))
        return Table(tuple(headings), tuple(rows), title=title)

    def _caveats(self, what: str) -> list[str]:
        exact = "gradient × (input − baseline), exact here" if not self.curved else "integrated gradients"
        said = [
            f"Shuffled: how much is lost when a {what} says nothing. Contribution: how much it moves the answer, right "
            f"or wrong: {exact}, from {self.baseline}, over {self.contribution_rows:,} rows; what the sums miss of "
            f"the outputs is {self.gap:.1e} on average."
        ]
        if self.together:
            pairs = [f"{a} and {b} ({r:+.2f})" for a, b, r in self.together[:_PAIRS]]
            more = f" and {len(self.together) - len(pairs):,} more pairs" if len(self.together) > len(pairs) else ""
            said.append(
                f"Beware: these go together: {', '.join(pairs)}{more}. Where two {what}s say the same, shuffling one "
                "leaves the other, so both may look less important than they are, and shuffled rows may be such as "
                "never occur."
            )
        elif len(self.names) > 1:
            said.append(f"No two {what}s go together (correlation 0.5 or more), so each was measured by itself.")
        return said

    def figure(self) -> Figure:
        """Return bars of both measures, or both as pictures."""
        if self.picture_shape is not None:
            return self._maps(self.picture_shape)
        shown = self.order[:_SHOWN]
        figure = new_figure(10.0, max(2.4, 0.3 * len(shown) + 1.2))
        names = [escape_math(clip(str(self.names[i]), 28)) for i in shown]
        axes: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
        error = self.loss_spread[shown] if self.repeats > 1 else None
        _bars(axes[0], names, self.loss_increase[shown], "lost when shuffled: rise of the loss", error)
        values, label = self.contribution[shown], "moved: mean |contribution|"
        if self.unit is not None and self.unit.log:
            label += f" to the logarithm of {self.unit.name}"
            values = values * self.unit.scale
        _bars(axes[1], names, values, label, None)
        axes[0].invert_yaxis()
        return figure

    def _maps(self, shape: tuple[int, ...]) -> Figure:
        figure = new_figure(9.0, 4.2)
        axes: Sequence[Axes] = figure.subplots(1, 2)
        told = ((self.loss_increase, "rise of the loss when shuffled"), (self.contribution, "mean |contribution|"))
        for one, (values, title) in zip(axes, told, strict=True):
            heat = np.clip(values, 0, None).reshape(shape)
            heat = heat.sum(axis=2) if heat.ndim == 3 else heat
            drawn = one.imshow(heat, cmap=_blues(), vmin=0, interpolation="nearest")
            bar = figure.colorbar(drawn, ax=one, shrink=0.8)
            bar.ax.tick_params(labelsize=8, colors=GREY)
            dress(one, title)
            one.set_xticks([])
            one.set_yticks([])
        return figure


def feature_importance(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    output: str | int | None = None,
    baseline: ArrayLike | None = None,
    repeats: int | None = None,
    most_rows: int | None = None,
    seed: int = 0,
    loss: str | Loss | None = None,
    meaning: Meaning | None = None,
    rows_are: str = "rows",
    baseline_words: str = "the average of these rows",
    progress: Progress | None = None,
) -> FeatureImportance:
    """Return how much a network's answers rest on each column, over many rows.

    Args:
        network: The network; it is not changed.
        X: Inputs, (rows, *input_shape): rows it did not learn from, or shuffling shows what was learned by heart too.
        y: Their targets: class numbers (rows,), or values (rows,) or (rows, outputs).
        output: The output whose contributions are measured; default the class chosen for each row.
        baseline: What contributions are counted from, one input; default the mean of X.
        repeats: How often each column is shuffled; default 5, once where many columns would take too long.
        most_rows: Rows that are shuffled; default all, or a draw where they would take more than about 20 seconds.
        seed: Of the permutations and of draws.
        loss: Default by the output activation.
        meaning: Names, columns and units; default the network's own.
        rows_are: What the rows are, in words.
        baseline_words: What the baseline is, in words.
        progress: Called with what is done and all there is to do.

    Raises:
        NotFoundError: There is no such output.
        UsageError: X or y do not fit, there is one row only, or a number is out of range.
    """
    meaning = meaning or Meaning.of(network)
    inputs = network.check_input(X)
    if len(inputs) < 2:
        raise UsageError(f"at least two rows are needed to shuffle them, got {len(inputs)}", where="argument X")
    y = np.asarray(y)
    if len(y) != len(inputs):
        raise UsageError(f"{len(inputs):,} rows need as many targets, got {len(y):,}", where="argument y")
    for name, value in (("repeats", repeats), ("most_rows", most_rows)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UsageError(f"expected a whole number from 1, got {value!r:.100}", where=f"argument {name}")
    names = meaning.columns
    groups = list(meaning.groups.values()) if meaning.groups else [np.array([i]) for i in range(len(names))]
    cost = cost_per_column(network) * len(groups)
    affordable = _MOST // cost
    chosen = repeats or (_REPEATS if affordable // _REPEATS >= min(len(inputs), _ENOUGH_ROWS) else 1)
    most = most_rows or max(_LEAST_ROWS, affordable // chosen)
    rows = _draw(len(inputs), most, seed)
    added_rows = _draw(len(inputs), _contribution_rows(network, len(inputs)), seed)
    work = len(rows) * len(groups) * chosen, len(added_rows) * 20
    total = sum(work)

    def first(done: int, of: int) -> None:
        if progress is not None:
            progress(work[0] * done // of, total)

    def second(done: int, of: int) -> None:
        if progress is not None:
            progress(work[0] + work[1] * done // of, total)

    shuffled_X = inputs[rows]
    judge = Judge(network, y[rows], loss, meaning)
    lost = shuffle_columns(network, shuffled_X, judge, groups, repeats=chosen, seed=seed, progress=first)
    if baseline is None:
        origin = inputs.reshape(len(inputs), -1).mean(axis=0, dtype=np.float64)
    else:
        origin = np.asarray(baseline, np.float64).reshape(-1)
        baseline_words = "the given baseline" if baseline_words == "the average of these rows" else baseline_words
    added = _added(network, inputs[added_rows], origin, meaning, output, second)
    curved = tuple(Target.answer(network).curved(network))
    pairs = companions(inputs.reshape(len(inputs), -1), [str(name) for name in names], groups, seed=seed)
    return FeatureImportance(
        tuple(map(str, names)), len(inputs), rows_are, judge.score_words, lost.loss, lost.score, len(rows), chosen,
        lost.losses.mean(axis=0) - lost.loss, lost.losses.std(axis=0), lost.scores.mean(axis=0) - lost.score,
        added.size, len(added_rows), curved, baseline_words, added.gap, tuple(pairs), added.categories,
        OutputUnit.of(meaning.target), meaning.picture_shape,
    )  # fmt: skip


@dataclass(frozen=True)
class _Added:
    size: Values
    gap: float
    categories: dict[str, tuple[Category, ...]]


def _added(
    network: Network, X: NDArray[Any], origin: Values, meaning: Meaning, output: str | int | None, progress: Progress
) -> _Added:
    """Return mean |contribution| of each column, batch by batch, and the mean contribution of each category."""
    target = Target.answer(network)
    curved = bool(target.curved(network))
    points, weights = np.polynomial.legendre.leggauss(_POINTS)
    line = list(zip(0.5 * (points + 1), 0.5 * weights, strict=True)) if curved else [(1.0, 1.0)]
    place = None if output is None else meaning.output(output)
    size = np.zeros(len(meaning.columns))
    tally = _Tally(meaning)
    gaps, done = 0.0, 0
    layer = network.layers[target.position]
    pullbacks: dict[int, Pullback] = {}
    for rows in row_batches(network, len(X)):
        batch = X[rows]
        pullback = pullbacks.setdefault(len(batch), Pullback(network, len(batch), target))
        away = batch.reshape(len(batch), -1) - origin
        with np.errstate(all="ignore"):
            out = pullback.forward(batch).reshape(len(batch), -1)
            seed = np.zeros_like(out)
            seed[np.arange(len(out)), out.argmax(axis=1) if place is None else place] = 1.0
            value = (out * seed).sum(axis=1, dtype=np.float64)
            shaped = seed.reshape(-1, *layer.output_shape)
            slope = np.zeros(away.shape)
            start: Any = 0.0
            for at, weight in line:
                if curved:
                    pullback.forward((origin + at * away).reshape(batch.shape))
                gradient, _ = pullback.pull(shaped)
                slope += weight * gradient.reshape(len(batch), -1)
            if curved:
                # At the baseline, the output that is asked about for each row.
                begun = pullback.forward(np.broadcast_to(origin.reshape(batch.shape[1:]), batch.shape))
                start = (begun.reshape(len(batch), -1) * seed).sum(axis=1, dtype=np.float64)
            else:
                start = sum(pullback.bias_terms().values()) + (slope * origin).sum(axis=1)
            contributions = slope * away
            gaps += float(np.abs(value - start - contributions.sum(axis=1)).sum())
            columns = meaning.by_column(contributions)
        size += np.abs(columns).sum(axis=0)
        tally.add(batch.reshape(len(batch), -1), columns)
        done += len(batch)
        progress(done, len(X))
    return _Added(size / len(X), gaps / len(X), tally.told())


class _Tally:
    """Counts what each category adds, over the rows that have it."""

    def __init__(self, meaning: Meaning) -> None:
        self._of: dict[str, tuple[int, NDArray[np.int64], list[str]]] = {}
        if isinstance(meaning.encoder, FeatureEncoder):
            for place, (column, inputs) in enumerate(meaning.groups.items()):
                known = [(i, meaning.encoder.inputs[i].category) for i in inputs.tolist()]
                named = [(i, word) for i, word in known if word is not None]
                if named:
                    self._of[column] = place, np.array([i for i, _ in named]), [word for _, word in named]
        self._sums = {column: np.zeros(len(words)) for column, (_, _, words) in self._of.items()}
        self._counts = {column: np.zeros(len(words), np.int64) for column, (_, _, words) in self._of.items()}

    def add(self, X: NDArray[Any], columns: Values) -> None:
        for column, (place, inputs, _) in self._of.items():
            has = X[:, inputs] == 1.0
            self._counts[column] += has.sum(axis=0)
            self._sums[column] += columns[:, place] @ has

    def told(self) -> dict[str, tuple[Category, ...]]:
        found = {}
        for column, (_, _, words) in self._of.items():
            pairs = zip(words, self._counts[column].tolist(), self._sums[column].tolist(), strict=True)
            made = [Category(word, count, total / count) for word, count, total in pairs if count]
            found[column] = tuple(sorted(made, key=lambda one: -one.contribution))
        return found


def _contribution_rows(network: Network, count: int) -> int:
    """Return how many rows contributions are measured on: all, but of a curved network so many as can be afforded."""
    if not Target.answer(network).curved(network):
        return count
    return max(_LEAST_ROWS, min(count, _MOST // (3 * _POINTS * cost_of(network))))


def _draw(count: int, most: int, seed: int) -> NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _bars(axes: Axes, names: Sequence[str], values: Values, label: str, error: Values | None) -> None:
    axes.barh(range(len(names)), values, xerr=error, color=hex_colour(POSITIVE), ecolor=GREY)
    axes.set_yticks(range(len(names)), names)
    axes.axvline(0.0, color=GREY, linewidth=0.8)
    dress(axes, "", label)


def _blues() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    from neuronwise.explaining.figures import ZERO

    return LinearSegmentedColormap.from_list("blues", [hex_colour(ZERO), hex_colour(POSITIVE)]).with_extremes(
        bad="black"
    )
