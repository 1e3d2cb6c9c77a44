"""The diagnosis of a run."""

from __future__ import annotations

from pathlib import Path

from neuronwise.diagnosing import Diagnosis, diagnose
from neuronwise.running.opening import open_recording
from neuronwise.running.run import Run


def diagnose_run(run: str | Path | Run) -> Diagnosis:
    """Return why a run's training did not go well, or what was looked at where it did.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.

    Raises:
        NotFoundError: There is no such run, or nothing was recorded of it.
        FormatError: The recording cannot be read.
    """
    return diagnose(open_recording(run))
