"""WatchedRun: what is kept of a training that another framework did, beside its recording; and finding one here."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from neuronwise.data.checked import Checked
from neuronwise.errors import FormatError, NotFoundError
from neuronwise.files import folder_size_bytes, write_atomically
from neuronwise.network import read_json
from neuronwise.running.checkpointing import FOLDER as CHECKPOINT
from neuronwise.running.run import runs_folder
from neuronwise.running.tracking_file import named_folder

FILE = "watched.json"
FORMAT = "neuronwise-watched"
VERSION = 1


@dataclass
class WatchedRun:
    """A run whose training was watched; ``watched.json`` of its folder.

    Attributes:
        folder: Its folder, with ``recording/``.
        id: That of the MLflow run, or one of our own where MLflow could not be reached.
        name: Its name.
        model: Class of the model.
        framework: ``"torch"``.
        parameters: Number of its weights and biases, shared ones counted once; 0 where shapes are not known yet.
        started: When it was begun, ISO 8601.
        status: ``"finished"``, ``"failed"``, ``"interrupted"``; ``"unfinished"`` while it is watched and after a kill.
        steps: Steps of the optimizer.
    """

    folder: Path
    id: str
    name: str
    model: str
    framework: str
    parameters: int
    started: str
    status: str = "unfinished"
    steps: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        content = {"format": FORMAT, "version": VERSION} | asdict(self)
        del content["folder"]
        return content

    def save(self) -> None:
        """Write it.

        Raises:
            OSError: It cannot be written.
        """
        write_atomically(self.folder / FILE, json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> WatchedRun:
        """Return what `save` wrote.

        Raises:
            NotFoundError: The folder holds no watched run.
            FormatError: The file is damaged.
        """
        path = folder / FILE
        content = read_json(path, "watched run")
        if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
            raise FormatError(f"not a watched run of version {VERSION}", where=str(path))
        checked = Checked(content, str(path))
        return cls(
            folder,
            checked.text("id"),
            checked.text("name"),
            checked.text("model"),
            checked.text("framework"),
            checked.whole("parameters"),
            checked.text("started"),
            checked.text("status"),
            checked.whole("steps"),
        )

    @property
    def started_at(self) -> datetime | None:
        """When it was begun; None if that cannot be read."""
        try:
            return datetime.fromisoformat(self.started).astimezone()
        except ValueError:
            return None

    @property
    def size_bytes(self) -> int:
        """Bytes of the local folder."""
        return folder_size_bytes(self.folder)


def is_watched(folder: Path) -> bool:
    """Return whether a folder holds a watched run."""
    return (folder / FILE).is_file()


def local_watched() -> list[Path]:
    """Return the folders of all watched runs of this machine, the last begun or ended first."""
    folder = runs_folder()
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if is_watched(path)), key=_last_time, reverse=True)


def find_watched(text: str) -> Path | None:
    """Return the folder of the watched run of this machine that `text` names; None if there is none.

    Args:
        text: Its id, the beginning of that, its name or its folder; ``"latest"`` if no run of ours is later.

    Raises:
        NotFoundError: Several fit.
    """
    place = os.path.expanduser(text)
    if os.path.isfile(os.path.join(place, FILE)):
        return Path(place)
    watched = local_watched()
    if text == "latest":
        others = (path for path in runs_folder().iterdir() if not is_watched(path)) if watched else ()
        return watched[0] if watched and all(_last_time(path) <= _last_time(watched[0]) for path in others) else None
    return named_folder(text, watched, name_of_watched)


def name_of_watched(folder: Path) -> str:
    """Return the name of a watched run; empty where that cannot be read, which must not hide the others."""
    try:
        return WatchedRun.load(folder).name
    except (FormatError, NotFoundError):
        return ""


def watched_words(model: str) -> str:
    """Return what stands for the data in a list of runs, as that is not known."""
    return f"watched: {model}" if model else "watched"


def has_no_network(folder: Path) -> NotFoundError:
    """Return the error for a watched run of which a network with its encoder is asked for."""
    name = name_of_watched(folder) or folder.name
    return NotFoundError(
        f"the run {name!r} was watched while another framework trained it, and left no network of Neuronwise",
        where=f"run {folder.name}",
        hint="what was recorded of it is read by neuronwise show, history and export, and neuronwise.open(RUN)",
    )


def _last_time(folder: Path) -> int:
    """Return when a run was begun or ended, in ns: when one of the files was written that say so."""
    files = (folder / FILE, folder / "run.json", folder / CHECKPOINT / "training.json")
    return max((path.stat().st_mtime_ns for path in files if path.is_file()), default=0)
