"""The training loop: epochs, steps, early stopping, and what happens when a value is no longer finite."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.learning.checkpoint import Checkpoint
from neuronwise.learning.divergence import Divergence, locate_divergence
from neuronwise.learning.evaluation import Evaluator
from neuronwise.learning.interrupt import InterruptGuard
from neuronwise.learning.observers import Observers, TrainingState
from neuronwise.learning.rows import batches
from neuronwise.learning.settings import Settings
from neuronwise.learning.stepping import Stepper

Array = NDArray[np.floating[Any]]


class Loop:
    """The epochs and steps of one training, from its beginning or from a checkpoint.

    Args:
        settings: The checked settings.
        stepper: What takes the steps.
        state: What observers see.
        training: The rows to learn from.
        evaluator: What measures the network after each epoch, or None.
        observers: The listeners.
        identity: Returns `Checkpoint.settings`; called when a checkpoint is wanted.
        resume: A checkpoint that fits, or None.
    """

    def __init__(
        self,
        settings: Settings,
        stepper: Stepper,
        state: TrainingState,
        training: NDArray[np.int64],
        evaluator: Evaluator | None,
        observers: Observers,
        identity: Callable[[], dict[str, Any]],
        resume: Checkpoint | None = None,
    ) -> None:
        self.settings, self.stepper, self.state, self.training = settings, stepper, state, training
        self.evaluator, self.observers, self._identity = evaluator, observers, identity
        self.history: list[dict[str, float]] = []
        self.final: Checkpoint | None = None
        self._planned_steps = settings.epochs * state.steps_per_epoch if resume is None else resume.planned_steps
        if stepper.schedule is not None:
            stepper.schedule.start(self._planned_steps, state.steps_per_epoch)
            if resume is not None:
                stepper.schedule.restore(resume.schedule_state)
            state.schedule_state = stepper.schedule.snapshot()
        self._loss_sum = 0.0
        self._best_loss = math.inf
        self._best: tuple[Array, Array] | None = None
        if resume is not None:
            self._resume(resume)
        state.learning_rate = stepper.rate(state.step + 1)
        state.epoch_rates.fill(stepper.base_rate)  # where a schedule varies it, each step notes its own
        state.make_checkpoint = self.checkpoint
        self._began = time.perf_counter() - state.elapsed_s

    def _resume(self, checkpoint: Checkpoint) -> None:
        state, optimizer = self.state, self.stepper.optimizer
        np.copyto(state.network.parameters, checkpoint.parameters)
        np.copyto(state.network.buffers, checkpoint.buffers)
        for name, values in checkpoint.optimizer_state.items():
            np.copyto(optimizer.state[name], values)
        optimizer.steps = state.step = checkpoint.step
        state.epoch, state.elapsed_s = checkpoint.epoch, checkpoint.elapsed_s
        state.best_epoch, state.best_step = checkpoint.best_epoch, checkpoint.best_step
        self.history = [dict(row) for row in checkpoint.history]
        if self.history:
            beside = ("epoch", "step", "seconds")
            state.metrics = {key: value for key, value in self.history[-1].items() if key not in beside}
        self._loss_sum = checkpoint.loss_sum
        if checkpoint.best_loss is not None:
            assert checkpoint.best_parameters is not None
            assert checkpoint.best_buffers is not None
            self._best_loss = checkpoint.best_loss
            self._best = checkpoint.best_parameters, checkpoint.best_buffers

    def run(self, guard: InterruptGuard) -> Divergence | None:
        """Run until the end, however it comes; leave the best weights in the network."""
        state, divergence = self.state, None
        self.observers.fit_begin(state)
        while not (self._is_done() or guard.requested or state.stop_requested):
            if self._is_epoch_ended:
                state.epoch += 1
                self._loss_sum = 0.0
            first_step, start = state.step + 1, self.stepper.snapshot()
            finite = self._epoch(guard)
            state.elapsed_s = time.perf_counter() - self._began
            if not finite or not self.stepper.is_finite():
                divergence = self._locate(start, first_step)
                break
            if state.step == state.epoch * state.steps_per_epoch:
                self._end_epoch()
            state.elapsed_s = time.perf_counter() - self._began
        if divergence is not None:
            state.divergence, state.status = divergence, "diverged"
        else:
            early = self._is_out_of_patience and state.epoch < self.settings.epochs
            state.status = "early_stopped" if early else "finished"
            if state.stop_requested or guard.requested:
                state.status = "interrupted" if guard.requested else "stopped"
            self.final = self.checkpoint()
            if self._best is not None:
                np.copyto(state.network.parameters, self._best[0])
                np.copyto(state.network.buffers, self._best[1])
        self.observers.fit_end(state)
        return divergence

    def batches(self, epoch: int, skip: int = 0) -> Iterator[NDArray[np.int64]]:
        """Return the rows of each step of an epoch but the first ones; the same whenever it is asked."""
        settings = self.settings
        return batches(
            self.training, settings.batch_size, settings.seed, epoch, shuffle=settings.shuffle, skip=skip
        )  # fmt: skip

    def checkpoint(self) -> Checkpoint:
        """Return a copy of all that decides how the training goes on; at its end, the state before the best weights.

        Raises:
            UsageError: The training diverged: there is nothing to go on with.
        """
        state, optimizer = self.state, self.stepper.optimizer
        if state.divergence is not None:
            raise UsageError("a training that diverged cannot be resumed", where=f"step {state.step}")
        if self.final is not None:
            return self.final
        schedule, best = self.stepper.schedule, self._best
        return Checkpoint(
            settings=self._identity(),
            epochs=self.settings.epochs,
            patience=self.settings.patience,
            planned_steps=self._planned_steps,
            parameters=state.network.parameters.copy(),
            buffers=state.network.buffers.copy(),
            optimizer_state={name: values.copy() for name, values in optimizer.state.items()},
            schedule_state={} if schedule is None else schedule.snapshot(),
            step=state.step,
            epoch=state.epoch,
            loss_sum=self._loss_sum,
            best_loss=None if best is None else self._best_loss,
            best_epoch=state.best_epoch,
            best_step=state.best_step,
            # Not copied: the loop never writes into them.
            best_parameters=None if best is None else best[0],
            best_buffers=None if best is None else best[1],
            history=[dict(row) for row in self.history],
            elapsed_s=time.perf_counter() - self._began,
        )

    @property
    def _is_epoch_ended(self) -> bool:
        return len(self.history) == self.state.epoch

    @property
    def _is_out_of_patience(self) -> bool:
        patience, state = self.settings.patience, self.state
        return patience is not None and self._is_epoch_ended and state.epoch - (state.best_epoch or 0) >= patience

    def _is_done(self) -> bool:
        return self._is_epoch_ended and (self.state.epoch >= self.settings.epochs or self._is_out_of_patience)

    def _epoch(self, guard: InterruptGuard) -> bool:
        """Take the steps of the epoch that are left; return whether all losses were finite."""
        state, stepper, observers, total = self.state, self.stepper, self.observers, self._loss_sum
        varies, watched = stepper.schedule is not None, bool(observers)
        first = (state.epoch - 1) * state.steps_per_epoch
        last, losses, rates = first + state.steps_per_epoch, state.epoch_losses, state.epoch_rates
        for rows in self.batches(state.epoch, state.step - first):
            step = state.step + 1
            if watched:  # what a step subtracts is kept only for those who look at it
                stepper.optimizer.keeps_update = step >= observers.due or step == last
            loss = stepper.step(rows)
            state.step = step
            losses[step - first - 1] = loss
            if varies:
                rates[step - first - 1] = stepper.optimizer.learning_rate
            if not math.isfinite(loss):
                return False
            total += loss * len(rows)
            # Not only for those who watch every step: whoever looks at the end of an epoch sees its last step.
            state.loss, state.batch_indices, state.passes = loss, rows, stepper.space.passes
            if varies:
                state.learning_rate = stepper.optimizer.learning_rate
            if step >= observers.due:
                self._loss_sum = total
                observers.step_end(state)
            if guard.requested or state.stop_requested:
                break
        self._loss_sum = total
        return True

    def _end_epoch(self) -> None:
        state = self.state
        state.metrics = {"loss": self._loss_sum / len(self.training)}
        if self.evaluator is not None:
            measured = self.evaluator()
            state.metrics |= {f"val_{key}": value for key, value in measured.items()}
            if measured["loss"] < self._best_loss - self.settings.min_delta:
                self._best_loss = measured["loss"]
                self._best = state.network.parameters.copy(), state.network.buffers.copy()
                state.best_epoch, state.best_step = state.epoch, state.step
        if self.stepper.schedule is not None:
            self.stepper.schedule.end_epoch(state.epoch, state.metrics)
            state.schedule_state = self.stepper.schedule.snapshot()
        self.history.append({"epoch": state.epoch, "step": state.step, "seconds": state.elapsed_s, **state.metrics})
        self.observers.epoch_end(state)

    def _locate(self, start: Any, first_step: int) -> Divergence:
        """Return where the steps since a snapshot diverged; leave the last finite weights in the network."""
        state = self.state
        skip = first_step - 1 - (state.epoch - 1) * state.steps_per_epoch
        divergence = locate_divergence(self.stepper, start, self.batches(state.epoch, skip), first_step)
        if divergence is None:  # with several threads, a repeated step may differ in its last bits
            self.stepper.restore(start)
            largest = float(np.abs(state.network.parameters).max())
            divergence = Divergence(first_step, state.network.layers[-1].name, "loss", (), largest)
        return divergence
