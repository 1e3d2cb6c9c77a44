"""watch: a training of PyTorch becomes a run of ours, in MLflow and on disk."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neuronwise
from neuronwise.errors import MissingExtraError, NeuronwiseError, NotFoundError, UsageError
from neuronwise.files import write_atomically
from neuronwise.recording.quantities import norm
from neuronwise.running import WatchedTraining, clean, find_any, layer_rows, list_runs, sync
from neuronwise.running.checkpointing import is_held
from neuronwise.running.parameter_table import parameter_table
from neuronwise.running.run import runs_folder
from neuronwise.running.tracking_file import TrackingState
from neuronwise.running.watched_points import MAX_LAYERS, is_sent, spacing
from neuronwise.running.watched_run import WatchedRun
from neuronwise.running.watched_tracking import WatchedSender
from neuronwise.tracking import Store, open_store
from neuronwise.tracking.manifest import fetch_manifest

from .conftest import make_frame
from .flaky import Flaky


def make_model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def learn(model: Any, watcher_of: Any = None, *, steps: int = 60, **options: Any) -> WatchedTraining:
    """Train with a watcher, which is not closed."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss = nn.MSELoss()
    watcher: WatchedTraining = neuronwise.watch(model, optimizer, loss=loss, **options)
    x = torch.linspace(-1, 1, 256).reshape(64, 4)
    for step in range(steps):
        optimizer.zero_grad()
        output = model(x)
        loss(output, x[:, :1].expand_as(output)).backward()
        optimizer.step()
        if step == steps - 1:
            watcher.log(accuracy=0.5)
    return watcher


def points(store: Store, run_id: str) -> dict[str, dict[int, float]]:
    """Return every metric of a run: its values by step; a step that was sent twice is a failure."""
    client = open_store(store)
    found = {}
    for key in client.get_run(run_id).data.metrics:
        history = client.get_metric_history(run_id, key)
        found[key] = {one.step: one.value for one in history}
        assert len(found[key]) == len(history), key
    return found


def files(store: Store, run_id: str) -> set[str]:
    return set(fetch_manifest(open_store(store), run_id).files)


# ---------------------------------------------------------------- a run in MLflow


def test_a_watched_training_is_a_run_in_mlflow(store: Store) -> None:
    with learn(make_model(), name="mine") as watcher:
        pass
    assert watcher.not_logged == []
    assert watcher.run_name == "mine"
    run = open_store(store).get_run(watcher.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["neuronwise.watched"] == "torch"
    assert run.data.tags["neuronwise.status"] == "finished"
    assert run.data.tags["neuronwise.folder"] == str(watcher.run_folder) == str(runs_folder() / watcher.run_id)
    assert "Sequential (PyTorch), 49 parameters, 49 of them trainable" in run.data.tags["mlflow.note.content"]
    assert run.data.params["watched.parameters"] == "49"
    found = points(store, watcher.run_id)
    recording = neuronwise.open(watcher.run_id)
    assert list(found["loss"]) == list(range(1, 61))
    assert found["loss"] == pytest.approx(dict(zip(*_course(recording.history("loss")), strict=True)))
    assert set(found["learning_rate"].values()) == {0.01}
    assert found["accuracy"] == {60: 0.5}
    sent = files(store, watcher.run_id)
    assert {"neuronwise/watched.json", "neuronwise/parameters.json", "neuronwise/parameters.md"} <= sent
    assert "neuronwise/recording/recording.json" in sent
    assert TrackingState.load(watcher.run_folder).is_complete


def _course(course: Any) -> tuple[list[int], list[float]]:
    return course.steps.tolist(), course.values.tolist()


def test_norms_of_each_layer_are_those_of_the_recording(store: Store) -> None:
    watcher = learn(make_model())
    watcher.close()
    found = points(store, watcher.run_id)
    recording = neuronwise.open(watcher.run_id)
    frames = recording.frames[1:].tolist()
    for layer in ("0", "2"):
        for key in ("weight_norm", "grad_norm", "update_ratio"):
            course = recording.layer_norms(layer, key, frames)
            assert found[f"{layer}/{key}"] == pytest.approx(dict(zip(*_course(course), strict=True)), rel=1e-5)
    inactive = recording.neurons("0", "inactive", frames)
    assert found["0/zero_fraction"] == pytest.approx(
        dict(zip(frames, inactive.values.mean(axis=1).tolist(), strict=True))
    )
    assert "2/zero_fraction" not in found  # no ReLU follows it
    squares = [
        norm(recording.neurons(layer, name, frames).values) ** 2
        for layer in ("0", "2")
        for name in ("grad_norm", "bias_grad")
    ]
    assert list(found["grad_norm"].values()) == pytest.approx(np.sqrt(sum(squares)).tolist(), rel=1e-5)


def test_the_weights_are_the_same_with_and_without_a_run(store: Store) -> None:
    watched, bare = make_model(), make_model()
    learn(watched).close()
    optimizer, x = torch.optim.Adam(bare.parameters(), lr=0.01), torch.linspace(-1, 1, 256).reshape(64, 4)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.mse_loss(bare(x), x[:, :1]).backward()
        optimizer.step()
    for one, other in zip(watched.parameters(), bare.parameters(), strict=True):
        assert torch.equal(one, other)


def test_norms_are_not_computed_on_the_thread_that_trains(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from neuronwise.running import watched_tracking

    threads = set()
    original = watched_tracking.layer_values

    def spy(*arguments: Any) -> Any:
        threads.add(threading.current_thread())
        return original(*arguments)

    monkeypatch.setattr(watched_tracking, "layer_values", spy)
    learn(make_model()).close()
    assert threads
    assert threading.main_thread() not in threads


def test_of_many_steps_some_losses_are_sent() -> None:
    assert all(is_sent(step) for step in range(1001))
    assert [step for step in range(1001, 1010) if is_sent(step)] == [1002, 1004, 1006, 1008]
    assert spacing(100_000) == 128
    assert sum(map(is_sent, range(1, 1_000_001))) < 12_000


def test_of_many_layers_first_last_and_some_between_are_sent(store: Store) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(MAX_LAYERS + 20)])
    watcher = learn(model, steps=3)
    watcher.close()
    layers = {key.partition("/")[0] for key in points(store, watcher.run_id) if key.endswith("/weight_norm")}
    assert len(layers) == MAX_LAYERS
    assert {"0", str(MAX_LAYERS + 19)} <= layers
    assert any(f"{MAX_LAYERS} of {MAX_LAYERS + 20} layers" in sentence for sentence in watcher.not_logged)
    assert len(neuronwise.open(watcher.run_id).stored.layout.observed) == MAX_LAYERS + 20


def test_what_is_not_finite_is_counted(store: Store) -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = neuronwise.watch(model, optimizer)
    for step in range(3):
        optimizer.zero_grad()
        (model(torch.ones(2, 4)).sum() * (float("nan") if step else 1.0)).backward()
        optimizer.step()
    watcher.close()
    found = points(store, watcher.run_id)
    assert set(found["0/grad_norm"]) == {1}
    assert found["0/grad_norm_nonfinite"] == {2: 1.0, 3: 2.0}


# ---------------------------------------------------------------- the user's own run


def test_within_a_run_of_the_user_it_is_written_to_that_and_not_ended(store: Store) -> None:
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    try:
        with mlflow.start_run() as run:
            mlflow.set_tag("mlflow.note.content", "my words")
            watcher = learn(make_model())
            watcher.close()
            assert watcher.run_id == run.info.run_id
            mlflow.log_params({"model": "mine", "parameters": "many", "optimizer": "adam"})  # ours are in no way
            assert mlflow.active_run() is not None
            assert open_store(store).get_run(watcher.run_id).info.status == "RUNNING"
        found = open_store(store).get_run(watcher.run_id)
        assert found.info.status == "FINISHED"
        assert found.data.tags["mlflow.note.content"] == "my words"
        assert found.data.tags["neuronwise.status"] == "finished"
        assert len(neuronwise.open(watcher.run_id).frames) > 50
    finally:
        mlflow.set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)


def test_a_second_training_in_a_run_of_the_user_gets_one_below_it(store: Store) -> None:
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    try:
        with mlflow.start_run() as run:
            first = learn(make_model(), steps=5)
            second = learn(make_model(), steps=7)  # beside the first, as of two networks that learn together
            second.close()
            first.close()
        assert first.run_id == run.info.run_id != second.run_id
        below = open_store(store).get_run(second.run_id)
        assert below.data.tags["mlflow.parentRunId"] == first.run_id
        assert below.info.status == "FINISHED"
        assert [neuronwise.open(one.run_id).stored.last_step for one in (first, second)] == [5, 7]
    finally:
        mlflow.set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)


def test_it_works_with_autolog(store: Store) -> None:
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    try:
        mlflow.pytorch.autolog()
        watcher = learn(make_model(), steps=5)
        watcher.close()
        assert open_store(store).get_run(watcher.run_id).info.status == "FINISHED"
    finally:
        mlflow.pytorch.autolog(disable=True)
        mlflow.set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)


# ---------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [(None, "FINISHED", "finished"), (ValueError, "FAILED", "failed"), (KeyboardInterrupt, "KILLED", "interrupted")],
)
def test_a_with_block_ends_the_run(store: Store, error: type[BaseException] | None, status: str, word: str) -> None:
    watcher = learn(make_model(), steps=3)
    with pytest.raises(error) if error is not None else contextlib.nullcontext(), watcher:
        if error is not None:
            raise error()
    assert open_store(store).get_run(watcher.run_id).info.status == status
    found = WatchedRun.load(watcher.run_folder)
    assert (found.status, found.steps) == (word, 3)
    assert neuronwise.open(watcher.run_id).status == word
    watcher.close()  # again: nothing


SCRIPT = """
import os, sys, torch, neuronwise
from torch import nn

def main():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    watcher = neuronwise.watch(model, optimizer, name="script")
    if sys.argv[1] == "kept":
        globals()["kept"] = watcher
    del watcher
    for step in range(30):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        if step == 20 and sys.argv[1] == "error":
            raise RuntimeError("the loop failed")
        if step == 20 and sys.argv[1] == "kill":
            import time
            time.sleep(1)
            os.kill(os.getpid(), 9)
        if step == 20 and sys.argv[1] == "fork" and os.fork() == 0:
            sys.exit(0)

main()
"""


def run_script(how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("how", ["kept", "returned", "fork"])
def test_a_watcher_that_nobody_closes_leaves_a_finished_run(store: Store, how: str) -> None:
    done = run_script(how)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("neuronwise: nothing wrong found")
    (one,) = list_runs()[0]
    assert (one.name, one.status) == ("script", "finished")
    assert open_store(store).get_run(one.id).info.status == "FINISHED"
    recording = neuronwise.open("script")
    assert (recording.status, recording.stored.last_step, recording.problems) == ("finished", 30, [])
    assert TrackingState.load(runs_folder() / one.id).is_complete


def test_an_error_that_ends_the_process_leaves_a_failed_run(store: Store) -> None:
    done = run_script("error")
    assert done.returncode == 1
    assert "the loop failed" in done.stderr
    (one,) = list_runs()[0]
    assert one.status == "failed"
    assert open_store(store).get_run(one.id).info.status == "FAILED"
    assert neuronwise.open(one.id).stored.last_step == 21


def test_a_killed_process_is_completed_by_sync(store: Store) -> None:
    assert run_script("kill").returncode == -signal.SIGKILL
    (one,) = list_runs()[0]
    assert one.status == "running"
    assert neuronwise.open("script").status == "unfinished"
    (done,) = sync()
    assert (done.outcome, done.name) == ("sent", "script")
    run = open_store(store).get_run(one.id)
    assert run.info.status == "KILLED"
    assert run.data.tags["neuronwise.status"] == "killed"
    # Of the last half second MLflow may have been told what was not on the disk yet.
    assert set(points(store, one.id)["0/weight_norm"]) >= set(neuronwise.open("script").frames[1:].tolist())
    assert list(sync()) == []


def test_a_watcher_that_is_gone_with_its_model_ends_in_the_background(store: Store) -> None:
    model = make_model()
    run_id = learn(model, steps=5, statistics_every=100).run_id
    del model
    gc.collect()
    for _ in range(200):
        if open_store(store).get_run(run_id).info.status == "FINISHED":
            break
        time.sleep(0.05)
    assert open_store(store).get_run(run_id).info.status == "FINISHED"


_DRAWS = """
import random
import sys

import torch

import neuronwise

model = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
random.seed(0)
before = random.getstate()
with neuronwise.watch(model, optimizer, diagnose=False) as watcher:
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
assert random.getstate() == before, "moved"
print(watcher.run_name)
"""


def test_pythons_random_state_stays_as_it_was_and_does_not_name_runs(store: Store) -> None:
    """rich draws a number when it is imported, and MLflow draws a name: of a seed that is set always the same."""
    names = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", _DRAWS], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        names.append(done.stdout)
    assert names[0] != names[1]


# ---------------------------------------------------------------- where MLflow is not


def test_without_a_store_it_is_recorded_and_sent_later(store: Store, flaky: Flaky) -> None:
    flaky.is_down = True
    with pytest.warns(RuntimeWarning, match="neuronwise sync sends it to MLflow later"):
        watcher = learn(make_model(), name="mine")
    watcher.close()
    assert any(f"neuronwise sync {watcher.run_id[:8]}" in sentence for sentence in watcher.not_logged)
    assert len(neuronwise.open("mine").frames) > 50
    flaky.is_down = False
    (done,) = sync()
    assert done.outcome == "sent", done
    run_id = str(done.run_id)
    run = open_store(store).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["neuronwise.watched"] == "torch"
    assert run.data.params["watched.model"] == "Sequential"
    again = learn(make_model())
    again.close()
    assert _without_time(points(store, run_id)) == _without_time(points(store, again.run_id))
    assert files(store, run_id) == files(store, again.run_id)
    assert list(sync()) == []


def _without_time(found: dict[str, dict[int, float]]) -> dict[str, dict[int, float]]:
    return {key: {step: round(value, 9) for step, value in values.items()} for key, values in found.items()}


def test_a_store_that_goes_away_meanwhile_gets_the_rest_later(store: Store, flaky: Flaky) -> None:
    watcher = learn(make_model(), name="mine")
    flaky.is_down = True
    flaky.fails = set()
    watcher.close()
    assert watcher.not_logged
    flaky.is_down = False
    (done,) = sync()
    assert done.outcome == "sent", done
    assert sorted(points(store, watcher.run_id)["loss"]) == list(range(1, 61))
    assert open_store(store).get_run(watcher.run_id).info.status == "FINISHED"


def test_untracked_it_is_kept_on_this_machine_only(store: Store) -> None:
    watcher = learn(make_model(), tracking=False, name="mine")
    watcher.close()
    assert watcher.not_logged == []
    assert list_runs()[0][0].name == "mine"
    assert not (watcher.run_folder / "tracking.json").exists()
    (done,) = sync(["mine"])
    assert (done.outcome, done.message) == ("skipped", "it was watched with tracking=False")
    assert len(neuronwise.open("mine").frames) > 50


def test_it_can_be_read_when_only_mlflow_has_it(store: Store) -> None:
    watcher = learn(make_model(), name="mine")
    watcher.close()
    shutil.rmtree(watcher.run_folder)
    assert list_runs()[0][0].size_bytes == 0
    for text in ("mine", watcher.run_id[:8], "latest"):
        assert neuronwise.open(text).stored.last_step == 60
        found = find_any(text)
        assert isinstance(found, WatchedRun)
        assert (found.name, found.steps, found.status) == ("mine", 60, "finished")
        with pytest.raises(NotFoundError, match="left no network of Neuronwise"):
            neuronwise.load(text)


def test_clean_frees_it_and_open_fetches_it(store: Store) -> None:
    watcher = learn(make_model(), name="mine")
    watcher.close()
    (done,) = clean()
    assert (done.outcome, done.name) == ("freed", "mine"), done
    assert not (watcher.run_folder / "recording").exists()
    assert neuronwise.open("mine").stored.last_step == 60


def test_while_it_is_watched_sync_and_clean_leave_it_alone(store: Store) -> None:
    watcher = learn(make_model(), name="mine")
    assert [one.outcome for one in sync(["mine"])] == ["skipped"]
    assert [one.outcome for one in clean(["mine"])] == ["kept"]
    assert neuronwise.open("mine").status == "unfinished"
    watcher.close()


# ---------------------------------------------------------------- RUN


def test_it_is_found_by_id_prefix_name_latest_and_folder(store: Store) -> None:
    other = learn(make_model(), steps=2, name="other")
    other.close()
    watcher = learn(make_model(), steps=3, name="mine")
    watcher.close()
    for text in (watcher.run_id, watcher.run_id[:6], "mine", "latest", str(watcher.run_folder)):
        assert neuronwise.open(text).stored.last_step == 3
        found = find_any(text)
        assert isinstance(found, WatchedRun)
        assert found.id == watcher.run_id


def test_latest_is_the_last_of_trained_and_watched_runs(store: Store) -> None:
    learn(make_model(), steps=2, name="watched", tracking=False).close()
    run = neuronwise.train(make_frame(), "y", layers=[3], epochs=2, drop=["sign"], track=False)
    assert find_any("latest").id == run.id
    assert neuronwise.open("latest").stored.network_dict is not None
    learn(make_model(), steps=2, name="again", tracking=False).close()
    assert find_any("latest").name == "again"
    assert neuronwise.load("latest").network.sizes == run.network.sizes  # the last that has a network


def test_two_of_one_name_are_told_apart(store: Store) -> None:
    for _ in range(2):
        learn(make_model(), steps=2, name="twin", tracking=False).close()
    with pytest.raises(NotFoundError, match="'twin' fits 2 runs"):
        find_any("twin")


def test_a_trained_and_a_watched_run_of_one_name_are_told_apart(store: Store) -> None:
    learn(make_model(), steps=2, name="twin", tracking=False).close()
    run = neuronwise.train(make_frame(), "y", layers=[3], epochs=1, drop=["sign"], track=False, name="twin")
    for find in (find_any, neuronwise.open):
        with pytest.raises(NotFoundError, match="'twin' fits 2 runs, a trained and a watched one"):
            find("twin")
        find(run.id)


def test_a_damaged_run_hides_no_other(store: Store) -> None:
    bad, good = (learn(make_model(), steps=2, name=name, tracking=False) for name in ("bad", "good"))
    bad.close()
    good.close()
    write_atomically(bad.run_folder / "watched.json", "{")
    assert {one.status for one in list_runs()[0]} == {"damaged", "finished"}
    assert find_any("good").id == good.run_id
    with pytest.raises(NeuronwiseError, match="not valid JSON"):
        find_any(bad.run_id)


def test_a_folder_of_ones_own(store: Store, tmp_path: Path) -> None:
    watcher = learn(make_model(), folder=tmp_path / "own", steps=3)
    watcher.close()
    assert watcher.folder == tmp_path / "own" / "recording"
    assert neuronwise.open(tmp_path / "own").stored.last_step == 3
    assert find_any(str(tmp_path / "own")).id == watcher.run_id
    assert not runs_folder().exists() or not list(runs_folder().iterdir())
    with pytest.raises(UsageError, match="already holds a recording"):
        learn(make_model(), folder=tmp_path / "own")
    assert neuronwise.open(watcher.run_id).stored.last_step == 3  # from MLflow


# ---------------------------------------------------------------- arguments


def test_an_argument_that_does_not_fit_leaves_nothing_behind(store: Store) -> None:
    model = make_model()
    for options in ({"time_budget": 2}, {"layers": ["nothing"]}, {"loss": "mse"}, {"bytes_budget": 5}):
        with pytest.raises(UsageError, match="argument"):
            neuronwise.watch(model, **options)
    with pytest.raises(UsageError, match="argument model"):
        neuronwise.watch("model")  # type: ignore[arg-type]
    assert list_runs()[0] == []
    assert not runs_folder().exists()
    assert not model._forward_hooks


def test_a_folder_that_cannot_be_written_is_an_error_before_the_loop(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = make_model()
    with pytest.raises(NeuronwiseError, match="cannot be written"):
        neuronwise.watch(model, folder=tmp_path / "file" / "below", tracking=False)
    assert not model._forward_hooks


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError) as caught:
        neuronwise.watch(object())  # type: ignore[arg-type]
    assert caught.value.hint == "pip install 'neuronwise[torch]'"


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10_050, 4)
        self.lstm = nn.LSTM(4, 3)
        self.head = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.words(x))[0])


@pytest.mark.parametrize("frozen", [False, True])
def test_modules_that_make_several_layers(frozen: bool, store: Store) -> None:
    torch.manual_seed(0)
    model = Reader()
    model.lstm.requires_grad_(not frozen)
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    with neuronwise.watch(model, optimizer, name="reader") as watcher:
        for step in range(3):
            optimizer.zero_grad()
            model(torch.tensor([[0, 11, 5], [22, 23, step]])).square().sum().backward()
            optimizer.step()
    assert watcher.not_logged == []
    rows = {row.layer: row for row in layer_rows(neuronwise.open("reader"), watcher.run_folder)}
    assert sum(row.parameters for row in rows.values()) == sum(one.numel() for one in model.parameters())
    assert (rows["lstm"].parameters, rows["lstm"].neurons, rows["lstm"].weight_norm) == (0, 3, None)
    own = rows["lstm.weight_hh_l0"]
    assert (own.parameters, own.trainable, own.neurons) == (12 * 3 + 12, 0 if frozen else 12 * 3 + 12, 12)
    assert own.weight_norm == pytest.approx(float(model.lstm.weight_hh_l0.detach().norm()), rel=1e-5)
    assert rows["words"].neurons == 914
    found = points(store, watcher.run_id)
    assert list(found["lstm.weight_hh_l0/weight_norm"]) == [1, 2, 3]
    assert "lstm/weight_norm" not in found
    assert not any(key.startswith("lstm/") for key in found)


# ---------------------------------------------------------------- the table of parameters


class Shared(nn.Module):
    """A module at two places, a parameter in two modules, and a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.first = nn.Linear(3, 3)
        self.again = self.first
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.frozen = nn.Conv2d(1, 2, 3)
        self.frozen.requires_grad_(False)


def test_the_table_counts_shared_parameters_once() -> None:
    model = Shared()
    table = parameter_table(model)
    assert table is not None
    assert table.parameters == sum(one.numel() for one in model.parameters()) == 3 + 12 + 15 + 20
    assert table.trainable == 30
    assert [row.layer for row in table.rows] == ["Shared", "first", "embedding", "head", "frozen"]
    assert table.rows[3].parameters == 0
    assert table.rows[3].note == "weight of embedding"
    assert "| **total** | | | **50** | **30** |" in table.to_markdown()


@pytest.mark.parametrize("kind", ["dense", "conv", "transformer", "lstm", "twice"])
def test_the_table_agrees_with_torchinfo(kind: str) -> None:
    torchinfo = pytest.importorskip("torchinfo", reason="pip install torchinfo compares the counts with its own")
    layer = nn.Linear(4, 4)
    model = {
        "dense": lambda: make_model(),
        "conv": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)),
        "transformer": lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True),
        "lstm": lambda: nn.LSTM(4, 5, num_layers=2, bidirectional=True),
        "twice": lambda: nn.Sequential(layer, nn.ReLU(), layer),
    }[kind]()
    found, table = torchinfo.summary(model, verbose=0), parameter_table(model)
    assert table is not None
    assert (table.parameters, table.trainable) == (found.total_params, found.trainable_params)


def test_of_lazy_modules_the_table_is_written_at_the_end(store: Store) -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with neuronwise.watch(model, optimizer) as watcher:
        assert not (watcher.run_folder / "parameters.json").exists()
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
    content = json.loads((watcher.run_folder / "parameters.json").read_text())
    assert (content["parameters"], content["layers"][0]["shape"]) == (19, [3, 4])
    assert WatchedRun.load(watcher.run_folder).parameters == 19
    assert "neuronwise/parameters.md" in files(store, watcher.run_id)


def test_a_run_without_a_step_is_told_so(store: Store) -> None:
    watcher = learn(make_model(), steps=0, name="empty")
    watcher.close()
    assert find_any("empty").status == "finished"
    with pytest.raises(NotFoundError):
        neuronwise.open("empty")


def test_watchers_that_are_garbage_complete_their_recordings(tmp_path: Path) -> None:
    def drop(number: int) -> None:
        model = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        neuronwise.watch(model, optimizer, folder=tmp_path / str(number), tracking=False, diagnose=False)
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()

    for number in range(30):  # in what order the parts of a cycle are finalised differs from time to time
        drop(number)
    gc.collect()
    for number in range(30):
        recording = neuronwise.open(tmp_path / str(number))
        assert (recording.status, recording.frames.tolist(), recording.problems) == ("finished", [0, 1], [])


def test_the_folder_of_a_watcher_that_is_garbage_is_held_until_its_run_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is no garbage with the watcher: it would be released by that, at a time of its own or twice at once."""
    ends, may_end, senders = threading.Event(), threading.Event(), list[WatchedSender]()
    conclude = WatchedSender._conclude

    def concluded(sender: WatchedSender, status: str) -> None:
        senders.append(sender)
        ends.set()
        may_end.wait(30)
        conclude(sender, status)

    monkeypatch.setattr(WatchedSender, "_conclude", concluded)

    def drop() -> None:
        model = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        neuronwise.watch(model, optimizer, folder=tmp_path / "run", tracking=False, diagnose=False)
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()

    drop()
    gc.collect()
    assert ends.wait(30)
    held = is_held(tmp_path / "run")
    may_end.set()
    (sender,) = senders
    assert sender._done.wait(30)
    assert held
    assert not is_held(tmp_path / "run")
    assert sender.problems == []


def test_what_was_closed_is_left_alone_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    held = (torch.ones(4, 3), torch.ones(4, 2))
    watcher = neuronwise.watch(model, optimizer, loss=nn.MSELoss(), validation=held, folder=tmp_path / "run")
    nn.functional.mse_loss(model(held[0]), held[1]).backward()
    optimizer.step()
    watcher.close()
    monkeypatch.setattr(WatchedTraining, "_held_rows", lambda self: pytest.fail("asked again"))
    monkeypatch.setattr(WatchedTraining, "_note_table", lambda self: pytest.fail("asked again"))
    watcher.close()
    watcher.__del__()
