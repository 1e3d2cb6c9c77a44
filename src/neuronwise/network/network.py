"""Network: layers in order, their parameters in one flat buffer, and everything one can ask of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network.assembly import check_names, check_shape, copied, layer_names, views_of
from neuronwise.network.buffers import empty_buffer
from neuronwise.network.layers import Channel, Dense, Layer, NeuronView, UnitNames
from neuronwise.network.randomness import generator
from neuronwise.network.summary import Summary, summarize
from neuronwise.network.trace import LayerTrace, Trace, no_such_layer
from neuronwise.network.workspace import Workspace

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[np.floating[Any]]

# Of a forward pass on many rows: rows at a time, and values of all layers together, which should stay in a cache.
_MOST_ROWS, _LEAST_ROWS = 2048, 32
_MOST_VALUES = 2**20


class Network:
    """A feed-forward network.

    Args:
        layers: Layers in order; each belongs to one network.
        input_shape: Shape of one input: 784, (784,) or (28, 28).
        seed: Seed of the first weights; not negative.
        dtype: ``"float32"`` (default) or ``"float64"``.
        input_names: A name for each input (features), or None.
        class_names: A name for each output, or None.

    Attributes:
        layers: The layers, without the input.
        parameters: All weights and biases as one array, (parameter_count,), layer by layer, W (row by row) then
            b. The layers' W and b are views of it.
        buffers: What averages over batches move, not gradients (the running mean and variance of batch
            normalisation), as one array, (buffer_count,), layer by layer; the layers' are views of it.

    Example:
        >>> network = Network.dense([784, 16, 16, 10], hidden="relu", output="softmax")
        >>> network.parameter_count
        13002

    Raises:
        UsageError: No layers, shapes that do not fit, names used twice, a seed or dtype that cannot be.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        input_shape: int | Sequence[int],
        seed: int = 0,
        dtype: str = "float32",
        input_names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        _parameters: Array | None = None,
        _buffers: Array | None = None,
    ) -> None:
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise UsageError(
                f"a network needs at least one layer, got {layers!r}",
                where="argument layers",
                hint='Network([Dense(16), Dense(10, "softmax")], input_shape=784)',
            )
        if dtype not in ("float32", "float64"):
            raise UsageError(f"dtype must be 'float32' or 'float64', got {dtype!r}", where="argument dtype")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise UsageError(f"the seed must be a whole number from 0, got {seed!r}", where="argument seed")
        self.layers = list(layers)
        self.input_shape = check_shape(input_shape)
        self.seed = int(seed)
        self.dtype = np.dtype(dtype)
        free = [layer for layer in self.layers if not layer.is_built]
        try:
            self._build()
            self.set_names(input_names, class_names)
        except UsageError:
            for layer in free:  # so that the user can mend what was wrong and use the same layers
                layer.release()
            raise
        self.parameters: Array = (
            empty_buffer((self.parameter_count,), self.dtype) if _parameters is None else _parameters
        )
        self.buffers: Array = empty_buffer((self.buffer_count,), self.dtype) if _buffers is None else _buffers
        for layer, views in zip(self.layers, self.views(self.parameters), strict=True):
            layer.parameters = views
        for layer, views in zip(self.layers, self.buffer_views(self.buffers), strict=True):
            layer.buffers = views
        if _parameters is None:
            self._initialize()
        if _buffers is None:
            for layer in self.layers:
                for key, value in layer.initial_buffers().items():
                    layer.buffers[key][...] = value

    @classmethod
    def dense(
        cls,
        sizes: Sequence[int],
        hidden: str = "relu",
        output: str = "identity",
        **options: Any,
    ) -> Network:
        """Return a network of dense layers: ``Network.dense([784, 16, 16, 10], output="softmax")``.

        Args:
            sizes: Number of inputs, neurons of each hidden layer, number of outputs.
            hidden: Activation of the hidden layers.
            output: Activation of the output layer.
            options: As for `Network`: seed, dtype, input_names, class_names; and `initializer` for all layers.
        """
        if len(sizes) < 2:
            raise UsageError(
                f"at least two sizes are needed, inputs and outputs, got {list(sizes)}",
                where="argument sizes",
                hint="Network.dense([784, 16, 16, 10])",
            )
        initializer = options.pop("initializer", None)
        layers = [Dense(n, hidden, initializer=initializer) for n in sizes[1:-1]]
        return cls([*layers, Dense(sizes[-1], output, initializer=initializer)], input_shape=sizes[0], **options)

    def _build(self) -> None:
        shape = self.input_shape
        for layer, name in zip(self.layers, layer_names(self.layers), strict=True):
            if not layer.is_built:
                layer.name = name  # so that an error about its shape can say which layer
            layer.build(shape, name)
            shape = layer.output_shape

    def set_names(self, input_names: Sequence[str] | None, class_names: Sequence[str] | None) -> None:
        """Name the inputs and outputs; None takes the names away.

        Raises:
            UsageError: A number of names that does not fit, or names that are no text.
        """
        self.input_names = check_names(input_names, math.prod(self.input_shape), "input_names")
        self.class_names = check_names(class_names, self.output_size, "class_names")
        names: Sequence[str] = self.input_names or UnitNames("input", math.prod(self.input_shape))
        for layer in self.layers:
            layer.input_names = names
            names = layer.unit_names()

    def _initialize(self) -> None:
        for position, layer in enumerate(self.layers):
            values = layer.initial_parameters(generator(self.seed, "initial weights", position))
            for key, value in values.items():
                layer.parameters[key][...] = value

    def views(self, flat: Array) -> list[dict[str, Array]]:
        """Return, for each layer, views of its parameters in an array laid out as `parameters`."""
        return views_of(flat, [layer.parameter_shapes() for layer in self.layers])

    def buffer_views(self, flat: Array) -> list[dict[str, Array]]:
        """Return, for each layer, views of its buffers in an array laid out as `buffers`."""
        return views_of(flat, [layer.buffer_shapes() for layer in self.layers])

    def offset(self, layer: str) -> int:
        """Return where the parameters of a layer begin in `parameters`."""
        position = self.layers.index(self[layer])
        return sum(below.parameter_count for below in self.layers[:position])

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return sum(layer.parameter_count for layer in self.layers)

    @property
    def buffer_count(self) -> int:
        """Number of values in `buffers`."""
        return sum(layer.buffer_count for layer in self.layers)

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.layers[-1].neuron_count

    def __getitem__(self, key: str) -> Any:
        """Return a layer by name, or a neuron: ``network["hidden1"]``, ``network["hidden1[7]"]``.

        ``network["conv1[7]"]`` is a filter of a convolution, ``network["conv1[7] @ (3, 4)"]`` that filter at one place.

        Raises:
            NotFoundError: There is none of that name; the message lists those that exist.
        """
        if isinstance(key, str) and (match := re.fullmatch(r"(.+\]) @ \((\d{1,9}), ?(\d{1,9})\)", key)):
            channel = self[match[1]]
            if not isinstance(channel, Channel):
                raise NotFoundError(f"{match[1]!r} is no filter of a convolution, so it has no places")
            return channel.at(int(match[2]), int(match[3]))
        if isinstance(key, str) and (match := re.fullmatch(r"(.+)\[(\d{1,9})\]", key)):
            layer = self[match[1]]
            try:
                return layer.neurons[int(match[2])]
            except IndexError as error:
                raise NotFoundError(str(error), where=f"neuron {key}") from None
        for layer in self.layers:
            if layer.name == key:
                return layer
        raise no_such_layer(key, [layer.name for layer in self.layers])

    def neuron(self, name: str) -> NeuronView:
        """Return a neuron by its name, ``"hidden1[7]"``.

        Raises:
            NotFoundError: There is no such layer or neuron, or `name` is the name of a whole layer.
        """
        found = self[name]
        if not isinstance(found, NeuronView):
            raise NotFoundError(f"{name!r} is a layer, not a neuron", hint=f'a neuron of it is "{name}[0]"')
        return found

    def workspace(
        self, batch_size: int, gradients: Array | None = None, *, training: bool = False, input_gradient: bool = False
    ) -> Workspace:
        """Return buffers for batches of one size.

        Args:
            batch_size: Rows of a batch.
            gradients: An array laid out as `parameters` that backpropagation fills; None to go forward only.
            training: Whether the layers behave as in training: dropout drops (call `Workspace.draw` before each
                step), batch normalisation uses the batch. Otherwise as in evaluation, as `predict` and `trace` do.
            input_gradient: Whether the gradient by the input is wanted too.
        """
        return Workspace(
            self.layers,
            self.input_shape,
            batch_size,
            self.dtype,
            None if gradients is None else self.views(gradients),
            training=training,
            input_gradient=input_gradient,
        )

    @property
    def rows_at_a_time(self) -> int:
        """How many rows of many a forward pass should take at a time, which bounds its memory and is fast."""
        values = math.prod(self.input_shape) + sum(layer.neuron_count for layer in self.layers)
        return max(_LEAST_ROWS, min(_MOST_ROWS, _MOST_VALUES // values))

    def predict(self, x: ArrayLike) -> Array:
        """Return the activations of the output layer, (batch, n_out).

        Args:
            x: Inputs (batch, *input_shape), or one input (*input_shape) which counts as a batch of one.

        Raises:
            UsageError: The shape does not fit, or the values are not numbers.
        """
        batch = self.check_input(x)
        y_hat = np.empty((len(batch), *self.layers[-1].output_shape), dtype=self.dtype)
        spaces: dict[int, Workspace] = {}
        with np.errstate(all="ignore"):
            chunk = self.rows_at_a_time
            for start in range(0, len(batch), chunk):
                rows = batch[start : start + chunk]
                space = (
                    spaces.setdefault(len(rows), self.workspace(len(rows)))
                    if len(rows) not in spaces
                    else spaces[len(rows)]
                )
                np.copyto(space.x, rows)
                y_hat[start : start + chunk] = space.forward()
        return y_hat

    def __call__(self, x: ArrayLike) -> Array:
        """Same as `predict`."""
        return self.predict(x)

    def trace(self, x: ArrayLike) -> Trace:
        """Return every x, z and a of every layer for a batch (or one input, as a batch of one).

        Raises:
            UsageError: The shape does not fit, or the values are not numbers.
        """
        batch = self.check_input(x)
        space = self.workspace(len(batch))
        with np.errstate(all="ignore"):
            np.copyto(space.x, batch)
            space.forward()
        return Trace([LayerTrace(step.layer.name, step.x, step.z, step.a) for step in space.passes])

    def check_input(self, x: ArrayLike) -> NDArray[Any]:
        """Return `x` as an array (batch, *input_shape) of numbers.

        Raises:
            UsageError: The shape does not fit, or the values are not numbers.
        """
        values = np.asarray(x)
        if values.dtype.kind not in "fiub":
            raise UsageError(f"inputs must be numbers, got dtype {values.dtype}", where="argument x")
        n = math.prod(self.input_shape)
        if values.shape == self.input_shape:
            values = values[None]
        elif values.ndim == 2 and values.shape[1] == n:  # rows laid out flat, as tables and scikit-learn have them
            values = values.reshape(len(values), *self.input_shape)
        elif values.ndim == 1 and values.size == n:
            values = values.reshape(1, *self.input_shape)
        if values.shape[1:] != self.input_shape or values.ndim != len(self.input_shape) + 1:
            expected = ", ".join(map(str, self.input_shape))
            raise UsageError(
                f"expected inputs of shape (batch, {expected}), got {values.shape}",
                where="argument x",
                hint=f"this network has {n} inputs",
            )
        return values

    def copy(self) -> Network:
        """Return an independent network of the same shape with the same weights."""
        return _rebuild(*self.__reduce__()[1])

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        # Copied or pickled attribute by attribute, the layers' weights would no longer be views of `parameters`.
        options = {"input_shape": self.input_shape, "seed": self.seed, "dtype": str(self.dtype)}
        names = {"input_names": self.input_names, "class_names": self.class_names}
        return _rebuild, ([layer.unbuilt() for layer in self.layers], options | names, self.parameters, self.buffers)

    def to_dict(self) -> dict[str, Any]:
        """Return the description, without weights, as JSON values."""
        from neuronwise.network.description import network_to_dict

        return network_to_dict(self)

    @classmethod
    def from_dict(cls, description: dict[str, Any], *, where: str = "network description") -> Network:
        """Return a network from a description, with first weights drawn from its seed.

        Args:
            description: As `to_dict` returns it; docs/reference/network-json.md describes it.
            where: What errors call it.

        Raises:
            FormatError: The description is not one; the message names the key.
        """
        from neuronwise.network.description import network_from_dict

        return network_from_dict(description, where=where)

    def save(self, folder: str | Path) -> None:
        """Write network.json and network.safetensors into `folder` (made if absent), whole or not at all."""
        from neuronwise.network.storage import save_network

        save_network(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Network:
        """Return the network that `save` wrote. Nothing in the files is ever executed.

        Raises:
            NotFoundError: There is no network in `folder`.
            FormatError: A file is truncated, corrupt or hostile.
        """
        from neuronwise.network.storage import load_network

        return load_network(Path(folder))

    def to_torch(self, *, logits: bool = False) -> nn.Sequential:
        """Return the network as an `nn.Sequential` of torch, in evaluation mode, equal in its outputs within 1e-6.

        See `neuronwise.network.exchange.to_torch`.

        Args:
            logits: Whether to leave out a softmax or sigmoid of the last layer, as torch's losses want it.

        Raises:
            MissingExtraError: PyTorch is not installed.
        """
        from neuronwise.network.exchange import to_torch

        return to_torch(self, logits=logits)

    def summary(self) -> Summary:
        """Return a table of the layers, the input first, with how their parameters are counted."""
        return summarize(self)

    def to_svg(self, *, width: int = 720, max_neurons: int = 16) -> str:
        """Return a picture of the network as SVG text: neurons, and links coloured by sign and sized by weight."""
        from neuronwise.network.picture import draw_network

        return draw_network(self, width=width, max_neurons=max_neurons)

    def _repr_html_(self) -> str:
        return f"<div>{self.to_svg()}{self.summary().to_html()}</div>"

    @property
    def sizes(self) -> str:
        """The shapes of the input and of each layer's output as text: ``"28×28-784-16-16-10"``."""
        shapes = [self.input_shape, *(layer.output_shape for layer in self.layers)]
        return "-".join("×".join(map(str, shape)) for shape in shapes)

    def __repr__(self) -> str:
        return f"<Network {self.sizes}, {self.parameter_count:,} parameters, {self.dtype}>"


def _rebuild(layers: list[Layer], options: dict[str, Any], parameters: Array, buffers: Array) -> Network:
    return Network(layers, **options, _parameters=copied(parameters), _buffers=copied(buffers))
