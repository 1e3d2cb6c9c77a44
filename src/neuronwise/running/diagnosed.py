"""The diagnosis of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuronwise.diagnosing import Diagnosis, diagnose
from neuronwise.running.opening import open_recording
from neuronwise.running.run import Run


def diagnose_run(run: str | Path | Run, data: Any = None) -> Diagnosis:
    """Return why a run's training did not go well, or what was looked at where it did.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        data: What it learned from, where the run cannot find it by itself.

    Raises:
        NotFoundError: There is no such run, or nothing was recorded of it.
        FormatError: The recording cannot be read.
    """
    return diagnose(open_recording(run, data))
