"""Resuming a run: bit for bit as if it had never stopped, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save

import neuronwise
from neuronwise.data import StreamedTable, make_houses
from neuronwise.errors import FormatError, NotFoundError, TrainingDiverged, UsageError
from neuronwise.learning import Observer, Schedule, TrainingState
from neuronwise.network import BatchNorm, Dense, Dropout, Flatten, Network
from neuronwise.running import DataOptions, Run, prepare, resume, train
from neuronwise.running.reporter import Reporter
from neuronwise.running.run import runs_folder

QUICK: dict[str, Any] = {"layers": "8", "epochs": 6, "batch_size": 64, "track": False}


class StopAt(Observer):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, state: TrainingState) -> None:
        if state.step == self.step:
            state.stop()


class Steps(Observer):
    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_step_end(self, state: TrainingState) -> None:
        self.seen.append(state.step)


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    path = tmp_path / "houses.csv"
    make_houses(600, seed=1).to_csv(path, index=False)
    return path


def _without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in history]


def _same(run: Run, whole: Run) -> None:
    assert run.network.parameters.tobytes() == whole.network.parameters.tobytes()
    assert run.network.buffers.tobytes() == whole.network.buffers.tobytes()
    assert _without_seconds(run.history) == _without_seconds(whole.history)
    assert (run.status, run.steps, run.best_epoch, run.best_step) == (
        whole.status, whole.steps, whole.best_epoch, whole.best_step
    )  # fmt: skip
    assert run.metrics == whole.metrics
    assert run.data == whole.data
    assert {s.name: s.metrics for s in run.baselines} == {s.name: s.metrics for s in whole.baselines}


@pytest.mark.parametrize("step", [1, 9, 20])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "momentum", "learning_rate": 0.01, "schedule": "cosine", "warm_up": 5, "clip_norm": 1.0},
        {"network": [Dense(8, "identity"), BatchNorm(activation="relu"), Dropout(0.2), Dense(1, "identity")]},
    ],
    ids=["plain", "schedule", "batch norm and dropout"],
)
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(houses: Path, step: int, options: dict[str, Any]) -> None:
    options = QUICK | options
    if "network" in options:
        layers = [json.loads(json.dumps({"type": type(one).__name__} | _settings(one))) for one in options["network"]]
        options["network"] = {"format": "neuronwise-network", "version": 1, "layers": layers}
        del options["layers"]
    whole = train(houses, "price", **options)
    stopped = train(houses, "price", observers=[StopAt(step)], **options)
    assert (stopped.status, stopped.steps) == ("stopped", step)
    seen = Steps()
    run = resume(stopped.id, observers=[seen])
    assert run.id == stopped.id
    assert seen.seen == list(range(step + 1, whole.steps + 1))
    _same(run, whole)
    _same(Run.load(stopped.folder), whole)
    recorded, expected = run.history_on_disk, whole.history_on_disk
    assert recorded.problems == []
    assert (recorded.status, recorded.delivered_step) == (expected.status, expected.delivered_step)
    assert [(e["epoch"], e["step"], e["metrics"]) for e in recorded.epochs] == [
        (e["epoch"], e["step"], e["metrics"]) for e in expected.epochs
    ]
    _same_scalars(recorded.scalars, expected.scalars)
    for at in expected.steps:
        np.testing.assert_array_equal(recorded.parameters(at), expected.parameters(at))
        np.testing.assert_array_equal(recorded.buffers(at), expected.buffers(at))


def _same_scalars(found: Any, expected: Any) -> None:
    for name in ("step", "epoch", "loss", "learning_rate"):  # not which attempt wrote them
        np.testing.assert_array_equal(found[name], expected[name])


def _settings(layer: Any) -> dict[str, Any]:
    if isinstance(layer, Dense):
        return {"units": layer.units, "activation": layer.activation.name}
    if isinstance(layer, BatchNorm):
        return {"activation": layer.activation.name}
    return {"rate": layer.rate}


def test_a_finished_run_trains_longer_as_if_it_had_been_planned_so(houses: Path) -> None:
    short = train(houses, "price", **(QUICK | {"epochs": 3, "patience": 20}))
    whole = train(houses, "price", **(QUICK | {"patience": 20}))
    _same(resume(short.id, epochs=6), whole)
    with pytest.raises(UsageError, match="argument epochs: the training has taken all of its 6 epochs"):
        resume(short.id)
    with pytest.raises(UsageError, match="and 4 are asked for"):
        resume(short.id, epochs=4)


def test_a_cosine_that_ended_at_0_is_not_gone_on_with(houses: Path) -> None:
    run = train(houses, "price", **(QUICK | {"schedule": "cosine", "epochs": 2}))
    with pytest.raises(UsageError, match="'cosine' ended with the training at a learning rate of 0"):
        resume(run, epochs=4)


def test_a_schedule_of_ones_own_is_not_guessed(houses: Path) -> None:
    class Own(Schedule):
        name = "own"

        def factor(self, step: int) -> float:
            return 0.5

    stopped = train(houses, "price", schedule=Own(), observers=[StopAt(5)], **QUICK)
    with pytest.raises(UsageError, match="the schedule 'own' is one of a program's own"):
        resume(stopped)


def test_a_run_that_stopped_early_needs_more_patience(houses: Path) -> None:
    options = QUICK | {"epochs": 60, "patience": 1, "learning_rate": 0.05}
    early = train(houses, "price", **options)
    assert early.status == "early_stopped"
    with pytest.raises(UsageError, match="argument patience: the training stopped early: 1 epochs"):
        resume(early.id)
    run = resume(early.id, patience=4)
    _same(run, train(houses, "price", **(options | {"patience": 4})))


def test_a_run_from_a_frame_needs_the_frame_again(houses: Path) -> None:
    frame = pd.read_csv(houses)
    stopped = train(frame, "price", observers=[StopAt(5)], **QUICK)
    with pytest.raises(UsageError, match=r"argument data: the run learned from .*, which was handed in by a program"):
        resume(stopped)
    _same(resume(stopped, frame), train(frame, "price", **QUICK))


def test_a_run_of_arrays_and_one_of_pictures_go_on() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    stopped = train((X, y), observers=[StopAt(4)], **QUICK)
    _same(resume(stopped, (X, y)), train((X, y), **QUICK))
    stopped = train("digits", observers=[StopAt(30)], **QUICK)
    _same(resume(stopped), train("digits", **QUICK))


def test_a_run_that_started_from_another_goes_on_with_the_same_rows_held_out(houses: Path) -> None:
    first = train(houses, "price", **QUICK)
    options = {key: value for key, value in QUICK.items() if key != "layers"} | {"seed": 5, "from_run": first}
    stopped = train(houses, "price", observers=[StopAt(7)], **options)
    _same(resume(stopped), train(houses, "price", **options))


def test_other_data_is_refused(houses: Path) -> None:
    stopped = train(houses, "price", observers=[StopAt(5)], **QUICK)
    houses.write_text(houses.read_text().replace("9", "8", 1))
    with pytest.raises(UsageError, match=r"argument data: the data 'houses.*' is not what the run learned from"):
        resume(stopped)
    houses.unlink()
    with pytest.raises(NotFoundError, match=r"the data of the run is no longer at '.*houses(.|\n)*PLACE --resume"):
        resume(stopped)


def test_a_run_that_diverged_cannot_go_on(houses: Path) -> None:
    with pytest.raises(TrainingDiverged) as caught:
        train(houses, "price", **(QUICK | {"optimizer": "sgd", "learning_rate": 1e30}))
    with pytest.raises(NotFoundError, match="diverged: it cannot go on"):
        resume(caught.value.run)


def test_a_run_of_before_or_a_damaged_one_says_what_is_wrong(houses: Path) -> None:
    stopped = train(houses, "price", observers=[StopAt(5)], **QUICK)
    place = stopped.folder / "checkpoint"
    for content, message in [
        ("{", "not valid JSON"), ("[]", "not a training of version 1"),
        ('{"format": "neuronwise-training", "version": 1}', "'data_options' is missing"),
    ]:  # fmt: skip
        (place / "training.json").write_text(content)
        with pytest.raises(FormatError, match=message):
            resume(stopped)
    (place / "training.json").unlink()
    with pytest.raises(NotFoundError, match="keeps no checkpoint"):
        resume(stopped)
    with pytest.raises(NotFoundError, match="there is no run 'nonsense'"):
        resume("nonsense")


def test_without_its_recording_a_run_still_goes_on_and_records_what_follows(houses: Path) -> None:
    stopped = train(houses, "price", observers=[StopAt(13)], **QUICK)
    shutil.rmtree(stopped.folder / "recording")
    run = resume(stopped)
    _same(run, train(houses, "price", **QUICK))
    assert run.history_on_disk.scalars["step"].tolist() == list(range(14, run.steps + 1))


def test_a_damaged_split_is_refused(houses: Path) -> None:
    stopped = train(houses, "price", observers=[StopAt(5)], **QUICK)
    path = stopped.folder / "checkpoint" / "split.safetensors"
    whole = load_file(path)
    for changed in (
        {"train": whole["train"][:-1]},
        {"train": np.full_like(whole["train"], 3)},
        {"train": whole["train"].astype(np.float64)},
    ):
        path.write_bytes(save(whole | changed))
        with pytest.raises(FormatError, match=r"split\.safetensors: it does not split the data's 600 rows"):
            resume(stopped)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        resume(stopped)


def test_a_training_that_still_runs_is_not_resumed_beside_it(houses: Path) -> None:
    class Resume(Observer):
        error: Exception | None = None

        def on_epoch_end(self, state: TrainingState) -> None:
            (folder,) = runs_folder().iterdir()
            script = "from neuronwise.cli import main; main()"
            command = [sys.executable, "-c", script, "train", "--resume", folder.name]
            self.done = subprocess.run(command, capture_output=True, text=True, check=False)
            state.stop()

    observer = Resume()
    train(houses, "price", observers=[observer], **QUICK)
    assert observer.done.returncode == 2, observer.done.stderr
    assert "is being trained already" in observer.done.stderr


SCRIPT = """
import sys, time
import neuronwise
from neuronwise.learning import Observer
from neuronwise.running import checkpointing
checkpointing._LEAST_SECONDS = 0.0
checkpointing._SHARE = 1e9
class Slow(Observer):
    def on_epoch_end(self, state):
        print("epoch", state.epoch, flush=True)
        time.sleep(0.05)
neuronwise.train(sys.argv[1], "price", layers="8", epochs=6, batch_size=64, track=False, observers=[Slow()])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not of Windows")
def test_a_killed_run_goes_on_at_its_last_checkpoint(houses: Path) -> None:
    whole = train(houses, "price", **QUICK)
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(houses)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.split() == ["epoch", "4"]:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (killed,) = [path for path in runs_folder().iterdir() if path != whole.folder]
    assert not (killed / "run.json").exists()
    seen = Steps()
    run = resume(killed.name[:8], observers=[seen])
    assert seen.seen[0] > 1
    _same(run, whole)
    _same_scalars(run.history_on_disk.scalars, whole.history_on_disk.scalars)


def test_in_mlflow_it_is_the_same_run_which_goes_on(houses: Path) -> None:
    import mlflow

    options = QUICK | {"track": True}
    stopped = train(houses, "price", observers=[StopAt(9)], **options)
    run = resume(stopped)
    assert run.not_logged == []
    client = mlflow.MlflowClient(run.tracking_uri)
    found = client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["neuronwise.resumed_at_step"] == "9"
    assert found.data.tags["neuronwise.status"] == "finished"
    losses = client.get_metric_history(run.id, "loss")
    assert [one.value for one in losses] == [epoch["loss"] for epoch in run.history]
    again = neuronwise.load(run.id)
    np.testing.assert_array_equal(again.network.parameters, run.network.parameters)
    assert time.time() - found.info.end_time / 1000 < 600


def test_flatten_is_a_layer_of_a_given_network_too() -> None:
    network = Network([Flatten(), Dense(8), Dense(10, "softmax")], input_shape=(8, 8), seed=3)
    options = {key: value for key, value in QUICK.items() if key != "layers"} | {"network": network}
    stopped = train("digits", observers=[StopAt(30)], **options)
    _same(resume(stopped), train("digits", **options))
    np.testing.assert_array_equal(network.parameters, Network.from_dict(network.to_dict()).parameters)


def test_the_settings_of_a_given_network_stay_what_they_were(houses: Path) -> None:
    layers = [
        {"type": "Dense", "units": 8},
        {"type": "BatchNorm"},
        {"type": "Dense", "units": 1, "activation": "identity"},
    ]
    network = {"format": "neuronwise-network", "version": 1, "layers": layers}
    options = {key: value for key, value in QUICK.items() if key != "layers"} | {"network": network}
    stopped = train(houses, "price", observers=[StopAt(9)], **options)
    assert resume(stopped).settings == stopped.settings
    started = train(houses, "price", from_run=stopped, epochs=1, track=False)
    assert started.settings["network"] == stopped.settings["network"]
    assert "layers" not in started.settings


def test_a_patience_given_once_is_that_of_the_next_resumption_too(houses: Path) -> None:
    options = QUICK | {"epochs": 60, "patience": 1, "learning_rate": 0.05}
    early = train(houses, "price", **options)
    stopped = resume(early, patience=30, observers=[StopAt(early.steps + 40)])
    assert stopped.status == "stopped"
    assert resume(stopped).settings["patience"] == 30


def test_a_run_killed_while_it_was_evaluated_is_concluded(houses: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = QUICK | {"schedule": "cosine"}
    whole = train(houses, "price", **options)

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("neuronwise.running.conclude.score", killed)
        with pytest.raises(KeyboardInterrupt):
            train(houses, "price", **options)
    (folder,) = [path for path in runs_folder().iterdir() if path != whole.folder]
    assert Run.load(folder).metrics == {}
    seen = Steps()
    run = resume(folder, observers=[seen])
    assert seen.seen == []
    _same(run, whole)
    with pytest.raises(UsageError, match="has taken all of its 6 epochs"):
        resume(folder)


def test_a_refused_length_leaves_the_run_in_mlflow_as_it_was(houses: Path) -> None:
    import mlflow

    stopped = train(houses, "price", observers=[StopAt(20)], **(QUICK | {"track": True}))
    with pytest.raises(UsageError, match="is in epoch 3 already, got 1"):
        resume(stopped, epochs=1)
    assert mlflow.MlflowClient(stopped.tracking_uri).get_run(stopped.id).info.status == "FINISHED"


def test_in_mlflow_every_epoch_is_there_once_after_a_kill(houses: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    from neuronwise.running.checkpointing import CheckpointKeeper, save_checkpoint
    from neuronwise.tracking import Tracker

    def at_epoch_4(keeper: CheckpointKeeper, state: TrainingState) -> None:
        if state.epoch == 4:
            save_checkpoint(keeper._folder, state.checkpoint())

    def unless(lost: Any) -> Any:
        send = Tracker.log_metrics
        return lambda tracker, values, step: None if lost(step) else send(tracker, values, step)

    class Killed(Observer):
        def on_epoch_end(self, state: TrainingState) -> None:
            if state.epoch == 5:
                raise KeyboardInterrupt

    for first_lost in (3, 6):  # the checkpoint of epoch 4 is newer than what was sent, and older
        with monkeypatch.context() as patch:
            patch.setattr(CheckpointKeeper, "on_epoch_end", at_epoch_4)
            patch.setattr(Tracker, "log_metrics", unless(lambda step, first=first_lost: step >= 8 * first))
            with pytest.raises(KeyboardInterrupt):
                train(houses, "price", name=f"lost{first_lost}", observers=[Killed()], **(QUICK | {"track": True}))
        run = resume(f"lost{first_lost}")
        client = mlflow.MlflowClient(run.tracking_uri)
        for key in ("loss", "val_loss", "output/weight_norm"):
            assert [one.step for one in client.get_metric_history(run.id, key)] == [8, 16, 24, 32, 40, 48]


def test_the_store_of_the_run_is_the_one_that_is_written_to(
    houses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = train(houses, "price", observers=[StopAt(9)], **(QUICK | {"track": True}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'another.db'}")
    run = resume(stopped)
    assert run.not_logged == []
    assert run.tracking_uri == stopped.tracking_uri


def test_a_checkpoint_that_cannot_be_written_does_not_cost_what_was_learned(
    houses: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []

    class Told(Reporter):
        def warned(self, message: str) -> None:
            warnings.append(message)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    whole = train(houses, "price", **QUICK)
    monkeypatch.setattr("neuronwise.running.learning_task.save_checkpoint", full)
    run = train(houses, "price", reporter=Told(), **QUICK)
    _same(Run.load(run.folder), whole)
    assert [one for one in warnings if "the checkpoint was not written" in one and "No space left" in one]


def test_a_table_read_in_parts_goes_on_too(houses: Path) -> None:
    options = QUICK | {"memory": "200kB"}
    stopped = train(houses, "price", observers=[StopAt(13)], **options)
    assert isinstance(prepare(houses, DataOptions("price", memory="200kB"), 0).table, StreamedTable)
    _same(resume(stopped), train(houses, "price", **options))
