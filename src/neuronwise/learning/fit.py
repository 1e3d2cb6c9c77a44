"""Fitting a network to data: the arguments are checked and the rows split here; `loop` does the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data import check_arrays, split_rows
from neuronwise.errors import TrainingDiverged, UsageError
from neuronwise.learning.divergence import Divergence
from neuronwise.learning.evaluation import Evaluator
from neuronwise.learning.interrupt import InterruptGuard
from neuronwise.learning.loop import Loop, Settings
from neuronwise.learning.observers import Observer, Observers, Status, TrainingState
from neuronwise.learning.optimizers import Optimizer, get_optimizer
from neuronwise.learning.stepping import Stepper
from neuronwise.learning.targets import ClassWeights, example_weights, prepare_targets
from neuronwise.learning.threads import blas_threads, whole_number
from neuronwise.network import Loss, Network

Validation = float | tuple[ArrayLike, ArrayLike] | NDArray[np.int64]


@dataclass
class FitResult:
    """How a training went.

    Attributes:
        status: ``"finished"``, ``"early_stopped"``, ``"stopped"`` (an observer asked), ``"interrupted"`` (Ctrl-C)
            or ``"diverged"``.
        steps: Optimizer steps taken; of a diverged training the step at which it was noticed, which can be later than
            the one at which it began (`divergence.step`).
        epochs: Epochs begun.
        best_epoch: The epoch whose weights the network was left with, or None for the last ones.
        best_step: The step at its end, or None.
        duration_s: Seconds.
        history: For each finished epoch its metrics, with ``epoch``, ``step`` and ``seconds``.
        training_rows: Rows of X that were learned from.
        validation_rows: Rows of X that were held out, if `validation` was a share; else empty.
        divergence: Where it began to diverge, or None.
    """

    status: Status
    steps: int
    epochs: int
    best_epoch: int | None
    best_step: int | None
    duration_s: float
    history: list[dict[str, float]] = field(repr=False)
    training_rows: NDArray[np.int64] = field(repr=False)
    validation_rows: NDArray[np.int64] = field(repr=False)
    divergence: Divergence | None = None


def fit(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str | Loss | None = None,
    optimizer: str | Optimizer = "adam",
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    epochs: int = 20,
    batch_size: int = 32,
    validation: Validation | None = None,
    training_rows: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    class_weights: ClassWeights | None = None,
    clip_norm: float | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    shuffle: bool = True,
    seed: int | None = None,
    threads: int | None = 1,
    observers: Sequence[Observer] = (),
    strict: bool = False,
) -> FitResult:
    """Train a network in place and return how it went.

    Ctrl-C ends the training after the step under way and keeps what was learned; a second one ends at once.

    Args:
        network: The network; its parameters are changed in place.
        X: Inputs, (rows, *input_shape) or (rows, inputs). Converted to the network's dtype if needed.
        y: Targets: class numbers (rows,) for categorical cross-entropy, else (rows, n_out), or (rows,) for one
            output.
        loss: Default by the output activation: categorical cross-entropy for softmax, binary for sigmoid, else
            squared error.
        optimizer: By name (``sgd``, ``momentum``, ``nesterov``, ``rmsprop``, ``adam``, ``adamw``) or an `Optimizer`.
        learning_rate: Default that of the optimizer.
        weight_decay: Default that of the optimizer.
        epochs: Passes over the training rows, at most.
        batch_size: Rows per step; the last batch of an epoch may be smaller.
        validation: A share of the rows to hold out (0 to 1; stratified for classes), ``(X, y)``, or the numbers of
            the rows as an array. After every epoch loss and metric are computed on it, and at the end the weights
            of the epoch with the lowest validation loss are restored.
        training_rows: Numbers of the rows to learn from; default all but those of `validation`.
        groups: A label per row; rows with the same label never stand on both sides of the split.
        class_weights: ``"balanced"``, or weights by class number; the loss is sum(w_i L_i) / batch.
            The validation loss is not weighted.
        clip_norm: Scale the gradients so that their norm over all layers is at most this.
        patience: End after this many epochs without a lower validation loss; needs `validation`.
        min_delta: How much lower it must be to count.
        shuffle: Whether each epoch visits the rows in a new order.
        seed: Of order and split; default that of the network.
        threads: Threads of the matrix products; None leaves them as they are.
        observers: Listeners; with or without them the weights are the same to the last bit.
        strict: Let an error in an observer end the training, instead of one warning.

    Raises:
        UsageError: An argument that cannot be used.
        TrainingDiverged: A loss or weight became NaN or infinite. The network keeps its last finite weights;
            the error says at which step and in which layer it began, and its `result` holds the history.
    """
    settings = Settings(network, loss, epochs, batch_size, patience, min_delta, clip_norm, validation)
    X_all, y_raw = _check_data(network, X, y)
    y_all = prepare_targets(network, y_raw, settings.loss, len(X_all))
    seed = network.seed if seed is None else whole_number(seed, "seed", 0)
    training, held_out = _split(settings, y_all, groups, validation, training_rows, seed)
    weights = _row_weights(settings, network, class_weights, y_all, training)
    evaluator = _evaluator(settings, network, X_all, y_all, held_out, validation)

    chosen = get_optimizer(optimizer, learning_rate, weight_decay)
    chosen.start(network.parameters)
    stepper = Stepper(network, X_all, y_all, weights, settings.loss, chosen, settings.clip_norm)
    state = TrainingState(network, settings.epochs, math.ceil(len(training) / settings.batch_size))
    state.gradients, state.update = stepper.gradients, chosen.update
    state.learning_rate = chosen.learning_rate
    loop = Loop(settings, stepper, state, training, evaluator, Observers(observers, strict=strict), seed, shuffle)

    with blas_threads(threads), np.errstate(all="ignore"), InterruptGuard() as guard:
        divergence = loop.run(guard)
    result = FitResult(
        state.status,
        state.step,
        state.epoch,
        state.best_epoch,
        state.best_step,
        state.elapsed_s,
        loop.history,
        training,
        held_out,
        divergence,
    )
    if divergence is not None:
        raise _diverged(divergence, chosen, result)
    return result


def _check_data(network: Network, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    inputs, targets = check_arrays(X, y, dtype=network.dtype, allow_nd=True)
    if targets is None:
        raise UsageError("a target for each row is needed, got None", where="argument y")
    return network.check_input(inputs), targets


def _split(
    settings: Settings,
    y: NDArray[Any],
    groups: ArrayLike | None,
    validation: Validation | None,
    training_rows: ArrayLike | None,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to learn from and those held out."""
    n = len(y)
    given = None if training_rows is None else _rows(training_rows, n, "training_rows")
    by_share = isinstance(validation, (int, float))
    if groups is not None and not by_share:
        raise UsageError(
            "groups say how to split, but nothing is to be split",
            where="argument groups",
            hint="pass validation=0.1, a share of the rows",
        )
    if isinstance(validation, np.ndarray):
        held_out = _rows(validation, n, "validation")
        if given is not None and (shared := np.intersect1d(given, held_out)).size:
            raise UsageError(f"row {shared[0]} is in training_rows too", where="argument validation")
        rest = np.setdiff1d(np.arange(n), held_out) if given is None else given
        if not rest.size:
            raise UsageError("no rows are left to learn from", where="argument validation")
        return rest, held_out
    rows = np.arange(n, dtype=np.int64) if given is None else given
    if validation is None or isinstance(validation, tuple):
        return rows, rows[:0]
    if isinstance(validation, bool) or not by_share or not 0 < validation < 1:
        raise UsageError(
            f"expected a share between 0 and 1, (X, y) or an array of rows, got {validation!r}",
            where="argument validation",
        )
    classes = settings.loss.targets == "classes" or settings.loss.name == "binary_cross_entropy"
    labels = None if groups is None else np.asarray(groups)
    if labels is not None and len(labels) != n:
        raise UsageError(f"{n:,} rows need as many labels, got {len(labels):,}", where="argument groups")
    training, held_out = split_rows(
        len(rows),
        y=y.reshape(n, -1)[rows, 0] if classes else None,
        task="multiclass" if classes else "regression",
        groups=None if labels is None else labels[rows],
        fraction=float(validation),
        seed=seed,
        purpose="validation",
    )
    return rows[training], rows[held_out]


def _row_weights(
    settings: Settings,
    network: Network,
    class_weights: ClassWeights | None,
    y: NDArray[Any],
    training: NDArray[np.int64],
) -> NDArray[Any] | None:
    """Return a weight for each row of the data; "balanced" counts the rows that are learned from."""
    chosen = example_weights(class_weights, y[training], settings.loss, network.output_size, network.dtype)
    if chosen is None:
        return None
    weights = np.ones(len(y), dtype=network.dtype)
    weights[training] = chosen
    return weights


def _rows(values: ArrayLike, n: int, argument: str) -> NDArray[np.int64]:
    """Return row numbers as int64, or say what is wrong with them."""
    rows = np.asarray(values)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not rows.size:
        raise UsageError(f"expected an array of row numbers, got {values!r:.100}", where=f"argument {argument}")
    if rows.min() < 0 or rows.max() >= n:
        raise UsageError(
            f"row numbers go from 0 to {n - 1}, got {rows.min()} to {rows.max()}", where=f"argument {argument}"
        )
    return rows.astype(np.int64)


def _evaluator(
    settings: Settings,
    network: Network,
    X: NDArray[Any],
    y: NDArray[Any],
    held_out: NDArray[np.int64],
    validation: Validation | None,
) -> Evaluator | None:
    if validation is None:
        return None
    if isinstance(validation, tuple):
        if len(validation) != 2:
            count = f"{len(validation)} value{'' if len(validation) == 1 else 's'}"
            raise UsageError(f"expected (X, y), got {count}", where="argument validation")
        try:
            X_val, y_raw = _check_data(network, *validation)
            y_val = prepare_targets(network, y_raw, settings.loss, len(X_val))
        except UsageError as error:
            error.where = "argument validation"
            raise
    else:
        X_val, y_val = X[held_out], y[held_out]
    return Evaluator(network, X_val, y_val, settings.loss)


def _diverged(divergence: Divergence, optimizer: Optimizer, result: FitResult) -> TrainingDiverged:
    rate = optimizer.learning_rate
    advised = min(rate / 10, optimizer.default_learning_rate)
    error = TrainingDiverged(
        f"the training diverged: {divergence.description}",
        step=divergence.step,
        layer=divergence.layer,
        quantity=divergence.quantity,
        hint=f"the learning rate was {rate:g}: try {advised:g}, or clip the gradients to a norm of 1. "
        "The network keeps its last finite weights.",
    )
    error.result = result
    return error
