"""The diagnosis of a run: asked for, or made at its end and kept beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuronwise.diagnosing import Diagnosis, diagnose
from neuronwise.diagnosing.markdown import markdown
from neuronwise.files import write_atomically
from neuronwise.recording import Recording, TrainingData, read_recording
from neuronwise.running.findings import forget_diagnosis
from neuronwise.running.opening import open_recording
from neuronwise.running.run import Run
from neuronwise.running.shown_files import DIAGNOSIS, DIAGNOSIS_PAGE


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


def keep_diagnosis(
    folder: Path,
    name: str,
    data: Callable[[], TrainingData] | None = None,
    *,
    told: Callable[[str], None] = lambda message: None,
) -> Diagnosis | None:
    """Diagnose a training that has just ended and write what was found into its folder; nothing wrong is raised.

    Args:
        folder: Of the run, with ``recording/``, to which nobody writes any more.
        name: Of the run, for people.
        data: What it learned from, where that is at hand.
        told: Hears why there is no diagnosis.

    Returns:
        The diagnosis; None if it could not be made.
    """
    try:
        forget_diagnosis(folder)  # of a training that went on
        found = diagnose(Recording(read_recording(folder / "recording"), data, verify=False))
        write_atomically(folder / DIAGNOSIS, json.dumps(found.to_dict(), ensure_ascii=False, indent=1) + "\n")
        write_atomically(folder / DIAGNOSIS_PAGE, markdown(found, f"Diagnosis of {name}"))
    except Exception as error:  # noqa: BLE001 - the training is over and kept; nothing here may end it
        told(f"the training could not be diagnosed: {type(error).__name__}: {error!s:.300}")
        return None
    return found
