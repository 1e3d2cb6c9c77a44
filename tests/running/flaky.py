"""What goes wrong with a tracked training: a store that is away, and a process that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from neuronwise.running.run import runs_folder
from neuronwise.tracking.store import Store, open_store

_KILLED = """
import os, signal, sys, time
import neuronwise
from neuronwise.learning import Observer
from neuronwise.running import checkpointing
from neuronwise.tracking import run_log
from tests.running.conftest import make_frame

class Kill(Observer):
    def on_epoch_end(self, state):
        if state.epoch == 4:
            time.sleep(float(sys.argv[1]))
            os.kill(os.getpid(), signal.SIGKILL)

run_log._UPLOAD_EVERY_S, checkpointing._LEAST_SECONDS = 0.05, 0.0
make_frame().to_csv("data.csv", index=False)
neuronwise.train("data.csv", "y", drop=["sign"], layers=[5], epochs=6, name="killed", observers=[Kill()])
"""


def kill_one(seconds: float = 0.0) -> Path:
    """Train in another process, which is killed some seconds after its fourth epoch; return the run's folder."""
    before = set(runs_folder().iterdir()) if runs_folder().is_dir() else set()
    root = str(Path(__file__).parent.parent.parent)
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(seconds)],
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    (folder,) = set(runs_folder().iterdir()) - before
    return folder


class Flaky:
    """Stands before every client that Neuronwise opens.

    Attributes:
        is_down: Whether every call fails.
        fails: Names of calls that fail although it is up.
        calls: How often each call was made and answered.
    """

    def __init__(self) -> None:
        self.is_down = False
        self.fails: set[str] = set()
        self.calls: Counter[str] = Counter()

    def open(self, store: Store, **options: Any) -> Any:
        if self.is_down:
            from neuronwise.errors import TrackingError

            raise TrackingError("the store is away")
        return _Client(open_store(store, **options), self)

    def install(self, patch: pytest.MonkeyPatch) -> Flaky:
        for module in ("tracker", "reopening", "fetching", "runs"):
            patch.setattr(f"neuronwise.tracking.{module}.open_store", self.open)
        patch.setattr("neuronwise.tracking.background._PAUSES_S", (0.01,))
        patch.setattr("neuronwise.tracking.run_log._UPLOAD_EVERY_S", 0.02)
        return self


class _Client:
    def __init__(self, client: Any, flaky: Flaky) -> None:
        self._client, self._flaky = client, flaky

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if self._flaky.is_down or name in self._flaky.fails:
                raise ConnectionError("connection reset by peer")
            answer = method(*arguments, **options)
            self._flaky.calls[name] += 1
            return answer

        return call
