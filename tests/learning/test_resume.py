"""A training that was interrupted and goes on is, to the last bit, the one that never stopped."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import TrainingDiverged, UsageError
from neuronwise.learning import (
    OPTIMIZERS,
    SGD,
    Adam,
    Checkpoint,
    Cosine,
    FitResult,
    Observer,
    ReduceOnPlateau,
    Step,
    TrainingState,
    WarmUp,
    fit,
)
from neuronwise.network import Network
from neuronwise.network.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, MaxPool2D

RNG = np.random.default_rng(0)
ROWS, BATCH = 30, 7
Y = np.arange(ROWS) % 3
X = (RNG.normal(size=(ROWS, 4, 4)) + Y[:, None, None]).astype(np.float32)

NETWORKS: dict[str, Any] = {
    "plain": lambda: [Flatten(), Dense(5, "tanh")],
    "dropout": lambda: [Flatten(), Dense(6, "relu"), Dropout(0.4)],
    "batch norm": lambda: [Flatten(), Dense(5), BatchNorm(activation="relu")],
    "both": lambda: [Flatten(), Dense(5), BatchNorm(activation="tanh"), Dropout(0.3)],
    "conv": lambda: [Conv2D(2, 2), BatchNorm(activation="relu"), MaxPool2D(2), Flatten(), Dropout(0.2)],
}
SCHEDULES: dict[str, Any] = {
    "constant": lambda: None,
    "step": lambda: Step(every=1, gamma=0.7),
    "cosine": lambda: Cosine(minimum=0.05),
    "plateau": lambda: ReduceOnPlateau(0.5, patience=0, threshold=0.2),
    "warm-up": lambda: WarmUp(6, ReduceOnPlateau(0.5, patience=0, threshold=0.2)),
}
EPOCHS = 4


def _network(kind: str = "both", *, seed: int = 0) -> Network:
    return Network([*NETWORKS[kind](), Dense(3, "softmax")], input_shape=(4, 4), seed=seed)


class Watch(Observer):
    """Notes each step and epoch seen, asks for the end at a step or the end of an epoch, and keeps checkpoints."""

    def __init__(self, stop_step: int = 0, stop_epoch: int = 0, keep: bool = False) -> None:
        self.stop_step, self.stop_epoch, self.keep = stop_step, stop_epoch, keep
        self.steps: list[tuple[int, float, float, bytes]] = []
        self.epochs: list[tuple[Any, ...]] = []
        self.checkpoints: list[Checkpoint] = []

    def on_fit_begin(self, state: TrainingState) -> None:
        self.begin = (state.step, state.epoch, state.best_epoch)
        if self.keep:
            self.checkpoints.append(state.checkpoint())

    def on_step_end(self, state: TrainingState) -> None:
        self.steps.append((state.step, state.loss, state.learning_rate, state.network.parameters.tobytes()))
        if self.keep:
            self.checkpoints.append(state.checkpoint())
        if state.step == self.stop_step:
            state.stop()

    def on_epoch_end(self, state: TrainingState) -> None:
        self.epochs.append((state.epoch, state.step, state.best_epoch, tuple(state.metrics.items())))
        if self.keep:
            self.checkpoints.append(state.checkpoint())
        if state.epoch == self.stop_epoch:
            state.stop()


def _fit(network: Network, *, optimizer: str = "adam", schedule: str = "cosine", **options: Any) -> FitResult:
    options = {"epochs": EPOCHS, "batch_size": BATCH, "seed": 3} | options
    kind = OPTIMIZERS[optimizer]
    rate = 0.05 if optimizer in ("sgd", "momentum", "nesterov") else 0.02
    return fit(network, X, Y, optimizer=kind(rate, 0.01), schedule=SCHEDULES[schedule](), **options)


def _history(result: FitResult | Checkpoint) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result.history]


def _same(one: Network, other: Network, result: FitResult, expected: FitResult) -> None:
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(one.buffers, other.buffers)
    assert _history(result) == _history(expected)
    for name in ("status", "steps", "epochs", "best_epoch", "best_step", "divergence"):
        assert getattr(result, name) == getattr(expected, name), name
    _same_checkpoint(result.checkpoint, expected.checkpoint)


def _same_checkpoint(one: Checkpoint, other: Checkpoint, *, ignored: tuple[str, ...] = ()) -> None:
    arrays = ("parameters", "buffers", "best_parameters", "best_buffers")
    for name in arrays:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.optimizer_state.keys() == other.optimizer_state.keys()
    for name, values in one.optimizer_state.items():
        np.testing.assert_array_equal(values, other.optimizer_state[name], err_msg=name)
    assert _history(one) == _history(other)
    beside = {*arrays, "optimizer_state", "history", "elapsed_s", *ignored}
    for name in set(vars(one)) - beside:
        assert getattr(one, name) == getattr(other, name), name


def _round_trip(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    checkpoint.save(folder / "state.safetensors")
    return Checkpoint.load(folder / "state.safetensors")


def _check_interrupted(folder: Path, kind: str, stop: Watch, **options: Any) -> None:
    """Train through, and in two parts with a file between them; compare all that there is."""
    whole, through = _network(kind), Watch()
    expected = _fit(whole, observers=[through], **options)
    first = Watch(stop.stop_step, stop.stop_epoch)
    part = _fit(_network(kind), observers=[first], **options)
    if part.steps < expected.steps:
        assert part.status == "stopped"
    resumed, second = _network(kind, seed=9), Watch()  # other first weights: those of the checkpoint are taken
    result = _fit(resumed, resume=_round_trip(part.checkpoint, folder), observers=[second], **options)
    _same(resumed, whole, result, expected)
    assert first.steps + second.steps == through.steps
    assert first.epochs + second.epochs == through.epochs
    assert second.begin == (part.steps, part.checkpoint.epoch, part.best_epoch)
    assert result.duration_s >= part.duration_s


EXTRAS: list[dict[str, Any]] = [
    {},
    {"clip_norm": 0.5, "validation": 0.2},
    {"class_weights": "balanced", "validation": 0.2, "patience": 2},
    {"validation": 0.2, "patience": 1, "min_delta": 0.05, "clip_norm": 0.2},
    {"class_weights": {0: 1, 1: 3, 2: 0.5}, "clip_norm": 1.0, "sample_weight": np.arange(ROWS) % 4},
]


@pytest.mark.parametrize("kind", list(NETWORKS))
@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_an_interrupted_training_goes_on_as_if_it_never_was(
    optimizer: str, schedule: str, kind: str, tmp_path: Path
) -> None:
    place = sorted(OPTIMIZERS).index(optimizer) + list(SCHEDULES).index(schedule) + list(NETWORKS).index(kind)
    for turn in range(2):
        extra = EXTRAS[(place + 2 * turn) % len(EXTRAS)]
        stop = Watch(stop_step=1 + (5 * place + 3) % 13) if turn else Watch(stop_epoch=1 + place % 3)
        _check_interrupted(tmp_path, kind, stop, optimizer=optimizer, schedule=schedule, **extra)


@given(
    kind=st.sampled_from(list(NETWORKS)),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    schedule=st.sampled_from(list(SCHEDULES)),
    extra=st.sampled_from(EXTRAS),
    shuffle=st.booleans(),
    stop_step=st.integers(0, 24),
    stop_epoch=st.integers(0, 5),
)
def test_any_training_interrupted_anywhere_goes_on(
    kind: str,
    optimizer: str,
    schedule: str,
    extra: dict[str, Any],
    shuffle: bool,
    stop_step: int,
    stop_epoch: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, stop = tmp_path_factory.mktemp("resume"), Watch(stop_step, stop_epoch)
    _check_interrupted(folder, kind, stop, optimizer=optimizer, schedule=schedule, shuffle=shuffle, **extra)


@pytest.mark.parametrize("extra", [EXTRAS[0], EXTRAS[3]], ids=["plain", "validated"])
def test_an_observer_may_take_a_checkpoint_at_any_moment(extra: dict[str, Any], tmp_path: Path) -> None:
    whole, watch = _network(), Watch(keep=True)
    expected = _fit(whole, schedule="plateau", observers=[watch], **extra)
    unwatched = _fit(_network(), schedule="plateau", **extra)
    assert _history(unwatched) == _history(expected)  # taking one changes nothing
    assert len(watch.checkpoints) == 1 + expected.steps + expected.epochs
    for checkpoint in watch.checkpoints:
        resumed, after = _network(seed=1), Watch()
        result = _fit(resumed, schedule="plateau", resume=_round_trip(checkpoint, tmp_path), observers=[after], **extra)
        _same(resumed, whole, result, expected)
        assert [step[0] for step in after.steps] == list(range(checkpoint.step + 1, expected.steps + 1))
        assert [epoch[0] for epoch in after.epochs] == list(range(len(checkpoint.history) + 1, expected.epochs + 1))


def test_it_may_be_interrupted_again_and_again(tmp_path: Path) -> None:
    options = {"schedule": "warm-up", "validation": 0.2}
    whole = _network()
    expected = _fit(whole, **options)
    resume, steps = None, []
    for stop in (*range(2, expected.steps, 3), 10**6):
        network, watch = _network(), Watch(stop)
        result = _fit(network, resume=resume, observers=[watch], **options)
        resume = _round_trip(result.checkpoint, tmp_path)
        steps += [step[0] for step in watch.steps]
    assert steps == list(range(1, expected.steps + 1))
    _same(network, whole, result, expected)


def test_it_goes_on_in_another_process(tmp_path: Path) -> None:
    whole = _network()
    expected = _fit(whole, validation=0.2, schedule="warm-up")
    part = _fit(_network(), validation=0.2, schedule="warm-up", observers=[Watch(7)])
    part.checkpoint.save(tmp_path / "state.safetensors")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parent.parent.parent)!r})
from tests.learning import test_resume as t
network = t._network(seed=8)
checkpoint = t.Checkpoint.load({str(tmp_path / "state.safetensors")!r})
result = t._fit(network, validation=0.2, schedule="warm-up", resume=checkpoint)
result.checkpoint.save({str(tmp_path / "end.safetensors")!r})
network.save({str(tmp_path / "network")!r})
print(result.status, result.steps, result.best_step)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [expected.status, str(expected.steps), str(expected.best_step)]
    network = Network.load(tmp_path / "network")
    np.testing.assert_array_equal(network.parameters, whole.parameters)
    np.testing.assert_array_equal(network.buffers, whole.buffers)
    _same_checkpoint(Checkpoint.load(tmp_path / "end.safetensors"), expected.checkpoint)


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    class Key(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            if state.step == 6:
                signal.raise_signal(signal.SIGINT)

    whole, network = _network(), _network()
    expected = _fit(whole, validation=0.2)
    part = _fit(_network(), validation=0.2, observers=[Key()])
    assert (part.status, part.checkpoint.step) == ("interrupted", 6)
    result = _fit(network, validation=0.2, resume=_round_trip(part.checkpoint, tmp_path))
    _same(network, whole, result, expected)


def test_the_same_rows_may_be_named_in_another_way() -> None:
    whole, network = _network(), _network()
    expected = _fit(whole, validation=0.2)
    part = _fit(_network(), validation=0.2, observers=[Watch(6)])
    rows = {"validation": expected.validation_rows, "training_rows": expected.training_rows}
    _same(network, whole, _fit(network, resume=part.checkpoint, **rows), expected)


# --- longer than planned


@pytest.mark.parametrize("schedule", ["constant", "step", "plateau", "warm-up"])
def test_more_epochs_are_those_of_a_longer_training(schedule: str, tmp_path: Path) -> None:
    options = {"schedule": schedule, "validation": 0.2}
    whole, resumed = _network(), _network()
    expected = _fit(whole, epochs=8, **options)
    first = _fit(_network(), epochs=3, **options)
    assert first.status == "finished"
    result = _fit(resumed, epochs=8, resume=_round_trip(first.checkpoint, tmp_path), **options)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    np.testing.assert_array_equal(resumed.buffers, whole.buffers)
    assert _history(result) == _history(expected)
    assert (result.status, result.best_step) == (expected.status, expected.best_step)
    _same_checkpoint(result.checkpoint, expected.checkpoint, ignored=("planned_steps",))


def test_a_cosine_keeps_its_first_length_unless_it_has_one_of_its_own() -> None:
    rates = []
    for schedule in (Cosine(minimum=0.1), Cosine(steps=10, minimum=0.1)):
        first = fit(_network(), X, Y, epochs=2, batch_size=10, optimizer=SGD(0.1), schedule=schedule, seed=0)
        watch = Watch()
        fit(_network(), X, Y, epochs=4, batch_size=10, optimizer=SGD(0.1), schedule=schedule, seed=0,
            resume=first.checkpoint, observers=[watch])  # fmt: skip
        rates.append([round(step[2], 6) for step in watch.steps])
    assert rates[0] == [0.01] * 6  # it lasted 2 epochs of 3 steps, and stays where it ended
    assert rates[1][0] > 0.03
    assert rates[1][4:] == [0.01] * 2


def test_more_patience_is_that_of_a_more_patient_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(40, 4, 4)).astype(np.float32), rng.integers(0, 3, 40)
    results = {}
    for patience in (2, 6, None):
        network = _network("both")
        options = {"epochs": 25, "batch_size": 8, "optimizer": Adam(0.03), "validation": 0.5, "seed": 0}
        results[patience] = network, fit(network, *noise, patience=patience, **options)
    early = results[2][1]
    assert early.status == "early_stopped"
    for patience in (6, None):
        network, (whole, expected) = _network("both", seed=2), results[patience]
        result = fit(network, *noise, patience=patience, resume=_round_trip(early.checkpoint, tmp_path), **options)
        _same(network, whole, result, expected)
        assert result.steps > early.steps


@pytest.mark.parametrize("extra", EXTRAS, ids=[str(i) for i in range(len(EXTRAS))])
def test_a_training_that_ended_is_the_same_again_at_once(extra: dict[str, Any], tmp_path: Path) -> None:
    whole, network, watch = _network(), _network(seed=4), Watch()
    expected = _fit(whole, **extra)
    assert expected.status in ("finished", "early_stopped")
    result = _fit(network, resume=_round_trip(expected.checkpoint, tmp_path), observers=[watch], **extra)
    _same(network, whole, result, expected)
    assert watch.steps == watch.epochs == []
    assert watch.begin[0] == expected.steps


def test_fewer_epochs_than_planned_may_be_asked_for() -> None:
    whole, network = _network(), _network()
    expected = _fit(whole, schedule="step", epochs=3)
    part = _fit(_network(), schedule="step", epochs=10, observers=[Watch(6)])
    result = _fit(network, schedule="step", epochs=3, resume=part.checkpoint)
    np.testing.assert_array_equal(network.parameters, whole.parameters)
    assert (result.status, result.steps) == (expected.status, expected.steps)


# --- what is kept


def test_what_happens_later_changes_no_checkpoint() -> None:
    watch = Watch(keep=True)
    network = _network()
    result = _fit(network, validation=0.2, observers=[watch], schedule="plateau")
    arrays = [(one, {name: values.copy() for name, values in one._tensors().items()}) for one in watch.checkpoints]
    network.parameters[:] = network.buffers[:] = 0
    result.history[0]["loss"] = 99.0
    _fit(network, validation=0.2, resume=watch.checkpoints[5], schedule="plateau")
    for checkpoint, before in arrays:
        for name, values in checkpoint._tensors().items():
            np.testing.assert_array_equal(values, before[name], err_msg=name)


def test_the_result_keeps_the_state_before_the_best_weights_are_put_back() -> None:
    network, watch = _network(), Watch()
    result = _fit(network, validation=0.2, optimizer="sgd", epochs=12, observers=[watch])
    checkpoint = result.checkpoint
    assert checkpoint.parameters.tobytes() == watch.steps[-1][3]
    assert checkpoint.best_parameters.tobytes() == network.parameters.tobytes()
    assert checkpoint.best_buffers.tobytes() == network.buffers.tobytes()
    assert checkpoint.best_loss == min(row["val_loss"] for row in result.history)
    assert (checkpoint.step, checkpoint.epoch, checkpoint.is_epoch_ended) == (result.steps, 12, True)


def test_at_the_end_observers_get_the_checkpoint_of_the_result() -> None:
    class End(Observer):
        def on_fit_end(self, state: TrainingState) -> None:
            self.checkpoint = state.checkpoint()

    end = End()
    result = _fit(_network(), validation=0.2, observers=[end], strict=True)
    assert end.checkpoint is result.checkpoint


def test_a_training_that_diverged_has_none() -> None:
    class End(Observer):
        def on_fit_end(self, state: TrainingState) -> None:
            with pytest.raises(UsageError, match="a training that diverged cannot be resumed"):
                state.checkpoint()
            self.called = True

    end = End()
    with pytest.raises(TrainingDiverged) as caught:
        fit(Network.dense([16, 4, 1], seed=0), X.reshape(ROWS, -1), Y.astype(float), optimizer=SGD(1e6), epochs=9,
            observers=[end], strict=True)  # fmt: skip
    assert end.called
    assert caught.value.result.checkpoint is None


def test_a_resumed_training_diverges_where_the_whole_one_does(tmp_path: Path) -> None:
    # A line: its weights grow by about 1 - 4·rate each step until their square is beyond float32.
    options: dict[str, Any] = {"epochs": 100, "batch_size": 3, "optimizer": SGD(2.0), "seed": 0}
    options["schedule"] = WarmUp(20, first=0.6)
    line = np.linspace(0.8, 1.2, 30, dtype=np.float32)[:, None], np.zeros(30)
    found = []
    for stop in (0, 13, 24):
        network, resume = Network([Dense(1, "identity", initializer="constant")], input_shape=1, seed=0), None
        if stop:
            part = fit(network.copy(), *line, observers=[Watch(stop)], **options)
            resume = _round_trip(part.checkpoint, tmp_path)
        with pytest.raises(TrainingDiverged) as caught:
            fit(network, *line, resume=resume, **options)
        found.append((str(caught.value), network.parameters.tobytes(), len(caught.value.result.history)))
    assert 24 < caught.value.step <= 30
    assert found[0] == found[1] == found[2]


def test_a_state_without_a_training_has_none() -> None:
    with pytest.raises(UsageError, match="no training is under way"):
        TrainingState(_network(), 1, 1).checkpoint()


# --- what is refused

BASE: dict[str, Any] = {
    "optimizer": Adam(0.02), "schedule": Cosine(), "epochs": 4, "batch_size": 7, "seed": 3, "validation": 0.2,
    "patience": 3,
}  # fmt: skip
TOLD = "or leave resume out to begin a new training"


def _refused(network: Network | None = None, data: Any = None, stop: int = 9, **options: Any) -> str:
    part = fit(_network(), X, Y, observers=[Watch(stop)], **BASE)
    network = network or _network(seed=5)
    before, buffers = network.parameters.copy(), network.buffers.copy()
    with pytest.raises(UsageError) as caught:
        fit(network, *(data or (X, Y)), **(BASE | {"resume": part.checkpoint} | options))
    np.testing.assert_array_equal(network.parameters, before)
    np.testing.assert_array_equal(network.buffers, buffers)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({"optimizer": Adam(0.03)}, ["argument optimizer: ", "had learning_rate 0.02, this one has learning_rate 0.0"]),
        ({"optimizer": Adam(0.02, beta2=0.9)}, ["argument optimizer", "had beta2 0.999, this one has beta2 0.9"]),
        ({"optimizer": SGD(0.02)}, ["had name 'adam'", "this one has name 'sgd'", "pass the optimizer as it was"]),
        ({"schedule": None}, ["argument schedule", "had schedule 'cosine'", "this one has schedule 'constant'"]),
        ({"schedule": Cosine(9)}, ["argument schedule", "had schedule_steps None, this one has schedule_steps 9"]),
        ({"schedule": WarmUp(2, Cosine())}, ["argument schedule", "had nothing, this one has warm_up 2"]),
        ({"batch_size": 8}, ["argument batch_size", "had 7, this one has 8", f"pass batch_size=7, {TOLD}"]),
        ({"seed": 4}, ["argument seed", "had 3, this one has 4"]),
        ({"shuffle": False}, ["argument shuffle", "had True, this one has False"]),
        ({"clip_norm": 1.0}, ["argument clip_norm", "had None, this one has 1.0", "pass clip_norm=None"]),
        ({"min_delta": 0.5}, ["argument min_delta", "had 0.0, this one has 0.5"]),
        ({"class_weights": "balanced"}, ["arguments class_weights, sample_weight", "had none, this one has 30 rows ("]),
        ({"sample_weight": np.ones(ROWS)}, ["arguments class_weights, sample_weight", "had none, this one has 30"]),
        ({"validation": None, "patience": None}, ["argument training_rows", "had 24 rows (fingerprint", "has 30 rows"]),
        ({"validation": 0.3}, ["argument training_rows: ", "had 24 rows (fingerprint", "has 21 rows (fingerprint"]),
        ({"validation": np.arange(6)}, ["argument training_rows: ", "24 rows", "pass the same data"]),
        ({"training_rows": np.arange(20)}, ["argument training_rows"]),
        ({"epochs": 1}, ["argument epochs", "is in epoch 3 already, got 1", f"pass epochs=4 or more, {TOLD}"]),
        ({"threads": 0}, ["argument threads"]),
        ({"resume": "state.safetensors"}, ["argument resume: expected a Checkpoint, got 's", "Checkpoint.load(path)"]),
    ],
)  # fmt: skip
def test_another_training_is_refused_with_both_values(options: dict[str, Any], texts: list[str]) -> None:
    message = _refused(**options)
    for text in texts:
        assert text in message


def test_other_data_are_refused() -> None:
    other = X.copy()
    other[11, 2, 2] += 1
    assert "argument X: the training to go on with had 30 rows (fingerprint " in _refused(data=(other, Y))
    assert "argument y: the training to go on with had 30 rows (fingerprint " in _refused(data=(X, np.roll(Y, 3) * 0))
    assert "argument X" in _refused(data=(X[:29], Y[:29]))


def test_another_loss_is_refused() -> None:
    network, y = Network.dense([16, 1], seed=0), Y.astype(float)
    part = fit(network, X.reshape(ROWS, 16), y, epochs=1)
    with pytest.raises(UsageError) as caught:
        fit(network, X.reshape(ROWS, 16), y, epochs=2, loss="huber", resume=part.checkpoint)
    assert "argument loss: the training to go on with had 'squared_error', this one has 'huber'" in str(caught.value)


def test_another_validation_set_is_refused() -> None:
    held_out, rows = (X[:6], Y[:6]), np.arange(6, 30)
    part = fit(_network(), X, Y, **(BASE | {"validation": held_out, "training_rows": rows}), observers=[Watch(9)])
    again = {"training_rows": rows, "resume": part.checkpoint}
    for validation in ((X[:5], Y[:5]), (X[:6] + 1, Y[:6]), (X[:6], Y[6:12] * 0), np.arange(6)):
        with pytest.raises(UsageError, match="argument validation: the training to go on with had 6 rows"):
            fit(_network(), X, Y, **(BASE | {"validation": validation} | again))
    fit(_network(), X, Y, **(BASE | {"validation": (X[:6].copy(), Y[:6].tolist())} | again))


def test_another_network_is_refused_with_what_differs() -> None:
    assert "argument network" in _refused(_network("plain"))
    wider = Network(
        [Flatten(), Dense(6), BatchNorm(activation="tanh"), Dropout(0.3), Dense(3, "softmax")], input_shape=(4, 4)
    )
    message = _refused(wider)
    assert "'name': 'hidden1', 'units': 5" in message
    assert "'name': 'hidden1', 'units': 6" in message
    assert "pass the network that was trained" in message
    double = Network([*NETWORKS["both"](), Dense(3, "softmax")], input_shape=(4, 4), dtype="float64")
    assert "had a network of float32, this one has a network of float64" in _refused(double)
    flat = Network([*NETWORKS["both"]()[1:], Dense(3, "softmax")], input_shape=16)
    message = _refused(flat, data=(X.reshape(ROWS, 16), Y))
    assert "had inputs of shape [4, 4], this one has inputs of shape [16]" in message
    longer = Network([*NETWORKS["both"](), Dense(3, "softmax"), Flatten(name="end")], input_shape=(4, 4))
    assert "this one has {'type': 'Dense', 'name': 'hidden2'" in _refused(longer, loss="categorical_cross_entropy")


def test_a_patience_that_would_have_ended_it_before_is_refused() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(40, 4, 4)).astype(np.float32), rng.integers(0, 3, 40)
    options: dict[str, Any] = {"epochs": 25, "batch_size": 8, "optimizer": Adam(0.03), "validation": 0.5, "seed": 0}
    whole = fit(_network(), *noise, patience=6, **options)
    ends = {patience: fit(_network(), *noise, patience=patience, **options).epochs for patience in range(1, 7)}
    assert len(set(ends.values())) > 1
    for patience, before in itertools.product(ends, [epochs - 1 for epochs in set(ends.values())]):
        part = fit(_network(), *noise, patience=6, observers=[Watch(stop_epoch=before)], **options)
        network = _network()
        if ends[patience] >= before:
            result = fit(network, *noise, patience=patience, resume=part.checkpoint, **options)
            assert result.epochs == ends[patience]
        else:
            with pytest.raises(UsageError) as caught:
                fit(network, *noise, patience=patience, resume=part.checkpoint, **options)
            assert f"with a patience of {patience} the training to go on with would have ended after epoch" in str(
                caught.value
            )
            assert "pass patience=6 or more" in str(caught.value)
    assert whole.epochs == ends[6]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"parameters": np.zeros(3, np.float32)}, "the checkpoint holds float32 parameters (3,) and buffers (10,)"),
        ({"buffers": np.zeros(3, np.float32)}, "and buffers (3,), the network has float32 ones"),
        ({"optimizer_state": {}}, "the checkpoint holds [] of the optimizer, adam remembers ['gradient_sum', 'square_"),
        ({"step": 3}, "step 3 of the checkpoint is not one of epoch 3, which ends at step 12"),
        ({"step": 99}, "step 99 of the checkpoint is not one of epoch 3"),
        ({"planned_steps": 0}, "the checkpoint was planned for 0 steps, an epoch has 4"),
        ({"schedule_state": {"factor": 1}}, "the schedule 'cosine' notes nothing"),
    ],
)
def test_a_damaged_checkpoint_is_refused(changes: dict[str, Any], text: str) -> None:
    from dataclasses import replace

    part = fit(_network(), X, Y, observers=[Watch(9)], **BASE)
    assert text in _refused(resume=replace(part.checkpoint, **changes))
