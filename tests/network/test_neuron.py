"""A neuron alone, and neurons of a network as views."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network import Dense, Flatten, Network, Neuron, NeuronView

numbers = st.floats(-1e6, 1e6)


def test_a_neuron_worked_out_by_hand() -> None:
    # z = 2000·0.001 + 30·(-0.05) + 0.5 = 2 - 1.5 + 0.5 = 1;  a = 1 / (1 + e^-1)
    neuron = Neuron([0.001, -0.05], bias=0.5, activation="sigmoid", names=["sqft", "age"])
    assert neuron.z([2000, 30]) == pytest.approx(1.0, abs=1e-15)
    assert neuron([2000, 30]) == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-15)
    found = neuron.explain([2000, 30])
    assert [(t.name, t.input, t.weight) for t in found.terms] == [("sqft", 2000.0, 0.001), ("age", 30.0, -0.05)]
    assert [t.product for t in found.terms] == [2.0, -1.5]
    assert (found.neuron, found.bias, found.activation) == ("neuron", 0.5, "sigmoid")
    assert found.z == neuron.z([2000, 30])
    assert found.activation_level == neuron([2000, 30])
    assert abs(found.gap) < 1e-15


def test_one_input_gives_a_number_and_a_batch_an_array() -> None:
    neuron = Neuron([1.0, 2.0], bias=-1.0, activation="relu")
    assert isinstance(neuron([1, 1]), float)
    assert isinstance(neuron.z([1, 1]), float)
    batch = np.array([[1, 1], [0, 0], [3, -1]])
    np.testing.assert_array_equal(neuron.z(batch), [2.0, -1.0, 0.0])
    np.testing.assert_array_equal(neuron(batch), [2.0, 0.0, 0.0])
    assert neuron(batch[:1]).shape == (1,)
    assert neuron(np.empty((0, 2))).shape == (0,)


def test_the_default_is_a_sigmoid_without_bias_and_numbered_inputs() -> None:
    neuron = Neuron([1.0, 1.0])
    assert neuron([0, 0]) == 0.5
    assert list(neuron.input_names) == ["x[0]", "x[1]"]
    assert repr(neuron) == "Neuron(2 inputs, bias 0, sigmoid)"


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(arrays(np.float64, n, elements=numbers),
                                                      arrays(np.float64, n, elements=numbers))), numbers)  # fmt: skip
def test_the_terms_add_up_to_z_but_for_the_gap(pair: tuple[np.ndarray, np.ndarray], bias: float) -> None:
    weights, x = pair
    found = Neuron(weights, bias, "tanh").explain(x)
    exact = math.fsum([*(float(w) * float(v) for w, v in zip(weights, x, strict=True)), bias])
    assert [t.product for t in found.terms] == [float(w) * float(v) for w, v in zip(weights, x, strict=True)]
    assert found.gap == found.z - exact
    # Rounding of a sum of n + 1 terms: at most n ulp of the sum of magnitudes.
    bound = (len(x) + 1) * 2**-52 * (math.fsum(abs(t.product) for t in found.terms) + abs(bias))
    assert abs(found.gap) <= bound


@given(arrays(np.float32, 40, elements=st.floats(-100, 100, width=32)))
def test_the_gap_of_a_float32_neuron_is_that_of_its_precision(x: np.ndarray) -> None:
    weights = np.random.default_rng(0).normal(size=40).astype(np.float32)
    neuron = Neuron(weights, 0.1, "identity", dtype="float32")
    found = neuron.explain(x)
    assert found.z == neuron.z(x)
    scale = sum(abs(t.product) for t in found.terms) + 1.0
    assert abs(found.gap) <= 41 * 2**-23 * scale


def test_the_gap_says_by_how_much_the_sum_was_rounded() -> None:
    # 10^8 + 1 is no float32: the neuron's own sum loses the 1.
    found = Neuron([1.0, 1.0], 0.0, "identity", dtype="float32").explain([1e8, 1.0])
    assert (found.z, found.gap) == (1e8, -1.0)
    assert "(the terms miss it by 1.0e+00)" in str(found)


def test_largest_sorts_by_magnitude_and_text_shows_ten_and_the_rest() -> None:
    weights = np.arange(1.0, 13.0) * np.where(np.arange(12) % 2, 1, -1)
    found = Neuron(weights, 0.25, "identity", names=[f"f{i}" for i in range(12)]).explain(np.ones(12))
    assert [t.name for t in found.largest(3)] == ["f11", "f10", "f9"]
    assert len(found.largest()) == 12
    text = str(found)
    assert text.splitlines()[0] == "neuron: z = Σ input × weight + bias, a = identity(z)"
    assert text.splitlines()[1].split() == ["f11", "1", "×", "12", "=", "+12"]
    assert "rest (2 terms)" in text
    assert "f0" not in text.split("rest")[0].split()
    rest = next(line for line in text.splitlines() if "rest" in line)
    assert float(rest.split("=")[1]) == 1.0  # -1 + 2
    assert "the terms miss it by" in text


def test_a_long_name_is_shortened_in_the_text_only() -> None:
    name = "n" * 50
    found = Neuron([1.0], names=[name]).explain([1.0])
    assert found.terms[0].name == name
    assert "n" * 31 + "…" in str(found)
    assert name not in str(found)


def test_weights_are_copied_and_can_be_changed_through_the_neuron() -> None:
    source = np.array([1.0, 2.0])
    neuron = Neuron(source, activation="identity")
    source[0] = 100
    assert neuron([1, 1]) == 3.0
    neuron.weights[1] = 5
    neuron.bias = 1
    assert neuron([1, 1]) == 7.0


@pytest.mark.parametrize("values", [[np.inf, 1.0], [np.nan, 1.0], [1e308, 1e308], [-np.inf, np.inf]])
def test_values_that_are_not_finite_are_explained_without_a_warning(values: list[float]) -> None:
    neuron = Neuron([2.0, 0.0], 1.0, "relu")
    found = neuron.explain(values)
    assert not math.isfinite(found.z) or found.z == 1.0
    assert len(found.terms) == 2
    str(found)


def test_float64_input_beyond_float32_becomes_infinite_without_a_warning() -> None:
    assert Neuron([1.0], 0.0, "identity", dtype="float32")([1e300]) == math.inf


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"weights": [[1.0, 2.0]]}, "Neuron: weights must be a vector of at least one number, got shape (1, 2)"),
        ({"weights": []}, "Neuron: weights must be a vector of at least one number, got shape (0,)"),
        ({"weights": 1.0}, "Neuron: weights must be a vector of at least one number, got shape ()"),
        ({"weights": ["a", "b"]}, "Neuron: weights and bias must be numbers:"),
        ({"weights": [[1.0], [1.0, 2.0]]}, "Neuron: weights and bias must be numbers:"),
        ({"weights": [1.0], "bias": "high"}, "Neuron: weights and bias must be numbers:"),
        ({"weights": [1.0], "bias": None}, "Neuron: weights and bias must be numbers:"),
        ({"weights": [1.0, math.nan]}, "Neuron: weights and bias must be finite, got nan"),
        ({"weights": [1.0], "bias": math.inf}, "Neuron: weights and bias must be finite, got inf"),
        ({"weights": [1.0, 2.0], "names": ["a"]}, "argument names: 2 weights need as many names, got 1"),
        ({"weights": [1.0, 2.0], "names": ["a", 3]}, "argument names: names must be text, got 3"),
        ({"weights": [1.0], "activation": "sigmod"}, "unknown activation 'sigmod'. Did you mean 'sigmoid'?"),
        ({"weights": [1.0], "activation": "softmax"}, "argument activation: softmax compares the neurons of a layer"),
        ({"weights": [1.0], "dtype": "int8"}, "argument dtype: dtype must be 'float32' or 'float64', got 'int8'"),
    ],
)
def test_a_neuron_that_cannot_be_is_refused(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Neuron(**arguments)  # type: ignore[arg-type]
    assert text in str(caught.value)


def test_softmax_is_refused_with_a_way_out() -> None:
    with pytest.raises(UsageError, match=r'use a layer, Dense\(10, "softmax"\)'):
        Neuron([1.0], activation="softmax")


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ([1.0], "neuron neuron: expected 2 inputs, shape (2,) or (batch, 2), got shape (1,)"),
        ([[1.0, 2.0, 3.0]], "expected 2 inputs, shape (2,) or (batch, 2), got shape (1, 3)"),
        (1.0, "got shape ()"),
        (np.zeros((2, 2, 2)), "got shape (2, 2, 2)"),
        (["a", "b"], "inputs must be numbers, got dtype <U1"),
        ([None, 1], "inputs must be numbers, got dtype object"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x: object, text: str) -> None:
    neuron = Neuron([1.0, 2.0])
    for method in (neuron, neuron.z, neuron.explain):
        with pytest.raises(UsageError) as caught:
            method(x)  # type: ignore[arg-type]
        assert text in str(caught.value)


def test_explain_takes_one_input_and_says_how() -> None:
    with pytest.raises(UsageError, match=r"explain takes one input of shape \(2,\), got \(3, 2\)") as caught:
        Neuron([1.0, 2.0]).explain(np.ones((3, 2)))
    assert "neuron.explain(x[0])" in str(caught.value)


# --- neurons of a network


def _network(output: str = "softmax") -> Network:
    network = Network.dense([4, 5, 3, 2], hidden="tanh", output=output, seed=4, dtype="float64")
    network.parameters[:] += np.random.default_rng(0).normal(scale=0.1, size=network.parameter_count)
    return network


def test_a_view_computes_what_the_network_computes() -> None:
    network, x = _network(), np.random.default_rng(1).normal(size=(6, 4))
    trace = network.trace(x)
    for position, layer in enumerate(network.layers):
        below = x if position == 0 else trace[position - 1].a
        for neuron in layer.neurons:
            np.testing.assert_allclose(neuron.z(below), trace[position].z[:, neuron.index], rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(neuron(below), trace[position].a[:, neuron.index], rtol=1e-12, atol=1e-14)
            assert neuron(below[0]) == pytest.approx(trace[position].a[0, neuron.index], rel=1e-12)
            found = neuron.explain(below[2])
            assert found.activation_level == pytest.approx(trace[position].a[2, neuron.index], rel=1e-12)
            assert found.z == pytest.approx(trace[position].z[2, neuron.index], abs=1e-12)


def test_a_softmax_view_is_one_number_of_the_networks_output() -> None:
    network = _network("softmax")
    x = np.ones((3, 4))
    hidden = network.trace(x)["hidden2"].a
    levels = np.stack([neuron(hidden) for neuron in network["output"].neurons], axis=1)
    np.testing.assert_allclose(levels, network.predict(x), rtol=1e-12)
    assert levels.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-12)


def test_a_view_sees_later_changes_and_changes_the_network() -> None:
    network = _network()
    neuron = network["hidden2"][1]
    network["hidden2"].W = np.full((3, 5), 2.0)
    network["hidden2"].b = [1.0, 2.0, 3.0]
    assert neuron.weights.tolist() == [2.0] * 5
    assert neuron.bias == 2.0
    neuron.weights[0] = 7
    neuron.bias = -1
    assert network["hidden2"].W[1, 0] == 7.0
    assert network.parameters[network.offset("hidden2") + 5] == 7.0
    assert network["hidden2"].b.tolist() == [1.0, -1.0, 3.0]
    network.parameters[:] = 0
    assert neuron.bias == 0.0


def test_every_way_to_a_neuron_leads_to_the_same() -> None:
    network = _network()
    ways = [network["hidden2"][2], network.layers[1].neurons[2], network["hidden2[2]"], network.neuron("hidden2[2]")]
    ways.append(network["hidden2"].neurons[-1])
    for neuron in ways:
        assert isinstance(neuron, NeuronView)
        assert (neuron.name, neuron.index, neuron.activation.name) == ("hidden2[2]", 2, "tanh")
        assert np.shares_memory(neuron.weights, network.parameters)
    assert "hidden2[2]" in repr(ways[0])


def test_neurons_are_a_sequence() -> None:
    neurons = _network()["hidden1"].neurons
    assert len(neurons) == 5
    assert [n.index for n in neurons] == [0, 1, 2, 3, 4]
    assert [n.name for n in neurons[1:3]] == ["hidden1[1]", "hidden1[2]"]
    assert [n.index for n in reversed(neurons)] == [4, 3, 2, 1, 0]
    assert [n.index for n in neurons[::-2]] == [4, 2, 0]
    assert neurons[np.int64(3)].index == 3
    assert repr(neurons) == "<5 neurons of hidden1>"


def test_terms_carry_the_names_of_what_feeds_the_neuron() -> None:
    network = Network.dense([2, 3, 1], seed=0, input_names=["sqft_living", "zipcode=98103"])
    assert [t.name for t in network["hidden1"][0].explain([1, 2]).terms] == ["sqft_living", "zipcode=98103"]
    assert [t.name for t in network["output"][0].explain([1, 2, 3]).terms] == ["hidden1[0]", "hidden1[1]", "hidden1[2]"]
    plain = Network.dense([2, 1], seed=0)
    assert [t.name for t in plain["output"][0].explain([1, 2]).terms] == ["input[0]", "input[1]"]


def test_names_pass_through_a_flatten() -> None:
    network = Network([Flatten(), Dense(2)], input_shape=(2, 2), input_names=["nw", "ne", "sw", "se"])
    assert [t.name for t in network["output"][0].explain(np.ones(4)).terms] == ["nw", "ne", "sw", "se"]


def test_a_neuron_that_does_not_exist_is_answered_with_those_that_do() -> None:
    network = _network()
    with pytest.raises(NotFoundError, match="layer hidden2 has 3 neurons, 0 to 2, got 3"):
        network["hidden2[3]"]
    with pytest.raises(IndexError, match="layer hidden2 has 3 neurons, 0 to 2, got 17"):
        network["hidden2"][17]
    with pytest.raises(IndexError, match="0 to 2, got -4"):
        network["hidden2"].neurons[-4]
    with pytest.raises(NotFoundError) as caught:
        network["hiden2"]
    assert "there is no layer 'hiden2'. Did you mean 'hidden2'?" in str(caught.value)
    assert "the layers are hidden1, hidden2, output" in str(caught.value)
    with pytest.raises(NotFoundError, match="there is no layer 'hidden9'"):
        network["hidden9[0]"]
    with pytest.raises(NotFoundError, match="'hidden1' is a layer, not a neuron"):
        network.neuron("hidden1")
    with pytest.raises(NotFoundError, match=r"the layer 'flatten1' \(Flatten\) has no neurons of its own"):
        Network([Flatten(), Dense(1)], input_shape=(2, 2))["flatten1"][0]


@pytest.mark.parametrize("key", [0, None, ("hidden1", 0), "hidden1[-1]", "hidden1[]", "hidden1[1", ""])
def test_a_key_that_names_nothing_is_not_found(key: object) -> None:
    with pytest.raises(NotFoundError, match="there is no layer"):
        _network()[key]  # type: ignore[index]
