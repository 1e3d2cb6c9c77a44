"""Replay: every step again, bit for bit what it was, though only a few states were stored."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.learning import (
    OPTIMIZERS,
    Adam,
    Cosine,
    Momentum,
    Observer,
    ReduceOnPlateau,
    Step,
    TrainingState,
    WarmUp,
    fit,
)
from neuronwise.network import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D, Network
from neuronwise.recording import RecordingWriter, Replay, TrainingData, read_recording

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 6, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 70)


class Everything(Observer):
    """Keeps what every step had."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, Any]] = {}

    def on_fit_begin(self, state: TrainingState) -> None:
        if state.step not in self.steps:  # a resumed training begins where it stood
            self._keep(state)

    def on_step_end(self, state: TrainingState) -> None:
        self._keep(state)

    def _keep(self, state: TrainingState) -> None:
        self.steps[state.step] = {
            "parameters": state.network.parameters.copy(),
            "buffers": state.network.buffers.copy(),
            "loss": state.loss,
            "rate": state.learning_rate,
            "rows": state.batch_indices.copy(),
            "gradients": state.gradients.copy(),
            "update": state.update.copy(),
            "delta": [None if one.delta is None else one.delta.copy() for one in state.passes],
            "z": [None if one.z is None else one.z.copy() for one in state.passes],
        }


class StopAt(Observer):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, state: TrainingState) -> None:
        if state.step == self.step:
            state.stop()


def plain() -> Network:
    return Network([Flatten(), Dense(5), Dense(3, "softmax")], input_shape=(6, 6), seed=1)


def all_layers() -> Network:
    layers = [Conv2D(3, 3), BatchNorm(), MaxPool2D(), Flatten(), Dropout(0.3), Dense(5, "tanh"), Dense(3, "softmax")]
    return Network(layers, input_shape=(6, 6), seed=2)


def recorded(folder: Path, network: Network, **options: Any) -> tuple[Everything, Replay]:
    everything = Everything()
    options = {"epochs": 5, "batch_size": 16, "validation": np.arange(60, 70)} | options
    fit(network, X, Y, observers=[everything, RecordingWriter(folder)], **options)
    return everything, Replay(read_recording(folder), TrainingData(X, Y, np.arange(60)))


def check(everything: Everything, replay: Replay, seed: int = 0) -> None:
    """Random access, in any order, gives what every step had."""
    steps = np.random.default_rng(seed).permutation(sorted(everything.steps))
    for step in [*steps[:12].tolist(), max(everything.steps), 0]:
        kept, network = everything.steps[step], replay.at(step)
        assert network.parameters.tobytes() == kept["parameters"].tobytes(), step
        assert network.buffers.tobytes() == kept["buffers"].tobytes(), step
        if step == 0:
            continue
        again = replay.step(step)
        assert (again.loss, again.learning_rate, again.step) == (kept["loss"], kept["rate"], step)
        np.testing.assert_array_equal(again.rows, kept["rows"])
        names = [layer.name for layer in network.layers]
        for flat, parts in ((kept["gradients"], again.gradients), (kept["update"], again.update)):
            for name, views in zip(names, network.views(flat), strict=True):
                for key, values in views.items():
                    np.testing.assert_array_equal(parts[name][key], values)
        for name, delta, z in zip(names, kept["delta"], kept["z"], strict=True):
            if delta is not None:
                np.testing.assert_array_equal(again.delta[name], delta)
            if z is not None:
                np.testing.assert_array_equal(again.trace[name].z, z)
        assert again.after.parameters.tobytes() == kept["parameters"].tobytes()
        assert again.before.parameters.tobytes() == everything.steps[step - 1]["parameters"].tobytes()


@pytest.mark.parametrize("make", [plain, all_layers])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_step_comes_back_with_any_optimizer(tmp_path: Path, make: Any, optimizer: str) -> None:
    check(*recorded(tmp_path, make(), optimizer=optimizer, learning_rate=0.01))


@pytest.mark.parametrize(
    "schedule",
    [
        Step(2, 0.5),
        Cosine(),
        ReduceOnPlateau(gamma=0.5, patience=0, threshold=0.3),
        WarmUp(7, ReduceOnPlateau(patience=0)),
    ],
    ids=repr,
)
def test_every_step_comes_back_with_any_schedule(tmp_path: Path, schedule: Any) -> None:
    check(*recorded(tmp_path, all_layers(), optimizer=Adam(0.02), schedule=schedule, clip_norm=0.5))


def test_without_shuffling_and_with_a_seed_of_its_own(tmp_path: Path) -> None:
    check(*recorded(tmp_path, all_layers(), optimizer=Momentum(0.01), shuffle=False, seed=9))


def test_weights_of_rows_are_needed_too(tmp_path: Path) -> None:
    weights = RNG.uniform(0.5, 2, 70)
    everything = Everything()
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "training_rows": np.arange(60), "sample_weight": weights}
    fit(plain(), X, Y, observers=[everything, RecordingWriter(tmp_path)], **options)
    history = read_recording(tmp_path)
    with pytest.raises(UsageError, match="the sample_weight handed in is not that of the training"):
        Replay(history, TrainingData(X, Y, np.arange(60)))
    check(everything, Replay(history, TrainingData(X, Y, np.arange(60), weights.astype(np.float32))))


def test_a_resumed_training_is_replayed_through_the_interruption(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "epochs": 5, "batch_size": 16, "training_rows": np.arange(60), "optimizer": "adam",
        "schedule": ReduceOnPlateau(patience=0, threshold=0.3),
    }  # fmt: skip
    everything = Everything()
    first = fit(all_layers(), X, Y, observers=[everything, RecordingWriter(tmp_path), StopAt(6)], **options)
    fit(
        all_layers(), X, Y, observers=[everything, RecordingWriter(tmp_path, resume=True)],
        resume=first.checkpoint, **options,
    )  # fmt: skip
    assert max(everything.steps) == 20
    check(everything, Replay(read_recording(tmp_path), TrainingData(X, Y, np.arange(60))))


def test_recording_changes_no_bit(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "training_rows": np.arange(60), "optimizer": "adam"}
    alone, watched = all_layers(), all_layers()
    fit(alone, X, Y, **options)
    fit(watched, X, Y, observers=[RecordingWriter(tmp_path)], **options)
    assert alone.parameters.tobytes() == watched.parameters.tobytes()
    assert alone.buffers.tobytes() == watched.buffers.tobytes()


def test_best_weights_put_back_are_no_state_to_go_on_from(tmp_path: Path) -> None:
    everything, replay = recorded(tmp_path, plain(), optimizer="adam", learning_rate=0.5, epochs=8)
    assert replay.history.delivered_step != replay.last_step
    check(everything, replay)


def test_another_process_replays_the_same_bits(tmp_path: Path) -> None:
    everything, _ = recorded(tmp_path / "recording", all_layers(), optimizer="rmsprop")
    np.savez(tmp_path / "data.npz", X=X, Y=Y)
    script = (
        "import json, sys, numpy as np\n"
        "from neuronwise.recording import Replay, TrainingData, read_recording\n"
        "data = np.load(sys.argv[1] + '/data.npz')\n"
        "data = TrainingData(data['X'], data['Y'], np.arange(60))\n"
        "replay = Replay(read_recording(sys.argv[1] + '/recording'), data)\n"
        "print(json.dumps([replay.at(step).parameters.tobytes().hex() for step in (7, 3, 20)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [everything.steps[step]["parameters"].tobytes().hex() for step in (7, 3, 20)]


def test_steps_that_were_not_taken_are_not_found(tmp_path: Path) -> None:
    _, replay = recorded(tmp_path, plain(), epochs=2)
    assert replay.last_step == 8
    for step in (-1, 9, 10**9):
        with pytest.raises(NotFoundError, match=f"the training took 8 steps, got {step}"):
            replay.at(step)
    with pytest.raises(NotFoundError, match="the training took 8 steps, got 9"):
        replay.step(9)
    with pytest.raises(NotFoundError, match="steps count from 1, got 0"):
        replay.step(0)


def test_other_data_is_refused_and_says_which(tmp_path: Path) -> None:
    _, replay = recorded(tmp_path, plain(), epochs=1)
    history = replay.history
    for data, what in (
        (TrainingData(X + 1, Y, np.arange(60)), "X"),
        (TrainingData(X, 2 - Y, np.arange(60)), "y"),
        (TrainingData(X, Y, np.arange(59)), "training_rows"),
    ):
        with pytest.raises(UsageError, match=f"the {what} handed in is not that of the training"):
            Replay(history, data)


def test_a_recording_that_does_not_say_how_is_refused(tmp_path: Path) -> None:
    recorded(tmp_path, plain(), epochs=1)
    path = tmp_path / "recording.json"
    content = json.loads(path.read_text())
    for change, message in [
        ({"training": None}, "does not say how its steps were taken"),
        ({"training": content["training"] | {"batch_size": "x"}}, "a setting is missing or wrong"),
        ({"training": {k: v for k, v in content["training"].items() if k != "optimizer"}}, "'optimizer'"),
        ({"planned_steps": None}, "a setting is missing or wrong"),
    ]:
        path.write_text(json.dumps(content | change))
        with pytest.raises(FormatError, match=message):
            Replay(read_recording(tmp_path), TrainingData(X, Y, np.arange(60)))
