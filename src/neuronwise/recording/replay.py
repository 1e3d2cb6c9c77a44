"""Replay: any step of a recorded training, taken again from the nearest stored state before it.

Every step is decided by the parameters, buffers and optimizer state before it and by its number, from which its rows,
its learning rate and what is dropped follow. So with the data at hand each step can be repeated exactly, and whatever
it computed is there again though it was never stored ("hindsight logging", Garcia et al., VLDB 2021).
"""

from __future__ import annotations

import math
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError, ReplayWarning, UsageError
from neuronwise.learning.schedules import schedule_from_settings
from neuronwise.learning.stepping import Snapshot, Stepper
from neuronwise.learning.threads import blas_threads
from neuronwise.network import Network, get_loss
from neuronwise.recording.batches import Batches, FitBatches, PassBatches, TrainingData
from neuronwise.recording.described import network_of, optimizer_of, settings_of
from neuronwise.recording.reader import RecordedHistory
from neuronwise.recording.replayed_step import ReplayedStep, copied_trace
from neuronwise.recording.schedule import step_time_us
from neuronwise.recording.statistics import Measured, Statistics

Array = NDArray[np.floating[Any]]

# Steps that are taken to compare with the next stored state.
_CHECKED_WITHIN = 10_000
# Between two stored states others are kept in memory: apart by steps of about so many microseconds, at least so many
# steps, up to a share of the machine's memory and so many bytes (fewer where it does not say how much it has).
_KEPT_EVERY_US, _LEAST_KEPT = 25_000, 8
_USUAL_BATCH = 32
_KEPT_SHARE, _KEPT_BYTES, _KEPT_BYTES_UNKNOWN = 0.125, 2_000_000_000, 256_000_000


@dataclass(frozen=True)
class Difference:
    """How a replay differed from what was stored.

    Attributes:
        step: The step of the stored state.
        what: ``"weights"`` or ``"loss"``.
        largest: The largest absolute difference.
        count: How many numbers differ.
        of: Of how many.
    """

    step: int
    what: str
    largest: float
    count: int
    of: int

    def __str__(self) -> str:
        return (
            f"step {self.step:,} taken again differs from what was stored: the {self.what} by at most "
            f"{self.largest:.3g}, in {self.count:,} of {self.of:,} numbers"
        )


class Replay:
    """The steps of a recorded training, repeated on demand.

    Going on from where the last call ended costs only the steps between; going back, those from the nearest stored
    state. Bits are those of the training on the same machine, with the same versions and the same number of threads.

    Each is checked: the loss of every step taken again against the recorded one, and the weights against the next
    stored state, for which the steps up to that one are taken too, once, if they are at most 10,000. A difference is
    told by a `ReplayWarning`, kept in `differences`, and does not grow: the replay goes on from what was stored.

    Args:
        history: The recording.
        data: What the training learned from; of calls of `partial_fit` a list.
        threads: Threads of the matrix products; that of the training.
        verify: Whether the steps up to the next stored state are taken too, to compare.

    Raises:
        FormatError: The recording does not say how to repeat a step.
        UsageError: The data is not that of the training.
    """

    def __init__(
        self,
        history: RecordedHistory,
        data: TrainingData | Sequence[TrainingData],
        *,
        threads: int | None = 1,
        verify: bool = True,
    ) -> None:
        settings = settings_of(history)
        self.history, self._threads, self._verify = history, threads, verify
        try:
            if history.passes:
                every = [data] if isinstance(data, TrainingData) else list(data)
                self._batches: Batches = PassBatches(history.passes, int(settings["seed"]), every)
            elif isinstance(data, TrainingData):
                self._batches = FitBatches(settings, data)
            else:
                raise UsageError("a list is for calls of partial_fit only", where="argument data")
            self.network = network_of(history)
            self._optimizer, self._schedule = optimizer_of(settings), schedule_from_settings(settings["schedule"])
            self._seed, self._clip = int(settings["seed"]), settings["clip_norm"]
            activation = self.network.layers[-1].activation
            self._loss = get_loss(settings["loss"], activation.name if activation else "identity")
            self._planned = int(history.description["planned_steps"])
            step_us = step_time_us(self.network, int(settings.get("batch_size", _USUAL_BATCH)))
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            if isinstance(error, UsageError):
                raise
            raise FormatError(f"a setting is missing or wrong: {error}", where=str(history.folder)) from None
        self._optimizer.start(self.network.parameters)
        if tuple(self._optimizer.state) != history.layout.optimizer_names:
            raise FormatError("what is stored is not of the optimizer that is said", where=str(history.folder))
        self._steppers: dict[int, Stepper] = {}
        self._statistics = Statistics(self.network, history.layout)
        self.differences: list[Difference] = []
        self._stored = frozenset(history.steps.tolist())
        self._loss_steps, self._losses = (np.ascontiguousarray(history.scalars[name]) for name in ("step", "loss"))
        self._verified: set[int] = set()
        self._whole: dict[int, bool] = {}
        self._at: int | None = None
        # States between stored ones, the last used: going to a step near one that was visited then takes fewer steps.
        self._kept: OrderedDict[int, Snapshot] = OrderedDict()
        self._interval, self._keep_every = 0, max(_LEAST_KEPT, math.ceil(_KEPT_EVERY_US / max(1.0, step_us)))
        self._kept_room = _kept_bytes() // max(1, self._state_bytes())

    @property
    def last_step(self) -> int:
        """The last step that was taken, as far as the recording tells."""
        return self.history.last_step

    @property
    def steps(self) -> range | NDArray[np.int64]:
        """All steps that can be answered, ascending: every one from the first stored, where all data is at hand."""
        stored, last = self.history.steps, self.last_step
        every = range(int(stored[0]), last + 1)
        missing = [(max(first, every[0]), min(stop, last)) for first, stop in self._batches.missing()]
        if not any(first <= stop for first, stop in missing):
            return every
        # A step follows from the stored state before it, if what each step between learned from is at hand.
        is_missing = np.zeros(last + 2, dtype=np.int64)
        for first, stop in missing:
            is_missing[first : stop + 1] = 1
        steps = np.arange(every[0], last + 1)
        before = stored[np.searchsorted(stored, steps, "right") - 1]
        count = np.cumsum(is_missing)
        found: NDArray[np.int64] = steps[count[steps] == count[before]]
        return every if len(found) == len(every) else found

    def at(self, step: int) -> Network:
        """Return a copy of the network as it was after a step; 0 is before the first.

        Raises:
            NotFoundError: The training took no such step.
        """
        self._go_to(step)
        found = self.network.copy()
        self._check_ahead()
        return found

    def step(self, step: int) -> ReplayedStep:
        """Return everything that a step computed, from 1.

        Raises:
            NotFoundError: The training took no such step.
        """
        self._before(step)
        before, memory = self.network.copy(), self._optimizer.snapshot()
        stepper, rows, epoch, loss = self._forward_backward(step)
        passes = stepper.space.passes
        trace, delta = copied_trace(passes)
        with blas_threads(self._threads), np.errstate(all="ignore"):
            self._optimizer.keeps_update = True
            stepper.update()
        self._at = step
        names = [layer.name for layer in self.network.layers]
        gradients, update = (
            {
                name: {key: values.copy() for key, values in views.items()}
                for name, views in zip(names, self.network.views(flat), strict=True)
                if views
            }
            for flat in (stepper.gradients, self._optimizer.update)
        )
        found = ReplayedStep(
            step=step,
            epoch=epoch,
            rows=rows.copy(),
            y=stepper.y[rows],
            loss=loss,
            learning_rate=stepper.rate(step),
            trace=trace,
            delta=delta,
            gradients=gradients,
            update=update,
            before=before,
            after=self.network.copy(),
            _optimizer=self._optimizer,
            _memory=memory,
            _passes=lambda: self._forward_backward_again(step),
        )
        self._compare(step)
        self._check_ahead()
        return found

    def measure(self, steps: Iterable[int]) -> dict[int, tuple[NDArray[np.void], NDArray[np.void]]]:
        """Return, for each step, its row of statistics and its row of histograms, the same as if they were stored."""
        found = {}
        for step in sorted(set(steps)):
            if step == 0:
                self._go_to(0)
                taken = Measured(self.network.parameters, None, None, ())
            else:
                self._before(step)
                stepper, _, _, _ = self._forward_backward(step)
                with blas_threads(self._threads), np.errstate(all="ignore"):
                    self._optimizer.keeps_update = True
                    stepper.update()
                self._at = step
                is_scaled, rate = self._optimizer.is_scaled_gradient, self._optimizer.learning_rate
                taken = Measured(
                    self.network.parameters,
                    stepper.gradients,
                    None if is_scaled else self._optimizer.update,
                    stepper.space.passes,
                    rate if is_scaled else None,
                )
            with blas_threads(self._threads):
                neurons = self._statistics.measure_neurons(taken).copy()
                layers = self._statistics.measure_layers(taken).copy()
            neurons["step"] = layers["step"] = step
            found[step] = neurons, layers
            self._compare(step)
        self._check_ahead()
        return found

    def _before(self, step: int) -> None:
        if step < 1:
            raise NotFoundError(
                f"steps count from 1, got {step}",
                hint="step 0 is the network before training: at(0), neuronwise show RUN --neuron NAME --step 0",
            )
        self._go_to(step - 1, last=step)

    def _forward_backward(self, step: int) -> tuple[Stepper, NDArray[np.int64], int, float]:
        """Compute a step from the state before it, but take it not."""
        epoch, position, data, rows = self._batches.locate(step)
        stepper = self._stepper(data)
        if not position:
            self._enter_epoch(stepper)
        with blas_threads(self._threads), np.errstate(all="ignore"):
            loss = stepper.forward_backward(rows)
            self._compare_loss(step, loss)
        return stepper, rows, epoch, loss

    def _forward_backward_again(self, step: int) -> Stepper:
        self._before(step)
        return self._forward_backward(step)[0]

    def _stepper(self, data: TrainingData) -> Stepper:
        if id(data) not in self._steppers:
            self._steppers.clear()  # calls of `partial_fit` may be many, and each stepper has buffers of its own
            self._steppers[id(data)] = Stepper(
                self.network, data.X, data.y, data.weights, self._loss, self._optimizer, self._clip,
                schedule=self._schedule, seed=self._seed,
            )  # fmt: skip
        return self._steppers[id(data)]

    def _go_to(self, step: int, last: int | None = None) -> None:
        """Bring the network to its state after a step."""
        if not 0 <= step <= self.last_step or (last or 0) > self.last_step:
            raise NotFoundError(
                f"the training took {self.last_step:,} steps, got {step if last is None else last}",
                where=str(self.history.folder),
            )
        start = self._start_for(step)
        self._interval = start
        kept = next((one for one in range(step, start, -1) if one in self._kept), start)
        if self._at is None or not kept <= self._at <= step:
            self._load(kept)
        self._advance(step)

    def _state_bytes(self) -> int:
        network = self.network
        return (1 + len(self._optimizer.state)) * network.parameters.nbytes + network.buffers.nbytes

    def _keep(self) -> None:
        """Keep the present state, and let go of those used longest ago."""
        if not self._kept_room:
            return
        network, state = self.network, self._optimizer.snapshot()
        self._kept[self._at or 0] = Snapshot(network.parameters.copy(), network.buffers.copy(), state)
        while len(self._kept) > self._kept_room:
            self._kept.popitem(last=False)

    def _advance(self, step: int) -> None:
        """Take the steps from where the network is up to this one."""
        assert self._at is not None
        self._optimizer.keeps_update = False
        with blas_threads(self._threads), np.errstate(all="ignore"):
            while self._at < step:
                _, position, data, rows = self._batches.locate(self._at + 1)
                stepper = self._stepper(data)
                if not position:
                    self._enter_epoch(stepper)
                loss = stepper.step(rows)
                self._at += 1
                self._compare_loss(self._at, loss)
                self._compare(self._at)
                if self._at in self._stored:
                    self._interval = self._at
                elif not (self._at - self._interval) % self._keep_every and self._at not in self._kept:
                    self._keep()

    def _start_for(self, step: int) -> int:
        """Return the nearest stored state at or before a step from which one can go on."""
        for stored in self.history.steps[: np.searchsorted(self.history.steps, step, "right")][::-1].tolist():
            if stored not in self._whole:
                self._whole[stored] = self.history.is_whole(stored)
            if self._whole[stored]:
                return int(stored)
        raise NotFoundError("no state is stored from which to begin", where=str(self.history.folder))

    def _load(self, step: int) -> None:
        history, optimizer = self.history, self._optimizer
        if step in self._kept:
            self._kept.move_to_end(step)
            kept = self._kept[step]
            np.copyto(self.network.parameters, kept.parameters)
            np.copyto(self.network.buffers, kept.buffers)
            optimizer.restore(kept.optimizer)
            self._at = step
            self._enter_epoch_of_next(step)
            return
        self.network.parameters[:] = history.parameters(step)
        self.network.buffers[:] = history.buffers(step)
        for name, values in history.optimizer_state(step).items():
            optimizer.state[name][:] = values
        optimizer.steps = self._at = step
        self._enter_epoch_of_next(step)

    def _enter_epoch_of_next(self, step: int) -> None:
        if step < self.last_step and isinstance(self._batches, FitBatches):
            self._enter_epoch(self._stepper(self._batches.locate(step + 1)[2]))

    def _enter_epoch(self, stepper: Stepper) -> None:
        """Give the schedule what it had noted by the end of the epoch before."""
        if stepper.schedule is not None and isinstance(self._batches, FitBatches):
            self._schedule.start(self._planned, self._batches.steps_per_epoch)
            if state := self.history.schedule_state(self._at or 0):
                self._schedule.restore(state)

    def _check_ahead(self) -> None:
        """Go on to the next stored state and compare, unless that was done before or is too far away."""
        if not self._verify or self._at is None:
            return
        steps = self.history.steps
        following = int(steps[min(int(np.searchsorted(steps, self._at)), len(steps) - 1)])
        near = 0 < following - self._at <= _CHECKED_WITHIN and following not in self._verified
        if near and self._batches.has(self._at + 1, following):
            self._advance(following)

    def _compare_loss(self, step: int, loss: float) -> None:
        place = step - 1  # of most trainings every step is stored
        if place >= len(self._losses) or self._loss_steps[place] != step:
            place = int(np.searchsorted(self._loss_steps, step))
        if place == len(self._losses) or self._loss_steps[place] != step:  # of a very long one not
            return
        recorded = float(self._losses[place])
        if recorded != loss and not (np.isnan(recorded) and np.isnan(loss)):
            self._tell(Difference(step, "loss", abs(recorded - loss), 1, 1))

    def _compare(self, step: int) -> None:
        """Compare with the state stored of a step, if there is one."""
        if step not in self._stored or step in self._verified:
            return
        try:
            stored = self.history.parameters(step)
        except FormatError:  # damaged: told by the history
            return
        self._verified.add(step)
        own = self.network.parameters
        if own.tobytes() == stored.tobytes():
            return
        with np.errstate(all="ignore"):
            away = np.abs(own.astype(np.float64) - stored)
        different = ~(own == stored) & ~(np.isnan(own) & np.isnan(stored))
        if different.any():
            largest = float(away[different].max())
            self._tell(Difference(step, "weights", largest, int(np.count_nonzero(different)), own.size))
            if self.history.is_whole(step):
                self._load(step)

    def _tell(self, difference: Difference) -> None:
        self.differences.append(difference)
        if len(self.differences) == 1:
            attempts = self.history.attempts
            by = f", recorded with {attempts[-1].blas} on {attempts[-1].machine}" if attempts else ""
            warnings.warn(
                f"{difference}: another processor, BLAS kernel or number of threads{by}. Every stored state is exact; "
                "what is computed between two differs by about as much.",
                ReplayWarning,
                stacklevel=2,
            )


def _kept_bytes() -> int:
    """Return how many bytes states that are kept may take: of a machine with 16 GB of memory 2 GB."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return min(_KEPT_BYTES, _KEPT_BYTES_UNKNOWN)
    return min(_KEPT_BYTES, int(_KEPT_SHARE * memory))
