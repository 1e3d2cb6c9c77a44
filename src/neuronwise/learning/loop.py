"""The training loop: epochs, steps, early stopping, and what happens when a value is no longer finite."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.learning.divergence import Divergence, locate_divergence
from neuronwise.learning.evaluation import Evaluator
from neuronwise.learning.interrupt import InterruptGuard
from neuronwise.learning.observers import Observers, TrainingState
from neuronwise.learning.optimizers import not_negative, positive
from neuronwise.learning.stepping import Stepper
from neuronwise.learning.threads import whole_number
from neuronwise.network import Loss, Network, generator, get_loss


@dataclass
class Settings:
    """The checked settings of a training."""

    network: Network
    loss: Any
    epochs: int
    batch_size: int
    patience: int | None
    min_delta: float
    clip_norm: float | None
    validation: Any

    def __post_init__(self) -> None:
        activation = self.network.layers[-1].activation
        self.loss: Loss = get_loss(self.loss, activation.name if activation else "identity")
        if activation is not None:
            self.loss.check_activation(activation)
        self.epochs = whole_number(self.epochs, "epochs", 1)
        self.batch_size = whole_number(self.batch_size, "batch_size", 1)
        if self.patience is not None:
            self.patience = whole_number(self.patience, "patience", 1)
            if self.validation is None:
                raise UsageError(
                    "early stopping needs rows to validate on",
                    where="argument patience",
                    hint="pass validation=0.1 (a share of the rows) or validation=(X, y)",
                )
        self.min_delta = not_negative(self.min_delta, "min_delta")
        if self.clip_norm is not None:
            self.clip_norm = positive(self.clip_norm, "clip_norm")
        if not self.network.parameter_count:
            raise UsageError("the network has no weights: there is nothing to learn", where="argument network")


class Loop:
    """The epochs and steps of one training."""

    def __init__(
        self,
        settings: Settings,
        stepper: Stepper,
        state: TrainingState,
        training: NDArray[np.int64],
        evaluator: Evaluator | None,
        observers: Observers,
        seed: int,
        shuffle: bool,
    ) -> None:
        self.settings, self.stepper, self.state, self.training = settings, stepper, state, training
        self.evaluator, self.observers, self.seed, self.shuffle = evaluator, observers, seed, shuffle
        self.history: list[dict[str, float]] = []
        self._best_loss = math.inf
        self._best_parameters: NDArray[Any] | None = None

    def run(self, guard: InterruptGuard) -> Divergence | None:
        """Run until the end, however it comes; leave the best weights in the network."""
        state, began = self.state, time.perf_counter()
        self.observers.fit_begin(state)
        divergence = None
        for epoch in range(1, self.settings.epochs + 1):
            if guard.requested or state.stop_requested:
                break
            state.epoch = epoch
            first_step, start = state.step + 1, self.stepper.snapshot()
            finite, loss = self._epoch(guard)
            state.elapsed_s = time.perf_counter() - began
            if not finite or not np.isfinite(state.network.parameters).all():
                divergence = locate_divergence(self.stepper, start, self.batches(epoch), first_step)
                if divergence is None:  # with several threads, a repeated step may differ in its last bits
                    self.stepper.restore(start)
                    largest = float(np.abs(state.network.parameters).max())
                    divergence = Divergence(first_step, state.network.layers[-1].name, "loss", (), largest)
                state.divergence = divergence
                state.status = "diverged"
                break
            if state.step == first_step - 1 + state.steps_per_epoch:
                self._end_epoch(epoch, loss)
            state.elapsed_s = time.perf_counter() - began
            if self.settings.patience is not None and epoch - (state.best_epoch or 0) >= self.settings.patience:
                state.status = "early_stopped" if epoch < self.settings.epochs else "finished"
                break
        if guard.requested and state.status != "diverged":
            state.status = "interrupted"
        elif state.stop_requested and state.status != "diverged":
            state.status = "stopped"
        elif state.status == "running":
            state.status = "finished"
        if divergence is None and self._best_parameters is not None:
            np.copyto(state.network.parameters, self._best_parameters)
        self.observers.fit_end(state)
        return divergence

    def batches(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each step of an epoch; the same ones whenever it is asked."""
        rows, size = self.training, self.settings.batch_size
        if self.shuffle:
            rows = rows[generator(self.seed, "shuffle", epoch).permutation(len(rows))]
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _epoch(self, guard: InterruptGuard) -> tuple[bool, float]:
        """Take the steps of one epoch; return whether all losses were finite, and their mean over the rows."""
        state, stepper, total, count = self.state, self.stepper, 0.0, 0
        for rows in self.batches(state.epoch):
            loss = stepper.step(rows)
            state.step += 1
            if not math.isfinite(loss):
                return False, math.nan
            total += loss * len(rows)
            count += len(rows)
            # Not only for those who watch every step: whoever looks at the end of an epoch sees its last step.
            state.loss, state.batch_indices, state.passes = loss, rows, stepper.space.passes
            if self.observers.watch_steps:
                self.observers.step_end(state)
            if guard.requested or state.stop_requested:
                break
        return True, total / count

    def _end_epoch(self, epoch: int, loss: float) -> None:
        state = self.state
        state.metrics = {"loss": loss}
        if self.evaluator is not None:
            measured = self.evaluator()
            state.metrics |= {f"val_{key}": value for key, value in measured.items()}
            if measured["loss"] < self._best_loss - self.settings.min_delta:
                self._best_loss = measured["loss"]
                self._best_parameters = state.network.parameters.copy()
                state.best_epoch, state.best_step = epoch, state.step
        self.history.append({"epoch": epoch, "step": state.step, "seconds": state.elapsed_s, **state.metrics})
        self.observers.epoch_end(state)
