"""The MLflow side of a watched training: what is sent, in a thread of its own, and how the run ends."""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError
from neuronwise.recording import read_recording
from neuronwise.recording.layout import LayerLayout
from neuronwise.running.findings import closing_lines, described, findings_tags, kept_diagnosis
from neuronwise.running.names import new_local_id
from neuronwise.running.shown_files import INSPECTOR
from neuronwise.running.tracked import Tracking, inspector_line, send_kept
from neuronwise.running.watched_points import FIELDS, is_sent, layer_values, of_step, sent_layers, spacing
from neuronwise.tracking import LOCAL_ID_TAG, Tracker, stored_run
from neuronwise.watching import WatchListener

if TYPE_CHECKING:
    from pathlib import Path

    from neuronwise.diagnosing import Diagnosis
    from neuronwise.running.held_rows import HeldRows
    from neuronwise.running.watched_run import WatchedRun

_log = logging.getLogger("neuronwise")

WATCHED_TAG, DESCRIPTION_TAG = "neuronwise.watched", "mlflow.note.content"
_STATUS = {"failed": "FAILED", "interrupted": "KILLED"}
# How often the thread looks for what has come, and how many things may wait before it is woken.
_EVERY_S, _WAITING = 1.0, 256
_END_TIMEOUT_S = 60.0


class WatchedTracking(Tracking):
    """As `Tracking`, of a training that another framework does.

    In a run that the user has open, unless that holds a watched training already: the next gets a run below it.
    """

    @classmethod
    def open(
        cls, name: str | None, experiment: str | None, params: Mapping[str, Any], description: str
    ) -> WatchedTracking:
        """Open the store and begin a run, or go on in the one that the user has open; without a store stay local.

        Args:
            name: Of a new run.
            experiment: Of a new run.
            params: Parameters.
            description: Of the run, for MLflow's page.
        """
        local_id, began_ms = new_local_id(), int(time.time() * 1000)
        # A description that the user has written stays.
        tags = {WATCHED_TAG: "torch", DESCRIPTION_TAG: description, LOCAL_ID_TAG: local_id}
        tracker = Tracker.start(experiment=experiment, name=name, params=params, tags=tags)
        if WATCHED_TAG in tracker.found_tags and tracker.run_id is not None:
            # The run that is open holds another watched training already, whose files have the same names.
            tags["mlflow.parentRunId"] = tracker.run_id
            tracker.finish(timeout_s=5.0)
            tracker = Tracker.start(name=name, params=params, tags=tags, parent=tracker.run_id)
        tracking = cls(tracker, name, local_id)
        tracking._want(tracker, local_id, began_ms, experiment, dict(params), tags)
        return tracking

    @property
    def is_online(self) -> bool:
        """Whether there is a run that is written to."""
        return self._tracker is not None and self._tracker.is_online

    def log_at(self, metrics: dict[str, float], step: int, when: float) -> None:
        """Send metrics in the background, as of a time (seconds since 1970)."""
        if self._tracker is not None:
            self._tracker.log_metrics(metrics, step, time_ms=int(1000 * when))

    def give_up(self) -> None:
        """End the run as failed: the watching did not begin, or what it saw cannot be sent."""
        if self._tracker is not None:
            self._tracker.finish("FAILED", timeout_s=5.0)

    def complete_watched(self, run: WatchedRun) -> None:
        """Send what is not there yet of a run that has ended, and end it; one that the user had opened goes on."""
        status = _STATUS.get(run.status, "FINISHED")
        found = kept_diagnosis(run.folder)
        tags = {"neuronwise.status": run.status, "neuronwise.folder": str(run.folder)} | findings_tags(found)
        tags |= self._described(found, run.folder)
        self._note(status, tags)
        tracker = self._tracker
        if tracker is not None and tracker.is_online:
            tracker.try_again()  # it may have come back
            tracker.set_tags(tags)
            send_kept(tracker, run.folder, None, None)
            self._is_complete = True
            tracker.finish(status, timeout_s=30.0)  # type: ignore[arg-type]
            self._note(status, is_complete=not tracker.has_lost)
        if self._state is not None and not self._state.is_complete:
            self._sentences.append(
                f"nothing of it is lost: it is kept in {run.folder}, and neuronwise sync {run.id[:8]} sends to MLflow "
                "what is missing there"
            )

    def _described(self, found: dict[str, Any] | None, folder: Path) -> dict[str, str]:
        """Return the description with what was found, unless the user has written another meanwhile."""
        paragraphs = described(found)
        linked = [inspector_line(self._place)] if (folder / INSPECTOR).is_file() else []
        if self._state is None or not (paragraphs or linked):
            return {}
        written = str(self._state.tags.get(DESCRIPTION_TAG, ""))
        if self._tracker is not None and self._tracker.is_online and self._tracker.run_id is not None:
            try:
                there = stored_run(self._tracker.store, self._tracker.run_id).tags
            except NeuronwiseError:
                return {}  # it is not known, and theirs must stay
            if there.get(DESCRIPTION_TAG) != written:
                return {}
        return {DESCRIPTION_TAG: "\n\n".join([*linked, written, *paragraphs])}


class WatchedSender(WatchListener):
    """Takes what a watcher recorded, on the training's thread, and sends it to MLflow from one of its own.

    Args:
        tracking: Where to.
        run: What is kept beside the recording; written anew at the end.
        folder_held: Released when the run has ended: its folder. The thread holds it, as a watcher that nobody holds
            any more is garbage, with what only it holds, which would be released at once, or by two threads together.
        diagnose: Whether to say at the end why the training went as it did.
        has_page: Whether to make the inspector at the end.
        redact: Whether no row may be shown in it.

    Attributes:
        has_page: See the arguments.
        held: Rows that were held out, for the inspector; None: none.
        diagnosis: What was found at the end; None where that was not wanted, or could not be made.
        undiagnosed: Why it could not be made, in sentences.
    """

    def __init__(
        self,
        tracking: WatchedTracking,
        run: WatchedRun,
        folder_held: contextlib.ExitStack,
        *,
        diagnose: bool = False,
        has_page: bool = False,
        redact: bool = False,
    ) -> None:
        self._tracking, self.run, self._folder_held, self._diagnose = tracking, run, folder_held, diagnose
        self.has_page, self._redact = has_page, redact
        self.held: HeldRows | None = None
        self.diagnosis: Diagnosis | None = None
        self.undiagnosed: list[str] = []
        self._tells = False
        self._queue: deque[tuple[str, int, Any, float]] = deque()
        self._wake, self._done = threading.Event(), threading.Event()
        self._status: str | None = None
        self._layers: list[LayerLayout] | None = None
        self._last_frame = 0
        self._logged: set[tuple[int, str]] = set()
        self.problems: list[str] = []
        self._thread = threading.Thread(target=self._work, daemon=True, name="neuronwise-watch")
        self._thread.start()

    def on_loss(self, step: int, loss: float, learning_rate: float) -> None:
        """See the base class."""
        if is_sent(step):
            self._take("loss", step, (loss, learning_rate))

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """See the base class."""
        self._take("metrics", step, dict(metrics))

    def on_frame(self, step: int, row: NDArray[np.void], metrics: Mapping[str, float]) -> None:
        """See the base class."""
        if metrics:
            self._take("metrics", step, dict(metrics))
        if step and step - self._last_frame >= spacing(step):
            self._last_frame = step
            self._take("frame", step, ({name: row[name][0].copy() for name in FIELDS}, set(metrics)))

    def _take(self, kind: str, step: int, content: Any) -> None:
        if not self._tracking.is_online:
            return
        self._queue.append((kind, step, content, time.time()))
        if len(self._queue) == _WAITING:
            self._wake.set()

    def end(self, status: str, steps: int, *, wait: bool) -> None:
        """Send what is left and end the run; a second call does nothing.

        Args:
            status: How the training ended.
            steps: Steps that it took.
            wait: Whether to wait until it is done; else that happens when the process ends.
        """
        if self._status is not None:
            return
        self.run.steps = steps
        self._tells = not wait
        self._status = status
        self._wake.set()
        if wait and threading.current_thread() is not self._thread:
            self._join()
            self._tell()
        else:
            atexit.register(self._join)

    def _join(self) -> None:
        # In slices, so that Ctrl-C is seen at once on every platform.
        end = time.monotonic() + _END_TIMEOUT_S
        while not self._done.wait(0.2) and self._thread.is_alive() and time.monotonic() < end:
            pass

    # ------------------------------------------------------------------ in the thread

    def _work(self) -> None:
        try:
            while self._status is None:
                self._wake.wait(_EVERY_S)
                self._wake.clear()
                self._drain()
            self._drain()
            self._conclude(self._status)
        except Exception as error:  # noqa: BLE001 - nobody hears what a thread raises
            _log.debug("sending what was watched failed", exc_info=error)
            self.problems.append(f"not all of it was sent to MLflow: {type(error).__name__}: {error}")
            self._tracking.give_up()
        finally:
            try:
                self._folder_held.close()
            except Exception as error:  # noqa: BLE001 - whoever waits for the end must not wait for ever
                _log.debug("releasing the run's folder failed", exc_info=error)
                self.problems.append(f"the run's folder was not released: {type(error).__name__}: {error}")
            if self._tells:
                self._tell()
            self._done.set()

    def _tell(self) -> None:
        """Say in closing lines, once, what was found."""
        found, problems = self.diagnosis, self.undiagnosed
        if found is not None and sys.stderr is not None:
            is_elsewhere = self.run.folder.name != self.run.id
            lines = closing_lines(found.to_dict(), str(self.run.folder) if is_elsewhere else self.run.id[:8])
            with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                sys.stderr.write("".join(f"{line}\n" for line in lines))
        for problem in problems:
            warnings.warn(f"{problem}. The recording is complete: {self.run.folder}", RuntimeWarning, stacklevel=6)

    def _drain(self) -> None:
        while self._queue:
            kind, step, content, when = self._queue.popleft()
            if kind == "loss":
                values = of_step(*content)
            elif kind == "metrics":
                values = content
                self._logged |= {(step, name) for name in content}
            else:
                fields, told = content
                values = {name: value for name, value in self._of_frame(fields).items() if name not in told}
            self._tracking.log_at(values, step, when)

    def _of_frame(self, content: dict[str, NDArray[Any]]) -> dict[str, float]:
        if self._layers is None:
            try:
                layout = read_recording(self.run.folder / "recording").layout
            except (NeuronwiseError, OSError):  # read when the next frame has come
                return {}
            self._layers = sent_layers(layout)
            if len(self._layers) < len(layout.observed):
                self.problems.append(
                    f"MLflow shows the norms of {len(self._layers)} of {len(layout.observed)} layers, at equal "
                    "distances: a run takes 200 metrics; the recording holds all of them"
                )
        return layer_values(content, self._layers)

    def _conclude(self, status: str) -> None:
        """Send what only the recording has, write down how it ended, and end the run."""
        try:
            for step, metrics in read_recording(self.run.folder / "recording").metrics:
                missing = {name: value for name, value in metrics.items() if (step, name) not in self._logged}
                if missing:
                    self._tracking.log_metrics(missing, step)
        except (NotFoundError, FormatError):
            pass  # no step was taken
        self.run.status = status
        try:
            self.run.save()
        except OSError as error:
            self.problems.append(f"how the run ended was not written down: {error}")
        if self._diagnose and (self.run.folder / "recording" / "recording.json").exists():
            from neuronwise.running.diagnosed import keep_diagnosis

            self.diagnosis = keep_diagnosis(self.run.folder, self.run.name, told=self.undiagnosed.append)
        if self.has_page and (self.run.folder / "recording" / "recording.json").exists():
            from neuronwise.running.watched_inspector import keep_watched_inspector

            found = None if self.diagnosis is None else self.diagnosis.to_dict()
            keep_watched_inspector(
                self.run.folder, held=self.held, redact=self._redact, diagnosis=found, told=self.undiagnosed.append
            )
        self._tracking.complete_watched(self.run)
        self.problems += self._tracking.not_logged
