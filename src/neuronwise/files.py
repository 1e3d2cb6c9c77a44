"""Files on the user's disk: written whole or not at all, in the folders where users expect them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` whole or not at all; see `atomic_file`.

    Raises:
        OSError: The folder does not exist or cannot be written; nothing is left behind.
    """
    with atomic_file(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of `path` at the end of the block, or never.

    A temporary file in the same folder is synced and then renamed over `path`, so that a crash, a full
    disk or Ctrl-C leaves either the old file or the new one.

    Raises:
        OSError: The folder does not exist or cannot be written; nothing is left behind.
    """
    import tempfile  # not at the top: `import neuronwise` should cost little beside NumPy

    path = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:60]}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; a result is as readable as the user's other new files.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_exclusively(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` whole, unless there is such a file: of several processes one succeeds.

    Raises:
        FileExistsError: There is one; it is left as it is.
        OSError: The folder does not exist or cannot be written; nothing is left behind.
    """
    import tempfile

    path = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:60]}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        try:
            os.link(temporary, path)  # which unlike a rename never replaces
        except FileExistsError:
            raise
        except OSError:  # a file system without links: its name is taken first, then the content put there
            with path.open("xb"):
                pass
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def user_data_folder() -> Path:
    """Return the folder that holds runs and the default store: `NEURONWISE_HOME`, else the platform's own."""
    if home := os.environ.get("NEURONWISE_HOME"):
        return Path(home).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_data_dir("neuronwise", appauthor=False))


def user_cache_folder() -> Path:
    """Return the folder for what can be fetched again: `NEURONWISE_HOME`/cache, else the platform's own."""
    if home := os.environ.get("NEURONWISE_HOME"):
        return Path(home).expanduser().resolve() / "cache"
    import platformdirs

    return Path(platformdirs.user_cache_dir("neuronwise", appauthor=False))


def format_bytes(size_bytes: float) -> str:
    """Return a size in the unit a person would use, in powers of 1000: ``"532 B"``, ``"1.2 MB"``."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def folder_size_bytes(folder: Path) -> int:
    """Return the bytes of all regular files below `folder` (0 if it does not exist); links are not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def folder_mode() -> int:
    """Return the permissions of a new folder: `tempfile` makes private ones, a result is as readable as others."""
    return 0o777 & ~_umask()


def _umask() -> int:
    # The only portable way to read it sets it; it is put back at once.
    mask = os.umask(0)
    os.umask(mask)
    return mask
