"""Recording: any weight, gradient and activation of a training at any step, read back or computed again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NeuronwiseError, NotFoundError, did_you_mean
from neuronwise.network import Network, Trace
from neuronwise.recording.reader import RecordedHistory
from neuronwise.recording.replay import Replay, ReplayedStep, TrainingData

_NEURON = re.compile(r"(?P<layer>[^\[\]]+)\[(?P<neuron>\d{1,9})\]\.(?P<what>bias|weights(?:\[(?P<input>.+)\])?)")


@dataclass(frozen=True)
class Course:
    """How a number or a vector went over the stored steps.

    Attributes:
        name: What it is, ``"hidden1[7].bias"``.
        steps: Steps of the stored states, ascending, (n,).
        values: Its value after each of them, (n,), or (n, weights).
    """

    name: str
    steps: NDArray[np.int64]
    values: NDArray[Any]


class Recording:
    """What happened in a training. Made by `neuronwise.open`.

    States that were stored are read back; any other step is taken again from the nearest stored one before it, for
    which the data is needed.

    Args:
        history: What was stored.
        find_data: Returns what the training learned from, when a step must be repeated; None where that is not known.
        threads: Threads of the matrix products; that of the training.
    """

    def __init__(
        self, history: RecordedHistory, find_data: Callable[[], TrainingData] | None = None, *, threads: int | None = 1
    ) -> None:
        self.stored = history
        self._find_data, self._threads = find_data, threads

    @property
    def keyframes(self) -> NDArray[np.int64]:
        """Steps whose state is stored, ascending."""
        return self.stored.steps

    @property
    def best_step(self) -> int | None:
        """The step with the lowest validation loss; None where there was no validation, or it is not known yet."""
        return self.stored.best_step

    @cached_property
    def network(self) -> Network:
        """The network as it was delivered; of a training that has not ended, the last state stored."""
        step = self.stored.delivered_step
        return self._read(int(self.keyframes[-1]) if step is None else step)

    @cached_property
    def replay(self) -> Replay:
        """What repeats steps.

        Raises:
            NeuronwiseError: The data is gone or is not the same, or the recording does not say how to repeat a step.
        """
        if self._find_data is None:
            raise NotFoundError(
                "steps that are not stored must be taken again, and the data they learned from is not at hand",
                where=str(self.stored.folder),
                hint="hand it in: neuronwise.open(RUN, data=…)",
            )
        return Replay(self.stored, self._find_data(), threads=self._threads)

    @property
    def steps(self) -> range | NDArray[np.int64]:
        """All steps that can be answered: every one from 0, or the stored ones where steps cannot be repeated."""
        try:
            return range(self.replay.last_step + 1)
        except NeuronwiseError:
            return self.keyframes

    def at(self, step: int) -> Network:
        """Return the network as it was after a step; 0 is before the first.

        Raises:
            NotFoundError: The training took no such step, or it is not stored and cannot be repeated.
        """
        return self._read(step) if int(step) in self.keyframes else self.replay.at(int(step))

    def trace(self, step: int, x: ArrayLike) -> Trace:
        """Return every z and a of the network after a step for inputs `x`, as `Network.trace`."""
        return self.at(step).trace(x)

    def step(self, step: int) -> ReplayedStep:
        """Return everything that an optimizer step computed, from 1: its batch, forward pass, gradients and update.

        Raises:
            NotFoundError: The training took no such step.
            NeuronwiseError: It cannot be repeated: the data is gone or another one.
        """
        return self.replay.step(int(step))

    def history(self, name: str) -> Course:
        """Return how a bias or weight went: ``"hidden1[7].bias"``, ``"hidden1[7].weights"``, ``"….weights[sqft]"``.

        A weight is named by its input, or by its place in the neuron's weights laid out flat.

        Raises:
            NotFoundError: There is no such layer, neuron or input; the message lists those that exist.
        """
        match = _NEURON.fullmatch(name)
        if match is None:
            raise NotFoundError(
                f"{name!r:.200} names no weight or bias",
                hint='such as "hidden1[7].bias", "hidden1[7].weights" or "hidden1[7].weights[sqft_living]"',
            )
        layer, neuron = match["layer"], int(match["neuron"])
        weights = self.stored.layer(int(self.keyframes[0]), layer)
        if "W" not in weights:
            raise NotFoundError(f"the layer {layer!r} has no neurons with weights of their own")
        if neuron >= len(weights["W"]):
            raise NotFoundError(f"{layer!r} has the neurons 0 to {len(weights['W']) - 1}, got {neuron}")
        if match["what"] == "bias":
            values = [self.stored.layer(int(step), layer)["b"][neuron] for step in self.keyframes]
            return Course(name, self.keyframes, np.array(values))
        rows = np.array([self.stored.layer(int(step), layer)["W"][neuron].ravel() for step in self.keyframes])
        if match["input"] is None:
            return Course(name, self.keyframes, rows)
        return Course(name, self.keyframes, rows[:, self._input(layer, match["input"], rows.shape[1])])

    def input_names(self, name: str) -> list[str]:
        """Return what each weight of a neuron is called: its inputs, ``"hidden1[7].weights"`` or ``"hidden1[7]"``."""
        layer, _, _ = name.partition("[")
        count = int(np.prod(self.stored.layer(int(self.keyframes[0]), layer)["W"].shape[1:]))
        names = list(self._description[layer].input_names)
        return names if len(names) == count else [str(place) for place in range(count)]

    def _input(self, layer: str, name: str, count: int) -> int:
        names = self.input_names(layer)
        if name in names:
            return names.index(name)
        if name.isascii() and name.isdigit() and int(name) < count:
            return int(name)
        known = ", ".join(names[:8]) + (" …" if count > 8 else "")
        raise NotFoundError(
            f"{layer!r} has no input {name!r:.100}.{did_you_mean(name[:100], names[:10_000])}",
            hint=f"inputs are {known}, or their places from 0 to {count - 1}",
        )

    @cached_property
    def _description(self) -> Network:
        return Network.from_dict(self.stored.network_dict)

    def _read(self, step: int) -> Network:
        network = self._description.copy()
        network.parameters[:] = self.stored.parameters(step)
        network.buffers[:] = self.stored.buffers(step)
        return network

    def __repr__(self) -> str:
        return f"<Recording of {self._description.sizes}, {len(self.keyframes)} states stored, {self.stored.status}>"
