"""One optimizer step on a batch of rows: gather, forward, backward, clip, update; nothing is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.learning.optimizers import Optimizer, clip_by_norm
from neuronwise.network import Loss, Network, Workspace
from neuronwise.network.buffers import zeros_buffer

Array = NDArray[np.floating[Any]]


class Stepper:
    """Takes optimizer steps, with buffers kept for each batch size it has met.

    Args:
        network: The network whose parameters are changed.
        X: Inputs, (rows, *input_shape), C-contiguous, in the network's dtype.
        y: Targets as `prepare_targets` returns them.
        weights: A weight for each row, or None.
        loss: The loss.
        optimizer: A started optimizer.
        clip_norm: Largest norm of the gradients, or None.

    Attributes:
        space: The workspace of the last step.
        gradients: Gradients of the last step, after clipping, laid out as `network.parameters`.
    """

    def __init__(
        self,
        network: Network,
        X: NDArray[Any],
        y: NDArray[Any],
        weights: NDArray[Any] | None,
        loss: Loss,
        optimizer: Optimizer,
        clip_norm: float | None = None,
    ) -> None:
        self.network, self.X, self.y, self.weights = network, X, y, weights
        self.loss, self.optimizer, self.clip_norm = loss, optimizer, clip_norm
        self.gradients: Array = zeros_buffer(network.parameters.shape, network.dtype)
        self.space: Workspace
        self._buffers: dict[int, tuple[Workspace, NDArray[Any], NDArray[Any] | None]] = {}

    def forward_backward(self, rows: NDArray[np.int64]) -> float:
        """Return the mean loss over these rows and fill the gradients; the parameters stay."""
        m = len(rows)
        space, y, weights = self._buffers.get(m) or self._allocate(m)
        self.space = space
        # mode="clip": with the default, NumPy buffers `out` to be able to raise. The rows are ours and valid.
        self.X.take(rows, 0, space.x, "clip")
        self.y.take(rows, 0, y, "clip")
        if weights is not None:
            assert self.weights is not None
            self.weights.take(rows, 0, weights, "clip")
        space.forward()
        return space.backward(self.loss, y, weights)

    def update(self) -> None:
        """Change the parameters by the gradients."""
        if self.clip_norm is not None:
            clip_by_norm(self.gradients, self.clip_norm)
        self.optimizer.step(self.network.parameters, self.gradients)

    def step(self, rows: NDArray[np.int64]) -> float:
        """Take one step and return the mean loss over the batch before it."""
        loss = self.forward_backward(rows)
        self.update()
        return loss

    def snapshot(self) -> Snapshot:
        """Return a copy of all that decides the next steps."""
        return Snapshot(self.network.parameters.copy(), self.optimizer.snapshot())

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        np.copyto(self.network.parameters, snapshot.parameters)
        self.optimizer.restore(snapshot.optimizer)

    def _allocate(self, m: int) -> tuple[Workspace, NDArray[Any], NDArray[Any] | None]:
        space = self.network.workspace(m, self.gradients)
        y = np.empty((m, *self.y.shape[1:]), dtype=self.y.dtype)
        weights = None if self.weights is None else np.empty(m, dtype=self.weights.dtype)
        self._buffers[m] = space, y, weights
        return self._buffers[m]


@dataclass(frozen=True)
class Snapshot:
    """Parameters and optimizer state at one step."""

    parameters: Array
    optimizer: dict[str, Any]
