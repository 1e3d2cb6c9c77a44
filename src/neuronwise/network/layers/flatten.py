"""The flatten layer: a picture laid out as a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from neuronwise.network.layers.base import Array, Layer, Pass, Shape


class Flatten(Layer):
    """Lays a picture or any array out as a vector, the last axis running fastest; no parameters."""

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def _output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def start(self, x: Array, gradients: dict[str, Array] | None) -> FlattenPass:
        """See `Layer.start`."""
        return FlattenPass(self, x, gradients)

    def to_dict(self) -> dict[str, Any]:
        """See `Layer.to_dict`."""
        return {"type": "Flatten", "name": self.name}

    def algebra(self) -> str:
        """The shapes in and out."""
        return f"a = x laid out as a vector, {' × '.join(map(str, self.input_shape))} to {self.neuron_count}"

    def unit_names(self) -> Sequence[str]:
        """The names of its inputs: flattening makes no new neurons."""
        return self.input_names or super().unit_names()

    def __repr__(self) -> str:
        return "Flatten()"


class FlattenPass(Pass):
    """A `Flatten` layer at work: a is a view of x, and the gradient flows through unchanged."""

    def __init__(self, layer: Flatten, x: Array, gradients: dict[str, Array] | None) -> None:
        self.layer, self.x = layer, x
        self.z = self.delta = None
        self.a = x.reshape(len(x), layer.neuron_count)
        if gradients is not None:
            self.da = np.empty_like(self.a)

    def forward(self) -> None:
        """Nothing to do: a is a view of x."""

    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """Give dL/da the shape of x."""
        if dx is not None:
            np.copyto(dx, self.da.reshape(dx.shape))
