"""What is stored at which step: decided before training from the plan and the bytes allowed.

A `Schedule` says which of the numbers 1, 2, 3 … (epochs, or steps) are stored so that a planned length never
passes the room there is. It starts with every one and only ever doubles its spacing, so that what is on disk
stays, a training that stops early keeps its dense beginning, and the answer for a number does not depend on
what happened before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from neuronwise.network import Network

# step, epoch, loss, learning_rate of one step: four numbers of 8 bytes.
SCALARS_DTYPE = np.dtype([("step", "<i8"), ("epoch", "<i8"), ("loss", "<f8"), ("learning_rate", "<f8")])

DEFAULT_MAX_BYTES = 500_000_000
MAX_KEYFRAMES = 1_000
# NumPy counts the bytes of a structured row in a C int.
MAX_ROW_BYTES = 2**31 - 1

# Shares of the bytes allowed. Weights come first: nothing else can be computed again without them.
_SCALARS_SHARE, _EVENTS_SHARE = 0.25, 0.125
# One line of events.jsonl: measured 420 bytes a layer, 300 for the metrics around them.
_EVENT_BYTES, _EVENT_BYTES_PER_LAYER = 300, 420
# recording.json and reserved headers.
_FIXED_BYTES = 16_384


@dataclass(frozen=True)
class Schedule:
    """Which of 1 … planned are stored.

    Attributes:
        dense_until: All below this are stored; from here the spacing is 2, from twice this 4, and so on.
    """

    dense_until: float

    @classmethod
    def fitting(cls, planned: int, room: int) -> Schedule:
        """Return the densest schedule that stores at most `room` of `planned` (none if there is no room)."""
        if planned <= room:
            return cls(math.inf)
        low, high = 0, max(0, room)  # low always fits, high + 1 never does
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if cls(middle).count(planned) <= room else (low, middle - 1)
        return cls(low)

    def spacing(self, number: int) -> int:
        """Return the distance between stored ones around `number`: a power of two, 0 where none is stored."""
        if number < self.dense_until:
            return 1
        if self.dense_until < 1:
            return 0
        return 1 << (int(number // self.dense_until)).bit_length()

    def next_change(self, number: int) -> float:
        """Return the first number above `number` at which the spacing grows (inf if never)."""
        if math.isinf(self.dense_until) or self.dense_until < 1:
            return math.inf
        boundary = self.dense_until
        while boundary <= number:
            boundary *= 2
        return boundary

    def stores(self, number: int) -> bool:
        """Return whether `number` is stored."""
        spacing = self.spacing(number)
        return spacing > 0 and number % spacing == 0

    def count(self, planned: int) -> int:
        """Return how many of 1 … planned are stored."""
        if planned < self.dense_until:
            return planned
        if self.dense_until < 1:
            return 0
        boundary = int(self.dense_until)
        total, spacing = boundary - 1, 2
        while boundary <= planned:
            last = min(2 * boundary - 1, planned)
            total += last // spacing - (boundary - 1) // spacing
            boundary, spacing = 2 * boundary, 2 * spacing
        return total


@dataclass(frozen=True)
class Plan:
    """What will be stored of a training, and its size.

    Attributes:
        keyframes: By epoch; besides them step 0, the early steps 1, 2, 4 … of the first epoch and the last step.
        scalars: By step.
        events: By epoch: metrics and layer summaries.
        early_steps: Steps of the first epoch at which a keyframe is stored.
        max_keyframes: Never more than this.
        size_bytes: Expected size of the folder.
        notes: Sentences on what had to give way.
    """

    keyframes: Schedule
    scalars: Schedule
    events: Schedule
    early_steps: tuple[int, ...]
    max_keyframes: int
    size_bytes: int
    notes: tuple[str, ...]


def plan_recording(
    network: Network, steps: int, epochs: int, *, states: int = 0, max_bytes: int = DEFAULT_MAX_BYTES
) -> Plan:
    """Return what is stored of a training of so many steps and epochs within `max_bytes`.

    `states` is the number of arrays that the optimizer remembers for each parameter.
    """
    values = (1 + states) * network.parameter_count + network.buffer_count
    row_bytes = 16 + values * network.dtype.itemsize
    event_bytes = _EVENT_BYTES + _EVENT_BYTES_PER_LAYER * sum(1 for layer in network.layers if layer.parameters)
    scalars = Schedule.fitting(steps, int(max_bytes * _SCALARS_SHARE) // SCALARS_DTYPE.itemsize)
    events = Schedule.fitting(epochs, int(max_bytes * _EVENTS_SHARE) // event_bytes)

    room_bytes = max_bytes * (1 - _SCALARS_SHARE - _EVENTS_SHARE) - _FIXED_BYTES
    room = min(MAX_KEYFRAMES, int(room_bytes // row_bytes)) if row_bytes <= MAX_ROW_BYTES else 0
    steps_per_epoch = max(1, steps // max(1, epochs))
    early = tuple(1 << k for k in range(steps_per_epoch.bit_length()) if 1 << k < steps_per_epoch)
    # Step 0 and the last step (or the best one) always have their place; a large network gives up early steps.
    early = early[: max(0, room - 2) // 4]
    keyframes = Schedule.fitting(epochs, max(0, room - 2 - len(early)))

    notes = []
    if room < 2:
        notes.append(
            f"no weights are recorded: one keyframe takes {row_bytes:,} bytes, and "
            f"{min(max_bytes, MAX_ROW_BYTES):,} bytes are allowed"
        )
    elif keyframes.count(epochs) < epochs:
        notes.append(
            f"weights are recorded at {keyframes.count(epochs):,} of {epochs:,} epochs, ever more sparsely from "
            f"epoch {keyframes.dense_until:,.0f} on"
        )
    if scalars.count(steps) < steps:
        notes.append(f"loss is recorded at {scalars.count(steps):,} of {steps:,} steps")
    if events.count(epochs) < epochs:
        notes.append(f"layer summaries are recorded at {events.count(epochs):,} of {epochs:,} epochs")
    stored = min(room, 2 + len(early) + keyframes.count(epochs)) if room >= 2 else 0
    size = (
        _FIXED_BYTES
        + stored * row_bytes
        + scalars.count(steps) * SCALARS_DTYPE.itemsize
        + events.count(epochs) * event_bytes
    )
    return Plan(keyframes, scalars, events, early, room if room >= 2 else 0, size, tuple(notes))


def expected_bytes(
    network: Network, steps: int, epochs: int, *, states: int = 0, max_bytes: int = DEFAULT_MAX_BYTES
) -> int:
    """Return about how many bytes the recording of a training will take on disk.

    Args:
        network: The network to be trained.
        steps: Optimizer steps planned, all epochs together.
        epochs: Epochs planned.
        states: Arrays that the optimizer remembers for each parameter.
        max_bytes: Bytes allowed.
    """
    return plan_recording(network, steps, epochs, states=states, max_bytes=max_bytes).size_bytes


def keyframe_dtype(
    parameter_count: int, dtype: np.dtype[np.generic], buffer_count: int = 0, states: int = 0
) -> np.dtype[np.void]:
    """Return the row of a keyframe: all that decides the next step, little-endian.

    Step, epoch, all parameters as one flat field, all buffers, and what the optimizer remembers, (states, parameters).
    A network without buffers has no field for them, an optimizer that remembers nothing none for that. Without room in
    a row (2 GiB) the fields are empty: such networks have no keyframes.
    """
    if 16 + ((1 + states) * parameter_count + buffer_count) * dtype.itemsize > MAX_ROW_BYTES:
        parameter_count, buffer_count, states = 0, 0, 0
    number = dtype.newbyteorder("<")
    fields: list[Any] = [("step", "<i8"), ("epoch", "<i8"), ("params", number, (parameter_count,))]
    if buffer_count:
        fields.append(("buffers", number, (buffer_count,)))
    if states:
        fields.append(("optimizer", number, (states, parameter_count)))
    return np.dtype(fields)
