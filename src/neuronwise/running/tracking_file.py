"""tracking.json: what a run wants of MLflow, and how far that has come. It outlives a kill and a store that is away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from neuronwise.data.checked import Checked
from neuronwise.errors import FormatError, NotFoundError
from neuronwise.files import write_atomically
from neuronwise.network import read_json
from neuronwise.running.run import runs_folder
from neuronwise.tracking import DatasetInfo

FILE = "tracking.json"
FORMAT = "neuronwise-tracking"
VERSION = 1


@dataclass
class TrackingState:
    """What a run wants of MLflow; ``tracking.json`` of its folder.

    Attributes:
        folder: The run's folder.
        local_id: What the training is known by in MLflow (tag ``neuronwise.local_id``): 32 hexadecimal digits.
        name: The run's name.
        store: Address of the store that was wanted, without password; None if there was none to be had.
        run_id: Id of the MLflow run; None if there is none yet.
        owns_run: Whether the run was made for this training; one that the user had opened is not ended.
        experiment: The experiment that was asked for, or None.
        began_ms: When the training began, in milliseconds since 1970.
        params: Its parameters.
        tags: Its tags, as far as they are known.
        data_set: Which data it used.
        columns: Names of the input columns, None for arrays.
        status: MLflow's word for how it ended; None while it learns, or if its process was killed.
        is_complete: Whether everything has arrived.
    """

    folder: Path
    local_id: str
    name: str
    store: str | None
    run_id: str | None
    owns_run: bool = True
    experiment: str | None = None
    began_ms: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)
    data_set: DatasetInfo | None = None
    columns: list[str] | None = None
    status: str | None = None
    is_complete: bool = False

    def save(self) -> None:
        """Write it.

        Raises:
            OSError: It cannot be written.
        """
        content = asdict(self) | {"format": FORMAT, "version": VERSION}
        del content["folder"]
        write_atomically(self.folder / FILE, json.dumps(content, ensure_ascii=True, indent=1, default=str) + "\n")

    @classmethod
    def load(cls, folder: Path) -> TrackingState:
        """Return what `save` wrote.

        Raises:
            NotFoundError: The run was not to be kept in MLflow.
            FormatError: The file is damaged.
        """
        path = folder / FILE
        content = read_json(path, "tracking")
        if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
            raise FormatError(f"not the tracking of a run of version {VERSION}", where=str(path))
        checked = Checked(content, str(path))
        columns = checked.any("columns")
        return cls(
            folder,
            checked.text("local_id"),
            checked.text("name"),
            checked.text_or_none("store"),
            checked.text_or_none("run_id"),
            checked.truth("owns_run"),
            checked.text_or_none("experiment"),
            checked.whole("began_ms"),
            Checked(checked.any("params"), str(path)).data,
            Checked(checked.any("tags"), str(path)).data,
            _data_set(checked.any("data_set"), str(path)),
            None if columns is None else [str(name) for name in checked.items("columns", 10_000_000)],
            checked.text_or_none("status"),
            checked.truth("is_complete"),
        )

    @classmethod
    def find(cls, folder: Path) -> TrackingState | None:
        """Return what `save` wrote; None where the run has no such file, or one that is damaged."""
        try:
            return cls.load(folder)
        except (NotFoundError, FormatError):
            return None


def _data_set(content: Any, where: str) -> DatasetInfo | None:
    if content is None:
        return None
    values = dict(Checked(content, where).data)
    try:
        values["columns"] = tuple((str(name), str(kind)) for name, kind in values["columns"])
        return DatasetInfo(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"'data_set' does not fit: {error}", where=where) from None


def tracked_folders() -> Iterator[Path]:
    """Yield the folders of all local runs that are, or were to be, kept in MLflow."""
    folder = runs_folder()
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if (path / FILE).is_file())


def named_folder(text: str, folders: Iterable[Path], name_of: Callable[[Path], str]) -> Path | None:
    """Return which of some runs' folders `text` names: by id, beginning of an id, name, or id in MLflow; None if none.

    Raises:
        NotFoundError: Several fit.
    """
    folders = list(folders)
    found = [path for path in folders if path.name == text or (len(text) >= 4 and path.name.startswith(text))]
    found = found or [path for path in folders if name_of(path) == text]
    if not found and len(text) >= 4:  # the id in MLflow of a run that was sent there later
        found = [path for path in folders if (stored_id(path) or "").startswith(text)]
    if len(found) > 1:
        candidates = ", ".join(f"{name_of(path)} ({path.name[:8]})" for path in found[:5])
        raise NotFoundError(
            f"{text!r} fits {len(found)} runs: {candidates}", where="argument RUN", hint="give more of the id"
        )
    return found[0] if found else None


def stored_id(folder: Path) -> str | None:
    """Return the id in MLflow of the run in a folder; None if it is not there, as far as is known."""
    state = TrackingState.find(folder)
    return None if state is None else state.run_id
