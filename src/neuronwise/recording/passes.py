"""PassRecorder: records calls of `partial_fit`, of which nobody knows how many there will be.

What is stored grows ever sparser, so that the recording stays below its bytes however long it goes on: each doubling of
the spacing leaves room for as many steps again. What is written stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuronwise.recording.layout import Layout
from neuronwise.recording.quantities import layer_summaries
from neuronwise.recording.rows import holds_values, stream_dtypes
from neuronwise.recording.schedule import (
    ALLOWED_US,
    COST_SHARE,
    DEFAULT_MAX_BYTES,
    EVENTS_SHARE,
    FIXED_BYTES,
    FRAMES_SHARE,
    MOST_SPACING,
    SCALARS_SHARE,
    SHARE_NOW,
    Plan,
    Schedule,
    event_bytes,
    frame_time_us,
    keyframe_time_us,
    step_time_us,
)
from neuronwise.recording.writer import RecordingWriter

if TYPE_CHECKING:
    from neuronwise.learning.observers import TrainingState
    from neuronwise.network import Network

# Room is kept for so many steps and calls, days of the shortest ones; of states, which are large, for fewer.
_HORIZON, _STATES_HORIZON = 10**10, 10**8
# One line of events.jsonl about a call: measured 330 to 400 bytes.
_PASS_BYTES = 420
_PASSES_SHARE = 0.125
# The first state, the last one, and that of a training that diverged.
_BESIDE = 4


@dataclass(frozen=True)
class Allowance:
    """How often something may be done so that it costs little beside the steps; a few times it may at once.

    Attributes:
        spacing: Steps between two times.
        free: How often it may be done whatever the spacing.
    """

    spacing: int
    free: int

    @classmethod
    def of(cls, cost_us: float, step_us: float) -> Allowance:
        """Return the allowance for what takes so many microseconds, beside steps of so many."""
        return cls(max(1, math.ceil(cost_us / (COST_SHARE * step_us))), int(ALLOWED_US / cost_us))

    def grants(self, times: int, since: int) -> bool:
        """Return whether it may be done, having been done so many times, so many steps since the last time."""
        return times < self.free or since >= self.spacing


@dataclass(frozen=True)
class OpenPlan(Plan):
    """What is stored of steps whose number is not known.

    Attributes:
        keyframes: Which multiples of `keyframe_every` are keyframes.
        frames: Which multiples of `frame_every` are frames.
        ends: At the ends of which calls, counted from 1, the state is stored.
        end_frames: At the ends of which calls the statistics are.
        states: How often the end of a call may be stored.
        statistics: How often the end of a call may be measured.
        max_passes: Of so many calls it is recorded what they learned from.
    """

    keyframes: Schedule
    frames: Schedule
    ends: Schedule
    end_frames: Schedule
    states: Allowance
    statistics: Allowance
    max_passes: int

    def is_keyframe(self, step: int) -> bool:
        """See `Plan.is_keyframe`."""
        return super().is_keyframe(step) and (
            self._is_early(step) or self.keyframes.stores(step // self.keyframe_every)
        )

    def is_frame(self, step: int) -> bool:
        """See `Plan.is_frame`."""
        return super().is_frame(step) and (self._is_early(step) or self.frames.stores(step // self.frame_every))

    def next_step(self, step: int) -> float:
        """Return the next step above `step` at which a keyframe or frame may be due, ends of calls aside."""
        due: list[float] = []
        for every, stored in ((self.keyframe_every, self.keyframes), (self.frame_every, self.frames)):
            number = step // every + 1 if every else 0
            if every and (spacing := stored.spacing(number)):
                due.append(-(-number // spacing) * spacing * every)
        early = 1 << step.bit_length()  # the next power of two
        return min([*due, early] if self._is_early(early) else due, default=math.inf)


def plan_passes(
    network: Network,
    *,
    batch_size: int = 32,
    states: int = 0,
    max_bytes: int = DEFAULT_MAX_BYTES,
    keyframe_every: int | None = None,
) -> OpenPlan:
    """Return what is stored of calls of `partial_fit` within `max_bytes`; arguments as `plan_recording`."""
    layout = Layout.of(network, [""] * states)
    sizes = {stream: dtype.itemsize for stream, dtype in stream_dtypes(layout).items()}
    frame_bytes, row = sizes["neurons"] + sizes["layers"], sizes["keyframes"]
    step_us = step_time_us(network, batch_size)
    statistics = Allowance.of(frame_time_us(network.parameter_count, frame_bytes), step_us)
    keeping = Allowance.of(keyframe_time_us(row), step_us)
    every = keyframe_every or min(MOST_SPACING, keeping.spacing)
    rest = SHARE_NOW - SCALARS_SHARE - EVENTS_SHARE - FRAMES_SHARE - _PASSES_SHARE
    early = every.bit_length()
    room = (int((max_bytes * rest - FIXED_BYTES) // row) if holds_values(layout) else 0) - early - _BESIDE
    notes: tuple[str, ...] = ()
    if room < 2:
        room, every = 0, 0
        notes = (f"no weights are recorded: one keyframe takes {row:,} bytes, and {max_bytes:,} are allowed",)
    frame_every = max(1, every) * math.ceil(statistics.spacing / max(1, every))
    frame_room = int(max_bytes * FRAMES_SHARE) // frame_bytes - early
    return OpenPlan(
        keyframe_every=every,
        early=room > 0,
        epoch_ends=room > 0,
        frame_every=frame_every if frame_room > 1 else 0,
        statistics_every=0,
        scalars=Schedule.fitting(_HORIZON, int(max_bytes * SCALARS_SHARE) // sizes["scalars"]),
        events=Schedule.fitting(_HORIZON, int(max_bytes * EVENTS_SHARE) // event_bytes(network)),
        summaries_every=1,
        max_keyframes=room + early + _BESIDE if room else 0,
        size_bytes=max_bytes,
        notes=notes,
        # Half of the room for the ends of calls, half for steps between.
        keyframes=Schedule.fitting(_STATES_HORIZON // max(1, every), room // 2),
        frames=Schedule.fitting(_HORIZON // frame_every, max(0, frame_room) // 2),
        ends=Schedule.fitting(_STATES_HORIZON, room // 2),
        end_frames=Schedule.fitting(_HORIZON, max(0, frame_room) // 2),
        states=keeping,
        statistics=statistics,
        max_passes=int(max_bytes * _PASSES_SHARE) // _PASS_BYTES,
    )


class PassRecorder(RecordingWriter):
    """Records the steps of calls of `partial_fit`, each an epoch of its own; arguments as `RecordingWriter`.

    The state is stored at the ends of calls and at steps between, both ever more sparsely, the loss of every step, and
    what each call learned from, as a fingerprint, before its first step.
    """

    plan: OpenPlan | None

    def begin_pass(self, state: TrainingState, batch_size: int, data: Mapping[str, Any]) -> None:
        """Note, before its first step, what a call learns from.

        Args:
            state: With the number of the call as its epoch.
            batch_size: Rows of each step but the last.
            data: As `describe_pass` returns it.
        """
        self._guard(state.step, lambda: self._begin_pass(state, batch_size, data))

    def break_off(self, state: TrainingState) -> None:
        """Complete the files after an error within a step, whose half-changed weights are no state."""
        self._guard(state.step, lambda: self._break_off(state))
        self.close()

    def _begin(self, state: TrainingState) -> None:
        self._passes = self._ended = 0
        self._ends_stored, self._last_stored = 0, state.step
        self._ends_measured, self._last_measured = 0, state.step
        super()._begin(state)

    def _make_plan(self, state: TrainingState, used_bytes: int) -> Plan:
        return plan_passes(
            state.network,
            batch_size=state.checkpoint().settings["batch_size"],
            states=len(state.optimizer_state),
            max_bytes=self.max_bytes,
            keyframe_every=self._keyframe_every,
        )

    def _begin_pass(self, state: TrainingState, batch_size: int, data: Mapping[str, Any]) -> None:
        assert self.plan is not None
        self._passes += 1
        if self._passes <= self.plan.max_passes:
            steps, first = state.steps_per_epoch, state.step + 1
            self._files.event(
                "pass", number=state.epoch, first_step=first, steps=steps, batch_size=batch_size, data=dict(data)
            )  # fmt: skip
        elif self._passes == self.plan.max_passes + 1:
            self.problems.append(
                f"from step {state.step + 1:,} on it is not recorded what was learned from, so that only stored states "
                f"can be read: {self._passes - 1:,} calls of partial_fit take the bytes that are allowed"
            )

    def _end_epoch(self, state: TrainingState) -> None:
        plan, step = self.plan, state.step
        assert plan is not None
        self._flush(state)
        self._ended += 1
        self.summaries = {}
        if plan.end_frames.stores(self._ended) and plan.statistics.grants(
            self._ends_measured, step - self._last_measured
        ):
            self._ends_measured, self._last_measured = self._ends_measured + 1, step
            self.summaries = layer_summaries(state.network, self._layout, self._measure(state)[0], state.passes)
            self._frame(state)
        if plan.events.stores(self._ended):
            self._files.event(
                "epoch",
                epoch=state.epoch,
                step=step,
                elapsed_s=state.elapsed_s,
                metrics=state.metrics,
                layers=self.summaries,
            )
        if plan.ends.stores(self._ended) and plan.states.grants(self._ends_stored, step - self._last_stored):
            self._ends_stored, self._last_stored = self._ends_stored + 1, step
            self._store(state)
            self._states.flush()  # the next call may come hours later, or never

    def _break_off(self, state: TrainingState) -> None:
        self._flush(state)
        self._files.event("end", status="interrupted", step=state.step, epoch=state.epoch, delivered_step=None)
