"""Streams of fixed-size rows on disk: append-only `.part` files that become plain `.npy` files.

While it is written, a segment is ``scalars-000000.npy.part``: a header of 4,096 reserved bytes, then raw rows.
Sealing writes the number of rows into the header, syncs the file and renames it to ``scalars-000000.npy``,
which `numpy.load(path, mmap_mode="r")` reads without Neuronwise; a sealed segment never changes again. After
a crash the whole rows of a ``.part`` are still readable, since their number follows from the file's size.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError

HEADER_BYTES = 4096
_MAGIC = b"\x93NUMPY\x01\x00"
_SHAPE = re.compile(rb"'shape': \((\d{1,19}),\), \}")
_MAX_SEGMENTS = 1_000_000
# Beyond any recording we write; a larger one is not ours.
_MAX_SEGMENT_BYTES = 1 << 40


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


class SegmentWriter:
    """Appends rows of one dtype to numbered segments of one stream.

    Args:
        folder: An existing folder.
        stream: ``"scalars"``, ``"keyframes"`` …
        dtype: Of a row.
        segment_bytes: A segment is sealed and a new one begun when it would grow beyond this.
        index: Number of the first segment; that after the last one there, where a stream is continued.
    """

    def __init__(
        self, folder: Path, stream: str, dtype: np.dtype[Any], *, segment_bytes: int = 64_000_000, index: int = 0
    ) -> None:
        self.folder, self.stream, self.dtype = folder, stream, dtype
        self.rows_per_segment = max(1, (segment_bytes - HEADER_BYTES) // dtype.itemsize)
        self._index = index
        self._rows = 0
        self._file: io.FileIO | None = None

    @property
    def _part(self) -> Path:
        return self.folder / f"{self.stream}-{self._index:06d}.npy.part"

    def append(self, rows: bytes | bytearray | memoryview) -> None:
        """Append whole rows given as bytes.

        Raises:
            OSError: They could not be written; the segment is cut back to the whole rows it had.
        """
        view = memoryview(rows).cast("B")
        while len(view):
            room = (self.rows_per_segment - self._rows) * self.dtype.itemsize
            self._write(view[:room])
            view = view[room:]
            if self._rows == self.rows_per_segment:
                self.seal()

    def _write(self, view: memoryview) -> None:
        if self._file is None:
            # "x": an existing segment, sealed or torn, is never written over.
            self._file = io.FileIO(self._part, "x+")
            self._write_fully(memoryview(npy_header(self.dtype, 0)))
        end = HEADER_BYTES + self._rows * self.dtype.itemsize
        try:
            self._write_fully(view)
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
                self._file.seek(end)
            raise
        self._rows += len(view) // self.dtype.itemsize

    def _write_fully(self, view: memoryview) -> None:
        assert self._file is not None
        while len(view):
            view = view[self._file.write(view) or 0 :]

    def seal(self) -> Path | None:
        """Complete the open segment and return its final path (None if nothing is open)."""
        if self._file is None:
            return None
        self._file.seek(0)
        self._write_fully(memoryview(npy_header(self.dtype, self._rows)))
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        part = self._part
        path = part.with_suffix("")
        part.rename(path)
        sync_folder(self.folder)
        self._index, self._rows = self._index + 1, 0
        return path


def next_index(folder: Path, stream: str) -> int:
    """Return the number of the segment after the last one of a stream, sealed or torn."""
    pattern = re.compile(rf"{re.escape(stream)}-(\d{{6}})\.npy(\.part)?")
    numbers = [int(match[1]) for entry in os.scandir(folder) if (match := pattern.fullmatch(entry.name))]
    return max(numbers, default=-1) + 1


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the platform can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_stream(folder: Path, stream: str, dtype: np.dtype[Any], problems: list[str]) -> list[NDArray[np.void]]:
    """Return the segments of a stream in order, each as a read-only memory map of rows.

    Args:
        folder: The recording.
        stream: ``"scalars"``, ``"keyframes"`` …
        dtype: Of a row; a segment of another dtype is refused.
        problems: Sentences are added about what is missing, cut or unfinished.

    Raises:
        FormatError: A header that is no npy header or describes other rows.
    """
    pattern = re.compile(rf"{re.escape(stream)}-(\d{{6}})\.npy(\.part)?")
    found: dict[int, Path] = {}
    for entry in os.scandir(folder):
        if match := pattern.fullmatch(entry.name):
            # Sealed and part of one number: the sealed one is whole.
            if not match[2] or int(match[1]) not in found:
                found[int(match[1])] = Path(entry.path)
            if len(found) > _MAX_SEGMENTS:
                raise FormatError(f"more than {_MAX_SEGMENTS:,} segments of {stream}", where=str(folder))
    if found and (missing := sorted(set(range(max(found) + 1)) - set(found))):
        problems.append(f"{stream}: {len(missing)} segment(s) are missing, the first is {missing[0]:06d}")
    segments = [_read_segment(found[index], dtype, problems) for index in sorted(found)]
    return [segment for segment in segments if len(segment)]


def _read_segment(path: Path, dtype: np.dtype[Any], problems: list[str]) -> NDArray[np.void]:
    empty = np.empty(0, dtype)
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        raise FormatError("a segment must be a plain file, not a link or folder", where=str(path))
    if info.st_size > _MAX_SEGMENT_BYTES:
        raise FormatError(f"a segment of {info.st_size:,} bytes is too large", where=str(path))
    if info.st_size < HEADER_BYTES:
        problems.append(f"{path.name}: cut inside its header ({info.st_size} bytes), nothing of it can be read")
        return empty
    rows = _read_header(path, dtype)
    present, torn = divmod(info.st_size - HEADER_BYTES, dtype.itemsize)
    if path.suffix == ".part":
        rows = present
        problems.append(f"{path.name}: was not sealed, {rows:,} whole rows are read")
        if torn:
            problems.append(f"{path.name}: a torn last row of {torn} bytes is left out")
    elif present < rows:
        problems.append(f"{path.name}: should have {rows:,} rows, the file holds {present:,}")
        rows = present
    elif present > rows or torn:
        raise FormatError(f"the header says {rows:,} rows, the file holds {info.st_size:,} bytes", where=str(path))
    if not rows:
        return empty
    return np.memmap(path, dtype=dtype, mode="r", offset=HEADER_BYTES, shape=(rows,))


def _read_header(path: Path, dtype: np.dtype[Any]) -> int:
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    if raw[: len(_MAGIC)] != _MAGIC:
        raise FormatError("this is no segment of a recording (its first bytes are wrong)", where=str(path))
    # Our headers differ in one number only, so they are compared, not parsed: nothing hostile gets further.
    match = _SHAPE.search(raw)
    rows = int(match[1]) if match else 0
    if match is None or raw != npy_header(dtype, rows):
        text = raw[len(_MAGIC) + 2 :].split(b", 'fortran_order'")[0].decode("latin1")
        raise FormatError(
            f"the header does not describe rows of this recording, it reads {text!r:.200}", where=str(path)
        )
    return rows
