"""What the neurons of a layer make of a whole picture: each neuron's kernel slid over it, at the picture's own size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.edges import find_edges
from neuronwise.explaining.kernels import KernelReader, channels_first, first_layer
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.receptive_fields import ReceptiveField, receptive_field
from neuronwise.explaining.result import Block, Explanation, Table, plain
from neuronwise.network import Conv2D, Dense, Layer, Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPS = 64
"""Maps that are made of one layer."""
LARGEST_SIDE = 1024
"""Longest side of a picture, in pixels."""
MOST_VALUES = 40_000_000
"""Activation levels that all layers together may have for one picture: with z, 320 MB in float32."""


@dataclass(frozen=True)
class FeatureMaps(Explanation):
    """The activation levels of a layer's neurons at every place of a picture.

    Attributes:
        layer: Name of the layer.
        neurons: Names of the neurons whose maps these are.
        neuron_count: How many neurons the layer has.
        picture: The picture as the network saw it, (rows, columns, channels), 0 to 1.
        levels: Activation level of each neuron at each of its places, (neurons, rows, columns).
        labels: What each neuron detects, where it is one of the first layer: ``"edge 45°"``; else empty words.
        field: What part of the picture each place sees.
        notes: Sentences on what was done to the picture.
    """

    layer: str
    neurons: tuple[str, ...]
    neuron_count: int
    picture: NDArray[Any]
    levels: NDArray[Any]
    labels: tuple[str, ...]
    field: ReceptiveField
    notes: tuple[str, ...] = ()

    def blocks(self) -> Sequence[Block]:
        """Return the sizes, what was done to the picture, and a row for each map."""
        rows, columns, channels = self.picture.shape
        headline = (
            f"{self.layer}: {len(self.neurons)} feature maps of {self.levels.shape[1]} × {self.levels.shape[2]} "
            f"places, from a picture of {rows} × {columns} pixels"
        )
        seen = self.field.words
        said: list[Block] = [headline, *self.notes, seen[0].upper() + seen[1:] + "."]
        if len(self.neurons) < self.neuron_count:
            said.append(f"The first {len(self.neurons)} of {self.neuron_count} neurons are shown.")
        if channels == 1 and not self.picture.any():
            said.append("The picture is black: every map shows what the biases alone do.")
        table = tuple(
            (
                name,
                label or "–",
                f"{low:.3g}",
                f"{mean:.3g}",
                f"{high:.3g}",
                f"{100 * active:.0f} %",
                f"{lost:,}" if lost else "0",
            )
            for name, label, (low, mean, high, active, lost) in zip(
                self.neurons, self.labels, self.summaries(), strict=True
            )
        )
        headings = ("neuron", "detects", "least a", "mean a", "largest a", "a > 0", "not finite")
        return [*said, Table(headings, table)]

    def summaries(self) -> list[tuple[float, float, float, float, int]]:
        """Return of each map the least, mean and largest finite level, the share above 0, and what is not finite."""
        found = []
        for one in self.levels:
            finite = one[np.isfinite(one)].astype(np.float64)
            low, mean, high = (
                (float(finite.min()), float(finite.mean()), float(finite.max())) if finite.size else (math.nan,) * 3
            )
            found.append((low, mean, high, float((one > 0).mean()), int(one.size - finite.size)))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return sizes and summaries; the levels themselves, millions of numbers, are in `levels`."""
        keys = ("least", "mean", "largest", "share_above_0", "not_finite")
        maps = [
            {"neuron": name, "detects": label} | dict(zip(keys, summary, strict=True))
            for name, label, summary in zip(self.neurons, self.labels, self.summaries(), strict=True)
        ]
        content: dict[str, Any] = plain(
            {
                "layer": self.layer,
                "neuron_count": self.neuron_count,
                "picture_shape": self.picture.shape,
                "map_shape": self.levels.shape[1:],
                "field": self.field,
                "maps": maps,
                "notes": self.notes,
            }
        )
        return content

    def figure(self) -> Figure:
        """Return the picture and the maps as one grid."""
        from neuronwise.explaining.map_pictures import draw_maps

        return draw_maps(self)


def feature_maps(
    network: Network,
    picture: ArrayLike,
    layer: str | None = None,
    *,
    meaning: Meaning | None = None,
    most: int = MAPS,
    notes: Sequence[str] = (),
) -> FeatureMaps:
    """Return the maps that a layer's neurons make of a picture of any size.

    The layers up to this one are built again for the picture's size, with the same weights: convolution and pooling
    work at any size. A dense layer that looks at the picture itself is taken as a convolution whose kernel is the size
    of the pictures it learned, slid over this one pixel by pixel, without padding.

    Args:
        network: The network.
        picture: (rows, columns) or (rows, columns, channels), scaled as the network's inputs are, 0 to 1; as many
            channels as the network takes.
        layer: Name of a convolution or pooling layer, or of a dense one that looks at the picture itself; default the
            first with weights.
        meaning: What knows the shape of pictures that the network takes as a flat row.
        most: Largest number of maps, from the first neuron on.
        notes: Sentences on what was done to the picture, to be told with the rest.

    Raises:
        NotFoundError: There is no such layer.
        UsageError: The layer has no maps, the picture is smaller than its kernel, has other channels, or is too large
            (see `fitting_size`).
    """
    name = first_layer(network) if layer is None else layer
    meaning = meaning or Meaning.of(network)
    values = np.asarray(picture)
    channels = channels_seen(network, meaning)
    if values.dtype.kind not in "fiub" or values.ndim not in (2, 3):
        raise UsageError(
            f"a picture is numbers (rows, columns) or (rows, columns, channels), got {values.dtype} of shape "
            f"{values.shape}",
            where="argument picture",
        )
    values = values[:, :, None] if values.ndim == 2 else values
    if values.shape[2] != channels:
        raise UsageError(
            f"the network takes pictures of {channels} {'channel' if channels == 1 else 'channels'}, got "
            f"{values.shape[2]}",
            where="argument picture",
        )
    size = values.shape[:2]
    if fitting_size(network, name, size, meaning=meaning, most=most) != size:
        raise UsageError(
            f"a picture of {size[0]} × {size[1]} pixels is too large for {name}",
            where="argument picture",
            hint="scale it down to fitting_size(network, layer, size)",
        )
    built = _built(network, name, size, meaning, most)
    x = np.asarray(values, network.dtype)
    x = np.moveaxis(x, -1, 0) if channels_first(built) else x
    space = built.workspace(1)
    with np.errstate(all="ignore"):
        np.copyto(space.x, x.reshape(built.input_shape)[None])
        space.forward()
    a = space.passes[-1].a[0]
    levels = np.array(a if _data_format(built.layers) == "channels_first" else np.moveaxis(a, -1, 0))[:most]
    count = _neurons(network, name)
    labels = [""] * len(levels)
    if name == first_layer(network):
        told = find_edges(network, name, meaning=meaning)
        labels = [told.label(index).replace("–", "") for index in range(len(levels))]
    names = tuple(f"{name}[{index}]" for index in range(len(levels)))
    field = receptive_field(built, built.layers[-1].name)
    return FeatureMaps(name, names, count, values, levels, tuple(labels), field, tuple(notes))


def fitting_size(
    network: Network, layer: str | None, size: tuple[int, int], *, meaning: Meaning | None = None, most: int = MAPS
) -> tuple[int, int]:
    """Return the size, at most the given one and of about its proportions, at which a picture's maps stay in memory.

    Raises:
        NotFoundError: There is no such layer.
        UsageError: The layer has no maps, or a picture of this size is smaller than its kernel.
    """
    name = first_layer(network) if layer is None else layer
    meaning = meaning or Meaning.of(network)
    scale = min(1.0, LARGEST_SIDE / max(size))
    fitted = _scaled(size, scale)
    values = sum(one.neuron_count for one in _built(network, name, fitted, meaning, most).layers)
    if values > MOST_VALUES:
        fitted = _scaled(size, scale * math.sqrt(MOST_VALUES / values))
    return fitted


def channels_seen(network: Network, meaning: Meaning | None = None) -> int:
    """Return how many channels the pictures have that a network takes.

    Raises:
        UsageError: Its inputs are no pictures.
    """
    first = network[first_layer(network)]
    if isinstance(first, Conv2D):
        return first.channels
    shape = KernelReader.of(network, first.name, meaning).shape
    assert shape is not None
    return shape[2]


def _built(network: Network, name: str, size: tuple[int, int], meaning: Meaning, most: int) -> Network:
    """Return the layers up to one for pictures of another size, with the same weights."""
    found = network[name]
    if isinstance(found, Dense):
        W = np.moveaxis(KernelReader.of(network, name, meaning).read(found.W), -1, 1)[:most]
        if any(pixels < window for pixels, window in zip(size, W.shape[2:], strict=True)):
            raise UsageError(
                f"the picture has {size[0]} × {size[1]} pixels, fewer than the {W.shape[2]} × {W.shape[3]} that a "
                f"neuron of {name} looks at",
                where="argument picture",
            )
        # A softmax compares neurons; a map shows each by itself.
        function = "identity" if found.activation.name == "softmax" else found.activation
        slid = Conv2D(len(W), (W.shape[2], W.shape[3]), function, name=name)
        built = Network([slid], input_shape=(*size, W.shape[1]), dtype=network.dtype.name)
        built[name].W, built[name].b = W, found.b[:most]
        return built
    used = network.layers[: network.layers.index(found) + 1]
    receptive_field(network, name)  # raises where a layer has no maps
    channels = network.input_shape[2:]
    shape = (network.input_shape[0], *size) if channels_first(network, meaning) else (*size, *channels)
    built = Network([one.unbuilt() for one in used], input_shape=shape, dtype=network.dtype.name)
    for old, new in zip(used, built.layers, strict=True):
        for key, values in (new.parameters | new.buffers).items():
            known = (old.parameters | old.buffers)[key]
            if known.shape != values.shape:
                raise UsageError(
                    f"the layer {old.name!r} has a {key} for each place of the pictures it learned, so it cannot look "
                    "at one of another size",
                    where="argument layer",
                )
            values[...] = known
    return built


def _data_format(layers: Sequence[Layer]) -> str:
    """Return the data format of what the last of some layers gives."""
    found = [getattr(one, "data_format", None) for one in layers]
    return next((str(one) for one in reversed(found) if one is not None), "channels_last")


def _neurons(network: Network, name: str) -> int:
    layer = network[name]
    if isinstance(layer, Dense):
        return layer.neuron_count
    below = network.layers[: network.layers.index(layer) + 1]
    return int(layer.output_shape[0 if _data_format(below) == "channels_first" else -1])


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, math.floor(size[0] * scale)), max(1, math.floor(size[1] * scale))
