"""The files of a recording that is being written: streams of rows, and events."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.recording.events import EventWriter
from neuronwise.recording.rows import write_checksums
from neuronwise.recording.segments import Sealer, SegmentWriter

# Segments are completed at least this often while rows come, so that they can be sent to a store.
_SEAL_AFTER_S = 300.0


class OpenFiles:
    """What a process adds to a recording, under one attempt.

    Args:
        folder: An existing folder, with recording.json.
        dtypes: Of the rows of each stream.
        attempt: Number of the attempt.

    Attributes:
        folder: Where they lie.
        attempt: Number of the attempt.
        streams: By name.
    """

    def __init__(self, folder: Path, dtypes: Mapping[str, np.dtype[Any]], attempt: int) -> None:
        self.folder, self.attempt = folder, attempt
        self._place, self._process = os.stat(folder), os.getpid()
        self._sealer = Sealer()
        self.streams = {name: SegmentWriter(folder, name, dtype, self._sealer) for name, dtype in dtypes.items()}
        self._sealed_at = time.monotonic()
        self._events = EventWriter(folder)
        self._event_count = 0

    @property
    def are_ours(self) -> bool:
        """Whether this is no copy (fork) of the process that opened them: they are the original's."""
        return os.getpid() == self._process

    def check_place(self) -> None:
        """Refuse to write to a folder that lies elsewhere by now, and in a copy of the process.

        The system would write to the files as long as they are open, whatever became of their names. It is looked at
        with every write: a segment that is begun later would lie in a folder that took the place.

        Raises:
            UsageError: This is a copy of the process.
            OSError: The folder is not the one it was.
        """
        if not self.are_ours:
            raise UsageError("this process is a copy (fork) of the one that records, which goes on recording")
        if not os.path.samestat(os.stat(self.folder), self._place):
            raise FileNotFoundError(f"{self.folder} is not the folder it was")

    def event(self, kind: str, **content: Any) -> None:
        """Write a line of events.jsonl.

        Raises:
            UsageError, OSError: See `check_place`; or it could not be written.
        """
        self.check_place()
        index, self._event_count = self._event_count, self._event_count + 1
        self._events.write({"kind": kind, "attempt": self.attempt, "index": index, **content})

    def append(self, stream: str, rows: NDArray[np.void]) -> None:
        """Write rows, into which their checksums are put first.

        Raises:
            UsageError, OSError: See `check_place`; or they could not be written.
        """
        self.check_place()
        write_checksums(rows)
        self.streams[stream].append(rows.view(np.uint8).data)

    def rows_written(self) -> dict[str, int]:
        """Return how many rows of each stream are on disk, so that a reader knows what is missing."""
        return {name: stream.written for name, stream in self.streams.items()}

    def seal(self, *, if_due: bool = False) -> None:
        """Complete the segments that are open, so that they can be sent to a store.

        Args:
            if_due: Only if the last time is some minutes ago.
        """
        if if_due and time.monotonic() - self._sealed_at <= _SEAL_AFTER_S:
            return
        for stream in self.streams.values():
            stream.seal()
        self._sealed_at = time.monotonic()

    def close(self) -> None:
        """Complete all of them; a second call does nothing."""
        try:
            self.seal()
        finally:
            try:
                self._sealer.close()
            finally:
                self._events.close()
