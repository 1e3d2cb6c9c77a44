"""The recordings of estimators: every step again, from what was handed in by a program."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import neuronwise
from neuronwise import NeuralNetworkClassifier, NeuralNetworkRegressor
from neuronwise.errors import NotFoundError, TrainingDiverged, UsageError
from neuronwise.learning.stepping import Stepper
from neuronwise.network import BatchNorm, Dense, Dropout, Network
from neuronwise.recording import PassRecorder, Recording, RecordingWriter, read_recording
from neuronwise.running import Run
from neuronwise.running.estimators import pass_run, tracked
from neuronwise.tracking import Tracker

from .test_estimators_frames import make_frame
from .test_estimators_tracking import FakeTracker

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4))
Y = RNG.integers(0, 3, 150)
DEEP = Network([Dense(6), BatchNorm(), Dropout(0.3), Dense(3, "softmax")], input_shape=(4,), seed=0)
WEIGHTS = RNG.integers(0, 3, 150).astype(float)


@pytest.fixture(autouse=True)
def _no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every run here: MLflow has tests of its own."""
    names = iter(range(1000))

    def start(**given: Any) -> FakeTracker:
        fake = FakeTracker()
        fake.run_id = f"{next(names):032x}"
        return fake

    monkeypatch.setattr(Tracker, "start", start)


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch) -> dict[int, np.ndarray]:
    """Return the weights after each step, kept while they are learned."""
    kept: dict[int, np.ndarray] = {}
    ask, attend = RecordingWriter.next_step, RecordingWriter.on_step_end

    def on_step_end(self: RecordingWriter, state: Any) -> None:
        kept[state.step] = state.network.parameters.copy()
        if state.step >= ask(self, state.step - 1):
            attend(self, state)

    monkeypatch.setattr(tracked, "RecordingWriter", functools.partial(RecordingWriter, keyframe_every=17))
    monkeypatch.setattr(pass_run, "PassRecorder", functools.partial(PassRecorder, keyframe_every=17))
    monkeypatch.setattr(RecordingWriter, "next_step", lambda self, step: step + 1)
    monkeypatch.setattr(RecordingWriter, "on_step_end", on_step_end)
    return kept


def check(recording: Any, every: dict[int, np.ndarray]) -> None:
    """Every step comes back bit for bit, though few are stored."""
    assert len(recording.keyframes) < 0.6 * len(every)
    assert list(recording.steps)[-1] == max(every)
    for step in np.random.default_rng(1).permutation(sorted(every)).tolist():
        assert recording.at(step).parameters.tobytes() == every[step].tobytes(), step
    again = recording.step(max(every))
    assert again.after.parameters.tobytes() == every[max(every)].tobytes()
    assert not recording.differences


def labels(kind: str) -> np.ndarray:
    return {
        "int": Y, "text": np.array(["low", "middle", "high"])[Y], "object": np.array(["a", "b", "c"], object)[Y],
        "bool": Y == 1, "float": Y * 2.0,
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["int", "text", "object", "bool", "float"])
def test_every_step_of_a_fit_with_labels_of_any_kind(kind: str, every: dict[int, np.ndarray]) -> None:
    y = labels(kind)
    model = NeuralNetworkClassifier((5,), random_state=0, epochs=20, track=True, class_weight="balanced").fit(X, y)
    check(neuronwise.open(model.run_.id, data=(X, y)), every)
    check(model.recording(X, y), every)


@pytest.mark.parametrize("log", [False, True])
def test_every_step_of_a_fit_of_a_frame_with_weights(log: bool, every: dict[int, np.ndarray]) -> None:
    frame, price = make_frame()
    weights = np.arange(len(frame)) % 3
    model = NeuralNetworkRegressor((5,), random_state=0, epochs=15, track=True, log=log)
    model.fit(frame, price, sample_weight=weights)
    check(neuronwise.open(model.run_, data=(frame, price, weights)), every)
    check(model.recording(frame, price, weights), every)
    recording = neuronwise.open(model.run_, data=(frame, price))
    assert "is not that of the training" in str(recording.why_not_replayed)


def test_class_weights_by_label_times_weights_of_rows(every: dict[int, np.ndarray]) -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, epochs=20, track=True, class_weight={0: 0.1, 1: 0.7, 2: 1.3})
    model.fit(X, Y, WEIGHTS)
    model.set_params(class_weight=None)
    check(neuronwise.open(model.run_, data=(X, Y, WEIGHTS)), every)


def test_without_the_arrays_the_message_says_how_to_hand_them_in() -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, epochs=20, track=True).fit(X, Y)
    recording = neuronwise.open(model.run_)
    np.testing.assert_array_equal(recording.steps, recording.keyframes)
    with pytest.raises(
        UsageError, match=r"(?s)a program handed to fit.*hand it in again: neuronwise.open\(RUN, data=\(X"
    ):
        recording.step(7)
    assert recording.at(int(recording.keyframes[3])).parameters.shape == model.network_.parameters.shape


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X + 1e-3, Y), "the X handed in is not that of the training"),
        ((X, 2 - Y), "the y handed in is not that of the training"),
        ((X, Y, WEIGHTS + 1), "the training did not weigh its rows, and sample_weight is handed in"),
        ((X[:100], Y[:100]), "has 100 rows that count, and the run learned from row"),
        ((X, Y + 5), "the label . is none of the classes 0, 1, 2"),
        ((X[:, :3], Y), "expected 4 values per row, got 3"),
        ([(X, Y), (X, Y)], "the run is one call of fit, and 2 are handed in"),
        ("digits", "expected \\(X, y\\) or \\(X, y, sample_weight\\).* got str"),
        ((X,), "got a tuple of 1"),
    ],
)
def test_other_arrays_are_refused_and_it_says_which(data: Any, message: str) -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, epochs=8, track=True).fit(X, Y)
    recording = neuronwise.open(model.run_, data=data)
    with pytest.raises(ValueError, match=message):
        recording.step(3)


def test_an_estimator_without_a_run_has_no_recording() -> None:
    with pytest.raises(NotFoundError, match="track=True"):
        NeuralNetworkClassifier((5,), epochs=1).fit(X, Y).recording(X, Y)


def test_another_process_takes_the_same_steps(tmp_path: Path, every: dict[int, np.ndarray]) -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, epochs=20, track=True).fit(X, Y, WEIGHTS)
    np.savez(tmp_path / "data.npz", X=X, Y=Y, W=WEIGHTS)
    script = (
        "import sys, numpy as np, neuronwise\n"
        "data = np.load(sys.argv[1])\n"
        "recording = neuronwise.open(sys.argv[2], data=(data['X'], data['Y'], data['W']))\n"
        "print(recording.at(int(sys.argv[3])).parameters.tobytes().hex())\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "data.npz"), str(model.run_.folder), str(max(every) - 1)]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == every[max(every) - 1].tobytes().hex()


def portions(model: Any, *, weights: bool = False) -> list[tuple[Any, ...]]:
    """Hand rows to a model in calls of different sizes, some of them twice; return what the calls were given."""
    classes = {"classes": [0, 1, 2]} if isinstance(model, NeuralNetworkClassifier) else {}
    calls: list[tuple[Any, ...]] = []
    for first, last in ((0, 40), (40, 150), (0, 40), (70, 71), (100, 150)):
        call = (X[first:last], Y[first:last], *((WEIGHTS[first:last],) if weights else ()))
        model.partial_fit(call[0], call[1], sample_weight=call[2] if weights else None, **classes)
        calls.append(call)
    return calls


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "momentum", "learning_rate": 0.01, "clip_norm": 0.5},
        {"optimizer": "rmsprop", "learning_rate": 0.01, "weight_decay": 0.1},
        {"optimizer": "adamw", "network": DEEP},
        {"optimizer": "nesterov", "network": DEEP, "class_weight": {0: 0.1, 1: 0.7, 2: 1.3}},
    ],
)
def test_every_step_of_several_calls(settings: dict[str, Any], every: dict[int, np.ndarray]) -> None:
    given: dict[str, Any] = {"random_state": 0, "batch_size": 8} | settings
    model, plain = NeuralNetworkClassifier(track=True, **given), NeuralNetworkClassifier(**given)
    calls = portions(model, weights="class_weight" in settings)
    for recording in (
        neuronwise.open(model.run_.id, data=calls[::-1]),
        model.recording([calls[4], calls[3], calls[1], calls[0]]),  # the same arrays are listed once
    ):
        check(recording, every)
    portions(plain, weights="class_weight" in settings)
    assert plain.network_.parameters.tobytes() == model.network_.parameters.tobytes()
    assert plain.network_.buffers.tobytes() == model.network_.buffers.tobytes()
    assert model.end_run() is model.run_
    check(neuronwise.open(model.run_, data=calls), every)


def test_frames_with_weights_in_several_calls(every: dict[int, np.ndarray]) -> None:
    frame, price = make_frame()
    weights = np.arange(len(frame)) % 3
    model = NeuralNetworkRegressor((5,), random_state=0, batch_size=8, track=True)
    parts = [slice(0, 120), slice(120, 200), slice(50, 100)]
    calls = [(frame[part], price[part], weights[part]) for part in parts]
    for call in calls:
        model.partial_fit(*call)
    check(neuronwise.open(model.run_, data=calls), every)


def test_what_the_recording_holds_of_a_call(every: dict[int, np.ndarray]) -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, batch_size=8, track=True)
    portions(model)
    history = model.run_.history_on_disk
    assert [(one["number"], one["first_step"], one["steps"]) for one in history.passes] == [
        (1, 1, 5), (2, 6, 14), (3, 20, 5), (4, 25, 1), (5, 26, 7)
    ]  # fmt: skip
    assert {5, 19, 24, 25, 32} <= set(history.steps.tolist())  # the ends of the calls
    np.testing.assert_array_equal(history.scalars["step"], np.arange(1, 33))
    assert [epoch["metrics"]["loss"] for epoch in history.epochs] == model.loss_curve_
    assert history.status == "unfinished"
    model.end_run()
    history = model.run_.history_on_disk
    assert (history.status, history.delivered_step) == ("finished", 32)
    assert not history.problems


def _is_answered(recording: Recording, step: int) -> bool:
    try:
        recording.at(step)
    except NotFoundError:
        return False
    return True


def test_steps_of_a_call_whose_data_is_missing_name_the_call(every: dict[int, np.ndarray]) -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, batch_size=8, track=True)
    calls = portions(model)
    recording = neuronwise.open(model.run_, data=[calls[0], calls[4]])
    for step in (*range(1, 6), 19, *range(19, 25), *range(25, 33)):
        assert recording.at(step).parameters.tobytes() == every[step].tobytes()
    assert recording.step(22).after.parameters.tobytes() == every[22].tobytes()
    assert recording.steps.tolist() == [step for step in range(33) if _is_answered(recording, step)]
    assert (5 in recording.steps, 10 in recording.steps, 22 in recording.steps) == (True, False, True)
    with pytest.raises(NotFoundError, match=r"step 9 belongs to call 2 of partial_fit \(steps 6 to 19\)"):
        recording.at(10)
    nothing = neuronwise.open(model.run_, data=(X, Y))
    np.testing.assert_array_equal(nothing.steps, nothing.keyframes)
    assert "none of the 5 calls of partial_fit learned from what is handed in" in str(nothing.why_not_replayed)
    unknown = neuronwise.open(model.run_)
    with pytest.raises(UsageError, match=r"(?s)calls of partial_fit, and no data is kept.*data=\[\(X, y\), …\]"):
        unknown.step(10)


def test_the_run_is_readable_after_each_call_and_is_not_synced_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = Run.save
    monkeypatch.setattr(Run, "save", lambda self: (saved.append(self.steps), save(self))[1])
    model = NeuralNetworkClassifier((5,), random_state=0, track=True, batch_size=10)
    for start in range(0, 150, 10):
        model.partial_fit(X[start : start + 10], Y[start : start + 10], classes=[0, 1, 2])
        assert neuronwise.open(model.run_.id).stored.last_step == start // 10 + 1
        assert neuronwise.load(model.run_.id).predict(X).shape == (150,)
    assert len(saved) < 15
    run = model.end_run()
    assert run is not None
    loaded = Run.load(run.folder)
    assert loaded.network.parameters.tobytes() == model.network_.parameters.tobytes()
    assert (loaded.status, loaded.steps, loaded.data["train_rows"], len(loaded.history)) == ("finished", 15, 150, 15)
    assert model.end_run() is None


def test_a_pickled_estimator_goes_on_in_a_run_of_its_own(every: dict[int, np.ndarray]) -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, batch_size=8, track=True)
    calls = portions(model)
    twin = copy.deepcopy(pickle.loads(pickle.dumps(model)))
    assert "_open_run" not in twin.__dict__
    calls += portions(twin)
    assert twin.run_.id != model.run_.id
    recording = neuronwise.open(twin.run_, data=calls)
    assert recording.steps == range(32, 65)
    for step in range(33, 65):
        assert recording.at(step).parameters.tobytes() == every[step].tobytes()
    with pytest.raises(NotFoundError, match="no state is stored from which to begin"):
        recording.at(5)
    model.partial_fit(X[:8], Y[:8])
    assert len(neuronwise.open(model.run_, data=[*calls, (X[:8], Y[:8])]).steps) == 34
    assert clone(model).track


def test_two_estimators_at_once_have_a_run_each(every: dict[int, np.ndarray]) -> None:
    models = [NeuralNetworkClassifier((5,), random_state=seed, batch_size=8, track=True) for seed in (0, 1)]
    for start in range(0, 150, 50):
        for model in models:
            model.partial_fit(X[start : start + 50], Y[start : start + 50], classes=[0, 1, 2])
    calls = [(X[start : start + 50], Y[start : start + 50]) for start in range(0, 150, 50)]
    assert models[0].run_.id != models[1].run_.id
    for model in models:
        assert model.recording(calls).at(21).parameters.tobytes() == model.network_.parameters.tobytes()


def test_other_settings_begin_another_run(every: dict[int, np.ndarray]) -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, batch_size=8, track=True)
    model.partial_fit(X, Y, classes=[0, 1, 2])
    first = model.run_
    model.set_params(clip_norm=0.1).partial_fit(X, Y)
    assert (first.status, model.run_.status) == ("finished", "running")
    assert model.run_.id != first.id
    recording = model.recording([(X, Y)])
    assert recording.at(30).parameters.tobytes() == every[30].tobytes()
    model.set_params(track=False).partial_fit(X, Y)
    assert not hasattr(model, "run_")
    assert read_recording(recording.stored.folder).status == "finished"


def test_an_estimator_that_is_forgotten_ends_its_run() -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, track=True).partial_fit(X, Y, classes=[0, 1, 2])
    folder, parameters = model.run_.folder, model.network_.parameters.copy()
    del model
    gc.collect()
    assert read_recording(folder / "recording").status == "finished"
    assert Run.load(folder).network.parameters.tobytes() == parameters.tobytes()
    assert not list(folder.glob("recording/*.part"))


def test_a_call_that_diverges_ends_the_run_as_failed(every: dict[int, np.ndarray]) -> None:
    model = NeuralNetworkRegressor((5,), optimizer="sgd", random_state=0, learning_rate=0.01, track=True)
    model.partial_fit(X, Y)
    model.set_params(clip_norm=None)
    model._optimizer.learning_rate = 1e25
    with pytest.raises(TrainingDiverged) as caught:
        model.partial_fit(X, Y)
    run = caught.value.run
    assert run.status == "diverged"
    assert run.history_on_disk.status == "diverged"
    assert np.isfinite(run.network.parameters).all()


def test_an_interrupted_call_leaves_a_readable_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    model = NeuralNetworkClassifier((5,), random_state=0, batch_size=8, track=True).partial_fit(X, Y, classes=[0, 1, 2])
    step, taken = Stepper.step, []

    def interrupted(self: Stepper, rows: np.ndarray) -> float:
        taken.append(rows)
        if len(taken) > 5:
            raise KeyboardInterrupt
        return step(self, rows)

    monkeypatch.setattr(Stepper, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X, Y)
    monkeypatch.undo()
    history = read_recording(model.run_.folder / "recording")
    assert (history.status, history.last_step) == ("interrupted", 24)
    assert model.run_.status == "interrupted"


SCRIPT = """
import os, signal, sys, numpy as np
from neuronwise import NeuralNetworkClassifier
from neuronwise.tracking import Tracker
data = np.load(sys.argv[1])
model = NeuralNetworkClassifier((5,), random_state=0, batch_size=8, track=True)
for first in range(0, 150, 50):
    part = slice(first, first + 50)
    model.partial_fit(data["X"][part], data["Y"][part], classes=[0, 1, 2])
print(model.run_.folder, model.network_.parameters.tobytes().hex(), flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.full
@pytest.mark.parametrize("how", ["killed", "left"])
def test_a_process_that_is_killed_or_ends_leaves_a_run(tmp_path: Path, how: str) -> None:
    np.savez(tmp_path / "data.npz", X=X, Y=Y)
    arguments = [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path / "data.npz"), how]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == (-9 if how == "killed" else 0), done.stderr
    assert how == "killed" or not done.stderr
    folder, parameters = done.stdout.split()
    recording = neuronwise.open(folder, data=[(X[first : first + 50], Y[first : first + 50]) for first in (0, 50, 100)])
    assert recording.status == ("unfinished" if how == "killed" else "finished")
    assert recording.step(21).after.parameters.tobytes().hex() == parameters
    assert neuronwise.load(folder).predict(X).shape == (150,)
    if how == "left":
        assert neuronwise.load(folder).network.parameters.tobytes().hex() == parameters
