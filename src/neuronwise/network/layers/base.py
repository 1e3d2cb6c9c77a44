"""What every layer is: a description (`Layer`) that owns views of the parameters, and a `Pass` that computes.

A layer is built once, when a `Network` places it. A `Pass` is a layer at work on batches of one size: it
allocates every buffer once, keeps x, z, a and delta of the batch it saw last, and knows both directions, so
that the mathematics of a layer stands in one place.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network.activations import ACTIVATIONS, Activation
from neuronwise.network.initializers import INITIALIZERS, Initializer

if TYPE_CHECKING:
    from neuronwise.network.layers.views import Neurons, NeuronView

Array = NDArray[np.floating[Any]]
Shape = tuple[int, ...]

ACTIVATION_PROPERTY: Final[dict[str, Any]] = {
    "type": "string",
    "enum": sorted(ACTIVATIONS),
    "description": "activation function",
}
INITIALIZER_PROPERTY: Final[dict[str, Any]] = {
    "type": ["string", "object", "null"],
    "anyOf": [
        {"enum": [*sorted(INITIALIZERS), None]},
        {
            "type": "object",
            "properties": {"name": {"enum": sorted(INITIALIZERS)}, "value": {"type": ["number", "null"]}},
            "required": ["name"],
            "additionalProperties": False,
        },
    ],
    "description": f"first weights ({', '.join(INITIALIZERS)}); null or absent: the usual one for the activation",
}


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

    Their memory need not be C-contiguous: a layer lays its buffers out as suits its own loops.
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

    def draw(self, seed: int, step: int) -> None:  # noqa: B027 - most layers draw nothing
        """Draw the random numbers of a training step: the same whenever that step is taken."""

    def update_buffers(self) -> None:  # noqa: B027 - most layers have none
        """Move the layer's buffers by the batch of the last `forward`; once per optimizer step, after it."""


class Layer(ABC):
    """A layer of a network.

    Attributes:
        name: ``hidden1``, ``output``, ``flatten1`` …, given by the network if not by the user.
        input_shape: Shape of one input, without the batch.
        output_shape: Shape of one output, without the batch.
        activation: The activation function, or None.
        parameters: What gradients move, by name: views of `Network.parameters`.
        buffers: What averages over batches move (batch normalisation), by name: views of `Network.buffers`.

    A subclass names its default (``hidden1``, ``conv1``) by `prefix`, and describes its settings, which are
    keyword arguments of its constructor, as JSON Schema in `properties`; those of `required` have no default.
    """

    name: str
    input_shape: Shape
    output_shape: Shape
    activation: Activation | None = None

    prefix: ClassVar[str]
    properties: ClassVar[dict[str, dict[str, Any]]] = {}
    required: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str | None) -> None:
        self.given_name = name
        self.name = name or ""
        self.input_names: Sequence[str] = ()
        self.parameters: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
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
        self.name, self.parameters, self.buffers, self._built = self.given_name or "", {}, {}, False

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

    def buffer_shapes(self) -> dict[str, Shape]:
        """Return the shape of each buffer, in the order in which they lie in the network's."""
        return {}

    def initial_buffers(self) -> dict[str, NDArray[np.float64]]:
        """Return the first values of each buffer."""
        return {}

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    @property
    def buffer_count(self) -> int:
        """Number of values in buffers."""
        return sum(math.prod(shape) for shape in self.buffer_shapes().values())

    @property
    def neuron_count(self) -> int:
        """Number of neurons (outputs for one input)."""
        return math.prod(self.output_shape)

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

    @abstractmethod
    def start(self, x: Array, gradients: dict[str, Array] | None, *, training: bool = False) -> Pass:
        """Return a pass that reads its input from the buffer `x` (batch, *input_shape).

        Args:
            x: The buffer, of any strides.
            gradients: An array for each parameter, to be filled by `backward`; None for a pass that only goes
                forward.
            training: Whether the layer behaves as in training: dropout drops, batch normalisation uses the
                statistics of the batch.
        """

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON values: ``type``, ``name``, then the settings of `properties`."""
        return {"type": type_name(type(self)), "name": self.name} | {key: self._setting(key) for key in self.properties}

    def _setting(self, key: str) -> Any:
        """Return a setting as a JSON value."""
        value = getattr(self, key)
        if isinstance(value, Activation):
            return value.name
        if isinstance(value, Initializer):
            return value.to_json()
        return list(value) if isinstance(value, tuple) else value

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Self:
        """Return an unbuilt layer from its description, whose keys are known and of the right type.

        Raises:
            UsageError: A value cannot be used.
        """
        return cls(**{key: value for key, value in entry.items() if key != "type"})

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


class WeightedLayer(Layer):
    """A layer whose neurons each have weights and a bias.

    Attributes:
        W: Weights, the neurons along the first axis: a view of the network's flat buffer. Assigning copies into it.
        b: Biases, (neurons,): likewise.
    """

    @property
    def W(self) -> Array:
        """Weights, (neurons, …)."""
        return self._parameter("W")

    @W.setter
    def W(self, value: ArrayLike) -> None:
        self._assign("W", value)

    @property
    def b(self) -> Array:
        """Biases, (neurons,)."""
        return self._parameter("b")

    @b.setter
    def b(self, value: ArrayLike) -> None:
        self._assign("b", value)


def type_name(layer: type[Layer]) -> str:
    """Return the type's name in files: that of the class, without the ending that keeps it apart in Python."""
    return layer.__name__.removesuffix("Layer")
