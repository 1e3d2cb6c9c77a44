"""RUN: an id, its beginning, a name, latest or a folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import neuronwise
from neuronwise import Run
from neuronwise.errors import NotFoundError
from neuronwise.learning import Observer, TrainingState
from neuronwise.running import find_folder, find_run, list_runs, load
from neuronwise.running.checkpointing import begun_trainings, save_checkpoint
from neuronwise.running.run import runs_folder


@pytest.fixture
def three(kept_run: Run) -> list[Path]:
    """Return three local runs: two of one name, and ids that begin alike."""
    made = []
    for index, (run_id, name) in enumerate([("abcd1111", "twin"), ("abcd2222", "twin"), ("ef01aaaa", "single")]):
        folder = runs_folder() / run_id
        shutil.copytree(kept_run.folder, folder)
        content = json.loads((folder / "run.json").read_text()) | {"id": run_id, "name": name}
        (folder / "run.json").write_text(json.dumps(content))
        os.utime(folder / "run.json", (1e9 + index, 1e9 + index))
        made.append(folder)
    return made


def test_every_way_of_naming_a_run(three: list[Path]) -> None:
    single = three[2]
    for text in ("ef01aaaa", "ef01", "single", "latest", single, str(single)):
        assert find_folder(text) == single
    assert find_run("abcd1").id == "abcd1111"
    assert find_run("abcd2222").folder == three[1]


def test_latest_is_the_one_that_was_saved_last(three: list[Path]) -> None:
    os.utime(three[0] / "run.json", (2e9, 2e9))
    assert find_folder("latest") == three[0]


@pytest.mark.parametrize("text", ["abcd", "twin"])
def test_what_fits_several_is_not_guessed(three: list[Path], text: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_folder(text)
    assert f"{text!r} fits 2 runs: " in str(caught.value)
    assert "twin (abcd1111)" in str(caught.value)
    assert "give more of the id" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["abc", "ABCD1", "sing", "", "nothing", "latest ", "..", "/", "~nobody", "a\0b", "x" * 9999]
)
def test_what_fits_none_is_not_found(three: list[Path], text: str) -> None:
    with pytest.raises(NotFoundError):
        find_folder(text)


def test_a_name_close_to_one_is_suggested(three: list[Path]) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'single'"):
        find_folder("singel")


def test_without_any_run_latest_says_so() -> None:
    with pytest.raises(NotFoundError, match="there is no run 'latest'"):
        load("latest")


def test_a_name_goes_before_a_folder_that_is_no_run(
    three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "single").mkdir()
    assert find_folder("single") == three[2]
    (tmp_path / "other").mkdir()
    with pytest.raises(NotFoundError, match="the folder 'other' holds no run"):
        find_folder("other")


def test_a_model_alone_can_be_loaded_but_is_no_run(kept_run: Run) -> None:
    assert load(kept_run.folder / "model").network.parameter_count == kept_run.network.parameter_count
    with pytest.raises(NotFoundError, match="holds a model but no run"):
        find_run(kept_run.folder / "model")


def test_load_is_public_and_predicts(in_home: Path, frame: object) -> None:
    assert neuronwise.load is load
    assert len(neuronwise.load("kept").predict(frame)) == 90


def test_a_damaged_run_hides_no_other(three: list[Path]) -> None:
    (three[0] / "run.json").write_text("{")
    assert find_run("single").name == "single"
    assert find_run("twin").id == "abcd2222"
    listed, problem = list_runs()
    assert problem is None
    assert {one.id: one.status for one in listed} == {
        "abcd1111": "damaged", "abcd2222": "finished", "ef01aaaa": "finished"
    }  # fmt: skip


def test_runs_are_listed_the_newest_first_and_at_most_so_many(three: list[Path]) -> None:
    listed, _ = list_runs()
    assert [one.id for one in listed] == ["ef01aaaa", "abcd2222", "abcd1111"]
    assert [one.id for one in list_runs(limit=2)[0]] == ["ef01aaaa", "abcd2222"]
    first = listed[0]
    assert first.name == "single"
    assert first.parameters == find_run("single").network.parameter_count
    assert first.result is not None
    assert first.result[0] == "r2"
    assert first.size_bytes > 1000
    assert list_runs("an experiment") == ([], None)


def test_a_store_that_cannot_be_reached_is_said_and_local_runs_are_listed(
    three: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    listed, problem = list_runs()
    assert len(listed) == 3
    assert problem is not None
    assert "cannot be reached" in problem
    assert "\n" not in problem
    assert find_run("single").name == "single"
    with pytest.raises(NotFoundError, match="the store cannot be asked"):
        find_run("nothing")


def test_a_run_that_was_killed_is_listed_and_can_be_resumed() -> None:
    class Killed(Observer):
        def on_epoch_end(self, state: TrainingState) -> None:
            if state.epoch == 2:
                save_checkpoint(begun_trainings()[0], state.checkpoint())
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        neuronwise.train("digits", layers="4", epochs=3, name="cut", track=False, observers=[Killed()])
    (folder,) = begun_trainings()
    (listed,), _ = list_runs()
    assert (listed.id, listed.name, listed.status, listed.data) == (folder.name, "cut", "unfinished", "digits")
    for text in ("cut", folder.name, folder.name[:6], "latest", str(folder)):
        with pytest.raises(
            NotFoundError, match=f"'cut' left no network: .*\nit can go on: .* --resume {folder.name[:8]}"
        ):
            find_run(text)
    assert len(neuronwise.resume("cut").history) == 3
    assert [one.status for one in list_runs()[0]] == ["finished"]
    assert find_run("cut").id == folder.name
