"""ReplayedStep: everything that one optimizer step computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NotFoundError
from neuronwise.learning import Optimizer, example_gradients, neuron_gradients
from neuronwise.learning.stepping import Stepper
from neuronwise.network import Network, Pass, Trace
from neuronwise.network.trace import LayerTrace

Array = NDArray[np.floating[Any]]

_NEURON = re.compile(r"(.+)\[([0-9]{1,9})\]", re.DOTALL)


@dataclass(frozen=True)
class ReplayedStep:
    """What one optimizer step computed; all arrays are copies.

    Attributes:
        step: Its number, from 1.
        epoch: Its epoch, from 1; of `partial_fit` its call.
        rows: Rows of X in the batch.
        y: Their targets, as the loss takes them.
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
    y: NDArray[Any] = field(repr=False)
    loss: float
    learning_rate: float
    trace: Trace = field(repr=False)
    delta: dict[str, Array] = field(repr=False)
    gradients: dict[str, dict[str, Array]] = field(repr=False)
    update: dict[str, dict[str, Array]] = field(repr=False)
    before: Network = field(repr=False)
    after: Network = field(repr=False)
    _optimizer: Optimizer = field(repr=False)
    _memory: dict[str, Any] = field(repr=False)
    _passes: Callable[[], Stepper] = field(repr=False)

    @property
    def x(self) -> Array:
        """The inputs of the batch, (batch, *input_shape)."""
        return self.trace[0].x

    @cached_property
    def parts(self) -> dict[str, dict[str, dict[str, Array]]]:
        """The parts of which `update` is the sum, each by layer and parameter, float64; see `Optimizer.parts`.

        ``"gradient"``: what this step's gradient contributed; ``"memory"``: what the optimizer remembered of earlier
        ones (momentum, Adam); ``"weight_decay"``.
        """
        flat = self._optimizer.parts(
            self.before.parameters, self._flat(self.gradients), self._memory, self.step, self.learning_rate
        )
        return {
            part: {
                layer.name: views
                for layer, views in zip(self.before.layers, self.before.views(values), strict=True)
                if views
            }
            for part, values in flat.items()
        }

    def _flat(self, parts: dict[str, dict[str, Array]]) -> Array:
        arrays = [parts[layer.name][key] for layer in self.before.layers for key in layer.parameters]
        return np.concatenate([values.ravel() for values in arrays]) if arrays else np.empty(0, self.before.dtype)

    def example_gradients(self) -> dict[str, dict[str, Array]]:
        """Return, for each layer with parameters, the gradients of each example's own loss, (batch, *shape).

        Their mean over the batch is the gradient, before clipping; see `learning.example_gradients`.

        Raises:
            UsageError: They need more than 4 GB, or batch normalisation mixes the examples.
        """
        return example_gradients(self._passes().space.passes)

    def neuron_gradients(self, neuron: str) -> dict[str, Array]:
        """Return how each example's own loss pulled at one neuron, ``"hidden1[7]"``: ``{"W": (batch, …), "b": …}``.

        Raises:
            NotFoundError: There is no such neuron.
            UsageError: Batch normalisation mixes the examples.
        """
        match = _NEURON.fullmatch(neuron)
        if match is None:
            raise NotFoundError(f"{neuron!r:.200} names no neuron", hint='such as "hidden1[7]"')
        return neuron_gradients(self._passes().space.passes, match[1], int(match[2]))


def copied_trace(passes: Sequence[Pass]) -> tuple[Trace, dict[str, Array]]:
    """Return copies of x, z, a and of delta of a batch, before the next one overwrites them."""
    trace = Trace(
        [
            LayerTrace(one.layer.name, one.x.copy(), None if one.z is None else one.z.copy(), one.a.copy())
            for one in passes
        ]
    )
    return trace, {one.layer.name: one.delta.copy() for one in passes if one.delta is not None}
