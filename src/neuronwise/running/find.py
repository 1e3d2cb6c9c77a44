"""RUN: an MLflow run id, the beginning of one, a run name, ``latest``, or a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError, NotFoundError, TrackingError
from neuronwise.files import folder_size_bytes
from neuronwise.running.checkpointing import FOLDER as CHECKPOINT
from neuronwise.running.checkpointing import SavedTraining, begun_trainings, can_resume, find_begun, name_of
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.run import Run, local_runs, not_a_run, runs_folder
from neuronwise.running.tracking_file import named_folder
from neuronwise.running.watched_run import (
    WatchedRun,
    find_watched,
    has_no_network,
    local_watched,
    name_of_watched,
    watched_words,
)


def find_folder(run: str | Path) -> Path:
    """Return the local folder of a run, fetched from MLflow into the cache if it is not on this machine.

    A folder is taken as it is: that of a run, or one that holds a model. Otherwise the local runs are looked
    through (id, beginning of an id of at least 4 characters, name, ``latest``), and only if none fits the MLflow
    store is asked.

    Raises:
        NotFoundError: Nothing of that name, or several.
    """
    text = str(run)
    if not text.strip():
        raise NotFoundError(f"there is no run {text!r}", where="argument RUN", hint="neuronwise runs lists them")
    path = Path(os.path.expanduser(text))
    if _is_folder(text) and any((path / name).is_file() for name in ("run.json", "encoder.json", "network.json")):
        return path
    if (found := find_local(text)) is not None:
        return found
    if (watched := find_watched(text)) is not None:
        raise has_no_network(watched)
    return _fetch(text)


def find_local(text: str) -> Path | None:
    """Return the folder of the run of this machine that `text` names and that left a network; None if there is none.

    Raises:
        NotFoundError: Several fit.
    """
    folders = local_runs()
    if text == "latest":
        return folders[0] if folders else None
    return named_folder(text, folders, _name)


def find_run(run: str | Path) -> Run:
    """Return the run named; see `find_folder`."""
    folder = find_folder(run)
    if not (folder / "run.json").is_file():
        raise NotFoundError(f"{str(folder)!r} holds a model but no run", where="argument RUN")
    return Run.load(folder)


def load(run: str | Path) -> FittedNetwork:
    """Return the fitted network of a run, with its encoder: ``load("latest").predict(frame)``.

    Args:
        run: A run id, the beginning of one, a run name, ``"latest"``, or a folder.

    Raises:
        NotFoundError: Nothing of that name, or several.
        FormatError: A file is truncated, corrupt or hostile.
    """
    folder = find_folder(run)
    return FittedNetwork.load(folder if (folder / "encoder.json").is_file() else folder / "model")


@dataclass(frozen=True)
class Listed:
    """A run as listed.

    Attributes:
        id: Its identifier.
        name: Its name.
        started: When it was begun, or None.
        status: As `Run.status`; for a run that has not ended, MLflow's word in lower case, ``"running"`` or
            ``"killed"``, or ``"unfinished"`` where it is not in MLflow.
        data: Name of the data; of a watched run ``"watched: "`` and the class of the model.
        parameters: Number of weights and biases, or None.
        result: The first metric of its result with its name, or None.
        size_bytes: Bytes of its local folder; 0 where it is not on this machine.
        experiment: MLflow experiment, or ``""``.
    """

    id: str
    name: str
    started: datetime | None
    status: str
    data: str
    parameters: int | None
    result: tuple[str, float] | None
    size_bytes: int
    experiment: str


def list_runs(
    experiment: str | None = None, limit: int = 50, *, ask_store: bool = True
) -> tuple[list[Listed], str | None]:
    """Return the runs of the store and of this machine, the newest first, and why the store could not be asked.

    Args:
        experiment: Only those of this MLflow experiment.
        limit: At most so many.
        ask_store: Whether the store is asked, which takes seconds; if not, there are only those of this machine.
    """
    problem = None
    listed: list[Listed] = []
    try:
        if ask_store:
            from neuronwise.running.stored import stored_runs

            listed = stored_runs(experiment, limit)
    except TrackingError as error:
        problem = error.message + (f" ({error.hint})" if error.hint else "")
    known = {one.id for one in listed}
    if experiment is None:
        listed += [_listed(folder) for folder in local_runs()[:limit] if folder.name not in known]
        listed += [_listed_begun(folder) for folder in _unfinished()[:limit] if folder.name not in known]
        listed += [_listed_watched(folder) for folder in local_watched()[:limit] if folder.name not in known]
    oldest = datetime.fromtimestamp(0).astimezone()
    listed.sort(key=lambda one: one.started or oldest, reverse=True)
    return listed[:limit], problem


def _listed(folder: Path) -> Listed:
    """Return a local run as listed, from its run.json alone; one that cannot be read is listed as damaged."""
    content = _content(folder)
    metrics, data, parameters = content.get("metrics"), content.get("data"), content.get("parameters")
    results = metrics.items() if isinstance(metrics, dict) else ()
    return Listed(
        folder.name,
        str(content.get("name", "")),
        datetime.fromtimestamp((folder / "run.json").stat().st_mtime).astimezone(),
        str(content.get("status", "damaged")),
        str(data.get("name", "")) if isinstance(data, dict) else "",
        parameters if type(parameters) is int else None,
        next(((str(key), float(value)) for key, value in results if type(value) in (int, float)), None),
        folder_size_bytes(folder),
        "",
    )


def _unfinished() -> list[Path]:
    """Return the folders of the local runs that still learn or were killed, the last begun first."""
    return [folder for folder in begun_trainings() if not (folder / "run.json").is_file()]


def _listed_begun(folder: Path) -> Listed:
    """Return such a run as listed; one that cannot be read is listed as damaged."""
    path = folder / CHECKPOINT / "training.json"
    started, size = datetime.fromtimestamp(path.stat().st_mtime).astimezone(), folder_size_bytes(folder)
    try:
        saved = SavedTraining.load(folder)
    except FormatError:
        return Listed(folder.name, "", started, "damaged", "", None, None, size, "")
    return Listed(folder.name, saved.run_name, started, "unfinished", saved.data_name, None, None, size, "")


def _listed_watched(folder: Path) -> Listed:
    """Return a watched run as listed, likewise."""
    size = folder_size_bytes(folder)
    try:
        run = WatchedRun.load(folder)
    except FormatError:
        return Listed(folder.name, "", None, "damaged", "", None, None, size, "")
    return Listed(
        folder.name,
        run.name,
        run.started_at,
        run.status,
        watched_words(run.model),
        run.parameters or None,
        None,
        size,
        "",
    )


def _left_no_network(text: str) -> NotFoundError | None:
    """Return the error for a run that is on this machine, but has no network; None if there is no such run."""
    folder = find_begun(text)
    if folder is None or (folder / "run.json").is_file():
        return None
    return NotFoundError(
        f"the run {name_of(folder)!r} left no network: it still learns, or ended before one was saved",
        where=f"run {folder.name}",
        hint=f"it can go on: neuronwise train --resume {folder.name[:8]}" if can_resume(folder) else None,
    )


def _is_folder(text: str) -> bool:
    # Not by pathlib, which raises for a name that is too long and for the home of nobody.
    return os.path.isdir(os.path.expanduser(text))


def _name(folder: Path) -> str:
    return str(_content(folder).get("name", ""))


def _content(folder: Path) -> dict[str, Any]:
    """Return what run.json holds, nothing if it is damaged: one such file must not hide all other runs."""
    from neuronwise.network import read_json

    try:
        content = read_json(folder / "run.json", "run")
    except FormatError:
        return {}
    return content if isinstance(content, dict) else {}


def _fetch(text: str) -> Path:
    """Return the folder of a run that only the MLflow store has."""
    from neuronwise.running.stored import cached_runs, fetch_run

    if (unfinished := _left_no_network(text)) is not None:
        raise unfinished
    try:
        folder = fetch_run(text, cached_runs())
    except NotFoundError:
        if _is_folder(text):
            raise not_a_run(text) from None
        raise
    except TrackingError as error:
        raise NotFoundError(
            f"there is no run {text!r} on this machine, and the store cannot be asked: {error.message}",
            where="argument RUN",
            hint="neuronwise runs lists what is there; a folder with a run can be named too",
        ) from None
    if folder is None:
        known = [name for path in local_runs() for name in (_name(path), path.name)]
        raise not_a_run(text, known + [name for path in local_watched() for name in (name_of_watched(path), path.name)])
    return folder


__all__ = ["Listed", "find_folder", "find_run", "list_runs", "load", "runs_folder"]
