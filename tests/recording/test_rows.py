from __future__ import annotations

import itertools
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.recording.rows import (
    BLOCK_BYTES,
    MAX_ROW_BYTES,
    SCALARS_DTYPE,
    checksums,
    field_bytes,
    intact,
    keyframe_dtype,
    layers_dtype,
    neurons_dtype,
    part_of,
    payload_bytes,
    row_dtype,
    write_checksums,
)


def filled(dtype: np.dtype[Any], n: int, seed: int = 0) -> np.ndarray:
    raw = np.random.default_rng(seed).integers(0, 256, n * dtype.itemsize).astype(np.uint8)
    rows = raw.view(dtype)
    write_checksums(rows)
    return rows


@given(values=st.integers(1, 4000), n=st.integers(1, 5), data=st.data())
def test_any_flipped_bit_of_a_row_is_noticed_where_it_is(values: int, n: int, data: st.DataObject) -> None:
    dtype = row_dtype([("values", "<f4", (values,))])
    rows = filled(dtype, n)
    assert intact(rows).all()
    row, place = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, payload_bytes(dtype) - 1))
    rows.view(np.uint8)[row * dtype.itemsize + place] ^= 1 << data.draw(st.integers(0, 7))
    assert np.flatnonzero(~intact(rows)).tolist() == [row]
    block = place // BLOCK_BYTES * BLOCK_BYTES
    assert not intact(rows, place, place + 1)[row]
    if block:
        assert intact(rows, 0, block).all()
    if block + BLOCK_BYTES < payload_bytes(dtype):
        assert intact(rows, block + BLOCK_BYTES).all()
    assert intact(rows, places=np.array([row])).tolist() == [False]


@given(length=st.integers(0, 30), n=st.integers(0, 40), seed=st.integers(0, 99))
def test_checksums_of_short_rows_computed_many_at_once_are_those_of_zlib(length: int, n: int, seed: int) -> None:
    dtype = row_dtype([("values", "u1", (length,))])
    rows = filled(dtype, n, seed)
    payload = payload_bytes(dtype)
    raw = rows.tobytes()
    starts = range(0, n * dtype.itemsize, dtype.itemsize)
    assert rows["crc"][:, 0].tolist() == [zlib.crc32(raw[start : start + payload]) for start in starts]


@given(sizes=st.lists(st.integers(0, 9000), max_size=5), seed=st.integers(0, 9))
def test_checksums_of_a_row_in_parts_are_those_of_the_whole(sizes: list[int], seed: int) -> None:
    raw = np.random.default_rng(seed).bytes(sum(sizes))
    ends = np.cumsum([0, *sizes]).tolist()
    parts = [memoryview(raw[first:last]) for first, last in itertools.pairwise(ends)]
    expected = [zlib.crc32(raw[start : start + BLOCK_BYTES]) for start in range(0, len(raw), BLOCK_BYTES)]
    assert checksums(*parts).tolist() == expected


def test_many_rows_are_checked_all_the_same() -> None:
    rows = filled(SCALARS_DTYPE, 20_000)
    rows["loss"][[3, 12_345]] = 7
    assert np.flatnonzero(~intact(rows)).tolist() == [3, 12_345]


def test_a_part_of_each_row_is_a_view() -> None:
    dtype = row_dtype([("a", "<f8", (3,)), ("b", "<f4", (5,))])
    rows = filled(dtype, 4)
    first, last = field_bytes(dtype, "b")
    assert last - first == 20
    part = part_of(rows, first, ("<f4", (5,)))
    np.testing.assert_array_equal(part, rows["b"])
    assert np.shares_memory(part, rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_keyframes_beyond_two_gigabytes_have_no_values(dtype: str) -> None:
    number = np.dtype(dtype)
    most = MAX_ROW_BYTES // (3 * number.itemsize)
    for count in (most - most // 400, most + 1, 10**10):
        row = keyframe_dtype(count, number, 5, 2)
        assert row.itemsize <= MAX_ROW_BYTES
        assert row["params"].shape == ((count,) if count < most else (0,))


def test_rows_are_little_endian_and_packed() -> None:
    for dtype in (SCALARS_DTYPE, keyframe_dtype(7, np.dtype("f4"), 3, 2), neurons_dtype(5, np.dtype("f8")),
                  layers_dtype(2, np.dtype("f4"))):  # fmt: skip
        assert dtype.names is not None
        assert dtype.names[:3] == ("step", "attempt", "schema")
        assert dtype.names[-1] == "crc"
        assert dtype.itemsize == sum(dtype[name].itemsize for name in dtype.names)
        assert ">" not in str(np.lib.format.dtype_to_descr(dtype))
