"""The writer: no bit of the training changes, nothing acknowledged is lost, and what is missing is said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronwise.errors import TrainingDiverged, UsageError
from neuronwise.files import folder_size_bytes
from neuronwise.learning import OPTIMIZERS, Observer, TrainingState, fit
from neuronwise.network import Network
from neuronwise.recording import RecordedHistory, RecordingWriter, read_recording
from neuronwise.recording.segments import SegmentWriter

from .helpers import (
    OPTIONS,
    ROWS,
    At,
    Everything,
    X,
    Y,
    all_layers,
    files_of,
    plain,
    small_segments,
    stop_at,
    train,
)

EVERY = {"keyframe_every": 1, "statistics_every": 1}


def check(history: RecordedHistory, everything: Everything, steps: int = 20) -> None:
    """All that the recording has is what the training had, and it has every step."""
    np.testing.assert_array_equal(history.scalars["step"], np.arange(1, steps + 1))
    for row in history.scalars:
        kept = everything.steps[int(row["step"])]
        assert (row["loss"], row["learning_rate"]) == (kept["loss"], kept["rate"])
        assert row["epoch"] == (row["step"] + 3) // 4
    for step in history.steps.tolist():
        assert history.parameters(step).tobytes() == everything.steps[step]["parameters"].tobytes(), step
        assert history.buffers(step).tobytes() == everything.steps[step]["buffers"].tobytes(), step


@given(
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    make=st.sampled_from([plain, all_layers]),
    dtype=st.sampled_from(["float32", "float64"]),
    keyframes=st.sampled_from([None, 1, 3]),
    statistics=st.sampled_from([None, 1, 5]),
    stop=st.integers(1, 25),
    validation=st.sampled_from([None, np.arange(60, 70)]),
)
@settings(max_examples=20)
def test_recording_changes_no_bit(
    tmp_path_factory: pytest.TempPathFactory,
    optimizer: str,
    make: Any,
    dtype: str,
    keyframes: int | None,
    statistics: int | None,
    stop: int,
    validation: Any,
) -> None:
    folder = tmp_path_factory.mktemp("bits") / "recording"
    options: dict[str, Any] = OPTIONS | {"optimizer": optimizer, "validation": validation}
    alone, watched = make(dtype), make(dtype)
    drawn = np.random.get_state()[1].copy()
    fit(alone, X, Y, **options)
    writer: dict[str, Any] = {"keyframe_every": keyframes, "statistics_every": statistics}
    first = train(folder, watched, [stop_at(stop)], writer=writer, **options)
    if stop < 20:
        watched = make(dtype)
        train(folder, watched, writer=writer | {"resume": True}, resume=first.checkpoint, **options)
    assert alone.parameters.tobytes() == watched.parameters.tobytes()
    assert alone.buffers.tobytes() == watched.buffers.tobytes()
    np.testing.assert_array_equal(drawn, np.random.get_state()[1])
    history = read_recording(folder)
    assert history.check() == []
    assert history.delivered_step is not None
    assert history.parameters(history.delivered_step).tobytes() == watched.parameters.tobytes()


@pytest.mark.parametrize("writer", [{}, EVERY, {"keyframe_every": 3, "statistics_every": 2}], ids=str)
@pytest.mark.parametrize("make", [plain, all_layers])
def test_what_is_written_is_what_the_training_had(tmp_path: Path, make: Any, writer: dict[str, Any]) -> None:
    everything = Everything()
    with small_segments(7):
        train(tmp_path / "r", make(), [everything], writer=writer)
    history = read_recording(tmp_path / "r")
    assert history.check() == []
    check(history, everything)
    assert history.status == "finished"
    assert len(history.epochs) == 5
    if writer == EVERY:
        assert history.steps.tolist() == history.frames.tolist() == list(range(21))
    assert not list((tmp_path / "r").glob("*.part"))
    assert not list((tmp_path / "r").glob(".*"))


def test_scalars_are_flushed_now_and_then(tmp_path: Path) -> None:
    network = Network.dense([2, 1], output="identity")
    generator = np.random.default_rng(0)
    writer = RecordingWriter(tmp_path, keyframe_every=100_000, statistics_every=100_000)
    seen: list[int] = []

    class Look(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            if state.step % 100 == 0:
                seen.append(state.step - writer.acknowledged_step)

    X_ = generator.normal(size=(10_000, 2))
    fit(network, X_, X_[:, 0], batch_size=1, epochs=1, learning_rate=1e-3, observers=[writer, Look()], strict=True)
    assert max(seen) <= 4000
    assert max(seen) > 2000
    assert len(read_recording(tmp_path).scalars) == 10_000


class FullDisk:
    """Has `SegmentWriter.append` fail from one step to another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
        self.now = False
        real = SegmentWriter.append
        this = self

        def append(own: SegmentWriter, *rows: Any) -> None:
            if this.now:
                raise OSError(28, "No space left on device")
            real(own, *rows)

        monkeypatch.setattr(SegmentWriter, "append", append)
        monkeypatch.setattr("neuronwise.recording.writer._PAUSES_S", (0.0,))
        monkeypatch.setattr("neuronwise.recording.writer._FLUSH_AFTER_S", -1.0)
        self.observers = [At(first, lambda state: self._set(True)), At(last + 1, lambda state: self._set(False))]

    def _set(self, now: bool) -> None:
        self.now = now


def test_a_disk_that_is_full_for_a_while_makes_a_hole_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything, disk = Everything(), FullDisk(monkeypatch, 6, 9)
    writer = RecordingWriter(tmp_path / "r", **EVERY)
    alone, network = plain(), plain()
    fit(alone, X, Y, **OPTIONS)
    with pytest.warns(RuntimeWarning, match=r"hole after step 5: .*No space left.*training goes on") as caught:
        fit(network, X, Y, observers=[everything, *disk.observers, writer], **(OPTIONS | {"strict": False}))
    assert len(caught) == 1
    assert network.parameters.tobytes() == alone.parameters.tobytes()
    assert len(writer.problems) == 1
    assert writer.problems[0].endswith("No space left on device; it goes on from step 10")
    history = read_recording(tmp_path / "r")
    (gap,) = history.gaps
    assert (gap["from_step"], gap["to_step"]) == (6, 10)
    assert "No space left" in gap["reason"]
    assert any("between steps 6 and 10 not everything was recorded" in problem for problem in history.problems)
    # One that waited in memory when the disk had room again is written too.
    assert history.steps.tolist() in ([*range(6), *range(10, 21)], [*range(6), *range(9, 21)])
    assert set(history.scalars["step"].tolist()) >= set(range(1, 6)) | set(range(10, 21))
    for step in history.steps.tolist():
        assert history.parameters(step).tobytes() == everything.steps[step]["parameters"].tobytes()
    assert history.status == "finished"


def test_a_disk_that_stays_full_is_told_once_and_what_was_written_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, 6, 10**9)
    writer = RecordingWriter(tmp_path / "r", **EVERY)
    with pytest.warns(RuntimeWarning, match="hole after step 5") as caught:
        fit(plain(), X, Y, observers=[*disk.observers, writer], **(OPTIONS | {"strict": False}))
    assert len(caught) == 1
    assert writer.acknowledged_step == 5
    history = read_recording(tmp_path / "r")
    assert history.steps.tolist() == list(range(6))
    assert history.status == "unfinished"
    assert history.check()


def test_strict_raises_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(monkeypatch, 6, 9)
    writer = RecordingWriter(tmp_path / "r", strict=True, **EVERY)
    with pytest.raises(OSError, match="No space left"):
        fit(plain(), X, Y, observers=[*disk.observers, writer], **OPTIONS)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        train(tmp_path / "file" / "r", writer={"strict": True})


def test_an_error_of_ours_ends_the_recording_not_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr("neuronwise.recording.statistics.Statistics.measure_layers", fail)
    with pytest.warns(RuntimeWarning, match="ended early .*ZeroDivisionError: a mistake") as caught:
        result = train(tmp_path / "r", strict=False)
    assert len(caught) == 1
    assert result.steps == 20
    read_recording(tmp_path / "r")


def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(RuntimeWarning, match="training goes on") as caught:
        train(tmp_path / "file" / "r", strict=False)
    assert len(caught) == 1, [str(one.message) for one in caught]


def test_a_vanished_folder_is_one_warning(tmp_path: Path) -> None:
    vanish = At(7, lambda state: shutil.rmtree(tmp_path / "r"))
    with pytest.warns(RuntimeWarning, match=r"hole after step .*(deleted while it was written|No such file)") as caught:
        result = train(tmp_path / "r", observers=[vanish], strict=False)
    assert len(caught) == 1
    assert result.steps == 20


def test_two_attempts_keep_apart_and_the_last_counts(tmp_path: Path) -> None:
    everything = Everything()
    first = train(tmp_path, all_layers(), [everything, stop_at(9)], writer=EVERY)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.npy")}
    train(tmp_path, all_layers(), [everything], writer=EVERY | {"resume": True}, resume=first.checkpoint)
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content  # a sealed segment never changes
    history = read_recording(tmp_path)
    assert history.check() == []
    check(history, everything)
    assert [(one.number, one.step) for one in history.attempts] == [(1, 0), (2, 9)]
    assert read_recording(tmp_path, attempt=1).steps.tolist() == list(range(10))
    assert read_recording(tmp_path, attempt=1).status == "stopped"
    assert read_recording(tmp_path, attempt=2).steps.tolist() == list(range(9, 21))
    assert history.status == "finished"


def test_two_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    writers = [RecordingWriter(tmp_path / "r", **EVERY) for _ in range(3)]

    def run(writer: RecordingWriter) -> None:
        try:
            fit(plain(), X, Y, observers=[writer], **OPTIONS)
        except BaseException as error:
            errors.append(error)

    with small_segments(4):
        threads = [threading.Thread(target=run, args=(writer,)) for writer in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert sorted(writer.attempt for writer in writers) == [1, 2, 3]
    everything = Everything()
    fit(plain(), X, Y, observers=[everything], **OPTIONS)
    assert read_recording(tmp_path / "r").check() == []
    for attempt in (None, 1, 2, 3):
        history = RecordedHistory(tmp_path / "r", attempt=attempt)
        check(history, everything)
        assert history.steps.tolist() == history.frames.tolist() == list(range(21))
        assert len(history.epochs) == 5
        assert history.status == "finished"


def test_the_recording_of_another_training_is_left_as_it_is(tmp_path: Path) -> None:
    train(tmp_path / "r", plain(), writer={"split": {"train": ROWS}})
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    with pytest.raises(UsageError, match="already holds a recording"):
        RecordingWriter(tmp_path / "r")
    for network, options, what in ((all_layers(), {}, "schemas"), (plain(), {"batch_size": 10}, "training")):
        writer = {"resume": True, "strict": True, "split": {"other": ROWS}, "probe": X[:1]}
        with pytest.raises(UsageError, match=f"holds the recording of another training: its {what} differ"):
            train(tmp_path / "r", network, writer=writer, **options)
    with pytest.raises(UsageError, match=r"split-train\.npy.*with another content"):
        train(tmp_path / "r", plain(), writer={"resume": True, "strict": True, "split": {"train": ROWS[1:]}})
    assert {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before


def test_two_networks_in_one_new_folder_at_once_are_refused(tmp_path: Path) -> None:
    first, second = RecordingWriter(tmp_path / "r"), RecordingWriter(tmp_path / "r")
    fit(plain(), X, Y, observers=[first], **OPTIONS)
    with pytest.warns(RuntimeWarning, match="recording of another training"):
        fit(all_layers(), X, Y, observers=[second], **(OPTIONS | {"strict": False}))
    assert read_recording(tmp_path / "r").check() == []


@pytest.mark.parametrize("value", [0, -5])
def test_no_bytes_at_all_are_refused(tmp_path: Path, value: int) -> None:
    with pytest.raises(UsageError, match="argument max_bytes: must be above 0"):
        RecordingWriter(tmp_path, max_bytes=value)


def test_probe_and_split_lie_beside(tmp_path: Path) -> None:
    split = {"train": ROWS, "validation": np.arange(60, 70)}
    train(tmp_path, writer={"split": split, "probe": X[:4], "data": {"fingerprint": "abc"}})
    assert {"probe.npy", "split-train.npy", "split-validation.npy"} <= set(files_of(tmp_path))
    np.testing.assert_array_equal(np.load(tmp_path / "probe.npy"), X[:4])
    np.testing.assert_array_equal(np.load(tmp_path / "split-train.npy"), ROWS)
    history = read_recording(tmp_path)
    np.testing.assert_array_equal(history.probe, X[:4])
    np.testing.assert_array_equal(history.split("validation"), split["validation"])
    assert history.description["data"] == {"fingerprint": "abc"}


def test_what_lies_beside_counts_among_the_bytes_allowed(tmp_path: Path) -> None:
    split = {"train": np.arange(20_000)}  # 160 kB
    train(tmp_path, writer={"split": split, "max_bytes": 400_000, "keyframe_every": 1}, epochs=200)
    assert folder_size_bytes(tmp_path) <= 400_000


def test_the_delivered_network_is_stored_whatever_little_room_there_is(tmp_path: Path) -> None:
    for number, max_bytes in enumerate(range(48_000, 90_000, 3_000)):
        network = plain()
        writer = {"max_bytes": max_bytes, "keyframe_every": 1, "statistics_every": 10**6}
        options: dict[str, Any] = {
            "optimizer": "adam",
            "learning_rate": 0.5,
            "epochs": 12,
            "validation": np.arange(60, 70),
        }
        train(tmp_path / str(number), network, writer=writer, **options)
        history = read_recording(tmp_path / str(number))
        if not len(history.steps):
            assert any("no weights" in note for note in _notes(tmp_path / str(number)))
            continue
        assert history.delivered_step is not None
        assert history.parameters(history.delivered_step).tobytes() == network.parameters.tobytes()


def _notes(folder: Path) -> list[str]:
    from neuronwise.recording.events import read_events

    notes: list[str] = read_events(folder, [])[0]["notes"]
    return notes


def test_what_is_acknowledged_can_be_read_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronwise.recording.writer._FLUSH_AFTER_S", -1.0)
    everything = Everything()
    writer = RecordingWriter(tmp_path / "r", keyframe_every=3, statistics_every=2)
    copies: list[tuple[int, Path]] = []

    class Copy(Observer):
        def on_fit_begin(self, state: TrainingState) -> None:
            self.on_step_end(state)

        def on_step_end(self, state: TrainingState) -> None:
            copies.append((writer.acknowledged_step, tmp_path / f"copy-{state.step}"))
            while True:
                try:
                    shutil.copytree(tmp_path / "r", copies[-1][1])
                    break
                except shutil.Error:  # a segment was renamed meanwhile
                    shutil.rmtree(copies[-1][1])

    with small_segments(5):
        fit(all_layers(), X, Y, observers=[everything, writer, Copy()], **OPTIONS)
    assert len(copies) == 21
    for acknowledged, folder in copies:
        history = read_recording(folder)
        assert history.scalars["step"].tolist() == list(range(1, acknowledged + 1))
        assert set(range(0, acknowledged + 1, 3)) <= set(history.steps.tolist())
        assert set(range(0, acknowledged + 1, 2)) <= set(history.frames.tolist())
        for step in history.steps.tolist():
            assert history.parameters(step).tobytes() == everything.steps[step]["parameters"].tobytes()
        told = [problem for problem in history.problems if "was not sealed" not in problem]
        assert told == []
    assert {acknowledged for acknowledged, _ in copies} >= {0, 2, 3, 4, 6}


def test_a_training_that_diverges_is_recorded_up_to_there(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    X_ = generator.normal(size=(200, 5))
    network = Network.dense([5, 4, 4, 1], hidden="relu", output="identity")
    writer = RecordingWriter(tmp_path, **EVERY)
    with pytest.raises(TrainingDiverged) as raised:
        fit(network, X_, 1e3 * X_[:, 0], optimizer="sgd", learning_rate=1e4, epochs=5, observers=[writer], strict=True)
    assert writer.problems == []
    history = read_recording(tmp_path)
    assert history.status == "diverged"
    assert history.delivered_step == raised.value.step - 1
    assert history.parameters(history.delivered_step).tobytes() == network.parameters.tobytes()
    assert history.check() == []


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    from recording.helpers import At, plain, train

    def die(state):
        os.kill(os.getpid(), signal.SIGKILL)

    train({folder!r}, plain(), [At({step}, die)], writer={{"keyframe_every": 4, "statistics_every": 6}})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("step", [1, 11])
def test_what_was_written_survives_kill_9_and_is_gone_on_with(tmp_path: Path, step: int) -> None:
    folder = tmp_path / "r"
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parents[1]), folder=str(folder), step=step)
    result = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert result.returncode == -signal.SIGKILL
    everything = Everything()
    fit(plain(), X, Y, observers=[everything], **OPTIONS)
    history = read_recording(folder)
    states = [0] if step == 1 else [0, 1, 2, 4, 8]
    assert history.steps.tolist() == states
    for stored in states:
        assert history.parameters(stored).tobytes() == everything.steps[stored]["parameters"].tobytes()
    assert history.scalars["step"].tolist() == list(range(1, max(states) + 1))
    assert history.status == "unfinished"
    assert any(f"keyframes-000000.npy.part: was not sealed, {len(states)} whole" in one for one in history.problems)
    train(folder, plain(), writer={"keyframe_every": 4, "statistics_every": 6, "resume": True})  # from the beginning
    history = read_recording(folder)
    check(history, everything)
    assert history.status == "finished"
    assert os.path.exists(folder / "keyframes-000000.npy.part")
