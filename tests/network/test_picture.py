"""The picture of a network."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.network import Dense, Flatten, Network

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
