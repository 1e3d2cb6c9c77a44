"""Arrays too large for the memory budget: memory-mapped files in the cache folder that never outlive their process."""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NeuronwiseError
from neuronwise.files import format_bytes, user_cache_folder

_PREFIX = "array-"


def large_array(shape: tuple[int, int], budget_bytes: int) -> tuple[NDArray[np.float32], bool]:
    """Return a float32 array whose content is undefined, and whether it lies in a file on disk.

    It is in memory if it takes at most `budget_bytes`. The file is removed when the array is no longer used, at the
    end of the process, and, where the system allows it, has no name from the beginning: then not even `kill -9`
    leaves it behind.

    Raises:
        NeuronwiseError: There is too little space on the disk.
    """
    size = 4 * shape[0] * shape[1]
    if size <= budget_bytes:
        return np.empty(shape, np.float32), False
    return _mapped(shape, size), True


def _mapped(shape: tuple[int, int], size: int) -> NDArray[np.float32]:
    folder = user_cache_folder() / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale(folder)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f"{_PREFIX}{os.getpid()}-", suffix=".f32")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "r+b") as file:
            _reserve(file.fileno(), size, folder)
            array = np.memmap(file, np.float32, "r+", shape=shape)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    try:
        path.unlink()  # the map keeps the file alive
    except OSError:  # Windows removes no file that is in use
        weakref.finalize(array, _remove, path)
    return array


def _reserve(descriptor: int, size: int, folder: Path) -> None:
    # A disk that is full while a map is written kills the process: the space is taken before.
    import shutil

    free = shutil.disk_usage(folder).free
    try:
        if size > free:
            raise OSError
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.truncate(descriptor, size)
    except OSError:
        raise NeuronwiseError(
            f"the encoded table takes {format_bytes(size)}, and {format_bytes(free)} are free",
            where=str(folder),
            hint="Free some space, let NEURONWISE_HOME name a folder on another disk, or grant more: --memory SIZE.",
        ) from None


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def remove_stale(folder: Path) -> None:
    """Remove the files that processes which no longer run have left behind."""
    for path in folder.glob(f"{_PREFIX}*.f32"):
        owner = path.name.removeprefix(_PREFIX).split("-")[0]
        if not (owner.isdigit() and _runs(int(owner))):
            _remove(path)


def _runs(process: int) -> bool:
    if os.name != "posix":
        return False  # where files in use cannot be removed, trying is enough
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def release(array: NDArray[np.float32], start: int, stop: int) -> None:
    """Let the system take back the memory of rows `start` to `stop` of a mapped array; their values stay on disk."""
    import mmap

    mapped = getattr(array, "_mmap", None)
    if mapped is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    row = array.itemsize * array.shape[1]
    page = mmap.PAGESIZE
    first = start * row // page * page
    last = stop * row // page * page
    if last > first:
        mapped.madvise(mmap.MADV_DONTNEED, first, last - first)
