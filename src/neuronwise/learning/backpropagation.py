"""Backpropagation as something to look at: delta, dW and db of every layer for one batch.

The training loop uses the same arithmetic (`network.Workspace`) without copying anything out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError, UsageError, did_you_mean
from neuronwise.learning.arguments import whole_number
from neuronwise.learning.examples import check_own_gradients, example_gradients
from neuronwise.learning.targets import prepare_targets
from neuronwise.network import Loss, Network, get_loss

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LayerGradients:
    """What backpropagation found in one layer.

    Attributes:
        name: The layer's name.
        delta: dL/dz of the **mean** loss over the batch, (batch, *output_shape); it contains the 1 / batch.
        gradients: Gradient of the mean loss by each parameter, by its name and in its shape: W and b, or gamma and
            beta of a batch normalisation.
        per_example: On request the same for each example's **own** loss, (batch, *shape), without the 1 / batch, so
            that the mean over the batch is the gradient. Else None.
    """

    name: str
    delta: Array
    gradients: dict[str, Array]
    per_example: dict[str, Array] | None = None

    @property
    def dW(self) -> Array:
        """Gradient of the mean loss by the weights, in the shape of W: (n_out, n_in) of a dense layer."""
        return self._gradient("W")

    @property
    def db(self) -> Array:
        """Gradient of the mean loss by the biases, (n_out,)."""
        return self._gradient("b")

    @property
    def dW_per_example(self) -> Array | None:
        """Gradient of each example's own loss by the weights, (batch, *shape of W), if it was asked for."""
        self._gradient("W")
        return None if self.per_example is None else self.per_example["W"]

    @property
    def db_per_example(self) -> Array | None:
        """Gradient of each example's own loss by the biases, (batch, n_out), if it was asked for."""
        self._gradient("b")
        return None if self.per_example is None else self.per_example["b"]

    def _gradient(self, parameter: str) -> Array:
        if parameter not in self.gradients:
            names = ", ".join(self.gradients)
            raise NotFoundError(
                f"the layer {self.name!r} has no parameter {parameter!r}, it has {names}",
                hint=f"gradients[{self.name!r}].gradients[{next(iter(self.gradients))!r}]",
            )
        return self.gradients[parameter]


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
    network: Network,
    x: ArrayLike,
    y: ArrayLike,
    loss: str | Loss | None = None,
    *,
    per_example: bool = False,
    training: bool = False,
    step: int | None = None,
    seed: int | None = None,
) -> Gradients:
    """Return loss, delta and gradients of every layer for one batch; neither parameters nor buffers are changed.

    Args:
        network: The network.
        x: Inputs, (batch, *input_shape), or one input.
        y: Targets: (batch, n_out) or, for one output, (batch,); class numbers (batch,) for categorical
            cross-entropy.
        loss: Default by the output activation (see `get_loss`).
        per_example: Also the gradients of each example's own loss; needs batch × parameters numbers.
        training: Whether the layers behave as in a training step: dropout drops, batch normalisation uses the batch.
        step: The step whose dropout masks are drawn, from 1; needed where a network drops in training.
        seed: Their seed; default that of the network, as in `fit`.

    Raises:
        UsageError: No rows, shapes or targets that do not fit, a loss that does not go with the output activation,
            per-example gradients of more than 4 GB, or where batch normalisation mixes the examples; no step where one
            is needed.
    """
    inputs = network.check_input(x)
    if not len(inputs):
        raise UsageError("at least one row is needed, got none", where="argument x")
    activation = network.layers[-1].activation
    chosen = get_loss(loss, activation.name if activation else "identity")
    if activation is not None:
        chosen.check_activation(activation)
    targets = prepare_targets(network, y, chosen, len(inputs))
    flat = np.zeros_like(network.parameters)
    space = network.workspace(len(inputs), flat, training=training, input_gradient=True)
    if per_example:
        check_own_gradients(space.passes, "argument per_example")
    if space.is_random:
        if step is None:
            raise UsageError(
                "which activations dropout leaves out depends on the step, got None",
                where="argument step",
                hint="pass step=1 for the masks of the first step, or training=False to drop nothing",
            )
        own_seed = network.seed if seed is None else whole_number(seed, "seed", 0)
        space.draw(own_seed, whole_number(step, "step", 1))
    with np.errstate(all="ignore"):
        np.copyto(space.x, inputs)
        space.forward()
        value = space.backward(chosen, targets)
    alone = example_gradients(space.passes) if per_example else {}
    layers = [
        LayerGradients(one.layer.name, one.delta, views, alone.get(one.layer.name))
        for one, views in zip(space.passes, network.views(flat), strict=True)
        if views and one.delta is not None
    ]
    assert space.dx is not None
    return Gradients(value, tuple(layers), flat, space.dx)
