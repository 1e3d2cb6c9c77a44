"""When something of a watched training is recorded: by the number of the step, not by the speed of the machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Every step up to this one, then ever fewer: each recorded one is so many times the one before.
DENSE_STEPS, FRAME_RATIO = 50, 1.075
# States take more bytes and time; what goes in and comes out of a model is no news at each of the first steps.
KEYFRAME_RATIO, BATCH_RATIO = 1.4, 1.15


@dataclass
class Moments:
    """Which steps are recorded.

    Statistics of steps 0 to 50, then of steps in a geometric series: 102 of 2,000 steps, 156 of 100,000, 187 of a
    million. What they cost, in time or bytes, may only double the distance.

    Attributes:
        every: Steps between statistics, whatever they cost; None for the series.
        thinning: How often the distance has been doubled, as a factor: 1, 2, 4 …
        keyframe_ratio: How many times the step of the last stored state the next one is.
    """

    every: int | None = None
    thinning: int = 1
    keyframe_ratio: float = KEYFRAME_RATIO

    def next_frame(self, step: int) -> int:
        """Return the first step above `step` whose statistics are recorded."""
        if self.every is not None:
            return (step // self.every + 1) * self.every
        if (found := (step // self.thinning + 1) * self.thinning) <= DENSE_STEPS:
            return found
        place = max(0, math.floor(math.log(max(step, 1) / DENSE_STEPS) / math.log(FRAME_RATIO)) - 1)
        place -= place % self.thinning
        while (found := math.ceil(DENSE_STEPS * FRAME_RATIO**place)) <= step:
            place += self.thinning
        return found

    def next_batch(self, step: int) -> int:
        """Return the step from which on inputs, targets and predictions are looked at again, at a recorded one.

        Of the first 50 some, which are close together; later all that are recorded by default, as how well it goes at
        the end is told by the last of them.
        """
        return max(step + 1, math.ceil(step * (BATCH_RATIO if step <= DENSE_STEPS else FRAME_RATIO)))

    def next_keyframe(self, step: int) -> int:
        """Return the step from which on the next state is stored, at a recorded one, after that of `step`."""
        return max(step + 1, math.ceil(step * self.keyframe_ratio))

    def fit_states(self, room: int) -> bool:
        """Choose the distance of states so that so many are enough for a million steps; return whether any have room.

        Args:
            room: How many fit into the bytes that are allowed.
        """
        if room < 3:
            return False
        self.keyframe_ratio = max(KEYFRAME_RATIO, math.exp(math.log(1e6) / (room - 2)))
        return True
