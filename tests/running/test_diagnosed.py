"""At its end a training is diagnosed: told in closing lines, kept beside the run and in MLflow, with a tag."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import nn

import neuronwise
from neuronwise.errors import TrainingDiverged
from neuronwise.running import ConsoleReporter, Reporter, Run, sync
from neuronwise.running.findings import closing_lines, described, findings_tags, kept_diagnosis
from neuronwise.tracking import Store, open_store

from .conftest import make_frame

FAST: dict[str, Any] = {"layers": [8], "epochs": 10, "patience": 10, "drop": ["sign"], "seed": 0}
TOO_FAST: dict[str, Any] = FAST | {"learning_rate": 30.0}


class Heard(Reporter):
    """Keeps what a training warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.diagnosed_runs: list[Run] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)

    def diagnosed(self, run: Run) -> None:
        self.diagnosed_runs.append(run)


def _artifacts(store: Store, run_id: str) -> dict[str, str]:
    client = open_store(store)
    names = [one.path for one in client.list_artifacts(run_id, "neuronwise")]
    return {name: Path(client.download_artifacts(run_id, name)).read_text() for name in names if "diagnosis" in name}


def test_a_training_that_goes_wrong_is_told_kept_and_tagged(store: Store) -> None:
    run = neuronwise.train(make_frame(), "y", **TOO_FAST)
    assert run.diagnosis is not None
    assert run.diagnosis.findings[0].cause == "lr_too_high"
    kept = json.loads((run.folder / "diagnosis.json").read_text())
    assert kept == run.diagnosis.to_dict()
    assert kept == kept_diagnosis(run.folder)
    tags = open_store(store).get_run(run.id).data.tags
    assert tags["neuronwise.findings"] == ",".join(one.cause for one in run.diagnosis.findings)
    assert "The learning rate is too high (lr_too_high, " in tags["mlflow.note.content"]
    found = open_store(store).search_runs(["1"], "tags.`neuronwise.findings` LIKE '%lr_too_high%'")
    assert [one.info.run_id for one in found] == [run.id]
    artifacts = _artifacts(store, run.id)
    assert json.loads(artifacts["neuronwise/diagnosis.json"]) == kept
    page = artifacts["neuronwise/diagnosis.md"]
    assert page.startswith(f"# Diagnosis of {run.name.replace('_', chr(92) + '_')}\n")
    assert "| `learning_rate` | 30 | above 0.01 |" in page
    line = "neuronwise train DATA --target y --drop sign --layers 8 --learning-rate 0.001 --epochs 10 --patience 10"
    assert f"\n{line}\n" in page


def test_of_one_that_goes_well_the_tag_says_none(store: Store) -> None:
    run = neuronwise.train(make_frame(400), "y", **FAST | {"epochs": 40, "learning_rate": 0.02})
    assert run.diagnosis is not None
    assert run.diagnosis.findings == (), str(run.diagnosis)
    tags = open_store(store).get_run(run.id).data.tags
    assert tags["neuronwise.findings"] == "none"
    assert "Diagnosis: nothing wrong found (" in tags["mlflow.note.content"]


def test_it_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    run = neuronwise.train(make_frame(), "y", **TOO_FAST, diagnose=False, track=False)
    assert run.diagnosis is None
    assert not list(run.folder.glob("diagnosis.*"))


def test_what_was_said_before_a_training_went_on_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    frame = make_frame()
    run = neuronwise.train(frame, "y", **TOO_FAST, track=False)
    before = (run.folder / "diagnosis.json").read_bytes()
    again = neuronwise.resume(run, frame, epochs=12, patience=12)
    assert again.diagnosis is not None
    assert again.diagnosis.steps > json.loads(before)["steps"]
    assert (run.folder / "diagnosis.json").read_bytes() != before
    neuronwise.resume(run, frame, epochs=14, patience=14, diagnose=False)
    assert not list(run.folder.glob("diagnosis.*"))


def test_a_training_that_diverges_is_diagnosed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    heard = Heard()
    with pytest.raises(TrainingDiverged) as caught:
        neuronwise.train(make_frame(), "y", **FAST | {"learning_rate": 1e25, "optimizer": "sgd"}, track=False,
                         reporter=heard)  # fmt: skip
    run = caught.value.run
    assert run is not None
    assert heard.diagnosed_runs == [run]
    assert [one.cause for one in run.diagnosis.findings] == ["lr_too_high"]


def _fails(*_: object) -> None:
    raise ZeroDivisionError("a fault of ours")


def test_a_diagnosis_that_fails_is_named_and_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronwise.running.diagnosed.diagnose", _fails)
    heard = Heard()
    run = neuronwise.train(make_frame(), "y", **FAST, reporter=heard)
    assert heard.warnings == ["the training could not be diagnosed: ZeroDivisionError: a fault of ours"]
    assert run.diagnosis is None
    assert run.status == "finished"
    there = open_store(store).get_run(run.id)
    assert there.info.status == "FINISHED"
    assert "neuronwise.findings" not in there.data.tags


def test_sync_sends_it_like_all_other_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = neuronwise.train(make_frame(), "y", **TOO_FAST)
    assert run.tracking_uri is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    done = list(sync([run.id], anew=True))
    assert [one.outcome for one in done] == ["sent"], done
    sent = str(done[0].run_id)
    assert open_store(store).get_run(sent).data.tags["neuronwise.findings"].startswith("lr_too_high")
    assert set(_artifacts(store, sent)) == {"neuronwise/diagnosis.json", "neuronwise/diagnosis.md"}


def _said(run: Run, *, quiet: bool = False) -> str:
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as captured:
        ConsoleReporter(console, quiet=quiet).finished(run)
    return captured.get()


def test_the_closing_lines_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    make_frame().to_csv(tmp_path / "my rows.csv", index=False)
    run = neuronwise.train(tmp_path / "my rows.csv", "y", **TOO_FAST, track=False)
    for quiet in (False, True):
        said = _said(run, quiet=quiet)
        assert "Diagnosis The learning rate is too high (lr_too_high, " in said
        line = f"neuronwise train '{tmp_path}/my rows.csv' --target y --drop sign --layers 8 --learning-rate 0.001"
        assert f"try  {line} --epochs 10 --patience 10\n" in said
        assert f"why  neuronwise diagnose {run.id[:8]}\n" in said


def test_of_one_that_goes_well_they_say_how_much_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    run = neuronwise.train(make_frame(400), "y", **FAST | {"epochs": 40, "learning_rate": 0.02}, track=False)
    assert "Diagnosis nothing wrong found (7 things looked at)\n" in _said(run)
    assert "Diagnosis" not in _said(run, quiet=True)


def test_hostile_names_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    bad = "x|<img src=1> `a`\n# [t](u) \x1b[31m; rm -rf ~"
    frame = make_frame(200)
    frame = pd.DataFrame({bad: frame["y"] * 2 + 1, "a": frame["a"], "y": frame["y"]})
    run = neuronwise.train(frame, "y", layers=[4], epochs=20, seed=0, track=False)
    assert run.diagnosis is not None
    assert [one.cause for one in run.diagnosis.findings] == ["leaking_target"]
    content = run.diagnosis.to_dict()
    said = [*closing_lines(content, "latest"), _said(run)]
    assert all("\x1b" not in one for one in said)
    assert "\n" not in said[0]
    page = (run.folder / "diagnosis.md").read_text()
    outside = "".join(page.split("````\n")[::2])  # of the fence round the line to type
    assert "rm -rf" in outside
    assert "\n# [t]" not in outside
    assert "<img" not in outside.replace("\\<", "")
    assert "<img" not in described(content)[0].replace("\\<", "")
    assert content["findings"][0]["treatment"]["line"].endswith("; rm -rf ~'")


def test_what_is_not_a_diagnosis_is_not_read(tmp_path: Path) -> None:
    for words in ("", "[]", "{}", '{"format": "neuronwise-diagnosis", "findings": [1]}', '{"format": 1}', "NaN"):
        (tmp_path / "diagnosis.json").write_text(words)
        assert kept_diagnosis(tmp_path) is None
    assert kept_diagnosis(tmp_path / "not there") is None
    assert findings_tags(None) == {}
    assert described(None) == []


# ---------------------------------------------------------------------- watched


def _watched(rate: float, *, epochs: int = 6, **named: Any) -> neuronwise.running.WatchedTraining:
    torch.manual_seed(0)
    x = torch.randn(240, 3)
    y = (x[:, 0] * x[:, 1] > 0).long()
    model, loss = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2)), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    watcher = neuronwise.watch(model, optimizer, loss=loss, validation=(x[160:], y[160:]), **named)
    for _ in range(epochs):
        for rows in torch.randperm(160).split(16):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return watcher


def test_a_watched_training_tells_it_when_it_is_closed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = _watched(5.0)
    assert watcher.diagnosis is None
    watcher.close()
    assert watcher.diagnosis is not None
    assert watcher.diagnosis.findings[0].cause == "lr_too_high"
    said = capsys.readouterr().err
    assert said.count("neuronwise: The learning rate is too high (lr_too_high, ") == 1
    assert "  try  optimizer = torch.optim.Adam(model.parameters(), lr=0.001)\n" in said
    assert f"  why  neuronwise diagnose {watcher.run_id[:8]}\n" in said
    there = open_store(store).get_run(watcher.run_id)
    assert there.data.tags["neuronwise.findings"].startswith("lr_too_high")
    assert "**Diagnosis**: The learning rate is too high" in there.data.tags["mlflow.note.content"]
    assert json.loads(_artifacts(store, watcher.run_id)["neuronwise/diagnosis.json"]) == watcher.diagnosis.to_dict()
    capsys.readouterr()  # MLflow tells of each file
    watcher.close()
    assert capsys.readouterr().err == ""


def test_a_description_that_the_user_wrote_meanwhile_stays(store: Store) -> None:
    watcher = _watched(5.0)
    open_store(store).set_tag(watcher.run_id, "mlflow.note.content", "mine")
    watcher.close()
    tags = open_store(store).get_run(watcher.run_id).data.tags
    assert tags["mlflow.note.content"] == "mine"
    assert "neuronwise.findings" in tags


def test_watching_can_leave_it_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = _watched(5.0, folder=tmp_path / "run", tracking=False, diagnose=False)
    watcher.close()
    assert watcher.diagnosis is None
    assert capsys.readouterr().err == ""
    assert not list((tmp_path / "run").glob("diagnosis.*"))


def test_a_watched_training_whose_diagnosis_fails_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronwise.running.diagnosed.diagnose", _fails)
    watcher = _watched(0.01, folder=tmp_path / "run", tracking=False)
    with pytest.warns(RuntimeWarning, match="could not be diagnosed: ZeroDivisionError: a fault of ours"):
        watcher.close()
    assert json.loads((tmp_path / "run" / "watched.json").read_text())["status"] == "finished"


def test_a_watcher_that_is_garbage_tells_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = _watched(5.0, folder=tmp_path / "run", tracking=False)
    watcher._close("finished", wait=False)  # as its end does, whatever thread that is on
    watcher._sender._thread.join(60)  # type: ignore[union-attr]
    assert "lr_too_high" in capsys.readouterr().err
    assert (tmp_path / "run" / "diagnosis.json").is_file()


def test_no_step_no_diagnosis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = _watched(0.01, epochs=0, folder=tmp_path / "run", tracking=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watcher.close()
    assert watcher.diagnosis is None
    assert capsys.readouterr().err == ""


def test_looking_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    runs = [neuronwise.train(make_frame(), "y", **FAST, track=False, diagnose=one) for one in (True, False)]
    assert np.array_equal(runs[0].network.parameters, runs[1].network.parameters)
    assert np.array_equal(np.random.get_state()[1], state)  # type: ignore[arg-type]
