"""What a training loop lets others see, and the interface of those who look.

Observers only read. The arrays they are shown are buffers that the next step overwrites: copy what you keep.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError

if TYPE_CHECKING:
    from neuronwise.learning.checkpoint import Checkpoint
    from neuronwise.learning.divergence import Divergence
    from neuronwise.network import Network, Pass

logger = logging.getLogger("neuronwise")

Status = Literal["running", "finished", "early_stopped", "stopped", "interrupted", "diverged"]
Array = NDArray[np.floating[Any]]


class TrainingState:
    """The state of a training, one object for all of its steps.

    Attributes:
        network: The network that learns; its parameters are those after the step.
        step: Optimizer steps taken; 0 before the first. A resumed training begins where it stood.
        epoch: The epoch under way, from 1; 0 before the first.
        epochs: Epochs planned.
        steps_per_epoch: Steps of one epoch.
        loss: Mean loss over the batch of this step, computed with the weights before the step.
        learning_rate: Learning rate of this step; before the first one, that of the first.
        training_rows: Rows of X that are learned from, in the order in which `fit` has them.
        epoch_losses: `loss` of the steps of this epoch, (steps_per_epoch,) float64, as far as they are taken in this
            process; for observers that are not called at every step.
        epoch_rates: Their learning rates, likewise.
        batch_indices: Rows of X in this batch.
        gradients: Gradients of the mean loss (after clipping), laid out as `network.parameters`.
        update: What this step subtracted from the parameters, laid out likewise; of a step that no observer was
            called for it may be missing (see `Observer.next_step`).
        is_scaled_gradient: Whether every update is nothing but the learning rate times the gradients (plain SGD).
        optimizer_state: The arrays that the optimizer remembers between steps, by name.
        schedule_state: `Schedule.snapshot` at the end of the last epoch; empty where the schedule notes nothing.
        passes: For each layer its x, z, a and delta on this batch, with the weights before the step.
        metrics: At the end of an epoch: ``loss`` (mean over its steps) and, with validation, ``val_loss`` and
            ``val_accuracy`` or ``val_r2``.
        best_epoch: The epoch with the lowest validation loss so far, or None.
        best_step: The step at its end, or None.
        elapsed_s: Seconds since the start of the training, at the last epoch's end or later; of a resumed one, with
            those before it was interrupted.
        status: How it stands, or how it ended.
        divergence: Where it began to diverge, or None; the weights are then those before that step.
    """

    def __init__(self, network: Network, epochs: int, steps_per_epoch: int) -> None:
        self.network = network
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.step = self.epoch = 0
        self.loss = float("nan")
        self.learning_rate = float("nan")
        self.training_rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.epoch_losses: NDArray[np.float64] = np.full(steps_per_epoch, np.nan)
        self.epoch_rates: NDArray[np.float64] = np.full(steps_per_epoch, np.nan)
        self.batch_indices: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.gradients: Array = np.empty(0)
        self.update: Array = np.empty(0)
        self.is_scaled_gradient = False
        self.optimizer_state: Mapping[str, Array] = {}
        self.schedule_state: dict[str, Any] = {}
        self.passes: Sequence[Pass] = ()
        self.metrics: dict[str, float] = {}
        self.best_epoch: int | None = None
        self.best_step: int | None = None
        self.elapsed_s = 0.0
        self.status: Status = "running"
        self.divergence: Divergence | None = None
        self.stop_requested = False
        self.make_checkpoint: Callable[[], Checkpoint] | None = None

    @property
    def steps_before_epoch(self) -> int:
        """Steps taken before the epoch under way: `epoch_losses` begins with the step after them."""
        return max(0, self.epoch - 1) * self.steps_per_epoch

    def checkpoint(self) -> Checkpoint:
        """Return a copy of all that decides how the training goes on, to be saved or resumed from.

        It costs a copy of the parameters and of the optimizer's state: little at the end of an epoch, too much after
        every step. At the end of the training it is the state before the best weights are put back.

        Raises:
            UsageError: The training diverged, or there is none.
        """
        if self.make_checkpoint is None:
            raise UsageError("no training is under way", where="TrainingState.checkpoint")
        return self.make_checkpoint()

    def stop(self) -> None:
        """Ask the training to end after this step."""
        self.stop_requested = True


class Observer:
    """Something that looks at a training. Override the moments you need; those left alone cost nothing."""

    def on_fit_begin(self, state: TrainingState) -> None:
        """Called once before the first step (step 0)."""

    def on_step_end(self, state: TrainingState) -> None:
        """Called after every optimizer step."""

    def next_step(self, step: int) -> float:
        """Return the next step above `step` at whose end `on_step_end` is wanted.

        Asked at the beginning and after each call; the default is the next step. To be called at every step costs half
        a microsecond, a hundredth of a small network's step; what happened in between is in
        `TrainingState.epoch_losses`.
        """
        return step + 1

    def on_epoch_end(self, state: TrainingState) -> None:
        """Called after the last step of every epoch, with `metrics` filled."""

    def on_fit_end(self, state: TrainingState) -> None:
        """Called once at the end, however the training ended; the best weights are restored by then."""


@dataclass
class _Hook:
    """An observer of steps, and the step at which it wants to be called next."""

    observer: Observer
    due: float = math.inf


class Observers:
    """Calls all observers, and keeps a failing one from killing the training.

    An observer that raises is reported by one warning and not called again; with `strict` the error goes on.

    Attributes:
        due: The next step at which any observer wants to be called; inf if none does.
    """

    def __init__(self, observers: Sequence[Observer], *, strict: bool = False) -> None:
        if not isinstance(observers, Sequence):
            raise UsageError(f"expected a list of observers, got {observers!r:.100}", where="argument observers")
        for observer in observers:
            if not isinstance(observer, Observer):
                raise UsageError(
                    f"expected an Observer, got {observer!r:.100}",
                    where="argument observers",
                    hint="make a class that inherits from neuronwise.learning.Observer, and pass one of it",
                )
        self._strict = strict
        self._failed: set[int] = set()
        self._observers = list(observers)
        self._hooks = [_Hook(o) for o in self._observers if type(o).on_step_end is not Observer.on_step_end]
        self.due: float = math.inf

    def __bool__(self) -> bool:
        return bool(self._observers)

    def step_end(self, state: TrainingState) -> None:
        """Call `on_step_end` of those who are due."""
        for hook in self._hooks:
            if state.step < hook.due:
                continue
            try:
                hook.observer.on_step_end(state)
                hook.due = hook.observer.next_step(state.step)
            except Exception as error:  # noqa: BLE001 - whatever a listener does, the training goes on
                self._report(hook.observer, "on_step_end", state, error)
        self._look_ahead()

    def _look_ahead(self) -> None:
        self.due = min([hook.due for hook in self._hooks], default=math.inf)

    def fit_begin(self, state: TrainingState) -> None:
        """Call `on_fit_begin` of all, and ask when their first step is due."""
        self._call("on_fit_begin", state)
        for hook in self._hooks:
            try:
                hook.due = hook.observer.next_step(state.step)
            except Exception as error:  # noqa: BLE001 - as above
                self._report(hook.observer, "next_step", state, error)
        self._look_ahead()

    def epoch_end(self, state: TrainingState) -> None:
        """Call `on_epoch_end` of all."""
        self._call("on_epoch_end", state)

    def fit_end(self, state: TrainingState) -> None:
        """Call `on_fit_end` of all."""
        self._call("on_fit_end", state)

    def _call(self, moment: str, state: TrainingState) -> None:
        for observer in [o for o in self._observers if id(o) not in self._failed]:
            hook: Callable[[TrainingState], None] = getattr(observer, moment)
            try:
                hook(state)
            except Exception as error:  # noqa: BLE001 - as above
                self._report(observer, moment, state, error)

    def _report(self, observer: Observer, moment: str, state: TrainingState, error: Exception) -> None:
        if self._strict:
            raise error
        self._failed.add(id(observer))
        self._hooks = [hook for hook in self._hooks if hook.observer is not observer]
        self._look_ahead()
        logger.debug("observer failed", exc_info=error)
        warnings.warn(
            f"{type(observer).__name__}.{moment} failed at step {state.step} and is not called again: "
            f"{type(error).__name__}: {error}. The training goes on; pass strict=True to stop at such an error.",
            RuntimeWarning,
            stacklevel=3,
        )
