from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import FormatError
from neuronwise.tracking.manifest import Entry, Manifest

PATHS = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,3}", fullmatch=True)
ENTRIES = st.builds(Entry, st.integers(0, 2**40), st.text("0123456789abcdef", min_size=64, max_size=64))


@given(st.dictionaries(PATHS, ENTRIES, max_size=8))
def test_comes_back(files: dict[str, Entry]) -> None:
    assert Manifest.from_json(Manifest(files).to_json()).files == files


def changed(**changes: object) -> str:
    content = {"format": "neuronwise-manifest", "version": 1, "files": {"a": {"bytes": 1, "sha256": "0" * 64}}}
    return json.dumps(content | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        changed(format="x"),
        changed(version=2),
        changed(files=[]),
        changed(files={"../a": {"bytes": 1, "sha256": "0" * 64}}),
        changed(files={"/etc/passwd": {"bytes": 1, "sha256": "0" * 64}}),
        changed(files={"a/../../b": {"bytes": 1, "sha256": "0" * 64}}),
        changed(files={"a": {"bytes": -1, "sha256": "0" * 64}}),
        changed(files={"a": {"bytes": 2**62, "sha256": "0" * 64}}),
        changed(files={"a": {"bytes": True, "sha256": "0" * 64}}),
        changed(files={"a": {"bytes": 1, "sha256": "0"}}),
        changed(files={"a": None}),
    ],
)
def test_damaged_and_hostile_lists_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match=r"neuronwise/manifest\.json"):
        Manifest.from_json(text)
