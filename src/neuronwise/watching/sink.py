"""FrameSink: takes what a watcher of another framework sees, and writes it as a recording."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.recording import Layout
from neuronwise.recording.description import (
    begin_attempt,
    describe_files,
    describe_model,
    write_beside,
    write_description,
)
from neuronwise.recording.open_files import OpenFiles
from neuronwise.recording.rows import (
    SCALARS_DTYPE,
    head_dtype,
    holds_values,
    stream_dtypes,
)
from neuronwise.recording.segments import append_state
from neuronwise.watching.moments import Moments

# Shares of the bytes allowed: of states, and of statistics; what is left is for the loss of every step and events.
STATES_SHARE, FRAMES_SHARE = 0.6, 0.3
_SCALARS_AT_ONCE, _FLUSH_AFTER_S = 1024, 0.5
# Statistics are written so many steps at a time, where they are short: a write takes as long as ten copies.
_FRAMES_AT_ONCE, _FRAMES_BYTES = 16, 500_000


# Files of recordings that are not complete. A watcher that nobody holds any more is garbage together with the optimizer
# whose hooks hold it; of such a cycle files might be closed before the watcher completes them.
_open: set[OpenFiles] = set()


def refuse_recorded(folder: Path) -> None:
    """Refuse a folder that holds a recording.

    Raises:
        UsageError: It does, or is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is a file", where="argument folder", hint="give a new folder")
    if (folder / "recording.json").exists():
        raise UsageError(
            f"{str(folder)!r} already holds a recording",
            where="argument folder",
            hint="give a new folder: a watched training cannot go on in the recording of another",
        )


class FrameSink:
    """Writes the recording of a watched training; docs/reference/recording.md describes the folder.

    Args:
        folder: Made if absent; must not hold a recording.
        layout: What is watched.
        extra: JSON values to add to recording.json.
        files: Content of arrays beside it, by name.
        moments: What is recorded when; its distances grow where bytes run short.
        bytes_budget: Bytes allowed.
        notes: Sentences about what is not recorded.

    Attributes:
        step: The last step that was recorded in any way.
    """

    def __init__(
        self,
        folder: Path,
        layout: Layout,
        *,
        extra: Mapping[str, Any],
        files: Mapping[str, bytes],
        moments: Moments,
        bytes_budget: int,
        notes: Sequence[str] = (),
    ) -> None:
        refuse_recorded(folder)
        self.folder, self.layout, self.moments = folder, layout, moments
        self._bytes_budget, self._frame_bytes, self._state_bytes = bytes_budget, 0, 0
        self.step = self._on_disk = -1
        dtypes = stream_dtypes(layout)
        self._head = np.zeros(1, head_dtype(dtypes["keyframes"]))
        notes = list(notes)
        room = int(bytes_budget * STATES_SHARE) // dtypes["keyframes"].itemsize
        self._stores_states = holds_values(layout) and moments.fit_states(room)
        if not self._stores_states:
            notes.append(
                f"no weights are recorded: one state takes {dtypes['keyframes'].itemsize:,} bytes, and "
                f"{bytes_budget:,} are allowed (argument bytes_budget)"
            )
        folder.mkdir(parents=True, exist_ok=True)
        description = describe_model(layout, None) | dict(extra) | {"data": {}, "files": describe_files(files)}
        attempt = begin_attempt(folder, 0, description)
        write_description(folder, description)
        for name, content in files.items():
            write_beside(folder, name, content)
        self._files = OpenFiles(folder, dtypes, attempt)
        _open.add(self._files)
        self._scalars: list[tuple[int, float, float]] = []
        self._frames: dict[str, list[NDArray[np.void]]] = {"neurons": [], "layers": []}
        self._frames_at_once = min(_FRAMES_AT_ONCE, _FRAMES_BYTES // dtypes["neurons"].itemsize)
        self._flushed_at = time.monotonic()
        self.event("begin", step=0, notes=notes)

    def event(self, kind: str, **content: Any) -> None:
        """Write a line of events.jsonl."""
        self._files.event(kind, **content)

    def scalar(self, step: int, loss: float, learning_rate: float) -> None:
        """Note the loss and the learning rate of a step; they are written some at a time."""
        self._scalars.append((step, loss, learning_rate))
        self.step = max(self.step, step)
        if len(self._scalars) >= _SCALARS_AT_ONCE or time.monotonic() - self._flushed_at > _FLUSH_AFTER_S:
            self.flush()

    def flush(self) -> None:
        """Write what was noted: it survives the process then."""
        for name, frames in self._frames.items():
            if frames:
                self._frames[name] = []
                self._files.append(name, np.concatenate(frames))
        if self._scalars:
            noted, self._scalars = self._scalars, []
            rows = np.zeros(len(noted), SCALARS_DTYPE)
            rows["attempt"] = self._files.attempt
            rows["step"], rows["loss"], rows["learning_rate"] = zip(*noted, strict=True)
            self._files.append("scalars", rows)
        self._on_disk, self._flushed_at = self.step, time.monotonic()
        self._files.seal(if_due=True)

    def frame(self, step: int, neurons: NDArray[np.void], layers: NDArray[np.void] | None = None) -> None:
        """Note a row of statistics, (1,), and one of histograms, to be written with others half a second later at most.

        Args:
            step: The step.
            neurons: Statistics, without step and checksums; copied.
            layers: Histograms, likewise, or None.
        """
        rows = {"neurons": neurons} | ({} if layers is None else {"layers": layers})
        for name, row in rows.items():
            row["step"], row["attempt"] = step, self._files.attempt
            self._frames[name].append(row.copy())
            self._frame_bytes += row.nbytes
        self.step = max(self.step, step)
        is_full = len(self._frames["neurons"]) >= self._frames_at_once
        if is_full or time.monotonic() - self._flushed_at > _FLUSH_AFTER_S:
            self.flush()
        # With each doubling three quarters of the bytes that are left may be taken.
        allowed = self._bytes_budget * FRAMES_SHARE * (1 - 0.25 ** self.moments.thinning.bit_length())
        if self._frame_bytes > allowed and self.moments.every is None:
            self.thin(step, f"statistics have taken {self._frame_bytes:,} of {self._bytes_budget:,} bytes")

    def thin(self, step: int, reason: str) -> None:
        """Double the distance between frames, and say why."""
        self.moments.thinning *= 2
        self.event("thinned", step=step, factor=self.moments.thinning, reason=reason)

    def state(self, step: int, parameters: Sequence[NDArray[Any]], buffers: Sequence[NDArray[Any]]) -> bool:
        """Write all parameters and buffers, in the order of the layout; return whether there was room."""
        stream = self._files.streams["keyframes"]
        size = stream.dtype.itemsize
        if not self._stores_states or self._state_bytes + size > self._bytes_budget * STATES_SHARE:
            return False
        row = self._head[0]
        row["step"], row["attempt"], row["whole"] = step, self._files.attempt, 0  # no step can be taken again from it
        self._files.check_place()
        append_state(stream, self._head, [*parameters, *buffers])
        self._state_bytes += size
        self.step = max(self.step, step)
        return True

    def close(self, status: str, *, reason: str | None = None, **content: Any) -> None:
        """Complete the files.

        Args:
            status: How it ended.
            reason: Why nothing more could be recorded, if that is so.
            content: Of the last event.
        """
        if not self._files.are_ours:
            return
        try:
            try:
                self.flush()
            except OSError as error:  # a full disk: a line that says so may find room
                reason = reason or str(error)
            if reason is not None:
                first = self._on_disk + 1
                last = max(first, self.step, int(content.get("steps", 0)))
                self.event("gap", from_step=first, to_step=last, goes_on=False, reason=reason)
            self.event("end", status=status, step=max(self.step, 0), rows=self._files.rows_written(), **content)
        finally:
            _open.discard(self._files)
            self._files.close()
