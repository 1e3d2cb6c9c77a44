"""Replay: any step of a recorded training, taken again from the nearest stored state before it.

Every step is decided by the parameters, buffers and optimizer state before it and by its number, from which its rows,
its learning rate and what is dropped follow. So with the data at hand each step can be repeated exactly, and whatever
it computed is there again though it was never stored ("hindsight logging", Garcia et al., VLDB 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.learning.identity import data_identity
from neuronwise.learning.optimizers import OPTIMIZERS, Optimizer
from neuronwise.learning.rows import batches
from neuronwise.learning.schedules import schedule_from_settings
from neuronwise.learning.stepping import Stepper
from neuronwise.learning.threads import blas_threads
from neuronwise.network import Network, Trace, get_loss
from neuronwise.network.trace import LayerTrace
from neuronwise.recording.reader import RecordedHistory

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class TrainingData:
    """What a training learned from, as `fit` prepared it.

    Attributes:
        X: Inputs, (rows, *input_shape), in the network's dtype.
        y: Targets as `prepare_targets` returns them.
        rows: The rows that were learned from.
        weights: A weight for each row of X, or None.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    rows: NDArray[np.int64]
    weights: NDArray[Any] | None = None


@dataclass(frozen=True)
class ReplayedStep:
    """What one optimizer step computed; all arrays are copies.

    Attributes:
        step: Its number, from 1.
        epoch: Its epoch, from 1.
        rows: Rows of X in the batch.
        loss: Mean loss over the batch, by the weights before the step.
        learning_rate: Of this step.
        trace: x, z and a of every layer on the batch, by the weights before the step.
        delta: dL/dz of the mean loss by layer, (batch, *output_shape).
        gradients: Gradients of the mean loss by layer and parameter, after clipping.
        update: What was subtracted from the parameters, by layer and parameter.
        before: The network before the step.
        after: The network after it.
    """

    step: int
    epoch: int
    rows: NDArray[np.int64]
    loss: float
    learning_rate: float
    trace: Trace
    delta: dict[str, Array]
    gradients: dict[str, dict[str, Array]]
    update: dict[str, dict[str, Array]]
    before: Network
    after: Network


class Replay:
    """The steps of a recorded training, repeated on demand.

    Going on from where the last call ended costs only the steps between; going back, those from the nearest stored
    state. Bits are those of the training on the same machine, with the same versions and the same number of threads.

    Args:
        history: The recording.
        data: What the training learned from.
        threads: Threads of the matrix products; that of the training.

    Raises:
        FormatError: The recording does not say how to repeat a step.
        UsageError: The data is not that of the training.
    """

    def __init__(self, history: RecordedHistory, data: TrainingData, *, threads: int | None = 1) -> None:
        settings = history.description.get("training")
        if not isinstance(settings, dict):
            raise FormatError(
                "the recording does not say how its steps were taken, so they cannot be repeated",
                where=str(history.folder),
                hint="its stored weights can be read: RecordedHistory.steps",
            )
        self.history, self.data, self._threads = history, data, threads
        self._check_data(settings)
        self.network = Network.from_dict(history.network_dict)
        try:
            self._optimizer, self._schedule = _optimizer(settings), schedule_from_settings(settings["schedule"])
            self._batch_size, self._seed = int(settings["batch_size"]), int(settings["seed"])
            self._shuffle, clip = bool(settings["shuffle"]), settings["clip_norm"]
            activation = self.network.layers[-1].activation
            loss = get_loss(settings["loss"], activation.name if activation else "identity")
            self._planned = int(history.description["planned_steps"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"a setting is missing or wrong: {error}", where=str(history.folder)) from None
        self.steps_per_epoch = math.ceil(len(data.rows) / self._batch_size)
        self._optimizer.start(self.network.parameters)
        self._stepper = Stepper(
            self.network, data.X, data.y, data.weights, loss, self._optimizer, clip,
            schedule=self._schedule, seed=self._seed,
        )  # fmt: skip
        self._at: int | None = None

    def _check_data(self, settings: dict[str, Any]) -> None:
        now = data_identity(self.data.X, self.data.y, self.data.weights, self.data.rows, None)
        for key in ("X", "y", "training_rows", "sample_weight"):
            if settings.get(key) != now[key]:
                raise UsageError(
                    f"the {key} handed in is not that of the training: its fingerprint is another one",
                    where="argument data",
                    hint="hand in the data as it was; the stored weights can be read without it",
                )

    @property
    def last_step(self) -> int:
        """The last step that was taken, as far as the recording tells."""
        return int(max([*self.history.steps, *self.history.scalars["step"][-1:]], default=0))

    def at(self, step: int) -> Network:
        """Return a copy of the network as it was after a step; 0 is before the first.

        Raises:
            NotFoundError: The training took no such step.
        """
        self._go_to(step)
        return self.network.copy()

    def step(self, step: int) -> ReplayedStep:
        """Return everything that a step computed, from 1.

        Raises:
            NotFoundError: The training took no such step.
        """
        if step < 1:
            raise NotFoundError(f"steps count from 1, got {step}", hint="step 0 is the network before training: at(0)")
        self._go_to(step - 1, last=step)
        before, stepper = self.network.copy(), self._stepper
        (epoch, rows) = self._rows(step)
        with blas_threads(self._threads), np.errstate(all="ignore"):
            loss = stepper.forward_backward(rows)
            passes = stepper.space.passes
            trace = Trace([LayerTrace(p.layer.name, p.x.copy(), _copy(p.z), p.a.copy()) for p in passes])
            delta = {p.layer.name: p.delta.copy() for p in passes if p.delta is not None}
            stepper.update()
        self._at = step
        names = [layer.name for layer in self.network.layers]
        parts = [
            {
                name: {key: values.copy() for key, values in views.items()}
                for name, views in zip(names, self.network.views(flat), strict=True)
                if views
            }
            for flat in (stepper.gradients, self._optimizer.update)
        ]
        return ReplayedStep(
            step, epoch, rows, loss, stepper.rate(step), trace, delta, parts[0], parts[1], before, self.network.copy()
        )

    def _rows(self, step: int) -> tuple[int, NDArray[np.int64]]:
        epoch, position = divmod(step - 1, self.steps_per_epoch)
        found = batches(
            self.data.rows, self._batch_size, self._seed, epoch + 1, shuffle=self._shuffle, skip=position
        )  # fmt: skip
        return epoch + 1, next(found)

    def _go_to(self, step: int, last: int | None = None) -> None:
        """Bring the network to its state after a step."""
        if not 0 <= step <= self.last_step or (last or 0) > self.last_step:
            raise NotFoundError(
                f"the training took {self.last_step:,} steps, got {step if last is None else last}",
                where=str(self.history.folder),
            )
        stored = [int(s) for s in self.history.steps if s <= step and self._is_whole(int(s))]
        if not stored:
            raise NotFoundError("no state is stored from which to begin", where=str(self.history.folder))
        if self._at is None or not stored[-1] <= self._at <= step:
            self._load(stored[-1])
        assert self._at is not None
        with blas_threads(self._threads), np.errstate(all="ignore"):
            while self._at < step:
                epoch, position = divmod(self._at, self.steps_per_epoch)
                if not position:
                    self._enter_epoch()
                for rows in batches(
                    self.data.rows, self._batch_size, self._seed, epoch + 1, shuffle=self._shuffle, skip=position
                ):  # fmt: skip
                    self._stepper.step(rows)
                    self._at += 1
                    if self._at == step:
                        break

    def _is_whole(self, step: int) -> bool:
        """Return whether a stored state holds all that decides the next step."""
        return all(np.isfinite(values[:1]).all() for values in self.history.optimizer_state(step).values())

    def _load(self, step: int) -> None:
        history, optimizer = self.history, self._optimizer
        self.network.parameters[:] = history.parameters(step)
        self.network.buffers[:] = history.buffers(step)
        for name, values in history.optimizer_state(step).items():
            optimizer.state[name][:] = values
        optimizer.steps = self._at = step
        self._enter_epoch()

    def _enter_epoch(self) -> None:
        """Give the schedule what it had noted by the end of the epoch before."""
        if self._stepper.schedule is not None:
            self._schedule.start(self._planned, self.steps_per_epoch)
            if state := self.history.schedule_state(self._at or 0):
                self._schedule.restore(state)


def _optimizer(settings: dict[str, Any]) -> Optimizer:
    given = dict(settings["optimizer"])
    name = given.pop("name")
    if name not in OPTIMIZERS:
        raise UsageError(f"unknown optimizer {name!r:.100}", where="recording.json")
    return OPTIMIZERS[name](**given)


def _copy(values: Array | None) -> Array | None:
    return None if values is None else values.copy()
