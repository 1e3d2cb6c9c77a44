"""events.jsonl: one event per line, append-only, each line with a checksum of its own text.

A line reads ``{"crc": "1a2b3c4d", "event": {…}}``; `crc` is CRC-32 of the UTF-8 text of the event. Numbers that
are not finite, which JSON lacks, are the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError

_LINE = re.compile(rb'\{"crc": "([0-9a-f]{8})", "event": (\{.*\})\}')
_MAX_FILE_BYTES = 1 << 30
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode_event(event: Mapping[str, Any]) -> bytes:
    """Return the line of an event, with its newline."""
    text = json.dumps(_to_json(event), ensure_ascii=False, allow_nan=False).encode()
    return b'{"crc": "%08x", "event": %s}\n' % (zlib.crc32(text), text)


def decode_event(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line, None if the line is torn or its checksum is wrong."""
    match = _LINE.fullmatch(line.rstrip(b"\r\n"))
    if match is None or int(match[1], 16) != zlib.crc32(match[2]):
        return None
    try:
        event = json.loads(match[2])
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


class EventWriter:
    """Appends events to ``events.jsonl`` in `folder`; every line is with the system once `write` returns."""

    def __init__(self, folder: Path) -> None:
        self._file: io.FileIO | None = io.FileIO(folder / "events.jsonl", "a+")
        if self._file.seek(0, io.SEEK_END):
            self._file.seek(-1, io.SEEK_END)
            if self._file.read(1) != b"\n":  # half a line, of a process that was killed: nothing may be added to it
                self._file.write(b"\n")

    def write(self, event: Mapping[str, Any]) -> None:
        """Append one event."""
        if self._file is not None:
            view = memoryview(encode_event(event))
            while len(view):
                view = view[self._file.write(view) or 0 :]

    def close(self) -> None:
        """Sync and close; a second call does nothing."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


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
            event = decode_event(line)
            if event is None:
                damaged += 1
            else:
                events.append(event)
    if damaged:
        problems.append(f"events.jsonl: {damaged} torn or damaged line(s) are left out")
    return events


def numbers(values: object) -> dict[str, float]:
    """Return a JSON object of numbers with NaN and inf put back; what is no number is left out."""
    found: dict[str, float] = {}
    if isinstance(values, dict):
        for key, value in values.items():
            if isinstance(value, str) and value in _NONFINITE:
                found[key] = _NONFINITE[value]
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                found[key] = float(value)
    return found


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(one) for one in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
