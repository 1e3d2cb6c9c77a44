"""track=True keeps each fit as a run, as `neuronwise.train` does; without it there is no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_wine

import neuronwise
from neuronwise import NeuralNetworkClassifier, NeuralNetworkRegressor
from neuronwise.errors import TrainingDiverged, UsageError
from neuronwise.running import Run
from neuronwise.running.tracked import Tracking
from neuronwise.tracking import Tracker

from .test_estimators_frames import make_frame


class FakeTracker:
    """Keeps what it is told, where MLflow would."""

    is_online, has_lost = True, False
    run_id, run_name, run_url = "0" * 32, "kept", None

    class store:
        display_uri, ui_command = "sqlite:///kept.db", "mlflow ui"

    def __init__(self) -> None:
        self.metrics: list[tuple[dict[str, float], int]] = []
        self.calls: list[str] = []
        self.status = ""
        self.not_logged: list[str] = []
        self.tags: dict[str, Any] = {}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.metrics.append((metrics, step))

    def set_tags(self, tags: dict[str, Any]) -> None:
        self.tags |= tags

    def finish(self, status: str, timeout_s: float) -> None:
        self.status = status

    def __getattr__(self, name: str) -> Any:
        def note(*arguments: Any, **options: Any) -> None:
            self.calls.append(name)

        return note


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> FakeTracker:
    fake = FakeTracker()

    def start(**given: Any) -> FakeTracker:
        fake.given = given
        return fake

    monkeypatch.setattr(Tracker, "start", start)
    return fake


def test_a_tracked_fit_is_a_run_with_its_recording_and_metrics(tracker: FakeTracker) -> None:
    X, y = make_frame()
    model = NeuralNetworkRegressor(
        random_state=0, epochs=6, track=True, name="kept", experiment="tries", schedule="cosine"
    ).fit(X, y, sample_weight=np.linspace(1, 2, 200))
    run = model.run_
    assert isinstance(run, Run)
    assert tracker.given["experiment"] == "tries"
    assert tracker.given["name"] == "kept"
    expected = {"layers": [100], "hidden": "relu", "optimizer": "adam", "schedule": "cosine", "target": "price"}
    assert tracker.given["params"].items() >= (expected | {"sample_weights": "given", "training_rows": 180}).items()
    epochs = [metrics for metrics, _ in tracker.metrics if "val_loss" in metrics]
    assert len(epochs) == 6
    assert "hidden1/grad_norm" in epochs[0]
    assert {"log_input", "upload_meanwhile", "log_places", "log_model"} <= set(tracker.calls)
    assert tracker.status == "FINISHED"
    # The recording holds the weights that were learned.
    history = run.history_on_disk
    recorded = history.layer(history.steps[-1], "output")["W"]
    assert recorded.shape == (1, 100)
    # A tracked fit learns the same, to the last bit, and the run answers as the estimator does.
    plain = NeuralNetworkRegressor(random_state=0, epochs=6, schedule="cosine")
    plain.fit(X, y, sample_weight=np.linspace(1, 2, 200))
    assert_array_equal(plain.network_.parameters, model.network_.parameters)
    assert not hasattr(plain, "run_")
    assert_allclose(neuronwise.load(run.id).predict(X), model.predict(X), rtol=1e-5)
    assert Run.load(run.folder).data["target"] == "price"


@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "b", "c"], [False, True], [1.0, 2.0]], ids=str)
def test_a_run_of_plain_arrays_answers_with_the_labels_that_were_given(tracker: FakeTracker, labels: list[Any]) -> None:
    X, y = load_wine(return_X_y=True)
    y = np.array(labels)[y % len(labels)]
    model = NeuralNetworkClassifier(random_state=0, epochs=20, track=True).fit(X, y)
    loaded = neuronwise.load(model.run_.folder)
    assert_array_equal(loaded.predict(X), model.predict(X))
    assert_allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-5)


def test_fitting_again_without_tracking_leaves_no_run(tracker: FakeTracker) -> None:
    X, y = load_wine(return_X_y=True)
    model = NeuralNetworkClassifier(random_state=0, epochs=1, track=True).fit(X, y)
    assert model.run_.id == tracker.run_id
    assert not hasattr(model.set_params(track=False).fit(X, y), "run_")


def test_a_tracked_fit_that_diverges_is_kept_as_failed(tracker: FakeTracker) -> None:
    X, y = load_wine(return_X_y=True)
    model = NeuralNetworkClassifier(optimizer="sgd", learning_rate=1e30, epochs=3, track=True, random_state=0)
    with pytest.raises(TrainingDiverged) as caught:
        model.fit(X, y)
    assert caught.value.run.status == "diverged"
    assert tracker.status == "FAILED"
    assert not hasattr(model, "network_")


def test_what_no_run_can_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    X, y = load_wine(return_X_y=True)
    with pytest.raises(UsageError, match="argument track: a run predicts one number, y has 2"):
        NeuralNetworkRegressor(track=True).fit(X, np.c_[y, y])
    assert not (tmp_path / "home").exists()


def test_without_tracking_no_run_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("begun")

    monkeypatch.setattr(Tracking, "begin", never)
    X, y = load_wine(return_X_y=True)
    NeuralNetworkClassifier(random_state=0, epochs=2).fit(X, y)
    assert not list(tmp_path.iterdir())
