"""Fitting a network to data: the arguments are checked and the rows split here; `loop` does the steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import TrainingDiverged
from neuronwise.learning.arguments import whole_number
from neuronwise.learning.checkpoint import Checkpoint
from neuronwise.learning.divergence import Divergence
from neuronwise.learning.identity import check_resumable, data_identity, settings_identity
from neuronwise.learning.interrupt import InterruptGuard
from neuronwise.learning.loop import Loop
from neuronwise.learning.observers import Observer, Observers, Status, TrainingState
from neuronwise.learning.optimizers import Optimizer, get_optimizer
from neuronwise.learning.rows import Validation, check_data, make_evaluator, row_weights, split
from neuronwise.learning.schedules import Schedule, get_schedule
from neuronwise.learning.settings import Settings
from neuronwise.learning.stepping import Stepper
from neuronwise.learning.targets import ClassWeights, prepare_targets
from neuronwise.learning.threads import blas_threads
from neuronwise.network import Loss, Network


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
        duration_s: Seconds; of a resumed training, with those before it was interrupted.
        history: For each finished epoch its metrics, with ``epoch``, ``step`` and ``seconds``.
        training_rows: Rows of X that were learned from.
        validation_rows: Rows of X that were held out, if `validation` was a share; else empty.
        divergence: Where it began to diverge, or None.
        checkpoint: All that is needed to go on: the state at the end, before the best weights are put back; None for a
            training that diverged.
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
    checkpoint: Checkpoint | None = field(default=None, repr=False)


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
    sample_weight: ArrayLike | None = None,
    schedule: str | Schedule | None = None,
    clip_norm: float | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    shuffle: bool = True,
    seed: int | None = None,
    threads: int | None = 1,
    resume: Checkpoint | None = None,
    observers: Sequence[Observer] = (),
    strict: bool = False,
) -> FitResult:
    """Train a network in place and return how it went.

    Ctrl-C ends the training after the step under way and keeps what was learned; a second one ends at once.

    Args:
        network: The network; its parameters are changed in place.
        X: Inputs, (rows, *input_shape) or (rows, inputs). Converted to the network's dtype if needed; not copied if it
            is C-contiguous in that dtype already, so it may be memory-mapped.
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
        sample_weight: What each row of X counts, (rows,), from 0; times its class weight. The loss is
            sum(w_i L_i) / batch, so weights of mean 1 keep its size and the learning rate its meaning.
        schedule: How the learning rate changes: ``"constant"`` (default), ``"step"``, ``"cosine"``, ``"plateau"``, or a
            `Schedule`.
        clip_norm: Scale the gradients so that their norm over all layers is at most this.
        patience: End after this many epochs without a lower validation loss; needs `validation`.
        min_delta: How much lower it must be to count.
        shuffle: Whether each epoch visits the rows in a new order.
        seed: Of order and split; default that of the network.
        threads: Threads of the matrix products; None leaves them as they are.
        resume: Go on from this checkpoint, with the same data and settings, as if the training had never stopped: the
            network takes its weights. Only `epochs` may be others (20 epochs resumed with 40 are 40 from the start,
            but a schedule that lasts as long as the training keeps its first length), and `patience`, unless the
            training would have ended before.
        observers: Listeners; with or without them the weights are the same to the last bit.
        strict: Let an error in an observer end the training, instead of one warning.

    Raises:
        UsageError: An argument that cannot be used, or that is not that of the training to resume.
        TrainingDiverged: A loss or weight became NaN or infinite. The network keeps its last finite weights;
            the error says at which step and in which layer it began, and its `result` holds the history.
    """
    if threads is not None:
        whole_number(threads, "threads", 1)
    settings = Settings(
        network, loss, epochs, batch_size, patience, min_delta, clip_norm, validation, shuffle, seed
    )  # fmt: skip
    X_all, y_raw = check_data(network, X, y)
    y_all = prepare_targets(network, y_raw, settings.loss, len(X_all))
    training, held_out = split(settings.loss, y_all, groups, validation, training_rows, settings.seed)
    weights = row_weights(settings.loss, network, class_weights, sample_weight, y_all, training)
    evaluator = make_evaluator(settings.loss, network, X_all, y_all, held_out, validation)
    listeners = Observers(observers, strict=strict)
    chosen, rates = get_optimizer(optimizer, learning_rate, weight_decay), get_schedule(schedule)

    asked = settings_identity(settings, chosen, rates)
    held = None if evaluator is None else evaluator.data

    @functools.cache
    def identity() -> dict[str, Any]:
        return asked | data_identity(X_all, y_all, weights, training, held)

    state = TrainingState(network, settings.epochs, math.ceil(len(training) / settings.batch_size))
    state.training_rows = training
    if resume is not None:
        check_resumable(resume, settings, identity(), chosen, state.steps_per_epoch)
    chosen.start(network.parameters)
    chosen.keeps_update = False  # the loop sets it for the steps that an observer looks at
    stepper = Stepper(
        network, X_all, y_all, weights, settings.loss, chosen, settings.clip_norm, schedule=rates, seed=settings.seed
    )  # fmt: skip
    state.gradients, state.update, state.optimizer_state = stepper.gradients, chosen.update, chosen.state
    state.is_scaled_gradient = chosen.is_scaled_gradient
    loop = Loop(settings, stepper, state, training, evaluator, listeners, identity, resume)

    try:
        with blas_threads(threads), np.errstate(all="ignore"), InterruptGuard() as guard:
            divergence = loop.run(guard)
    finally:
        chosen.learning_rate = stepper.base_rate  # a schedule moved it
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
        loop.final,
    )
    if divergence is not None:
        raise _diverged(divergence, stepper, result)
    return result


def _diverged(divergence: Divergence, stepper: Stepper, result: FitResult) -> TrainingDiverged:
    base, rate = stepper.base_rate, stepper.rate(divergence.step)
    advised = min(base / 10, stepper.optimizer.default_learning_rate)
    of = "" if rate == base else f" (the schedule's share of {base:g})"
    error = TrainingDiverged(
        f"the training diverged: {divergence.description}",
        step=divergence.step,
        layer=divergence.layer,
        quantity=divergence.quantity,
        hint=f"the learning rate was {rate:g}{of}: try {advised:g}, or clip the gradients to a norm of 1. "
        "The network keeps its last finite weights.",
    )
    error.result = result
    return error
