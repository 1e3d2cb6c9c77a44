"""Streams of fixed-size rows on disk: append-only `.part` files that become plain `.npy` files.

While it is written, a segment is ``scalars-000000.npy.part``: a header of 4,096 reserved bytes, then raw rows.
Sealing writes the number of rows into the header, syncs the file and renames it to ``scalars-000000.npy``,
which `numpy.load(path, mmap_mode="r")` reads without Neuronwise; a sealed segment never changes again. After
a crash the whole rows of a ``.part`` are still readable, since their number follows from the file's size.

Several writers may add to one stream: each makes its segments exclusively, under the next free number.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError
from neuronwise.recording.rows import checksums, intact

_Bytes = bytes | bytearray | memoryview

HEADER_BYTES = 4096
_MAGIC = b"\x93NUMPY\x01\x00"
_SHAPE = re.compile(rb"'shape': \((\d{1,19}),\), \}")
_MAX_SEGMENTS = 1_000_000
# The system takes 1,024 at least.
_VIEWS_AT_ONCE = 1000
# Rows of a stream, and bytes of a segment of more than one row, beyond any recording we write.
_MAX_ROWS = 50_000_000
_MAX_SEGMENT_BYTES = 1 << 28
# A segment may be sealed between our listing of the folder and our opening of it.
_LISTINGS = 20


def npy_header(dtype: np.dtype[Any], rows: int) -> bytes:
    """Return a header of the npy format, version 1.0, padded to 4,096 bytes.

    The format: magic, version, length of the text as uint16, the text of a Python dict ending in a newline
    (NumPy Enhancement Proposal 1).
    """
    description = np.lib.format.dtype_to_descr(dtype)
    text = f"{{'descr': {description!r}, 'fortran_order': False, 'shape': ({rows},), }}".encode("latin1")
    room = HEADER_BYTES - len(_MAGIC) - 2
    if len(text) >= room:
        raise ValueError(f"a row of {len(text)} bytes of description does not fit a header of {room}")
    return _MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"


class Sealer:
    """Completes segments in a thread of its own: to sync a file of 64 MB may take as long as thousands of steps.

    What it could not do is raised by the next call of `check`.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "neuronwise-seal")
        self._pending: list[Future[None]] = []
        self._left, self._lock = 0, threading.Lock()

    def seal(self, file: io.FileIO, part: Path) -> None:
        """Sync and close an open segment, then give it its final name."""
        with self._lock:
            self._left += 1
        try:
            self._pending.append(self._pool.submit(self._complete, file, part))
        except RuntimeError:  # the interpreter is ending, and no thread begins any more
            self._complete(file, part)

    def _complete(self, file: io.FileIO, part: Path) -> None:
        try:
            _seal(file, part)
        finally:
            with self._lock:
                self._left -= 1
                is_last = not self._left
            if is_last:  # once for all that were renamed, as at the end of a training: each sync takes a millisecond
                sync_folder(part.parent)

    def check(self, *, wait: bool = False) -> None:
        """Raise what a sealing failed with; with `wait`, after all of them have ended.

        Raises:
            OSError: A segment could not be synced or renamed. What was written stays readable as ``.part``.
        """
        done = [one for one in self._pending if wait or one.done()]
        self._pending = [one for one in self._pending if one not in done]
        errors = [error for one in done if (error := one.exception()) is not None]
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Wait for all sealings, and end the thread."""
        self._pool.shutdown(wait=True)
        self.check(wait=True)


def _seal(file: io.FileIO, part: Path) -> None:
    try:
        os.fsync(file.fileno())
        # Where the folder was moved away and another made, the name may be that of another recording's segment.
        if not os.path.samestat(os.fstat(file.fileno()), os.stat(part)):
            raise FileNotFoundError(f"{part} is not the file that was written")
    finally:
        file.close()
    part.rename(part.with_suffix(""))


class SegmentWriter:
    """Appends rows of one dtype to numbered segments of one stream.

    Args:
        folder: An existing folder.
        stream: ``"scalars"``, ``"keyframes"`` …
        dtype: Of a row.
        sealer: What completes the segments.
        segment_bytes: A segment is sealed and a new one begun when it would grow beyond this.

    Attributes:
        written: How many rows are on disk by now.
    """

    def __init__(
        self, folder: Path, stream: str, dtype: np.dtype[Any], sealer: Sealer, *, segment_bytes: int = 64_000_000
    ) -> None:
        self.folder, self.stream, self.dtype = folder, stream, dtype
        self.rows_per_segment = max(1, (segment_bytes - HEADER_BYTES) // dtype.itemsize)
        self._sealer = sealer
        self.written = 0
        self._index = 0
        self._rows = 0
        self._file: io.FileIO | None = None

    @property
    def _part(self) -> Path:
        return self.folder / f"{self.stream}-{self._index:06d}.npy.part"

    def append(self, rows: _Bytes, *rest: _Bytes) -> None:
        """Append whole rows given as bytes; once it returns, they survive the process.

        Args:
            rows: Whole rows, or the beginning of one.
            rest: What follows of that one, so that nobody has to copy it together.

        Raises:
            OSError: They could not be written; the segment is cut back to the whole rows it had.
        """
        self._sealer.check()
        if rest:
            self._write([memoryview(part).cast("B") for part in (rows, *rest)])
            return
        view = memoryview(rows).cast("B")
        while len(view):
            room = (self.rows_per_segment - self._rows) * self.dtype.itemsize
            self._write([view[:room]])
            view = view[room:]

    def _write(self, views: Sequence[memoryview]) -> None:
        """Write as many whole rows as have room in the segment, and seal it if it is full."""
        if self._file is None:
            self._begin()
        assert self._file is not None
        if not os.fstat(self._file.fileno()).st_nlink:  # the system goes on writing to a file without a name
            raise FileNotFoundError(f"{self._part} was deleted while it was written")
        end = HEADER_BYTES + self._rows * self.dtype.itemsize
        try:
            _write_fully(self._file, views)
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
                self._file.seek(end)
            raise
        count, torn = divmod(sum(map(len, views)), self.dtype.itemsize)
        assert not torn
        self._rows, self.written = self._rows + count, self.written + count
        if self._rows == self.rows_per_segment:
            self.seal()

    def _begin(self) -> None:
        self._index = max(self._index, next_index(self.folder, self.stream))
        while True:
            try:  # "x": an existing segment, sealed or torn, is never written over
                file = io.FileIO(self._part, "x+")
            except FileExistsError:  # another writer was quicker
                self._index += 1
                continue
            if not self._part.with_suffix("").exists():
                break
            # Another writer was so much quicker that it has sealed this one already: ours would take its place.
            file.close()
            self._part.unlink()
            self._index += 1
        self._file, self._rows = file, 0
        try:
            _write_fully(file, [memoryview(npy_header(self.dtype, 0))])
        except OSError:
            self._file = None
            file.close()
            with contextlib.suppress(OSError):
                self._part.unlink()
            raise

    def seal(self) -> None:
        """Have the open segment completed; nothing happens if none is open."""
        if self._file is None:
            return
        file, part = self._file, self._part
        self._file, self._index = None, self._index + 1
        file.seek(0)
        _write_fully(file, [memoryview(npy_header(self.dtype, self._rows))])
        self._sealer.seal(file, part)


def append_state(stream: SegmentWriter, head: NDArray[np.void], values: Sequence[NDArray[Any]]) -> None:
    """Append the row of a keyframe, from where its values lie: to copy it together first took as long as some steps.

    Args:
        stream: Of keyframes.
        head: What stands before the values, (1,) of `rows.head_dtype`.
        values: All values in the order of the row.
    """
    parts = [_bytes_of(head), *map(_bytes_of, values)]
    stream.append(*parts, _bytes_of(checksums(*parts)))


def _bytes_of(values: NDArray[Any]) -> memoryview:
    """Return the bytes of values as they lie in a file."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False) if values.dtype.names is None else values
    return memoryview(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)


def _write_fully(file: io.FileIO, views: Sequence[memoryview]) -> None:
    """Write all views, one behind the other, with as few calls of the system as it takes."""
    is_windows = not hasattr(os, "writev")
    left = [memoryview(b"".join(views))] if is_windows else list(views)
    while left:
        done = file.write(left[0]) or 0 if is_windows else os.writev(file.fileno(), left[:_VIEWS_AT_ONCE])
        while left and done >= len(left[0]):
            done -= len(left.pop(0))
        if left:
            left[0] = left[0][done:]


def next_index(folder: Path, stream: str) -> int:
    """Return the number of the segment after the last one of a stream, sealed or torn."""
    return max(_list(folder, stream), default=-1) + 1


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the platform can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _list(folder: Path, stream: str) -> dict[int, Path]:
    """Return the segments of a stream by number; of a number that is sealed and torn too, the sealed one."""
    pattern = re.compile(rf"{re.escape(stream)}-(\d{{6}})\.npy(\.part)?")
    found: dict[int, Path] = {}
    for entry in os.scandir(folder):
        if match := pattern.fullmatch(entry.name):
            if not match[2] or int(match[1]) not in found:
                found[int(match[1])] = Path(entry.path)
            if len(found) > _MAX_SEGMENTS:
                raise FormatError(f"more than {_MAX_SEGMENTS:,} segments of {stream}", where=str(folder))
    return found


def read_stream(
    folder: Path, stream: str, dtype: np.dtype[Any], problems: list[str], *, check: int | None = None
) -> list[NDArray[np.void]]:
    """Return the segments of a stream in order, each as a read-only memory map of rows.

    What is damaged or missing is left out and told; only what cannot be a stream of ours at all is refused.

    Args:
        folder: The recording.
        stream: ``"scalars"``, ``"keyframes"`` …
        dtype: Of a row; a segment of another dtype is left out.
        problems: Sentences are added about what is missing, cut, damaged or unfinished.
        check: Rows are left out that are damaged in so many of their first bytes; default: in any.

    Raises:
        FormatError: Far too many or too large files.
    """
    segments: dict[int, NDArray[np.void]] = {}
    for _ in range(_LISTINGS):
        found = _list(folder, stream)
        try:
            for index in sorted(set(found) - set(segments)):
                segments[index] = _read_segment(found[index], dtype, problems)
        except FileNotFoundError:  # it was sealed meanwhile
            continue
        break
    if sum(map(len, segments.values())) > _MAX_ROWS:
        raise FormatError(f"more than {_MAX_ROWS:,} rows of {stream}", where=str(folder))
    if segments and (missing := sorted(set(range(max(segments) + 1)) - set(segments))):
        problems.append(f"{stream}: {len(missing)} segment(s) are missing, the first is {missing[0]:06d}")
    kept = []
    for index in sorted(segments):
        rows = segments[index]
        good = intact(rows, 0, check)
        if not good.all():
            bad = np.flatnonzero(~good)
            problems.append(
                f"{stream}-{index:06d}: {len(bad):,} of {len(rows):,} rows are damaged and left out, the first is row "
                f"{bad[0]}"
            )
            # Runs of good rows stay memory maps.
            edges = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(np.int8), [0]])))
            kept += [rows[first:last] for first, last in zip(edges[::2], edges[1::2], strict=True)]
        else:
            kept.append(rows)
    return [rows for rows in kept if len(rows)]


def _read_segment(path: Path, dtype: np.dtype[Any], problems: list[str]) -> NDArray[np.void]:
    empty = np.empty(0, dtype)
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        problems.append(f"{path.name}: is no plain file but a link or folder, and is left out")
        return empty
    if info.st_size > HEADER_BYTES + max(_MAX_SEGMENT_BYTES, 2 * dtype.itemsize):
        raise FormatError(f"a segment of {info.st_size:,} bytes is too large", where=str(path))
    if info.st_size < HEADER_BYTES:
        problems.append(
            f"{path.name}: was not sealed, 0 whole rows are read"  # just begun, or killed at that
            if path.suffix == ".part"
            else f"{path.name}: cut inside its header ({info.st_size} bytes), nothing of it can be read"
        )
        return empty
    rows, torn = divmod(info.st_size - HEADER_BYTES, dtype.itemsize)
    said = _rows_said(path, dtype, problems)
    if path.suffix == ".part":
        problems.append(f"{path.name}: was not sealed, {rows:,} whole rows are read")
    elif said is not None and said != rows:
        problems.append(f"{path.name}: should have {said:,} rows, the file holds {rows:,}")
        rows = min(said, rows)
    if torn:
        problems.append(f"{path.name}: a torn last row of {torn} bytes is left out")
    if not rows:
        return empty
    # A memory map takes no memory, and no more rows are mapped than the file has.
    return np.memmap(path, dtype=dtype, mode="r", offset=HEADER_BYTES, shape=(rows,))


def _rows_said(path: Path, dtype: np.dtype[Any], problems: list[str]) -> int | None:
    """Return how many rows the header says; None if it is damaged: the rows have checksums of their own."""
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    # Our headers differ in one number only, so they are compared, not parsed: nothing hostile gets further.
    match = _SHAPE.search(raw)
    rows = int(match[1]) if match else 0
    if match is None or raw != npy_header(dtype, rows):
        problems.append(f"{path.name}: its header is damaged; what of its rows has right checksums is read")
        return None
    return rows
