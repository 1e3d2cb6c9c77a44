"""Where the recording of a run lies: on this machine, or in the MLflow store, from which it is fetched."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from neuronwise.data.checked import Checked
from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, TrackingError, UsageError
from neuronwise.files import write_atomically
from neuronwise.network import read_json
from neuronwise.recording import holds_recording
from neuronwise.running.checkpointing import find_begun
from neuronwise.running.find import find_folder, find_local, find_run
from neuronwise.running.run import Run, not_a_run
from neuronwise.running.stored import cached_runs, fetch_recorded
from neuronwise.running.tracking_file import TrackingState
from neuronwise.running.watched_run import WatchedRun, find_watched, is_watched
from neuronwise.tracking import store_of

FILE = "moved.json"
FORMAT = "neuronwise-moved"
VERSION = 1


@dataclass(frozen=True)
class Moved:
    """Where the recording of a run went, which was freed on this machine; ``moved.json`` of the run's folder.

    Attributes:
        folder: The run's folder.
        store: Address of the MLflow store, without password.
        run_id: Id of the run in it.
        size_bytes: Bytes that were freed.
        files: Names of the files that were verified and freed.
    """

    folder: Path
    store: str
    run_id: str
    size_bytes: int
    files: list[str]

    def save(self) -> None:
        """Write it: before anything is deleted."""
        content = asdict(self) | {"format": FORMAT, "version": VERSION}
        del content["folder"]
        write_atomically(self.folder / FILE, json.dumps(content, indent=1) + "\n")

    @classmethod
    def find(cls, folder: Path) -> Moved | None:
        """Return what `save` wrote; None if the recording was not freed.

        Raises:
            FormatError: The file is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        content = read_json(path, "marker")
        if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
            raise FormatError(f"not the marker of a recording of version {VERSION}", where=str(path))
        checked = Checked(content, str(path))
        files = [str(name) for name in checked.items("files", 1_000_000)]
        return cls(folder, checked.text("store"), checked.text("run_id"), checked.whole("size_bytes"), files)

    def fetch(self) -> Path:
        """Return the run's folder in the cache, fetched from the store if it is not there.

        Raises:
            NotFoundError: The recording is neither here nor there.
        """
        where = f"run {self.folder.name}"
        back = (
            f"put the store back at its place; a run that was deleted comes back by mlflow runs restore --run-id "
            f"{self.run_id}. The network and the result are here all the same"
        )
        try:
            found = fetch_recorded(self.run_id, cached_runs(), store_of(self.store))
        except NeuronwiseError as error:
            raise NotFoundError(
                f"its recording was moved to MLflow ({self.store}) and cannot be fetched: {error.message}",
                where=where,
                hint=back
                if isinstance(error, NotFoundError)
                else error.hint or "make the store reachable and try again",
            ) from None
        if found is None:
            raise NotFoundError(
                f"its recording was moved to MLflow ({self.store}), and is not there any more",
                where=where,
                hint=back,
            )
        return found


def recording_folder(run: str | Path) -> Path:
    """Return the folder of a run which holds its ``recording/`` (or is one), fetched into the cache if it is not here.

    Also of a run that still learns or was killed. A folder is taken as it is.

    Args:
        run: Run id, its beginning, name, ``"latest"``, or a folder.

    Raises:
        NotFoundError: Nothing of that name, or several; or its recording cannot be fetched.
    """
    if not isinstance(run, (str, os.PathLike)):
        raise UsageError(
            f"expected a run, got {run!r:.100}", where="argument RUN", hint="an id, a name, 'latest' or a folder"
        )
    text = str(run)
    path = Path(os.path.expanduser(text))
    if holds_recording(path):
        return path
    folder = path if holds_recording(path / "recording") else find_here(text)
    if folder is not None:
        return folder_with_recording(folder)
    try:
        found = fetch_recorded(text, cached_runs())
    except TrackingError:
        found = None
    except NotFoundError:
        if text.strip() and os.path.exists(path):
            raise not_a_run(text) from None
        raise
    return found or find_folder(run)  # which says what is wrong


def find_here(text: str) -> Path | None:
    """Return the folder of the run of this machine that `text` names, whatever state it is in; None if there is none.

    Raises:
        NotFoundError: Several fit.
    """
    if text == "latest":
        return find_watched(text) or find_begun(text) or find_local(text)
    trained, watched = find_begun(text) or find_local(text), find_watched(text)
    if trained is not None and watched is not None:
        raise NotFoundError(
            f"{text!r} fits 2 runs, a trained and a watched one: {trained.name[:8]}, {watched.name[:8]}",
            where="argument RUN",
            hint="give more of the id",
        )
    return trained or watched


def find_any(run: str | Path) -> Run | WatchedRun:
    """Return the run named, trained by us or watched; fetched from MLflow if it is not on this machine.

    Args:
        run: Run id, its beginning, name, ``"latest"``, or a folder.

    Raises:
        NotFoundError: Nothing of that name, or several.
        FormatError: A file is truncated, corrupt or hostile.
    """
    text = str(run)
    is_folder = os.path.isdir(os.path.expanduser(text))
    if is_folder:
        here = find_watched(text)
    elif text == "latest" or find_local(text) is None:
        here = find_here(text)
    else:
        find_here(text)  # refuses a name that a watched run has too
        return find_run(run)
    if here is None and not is_folder:
        try:
            here = fetch_recorded(text, cached_runs())
        except (TrackingError, NotFoundError):
            here = None  # what is wrong is said below
    if here is not None and is_watched(here):
        return WatchedRun.load(here)
    return find_run(run)


def folder_with_recording(folder: Path) -> Path:
    """Return a run's folder, or where its recording was fetched to, if that was freed on this machine.

    Raises:
        NotFoundError: It cannot be fetched.
    """
    moved = Moved.find(folder)
    return folder if moved is None else moved.fetch()


def restore_recording(folder: Path) -> None:
    """Bring the recording of a run back into its folder, before its training goes on; nothing if it is here.

    Without it the recording would begin anew, and what is in the store would be written over.

    Raises:
        NotFoundError: It was freed on this machine and cannot be fetched.
    """
    moved = Moved.find(folder)
    if moved is None:
        if (folder / "recording" / "recording.json").is_file() or (state := TrackingState.find(folder)) is None:
            return
        if state.store is None or state.run_id is None:
            return
        try:
            fetched = fetch_recorded(state.run_id, cached_runs(), store_of(state.store))
        except NeuronwiseError:
            return  # deleted by hand, and in no store: it begins anew
    else:
        fetched = moved.fetch()
    if fetched is None or not (fetched / "recording" / "recording.json").is_file():
        return
    # recording.json last: until it is there, the folder is no recording.
    files = sorted((fetched / "recording").iterdir(), key=lambda path: path.name == "recording.json")
    (folder / "recording").mkdir(exist_ok=True)
    for path in files:
        if path.is_file():
            temporary = folder / "recording" / f".{path.name}.tmp"
            shutil.copyfile(path, temporary)
            temporary.replace(folder / "recording" / path.name)
    (folder / FILE).unlink(missing_ok=True)


__all__ = ["Moved", "find_any", "find_here", "folder_with_recording", "recording_folder", "restore_recording"]
