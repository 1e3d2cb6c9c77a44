"""Opening the recording of a run, with the data it needs to repeat a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.learning import prepare_targets
from neuronwise.learning.rows import row_weights
from neuronwise.network import get_loss
from neuronwise.recording import Recording, TrainingData, holds_recording, prepare_given_to_fit, read_recording
from neuronwise.running.checkpointing import SavedTraining
from neuronwise.running.learning_task import targets_to_fit
from neuronwise.running.locating import folder_with_recording, recording_folder
from neuronwise.running.reporter import Reporter
from neuronwise.running.resuming import prepare_again
from neuronwise.running.run import Run


def open_recording(
    run: str | Path | Run, data: Any = None, *, attempt: int | None = None, verify: bool = True
) -> Recording:
    """Return the recording of a run: any weight, gradient and activation, at any step.

    Stored states are read at once, also of a run that still trains. Any other step is taken again from the nearest
    stored one before it, with the same bits; for that the data is prepared when first needed, found by its path and
    compared by its fingerprint. A run that is not on this machine is fetched from MLflow.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; a folder that holds a recording alone; or a `Run`.
        data: What it learned from, where the run cannot find it by itself: a frame or arrays, or a file that was moved;
            what an estimator or `learning.fit` was given, ``(X, y)`` or ``(X, y, sample_weight)``, of several calls of
            `partial_fit` a list of these in any order; or `TrainingData`, or a list of these.
        attempt: What this attempt wrote only: a training that was resumed has several; default what all did.
        verify: Whether each replay goes as far as the next stored state, to compare with it, once.

    Raises:
        NotFoundError: There is no such run, recording or attempt.
        FormatError: The files are no recording, or hostile.
    """
    folder = folder_with_recording(run.folder) if isinstance(run, Run) else recording_folder(run)
    place = folder if holds_recording(folder) else folder / "recording"
    history = read_recording(place, attempt=attempt)
    threads = history.attempts[-1].threads if history.attempts else 1
    if _is_prepared(data):
        return Recording(history, lambda: data, threads=threads, verify=verify)
    said = history.description.get("data")
    if isinstance(said, dict) and isinstance(how := said.get("estimator"), dict):
        from neuronwise.running.estimators.given import prepare_given

        return Recording(
            history, lambda: prepare_given(folder, history, how, data), threads=threads, verify=verify
        )  # fmt: skip
    try:
        saved = SavedTraining.load(folder)
    except NotFoundError:
        return Recording(history, lambda: prepare_given_to_fit(history, data), threads=threads, verify=verify)
    return Recording(history, lambda: _training_data(saved, data), threads=threads, verify=verify)


def _is_prepared(data: Any) -> bool:
    """Return whether data is as `fit` had it already."""
    if isinstance(data, TrainingData):
        return True
    return isinstance(data, Sequence) and len(data) > 0 and all(isinstance(one, TrainingData) for one in data)


def _training_data(saved: SavedTraining, data: Any) -> TrainingData:
    """Return the data of a run as `fit` had it."""
    prepared, network = prepare_again(saved, data, Reporter()), saved.model().network
    try:
        loss, class_weights = get_loss(saved.settings["loss"]), saved.settings["class_weights"]
    except KeyError as error:
        raise FormatError(f"the setting {error} is missing", where=str(saved.folder)) from None
    X = prepared.X.reshape(-1, *network.input_shape)
    y = prepare_targets(network, targets_to_fit(prepared), loss, len(X))
    return TrainingData(X, y, prepared.train, row_weights(loss, network, class_weights, None, y, prepared.train))
