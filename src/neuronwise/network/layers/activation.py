"""An activation function standing alone, where no layer with weights comes before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from neuronwise.errors import UsageError
from neuronwise.network.activations import Activation, get_activation
from neuronwise.network.layers.base import ACTIVATION_PROPERTY, Array, Layer, Pass, Shape


class ActivationLayer(Layer):
    """a = f(x), for each input by itself; no parameters. After pooling, say; other layers take `activation=`.

    Args:
        activation: Activation function by name.
        name: Default ``activation1`` …
    """

    prefix = "activation"
    properties: ClassVar[dict[str, dict[str, Any]]] = {"activation": ACTIVATION_PROPERTY}
    required = ("activation",)
    activation: Activation

    def __init__(self, activation: str | Activation, *, name: str | None = None) -> None:
        super().__init__(name)
        self.activation = get_activation(activation)

    def _output_shape(self, input_shape: Shape) -> Shape:
        if self.activation.name == "softmax" and len(input_shape) != 1:
            raise UsageError(
                f"softmax compares the values of a vector, but its input has shape {input_shape}",
                where=f"layer {self.name}",
                hint="put Flatten() before it",
            )
        return input_shape

    def start(self, x: Array, gradients: dict[str, Array] | None, *, training: bool = False) -> ActivationPass:
        """See `Layer.start`; an activation function is the same in training."""
        return ActivationPass(self, x, gradients)

    def algebra(self) -> str:
        """a = f(x)."""
        return f"a = {self.activation.name}(x)"

    def unit_names(self) -> Sequence[str]:
        """The names of its inputs: it makes no new neurons."""
        return self.input_names or super().unit_names()

    def __repr__(self) -> str:
        return f"ActivationLayer({self.activation.name!r})"


class ActivationPass(Pass):
    """An `ActivationLayer` at work: z is its input."""

    layer: ActivationLayer
    z: Array
    delta: Array | None

    def __init__(self, layer: ActivationLayer, x: Array, gradients: dict[str, Array] | None) -> None:
        self.layer, self.x, self.z = layer, x, x
        self.a = np.empty_like(x)  # in the memory order of x, so that both are run through in one go
        self.delta = None
        if gradients is not None:
            self.delta = self.da = np.empty_like(x)
            self._scratch = np.empty_like(x)

    def forward(self) -> None:
        """a = f(x)."""
        self.layer.activation.forward(self.z, self.a)

    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """dL/dx = delta = dL/da · f'(x)."""
        if not from_logits:
            self.layer.activation.backward(self.da, self.z, self.a, self._scratch)
        if dx is not None:
            np.copyto(dx, self.da)
