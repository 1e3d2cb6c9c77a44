"""`neuronwise train` ended at random moments, or without its folder or disk: what happened is said, and it goes on."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import neuronwise
from neuronwise import Run
from neuronwise.cli.main import build_cli, run
from neuronwise.errors import NotFoundError
from neuronwise.learning import Checkpoint
from neuronwise.running import checkpointing
from neuronwise.running.checkpointing import can_resume, save_checkpoint
from neuronwise.running.run import runs_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these signals and limits are not of Windows")

EPOCHS = 40
ARGUMENTS = ["train", "digits", "--layers", "8", "--no-track", "--epochs", str(EPOCHS), "--patience", "1000", "--quiet"]
# A checkpoint after every epoch, not at most one in two seconds.
SCRIPT = """
from neuronwise.running import checkpointing
checkpointing._LEAST_SECONDS, checkpointing._SHARE = 0.0, 1e9
from neuronwise.cli import main
main()
"""


@dataclass
class Ended:
    """How a training ended: its exit code, what it wrote, and the folder it was to be kept in."""

    code: int
    out: str
    folder: Path


def _limited(most_bytes: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _train(
    chosen: random.Random,
    act: Callable[[subprocess.Popen[bytes], Path], None] = lambda process, folder: None,
    most_bytes: int | None = None,
) -> Ended:
    """Train, act at a random moment of the learning, and wait for the end."""
    place = Path.cwd() / "out"
    with place.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *ARGUMENTS],
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=None if most_bytes is None else lambda: _limited(most_bytes),
        )
    try:
        deadline = time.monotonic() + 120
        while not (begun := list(runs_folder().glob("*/recording/recording.json"))) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chosen.choice([chosen.uniform(0, 0.02), chosen.uniform(0, 1.5)]))
        if begun:
            act(process, begun[0].parent.parent)
        code = process.wait(120)
    finally:
        process.kill()
        process.wait()
    (folder,) = [begun[0].parent.parent] if begun else (list(runs_folder().iterdir()) or [runs_folder() / "none"])
    ended = Ended(code, place.read_text(), folder)
    assert "Traceback" not in ended.out, ended.out
    return ended


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same training, undisturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(tmp_path_factory.mktemp("whole")))
        return neuronwise.train("digits", layers="8", epochs=EPOCHS, patience=1000, track=False)


def _command(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ended:
    capsys.readouterr()
    code = run(lambda: build_cli().main([str(one) for one in arguments], prog_name="neuronwise", standalone_mode=False))
    captured = capsys.readouterr()
    return Ended(code, captured.out + captured.err, Path())


def _check(folder: Path, whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that what was left can be opened or says why not, that the training goes on, and that another can begin."""
    true = dict(zip(whole.history_on_disk.scalars["step"], whole.history_on_disk.scalars["loss"], strict=True))
    if not (folder / "recording" / "recording.json").exists():
        with pytest.raises(NotFoundError, match=r"there is no r|holds no run"):
            neuronwise.open(folder)
    else:
        stored = neuronwise.open(folder).stored
        assert not [one for one in stored.check() if "is damaged" in one]
        assert {row["step"]: row["loss"] for row in stored.scalars}.items() <= true.items()
    if (folder / "run.json").is_file():
        assert neuronwise.load(folder).network.parameter_count == whole.network.parameter_count
    resumed = _command(capsys, "train", "--resume", folder, "--quiet")
    if can_resume(folder) and (folder / "checkpoint" / "training.json").is_file():
        if resumed.code == 0:
            run = Run.load(folder)
            np.testing.assert_array_equal(run.network.parameters, whole.network.parameters)
            history = run.history_on_disk
            assert history.status == "finished"
            kept = set(history.scalars["step"].tolist())
            gaps = [range(gap["from_step"], gap["to_step"] + 1) for gap in history.gaps]
            begun = history.attempts[0].step
            assert all(step in kept or step <= begun or any(step in gap for gap in gaps) for step in true)
        else:
            assert f"has taken all of its {EPOCHS} epochs" in resumed.out
    else:
        assert resumed.code in (1, 2)
        assert resumed.out.startswith("Error: ")
    assert _command(capsys, "train", "digits", "--no-track", "--epochs", 1, "--layers", 4, "--quiet").code == 0


def _kept(folder: Path, whole: Run) -> None:
    np.testing.assert_array_equal(Run.load(folder).network.parameters, whole.network.parameters)


def _full(count: int, fast: int) -> list[object]:
    return [pytest.param(seed, marks=[pytest.mark.full] * (seed >= fast)) for seed in range(count)]


@pytest.mark.parametrize("seed", _full(8, 1))
def test_a_killed_training_goes_on(seed: int, whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    ended = _train(random.Random(seed), lambda process, folder: process.kill())
    assert ended.code in (0, -signal.SIGKILL)
    _check(ended.folder, whole, capsys)


@pytest.mark.parametrize("seed", _full(8, 0))
def test_a_training_that_is_asked_to_end_says_so_and_goes_on(
    seed: int, whole: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    number = (signal.SIGINT, signal.SIGTERM)[seed % 2]
    ended = _train(random.Random(seed), lambda process, folder: process.send_signal(number))
    # A signal that comes when Python itself is ending, after the result, finds no handler any more.
    assert ended.code in (0, 130) or (ended.code == -number and "Result on" in ended.out)
    if ended.code == 130:
        assert "what was learned is kept" in ended.out or "Ended at once by Ctrl-C or SIGTERM." in ended.out
    _check(ended.folder, whole, capsys)


@pytest.mark.parametrize("seed", _full(8, 0))
def test_two_signals_leave_what_goes_on(seed: int, whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = random.Random(seed)

    def twice(process: subprocess.Popen[bytes], folder: Path) -> None:
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(chosen.uniform(0, 0.01))

    ended = _train(chosen, twice)
    assert ended.code in (0, 130, -signal.SIGINT)
    _check(ended.folder, whole, capsys)


def _delete(process: subprocess.Popen[bytes], folder: Path) -> None:
    while folder.exists() and not (folder / "run.json").exists():
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("seed", _full(8, 1))
def test_a_deleted_folder_costs_the_recording_but_not_the_network(
    seed: int, whole: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = _train(random.Random(seed), _delete)
    assert ended.code == 0, ended.out
    if not (ended.folder / "recording").exists():
        assert "was deleted or moved while it trained: it is made again for the network" in ended.out.replace("\n", "")
        assert ended.out.count("warning: the recording in") == 1
    _kept(ended.folder, whole)
    _check(ended.folder, whole, capsys)


@pytest.mark.parametrize("seed", _full(8, 0))
def test_a_moved_folder_keeps_its_recording_and_the_network_is_saved_at_its_place(
    seed: int, whole: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ended = _train(random.Random(seed), lambda process, folder: folder.rename(tmp_path / "moved") and None)
    assert ended.code == 0, ended.out
    _kept(ended.folder if ended.folder.exists() else tmp_path / "moved", whole)
    for folder in (ended.folder, tmp_path / "moved"):
        if folder.exists():
            _check(folder, whole, capsys)


@pytest.mark.parametrize("seed", _full(16, 1))
def test_a_full_disk_is_told_and_costs_the_least(seed: int, whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = random.Random(seed)
    ended = _train(chosen, most_bytes=int(10 ** chosen.uniform(2, 6)))
    assert ended.code in (0, 1)
    if ended.code:
        assert "Error: " in ended.out
        assert "File too large" in ended.out
    else:
        _kept(ended.folder, whole)
    _check(ended.folder, whole, capsys)


def test_a_disk_that_is_full_for_a_while_costs_no_later_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def full_at_first(folder: Path, checkpoint: Checkpoint | None) -> None:
        assert checkpoint is not None
        tried.append(checkpoint.step)
        if len(tried) <= 2:
            raise OSError(28, "No space left on device")
        save_checkpoint(folder, checkpoint)

    monkeypatch.setattr(checkpointing, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpointing, "_SHARE", 1e9)
    monkeypatch.setattr(checkpointing, "save_checkpoint", full_at_first)
    with pytest.warns(RuntimeWarning, match="no checkpoint could be written at step") as told:
        run = neuronwise.train("digits", layers="4", epochs=5, track=False)
    assert len(told) == 1
    assert len(tried) == 5
    assert can_resume(run.folder)
