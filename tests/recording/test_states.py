"""Whole states on their way to the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuronwise.recording.rows import keyframe_dtype
from neuronwise.recording.segments import Sealer, SegmentWriter, read_stream
from neuronwise.recording.states import StateWriter

F4 = np.dtype(np.float32)


def states(folder: Path, dtype: Any) -> tuple[StateWriter, Sealer]:
    sealer = Sealer()
    return StateWriter(SegmentWriter(folder, "keyframes", dtype, sealer), 3), sealer


def written(folder: Path, dtype: Any) -> Any:
    problems: list[str] = []
    parts = read_stream(folder, "keyframes", dtype, problems)
    assert all("was not sealed" in problem for problem in problems)
    return np.concatenate(parts) if parts else np.empty(0, dtype)


@pytest.mark.parametrize("parameters", [5, 2000, 200_000])
@pytest.mark.parametrize(("buffers", "remembered"), [(0, 0), (3, 0), (0, 1), (4, 2)])
def test_each_state_is_read_back_as_it_was(tmp_path: Path, parameters: int, buffers: int, remembered: int) -> None:
    """Also of an array that has changed since, and of large ones, which do not wait."""
    dtype = keyframe_dtype(parameters, F4, buffers, remembered)
    writer, sealer = states(tmp_path, dtype)
    rng = np.random.default_rng(0)
    given = [
        rng.standard_normal(n).astype(F4) for n in (parameters, *[buffers] * bool(buffers), *[parameters] * remembered)
    ]
    kept = []
    for step in range(19):
        for values in given:
            values += 1
        writer.add(step, step // 5, given, whole=step % 2 == 0)
        kept.append([values.copy() for values in given])
    writer.flush()
    sealer.close()
    rows = written(tmp_path, dtype)
    assert rows["step"].tolist() == list(range(19))
    assert set(rows["attempt"]) == {3}
    assert rows["epoch"].tolist() == [step // 5 for step in range(19)]
    assert rows["whole"].tolist() == [step % 2 == 0 for step in range(19)]
    names = [name for name in ("params", "buffers", "optimizer") if name in dtype.names]
    for row, values in zip(rows, kept, strict=True):
        stored = np.concatenate([np.ravel(row[name]) for name in names])
        assert stored.tobytes() == np.concatenate(values).tobytes()


def test_states_that_cannot_be_written_are_not_counted_as_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtype = keyframe_dtype(10, F4)
    writer, sealer = states(tmp_path, dtype)
    values = [np.zeros(10, F4)]
    writer.add(0, 0, values, whole=True)
    writer.flush()
    writer.add(1, 0, values, whole=True)
    assert writer.steps == {0, 1}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, "append", full)
        with pytest.raises(OSError, match="No space"):
            writer.flush()
    assert writer.steps == {0}
    writer.add(2, 0, values, whole=True)
    writer.flush()
    writer.flush()
    sealer.close()
    assert written(tmp_path, dtype)["step"].tolist() == [0, 2]
