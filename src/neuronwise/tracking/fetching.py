"""Reading back our own files of a run: only what its list names, each compared with its hash, written whole."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError, NotFoundError, TrackingError, UsageError
from neuronwise.files import format_bytes, write_atomically
from neuronwise.tracking.manifest import Entry, Manifest, fetch_manifest, hash_file
from neuronwise.tracking.quiet import calling_mlflow, reason
from neuronwise.tracking.store import Store, open_store

# What a copy of a run was when it was fetched: files that are the same in the store are not read again.
_FETCHED = ".fetched.json"
_MAX_BYTES = 10_000_000_000
# A run that is written to may change between its list and a file: the list is then read again.
_TRIES = 3
_PAUSE_S = 0.5


class _OtherContentError(FormatError):
    """A file is not the one that the list names."""


def download_artifacts(
    store: Store, run_id: str, path: str, destination: str | Path, *, max_bytes: int = _MAX_BYTES
) -> list[Path]:
    """Copy our own files below `path` of a run into `destination`; return where they lie.

    Only files that the run's list of our files names are fetched, each is compared with its hash and then put into
    its place whole, and none can be written outside `destination`. Nothing in them is run. Files that were fetched
    before and are the same in the store are not fetched again. Of a file that has grown since the list was
    written, the part that the list names is taken.

    Args:
        store: As `resolve_store` returns it.
        run_id: Of the run.
        path: A file or folder in the run, such as ``"neuronwise"``; ``""`` for all.
        destination: A folder, made if absent; paths below `path` are kept.
        max_bytes: Refused if they are larger together.

    Raises:
        NotFoundError: The run has no such files of ours.
        FormatError: The list or a file is damaged.
        TrackingError: The store cannot be used.
    """
    client = open_store(store)
    destination = Path(destination)
    with calling_mlflow():
        for attempt in range(1, _TRIES + 1):
            try:
                return _download(client, run_id, path.strip("/"), destination, max_bytes)
            except _OtherContentError:
                if attempt == _TRIES:
                    raise
                time.sleep(_PAUSE_S)
    raise AssertionError("not reached")


def _download(client: Any, run_id: str, prefix: str, destination: Path, max_bytes: int) -> list[Path]:
    manifest = fetch_manifest(client, run_id)
    files = {
        name: entry
        for name, entry in manifest.files.items()
        if not prefix or name == prefix or name.startswith(f"{prefix}/")
    }
    if not files:
        raise NotFoundError(f"run {run_id} has no files of Neuronwise in {prefix!r}", where=f"run {run_id}")
    total = sum(entry.size_bytes for entry in files.values())
    if total > max_bytes:
        raise UsageError(
            f"the files take {format_bytes(total)}, more than the {format_bytes(max_bytes)} allowed",
            where=f"run {run_id}",
        )
    destination.mkdir(parents=True, exist_ok=True)
    known = _known(destination)
    fetched = []
    for name, entry in files.items():
        relative = name[len(prefix) :].strip("/") if name != prefix else name.rsplit("/", 1)[-1]
        target = destination / relative
        if not _is_here(target, entry, known.files.get(name)):
            target.parent.mkdir(parents=True, exist_ok=True)
            _fetch(client, run_id, name, entry, target)
        fetched.append(target)
    write_atomically(destination / _FETCHED, Manifest(files).to_json())
    return fetched


def _known(destination: Path) -> Manifest:
    """Return what was fetched before; nothing where that is unknown, and the files are then compared."""
    try:
        return Manifest.from_json((destination / _FETCHED).read_bytes())
    except (OSError, FormatError):
        return Manifest()


def _is_here(target: Path, entry: Entry, known: Entry | None) -> bool:
    if target.is_symlink() or not target.is_file() or target.stat().st_size != entry.size_bytes:
        return False
    return known == entry or hash_file(target) == entry


def _fetch(client: Any, run_id: str, name: str, entry: Entry, target: Path) -> None:
    # Beside the target, so that the move is a rename.
    with tempfile.TemporaryDirectory(prefix=".neuronwise-", dir=target.parent) as folder:
        shutil.move(_fetch_into(client, run_id, name, entry, folder), target)


def _fetch_into(client: Any, run_id: str, name: str, entry: Entry, folder: str) -> Path:
    """Return where in `folder` the file lies, whole and with the content that the list names."""
    try:
        local = Path(client.download_artifacts(run_id, name, folder))
    except Exception as error:
        raise TrackingError(f"the file {name!r} cannot be fetched: {reason(error)}", where=f"run {run_id}") from error
    if not local.is_file() or local.is_symlink() or not local.resolve().is_relative_to(Path(folder).resolve()):
        raise FormatError(f"{name!r} is no plain file", where=f"run {run_id}")
    size = local.stat().st_size
    if size > entry.size_bytes and name.endswith(".jsonl") and _starts_with(local, entry):
        return local
    if size != entry.size_bytes or hash_file(local) != entry:
        raise _OtherContentError(f"the file {name!r} is not the one that was logged", where=f"run {run_id}")
    return local


def _starts_with(local: Path, entry: Entry) -> bool:
    """Cut a file that only grows to the part that was listed, if that is how it begins; return whether it is."""
    digest, left = hashlib.sha256(), entry.size_bytes
    with local.open("r+b") as file:
        while left and (piece := file.read(min(left, 1 << 20))):
            digest.update(piece)
            left -= len(piece)
        if left or digest.hexdigest() != entry.sha256:
            return False
        file.truncate(entry.size_bytes)
    return True


def verify_artifacts(store: Store, run_id: str) -> Manifest:
    """Fetch every file that a run's list names, compare it with size and hash, and return the list.

    One file at a time is fetched into a temporary folder, and nothing is kept.

    Raises:
        NotFoundError: The run holds no files of ours.
        FormatError: The list or a file is damaged; the message names it.
        TrackingError: The store cannot be used, or a file cannot be fetched.
    """
    client = open_store(store)
    with calling_mlflow():
        manifest = fetch_manifest(client, run_id)
        for name, entry in manifest.files.items():
            with tempfile.TemporaryDirectory(prefix="neuronwise-") as folder:
                _fetch_into(client, run_id, name, entry, folder)
        return manifest
