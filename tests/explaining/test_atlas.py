"""An atlas of the first layer: the weights themselves, in the right places, of the right neurons."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.explaining import Meaning, Table, atlas, detects
from neuronwise.network import Network
from neuronwise.network.layers import BatchNorm, Conv2D, Dense, Flatten

from .networks import inputs


def test_pictures_are_the_weights_of_each_neuron() -> None:
    network = Network([Flatten(), Dense(5), Dense(2)], input_shape=(4, 6), seed=1)
    told = atlas(network)
    assert told.is_pictures
    np.testing.assert_array_equal(told.weights[:, 0], network["hidden1"].W.reshape(5, 4, 6))
    assert told.neurons == tuple(f"hidden1[{i}]" for i in range(5))
    np.testing.assert_allclose(told.norm, np.linalg.norm(network["hidden1"].W, axis=1), rtol=1e-6)
    assert told.figure() is not None


def test_names_stand_beside_their_weights_whatever_the_order_of_the_channels() -> None:
    network = Network([Flatten(), Dense(1)], input_shape=(2, 2, 3), seed=1)
    network["output"].W[...] = 0.0
    network["output"].W[0, 7] = 9.0  # row 1, column 0, channel 1
    (table,) = (block for block in atlas(network).blocks() if isinstance(block, Table))
    assert table.rows[0][3].startswith("x[7] +9")
    assert atlas(network).weights[0, 1, 1, 0] == 9.0
    assert atlas(network).figure() is not None


def test_kernels_of_a_convolution_and_flat_pictures_are_pictures() -> None:
    network = Network([Conv2D(3, (2, 4)), Flatten(), Dense(2)], input_shape=(6, 6), seed=1)
    np.testing.assert_array_equal(atlas(network).weights, network["conv1"].W)
    flat = Network.dense([12, 3, 2], seed=1)
    meaning = Meaning([f"pixel {i}" for i in range(12)], ["a", "b"], picture_shape=(3, 4))
    assert atlas(flat, meaning=meaning).weights.shape == (3, 1, 3, 4)


def test_the_longest_are_shown_in_their_order() -> None:
    network = Network.dense([3, 6, 1], seed=1)
    network["hidden1"].W[...] = np.arange(1, 7)[:, None] * [1, -1, 1]
    network["hidden1"].W[2] = 100.0
    told = atlas(network, most=2)
    assert told.neurons == ("hidden1[2]", "hidden1[5]")
    assert "the 2 with the longest weights" in str(told)
    np.testing.assert_array_equal(told.weights, network["hidden1"].W[[2, 5]])


@pytest.mark.parametrize("picture", [False, True])
def test_what_each_tells_best_is_what_detects_says(picture: bool) -> None:
    if picture:
        network = Network([Conv2D(4, 3), Flatten(), Dense(3)], input_shape=(7, 7), seed=1)
    else:
        network = Network.dense([5, 6, 3], seed=1)
    X, y = inputs(network, 60), np.arange(60) % 3
    told = atlas(network, X, y)
    for i, name in enumerate(told.neurons):
        best = detects(network, name, X, y).best_class()
        assert best is not None
        assert told.separates[i] == pytest.approx(best.separates)
        assert told.likes[i] == ("" if best.auc >= 0.5 else "not ") + best.name
    values = atlas(network, X, y.astype(float))
    for i, name in enumerate(values.neurons):
        assert values.separates[i] == pytest.approx(detects(network, name, X, y.astype(float)).correlation)


def test_weights_that_are_not_finite_are_first_and_drawn() -> None:
    network = Network.dense([3, 4, 1], seed=1)
    network["hidden1"].W[3, 1] = np.nan
    told = atlas(network, most=1)
    assert told.neurons == ("hidden1[3]",)
    assert "x[1] +nan" in str(told)
    json.dumps(told.to_dict(), allow_nan=False)
    assert told.figure() is not None


def test_a_network_that_changes_its_inputs_first_has_none() -> None:
    with pytest.raises(UsageError, match="no layer with weights looks at the inputs"):
        atlas(Network([BatchNorm(), Dense(2)], input_shape=3))
