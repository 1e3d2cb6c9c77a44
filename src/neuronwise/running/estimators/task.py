"""One training of an estimator: all it needs, and the call of `learning.fit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.learning import FitResult, Observer, Optimizer, Schedule, fit
from neuronwise.running.architecture import Choice, Lengths
from neuronwise.running.estimators.inputs import Encoder
from neuronwise.running.estimators.targets import OutputSpec


@dataclass
class Task:
    """What is learned from what, and how.

    Attributes:
        X: Encoded inputs, float32 (rows, *input_shape).
        y: Targets as the loss wants them.
        weights: A weight for each row, or None.
        train: Rows to learn from.
        held_out: Rows for early stopping; may be empty.
        encoder: The fitted encoder.
        spec: What is predicted.
        choice: The network with its loss.
        optimizer: The optimizer.
        lengths: Batch size, epochs and patience.
        schedule: Learning-rate schedule.
        clip_norm: Largest norm of the gradients, or None.
        seed: Seed of the order of the rows.
        threads: Threads of the matrix products.
    """

    X: NDArray[np.float32]
    y: NDArray[Any]
    weights: NDArray[Any] | None
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    encoder: Encoder
    spec: OutputSpec
    choice: Choice
    optimizer: Optimizer
    lengths: Lengths
    schedule: Schedule
    clip_norm: float | None
    seed: int
    threads: int | None

    def learn(self, observers: Sequence[Observer] = ()) -> FitResult:
        """Train the network and return how it went.

        Raises:
            TrainingDiverged: The loss became NaN or infinite.
        """
        holds_out = len(self.held_out) > 0
        return fit(
            self.choice.network,
            self.X,
            self.y,
            loss=self.choice.loss,
            optimizer=self.optimizer,
            epochs=self.lengths.epochs,
            batch_size=self.lengths.batch_size,
            validation=self.held_out if holds_out else None,
            training_rows=self.train,
            sample_weight=self.weights,
            schedule=self.schedule,
            clip_norm=self.clip_norm,
            patience=self.lengths.patience if holds_out else None,
            seed=self.seed,
            threads=self.threads,
            observers=observers,
        )
