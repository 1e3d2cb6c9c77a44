"""One pass over the rows of one call of `partial_fit`, with an optimizer that remembers the calls before."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import TrainingDiverged
from neuronwise.learning import Checkpoint, Constant, Optimizer, TrainingState
from neuronwise.learning.divergence import Divergence, locate_divergence
from neuronwise.learning.identity import settings_identity
from neuronwise.learning.observers import Observers
from neuronwise.learning.rows import pass_order
from neuronwise.learning.settings import Settings
from neuronwise.learning.stepping import Stepper
from neuronwise.learning.threads import blas_threads
from neuronwise.recording import TrainingData
from neuronwise.running.estimators.task import Task


class PassState(TrainingState):
    """What observers see of calls of `partial_fit`: each is an epoch, of as many steps as its rows make.

    Args:
        task: The task of the first call.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task.choice.network, 0, 0)
        self._optimizer: Optimizer = task.optimizer
        self._settings = _identity(task)
        self.step = self._before = task.optimizer.steps
        self.optimizer_state, self.learning_rate = task.optimizer.state, task.optimizer.learning_rate
        self.make_checkpoint = self._checkpoint

    @property
    def steps_before_epoch(self) -> int:
        """See `TrainingState.steps_before_epoch`."""
        return self._before

    def begin_pass(self, number: int, steps: int) -> None:
        """Begin a call of so many steps."""
        self.epoch, self.steps_per_epoch, self._before = number, steps, self.step
        self.epoch_losses = np.full(steps, np.nan)
        self.epoch_rates = np.full(steps, self._optimizer.learning_rate)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            settings=self._settings, epochs=self.epoch, patience=None, planned_steps=self.step,
            parameters=self.network.parameters.copy(), buffers=self.network.buffers.copy(),
            optimizer_state={name: values.copy() for name, values in self._optimizer.state.items()},
            schedule_state={}, step=self.step, epoch=self.epoch, loss_sum=0.0, best_loss=None, best_epoch=None,
            best_step=None, best_parameters=None, best_buffers=None, history=[], elapsed_s=self.elapsed_s,
        )  # fmt: skip


def _identity(task: Task) -> dict[str, Any]:
    """Return what must be the same for a step to be repeated, as `fit` records it."""
    size, clip_norm = task.lengths.batch_size, task.clip_norm
    settings = Settings(task.choice.network, task.choice.loss, 1, size, None, 0.0, clip_norm, None, True, task.seed)
    return settings_identity(settings, task.optimizer, Constant())


@dataclass(frozen=True)
class Watch:
    """Who looks at the steps of a pass, and what they see; the pass has begun in it."""

    observers: Observers
    state: PassState


def take_pass(task: Task, data: TrainingData, number: int, watch: Watch | None = None) -> float:
    """Learn from each row once and return the mean loss over the rows, each before its step.

    Args:
        task: The network, whose parameters are changed in place, the started optimizer, whose state goes on, and
            the rest that decides the steps.
        data: What is learned from.
        number: Number of this pass, from 1: the order of the rows follows from it and from the seed.
        watch: Who looks on; with or without them the weights are the same to the last bit.

    Raises:
        TrainingDiverged: A loss or weight became NaN or infinite; the network keeps its last finite weights.
    """
    network, optimizer, size = task.choice.network, task.optimizer, task.lengths.batch_size
    stepper = Stepper(
        network, data.X, data.y, data.weights, task.choice.loss, optimizer, task.clip_norm, seed=task.seed
    )  # fmt: skip
    order = pass_order(len(data.X), task.seed, number)
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    first_step, began = optimizer.steps + 1, time.perf_counter()
    optimizer.keeps_update = False
    with blas_threads(task.threads), np.errstate(all="ignore"):
        start = stepper.snapshot()
        total = _steps(stepper, batches) if watch is None else _watched_steps(stepper, batches, watch)
        if watch is not None:
            watch.state.elapsed_s += time.perf_counter() - began
        if math.isfinite(total) and stepper.is_finite():
            loss = total / len(order)
            if watch is not None:
                watch.state.metrics = {"loss": loss}
                watch.observers.epoch_end(watch.state)
            return loss
        divergence = locate_divergence(stepper, start, batches, first_step)
    if divergence is None:  # with several threads, a repeated step may differ in its last bits
        stepper.restore(start)
        largest = float(np.abs(network.parameters).max())
        divergence = Divergence(first_step, network.layers[-1].name, "loss", (), largest)
    if watch is not None:
        watch.state.divergence = divergence
    raise TrainingDiverged(
        f"the training diverged: {divergence.description}",
        step=divergence.step,
        layer=divergence.layer,
        quantity=divergence.quantity,
        hint=f"the learning rate was {optimizer.learning_rate:g}: try a tenth of it, or clip the gradients to a norm "
        "of 1. The network keeps its last finite weights.",
    )


def _steps(stepper: Stepper, batches: Sequence[NDArray[np.int64]]) -> float:
    """Take the steps and return the sum of the losses of the rows."""
    total = 0.0
    for rows in batches:
        total += stepper.step(rows) * len(rows)
    return total


def _watched_steps(stepper: Stepper, batches: Sequence[NDArray[np.int64]], watch: Watch) -> float:
    """Likewise, and call the observers when they are due, as `learning.loop` does."""
    state, observers, optimizer = watch.state, watch.observers, stepper.optimizer
    state.gradients, state.update = stepper.gradients, optimizer.update
    before, last, total = state.step, state.step + len(batches), 0.0
    for rows in batches:
        step = state.step + 1
        optimizer.keeps_update = step >= observers.due or step == last
        loss = stepper.step(rows)
        state.step = step
        state.epoch_losses[step - before - 1] = loss
        if not math.isfinite(loss):
            return math.nan
        total += loss * len(rows)
        state.loss, state.batch_indices, state.passes = loss, rows, stepper.space.passes
        if step >= observers.due:
            observers.step_end(state)
    return total
