"""Trainings that are ended at random moments, or whose disk or folder fails them: what was acknowledged is there."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import NotFoundError
from neuronwise.learning import Checkpoint
from neuronwise.recording import Plan, RecordedHistory, read_recording

from .crashes import Crash, Settings, Truth, command, digest, recorder, train

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, file limits and tmpfs are not of Windows")


class Reference:
    """The same training, undisturbed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.truth, writer = Truth(), recorder(folder, seed)
        network, result = train(seed, [writer, self.truth])
        assert writer.plan is not None
        self.plan: Plan = writer.plan
        self.steps, self.digest = result.steps, digest(network)
        self.history = read_recording(folder)
        assert self.history.check() == []


class Child:
    """A training in a process of its own, and what it told so far."""

    def __init__(self, crash: Crash, errors: Path) -> None:
        self._errors = errors
        with errors.open("wb") as file:
            self.process = subprocess.Popen(command(crash), stdout=subprocess.PIPE, stderr=file, text=True)
        self.acknowledged, self.step = -1, -1
        self.outcome: dict[str, Any] | None = None

    def listen(self, until: Callable[[], bool] = lambda: False) -> None:
        """Read what it tells, until something holds or it has ended."""
        assert self.process.stdout is not None
        while not until() and (line := self.process.stdout.readline()).endswith("\n"):
            words = line.split()
            if line.startswith("{"):
                self.outcome = json.loads(line)
            elif words[0] == "step":
                self.step, acknowledged = int(words[1]), int(words[3])
                assert acknowledged >= self.acknowledged
                self.acknowledged = acknowledged
            else:
                assert words == ["ready"]
                self.step = 0

    def wait_for_moment(self, chosen: random.Random, steps: int) -> None:
        """Wait until the beginning, a step between or the end, and then a little."""
        step, pause = chosen.choice([(0, 0.03), (chosen.randint(1, steps - 1), 0.003), (steps - 1, 0.02)])
        self.listen(lambda: self.step >= step)
        time.sleep(chosen.uniform(0, pause))

    def end(self) -> int:
        """Hear the rest, and return the exit code."""
        self.listen()
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    @property
    def errors(self) -> str:
        """What it wrote to stderr."""
        return self._errors.read_text()

    def check_undisturbed(self, reference: Reference, *, warned: bool | None = None) -> None:
        """Check that the training ended as ever, with the same bits, and one warning if anything was not recorded."""
        assert self.end() == 0, self.errors
        assert self.outcome is not None
        assert self.outcome["status"] == "finished"
        assert self.outcome["digest"] == reference.digest
        assert len(self.outcome["warnings"]) == bool(self.outcome["problems"]), self.outcome
        if warned is not None:
            assert bool(self.outcome["problems"]) is warned


def _in_gap(history: RecordedHistory, step: int) -> bool:
    return any(gap["from_step"] <= step <= gap["to_step"] for gap in history.gaps)


def _check(folder: Path, reference: Reference, acknowledged: int, begun: int = 0) -> RecordedHistory | None:
    """Check that a recording opens, holds what was acknowledged since it was begun, and nothing that was not so."""
    try:
        history = read_recording(folder)
    except NotFoundError:
        assert acknowledged == -1
        return None
    problems = history.check()
    assert not [one for one in problems if "is damaged" in one or "checksum" in one]
    scalars = dict(zip(history.scalars["step"].tolist(), history.scalars["loss"].tolist(), strict=True))
    assert scalars == {step: reference.truth.losses[step] for step in scalars}
    for step in history.steps.tolist():
        np.testing.assert_array_equal(history.parameters(step), reference.truth.parameters[step])
        np.testing.assert_array_equal(history.buffers(step), reference.truth.buffers[step])
        if history.is_whole(step):
            for name, values in history.optimizer_state(step).items():
                np.testing.assert_array_equal(values, reference.truth.optimizer[step][name])
    for kind, steps in (("neurons", history.frames), ("histograms", history.histogram_steps)):
        for step in steps.tolist():
            row, true = (getattr(one, kind)(step) for one in (history, reference.history))
            for name in set(row.dtype.names) - {"attempt", "crc"}:
                np.testing.assert_array_equal(row[name], true[name])
    plan = reference.plan
    for step in range(begun + 1 if begun else 0, acknowledged + 1):
        if not _in_gap(history, step):
            assert step in scalars or step == 0
            assert step in history.steps or not plan.is_keyframe(step)
            assert step in history.frames or not plan.is_frame(step)
    if len(scalars) < reference.steps:
        assert problems or history.status != "finished" or history.attempts[0].step > 0
    return history


def _go_on(folder: Path, checkpoint: Path, seed: int, reference: Reference, before: RecordedHistory | None) -> None:
    """Check that the training goes on after all, as another attempt, and that its recording is whole then."""
    found = Checkpoint.load(checkpoint) if checkpoint.exists() else None
    writer = recorder(folder, seed, resume=True)
    network, _ = train(seed, [writer], resume=found)
    assert digest(network) == reference.digest
    assert writer.problems == []
    begun = 0 if found is None else found.step
    history = _check(folder, reference, reference.steps, 0 if before else begun)
    assert history is not None
    attempts = [one.number for one in history.attempts]
    assert attempts == list(range(1, len(attempts) + 1))
    assert writer.attempt == attempts[-1]
    assert before is None or writer.attempt > max((one.number for one in before.attempts), default=0)
    assert history.status == "finished"
    retaken = history.scalars[history.scalars["step"] > begun]
    assert set(retaken["attempt"].tolist()) <= {writer.attempt}
    expected = [
        step for step in range(1, reference.steps + 1) if step > begun or (before and not _in_gap(history, step))
    ]
    assert set(expected) <= set(history.scalars["step"].tolist())


@contextmanager
def _small_disk(place: Path, size: int) -> Iterator[Path]:
    place.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(options, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def _ended(crash: Crash, place: Path) -> Iterator[Child]:
    child = Child(crash, place / "stderr")
    try:
        yield child
    finally:
        child.process.kill()
        child.process.wait()


class Scene:
    """One seed's training and where it leaves what it leaves."""

    def __init__(self, seed: int, place: Path) -> None:
        self.seed, self.place, self.chosen = seed, place, random.Random(-1 - seed)
        self.folder, self.checkpoint = place / "recording", place / "state.safetensors"
        self.reference = Reference(seed, place / "reference")
        assert self.reference.steps == Settings(seed).steps

    def crash(self, **options: Any) -> Crash:
        return Crash(**{"folder": str(self.folder), "checkpoint": str(self.checkpoint), "seed": self.seed} | options)

    def signal(self, number: signal.Signals) -> None:
        with _ended(self.crash(), self.place) as child:
            child.wait_for_moment(self.chosen, self.reference.steps)
            child.process.send_signal(number)
            code = child.end()
        history = _check(self.folder, self.reference, child.acknowledged)
        if child.outcome is None:
            assert code in (-number, 1)
            assert history is None or history.status in ("unfinished", "finished", "interrupted")
        else:  # Ctrl-C ends politely; or the training had ended already
            assert code in (0, -number, 1)
            assert child.outcome["warnings"] == []
            assert history is not None
            assert history.status == child.outcome["status"]
            assert history.check() == []
        _go_on(self.folder, self.checkpoint, self.seed, self.reference, history)

    def limited_files(self) -> None:
        most = int(10 ** self.chosen.uniform(1.5, 5.7))
        with _ended(self.crash(most_bytes=most), self.place) as child:
            child.check_undisturbed(self.reference)
        history = _check(self.folder, self.reference, child.acknowledged)
        _go_on(self.folder, self.checkpoint, self.seed, self.reference, history)

    def full_disk(self) -> None:
        size = sum(path.stat().st_size for path in (self.place / "reference").iterdir())
        with _small_disk(self.place / "disk", max(4096, int(size * self.chosen.uniform(0.02, 0.9)))) as disk:
            filler = disk / "filler"
            with _ended(self.crash(folder=str(disk / "recording")), self.place) as child:
                child.wait_for_moment(self.chosen, self.reference.steps)
                with suppress(OSError), filler.open("wb") as file:  # at most as full as it gets
                    file.write(bytes(self.chosen.randint(1, size)))
                child.wait_for_moment(self.chosen, self.reference.steps)
                filler.unlink()
                child.check_undisturbed(self.reference)
            history = _check(disk / "recording", self.reference, child.acknowledged)
            assert child.outcome is not None
            assert history is None or bool(history.check() or history.status == "unfinished") is bool(
                child.outcome["problems"]
            )
            if history is not None:
                shutil.copytree(disk / "recording", self.folder)
        _go_on(self.folder, self.checkpoint, self.seed, self.reference, history)

    def moved_folder(self) -> None:
        moved = self.place / "moved"
        with _ended(self.crash(), self.place) as child:
            child.wait_for_moment(self.chosen, self.reference.steps)
            with suppress(FileNotFoundError):  # before it was made
                self.folder.rename(moved)
            if self.chosen.random() < 0.3:  # another takes the place
                train(self.seed, [recorder(self.folder, self.seed, resume=True)])
            child.check_undisturbed(self.reference)
        if moved.exists():
            history = _check(moved, self.reference, child.acknowledged)
            _go_on(moved, self.checkpoint, self.seed, self.reference, history)
        if self.folder.exists():
            history = _check(self.folder, self.reference, -1)
            _go_on(self.folder, self.checkpoint, self.seed, self.reference, history)

    def deleted_folder(self) -> None:
        with _ended(self.crash(), self.place) as child:
            child.wait_for_moment(self.chosen, self.reference.steps)
            while self.folder.exists():
                shutil.rmtree(self.folder, ignore_errors=True)
            child.check_undisturbed(self.reference)
        history = _check(self.folder, self.reference, -1)
        _go_on(self.folder, self.checkpoint, self.seed, self.reference, history)

    def two_writers(self) -> None:
        (self.place / "other").mkdir()
        other = self.crash(checkpoint=str(self.place / "other" / "state.safetensors"), resume=True)
        with _ended(self.crash(resume=True), self.place) as one, _ended(other, self.place / "other") as two:
            if self.chosen.random() < 0.5:
                one.check_undisturbed(self.reference, warned=False)
            else:
                one.wait_for_moment(self.chosen, self.reference.steps)
                one.process.kill()
                one.end()
            two.check_undisturbed(self.reference, warned=False)
        history = _check(self.folder, self.reference, self.reference.steps)
        assert history is not None
        for attempt in history.attempts:
            own = read_recording(self.folder, attempt=attempt.number)
            assert set(own.scalars["attempt"].tolist()) <= {attempt.number}
        _go_on(self.folder, self.checkpoint, self.seed, self.reference, history)


SCENES: list[tuple[str, Callable[[Scene], None]]] = [
    ("kill", lambda scene: scene.signal(signal.SIGKILL)),
    ("terminate", lambda scene: scene.signal(signal.SIGTERM)),
    ("interrupt", lambda scene: scene.signal(signal.SIGINT)),
    ("limited_files", Scene.limited_files),
    ("full_disk", Scene.full_disk),
    ("moved_folder", Scene.moved_folder),
    ("deleted_folder", Scene.deleted_folder),
    ("two_writers", Scene.two_writers),
]
QUICK, ALL = 20, 200


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, id=f"{SCENES[seed % len(SCENES)][0]}-{seed}", marks=[pytest.mark.full] * (seed >= QUICK))
        for seed in range(ALL)
    ],
)
def test_what_was_acknowledged_is_there_and_the_next_training_goes_on(seed: int, tmp_path: Path) -> None:
    SCENES[seed % len(SCENES)][1](Scene(seed, tmp_path))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_copy_of_the_process_does_not_write_into_the_recording(tmp_path: Path) -> None:
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from crashes import recorder, train
from neuronwise.learning import Observer
class Forks(Observer):
    def on_step_end(self, state):
        if state.step == 20 and (child := os.fork()):
            os.waitpid(child, 0)
train(3, [recorder(Path({str(tmp_path / "recording")!r}), 3), Forks()])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is a copy (fork) of the one that records") == 1
    reference = Reference(3, tmp_path / "reference")
    history = _check(tmp_path / "recording", reference, reference.steps)
    assert history is not None
    assert history.check() == []
    assert len(history.scalars) == reference.steps
