"""Layers on their own: shapes, names, views, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.network import LAYERS, Dense, Flatten, Layer, Network


def test_every_layer_is_listed_by_its_name() -> None:
    for name, layer in LAYERS.items():
        assert layer.__name__.removesuffix("Layer") == name
        assert layer.prefix
        assert set(layer.required) <= set(layer.properties)
    assert LAYERS["Dense"] is Dense
    assert LAYERS["Flatten"] is Flatten


def test_a_dense_layer_describes_itself() -> None:
    layer = Network([Dense(16, "relu"), Dense(10, "softmax")], input_shape=784).layers[0]
    assert (layer.input_shape, layer.output_shape, layer.neuron_count) == ((784,), (16,), 16)
    assert layer.parameter_count == 16 * 784 + 16
    assert layer.parameter_shapes() == {"W": (16, 784), "b": (16,)}
    assert layer.formula() == "16 × 784 + 16"
    assert layer.algebra() == "a = relu(W x + b), W 16 × 784, x 784, b 16"
    assert list(layer.unit_names())[:2] == ["hidden1[0]", "hidden1[1]"]
    assert repr(layer) == "Dense(16, 'relu', name='hidden1')"
    assert repr(Dense(3)) == "Dense(3, 'relu')"
    assert layer.is_built
    assert not Dense(3).is_built


def test_flatten_has_no_parameters_and_makes_no_new_neurons() -> None:
    layer = Network([Flatten(), Dense(1)], input_shape=(2, 3)).layers[0]
    assert (layer.parameter_count, layer.parameters, layer.activation) == (0, {}, None)
    assert (layer.input_shape, layer.output_shape) == ((2, 3), (6,))
    assert layer.formula() == ""
    assert layer.algebra() == "a = x laid out as a vector, 2 × 3 to 6"
    assert list(layer.unit_names()) == [f"input[{i}]" for i in range(6)]
    assert repr(layer) == "Flatten()"


def test_weights_are_views_into_the_flat_buffer() -> None:
    network = Network.dense([3, 4, 2], seed=0)
    offset = 0
    for layer in network.layers:
        for key in ("W", "b"):
            view = layer.parameters[key]
            assert np.shares_memory(view, network.parameters)
            np.testing.assert_array_equal(view.ravel(), network.parameters[offset : offset + view.size])
            offset += view.size
    assert offset == network.parameter_count


@pytest.mark.parametrize("units", [0, -1, 1.5, "16", None, True, [3]])
def test_a_number_of_neurons_that_cannot_be_is_refused(units: object) -> None:
    with pytest.raises(UsageError) as caught:
        Dense(units)  # type: ignore[arg-type]
    assert f"argument units: a layer needs a whole number of neurons, at least 1, got {units!r}" in str(caught.value)


def test_numpy_integers_count() -> None:
    assert Dense(np.int64(3)).units == 3


def test_weights_of_another_shape_are_refused_and_nothing_is_changed() -> None:
    network = Network.dense([3, 2], seed=0)
    before = network.parameters.copy()
    with pytest.raises(UsageError, match=r"layer output: W has shape \(2, 3\), got \(3, 2\)"):
        network["output"].W = np.ones((3, 2))
    with pytest.raises(UsageError, match=r"layer output: b has shape \(2,\), got \(\)"):
        network["output"].b = 1.0
    np.testing.assert_array_equal(network.parameters, before)


def test_a_layer_outside_a_network_has_no_weights_and_says_why() -> None:
    layer = Dense(3)
    for ask in (lambda: layer.W, lambda: layer.b, lambda: layer[0].weights, lambda: setattr(layer, "W", [[1.0]])):
        with pytest.raises(UsageError, match="this layer has no weights yet: it is not part of a network"):
            ask()


def test_one_layer_cannot_stand_in_two_places() -> None:
    shared = Dense(3)
    with pytest.raises(UsageError) as caught:
        Network([shared, shared], input_shape=3)
    assert "argument layers: the layer 'hidden1' is part of a network already" in str(caught.value)
    assert "make a new layer for each place, or network.copy()" in str(caught.value)
    one = Dense(3)
    Network([one], input_shape=3)
    with pytest.raises(UsageError, match="the layer 'output' is part of a network already"):
        Network([one], input_shape=3)


def test_layers_of_a_network_that_could_not_be_built_can_be_used_again() -> None:
    first, second = Flatten(), Dense(3)
    with pytest.raises(UsageError):
        Network([first, second, Dense(2, name="a b")], input_shape=(2, 2))
    network = Network([first, second, Dense(2)], input_shape=(2, 2))
    assert [layer.name for layer in network.layers] == ["flatten1", "hidden1", "output"]


def test_a_dense_layer_on_a_picture_asks_for_flatten() -> None:
    with pytest.raises(UsageError) as caught:
        Network([Dense(3), Dense(2)], input_shape=(28, 28))
    text = str(caught.value)
    assert "layer hidden1: a Dense layer takes a vector, but its input has shape (28, 28)" in text
    assert "put Flatten() before it" in text


def test_an_own_layer_needs_only_its_contract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Layer(None)  # type: ignore[abstract]
