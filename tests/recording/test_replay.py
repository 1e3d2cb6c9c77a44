"""Replay: every step again, bit for bit what it was, though only a few states were stored."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise.recording.replay as replay_module
from neuronwise.errors import FormatError, NotFoundError, ReplayWarning, UsageError
from neuronwise.learning import (
    OPTIMIZERS,
    SCHEDULES,
    SGD,
    Adam,
    Cosine,
    Momentum,
    ReduceOnPlateau,
    Step,
    WarmUp,
    fit,
)
from neuronwise.learning.stepping import Stepper
from neuronwise.network import Conv2D, Dense, Dropout, Flatten, Network
from neuronwise.recording import (
    NEURON_FIELDS,
    RecordedHistory,
    Recording,
    RecordingWriter,
    Replay,
    TrainingData,
    read_recording,
)
from neuronwise.recording.rows import write_checksums

from .helpers import OPTIONS, RNG, ROWS, Everything, X, Y, all_layers, data, plain, stop_at, train

# So that most steps must be taken again.
SPARSE: dict[str, Any] = {"keyframe_every": 7, "statistics_every": 5}


def recorded(folder: Path, network: Network, **options: Any) -> tuple[Everything, Replay]:
    everything = Everything()
    train(folder, network, [everything], **({"writer": SPARSE} | options))
    return everything, Replay(read_recording(folder), data())


def check(everything: Everything, replay: Replay, seed: int = 0, steps: int = 12) -> None:
    """Random access, in any order, gives what every step had."""
    order = np.random.default_rng(seed).permutation(sorted(everything.steps))
    for step in [*order[:steps].tolist(), max(everything.steps), 0]:
        kept, network = everything.steps[step], replay.at(step)
        assert network.parameters.tobytes() == kept["parameters"].tobytes(), step
        assert network.buffers.tobytes() == kept["buffers"].tobytes(), step
        if step == 0:
            continue
        again = replay.step(step)
        assert (again.loss, again.learning_rate, again.step) == (kept["loss"], kept["rate"], step)
        np.testing.assert_array_equal(again.rows, kept["rows"])
        assert (len(again.x), len(again.y)) == (len(again.rows), len(again.rows))
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
        for name, update in again.update.items():
            for key, values in update.items():
                total = sum(part[name][key] for part in again.parts.values())
                limits = np.finfo(values.dtype)
                size = sum(np.abs(part[name][key]) for part in again.parts.values())
                assert (np.abs(total - values) <= 20 * limits.eps * size + limits.tiny).all(), (step, name, key)
    assert replay.differences == []


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


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("schedule", [None, WarmUp(7, ReduceOnPlateau(patience=0))], ids=repr)
def test_states_kept_in_memory_save_steps_and_change_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, schedule: Any
) -> None:
    monkeypatch.setattr(replay_module, "_LEAST_KEPT", 3)
    monkeypatch.setattr(replay_module, "_KEPT_EVERY_US", 1)
    everything, replay = recorded(
        tmp_path, all_layers(), optimizer=optimizer, schedule=schedule, writer={"keyframe_every": 1000}
    )
    check(everything, replay)
    assert replay._kept
    taken: list[int] = []
    real = Stepper.step
    monkeypatch.setattr(Stepper, "step", lambda self, rows: (taken.append(1), real(self, rows))[1])
    for step in np.random.default_rng(1).permutation(sorted(everything.steps)).tolist():
        taken.clear()
        assert replay.at(step).parameters.tobytes() == everything.steps[step]["parameters"].tobytes()
        assert len(taken) <= replay._keep_every, step


def test_no_more_states_are_kept_in_memory_than_bytes_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "_LEAST_KEPT", 3)
    monkeypatch.setattr(replay_module, "_KEPT_EVERY_US", 1)
    size = 3 * plain().parameters.nbytes  # Adam remembers two arrays
    for room in (0, 2):
        monkeypatch.setattr(replay_module, "_KEPT_BYTES", room * size)
        folder = tmp_path / str(room)
        everything, replay = recorded(folder, plain(), optimizer="adam", writer={"keyframe_every": 1000})
        check(everything, replay)
        assert len(replay._kept) == room


def _variants() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    schedules = [None, Step(2, 0.5), Cosine(), ReduceOnPlateau(patience=0, threshold=0.3), WarmUp(5, Cosine())]
    for number, optimizer in enumerate(sorted(OPTIMIZERS)):
        for dtype in ("float32", "float64"):
            make = all_layers if (number + (dtype == "float64")) % 2 else plain
            options: dict[str, Any] = {
                "optimizer": optimizer,
                "schedule": schedules[(number + 2 * (dtype == "float64")) % len(schedules)],
                "clip_norm": 0.5 if number % 2 else None,
                "weight_decay": 0.01 if optimizer in ("adamw", "sgd") else None,
                "validation": np.arange(60, 70) if number % 3 == 0 else None,
            }
            yield f"{optimizer} {dtype}", lambda make=make, dtype=dtype: make(dtype), options


@pytest.mark.parametrize(("make", "options"), [one[1:] for one in _variants()], ids=[one[0] for one in _variants()])
def test_a_hundred_random_steps_are_what_a_training_that_stored_every_step_had(
    tmp_path: Path, make: Any, options: dict[str, Any]
) -> None:
    """All optimizers, schedules, clipping, dtypes, weights of rows, interrupted and resumed at any step."""
    generator = np.random.default_rng(len(str(options)))
    weights = generator.uniform(0.5, 2, 70)
    stop = int(generator.integers(1, 60))
    options = options | {"epochs": 16, "sample_weight": weights, "training_rows": ROWS}
    sparse, dense = tmp_path / "sparse", tmp_path / "dense"
    X_ = X.astype(make().dtype)
    # The training of which little is stored is interrupted; the one that stores every step is not.
    first = fit(
        make(), X_, Y, observers=[RecordingWriter(sparse, **SPARSE), stop_at(stop)], strict=True, **_fit(options)
    )
    fit(
        make(), X_, Y, observers=[RecordingWriter(sparse, **SPARSE, resume=True)], strict=True,
        resume=first.checkpoint, **_fit(options),
    )  # fmt: skip
    fit(make(), X_, Y, observers=[RecordingWriter(dense, keyframe_every=1)], strict=True, **_fit(options))
    stored = read_recording(dense)
    given = TrainingData(X_, Y, ROWS, weights.astype(X_.dtype))
    recording = Recording(read_recording(sparse), lambda: given)
    assert len(recording.steps) == 16 * 4 + 1
    assert len(recording.keyframes) < len(stored.steps) / 2
    for step in generator.integers(0, 65, 100).tolist():
        network = recording.at(step)
        assert network.parameters.tobytes() == stored.parameters(step).tobytes(), step
        assert network.buffers.tobytes() == stored.buffers(step).tobytes(), step
    assert recording.problems == []


def _fit(options: dict[str, Any]) -> dict[str, Any]:
    return {"batch_size": 16, **{key: value for key, value in options.items() if value is not None}}


def test_without_shuffling_and_with_a_seed_of_its_own(tmp_path: Path) -> None:
    check(*recorded(tmp_path, all_layers(), optimizer=Momentum(0.01), shuffle=False, seed=9))


def test_weights_of_rows_are_needed_too(tmp_path: Path) -> None:
    weights = RNG.uniform(0.5, 2, 70)
    everything = Everything()
    train(tmp_path, plain(), [everything], writer=SPARSE, sample_weight=weights)
    history = read_recording(tmp_path)
    with pytest.raises(UsageError, match="the training weighed its rows, and no sample_weight is handed in"):
        Replay(history, data())
    check(everything, Replay(history, data(weights.astype(np.float32))))


def test_a_resumed_training_is_replayed_through_the_interruption(tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "adam", "schedule": ReduceOnPlateau(patience=0, threshold=0.3)}
    everything = Everything()
    first = train(tmp_path, all_layers(), [everything, stop_at(6)], writer=SPARSE, **options)
    train(tmp_path, all_layers(), [everything], writer=SPARSE | {"resume": True}, resume=first.checkpoint, **options)
    assert max(everything.steps) == 20
    check(everything, Replay(read_recording(tmp_path), data()))


def test_best_weights_put_back_are_no_state_to_go_on_from(tmp_path: Path) -> None:
    everything, replay = recorded(
        tmp_path, plain(), optimizer="adam", learning_rate=0.5, epochs=8, validation=np.arange(60, 70)
    )
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
        "print(json.dumps([replay.at(step).parameters.tobytes().hex() for step in (8, 3, 20)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [everything.steps[step]["parameters"].tobytes().hex() for step in (8, 3, 20)]


@pytest.mark.parametrize("make", [plain, all_layers])
@pytest.mark.parametrize("resumed", [False, True])
def test_statistics_taken_again_are_those_that_were_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, resumed: bool
) -> None:
    monkeypatch.setattr("neuronwise.recording.schedule._FRAMES_ALLOWED_US", 1e6)  # histograms at every step
    every = {"statistics_every": 1, "keyframe_every": 6}
    options: dict[str, Any] = {"optimizer": "adam", "clip_norm": 0.3}
    if resumed:
        first = train(tmp_path, make(), [stop_at(9)], writer=every, **options)
        train(tmp_path, make(), writer=every | {"resume": True}, resume=first.checkpoint, **options)
    else:
        train(tmp_path, make(), writer=every, **options)
    history = read_recording(tmp_path)
    assert history.frames.tolist() == list(range(21))
    measured = Replay(history, data()).measure(range(21))
    for step in range(21):
        stored, again = history.neurons(step), measured[step][0]
        for name in NEURON_FIELDS:
            assert stored[name].tobytes() == again[name].tobytes(), (step, name)
        stored, again = history.histograms(step), measured[step][1]
        assert stored.dtype.names is not None
        for name in stored.dtype.names:
            if name not in ("attempt", "crc"):
                assert stored[name].tobytes() == again[name].tobytes(), (step, name)


def change_keyframe(folder: Path, step: int, by: float) -> None:
    """Change a stored weight as another processor would have, with the right checksums."""
    for path in sorted(folder.glob("keyframes-*.npy")):
        rows = np.load(path, mmap_mode="r+")
        for row in np.flatnonzero(rows["step"] == step):
            rows["params"][row, 3] += by
            copied = np.array(rows)
            write_checksums(copied)
            rows[:] = copied
        rows.flush()


def test_a_difference_is_told_with_its_size_and_does_not_grow(tmp_path: Path) -> None:
    everything, _ = recorded(tmp_path, plain(), epochs=8)
    change_keyframe(tmp_path, 14, 0.25)
    recording = Recording(read_recording(tmp_path), data)
    with pytest.warns(
        ReplayWarning, match=r"step 14 taken again differs .*at most 0\.25, in 1 of 203 numbers.*recorded with"
    ):
        network = recording.at(13)
    assert network.parameters.tobytes() == everything.steps[13]["parameters"].tobytes()
    assert recording.problems == [
        "step 14 taken again differs from what was stored: the weights by at most 0.25, in 1 of 203 numbers"
    ]
    (difference,) = recording.differences
    assert (difference.step, difference.what, difference.count, difference.of) == (14, "weights", 1, 203)
    assert difference.largest == pytest.approx(0.25, rel=1e-6)
    # What is stored counts, and replay goes on from it: not from the weights that it had computed itself.
    assert recording.at(14).parameters[3] == everything.steps[14]["parameters"][3] + np.float32(0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReplayWarning)
        later = recording.at(15)
    assert abs(later.parameters[3] - everything.steps[15]["parameters"][3]) > 0.2
    assert any(one.step > 14 for one in recording.differences)  # whatever came after began from another weight


def test_without_verification_no_step_beyond_is_taken(tmp_path: Path) -> None:
    recorded(tmp_path, plain(), epochs=8)
    change_keyframe(tmp_path, 14, 0.25)
    recording = Recording(read_recording(tmp_path), data, verify=False)
    recording.at(9)
    assert recording.differences == []


def test_a_loss_that_differs_is_told(tmp_path: Path) -> None:
    recorded(tmp_path, plain())
    (path,) = tmp_path.glob("scalars-*.npy")
    rows = np.load(path)
    rows["loss"][rows["step"] == 9] += 0.125
    write_checksums(rows)
    path.write_bytes(path.read_bytes()[:4096] + rows.tobytes())
    recording = Recording(read_recording(tmp_path), data)
    with pytest.warns(
        ReplayWarning, match=r"step 9 taken again differs from what was stored: the loss by at most 0\.125"
    ):
        recording.at(10)
    assert recording.differences[0].what == "loss"


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
    for given, what in (
        (TrainingData(X + 1, Y, ROWS), "X"),
        (TrainingData(X, 2 - Y, ROWS), "y"),
        (TrainingData(X, Y, np.arange(59)), "training_rows"),
    ):
        with pytest.raises(UsageError, match=f"the {what} handed in is not that of the training"):
            Replay(history, given)
    with pytest.raises(UsageError, match="a list is for calls of partial_fit only"):
        Replay(history, [data()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": None}, "does not say how its steps were taken"),
        ({"batch_size": "x"}, "a setting is missing or wrong"),
        ({"batch_size": 0}, "a setting is missing or wrong"),
        ({"optimizer": None}, "a setting is missing or wrong"),
        ({"optimizer": {"name": "momentum"}}, "not of the optimizer that is said"),
        ({"planned_steps": None}, "a setting is missing or wrong"),
    ],
    ids=str,
)
def test_a_recording_that_does_not_say_how_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    _, replay = recorded(tmp_path, plain(), epochs=1)
    history: RecordedHistory = replay.history
    for key, value in change.items():
        if key in history.description:
            history.description[key] = value
        else:
            history.description["training"][key] = value
    with pytest.raises(FormatError, match=message):
        Replay(history, data())


def test_a_damaged_state_is_gone_around(tmp_path: Path) -> None:
    everything, _ = recorded(tmp_path, plain())
    (path,) = tmp_path.glob("keyframes-*.npy")
    rows = np.load(path, mmap_mode="r+")
    place = int(np.flatnonzero(rows["step"] == 14)[0])
    rows["optimizer"][place, 0, 0] += 1  # the weights are sound, what the optimizer remembered is not
    rows.flush()
    history = read_recording(tmp_path)
    replay = Replay(history, data())
    for step in (16, 14, 15):
        assert replay.at(step).parameters.tobytes() == everything.steps[step]["parameters"].tobytes()
    assert OPTIONS["epochs"] == 5


def test_a_step_has_its_batch_and_what_each_example_pulled(tmp_path: Path) -> None:
    weights = np.random.default_rng(3).uniform(0.5, 2, len(X))
    layers = [Conv2D(3, 3), Flatten(), Dropout(0.3), Dense(5, "tanh"), Dense(3, "softmax")]
    network = Network(layers, input_shape=(6, 6), seed=2)
    train(tmp_path, network, [], writer=SPARSE, sample_weight=weights, optimizer="adam", weight_decay=0.01)
    step = Replay(read_recording(tmp_path), data(weights.astype(np.float32))).step(9)
    np.testing.assert_array_equal(step.x, X[step.rows])
    np.testing.assert_array_equal(step.y, Y[step.rows])
    every = step.example_gradients()
    for layer, gradients in step.gradients.items():
        for key, gradient in gradients.items():
            np.testing.assert_allclose(every[layer][key].mean(axis=0), gradient, atol=1e-6)
    one = step.neuron_gradients("output[1]")
    np.testing.assert_allclose(one["W"], every["output"]["W"][:, 1], atol=1e-7)
    assert list(step.parts) == ["gradient", "memory", "weight_decay"]
    for layer, update in step.update.items():
        for key, values in update.items():
            np.testing.assert_allclose(sum(part[layer][key] for part in step.parts.values()), values, atol=1e-8)
    with pytest.raises(NotFoundError, match="names no neuron"):
        step.neuron_gradients("output")


class Mine(SGD):
    """An optimizer of one's own: half a step."""

    name = "mine"

    def _compute_update(self, gradients: np.ndarray, update: np.ndarray, state: Sequence[np.ndarray]) -> None:
        super()._compute_update(gradients, update, state)
        update *= 0.5


class Own(Step):
    """A schedule of one's own."""

    name = "own"


@pytest.mark.parametrize(
    ("option", "registry", "made"),
    [("optimizer", OPTIMIZERS, lambda: Mine(0.1)), ("schedule", SCHEDULES, lambda: Own(1, 0.5))],
    ids=["optimizer", "schedule"],
)
def test_what_is_of_ones_own_is_registered_before_its_steps_are_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, registry: dict[str, Any], made: Any
) -> None:
    everything = Everything()
    train(tmp_path, plain(), [everything], writer=SPARSE, **{option: made()})
    recording = Recording(read_recording(tmp_path), data)
    with pytest.raises(NotFoundError, match=rf"(?s)with the {option} '{made().name}', which is not known.*registered"):
        recording.at(11)
    assert recording.at(int(recording.keyframes[2])).parameter_count
    monkeypatch.setitem(registry, made().name, type(made()))
    again = Recording(read_recording(tmp_path), data)
    assert again.at(11).parameters.tobytes() == everything.steps[11]["parameters"].tobytes()
    assert not again.differences
