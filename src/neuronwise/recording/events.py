"""events.jsonl: one event per line, append-only, each line with a checksum of its own text (see `sealed_json`)."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError
from neuronwise.recording.sealed_json import decode, encode

_MAX_FILE_BYTES = 1 << 30


class EventWriter:
    """Appends events to ``events.jsonl`` in `folder`; every line is with the system once `write` returns.

    Several processes may append: a line is handed over in one piece.
    """

    def __init__(self, folder: Path) -> None:
        self._file: io.FileIO | None = io.FileIO(folder / "events.jsonl", "a+")
        self._torn = False
        if self._file.seek(0, io.SEEK_END):
            self._file.seek(-1, io.SEEK_END)
            # Half a line, of a process that was killed: nothing may be added to it.
            self._torn = self._file.read(1) != b"\n"

    def write(self, event: Mapping[str, Any]) -> None:
        """Append one event.

        Raises:
            OSError: It could not be written, or in part; readers leave out such a line.
        """
        if self._file is None:
            return
        if not os.fstat(self._file.fileno()).st_nlink:  # the system goes on writing to a file without a name
            raise FileNotFoundError("events.jsonl was deleted while it was written")
        view = memoryview((b"\n" if self._torn else b"") + encode("event", event))
        self._torn = True
        while len(view):
            view = view[self._file.write(view) or 0 :]
        self._torn = False

    def close(self) -> None:
        """Sync and close; a second call does nothing."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                os.fsync(file.fileno())
            finally:
                file.close()


def read_events(folder: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Return the events in order; damaged lines are left out and counted in `problems`.

    Raises:
        FormatError: The file is a link or larger than 1 GiB.
    """
    path = folder / "events.jsonl"
    try:
        info = path.lstat()
    except FileNotFoundError:
        problems.append("events.jsonl is missing: no metrics and layer summaries")
        return []
    if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_FILE_BYTES:
        raise FormatError(f"expected a plain file of at most {_MAX_FILE_BYTES:,} bytes", where=str(path))
    events, damaged = [], 0
    with path.open("rb") as file:
        for line in file:
            event = decode("event", line)
            if event is None:
                damaged += line != b"\n"
            else:
                events.append(event)
    if damaged:
        problems.append(f"events.jsonl: {damaged} torn or damaged line(s) are left out")
    return events
