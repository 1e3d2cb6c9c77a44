"""Trainings that diverge: the step and the layer of the first value that is not finite, found again slowly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuronwise.errors import TrainingDiverged
from neuronwise.learning import Observer, TrainingState, WarmUp, fit, get_optimizer
from neuronwise.learning.divergence import locate_divergence
from neuronwise.learning.stepping import Stepper
from neuronwise.network import LOSSES, Activation, Dense, Flatten, Network, generator, get_loss
from neuronwise.network.layers import BatchNorm, Conv2D, Dropout


def _slow(
    network: Network,
    X: np.ndarray,
    y: np.ndarray,
    epochs: int,
    batch_size: int,
    loss: str | None = None,
    **options: Any,
) -> tuple[int, str, str, np.ndarray]:
    """Check every value of every step; return step, layer and quantity of the first bad one, and the weights before."""
    network = network.copy()
    optimizer = get_optimizer(options.pop("optimizer", "adam"), options.pop("learning_rate", None))
    optimizer.start(network.parameters)
    chosen = get_loss(loss, network.layers[-1].activation.name)
    targets = np.asarray(y) if chosen.targets == "classes" else np.asarray(y, network.dtype).reshape(len(y), -1)
    stepper = Stepper(
        network, X.astype(network.dtype), targets, None, chosen, optimizer, options.pop("clip_norm", None)
    )
    assert not options
    step = 0
    with np.errstate(all="ignore"):
        for epoch in range(1, epochs + 1):
            order = generator(network.seed, "shuffle", epoch).permutation(len(X))
            for start in range(0, len(X), batch_size):
                step += 1
                value = stepper.forward_backward(order[start : start + batch_size])
                for one in stepper.space.passes:
                    for quantity in ("z", "a"):
                        if not np.isfinite(getattr(one, quantity)).all():
                            return step, one.layer.name, quantity, network.parameters
                if not np.isfinite(value):
                    return step, network.layers[-1].name, "loss", network.parameters
                for one, views in list(zip(stepper.space.passes, network.views(stepper.gradients), strict=True))[::-1]:
                    if not np.isfinite(one.delta).all():
                        return step, one.layer.name, "delta", network.parameters
                    if not all(np.isfinite(view).all() for view in views.values()):
                        return step, one.layer.name, "gradient", network.parameters
                before = network.parameters.copy()
                stepper.update()
                for layer in network.layers:
                    if not (np.isfinite(layer.W).all() and np.isfinite(layer.b).all()):
                        return step, layer.name, "weights", before
    raise AssertionError("it did not diverge")


def _check(network: Network, X: np.ndarray, y: np.ndarray, **options: Any) -> TrainingDiverged:
    """Train until it diverges, and compare with the slow way."""
    expected = _slow(network, X, y, **options)
    with pytest.raises(TrainingDiverged) as caught:
        fit(network, X, y, **options)
    error = caught.value
    assert (error.step, error.layer, error.quantity) == expected[:3]
    np.testing.assert_array_equal(network.parameters, expected[3])
    assert np.isfinite(network.parameters).all()
    assert error.result.status == "diverged"
    assert error.result.divergence.step == error.step
    per_epoch = -(-len(X) // options["batch_size"])
    assert len(error.result.history) == (error.step - 1) // per_epoch
    assert str(error).startswith(f"step {error.step}, layer {error.layer}: the training diverged: ")
    assert "The network keeps its last finite weights." in str(error)
    return error


def _data(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 4))
    return X, X[:, 0] * 3 - 1


@pytest.mark.parametrize("hidden", ["relu", "tanh", "identity", "gelu", "elu", "softplus", "leaky_relu"])
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e6), ("sgd", 3.0), ("momentum", 1e4), ("adam", 1e30)])
def test_a_learning_rate_far_too_large(hidden: str, optimizer: str, rate: float) -> None:
    X, y = _data()
    network = Network.dense([4, 6, 5, 1], hidden=hidden, seed=1)
    try:
        _slow(network, X, y, epochs=6, batch_size=8, optimizer=optimizer, learning_rate=rate)
    except AssertionError:  # a bounded activation saturates instead: then fit must not find anything either
        fit(network, X, y, epochs=6, batch_size=8, optimizer=optimizer, learning_rate=rate)
        return
    _check(network, X, y, epochs=6, batch_size=8, optimizer=optimizer, learning_rate=rate)


def test_at_least_the_plain_ones_do_diverge() -> None:
    X, y = _data()
    for hidden in ("relu", "identity"):
        error = _check(
            Network.dense([4, 6, 5, 1], hidden=hidden, seed=1), X, y,
            epochs=6, batch_size=8, optimizer="sgd", learning_rate=1e6,
        )  # fmt: skip
        assert error.step <= 10
        assert "the learning rate was 1e+06: try 0.1" in str(error)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [2.0, 4.0, 12.0])
def test_in_the_middle_of_a_later_epoch(rate: float, dtype: str) -> None:
    # One weight and x = 1: w grows by 1 - 2·rate each step, until w² is beyond the dtype.
    network = Network([Dense(1, "identity", initializer="constant")], input_shape=1, seed=3, dtype=dtype)
    X = np.ones((30, 1))
    error = _check(network, X, np.zeros(30), epochs=1000, batch_size=3, optimizer="sgd", learning_rate=rate)
    assert error.step > 10
    assert error.result.epochs == (error.step - 1) // 10 + 1
    assert len(error.result.history) >= 1
    assert all(np.isfinite(row["loss"]) for row in error.result.history)


def test_a_loss_that_is_infinite_though_every_activation_is_finite() -> None:
    network = Network([Dense(1, "identity", initializer="constant")], input_shape=1, seed=3)
    X = np.ones((30, 1))
    error = _check(network, X, np.zeros(30), epochs=1000, batch_size=3, optimizer="sgd", learning_rate=4.0)
    assert error.quantity == "loss"
    assert "the loss in output was not finite (NaN or infinite)" in str(error)


def test_in_the_last_step_of_the_training() -> None:
    # The loss of the only step is finite; its update is not.
    network = Network.dense([1, 1], seed=0)
    error = _check(
        network, np.full((4, 1), 1e10), np.ones(4), epochs=1, batch_size=4, optimizer="sgd", learning_rate=1e30
    )
    assert (error.step, error.layer, error.quantity) == (1, "output", "weights")
    assert "a weight or bias after the update of output[0] was not finite" in str(error)


def test_in_the_last_step_of_a_longer_training() -> None:
    network = Network.dense([1, 1], seed=0)
    X, y = np.full((12, 1), 1e10), np.ones(12)
    with pytest.raises(TrainingDiverged) as caught:
        fit(network, X, y, epochs=1, batch_size=4, optimizer="sgd", learning_rate=1e-6, observers=[_Poison(3)])
    assert caught.value.step >= 1


class _Poison(Observer):
    """Raises the learning rate out of all bounds before a step (an observer should not; a schedule might)."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, state: TrainingState) -> None:
        if state.step == self.step - 1:
            state.network.parameters[:] = np.inf


def test_infinity_in_a_gradient_only() -> None:
    # z = 0, loss = 10^18 and delta = -2·10^9 are finite; dW = delta·x = -2·10^39 is beyond float32.
    network = Network([Dense(1, "identity", initializer="zeros")], input_shape=1, seed=0)
    error = _check(
        network, np.full((4, 1), 1e30), np.full(4, 1e9), epochs=2, batch_size=4, optimizer="sgd", learning_rate=1e-3
    )
    assert (error.step, error.layer, error.quantity) == (1, "output", "gradient")
    assert "the gradient of the weights of output[0] was not finite" in str(error)


def test_infinity_in_a_delta_only() -> None:
    # a1 = 10^-31, z2 = 10^5: finite; dL/da1 = 2·10^5·10^36 is not.
    network = Network([Dense(1, "identity"), Dense(1, "identity")], input_shape=1, seed=0)
    network["hidden1"].W[:], network["output"].W[:] = 1e-31, 1e36
    error = _check(network, np.ones((2, 1)), np.zeros(2), epochs=1, batch_size=2, optimizer="sgd", learning_rate=1e-30)
    assert (error.step, error.layer, error.quantity) == (1, "hidden1", "delta")


def test_infinity_in_z_names_the_neurons() -> None:
    network = Network([Dense(3, "relu"), Dense(1, "identity")], input_shape=1, seed=0)
    network["hidden1"].W = [[1.0], [1e30], [-1e30]]
    error = _check(network, np.full((2, 1), 1e20), np.zeros(2), epochs=1, batch_size=2)
    assert (error.step, error.layer, error.quantity) == (1, "hidden1", "z")
    assert "the weighted sum z of hidden1[1] and 1 more neuron was not finite" in str(error)
    assert error.result.divergence.neurons == (1, 2)
    assert error.result.divergence.largest_weight == np.float32(1e30)


def test_infinity_in_an_activation_only() -> None:
    class Exponential(Activation):
        name, formula, derivative_formula, value_range, use, weakness = "exp", "e^z", "e^z", "(0, inf)", "", ""

        def forward(self, z: np.ndarray, a: np.ndarray) -> None:
            np.exp(z, out=a)

        def backward(self, delta: np.ndarray, z: np.ndarray, a: np.ndarray, scratch: np.ndarray) -> None:
            delta *= a

    network = Network([Dense(2, Exponential()), Dense(1, "identity")], input_shape=1, seed=0)
    network["hidden1"].W = [[0.1], [1.0]]
    error = _check(network, np.full((2, 1), 100.0), np.zeros(2), epochs=1, batch_size=2)
    assert (error.step, error.layer, error.quantity) == (1, "hidden1", "a")
    assert "the activation of hidden1[1] was not finite" in str(error)


def test_infinity_that_a_bounded_activation_swallows_is_no_divergence() -> None:
    network = Network([Dense(1, "tanh"), Dense(1, "identity")], input_shape=1, seed=0)
    network["hidden1"].W = [[1e30]]
    result = fit(network, np.full((2, 1), 1e20), np.zeros(2), epochs=3)
    assert result.status == "finished"
    assert np.isfinite(network.parameters).all()


def test_clipping_that_meets_infinity_diverges_at_the_right_step() -> None:
    network = Network([Dense(1, "identity", initializer="zeros")], input_shape=1, seed=0)
    error = _check(
        network, np.full((4, 1), 1e30), np.full(4, 1e9), epochs=3, batch_size=2, optimizer="sgd", clip_norm=1.0
    )
    assert (error.step, error.quantity) == (1, "gradient")


def test_with_validation_the_last_finite_weights_are_kept_and_observers_told() -> None:
    class Watch(Observer):
        ends = 0

        def on_fit_end(self, state: TrainingState) -> None:
            self.ends += 1
            assert state.status == "diverged"
            assert np.isfinite(state.network.parameters).all()

    watch, (X, y) = Watch(), _data()
    network = Network.dense([4, 6, 1], seed=1)
    with pytest.raises(TrainingDiverged):
        fit(network, X, y, epochs=6, optimizer="sgd", learning_rate=1e6, validation=0.2, observers=[watch], strict=True)
    assert watch.ends == 1


def test_watching_does_not_change_where_it_is_found() -> None:
    X, y = _data()
    found = []
    for observers in ([], [_Poison(10**9)]):
        network = Network.dense([4, 6, 1], seed=1)
        with pytest.raises(TrainingDiverged) as caught:
            fit(network, X, y, epochs=6, batch_size=8, optimizer="sgd", learning_rate=2.0, observers=observers)
        found.append((str(caught.value), network.parameters.tobytes()))
    assert found[0] == found[1]


def test_weights_that_are_not_finite_from_the_start_are_told_at_step_one() -> None:
    network = Network.dense([4, 6, 1], seed=1)
    network["hidden1"].W[2, 1] = np.nan
    X, y = _data()
    with pytest.raises(TrainingDiverged) as caught:
        fit(network, X, y, epochs=1)
    assert (caught.value.step, caught.value.layer, caught.value.quantity) == (1, "hidden1", "z")


def test_locating_finds_nothing_where_all_is_finite() -> None:
    network = Network.dense([2, 1], seed=0)
    X, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    optimizer = get_optimizer("sgd")
    optimizer.start(network.parameters)
    stepper = Stepper(network, X, y, None, LOSSES["squared_error"], optimizer)
    start = stepper.snapshot()
    assert locate_divergence(stepper, start, [np.array([0, 1]), np.array([2, 3])], 1) is None
    assert optimizer.steps == 2


def test_a_divergence_that_cannot_be_found_again_is_still_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # With threads=None the products may differ in their last bits from one time to the next.
    import sys

    monkeypatch.setattr(sys.modules["neuronwise.learning.loop"], "locate_divergence", lambda *arguments: None)
    X, y = _data()
    network = Network.dense([4, 6, 1], seed=1)
    start = network.parameters.copy()
    with pytest.raises(TrainingDiverged) as caught:
        fit(network, X, y, epochs=6, optimizer="sgd", learning_rate=1e6, batch_size=8)
    # Nothing more is known than the epoch, so its beginning is told and its first weights are kept.
    assert (caught.value.step, caught.value.quantity) == (1, "loss")
    assert caught.value.result.status == "diverged"
    np.testing.assert_array_equal(network.parameters, start)


# --- layers that draw, average or look at pictures


def test_infinity_in_a_running_variance_only() -> None:
    # (x - mean)² is beyond float32 for one feature; its deviation is infinite and its normal values are 0: all finite.
    network = Network([BatchNorm(), Dense(1, "identity")], input_shape=2, seed=0)
    X = np.stack([np.arange(8), np.arange(8) * 1e20], axis=1)
    with pytest.raises(TrainingDiverged) as caught:
        fit(network, X, np.zeros(8), epochs=3, batch_size=4)
    error = caught.value
    assert (error.step, error.layer, error.quantity) == (1, "norm1", "buffers")
    assert "a running mean or variance after the update of norm1[1] was not finite" in str(error)
    assert np.isfinite(network.buffers).all()
    np.testing.assert_array_equal(network.buffers, [0, 0, 1, 1])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_neurons_of_a_convolution_are_its_channels(data_format: str) -> None:
    shape = (3, 3, 1) if data_format == "channels_last" else (1, 3, 3)
    network = Network([Conv2D(4, 2, "relu", data_format=data_format), Flatten(), Dense(1)], input_shape=shape, seed=0)
    network["conv1"].W[2] = 1e30
    with pytest.raises(TrainingDiverged) as caught:
        fit(network, np.full((4, 9), 1e20), np.zeros(4), epochs=1)
    assert (caught.value.layer, caught.value.quantity) == ("conv1", "z")
    assert caught.value.result.divergence.neurons == (2,)


def test_a_picture_without_channels_has_one_neuron() -> None:
    network = Network([BatchNorm(), Flatten(), Dense(1)], input_shape=(2, 2), seed=0)
    network["norm1"].gamma = [np.inf]
    with pytest.raises(TrainingDiverged) as caught:
        fit(network, np.random.default_rng(0).normal(size=(4, 4)), np.zeros(4), epochs=1)
    assert (caught.value.layer, caught.value.quantity) == ("norm1", "z")
    assert caught.value.result.divergence.neurons == (0,)


def test_the_repeated_epoch_drops_what_was_dropped_and_has_the_same_rates() -> None:
    X, y = _data()

    class Last(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            self.parameters, self.step = state.network.parameters.copy(), state.step

    for layers in ([Dense(6), Dropout(0.5), Dense(1, "identity")], [Dense(6), BatchNorm(), Dense(1, "identity")]):
        last, network = Last(), Network(layers, input_shape=4, seed=1)
        with pytest.raises(TrainingDiverged) as caught:
            fit(network, X, y, epochs=60, batch_size=4, optimizer="sgd", learning_rate=3.0, schedule=WarmUp(30),
                observers=[last])  # fmt: skip
        if caught.value.step == last.step + 1:  # its loss was not finite: the weights are those after the step before
            np.testing.assert_array_equal(network.parameters, last.parameters)
        assert last.step - 1 <= caught.value.step <= last.step + 1
        assert caught.value.step > 3
        assert np.isfinite(network.parameters).all()


def test_the_advice_names_the_rate_of_the_step() -> None:
    ones = np.ones((30, 1)), np.zeros(30)
    network = Network([Dense(1, "identity", initializer="constant")], input_shape=1, seed=0)
    with pytest.raises(TrainingDiverged) as caught:
        fit(
            network, *ones, epochs=99, batch_size=3, optimizer="sgd", learning_rate=4.0, schedule=WarmUp(100, first=0.5)
        )
    assert caught.value.step < 100
    rate = 4 * (0.5 + 0.5 * (caught.value.step - 1) / 100)
    assert f"the learning rate was {rate:g} (the schedule's share of 4): try 0.1" in str(caught.value)
