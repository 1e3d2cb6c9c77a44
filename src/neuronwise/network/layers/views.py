"""The neurons of a layer as views: they hold no numbers of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from neuronwise.network.activations import Activation
from neuronwise.network.layers.base import Array
from neuronwise.network.neuron import NeuronBase

if TYPE_CHECKING:
    from neuronwise.network.layers.dense import Dense


class NeuronView(NeuronBase):
    """A neuron of a layer: it holds no numbers of its own, so it always shows the present ones."""

    def __init__(self, layer: Dense, index: int) -> None:
        self._layer, self.index = layer, index

    @property
    def weights(self) -> Array:
        """Row `index` of W, (n_in,): a view; changing it changes the network."""
        row: Array = self._layer.W[self.index]
        return row

    @property
    def bias(self) -> float:
        """Its bias."""
        return float(self._layer.b[self.index])

    @bias.setter
    def bias(self, value: float) -> None:
        self._layer.b[self.index] = value

    @property
    def activation(self) -> Activation:
        """The activation function of the layer."""
        return self._layer.activation

    @property
    def name(self) -> str:
        """``hidden1[7]``."""
        return f"{self._layer.name}[{self.index}]"

    @property
    def input_names(self) -> Sequence[str]:
        """Names of the features, or of the neurons of the layer below."""
        return self._layer.input_names

    def _level(self, x: Array, z: Array) -> Array:
        if self.activation.name != "softmax":
            return self.activation(z)
        # A softmax level depends on the z of all neurons of the layer.
        every_z: Array = x @ self._layer.W.T + self._layer.b
        level: Array = np.ascontiguousarray(self.activation(every_z)[:, self.index])
        return level

    def __repr__(self) -> str:
        return f"<neuron {self.name}: {len(self.weights)} inputs, bias {self.bias:.4g}, {self.activation.name}>"


class Neurons(Sequence[NeuronView]):
    """The neurons of a layer, as a sequence of views."""

    def __init__(self, layer: Dense) -> None:
        self._layer = layer

    def __len__(self) -> int:
        return self._layer.units

    @overload
    def __getitem__(self, index: int) -> NeuronView: ...
    @overload
    def __getitem__(self, index: slice) -> list[NeuronView]: ...
    def __getitem__(self, index: int | slice) -> NeuronView | list[NeuronView]:
        n = len(self)
        if isinstance(index, slice):
            return [NeuronView(self._layer, i) for i in range(*index.indices(n))]
        if not -n <= index < n:
            # IndexError, not NotFoundError: Python's sequence protocol ends an iteration by it.
            raise IndexError(f"layer {self._layer.name} has {n} neurons, 0 to {n - 1}, got {index}")
        return NeuronView(self._layer, int(index) % n)

    def __iter__(self) -> Iterator[NeuronView]:
        return (NeuronView(self._layer, i) for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} neurons of {self._layer.name}>"
