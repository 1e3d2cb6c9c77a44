from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuronwise.data.idx import idx_sha256, read_idx, write_idx
from neuronwise.errors import DataError, UsageError

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]
SMALL = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])


def test_a_file_written_out_by_hand_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(SMALL)
    array = read_idx(path)
    assert array.dtype == np.uint8
    assert array.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert array.flags.writeable


def test_values_are_big_endian_in_the_file_and_native_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes([0, 0, 0x0B, 1]) + struct.pack(">I2h", 2, 1, -300))
    array = read_idx(path)
    assert array.dtype == np.dtype("int16")
    assert array.dtype.isnative
    assert array.tolist() == [1, -300]


@given(
    array=st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    ),
    ending=st.sampled_from(["", ".gz"]),
)
def test_what_is_written_is_read_back(array: np.ndarray[Any, Any], ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x-idx-ubyte{ending}"
    write_idx(path, array)
    back = read_idx(path)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    content = path.read_bytes()
    assert (content[:2] == b"\x1f\x8b") == (ending == ".gz")
    plain = gzip.decompress(content) if ending else content
    assert idx_sha256(back) == hashlib.sha256(plain).hexdigest()


def test_a_transposed_array_is_written_in_order(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    write_idx(tmp_path / "a", array)
    assert read_idx(tmp_path / "a").tolist() == [[0, 3], [1, 4], [2, 5]]


def test_the_same_array_gives_the_same_compressed_file(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_idx(tmp_path / name, np.arange(5, dtype=np.uint8))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_at_any_byte_is_refused(packed: bool, tmp_path: Path) -> None:
    content = gzip.compress(SMALL, mtime=0) if packed else SMALL
    path = tmp_path / "cut"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError) as caught:
            read_idx(path)
        assert str(caught.value).startswith(f"{path}: ")
    path.write_bytes(content)
    assert read_idx(path).shape == (2, 3)


@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any"
    for data in (content, bytes([0, 0, 8, 1]) + content, b"\x1f\x8b\x08\x00" + content, gzip.compress(content)):
        path.write_bytes(data)
        try:
            array = read_idx(path)
        except DataError:
            continue
        assert isinstance(array, np.ndarray)


def test_a_truncated_file_says_expected_and_found_bytes(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", 60_000, 28, 28) + b"x" * 1000)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert caught.value.where == str(path)
    assert caught.value.message == (
        "truncated IDX file: 47,040,016 bytes expected (60,000 × 28 × 28 values of type uint8), 1,016 found"
    )


@pytest.mark.parametrize("packed", [False, True])
def test_bytes_after_the_end_are_refused(packed: bool, tmp_path: Path) -> None:
    content = SMALL + b"more"
    (tmp_path / "long").write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=r"longer than its header says: 18 bytes expected \(2 × 3 .*found"):
        read_idx(tmp_path / "long")


def test_bytes_after_the_gzip_stream_are_refused(tmp_path: Path) -> None:
    (tmp_path / "long.gz").write_bytes(gzip.compress(SMALL) + b"more")
    with pytest.raises(DataError, match="damaged gzip file"):
        read_idx(tmp_path / "long.gz")


def test_a_flipped_bit_in_a_gzip_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(SMALL, mtime=0))
    content[-8] ^= 1  # the checksum
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match="damaged gzip file"):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize(
    "start", [b"\x89PNG", b"sale", bytes([0, 0, 7, 1]), bytes([0, 0, 8, 0]), bytes([0, 0, 8, 33]), bytes([0, 1, 8, 1])]
)
def test_another_kind_of_file_is_refused(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(start + bytes(200))
    with pytest.raises(DataError, match=f"no IDX file: it begins with the bytes {start.hex(' ')}"):
        read_idx(tmp_path / "a")


@pytest.mark.parametrize(("content", "text"), [(b"", "the file is empty"), (b"\0\0\x08", "truncated IDX file")])
def test_a_file_without_a_header_is_refused(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=f"{text}: a header of at least 8 bytes expected, {len(content)} found"):
        read_idx(tmp_path / "a")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sizes", [(2**32 - 1,) * 3, (0, *(2**32 - 1,) * 6), (2**31, 1, 1), (2**27,)])
def test_a_lying_header_takes_no_memory(sizes: tuple[int, ...], packed: bool, tmp_path: Path) -> None:
    content = bytes([0, 0, 0x0E, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + bytes(64)
    (tmp_path / "a").write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read_idx(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_not_unpacked_beyond_its_declared_size(tmp_path: Path) -> None:
    # 50 MB of zeros behind a header that declares ten bytes.
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 10]) + bytes(50_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="longer than its header says"):
            read_idx(tmp_path / "a.gz")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_an_array_over_the_limit_is_refused_and_the_limit_can_be_raised(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.zeros(2000, np.uint8))
    with pytest.raises(DataError, match=r"would take 2.0 kB, more than the limit of 1.5 kB\n.*max_bytes"):
        read_idx(tmp_path / "a", max_bytes=1500)
    assert read_idx(tmp_path / "a", max_bytes=2000).shape == (2000,)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path)
    if os.path.exists("/dev/null"):
        with pytest.raises(DataError, match="no regular file"):
            read_idx("/dev/null")


@pytest.mark.parametrize("array", [np.zeros(3, np.int64), np.zeros(3, bool), np.array(1, np.uint8)])
def test_arrays_that_the_format_does_not_know_are_not_written(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_idx(tmp_path / "a", array)
    assert list(tmp_path.iterdir()) == []


def test_a_whole_gzip_file_with_too_little_inside_is_truncated(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(SMALL[:-2]))
    with pytest.raises(DataError, match=r"truncated IDX file: 18 bytes expected \(2 × 3 .*\), 16 found"):
        read_idx(tmp_path / "a.gz")
