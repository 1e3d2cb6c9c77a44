from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import FormatError
from neuronwise.recording.segments import HEADER_BYTES, SegmentWriter, npy_header, read_stream

ROW = np.dtype([("step", "<i8"), ("loss", "<f8")])


def rows(n: int, start: int = 0) -> np.ndarray:
    values = np.zeros(n, ROW)
    values["step"] = np.arange(start, start + n)
    values["loss"] = 1 / (1 + values["step"])
    return values


def write(folder: Path, n: int, *, segment_bytes: int = 10**6, seal: bool = True) -> None:
    writer = SegmentWriter(folder, "scalars", ROW, segment_bytes=segment_bytes)
    writer.append(rows(n).tobytes())
    if seal:
        writer.seal()


def read(folder: Path) -> tuple[np.ndarray, list[str]]:
    problems: list[str] = []
    segments = read_stream(folder, "scalars", ROW, problems)
    return (np.concatenate(segments) if segments else np.empty(0, ROW)), problems


def test_a_sealed_segment_is_a_plain_npy_file(tmp_path: Path) -> None:
    write(tmp_path, 7)
    loaded = np.load(tmp_path / "scalars-000000.npy", mmap_mode="r", allow_pickle=False)
    np.testing.assert_array_equal(loaded, rows(7))
    assert not list(tmp_path.glob("*.part"))


@given(n=st.integers(1, 200), room=st.integers(1, 50), cut=st.integers(1, 60))
def test_rows_come_back_in_order_over_any_number_of_segments(
    tmp_path_factory: pytest.TempPathFactory, n: int, room: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    writer = SegmentWriter(folder, "scalars", ROW, segment_bytes=HEADER_BYTES + room * ROW.itemsize)
    values = rows(n)
    for start in range(0, n, cut):
        writer.append(values[start : start + cut].tobytes())
    writer.seal()
    found, problems = read(folder)
    np.testing.assert_array_equal(found, values)
    assert problems == []
    assert len(list(folder.iterdir())) == -(-n // room)


@given(data=st.data())
def test_a_torn_part_gives_its_whole_rows_whatever_the_byte(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    write(folder, 5, seal=False)
    path = folder / "scalars-000000.npy.part"
    size = data.draw(st.integers(0, path.stat().st_size))
    os.truncate(path, size)
    found, problems = read(folder)
    whole = max(0, size - HEADER_BYTES) // ROW.itemsize
    np.testing.assert_array_equal(found, rows(whole))
    assert problems


def test_a_cut_sealed_segment_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, 5)
    os.truncate(tmp_path / "scalars-000000.npy", HEADER_BYTES + 2 * ROW.itemsize + 3)
    found, problems = read(tmp_path)
    np.testing.assert_array_equal(found, rows(2))
    assert problems == ["scalars-000000.npy: should have 5 rows, the file holds 2"]


def test_a_missing_segment_is_told(tmp_path: Path) -> None:
    write(tmp_path, 20, segment_bytes=HEADER_BYTES + 5 * ROW.itemsize)
    (tmp_path / "scalars-000001.npy").unlink()
    found, problems = read(tmp_path)
    assert list(found["step"]) == [*range(5), *range(10, 20)]
    assert problems == ["scalars: 1 segment(s) are missing, the first is 000001"]


HOSTILE = {
    "a huge shape": npy_header(ROW, 2**62),
    "a negative shape": npy_header(ROW, 7).replace(b"(7,)", b"(-7,)"),
    "two dimensions": npy_header(ROW, 7).replace(b"(7,)", b"(7,1)"),
    "another dtype": npy_header(np.dtype([("step", "<i8"), ("loss", "<f4")]), 7),
    "pickled objects": npy_header(np.dtype([("step", "O"), ("loss", "O")]), 7),
    "wrong magic": b"PK" + npy_header(ROW, 7)[2:],
    "a future version": npy_header(ROW, 7).replace(b"NUMPY\x01", b"NUMPY\x09"),
    "code": npy_header(ROW, 7)[:10] + b"__import__('os').abort()".ljust(HEADER_BYTES - 11) + b"\n",
    "deep nesting": npy_header(ROW, 7)[:10] + (b"[" * 2000).ljust(HEADER_BYTES - 11) + b"\n",
}


@pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers_are_refused_before_memory_is_taken(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "scalars-000000.npy"
    path.write_bytes(header.ljust(HEADER_BYTES)[:HEADER_BYTES] + rows(7).tobytes())
    if header == HOSTILE["a huge shape"]:
        found, problems = read(tmp_path)
        assert len(found) == 7
        assert "should have" in problems[0]
        return
    with pytest.raises(FormatError, match=r"scalars-000000\.npy"):
        read(tmp_path)


@given(position=st.integers(0, HEADER_BYTES - 1), value=st.integers(0, 255))
def test_a_flipped_byte_of_the_header_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    write(folder, 3)
    path = folder / "scalars-000000.npy"
    content = bytearray(path.read_bytes())
    content[position] = value
    path.write_bytes(content)
    try:
        found, _ = read(folder)
    except FormatError:
        return
    assert len(found) <= 3


def test_a_link_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (tmp_path / "scalars-000000.npy").rename(tmp_path / "elsewhere")
    (tmp_path / "scalars-000000.npy").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="plain file"):
        read(tmp_path)


def test_an_existing_segment_is_never_written_over(tmp_path: Path) -> None:
    write(tmp_path, 3, seal=False)
    with pytest.raises(FileExistsError):
        write(tmp_path, 1)
