"""How a neuron came to be what it is: its pattern at steps of the training, and the step at which it had settled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError
from neuronwise.explaining.edges_over_time import SETTLED_WITHIN, default_steps
from neuronwise.explaining.gratings import tune
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neuron_answers import neuron_answers
from neuronwise.explaining.neurons import Progress, check_examples, evenly, locate
from neuronwise.explaining.pattern import pattern
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.separation import class_answers, quarters
from neuronwise.explaining.sizes import by_size, sizes
from neuronwise.explaining.targets import class_ids, target_values
from neuronwise.recording import Recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIMILAR = 0.9
"""The cosine with its last pattern from which a pattern counts as what it came to be."""
SIGNS = 0.95
"""The share of a pattern, by the size of its last values, that has the last signs when these count as settled."""
# A pattern less selective for an angle than this has none that could settle.
_ORIENTED = 0.25
_EXAMPLES, _SLOPES, _SHOWN = 2_000, 128, 8


@dataclass(frozen=True)
class Settled:
    """When something about a neuron had become what it is at the end.

    Attributes:
        what: ``"pattern"``, ``"signs"``, ``"class"``, ``"relation"`` (to a target that is a value) or ``"angle"``.
        value: What it settled at, in words.
        step: The first step looked at from which it stays so to the end.
        before: The step looked at before that, at which it was otherwise; None where it was so from the first on.
    """

    what: str
    value: str
    step: int
    before: int | None

    @property
    def words(self) -> str:
        """When, as exactly as is known: between two steps that were looked at nothing is."""
        if self.before is None:
            return f"from step {self.step:,} on, the first looked at"
        return f"step {self.step:,}" if self.step == self.before + 1 else f"step {self.before + 1:,} to {self.step:,}"


@dataclass(frozen=True)
class NeuronOverTime(Explanation):
    """A neuron at steps of its training.

    Attributes:
        neuron: Its name.
        steps: The steps looked at, ascending, (steps,).
        patterns: What it looked for in the inputs at each, (steps, inputs) or (steps, channels, rows, columns).
        is_weights: Whether these are its weights; else effective patterns, over examples with z > 0.
        input_names: Names of the inputs, for patterns that are no pictures.
        similarity: Cosine of each pattern with the last one, (steps,).
        norm: Length of each pattern, (steps,).
        class_names: Of the classes; empty where the targets are no classes.
        class_means: Mean activation level for each class, (steps, classes).
        auc: How well its level alone told each class from the rest, (steps, classes).
        target_name: Of a target that is a value; ``""`` otherwise.
        correlation: Rank correlation of level and target, (steps,); NaN where there is none.
        settled: What settled when.
        examples: On how many examples.
        shown: Places of the steps that are drawn side by side.
    """

    neuron: str
    steps: NDArray[np.int64]
    patterns: NDArray[np.float64]
    is_weights: bool
    input_names: tuple[str, ...]
    similarity: NDArray[np.float64]
    norm: NDArray[np.float64]
    class_names: tuple[str, ...]
    class_means: NDArray[np.float64]
    auc: NDArray[np.float64]
    target_name: str
    correlation: NDArray[np.float64]
    settled: tuple[Settled, ...]
    examples: int
    shown: tuple[int, ...]

    def blocks(self) -> Sequence[Block]:
        """Return what settled when, then a row for each step that is shown."""
        when = {one.what: one for one in self.settled}
        known = when.get("class") or when.get("relation") or when.get("pattern")
        ended = "nothing of it settled" if known is None else f"{known.value}, which settled {known.words}"
        said: list[Block] = [f"{self.neuron}: {ended} (steps {self.steps[0]:,} to {self.steps[-1]:,})"]
        if self.settled:
            rows = tuple((one.what, one.value, one.words) for one in self.settled)
            said.append(Table(("what", "at the end", "settled"), rows, "from when on it stayed as it is at the end"))
        what = "weights" if self.is_weights else "effective pattern (dz/dx over examples with z > 0)"
        heads = ["step", "cosine with the last", f"length of its {'weights' if self.is_weights else 'pattern'}"]
        heads += ["tells best", "AUC"] if self.class_names else []
        heads += [f"rank correlation with {self.target_name}"] if self.target_name else []
        table = []
        for i in self.shown:
            row = [f"{self.steps[i]:,}", f"{self.similarity[i]:+.3f}", f"{self.norm[i]:.4g}"]
            if self.class_names:
                best = _preferred(self.auc[i])
                row += ["–", "–"] if best is None else [_class_words(self.class_names, best), f"{best[1]:.3f}"]
            if self.target_name:
                row.append("–" if np.isnan(self.correlation[i]) else f"{self.correlation[i]:+.3f}")
            table.append(tuple(row))
        said.append(Table(tuple(heads), tuple(table), f"its {what}, on {self.examples:,} examples"))
        said.append(
            f"{len(self.steps)} steps were looked at; between two of them nothing is known. At the first its pattern "
            f"had a cosine of {self.similarity[0]:+.2f} with the last: so much of it was there by then."
        )
        return said

    def figure(self) -> Figure:
        """Return its pattern at some steps side by side, and how its answers went."""
        from neuronwise.explaining.time_pictures import draw_over_time

        return draw_over_time(self)


@np.errstate(all="ignore")  # inf and NaN are answers, not accidents
def neuron_over_time(
    recording: Recording,
    neuron: str,
    X: ArrayLike,
    y: ArrayLike | None = None,
    *,
    steps: Iterable[int] | None = None,
    meaning: Meaning | None = None,
    progress: Progress | None = None,
) -> NeuronOverTime:
    """Return a neuron's pattern at steps of its training, and when its pattern, class, sign and angle settled.

    Args:
        recording: The recording.
        neuron: Name of the neuron.
        X: Examples, (rows, *input_shape), of which 2,000 are taken evenly if there are more.
        y: Their targets, as for `detects`.
        steps: Steps to look at; those that are not stored are taken again. Default at most 40 stored ones up to the
            network as delivered, closer together at the beginning.
        meaning: Names and units; default what the network knows.
        progress: Called with the steps done and all steps.

    Raises:
        NotFoundError: There is no such neuron or step, or no state is stored.
        UsageError: `X` or `y` does not fit.
    """
    chosen = sorted({int(step) for step in steps}) if steps is not None else default_steps(recording)
    if not chosen:
        raise NotFoundError("the recording holds no weights, so there is nothing to look at", where="argument steps")
    last = recording.at(chosen[-1])
    meaning = Meaning.of(last) if meaning is None else meaning
    examples = check_examples(last, X)
    names, ids = class_ids(y, len(examples), meaning)
    values = target_values(y, len(examples), meaning)
    rows = evenly(len(examples), _EXAMPLES)
    examples, ids = examples[rows], None if ids is None else ids[rows]
    values = None if values is None else values[rows]
    patterns, means, aucs, correlations = [], [], [], []
    for done, step in enumerate(chosen, 1):
        network = last if step == chosen[-1] else recording.at(step)
        found = locate(network, neuron)
        z, a, at, _ = neuron_answers(network, found, examples, meaning, None)
        shape = pattern(network, found, examples, z, at, meaning=meaning, most=_SLOPES)
        patterns.append(shape.mean)
        if ids is not None:
            told = class_answers(names, ids, z, a)
            means.append([one.mean for one in told])
            aucs.append([one.auc for one in told])
        correlations.append(quarters(values, z, a)[1] if values is not None else np.nan)
        if progress is not None:
            progress(done, len(chosen))
    stack, auc = np.stack(patterns), np.array(aucs, np.float64).reshape(len(chosen), len(names))
    flat = stack.reshape(len(stack), -1)
    with np.errstate(all="ignore"):
        norm = np.sqrt(np.einsum("ij,ij->i", flat, flat))
        similarity = np.clip(flat @ flat[-1] / (norm * norm[-1]), -1.0, 1.0)
    correlation = np.array(correlations, np.float64)
    target = (meaning.target.name if meaning.target is not None else "the target") if values is not None else ""
    settled = _all_settled(chosen, stack, similarity, names, auc, target, correlation)
    return NeuronOverTime(
        found.name, np.array(chosen, np.int64), stack, shape.is_weights,
        () if stack.ndim == 4 else tuple(meaning.input_names), similarity, norm, names,
        np.array(means, np.float64).reshape(len(chosen), len(names)), auc, target, correlation, settled,
        len(examples), tuple(np.unique(np.linspace(0, len(chosen) - 1, _SHOWN).round().astype(int)).tolist()),
    )  # fmt: skip


def _all_settled(
    steps: Sequence[int],
    patterns: NDArray[np.float64],
    similarity: NDArray[np.float64],
    names: tuple[str, ...],
    auc: NDArray[np.float64],
    target: str,
    correlation: NDArray[np.float64],
) -> tuple[Settled, ...]:
    found = []
    if np.isfinite(similarity[-1]):
        found.append(_settled(steps, "pattern", f"as at the end (cosine ≥ {SIMILAR})", similarity >= SIMILAR))
        flat, last = patterns.reshape(len(patterns), -1), patterns[-1].reshape(-1)
        with np.errstate(all="ignore"):
            share = (np.abs(last) * (np.sign(flat) == np.sign(last))).sum(axis=1) / np.abs(last).sum()
        found.append(_settled(steps, "signs", f"{SIGNS:.0%} of it with the sign it ends with", share >= SIGNS))
    if names and (best := _preferred(auc[-1])) is not None:
        same = np.array([(one := _preferred(row)) is not None and one[::2] == best[::2] for row in auc])
        found.append(_settled(steps, "class", _class_words(names, best), same))
    if target and np.isfinite(correlation[-1]) and correlation[-1]:
        way = "rises" if correlation[-1] > 0 else "falls"
        found.append(_settled(steps, "relation", f"{way} with {target}", correlation * correlation[-1] > 0))
    if patterns.ndim == 4 and min(patterns.shape[2:]) >= 3:
        strongest = by_size(np.square(sizes(patterns[-1])).sum(axis=(1, 2)), 1)[0]
        tuning = tune(patterns[:, strongest])
        if tuning.selectivity[-1] >= _ORIENTED:
            away = np.abs((tuning.orientation - tuning.orientation[-1] + 90.0) % 180.0 - 90.0)
            value = f"{tuning.orientation[-1]:.0f}° (selectivity {tuning.selectivity[-1]:.2f})"
            found.append(_settled(steps, "angle", value, away <= SETTLED_WITHIN))
    return tuple(found)


def _settled(steps: Sequence[int], what: str, value: str, same: NDArray[np.bool_]) -> Settled:
    """Return from which step on it is the same as at the end; NaN counts as otherwise."""
    other = np.flatnonzero(~same[:-1])  # the last is the same as itself
    place = int(other[-1]) + 1 if len(other) else 0
    return Settled(what, value, steps[place], steps[place - 1] if place else None)


def _preferred(auc: NDArray[np.float64]) -> tuple[int, float, bool] | None:
    """Return the class that is told best, how well, and whether by a high level; None where none is known."""
    separates = np.maximum(auc, 1 - auc)
    if not np.isfinite(separates).any():
        return None
    best = int(np.nanargmax(separates))
    return best, float(separates[best]), bool(auc[best] >= 0.5)


def _class_words(names: tuple[str, ...], best: tuple[int, float, bool]) -> str:
    return f"{'high' if best[2] else 'low'} for {names[best[0]]}"
