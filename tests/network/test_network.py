"""Network: building, asking, predicting, copying."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network import ACTIVATIONS, Activation, Dense, Flatten, Network


def test_the_network_of_the_book_has_13002_parameters() -> None:
    network = Network.dense([784, 16, 16, 10], hidden="relu", output="softmax")
    assert network.parameter_count == 13002
    assert network.parameters.shape == (13002,)
    assert network.parameters.dtype == np.float32
    assert network.output_size == 10
    assert [layer.name for layer in network.layers] == ["hidden1", "hidden2", "output"]
    assert [layer.activation.name for layer in network.layers] == ["relu", "relu", "softmax"]
    assert repr(network) == "<Network 784-16-16-10, 13,002 parameters, float32>"


def test_names_count_each_kind_and_end_in_output() -> None:
    network = Network([Flatten(), Dense(4), Dense(3, name="middle"), Dense(3), Dense(2)], input_shape=(2, 2))
    assert [layer.name for layer in network.layers] == ["flatten1", "hidden1", "middle", "hidden3", "output"]
    assert network.offset("middle") == 4 * 4 + 4
    assert network.offset("flatten1") == 0
    assert [layer.name for layer in Network([Dense(2)], input_shape=3).layers] == ["output"]


def test_a_shape_is_a_number_or_several() -> None:
    for shape in (4, (4,), [4], np.int64(4), np.array([4])):
        assert Network([Dense(2)], input_shape=shape).input_shape == (4,)
    assert Network([Flatten(), Dense(2)], input_shape=(2, 3, 4)).layers[1].W.shape == (2, 24)


def _slow_predict(network: Network, x: np.ndarray) -> np.ndarray:
    """One neuron after the other."""
    level = x.reshape(len(x), network.layers[0].W.shape[1]).astype(np.float64)
    for layer in network.layers:
        if isinstance(layer, Dense):
            z = np.empty((len(x), layer.units))
            for i in range(layer.units):
                z[:, i] = (level * layer.W[i].astype(np.float64)).sum(axis=1) + float(layer.b[i])
            level = layer.activation(z)
    return level


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    hidden=st.sampled_from(sorted(ACTIVATIONS)),
    output=st.sampled_from(sorted(ACTIVATIONS)),
    rows=st.integers(0, 7),
    seed=st.integers(0, 99),
)
def test_predict_is_neuron_after_neuron(sizes: list[int], hidden: str, output: str, rows: int, seed: int) -> None:
    network = Network.dense(sizes, hidden=hidden, output=output, seed=seed, dtype="float64")
    x = np.random.default_rng(seed).normal(size=(rows, sizes[0]))
    y_hat = network.predict(x)
    assert y_hat.shape == (rows, sizes[-1])
    np.testing.assert_allclose(y_hat, _slow_predict(network, x), rtol=1e-11, atol=1e-13)
    trace = network.trace(x)
    np.testing.assert_array_equal(trace.y_hat, y_hat)
    for position, layer in enumerate(trace):
        np.testing.assert_array_equal(layer.x, x if position == 0 else trace[position - 1].a)
        np.testing.assert_allclose(layer.a, network.layers[position].activation(layer.z), rtol=1e-13)


def test_predict_in_chunks_is_predict_at_once() -> None:
    network = Network.dense([5, 7, 3], output="softmax", seed=1)
    x = np.random.default_rng(0).normal(size=(2 * 2048 + 17, 5)).astype(np.float32)
    y_hat = network.predict(x)
    np.testing.assert_allclose(y_hat, network.trace(x).y_hat, rtol=1e-5, atol=1e-6)
    for row in (0, 2047, 2048, 4095, 4096, 4112):
        np.testing.assert_allclose(y_hat[row], network.predict(x[row])[0], rtol=1e-5, atol=1e-6)


def test_predict_returns_an_array_of_its_own() -> None:
    network = Network.dense([2, 2], seed=0)
    first = network.predict([[1, 2]])
    kept = first.copy()
    network.predict([[5, 6]])
    np.testing.assert_array_equal(first, kept)
    x = np.ones((3, 2), dtype=np.float32)
    before = network.trace(x)
    network.trace(x * 2)
    np.testing.assert_array_equal(before["output"].x, x)


@pytest.mark.parametrize(
    "kind", ["float64", "float16", "uint8", "int64", "bool", "strided", "fortran", "list", "big-endian"]
)
def test_inputs_of_any_kind_and_layout_count_the_same(kind: str) -> None:
    network = Network.dense([4, 6, 2], seed=3)
    whole = np.random.default_rng(0).integers(0, 2, (5, 4))
    x: object = {
        "strided": lambda: np.repeat(whole.astype(np.float32), 2, axis=1)[:, ::2],
        "fortran": lambda: np.asfortranarray(whole.astype(np.float32)),
        "list": lambda: whole.tolist(),
        "big-endian": lambda: whole.astype(">f4"),
    }.get(kind, lambda: whole.astype(kind))()
    expected = network.predict(whole.astype(np.float32))
    np.testing.assert_array_equal(network.predict(x), expected)  # type: ignore[arg-type]
    np.testing.assert_array_equal(network.trace(x).y_hat, expected)  # type: ignore[arg-type]
    np.testing.assert_array_equal(network(x), expected)  # type: ignore[operator]
    assert network.predict(x).dtype == np.float32  # type: ignore[arg-type]


def test_one_input_is_a_batch_of_one_and_rows_may_lie_flat() -> None:
    network = Network([Flatten(), Dense(3)], input_shape=(2, 4), seed=0)
    x = np.arange(8.0)
    for shape in ((2, 4), (8,), (1, 8), (1, 2, 4)):
        np.testing.assert_array_equal(network.predict(x.reshape(shape)), network.predict(x.reshape(1, 2, 4)))
    # The last axis runs fastest.
    np.testing.assert_array_equal(network.trace(x.reshape(2, 4))["flatten1"].a[0], x)


def test_no_rows_give_no_answers() -> None:
    network = Network([Flatten(), Dense(3)], input_shape=(2, 4), seed=0)
    assert network.predict(np.empty((0, 2, 4))).shape == (0, 3)
    assert network.trace(np.empty((0, 8)))["flatten1"].a.shape == (0, 8)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.zeros((3, 5)), "expected inputs of shape (batch, 4), got (3, 5)"),
        (np.zeros(5), "got (5,)"),
        (1.0, "got ()"),
        (np.zeros((2, 2, 2)), "got (2, 2, 2)"),
        (np.zeros((4, 0)), "got (4, 0)"),
        ([["a", "b", "c", "d"]], "inputs must be numbers, got dtype <U1"),
        ([[None, 1, 2, 3]], "inputs must be numbers, got dtype object"),
        (np.zeros((1, 4), dtype=complex), "inputs must be numbers, got dtype complex128"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x: object, text: str) -> None:
    network = Network.dense([4, 2])
    for method in (network.predict, network.trace):
        with pytest.raises(UsageError) as caught:
            method(x)  # type: ignore[arg-type]
        assert text in str(caught.value)
        assert "argument x" in str(caught.value)


def test_nan_and_infinity_flow_through_without_a_warning() -> None:
    network = Network.dense([2, 3, 2], seed=0)
    x = np.array([[np.nan, 0], [np.inf, 1], [1e300, 0], [0, 0]])
    for y_hat in (network.predict(x), network.trace(x).y_hat):
        assert not np.isfinite(y_hat[:3]).all(axis=1).any()
        assert np.isfinite(y_hat[3]).all()


def test_a_trace_is_asked_by_name_or_place() -> None:
    trace = Network.dense([2, 3, 2], seed=0).trace(np.zeros((4, 2)))
    assert trace["output"] is trace[-1] is trace.layers[1]
    assert len(trace) == 2
    assert trace["hidden1"].z.shape == (4, 3)
    assert repr(trace) == "<trace of 4 inputs through hidden1, output>"
    with pytest.raises(NotFoundError, match=r"there is no layer 'ouput'\. Did you mean 'output'\?"):
        trace["ouput"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"layers": []}, "argument layers: a network needs at least one layer, got []"),
        ({"layers": [3]}, "a network needs at least one layer, got [3]"),
        ({"seed": -1}, "argument seed: the seed must be a whole number from 0, got -1"),
        ({"seed": 1.0}, "the seed must be a whole number from 0, got 1.0"),
        ({"seed": True}, "the seed must be a whole number from 0, got True"),
        ({"seed": None}, "the seed must be a whole number from 0, got None"),
        ({"dtype": "float16"}, "argument dtype: dtype must be 'float32' or 'float64', got 'float16'"),
        ({"dtype": None}, "dtype must be 'float32' or 'float64', got None"),
        ({"input_shape": 0}, "argument input_shape: the shape of an input is made of whole numbers from 1, got 0"),
        ({"input_shape": ()}, "whole numbers from 1, got ()"),
        ({"input_shape": (2, -1)}, "whole numbers from 1, got (2, -1)"),
        ({"input_shape": "784"}, "whole numbers from 1, got '784'"),
        ({"input_shape": 2.5}, "whole numbers from 1, got 2.5"),
        ({"input_shape": None}, "whole numbers from 1, got None"),
        ({"input_shape": True}, "whole numbers from 1, got True"),
        ({"input_shape": (1,) * 65}, "an input has at most 32 axes, got 65"),
        ({"input_names": ["a"]}, "argument input_names: expected 3 names, got 1"),
        ({"input_names": ["a", "b", 3]}, "argument input_names: names must be text, got 3"),
        ({"input_names": 5}, "argument input_names: expected 3 names, got 5"),
        ({"input_names": "abc"}, "argument input_names: expected 3 names, got 'abc'"),
        ({"class_names": ["a", "b", "c"]}, "argument class_names: expected 2 names, got 3"),
    ],
)
def test_a_network_that_cannot_be_is_refused(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Network(**({"layers": [Dense(2)], "input_shape": 3} | arguments))  # type: ignore[arg-type]
    assert text in str(caught.value)


@pytest.mark.parametrize("name", ["input", "a b", "a/b", "a[0]", "x" * 101, "a\tb", "a\x01", "a\u202eb", "\ud800"])
def test_a_layer_name_that_would_confuse_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Network([Dense(2, name=name)], input_shape=3)
    assert "cannot be used" in str(caught.value)
    assert "layer 0: the layer name" in str(caught.value)
    assert "no space, bracket or slash" in str(caught.value)
    str(caught.value).encode()  # can be printed


def test_a_layer_name_used_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="layer 1: the layer name 'a' is used twice"):
        Network([Dense(2, name="a"), Dense(2, name="a")], input_shape=3)


def test_names_of_any_language_are_fine() -> None:
    assert Network([Dense(2, name="couche-cachée_1.β")], input_shape=3).layers[0].name == "couche-cachée_1.β"


@pytest.mark.parametrize("sizes", [[], [784]])
def test_dense_needs_two_sizes(sizes: list[int]) -> None:
    with pytest.raises(UsageError, match=r"at least two sizes are needed, inputs and outputs, got \[") as caught:
        Network.dense(sizes)
    assert "Network.dense([784, 16, 16, 10])" in str(caught.value)


def test_dense_passes_its_options_on() -> None:
    network = Network.dense([2, 3, 2], "tanh", "sigmoid", seed=5, dtype="float64", initializer="zeros",
                            input_names=["a", "b"], class_names=["c", "d"])  # fmt: skip
    assert (network.seed, str(network.dtype), network.input_names, network.class_names) == (
        5, "float64", ["a", "b"], ["c", "d"],
    )  # fmt: skip
    assert not network.parameters.any()
    assert [layer.activation.name for layer in network.layers] == ["tanh", "sigmoid"]


def _equal(one: Network, other: Network) -> None:
    assert one.to_dict() == other.to_dict()
    np.testing.assert_array_equal(one.parameters, other.parameters)
    x = np.random.default_rng(0).normal(size=(3, *one.input_shape))
    np.testing.assert_array_equal(one.predict(x), other.predict(x))


def _pickled(network: Network) -> Network:
    return pickle.loads(pickle.dumps(network))


@pytest.mark.parametrize("duplicate", [Network.copy, copy.deepcopy, copy.copy, _pickled])
def test_a_copy_is_equal_and_independent(duplicate: object) -> None:
    network = Network([Flatten(), Dense(4, "elu", name="mine"), Dense(2, "softmax", initializer="lecun")],
                      input_shape=(2, 2), seed=9, dtype="float64", class_names=["no", "yes"])  # fmt: skip
    network.parameters[:] += 1
    other = duplicate(network)  # type: ignore[operator]
    _equal(network, other)
    before = network.parameters.copy()
    other.parameters[:] = 7
    # The weights of the copy's layers are views of its own buffer, or learning would change nothing.
    assert (other["mine"].W == 7).all()
    assert np.shares_memory(other["mine"].W, other.parameters)
    np.testing.assert_array_equal(network.parameters, before)


def test_a_copy_keeps_an_activation_of_the_users_own() -> None:
    class Square(Activation):
        name, formula, derivative_formula, value_range, use, weakness = "square", "z²", "2z", "[0, inf)", "", ""

        def forward(self, z: np.ndarray, a: np.ndarray) -> None:
            np.multiply(z, z, out=a)

        def backward(self, delta: np.ndarray, z: np.ndarray, a: np.ndarray, scratch: np.ndarray) -> None:
            delta *= 2 * z

    network = Network([Dense(3, Square()), Dense(1, "identity")], input_shape=2, seed=1)
    other = network.copy()
    x = np.array([[1.0, 2.0]])
    np.testing.assert_array_equal(other.predict(x), network.predict(x))
    assert other.layers[0].activation is network.layers[0].activation


def test_the_seed_does_not_touch_the_global_random_state() -> None:
    before = np.random.get_state()[1].copy()
    Network.dense([50, 20, 3], seed=1).predict(np.zeros((2, 50)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_views_lay_any_flat_array_out_as_the_parameters() -> None:
    network = Network.dense([2, 3, 1])
    flat = np.arange(network.parameter_count)
    views = network.views(flat)
    np.testing.assert_array_equal(views[0]["W"], [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(views[0]["b"], [6, 7, 8])
    np.testing.assert_array_equal(views[1]["W"], [[9, 10, 11]])
    np.testing.assert_array_equal(views[1]["b"], [12])
    assert all(np.shares_memory(view, flat) for layer in views for view in layer.values())
