"""Whole states on their way to the disk: small ones wait for some others, so that a training seldom stops long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.recording.rows import head_dtype, write_checksums
from neuronwise.recording.segments import SegmentWriter, append_state

# Between two keyframes a training uses other code and other data, and the processor's caches hold nothing of ours any
# more: to write a state of 50 kB at once took 150 µs, to copy it, and to write eight copies later, a third of that.
_STATES, _WAITING_BYTES = 8, 1_000_000


class StateWriter:
    """Writes the states of a training as keyframes, some at a time where they are small.

    Args:
        stream: Of keyframes.
        attempt: Number of the attempt that writes.

    Attributes:
        steps: Of which the state is written, or waits to be.
    """

    def __init__(self, stream: SegmentWriter, attempt: int) -> None:
        self.steps: set[int] = set()
        self._stream, self._attempt = stream, attempt
        room = min(_STATES, _WAITING_BYTES // stream.dtype.itemsize)
        # Of large ones a copy takes as long as it saves.
        self._rows = np.zeros(room if room > 2 else 0, stream.dtype)
        heads = self._rows[list(head_dtype(stream.dtype).names or ())]
        names = [name for name in ("params", "buffers", "optimizer") if name in (stream.dtype.names or ())]
        self._places = [
            (heads[place : place + 1], [part for name in names for part in _parts(self._rows[name][place])])
            for place in range(len(self._rows))
        ]
        self._head = np.zeros(1, head_dtype(stream.dtype))
        self._waiting: list[int] = []

    def add(self, step: int, epoch: int, values: Sequence[NDArray[Any]], *, whole: bool) -> None:
        """Take the state after a step; it is on the disk when `flush` has returned.

        Args:
            step: The step.
            epoch: Its epoch.
            values: Parameters, buffers if there are any, and what the optimizer remembers, each (n,).
            whole: Whether training can go on from it.

        Raises:
            OSError: It, or one that waited, could not be written.
        """
        head = (step, self._attempt, 0, epoch, whole)
        if not self._places:
            self._head[0] = head
            append_state(self._stream, self._head, values)
            self.steps.add(step)
            return
        place, parts = self._places[len(self._waiting)]
        place[0] = head
        for part, value in zip(parts, values, strict=True):
            part[...] = value
        self._waiting.append(step)
        self.steps.add(step)
        if len(self._waiting) == len(self._places):
            self.flush()

    def flush(self) -> None:
        """Write the states that wait; those that cannot be written are given up.

        Raises:
            OSError: They could not be written.
        """
        if not self._waiting:
            return
        steps, self._waiting = self._waiting, []
        rows = self._rows[: len(steps)]
        try:
            write_checksums(rows)
            self._stream.append(rows.view(np.uint8).data)
        except BaseException:
            self.steps.difference_update(steps)
            raise


def _parts(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the fields of one row that are filled from one array each."""
    return list(values) if values.ndim == 2 else [values]
