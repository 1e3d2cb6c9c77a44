"""Opening the recording of a run, with the data it needs to repeat a step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.learning import prepare_targets
from neuronwise.learning.rows import row_weights
from neuronwise.network import get_loss
from neuronwise.recording import Recording, TrainingData, read_recording
from neuronwise.running.checkpointing import SavedTraining, find_begun
from neuronwise.running.find import find_folder
from neuronwise.running.learning_task import targets_to_fit
from neuronwise.running.reporter import Reporter
from neuronwise.running.resuming import prepare_again
from neuronwise.running.run import Run


def open_recording(run: str | Path | Run, data: Any = None) -> Recording:
    """Return the recording of a run: any weight, gradient and activation, at any step.

    Stored states are read at once. Any other step is taken again from the nearest stored one before it, with the same
    bits; for that the data is prepared when first needed, found by its path and compared by its fingerprint.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; a folder that holds a recording alone; or a `Run`.
        data: What it learned from, where the run cannot find it by itself: a frame or arrays, or a file that was moved;
            or `TrainingData`, as `learning.fit` was given it.

    Raises:
        NotFoundError: There is no such run or recording.
        FormatError: The files are no recording, or hostile.
    """
    folder = run.folder if isinstance(run, Run) else _folder(run)
    place = folder if (folder / "recording.json").is_file() else folder / "recording"
    history = read_recording(place)
    if isinstance(data, TrainingData):
        return Recording(history, lambda: data)
    try:
        saved = SavedTraining.load(folder)
    except NotFoundError:
        return Recording(history)
    threads = saved.settings.get("threads")
    return Recording(history, lambda: _training_data(saved, data), threads=threads if type(threads) is int else None)


def _folder(run: str | Path) -> Path:
    path = Path(os.path.expanduser(str(run)))
    if os.path.isfile(path / "recording.json") or os.path.isfile(path / "recording" / "recording.json"):
        return path
    return find_begun(str(run)) or find_folder(run)


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
