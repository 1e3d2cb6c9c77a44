"""The run to which calls of `partial_fit` add: begun by the first, ended when the estimator says so or is gone."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import time
import warnings
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.errors import TrainingDiverged
from neuronwise.learning import FitResult, TrainingState
from neuronwise.learning.observers import Observers
from neuronwise.learning.threads import blas_threads
from neuronwise.recording import PassRecorder, Schedule, TrainingData, describe_pass
from neuronwise.running.checkpointing import training_lock
from neuronwise.running.conclude import run_of
from neuronwise.running.estimators.passes import PassState, Watch, take_pass
from neuronwise.running.estimators.task import Task
from neuronwise.running.estimators.tracked import check_trackable, prepared, recorded_data, settings_of
from neuronwise.running.learning_task import MetricsLogger
from neuronwise.running.run import make_runs_folder
from neuronwise.running.tracked import Tracking

if TYPE_CHECKING:
    from neuronwise.running.run import Run
    from neuronwise.running.training import TrainOptions

# The model and run.json, which are synced to the disk, are written this far apart, and take at most this share of time.
_LEAST_SECONDS, _SHARE = 2.0, 0.01
# Calls whose metrics go to MLflow: all at first, then ever fewer, about so many of a million.
_POINTS = Schedule.fitting(1_000_000, 5_000)


class PassRun:
    """The run of several calls of `partial_fit` of one estimator.

    It knows nothing of the estimator, so that the estimator can be forgotten, which ends the run.

    Args:
        task: That of the first call.
        options: The estimator's parameters.
        given: How what is handed in is prepared, see `describe_given`.

    Attributes:
        run: The run as it stands.

    Raises:
        UsageError: What is predicted has no form in which a run could be saved.
    """

    def __init__(self, task: Task, options: TrainOptions, given: dict[str, Any]) -> None:
        check_trackable(task)
        data = prepared(task)
        settings = settings_of(task, options) | {"epochs": None, "patience": None}
        runs = make_runs_folder()
        self._process, self._same, self._due = os.getpid(), _same(task, given), 0.0
        self._is_open, self._has_warned = True, False
        self._finalizer: weakref.finalize[..., Any] | None = None
        self._tracking = Tracking.begin(data, task.choice, settings, options)
        self._held = contextlib.ExitStack()
        with self._tracking.ended_on_error():
            folder = runs / self._tracking.run_id
            self._held.enter_context(training_lock(folder))
            self._tracking.keep(folder)
            none = np.empty(0, dtype=np.int64)
            result = FitResult("running", 0, 0, None, None, 0.0, [], data.train, none, None, None)
            self.run: Run = run_of(data, task.choice.network, settings, result, folder, self._tracking)
            self.run.data["train_rows"] = 0
            self.run.model.save(folder / "model")
            self._data = replace(data, X=data.X[:0], y=data.y[:0], train=none)  # the rows are not kept
            self._recorder = PassRecorder(folder / "recording", data=recorded_data(data, given))
            self._state = PassState(task)
            self._observers = Observers([self._recorder, _PassMetrics(self._tracking, self._recorder)])
            with blas_threads(task.threads):
                self._observers.fit_begin(self._state)
        # After the tracker's own, so that it comes before that.
        atexit.register(self.end_briefly)

    def goes_on_with(self, task: Task, given: dict[str, Any]) -> bool:
        """Return whether a call takes the next steps of this run: nothing has changed that decides a step."""
        return (
            self._is_open
            and self._process == os.getpid()
            and self._state.step == task.optimizer.steps
            and self._state.network is task.choice.network
            and self._same == _same(task, given)
        )

    def end_with(self, estimator: object) -> None:
        """End the run when an estimator is forgotten."""
        self._finalizer = weakref.finalize(estimator, self.end_briefly)
        self._finalizer.atexit = False

    def learn(self, task: Task, data: TrainingData, number: int) -> float:
        """Learn from each row once, recorded; return the mean loss.

        Raises:
            TrainingDiverged: The loss became NaN or infinite; the run has ended.
        """
        state, size = self._state, task.lengths.batch_size
        with self._tracking.ended_on_error():
            state.begin_pass(number, math.ceil(len(data.X) / size))
            self._recorder.begin_pass(state, size, describe_pass(data))
            try:
                loss = take_pass(task, data, number, Watch(self._observers, state))
            except TrainingDiverged as error:
                self._note(len(data.X))
                self.end("diverged", error)
                error.run = self.run
                raise
            except BaseException:
                self._recorder.break_off(state)
                self._note(0)
                self._close("interrupted")
                raise
        self.run.history.append({"epoch": number, "step": state.step, "seconds": state.elapsed_s, "loss": loss})
        self._note(len(data.X))
        if time.monotonic() >= self._due:
            self._save()
        return loss

    def end(self, status: Any = "finished", failure: TrainingDiverged | None = None) -> Run:
        """End the run, send what is missing of it to MLflow, and return it; a second call does nothing."""
        if self._is_open and self._process == os.getpid():
            self._end_recording(status)
            self._tracking.complete(self.run, self._data, failure)
            self._tell()
        return self.run

    def end_briefly(self) -> None:
        """End the run without what takes long, as the interpreter ends or the estimator is forgotten.

        Pictures and model are left for `neuronwise sync` to send.
        """
        if self._is_open and self._process == os.getpid():
            self._end_recording("finished")
            self._tracking.leave(self.run)
            self._tell()

    def _end_recording(self, status: Any) -> None:
        self._state.status = status
        self._observers.fit_end(self._state)
        self._close(status)

    def _close(self, status: str) -> None:
        self._is_open = False
        atexit.unregister(self.end_briefly)
        if self._finalizer is not None:
            self._finalizer.detach()
        self.run.status = status
        self._save()
        self._held.close()

    def _note(self, rows: int) -> None:
        """Bring the run up to the steps taken."""
        self.run.steps, self.run.duration_s = self._state.step, self._state.elapsed_s
        self.run.data["train_rows"] += rows

    def _save(self) -> None:
        began = time.monotonic()
        try:
            self.run.save()
        except OSError as error:  # a full disk ends no training
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(f"the run was not saved: {error}. It is tried again.", RuntimeWarning, stacklevel=4)
        now = time.monotonic()
        self._due = now + max(_LEAST_SECONDS, (now - began) / _SHARE)

    def _tell(self) -> None:
        self.run.not_logged = [*self._tracking.not_logged, *self._recorder.problems]


class _PassMetrics(MetricsLogger):
    """Sends the mean loss of calls, and the layer summaries where there are any, to MLflow; of ever fewer calls."""

    def __init__(self, tracking: Tracking, recorder: PassRecorder) -> None:
        super().__init__(tracking, recorder)
        self._count = 0

    def on_epoch_end(self, state: TrainingState) -> None:
        """Send those of a call."""
        self._count += 1
        if _POINTS.stores(self._count):
            self._send(state.metrics, self._recorder.summaries, state.step)

    def on_fit_end(self, state: TrainingState) -> None:
        """Send those of the last call."""
        if state.metrics and not _POINTS.stores(self._count):
            self._send(state.metrics, self._recorder.summaries, state.step)


def _same(task: Task, given: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a run is of: another one begins when it changes."""
    return (
        task.optimizer.name, task.optimizer.settings(), task.choice.loss.name, task.clip_norm, task.seed, task.threads,
        given["class_weights"],
    )  # fmt: skip
