"""What is stored at which step: decided before training from the plan and the bytes allowed.

Whole states (keyframes) are stored at equal distances, so that any step between two is quickly taken again;
statistics (frames) at some of them. Nothing depends on how fast the machine happens to be: the same training stores
the same steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuronwise.errors import UsageError
from neuronwise.recording.layout import Layout
from neuronwise.recording.rows import MAX_ROW_BYTES, holds_values, stream_dtypes

if TYPE_CHECKING:
    from neuronwise.network import Network

DEFAULT_MAX_BYTES = 500_000_000

# Shares of the bytes allowed that these may take at most; what they leave is the keyframes'.
SCALARS_SHARE, EVENTS_SHARE, FRAMES_SHARE = 0.25, 0.125, 0.125
# One line of events.jsonl: measured 420 bytes a layer, 300 for the metrics around them.
_EVENT_BYTES, _EVENT_BYTES_PER_LAYER = 300, 420
# recording.json, attempt-….json and reserved headers; these alone where the others are there.
FIXED_BYTES, _HEADERS_BYTES = 40_000, 20_000
# A training that is resumed for more epochs needs room too.
SHARE_NOW = 0.97

# The times below are those of one core of a fast machine of 2025; they only choose spacings. On a slower one steps are
# slower too, so that the shares stay about the same.
_STEP_OVERHEAD_US, _FLOPS_PER_US = 25.0, 250_000.0
# What is done seldom finds nothing of it in the processor's caches, and takes two or three times as long as in a loop.
_KEYFRAME_OVERHEAD_US, _FRAME_OVERHEAD_US, _SUMMARY_US = 120.0, 700.0, 700.0
_BYTES_PER_US, _STATISTICS_PER_US = 2400.0, 400.0
# What keyframes, frames and summaries of epochs may cost of the steps' time; and how long going to a step may take.
COST_SHARE, FRAME_SHARE, SUMMARY_SHARE, _SEEK_US = 0.003, 0.0015, 0.001, 45_000.0
# A short training may spend this whatever its share, so that it too can be looked at closely.
ALLOWED_US, _FRAMES_ALLOWED_US, _SUMMARIES_ALLOWED_US = 20_000.0, 7_000.0, 9_000.0
# At least so many keyframes a run, but not closer than cost allows; at most so many steps between two.
_LEAST_COUNT, MOST_SPACING = 150, 500
_FRAMES_PER_RUN, _FRAME_SPACING = 130, 5000
# Frames at the first steps and ends of epochs.
_BESIDE = 60


@dataclass(frozen=True)
class Schedule:
    """Which of 1 … planned are stored, where not all are: ever fewer, by doubling the spacing.

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
        keyframe_every: Steps between keyframes, which lie at its multiples; 0 if none are stored. Besides them step 0
            and the last step or the best one.
        early: Whether steps 1, 2, 4, 8 … below `keyframe_every` are stored too.
        epoch_ends: Whether the end of each epoch is, its state and, if any are, its statistics.
        frame_every: Steps between frames, the steps whose statistics and histograms are stored; 0 if none are.
        statistics_every: Steps between further rows of statistics, without histograms; 0 if none are.
        scalars: Which steps have a row of scalars.
        events: Of which epochs metrics are stored.
        summaries_every: Epochs between those whose layers are summed up; of very short epochs not every one is.
        max_keyframes: Never more than this.
        size_bytes: Expected size of the folder.
        notes: Sentences on what had to give way.
    """

    keyframe_every: int
    early: bool
    epoch_ends: bool
    frame_every: int
    statistics_every: int
    scalars: Schedule
    events: Schedule
    summaries_every: int
    max_keyframes: int
    size_bytes: int
    notes: tuple[str, ...]

    def _is_early(self, step: int) -> bool:
        return self.early and step < self.keyframe_every and step & (step - 1) == 0

    def is_keyframe(self, step: int) -> bool:
        """Return whether the state after a step is to be stored, epoch ends aside."""
        return self.keyframe_every > 0 and (step % self.keyframe_every == 0 or self._is_early(step))

    def is_frame(self, step: int) -> bool:
        """Return whether the statistics of a step are to be stored, epoch ends aside."""
        return self.frame_every > 0 and (step % self.frame_every == 0 or self._is_early(step))

    def next_step(self, step: int) -> float:
        """Return the next step above `step` at which a keyframe or frame is due, epoch ends aside."""
        due = [(step // every + 1) * every for every in (self.keyframe_every, self.frame_every) if every]
        early = 1 << step.bit_length()  # the next power of two
        return min([*due, early] if self._is_early(early) else due, default=math.inf)


def plan_recording(
    network: Network,
    steps: int,
    epochs: int,
    *,
    batch_size: int = 32,
    states: int = 0,
    max_bytes: int = DEFAULT_MAX_BYTES,
    keyframe_every: int | None = None,
    statistics_every: int | None = None,
    taken: int = 0,
    used_bytes: int = 0,
) -> Plan:
    """Return what is stored of a training of so many steps and epochs within `max_bytes`.

    Bytes come first, then what recording costs (a hundredth of the time), then how long it takes to go to a step
    (50 ms); `Plan.notes` says what gave way.

    Args:
        network: The network to be trained.
        steps: Optimizer steps planned, all epochs together.
        epochs: Epochs planned.
        batch_size: Rows of a step.
        states: Arrays that the optimizer remembers for each parameter.
        max_bytes: Bytes allowed.
        keyframe_every: Steps between keyframes, whatever they cost; default chosen.
        statistics_every: Steps between statistics of every neuron, whatever they cost; default chosen.
        taken: Steps taken before, of a training that is resumed.
        used_bytes: Bytes that its recording has already, with what lies beside it.

    Raises:
        UsageError: A spacing below 1.
    """
    for value, name in ((keyframe_every, "keyframe_every"), (statistics_every, "statistics_every")):
        if value is not None and (type(value) is not int or value < 1):
            raise UsageError(f"expected a whole number from 1, got {value!r:.100}", where=f"argument {name}")
    layout = Layout.of(network, [""] * states)
    sizes = {stream: dtype.itemsize for stream, dtype in stream_dtypes(layout).items()}
    per_event = event_bytes(network)
    scalars = Schedule.fitting(steps, int(max_bytes * SCALARS_SHARE) // sizes["scalars"])
    events = Schedule.fitting(epochs, int(max_bytes * EVENTS_SHARE) // per_event)
    notes = []
    if scalars.count(steps) < steps:
        notes.append(f"loss is recorded at {scalars.count(steps):,} of {steps:,} steps")
    if events.count(epochs) < epochs:
        notes.append(f"layer summaries are recorded at {events.count(epochs):,} of {epochs:,} epochs")

    step_us, frame_bytes = step_time_us(network, batch_size), sizes["neurons"] + sizes["layers"]
    room = int(max_bytes * FRAMES_SHARE) // frame_bytes
    frame_every = _frame_spacing(steps, step_us, network.parameter_count, frame_bytes, room)
    if statistics_every and frame_every:  # histograms at some of the steps whose statistics were asked for
        frame_every = statistics_every * max(1, round(frame_every / statistics_every))
    frames = min(steps // frame_every, steps) + _BESIDE if frame_every else 0
    # Epochs whose end is stored besides, if that costs little.
    ends_us = epochs * (frame_time_us(network.parameter_count, frame_bytes) + keyframe_time_us(sizes["keyframes"]))
    ends = epochs if ends_us <= max(ALLOWED_US, COST_SHARE / 2 * steps * step_us) else 0
    asked_bytes = steps // statistics_every * sizes["neurons"] if statistics_every else 0
    if statistics_every and frames * frame_bytes + asked_bytes > max_bytes * FRAMES_SHARE:
        notes.append(f"statistics every {statistics_every:,} steps take {asked_bytes:,} bytes")
    summaries_every = _summary_spacing(epochs, steps * step_us)
    used = scalars.count(steps) * sizes["scalars"] + events.count(epochs) * per_event
    used += (frames * frame_bytes if frame_every else 0) + asked_bytes

    row, left = sizes["keyframes"], steps - taken
    if taken:  # the rest of the training gets the rest of the bytes
        used = int(used * left / max(1, steps))
    used += used_bytes + _HEADERS_BYTES if used_bytes else FIXED_BYTES
    room = int((max_bytes * SHARE_NOW - used) // row) if holds_values(layout) else 0
    if statistics_every is not None:  # what was asked for does not take the room of the states
        room = max(room, int(max_bytes * (SHARE_NOW - SCALARS_SHARE - FRAMES_SHARE)) // row)
    if room < 2:
        needed = row if holds_values(layout) else layout.parameter_count * layout.dtype.itemsize
        notes.append(
            f"no weights are recorded: one keyframe takes {needed:,} bytes, and {min(max_bytes, MAX_ROW_BYTES):,} "
            "bytes are allowed"
        )
        return Plan(
            0, False, False, frame_every, statistics_every or 0, scalars, events, summaries_every, 0, used, tuple(notes)
        )
    wanted = keyframe_every or _keyframe_spacing(steps, step_us, row)
    early = wanted.bit_length()
    has_early = room >= 4 * early
    # The frames at the ends of epochs take room of the states; where there is too little, both are left out.
    ends_bytes = ends * frame_bytes if frame_every else 0
    if room - math.ceil(ends_bytes / row) >= left // wanted + early + ends + 2:
        used, room = used + ends_bytes, room - math.ceil(ends_bytes / row)
    else:
        ends = 0
    spaced = room - 2 - ends - (early if has_early else 0)
    spacing = wanted
    if left // wanted > spaced:
        if keyframe_every is None:
            spacing = math.ceil(left / max(1, spaced))
            if spacing > wanted:
                notes.append(
                    f"whole states are stored every {spacing:,} steps, not every {wanted:,}, so that a step between "
                    f"takes longer to compute again: one takes {row:,} bytes, and {max_bytes:,} are allowed"
                )
        else:
            notes.append(
                f"whole states are stored up to step {taken + spaced * spacing:,} only: one takes {row:,} bytes, and "
                f"{max_bytes:,} are allowed (argument max_bytes)"
            )
    if statistics_every is None and frame_every:  # at keyframes, so that the training is stopped for both at once
        frame_every = spacing * max(1, round(frame_every / spacing))
    stored = min(room, left // spacing + ends + 2 + (early if has_early else 0))
    return Plan(
        spacing, has_early, ends > 0, frame_every, statistics_every or 0, scalars, events, summaries_every, room,
        used + stored * row, tuple(notes),
    )  # fmt: skip


def _frame_spacing(steps: int, step_us: float, parameters: int, frame_bytes: int, room: int) -> int:
    """Return the steps between frames: enough of them to draw, as far as cost and bytes allow; 0 for none."""
    if room < _BESIDE:
        return 0
    cost_us = frame_time_us(parameters, frame_bytes)
    by_cost = min(cost_us / (FRAME_SHARE * step_us), steps * cost_us / _FRAMES_ALLOWED_US)
    wanted = min(_FRAME_SPACING, max(steps // _FRAMES_PER_RUN, math.ceil(by_cost)))
    return max(1, wanted, math.ceil(steps / (room - _BESIDE / 2)))


def _summary_spacing(epochs: int, total_us: float) -> int:
    """Return the epochs between those whose layers are summed up."""
    by_cost = min(_SUMMARY_US * epochs / (SUMMARY_SHARE * total_us), _SUMMARY_US * epochs / _SUMMARIES_ALLOWED_US)
    return max(1, math.ceil(by_cost))


def _keyframe_spacing(steps: int, step_us: float, row_bytes: int) -> int:
    """Return the steps between keyframes, bytes aside."""
    cost_us = keyframe_time_us(row_bytes)
    by_cost = min(cost_us / (COST_SHARE * step_us), steps * cost_us / ALLOWED_US)
    by_time = max(1, min(int(_SEEK_US / step_us), steps // _LEAST_COUNT))
    return min(MOST_SPACING, max(by_time, math.ceil(by_cost)))


def keyframe_time_us(row_bytes: int) -> float:
    """Return about how many microseconds a keyframe takes."""
    return _KEYFRAME_OVERHEAD_US + row_bytes / _BYTES_PER_US


def frame_time_us(parameters: int, frame_bytes: int) -> float:
    """Return about how many microseconds a frame takes."""
    return _FRAME_OVERHEAD_US + parameters / _STATISTICS_PER_US + frame_bytes / _BYTES_PER_US


def event_bytes(network: Network) -> int:
    """Return about how many bytes the event of an epoch takes."""
    return _EVENT_BYTES + _EVENT_BYTES_PER_LAYER * sum(1 for layer in network.layers if layer.parameters)


def step_time_us(network: Network, batch_size: int) -> float:
    """Return about how many microseconds a step takes, from the multiplications of its layers."""
    products = 0
    for layer in network.layers:
        if "W" in layer.parameters:
            W = layer.parameters["W"]
            products += W.size * (layer.neuron_count // len(W))  # a filter is at work at every place
    return _STEP_OVERHEAD_US + 6 * batch_size * products / _FLOPS_PER_US


def expected_bytes(network: Network, steps: int, epochs: int, **options: Any) -> int:
    """Return about how many bytes the recording of a training will take on disk; arguments as `plan_recording`."""
    return plan_recording(network, steps, epochs, **options).size_bytes
