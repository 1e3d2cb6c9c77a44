"""train(): the composition of all packages below."""

from __future__ import annotations

import errno
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import neuronwise
from neuronwise import Network, Run
from neuronwise.errors import TrainingDiverged, UsageError
from neuronwise.files import user_data_folder
from neuronwise.learning import Observer, TrainingState, fit
from neuronwise.running import DataOptions, choose_network, prepare
from neuronwise.running.architecture import make_optimizer
from neuronwise.running.run import local_runs

from .conftest import make_frame

QUICK: dict[str, Any] = {"epochs": 3, "track": False}


def bits(run: Run) -> bytes:
    return run.network.parameters.tobytes()


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(frame: pd.DataFrame) -> None:
    one, again, other = (neuronwise.train(frame, "y", seed=seed, **QUICK) for seed in (3, 3, 4))
    assert bits(one) == bits(again) != bits(other)
    assert one.metrics == again.metrics
    assert one.id != again.id


class Looker(Observer):
    """Looks at everything there is to see, at every step."""

    def __init__(self) -> None:
        self.seen = 0.0
        self.moments: list[str] = []

    def on_fit_begin(self, state: TrainingState) -> None:
        self.moments.append("begin")

    def on_step_end(self, state: TrainingState) -> None:
        self.seen += float(np.abs(state.gradients).sum() + np.abs(state.update).sum() + state.loss)

    def on_epoch_end(self, state: TrainingState) -> None:
        self.moments.append(f"epoch {state.epoch}")

    def on_fit_end(self, state: TrainingState) -> None:
        self.moments.append("end")


def test_looking_never_changes_what_is_looked_at(frame: pd.DataFrame) -> None:
    """The same network by hand with nothing but `fit`: no recording, no tracking, no observer."""
    looker = Looker()
    random_before = np.random.get_state()[1].tobytes()  # type: ignore[union-attr]
    run = neuronwise.train(frame, "y", layers=[5], seed=2, observers=[looker], **QUICK)
    assert np.random.get_state()[1].tobytes() == random_before  # type: ignore[union-attr]
    assert looker.seen > 0
    assert looker.moments == ["begin", "epoch 1", "epoch 2", "epoch 3", "end"]

    data = prepare(frame, DataOptions("y"), 2)
    choice = choose_network(data.target, data.input_shape, data.encoder.input_names, layers=[5], hidden="relu", seed=2)
    fit(
        choice.network,
        data.X,
        data.y,
        loss=choice.loss,
        optimizer=make_optimizer("adam", None, None, "table"),
        epochs=3,
        batch_size=32,
        validation=data.validation,
        training_rows=data.train,
        patience=5,
        seed=2,
    )
    assert choice.network.parameters.tobytes() == bits(run)


def test_the_weights_of_the_best_epoch_are_kept(frame: pd.DataFrame) -> None:
    run = neuronwise.train(frame, "y", layers=[8], learning_rate=0.3, epochs=30, patience=4, track=False)
    losses = [epoch["val_loss"] for epoch in run.history]
    assert run.best_epoch == int(np.argmin(losses)) + 1
    assert run.best_step == run.history[run.best_epoch - 1]["step"]
    assert run.status == "early_stopped"
    assert len(run.history) == run.best_epoch + 4
    recorded = run.history_on_disk
    assert recorded.parameters(run.best_step).tobytes() == bits(run)
    # The validation loss of the kept weights, by hand.
    data = prepare(frame, DataOptions("y"), 0)
    z = run.network.predict(data.X[data.validation]).astype(np.float64)
    assert np.mean((z - data.y[data.validation]) ** 2) == pytest.approx(min(losses), rel=1e-4)


def test_everything_is_on_disk(frame: pd.DataFrame) -> None:
    run = neuronwise.train(frame, "y", name="mine", **QUICK)
    assert run.folder == user_data_folder() / "runs" / run.id
    files = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert {"run.json", "model/encoder.json", "model/network.json", "model/network.safetensors"} <= files
    assert "recording/recording.json" in files
    assert not [name for name in files if name.endswith((".pkl", ".part", ".tmp"))]
    recorded = run.history_on_disk
    assert recorded.problems == []
    assert recorded.status == "finished"
    assert recorded.steps[0] == 0
    assert recorded.steps[-1] == run.steps
    data = prepare(frame, DataOptions("y"), 0)
    for part in ("train", "validation", "test"):
        assert (recorded.split(part) == getattr(data, part)).all()
    fresh = Network.from_dict(recorded.network_dict)
    assert recorded.parameters(0).tobytes() == fresh.parameters.tobytes(), "freshly drawn from the same seed"
    assert neuronwise.load("mine").predict(frame).tolist() == run.predict(frame).tolist()
    assert run.tracking_uri is None
    assert run.not_logged == []


def test_the_result_is_that_of_the_held_out_rows(frame: pd.DataFrame) -> None:
    run = neuronwise.train(frame, "y", **QUICK)
    rows = prepare(frame, DataOptions("y"), 0).test
    truth, answers = frame["y"].to_numpy()[rows], run.predict(frame)[rows]
    assert run.metrics["mean_absolute_error"] == pytest.approx(np.abs(truth - answers).mean(), rel=1e-4)
    assert [one.name for one in run.baselines] == ["mean", "linear regression"]
    assert run.data["test_rows"] == len(rows)


@pytest.mark.parametrize("layers", ["none", []])
def test_no_hidden_layer_is_a_linear_model(frame: pd.DataFrame, layers: Any) -> None:
    run = neuronwise.train(frame, "y", drop=["sign"], layers=layers, **QUICK)
    assert [layer.name for layer in run.network.layers] == ["output"]
    x, _ = run.model.encode(frame)
    W, b = run.network["output"].W, run.network["output"].b
    np.testing.assert_allclose(run.network.predict(x), x @ W.T + b, rtol=1e-5, atol=1e-6)


def test_learning_the_logarithm_keeps_the_unit(frame: pd.DataFrame) -> None:
    frame["price"] = np.exp(2 * frame["a"] + 10)
    run = neuronwise.train(frame, "price", drop=["y", "sign"], epochs=40, learning_rate=0.02, track=False)
    assert run.model.target.log
    assert run.metrics["r2_log"] > 0.8
    assert np.corrcoef(np.log(run.predict(frame)), np.log(frame["price"]))[0, 1] > 0.9
    plain = neuronwise.train(frame, "price", drop=["y", "sign"], log=False, **QUICK)
    assert not plain.model.target.log


@pytest.mark.parametrize(
    ("y", "answers"),
    [
        (np.linspace(-1.0, 1.0, 60), float),
        (np.arange(60) % 2, {0, 1}),
        (np.arange(60) % 2 == 0, {False, True}),
        (np.arange(60) % 3 + 0.0, {0.0, 1.0, 2.0}),
        (np.array(["u", "v", "w"] * 20), {"u", "v", "w"}),
        (np.array(["1", "2", "3"] * 20), {"1", "2", "3"}),
    ],
    ids=["regression", "int", "bool", "float", "text", "digits as text"],
)
def test_arrays(y: Any, answers: Any) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    run = neuronwise.train((X, y), **QUICK)
    found = run.predict(X)
    assert found.shape == (60,)
    if answers is float:
        assert found.dtype == np.float64
    else:
        assert set(found.tolist()) <= answers
        assert {type(label) for label in found.tolist()} == {type(label) for label in answers}
        assert run.model.predict_proba(X).shape == (60, len(answers))
    assert neuronwise.load(run.folder).predict(X).tolist() == found.tolist()


def test_rare_classes_can_be_made_to_count_as_much() -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=400)
    frame = pd.DataFrame({"a": a, "c": np.where(a + random.normal(0, 1.0, 400) > 1.8, "rare", "common")})
    plain, balanced = (
        neuronwise.train(frame, "c", epochs=30, class_weights=weights, track=False) for weights in (None, "balanced")
    )
    assert balanced.metrics["balanced_accuracy"] > plain.metrics["balanced_accuracy"]
    assert (balanced.predict(frame) == "rare").sum() > 2 * (plain.predict(frame) == "rare").sum()


def test_a_run_goes_on_from_another_in_any_way_it_is_named(frame: pd.DataFrame) -> None:
    first = neuronwise.train(frame, "y", name="first", **QUICK)
    before = bits(first)
    runs = [
        neuronwise.train(frame, "y", from_run=name, **QUICK) for name in (first, first.id[:8], "first", first.folder)
    ]
    assert len({bits(run) for run in runs}) == 1
    assert bits(first) == before
    for run in runs:
        assert run.history_on_disk.parameters(0).tobytes() == before
        assert run.model.encoder.to_dict() == first.model.encoder.to_dict()
    # New rows keep the meaning of the inputs: nothing is fitted anew.
    later = neuronwise.train(make_frame(60, seed=9), "y", from_run="first", **QUICK)
    assert later.model.target == first.model.target


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({"task": "regression"}, "task"), ({"log": False}, "log"), ({"category": ["a"]}, "category"),
        ({"numeric": ["a"]}, "numeric"), ({"drop": ["a"]}, "drop"),
    ],
)  # fmt: skip
def test_what_the_other_run_has_decided_cannot_be_decided_again(
    kept_run: Run, frame: pd.DataFrame, arguments: dict[str, Any], where: str
) -> None:
    with pytest.raises(UsageError) as caught:
        neuronwise.train(frame, "y", from_run=kept_run, **arguments)
    assert caught.value.where == f"argument {where}"


def test_an_observer_may_end_the_training(frame: pd.DataFrame) -> None:
    class Stopper(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            if state.step == 4:
                state.stop()

    run = neuronwise.train(frame, "y", observers=[Stopper()], **QUICK)
    assert run.status == "stopped"
    assert run.steps == 4
    assert set(run.metrics) >= {"r2"}


def test_an_observer_that_fails_is_one_warning(frame: pd.DataFrame) -> None:
    class Broken(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            raise RuntimeError("broken")

    with pytest.warns(RuntimeWarning, match=r"Broken\.on_step_end failed at step 1") as warned:
        run = neuronwise.train(frame, "y", observers=[Broken()], **QUICK)
    assert len(warned) == 1
    assert run.status == "finished"
    assert bits(run) == bits(neuronwise.train(frame, "y", **QUICK))


def test_a_recording_that_fails_is_said_and_the_network_is_kept(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("neuronwise.recording.description.write_exclusively", full)
    heard: list[str] = []

    class Listener(neuronwise.running.Reporter):
        def warned(self, message: str) -> None:
            heard.append(message)

    with pytest.warns(RuntimeWarning, match="No space left"):
        run = neuronwise.train(frame, "y", reporter=Listener(), **QUICK)
    assert run.status == "finished"
    assert any("No space left" in message for message in heard)
    assert len(neuronwise.load("latest").predict(frame)) == 90


def test_a_training_that_diverges_is_kept_with_its_last_finite_weights(frame: pd.DataFrame) -> None:
    with pytest.raises(TrainingDiverged) as caught:
        neuronwise.train(frame, "y", optimizer="sgd", learning_rate=1e6, epochs=30, track=False)
    error = caught.value
    assert error.step >= 1
    assert error.layer in ("hidden1", "hidden2", "output")
    assert f"step {error.step}, layer {error.layer}: the training diverged" in str(error)
    assert "the learning rate was 1e+06: try 0.1" in str(error)
    run = error.run
    assert run.status == "diverged"
    assert run.metrics == {}
    assert np.isfinite(run.network.parameters).all()
    kept = Run.load(run.folder)
    assert kept.status == "diverged"
    assert bits(kept) == bits(run)
    assert kept.history_on_disk.status == "diverged"
    assert np.isfinite(neuronwise.load("latest").network.parameters).all()


LATE: dict[str, tuple[str, dict[str, Any]]] = {
    "class weights without classes": ("y", {"class_weights": "balanced"}),
    "class weights of no class": ("sign", {"class_weights": {"above": 1.0}}),
    "class weights that lack one": ("sign", {"class_weights": [1.0]}),
    "class weights that are none": ("sign", {"class_weights": "equal"}),
    "loss of classes": ("y", {"loss": "categorical_cross_entropy"}),
    "loss of two classes": ("y", {"loss": "binary_cross_entropy"}),
    "unknown loss": ("y", {"loss": "hubre"}),
    "epochs": ("y", {"epochs": 0}),
    "batch size": ("y", {"batch_size": 0.5}),
    "patience": ("y", {"patience": -1}),
    "threads": ("y", {"threads": 0}),
    "clip norm": ("y", {"clip_norm": 0}),
    "seed": ("y", {"seed": -1}),
    "layers": ("y", {"layers": "16,x"}),
    "learning rate": ("y", {"learning_rate": 0}),
    "target": ("nope", {}),
    "category": ("y", {"category": ["nope"]}),
    "from": ("y", {"from_run": "nope"}),
}


@pytest.mark.parametrize("case", LATE)
def test_what_cannot_be_used_leaves_no_run_anywhere(frame: pd.DataFrame, case: str) -> None:
    target, arguments = LATE[case]
    with pytest.raises(UsageError):
        neuronwise.train(frame, target, **arguments)  # tracked, if it came so far
    home = user_data_folder()
    assert not home.exists() or not list(home.rglob("*.db"))
    assert not list(home.glob("runs/*"))


def test_ctrl_c_keeps_what_was_learned_and_gives_the_signal_back(frame: pd.DataFrame) -> None:
    class Presser(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            if state.step == 7:
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    run = neuronwise.train(frame, "y", observers=[Presser()], epochs=1000, patience=1000, track=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert run.status == "interrupted"
    assert run.steps == 7
    assert run.baselines == []
    assert Run.load(run.folder).status == "interrupted"
    assert len(neuronwise.load("latest").predict(frame)) == 90


def test_a_second_ctrl_c_ends_at_once(frame: pd.DataFrame) -> None:
    class Presser(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        neuronwise.train(frame, "y", observers=[Presser()], epochs=1000, track=False)
    assert local_runs() == []


def test_pictures_in_folders_by_class(tmp_path: Path) -> None:
    from PIL import Image

    for index, name in enumerate(("cat", "dog")):
        (tmp_path / "pics" / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(np.full((6, 5), 60 + 120 * index + i, dtype=np.uint8)).save(
                tmp_path / "pics" / name / f"{i}.png"
            )
    run = neuronwise.train(tmp_path / "pics", layers=[4], epochs=60, learning_rate=0.01, track=False)
    assert run.network.input_shape == (6, 5)
    assert run.model.target.classes == ("cat", "dog")
    assert run.metrics["accuracy"] == 1.0
    assert run.predict(tmp_path / "pics" / "dog" / "3.png").tolist() == ["dog"]
    assert run.predict(str(tmp_path / "pics" / "cat"))[:2].tolist() == ["cat", "cat"]
