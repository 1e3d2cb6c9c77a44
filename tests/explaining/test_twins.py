"""Twins: planted ones are found, random networks have nearly none."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.explaining import layer_neurons
from neuronwise.explaining.twins import LEAST, find_twins
from neuronwise.network import Network
from neuronwise.network.layers import Conv2D, Dense, Flatten, MaxPool2D

ARCHITECTURES = [
    ([1, 16, 3], "relu"),
    ([2, 16, 64, 3], "relu"),
    ([2, 200, 3], "tanh"),
    ([3, 8, 8, 8, 8, 8, 8, 2], "relu"),
    ([5, 64, 64, 64, 64, 1], "relu"),
    ([12, 3, 40, 2], "sigmoid"),
    ([64, 64, 32, 10], "relu"),
    ([100, 30, 2, 30, 10], "gelu"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("initializer", [None, "normal"])
def test_in_fresh_random_networks_at_most_one_neuron_in_a_hundred_has_a_twin(
    dtype: str, initializer: str | None
) -> None:
    called = looked_at = 0
    for seed in range(3):
        for sizes, hidden in ARCHITECTURES:
            network = Network.dense(sizes, hidden=hidden, seed=seed, dtype=dtype, initializer=initializer)
            examples = (6, 60, 400)[seed]
            X = np.random.default_rng(seed).normal(size=(examples, sizes[0]))
            for layer in network.layers:
                found = layer_neurons(network, layer.name, X)
                called += len({name for pair in found.twins for name in (pair.neuron, pair.twin)})
                looked_at += len(found.names)
    assert looked_at > 2500
    assert called <= 0.01 * looked_at


def test_random_filters_have_nearly_no_twins() -> None:
    called = looked_at = 0
    for seed in range(6):
        layers = [Conv2D(12, 3), MaxPool2D(2), Conv2D(16, (1, 2), padding="same"), Flatten(), Dense(5)]
        network = Network(layers, input_shape=(12, 12), seed=seed)
        X = np.random.default_rng(seed).random((40, 12, 12))
        for name in ("conv1", "conv2"):
            found = layer_neurons(network, name, X)
            called += len({one for pair in found.twins for one in (pair.neuron, pair.twin)})
            looked_at += len(found.names)
    assert called <= max(1, 0.01 * looked_at)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factor", [1.0, 0.3, 7.0, -1.0, -0.02])
@pytest.mark.parametrize("sizes", [[2, 40, 3], [5, 8, 2], [64, 64, 10], [784, 32, 10]])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_copied_row_is_found_scaled_and_with_its_sign_flipped(
    dtype: str, factor: float, sizes: list[int], with_bias: bool
) -> None:
    rng = np.random.default_rng(5)
    network = Network.dense(sizes, seed=4, dtype=dtype)
    layer = network["hidden1"]
    layer.b[...] = rng.normal(size=sizes[1])
    layer.W[6] = factor * layer.W[1]
    if with_bias:
        layer.b[6] = factor * layer.b[1]
    found = layer_neurons(network, "hidden1", rng.normal(size=(50, sizes[0])))
    planted = [one for one in found.twins if (one.neuron, one.twin) == ("hidden1[1]", "hidden1[6]")]
    assert len(planted) == 1
    assert planted[0].by in ("weights", "both")
    assert planted[0].cosine == pytest.approx(np.sign(factor), abs=1e-6)
    assert planted[0].scale == pytest.approx(factor, rel=1e-5)
    assert planted[0].correlation == pytest.approx(np.sign(factor), abs=1e-5)


def test_a_planted_filter_is_found() -> None:
    network = Network([Conv2D(8, 3), Flatten(), Dense(2)], input_shape=(9, 9), seed=1)
    network["conv1"].W[5] = -2 * network["conv1"].W[3]
    found = layer_neurons(network, "conv1", np.random.default_rng(0).random((20, 9, 9)))
    assert [(one.neuron, one.twin) for one in found.twins] == [("conv1[3]", "conv1[5]")]
    assert found.twins[0].scale == pytest.approx(-2, rel=1e-5)


def test_of_one_input_only_an_exact_copy_is_a_twin() -> None:
    network = Network.dense([1, 12, 1], seed=2)
    network["hidden1"].b[...] = np.random.default_rng(0).normal(size=12)
    network["hidden1"].W[4], network["hidden1"].b[4] = network["hidden1"].W[9], network["hidden1"].b[9]
    found = layer_neurons(network, "hidden1", np.linspace(-1, 1, 50)[:, None])
    assert [(one.neuron, one.twin) for one in found.twins] == [("hidden1[4]", "hidden1[9]")]


def test_neurons_that_answer_alike_are_found_though_their_weights_differ() -> None:
    # The second and third input are the same, so weights may be moved from the one to the other.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 7))
    x = np.concatenate([x, x[:, 6:]], axis=1)
    weights = rng.normal(size=(10, 8))
    weights[3] = weights[2]
    weights[2, 6:], weights[3, 6:] = (3.0, 0.0), (0.0, 3.0)
    names = [f"n[{i}]" for i in range(10)]
    found = find_twins(names, weights, np.zeros(10), x, np.maximum(x @ weights.T, 0))
    assert [(one.neuron, one.twin, one.by) for one in found] == [("n[2]", "n[3]", "answers")]
    assert abs(found[0].cosine) < LEAST
    assert found[0].correlation == pytest.approx(1.0)
    assert found[0].levels == pytest.approx(1.0)


def test_cosine_and_correlation_are_those_written_out() -> None:
    rng = np.random.default_rng(1)
    weights, biases, x = rng.normal(size=(6, 30)), rng.normal(size=6), rng.normal(size=(80, 30))
    weights[4] = 0.5 * weights[0] + 0.01 * rng.normal(size=30)
    a = np.maximum(x @ weights.T + biases, 0)
    (twin,) = find_twins([str(i) for i in range(6)], weights, biases, x, a)
    u, v = weights[0], weights[4]
    assert twin.cosine == pytest.approx(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))
    z = x @ weights.T
    assert twin.correlation == pytest.approx(np.corrcoef(z[:, 0], z[:, 4])[0, 1])
    assert twin.levels == pytest.approx(np.corrcoef(a[:, 0], a[:, 4])[0, 1])


def test_weights_that_are_zero_or_not_finite_are_nobodys_twin() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 20))
    weights[0], weights[1] = 0.0, 0.0
    weights[2, 3], weights[3, 3] = np.nan, np.inf
    x = np.random.default_rng(1).normal(size=(40, 20))
    assert find_twins([str(i) for i in range(6)], weights, np.zeros(6), x, np.zeros((40, 6))) == ()
