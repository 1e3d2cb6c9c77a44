"""What a training explains of itself when it ends: written beside it, sent with it, and never in its way."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise
from neuronwise import Run
from neuronwise.network import Conv2D, Flatten, MaxPool2D, Network
from neuronwise.network.layers import Dense
from neuronwise.running import explained as module
from neuronwise.running import prepare, resume, sync
from neuronwise.running.explained import explain_run
from neuronwise.running.prepare import DataOptions, Prepared
from neuronwise.running.shown_files import ATLAS, FOLDER, INSPECTOR, PREDICTIONS
from neuronwise.running.tracking_file import TrackingState
from neuronwise.tracking import Store, open_store

from .conftest import make_frame
from .flaky import Flaky

OPTIONS: dict[str, Any] = {"layers": [5], "epochs": 4, "drop": ["sign"], "name": "mine"}
FILES = {ATLAS, "atlas.json", PREDICTIONS, "predictions.json"}


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / FOLDER).iterdir()} if (folder / FOLDER).is_dir() else set()


@pytest.fixture
def data() -> Prepared:
    return prepare(make_frame(), DataOptions(target="y", drop=["sign"]), 0)


@pytest.fixture
def run(kept_run: Run, tmp_path: Path) -> Run:
    """The kept run, as if its folder were empty: what is written stays out of the others' way."""
    (tmp_path / "run").mkdir()
    return Run(**{**vars(kept_run), "folder": tmp_path / "run"})


def test_a_training_that_is_asked_to_explains_itself() -> None:
    run = neuronwise.train(make_frame(), "y", **OPTIONS, track=False, explain=True)
    assert names(run.folder) == FILES
    assert {path.name for path in run.explained} == FILES | {INSPECTOR}
    assert "http-equiv" in (run.folder / INSPECTOR).read_text(encoding="utf-8")
    page = (run.folder / FOLDER / PREDICTIONS).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("<section>") == 4
    assert "<script" not in page
    assert "http" not in page
    assert (run.folder / FOLDER / ATLAS).read_bytes().startswith(b"\x89PNG")


def test_from_python_it_is_asked_for() -> None:
    run = neuronwise.train(make_frame(), "y", **OPTIONS, track=False)
    assert run.explained == []
    assert names(run.folder) == set()


def test_right_and_wrong_held_out_rows_are_chosen() -> None:
    run = neuronwise.train("digits", layers=[8], epochs=3, track=False, explain=True)
    from neuronwise.running.subject import Subject

    rows = Subject(run).examples("test")
    answers = run.network.predict(rows.X)
    chosen = answers.argmax(axis=1)
    by_row = {int(row): place for place, row in enumerate(rows.rows)}
    found = json.loads((run.folder / FOLDER / "predictions.json").read_text())
    assert [one["chosen"] for one in found] == ["wrong", "wrong", "right, and surest", "right, but least sure"]
    for one in found:
        place = by_row[one["row"]]  # so it was held out
        assert one["right"] == str(rows.y[place])
        assert (chosen[place] == rows.y[place]) == one["chosen"].startswith("right")
    assert [one["explanation"]["against"] for one in found] == [found[0]["right"], found[1]["right"], None, None]
    losses = -np.log(answers[np.arange(len(rows.y)), rows.y])
    assert by_row[found[0]["row"]] == losses.argmax()


def test_far_off_and_close_answers_of_numbers(run: Run, data: Prepared) -> None:
    explain_run(run, data)
    found = json.loads((run.folder / FOLDER / "predictions.json").read_text())
    assert [one["chosen"] for one in found] == ["far off", "far off", "close", "close"]
    X, y = data.X[data.test], data.y[data.test]
    errors = np.abs(run.network.predict(X) - y)[:, 0]
    source = data.source_rows[data.test]
    assert found[0]["row"] == source[errors.argmax()]
    assert found[2]["row"] == source[errors.argmin()]
    assert "the average of the" in (run.folder / FOLDER / PREDICTIONS).read_text()


def test_no_row_of_the_data_is_shown_where_it_must_not_be() -> None:
    run = neuronwise.train(make_frame(), "y", **OPTIONS, track=False, explain=True, redact=True)
    assert names(run.folder) == {ATLAS, "atlas.json"}
    assert '"redacted":true' in (run.folder / INSPECTOR).read_text(encoding="utf-8")


def test_what_fails_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(module, "explain_prediction", fails)
    heard: list[str] = []

    class Hears(neuronwise.running.Reporter):
        def warned(self, message: str) -> None:
            heard.append(message)

    run = neuronwise.train(make_frame(), "y", **OPTIONS, track=False, explain=True, reporter=Hears())
    assert run.status == "finished"
    assert heard == ["the explanations of some answers could not be made: RuntimeError: no such luck"]
    assert names(run.folder) == {ATLAS, "atlas.json"}


def test_a_full_disk_is_told(run: Run, data: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomically", full)
    heard: list[str] = []
    assert explain_run(run, data, told=heard.append) == []
    assert len(heard) == 2
    assert "No space left on device" in heard[0]


def test_a_folder_that_was_moved_is_not_made_again(run: Run, data: Prepared, tmp_path: Path) -> None:
    moved = dataclasses.replace(run, folder=tmp_path / "moved")
    heard: list[str] = []
    assert explain_run(moved, data, told=heard.append) == []
    assert not moved.folder.exists()
    assert ["FileNotFoundError" in one for one in heard] == [True, True]


def test_time_that_is_used_up_leaves_out_the_rest(run: Run, data: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    assert explain_run(run, data, seconds=0, told=heard.append) == []
    assert len(heard) == 2
    assert all("were left out: the 0 seconds" in one for one in heard)

    left = iter([9.0, 9.0, 9.0, 5.0, 5.0, 1.0, 1.0, 1.0, 1.0])  # two answers take 4 seconds each, then 1 is left
    monkeypatch.setattr(module._Clock, "left", lambda self: next(left))
    heard.clear()
    explain_run(run, data, told=heard.append)
    assert heard == ["2 of 4 answers are not explained: the time for it was used up"]
    assert (run.folder / FOLDER / PREDICTIONS).read_text().count("<section>") == 2


def test_bytes_are_counted(run: Run, data: Prepared) -> None:
    heard: list[str] = []
    written = explain_run(run, data, size_bytes=150_000, told=heard.append)
    assert sum(path.stat().st_size for path in written) <= 150_000
    assert any("are left" in one for one in heard)


def test_a_network_without_an_atlas_is_no_fault(data: Prepared, tmp_path: Path) -> None:
    images = prepare("digits", DataOptions(), 0)
    network = Network([MaxPool2D(2), Conv2D(3, 2), Flatten(), Dense(10, "softmax")], input_shape=(8, 8))
    from neuronwise.running.fitted import FittedNetwork

    model = FittedNetwork(network, images.encoder, images.target, "image")
    (tmp_path / "run").mkdir()
    run = Run("0" * 32, "pooled", tmp_path / "run", "finished", model, {}, [], {}, {}, [], None, None, 1, 0.0)
    heard: list[str] = []
    assert {path.name for path in explain_run(run, images, told=heard.append)} == {PREDICTIONS, "predictions.json"}
    assert heard == []


def test_it_is_sent_and_named_in_the_description(store: Store) -> None:
    run = neuronwise.train(make_frame(), "y", **OPTIONS, explain=True)
    state = TrackingState.load(run.folder)
    client = open_store(store)
    there = {Path(one.path).name for one in client.list_artifacts(state.run_id, f"neuronwise/{FOLDER}")}
    assert there == FILES
    assert f"{FOLDER}/{PREDICTIONS}" in client.get_run(state.run_id).data.tags["mlflow.note.content"]


def test_what_did_not_arrive_is_synced(store: Store, flaky: Flaky) -> None:
    flaky.is_down = True
    run = neuronwise.train(make_frame(), "y", **OPTIONS, explain=True)
    assert names(run.folder) == FILES
    flaky.is_down = False
    (synced,) = sync()
    assert synced.outcome == "sent"
    there = open_store(store).list_artifacts(synced.run_id, f"neuronwise/{FOLDER}")
    assert {Path(one.path).name for one in there} == FILES


def test_a_training_that_goes_on_explains_anew() -> None:
    run = neuronwise.train(make_frame(), "y", **OPTIONS, track=False, explain=True)
    (run.folder / FOLDER / "old.txt").write_text("of before")
    again = resume(run.folder, make_frame(), epochs=6, explain=True)
    assert names(again.folder) == FILES
