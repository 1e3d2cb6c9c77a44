"""The neurons of a layer that looks at pictures, as kernels: rows × columns of weights in one colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.meaning import Meaning
from neuronwise.network import Conv2D, Dense, Flatten, Network

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kernels:
    """What the neurons of a layer look at.

    Of several channels a kernel is split into one picture times one weight per channel, as near to it as such a
    product can be: the first singular pair of its channels, each without its mean. So a neuron that tells red from
    green has its edge found as well as one that adds up all colours, whose picture is the sum of its channels.

    Attributes:
        layer: Name of the layer.
        weights: (neurons, rows, columns, channels), as they are.
        pictures: (neurons, rows, columns), weights in the direction of the neuron's colour, means included.
        colours: That direction, of norm 1, its sum not negative: (neurons, channels).
        colour_share: Share of the squared norm (means left out) that the product holds, (neurons,); 1 for one channel.
        even_share: Share of the norm that is the mean of each channel: what answers to even light, (neurons,).
    """

    layer: str
    weights: Array
    pictures: Array
    colours: Array
    colour_share: Array
    even_share: Array

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.weights.shape[1], self.weights.shape[2]


def first_layer(network: Network) -> str:
    """Return the name of the first layer with weights.

    Raises:
        UsageError: There is none.
    """
    for layer in network.layers:
        if isinstance(layer, (Dense, Conv2D)):
            return layer.name
    raise UsageError("the network has no dense layer and no convolution", where="argument network")


def kernels(network: Network, layer: str | None = None, meaning: Meaning | None = None) -> Kernels:
    """Return the kernels of a convolution, or of a dense layer that looks at the picture itself.

    Args:
        network: The network.
        layer: Name of the layer; default the first one with weights.
        meaning: Where the network's inputs are a flat row, what knows their shape as a picture.

    Raises:
        NotFoundError: There is no such layer.
        UsageError: The layer is of another kind, or its inputs are no picture.
    """
    reader = KernelReader.of(network, layer, meaning)
    return split(reader.layer, reader.read(network[reader.layer].parameters["W"]))


def split(name: str, weights: Array) -> Kernels:
    """Return kernels made of weights, (neurons, rows, columns, channels)."""
    n, rows, columns, channels = weights.shape
    flat = weights.reshape(n, rows * columns, channels)
    finite = np.asarray(np.isfinite(flat).all(axis=(1, 2)))
    clean = np.where(finite[:, None, None], flat, 0.0)
    means = clean.mean(axis=1, keepdims=True)
    if channels == 1:
        colours, colour_share = np.ones((n, 1)), np.ones(n)
    else:
        _, sizes, directions = np.linalg.svd(clean - means, full_matrices=False)
        colours = directions[:, 0]
        colours = colours * np.where(colours.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        total = (sizes**2).sum(axis=1)
        colour_share = np.where(total > 0, sizes[:, 0] ** 2 / np.where(total > 0, total, 1.0), 1.0)
    norms = np.linalg.norm(clean.reshape(n, -1), axis=1)
    even = np.sqrt(rows * columns) * np.linalg.norm(means[:, 0], axis=1)
    even_share = np.where(norms > 0, even / np.where(norms > 0, norms, 1.0), 0.0)
    with np.errstate(invalid="ignore"):
        pictures = np.einsum("npc,nc->np", flat, colours).reshape(n, rows, columns)
    return Kernels(name, weights, pictures, colours, colour_share, even_share)


@dataclass(frozen=True)
class KernelReader:
    """What turns the weights of a layer, as its W has them, into pictures; of any step of a training alike.

    Attributes:
        layer: Name of the layer.
        shape: Rows, columns and channels of the picture that a dense layer looks at; None for a convolution.
        first: Whether that picture has its channels first.
    """

    layer: str
    shape: tuple[int, int, int] | None
    first: bool = False

    @classmethod
    def of(cls, network: Network, layer: str | None = None, meaning: Meaning | None = None) -> KernelReader:
        """Return the reader for a layer; arguments and errors are those of `kernels`."""
        name = first_layer(network) if layer is None else layer
        found = network[name]
        if isinstance(found, Conv2D):
            return cls(name, None)
        if not isinstance(found, Dense):
            raise UsageError(
                f"{name!r} is no layer of kernels: it is neither a dense layer nor a convolution",
                where="argument layer",
            )
        below = network.layers[: network.layers.index(found)]
        if any(layer.parameters or not isinstance(layer, Flatten) for layer in below):
            raise UsageError(
                f"{name!r} is a dense layer above other layers: its weights are no picture",
                where="argument layer",
                hint=f"what {first_layer(network)!r} looks at is the picture itself",
            )
        shape = (meaning or Meaning.of(network)).picture_shape
        if shape is None:
            raise UsageError(
                f"the inputs of this network are no pictures (their shape is {network.input_shape}), so its neurons "
                "see no edges",
                where=f"layer {name}",
                hint="of a network that learned pictures: neuronwise train digits, then neuronwise edges latest",
            )
        first = channels_first(network, meaning)
        rows, columns, channels = (*shape[1:], shape[0]) if first else (*shape, 1)[:3]
        return cls(name, (rows, columns, channels), first)

    def read(self, W: NDArray[Any]) -> Array:
        """Return weights as (neurons, rows, columns, channels), float64."""
        values = np.asarray(W, np.float64)
        if self.shape is None:
            return np.moveaxis(values, 1, -1)
        rows, columns, channels = self.shape
        if self.first:
            return np.moveaxis(values.reshape(-1, channels, rows, columns), 1, -1)
        return values.reshape(-1, rows, columns, channels)


def channels_first(network: Network, meaning: Meaning | None = None) -> bool:
    """Return whether a network's pictures are (channels, rows, columns).

    A convolution says so. Without one, pictures of a run are channels last; of a network alone, as PyTorch's are that
    begin with `Flatten`, a first axis of 1 or 3 before two longer ones is taken for channels.
    """
    if len(network.input_shape) != 3:
        return False
    for layer in network.layers:
        if isinstance(layer, Conv2D):
            return layer.data_format == "channels_first"
    if meaning is not None and meaning.encoder is not None:
        return False
    channels, *sides = network.input_shape
    return channels in (1, 3) and min(sides) > 4
