"""Steps that were skipped: a gradient scaler, or a fused optimizer, changed nothing as gradients were not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


class SkippedSteps:
    """Counts them, and writes an event of each time. A scaler tells of them by its scale, which it lowers.

    Args:
        scaler: The gradient scaler, or None where watching was not told of one.
        event: Writes an event: kind and content.

    Attributes:
        scaler: The scaler; None where there is none, or it does nothing.
        count: How many there were.
    """

    def __init__(self, scaler: Any, event: Callable[..., None]) -> None:
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.count, self._event = 0, event
        self._scale = None if self.scaler is None else float(self.scaler.get_scale())

    def inferred(self, step: int, count: int) -> None:
        """Count steps that seem to have been skipped after one, unless the scaler tells of them."""
        if self.scaler is None:
            self._note(step, count, inferred=True)

    def by_optimizer(self, step: int) -> None:
        """Count a step that a fused optimizer skipped after one, unless the scaler tells of it."""
        if self.scaler is None:
            self._note(step, 1)

    def look_at_scale(self, step: int) -> None:
        """Count the steps for which the scaler has lowered its scale since it was looked at last."""
        if self.scaler is None:
            return
        scale, before = float(self.scaler.get_scale()), self._scale
        backoff = float(self.scaler.get_backoff_factor())
        if before is not None and 0 < scale < before and 0 < backoff < 1:
            self._note(step, max(1, round(math.log(scale / before) / math.log(backoff))), scale=scale)
        self._scale = scale

    def _note(self, step: int, count: int, **content: Any) -> None:
        self.count += count
        self._event("skipped", step=step, count=count, **content)
