from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from neuronwise.recording.events import EventWriter, decode_event, encode_event, numbers, read_events

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@given(st.dictionaries(TEXT, st.floats(allow_nan=True) | st.integers() | TEXT | st.none(), max_size=5))
def test_any_event_comes_back(event: dict[str, object]) -> None:
    line = encode_event(event)
    assert line.count(b"\n") == 1
    decoded = decode_event(line)
    assert decoded is not None
    assert list(decoded) == list(event)
    for key, value in event.items():
        if isinstance(value, float) and not math.isfinite(value):
            assert repr(numbers(decoded)[key]) == repr(value)
        else:
            assert decoded[key] == value


@given(data=st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    line = bytearray(encode_event({"kind": "epoch", "metrics": {"loss": 0.25}}))
    position = data.draw(st.integers(0, len(line) - 2))
    value = data.draw(st.integers(0, 255).filter(lambda v: v != line[position]))
    line[position] = value
    assert decode_event(bytes(line)) is None


def test_torn_and_damaged_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    for epoch in range(3):
        writer.write({"epoch": epoch})
    writer.close()
    path = tmp_path / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"garbage\n" + lines[1] + lines[2][:-5])
    problems: list[str] = []
    assert read_events(tmp_path, problems) == [{"epoch": 0}, {"epoch": 1}]
    assert problems == ["events.jsonl: 2 torn or damaged line(s) are left out"]


def test_deep_json_is_no_event() -> None:
    import zlib

    text = b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert decode_event(b'{"crc": "%08x", "event": %s}\n' % (zlib.crc32(text), text)) is None


def test_nothing_is_added_to_half_a_line(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.write({"epoch": 1})
    writer.close()
    path = tmp_path / "events.jsonl"
    path.write_bytes(path.read_bytes() + encode_event({"epoch": 2})[:-9])
    for event in ({"kind": "resume"}, {"epoch": 2}):
        writer = EventWriter(tmp_path)
        writer.write(event)
        writer.close()
    assert read_events(tmp_path, []) == [{"epoch": 1}, {"kind": "resume"}, {"epoch": 2}]
