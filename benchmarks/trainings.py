"""The trainings of the benchmark of recording, one after the other or in turns.

On a busy machine two trainings one after the other differ by more than what recording costs. Where they take turns, an
epoch of a fraction of a second each, what others do to the core meanwhile hits all alike, and they differ far less.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuronwise.learning import Observer, TrainingState, fit
from neuronwise.network import Network
from recording_report import LARGE, SMALL

BATCHES = {SMALL: 32, LARGE: 128}
LEARNING_RATES = {"sgd": 0.05, "adam": 0.001}

Observers = Callable[[Path], Sequence[Observer]]


class Training:
    """One training, as often as it is asked for.

    Args:
        X: Inputs, (rows, 784), float32.
        y: Classes, (rows,), int64.
        network: Inputs, neurons and outputs, ``"784-16-16-10"``.
        optimizer: ``sgd`` or ``adam``.
        planned: Steps planned; of whole epochs.
    """

    def __init__(self, X: Any, y: Any, network: str, optimizer: str, planned: int) -> None:
        self.X, self.y, self.rows, self.network, self.optimizer = X, y, np.arange(len(X)), network, optimizer
        self.batch = BATCHES[network]
        per_epoch = len(X) // self.batch
        self.epochs = max(1, planned // per_epoch)
        self.steps = self.epochs * per_epoch
        self.description = {"network": network, "batch": self.batch, "optimizer": optimizer}

    def train(self, observers: Observers, folder: Path) -> Any:
        """Train a new network and return its parameters; the observers are made for the folder."""
        network = Network.dense([int(n) for n in self.network.split("-")], output="softmax", seed=0)
        fit(
            network,
            self.X,
            self.y,
            optimizer=self.optimizer,
            learning_rate=LEARNING_RATES[self.optimizer],
            epochs=self.epochs,
            batch_size=self.batch,
            observers=observers(folder),
            strict=True,
        )
        return network.parameters


class Turn(Observer):
    """One training in a thread of its own, which works only while it is its turn: from one end of an epoch to the next.

    Args:
        train: Trains with one more observer and returns something.

    Attributes:
        cpu_s: CPU seconds of each turn: one of each epoch, and one of what comes after the last.
        wall_s: Wall seconds likewise.
        ended: Whether the training has ended.
        result: What `train` returned.
    """

    def __init__(self, train: Callable[[Observer], Any]) -> None:
        self.cpu_s, self.wall_s = list[float](), list[float]()
        self.ended, self.result = False, None
        self._error: BaseException | None = None
        self._train, self._may_go, self._waits = train, threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self) -> bool:
        """Let it work until the end of an epoch, or its end, and return whether it goes on after that."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._may_go.release()
        self._waits.acquire()
        self.cpu_s.append(time.process_time() - cpu)
        self.wall_s.append(time.perf_counter() - wall)
        if self._error is not None:
            raise self._error
        return not self.ended

    def on_epoch_end(self, state: TrainingState) -> None:
        """Wait for the next turn."""
        self._waits.release()
        self._may_go.acquire()

    def _run(self) -> None:
        self._may_go.acquire()
        try:
            self.result = self._train(self)
        except BaseException as error:  # noqa: BLE001 - raised again by `take`
            self._error = error
        self.ended = True
        self._waits.release()


def take_turns(trainings: Mapping[str, Callable[[Observer], Any]], shuffler: random.Random) -> dict[str, Turn]:
    """Return the trainings when all have ended; their epochs come in a new order each time."""
    turns = {name: Turn(train) for name, train in trainings.items()}
    going = list(turns)
    while going:
        shuffler.shuffle(going)
        going = [name for name in going if turns[name].take()]
    return turns
