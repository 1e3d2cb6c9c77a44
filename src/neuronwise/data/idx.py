"""IDX files: the plain array format in which MNIST and its relatives are published.

A file is a header (two zero bytes, one byte for the type, one for the number of dimensions n, then n sizes
as 32-bit words) and the values in C order, all big-endian; often the whole is compressed with gzip.
Format: the page of the MNIST database (LeCun, Cortes, Burges 1998), section "the IDX file format".
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import stat
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import DataError, UsageError
from neuronwise.files import format_bytes, write_atomically

MAX_IDX_BYTES = 4 * 2**30
"""Largest array that `read_idx` takes memory for unless told otherwise: 4 GiB."""

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name): code for code, name in _DTYPES.items()}
_MAX_DIMENSIONS = 32
_SHORT, _LONG = "truncated IDX file", "the IDX file is longer than its header says"
# Deflate cannot do better than about 1032 to 1, so a gzip file also bounds what it can truthfully hold.
_DEFLATE_LIMIT = 1040


def read_idx(path: str | Path, *, max_bytes: int = MAX_IDX_BYTES) -> NDArray[Any]:
    """Return the array held in an IDX file, in the machine's own byte order, writable.

    Whether the file is compressed is seen from its first bytes, not from its name. The sizes that the header
    declares are compared with the size of the file before memory is taken; a compressed file is never
    unpacked beyond its declared size.

    Args:
        path: The file, plain or gzip.
        max_bytes: The most bytes the array may take, default 4 GiB.

    Returns:
        Array of uint8, int8, int16, int32, float32 or float64 with the shape of the header.

    Raises:
        DataError: No such file, not an IDX file, truncated, followed by more bytes, damaged, or too large.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DataError("this is no regular file", where=str(path))
            return read_idx_stream(file, status.st_size, where=str(path), max_bytes=max_bytes)
    except FileNotFoundError:
        raise DataError("no such file", where=str(path)) from None
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from None


def read_idx_stream(file: BinaryIO, size_bytes: int, *, where: str, max_bytes: int = MAX_IDX_BYTES) -> NDArray[Any]:
    """Return the array of an IDX stream of `size_bytes` bytes, plain or gzip, as `read_idx` does.

    Raises:
        DataError: As `read_idx`; `where` names the source in the message.
    """
    if file.read(2) != b"\x1f\x8b":
        file.seek(0)
        return _read_plain(file, size_bytes, size_bytes, where, max_bytes)
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            return _read_plain(unpacked, None, size_bytes * _DEFLATE_LIMIT, where, max_bytes)
    except EOFError:
        raise DataError(
            f"truncated gzip file: it ends in the middle of the data after {size_bytes:,} bytes",
            where=where,
            hint="Copy or download the file again.",
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"damaged gzip file: {error}", where=where, hint="Copy or download the file again.") from None


def write_idx(path: str | Path, array: NDArray[Any]) -> None:
    """Write `array` as an IDX file, whole or not at all; compressed when the name ends in ``.gz``.

    Raises:
        UsageError: The array has no dimension, more than 32, one longer than 2^32 - 1, or a type that the
            format does not know (it knows uint8, int8, int16, int32, float32 and float64).
    """
    path = Path(path)
    content = _header(array) + array.astype(array.dtype.newbyteorder(">"), order="C", copy=False).tobytes()
    # Without a time in the header the same array always gives the same file.
    write_atomically(path, gzip.compress(content, 6, mtime=0) if path.suffix.lower() == ".gz" else content)


def idx_sha256(array: NDArray[Any]) -> str:
    """Return the sha256 (hex) of the uncompressed IDX file that holds `array`.

    A file that `read_idx` accepts holds its header, its values and nothing else, so this is also the checksum
    of the bytes that were read, however they were compressed.
    """
    digest = hashlib.sha256(_header(array))
    digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder(">")).data)
    return digest.hexdigest()


def _header(array: NDArray[Any]) -> bytes:
    code = _CODES.get(array.dtype.newbyteorder(">"))
    if code is None:
        raise UsageError(
            f"IDX files hold uint8, int8, int16, int32, float32 or float64, not {array.dtype}",
            where="argument array",
        )
    if not 1 <= array.ndim <= _MAX_DIMENSIONS or max(array.shape) >= 2**32:
        raise UsageError(f"an array of shape {array.shape} does not fit the format", where="argument array")
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()


def _read_plain(
    file: BinaryIO | gzip.GzipFile, found_bytes: int | None, possible_bytes: int, where: str, max_bytes: int
) -> NDArray[Any]:
    """Return the array of an uncompressed stream; `found_bytes` is its length where that is known before."""
    magic = file.read(4)
    if len(magic) < 4:
        what = "the file is empty" if not magic else "truncated IDX file"
        raise DataError(f"{what}: a header of at least 8 bytes expected, {len(magic)} found", where=where)
    dtype_name = _DTYPES.get(magic[2])
    if magic[:2] != b"\0\0" or dtype_name is None or not 1 <= magic[3] <= _MAX_DIMENSIONS:
        raise DataError(
            "this is no IDX file: it begins with the bytes "
            f"{magic.hex(' ')}, where 00 00, a type (08, 09, 0b, 0c, 0d or 0e) and a number of dimensions "
            "(01 to 20) are expected",
            where=where,
        )
    header_bytes = 4 + 4 * magic[3]
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(
            f"truncated IDX file: a header of {header_bytes} bytes expected, {4 + len(sizes)} bytes found",
            where=where,
        )
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    dtype = np.dtype(dtype_name)
    payload_bytes = math.prod(shape) * dtype.itemsize
    expected = header_bytes + payload_bytes
    said = f"{expected:,} bytes expected ({_times(shape)} values of type {dtype.newbyteorder('=')})"
    if found_bytes is not None and found_bytes != expected:
        state = _SHORT if found_bytes < expected else _LONG
        raise DataError(f"{state}: {said}, {found_bytes:,} found", where=where)
    if expected > possible_bytes:
        raise DataError(
            f"{_SHORT}: {said}, but so small a gzip file holds at most {possible_bytes:,}",
            where=where,
        )
    # Zero sizes count as one here: NumPy multiplies the others even where there is nothing to hold.
    if math.prod(max(size, 1) for size in shape) * dtype.itemsize > max_bytes:
        raise DataError(
            f"the array would take {format_bytes(payload_bytes)}, more than the limit of {format_bytes(max_bytes)}",
            where=where,
            hint="Pass a larger max_bytes if the file can be trusted.",
        )
    array = np.empty(shape, dtype=dtype)
    got = _read_into(file, array)
    if got < payload_bytes:
        raise DataError(f"{_SHORT}: {said}, {header_bytes + got:,} found", where=where)
    # Reading past the end is also what makes gzip check its own checksum.
    if file.read(1):
        raise DataError(f"{_LONG}: {said}, more found", where=where)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_into(file: BinaryIO | gzip.GzipFile, array: NDArray[Any]) -> int:
    buffer = array.reshape(-1).view(np.uint8).data
    got = 0
    while got < len(buffer):
        count = file.readinto(buffer[got : got + io.DEFAULT_BUFFER_SIZE * 128])  # type: ignore[union-attr]
        if not count:
            break
        got += count
    return got


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape)
