"""What the layers on pictures share: data formats, the places at which windows stand, names, the layout of memory.

A batch of pictures lies in memory as (rows, channels, columns, batch), whatever the data format: so the same pixel of
all pictures is one run of memory, at which NumPy's loops are fast even where a window moves by single pixels. Users see
views of it, (batch, rows, columns, channels) or (batch, channels, rows, columns).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np

from neuronwise.errors import UsageError, did_you_mean
from neuronwise.network.buffers import empty_buffer
from neuronwise.network.layers.base import Array, Shape

DATA_FORMATS: Final = ("channels_last", "channels_first")
DATA_FORMAT_PROPERTY: Final[dict[str, Any]] = {
    "type": "string",
    "enum": list(DATA_FORMATS),
    "description": "pictures are (rows, columns, channels) or (channels, rows, columns)",
}

# Bytes that one band of rows reads and writes: half of what the second-level cache of a present core holds. What one
# operation writes is then still there for the next.
BAND_BYTES = 1_000_000

Pair = tuple[int, int]


def pair_property(minimum: int, description: str, *, null: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of a whole number, or of two: for rows and for columns."""
    whole = {"type": "integer", "minimum": minimum}
    return {
        "type": ["integer", "array", *(["null"] if null else [])],
        "minimum": minimum,
        "items": whole,
        "minItems": 2,
        "maxItems": 2,
        "description": description,
    }


def check_data_format(value: Any) -> str:
    """Return the data format, or raise UsageError."""
    if not isinstance(value, str) or value not in DATA_FORMATS:
        raise UsageError(
            f"expected {' or '.join(map(repr, DATA_FORMATS))}, got {value!r:.100}."
            f"{did_you_mean(str(value)[:100], DATA_FORMATS)}",
            where="argument data_format",
        )
    return value


def check_pair(value: Any, minimum: int, argument: str) -> Pair:
    """Return (rows, columns) from a whole number, which counts for both, or from two; or raise UsageError."""
    both = [value, value] if isinstance(value, (int, np.integer)) else value
    valid = isinstance(both, (list, tuple, np.ndarray)) and len(both) == 2
    if not valid or not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, (bool, np.bool_)) and n >= minimum for n in both
    ):
        raise UsageError(
            f"expected a whole number from {minimum}, or two of them for rows and columns, got {value!r:.100}",
            where=f"argument {argument}",
        )
    return int(both[0]), int(both[1])


def picture_shape(input_shape: Shape, data_format: str) -> tuple[int, int, int]:
    """Return rows, columns and channels of an input; one of two axes has one channel."""
    if len(input_shape) == 2:
        return input_shape[0], input_shape[1], 1
    if data_format == "channels_last":
        return input_shape[0], input_shape[1], input_shape[2]
    return input_shape[1], input_shape[2], input_shape[0]


def output_shape(rows: int, columns: int, channels: int, data_format: str) -> Shape:
    """Return the shape of a picture in the data format."""
    return (rows, columns, channels) if data_format == "channels_last" else (channels, rows, columns)


@dataclass(frozen=True)
class Axis:
    """How a window moves along one axis of a picture.

    Attributes:
        size: Pixels.
        window: Pixels of the window.
        stride: Pixels by which it moves.
        before: Padding before the first pixel.
        places: How many places it stands at, the number of outputs.
    """

    size: int
    window: int
    stride: int
    before: int
    places: int

    @classmethod
    def padded(cls, size: int, window: int, stride: int, padding: int) -> Axis:
        """Return the axis with as much padding on both sides; what fills no window is left out. Places may be < 1."""
        return cls(size, window, stride, padding, (size + 2 * padding - window) // stride + 1)

    @classmethod
    def same(cls, size: int, window: int, stride: int) -> Axis:
        """Return the axis with ⌈size / stride⌉ places; an odd pixel of padding comes after the last one."""
        places = -(-size // stride)
        return cls(size, window, stride, max((places - 1) * stride + window - size, 0) // 2, places)

    def tap(self, offset: int, start: int = 0, stop: int | None = None) -> tuple[slice, slice]:
        """Return the places at which this pixel of the window lies on the picture, and the pixels that it lies on.

        Only places from `start` to before `stop` are looked at; both slices are empty where there is none.
        """
        first = max(-((offset - self.before) // self.stride), start)
        last = min((self.size - 1 + self.before - offset) // self.stride, (self.places if stop is None else stop) - 1)
        if last < first:
            return slice(0, 0), slice(0, 0)
        pixel = first * self.stride + offset - self.before
        return slice(first, last + 1), slice(pixel, pixel + (last - first) * self.stride + 1, self.stride)

    @property
    def needs_padding(self) -> bool:
        """Whether a window reaches beyond the picture."""
        return self.before > 0 or (self.places - 1) * self.stride + self.window > self.size + self.before

    @property
    def overlaps(self) -> bool:
        """Whether a pixel may lie in more than one window."""
        return self.stride < self.window and self.places > 1

    @property
    def covers(self) -> bool:
        """Whether every pixel surely lies in a window."""
        reach = (self.places - 1) * self.stride + self.window - self.before
        return reach >= self.size and (self.stride <= self.window or self.places == 1)


def check_picture(input_shape: Shape, kind: str, name: str) -> None:
    """Raise UsageError unless the input has the axes of a picture."""
    if len(input_shape) not in (2, 3):
        vector = len(input_shape) == 1
        raise UsageError(
            f"{kind} takes a picture, (rows, columns, channels) or (rows, columns), but its input has shape "
            f"{input_shape}",
            where=f"layer {name}",
            hint="give the network the shape of the picture, such as input_shape=(28, 28), and Flatten() only after it"
            if vector
            else None,
        )


def does_not_fit(what: str, input_shape: Shape, data_format: str, padding: str, name: str) -> UsageError:
    """Return the error for a window larger than the picture, with the likeliest mend."""
    rows, columns, channels = picture_shape(input_shape, data_format)
    read = f"{rows} × {columns} pixels"
    hint = "take a smaller one, or padding"
    if len(input_shape) == 3:
        other = DATA_FORMATS[1 - DATA_FORMATS.index(data_format)]
        read += f" with {channels} {'channel' if channels == 1 else 'channels'} ({data_format})"
        if min(picture_shape(input_shape, other)[:2]) > min(rows, columns):
            hint = f'if {channels} is no number of channels, pass data_format="{other}"'
    return UsageError(
        f"{what} does not fit into its input of shape {input_shape}: {read}{padding}", where=f"layer {name}", hint=hint
    )


def rows_first(x: Array, data_format: str) -> Array:
    """Return a batch as a view (rows, channels, columns, batch)."""
    if x.ndim == 3:
        return x.transpose(1, 2, 0)[:, None]
    return x.transpose(1, 3, 2, 0) if data_format == "channels_last" else x.transpose(2, 1, 3, 0)


def batch_first(memory: Array, data_format: str, axes: int = 3) -> Array:
    """Return memory (rows, channels, columns, batch) as a view (batch, *shape of a picture of so many axes)."""
    if axes == 2:
        return memory[:, 0].transpose(2, 0, 1)
    return memory.transpose(3, 0, 2, 1) if data_format == "channels_last" else memory.transpose(3, 1, 0, 2)


def turned_buffer(x: Array) -> Array | None:
    """Return memory into which `x`, from `rows_first`, is to be copied first; None where it lies well already."""
    if x.shape[-1] == 1 or x.strides[-1] == x.itemsize:
        return None
    return empty_buffer(x.shape, x.dtype)


def even_size(count: int, largest: int) -> int:
    """Return the size, at most `largest` but at least 1, of the equal parts that `count` falls into."""
    parts = -(-count // min(max(largest, 1), count))
    return -(-count // parts)


class PlaceNames(Sequence[str]):
    """``conv1[7] @ (3, 4)`` for each output of a layer of pictures, in the order of its shape; made when asked for."""

    def __init__(self, layer: str, shape: Shape, data_format: str) -> None:
        self._layer, self._shape, self._format = layer, shape, data_format
        rows, columns, channels = picture_shape(shape, data_format)
        self._rows, self._columns, self._channels = rows, columns, channels

    def __len__(self) -> int:
        return self._rows * self._columns * self._channels

    def _name(self, index: int) -> str:
        if self._format == "channels_last":
            place, channel = divmod(index, self._channels)
        else:
            channel, place = divmod(index, self._rows * self._columns)
        row, column = divmod(place, self._columns)
        return f"{self._layer}[{channel}] @ ({row}, {column})"

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        places = range(len(self))[index]
        return [self._name(i) for i in places] if isinstance(places, range) else self._name(places)

    def __iter__(self) -> Iterator[str]:
        return map(self._name, itertools.islice(itertools.count(), len(self)))
