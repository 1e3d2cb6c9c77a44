"""Runs of the MLflow store: listed beside the local ones, and fetched into the cache."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from neuronwise.errors import NotFoundError
from neuronwise.files import folder_size_bytes, user_cache_folder
from neuronwise.running.checkpointing import can_resume
from neuronwise.running.run import runs_folder
from neuronwise.running.tracking_file import stored_id, tracked_folders
from neuronwise.running.watched_run import has_no_network, is_watched, watched_words
from neuronwise.tracking import (
    LOCAL_ID_TAG,
    RunInfo,
    Store,
    download_artifacts,
    find_run,
    list_runs,
    resolve_store,
)

if TYPE_CHECKING:
    from neuronwise.running.find import Listed

_ID = re.compile(r"[0-9a-f]{32}")
# In the folder of a fetched run: it had ended and is here whole, so the store need not be asked again.
_WHOLE = ".whole"


def local_folder(info: RunInfo, sent: Mapping[str, Path] | None = None) -> Path | None:
    """Return the folder on this machine of a run of the store; None if it is not here.

    Args:
        info: The run.
        sent: `sent_folders`, where several runs are asked for.
    """
    if (found := (sent_folders() if sent is None else sent).get(info.run_id)) is not None:
        return found
    # A run that was sent to MLflow later has another id there than its folder: its tag names that.
    for name in (info.run_id, info.tags.get(LOCAL_ID_TAG, "")):
        if _ID.fullmatch(name) and (runs_folder() / name).is_dir():
            return runs_folder() / name
    return None


def sent_folders() -> dict[str, Path]:
    """Return the folders of local runs by their id in MLflow."""
    return {run_id: folder for folder in tracked_folders() if (run_id := stored_id(folder)) is not None}


def stored_runs(experiment: str | None, limit: int) -> list[Listed]:
    """Return the runs of the user's store.

    Raises:
        TrackingError: The store cannot be used.
    """
    sent = sent_folders()
    return [_listed(info, local_folder(info, sent)) for info in list_runs(resolve_store(), experiment, limit=limit)]


def _listed(info: RunInfo, local: Path | None) -> Listed:
    from neuronwise.running.find import Listed
    from neuronwise.running.scores import METRICS

    watched = "neuronwise.watched" in info.tags and "data" not in info.params
    parameters = info.params.get("watched.parameters" if watched else "parameters", "")
    result = next(((key, info.metrics[f"test/{key}"]) for key in METRICS if f"test/{key}" in info.metrics), None)
    if watched:
        result = next(((key, info.metrics[key]) for key in ("val_loss", "loss") if key in info.metrics), None)
    return Listed(
        info.run_id if local is None else local.name,
        info.name,
        info.started,
        info.tags.get("neuronwise.status") or info.status.lower(),
        watched_words(info.params.get("watched.model", "")) if watched else info.params.get("data", ""),
        int(parameters) if parameters.isdigit() else None,
        result,
        folder_size_bytes(local) if local is not None else 0,
        info.experiment,
    )


def cached_runs() -> Path:
    """Return the folder that holds the runs that were fetched."""
    return user_cache_folder() / "runs"


def fetch_run(text: str, cache: Path) -> Path | None:
    """Return the folder of a run of the store: local if it is here, else fetched into the cache; None if unknown.

    Raises:
        NotFoundError: It left no network, or was not made by Neuronwise.
        TrackingError: The store cannot be used.
    """
    if (whole := _cached(text, cache)) is not None:
        return _with_network(whole)
    store = resolve_store()
    if store.path is not None and not store.path.exists():
        return None
    info = find_run(store, text)
    local = local_folder(info)
    if local is not None and (local / "run.json").is_file():
        return local
    folder = _with_network(_fetch(store, info, cache, local))
    if not (folder / "run.json").is_file():
        raise _left_no_network(info, local)
    return folder


def _with_network(folder: Path) -> Path:
    """Return the folder of a run, which may hold a network; refuse a watched one, which never does."""
    if is_watched(folder) and not (folder / "run.json").is_file():
        raise has_no_network(folder)
    return folder


def fetch_recorded(text: str, cache: Path, store: Store | None = None) -> Path | None:
    """Return the folder of a run of the store with its recording, also of one that still learns or was killed.

    Args:
        text: Names the run, as for `tracking.find_run`.
        cache: Where to fetch it.
        store: Where it is; default the user's store.

    Returns:
        The folder in the cache; None if there is no such store.

    Raises:
        NotFoundError: There is no such run, or it holds no recording.
        TrackingError: The store cannot be used.
    """
    if (whole := _cached(text, cache)) is not None:
        return whole
    store = resolve_store() if store is None else store
    if store.path is not None and not store.path.exists():
        return None
    info = find_run(store, text)
    return _fetch(store, info, cache, local_folder(info))


def _cached(text: str, cache: Path) -> Path | None:
    """Return the folder of a run that is in the cache whole, if its id is given: the store is not asked then."""
    folder = cache / text
    return folder if _ID.fullmatch(text) and (folder / _WHOLE).is_file() else None


def _fetch(store: Store, info: RunInfo, cache: Path, local: Path | None) -> Path:
    """Return a run's folder in the cache, with what is new or has changed in the store fetched into it."""
    folder = cache / info.run_id
    if (folder / _WHOLE).is_file():
        return folder
    if not info.is_ours:
        raise NotFoundError(f"the run {info.name!r} was not made by Neuronwise", where=f"run {info.run_id}")
    try:
        download_artifacts(store, info.run_id, "neuronwise", folder)
    except NotFoundError:
        raise _left_no_network(info, local) from None
    if info.has_ended:  # when it was asked for, so before its files were fetched
        (folder / _WHOLE).touch()
    return folder


def _left_no_network(info: RunInfo, local: Path | None) -> NotFoundError:
    can_go_on = local is not None and can_resume(local)
    return NotFoundError(
        f"the run {info.name!r} ({info.status.lower()}) left no network: it ended before one was saved",
        where=f"run {info.run_id}",
        hint=f"it can go on: neuronwise train --resume {local.name[:8]}" if local is not None and can_go_on else None,
    )
