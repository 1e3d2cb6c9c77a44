"""One background thread that does all writing of a run, so that a training never waits for MLflow.

It has a clock of its own: what is to be done now and then (files that were sealed meanwhile) costs the training
nothing, not even a look at the time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from neuronwise.tracking.quiet import quietly, reason

_log = logging.getLogger("neuronwise")

# A point of a metric: (key, value, milliseconds since 1970, step).
Point = tuple[str, float, int, int]

_MAX_JOBS = 200
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# Failures in a row after which the store counts as gone.
_TRIES = 3

_PERMANENT = frozenset(
    {
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_DOES_NOT_EXIST",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "INVALID_STATE",
        "ENDPOINT_NOT_FOUND",
    }
)


class Job:
    """A call for the background thread, and its outcome."""

    def __init__(self, action: Callable[[], Any], what: str) -> None:
        self.action, self.what = action, what
        self.result: Any = None
        self.error: str | None = None
        self.refused = False
        self._done = threading.Event()

    def run(self) -> None:
        """Call `action`, keeping its result or its error."""
        try:
            with quietly():
                self.result = self.action()
        except Exception as error:  # noqa: BLE001 - told by the one who waits
            _log.debug("MLflow failed: %s", self.what, exc_info=error)
            self.error = reason(error)
        finally:
            self._done.set()

    def refuse(self, why: str) -> None:
        """End without having been run."""
        self.error, self.refused = why, True
        self._done.set()

    def wait(self, timeout_s: float) -> bool:
        """Return whether it ended within the time."""
        # In slices, so that Ctrl-C is seen at once on every platform.
        end = time.monotonic() + timeout_s
        while not self._done.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._done.wait(min(left, 0.2))
        return True


class BackgroundWriter:
    """Sends points of metrics in batches, and runs jobs in order, in a thread that never keeps Python alive.

    When sending fails it is tried again with growing pauses; after three failures the store counts as gone:
    points are kept (up to `max_points`) and sent if it comes back. When it refuses for good (the run was
    deleted), points are dropped.

    Args:
        send: Sends a batch of points; raises if that fails.
        report: Told a sentence about each thing that was not logged.
        interval_s: Points wait so long for company.
        max_points: Points kept in memory; beyond, every second one of each key is let go.
    """

    def __init__(
        self,
        send: Callable[[list[Point]], None],
        report: Callable[[str], None],
        *,
        interval_s: float = 1.0,
        max_points: int = 20_000,
    ) -> None:
        self._send, self._report = send, report
        self._interval_s, self._max_points = interval_s, max_points
        self._condition = threading.Condition()
        self._points: list[Point] = []
        self._jobs: deque[Job] = deque()
        self._regular: Callable[[], int] | None = None
        self._period_s, self._next_regular = 0.0, 0.0
        self._stopping = False
        self._failures = 0
        self._retry_at = 0.0
        self._next_send = 0.0
        self._last_error = ""
        self._dead: str | None = None
        self.sent = self.dropped = self.thinned = 0
        self._thread = threading.Thread(target=self._work, daemon=True, name="neuronwise-mlflow")
        self._thread.start()

    @property
    def is_gone(self) -> bool:
        """Whether the store has failed so often that it is left alone for a while."""
        return self._dead is not None or self._failures >= _TRIES

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt to send failed."""
        return self._failures > 0

    @property
    def pending(self) -> int:
        """Points not sent yet."""
        return len(self._points)

    @property
    def last_error(self) -> str:
        """Why sending failed last; empty if it never did."""
        return self._dead or self._last_error

    def add(self, points: list[Point]) -> None:
        """Take points; returns at once."""
        with self._condition:
            if self._dead is not None or self._stopping:
                self.dropped += len(points)
                return
            self._points += points
            if len(self._points) > self._max_points:
                self._thin()
            self._condition.notify()

    def _thin(self) -> None:
        kept: list[Point] = []
        toggles: dict[str, bool] = {}
        for point in reversed(self._points):  # the latest of each key always stays
            if keep := toggles.get(point[0], True):
                kept.append(point)
            toggles[point[0]] = not keep
        self.thinned += len(self._points) - len(kept)
        self._points = kept[::-1][-self._max_points :]

    def submit(self, action: Callable[[], Any], what: str) -> Job:
        """Queue a call; it runs after those before it."""
        job = Job(action, what)
        with self._condition:
            if self._dead is not None or self._stopping:
                job.refuse(self._dead or "the run has ended")
            elif self._failures >= _TRIES and time.monotonic() < self._retry_at:
                job.refuse(self._last_error)
            elif len(self._jobs) >= _MAX_JOBS:
                job.refuse(f"{_MAX_JOBS} calls are waiting already")
            else:
                self._jobs.append(job)
                self._condition.notify()
        return job

    def every(self, seconds: float, action: Callable[[], int]) -> None:
        """Call `action` in the background now and every so many seconds until the end; nothing waits for it.

        When it fails it is called again later, with the growing pauses of all that fails.

        Args:
            seconds: From the end of one call to the next.
            action: Returns how many things it sent; 0 says nothing about whether the store answers.
        """
        with self._condition:
            self._regular, self._period_s, self._next_regular = action, seconds, 0.0
            self._condition.notify()

    def stop_regular(self) -> None:
        """Call the regular action no more."""
        with self._condition:
            self._regular = None

    def try_again(self) -> None:
        """Let the next call try at once, though the store counts as gone: it may have come back."""
        with self._condition:
            self._retry_at = 0.0
            self._condition.notify()

    def note_gone(self, why: str) -> None:
        """Count the store as gone. For jobs that found it so: those after it are not kept waiting one by one."""
        with self._condition:
            self._last_error = why
            self._failures = max(self._failures, _TRIES - 1)
            self._pause()

    def _pause(self) -> None:
        self._retry_at = time.monotonic() + _PAUSES_S[min(self._failures, len(_PAUSES_S) - 1)]
        self._failures += 1

    def flush(self) -> None:
        """Send all points now. For jobs: runs in the background thread."""
        with self._condition:
            points, self._points = self._points, []
        if points:
            self._try_send(points)

    def close(self, timeout_s: float, last: Callable[[], None] | None = None) -> str | None:
        """Send what is left, then call `last`; return why not all of it succeeded, None if it did.

        Whatever happens, the thread is asked to end, and no later than after `timeout_s` this returns.
        """

        def finish() -> None:
            self._retry_at = 0.0
            self.flush()
            if last is not None:
                last()

        job = Job(finish, "finish")
        with self._condition:
            if self._stopping:
                return None
            self._jobs.append(job)
            self._stopping = True
            self._condition.notify()
        return job.error if job.wait(timeout_s) else f"no answer within {timeout_s:.0f} s"

    def _work(self) -> None:
        while True:
            with self._condition:
                while not (self._jobs or self._stopping or self._is_due() or self._is_regular_due()):
                    self._condition.wait(self._wait_s())
                job = self._jobs.popleft() if self._jobs else None
                if job is None and self._stopping:
                    return
                points: list[Point] = []
                regular = None
                if job is None and self._is_due():
                    points, self._points = self._points, []
                elif job is None:
                    regular = self._regular
            if job is not None:
                job.run()
                self._note_outcome(job)
            elif points:
                self._try_send(points)
            elif regular is not None:
                self._try_regular(regular)

    def _is_due(self) -> bool:
        return bool(self._points) and time.monotonic() >= max(self._next_send, self._retry_at)

    def _is_regular_due(self) -> bool:
        return (
            self._regular is not None
            and self._dead is None
            and time.monotonic() >= max(self._next_regular, self._retry_at)
        )

    def _wait_s(self) -> float | None:
        dues = [self._next_send] if self._points else []
        dues += [self._next_regular] if self._regular is not None and self._dead is None else []
        return max(0.01, max(min(dues), self._retry_at) - time.monotonic()) if dues else None

    def _try_regular(self, action: Callable[[], int]) -> None:
        try:
            with quietly():
                sent = action()
        except Exception as error:  # noqa: BLE001 - tried again, and once more at the end
            _log.debug("MLflow took no files", exc_info=error)
            with self._condition:
                self._last_error = reason(error)
                self._pause()
        else:
            if sent:
                self._failures = 0
        self._next_regular = time.monotonic() + self._period_s

    def _note_outcome(self, job: Job) -> None:
        if job.error is None and job.what not in ("finish", "flush"):
            self._failures = 0

    def _try_send(self, points: list[Point]) -> None:
        try:
            with quietly():
                self._send(points)
        except Exception as error:  # noqa: BLE001 - tried again
            _log.debug("MLflow took no metrics", exc_info=error)
            self._last_error = reason(error)
            with self._condition:
                if getattr(error, "error_code", None) in _PERMANENT:
                    self._dead = self._last_error
                    self.dropped += len(points) + len(self._points)
                    self._points.clear()
                    return
                self._points = points + self._points
                if len(self._points) > self._max_points:
                    self._thin()
                self._pause()
        else:
            self._failures = 0
            self.sent += len(points)
            self._next_send = time.monotonic() + self._interval_s
