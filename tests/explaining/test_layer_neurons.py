"""The neurons of a layer: what is measured compared with NumPy on the whole trace; who is dead by construction."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining import layer_neurons
from neuronwise.network import Network
from neuronwise.network.layers import BatchNorm, Conv2D, Dense, Flatten


def _planted(activation: str) -> Network:
    """Of five neurons 1 is never on, 2 always, 3 always the same."""
    network = Network.dense([4, 5, 2], hidden=activation, seed=1)
    layer = network["hidden1"]
    layer.b[1], layer.b[2] = -100.0, 100.0
    layer.W[3], layer.b[3] = 0.0, 0.7
    return network


def test_dead_constant_and_always_on_neurons_are_named() -> None:
    found = layer_neurons(_planted("relu"), "hidden1", np.random.default_rng(0).normal(size=(200, 4)))
    assert found.dead == ("hidden1[1]",)
    assert found.constant == ("hidden1[3]",)
    assert found.always_on == ("hidden1[2]", "hidden1[3]")
    assert found.state("hidden1[3]") == "constant, always on"
    assert found.saturated == ()
    text = str(found)
    assert "1 dead, 1 constant, 2 always on" in text
    assert "dead: hidden1[1]" in text


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_saturated_neurons_are_named(activation: str) -> None:
    found = layer_neurons(_planted(activation), "hidden1", np.random.default_rng(0).normal(size=(200, 4)))
    assert found.saturated == ("hidden1[1]", "hidden1[2]")
    assert found.dead == ()
    assert found.always_on == ()


@pytest.mark.parametrize("rows", [1, 7, 5000])
def test_what_is_measured_is_what_numpy_says_of_the_whole_trace(rows: int) -> None:
    network = Network.dense([6, 9, 3], hidden="tanh", seed=3)
    rng = np.random.default_rng(0)
    X, y = rng.normal(2.0, 1.0, (rows, 6)), rng.integers(0, 3, rows)
    found = layer_neurons(network, "hidden1", X, y)
    seen = network.trace(X)["hidden1"]
    assert seen.z is not None
    a = seen.a.astype(np.float64)
    np.testing.assert_allclose(found.mean, a.mean(axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.deviation, a.std(axis=0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.least, a.min(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.greatest, a.max(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.active, (seen.z > 0).mean(axis=0))
    np.testing.assert_allclose(found.saturated_share, (np.abs(a) > 0.97).mean(axis=0))
    for place in range(3):
        if (y == place).any():
            np.testing.assert_allclose(found.class_means[:, place], a[y == place].mean(axis=0), rtol=1e-4, atol=1e-6)
    assert found.examples == rows


def test_the_correlation_with_a_value_is_pearsons() -> None:
    network = Network.dense([6, 9, 1], hidden="relu", seed=3)
    network["hidden1"].b[4] = -99.0
    X = np.random.default_rng(0).normal(2.0, 1.0, (3000, 6))
    y = X[:, :1] + 100.0
    found = layer_neurons(network, "hidden1", X, y)
    a = network.trace(X)["hidden1"].a.astype(np.float64)
    for i in range(9):
        expected = np.corrcoef(a[:, i], y[:, 0])[0, 1] if a[:, i].any() else np.nan
        assert found.correlation[i] == pytest.approx(expected, nan_ok=True, rel=1e-6)
    assert "correlation with the target" in str(found)


def test_a_filter_is_dead_if_it_is_at_all_places() -> None:
    network = Network([Conv2D(3, 3), Flatten(), Dense(2)], input_shape=(6, 6), seed=1)
    network["conv1"].b[...] = (-50.0, 0.0, 50.0)
    found = layer_neurons(network, "conv1", np.random.default_rng(0).random((10, 6, 6)))
    assert (found.dead, found.always_on) == (("conv1[0]",), ("conv1[2]",))
    a = network.trace(np.random.default_rng(0).random((10, 6, 6)))["conv1"].a
    np.testing.assert_allclose(found.mean, a.mean(axis=(0, 1, 2)), rtol=1e-5)


def test_the_channels_of_batch_normalisation_are_neurons_without_twins() -> None:
    network = Network([Dense(4, "identity"), BatchNorm(activation="relu"), Dense(2)], input_shape=3, seed=1)
    network["norm1"].beta[2] = -99.0
    found = layer_neurons(network, "norm1", np.random.default_rng(0).normal(size=(30, 3)))
    assert found.dead == ("norm1[2]",)
    assert found.twins == ()
    assert "not looked for" in found.twins_looked_for


def test_what_is_not_finite_is_named_and_counted() -> None:
    network = Network.dense([3, 4, 2], seed=1)
    network["hidden1"].W[2, 0] = np.nan
    found = layer_neurons(network, "hidden1", np.random.default_rng(0).normal(size=(25, 3)), np.arange(25) % 2)
    assert found.not_finite == ("hidden1[2]",)
    assert found.nonfinite.tolist() == [0, 0, 25, 0]
    assert np.isnan(found.mean[2])
    assert np.isfinite(found.mean[[0, 1, 3]]).all()
    assert found.dead == ()
    assert "1 not finite" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.figure() is not None


def test_a_large_mean_does_not_hide_a_small_deviation() -> None:
    network = Network([Dense(1, "identity")], input_shape=1, dtype="float64")
    network["output"].W[...], network["output"].b[...] = 1.0, 1e8
    found = layer_neurons(network, "output", np.random.default_rng(0).normal(size=(4000, 1)))
    assert found.deviation[0] == pytest.approx(1.0, abs=0.05)


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    network = Network.dense([3, 4, 2])
    layer_neurons(network, "hidden1", np.zeros((5000, 3)), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (5000, 5000)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_network_is_not_changed() -> None:
    network = _planted("relu")
    before = network.parameters.copy()
    layer_neurons(network, "hidden1", np.random.default_rng(0).normal(size=(20, 4)))
    np.testing.assert_array_equal(network.parameters, before)


def test_what_does_not_fit_is_refused() -> None:
    network = Network.dense([3, 4, 2])
    with pytest.raises(NotFoundError, match="hidden7"):
        layer_neurons(network, "hidden7", np.zeros((2, 3)))
    with pytest.raises(UsageError, match="as many targets"):
        layer_neurons(network, "hidden1", np.zeros((2, 3)), [1, 0, 1])
    with pytest.raises(UsageError, match="no rows"):
        layer_neurons(network, "hidden1", np.zeros((0, 3)))
