"""Layout: where everything of a network stands in the flat arrays of a recording, and how it is called.

It is read from and written to ``recording.json``, and needs no `Network`: a recording of a model of another framework
has one too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.checked import Checked
from neuronwise.errors import FormatError, NotFoundError, did_you_mean
from neuronwise.network.channels import neuron_counts

if TYPE_CHECKING:
    from neuronwise.network import Network

_MAX_VALUES = 10**10
_MAX_LAYERS = 100_000
# So that a row of statistics fits in 2 GiB.
_MAX_NEURONS = 10_000_000
_MAX_AXES = 8
_NAME = re.compile(r"(?P<layer>.+?)\[(?P<neuron>[0-9]{1,9})\](?:\.(?P<what>\w+)(?:\[(?P<input>.+)\])?)?", re.DOTALL)

_PLACED = re.compile(r"(.+?\[[0-9]{1,9}\]) @ \([^()]*\).*", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """Where an array stands in a flat one.

    Attributes:
        offset: Index of its first value.
        shape: Its shape.
    """

    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of its values."""
        return math.prod(self.shape)

    def of(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return it as a view of the flat array."""
        return flat[self.offset : self.offset + self.size].reshape(self.shape)


@dataclass(frozen=True)
class LayerLayout:
    """A layer in a recording.

    Attributes:
        name: Its name, ``"hidden1"``, or the path of a module.
        kind: Its type, ``"Dense"``.
        parameters: What gradients move, by name.
        buffers: What averages move, by name.
        neurons: How many neurons its statistics have: the first axis of its weights; 0 if it has none.
        first_neuron: Where they begin among those of all layers.
        activation: Name of the activation function, or None.
        every: Of how many rows of its weights one is measured, the first, then at equal distances: 1 if all are. Of a
            large table of embeddings with ``every=8`` the neurons are its rows 0, 8, 16 …
    """

    name: str
    kind: str
    parameters: dict[str, Place]
    buffers: dict[str, Place]
    neurons: int
    first_neuron: int
    activation: str | None
    every: int = 1

    @property
    def rows(self) -> range:
        """Which rows of the weights its neurons are, which is what they are called: ``layer[row]``."""
        return range(0, self.neurons * self.every, self.every)

    def place_of(self, row: int) -> int:
        """Return which of the neurons that are measured a row of the weights is.

        Raises:
            NotFoundError: It is not measured.
        """
        if row % self.every or row // self.every >= self.neurons:
            nearest = min(row // self.every, self.neurons - 1) * self.every
            raise NotFoundError(
                f"{self.name}[{row}] is not measured: of {self.name!r} one row of {self.every} is",
                hint=f"the nearest that is measured is {self.name}[{nearest}]; weights of all are stored",
            )
        return row // self.every

    @property
    def weights(self) -> str | None:
        """The name of the parameter that holds a row of weights for each neuron: ``"W"``; None if none does.

        Of a module of another framework that is ``weight``, or the first that is called so in part
        (``weight_ih_l0``), or the first.
        """
        if (known := next((key for key in ("W", "gamma", "weight") if key in self.parameters), None)) is not None:
            return known
        filled = [key for key, place in self.parameters.items() if place.size and place.shape]
        return next((key for key in filled if "weight" in key), filled[0] if filled else None)

    @property
    def biases(self) -> str | None:
        """The name of the parameter that holds a bias for each neuron: ``"b"``; None if none does."""
        if (known := next((key for key in ("b", "beta") if key in self.parameters), None)) is not None:
            return known
        # Of another framework that whose name goes with the weights': bias_ih_l0. The first axis of a transposed
        # convolution's weights are its inputs, which have no biases.
        name = (self.weights or "").replace("weight", "bias")
        place = self.parameters.get(name) if name != self.weights else None
        fits = place is not None and place.shape == (self.neurons,) and not self.kind.startswith("ConvTranspose")
        return name if fits else None

    def is_consistent(self) -> bool:
        """Return whether each neuron has a row of the weights, and a bias, where the layer has any."""
        rows = [(self.parameters[key].shape or (0,))[0] for key in (self.weights, self.biases) if key is not None]
        if self.every > 1 and not rows:
            return False
        return self.every > 0 and (not self.neurons or all(-(-count // self.every) == self.neurons for count in rows))

    @property
    def row_count(self) -> int:
        """How many rows its weights have, measured or not."""
        return self.neurons if self.every == 1 else self.parameters[str(self.weights)].shape[0]


class Layout:
    """The layers of a recording.

    Args:
        layers: In order.
        dtype: Of the parameters, float32 or float64.
        optimizer_names: What the optimizer remembers for each parameter.

    Attributes:
        parameter_count: Number of all weights and biases.
        buffer_count: Number of all values in buffers.
        neuron_count: Number of neurons that have statistics, all layers together.
        observed: The layers that have such neurons.
    """

    def __init__(
        self, layers: Sequence[LayerLayout], dtype: np.dtype[Any], optimizer_names: Sequence[str] = ()
    ) -> None:
        self.layers = {layer.name: layer for layer in layers}
        self.dtype, self.optimizer_names = dtype, tuple(optimizer_names)
        self.parameter_count = sum(place.size for layer in layers for place in layer.parameters.values())
        self.buffer_count = sum(place.size for layer in layers for place in layer.buffers.values())
        self.observed = [layer for layer in layers if layer.neurons]
        self.neuron_count = sum(layer.neurons for layer in self.observed)

    @classmethod
    def of(cls, network: Network, optimizer_names: Sequence[str] = ()) -> Layout:
        """Return the layout of a network of ours."""
        layers: list[LayerLayout] = []
        offset = buffer_offset = first_neuron = 0
        for layer, count in zip(network.layers, neuron_counts(network.layers), strict=True):
            parameters, offset = _places(layer.parameters, offset)
            buffers, buffer_offset = _places(layer.buffers, buffer_offset)
            neurons = count if parameters or layer.activation is not None else 0
            layers.append(
                LayerLayout(
                    layer.name,
                    str(layer.to_dict()["type"]),
                    parameters,
                    buffers,
                    neurons,
                    first_neuron,
                    layer.activation.name if layer.activation else None,
                )
            )
            first_neuron += neurons
        return cls(layers, network.dtype, optimizer_names)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "dtype": str(self.dtype),
            "parameter_count": self.parameter_count,
            "buffer_count": self.buffer_count,
            "neuron_count": self.neuron_count,
            "optimizer": list(self.optimizer_names),
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "activation": layer.activation,
                    "neurons": layer.neurons,
                    "first_neuron": layer.first_neuron,
                    **({} if layer.every == 1 else {"every": layer.every}),
                    "parameters": _to_json(layer.parameters),
                    "buffers": _to_json(layer.buffers),
                }
                for layer in self.layers.values()
            ],
        }

    @classmethod
    def from_dict(cls, content: Any, where: str) -> Layout:
        """Return a layout from JSON values, none of which is trusted.

        Raises:
            FormatError: A value is missing, or the places do not lie one behind the other.
        """
        checked = Checked(content, where)
        dtype = checked.text("dtype")
        if dtype not in ("float32", "float64"):
            raise FormatError(f"weights of dtype {dtype!r:.100}", where=where)
        layers: list[LayerLayout] = []
        ends = {"parameters": 0, "buffers": 0}
        first_neuron = 0
        for entry in checked.items("layers", _MAX_LAYERS):
            one = Checked(entry, where)
            places = {}
            for kind in ends:
                places[kind], ends[kind] = _read_places(one.any(kind), ends[kind], where)
            neurons = one.whole("neurons")
            layer = LayerLayout(
                one.text("name"), one.text("kind"), places["parameters"], places["buffers"], neurons, first_neuron,
                one.text_or_none("activation"), one.whole("every") if "every" in one.data else 1,
            )  # fmt: skip
            if one.whole("first_neuron") != first_neuron or not layer.is_consistent():
                raise FormatError(
                    f"the neurons of {layer.name!r:.100} do not follow those before or go with its weights", where=where
                )
            layers.append(layer)
            first_neuron += neurons
        found = cls(layers, np.dtype(dtype), checked.texts("optimizer", 8))
        counts = (found.parameter_count, found.buffer_count, found.neuron_count)
        said = tuple(checked.whole(key) for key in ("parameter_count", "buffer_count", "neuron_count"))
        if counts != said or len(found.layers) != len(layers) or found.neuron_count > _MAX_NEURONS:
            raise FormatError(f"the layers have {counts} values, {said} are said", where=where)
        return found

    def layer(self, name: str) -> LayerLayout:
        """Return a layer by its name.

        Raises:
            NotFoundError: There is none of that name; the message lists those that exist.
        """
        if name not in self.layers:
            raise NotFoundError(
                f"there is no layer {name!r:.100}.{did_you_mean(name[:100], self.layers)}",
                hint=f"the layers are {_listed(self.layers)}",
            )
        return self.layers[name]

    def neuron(self, name: str) -> tuple[LayerLayout, int, str | None, str | None]:
        """Return what a name means: ``"hidden1[7].weights[sqft]"`` is (hidden1, 7, ``"weights"``, ``"sqft"``).

        The number is that of the row of the weights, whether it is measured or not: see `LayerLayout.place_of`.

        Raises:
            NotFoundError: There is no such layer or neuron.
        """
        match = _NAME.fullmatch(name)
        if match is None and (placed := _PLACED.fullmatch(name)):
            raise NotFoundError(
                f"{name!r:.200} is one place of a convolution: its channels are recorded whole",
                hint=f'such as "{placed[1]}"; Recording.trace(step, x) has what it answers at every place',
            )
        if match is None:
            raise NotFoundError(
                f"{name!r:.200} names no neuron",
                hint='such as "hidden1[7]", "hidden1[7].bias" or "hidden1[7].weights[sqft_living]", from 0 on',
            )
        layer, neuron = self.layer(match["layer"]), int(match["neuron"])
        if not layer.neurons:
            raise NotFoundError(
                f"the layer {layer.name!r} ({layer.kind}) has no neurons of its own",
                hint=f"layers with neurons are {_listed([one.name for one in self.observed])}",
            )
        if neuron >= layer.row_count:
            raise NotFoundError(f"{layer.name!r} has the neurons 0 to {layer.row_count - 1}, got {neuron}")
        return layer, neuron, match["what"], match["input"]

    def weights_of(self, layer: LayerLayout, neuron: int) -> Place:
        """Return where the weights of a neuron stand among the parameters, flat.

        Raises:
            NotFoundError: The layer has none.
        """
        if layer.weights is None:
            raise NotFoundError(f"the layer {layer.name!r} ({layer.kind}) has no weights")
        place = layer.parameters[layer.weights]
        size = place.size // layer.row_count
        return Place(place.offset + neuron * size, (size,))

    def bias_of(self, layer: LayerLayout, neuron: int) -> Place:
        """Return where the bias of a neuron stands among the parameters.

        Raises:
            NotFoundError: The layer has none.
        """
        if layer.biases is None:
            raise NotFoundError(
                f"the layer {layer.name!r} ({layer.kind}) has no biases",
                hint=f"there are {layer.name}[{neuron}].weights, and statistics such as {layer.name}[{neuron}].mean",
            )
        return Place(layer.parameters[layer.biases].offset + neuron, (1,))


def _places(arrays: Mapping[str, NDArray[Any]], offset: int) -> tuple[dict[str, Place], int]:
    places = {}
    for key, values in arrays.items():
        places[key] = Place(offset, values.shape)
        offset += values.size
    return places, offset


def _to_json(places: Mapping[str, Place]) -> dict[str, Any]:
    return {key: {"offset": place.offset, "shape": list(place.shape)} for key, place in places.items()}


def _read_places(content: Any, offset: int, where: str) -> tuple[dict[str, Place], int]:
    """Return places that lie one behind the other from `offset` on, and where they end."""
    places = {}
    for key, entry in Checked(content, where).data.items():
        one = Checked(entry, where)
        shape = one.items("shape", _MAX_AXES)
        if not all(type(n) is int and 0 <= n <= _MAX_VALUES for n in shape) or one.whole("offset") != offset:
            raise FormatError(
                f"the place of {key!r:.50}, shape {shape!r:.100}, does not follow the one before", where=where
            )
        places[str(key)] = Place(offset, tuple(shape))
        offset += places[key].size
        if offset > _MAX_VALUES:
            raise FormatError(f"more than {_MAX_VALUES:,} values are described", where=where)
    return places, offset


def _listed(names: Any) -> str:
    every = list(names)
    return ", ".join(every[:20]) + (f" and {len(every) - 20:,} more" if len(every) > 20 else "")
