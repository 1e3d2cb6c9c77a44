"""A convolution at work.

The product is that of Cho and Brand 2017 ("MEC: Memory-efficient Convolution for Deep Neural Network", section 3): the
input is laid out once for each *column* of the kernel, not once for each of its pixels. A row of the picture becomes a
matrix of (channel, kernel column) × (output column, picture), and the matrices of consecutive rows, lying below each
other in memory, are the patches of a row of outputs; those of the next row begin one row further on. So a convolution
is one matrix product for each row of outputs, and the copies are a kernel's height fewer than usual.

Work goes by bands of output rows: what one operation writes is then still in the core's cache for the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neuronwise.network.buffers import empty_buffer, zeros_buffer
from neuronwise.network.layers.base import Array, Pass
from neuronwise.network.layers.images import BAND_BYTES, Axis, batch_first, even_size, rows_first, turned_buffer

if TYPE_CHECKING:
    from neuronwise.network.layers.conv2d import Conv2D

# Bytes of the laid-out input that are kept; of a larger one a part at a time is made, and made again going backward.
_LAID_BYTES = 16_000_000
# Multiplications of one matrix product. Up to so many OpenBLAS does not first copy the matrices into its own order.
_PRODUCT = 1_000_000
# For dW, delta is turned round first where that costs less than it gains: with patches of so many numbers and fewer
# filters than that.
_TURN_FROM, _TURN_BELOW = 100, 64


@dataclass(frozen=True)
class _Band:
    """Some rows of outputs and what is done for them.

    Attributes:
        blank: Where the laid-out input is padding.
        copies: Where parts of the input are laid out.
        products: For some columns of each row the patches, (rows, K, n), and z, (rows, filters, n).
        sums: For the same columns the patches, delta (rows, n, filters) and where dW of each row goes to, (rows, K,
            filters); empty without gradients.
        rows: The rows of outputs.
    """

    blank: list[Array]
    copies: list[tuple[Array, Array]]
    products: list[tuple[Array, Array]]
    sums: list[tuple[Array, Array, Array]]
    rows: slice


class Conv2DPass(Pass):
    """A `Conv2D` layer at work.

    The bias is the weight of one more input, which is always 1: so neither it nor its gradient needs a loop of its own.
    """

    layer: Conv2D
    z: Array
    delta: Array | None

    def __init__(self, layer: Conv2D, x: Array, gradients: dict[str, Array] | None) -> None:
        self.layer, self.x = layer, x
        self._rows, self._columns = layer.axes(layer.input_shape)
        m, dtype = len(x), x.dtype
        self._x = rows_first(x, layer.data_format)
        self._turned = turned_buffer(self._x)
        shape = self._rows.places, layer.filters, self._columns.places, m
        self._z, self._a = empty_buffer(shape, dtype), empty_buffer(shape, dtype)
        self.z, self.a = batch_first(self._z, layer.data_format), batch_first(self._a, layer.data_format)
        # A row laid out: for each channel and each column of the kernel the pixels under it, and at last the ones.
        self._depth = layer.channels * self._columns.window + 1
        self._weights = zeros_buffer((layer.filters, self._rows.window, self._depth), dtype)
        self.delta = None
        self._trains = gradients is not None
        if gradients is not None:
            self._dW, self._db = gradients["W"], gradients["b"]
            self._delta = empty_buffer(shape, dtype)
            self.delta = self.da = batch_first(self._delta, layer.data_format)
            self._total = empty_buffer((self._rows.window, self._depth, layer.filters), dtype)
            self._part = np.empty_like(self._total)
            self._turns = self._weights[0].size >= _TURN_FROM and layer.filters < _TURN_BELOW
        self._plan(m, dtype)
        self._down: _Downward | None = None

    def _plan(self, m: int, dtype: np.dtype[Any]) -> None:
        """Allocate the laid-out input and part the work into bands."""
        rows, n, item = self._rows, self._columns.places * m, dtype.itemsize
        row_bytes = max(self._depth * n * item, 1)
        per_laying = even_size(rows.places, (_LAID_BYTES // row_bytes - rows.window) // rows.stride + 1)
        self._lays_again = per_laying < rows.places
        band_bytes = max(n * item * (4 * self.layer.filters + self._depth * rows.stride), 1)
        per_band = even_size(per_laying, BAND_BYTES // band_bytes)
        self._laid = laid = zeros_buffer(
            ((per_laying - 1) * rows.stride + rows.window, self._depth, self._columns.places, m), dtype
        )
        laid[:, -1] = 1
        parts = column_parts(n, self._weights.size)
        if self._trains:
            self._sums = empty_buffer((len(parts), per_band, rows.window * self._depth, self.layer.filters), dtype)
            self._scratch = empty_buffer((per_band, *self._z.shape[1:]), dtype)
            if self._turns:
                self._delta_T = empty_buffer((per_band, n, self.layer.filters), dtype)
        self._bands = []
        for first in range(0, rows.places, per_laying):
            last = min(first + per_laying, rows.places)
            for start in range(first, last, per_band):
                out = slice(start, min(start + per_band, last))
                self._bands.append(self._plan_band(laid, first, out, parts))

    def _plan_band(self, laid: Array, first: int, out: slice, parts: list[slice]) -> _Band:
        """Return the band of the output rows `out`, when output row `first` is the first in the laid-out input."""
        layer, rows, columns = self.layer, self._rows, self._columns
        x = self._x if self._turned is None else self._turned
        patches = laid[:, :-1].reshape(len(laid), layer.channels, columns.window, *laid.shape[2:])
        top = first * rows.stride - rows.before  # the row of the picture that is laid out first
        # The rows of the picture which no earlier band has laid out.
        begin = top if out.start == first else top + (out.start - first - 1) * rows.stride + rows.window
        end = top + (out.stop - first - 1) * rows.stride + rows.window
        low = min(max(begin, 0), end)
        high = max(min(end, rows.size), low)
        blank, copies = [], []
        if self._lays_again:
            blank = [patches[begin - top : low - top], patches[high - top : end - top]]
        if high > low:
            copies = _layings(columns, x[low:high], patches[low - top : high - top])
        n, count = laid[0, 0].size, out.stop - out.start
        K, shape = rows.window * self._depth, (rows.places, layer.filters, n)
        every = sliding_window_view(laid.reshape(-1, n), K, axis=0)[:: rows.stride * self._depth].transpose(0, 2, 1)
        every = every[out.start - first : out.stop - first]
        z = self._z.reshape(shape)[out]
        products = [(every[:, :, part], z[:, :, part]) for part in parts]
        sums = []
        if self._trains:
            delta = self._delta_T[:count] if self._turns else self._delta.reshape(shape)[out].transpose(0, 2, 1)
            sums = [(every[:, :, part], delta[:, part], self._sums[i, :count]) for i, part in enumerate(parts)]
        return _Band(blank, copies, products, sums, out)

    def _lay_out(self, band: _Band) -> None:
        for there in band.blank:
            there.fill(0)
        for there, pixels in band.copies:
            np.copyto(there, pixels)

    def forward(self) -> None:
        """z = W ⋆ x + b, a = f(z)."""
        layer, weights = self.layer, self._weights
        by_channel = weights[:, :, :-1].reshape(*weights.shape[:2], layer.channels, -1)
        np.copyto(by_channel, layer.W.transpose(0, 2, 1, 3))
        weights[:, 0, -1] = layer.b
        W = weights.reshape(layer.filters, -1)
        if self._turned is not None:
            np.copyto(self._turned, self._x)
        for band in self._bands:
            self._lay_out(band)
            for patches, z in band.products:
                np.matmul(W, patches, z)
            layer.activation.forward(self._z[band.rows], self._a[band.rows])

    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """delta = dL/da · f'(z), dW and db the sums of delta times patch, dL/dx the sum of delta times weights."""
        layer, delta, total = self.layer, self._delta, self._total
        out = total
        for band in self._bands:
            rows = band.rows
            count = rows.stop - rows.start
            if not from_logits:
                layer.activation.backward(delta[rows], self._z[rows], self._a[rows], self._scratch[:count])
            if self._lays_again:
                self._lay_out(band)
            if self._turns:
                np.copyto(self._delta_T[:count], delta[rows].reshape(count, layer.filters, -1).transpose(0, 2, 1))
            for patches, delta_T, sums in band.sums:
                np.matmul(patches, delta_T, sums)
            np.add.reduce(self._sums[:, :count], axis=(0, 1), out=out.reshape(-1, layer.filters))
            if out is not total:
                np.add(total, out, total)
            out = self._part
        by_channel = total[:, :-1].reshape(self._rows.window, layer.channels, -1, layer.filters)
        np.copyto(self._dW, by_channel.transpose(3, 1, 0, 2))
        np.copyto(self._db, total[0, -1])
        if dx is not None:
            if self._down is None or self._down.dx is not dx:
                self._down = _Downward(layer, delta, dx)
            self._down.run()


class _Downward:
    """The way of a convolution's gradient down to one buffer, `dx`.

    For each row of the picture, delta of the output rows that saw it times their weights gives the gradient for each
    column of the kernel; those are then added where they belong.
    """

    def __init__(self, layer: Conv2D, delta: Array, dx: Array) -> None:
        self.layer, self.dx = layer, dx
        self._target = rows_first(dx, layer.data_format)
        self._turned = turned_buffer(self._target)
        self._rows, self._columns = layer.axes(layer.input_shape)
        rows, columns, channels = self._rows, self._columns, layer.channels
        n, depth = delta[0, 0].size, channels * columns.window
        # Which rows of the kernel can lie on a row of the picture depends on its remainder by the stride; from the last
        # one upward, because then the output rows that they belong to go downward, as they lie in memory.
        self._weights = [
            empty_buffer(
                (channels, columns.window, len(range(start, rows.window, rows.stride)), layer.filters), dx.dtype
            )
            for start in range(min(rows.stride, rows.window))
        ]
        per_band = even_size(rows.size, BAND_BYTES // 2 // max(depth * n * dx.itemsize, 1))
        work = empty_buffer((per_band, depth, n), dx.dtype)
        by_channel = work.reshape(per_band, channels, columns.window, columns.places, len(dx))
        target = self._target if self._turned is None else self._turned
        flat = delta.reshape(-1, n)
        self._bands = []
        for start in range(0, rows.size, per_band):
            stop = min(start + per_band, rows.size)
            products = [self._plan_row(row, flat, work[row - start]) for row in range(start, stop)]
            self._bands.append((products, *self._plan_columns(target[start:stop], by_channel[: stop - start])))

    def _plan_row(self, row: int, delta: Array, out: Array) -> tuple[Array, list[tuple[Array, Array, Array]]]:
        """Return the room for one row of the picture and the products that fill it; none if no output saw the row."""
        rows, filters = self._rows, self.layer.filters
        place = row + rows.before
        lowest = max(-((rows.window - 1 - place) // rows.stride), 0)  # the first output row that saw it
        highest = min(place // rows.stride, rows.places - 1)
        if highest < lowest:
            return out, []
        weights = self._weights[place % rows.stride]
        # Counted from the last kernel row of this remainder upward.
        first = weights.shape[2] - 1 - (place // rows.stride - lowest)
        used = slice(first * filters, (first + highest - lowest + 1) * filters)
        W = weights.reshape(len(out), -1)[:, used]
        seen = delta[lowest * filters : (highest + 1) * filters]
        return out, [(W, seen[:, part], out[:, part]) for part in column_parts(seen.shape[1], W.size)]

    def _plan_columns(self, target: Array, values: Array) -> tuple[list[Array], list[tuple[Array, Array]], int]:
        """Return which pixels to clear, which values go where, and how many of those are not added but copied."""
        columns, copied = self._columns, 0
        taps: list[tuple[Array, Array]] = []
        clear = [target]
        offsets = list(range(columns.window))
        if columns.stride == 1:  # one column of the kernel may well fill most of the picture: it is the first
            offsets.insert(0, offsets.pop(min(columns.before, columns.window - 1)))
        for offset in offsets:
            places, pixels = columns.tap(offset)
            if places.stop > places.start:
                if columns.stride == 1 and not taps:
                    clear, copied = [target[:, :, : pixels.start], target[:, :, pixels.stop :]], 1
                taps.append((target[:, :, pixels], values[:, :, offset, places]))
        return clear, taps, copied

    def run(self) -> None:
        """Fill dx."""
        for start, weights in enumerate(self._weights):
            W = self.layer.W[:, :, start :: self._rows.stride]
            np.copyto(weights, W[:, :, ::-1].transpose(1, 3, 2, 0))
        for products, clear, taps, copied in self._bands:
            for row, parts in products:
                if not parts:
                    row.fill(0)
                for weights, delta, out in parts:
                    np.matmul(weights, delta, out)
            for pixels in clear:
                pixels.fill(0)
            for pixels, values in taps[:copied]:
                np.copyto(pixels, values)
            for pixels, values in taps[copied:]:
                np.add(pixels, values, pixels)
        if self._turned is not None:
            np.copyto(self._target, self._turned)


def _layings(columns: Axis, x: Array, patches: Array) -> list[tuple[Array, Array]]:
    """Return where to lay out rows of the picture (rows, channels, columns, batch), and the parts of it."""
    if not columns.needs_padding:
        windows = sliding_window_view(x, columns.window, axis=2)[
            :, :, : columns.places * columns.stride : columns.stride
        ]
        return [(patches, windows.transpose(0, 1, 4, 2, 3))]
    copies = []
    for offset in range(columns.window):
        places, pixels = columns.tap(offset)
        if places.stop > places.start:
            copies.append((patches[:, :, offset, places], x[:, :, pixels]))
    return copies


def column_parts(n: int, size: int) -> list[slice]:
    """Return slices of n columns, evenly and in multiples of 16, for products with a matrix of that size."""
    largest = _PRODUCT // size
    if largest < 64 or n <= largest:  # thinner parts would cost more than they save
        return [slice(0, n)]
    width = -(-even_size(n, largest) // 16) * 16
    return [slice(start, min(start + width, n)) for start in range(0, n, width)]
