"""Layers: a description (`Layer`) that owns views of the parameters, and a `Pass` that does the arithmetic.

A layer is built once, when a `Network` places it. A `Pass` is a layer at work on batches of one size: it
allocates every buffer once, keeps x, z, a and delta of the batch it saw last, and knows both directions, so
that the mathematics of a layer stands in one place. To add a layer, write both classes and put the layer
into `LAYERS`.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network.activations import Activation, get_activation
from neuronwise.network.initializers import Initializer, get_initializer
from neuronwise.network.neuron import NeuronBase

Array = NDArray[np.floating[Any]]
Shape = tuple[int, ...]


class UnitNames(Sequence[str]):
    """``hidden1[0]``, ``hidden1[1]`` …, made when asked for: a million inputs cost no memory."""

    def __init__(self, prefix: str, count: int) -> None:
        self._prefix, self._count = prefix, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        places = range(self._count)[index]
        if isinstance(places, range):
            return [f"{self._prefix}[{i}]" for i in places]
        return f"{self._prefix}[{places}]"

    def __iter__(self) -> Iterator[str]:
        return (f"{self._prefix}[{i}]" for i in range(self._count))


class Pass(ABC):
    """A layer at work on batches of one size.

    Attributes:
        layer: The layer.
        x: Its input, (batch, *input_shape).
        z: Pre-activations, (batch, *output_shape), or None for a layer that only reshapes.
        a: Activations, (batch, *output_shape).
        delta: dL/dz of the mean loss after `backward`, or None for a layer without z.
        da: The buffer into which the layer above writes dL/da.
    """

    layer: Layer
    x: Array
    z: Array | None
    a: Array
    delta: Array | None
    da: Array

    @abstractmethod
    def forward(self) -> None:
        """Fill z and a from x."""

    @abstractmethod
    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """Fill delta, the parameter gradients and `dx` (dL/dx; None where nobody needs it) from `da`.

        With `from_logits` the buffer `da` holds dL/dz already (a loss on logits).
        """


class Layer(ABC):
    """A layer of a network.

    Attributes:
        name: ``hidden1``, ``output``, ``flatten1`` …, given by the network if not by the user.
        input_shape: Shape of one input, without the batch.
        output_shape: Shape of one output, without the batch.
        activation: The activation function, or None.
    """

    name: str
    input_shape: Shape
    output_shape: Shape
    activation: Activation | None = None

    def __init__(self, name: str | None) -> None:
        self.given_name = name
        self.name = name or ""
        self.input_names: Sequence[str] = ()
        self.parameters: dict[str, Array] = {}
        self._built = False

    def build(self, input_shape: Shape, name: str) -> None:
        """Fix name and shapes; called once, by the network.

        Raises:
            UsageError: The layer stands in a network already, or cannot take that input shape.
        """
        if self._built:
            raise UsageError(
                f"the layer {self.name!r} is part of a network already",
                where="argument layers",
                hint="make a new layer for each place, or network.copy() for a second network",
            )
        self.name, self.input_shape = name, input_shape
        self.output_shape = self._output_shape(input_shape)
        self._built = True

    @property
    def is_built(self) -> bool:
        """Whether the layer stands in a network."""
        return self._built

    def release(self) -> None:
        """Make the layer free again, after a network that could not be built."""
        self.name, self.parameters, self._built = self.given_name or "", {}, False

    def unbuilt(self) -> Layer:
        """Return a layer of the same kind, settings and name for another network."""
        twin = copy.copy(self)
        twin.given_name = self.name
        twin.release()
        return twin

    @abstractmethod
    def _output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one output; raise UsageError if the input does not fit."""

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shape of each parameter, in the order in which they lie in the flat buffer."""
        return {}

    def initial_parameters(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Return first values of each parameter."""
        return {}

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    @property
    def neuron_count(self) -> int:
        """Number of neurons (outputs for one input)."""
        return math.prod(self.output_shape)

    @abstractmethod
    def start(self, x: Array, gradients: dict[str, Array] | None) -> Pass:
        """Return a pass that reads its input from the buffer `x` (batch, *input_shape).

        `gradients` holds an array for each parameter, to be filled by `backward`; None for a pass that only
        goes forward.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON values, the key ``type`` first."""

    def formula(self) -> str:
        """Return how the parameters are counted, ``"16 × 784 + 16"``; empty if there are none."""
        return ""

    def algebra(self) -> str:
        """Return the layer as linear algebra."""
        return ""

    def unit_names(self) -> Sequence[str]:
        """Return the name of each output, ``hidden1[0]`` …"""
        return UnitNames(self.name, self.neuron_count)

    @property
    def neurons(self) -> Neurons:
        """The neurons, each a view of the layer."""
        raise NotFoundError(f"the layer {self.name!r} ({type(self).__name__}) has no neurons of its own")

    def __getitem__(self, index: int) -> NeuronView:
        return self.neurons[index]


class Dense(Layer):
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

    @property
    def W(self) -> Array:
        """Weights, (units, n_in)."""
        return self._parameter("W")

    @W.setter
    def W(self, value: ArrayLike) -> None:
        self._assign("W", value)

    @property
    def b(self) -> Array:
        """Biases, (units,)."""
        return self._parameter("b")

    @b.setter
    def b(self, value: ArrayLike) -> None:
        self._assign("b", value)

    def _parameter(self, key: str) -> Array:
        try:
            return self.parameters[key]
        except KeyError:
            raise UsageError(
                "this layer has no weights yet: it is not part of a network",
                where=repr(self),
                hint="network = Network([layer], input_shape=…)",
            ) from None

    def _assign(self, key: str, value: ArrayLike) -> None:
        values, own = np.asarray(value), self._parameter(key)
        if values.shape != own.shape:
            raise UsageError(f"{key} has shape {own.shape}, got {values.shape}", where=f"layer {self.name}")
        own[...] = values

    def start(self, x: Array, gradients: dict[str, Array] | None) -> DensePass:
        """See `Layer.start`."""
        return DensePass(self, x, gradients)

    def to_dict(self) -> dict[str, Any]:
        """See `Layer.to_dict`."""
        return {
            "type": "Dense",
            "name": self.name,
            "units": self.units,
            "activation": self.activation.name,
            "initializer": self.initializer.to_json(),
        }

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
        return Neurons(self)

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
        self.W, self.W_T, self.b = layer.W, layer.W.T, layer.b
        self.z = np.empty((m, layer.units), dtype=x.dtype)
        self.a = np.empty_like(self.z)
        self._activate = layer.activation.forward
        self._unbend = layer.activation.backward
        self.delta = None
        if gradients is not None:
            self._dW, self._db = gradients["W"], gradients["b"]
            self.delta = self.da = np.empty_like(self.z)
            self._delta_T, self._ones = self.da.T, np.ones(m, dtype=x.dtype)
            self._scratch = np.empty_like(self.z)

    def forward(self) -> None:
        """z = x W.T + b, a = f(z)."""
        z = self.z
        np.dot(self.x, self.W_T, z)
        np.add(z, self.b, z)
        self._activate(z, self.a)

    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """delta = dL/da · f'(z), dW = delta.T x, db = sum of delta over the batch, dL/dx = delta W."""
        if not from_logits:
            self._unbend(self.da, self.z, self.a, self._scratch)
        np.dot(self._delta_T, self.x, self._dW)
        np.dot(self._ones, self.da, self._db)
        if dx is not None:
            np.dot(self.da, self.W, dx)


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


LAYERS: Final[dict[str, type[Layer]]] = {"Dense": Dense, "Flatten": Flatten}
"""Every layer by its type name in files."""
