"""Backpropagation as something to look at: delta, dW and db of every layer for one batch.

The training loop uses the same arithmetic (`network.Workspace`) without copying anything out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError, UsageError, did_you_mean
from neuronwise.files import format_bytes
from neuronwise.learning.targets import prepare_targets
from neuronwise.network import Loss, Network, get_loss

Array = NDArray[np.floating[Any]]

# Beyond this a per-example gradient is more likely a mistake than a wish.
_MAX_PER_EXAMPLE_BYTES = 4_000_000_000


@dataclass(frozen=True)
class LayerGradients:
    """What backpropagation found in one layer.

    Attributes:
        name: The layer's name.
        delta: dL/dz of the **mean** loss over the batch, (batch, n_out); it contains the 1 / batch.
        dW: Gradient of the mean loss by the weights, (n_out, n_in).
        db: Gradient of the mean loss by the biases, (n_out,).
        dW_per_example: On request, (batch, n_out, n_in): the gradient of each example's **own** loss, without
            the 1 / batch, so that its mean over the batch is dW. Else None.
        db_per_example: On request, (batch, n_out), likewise.
    """

    name: str
    delta: Array
    dW: Array
    db: Array
    dW_per_example: Array | None = None
    db_per_example: Array | None = None


@dataclass(frozen=True)
class Gradients:
    """The gradients of a batch: ``gradients["hidden1"].dW``.

    Attributes:
        loss: Mean loss over the batch.
        layers: One entry per layer with parameters, in the order of the network.
        flat: All gradients, laid out as `Network.parameters`.
        dx: Gradient of the mean loss by the input, (batch, *input_shape).
    """

    loss: float
    layers: tuple[LayerGradients, ...]
    flat: Array
    dx: Array

    def __getitem__(self, name: str) -> LayerGradients:
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in self.layers]
        raise NotFoundError(
            f"there is no layer {name!r} with parameters.{did_you_mean(name, names)}",
            hint=f"the layers are {', '.join(names)}",
        )

    def __iter__(self) -> Iterator[LayerGradients]:
        return iter(self.layers)


def backpropagate(
    network: Network, x: ArrayLike, y: ArrayLike, loss: str | Loss | None = None, *, per_example: bool = False
) -> Gradients:
    """Return loss, delta and gradients of every layer for one batch; the network is not changed.

    Args:
        network: The network.
        x: Inputs, (batch, *input_shape), or one input.
        y: Targets: (batch, n_out) or, for one output, (batch,); class numbers (batch,) for categorical
            cross-entropy.
        loss: Default by the output activation (see `get_loss`).
        per_example: Also the gradients of each example's own loss; needs batch × parameters numbers.

    Raises:
        UsageError: No rows, shapes or targets that do not fit, a loss that does not go with the output activation, or
            per-example gradients of more than 4 GB.
    """
    inputs = network.check_input(x)
    if not len(inputs):
        raise UsageError("at least one row is needed, got none", where="argument x")
    activation = network.layers[-1].activation
    chosen = get_loss(loss, activation.name if activation else "identity")
    if activation is not None:
        chosen.check_activation(activation)
    targets = prepare_targets(network, y, chosen, len(inputs))
    needed = len(inputs) * network.parameter_count * network.dtype.itemsize
    if per_example and needed > _MAX_PER_EXAMPLE_BYTES:
        raise UsageError(
            f"the gradients of {len(inputs):,} examples need {format_bytes(needed)}",
            where="argument per_example",
            hint="pass fewer examples at a time",
        )
    flat = np.zeros_like(network.parameters)
    space = network.workspace(len(inputs), flat, input_gradient=True)
    with np.errstate(all="ignore"):
        np.copyto(space.x, inputs)
        space.forward()
        value = space.backward(chosen, targets)
        layers = []
        for step, views in zip(space.passes, network.views(flat), strict=True):
            if not views or step.delta is None:
                continue
            own: tuple[Array | None, Array | None] = (None, None)
            if per_example:
                # delta holds 1/batch; times batch it is the derivative of the example's own loss.
                alone = step.delta * len(inputs)
                flat_x = step.x.reshape(len(inputs), math.prod(step.x.shape[1:]))
                own = (np.einsum("mi,mj->mij", alone, flat_x), alone)
            layers.append(LayerGradients(step.layer.name, step.delta, views["W"], views["b"], *own))
    assert space.dx is not None
    return Gradients(value, tuple(layers), flat, space.dx)
