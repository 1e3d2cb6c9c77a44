"""What a network has not learned: classes, slices and rows, over the training; classes it takes for each other.

A row counts as learned by then where its answer was right at two looked-at steps in a row after step 0 (a network that
knows nothing is right now and then). One that is wrong at the end was *forgotten* if it had been learned before, and
*never learned* if not. (Toneva et al. 2019, "An empirical study of example forgetting", count single changes from right
to wrong at every step; between the steps looked at here nothing is seen.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.judging import Judge, outputs, passes
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.separating import separate
from neuronwise.explaining.slices import Slicing
from neuronwise.explaining.unlearned_result import OFF, SliceErrors, Unlearned, WrongRow
from neuronwise.network import Loss, Network

_PAIRS, _ROWS = 3, 10


def what_is_not_learned(
    networks: Network | Iterable[tuple[int, Network]],
    X: ArrayLike,
    y: ArrayLike,
    *,
    slices: Sequence[Slicing] = (),
    loss: str | Loss | None = None,
    meaning: Meaning | None = None,
    rows: ArrayLike | None = None,
    rows_are: str = "rows",
    progress: Callable[[int, int], None] | None = None,
    steps_in_all: int | None = None,
) -> Unlearned:
    """Return which classes, slices and rows a network has not learned, and how that went over some steps.

    Args:
        networks: The network; or pairs of a step and the network after it, ascending, each asked for when its turn
            comes.
        X: Inputs, (rows, *input_shape).
        y: Their class numbers (rows,), or values (rows, outputs).
        slices: How to cut the rows; see `slicings`.
        loss: Default by the output activation.
        meaning: Names, classes and units.
        rows: The number of each row in its data; default from 0.
        rows_are: What the rows are, in words.
        progress: Called with the rows judged, over all steps, and all.
        steps_in_all: How many networks there are, where `networks` cannot tell.

    Raises:
        UsageError: No network or no rows, or data that does not fit.
    """
    pairs: Iterable[tuple[int, Network]] = [(-1, networks)] if isinstance(networks, Network) else networks
    if steps_in_all is None and isinstance(pairs, Sequence):
        steps_in_all = len(pairs)
    steps: list[int] = []
    of_steps: list[NDArray[Any]] = []
    judge: Judge | None = None
    for step, network in pairs:
        if judge is None:
            meaning = Meaning.of(network) if meaning is None else meaning
            inputs = network.check_input(X)
            if not len(inputs):
                raise UsageError("at least one row is needed, got none", where="argument X")
            judge = Judge(network, y, loss, meaning)
            if len(judge) != len(inputs):
                raise UsageError(f"{len(inputs):,} inputs need as many targets, got {len(judge):,}", where="argument y")
        done = len(steps) * len(inputs)
        total = steps_in_all * len(inputs) if steps_in_all else 0
        at_step = _Judged(judge, len(inputs))
        for part, space in passes(network, inputs):
            at_step.add(part, *outputs(space))
            if progress is not None and total:
                progress(done + part.stop, total)
        steps.append(int(step))
        of_steps.append(at_step.errors)
        last, final = at_step, network
    if judge is None or meaning is None:
        raise UsageError("at least one network is needed, got none", where="argument networks")
    return _result(steps, of_steps, last, final, inputs, judge, meaning, list(slices), rows, rows_are)


class _Judged:
    """The answers of one network: the error of each row, and what is needed of the last network only."""

    def __init__(self, judge: Judge, rows: int) -> None:
        self._judge = judge
        self.errors = np.empty(rows, bool if judge.is_classes else np.float64)
        self.chosen = np.empty(rows if judge.is_classes else 0, np.int64)
        self.losses = np.empty(rows)
        self.answers = np.empty(0)

    def add(self, part: slice, z: NDArray[Any], a: NDArray[Any]) -> None:
        """Judge the answers to the next rows."""
        judge = self._judge
        if not len(self.answers):
            self.answers = np.empty((len(self.errors), a.shape[1]), np.float32)
        self.answers[part] = a
        self.losses[part] = judge.losses(z, a, part)
        if judge.ids is not None:
            self.chosen[part] = judge.chosen(z, a)
            self.errors[part] = self.chosen[part] != judge.ids[part]
        else:
            self.errors[part] = value_errors(judge, a, part)


def value_errors(judge: Judge, a: NDArray[Any], rows: Any = slice(None)) -> NDArray[np.float64]:
    """Return the error of each row where values are learned, (rows,): |ln y_hat - ln y| of a target learned as a
    logarithm, |y_hat - y| in the target's unit of another, their mean over the outputs without a target.
    """  # noqa: D205
    with np.errstate(all="ignore"):
        apart = np.abs(np.asarray(a, np.float64) - judge.targets[rows].reshape(len(a), -1)).mean(axis=1)
    return apart * judge.target.scale if judge.target is not None else np.asarray(apart, np.float64)


def _result(
    steps: list[int],
    of_steps: list[NDArray[Any]],
    last: _Judged,
    network: Network,
    X: NDArray[Any],
    judge: Judge,
    meaning: Meaning,
    slices: list[Slicing],
    rows: ArrayLike | None,
    rows_are: str,
) -> Unlearned:
    numbers = np.arange(len(X)) if rows is None else np.asarray(rows, np.int64)
    for one in slices:
        if len(one.places) != len(X):
            raise UsageError(f"{len(X):,} rows are cut by {one.by} into {len(one.places):,}", where="argument slices")
    errors = np.array(of_steps)
    threshold = math.nan
    wrong = errors
    if judge.ids is None:
        finite = errors[-1][np.isfinite(errors[-1])]
        threshold = OFF * float(np.median(finite)) if len(finite) else math.nan
        wrong = ~(errors <= threshold)  # an error that is not finite is wrong
    never, forgotten = _states(np.array(steps), wrong)
    classes = None
    confusion, pairs = np.zeros((0, 0), np.int64), []
    if judge.ids is not None:
        n = len(judge.class_names)
        classes = _slice_errors("class", judge.class_names, judge.ids, errors)
        confusion = np.bincount(judge.ids * n + last.chosen, minlength=n * n).reshape(n, n)
        pairs = separate(network, X, judge.ids, _confused(confusion))
    target = judge.target
    kind = "share wrong" if judge.is_classes else "factor" if target is not None and target.log else "amount"
    state = np.where(never, "never learned", np.where(forgotten, "forgotten", "wrong"))
    severity = last.losses if judge.is_classes else errors[-1]
    candidates = np.flatnonzero(wrong[-1])
    key = np.where(np.isfinite(severity[candidates]), -severity[candidates], -np.inf)
    chosen = candidates[np.argsort(key, kind="stable")[:_ROWS]]
    worst = tuple(
        WrongRow(
            int(numbers[row]),
            judge.class_names[int(judge.ids[row])]
            if judge.ids is not None
            else meaning.answer_words(judge.targets[row]),
            meaning.answer_words(last.answers[row]),
            float(severity[row]),
            str(state[row]),
        )
        for row in chosen.tolist()
    )
    return Unlearned(
        len(X), rows_are, tuple(steps), kind, target.name if target is not None and not judge.is_classes else "",
        errors.mean(axis=1, dtype=np.float64), classes,
        tuple(_slice_errors(one.by, one.labels, one.places, errors) for one in slices), threshold,
        numbers[never], numbers[forgotten], int(np.count_nonzero(wrong[-1])), worst, confusion, tuple(pairs),
    )  # fmt: skip


def _states(steps: NDArray[np.int64], wrong: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows, wrong at the end, were never learned, and which were learned and forgotten: (rows,) each.

    With fewer than three steps after step 0 nothing can be told: none of either.
    """
    right = ~wrong[steps != 0].astype(bool)
    if len(right) < 3:
        none = np.zeros(wrong.shape[1], bool)
        return none, none.copy()
    learned = (right[1:] & right[:-1]).any(axis=0)
    at_end = wrong[-1].astype(bool)
    return at_end & ~learned, at_end & learned


def _slice_errors(by: str, labels: Sequence[str], places: NDArray[np.int64], errors: NDArray[Any]) -> SliceErrors:
    n = len(labels)
    count = np.bincount(places, minlength=n)
    with np.errstate(all="ignore"):
        means = np.array([np.bincount(places, weights=one, minlength=n) / count for one in errors])
        squares = np.bincount(places, weights=(errors[-1].astype(np.float64) - means[-1][places]) ** 2, minlength=n)
        noise = np.sqrt(squares / np.maximum(count - 1, 1) / count)
    noise[count < 2] = math.nan
    return SliceErrors(by, tuple(labels), count.astype(np.int64), means, noise)


def _confused(confusion: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return the pairs of classes most often confused: first, second, how often."""
    both = np.triu(confusion + confusion.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:_PAIRS]
    found = [(int(place // len(both)), int(place % len(both)), int(both.flat[place])) for place in order.tolist()]
    return [one for one in found if one[2] > 0]
