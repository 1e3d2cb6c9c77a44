from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from neuronwise.errors import FormatError
from neuronwise.recording.events import EventWriter, read_events
from neuronwise.recording.sealed_json import encode


def write(folder: Path, *events: dict[str, object]) -> None:
    writer = EventWriter(folder)
    for event in events:
        writer.write(event)
    writer.close()
    writer.close()
    writer.write({"ignored": True})


def test_torn_and_damaged_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, *({"epoch": epoch} for epoch in range(3)))
    path = tmp_path / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"garbage\n" + lines[1] + lines[2][:-5])
    problems: list[str] = []
    assert read_events(tmp_path, problems) == [{"epoch": 0}, {"epoch": 1}]
    assert problems == ["events.jsonl: 2 torn or damaged line(s) are left out"]


def test_nothing_is_added_to_half_a_line(tmp_path: Path) -> None:
    write(tmp_path, {"epoch": 1})
    path = tmp_path / "events.jsonl"
    path.write_bytes(path.read_bytes() + encode("event", {"epoch": 2})[:-9])
    write(tmp_path, {"kind": "resume"})
    write(tmp_path, {"epoch": 2})
    assert read_events(tmp_path, []) == [{"epoch": 1}, {"kind": "resume"}, {"epoch": 2}]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    problems: list[str] = []
    assert read_events(tmp_path, problems) == []
    assert problems == ["events.jsonl is missing: no metrics and layer summaries"]


def test_a_huge_file_or_a_link_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"epoch": 1})
    path = tmp_path / "events.jsonl"
    os.truncate(path, (1 << 30) + 1)
    with pytest.raises(FormatError, match=r"events\.jsonl"):
        read_events(tmp_path, [])
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match=r"events\.jsonl"):
        read_events(tmp_path, [])


def _many(folder: Path, number: int) -> None:
    write(folder, *({"writer": number, "event": event, "text": "x" * 3000} for event in range(200)))


def test_processes_may_append_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_many, args=(tmp_path, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    problems: list[str] = []
    events = read_events(tmp_path, problems)
    assert problems == []
    for number in range(3):
        assert [event["event"] for event in events if event["writer"] == number] == list(range(200))
