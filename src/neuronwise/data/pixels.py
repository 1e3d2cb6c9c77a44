"""Images in memory, and how they become feature vectors: one input per pixel, 0 to 1.

`ImageData` is what every reader of images returns; `PixelEncoder` is for images what the table encoder is for
tables: it turns raw values into the network's inputs, keeps a name for each, and is saved as JSON.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import DataError, FormatError

_COLOURS = ("red", "green", "blue")
_MAX_INPUTS = 2**28
_WHERE = "pixel encoder"


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images with their labels, and where they came from.

    Attributes:
        images: Array (n, h, w) for grey or (n, h, w, channels), uint8 or floating.
        labels: Class of each image, int64 (n,), indices into `class_names`; None where none are known.
        class_names: One name per class; empty without labels.
        test_images: The official test split, shaped like `images`; None where the data has none.
        test_labels: Its labels, int64; None without a test split or without labels.
        name: Short name: ``"mnist"``, ``"digits"``, or that of the file or folder.
        source: Where the data was read from, in words.
        maximum: The value of a fully bright pixel: 255, for scikit-learn's digits 16, for fractions 1.
        notes: What was decided or left out while reading, one sentence each, for the user.
        image_names: One name (a path relative to the source) per image of `images`; empty unless read from pictures.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    class_names: list[str] = field(default_factory=list)
    test_images: NDArray[Any] | None = None
    test_labels: NDArray[np.int64] | None = None
    name: str = "images"
    source: str = ""
    maximum: float = 255.0
    notes: list[str] = field(default_factory=list)
    image_names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check_stack(self.images, "images")
        _check_labels(self.labels, len(self.images), self.class_names, "labels")
        if self.test_images is not None:
            _check_stack(self.test_images, "test_images")
            if self.test_images.shape[1:] != self.images.shape[1:]:
                raise DataError(
                    f"the test images are {shape_words(self.test_images.shape[1:])}, "
                    f"the training images {shape_words(self.images.shape[1:])}",
                    where=self.source or None,
                )
            _check_labels(self.test_labels, len(self.test_images), self.class_names, "test_labels")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        test = "" if self.test_images is None else f", {len(self.test_images):,} for the test"
        classes = f"{len(self.class_names)} classes" if self.labels is not None else "no labels"
        size = shape_words(self.image_shape)
        return f"ImageData({self.name!r}: {len(self):,} images of {size}{test}, {classes})"

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return the shape of one image: (h, w) or (h, w, channels)."""
        return tuple(self.images.shape[1:])

    @cached_property
    def fingerprint(self) -> str:
        """Return the sha256 (hex) of all images and labels with their shapes, types and class names."""
        digest = hashlib.sha256(repr((self.class_names, self.maximum)).encode())
        for array in (self.images, self.labels, self.test_images, self.test_labels):
            if array is None:
                digest.update(b"none;")
            else:
                little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                digest.update(f"{little.dtype.str}{little.shape};".encode())
                digest.update(little.data)
        return digest.hexdigest()

    def encoder(self) -> PixelEncoder:
        """Return the encoder that fits these images."""
        return PixelEncoder(self.image_shape, self.maximum)


@dataclass(frozen=True)
class PixelEncoder:
    """Images become feature vectors: every pixel, row by row, divided by the value of a fully bright one.

    Args:
        input_shape: (h, w), or (h, w, channels).
        maximum: The value that becomes 1; default 255.

    Raises:
        DataError: A size below 1, more than 2^28 inputs, or a maximum that is not positive and finite.
    """

    input_shape: tuple[int, ...]
    maximum: float = 255.0

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.input_shape)
        if len(shape) not in (2, 3) or min(shape) < 1 or math.prod(shape) > _MAX_INPUTS:
            raise DataError(
                f"input_shape is (h, w) or (h, w, channels), each at least 1, not {tuple(self.input_shape)}",
                where="argument input_shape",
            )
        if not (math.isfinite(self.maximum) and self.maximum > 0):
            raise DataError(f"maximum is a positive number, not {self.maximum}", where="argument maximum")
        object.__setattr__(self, "input_shape", shape)
        object.__setattr__(self, "maximum", float(self.maximum))

    @property
    def n_inputs(self) -> int:
        """Return the number of inputs, h × w × channels."""
        return math.prod(self.input_shape)

    @cached_property
    def input_names(self) -> list[str]:
        """Return one name per input: ``"pixel (3, 12)"``, with channels ``"pixel (3, 12) red"``."""
        height, width, *rest = self.input_shape
        ends = [""]
        if rest:
            channels = rest[0]
            ends = [f" {_COLOURS[c]}" if channels == 3 else f" channel {c}" for c in range(channels)]
        return [f"pixel ({row}, {col}){end}" for row in range(height) for col in range(width) for end in ends]

    def transform(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return the images as rows of numbers, float32 (n, h*w*channels), C-contiguous.

        Values from 0 to `maximum` become 0 to 1; values outside are scaled alike and not clipped (`check`
        tells them).

        Args:
            images: Array (n, *input_shape); one channel may be left out or given.

        Raises:
            DataError: Another shape, no numbers, NaN or infinity.
        """
        images = self._fitting(images)
        flat = images.reshape(len(images), self.n_inputs)
        # float64 is divided before it is rounded: casting first would round twice.
        dtype = np.float64 if flat.dtype.itemsize > 4 else np.float32
        quotient = np.divide(flat, dtype(self.maximum), dtype=dtype)
        return np.ascontiguousarray(quotient, dtype=np.float32)

    def inverse_transform(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Return inputs (n, h*w*channels) as images (n, *input_shape) in original units, float32.

        Raises:
            DataError: `x` has another number of columns.
        """
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != self.n_inputs:
            raise DataError(f"inputs of shape (n, {self.n_inputs}) expected, {x.shape} found")
        return (x * np.float32(self.maximum)).astype(np.float32, copy=False).reshape(len(x), *self.input_shape)

    def check(self, images: NDArray[Any]) -> list[str]:
        """Return what is unusual in these images: values outside 0 to `maximum`, or a range hardly used.

        Raises:
            DataError: As `transform`: another shape, no numbers, NaN or infinity.
        """
        images = self._fitting(images)
        found: list[str] = []
        if not images.size:
            return found
        low, high = float(images.min()), float(images.max())
        if low < 0 or high > self.maximum:
            outside = (images < 0) | (images > self.maximum)
            rows = int(outside.reshape(len(images), -1).any(axis=1).sum())
            found.append(
                f"{int(outside.sum()):,} pixel values in {rows:,} of {len(images):,} images lie outside "
                f"0 to {self.maximum:g} (they run from {low:g} to {high:g}), the range the network learned on"
            )
        elif 0 < high <= 1 < self.maximum:
            found.append(
                f"all pixel values lie between {low:g} and {high:g}, where 0 to {self.maximum:g} is expected: "
                f"nearly black. Were they scaled before? Multiply them by {self.maximum:g}"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {"kind": "pixels", "input_shape": list(self.input_shape), "maximum": self.maximum}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PixelEncoder:
        """Return the encoder that `to_dict` described.

        Raises:
            FormatError: Anything but what `to_dict` writes.
        """
        if not isinstance(content, Mapping) or content.get("kind") != "pixels":
            raise FormatError("this describes no pixel encoder: 'kind' is not 'pixels'", where=_WHERE)
        if wrong := set(content) ^ {"kind", "input_shape", "maximum"}:
            raise FormatError(f"missing or unknown: {', '.join(sorted(map(str, wrong)))}", where=_WHERE)
        shape, maximum = content["input_shape"], content["maximum"]
        if not isinstance(shape, list | tuple) or not all(type(size) is int for size in shape):
            raise FormatError(f"input_shape is a list of whole numbers, not {shape!r:.80}", where=_WHERE)
        if type(maximum) not in (int, float):
            raise FormatError(f"maximum is a number, not {maximum!r:.80}", where=_WHERE)
        try:
            return cls(tuple(shape), float(maximum))
        except (DataError, OverflowError) as error:
            raise FormatError(getattr(error, "message", str(error)), where=_WHERE) from None

    def _fitting(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return `images` as a numeric array (n, *input_shape), or raise."""
        images = np.asarray(images)
        if images.dtype.kind not in "buif":
            raise DataError(f"pixel values are numbers, not {images.dtype}")
        one_channel = self.input_shape[2:] in ((), (1,))
        if one_channel and images.ndim == 4 and images.shape[3] == 1:
            images = images[..., 0]
        expected = self.input_shape[:2] if one_channel else self.input_shape
        if images.ndim != len(expected) + 1 or images.shape[1:] != expected:
            found = shape_words(images.shape[1:]) if images.ndim in (3, 4) else f"shape {images.shape}"
            raise DataError(
                f"images of {shape_words(expected)} expected, {found} found",
                hint=f"Pass an array of shape (n, {', '.join(map(str, expected))})"
                + (": one image alone is images[None]." if images.shape == expected else "."),
            )
        if images.dtype.kind == "f":
            check_finite_images(images)
        return images


def check_finite_images(images: NDArray[Any], where: str | None = None) -> None:
    """Raise DataError, with the count and the first place, if any pixel is NaN or infinite."""
    bad = ~np.isfinite(images)
    if bad.any():
        first = np.unravel_index(int(bad.argmax()), bad.shape)
        place = ", ".join(str(int(index)) for index in first[1:])
        raise DataError(
            f"{int(bad.sum()):,} pixel values are NaN or infinite, the first in image {int(first[0])} at ({place})",
            where=where,
        )


def shape_words(shape: tuple[int, ...]) -> str:
    """Return an image's shape in words: ``"28 × 28 pixels"``, ``"300 × 451 pixels in 3 channels"``."""
    words = " × ".join(str(size) for size in shape[:2]) + " pixels"
    return f"{words} in {shape[2]} channels" if len(shape) == 3 and shape[2] != 1 else words


def _check_stack(images: NDArray[Any], what: str) -> None:
    if images.ndim not in (3, 4) or images.dtype.kind not in "uf":
        raise DataError(
            f"{what} is an unsigned or floating array (n, h, w) or (n, h, w, channels), "
            f"not {images.dtype} of shape {images.shape}",
            where=f"argument {what}",
        )
    if 0 in images.shape:
        raise DataError(f"no images: the array has shape {images.shape}", where=f"argument {what}")


def _check_labels(labels: NDArray[np.int64] | None, n: int, class_names: list[str], what: str) -> None:
    if labels is None:
        return
    if labels.shape != (n,) or labels.dtype != np.int64:
        raise DataError(
            f"{what} is an int64 array of shape ({n},), not {labels.dtype} of shape {labels.shape}",
            where=f"argument {what}",
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise DataError(
            f"{what} run from {labels.min()} to {labels.max()}, but there are {len(class_names)} class names",
            where=f"argument {what}",
        )
