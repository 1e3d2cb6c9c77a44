"""The list of our own files in a run, with sizes and hashes.

MLflow's listing of a run fails as a whole when anyone logged one file of an odd name, and shows what others
put there. So we read back only what this list names, and compare the hash.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError, NotFoundError, TrackingError
from neuronwise.tracking.names import is_artifact_path
from neuronwise.tracking.quiet import reason

MANIFEST_PATH = "neuronwise/manifest.json"
FORMAT = "neuronwise-manifest"
_MAX_BYTES = 16_000_000
_MAX_FILES = 100_000


@dataclass(frozen=True)
class Entry:
    """Size and SHA-256 (64 hexadecimal digits) of a file."""

    size_bytes: int
    sha256: str


@dataclass
class Manifest:
    """Our files in a run, by path."""

    files: dict[str, Entry] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of the file."""
        files = {path: {"bytes": entry.size_bytes, "sha256": entry.sha256} for path, entry in self.files.items()}
        return json.dumps({"format": FORMAT, "version": 1, "files": dict(sorted(files.items()))}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Return a manifest from its text.

        Raises:
            FormatError: It is none, or names a file that we would never have written.
        """
        if len(text) > _MAX_BYTES:
            raise FormatError(f"larger than {_MAX_BYTES:,} bytes", where=MANIFEST_PATH)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"this is no JSON: {error!s:.200}", where=MANIFEST_PATH) from None
        if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != 1:
            raise FormatError("this is no list of files of Neuronwise, version 1", where=MANIFEST_PATH)
        files = content.get("files")
        if not isinstance(files, dict) or len(files) > _MAX_FILES:
            raise FormatError(f"expected at most {_MAX_FILES:,} files", where=MANIFEST_PATH)
        return cls({path: _entry(path, value) for path, value in files.items()})


def _entry(path: str, value: object) -> Entry:
    size = value.get("bytes") if isinstance(value, dict) else None
    sha256 = value.get("sha256") if isinstance(value, dict) else None
    if not is_artifact_path(path):
        raise FormatError(f"{path!r:.150} is no name of a file of ours", where=MANIFEST_PATH)
    if type(size) is not int or not 0 <= size < 2**50 or not isinstance(sha256, str) or len(sha256) != 64:
        raise FormatError(f"the entry of {path!r:.150} is damaged", where=MANIFEST_PATH)
    return Entry(size, sha256)


def hash_file(path: Path) -> Entry:
    """Return size and SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Entry(file.tell(), digest.hexdigest())


def fetch_manifest(client: Any, run_id: str) -> Manifest:
    """Return the manifest of a run.

    Raises:
        NotFoundError: The run has none: no files of ours are in it.
        TrackingError: It cannot be fetched.
        FormatError: It is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="neuronwise-") as folder:
        try:
            local = Path(client.download_artifacts(run_id, MANIFEST_PATH, folder))
        except Exception as error:
            if not _is_absent(client, run_id):
                raise TrackingError(
                    f"the list of files of run {run_id} cannot be fetched: {reason(error)}", where=MANIFEST_PATH
                ) from error
            raise NotFoundError(
                f"run {run_id} holds no files of Neuronwise ({type(error).__name__})", where=MANIFEST_PATH
            ) from None
        if not local.is_file() or local.stat().st_size > _MAX_BYTES:
            raise FormatError(f"expected a file of at most {_MAX_BYTES:,} bytes", where=MANIFEST_PATH)
        return Manifest.from_json(local.read_bytes())


def _is_absent(client: Any, run_id: str) -> bool:
    """Return whether the store answers and says that there is no manifest: a failure must not be taken for that.

    Who goes on with a run adds to its list: begun anew, it would no longer name what is there.
    """
    try:
        return all(one.path != MANIFEST_PATH for one in client.list_artifacts(run_id, MANIFEST_PATH.split("/")[0]))
    except Exception:  # noqa: BLE001 - then nothing is known
        return False
