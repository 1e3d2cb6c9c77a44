"""What a run keeps so that its training can go on: how it was begun, and where it stands."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.checked import Checked
from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.files import write_atomically
from neuronwise.learning import Checkpoint, Observer, TrainingState
from neuronwise.network import read_json
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.prepare import DataOptions, Prepared
from neuronwise.running.run import runs_folder
from neuronwise.running.tracking_file import stored_id

FORMAT = "neuronwise-training"
VERSION = 1

FOLDER = "checkpoint"
PARTS = ("train", "validation", "test")
_STATE = "state.safetensors"
_SPLIT = "split.safetensors"
_CONCLUDED = "concluded"
# Of the time between two checkpoints at most this share goes into writing one.
_SHARE = 0.01
_LEAST_SECONDS = 2.0
# How often the clock is looked at within an epoch, of steps of some microseconds.
_LOOK_EVERY = 4000


@dataclass(frozen=True)
class SavedTraining:
    """How a training was begun; ``checkpoint/training.json`` of its run.

    Attributes:
        folder: The run's folder.
        run_id: Id of the run.
        run_name: Its name.
        tracking_uri: The MLflow store it is kept in, or None.
        source: What names the data, ``"digits"`` or the absolute path of a file; None for frames and arrays.
        fingerprint: sha256 of the data.
        data_name: Short name of the data.
        kind: ``"table"``, ``"image"`` or ``"array"``.
        data_options: How the data was understood and split.
        settings: How it was trained, as `LearningTask.settings`, and ``threads``.
    """

    folder: Path
    run_id: str
    run_name: str
    tracking_uri: str | None
    source: str | None
    fingerprint: str
    data_name: str
    kind: str
    data_options: DataOptions
    settings: dict[str, Any]

    def save(self, model: FittedNetwork, split: Mapping[str, NDArray[np.int64]]) -> None:
        """Write it, the network before its first step with its encoder, and the rows of each part of the data."""
        from safetensors.numpy import save

        place = self.folder / FOLDER
        model.save(place / "model")
        write_atomically(place / _SPLIT, save({part: np.ascontiguousarray(split[part]) for part in PARTS}))
        content = asdict(self) | {"format": FORMAT, "version": VERSION}
        del content["folder"]
        write_atomically(place / "training.json", json.dumps(content, ensure_ascii=True, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> SavedTraining:
        """Return what `save` wrote.

        Raises:
            NotFoundError: The run keeps no checkpoint.
            FormatError: The file is damaged.
        """
        path = folder / FOLDER / "training.json"
        if not path.is_file():
            raise NotFoundError(
                f"the run in {folder} keeps no checkpoint, so it cannot go on",
                where="argument resume",
                hint="neuronwise train … --from RUN starts anew from its weights",
            )
        where = str(path)
        content = read_json(path, "training")
        if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
            raise FormatError(f"not a training of version {VERSION}", where=where)
        checked = Checked(content, where)
        data_options = Checked(checked.any("data_options"), where).data
        try:
            understood = DataOptions(**data_options)
        except TypeError as error:
            raise FormatError(f"'data_options' do not fit: {error}", where=where) from None
        if isinstance(understood.image_size, list):
            understood.image_size = (int(understood.image_size[0]), int(understood.image_size[1]))
        return cls(
            folder,
            checked.text("run_id"),
            checked.text("run_name"),
            checked.text_or_none("tracking_uri"),
            checked.text_or_none("source"),
            checked.text("fingerprint"),
            checked.text("data_name"),
            checked.text("kind"),
            understood,
            Checked(checked.any("settings"), where).data,
        )

    def model(self) -> FittedNetwork:
        """Return the network before its first step, with its encoder."""
        return FittedNetwork.load(self.folder / FOLDER / "model")

    def split(self, rows: int) -> list[NDArray[np.int64]]:
        """Return which of so many rows are learned from, validated and tested on.

        Raises:
            FormatError: The file is damaged or missing, or its rows are not those of the data.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / FOLDER / _SPLIT
        try:
            with safe_open(path, framework="numpy") as file:
                found = {part: file.get_slice(part) for part in PARTS}
                right = all(one.get_dtype() == "I64" and len(one.get_shape()) == 1 for one in found.values())
                if not right or sum(one.get_shape()[0] for one in found.values()) != rows:
                    raise FormatError(f"it does not split the data's {rows:,} rows", where=str(path))
                split = [file.get_tensor(part) for part in PARTS]
        except (SafetensorError, OSError) as error:
            raise FormatError(f"not a whole safetensors file: {error}", where=str(path)) from None
        if not np.array_equal(np.sort(np.concatenate(split)), np.arange(rows)):
            raise FormatError(f"it does not split the data's {rows:,} rows", where=str(path))
        return split

    def checkpoint(self) -> Checkpoint:
        """Return where the training stands.

        Raises:
            NotFoundError: It was killed before its first checkpoint.
        """
        path = self.folder / FOLDER / _STATE
        if not path.is_file() and self.folder.parent != runs_folder():
            raise NotFoundError(
                f"the run {self.run_name!r} was trained elsewhere: what its training would go on from is there",
                where="argument resume",
                hint="go on there, or start anew from its weights: neuronwise train … --from RUN",
            )
        if not path.is_file():
            raise NotFoundError(
                f"the run {self.run_name!r} was ended before its first checkpoint, or diverged: it cannot go on",
                where="argument resume",
                hint="train it anew",
            )
        return Checkpoint.load(path)


def begun_trainings() -> list[Path]:
    """Return the folders of all local runs that say how they were begun, the last begun first."""
    if not runs_folder().is_dir():
        return []
    found = [path for path in runs_folder().iterdir() if (path / FOLDER / "training.json").is_file()]
    return sorted(found, key=lambda path: -(path / FOLDER / "training.json").stat().st_mtime)


def find_begun(text: str) -> Path | None:
    """Return the folder of a local run, also of one that left no network because its process was killed.

    Args:
        text: Its id, the beginning of that, its name, ``"latest"`` or its folder.

    Raises:
        NotFoundError: Several fit.
    """
    place = Path(os.path.expanduser(text))
    if os.path.isfile(place / FOLDER / "training.json"):
        return place
    begun = begun_trainings()
    if text == "latest":
        return begun[0] if begun else None
    found = [path for path in begun if path.name == text or (len(text) >= 4 and path.name.startswith(text))]
    found = found or [path for path in begun if name_of(path) == text]
    if not found and len(text) >= 4:  # the id in MLflow of a run that was sent there later
        found = [path for path in begun if (stored_id(path) or "").startswith(text)]
    if len(found) > 1:
        raise NotFoundError(
            f"{text!r} fits {len(found)} runs: {', '.join(path.name[:8] for path in found[:5])}",
            where="argument resume",
            hint="give more of the id",
        )
    return found[0] if found else None


def name_of(folder: Path) -> str:
    """Return the name of a run that was begun; empty where that cannot be read, which must not hide the others."""
    try:
        return SavedTraining.load(folder).run_name
    except (FormatError, NotFoundError):
        return ""


def can_resume(folder: Path) -> bool:
    """Return whether the run in a folder keeps a checkpoint."""
    return (folder / FOLDER / _STATE).is_file()


def source_of(data: Any) -> str | None:
    """Return what names the data for another process; None for frames and arrays, which only this one has."""
    if not isinstance(data, (str, Path)):
        return None
    path = Path(os.path.expanduser(str(data)))
    return str(path.resolve()) if path.exists() else str(data)


def save_checkpoint(folder: Path, checkpoint: Checkpoint | None) -> None:
    """Write where a run's training stands; None, for one that diverged, takes an earlier one away."""
    path = folder / FOLDER / _STATE
    if checkpoint is None:
        path.unlink(missing_ok=True)
    else:
        checkpoint.save(path)


def mark_concluded(folder: Path, concluded: bool) -> None:
    """Note whether a run was evaluated and sent since it last learned; a kill may come between.

    Where the run's folder was deleted or moved meanwhile there is nothing to go on from, and nothing is noted.
    """
    path = folder / FOLDER / _CONCLUDED
    if concluded:
        if path.parent.is_dir():
            path.touch()
    else:
        path.unlink(missing_ok=True)


def is_concluded(folder: Path) -> bool:
    """Return whether a run was evaluated and sent since it last learned."""
    return (folder / FOLDER / _CONCLUDED).is_file()


@contextmanager
def training_lock(folder: Path, argument: str = "argument resume") -> Iterator[None]:
    """Hold a run's folder while it trains, so that nobody resumes a training that still runs.

    Args:
        folder: The folder.
        argument: What named it, for the error.

    Raises:
        UsageError: Another process holds it.
    """
    import filelock

    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(place / "lock", thread_local=False)  # a watched run is ended by another thread
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UsageError(
            f"the run in {folder} is being trained already, in this process or another",
            where=argument,
            hint="wait until it ends, or end it with Ctrl-C; a watcher ends with close()",
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Return whether a process trains the run of a folder now."""
    import filelock

    place = folder / FOLDER / "lock"
    if not place.exists():
        return False
    lock = filelock.FileLock(place, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except (filelock.Timeout, OSError):
        return True
    lock.release()
    return False


class CheckpointKeeper(Observer):
    """Writes a checkpoint now and then: seldom enough to cost at most a hundredth of the time, at least 2 s apart.

    A failure to write (a full disk) never ends the training: there is one warning, and it is tried again when the next
    is due.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._due = time.monotonic() + _LEAST_SECONDS
        self._warned = False

    def on_step_end(self, state: TrainingState) -> None:
        """Write one if it is due, within long epochs too."""
        self.on_epoch_end(state)

    def next_step(self, step: int) -> float:
        """Look at the clock now and then only."""
        return (step // _LOOK_EVERY + 1) * _LOOK_EVERY

    def on_epoch_end(self, state: TrainingState) -> None:
        """Write one if it is due."""
        if time.monotonic() >= self._due:
            self._write(state)

    def _write(self, state: TrainingState) -> None:
        began = time.monotonic()
        try:
            save_checkpoint(self._folder, state.checkpoint())
        except OSError as error:
            if not self._warned:
                warnings.warn(
                    f"no checkpoint could be written at step {state.step:,}: {error}. The training goes on, and it is "
                    "tried again; a kill costs what was learned since the last one.",
                    RuntimeWarning,
                    stacklevel=4,
                )
            self._warned = True
        now = time.monotonic()
        self._due = now + max(_LEAST_SECONDS, (now - began) / _SHARE)


def check_same_data(saved: SavedTraining, data: Prepared) -> None:
    """Refuse to go on with other data than the training began with.

    Raises:
        UsageError: The fingerprints differ.
    """
    if data.fingerprint != saved.fingerprint:
        raise UsageError(
            f"the data {data.name!r} is not what the run learned from: its fingerprint is {data.fingerprint[:12]}…, "
            f"that of {saved.data_name!r} was {saved.fingerprint[:12]}…",
            where="argument data",
            hint="hand in the data as it was, or start anew from the run's weights: neuronwise train … --from RUN",
        )
