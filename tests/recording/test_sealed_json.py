from __future__ import annotations

import math
import zlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from neuronwise.recording.sealed_json import decode, encode, numbers

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@given(st.dictionaries(TEXT, st.floats(allow_nan=True) | st.integers() | TEXT | st.none(), max_size=5), st.booleans())
def test_any_object_comes_back(content: dict[str, Any], pretty: bool) -> None:
    raw = encode("thing", content, indent=1 if pretty else None)
    assert pretty or raw.count(b"\n") == 1
    decoded = decode("thing", raw)
    assert decoded is not None
    assert list(decoded) == list(content)
    for key, value in content.items():
        if isinstance(value, float) and not math.isfinite(value):
            assert repr(numbers(decoded)[key]) == repr(value)
        else:
            assert decoded[key] == value
    assert decode("other", raw) is None


@given(data=st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    line = bytearray(encode("event", {"kind": "epoch", "metrics": {"loss": 0.25}}))
    position = data.draw(st.integers(0, len(line) - 2))
    line[position] ^= data.draw(st.integers(1, 255))
    assert decode("event", bytes(line)) is None


@given(st.binary(max_size=80))
def test_garbage_is_nothing(raw: bytes) -> None:
    assert decode("event", raw) is None


def test_deep_json_is_nothing() -> None:
    text = b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert decode("event", b'{"crc": "%08x", "event": %s}\n' % (zlib.crc32(text), text)) is None


def test_only_numbers_are_numbers() -> None:
    given_ = {"a": 1, "b": 2.5, "c": "NaN", "d": "-Infinity", "e": True, "f": None, "g": "7", "h": 10**400, "i": [1]}
    found = numbers(given_)
    assert list(found) == ["a", "b", "c", "d"]
    assert (found["a"], found["b"], found["d"]) == (1.0, 2.5, -math.inf)
    assert math.isnan(found["c"])
    assert numbers(7) == {}
