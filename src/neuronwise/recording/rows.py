"""What the rows of each stream hold, and the checksums that tell whether they still do.

Every row begins with its step, the attempt that wrote it and its schema, and ends with a CRC-32 for each 4,096 bytes
before. So a part of a long row, one weight of a keyframe, can be checked without reading the whole of it.
"""

from __future__ import annotations

import functools
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from neuronwise.recording.layout import Layout

BLOCK_BYTES = 4096
# NumPy counts the bytes of a structured row in a C int.
MAX_ROW_BYTES = 2**31 - 1
_ROWS_AT_ONCE = 8192
# Of rows up to this length checksums are computed many at once.
_SHORT_BYTES = 64
# Classes of a histogram.
BINS = 64

# docs/reference/quantities.md defines each. The first five are filled as one block (`statistics`).
NEURON_FIELDS = (
    "weight_norm",
    "bias",
    "grad_norm",
    "bias_grad",
    "update_norm",
    "update_ratio",
    "mean",
    "std",
    "min",
    "max",
    "inactive",
    "saturated",
    "nonfinite_weights",
    "nonfinite_gradients",
    "nonfinite_activations",
)
"""What is measured of every neuron at a frame, by name."""
HISTOGRAMS = ("W", "dW", "z", "a")
"""What the histograms of a layer are of."""

_Fields = list[Any]
_PREFIX: _Fields = [("step", "<i8"), ("attempt", "<u4"), ("schema", "<u4")]


def row_dtype(fields: _Fields) -> np.dtype[np.void]:
    """Return the row of a stream: the prefix, its own fields, and the checksums of all before them."""
    payload = np.dtype([*_PREFIX, *fields]).itemsize
    return np.dtype([*_PREFIX, *fields, ("crc", "<u4", (-(-payload // BLOCK_BYTES),))])


SCALARS_DTYPE = row_dtype([("epoch", "<i8"), ("loss", "<f8"), ("learning_rate", "<f8")])
"""One row per step."""


def keyframe_dtype(
    parameter_count: int, dtype: np.dtype[Any], buffer_count: int = 0, states: int = 0
) -> np.dtype[np.void]:
    """Return the row of a keyframe: all that decides the next step, little-endian.

    Epoch, whether it is whole (0 for weights that were put back at the end: what the optimizer remembered beside them
    is not known), all parameters as one flat field, all buffers, and what the optimizer remembers, (states,
    parameters). Fields of nothing are left out. Without room in a row (2 GiB) there are no values: such networks have
    no keyframes.
    """
    if not _fits((1 + states) * parameter_count + buffer_count, dtype):
        parameter_count, buffer_count, states = 0, 0, 0
    number = dtype.newbyteorder("<")
    fields: _Fields = [("epoch", "<i8"), ("whole", "<u4"), ("params", number, (parameter_count,))]
    if buffer_count:
        fields.append(("buffers", number, (buffer_count,)))
    if states:
        fields.append(("optimizer", number, (states, parameter_count)))
    return row_dtype(fields)


def _fits(values: int, dtype: np.dtype[Any]) -> bool:
    return 64 + values * dtype.itemsize * (1 + 8 / BLOCK_BYTES) <= MAX_ROW_BYTES


def holds_values(layout: Layout) -> bool:
    """Return whether a keyframe has room for the parameters and what goes with them."""
    states = len(layout.optimizer_names)
    return _fits((1 + states) * layout.parameter_count + layout.buffer_count, layout.dtype)


def head_dtype(keyframes: np.dtype[np.void]) -> np.dtype[np.void]:
    """Return what stands in the row of a keyframe before its values."""
    assert keyframes.names is not None
    return np.dtype([(name, keyframes[name]) for name in keyframes.names[: keyframes.names.index("params")]])


def neurons_dtype(neuron_count: int, dtype: np.dtype[Any]) -> np.dtype[np.void]:
    """Return the row of the statistics of one step: for each one number per neuron, all layers in order."""
    number = dtype.newbyteorder("<")
    return row_dtype([(name, number, (neuron_count,)) for name in NEURON_FIELDS])


def layers_dtype(layer_count: int, dtype: np.dtype[Any]) -> np.dtype[np.void]:
    """Return the row of the histograms of one step: for each layer 64 counts between the least and greatest value."""
    number = dtype.newbyteorder("<")
    fields: _Fields = []
    for name in HISTOGRAMS:
        fields += [(f"{name}_counts", "<u4", (layer_count, BINS)), (f"{name}_range", number, (layer_count, 2))]
    return row_dtype(fields)


STREAMS = ("scalars", "keyframes", "neurons", "layers")


def stream_dtypes(layout: Layout) -> dict[str, np.dtype[np.void]]:
    """Return the row of every stream of a recording, by the stream's name."""
    return {
        "scalars": SCALARS_DTYPE,
        "keyframes": keyframe_dtype(
            layout.parameter_count, layout.dtype, layout.buffer_count, len(layout.optimizer_names)
        ),
        "neurons": neurons_dtype(layout.neuron_count, layout.dtype),
        "layers": layers_dtype(len(layout.observed), layout.dtype),
    }


def payload_bytes(dtype: np.dtype[Any]) -> int:
    """Return how many bytes of a row its checksums cover."""
    assert dtype.fields is not None
    return dtype.fields["crc"][1]


def write_checksums(rows: NDArray[np.void]) -> None:
    """Fill the field `crc` of rows, (n,), in contiguous memory."""
    payload = payload_bytes(rows.dtype)
    if payload <= _SHORT_BYTES and len(rows) > 1:
        short = rows.view(np.uint8).reshape(len(rows), -1)[:, :payload]
        for some in range(0, len(rows), _ROWS_AT_ONCE):
            rows["crc"][some : some + _ROWS_AT_ONCE, 0] = _short_checksums(short[some : some + _ROWS_AT_ONCE])
        return
    if payload <= BLOCK_BYTES:
        rows["crc"][:, 0] = list(map(zlib.crc32, _as_bytes(rows, 0, payload)))
        return
    raw = memoryview(rows.view(np.uint8).data)
    for place in range(len(rows)):
        rows["crc"][place] = checksums(raw[place * rows.dtype.itemsize :][:payload])


def checksums(*parts: memoryview) -> NDArray[np.uint32]:
    """Return the checksums of a row whose bytes, those of the checksums aside, are these parts one behind the other."""
    found: list[int] = []
    checksum, room = 0, BLOCK_BYTES
    for part in parts:
        start = 0
        while start < len(part):
            piece = part[start : start + room]
            checksum = zlib.crc32(piece, checksum)
            start, room = start + len(piece), room - len(piece)
            if not room:
                found.append(checksum)
                checksum, room = 0, BLOCK_BYTES
    return np.array(found if room == BLOCK_BYTES else [*found, checksum], dtype="<u4")


def _short_checksums(raw: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the CRC-32 of each row of bytes, (n, length): in a small part of the time of a call for each.

    CRC-32 is affine: that of a row is that of zeros, changed (XOR) by what each byte at its place changes. Most bytes
    of rows that follow one another (attempt, epoch, the learning rate) are the same in all of them.
    """
    changes, of_zeros = _changes_of_bytes(raw.shape[1])
    common = np.uint32(0)
    columns = np.ascontiguousarray(raw.T)
    varies = (columns != columns[:, :1]).any(axis=1)
    for place in np.flatnonzero(~varies).tolist():
        common ^= changes[place, columns[place, 0]]
    found = np.full(len(raw), of_zeros ^ common, np.uint32)
    for place in np.flatnonzero(varies).tolist():
        found ^= changes[place].take(columns[place])
    return found


@functools.cache
def _changes_of_bytes(length: int) -> tuple[NDArray[np.uint32], np.uint32]:
    """Return what each byte at each place changes, (length, 256), and the CRC of zeros."""
    of_zeros = zlib.crc32(bytes(length))
    rows = (bytes(place) + bytes([byte]) + bytes(length - 1 - place) for place in range(length) for byte in range(256))
    changes = np.fromiter((zlib.crc32(row) ^ of_zeros for row in rows), np.uint32, 256 * length)
    return changes.reshape(length, 256), np.uint32(of_zeros)


def intact(
    rows: NDArray[np.void], start: int = 0, stop: int | None = None, places: NDArray[np.intp] | None = None
) -> NDArray[np.bool_]:
    """Return which of the rows, (n,), are as they were written in the bytes from `start` to below `stop`.

    Args:
        rows: Rows of a stream, perhaps a memory map, of which no more is read than matters.
        start: First byte of a row that matters.
        stop: The one after the last; default the whole row.
        places: Which rows; default all.
    """
    payload = payload_bytes(rows.dtype)
    stop = payload if stop is None else min(stop, payload)
    if places is None:
        places = np.arange(len(rows))
    good = np.ones(len(places), dtype=bool)
    for block in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
        first = block * BLOCK_BYTES
        for some in range(0, len(places), _ROWS_AT_ONCE):  # of each a copy is made
            which = slice(some, some + _ROWS_AT_ONCE)
            found = list(map(zlib.crc32, _as_bytes(rows, first, min(first + BLOCK_BYTES, payload), places[which])))
            good[which] &= np.array(found, dtype=np.uint32) == rows["crc"][places[which], block]
    return good


def field_bytes(dtype: np.dtype[Any], field: str) -> tuple[int, int]:
    """Return the first byte of a field in a row and the one after its last."""
    assert dtype.fields is not None
    own, offset = dtype.fields[field][:2]
    return offset, offset + own.itemsize


def part_of(rows: NDArray[np.void], start: int, format: Any) -> NDArray[Any]:
    """Return a view of a part of each row, (n, …), as values of a dtype: the rest of the rows is not read."""
    part = np.dtype({"names": ["part"], "formats": [format], "offsets": [start], "itemsize": rows.dtype.itemsize})
    found: NDArray[Any] = rows.view(part)["part"]
    return found


def _as_bytes(
    rows: NDArray[np.void], start: int, stop: int, which: slice | NDArray[np.intp] = slice(None)
) -> list[bytes]:
    found: list[bytes] = part_of(rows, start, f"V{stop - start}")[which].tolist()
    return found
