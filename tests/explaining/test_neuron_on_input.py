"""A neuron's sum, term by term: compared with the network's own z and with sums written out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data import ArrayEncoder
from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining import Meaning, Table, explain_neuron
from neuronwise.explaining.neurons import by_neuron, has_neurons, map_shape
from neuronwise.network import Network
from neuronwise.network.channels import neuron_counts
from neuronwise.network.layers import ActivationLayer, BatchNorm, Conv2D, Dense, Flatten, MaxPool2D

from .networks import inputs, networks


def test_the_example_of_the_issue_in_original_units() -> None:
    # sqft_living = 2,570: mean 2,030, scale 1,000, so scaled 0.54; times 0.31 is 0.1674.
    encoder = ArrayEncoder(2, 0.0, 1e6, means=np.array([2030.0, 0.0]), scales=np.array([1000.0, 1.0]))
    network = Network([Dense(1, "relu")], input_shape=2, dtype="float64")
    network["output"].W[...], network["output"].b[...] = [[0.31, -1.0]], 0.1
    meaning = Meaning(("sqft_living", "waterfront"), ["price"], encoder)
    told = explain_neuron(network, "output[0]", [0.54, 1.0], meaning=meaning)
    assert [term.original for term in told.terms] == ["2570", None]
    assert told.terms[0].product == pytest.approx(0.1674)
    assert told.z == pytest.approx(0.31 * 0.54 - 1.0 + 0.1)
    assert told.activation_level == 0.0
    text = str(told)
    assert "sqft_living = 2570" in text
    assert "0.31" in text
    assert "+0.1674" in text


@given(network=networks(), dtype=st.sampled_from(["float64", "float32"]), seed=st.integers(0, 99))
def test_terms_and_bias_add_up_to_the_networks_z_within_what_rounding_does(
    network: Network, dtype: str, seed: int
) -> None:
    if dtype == "float32":
        network = Network(
            [layer.unbuilt() for layer in network.layers], input_shape=network.input_shape, dtype=dtype, seed=seed
        )
    x = inputs(network, 1)
    trace = network.trace(x)
    rng = np.random.default_rng(seed)
    counts = neuron_counts(network.layers)
    for position, layer in enumerate(network.layers):
        if not has_neurons(layer):
            continue
        index = int(rng.integers(counts[position]))
        name, places, at = f"{layer.name}[{index}]", map_shape(network, position), 0
        if places is not None:
            row, column = int(rng.integers(places[0])), int(rng.integers(places[1]))
            name, at = f"{name} @ ({row}, {column})", row * places[1] + column
        told = explain_neuron(network, name, x)
        seen = trace.layers[position]
        assert seen.z is not None
        assert told.neuron == name
        assert told.z == by_neuron(seen.z, network, position)[0, at, index]
        assert told.activation_level == by_neuron(seen.a, network, position)[0, at, index]
        assert told.adds_up, (name, told.gap, told.rounding)
        summed = math.fsum([*(term.input * term.weight for term in told.terms), told.bias])
        assert told.z - told.gap == pytest.approx(summed, rel=1e-12, abs=1e-12)
        assert told.rest(0) == pytest.approx(math.fsum(term.product for term in told.terms), abs=1e-12)


def test_a_wrong_sum_is_told() -> None:
    network = Network.dense([3, 2], dtype="float64")
    told = explain_neuron(network, "output[0]", [1.0, 2.0, 3.0])
    import dataclasses

    wrong = dataclasses.replace(told, gap=0.5)
    assert told.adds_up
    assert not wrong.adds_up
    assert "MORE than rounding" in str(wrong)


def test_a_filter_without_a_place_is_told_where_it_answers_most() -> None:
    network = Network([Conv2D(2, 3, "relu"), Flatten(), Dense(2)], input_shape=(5, 6), seed=1)
    x = inputs(network, 1)[0]
    level = network["conv1[1]"](x)
    row, column = np.unravel_index(int(level.argmax()), level.shape)
    told = explain_neuron(network, "conv1[1]", x)
    assert told.neuron == f"conv1[1] @ ({row}, {column})"
    assert told.activation_level == level.max()
    assert "answers most" in told.note
    assert told.weight_pictures is not None
    np.testing.assert_array_equal(told.weight_pictures, network["conv1"].W[1])
    assert told.input_pictures is not None
    np.testing.assert_array_equal(told.input_pictures[0], x[row : row + 3, column : column + 3])


def test_a_patch_at_an_edge_has_the_weights_that_lie_on_the_picture() -> None:
    network = Network(
        [Conv2D(1, 3, "identity", padding="same"), Flatten(), Dense(1)], input_shape=(4, 4, 2), dtype="float64"
    )
    x = inputs(network, 1)[0]
    told = explain_neuron(network, "conv1[0] @ (0, 0)", x)
    W = network["conv1"].W[0]
    by_hand = sum(W[c, i + 1, j + 1] * x[i, j, c] for c in range(2) for i in range(2) for j in range(2))
    assert len(told.terms) == 8
    assert told.z == pytest.approx(by_hand)
    assert "10 of its weights lie outside" in told.note
    assert [term.name for term in told.terms][:2] == ["x[0]", "x[2]"]


def test_deeper_terms_are_the_neurons_of_the_layer_below_by_name() -> None:
    layers = [Conv2D(2, 2, "relu"), MaxPool2D(2), BatchNorm(), Flatten(), Dense(3, "softmax")]
    network = Network(layers, input_shape=(5, 5), seed=2, class_names=["cat", "dog", "cow"])
    told = explain_neuron(network, "output[1]", inputs(network, 1)[0])
    assert [term.name for term in told.terms][:3] == ["norm1[0] @ (0, 0)", "norm1[1] @ (0, 0)", "norm1[0] @ (0, 1)"]
    assert sum(one.a for one in told.competitors) == pytest.approx(1.0, abs=1e-6)
    assert [one.name for one in told.competitors] == ["cat", "dog", "cow"]
    assert "add up to 1" in str(told)
    level = np.exp(told.z) / sum(np.exp(one.z) for one in told.competitors)
    assert told.activation_level == pytest.approx(level, rel=1e-5)


def test_batch_normalisation_and_a_lone_activation_are_sums_of_one_term() -> None:
    network = Network([Dense(2, "identity"), BatchNorm(), ActivationLayer("tanh"), Dense(1)], input_shape=2)
    norm = network["norm1"]
    norm.gamma[...], norm.beta[...], norm.running_mean[...], norm.running_var[...] = 2.0, 0.5, 0.1, 4.0
    x = np.array([1.0, -2.0], np.float32)
    z1 = network.trace(x)["hidden1"].z
    assert z1 is not None
    told = explain_neuron(network, "norm1[1]", x)
    assert told.z == pytest.approx(2.0 * (z1[0, 1] - 0.1) / math.sqrt(4 + 1e-5) + 0.5, rel=1e-5)
    assert told.adds_up
    assert "running mean 0.1" in told.note
    lone = explain_neuron(network, "activation1[1]", x)
    assert (len(lone.terms), lone.activation_level) == (1, pytest.approx(math.tanh(told.z), rel=1e-5))


def test_the_rest_is_one_line_and_the_table_adds_up() -> None:
    network = Network.dense([40, 2], seed=3, dtype="float64")
    told = explain_neuron(network, "output[0]", np.random.default_rng(0).normal(size=40))
    (table,) = (block for block in told.blocks() if isinstance(block, Table))
    assert len(table.rows) == 12 + 3
    assert table.rows[12][0] == "the rest (28 terms)"
    shown = [float(row[-1]) for row in table.rows[:-1]]
    assert sum(shown) == pytest.approx(told.z, abs=1e-2)
    sizes = [abs(float(row[-1])) for row in table.rows[:12]]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_and_first(bad: float) -> None:
    network = Network.dense([20, 2], seed=3)
    x = np.ones(20)
    x[13] = bad
    told = explain_neuron(network, "output[0]", x)
    assert told.largest(1)[0].name == "x[13]"
    text = str(told)
    assert "1 of the terms are not finite: x[13]" in text
    content = json.dumps(told.to_dict(), allow_nan=False)
    assert '"NaN"' in content or "Infinity" in content
    assert told.figure() is not None


def test_no_number_is_lost_in_json_and_every_form_exists() -> None:
    network = Network([Flatten(), Dense(3, "tanh")], input_shape=(6, 5), seed=1)
    told = explain_neuron(network, "output[2]", inputs(network, 1)[0])
    content = told.to_dict()
    assert len(content["terms"]) == 30
    assert content["gap"] == told.gap
    assert "weight_pictures" not in content
    assert "<table" in told._repr_html_()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hidden1", "is a layer, not a neuron"),
        ("hidden9[0]", "hidden9"),
        ("hidden1[9]", "has 4 neurons, 0 to 3, got 9"),
        ("flatten1[0]", "no neurons of its own"),
        ("hidden1[0] @ (0, 0)", "no layer of pictures"),
        ("seven", "no name of a neuron"),
    ],
)
def test_names_that_are_none_are_refused_with_what_there_is(name: str, words: str) -> None:
    network = Network([Flatten(), Dense(4), Dense(2)], input_shape=(2, 2))
    with pytest.raises(NotFoundError, match=words):
        explain_neuron(network, name, np.zeros((2, 2)))


def test_a_place_beyond_the_map_is_refused() -> None:
    network = Network([Conv2D(2, 3), Flatten(), Dense(2)], input_shape=(5, 6))
    with pytest.raises(NotFoundError, match=r"3 × 4 places"):
        explain_neuron(network, "conv1[0] @ (3, 0)", np.zeros((5, 6)))


def test_more_than_one_input_is_refused() -> None:
    with pytest.raises(UsageError, match="one input is explained, got 3"):
        explain_neuron(Network.dense([2, 2]), "output[0]", np.zeros((3, 2)))
