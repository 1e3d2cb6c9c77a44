"""Pooling: a picture made smaller by the largest or the mean of each window."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from neuronwise.errors import UsageError
from neuronwise.network.buffers import empty_buffer
from neuronwise.network.layers.base import Array, Layer, Pass, Shape
from neuronwise.network.layers.images import (
    BAND_BYTES,
    DATA_FORMAT_PROPERTY,
    Axis,
    Pair,
    PlaceNames,
    batch_first,
    check_data_format,
    check_pair,
    check_picture,
    does_not_fit,
    even_size,
    output_shape,
    pair_property,
    picture_shape,
    rows_first,
)

# Memory to fill, whether some windows reach into padding, and for each pixel of the window where it goes and lies.
_Reduction = tuple[Array, bool, list[tuple[Array, Array]]]
# For one pixel of the window: the places in a band of a, the pixels of x, and those of dx.
_Tap = tuple[tuple[slice, slice, slice], Array, Array]


class _Pool2D(Layer):
    """What both poolings share."""

    prefix = "pool"
    properties: ClassVar[dict[str, dict[str, Any]]] = {
        "pool_size": pair_property(1, "rows and columns of a window"),
        "stride": pair_property(1, "pixels by which the window moves; null: its size", null=True),
        "padding": pair_property(0, "pixels added on each side, at most half a window"),
        "data_format": DATA_FORMAT_PROPERTY,
    }

    def __init__(
        self,
        pool_size: int | Pair | list[int] = 2,
        *,
        stride: int | Pair | list[int] | None = None,
        padding: int | Pair | list[int] = 0,
        data_format: str = "channels_last",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.pool_size = check_pair(pool_size, 1, "pool_size")
        self.stride = self.pool_size if stride is None else check_pair(stride, 1, "stride")
        self.padding = check_pair(padding, 0, "padding")
        self.data_format = check_data_format(data_format)
        if any(2 * amount > size for amount, size in zip(self.padding, self.pool_size, strict=True)):
            raise UsageError(
                f"at most half a window of {_by(self.pool_size)} can be padding, got {_by(self.padding)}",
                where="argument padding",
            )

    def _output_shape(self, input_shape: Shape) -> Shape:
        check_picture(input_shape, type(self).__name__, self.name)
        rows, columns = self.axes(input_shape)
        if rows.places < 1 or columns.places < 1:
            around = f", with padding {_by(self.padding)}" if any(self.padding) else ""
            window = f"a window of {_by(self.pool_size)}"
            raise does_not_fit(window, input_shape, self.data_format, around, self.name)
        if len(input_shape) == 2:
            return rows.places, columns.places
        channels = picture_shape(input_shape, self.data_format)[2]
        return output_shape(rows.places, columns.places, channels, self.data_format)

    def axes(self, input_shape: Shape) -> tuple[Axis, Axis]:
        """Return how the window moves along rows and columns."""
        sizes = picture_shape(input_shape, self.data_format)[:2]
        rows, columns = (
            Axis.padded(*one) for one in zip(sizes, self.pool_size, self.stride, self.padding, strict=True)
        )
        return rows, columns

    def unit_names(self) -> PlaceNames:
        """``pool1[7] @ (3, 4)``: channel, row and column of each output, in the order of the output's axes."""
        return PlaceNames(self.name, self.output_shape, self.data_format)

    def algebra(self) -> str:
        """What is taken of each window."""
        rows, columns, channels = picture_shape(self.input_shape, self.data_format)
        moved = "" if self.stride == self.pool_size else f", stride {_by(self.stride)}"
        if any(self.padding):
            moved += f", padding {_by(self.padding)}"
        what = f"{self._word} of each {_by(self.pool_size)} window"
        return f"a = {what} of {rows} × {columns} × {channels}{moved}"

    _word: ClassVar[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_by(self.pool_size)})"


class MaxPool2D(_Pool2D):
    """The largest value of each window, channel by channel; no parameters.

    NaN counts as larger than any number, as in torch. The gradient goes to the largest value of the window, to the
    first one (row by row) where several are equal, as in torch; of a window with NaN to one value at most, whichever.

    Args:
        pool_size: Rows and columns of a window; one number means both.
        stride: Pixels by which it moves; default its size.
        padding: Pixels added on each side, at most half a window; they are never the largest.
        data_format: ``"channels_last"``, (rows, columns, channels), or ``"channels_first"``. An input (rows, columns)
            has one channel, and so has the output.
        name: Default ``pool1`` …

    Rows and columns at the end that fill no window are left out.
    """

    _word = "largest"

    def start(self, x: Array, gradients: dict[str, Array] | None, *, training: bool = False) -> MaxPool2DPass:
        """See `Layer.start`; pooling is the same in training."""
        return MaxPool2DPass(self, x, gradients)


class AveragePool2D(_Pool2D):
    """The mean of each window, channel by channel; no parameters.

    Padding counts as zeros in the mean (`count_include_pad=True`, torch's default; Keras leaves it out).

    Args:
        pool_size: Rows and columns of a window; one number means both.
        stride: Pixels by which it moves; default its size.
        padding: Zeros added on each side, at most half a window.
        data_format: ``"channels_last"``, (rows, columns, channels), or ``"channels_first"``. An input (rows, columns)
            has one channel, and so has the output.
        name: Default ``pool1`` …

    Rows and columns at the end that fill no window are left out.
    """

    _word = "mean"

    def start(self, x: Array, gradients: dict[str, Array] | None, *, training: bool = False) -> AveragePool2DPass:
        """See `Layer.start`; pooling is the same in training."""
        return AveragePool2DPass(self, x, gradients)


class _Pool2DPass(Pass):
    """A pooling layer at work, by bands of output rows."""

    layer: _Pool2D
    _ufunc: ClassVar[np.ufunc]
    _neutral: ClassVar[float]

    def __init__(self, layer: _Pool2D, x: Array, gradients: dict[str, Array] | None) -> None:
        self.layer, self.x = layer, x
        self.z = self.delta = None
        rows, columns = self._rows, self._columns = layer.axes(layer.input_shape)
        self._x = rows_first(x, layer.data_format)
        _, channels, width, m = self._x.shape
        self._a = empty_buffer((rows.places, channels, columns.places, m), x.dtype)
        self.a = batch_first(self._a, layer.data_format, x.ndim - 1)
        row_bytes = max(self._x[0].nbytes * rows.stride + self._a[0].nbytes, 1)
        per_band = even_size(rows.places, BAND_BYTES // (2 * row_bytes))
        starts = range(0, rows.places, per_band)
        self._bands = [slice(start, min(start + per_band, rows.places)) for start in starts]
        self._half = empty_buffer((per_band, channels, width, m), x.dtype)
        self._reductions = [self._plan_reductions(band) for band in self._bands]
        self._dx: Array | None = None
        if gradients is not None:
            self._da = empty_buffer(self._a.shape, x.dtype)
            self.da = batch_first(self._da, layer.data_format, x.ndim - 1)
            self._share = empty_buffer((per_band, *self._a.shape[1:]), x.dtype)

    def _plan_reductions(self, band: slice) -> list[_Reduction]:
        """Return the two reductions that fill a band of a: of rows into a part of `_half`, and of its columns."""
        half, out = self._half[: band.stop - band.start], self._a[band]
        down, across = [], []
        for offset in range(self._rows.window):
            to, of = self._rows.tap(offset, band.start, band.stop)
            if to.stop > to.start:
                down.append((half[to.start - band.start : to.stop - band.start], self._x[of]))
        for offset in range(self._columns.window):
            to, of = self._columns.tap(offset)
            if to.stop > to.start:
                across.append((out[:, :, to], half[:, :, of]))
        return [(half, self._rows.needs_padding, down), (out, self._columns.needs_padding, across)]

    def forward(self) -> None:
        """Reduce each window to one value."""
        for band in self._reductions:
            for out, padded, taps in band:
                if padded:
                    out.fill(self._neutral)
                elif len(taps) == 1:
                    np.copyto(out, taps[0][1])
                else:
                    self._ufunc(taps[0][1], taps[1][1], out=out)
                for to, values in taps if padded else taps[2:]:
                    self._ufunc(to, values, out=to)

    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """Give each window's dL/da to its pixels."""
        if dx is None:
            return
        if dx is not self._dx:
            self._dx = dx
            pixels = rows_first(dx, self.layer.data_format)
            self._taps = [self._plan_taps(band, pixels) for band in self._bands]
            self._adds = self._rows.overlaps or self._columns.overlaps
            self._clears = self._adds or not (self._rows.covers and self._columns.covers)
        if self._clears:
            dx.fill(0)
        for band, taps in zip(self._bands, self._taps, strict=True):
            self._spread(band, taps)

    def _plan_taps(self, band: slice, dx: Array) -> list[_Tap]:
        """Return, for each pixel of the window, where it lies in x and dx and, counted within the band, in a."""
        taps = []
        for i in range(self._rows.window):
            rows, x_rows = self._rows.tap(i, band.start, band.stop)
            for j in range(self._columns.window):
                columns, x_columns = self._columns.tap(j)
                if rows.stop > rows.start and columns.stop > columns.start:
                    places = slice(rows.start - band.start, rows.stop - band.start), slice(None), columns
                    pixels = x_rows, slice(None), x_columns
                    taps.append((places, self._x[pixels], dx[pixels]))
        return taps

    def _put(self, dx: Array, share: Array) -> None:
        if self._adds:
            np.add(dx, share, dx)
        else:
            np.copyto(dx, share)

    @abstractmethod
    def _spread(self, band: slice, taps: list[_Tap]) -> None:
        """Give dL/da of a band to the pixels of its windows."""


class MaxPool2DPass(_Pool2DPass):
    """A `MaxPool2D` layer at work."""

    _ufunc = np.maximum
    _neutral = -np.inf

    def __init__(self, layer: MaxPool2D, x: Array, gradients: dict[str, Array] | None) -> None:
        super().__init__(layer, x, gradients)
        if gradients is not None:
            self._rest = np.empty_like(self._share)
            self._is_largest = np.empty(self._share.shape, dtype=bool)
            self._padded = self._rows.needs_padding or self._columns.needs_padding

    def _spread(self, band: slice, taps: list[_Tap]) -> None:
        """Each pixel that is the largest of its window gets what those before it have left: all, or nothing."""
        count = band.stop - band.start
        a, rest = self._a[band], self._rest[:count]
        np.copyto(rest, self._da[band])
        for places, x, dx in taps if self._padded else taps[:-1]:
            here, share, is_largest = rest[places], self._share[places], self._is_largest[places]
            np.equal(x, a[places], is_largest)
            np.multiply(here, is_largest, share)
            np.subtract(here, share, here)
            self._put(dx, share)
        if not self._padded:  # what none of the others took is the last one's
            self._put(taps[-1][2], rest)


class AveragePool2DPass(_Pool2DPass):
    """An `AveragePool2D` layer at work."""

    _ufunc = np.add
    _neutral = 0.0

    def forward(self) -> None:
        """The sum of each window, divided."""
        super().forward()
        np.divide(self._a, math.prod(self.layer.pool_size), self._a)

    def _spread(self, band: slice, taps: list[_Tap]) -> None:
        """Each pixel gets its part of dL/da of the windows that it is in."""
        share = self._share[: band.stop - band.start]
        np.divide(self._da[band], math.prod(self.layer.pool_size), share)
        for places, _, dx in taps:
            self._put(dx, share[places])


def _by(pair: Pair) -> str:
    return f"{pair[0]} × {pair[1]}"
