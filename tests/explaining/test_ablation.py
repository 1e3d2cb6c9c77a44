"""Silencing neurons: equal to computing the network again with that output replaced, row by row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining import Meaning
from neuronwise.explaining.ablation import rank_neurons
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
    get_loss,
)
from neuronwise.network.channels import neuron_axes


def forward(layers: Any, a: Any) -> Any:
    """One row through layers, each by itself."""
    z = a
    for layer in layers:
        one = layer.start(np.array(a[None]), None)
        one.forward()
        a = np.array(one.a[0])
        z = a if one.z is None else np.array(one.z[0])
    return z.reshape(-1), a.reshape(-1)


def silenced(network: Network, X: Any, layer: str, neuron: int, mode: str) -> tuple[Any, Any]:
    """z and a of the last layer for every row, the activation of one neuron replaced, in the plainest way."""
    position = [one.name for one in network.layers].index(layer)
    axis = neuron_axes(network.layers)[position]
    every = [forward(network.layers[: position + 1], x)[1].reshape(network.layers[position].output_shape) for x in X]
    value = np.mean(np.array(every, np.float64), axis=0) * (mode == "mean")
    z, a = [], []
    for activations in every:
        replaced = activations.copy()
        place = (...,) if axis is None else (*[slice(None)] * (axis - 1), neuron)
        replaced[place] = value[place]
        logits, answer = forward(network.layers[position + 1 :], replaced)
        z.append(logits)
        a.append(answer)
    return np.array(z), np.array(a)


def vectors(output: str, seed: int = 0, dtype: str = "float64") -> Network:
    hidden = [
        Dense(6, "relu"), Dropout(0.3), Dense(5, "tanh"), BatchNorm(), ActivationLayer("sigmoid"), Dropout(0.5),
        Dense(4, "identity"), ActivationLayer("softmax"),
    ]  # fmt: skip
    network = Network(
        [*hidden, Dense(3 if output == "softmax" else 1, output)], input_shape=4, seed=seed, dtype=dtype
    )  # fmt: skip
    return shaken(network, seed)


def pictures(data_format: str, seed: int = 0) -> Network:
    layers = [
        Conv2D(3, 2, "relu", padding="same", data_format=data_format),
        BatchNorm(data_format=data_format),
        MaxPool2D(2, data_format=data_format),
        Conv2D(2, 2, "identity", data_format=data_format),
        ActivationLayer("tanh"),
        AveragePool2D(2, stride=1, data_format=data_format),
        Flatten(),
        Dense(3, "softmax"),
    ]
    shape = (6, 8, 2) if data_format == "channels_last" else (2, 6, 8)
    return shaken(Network(layers, input_shape=shape, seed=seed, dtype="float64"), seed)


def shaken(network: Network, seed: int) -> Network:
    """Biases and running statistics that are not what they begin as."""
    rng = np.random.default_rng(seed)
    network.parameters += 0.3 * rng.normal(size=network.parameters.shape)
    network.buffers[...] = rng.random(network.buffers.shape) + 0.3
    return network


CASES = [
    *[("vectors", layer) for layer in ("hidden1", "dropout1", "hidden2", "norm1", "activation1", "hidden3")],
    *[("pictures", layer) for layer in ("conv1", "norm1", "pool1", "conv2", "activation1", "pool2", "flatten1")],
    ("channels_first", "conv1"),
    ("channels_first", "pool1"),
]


@pytest.mark.parametrize("mode", ["zero", "mean"])
@pytest.mark.parametrize(("kind", "layer"), CASES)
def test_ablation_equals_computing_again_with_that_output_replaced(kind: str, layer: str, mode: Any) -> None:
    rng = np.random.default_rng(1)
    network = vectors("softmax") if kind == "vectors" else pictures(
        "channels_first" if kind == "channels_first" else "channels_last"
    )  # fmt: skip
    names = {one.name for one in network.layers}
    assert layer in names, names
    X, y = rng.normal(size=(23, *network.input_shape)), rng.integers(0, 3, 23)
    found = rank_neurons(network, X, y, layer, mode=mode)
    loss, trace = get_loss("categorical_cross_entropy"), network.predict(X)
    whole = np.array([forward(network.layers, x)[0] for x in X])
    assert found.loss == pytest.approx(loss(whole, y), rel=1e-12)
    assert found.score == np.mean(trace.argmax(axis=1) == y)
    for j in range(len(found.neurons)):
        z, a = silenced(network, X, layer, j, mode)
        assert found.loss + found.loss_increase[j] == pytest.approx(loss(z, y), rel=1e-10), j
        chosen = a.argmax(axis=1)
        assert found.score + found.score_change[j] == pytest.approx(np.mean(chosen == y), abs=1e-12)
        assert found.answer_change[j] == pytest.approx(np.mean(chosen != trace.argmax(axis=1)))
        for c in range(3):
            share = np.mean(chosen[y == c] == c)
            assert found.class_scores[c] + found.class_changes[j, c] == pytest.approx(share, abs=1e-12)
    assert found.gap <= 1e-12


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_values_are_judged_by_r2_and_by_how_far_answers_move(mode: Any) -> None:
    rng = np.random.default_rng(2)
    network = vectors("identity")
    X, y = rng.normal(size=(31, 4)), rng.normal(size=(31, 1))
    found = rank_neurons(network, X, y, "hidden1", mode=mode)
    before = network.predict(X)
    assert found.classes == ()
    for j in range(6):
        _, a = silenced(network, X, "hidden1", j, mode)
        r2 = 1 - ((a - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        assert found.score + found.score_change[j] == pytest.approx(r2)
        assert found.loss + found.loss_increase[j] == pytest.approx(np.mean((a - y) ** 2))
        assert found.answer_change[j] == pytest.approx(np.mean(np.abs(a - before)))


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_two_classes_of_one_output(mode: Any) -> None:
    rng = np.random.default_rng(3)
    network = vectors("sigmoid")
    X, y = rng.normal(size=(31, 4)), rng.integers(0, 2, 31)
    found = rank_neurons(network, X, y, "hidden2", mode=mode)
    assert len(found.classes) == 2
    for j in range(5):
        z, _ = silenced(network, X, "hidden2", j, mode)
        assert found.score + found.score_change[j] == pytest.approx(np.mean((z[:, 0] > 0) == y))
        expected = np.mean(np.log1p(np.exp(z[:, 0])) - y * z[:, 0])
        assert found.loss + found.loss_increase[j] == pytest.approx(expected)


@given(seed=st.integers(0, 999), rows=st.integers(1, 9), dtype=st.sampled_from(["float32", "float64"]))
def test_a_silenced_neuron_is_one_whose_weights_to_the_next_layer_are_0(seed: int, rows: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    network = shaken(Network.dense([3, 7, 5, 2], "relu", "softmax", seed=seed, dtype=dtype), seed)
    X, y = rng.normal(size=(rows, 3)), rng.integers(0, 2, rows)
    found = rank_neurons(network, X, y, "hidden1")
    for j in range(7):
        without = network.copy()
        without["hidden2"].W[:, j] = 0
        expected = get_loss("categorical_cross_entropy")(without.trace(X)[-1].z, y)
        assert found.loss + found.loss_increase[j] == pytest.approx(expected, rel=2e-5, abs=1e-6)


def test_many_rows_in_chunks_are_as_one_by_one() -> None:
    rng = np.random.default_rng(4)
    network = shaken(Network.dense([3, 40, 30, 4], output="softmax"), 0)
    X, y = rng.normal(size=(5_001, 3)).astype(np.float32), rng.integers(0, 4, 5_001)
    seen: list[tuple[int, int]] = []
    found = rank_neurons(network, X, y, "hidden1", progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (5_001, 5_001)
    assert len(seen) > 2
    for j in (0, 17, 39):
        without = network.copy()
        without["hidden2"].W[:, j] = 0
        expected = get_loss("categorical_cross_entropy")(without.trace(X)[-1].z, y)
        assert found.loss + found.loss_increase[j] == pytest.approx(expected, rel=1e-5)


def test_the_layers_before_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuronwise.network.layers import DensePass

    network = Network.dense([3, 4, 5, 2], output="softmax")
    calls: list[str] = []
    forward_of = DensePass.forward
    monkeypatch.setattr(DensePass, "forward", lambda self: (calls.append(self.layer.name), forward_of(self))[1])
    rank_neurons(network, np.ones((8, 3)), np.zeros(8, int), "hidden2")
    assert calls.count("hidden1") == 2  # of all rows, and of the few that are checked
    assert calls.count("hidden2") == 2


def test_what_is_not_finite_is_said_and_stands_first() -> None:
    network = Network.dense([2, 3, 2], output="softmax", dtype="float64")
    network["hidden1"].W = [[1, 0], [0, 1], [1, 1]]
    network["output"].W = [[1, np.inf, 1], [0, 1, 0]]
    X = np.abs(np.random.default_rng(0).normal(size=(20, 2)))
    found = rank_neurons(network, X, np.arange(20) % 2, "hidden1")
    assert not np.isfinite(found.loss)
    assert np.isnan(found.loss_increase).any()
    assert "not finite" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.figure() is not None


def test_it_says_it_in_words_and_as_a_picture() -> None:
    rng = np.random.default_rng(5)
    network = shaken(Network.dense([3, 30, 2], output="softmax", class_names=["cat", "dog"]), 1)
    X, y = rng.normal(size=(50, 3)), rng.integers(0, 2, 50)
    found = rank_neurons(network, X, y, "hidden1", rows_are="held-out rows", meaning=Meaning.of(network))
    text = str(found)
    assert text.startswith(f"hidden1[{int(found.order[0])}] is missed most of the 30 neurons of hidden1: held at 0")
    assert "50 held-out rows" in text
    assert "cat" in text or "dog" in text
    assert "computed again, layer by layer, differ by at most" in text
    labels = [one.get_text() for one in found.figure().axes[0].get_yticklabels()]
    assert len(labels) == 24
    assert labels[0].startswith(f"hidden1[{int(found.order[0])}]")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"layer": "output"}, UsageError, "is the last layer.*\n?.*hidden1"),
        ({"layer": "hiden1"}, NotFoundError, "Did you mean 'hidden1'"),
        ({"layer": "hidden1[2]"}, UsageError, "is a neuron"),
        ({"mode": "off"}, UsageError, "'zero' or at its 'mean', got 'off'"),
        ({"y": [0, 1, 5]}, UsageError, "class numbers from 0 to 1.*got 5 at row 2"),
        ({"y": [0, 1]}, UsageError, "3 inputs need as many targets, got 2"),
        ({"X": np.ones((3, 4))}, UsageError, "expected inputs of shape"),
        ({"X": np.ones((0, 3)), "y": []}, UsageError, "at least one row"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    given_ = {"X": np.ones((3, 3)), "y": [0, 1, 0], "layer": "hidden1"} | arguments
    network = Network.dense([3, 4, 2], output="softmax")
    with pytest.raises(error, match=words):
        rank_neurons(network, given_.pop("X"), given_.pop("y"), given_.pop("layer"), **given_)


@pytest.mark.parametrize("as_given", [np.float64, "one-hot"])
def test_classes_may_be_given_as_floats_or_one_hot(as_given: Any) -> None:
    rng = np.random.default_rng(7)
    network = shaken(Network.dense([3, 4, 3], "relu", "softmax", dtype="float64"), 2)
    X, y = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)
    other = np.eye(3)[y] if as_given == "one-hot" else y.astype(as_given)
    expected, found = (rank_neurons(network, X, given_, "hidden1") for given_ in (y, other))
    assert found.score_name == "accuracy"
    assert (found.loss_increase == expected.loss_increase).all()
    assert (found.class_changes == expected.class_changes).all()
