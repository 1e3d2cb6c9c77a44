"""The picture of a network."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.network import (
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Network,
)

SVG = "{http://www.w3.org/2000/svg}"


def _parts(svg: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(SVG + tag))


def test_small_layers_are_drawn_whole() -> None:
    svg = Network.dense([3, 4, 2], seed=0).to_svg()
    assert len(_parts(svg, "circle")) == 3 + 4 + 2
    assert len(_parts(svg, "line")) == 3 * 4 + 4 * 2
    titles = [title.text for title in _parts(svg, "title")]
    assert titles[0] == "Network 3-4-2 with 26 weights and biases"
    assert "hidden1[3]" in titles
    assert "input[2]" in titles


def test_large_layers_show_a_gap_and_their_true_number() -> None:
    svg = Network.dense([784, 16, 10], seed=0).to_svg()
    texts = [text.text for text in _parts(svg, "text")]
    assert texts.count("⋮") == 1
    assert "784 inputs" in texts
    assert "16 relu" in texts
    assert "input[783]" in [title.text for title in _parts(svg, "title")]
    assert len(svg) < 150_000


def test_links_are_coloured_by_sign_and_sized_by_weight() -> None:
    network = Network.dense([2, 1])
    network["output"].W = [[1.0, -2.0]]
    lines = _parts(network.to_svg(), "line")
    by_colour = {line.get("stroke"): float(line.get("stroke-width", 0)) for line in lines}
    assert by_colour["#d9731a"] > by_colour["#2a74b8"]  # orange is negative, and here the stronger


@pytest.mark.parametrize("name", ["<script>alert(1)</script>".replace("/", "|"), "&amp;\"'", "]]>".replace("]", "}")])
def test_hostile_names_are_escaped(name: str) -> None:
    network = Network([Dense(20, name=name), Dense(2)], input_shape=3)
    svg = network.to_svg()
    assert "<script" not in svg
    assert f"{name}[19]" in [title.text for title in _parts(svg, "title")]
    html = network._repr_html_()
    ElementTree.fromstring(html)
    assert "<script" not in html


def test_a_notebook_shows_picture_and_table() -> None:
    root = ElementTree.fromstring(Network.dense([3, 4, 2])._repr_html_())
    assert [child.tag for child in root] == [SVG + "svg", "table"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_have_their_own_mark(bad: float) -> None:
    network = Network.dense([2, 2], seed=0)
    network["output"].W[0, 1] = bad
    svg = network.to_svg()
    marked = [line for line in _parts(svg, "line") if line.get("stroke-dasharray")]
    assert len(marked) == 1
    assert "nan" not in svg.lower().replace("nan or infinite", "")
    assert "inf" not in svg.lower().replace("nan or infinite", "")
    assert "1 weight NaN or infinite" in [text.text for text in _parts(svg, "text")]


@pytest.mark.parametrize("sizes", [[1, 1], [17, 17, 17], [1000, 1], [2] * 12])
@pytest.mark.parametrize("max_neurons", [2, 3, 16])
def test_every_shape_can_be_drawn(sizes: list[int], max_neurons: int) -> None:
    network = Network.dense(sizes, seed=0)
    svg = network.to_svg(max_neurons=max_neurons)
    assert len(_parts(svg, "circle")) == sum(min(n, max_neurons) for n in sizes)
    for circle in _parts(svg, "circle"):
        assert 0 <= float(circle.get("cx", -1)) <= 720
        assert 0 <= float(circle.get("cy", -1)) <= 380


@pytest.mark.parametrize("max_neurons", [0, 1, -3])
def test_fewer_than_two_neurons_per_layer_are_refused(max_neurons: int) -> None:
    with pytest.raises(UsageError, match=f"expected a whole number from 2, got {max_neurons}"):
        Network.dense([5, 5]).to_svg(max_neurons=max_neurons)


def test_flatten_is_no_column() -> None:
    svg = Network([Flatten(), Dense(2)], input_shape=(2, 2)).to_svg()
    assert len(_parts(svg, "circle")) == 4 + 2
    assert "flatten1" not in svg


def _squares(svg: str) -> list[ElementTree.Element]:
    return [rect for rect in _parts(svg, "rect") if rect.get("stroke")]


def test_channels_of_pictures_are_squares_with_their_number_and_size() -> None:
    network = Network(
        [Conv2D(8, 5), MaxPool2D(2), Conv2D(32, 5), MaxPool2D(2), Flatten(), Dense(10, "softmax")], input_shape=(28, 28)
    )
    svg = network.to_svg()
    assert len(_squares(svg)) == 1 + 8 + 16
    assert len(_parts(svg, "circle")) == 10
    texts = [text.text for text in _parts(svg, "text")]
    assert {"28×28 inputs", "8 of 24×24 relu", "32 of 8×8 relu", "10 softmax", "pool1", "pool2"} <= set(texts)
    assert texts.count("⋮") == 1
    titles = [title.text for title in _parts(svg, "title")]
    assert titles[0] == f"Network 28×28-24×24×8-8×8×32-10 with {network.parameter_count:,} weights and biases"
    assert {"input[0]", "conv1[7]", "conv2[31]", "output[9]"} <= set(titles)
    for rect in _squares(svg):
        assert 0 <= float(rect.get("x", -1)) < float(rect.get("x", -1)) + float(rect.get("width", 0)) <= 720


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_link_from_a_channel_stands_for_all_its_weights(data_format: str) -> None:
    shape = (3, 3, 2) if data_format == "channels_last" else (2, 3, 3)
    layers: list[Layer] = [Conv2D(2, 2, data_format=data_format), BatchNorm(data_format=data_format), Flatten()]
    network = Network([*layers, Dropout(), Dense(1)], input_shape=shape)
    network["conv1"].W, network["output"].W = np.zeros((2, 2, 2, 2)), np.zeros((1, 8))
    network["conv1"].W[0, 1] = [[3.0, 3.0], [-4.0, -4.0]]  # norm √50, sum negative
    network["conv1"].W[1, 0, 0, 0] = 10.0
    weights = network["output"].W.reshape(network["conv1"].output_shape)
    (weights[..., 1] if data_format == "channels_last" else weights[1])[...] = 0.5
    lines = [line.attrib for line in _parts(network.to_svg(), "line")]
    assert len(lines) == 2 * 2 + 2
    widths = {(line["stroke"], line["stroke-width"]) for line in lines}
    assert widths == {("#2a74b8", "0.30"), ("#2a74b8", "2.50"), ("#d9731a", f"{0.3 + 2.2 * 0.5**0.5:.2f}")}
    strong = [line for line in lines if line["stroke-width"] == "2.50"]
    squares = {
        title.text: float(rect.get("y", 0)) + float(rect.get("height", 0)) / 2
        for rect in _squares(network.to_svg())
        for title in rect
    }
    assert [float(line["y2"]) for line in strong[:1]] == [pytest.approx(squares["conv1[1]"], abs=0.11)]
    assert [float(line["y1"]) for line in strong[1:]] == [pytest.approx(squares["conv1[1]"], abs=0.11)]


def test_a_kernel_that_is_not_finite_has_its_own_mark() -> None:
    network = Network([Conv2D(2, 2), Flatten(), Dense(1)], input_shape=(3, 3))
    network["conv1"].W[1, 0, 0, 1] = np.nan
    svg = network.to_svg()
    assert len([line for line in _parts(svg, "line") if line.get("stroke-dasharray")]) == 1
    assert "1 weight NaN or infinite" in [text.text for text in _parts(svg, "text")]


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([Flatten()], (2, 2)),
        ([BatchNorm(), Dense(2)], 3),
        ([Dense(3), BatchNorm(), Dropout(), ActivationLayer("tanh"), Dense(2), Dropout()], 3),
        ([MaxPool2D(), Flatten(), Dense(3)], (4, 4)),
        ([MaxPool2D(data_format="channels_first"), Flatten(), Dense(3)], (3, 4, 4)),
        ([BatchNorm(), Flatten(), Dense(2)], (3, 3, 2)),
        ([BatchNorm(), Conv2D(2, 2), ActivationLayer("tanh"), AveragePool2D(), Flatten(), Dense(2)], (3, 3, 1)),
        ([Conv2D(2, 2)], (3, 3)),
    ],
)
def test_networks_of_any_layers_can_be_drawn_and_tabled(layers: list[Layer], shape: int | tuple[int, ...]) -> None:
    network = Network([layer.unbuilt() for layer in layers], input_shape=shape)
    ElementTree.fromstring(network._repr_html_())
    assert all(layer.name in str(network.summary()) for layer in network.layers)
