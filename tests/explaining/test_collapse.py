"""Without activations the layers are one: the composed matrix against the network without them, and by hand."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import UsageError
from neuronwise.explaining.collapse import collapse, without_activations
from neuronwise.network import (
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    Network,
)


def shaken(network: Network, seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    network.parameters += 0.3 * rng.normal(size=network.parameters.shape)
    network.buffers[...] = rng.random(network.buffers.shape) + 0.3
    return network


def test_three_layers_multiplied_by_hand() -> None:
    network = Network.dense([2, 2, 2, 1], "relu", dtype="float64")
    network["hidden1"].W, network["hidden1"].b = [[1, 2], [3, 4]], [1, -1]
    network["hidden2"].W, network["hidden2"].b = [[0, 1], [2, 0]], [5, 0]
    network["output"].W, network["output"].b = [[1, 10]], [7]
    found = collapse(network)
    # W2 W1 = [[3, 4], [2, 4]]; W3 W2 W1 = [3 + 20, 4 + 40]. b: W1 (1, -1) → W2: (-1 + 5, 2) → 4 + 20 + 7.
    assert found.W.tolist() == [[23, 44]]
    assert found.b.tolist() == [31]
    assert found.layers == ("hidden1", "hidden2", "output")
    assert found.functions == {"hidden1": "relu", "hidden2": "relu"}


@given(
    sizes=st.lists(st.integers(1, 7), min_size=2, max_size=6),
    hidden=st.sampled_from(["relu", "tanh", "sigmoid", "gelu"]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_the_composed_layer_is_the_network_without_activations(
    sizes: list[int], hidden: str, dtype: str, seed: int
) -> None:
    network = shaken(Network.dense(sizes, hidden, seed=seed, dtype=dtype), seed)
    X = np.random.default_rng(seed).normal(size=(11, sizes[0]))
    found = collapse(network, X)
    assert found.is_same
    a = X
    for layer in network.layers:
        a = a @ layer.W.astype(np.float64).T + layer.b.astype(np.float64)
    np.testing.assert_allclose(X @ found.W.T + found.b, a, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolutions_averages_and_normalisations_are_matrices_too(data_format: str, dtype: str) -> None:
    layers = [
        Conv2D(3, 2, "relu", padding="same", stride=(2, 1), data_format=data_format),
        BatchNorm(activation="relu", data_format=data_format),
        AveragePool2D(2, padding=1, data_format=data_format),
        Conv2D(2, 2, "tanh", data_format=data_format),
        ActivationLayer("elu"),
        Dropout(0.5),
        Flatten(),
        Dense(4, "relu"),
        BatchNorm(),
        Dense(3, "identity"),
        ActivationLayer("softmax"),
    ]
    shape = (6, 8, 2) if data_format == "channels_last" else (2, 6, 8)
    network = shaken(Network(layers, input_shape=shape, dtype=dtype))
    X = np.random.default_rng(1).normal(size=(9, *shape))
    found = collapse(network, X, np.arange(9) % 3)
    assert found.is_same
    assert found.gap < found.tolerance * found.largest
    # The slow way: what each input alone does, and nothing.
    linear = without_activations(network)
    zero = linear.trace(np.zeros((1, *shape)))[-2].a.reshape(-1)
    np.testing.assert_allclose(found.b, zero, rtol=1e-4, atol=1e-5)
    for place in (0, 17, 95):
        one = np.zeros(96)
        one[place] = 1.0
        z = linear.trace(one.reshape(1, *shape))[-2].a.reshape(-1)
        np.testing.assert_allclose(found.W[:, place], z - zero, rtol=1e-3, atol=1e-5)


def test_what_is_lost_is_counted() -> None:
    network = Network.dense([1, 2, 2], "relu", "softmax", dtype="float64", class_names=["near", "far"])
    network["hidden1"].W, network["hidden1"].b = [[1], [-1]], [0, 0]
    network["output"].W, network["output"].b = [[0, 0], [1, 1]], [1, 0]  # far where |x| > 1
    X = np.array([[-3.0], [-2], [-0.5], [0.5], [2], [3]])
    y = np.array([1, 1, 0, 0, 1, 1])
    found = collapse(network, X, y)
    assert found.score == 1.0
    # Without bends x - x is 0 everywhere: always near.
    assert found.linear_score == pytest.approx(2 / 6)
    assert found.same_answers == pytest.approx(2 / 6)
    assert found.examples[0][0] == 0
    assert found.examples[0][1].startswith("far")
    assert found.examples[0][2].startswith("near")
    assert found.examples[0][3] == "far"
    assert "100.0 % with them, 33.3 % with the same weights" in str(found)
    assert found.figure() is not None


def test_of_values_it_says_how_far_answers_move() -> None:
    network = shaken(Network.dense([3, 5, 1], "tanh", dtype="float64"))
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    found = collapse(network, X, y, rows=np.arange(100, 140))
    linear = X @ found.W.T + found.b
    assert found.distance == pytest.approx(np.abs(network.predict(X) - linear).mean())
    spread = ((y - y.mean()) ** 2).sum()
    assert found.score == pytest.approx(1 - ((network.predict(X) - y) ** 2).sum() / spread)
    assert found.linear_score == pytest.approx(1 - ((linear - y) ** 2).sum() / spread)
    assert found.examples[2][0] == 102
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_wrong_matrix_is_not_called_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[collapse.__module__]

    network = shaken(Network.dense([3, 5, 2], "tanh"))
    composed = module._composed
    monkeypatch.setattr(module, "_composed", lambda net: (composed(net)[0] * 1.001, *composed(net)[1:]))
    found = collapse(network, np.ones((4, 3)))
    assert not found.is_same
    assert "NOT the same" in str(found)


def test_without_data_it_is_the_matrix_alone() -> None:
    found = collapse(Network.dense([3, 5, 2], "tanh"))
    assert found.rows == 0
    assert found.figure() is None
    assert "checked" not in str(found)
    assert str(found).startswith("without activation functions the 2 layers are one: z = W x + b with W 2 × 3")


def test_max_pooling_is_refused() -> None:
    network = Network([MaxPool2D(2), Flatten(), Dense(2, "softmax")], input_shape=(4, 4))
    with pytest.raises(UsageError, match=r"layer pool1: max pooling takes the largest.*no matrix"):
        collapse(network)


def test_the_network_is_left_as_it_was() -> None:
    network = shaken(Network.dense([3, 5, 2], "tanh"))
    before = network.parameters.copy()
    collapse(network, np.ones((4, 3)), np.array([0, 1, 0, 1]))
    assert (network.parameters == before).all()
    assert network["hidden1"].activation.name == "tanh"


def test_a_linear_network_has_nothing_to_lose() -> None:
    rng = np.random.default_rng(0)
    found = collapse(Network.dense([3, 2, 2], "identity", "softmax"), rng.normal(size=(9, 3)), np.arange(9) % 2)
    assert str(found).startswith("the network is linear as it is: its 2 layers are one")
    assert "What the bends are worth" not in str(found)
    assert found.figure() is None
    assert found.score == found.linear_score
