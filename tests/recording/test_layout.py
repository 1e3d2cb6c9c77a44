from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.network import Network
from neuronwise.recording import Layout, Place
from neuronwise.recording.layout import LayerLayout

from .helpers import all_layers, plain


@pytest.mark.parametrize("make", [plain, all_layers, lambda: Network.dense([3, 1])])
def test_places_are_those_of_the_network(make: Any) -> None:
    network = make()
    layout = Layout.of(network, ["m", "v"])
    assert (layout.parameter_count, layout.buffer_count) == (network.parameter_count, network.buffer_count)
    for layer in network.layers:
        found = layout.layer(layer.name)
        for places, arrays, flat in (
            (found.parameters, layer.parameters, network.parameters),
            (found.buffers, layer.buffers, network.buffers),
        ):
            assert list(places) == list(arrays)
            for key, place in places.items():
                assert np.shares_memory(place.of(flat), arrays[key])
                np.testing.assert_array_equal(place.of(flat), arrays[key])
    again = Layout.from_dict(json.loads(json.dumps(layout.to_dict())), "here")
    assert again.to_dict() == layout.to_dict()
    assert again.layers == layout.layers


def test_the_weights_of_a_neuron_are_its_row() -> None:
    network = all_layers()
    layout = Layout.of(network)
    for name in ("conv1", "norm1", "output"):
        layer = layout.layer(name)
        assert layer.weights is not None
        W = next(one for one in network.layers if one.name == name).parameters[layer.weights]
        for neuron in range(layer.neurons):
            np.testing.assert_array_equal(layout.weights_of(layer, neuron).of(network.parameters), W[neuron].ravel())
            assert layout.bias_of(layer, neuron).size == 1


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("hidden1[3]", ("hidden1", 3, None, None)),
        ("hidden1[3].bias", ("hidden1", 3, "bias", None)),
        ("hidden1[3].weights[sqft]", ("hidden1", 3, "weights", "sqft")),
        ("output[1].weights[hidden1[2]]", ("output", 1, "weights", "hidden1[2]")),
        ("hidden1[3].weights[a]b]", ("hidden1", 3, "weights", "a]b")),
    ],
)
def test_names_of_neurons(name: str, parts: tuple[Any, ...]) -> None:
    layer, *rest = Layout.of(all_layers()).neuron(name)
    assert (layer.name, *rest) == parts


def test_what_there_is_not_is_said() -> None:
    layout = Layout.of(all_layers())
    with pytest.raises(NotFoundError, match=r"no layer 'hiden1'\. Did you mean"):
        layout.neuron("hiden1[0]")
    with pytest.raises(NotFoundError, match="has no neurons of its own\nlayers with neurons are conv1"):
        layout.neuron("flatten1[0]")
    with pytest.raises(NotFoundError, match="'hidden1' has the neurons 0 to 4, got 5"):
        layout.neuron("hidden1[5]")
    with pytest.raises(NotFoundError, match="has no weights"):
        layout.weights_of(layout.layer("flatten1"), 0)
    with pytest.raises(NotFoundError, match="has no biases"):
        layout.bias_of(layout.layer("flatten1"), 0)


@pytest.mark.parametrize("content", [None, 7, [], {}, {"dtype": "float32"}, {"dtype": "float32", "layers": 7}], ids=str)
def test_what_is_no_layout_is_refused(content: Any) -> None:
    with pytest.raises(FormatError, match="there"):
        Layout.from_dict(content, "there")


def _sampled(every: int = 4, neurons: int = 3, rows: int = 10) -> dict[str, Any]:
    layer = LayerLayout("words", "Embedding", {"weight": Place(0, (rows, 2))}, {}, neurons, 0, None, every)
    return Layout([layer], np.dtype("float32")).to_dict()


def test_where_not_every_row_is_measured() -> None:
    layout = Layout.from_dict(json.loads(json.dumps(_sampled())), "here")
    layer = layout.layer("words")
    assert list(layer.rows) == [0, 4, 8]
    assert [layer.place_of(row) for row in layer.rows] == [0, 1, 2]
    assert layout.neuron("words[9]")[1] == 9
    assert layout.weights_of(layer, 9) == Place(18, (2,))
    with pytest.raises(NotFoundError, match=r"words\[9\] is not measured"):
        layer.place_of(9)
    with pytest.raises(NotFoundError, match="the neurons 0 to 9, got 10"):
        layout.neuron("words[10]")


@pytest.mark.parametrize("given", [{"every": 0}, {"every": 3}, {"every": 5}, {"neurons": 2}, {"rows": 13}], ids=str)
def test_rows_that_do_not_go_with_the_weights_are_refused(given: dict[str, int]) -> None:
    content = _sampled(**given)
    content["layers"][0]["every"] = given.get("every", 4)
    with pytest.raises(FormatError, match="there"):
        Layout.from_dict(content, "there")


def test_a_place_of_nothing_is_empty() -> None:
    assert Place(3, (0, 4)).of(np.arange(5.0)).shape == (0, 4)
