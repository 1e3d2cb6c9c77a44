"""A network at work on batches of one size: the chain of its layers' passes, every buffer allocated once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.network.buffers import empty_buffer
from neuronwise.network.layers import Layer, Pass, Shape
from neuronwise.network.losses import Loss

Array = NDArray[np.floating[Any]]


class Workspace:
    """Buffers and passes for one batch size.

    Args:
        layers: The built layers, in order.
        input_shape: Shape of one input.
        batch_size: Rows of a batch.
        gradients: For each layer the arrays that its parameter gradients go to; None to go forward only.
        training: Whether the layers behave as in training (dropout drops, batch normalisation uses the batch).
        input_gradient: Whether `backward` fills `dx`, the gradient of the loss by the input.

    Attributes:
        x: The input buffer, (batch, *input_shape): fill it, then call `forward`.
        passes: One per layer, holding x, z, a and delta.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: Shape,
        batch_size: int,
        dtype: np.dtype[Any],
        gradients: Sequence[dict[str, Array]] | None = None,
        *,
        training: bool = False,
        input_gradient: bool = False,
    ) -> None:
        self.x: Array = empty_buffer((batch_size, *input_shape), dtype)
        self.passes: list[Pass] = []
        x = self.x
        for position, layer in enumerate(layers):
            own = gradients[position] if gradients is not None else None
            self.passes.append(layer.start(x, own, training=training))
            x = self.passes[-1].a
        self._drawing = [step for step in self.passes if training and type(step).draw is not Pass.draw]
        self._averaging = [step for step in self.passes if training and step.layer.buffers]
        self.dx: Array | None = np.empty_like(self.x) if input_gradient and gradients is not None else None
        if gradients is not None:
            # A layer below the first one with parameters learns nothing, so no gradient need reach it.
            first = next((i for i, layer in enumerate(layers) if layer.parameters), len(layers))
            below = [self.dx, *(step.da for step in self.passes[:-1])]
            if self.dx is None:
                below = [None if i <= first else dx for i, dx in enumerate(below)]
                self._backward = list(zip(self.passes, below, strict=True))[first:][::-1]
            else:
                self._backward = list(zip(self.passes, below, strict=True))[::-1]

    @property
    def output(self) -> Pass:
        """The pass of the last layer."""
        return self.passes[-1]

    @property
    def is_random(self) -> bool:
        """Whether a step needs random numbers, drawn by `draw` before `forward`."""
        return bool(self._drawing)

    def draw(self, seed: int, step: int) -> None:
        """Draw the random numbers (dropout) of optimizer step `step`, from 1: the same whenever it is taken."""
        for one in self._drawing:
            one.draw(seed, step)

    def update_buffers(self) -> None:
        """Move the buffers of the layers (batch normalisation) by the batch of the last `forward`."""
        for one in self._averaging:
            one.update_buffers()

    def forward(self) -> Array:
        """Run all layers on `x` and return the activations of the last, (batch, n_out); a buffer, not a copy."""
        for step in self.passes:
            step.forward()
        return self.passes[-1].a

    def backward(self, loss: Loss, y: NDArray[Any], weights: Array | None = None) -> float:
        """Return the mean loss and fill delta and the gradients of every layer (backpropagation).

        `forward` must have run on the same `x`. Gradients are those of the mean over the batch.
        """
        output = self.passes[-1]
        z = output.a if output.z is None else output.z
        activation = output.layer.activation
        linked = loss.on_logits and activation is not None and activation.name == loss.activations[0]
        value = loss.evaluate(z, output.a, y, output.da, weights, linked=linked)
        from_logits = loss.on_logits
        for step, dx in self._backward:
            step.backward(dx, from_logits=from_logits)
            from_logits = False
        return value
