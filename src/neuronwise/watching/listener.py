"""Who is told what a watcher has recorded: what sends it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


class WatchListener:
    """Is called on the training's own thread: take what is given, and do the work elsewhere."""

    def on_loss(self, step: int, loss: float, learning_rate: float) -> None:
        """Called with the loss of a step, some steps later."""

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Called with what the user logged."""

    def on_frame(self, step: int, row: NDArray[np.void], metrics: Mapping[str, float]) -> None:
        """Called with the statistics of a step, (1,), a buffer, and norms of all gradients."""

    def on_close(self, status: str) -> None:
        """Called when the recording is complete."""
