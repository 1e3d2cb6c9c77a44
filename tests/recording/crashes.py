"""A small recorded training that a test ends at a bad moment: the same bits here and in a process of its own.

Run as a script with a `Crash` as JSON, it prints a line for each step (``step 12 acknowledged 10``) and at the end one
JSON object.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import neuronwise.recording.writer as writing
from neuronwise.learning import Checkpoint, FitResult, Observer, TrainingState, fit
from neuronwise.network import BatchNorm, Dense, Dropout, Network
from neuronwise.recording import RecordingWriter

ROWS = 96


@dataclass(frozen=True)
class Crash:
    """A training to be ended.

    Attributes:
        folder: Of the recording.
        checkpoint: Where a checkpoint is kept, outside of it.
        seed: Decides network, optimizer and how often what is stored.
        most_bytes: Of a file, as the system allows this process (``RLIMIT_FSIZE``); None for no limit.
        resume: Whether the recording may be there.
    """

    folder: str
    checkpoint: str
    seed: int
    most_bytes: int | None = None
    resume: bool = False


class Settings:
    """What a seed decides."""

    def __init__(self, seed: int) -> None:
        chosen = random.Random(seed)
        self.seed = seed
        self.epochs = chosen.randint(6, 12)
        self.batch_size = chosen.choice([3, 4, 6])
        self.optimizer = chosen.choice(["sgd", "momentum", "adam", "adamw"])
        self.schedule = chosen.choice([None, "cosine", "plateau"])
        self.validation = chosen.choice([None, 0.25])
        self.patience = None
        self.widths = [chosen.randint(2, 24) for _ in range(chosen.randint(1, 3))]
        self.extra = chosen.choice([None, BatchNorm, Dropout])
        self.dtype = chosen.choice(["float32", "float64"])
        self.keyframe_every = chosen.choice([3, 8, 25])
        self.statistics_every = chosen.choice([5, 25])
        self.flush_every = chosen.choice([7, 40])
        self.seal_after_s = chosen.choice([0.0, 0.01, 300.0])
        self.retries = chosen.random() < 0.5

    @property
    def steps(self) -> int:
        rows = ROWS if self.validation is None else ROWS - round(ROWS * self.validation)
        return self.epochs * -(-rows // self.batch_size)

    def network(self) -> Network:
        layers: list[Any] = []
        for width in self.widths:
            layers += [Dense(width, "relu"), *([] if self.extra is None else [self.extra()])]
        return Network([*layers, Dense(3, "softmax")], input_shape=(5,), seed=self.seed, dtype=self.dtype)


def train(
    seed: int, observers: Sequence[Observer], *, resume: Checkpoint | None = None, strict: bool = True
) -> tuple[Network, FitResult]:
    """Train what the seed decides, from its beginning or a checkpoint."""
    settings = Settings(seed)
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(ROWS, 5)).astype(settings.dtype)
    y = np.argmax(X[:, :3] + 0.5 * generator.normal(size=(ROWS, 3)), axis=1)
    network = settings.network()
    result = fit(
        network,
        X,
        y,
        optimizer=settings.optimizer,
        schedule=settings.schedule,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        validation=settings.validation,
        resume=resume,
        observers=observers,
        strict=strict,
    )
    return network, result


def recorder(folder: Path, seed: int, *, resume: bool = False) -> RecordingWriter:
    """Return the recorder of such a training."""
    settings = Settings(seed)
    return RecordingWriter(
        folder,
        keyframe_every=settings.keyframe_every,
        statistics_every=settings.statistics_every,
        split={"train": np.arange(ROWS)},
        data={"name": "made up"},
        probe=np.zeros((2, 5)),
        resume=resume,
    )


class Truth(Observer):
    """Keeps what a recording of the training may hold: losses and weights of every step."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}
        self.parameters: dict[int, np.ndarray] = {}
        self.buffers: dict[int, np.ndarray] = {}
        self.optimizer: dict[int, dict[str, np.ndarray]] = {}

    def on_fit_begin(self, state: TrainingState) -> None:
        self._keep(state)

    def on_step_end(self, state: TrainingState) -> None:
        self.losses[state.step] = state.loss
        self._keep(state)

    def _keep(self, state: TrainingState) -> None:
        self.parameters[state.step] = state.network.parameters.copy()
        self.buffers[state.step] = state.network.buffers.copy()
        self.optimizer[state.step] = {name: values.copy() for name, values in state.optimizer_state.items()}


class Telling(Observer):
    """Prints after every step how much is acknowledged, and now and then keeps a checkpoint."""

    def __init__(self, recorder: RecordingWriter, crash: Crash) -> None:
        self._recorder, self._place = recorder, Path(crash.checkpoint)
        self._every = random.Random(crash.seed + 1).choice([1, 13, 50, 10_000])

    def on_fit_begin(self, state: TrainingState) -> None:
        self._tell(state)

    def on_step_end(self, state: TrainingState) -> None:
        if state.step % self._every == 0:
            with contextlib.suppress(OSError):  # its place may be limited too
                state.checkpoint().save(self._place)
        self._tell(state)
        time.sleep(0.0005)

    def on_epoch_end(self, state: TrainingState) -> None:
        self._tell(state)

    def on_fit_end(self, state: TrainingState) -> None:
        self._tell(state)

    def _tell(self, state: TrainingState) -> None:
        tell(f"step {state.step} acknowledged {self._recorder.acknowledged_step}")


def tell(line: str) -> None:
    """Print a line that is with the reader whatever happens next."""
    os.write(1, line.encode() + b"\n")


def digest(network: Network) -> str:
    """Return what only the same bits of all weights and buffers give."""
    return hashlib.sha256(network.parameters.tobytes() + network.buffers.tobytes()).hexdigest()


def main(crash: Crash) -> None:
    """Train, and tell."""
    settings = Settings(crash.seed)
    writing._STEPS_PER_FLUSH = settings.flush_every
    writing._SEAL_AFTER_S = settings.seal_after_s
    if settings.retries:
        writing._PAUSES_S = (0.0, 0.01)
    if crash.most_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (crash.most_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    tell("ready")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = recorder(Path(crash.folder), crash.seed, resume=crash.resume)
        network, result = train(crash.seed, [made, Telling(made, crash)], strict=False)
    tell(
        json.dumps(
            {
                "status": result.status,
                "digest": digest(network),
                "warnings": [str(one.message) for one in caught],
                "problems": made.problems,
            }
        )
    )


def command(crash: Crash) -> list[str]:
    """Return what starts such a training in a process of its own."""
    return [sys.executable, __file__, json.dumps(asdict(crash))]


if __name__ == "__main__":
    main(Crash(**json.loads(sys.argv[1])))
