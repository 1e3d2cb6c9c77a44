"""Where a recording lies: here, or in the store alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise
from neuronwise import Run
from neuronwise.errors import NotFoundError, UsageError
from neuronwise.recording import read_recording
from neuronwise.running import recording_folder, sync
from neuronwise.running.run import runs_folder
from neuronwise.tracking import Store

from .conftest import make_frame
from .flaky import Flaky, kill_one

OPTIONS: dict[str, Any] = {"layers": [5], "epochs": 4, "drop": ["sign"]}

REPLAY = """
import json, sys
from neuronwise.running import load, recording_folder
from neuronwise import open as open_recording

folder = recording_folder(sys.argv[1])
recording = open_recording(folder, None if len(sys.argv) < 3 else sys.argv[2])
print(json.dumps({"folder": str(folder), "bytes": recording.at(5).parameters.tobytes().hex()}))
"""


def elsewhere(script: str, tmp_path: Path, store: Store, *arguments: str) -> dict[str, Any]:
    """Run a script in another process, with an empty home and the same store."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "NEURONWISE_HOME": str(tmp_path / "elsewhere"), "MLFLOW_TRACKING_URI": store.uri},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_another_machine_takes_a_step_again_from_the_store_alone(store: Store, tmp_path: Path) -> None:
    make_frame().to_csv("data.csv", index=False)
    run = neuronwise.train("data.csv", "y", name="whole", **OPTIONS)
    here = neuronwise.open(run).at(5).parameters.tobytes().hex()
    there = elsewhere(REPLAY, tmp_path, store, "whole")
    assert there["bytes"] == here
    assert there["folder"] == str(tmp_path / "elsewhere" / "cache" / "runs" / run.id)
    shutil.move("data.csv", "moved.csv")
    assert elsewhere(REPLAY, tmp_path, store, run.id, "moved.csv")["bytes"] == here


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not of Windows")
def test_a_run_that_was_killed_is_read_from_the_store_alone_before_it_is_synced_and_after(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = kill_one(1.0)
    home = tmp_path / "home"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "elsewhere"))
    fetched = recording_folder("killed")
    assert fetched == tmp_path / "elsewhere" / "cache" / "runs" / folder.name
    assert not (fetched / "run.json").exists()
    assert (fetched / "checkpoint" / "training.json").is_file()
    assert {path.name for path in (fetched / "checkpoint").iterdir()} == {"training.json", "split.safetensors", "model"}
    before = read_recording(fetched / "recording")
    assert before.status == "unfinished"
    monkeypatch.setenv("NEURONWISE_HOME", str(home))
    assert [one.outcome for one in sync()] == ["sent"]
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "elsewhere"))
    after = read_recording(recording_folder("killed") / "recording")
    local = read_recording(folder / "recording")
    assert len(after.epochs) == len(local.epochs) == 4
    np.testing.assert_array_equal(after.scalars, local.scalars)
    assert after.steps.tolist() == local.steps.tolist()


def test_a_fetched_run_is_asked_for_again_only_while_it_goes_on(
    store: Store, flaky: Flaky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = neuronwise.train(make_frame(), "y", name="whole", **OPTIONS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "elsewhere"))
    flaky.calls.clear()
    fetched = recording_folder("whole")
    files = flaky.calls["download_artifacts"]
    assert files > 8
    assert recording_folder("whole") == fetched
    assert flaky.calls["download_artifacts"] == files
    flaky.is_down = True
    assert recording_folder(run.id) == fetched  # by its whole id without the store
    flaky.is_down = False

    client = flaky.open(store)
    client.update_run(run.id, status="RUNNING")
    shutil.rmtree(fetched)
    fetched = recording_folder("whole")
    flaky.calls.clear()
    assert recording_folder("whole") == fetched
    assert flaky.calls["download_artifacts"] == 1  # the list
    (fetched / "recording" / "recording.json").write_text("cut")
    assert read_recording(recording_folder("whole") / "recording").status == "finished"
    assert flaky.calls["download_artifacts"] == 3  # the list, and one file


def test_every_way_of_naming_a_run_of_this_machine(store: Store, flaky: Flaky) -> None:
    flaky.is_down = True
    run = neuronwise.train(make_frame(), "y", name="mine", **OPTIONS)
    for text in ("latest", "mine", run.id, run.id[:6], run.folder):
        assert recording_folder(text) == run.folder
    assert recording_folder(run.folder / "recording") == run.folder / "recording"
    flaky.is_down = False
    (done,) = sync()
    assert done.run_id is not None
    flaky.is_down = True
    assert recording_folder(done.run_id) == run.folder
    with pytest.raises(NotFoundError, match="no run 'nonsense' on this machine, and the store cannot be asked"):
        recording_folder("nonsense")


def test_what_is_there_but_no_recording_is_said_to_be_that(store: Store) -> None:
    neuronwise.train(make_frame(), "y", name="mine", **OPTIONS)  # so that there is a store to be asked
    Path("empty").mkdir()
    Path("data.csv").touch()
    for text, message in (
        ("empty", "the folder 'empty' holds no run"),
        ("data.csv", "there is no run 'data.csv', which is a file"),
        ("nonsense", "there is no such run in"),
    ):
        with pytest.raises(NotFoundError, match=message):
            recording_folder(text)
    for wrong in (None, 5, ["mine"], True):
        with pytest.raises(UsageError, match="argument RUN: expected a run, got"):
            recording_folder(wrong)  # type: ignore[arg-type]


def test_a_recording_without_its_json_is_read_from_the_copy(kept_run: Run, in_home: Path) -> None:
    there, lost = kept_run.folder / "recording", Path("lost")
    shutil.copytree(there, lost)
    (lost / "recording.json").unlink()
    for place in (lost, shutil.copytree(lost, Path("run") / "recording").parent):
        recording = neuronwise.open(place)
        assert recording.problems == ["recording.json: it is missing; its copy in attempt-….json is read"]
        np.testing.assert_array_equal(recording.keyframes, neuronwise.open(kept_run).keyframes)


def test_an_untracked_run_is_found_too(kept_run: Run, in_home: Path) -> None:
    assert recording_folder("kept") == kept_run.folder
    assert runs_folder() == kept_run.folder.parent
