"""What part of the picture a neuron sees: exact, from kernels, strides and padding."""

from __future__ import annotations

from dataclasses import dataclass

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network import (
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Layer,
    MaxPool2D,
    Network,
)
from neuronwise.network.layers.images import Axis, picture_shape

# Layers that keep each value at its place.
_IN_PLACE = (ActivationLayer, BatchNorm, Dropout)
_WINDOWS = (Conv2D, MaxPool2D, AveragePool2D)


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the input picture that a neuron of a layer of maps depends on.

    Attributes:
        layer: Name of the layer.
        size: Rows and columns of the window, its parts outside the picture (padding) included.
        step: Pixels by which it moves from one place of the map to the next, down and to the right.
        first: Row and column of the window's first pixel for the place (0, 0); negative where padding is.
        picture: Rows and columns of the picture.
        places: Rows and columns of the map.
    """

    layer: str
    size: tuple[int, int]
    step: tuple[int, int]
    first: tuple[int, int]
    picture: tuple[int, int]
    places: tuple[int, int]

    def window(self, row: int, column: int) -> tuple[slice, slice]:
        """Return the rows and columns of the picture that the neuron at a place of the map sees, padding left out.

        Raises:
            NotFoundError: The map has no such place.
        """
        if not (0 <= row < self.places[0] and 0 <= column < self.places[1]):
            raise NotFoundError(
                f"there is no place ({row}, {column}): {self.layer} has {self.places[0]} × {self.places[1]} places",
                where=f"layer {self.layer}",
            )
        first, second = (
            slice(max(start, 0), max(min(start + size, pixels), 0))
            for start, size, pixels in zip(self.start(row, column), self.size, self.picture, strict=True)
        )
        return first, second

    def start(self, row: int, column: int) -> tuple[int, int]:
        """Return the row and column of the window's first pixel for a place; outside the picture where padding is."""
        return self.first[0] + row * self.step[0], self.first[1] + column * self.step[1]

    @property
    def words(self) -> str:
        """Size and step in words."""
        moved = f"{self.step[0]}" if self.step[0] == self.step[1] else f"{self.step[0]} down and {self.step[1]} right"
        last = self.start(self.places[0] - 1, self.places[1] - 1)
        ends = (last[0] + self.size[0], last[1] + self.size[1])
        padded = min(self.first) < 0 or ends[0] > self.picture[0] or ends[1] > self.picture[1]
        around = " (padding included)" if padded else ""
        return (
            f"each neuron of {self.layer} sees {self.size[0]} × {self.size[1]} pixels{around} of the picture's "
            f"{self.picture[0]} × {self.picture[1]}, {moved} further for each place of its {self.places[0]} × "
            f"{self.places[1]} map"
        )


def receptive_field(network: Network, layer: str) -> ReceptiveField:
    """Return what part of the picture the neurons of a layer of maps see.

    A window of k outputs of a layer with kernel w and stride s covers (k - 1) · s + w inputs; steps multiply by s, and
    padding before the first pixel moves the window back by padding times the steps below (Araujo, Norris and Sim 2019,
    "Computing Receptive Fields of Convolutional Neural Networks", Distill, equations 2 and 5).

    Raises:
        NotFoundError: There is no such layer.
        UsageError: It is no layer of maps: its neurons have no place in the picture.
    """
    found = network[layer]
    used = network.layers[: network.layers.index(found) + 1]
    for one in used:
        if not isinstance(one, (*_WINDOWS, *_IN_PLACE)) or len(one.output_shape) < 2:
            raise UsageError(
                f"{layer!r} is no layer of maps: {one.name!r} ({type(one).__name__}) looks at all places at once, so "
                "its neurons see the whole picture",
                where="argument layer",
            )
    size, step, first = [1, 1], [1, 1], [0, 0]
    picture, places = network.input_shape[:2], (0, 0)
    for position, one in enumerate(used):
        if isinstance(one, _WINDOWS):
            axes: tuple[Axis, Axis] = one.axes(one.input_shape)
            if position == next(i for i, layer in enumerate(used) if isinstance(layer, _WINDOWS)):
                picture = (axes[0].size, axes[1].size)
            for i, axis in enumerate(axes):
                size[i] += (axis.window - 1) * step[i]
                first[i] -= axis.before * step[i]
                step[i] *= axis.stride
            places = (axes[0].places, axes[1].places)
    if not places[0]:
        raise UsageError(f"{layer!r} looks through no window: each value stays at its place", where="argument layer")
    return ReceptiveField(
        found.name, (size[0], size[1]), (step[0], step[1]), (first[0], first[1]), (picture[0], picture[1]), places
    )


def is_map(layer: Layer) -> bool:
    """Return whether the neurons of a layer have a place in the picture."""
    return isinstance(layer, _WINDOWS)


def channels_of(layer: Layer) -> tuple[int, str]:
    """Return how many maps a layer of maps has, and its data format."""
    data_format = getattr(layer, "data_format", "channels_last")
    return picture_shape(layer.output_shape, data_format)[2], data_format
