"""The training loop: it learns, repeats itself to the last bit, and is not moved by those who look."""

from __future__ import annotations

import functools
import operator
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from neuronwise.learning import (
    SGD,
    Adam,
    Evaluator,
    FitResult,
    Momentum,
    Observer,
    TrainingState,
    backpropagate,
    example_weights,
    fit,
    prepare_targets,
)
from neuronwise.learning.threads import _libraries
from neuronwise.network import LOSSES, Dense, Flatten, Network, generator

from .helpers import spirals


class Recorder(Observer):
    """Copies all that there is to see."""

    def __init__(self) -> None:
        self.moments: list[str] = []
        self.steps: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []
        self.last: np.ndarray | None = None

    def on_fit_begin(self, state: TrainingState) -> None:
        self.moments.append("begin")
        self.last = state.network.parameters.copy()
        assert (state.step, state.epoch, state.status) == (0, 0, "running")

    def on_step_end(self, state: TrainingState) -> None:
        self.moments.append("step")
        self.steps.append(
            {
                "step": state.step,
                "epoch": state.epoch,
                "loss": state.loss,
                "rows": state.batch_indices.copy(),
                "gradients": state.gradients.copy(),
                "update": state.update.copy(),
                "before": self.last,
                "after": state.network.parameters.copy(),
                "passes": [(p.x.copy(), None if p.z is None else p.z.copy(), p.a.copy()) for p in state.passes],
                "deltas": [None if p.delta is None else p.delta.copy() for p in state.passes],
                "learning_rate": state.learning_rate,
            }
        )
        self.last = self.steps[-1]["after"]

    def on_epoch_end(self, state: TrainingState) -> None:
        self.moments.append("epoch")
        self.epochs.append({"epoch": state.epoch, "best": state.best_epoch, "best_step": state.best_step}
                           | state.metrics)  # fmt: skip

    def on_fit_end(self, state: TrainingState) -> None:
        self.moments.append("end")
        self.status = state.status
        self.final = state.network.parameters.copy()


class Call(Observer):
    """Calls a function at every step."""

    def __init__(self, function: Callable[[TrainingState], None]) -> None:
        self.function = function

    def on_step_end(self, state: TrainingState) -> None:
        self.function(state)


def _classes(rows: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    return rng.normal(size=(rows, 4)) + 1.5 * np.eye(3, 4)[y], y


def _network(seed: int = 0, dtype: str = "float32") -> Network:
    return Network.dense([4, 8, 3], output="softmax", seed=seed, dtype=dtype)


# --- it learns


def test_it_learns_exclusive_or() -> None:
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), [0, 1, 1, 0]
    network = Network.dense([2, 8, 1], hidden="tanh", output="sigmoid", seed=0)
    result = fit(network, X, y, learning_rate=0.1, epochs=200, batch_size=4)
    assert network.predict(X).round().ravel().tolist() == y
    assert result.history[-1]["loss"] < 0.02 < result.history[0]["loss"]


def test_it_learns_two_spirals() -> None:
    X, y = spirals()
    network = Network.dense([2, 24, 24, 2], hidden="tanh", output="softmax", seed=0)
    fit(network, X, y, learning_rate=0.02, epochs=120)
    assert np.mean(network.predict(X).argmax(axis=1) == y) > 0.97


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])
def test_every_optimizer_finds_a_line(optimizer: str) -> None:
    x = np.linspace(-1, 1, 64)[:, None]
    network = Network.dense([1, 1], seed=0)
    fit(network, x, 3 * x + 2, optimizer=optimizer, learning_rate=0.05, weight_decay=0.0, epochs=100, batch_size=16)
    assert network["output"].W[0, 0] == pytest.approx(3, abs=0.02)
    assert network["output"].b[0] == pytest.approx(2, abs=0.02)


# --- the same bits


def _train(seed: int | None = 5, observers: list[Observer] | None = None, **options: Any) -> tuple[Network, FitResult]:
    network, (X, y) = _network(), _classes()
    options = {"epochs": 3, "batch_size": 8, "validation": 0.2, "learning_rate": 0.01} | options
    return network, fit(network, X, y, seed=seed, observers=observers or (), **options)


def _history(result: FitResult) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result.history]


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd", "clip_norm": 0.1}, {"class_weights": "balanced"},
                                     {"optimizer": "adamw", "patience": 1}, {"threads": None}])  # fmt: skip
def test_looking_changes_nothing_and_the_same_seed_gives_the_same_bits(options: dict[str, Any]) -> None:
    plain, first = _train(**options)
    watched, second = _train(observers=[Recorder(), Observer(), Recorder()], **options)
    again, third = _train(**options)
    np.testing.assert_array_equal(plain.parameters, watched.parameters)
    np.testing.assert_array_equal(plain.parameters, again.parameters)
    assert _history(first) == _history(second) == _history(third)
    np.testing.assert_array_equal(first.training_rows, second.training_rows)


def test_another_seed_gives_another_order() -> None:
    assert not np.array_equal(_train(5)[0].parameters, _train(6)[0].parameters)
    np.testing.assert_array_equal(_train(None)[0].parameters, _train(0)[0].parameters)  # the network's own seed


def test_no_global_random_state_is_moved() -> None:
    numpy_before, python_before = np.random.get_state(), random.getstate()
    _train()
    after = np.random.get_state()
    np.testing.assert_array_equal(numpy_before[1], after[1])
    assert numpy_before[2:] == after[2:]
    assert random.getstate() == python_before


def test_any_epoch_is_repeated_without_those_before_it() -> None:
    recorder = Recorder()
    _, result = _train(observers=[recorder])
    rows = np.concatenate([step["rows"] for step in recorder.steps if step["epoch"] == 3])
    order = generator(5, "shuffle", 3).permutation(len(result.training_rows))
    np.testing.assert_array_equal(rows, result.training_rows[order])


def test_it_works_in_another_thread_with_the_same_bits() -> None:
    expected, _ = _train()
    found: list[Network] = []
    thread = threading.Thread(target=lambda: found.append(_train()[0]))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0].parameters, expected.parameters)


def test_blas_threads_are_one_inside_and_restored_after() -> None:
    def pools() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    inside: list[list[int]] = []
    _train()  # what it imports may bring a BLAS of its own,
    _libraries.cache_clear()  # and so may what an earlier test imported after NumPy's was found
    before = pools()
    _train(observers=[Call(lambda state: inside.append(pools()))])
    assert set(functools.reduce(operator.iadd, inside, [])) == {1}
    assert pools() == before


def test_float_errors_are_reported_as_before_afterwards() -> None:
    before = np.geterr()
    _train()
    assert np.geterr() == before


# --- what observers see


def test_the_moments_come_in_order() -> None:
    recorder = Recorder()
    _, result = _train(observers=[recorder])
    per_epoch = ["step"] * 6 + ["epoch"]  # 48 rows in batches of 8
    assert recorder.moments == ["begin", *per_epoch * 3, "end"]
    assert [step["step"] for step in recorder.steps] == list(range(1, 19))
    assert (result.steps, result.epochs, result.status) == (18, 3, "finished")
    assert recorder.status == "finished"


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.05}, {"optimizer": "sgd", "weight_decay": 0.1},
                                     {"optimizer": "adamw", "weight_decay": 0.1}])  # fmt: skip
def test_every_step_is_shown_as_it_was(options: dict[str, Any]) -> None:
    recorder, (X, y) = Recorder(), _classes()
    network = Network([Dense(8, "relu"), Flatten(), Dense(3, "softmax")], input_shape=4, seed=0)
    fit(network, X, y, epochs=2, batch_size=9, learning_rate=0.02, observers=[recorder], **options)
    twin = network.copy()
    for step in recorder.steps:
        np.testing.assert_array_equal(step["after"], step["before"] - step["update"])
        twin.parameters[:] = step["before"]
        rows = step["rows"]
        expected, trace = backpropagate(twin, X[rows], y[rows]), twin.trace(X[rows])
        assert step["loss"] == pytest.approx(expected.loss, rel=1e-5)
        gradient = expected.flat
        if "clip_norm" in options:
            gradient = gradient * min(1.0, options["clip_norm"] / np.linalg.norm(gradient))
        np.testing.assert_allclose(step["gradients"], gradient, rtol=1e-4, atol=1e-6)
        for (x, z, a), layer in zip(step["passes"], trace, strict=True):
            np.testing.assert_allclose(x, layer.x, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(a, layer.a, rtol=1e-5, atol=1e-6)
            assert (z is None) == (layer.z is None)
            if z is not None:
                np.testing.assert_allclose(z, layer.z, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(step["deltas"][0], expected["hidden1"].delta, rtol=1e-4, atol=1e-6)
        assert step["deltas"][1] is None
        assert step["learning_rate"] == 0.02
    assert recorder.steps[-1]["passes"][1][1] is None


def test_metrics_of_an_epoch_are_history_and_means() -> None:
    recorder = Recorder()
    _, result = _train(observers=[recorder])
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert [row["step"] for row in result.history] == [6, 12, 18]
    for row, seen in zip(result.history, recorder.epochs, strict=True):
        assert set(row) == {"epoch", "step", "seconds", "loss", "val_loss", "val_accuracy"}
        losses = [step["loss"] for step in recorder.steps if step["epoch"] == row["epoch"]]
        assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-12)
        assert {key: seen[key] for key in ("loss", "val_loss", "val_accuracy")} == {
            key: row[key] for key in ("loss", "val_loss", "val_accuracy")
        }
        assert 0 <= row["seconds"] <= result.duration_s


def test_the_loss_of_an_epoch_counts_rows_not_batches() -> None:
    recorder, (X, y) = Recorder(), _classes(10)
    result = fit(_network(), X, y, epochs=1, batch_size=8, observers=[recorder])
    sizes = [len(step["rows"]) for step in recorder.steps]
    assert sizes == [8, 2]
    expected = sum(step["loss"] * size for step, size in zip(recorder.steps, sizes, strict=True)) / 10
    assert result.history[0]["loss"] == pytest.approx(expected, rel=1e-12)
    assert set(result.history[0]) == {"epoch", "step", "seconds", "loss"}


def test_whoever_looks_at_epochs_only_still_sees_their_last_step() -> None:
    class Epochs(Observer):
        def on_epoch_end(self, state: TrainingState) -> None:
            assert len(state.passes) == 2
            assert len(state.batch_indices) == 8
            assert np.isfinite(state.loss)

    _train(observers=[Epochs()], strict=True)


# --- rows


@pytest.mark.parametrize(("rows", "size", "sizes"), [(10, 4, [4, 4, 2]), (10, 100, [10]), (10, 10, [10]), (1, 1, [1])])
def test_every_row_is_learned_from_once_an_epoch(rows: int, size: int, sizes: list[int]) -> None:
    recorder, (X, y) = Recorder(), _classes(rows)
    result = fit(_network(), X, y, epochs=2, batch_size=size, observers=[recorder])
    assert result.steps == 2 * len(sizes)
    for epoch in (1, 2):
        batches = [step["rows"] for step in recorder.steps if step["epoch"] == epoch]
        assert [len(batch) for batch in batches] == sizes
        assert sorted(np.concatenate(batches)) == list(range(rows))


def test_without_shuffle_the_rows_come_as_they_are() -> None:
    recorder, (X, y) = Recorder(), _classes(7)
    fit(_network(), X, y, epochs=1, batch_size=3, shuffle=False, observers=[recorder])
    assert [step["rows"].tolist() for step in recorder.steps] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_validation_share_keeps_the_proportions_of_the_classes() -> None:
    y = np.array([0] * 60 + [1] * 30 + [2] * 10)
    X = np.random.default_rng(0).normal(size=(100, 4))
    result = fit(_network(), X, y, epochs=1, validation=0.2)
    assert np.bincount(y[result.validation_rows]).tolist() == [12, 6, 2]
    assert sorted([*result.training_rows, *result.validation_rows]) == list(range(100))


def test_a_group_never_stands_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([f"house {i}" for i in rng.integers(0, 25, 100)])
    X, y = rng.normal(size=(100, 4)), rng.normal(size=100)
    result = fit(Network.dense([4, 1], seed=0), X, y, epochs=1, validation=0.3, groups=groups)
    assert not set(groups[result.training_rows]) & set(groups[result.validation_rows])
    assert len(result.validation_rows) > 0


def test_validation_rows_may_be_given_as_numbers_or_as_data() -> None:
    X, y = _classes()
    held_out = np.array([3, 5, 7, 11])
    by_rows, by_data = _network(), _network()
    one = fit(by_rows, X, y, epochs=2, validation=held_out)
    other = fit(by_data, X, y, epochs=2, validation=(X[held_out], y[held_out]), training_rows=one.training_rows)
    assert one.validation_rows.tolist() == [3, 5, 7, 11]
    assert not set(one.training_rows) & set(held_out)
    np.testing.assert_array_equal(by_rows.parameters, by_data.parameters)
    assert _history(one) == _history(other)
    assert other.validation_rows.size == 0


def test_images_flat_rows_and_odd_layouts_are_the_same_data() -> None:
    X, y = _classes()
    X = X.astype(np.float32)
    shaped = [X.reshape(-1, 2, 2), X, np.asfortranarray(X), X.astype(np.float64), X.tolist()]
    ends = []
    for data in shaped:
        network = Network([Flatten(), Dense(3, "softmax")], input_shape=(2, 2), seed=0)
        fit(network, data, y, epochs=1)
        ends.append(network.parameters)
    for end in ends[1:]:
        np.testing.assert_array_equal(end, ends[0])


def test_the_data_are_only_read() -> None:
    X, y = (array.copy() for array in _classes())
    X = X.astype(np.float32)
    kept = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    fit(_network(), X, y, epochs=1, validation=0.2)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_float64_networks_learn_in_float64() -> None:
    X, y = _classes()
    network = _network(dtype="float64")
    fit(network, X, y, epochs=1)
    assert network.parameters.dtype == np.float64
    assert not np.array_equal(network.parameters, network.parameters.astype(np.float32))


# --- weights of classes


def test_class_weights_weigh_the_loss_as_documented() -> None:
    recorder, (X, y) = Recorder(), _classes(12)
    network = _network(dtype="float64")
    start = network.copy()
    fit(network, X, y, epochs=1, batch_size=12, class_weights={0: 1, 1: 2.5, 2: 0.5}, observers=[recorder])
    weights = np.array([1, 2.5, 0.5])[y]
    alone = [backpropagate(start, X[i], y[i : i + 1]) for i in range(12)]
    assert recorder.steps[0]["loss"] == pytest.approx(sum(weights * [one.loss for one in alone]) / 12, rel=1e-12)
    expected = sum(w * one.flat for w, one in zip(weights, alone, strict=True)) / 12
    np.testing.assert_allclose(recorder.steps[0]["gradients"], expected, rtol=1e-10, atol=1e-14)


def test_balanced_weights_are_those_of_the_rows_learned_from() -> None:
    # By groups the classes may be shared out unevenly: all of the rare class but two rows are held out.
    y = np.array([0] * 40 + [1] * 10)
    X = np.random.default_rng(0).normal(size=(50, 4))
    held_out, recorder = np.arange(42, 50), Recorder()
    network = Network.dense([4, 2], output="softmax", seed=0, dtype="float64")
    start = network.copy()
    result = fit(network, X, y, epochs=1, batch_size=50, validation=held_out, class_weights="balanced",
                 shuffle=False, observers=[recorder])  # fmt: skip
    rows = result.training_rows
    weights = example_weights("balanced", y[rows], LOSSES["categorical_cross_entropy"], 2, np.dtype("float64"))
    losses = [backpropagate(start, X[i], y[i : i + 1]).loss for i in rows]
    assert recorder.steps[0]["loss"] == pytest.approx(np.mean(weights * losses), rel=1e-12)


def test_balanced_weights_help_a_rare_class() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 20 == 0).astype(int)
    X = rng.normal(size=(400, 2)) + 1.2 * y[:, None]
    recalls = []
    for weights in (None, "balanced"):
        network = Network.dense([2, 1], output="sigmoid", seed=0)
        fit(network, X, y, epochs=30, learning_rate=0.05, class_weights=weights)
        recalls.append(np.mean(network.predict(X[y == 1]) > 0.5))
    assert recalls[1] > recalls[0] + 0.3


# --- the end


def _validation_loss(network: Network, X: np.ndarray, y: np.ndarray) -> float:
    loss = LOSSES["categorical_cross_entropy"]
    return Evaluator(network, X.astype(np.float32), prepare_targets(network, y, loss, len(X)), loss)()["loss"]


def test_early_stopping_ends_in_time_and_restores_the_best_weights() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)  # noise: it soon overfits
    network, recorder = _network(), Recorder()
    result = fit(network, X, y, epochs=100, learning_rate=0.03, validation=0.5, patience=4, observers=[recorder])
    losses = [row["val_loss"] for row in result.history]
    best = int(np.argmin(losses)) + 1
    assert result.status == "early_stopped"
    assert result.best_epoch == best
    assert result.best_step == result.history[best - 1]["step"]
    assert result.epochs == len(losses) == best + 4
    held_out = result.validation_rows
    assert _validation_loss(network, X[held_out], y[held_out]) == losses[best - 1] < losses[-1]
    np.testing.assert_array_equal(recorder.final, network.parameters)
    last = [step for step in recorder.steps if step["step"] == result.best_step]
    np.testing.assert_array_equal(last[0]["after"], network.parameters)


def test_the_best_weights_are_restored_without_patience_too() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    network = _network()
    result = fit(network, X, y, epochs=25, learning_rate=0.03, validation=0.5)
    assert result.status == "finished"
    assert result.best_epoch < 25
    held_out = result.validation_rows
    assert _validation_loss(network, X[held_out], y[held_out]) == min(row["val_loss"] for row in result.history)


def test_without_validation_the_last_weights_stay() -> None:
    recorder = Recorder()
    network, result = _train(validation=None, observers=[recorder])
    assert (result.best_epoch, result.best_step) == (None, None)
    np.testing.assert_array_equal(network.parameters, recorder.steps[-1]["after"])


def test_min_delta_says_how_much_lower_counts() -> None:
    X, y = _classes()
    result = fit(_network(), X, y, epochs=50, validation=0.2, patience=3, min_delta=10.0)
    assert (result.status, result.best_epoch, result.epochs) == ("early_stopped", 1, 4)


def test_patience_that_runs_out_in_the_last_epoch_is_a_finished_training() -> None:
    X, y = _classes()
    result = fit(_network(), X, y, epochs=4, validation=0.2, patience=3, min_delta=10.0)
    assert (result.status, result.best_epoch, result.epochs) == ("finished", 1, 4)


def test_an_observer_can_end_the_training() -> None:
    recorder = Recorder()
    stopper = Call(lambda state: state.stop() if state.step == 11 else None)
    network, result = _train(validation=None, observers=[recorder, stopper])
    assert (result.status, result.steps, result.epochs) == ("stopped", 11, 2)
    assert len(result.history) == 1  # the second epoch was not finished
    np.testing.assert_array_equal(network.parameters, recorder.steps[10]["after"])
    assert recorder.moments[-2:] == ["step", "end"]


def test_a_stop_at_the_end_of_an_epoch_counts_that_epoch() -> None:
    class AfterOne(Observer):
        def on_epoch_end(self, state: TrainingState) -> None:
            state.stop()

    _, result = _train(observers=[AfterOne()])
    assert (result.status, result.steps, len(result.history)) == ("stopped", 6, 1)


def test_a_stop_before_the_first_step_takes_none() -> None:
    class Never(Observer):
        def on_fit_begin(self, state: TrainingState) -> None:
            state.stop()

    network, result = _train(observers=[Never()])
    assert (result.status, result.steps, result.history) == ("stopped", 0, [])
    np.testing.assert_array_equal(network.parameters, _network().parameters)


def test_an_optimizer_begins_afresh_each_time() -> None:
    optimizer = Momentum(0.05)
    ends = [_train(optimizer=optimizer, learning_rate=None)[0].parameters for _ in range(2)]
    np.testing.assert_array_equal(*ends)
    assert optimizer.steps == 18
    assert not np.array_equal(ends[0], _train(optimizer=SGD(0.05), learning_rate=None)[0].parameters)


def test_training_can_go_on_from_where_it_ended() -> None:
    network, (X, y) = _network(), _classes()
    first = fit(network, X, y, epochs=3, optimizer=Adam(0.01))
    second = fit(network, X, y, epochs=3, optimizer=Adam(0.01))
    assert second.history[-1]["loss"] < first.history[-1]["loss"]
