"""RunLink: the way to one MLflow run, by a thread in the background; what fails becomes a sentence."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from neuronwise.errors import TrackingError
from neuronwise.tracking.background import BackgroundWriter, Job
from neuronwise.tracking.quiet import SettingsScope, reason
from neuronwise.tracking.store import Store, check_reachable
from neuronwise.tracking.uploads import Uploads

_FILES_TIMEOUT_S = 300.0
_MAX_SENTENCES = 50


class RunLink:
    """A run, and the queue of what is to be done with it. See `Tracker`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.run_id: str | None = None
        self.run_name: str | None = None
        self.experiment_id: str | None = None
        self.owns_run = False
        self.has_lost = False
        self.found_tags: dict[str, str] = {}
        self._process = os.getpid()
        self._client: Any = None
        self._sentences: list[str] = []
        self._lock = threading.Lock()
        self._uploads: Uploads  # set with the run
        self._settings = SettingsScope()
        self._background: BackgroundWriter | None = None
        self._finished = False
        self._gave_up = False

    @property
    def is_online(self) -> bool:
        """Whether there is a run that is written to."""
        return self._background is not None

    @property
    def sent(self) -> tuple[int, int, int]:
        """Points of metrics, files and bytes of files that were sent so far."""
        if self._background is None:
            return 0, 0, 0
        return self._background.sent, self._uploads.sent_files, self._uploads.sent_bytes

    def _say(self, sentence: str) -> None:
        with self._lock:
            if sentence not in self._sentences and len(self._sentences) < _MAX_SENTENCES:
                self._sentences.append(sentence)

    def _submit(self, action: Callable[[], Any], what: str) -> Job | None:
        """Queue a call whose failure becomes a sentence; None if it was not taken."""
        background = self._background
        if background is None or self._finished:
            return None

        def guarded() -> Any:
            try:
                if background.has_failed:
                    check_reachable(self.store)  # 3 s instead of MLflow's retries
                return action()
            except Exception as error:
                self.has_lost = True
                self._say(f"{what} could not be logged: {reason(error)}")
                self._note_if_gone()
                raise

        job = Job(guarded, what)
        if self._gave_up:
            job.refuse(f"no answer within {_FILES_TIMEOUT_S:.0f} s")
        else:
            job = background.submit(guarded, what)
        if job.refused:
            self.has_lost = True
            self._say(f"{what} could not be logged: {job.error}")
            return None
        return job

    def _note_if_gone(self) -> None:
        """After a failure: what comes next need not wait one by one for a store that cannot be reached."""
        try:
            check_reachable(self.store)
        except TrackingError as error:
            if self._background is not None:
                self._background.note_gone(error.message)

    def _wait(self, job: Job) -> bool:
        sent = self.sent
        while not job.wait(_FILES_TIMEOUT_S):
            if self.sent == sent:
                self._gave_up = self.has_lost = True
                self._say(f"{job.what} may not be logged: no answer within {_FILES_TIMEOUT_S:.0f} s")
                return False
            sent = self.sent  # slow, but it comes
        return job.error is None

    def try_again(self) -> None:
        """Let the next call try at once, though the store counted as gone: before what must not be missed."""
        if self._background is not None:
            self._background.try_again()

    def _run(self, action: Callable[[], Any], what: str, wait: bool) -> bool:
        job = self._submit(action, what)
        return job is not None and (not wait or self._wait(job))
