"""Real trainings that take a fraction of a second, and what each of their steps truly had."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import neuronwise.recording.open_files as files_module
from neuronwise.learning import FitResult, Observer, TrainingState, fit
from neuronwise.network import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D, Network
from neuronwise.recording import RecordingWriter, TrainingData
from neuronwise.recording.segments import HEADER_BYTES, SegmentWriter

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 6, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 70)
ROWS = np.arange(60)
# 4 steps an epoch.
OPTIONS: dict[str, Any] = {"epochs": 5, "batch_size": 16, "training_rows": ROWS, "strict": True}


def plain(dtype: str = "float32") -> Network:
    return Network([Flatten(), Dense(5), Dense(3, "softmax")], input_shape=(6, 6), seed=1, dtype=dtype)


def all_layers(dtype: str = "float32") -> Network:
    layers = [Conv2D(3, 3), BatchNorm(), MaxPool2D(), Flatten(), Dropout(0.3), Dense(5, "tanh"), Dense(3, "softmax")]
    return Network(layers, input_shape=(6, 6), seed=2, dtype=dtype)


class Everything(Observer):
    """Keeps what every step had."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, Any]] = {}

    def on_fit_begin(self, state: TrainingState) -> None:
        if state.step not in self.steps:  # a resumed training begins where it stood
            self._keep(state)

    def on_step_end(self, state: TrainingState) -> None:
        self._keep(state)

    def _keep(self, state: TrainingState) -> None:
        self.steps[state.step] = {
            "parameters": state.network.parameters.copy(),
            "buffers": state.network.buffers.copy(),
            "loss": state.loss,
            "rate": state.learning_rate,
            "rows": state.batch_indices.copy(),
            "gradients": state.gradients.copy(),
            "update": state.update.copy(),
            "delta": [None if one.delta is None else one.delta.copy() for one in state.passes],
            "z": [None if one.z is None else one.z.copy() for one in state.passes],
        }


class At(Observer):
    """Does something at the end of one step."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_step_end(self, state: TrainingState) -> None:
        if state.step == self.step:
            self.action(state)


def stop_at(step: int) -> Observer:
    return At(step, lambda state: state.stop())


def train(
    folder: Path,
    network: Network | None = None,
    observers: Sequence[Observer] = (),
    *,
    writer: Any = None,
    **options: Any,
) -> FitResult:
    """Train on X and Y with a recording, `writer` being its settings."""
    recorder = RecordingWriter(folder, **(writer or {}))
    network = plain() if network is None else network
    return fit(network, X, Y, observers=[*observers, recorder], **(OPTIONS | options))


def data(weights: np.ndarray | None = None) -> TrainingData:
    return TrainingData(X, Y, ROWS, weights)


@contextlib.contextmanager
def small_segments(rows: int) -> Iterator[None]:
    """Have segments of so many rows, so that a short training has many."""

    class Small(SegmentWriter):
        def __init__(self, folder: Path, stream: str, dtype: np.dtype[Any], sealer: Any) -> None:
            super().__init__(folder, stream, dtype, sealer, segment_bytes=HEADER_BYTES + rows * dtype.itemsize)

    real = files_module.SegmentWriter
    files_module.SegmentWriter = Small  # type: ignore[misc]
    try:
        yield
    finally:
        files_module.SegmentWriter = real  # type: ignore[misc]


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
