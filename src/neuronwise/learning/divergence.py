"""Where a training began to diverge: the step and the layer of the first value that is not finite.

The loop checks only the loss, which costs nothing. When that is not finite, the epoch is repeated from its
beginning (randomness is stateless, so it takes the same steps) with every value checked; so the place is
exact and the last finite weights are recovered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.learning.stepping import Snapshot, Stepper
from neuronwise.network import Layer

_MAX_NEURONS = 10
_WORDS = {
    "x": "the input",
    "z": "the weighted sum z",
    "a": "the activation",
    "loss": "the loss",
    "delta": "dL/dz",
    "gradient": "the gradient of the weights",
    "weights": "a weight or bias after the update",
    "buffers": "a running mean or variance after the update",
}


@dataclass(frozen=True)
class Divergence:
    """The first value that was not finite.

    Attributes:
        step: The optimizer step at which it appeared, counted from 1.
        layer: Name of the layer.
        quantity: ``"x"``, ``"z"``, ``"a"``, ``"loss"``, ``"delta"``, ``"gradient"``, ``"weights"`` or ``"buffers"``.
        neurons: Indices of the neurons concerned (channels of a picture), at most 10.
        largest_weight: Largest |weight| just before.
    """

    step: int
    layer: str
    quantity: str
    neurons: tuple[int, ...]
    largest_weight: float

    @property
    def description(self) -> str:
        """What was not finite and where, as a sentence without its end."""
        where = f" of {self.layer}[{self.neurons[0]}]" if self.neurons else f" in {self.layer}"
        others = len(self.neurons) - 1
        number = f"{others}" if len(self.neurons) < _MAX_NEURONS else f"at least {others}"
        more = f" and {number} more neuron{'s' if others > 1 else ''}" if others > 0 else ""
        return (
            f"{_WORDS[self.quantity]}{where}{more} was not finite (NaN or infinite); "
            f"the largest weight was {self.largest_weight:.3g} by then"
        )


def locate_divergence(
    stepper: Stepper, start: Snapshot, batches: Iterable[NDArray[np.int64]], first_step: int
) -> Divergence | None:
    """Repeat steps from a snapshot until a value is not finite; leave the network with its last finite weights.

    Args:
        stepper: The stepper of the training.
        start: The state before the first of the batches.
        batches: The rows of each step.
        first_step: Number of the first step.

    Returns:
        The place, or None if every value of these batches is finite.
    """
    stepper.restore(start)
    parameters, buffers = stepper.network.parameters, stepper.network.buffers
    for step, rows in enumerate(batches, start=first_step):
        loss = stepper.forward_backward(rows)
        largest = float(np.abs(parameters).max(initial=0.0))
        found = _inspect(stepper, loss)
        if found is None:
            before = parameters.copy(), buffers.copy()
            stepper.update()
            if stepper.is_finite():
                continue
            found = _inspect_parameters(stepper)
            np.copyto(parameters, before[0])
            np.copyto(buffers, before[1])
        layer, quantity, neurons = found
        return Divergence(step, layer, quantity, neurons, largest)
    return None


def _inspect(stepper: Stepper, loss: float) -> tuple[str, str, tuple[int, ...]] | None:
    """Return the first value that is not finite, in the order in which a step computes them."""
    passes = stepper.space.passes
    for one in passes:
        for quantity, values in (("x", one.x if one is passes[0] else None), ("z", one.z), ("a", one.a)):
            if values is not None and not np.isfinite(values).all():
                return one.layer.name, quantity, _outputs(one.layer, values) if quantity != "x" else ()
    if not np.isfinite(loss):
        return passes[-1].layer.name, "loss", ()
    views = stepper.network.views(stepper.gradients)
    for one, gradients in reversed(list(zip(passes, views, strict=True))):
        if one.delta is not None and gradients and not np.isfinite(one.delta).all():
            return one.layer.name, "delta", _outputs(one.layer, one.delta)
        for gradient in gradients.values():
            if not np.isfinite(gradient).all():
                return one.layer.name, "gradient", _neurons(gradient, axis=0)
    return None


def _inspect_parameters(stepper: Stepper) -> tuple[str, str, tuple[int, ...]]:
    for quantity in ("weights", "buffers"):
        for layer in stepper.network.layers:
            for values in (layer.parameters if quantity == "weights" else layer.buffers).values():
                if not np.isfinite(values).all():
                    return layer.name, quantity, _neurons(values, axis=0)
    raise AssertionError("called only where a parameter or buffer is not finite")


def _outputs(layer: Layer, values: NDArray[Any]) -> tuple[int, ...]:
    """Return the neurons of a layer at which one of its outputs, (batch, *output_shape), is not finite."""
    axes = len(layer.output_shape)
    if axes == 2:  # a picture without channels: one neuron
        return (0,)
    return _neurons(values, axis=1 if axes == 3 and getattr(layer, "data_format", "") == "channels_first" else -1)


def _neurons(values: NDArray[Any], axis: int) -> tuple[int, ...]:
    """Return the indices along `axis` at which a value is not finite, at most 10."""
    moved = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    return tuple(int(i) for i in np.flatnonzero(~np.isfinite(moved).all(axis=1))[:_MAX_NEURONS])
