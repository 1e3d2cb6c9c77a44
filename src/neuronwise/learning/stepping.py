"""One optimizer step on a batch of rows: gather, forward, backward, clip, update; nothing is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.learning.optimizers import Optimizer, clip_by_norm
from neuronwise.learning.schedules import Schedule
from neuronwise.network import Loss, Network, Workspace
from neuronwise.network.buffers import zeros_buffer

Array = NDArray[np.floating[Any]]


class Stepper:
    """Takes optimizer steps, with buffers kept for each batch size it has met.

    What a step does depends only on the parameters, buffers and optimizer state before it, its rows and its number
    (the optimizer's count and 1), which chooses the learning rate and what is dropped: repeated, it is the same.

    Args:
        network: The network whose parameters and buffers are changed.
        X: Inputs, (rows, *input_shape), C-contiguous, in the network's dtype.
        y: Targets as `prepare_targets` returns them.
        weights: A weight for each row, or None.
        loss: The loss.
        optimizer: A started optimizer.
        clip_norm: Largest norm of the gradients, or None.
        schedule: A started schedule of the learning rate; None for a constant one.
        seed: Of what is drawn in a step (dropout); default that of the network.

    Attributes:
        space: The workspace of the last step.
        gradients: Gradients of the last step, after clipping, laid out as `network.parameters`.
        base_rate: The learning rate that the schedule's factor multiplies.
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
        *,
        schedule: Schedule | None = None,
        seed: int | None = None,
    ) -> None:
        self.network, self.X, self.y, self.weights = network, X, y, weights
        self.loss, self.optimizer, self.clip_norm = loss, optimizer, clip_norm
        self.schedule = None if schedule is None or schedule.is_constant else schedule
        self.seed = network.seed if seed is None else seed
        self.base_rate = optimizer.learning_rate
        self.gradients: Array = zeros_buffer(network.parameters.shape, network.dtype)
        self.space: Workspace
        self._spaces: dict[int, tuple[Workspace, NDArray[Any], NDArray[Any] | None]] = {}
        self._is_random = False
        self._has_buffers = bool(network.buffer_count)

    def forward_backward(self, rows: NDArray[np.int64]) -> float:
        """Return the mean loss over these rows and fill the gradients; parameters and buffers stay."""
        m = len(rows)
        space, y, weights = self._spaces.get(m) or self._allocate(m)
        self.space = space
        # mode="clip": with the default, NumPy buffers `out` to be able to raise. The rows are ours and valid.
        self.X.take(rows, 0, space.x, "clip")
        self.y.take(rows, 0, y, "clip")
        if weights is not None:
            assert self.weights is not None
            self.weights.take(rows, 0, weights, "clip")
        if self._is_random:
            space.draw(self.seed, self.optimizer.steps + 1)
        space.forward()
        return space.backward(self.loss, y, weights)

    def update(self) -> None:
        """Change the parameters by the gradients, and the buffers by the batch."""
        if self.clip_norm is not None:
            clip_by_norm(self.gradients, self.clip_norm)
        if self.schedule is not None:
            self.optimizer.learning_rate = self.rate(self.optimizer.steps + 1)
        self.optimizer.step(self.network.parameters, self.gradients)
        if self._has_buffers:
            self.space.update_buffers()

    def step(self, rows: NDArray[np.int64]) -> float:
        """Take one step and return the mean loss over the batch before it."""
        loss = self.forward_backward(rows)
        self.update()
        return loss

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        return self.base_rate if self.schedule is None else self.base_rate * self.schedule.factor(step)

    def is_finite(self) -> bool:
        """Return whether all parameters and buffers are finite."""
        return bool(np.isfinite(self.network.parameters).all() and np.isfinite(self.network.buffers).all())

    def snapshot(self) -> Snapshot:
        """Return a copy of all that decides the next steps of an epoch."""
        return Snapshot(self.network.parameters.copy(), self.network.buffers.copy(), self.optimizer.snapshot())

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        np.copyto(self.network.parameters, snapshot.parameters)
        np.copyto(self.network.buffers, snapshot.buffers)
        self.optimizer.restore(snapshot.optimizer)

    def _allocate(self, m: int) -> tuple[Workspace, NDArray[Any], NDArray[Any] | None]:
        space = self.network.workspace(m, self.gradients, training=True)
        self._is_random = space.is_random
        y = np.empty((m, *self.y.shape[1:]), dtype=self.y.dtype)
        weights = None if self.weights is None else np.empty(m, dtype=self.weights.dtype)
        self._spaces[m] = space, y, weights
        return self._spaces[m]


@dataclass(frozen=True)
class Snapshot:
    """Parameters, buffers and optimizer state at one step."""

    parameters: Array
    buffers: Array
    optimizer: dict[str, Any]
