"""The MLflow side of a training: what is sent when, and what happens when it cannot be."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuronwise
from neuronwise.errors import NotFoundError, TrainingDiverged
from neuronwise.learning import Observer, TrainingState
from neuronwise.running import Reporter, Run, list_runs
from neuronwise.running.pictures import image_shape, spread
from neuronwise.running.stored import fetch_run

from .conftest import make_frame


class FakeTracker:
    """Takes all that a tracker takes, and tells the tests in order."""

    def __init__(self, *, is_online: bool = True, not_logged: tuple[str, ...] = ()) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.is_online, self.not_logged = is_online, list(not_logged)
        self.run_id = "f" * 32 if is_online else None
        self.run_name = "fake" if is_online else None
        self.run_url = None
        self.has_lost = not is_online
        self.store = SimpleNamespace(display_uri="sqlite:///fake.db", ui_command="mlflow ui")

    def start(self, **settings: Any) -> FakeTracker:
        self.calls.append(("start", settings))
        return self

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **settings: Any) -> Any:
            self.calls.append((name, (*arguments, *settings.values())))
            return True

        return call

    def of(self, name: str) -> list[Any]:
        return [arguments for called, arguments in self.calls if called == name]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTracker:
    made = FakeTracker()
    monkeypatch.setattr("neuronwise.running.tracked.Tracker", made)
    return made


@given(st.lists(st.integers(0, 10**9), unique=True, max_size=300).map(sorted), st.integers(2, 60))
def test_spread_takes_the_first_the_last_and_some_between(steps: list[int], count: int) -> None:
    chosen = spread(np.array(steps, dtype=np.int64), count)
    assert len(chosen) <= count
    assert len(chosen) == min(len(steps), count) or len(steps) > count
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= set(steps)
    if steps:
        assert (chosen[0], chosen[-1]) == (steps[0], steps[-1])


def test_what_is_sent_of_a_finished_training(fake: FakeTracker, frame: pd.DataFrame) -> None:
    run = neuronwise.train(frame, "y", epochs=4, experiment="mine", name="named")
    assert run.id == "f" * 32
    assert run.name == "fake"
    assert run.tracking_uri == "sqlite:///fake.db"
    (settings,) = fake.of("start")
    assert settings["experiment"] == "mine"
    assert settings["name"] == "named"
    assert settings["params"].items() >= {"layers": [64, 32], "seed": 0, "target": "y", "task": "regression"}.items()
    assert settings["params"]["parameters"] == run.network.parameter_count
    logged = fake.of("log_metrics")
    assert [step for _, step in logged[:4]] == [epoch["step"] for epoch in run.history]
    for (metrics, _), epoch in zip(logged[:4], run.history, strict=True):
        assert metrics["loss"] == epoch["loss"]
        assert metrics["val_loss"] == epoch["val_loss"]
        layers = {key.split("/")[0] for key in metrics if "/" in key}
        assert layers == {"hidden1", "hidden2", "output"}
        for key in ("weight_norm", "bias_mean", "grad_norm", "update_ratio", "zero_fraction"):
            assert f"hidden1/{key}" in metrics
    result, step = logged[4]
    assert step == run.steps
    assert result["test/r2"] == run.metrics["r2"]
    assert result["test/linear_regression_r2"] == run.baselines[1].metrics["r2"]
    assert fake.of("finish") == [("FINISHED", 30.0)]
    order = [name for name, _ in fake.calls]
    assert order[0] == "start"
    assert order[-1] == "finish"
    assert order.index("log_image") < order.index("log_model")


def test_the_metrics_of_a_layer_are_those_of_its_weights(fake: FakeTracker, frame: pd.DataFrame) -> None:
    run = neuronwise.train(frame, "y", epochs=2, layers=[5])
    recorded = run.history_on_disk
    metrics, step = fake.of("log_metrics")[1]
    W, b = (recorded.layer(step, "hidden1")[key].astype(np.float64) for key in ("W", "b"))
    assert metrics["hidden1/weight_norm"] == pytest.approx(float(np.sqrt((W**2).sum())), rel=1e-5)
    assert metrics["hidden1/bias_mean"] == pytest.approx(b.mean(), rel=1e-4, abs=1e-7)
    assert 0.0 <= metrics["hidden1/zero_fraction"] <= 1.0


def test_pictures_have_steps_from_the_first_to_the_last(fake: FakeTracker) -> None:
    run = neuronwise.train("digits", layers=[4], epochs=2)
    images = fake.of("log_image")
    by_key: dict[str, list[int]] = {}
    for picture, key, step in images:
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        by_key.setdefault(key, []).append(step)
    assert set(by_key) == {"hidden1/weights", "output/weights", "hidden1/weights_as_images"}
    for steps in by_key.values():
        assert (steps[0], steps[-1]) == (0, run.steps)
        assert steps == sorted(set(steps))
        assert len(steps) <= 10
    assert image_shape(run.network) == (8, 8)
    assert (run.folder / "recording" / "weights_over_time.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_has_no_pictures_of_weights_as_images(fake: FakeTracker, frame: pd.DataFrame) -> None:
    run = neuronwise.train(frame, "y", layers=[4], epochs=1)
    assert {key for _, key, _ in fake.of("log_image")} == {"hidden1/weights", "output/weights"}
    assert image_shape(run.network) is None


def test_no_rows_are_sent(fake: FakeTracker) -> None:
    frame = make_frame().assign(person=[f"secret{i % 7}" for i in range(90)])
    run = neuronwise.train(frame, "y", epochs=1)
    (((info),),) = (fake.of("log_input"),)
    assert "secret" not in repr(info)
    assert (run.folder / "model").is_dir()


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "KILLED"), (RuntimeError("a bug"), "FAILED"), (SystemExit(1), "FAILED")]
)
@pytest.mark.parametrize("moment", ["planned", "working"])
def test_whatever_happens_no_run_is_left_running(
    fake: FakeTracker, frame: pd.DataFrame, error: BaseException, status: str, moment: str
) -> None:
    class Breaker(Reporter):
        def planned(self, plan: object) -> None:
            if moment == "planned":
                raise error

        def working(self, what: str) -> None:
            if moment == "working":
                raise error

    with pytest.raises(type(error)):
        neuronwise.train(frame, "y", epochs=1, reporter=Breaker())
    assert [arguments[0] for arguments in fake.of("finish")] == [status]


def test_an_interrupted_training_is_sent_whole_and_killed(fake: FakeTracker, frame: pd.DataFrame) -> None:
    class Presser(Observer):
        def on_epoch_end(self, state: TrainingState) -> None:
            if state.epoch == 2:
                signal.raise_signal(signal.SIGINT)

    run = neuronwise.train(frame, "y", observers=[Presser()], epochs=1000, patience=1000)
    assert run.status == "interrupted"
    assert fake.of("finish") == [("KILLED", 30.0)]
    assert fake.of("log_model")
    tags = {key: value for (each,) in fake.of("set_tags") for key, value in each.items()}
    assert tags["neuronwise.status"] == "interrupted"


def test_a_diverged_training_is_sent_and_failed(fake: FakeTracker, frame: pd.DataFrame) -> None:
    with pytest.raises(TrainingDiverged) as caught:
        neuronwise.train(frame, "y", optimizer="sgd", learning_rate=1e6, epochs=30)
    assert fake.of("finish") == [("FAILED", 30.0)]
    tags = {key: value for (each,) in fake.of("set_tags") for key, value in each.items()}
    assert f"at step {caught.value.step} in layer {caught.value.layer}" in tags["mlflow.note.content"]
    assert "diverged" in tags["neuronwise.failure"]
    assert caught.value.run.id == "f" * 32


def test_offline_the_run_is_kept_under_an_id_of_our_own(monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame) -> None:
    offline = FakeTracker(is_online=False, not_logged=("nothing was logged to MLflow: it is away",))
    monkeypatch.setattr("neuronwise.running.tracked.Tracker", offline)
    heard: list[str] = []

    class Listener(Reporter):
        def warned(self, message: str) -> None:
            heard.append(message)

        def planned(self, plan: Any) -> None:
            heard.append(plan.where)

    run = neuronwise.train(frame, "y", epochs=1, reporter=Listener())
    assert len(run.id) == 32
    assert run.name == f"local-{run.id[:8]}"
    assert run.tracking_uri is None
    assert heard == ["kept in a local folder only, not in MLflow", "nothing was logged to MLflow: it is away"]
    assert run.not_logged[:1] == heard[1:]
    (hint,) = run.not_logged[1:]
    assert hint.startswith(f"nothing of it is lost: it is kept in {run.folder}, and neuronwise sync {run.id[:8]} sends")
    assert offline.of("log_model") == []


# ---------------------------------------------------------------- with a real store


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Run]]:
    """Return a home, and a run in its real store."""
    home = tmp_path_factory.mktemp("stored") / "home with a space"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield home, neuronwise.train(make_frame(), "sign", drop=["y"], layers=[5], epochs=3, name="stored")


@pytest.fixture
def in_store(stored: tuple[Path, Run], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("NEURONWISE_HOME", str(stored[0]))
    return stored[1]


def test_tracking_changes_no_bit(in_store: Run, frame: pd.DataFrame) -> None:
    assert in_store.not_logged == []
    untracked = neuronwise.train(frame, "sign", drop=["y"], layers=[5], epochs=3, track=False)
    assert untracked.network.parameters.tobytes() == in_store.network.parameters.tobytes()
    assert untracked.metrics == in_store.metrics


def test_the_stored_run_is_listed_and_found(in_store: Run) -> None:
    listed, problem = list_runs("neuronwise")
    assert problem is None
    (one,) = [one for one in listed if one.id == in_store.id]
    assert (one.name, one.status, one.data) == ("stored", "finished", "table")
    assert one.result is not None
    assert one.result == ("accuracy", pytest.approx(in_store.metrics["accuracy"]))
    assert one.size_bytes == in_store.size_bytes
    for text in ("stored", in_store.id, in_store.id[:8]):
        assert fetch_run(text, Path("unused")) == in_store.folder
    with pytest.raises(NotFoundError, match="Did you mean 'stored'"):
        fetch_run("sotred", Path("unused"))


def test_a_run_of_someone_else_is_no_network(in_store: Run, tmp_path: Path) -> None:
    from neuronwise.tracking import open_store, resolve_store

    client = open_store(resolve_store())
    other = client.create_run("0", run_name="theirs")
    with pytest.raises(NotFoundError, match="'theirs' was not made by Neuronwise"):
        fetch_run("theirs", tmp_path)
    ours = client.create_run("0", run_name="unsaved", tags={"neuronwise.version": "0"})
    with pytest.raises(NotFoundError, match=r"'unsaved' \(running\) left no network: it ended before one was saved"):
        fetch_run("unsaved", tmp_path)
    for run in (other, ours):
        client.set_terminated(run.info.run_id, "FAILED")


def test_the_model_in_the_store_answers_like_ours_in_a_fresh_process(in_store: Run, tmp_path: Path) -> None:
    script = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(f"runs:/{sys.argv[2]}/model")
print(json.dumps([str(answer) for answer in model.predict(pandas.read_parquet(sys.argv[3]))]))
"""
    frame = make_frame(40, seed=5).drop(columns=["y", "sign"])
    frame.to_parquet(tmp_path / "frame.parquet")
    arguments = [str(in_store.tracking_uri), in_store.id, str(tmp_path / "frame.parquet")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == neuronwise.load("stored").predict(frame).tolist()


def test_nothing_in_the_store_is_a_pickle_that_loading_would_run(in_store: Run, stored: tuple[Path, Run]) -> None:
    files = [path for path in stored[0].rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".joblib", ".cloudpickle")]
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80" and b"pickle" in path.read_bytes()[:200]]
    models = [path for path in files if path.name == "MLmodel"]
    assert models
    assert not [path for path in models if "python_model: " in path.read_text()]  # the key of a pickled model


def test_a_run_that_the_user_has_opened_is_written_to_and_left_open(
    in_store: Run, stored: tuple[Path, Run], frame: pd.DataFrame
) -> None:
    import mlflow

    mlflow.set_tracking_uri(in_store.tracking_uri)
    try:
        with mlflow.start_run(run_name="theirs too") as active:
            run = neuronwise.train(frame, "y", layers=[3], epochs=1)
            assert run.id == active.info.run_id
            assert mlflow.active_run().info.status == "RUNNING"
        client = mlflow.MlflowClient()
        assert client.get_run(run.id).info.status == "FINISHED"
        assert "test/r2" in client.get_run(run.id).data.metrics
    finally:
        mlflow.set_tracking_uri(None)
