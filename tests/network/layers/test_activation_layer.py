"""An activation function that stands alone."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.network import ACTIVATIONS, ActivationLayer, Dense, Flatten, Network, get_loss


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_it_is_the_activation_of_the_layer_before_it(activation: str) -> None:
    merged = Network([Dense(4, activation, initializer="he"), Dense(2, "identity")], input_shape=3, dtype="float64")
    apart = Network(
        [Dense(4, "identity", initializer="he"), ActivationLayer(activation), Dense(2, "identity")],
        input_shape=3,
        dtype="float64",
    )
    apart.parameters[:] = merged.parameters
    rng = np.random.default_rng(0)
    x, y, loss = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), get_loss("squared_error", "identity")
    found = []
    for network in (merged, apart):
        gradients = np.zeros_like(network.parameters)
        space = network.workspace(5, gradients, input_gradient=True)
        space.x[...] = x
        space.forward()
        found.append((space.backward(loss, y), gradients, space.dx))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_can_be_the_output_and_be_linked_to_its_loss() -> None:
    apart = Network([Dense(3, "identity"), ActivationLayer("softmax")], input_shape=2, dtype="float64")
    merged = Network([Dense(3, "softmax")], input_shape=2, dtype="float64")
    merged.parameters[:] = apart.parameters
    x, y = np.ones((2, 2)), np.array([0, 2])
    found = []
    for network in (merged, apart):
        gradients = np.zeros_like(network.parameters)
        space = network.workspace(2, gradients)
        space.x[...] = x
        space.forward()
        found.append((space.backward(get_loss("categorical_cross_entropy", "softmax"), y), gradients))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_softmax_needs_a_vector() -> None:
    with pytest.raises(UsageError, match=r"layer activation1: softmax compares the values of a vector"):
        Network([ActivationLayer("softmax"), Flatten()], input_shape=(2, 3))


def test_it_describes_itself() -> None:
    network = Network([Dense(2), ActivationLayer("tanh"), Dense(1)], input_shape=3)
    layer = network["activation1"]
    assert layer.to_dict() == {"type": "Activation", "name": "activation1", "activation": "tanh"}
    assert list(layer.unit_names()) == ["hidden1[0]", "hidden1[1]"]
    assert Network.from_dict(network.to_dict()).to_dict() == network.to_dict()
    assert layer.algebra() == "a = tanh(x)"
