from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.recording.rows import row_dtype, write_checksums
from neuronwise.recording.segments import HEADER_BYTES, Sealer, SegmentWriter, npy_header, read_stream

ROW = row_dtype([("loss", "<f8")])


def rows(n: int, start: int = 0, dtype: np.dtype[Any] = ROW) -> np.ndarray:
    values = np.zeros(n, dtype)
    values["step"] = np.arange(start, start + n)
    values["loss"] = (1 / (1 + values["step"])).reshape(n, *[1] * (values["loss"].ndim - 1))
    write_checksums(values)
    return values


def write(folder: Path, n: int, *, segment_bytes: int = 10**6, seal: bool = True) -> None:
    sealer = Sealer()
    writer = SegmentWriter(folder, "scalars", ROW, sealer, segment_bytes=segment_bytes)
    writer.append(rows(n).tobytes())
    assert writer.written == n
    if seal:
        writer.seal()
    sealer.close()


def read(folder: Path, dtype: np.dtype[Any] = ROW) -> tuple[np.ndarray, list[str]]:
    problems: list[str] = []
    segments = read_stream(folder, "scalars", dtype, problems)
    return (np.concatenate(segments) if segments else np.empty(0, dtype)), problems


def test_a_sealed_segment_is_a_plain_npy_file(tmp_path: Path) -> None:
    write(tmp_path, 7)
    loaded = np.load(tmp_path / "scalars-000000.npy", mmap_mode="r", allow_pickle=False)
    np.testing.assert_array_equal(loaded, rows(7))
    assert not list(tmp_path.glob("*.part"))


@given(n=st.integers(1, 100), room=st.integers(5, 50), cut=st.integers(1, 60))
def test_rows_come_back_in_order_over_any_number_of_segments(
    tmp_path_factory: pytest.TempPathFactory, n: int, room: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    sealer = Sealer()
    writer = SegmentWriter(folder, "scalars", ROW, sealer, segment_bytes=HEADER_BYTES + room * ROW.itemsize)
    values = rows(n)
    for start in range(0, n, cut):
        writer.append(values[start : start + cut].tobytes())
        assert writer.written == min(n, start + cut)
    writer.seal()
    sealer.close()
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
    np.testing.assert_array_equal(found, rows(max(0, size - HEADER_BYTES) // ROW.itemsize))
    assert "scalars-000000.npy.part" in problems[0]


def test_a_cut_sealed_segment_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, 5)
    os.truncate(tmp_path / "scalars-000000.npy", HEADER_BYTES + 2 * ROW.itemsize + 3)
    found, problems = read(tmp_path)
    np.testing.assert_array_equal(found, rows(2))
    assert problems == [
        "scalars-000000.npy: should have 5 rows, the file holds 2",
        "scalars-000000.npy: a torn last row of 3 bytes is left out",
    ]


def test_a_missing_segment_is_told(tmp_path: Path) -> None:
    write(tmp_path, 20, segment_bytes=HEADER_BYTES + 5 * ROW.itemsize)
    (tmp_path / "scalars-000001.npy").unlink()
    found, problems = read(tmp_path)
    assert list(found["step"]) == [*range(5), *range(10, 20)]
    assert problems == ["scalars: 1 segment(s) are missing, the first is 000001"]


def test_a_damaged_row_is_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path, 9)
    path = tmp_path / "scalars-000000.npy"
    content = bytearray(path.read_bytes())
    for row in (3, 4, 8):
        content[HEADER_BYTES + row * ROW.itemsize + 17] ^= 1
    path.write_bytes(content)
    found, problems = read(tmp_path)
    assert list(found["step"]) == [0, 1, 2, 5, 6, 7]
    assert problems == ["scalars-000000: 3 of 9 rows are damaged and left out, the first is row 3"]


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
def test_a_hostile_header_is_told_and_never_followed(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "scalars-000000.npy"
    path.write_bytes(header.ljust(HEADER_BYTES)[:HEADER_BYTES] + rows(7).tobytes())
    found, problems = read(tmp_path)
    np.testing.assert_array_equal(found, rows(7))  # their checksums are right
    assert "scalars-000000.npy: " in problems[0]


def test_rows_of_another_dtype_are_not_taken_for_ours(tmp_path: Path) -> None:
    write(tmp_path, 50)
    found, problems = read(tmp_path, row_dtype([("loss", "<f4"), ("rate", "<f8")]))
    assert not len(found)
    assert "its header is damaged" in problems[0]


@given(position=st.integers(0, HEADER_BYTES - 1), value=st.integers(0, 255))
def test_a_flipped_byte_of_the_header_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    write(folder, 3)
    path = folder / "scalars-000000.npy"
    content = bytearray(path.read_bytes())
    changed = content[position] != value
    content[position] = value
    path.write_bytes(content)
    found, problems = read(folder)
    np.testing.assert_array_equal(found, rows(3)[: len(found)])
    assert bool(problems) == changed


def test_an_existing_segment_is_never_written_over(tmp_path: Path) -> None:
    write(tmp_path, 3, seal=False)
    write(tmp_path, 2)
    found, problems = read(tmp_path)
    np.testing.assert_array_equal(found, np.concatenate([rows(3), rows(2)]))
    assert problems == ["scalars-000000.npy.part: was not sealed, 3 whole rows are read"]


def test_writers_at_the_same_time_have_segments_of_their_own(tmp_path: Path) -> None:
    def many(start: int) -> None:
        sealer = Sealer()
        writer = SegmentWriter(tmp_path, "scalars", ROW, sealer, segment_bytes=HEADER_BYTES + 7 * ROW.itemsize)
        for step in range(start, start + 100):
            writer.append(rows(1, step).tobytes())
        writer.seal()
        sealer.close()

    threads = [threading.Thread(target=many, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, problems = read(tmp_path)
    assert problems == []
    assert sorted(found["step"].tolist()) == list(range(400))


def test_a_failed_write_leaves_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import neuronwise.recording.segments as module

    sealer = Sealer()
    writer = SegmentWriter(tmp_path, "scalars", ROW, sealer)
    writer.append(rows(2).tobytes())
    real = module._write_fully

    def half(file: Any, view: memoryview) -> None:
        real(file, view[: len(view) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_fully", half)
    with pytest.raises(OSError, match="No space"):
        writer.append(rows(3, 2).tobytes())
    monkeypatch.undo()
    assert writer.written == 2
    writer.append(rows(3, 2).tobytes())
    writer.seal()
    sealer.close()
    found, problems = read(tmp_path)
    np.testing.assert_array_equal(found, rows(5))
    assert problems == []


def test_a_failed_sealing_is_raised_by_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealer = Sealer()
    writer = SegmentWriter(tmp_path, "scalars", ROW, sealer)
    writer.append(rows(2).tobytes())

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    writer.seal()
    with pytest.raises(OSError, match="Input/output"):
        sealer.close()
    monkeypatch.undo()
    assert len(read(tmp_path)[0]) == 2  # as .part


def test_a_deleted_segment_is_noticed_by_its_writer(tmp_path: Path) -> None:
    sealer = Sealer()
    writer = SegmentWriter(tmp_path, "scalars", ROW, sealer)
    writer.append(rows(2).tobytes())
    (tmp_path / "scalars-000000.npy.part").unlink()
    with pytest.raises(FileNotFoundError, match="was deleted while it was written"):
        writer.append(rows(1).tobytes())
    sealer.close()


def test_a_segment_that_was_sealed_just_now_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 3)
    monkeypatch.setattr("neuronwise.recording.segments.next_index", lambda folder, stream: 0)  # as seen before it was
    write(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scalars-000000.npy", "scalars-000001.npy"]
    found, problems = read(tmp_path)
    np.testing.assert_array_equal(found, np.concatenate([rows(3), rows(2)]))
    assert problems == []
