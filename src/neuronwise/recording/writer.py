"""RecordingWriter: writes what happens in a training into a folder, while it happens."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NeuronwiseError, UsageError
from neuronwise.files import folder_size_bytes
from neuronwise.learning.observers import Observer
from neuronwise.recording.description import begin_attempt, describe, npy_bytes, write_beside, write_description
from neuronwise.recording.layout import Layout
from neuronwise.recording.open_files import OpenFiles
from neuronwise.recording.quantities import layer_summaries
from neuronwise.recording.rows import SCALARS_DTYPE, stream_dtypes
from neuronwise.recording.schedule import DEFAULT_MAX_BYTES, Plan, plan_recording
from neuronwise.recording.segments import read_stream
from neuronwise.recording.states import StateWriter
from neuronwise.recording.statistics import Measured, Statistics

if TYPE_CHECKING:
    from neuronwise.learning.observers import TrainingState
    from neuronwise.network import Network

_log = logging.getLogger("neuronwise")

# Scalars are written at least this often: a divisor of the steps at which a run looks whether a checkpoint is due, so
# that no training goes on from a step whose scalars a kill has cost.
_STEPS_PER_FLUSH, _FLUSH_AFTER_S = 4000, 0.5
# Statistics that were asked for at short distances are worked out so many steps at a time, and of so many bytes.
_SERIES_STEPS, _SERIES_BYTES = 64, 4_000_000
# After a failure (a full disk) writing is tried again, ever later.
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class RecordingWriter(Observer):
    """Records a training: whole states, statistics of every neuron now and then, the loss of every step.

    docs/reference/recording.md describes the folder. What was written survives `kill -9`: of a training of short steps
    the last half second is lost (4,000 steps at most), of one of long steps those since the last keyframe.

    A recording that fails (a full disk) never stops the training: there is one warning, writing is tried again later,
    and the recording says what is missing. Training with and without it gives the same bits.

    Args:
        folder: Made if absent; must not hold a recording, unless `resume`.
        max_bytes: The recording stays below this; whole states are then stored more sparsely.
        keyframe_every: Steps between whole states; default chosen (see `plan_recording`).
        statistics_every: Steps between statistics of every neuron; default chosen. They can be computed for any other
            step later, from the data.
        split: Row numbers of the data by purpose: ``{"train": …, "validation": …}``. Of ``"train"`` the default is the
            rows that are learned from, unless these are all.
        data: JSON values that identify the data: fingerprint, file, target.
        probe: A small fixed set of inputs, (n, *input_shape), kept beside the recording, so that what the neurons
            answered to them at any step can be asked without the data; None keeps none.
        strict: Raise instead of going on without a recording when a measurement fails.
        resume: Continue the recording in `folder` of a training that is resumed.

    Attributes:
        problems: Sentences about what could not be recorded; empty if all is well.
        plan: What is stored when; None before training begins.
        attempt: Number of this attempt, from 1; 0 before training begins.
        acknowledged_step: What was recorded up to this step survives the process; -1 before anything does.
        summaries: Layer summaries of the last epoch by layer name, for others to show or log; empty where it was so
            short that not every one is summed up.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        keyframe_every: int | None = None,
        statistics_every: int | None = None,
        split: Mapping[str, ArrayLike] | None = None,
        data: Mapping[str, Any] | None = None,
        probe: ArrayLike | None = None,
        strict: bool = False,
        resume: bool = False,
    ) -> None:
        self.folder, self._resume = Path(folder), resume
        if (self.folder / "recording.json").exists() and not resume:
            raise UsageError(
                f"{str(self.folder)!r} already holds a recording",
                where="argument folder",
                hint="give a new folder, or delete the old recording",
            )
        if max_bytes <= 0:
            raise UsageError(f"must be above 0, got {max_bytes!r}", where="argument max_bytes")
        self.max_bytes, self.strict = int(max_bytes), strict
        self._keyframe_every, self._statistics_every = keyframe_every, statistics_every
        self.problems: list[str] = []
        self.plan: Plan | None = None
        self.attempt = 0
        self.acknowledged_step = -1
        self.summaries: dict[str, dict[str, float]] = {}
        self._split = {name: np.asarray(rows, dtype=np.int64) for name, rows in (split or {}).items()}
        self._data, self._probe = dict(data or {}), probe
        self._opened: OpenFiles | None = None
        self._active = False
        self._due = 0.0  # the next step at which more is due than a row of the statistics that were asked for
        self._every = 0
        self._series: Statistics | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._hole: int | None = None  # the last step that was recorded before writing failed

    def on_fit_begin(self, state: TrainingState) -> None:
        """Write recording.json and the network before its first update."""
        try:
            self._begin(state)
        except Exception as error:
            self._failed(state.step, error, for_good=not (self._active and isinstance(error, OSError)))
            if self.strict:
                raise

    def next_step(self, step: int) -> float:
        """Return the next step at which something is to be written."""
        if not self._active or self.plan is None:
            return math.inf
        if step >= self._due:
            self._due = min(self.plan.next_step(step), (step // _STEPS_PER_FLUSH + 1) * _STEPS_PER_FLUSH)
        return min(self._due, step + self._every - step % self._every) if self._every else self._due

    def on_step_end(self, state: TrainingState) -> None:
        """Write the scalars so far, and the state and statistics if they are due."""
        step, series = state.step, self._series
        if series is not None and not step % self._every and self._active:
            try:
                series.take(measured(state), step)
                if series.count == series.capacity:
                    self._guard(self.acknowledged_step, self._write_series)
            except Exception as error:
                self._failed(step, error, for_good=True)
                if self.strict:
                    raise
        if step >= self._due:
            self._guard(step, lambda: self._attend(state))

    def on_epoch_end(self, state: TrainingState) -> None:
        """Write the epoch's scalars, metrics and layer summaries, and its weights if they are due."""
        self._guard(state.step, lambda: self._end_epoch(state))

    def on_fit_end(self, state: TrainingState) -> None:
        """Write the delivered network's weights and complete the files."""
        self._retry_at = 0.0
        self._guard(state.step, lambda: self._end_fit(state))
        self.close()

    def close(self) -> None:
        """Complete the files. For a training that ended without `on_fit_end`; a second call does nothing."""
        self._retry_at = 0.0
        self._guard(self.acknowledged_step, self._close)
        self._active = False

    def _guard(self, step: int, action: Callable[[], None]) -> None:
        """Run `action`; a failure makes a hole in the recording, and does not end the training."""
        if not self._active or (self._hole is not None and time.monotonic() < self._retry_at):
            return
        try:
            ends_hole = self._hole is not None and step > self._hole
            if ends_hole:  # first, so that nothing stands behind a hole of which nothing is said
                assert self._hole is not None
                self._files.event("gap", from_step=self._hole + 1, to_step=step, reason=self.problems[-1])
            action()
            if ends_hole:
                self.problems[-1] += f"; it goes on from step {step:,}"
                self._hole = None
            if self._hole is None:  # else it is not known of what is behind it
                self.acknowledged_step = self._flushed
        except OSError as error:
            self._failed(step, error)
            if self.strict:
                raise
        except Exception as error:
            self._failed(step, error, for_good=True)
            if self.strict:
                raise

    def _failed(self, step: int, error: Exception, *, for_good: bool = False) -> None:
        _log.debug("recording failed", exc_info=error)
        self._retry_at = time.monotonic() + _PAUSES_S[min(self._failures, len(_PAUSES_S) - 1)]
        self._failures += 1
        reason = str(error) if isinstance(error, (NeuronwiseError, OSError)) else f"{type(error).__name__}: {error}"
        if for_good or self.strict:
            self._give_up()
        if self._hole is not None:  # it was told before
            return
        self._hole = self.acknowledged_step
        what = "ended early" if for_good else "has a hole"
        self.problems.append(f"the recording in {self.folder} {what} after step {max(self._hole, 0):,}: {reason}")
        if not self.strict and len(self.problems) == 1:  # a disk may be full again and again
            warnings.warn(
                f"{self.problems[-1]}. The training goes on; pass strict=True to stop at such an error.",
                RuntimeWarning,
                stacklevel=4,
            )

    def _give_up(self) -> None:
        """Write no more, and complete what can be completed."""
        self._active = False
        if self._opened is not None and not self._opened.are_ours:
            return
        try:
            self._close()
        except Exception:  # noqa: BLE001 - a failure was told already; what is not sealed stays readable as it is
            _log.debug("closing the recording failed", exc_info=True)

    def _begin(self, state: TrainingState) -> None:
        network = state.network
        self._layout = layout = Layout.of(network, list(state.optimizer_state))
        self.folder.mkdir(parents=True, exist_ok=True)
        resumed = self._resume and (self.folder / "recording.json").exists()
        rows = state.training_rows
        if "train" not in self._split and not np.array_equal(rows, np.arange(len(rows))):
            self._split["train"] = rows
        files = {f"split-{name}.npy": npy_bytes(rows) for name, rows in self._split.items()}
        if self._probe is not None:
            files["probe.npy"] = npy_bytes(network.check_input(self._probe))
        description = describe(state, layout, data=self._data, files=files)
        write_description(self.folder, description)  # first: it refuses to add to the recording of another training
        for name, content in files.items():
            write_beside(self.folder, name, content)
        self.attempt = begin_attempt(self.folder, state.step, description)
        self.plan = self._make_plan(state, folder_size_bytes(self.folder))
        self._opened = opened = OpenFiles(self.folder, stream_dtypes(layout), self.attempt)
        self._states = StateWriter(opened.streams["keyframes"], self.attempt)
        self._statistics = Statistics(network, layout)
        self._framed: set[int] = set()
        self._measured: NDArray[np.void] | None = None
        self._every = self.plan.statistics_every
        self._series = _series(network, layout, _batch_size(state)) if self._every else None
        self._flushed_at = time.monotonic()
        self._schedule_state = dict(state.schedule_state)
        self._flushed, self._active = state.step, True
        kind = "resume" if resumed else "begin"
        opened.event(kind, step=state.step, epochs=state.epochs, plan=_summary(self.plan), notes=list(self.plan.notes))
        if resumed or self.attempt > 1:  # of one that ended at once not even its number may be known
            self._note_lost(state.step)
        self._keyframe(state.step, state.epoch, network.parameters, network.buffers, state.optimizer_state)
        if state.step == 0 and self.plan.frame_every:
            self._frame(state)
        self._states.flush()
        self.acknowledged_step = state.step

    def _note_lost(self, step: int) -> None:
        """Tell of steps before this one that an earlier attempt took, but did not live to record."""
        assert self.plan is not None
        steps = [rows["step"][rows["step"] <= step] for rows in read_stream(self.folder, "scalars", SCALARS_DTYPE, [])]
        last = max((int(one.max(initial=0)) for one in steps), default=0)
        if self.plan.scalars.count(step) > self.plan.scalars.count(last):
            self._files.event(
                "gap", from_step=last and last + 1, to_step=step, reason="the attempt that took them ended before"
            )

    def _make_plan(self, state: TrainingState, used_bytes: int) -> Plan:
        """Return what is stored when, of a training that is about to take its first step."""
        return plan_recording(
            state.network,
            state.epochs * state.steps_per_epoch,
            state.epochs,
            batch_size=_batch_size(state),
            states=len(state.optimizer_state),
            max_bytes=self.max_bytes,
            keyframe_every=self._keyframe_every,
            statistics_every=self._statistics_every,
            taken=state.step,
            used_bytes=used_bytes,
        )

    @property
    def _files(self) -> OpenFiles:
        assert self._opened is not None
        return self._opened

    def _attend(self, state: TrainingState) -> None:
        assert self.plan is not None
        if self.plan.is_keyframe(state.step):
            self._store(state)
        if self.plan.is_frame(state.step):
            self._frame(state)
        is_late = time.monotonic() - self._flushed_at > _FLUSH_AFTER_S
        # At the end: of a step that has scalars nothing else is missing.
        if not state.step % _STEPS_PER_FLUSH or self._hole is not None or is_late:
            self._flush(state)
        self._files.seal(if_due=True)

    def _flush(self, state: TrainingState) -> None:
        """Write the scalars of the steps since the last time, as far as they are of this epoch."""
        assert self.plan is not None
        self._states.flush()
        self._write_series()
        before = state.steps_before_epoch
        first = max(self._flushed, before)
        steps = np.arange(first + 1, state.step + 1, dtype=np.int64)
        losses, rates = (
            values[first - before : state.step - before] for values in (state.epoch_losses, state.epoch_rates)
        )
        if not math.isinf(self.plan.scalars.dense_until):
            kept = np.array([self.plan.scalars.stores(step) for step in steps.tolist()], dtype=bool)
            steps, losses, rates = steps[kept], losses[kept], rates[kept]
        if len(steps):
            rows = np.zeros(len(steps), SCALARS_DTYPE)
            rows["step"], rows["attempt"], rows["epoch"] = steps, self.attempt, state.epoch
            rows["loss"], rows["learning_rate"] = losses, rates
            self._files.append("scalars", rows)
        self._flushed, self._flushed_at = state.step, time.monotonic()

    def _store(self, state: TrainingState) -> None:
        """Store the present state, unless the places that are left are for the last and the delivered one."""
        assert self.plan is not None
        if len(self._states.steps) >= self.plan.max_keyframes - 2:
            return
        network = state.network
        self._keyframe(state.step, state.epoch, network.parameters, network.buffers, state.optimizer_state)

    def _keyframe(
        self,
        step: int,
        epoch: int,
        parameters: NDArray[Any],
        buffers: NDArray[Any],
        optimizer_state: Mapping[str, NDArray[Any]] | None,
    ) -> None:
        """Store a state; without what the optimizer remembered it is one to look at, not to go on from."""
        assert self.plan is not None
        if step in self._states.steps or len(self._states.steps) >= self.plan.max_keyframes:
            return
        values = [parameters, *([buffers] if self._layout.buffer_count else [])]
        for name in self._layout.optimizer_names:
            values.append(np.full_like(parameters, np.nan) if optimizer_state is None else optimizer_state[name])
        self._files.check_place()
        self._states.add(step, epoch, values, whole=optimizer_state is not None)

    def _measure(self, state: TrainingState) -> NDArray[np.void]:
        """Return the statistics of the present step, (1,)."""
        if self._measured is None or self._measured["step"][0] != state.step:
            self._measured = self._statistics.measure_neurons(measured(state))
            self._measured["step"] = state.step
        return self._measured

    def _write_series(self) -> None:
        if self._series is not None and self._series.count:
            rows = self._series.finish()
            rows["attempt"] = self.attempt
            self._files.append("neurons", rows)

    def _frame(self, state: TrainingState) -> None:
        """Store the statistics and histograms of the present step, unless another process took it."""
        if state.step in self._framed or (state.step and not state.passes):
            return
        rows = {"layers": self._statistics.measure_layers(measured(state))}
        if not (state.step and self._series is not None and not state.step % self._every):
            rows["neurons"] = self._measure(state)
        for stream, row in rows.items():
            row["step"], row["attempt"] = state.step, self.attempt
            self._files.append(stream, row)
        self._framed.add(state.step)

    def _end_epoch(self, state: TrainingState) -> None:
        assert self.plan is not None
        self._flush(state)
        self.summaries = {}
        if state.epoch % self.plan.summaries_every == 0 or state.epoch in (1, state.epochs):
            self.summaries = layer_summaries(state.network, self._layout, self._measure(state)[0], state.passes)
        if self.plan.events.stores(state.epoch) or state.epoch == state.epochs:
            self._files.event(
                "epoch",
                epoch=state.epoch,
                step=state.step,
                elapsed_s=state.elapsed_s,
                metrics=state.metrics,
                layers=self.summaries,
                rows=self._files.rows_written(),
            )
        if state.schedule_state != self._schedule_state:
            self._files.event("schedule", step=state.step, state=state.schedule_state)
            self._schedule_state = dict(state.schedule_state)
        if self.plan.epoch_ends:
            self._store(state)
            if self.plan.frame_every:
                self._frame(state)

    def _end_fit(self, state: TrainingState) -> None:
        self._flush(state)
        delivered, last = _delivered(state), None
        if state.divergence is None and state.make_checkpoint is not None:
            last = state.checkpoint()  # as it was before the best weights were put back
        if delivered is not None and (last is None or delivered[0] != last.step):
            whole = state.optimizer_state if delivered[0] == state.step and state.make_checkpoint is None else None
            self._keyframe(*delivered, state.network.parameters, state.network.buffers, whole)
        if last is not None:
            self._keyframe(last.step, last.epoch, last.parameters, last.buffers, last.optimizer_state)
        self._states.flush()
        self._files.event(
            "end",
            status=state.status,
            step=state.step,
            epoch=state.epoch,
            elapsed_s=state.elapsed_s,
            best_step=state.best_step,
            best_epoch=state.best_epoch,
            delivered_step=delivered[0] if delivered is not None else None,
            divergence=None if state.divergence is None else asdict(state.divergence),
            rows=self._files.rows_written(),
        )

    def _close(self) -> None:
        if self._opened is None:
            return
        try:
            self._states.flush()
        finally:
            self._opened.close()


def _batch_size(state: TrainingState) -> int:
    return 32 if state.make_checkpoint is None else int(state.checkpoint().settings["batch_size"])


def _series(network: Network, layout: Layout, batch_size: int) -> Statistics:
    """Return what measures the steps that were asked for, some at a time."""
    fitting = _SERIES_BYTES // max(1, Statistics(network, layout).bytes_per_step(batch_size))
    return Statistics(network, layout, max(1, min(_SERIES_STEPS, fitting)))


def measured(state: TrainingState) -> Measured:
    """Return what is measured of the present step; before the first one of this process there are weights only."""
    if not state.passes:
        return Measured(state.network.parameters, None, None, ())
    if state.is_scaled_gradient:
        return Measured(state.network.parameters, state.gradients, None, state.passes, state.learning_rate)
    return Measured(state.network.parameters, state.gradients, state.update, state.passes)


def _delivered(state: TrainingState) -> tuple[int, int] | None:
    """Return step and epoch of the weights that the network is left with; None if that is not known."""
    if state.status == "diverged":
        # The last finite weights: those before the step at which it began.
        return (state.divergence.step - 1, state.epoch) if state.divergence is not None else None
    if state.best_step is not None:  # its weights were put back: they are recorded under the step they belong to
        return state.best_step, state.best_epoch or 0
    return state.step, state.epoch


def _summary(plan: Plan) -> dict[str, Any]:
    return {"keyframe_every": plan.keyframe_every, "frame_every": plan.frame_every, "epoch_ends": plan.epoch_ends}
