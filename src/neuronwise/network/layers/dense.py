"""The dense layer: every input feeds every neuron."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.network.activations import Activation, get_activation
from neuronwise.network.buffers import empty_buffer
from neuronwise.network.initializers import Initializer, get_initializer
from neuronwise.network.layers.base import ACTIVATION_PROPERTY, INITIALIZER_PROPERTY, Array, Pass, Shape, WeightedLayer
from neuronwise.network.layers.views import Neurons
from neuronwise.network.products import product


class Dense(WeightedLayer):
    """Every input feeds every neuron: z = W x + b, a = f(z).

    Args:
        units: Number of neurons.
        activation: Activation function by name; default ``"relu"``.
        initializer: First weights; default by the activation (see `get_initializer`). Biases start at 0.
        name: Default ``hidden1``, ``hidden2`` …, ``output``.

    Attributes:
        W: Weights, (units, n_in): a view of the network's flat buffer. Assigning copies into it.
        b: Biases, (units,): likewise.
    """

    prefix = "hidden"
    properties: ClassVar[dict[str, dict[str, Any]]] = {
        "units": {"type": "integer", "minimum": 1, "description": "number of neurons"},
        "activation": ACTIVATION_PROPERTY,
        "initializer": INITIALIZER_PROPERTY,
    }
    required = ("units",)

    def __init__(
        self,
        units: int,
        activation: str | Activation = "relu",
        *,
        initializer: str | dict[str, Any] | Initializer | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if isinstance(units, bool) or not isinstance(units, (int, np.integer)) or units < 1:
            raise UsageError(
                f"a layer needs a whole number of neurons, at least 1, got {units!r}", where="argument units"
            )
        self.units = int(units)
        self.activation: Activation = get_activation(activation)
        self.initializer = get_initializer(initializer, self.activation.name)

    def _output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise UsageError(
                f"a Dense layer takes a vector, but its input has shape {input_shape}",
                where=f"layer {self.name}",
                hint="put Flatten() before it",
            )
        return (self.units,)

    def parameter_shapes(self) -> dict[str, Shape]:
        """W (units, n_in), then b (units,)."""
        return {"W": (self.units, self.input_shape[0]), "b": (self.units,)}

    def initial_parameters(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Weights by the initialiser, biases 0."""
        n_in = self.input_shape[0]
        W = self.initializer.draw((self.units, n_in), n_in, self.units, rng)
        return {"W": W, "b": np.zeros(self.units)}

    def start(self, x: Array, gradients: dict[str, Array] | None, *, training: bool = False) -> DensePass:
        """See `Layer.start`; a dense layer is the same in training."""
        return DensePass(self, x, gradients)

    def formula(self) -> str:
        """n_out × n_in + n_out."""
        return f"{self.units} × {self.input_shape[0]} + {self.units}"

    def algebra(self) -> str:
        """a = f(W x + b) with the shapes."""
        f, n_in = self.activation.name, self.input_shape[0]
        return f"a = {f}(W x + b), W {self.units} × {n_in}, x {n_in}, b {self.units}"

    @property
    def neurons(self) -> Neurons:
        """The neurons, each a view of the layer that sees later changes."""
        return Neurons(self, self.units)

    def __repr__(self) -> str:
        return f"Dense({self.units}, {self.activation.name!r}{f', name={self.name!r}' if self.name else ''})"


class DensePass(Pass):
    """A `Dense` layer at work; its formulas are those of Nielsen, chapter 2 (BP1 to BP4), for a whole batch."""

    layer: Dense
    z: Array
    delta: Array | None

    def __init__(self, layer: Dense, x: Array, gradients: dict[str, Array] | None) -> None:
        m = len(x)
        self.layer, self.x = layer, x
        self.W, self.b = layer.W, layer.b
        shape = (m, layer.units)
        self.z, self.a = empty_buffer(shape, x.dtype), empty_buffer(shape, x.dtype)
        self._multiply_z = product(x, self.W.T, self.z)
        self._activate = layer.activation.forward
        self._unbend = layer.activation.backward
        self.delta = None
        self._dx: Array | None = None
        if gradients is not None:
            self._db = gradients["b"]
            self.delta = self.da = empty_buffer(shape, x.dtype)
            self._multiply_dW = product(self.da.T, x, gradients["W"])
            self._ones = np.ones(m, dtype=x.dtype)
            self._scratch = empty_buffer(shape, x.dtype)

    def forward(self) -> None:
        """z = x W.T + b, a = f(z)."""
        z = self.z
        self._multiply_z()
        np.add(z, self.b, z)
        self._activate(z, self.a)

    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """delta = dL/da · f'(z), dW = delta.T x, db = sum of delta over the batch, dL/dx = delta W."""
        if not from_logits:
            self._unbend(self.da, self.z, self.a, self._scratch)
        self._multiply_dW()
        np.dot(self._ones, self.da, self._db)
        if dx is not None:
            if dx is not self._dx:
                self._dx, self._multiply_dx = dx, product(self.da, self.W, dx)
            self._multiply_dx()
