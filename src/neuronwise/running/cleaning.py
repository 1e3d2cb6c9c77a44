"""Freeing what is safe elsewhere: recordings that were verified in MLflow, and the cache of fetched runs."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuronwise.errors import FormatError, NeuronwiseError, UsageError
from neuronwise.files import folder_size_bytes
from neuronwise.running.checkpointing import training_lock
from neuronwise.running.locating import Moved
from neuronwise.running.run import runs_folder
from neuronwise.running.stored import cached_runs
from neuronwise.running.syncing import local_run, name_of_run
from neuronwise.running.tracking_file import FILE, TrackingState
from neuronwise.tracking import store_of, stored_run, verify_artifacts
from neuronwise.tracking.manifest import hash_file

_PLACE = "neuronwise/recording"


@dataclass(frozen=True)
class Cleaned:
    """What became of one run.

    Attributes:
        id: Its local id.
        name: Its name.
        outcome: ``"freed"`` (or would be), ``"kept"``: left alone, with the reason, or ``"failed"``: it could not be
            verified, and nothing was deleted.
        message: In a sentence.
        size_bytes: Bytes that were freed, or would be.
        hint: How to mend it, or None.
    """

    id: str
    name: str
    outcome: str
    message: str
    size_bytes: int = 0
    hint: str | None = None


def clean(
    runs: Sequence[str | Path] = (), *, dry_run: bool = False, begun: Callable[[str, str], None] | None = None
) -> Iterator[Cleaned]:
    """Free the local recordings of runs that are in MLflow whole, and yield what became of each.

    Every file that the run's list in the store names is fetched and compared with size and hash, and every file of
    the local recording with that list, before any is deleted. The network, the result and how the training began
    stay; the recording is fetched into the cache when it is next asked for.

    Args:
        runs: Each a run id, its beginning, a name, ``"latest"``, or a folder; default all runs of this machine.
        dry_run: Verify all the same, but delete nothing.
        begun: Called with name and id of each run before it is verified.

    Raises:
        NotFoundError: A run is named that is not on this machine; nothing was deleted.
    """
    folders = [local_run(str(run)) for run in runs] if runs else _all()
    return (_clean_one(folder, dry_run, begun) for folder in dict.fromkeys(folders))


def clean_cache(*, dry_run: bool = False) -> int:
    """Delete the copies of runs that were fetched from MLflow, and return the bytes that were freed, or would be."""
    folder = cached_runs()
    size = folder_size_bytes(folder)
    if not dry_run and folder.is_dir():
        shutil.rmtree(folder)
    return size


def _all() -> list[Path]:
    folder = runs_folder()
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _clean_one(folder: Path, dry_run: bool, begun: Callable[[str, str], None] | None) -> Cleaned:
    try:
        state = TrackingState.find(folder)
        name = state.name if state is not None else name_of_run(folder)
        if (why := _why_kept(folder, state)) is not None or state is None:
            message, hint = why or ("", None)
            return Cleaned(folder.name, name, "kept", message, hint=hint)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(training_lock(folder))
            except UsageError:
                return Cleaned(folder.name, name, "kept", "it still learns, or another process sends it")
            if begun is not None:
                begun(name, folder.name)
            return _free(state, dry_run)
    except NeuronwiseError as error:
        return Cleaned(folder.name, folder.name[:8], "failed", f"nothing was deleted: {error.message}", hint=error.hint)
    except OSError as error:
        problem = f"{error.filename or folder}: {error.strerror or error}"
        return Cleaned(folder.name, folder.name[:8], "failed", problem)


def _why_kept(folder: Path, state: TrackingState | None) -> tuple[str, str | None] | None:
    """Return why a run's recording is left alone without asking the store, and a hint; None if it may be freed."""
    if Moved.find(folder) is not None and not _remains(folder):
        return "its recording was freed before", None
    if not (folder / "recording").is_dir():
        return "it has no recording", None
    if state is None or state.run_id is None or state.store is None:
        hint = f"neuronwise sync {folder.name[:8]} sends it there" if (folder / FILE).is_file() else None
        return "it is only on this machine, not in MLflow", hint
    if not state.is_complete:
        return "not all of it is in MLflow", f"neuronwise sync {folder.name[:8]} sends the rest"
    return None


def _remains(folder: Path) -> dict[str, Path]:
    """Return the files of a run's recording that are on this machine, by their path below it."""
    place = folder / "recording"
    return {path.relative_to(place).as_posix(): path for path in sorted(place.rglob("*")) if not path.is_dir()}


def _free(state: TrackingState, dry_run: bool) -> Cleaned:
    folder = state.folder
    store, run_id = store_of(state.store), str(state.run_id)
    if stored_run(store, run_id).is_deleted:
        hint = f"restore it: mlflow runs restore --run-id {run_id}"
        return Cleaned(folder.name, state.name, "kept", f"its MLflow run {run_id} was deleted", hint=hint)
    listed = verify_artifacts(store, run_id).files
    files = _remains(folder)
    moved = Moved.find(folder)
    for name, path in files.items():
        if name.endswith(".tmp"):  # left behind by a process that was killed while it wrote; never part of it
            continue
        if path.is_symlink() or listed.get(f"{_PLACE}/{name}") != hash_file(path):
            hint = f"neuronwise sync {folder.name[:8]} sends it"
            return Cleaned(folder.name, state.name, "kept", f"recording/{name} is not the same in MLflow", hint=hint)
    if f"{_PLACE}/recording.json" not in listed:
        raise FormatError(f"the list of files of run {run_id} names no recording", where=f"run {run_id}")
    size = sum(path.stat().st_size for path in files.values())
    where = f"its recording is in {store.display_uri}, run {run_id[:8]}: all {len(listed)} files verified"
    if not dry_run:
        if moved is None:
            Moved(folder, store.display_uri, run_id, size, list(files)).save()
        # recording.json first: without it a folder is no recording, should this be cut short.
        for name in sorted(files, key=lambda name: name != "recording.json"):
            files[name].unlink()
        for parent, _, _ in os.walk(folder / "recording", topdown=False):
            os.rmdir(parent)
    return Cleaned(folder.name, state.name, "freed", where, size)
