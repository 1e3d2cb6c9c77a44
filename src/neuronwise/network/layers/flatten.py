"""The flatten layer: a picture laid out as a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neuronwise.network.buffers import empty_buffer
from neuronwise.network.layers.base import Array, Layer, Pass, Shape


class Flatten(Layer):
    """Lays a picture or any array out as a vector, the last axis running fastest; no parameters."""

    prefix = "flatten"

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)

    def _output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def start(self, x: Array, gradients: dict[str, Array] | None, *, training: bool = False) -> FlattenPass:
        """See `Layer.start`."""
        return FlattenPass(self, x, gradients)

    def algebra(self) -> str:
        """The shapes in and out."""
        return f"a = x laid out as a vector, {' × '.join(map(str, self.input_shape))} to {self.neuron_count}"

    def unit_names(self) -> Sequence[str]:
        """The names of its inputs: flattening makes no new neurons."""
        return self.input_names or super().unit_names()

    def __repr__(self) -> str:
        return "Flatten()"


class FlattenPass(Pass):
    """A `Flatten` layer at work: a is a view of x where its memory allows, and the gradient flows through unchanged."""

    def __init__(self, layer: Flatten, x: Array, gradients: dict[str, Array] | None) -> None:
        self.layer, self.x = layer, x
        self.z = self.delta = None
        self.a = x.reshape(len(x), layer.neuron_count)
        # A view of `a` in the shape of x, to copy into where the memory of x does not lie row by row.
        self._copy = None if np.shares_memory(self.a, x) else self.a.reshape(x.shape)
        if gradients is not None:
            self.da = empty_buffer(self.a.shape, x.dtype)

    def forward(self) -> None:
        """Lay x out as a vector."""
        if self._copy is not None:
            np.copyto(self._copy, self.x)

    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """Give dL/da the shape of x."""
        if dx is not None:
            np.copyto(dx, self.da.reshape(dx.shape))
