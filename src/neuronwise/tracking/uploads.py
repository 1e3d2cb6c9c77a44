"""Sending our own files to a run: each once, under names that every store takes, listed with its hash."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronwise.tracking.manifest import MANIFEST_PATH, Entry, Manifest, hash_file

# A file that changes while it is sent, such as events.jsonl, is sent anew at most this often.
CHANGED_EVERY_S = 60.0
# These are written whole and never change under one name, so they are sent as they lie; of others a copy is sent.
_FINAL = (".npy", ".npy.part", ".safetensors")
_UNFINISHED = (".part", ".tmp")


@dataclass(frozen=True)
class _Sent:
    """What a file looked like when it was last sent or found to be there, and when that was (monotonic)."""

    size_bytes: int
    mtime_ns: int
    when: float

    def is_of(self, local: Path) -> bool:
        """Whether the file is still the same, as far as its size and time tell: nothing is read."""
        info = local.stat()
        return (info.st_size, info.st_mtime_ns) == (self.size_bytes, self.mtime_ns)


class Uploads:
    """Our files in a run. Its methods call MLflow: they belong in the background thread.

    The list of files is sent after the files it names, so that what it names is there.

    Args:
        client: An `mlflow.MlflowClient`.
        run_id: Of the run.
        manifest: What is there already.

    Attributes:
        sent_files: Number of files sent by this object, without the lists.
        sent_bytes: Their bytes.
    """

    def __init__(self, client: Any, run_id: str, manifest: Manifest) -> None:
        self._client, self._run_id, self._manifest = client, run_id, manifest
        self._changed = False
        self._sent: dict[str, _Sent] = {}
        self.sent_files = self.sent_bytes = 0

    def send(self, files: Mapping[str, Path]) -> None:
        """Send local files to their paths in the run, then the list; what is there with the same content stays.

        A file whose size and time are those of when it was last sent is not read again.
        """
        for path, local in files.items():
            if (sent := self._sent.get(path)) is not None and sent.is_of(local):
                continue
            self._send_file(path, local)
        self.send_manifest()

    def send_new(self, places: Mapping[str, Path]) -> int:
        """Send what has come to files and folders that are still written to; return how many files were looked at.

        Unsealed files wait until they are sealed. A file that was sent and has changed since is sent again at most
        once in `CHANGED_EVERY_S`.

        Args:
            places: Path in the run of each local file or folder; one that does not exist yet is left out.
        """
        now = time.monotonic()
        due = {}
        for path, local in find_files(places).items():
            sent = self._sent.get(path)
            if sent is None or (now - sent.when >= CHANGED_EVERY_S and not sent.is_of(local)):
                due[path] = local
        changed = self._changed
        self.send(due)
        return len(due) + changed

    def send_text(self, text: str, path: str) -> None:
        """Send a text (UTF-8) to a path in the run."""
        with tempfile.TemporaryDirectory(prefix="neuronwise-") as folder:
            local = Path(folder) / "text"
            local.write_text(text, encoding="utf-8")
            self._send_file(path, local)
        self.send_manifest()

    def send_manifest(self) -> None:
        """Send the list of our files, if it has changed."""
        if self._changed:
            with tempfile.TemporaryDirectory(prefix="neuronwise-") as folder:
                local = Path(folder) / "manifest.json"
                local.write_text(self._manifest.to_json(), encoding="utf-8")
                self._put(local, MANIFEST_PATH)
            self._changed = False

    def _send_file(self, path: str, local: Path) -> None:
        info = local.stat()
        if local.name.endswith(_FINAL):
            self._send_content(path, local)
        else:
            with tempfile.TemporaryDirectory(prefix="neuronwise-") as folder:
                self._send_content(path, Path(shutil.copyfile(local, Path(folder) / path.rpartition("/")[2])))
        self._sent[path] = _Sent(info.st_size, info.st_mtime_ns, time.monotonic())

    def _send_content(self, path: str, local: Path) -> None:
        entry: Entry = hash_file(local)
        if self._manifest.files.get(path) == entry:
            return
        self._put(local, path)
        self._manifest.files[path] = entry
        self._changed = True
        self.sent_files += 1
        self.sent_bytes += entry.size_bytes

    def _put(self, local: Path, path: str) -> None:
        parent, _, name = path.rpartition("/")
        if local.name == name:
            self._client.log_artifact(self._run_id, str(local), parent or None)
            return
        with tempfile.TemporaryDirectory(prefix="neuronwise-") as folder:
            renamed = Path(folder) / name  # MLflow keeps the name of the local file
            shutil.copyfile(local, renamed)
            self._client.log_artifact(self._run_id, str(renamed), parent or None)


def find_files(places: Mapping[str, Path], *, unsealed: bool = False) -> dict[str, Path]:
    """Return the local files at and below some places, by their path in the run.

    Links are left out, and so are temporary files, whose writer is not done.

    Args:
        places: Path in the run of each local file or folder; one that does not exist is left out.
        unsealed: Whether to take ``.part`` files too: of a writer that has ended.
    """
    return {
        path: local
        for place, root in places.items()
        for path, local in _walk(place.strip("/"), root)
        if not local.name.endswith(_UNFINISHED) or (unsealed and local.name.endswith(".part"))
    }


def _walk(path: str, local: Path) -> Iterator[tuple[str, Path]]:
    if local.is_symlink():
        return
    if local.is_file():
        yield path, local
    elif local.is_dir():
        for below in sorted(local.rglob("*")):
            if not below.is_symlink() and below.is_file():
                yield "/".join([*filter(None, [path]), *below.relative_to(local).parts]), below
