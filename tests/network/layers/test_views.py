"""The filters of a convolution as neurons, and a filter at one place: views that see what the trace sees."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.network import Channel, Conv2D, Dense, Flatten, MaxPool2D, Network, PlacedNeuron

FORMATS = ["channels_last", "channels_first"]


def _one(shape: tuple[int, ...], data_format: str = "channels_last", **options: Any) -> Network:
    layer = Conv2D(3, options.pop("kernel_size"), data_format=data_format, name="c", **options)
    network = Network([layer], input_shape=shape, dtype="float64")
    network.parameters[:] = np.random.default_rng(2).normal(size=network.parameter_count)
    return network


def _channels_second(x: NDArray, data_format: str) -> NDArray:
    return x if data_format == "channels_first" else np.moveaxis(x, -1, 1)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"padding": "same", "stride": 2}])
def test_a_neuron_at_a_place_is_the_z_and_a_of_the_trace(data_format: str, options: dict[str, Any]) -> None:
    network = _one(
        (6, 5, 2) if data_format == "channels_last" else (2, 6, 5),
        data_format,
        kernel_size=(3, 2),
        activation="tanh",
        **options,
    )
    layer = network["c"]
    x = np.random.default_rng(12).normal(size=(4, *network.input_shape))
    trace = network.trace(x)["c"]
    z, a = _channels_second(trace.z, data_format), _channels_second(trace.a, data_format)
    for f, r, q in np.ndindex(z.shape[1:]):
        neuron = network[f"c[{f}] @ ({r}, {q})"]
        np.testing.assert_allclose(neuron.z(x), z[:, f, r, q], atol=1e-13)
        np.testing.assert_allclose(neuron(x), a[:, f, r, q], atol=1e-13)
        told = neuron.explain(x[1])
        assert told.neuron == neuron.name == f"c[{f}] @ ({r}, {q})"
        assert sum(term.product for term in told.terms) + told.bias == pytest.approx(z[1, f, r, q], abs=1e-12)
        assert told.activation_level == pytest.approx(a[1, f, r, q], abs=1e-12)
        assert len(neuron.weights) == len(neuron.input_names) == len(told.terms)
    for f in range(3):
        np.testing.assert_allclose(layer[f].z(x), z[:, f], atol=1e-13)
        np.testing.assert_allclose(layer[f](x[2]), a[2, f], atol=1e-13)


def test_padding_is_no_input_of_a_neuron() -> None:
    network = _one((4, 4), kernel_size=3, padding=1)
    corner, middle = network["c[0] @ (0, 0)"], network["c[0] @ (1, 2)"]
    assert corner.input_names == ["input[0]", "input[1]", "input[4]", "input[5]"]
    np.testing.assert_array_equal(corner.weights, network["c"].W[0, 0, 1:, 1:].ravel())
    assert middle.input_names == [f"input[{i}]" for i in (1, 2, 3, 5, 6, 7, 9, 10, 11)]


def test_the_inputs_of_a_place_are_named_by_the_layer_below() -> None:
    network = Network([MaxPool2D(2), Conv2D(2, 2), Flatten(), Dense(1)], input_shape=(6, 6, 2))
    names = network["conv1[1] @ (1, 0)"].input_names
    assert names == [f"pool1[{c}] @ ({r}, {q})" for c, r, q in np.ndindex(2, 3, 2) if r >= 1]
    assert list(network["output"].input_names[:3]) == ["conv1[0] @ (0, 0)", "conv1[1] @ (0, 0)", "conv1[0] @ (0, 1)"]


def test_a_filter_is_a_view_of_the_layer() -> None:
    network = _one((5, 5, 3), kernel_size=2)
    channel = network["c[2]"]
    assert isinstance(channel, Channel)
    assert network.neuron("c[2]").name == channel.name == "c[2]"
    assert channel.weights.shape == (3, 2, 2)
    channel.weights[1, 0, 1] = 7
    channel.bias = 3
    assert network["c"].W[2, 1, 0, 1] == 7
    assert (network["c"].b[2], channel.bias) == (3.0, 3.0)
    assert channel.activation.name == "relu"
    assert [one.name for one in network["c"].neurons] == ["c[0]", "c[1]", "c[2]"]
    assert network["c"][-1].name == "c[2]"
    assert repr(channel) == "<neuron c[2]: 2 × 2 pixels of 3 channels, bias 3, relu>"
    assert channel.input_names[:3] == ["patch[0] @ (0, 0)", "patch[0] @ (0, 1)", "patch[0] @ (1, 0)"]
    place = channel.at(3, 1)
    assert isinstance(place, PlacedNeuron)
    place.bias = 4
    assert network["c"].b[2] == 4
    assert repr(place) == "<neuron c[2] @ (3, 1): 12 inputs, bias 4, relu>"


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        ("c[3]", "layer c has 3 neurons, 0 to 2, got 3"),
        ("c[0] @ (4, 0)", "there is no place (4, 0): c has 4 × 4 places, (0, 0) to (3, 3)"),
        ("c[3] @ (0, 0)", "layer c has 3 neurons"),
        ("output[0] @ (0, 0)", "'output[0]' is no filter of a convolution, so it has no places"),
        ("flatten1[0] @ (0, 0)", "has no neurons of its own"),
        ("c[0] @ (0)", "there is no layer"),
    ],
)
def test_what_is_not_there_is_said(ask: str, text: str) -> None:
    network = Network([Conv2D(3, 2, name="c"), Flatten(), Dense(2)], input_shape=(5, 5))
    with pytest.raises(NotFoundError, match=re.escape(text)):
        network[ask]


def test_a_place_must_be_whole_numbers() -> None:
    channel = _one((5, 5), kernel_size=2)["c"][0]
    for place in [(-1, 0), (0, 4), (0.5, 0)]:
        with pytest.raises(NotFoundError, match="there is no place"):
            channel.at(*place)


def test_a_filter_has_no_single_sum_to_explain() -> None:
    network = _one((5, 5), kernel_size=2)
    with pytest.raises(UsageError, match=r'network\["c\[0\]"\]\.at\(0, 0\)\.explain\(x\)'):
        network["c[0]"].explain(np.zeros((5, 5)))


def test_a_neuron_takes_the_input_of_its_layer() -> None:
    network = _one((5, 4, 2), kernel_size=2)
    for neuron in (network["c[0]"], network["c[0] @ (0, 0)"]):
        for wrong in (np.zeros((4, 5, 2)), np.zeros(8), np.zeros((2, 3, 5, 4, 2))):
            with pytest.raises(UsageError, match=r"shape \(5, 4, 2\) or \(batch, 5, 4, 2\), got shape"):
                neuron(wrong)
        with pytest.raises(UsageError, match="inputs must be numbers"):
            neuron(np.full((5, 4, 2), "a"))
    with pytest.raises(UsageError, match="explain takes one input"):
        network["c[0] @ (0, 0)"].explain(np.zeros((3, 5, 4, 2)))
