"""Batch normalisation: equal to torch and to a slow second implementation, gradient-checked, its buffers kept."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.network import BatchNorm, Dense, Flatten, Layer, Network, get_loss

SHAPES = [
    ((5,), "channels_last"),
    ((4, 3, 2), "channels_last"),
    ((2, 4, 3), "channels_first"),
    ((4, 3), "channels_last"),
]


def _network(shape: tuple[int, ...], data_format: str, activation: str = "identity", dtype: str = "float64") -> Network:
    layers: list[Layer] = [BatchNorm(activation=activation, data_format=data_format)]
    layers += [*([Flatten()] if len(shape) > 1 else []), Dense(2, "identity")]
    network = Network(layers, input_shape=shape, seed=3, dtype=dtype)
    rng = np.random.default_rng(4)
    network.parameters[:] = rng.normal(size=network.parameter_count)
    network["norm1"].running_mean[:] = rng.normal(size=network["norm1"].features)
    network["norm1"].running_var[:] = rng.uniform(0.5, 2, size=network["norm1"].features)
    return network


def _torch_twin(network: Network) -> torch.nn.Module:
    layer = network["norm1"]
    kind = torch.nn.BatchNorm1d if len(layer.input_shape) == 1 else torch.nn.BatchNorm2d
    twin = kind(layer.features, eps=layer.epsilon, momentum=layer.momentum, dtype=torch.float64)
    with torch.no_grad():
        twin.weight.copy_(torch.tensor(layer.gamma))
        twin.bias.copy_(torch.tensor(layer.beta))
        twin.running_mean.copy_(torch.tensor(layer.running_mean))
        twin.running_var.copy_(torch.tensor(layer.running_var))
    return twin


def _channels_second(x: NDArray, layer: BatchNorm) -> NDArray:
    if x.ndim == 3:
        return x[:, None]
    return x if x.ndim == 2 or layer.data_format == "channels_first" else np.moveaxis(x, -1, 1)


@pytest.mark.parametrize(("shape", "data_format"), SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_forward_backward_and_buffers_equal_torch(shape: tuple[int, ...], data_format: str, training: bool) -> None:
    network = _network(shape, data_format)
    layer = network["norm1"]
    twin = _torch_twin(network).train(training)
    gradients = np.zeros_like(network.parameters)
    space = network.workspace(7, gradients, training=training, input_gradient=True)
    rng = np.random.default_rng(5)
    for _ in range(3):
        x = rng.normal(2, 3, size=(7, *shape))
        space.x[...] = x
        space.forward()
        inputs = torch.tensor(_channels_second(x, layer), requires_grad=True)
        z = twin(inputs)
        np.testing.assert_allclose(_channels_second(space.passes[0].z, layer), z.detach(), atol=1e-12)
        one = space.passes[0]
        one.da[...] = rng.normal(size=one.da.shape)
        twin.zero_grad()
        z.backward(torch.tensor(_channels_second(one.da, layer)))
        one.backward(space.dx)
        np.testing.assert_allclose(_channels_second(space.dx, layer), inputs.grad, atol=1e-12)
        views = network.views(gradients)[0]
        np.testing.assert_allclose(views["gamma"], twin.weight.grad, atol=1e-12)
        np.testing.assert_allclose(views["beta"], twin.bias.grad, atol=1e-12)
        space.update_buffers()
        np.testing.assert_allclose(layer.running_mean, twin.running_mean, atol=1e-13)
        np.testing.assert_allclose(layer.running_var, twin.running_var, atol=1e-13)


@pytest.mark.parametrize(("shape", "data_format"), SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ["identity", "relu", "sigmoid", "tanh"])
def test_gradients_are_those_of_the_loss(
    shape: tuple[int, ...], data_format: str, training: bool, activation: str
) -> None:
    network = _network(shape, data_format, activation)
    gradients = np.zeros_like(network.parameters)
    space = network.workspace(4, gradients, training=training, input_gradient=True)
    rng = np.random.default_rng(6)
    space.x[...] = rng.normal(size=space.x.shape)
    y, loss = rng.normal(size=(4, 2)), get_loss("squared_error", "identity")

    def value() -> float:
        space.forward()
        return space.backward(loss, y)

    value()
    found = [gradients.copy(), space.dx.copy()]
    for values, analytic in zip([network.parameters, space.x], found, strict=True):
        numeric = np.empty_like(values)
        for place in np.ndindex(values.shape):
            kept = values[place]
            values[place] = kept + 1e-6
            above = value()
            values[place] = kept - 1e-6
            numeric[place] = (above - value()) / 2e-6
            values[place] = kept
        np.testing.assert_allclose(analytic, numeric, atol=2e-8)


@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**32))
def test_a_batch_is_brought_to_mean_0_and_variance_1_feature_by_feature(rows: int, features: int, seed: int) -> None:
    network = Network([BatchNorm(), Dense(1)], input_shape=features, dtype="float64")
    x = np.random.default_rng(seed).normal(5, 3, size=(rows, features))
    space = network.workspace(rows, training=True)
    space.x[...] = x
    space.forward()
    for j in range(features):
        column = [float(v) for v in x[:, j]]
        mean = sum(column) / rows
        var = sum((v - mean) ** 2 for v in column) / rows
        expected = [(v - mean) / (var + 1e-5) ** 0.5 for v in column]
        np.testing.assert_allclose(space.passes[0].a[:, j], expected, atol=1e-9)


def test_forward_alone_moves_no_buffer_and_evaluation_never_does() -> None:
    network = _network((5,), "channels_last")
    before = network.buffers.copy()
    space = network.workspace(6, training=True)
    space.x[...] = 3
    space.forward()
    np.testing.assert_array_equal(network.buffers, before)
    space.update_buffers()
    assert not np.array_equal(network.buffers, before)
    before = network.buffers.copy()
    still = network.workspace(6)
    still.forward()
    still.update_buffers()
    np.testing.assert_array_equal(network.buffers, before)


def test_a_batch_of_one_row_has_no_variance_and_is_normalised_as_in_evaluation() -> None:
    network = _network((5,), "channels_last")
    x, before = np.arange(5.0)[None], network.buffers.copy()
    space = network.workspace(1, np.zeros_like(network.parameters), training=True)
    space.x[...] = x
    np.testing.assert_array_equal(space.forward(), network.predict(x))
    space.update_buffers()
    np.testing.assert_array_equal(network.buffers, before)


def test_of_a_picture_a_single_row_has_values_enough() -> None:
    network = _network((4, 3, 2), "channels_last")
    space = network.workspace(1, training=True)
    space.x[...] = np.random.default_rng(0).normal(size=space.x.shape)
    space.forward()
    np.testing.assert_allclose(space.passes[0]._normal.mean(axis=(0, 1, 2)), 0, atol=1e-12)


def test_buffers_are_saved_copied_and_pickled(tmp_path: Path) -> None:
    network = _network((5,), "channels_last", dtype="float32")
    network.save(tmp_path)
    x = np.random.default_rng(1).normal(size=(3, 5))
    for other in (Network.load(tmp_path), network.copy(), pickle.loads(pickle.dumps(network))):
        np.testing.assert_array_equal(other.buffers, network.buffers)
        np.testing.assert_array_equal(other.predict(x), network.predict(x))
        assert np.shares_memory(other["norm1"].running_var, other.buffers)
        other.buffers[:] = 7
        assert not (network.buffers == 7).any()


def test_buffers_are_no_parameters() -> None:
    network = Network([BatchNorm(), Dense(2)], input_shape=3)
    assert (network.parameter_count, network.buffer_count) == (2 * 3 + 8, 6)
    layer = network["norm1"]
    assert (layer.parameter_count, layer.buffer_count) == (6, 6)
    assert layer.formula() == "2 × 3"
    np.testing.assert_array_equal(network.buffers, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(layer.gamma, 1)
    layer.beta = [1, 2, 3]
    np.testing.assert_array_equal(network.parameters[3:6], [1, 2, 3])


def test_it_describes_itself() -> None:
    network = Network([BatchNorm(0.2, 1e-3, "relu", name="n"), Dense(2)], input_shape=3)
    assert network["n"].to_dict() == {
        "type": "BatchNorm", "name": "n", "momentum": 0.2, "epsilon": 1e-3, "activation": "relu",
        "data_format": "channels_last",
    }  # fmt: skip
    assert Network.from_dict(network.to_dict()).to_dict() == network.to_dict()
    assert "γ" in network["n"].algebra()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"momentum": -0.1}, "argument momentum: expected a number from 0 to 1, got -0.1"),
        ({"momentum": True}, "argument momentum"),
        ({"momentum": "0.1"}, "argument momentum"),
        ({"epsilon": 0}, "argument epsilon: expected a number above 0, got 0"),
        ({"epsilon": float("nan")}, "argument epsilon"),
        ({"activation": "rely"}, "unknown activation 'rely'"),
        ({"data_format": "NCHW"}, "argument data_format: expected 'channels_last' or 'channels_first', got 'NCHW'"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        BatchNorm(**options)  # type: ignore[arg-type]


def test_softmax_and_too_many_axes_are_refused_with_the_layer() -> None:
    with pytest.raises(UsageError, match=r"layer norm1: softmax compares the values of a vector"):
        Network([BatchNorm(activation="softmax"), Flatten()], input_shape=(2, 2))
    with pytest.raises(UsageError, match=r"layer norm1: BatchNorm takes a vector or a picture"):
        Network([BatchNorm(), Flatten()], input_shape=(2, 2, 2, 2))
