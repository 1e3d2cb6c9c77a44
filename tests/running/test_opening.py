"""neuronwise.open: the recording of a run, with any step at hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import neuronwise
from neuronwise.data import make_houses
from neuronwise.errors import NotFoundError, UsageError
from neuronwise.learning import Observer, TrainingState, fit
from neuronwise.network import Dense, Network
from neuronwise.recording import RecordingWriter, TrainingData
from neuronwise.running import Run, train

QUICK: dict[str, Any] = {"layers": "6", "epochs": 4, "batch_size": 64, "track": False, "keyframe_every": 7}


class Weights(Observer):
    def __init__(self) -> None:
        self.of: dict[int, np.ndarray] = {}

    def on_step_end(self, state: TrainingState) -> None:
        self.of[state.step] = state.network.parameters.copy()


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    path = tmp_path / "houses.csv"
    make_houses(500, seed=2).to_csv(path, index=False)
    return path


def _trained(data: Any, target: str | None = None, **options: Any) -> tuple[Run, Weights]:
    weights = Weights()
    return train(data, target, observers=[weights], **(QUICK | options)), weights


@pytest.mark.parametrize("what", ["table", "classes", "two classes", "digits", "arrays"])
def test_any_step_of_any_run_comes_back(houses: Path, what: str) -> None:
    frame = pd.read_csv(houses)
    data: Any = houses
    target: str | None = "price"
    given: Any = None
    if what == "classes":
        data = given = frame.assign(price=pd.cut(frame.price, 3, labels=["low", "middle", "high"]).astype(str))
    elif what == "two classes":
        data, target = houses, "waterfront"
    elif what == "digits":
        data, target = "digits", None
    elif what == "arrays":
        X = frame[["sqft_living", "bedrooms"]].to_numpy() / 1000
        data, target, given = (X, (X[:, 0] > 2).astype(int)), None, (X, (X[:, 0] > 2).astype(int))
    run, weights = _trained(data, target, class_weights="balanced" if "classes" in what else None)
    recording = neuronwise.open(run.id, given)
    assert len(recording.steps) == run.steps + 1
    for step in (5, 1, run.steps, 3):
        assert recording.at(step).parameters.tobytes() == weights.of[step].tobytes()
    again = recording.step(2)
    assert again.after.parameters.tobytes() == weights.of[2].tobytes()
    assert recording.network.parameters.tobytes() == run.network.parameters.tobytes()
    assert recording.best_step == run.best_step
    np.testing.assert_array_equal(recording.trace(3, again.trace[0].x)[0].x, again.trace[0].x)


def test_the_history_of_a_weight_and_a_bias(houses: Path) -> None:
    run, weights = _trained(houses, "price")
    recording = neuronwise.open(run)
    bias = recording.history("hidden1[2].bias")
    np.testing.assert_array_equal(bias.steps, recording.keyframes)
    every = recording.history("hidden1[2].weights")
    assert every.values.shape == (len(bias.steps), run.data["inputs"])
    one = recording.history("hidden1[2].weights[sqft_living]")
    place = run.network.input_names.index("sqft_living")
    np.testing.assert_array_equal(one.values, every.values[:, place])
    np.testing.assert_array_equal(recording.history(f"hidden1[2].weights[{place}]").values, one.values)
    for at, step in enumerate(bias.steps.tolist()):
        network = recording.at(step)
        assert network["hidden1[2]"].bias == bias.values[at]
        np.testing.assert_array_equal(network["hidden1[2]"].weights, every.values[at])
    deeper = recording.history("output[0].weights[hidden1[2]]")
    assert deeper.values[-1] == recording.at(int(deeper.steps[-1]))["output"].W[0, 2]
    assert weights.of


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hidden1", "'hidden1' is a whole layer"),
        ("hidden1[99].bias", "'hidden1' has the neurons 0 to 5, got 99"),
        ("hiden1[0].bias", "there is no layer 'hiden1'. Did you mean 'hidden1'?"),
        ("hidden1[0].weights[sqft]", "has no input 'sqft'. Did you mean 'sqft_lot'?"),
        ("hidden1[0].weights[999]", "has no input '999'"),
    ],
)
def test_unknown_names_say_what_exists(houses: Path, name: str, message: str) -> None:
    run, _ = _trained(houses, "price", epochs=1)
    with pytest.raises(NotFoundError) as caught:
        neuronwise.open(run).history(name)
    assert message in str(caught.value)


def test_without_the_data_what_is_stored_is_readable_and_the_rest_says_why(houses: Path) -> None:
    run, _ = _trained(houses, "price")
    moved = houses.rename(houses.with_name("moved.csv"))
    recording = neuronwise.open(run.folder)
    np.testing.assert_array_equal(recording.steps, recording.keyframes)
    missing = next(step for step in range(run.steps) if step not in recording.keyframes)
    with pytest.raises(NotFoundError, match="the data of the run is no longer at"):
        recording.at(missing)
    assert recording.at(int(recording.keyframes[-1])).parameter_count == run.network.parameter_count
    assert len(neuronwise.open(run.id, moved).steps) == run.steps + 1
    moved.write_text(moved.read_text().replace("1", "2", 1))
    with pytest.raises(UsageError, match="is not what the run learned from"):
        neuronwise.open(run.id, moved).at(missing)


def test_a_recording_alone_can_be_opened(houses: Path, tmp_path: Path) -> None:
    run, _ = _trained(houses, "price")
    shutil.copytree(run.folder / "recording", tmp_path / "alone")
    recording = neuronwise.open(tmp_path / "alone")
    assert recording.network.parameters.tobytes() == run.network.parameters.tobytes()
    missing = next(step for step in range(run.steps) if step not in recording.keyframes)
    with pytest.raises(NotFoundError, match="the data they learned from is not at hand"):
        recording.at(missing)
    with pytest.raises(NotFoundError):
        neuronwise.open("nonsense")


def test_a_probe_of_rows_held_out_is_kept_unless_redacted(houses: Path) -> None:
    run, weights = _trained(houses, "price")
    recording = neuronwise.open(run)
    probe = recording.stored.probe
    assert probe is not None
    held_out = recording.stored.split("validation")
    X, _ = run.model.encode(pd.read_csv(houses))
    np.testing.assert_array_equal(probe, X[held_out[np.unique(np.linspace(0, len(held_out) - 1, 64).astype(int))]])
    np.testing.assert_array_equal(recording.probe(5).y_hat, recording.at(5).predict(probe))
    assert weights.of
    redacted, _ = _trained(houses, "price", redact=True)
    assert neuronwise.open(redacted).stored.probe is None
    assert not (redacted.folder / "recording" / "probe.npy").exists()
    with pytest.raises(NotFoundError, match="no probe was kept"):
        neuronwise.open(redacted).probe(5)


def test_a_file_that_was_moved_is_found_by_its_name_and_known_by_its_content(
    houses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, weights = _trained(houses, "price")
    (tmp_path / "data").mkdir()
    houses.rename(tmp_path / "data" / houses.name)
    assert "no longer at" in str(neuronwise.open(run).why_not_replayed)
    monkeypatch.setenv("NEURONWISE_DATA", str(tmp_path / "data"))
    assert neuronwise.open(run).at(5).parameters.tobytes() == weights.of[5].tobytes()
    monkeypatch.delenv("NEURONWISE_DATA")
    monkeypatch.chdir(tmp_path / "data")
    assert neuronwise.open(run).at(5).parameters.tobytes() == weights.of[5].tobytes()


def _taught(folder: Path, task: str, **options: Any) -> tuple[dict[int, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Train by `learning.fit` into a recording, and return the weights of every step and what was learned from."""
    rng = np.random.default_rng(3)
    X, numbers = rng.normal(size=(90, 4)), rng.normal(size=90)
    y, out = {
        "classes": (rng.choice(3, 90, p=[0.6, 0.3, 0.1]), Dense(3, "softmax")),
        "two classes": ((numbers > 0.5).astype(float), Dense(1, "sigmoid")),
        "numbers": (numbers, Dense(1)),
    }[task]
    weights = Weights()
    writer = RecordingWriter(folder, keyframe_every=7)
    network = Network([Dense(5, "tanh"), out], input_shape=(4,), seed=2)
    fit(network, X, y, epochs=4, batch_size=16, observers=[weights, writer], strict=True, **options)
    return weights.of, (X, y)


@pytest.mark.parametrize("task", ["classes", "two classes", "numbers"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"validation": 0.2},
        {"training_rows": np.arange(80, 10, -1)},
        {"sample_weight": np.linspace(0, 2, 90), "validation": np.arange(9)},
    ],
    ids=["all rows", "a share held out", "rows", "weights"],
)
def test_what_learning_fit_was_given_is_handed_in_as_it_was(tmp_path: Path, task: str, options: dict[str, Any]) -> None:
    every, given = _taught(tmp_path / "r", task, **options)
    recording = neuronwise.open(tmp_path / "r", (*given, *(options[key] for key in options if key == "sample_weight")))
    assert recording.steps == range(len(every) + 1)
    for step in (3, len(every) - 1, 9):
        assert recording.at(step).parameters.tobytes() == every[step].tobytes()


@pytest.mark.parametrize("task", ["classes", "two classes"])
def test_balanced_classes_of_learning_fit_are_found_by_their_fingerprint(tmp_path: Path, task: str) -> None:
    every, given = _taught(tmp_path / "r", task, validation=0.2, class_weights="balanced")
    assert neuronwise.open(tmp_path / "r", given).at(10).parameters.tobytes() == every[10].tobytes()


def test_weights_of_classes_are_handed_in_as_weights_of_rows(tmp_path: Path) -> None:
    every, (X, y) = _taught(tmp_path / "r", "classes", class_weights={0: 1.0, 1: 2.0, 2: 5.0})
    for without in ((X, y), TrainingData(X.astype(np.float32), y, np.arange(90))):
        why = neuronwise.open(tmp_path / "r", without).why_not_replayed
        assert "the training weighed its rows, and no sample_weight is handed in" in str(why)
    why = neuronwise.open(tmp_path / "r", (X, y, y + 1)).why_not_replayed
    assert "the sample_weight handed in is not that of the training" in str(why)
    weights = np.array([1.0, 2.0, 5.0])[y]
    assert neuronwise.open(tmp_path / "r", (X, y, weights)).at(10).parameters.tobytes() == every[10].tobytes()


def test_what_learning_fit_was_not_given_is_refused_with_what_it_was(tmp_path: Path) -> None:
    every, (X, y) = _taught(tmp_path / "r", "classes", training_rows=np.arange(10, 90))
    expected = r"expected \(X, y\) or \(X, y, sample_weight\), as learning\.fit was given them, got"
    missing = next(step for step in every if step not in neuronwise.open(tmp_path / "r").keyframes)
    for data, message in (
        (None, r"(?s)is not at hand.*\(X, y\) or \(X, y, sample_weight\)"),
        (X, f"{expected} ndarray"),
        ((X,), f"{expected} a tuple of 1"),
        ("data.csv", f"{expected} str"),
        ((X + 1, y), "the X handed in is not that of the training"),
        ((X, 2 - y), "the y handed in is not that of the training"),
        ((X[:50], y[:50]), "has 50 rows, and the training learned from row 89"),
        ((X, y, np.ones(90)), "the training did not weigh its rows, and sample_weight is handed in"),
        ((X[:, :3], y), "4"),
    ):
        recording = neuronwise.open(tmp_path / "r", data)
        with pytest.raises(UsageError, match=message):
            recording.at(missing)
        np.testing.assert_array_equal(recording.steps, recording.keyframes)
