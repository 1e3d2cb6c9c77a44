"""Which neuron is meant by a name, and what the neurons of a layer answer to many inputs, batch by batch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network import Network
from neuronwise.network.channels import neuron_axes, neuron_counts
from neuronwise.network.layers import Conv2D, Dropout, Flatten, Layer
from neuronwise.network.workspace import Workspace

Array = NDArray[np.floating[Any]]
Progress = Callable[[int, int], None]
"""Called with the rows that are done and all rows, while something long is computed."""


@dataclass(frozen=True)
class Located:
    """A neuron of a network.

    Attributes:
        layer: Its layer.
        position: Place of the layer among the network's.
        index: Its number in the layer; of a convolution that of the filter.
        place: (row, column) of a convolution's neuron at one place; None for a whole filter, and for other neurons.
    """

    layer: Layer
    position: int
    index: int
    place: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """``hidden1[7]``, ``conv1[7] @ (3, 4)``."""
        return f"{self.layer.name}[{self.index}]" + ("" if self.place is None else " @ ({}, {})".format(*self.place))


def locate(network: Network, name: str) -> Located:
    """Return the neuron of that name: ``"hidden1[7]"``, ``"conv1[7]"``, ``"conv1[7] @ (3, 4)"``.

    Also the channels of batch normalisation and of an activation that stands alone are neurons.

    Raises:
        NotFoundError: There is no such layer, neuron or place, or it is the name of a layer.
    """
    match = re.fullmatch(r"(.+)\[(\d{1,9})\](?: ?@ ?\((\d{1,9}), ?(\d{1,9})\))?", name.strip())
    if match is None:
        found = next((layer.name for layer in network.layers if layer.name == name), None)
        said = f"{name!r:.100} is a layer, not a neuron" if found else f"{name!r:.100} is no name of a neuron"
        layers = _with_neurons(network)
        raise NotFoundError(said, where=f"neuron {name}", hint=f'a neuron is named like "{found or layers[0]}[0]"')
    layer, position = locate_layer(network, match[1])
    index, count = int(match[2]), neuron_counts(network.layers)[position]
    if index >= count:
        raise NotFoundError(
            f"layer {layer.name} has {count:,} neurons, 0 to {count - 1:,}, got {index:,}", where=f"neuron {name}"
        )
    if match[3] is None:
        return Located(layer, position, index)
    place = int(match[3]), int(match[4])
    places = map_shape(network, position)
    if places is None:
        raise NotFoundError(
            f"{layer.name}[{index}] stands at no place of a picture: {layer.name} is no layer of pictures",
            where=f"neuron {name}",
            hint=f'"{layer.name}[{index}]"',
        )
    if place[0] >= places[0] or place[1] >= places[1]:
        raise NotFoundError(
            f"there is no place {place}: {layer.name} has {places[0]} × {places[1]} places, (0, 0) to "
            f"({places[0] - 1}, {places[1] - 1})",
            where=f"neuron {name}",
        )
    return Located(layer, position, index, place)


def locate_layer(network: Network, name: str) -> tuple[Layer, int]:
    """Return the layer of that name, one with neurons, and its place among the layers.

    Raises:
        NotFoundError: There is none, or it has no neurons of its own (it only flattens, pools or drops).
    """
    layer: Layer = network[name] if "[" not in name else network.layers[0]
    if "[" in name or not has_neurons(layer):
        raise NotFoundError(
            f"the layer {name!r:.100} has no neurons of its own",
            where=f"neuron {name}",
            hint=f"layers with neurons are {', '.join(_with_neurons(network))}",
        )
    return layer, network.layers.index(layer)


def has_neurons(layer: Layer) -> bool:
    """Whether a layer computes a z: not one that only flattens, pools or drops."""
    return layer.activation is not None


def _with_neurons(network: Network) -> list[str]:
    return [layer.name for layer in network.layers if has_neurons(layer)] or ["none"]


def map_shape(network: Network, position: int) -> tuple[int, int] | None:
    """Return rows and columns of the places at which a layer of pictures has its neurons; None for a vector."""
    shape, axis = network.layers[position].output_shape, neuron_axes(network.layers)[position]
    if len(shape) == 1:
        return None
    rows, columns = (size for place, size in enumerate(shape, 1) if place != axis)
    return rows, columns


def sees_inputs(network: Network, position: int) -> bool:
    """Whether the values that a layer sees are the network's inputs as they are, maybe laid out as a vector."""
    return all(isinstance(layer, (Flatten, Dropout)) for layer in network.layers[:position])


def input_count(network: Network) -> int:
    """Return the number of the network's inputs."""
    return math.prod(network.input_shape)


def by_neuron(values: Array, network: Network, position: int) -> Array:
    """Return z or a of a layer, (batch, *output_shape), as a view or copy (batch, places, neurons)."""
    axis = neuron_axes(network.layers)[position]
    if axis is None:
        return values.reshape(len(values), -1, 1)
    return np.moveaxis(values, axis, -1).reshape(len(values), -1, values.shape[axis])


def check_examples(network: Network, X: ArrayLike) -> NDArray[Any]:
    """Return inputs as (rows, *input_shape).

    Raises:
        UsageError: They have another shape, are not numbers, or there are none.
    """
    rows = network.check_input(X)
    if not len(rows):
        raise UsageError("there are no rows to look at", where="argument X")
    return rows


def answers(
    network: Network, position: int, X: NDArray[Any], progress: Progress | None = None
) -> Iterator[tuple[slice, Array, Array, Array]]:
    """Yield, batch by batch, which rows, what the layer saw, and z and a of its neurons.

    Args:
        network: The network.
        position: Place of the layer among its layers.
        X: Inputs, (rows, *input_shape).
        progress: Called after each batch.

    Yields:
        The rows as a slice; the layer's inputs, (batch, *its input_shape); z and a, (batch, places, neurons), with one
        place unless the layer's outputs are pictures. They are buffers or views: the next batch overwrites them.
    """
    layers = network.layers[: position + 1]
    size = max(1, min(len(X), network.rows_at_a_time))
    spaces: dict[int, Workspace] = {}
    for start in range(0, len(X), size):
        rows = X[start : start + size]
        if len(rows) not in spaces:
            spaces[len(rows)] = Workspace(layers, network.input_shape, len(rows), network.dtype)
        space = spaces[len(rows)]
        with np.errstate(all="ignore"):
            np.copyto(space.x, rows)
            space.forward()
        last = space.passes[-1]
        assert last.z is not None  # a layer with neurons
        z, a = (by_neuron(values, network, position) for values in (last.z, last.a))
        yield slice(start, start + len(rows)), last.x, z, a
        if progress is not None:
            progress(start + len(rows), len(X))


def evenly(count: int, most: int, seed: int = 0) -> NDArray[np.int64]:
    """Return at most so many of `count` rows, ascending, drawn without replacement by `seed`."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def weight_rows(layer: Layer) -> Array | None:
    """Return the weights of a layer's neurons as rows, (neurons, n_in); None for a layer without W."""
    W = layer.parameters.get("W")
    return None if W is None else W.reshape(len(W), -1)


def patches(layer: Conv2D, x: Array, places: NDArray[np.int64]) -> Array:
    """Return what a convolution sees at some places of each input, counted row by row: (batch, places, n_in).

    The values lie as its weights do; padding is 0.
    """
    windows = _windows(layer, x)
    rows, columns = np.divmod(places, windows.shape[3])
    return windows[:, :, rows, columns].swapaxes(1, 2).reshape(len(x), len(places), -1)


def patch_at(layer: Conv2D, x: Array, places: NDArray[np.int64]) -> Array:
    """Return what it sees of each input at one place each, places (batch,) counted row by row: (batch, n_in)."""
    windows = _windows(layer, x)
    rows, columns = np.divmod(places, windows.shape[3])
    return windows[np.arange(len(x)), :, rows, columns].reshape(len(x), -1)


def _windows(layer: Conv2D, x: Array) -> Array:
    """Return a view (batch, channels, rows, columns, kernel rows, kernel columns) of a padded copy."""
    batch = x[:, None] if x.ndim == 3 else x if layer.data_format == "channels_first" else np.moveaxis(x, -1, 1)
    rows, columns = layer.axes(layer.input_shape)
    pads = [(0, 0), (0, 0)]
    for axis in (rows, columns):
        pads.append((axis.before, max((axis.places - 1) * axis.stride + axis.window - axis.size - axis.before, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(batch, pads), layer.kernel_size, axis=(2, 3))
    return windows[:, :, :: rows.stride, :: columns.stride][:, :, : rows.places, : columns.places]


def picture_plan(network: Network, position: int, picture_shape: tuple[int, ...] | None) -> PicturePlan | None:
    """Return how the values that a layer sees lie as pictures; None where they are none.

    Args:
        network: The network.
        position: Place of the layer.
        picture_shape: (rows, columns) or (rows, columns, channels) of the inputs of a network that takes them flat.
    """
    layers = network.layers
    first = position
    while first and isinstance(layers[first - 1], (Flatten, Dropout)):
        first -= 1
    shape = layers[first].input_shape
    if first == 0 and len(shape) == 1 and picture_shape is not None:
        return PicturePlan(picture_shape, "channels_last") if math.prod(picture_shape) == shape[0] else None
    if len(shape) not in (2, 3):
        return None
    nearest = [*layers[:first][::-1], *layers[first:]]
    formats = [layer.data_format for layer in nearest if hasattr(layer, "data_format")]
    return PicturePlan(shape, formats[0] if formats else "channels_last")


@dataclass(frozen=True)
class PicturePlan:
    """How values laid out as a vector lie as pictures.

    Attributes:
        shape: (rows, columns), or three axes in the data format.
        data_format: ``"channels_last"`` or ``"channels_first"``.
    """

    shape: tuple[int, ...]
    data_format: str

    def channels(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values, (…, n), as (…, channels, rows, columns)."""
        shaped = values.reshape(*values.shape[:-1], *self.shape)
        if len(self.shape) == 2:
            return shaped[..., None, :, :]
        return shaped if self.data_format == "channels_first" else np.moveaxis(shaped, -1, -3)
