"""The table of a network."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from neuronwise.network import Dense, Flatten, Network


def test_the_table_of_784_16_16_10() -> None:
    summary = Network.dense([784, 16, 16, 10], output="softmax").summary()
    assert [row.layer for row in summary.rows] == ["input", "hidden1", "hidden2", "output"]
    assert [row.formula for row in summary.rows] == ["", "16 × 784 + 16", "16 × 16 + 16", "10 × 16 + 10"]
    assert [row.parameters for row in summary.rows] == [0, 12560, 272, 170]
    assert [row.neurons for row in summary.rows] == [784, 16, 16, 10]
    assert summary.rows[1].algebra == "a = relu(W x + b), W 16 × 784, x 784, b 16"
    assert summary.parameter_count == 13002
    lines = str(summary).splitlines()
    header = ["layer", "kind", "neurons", "n_out × n_in + n_out", "parameters", "as linear algebra"]
    assert lines[0].split() == " ".join(header).split()
    assert lines[2].split() == ["input", "784", "0", "x"]
    assert "12,560" in lines[3]
    assert lines[-1].split() == ["total", "13,002"]


def test_columns_stand_below_each_other() -> None:
    lines = str(Network.dense([784, 128, 10]).summary()).splitlines()
    column = lines[0].index("as linear algebra")
    assert [line[column] for line in lines[2:5]] == ["x", "a", "a"]
    assert all(line[column - 1] == " " for line in lines[2:5])


@given(st.lists(st.integers(1, 50), min_size=2, max_size=6))
def test_the_rows_sum_to_the_total(sizes: list[int]) -> None:
    network = Network.dense(sizes)
    rows = network.summary().rows
    assert sum(row.parameters for row in rows) == network.parameter_count
    for row in rows[1:]:
        n_out, rest = row.formula.split(" × ")
        n_in, bias = rest.split(" + ")
        assert int(n_out) * int(n_in) + int(bias) == row.parameters


def test_pictures_show_their_shape() -> None:
    rows = Network([Flatten(), Dense(1)], input_shape=(28, 28)).summary().rows
    assert [(row.kind, row.shape, row.neurons) for row in rows] == [
        ("", "28 × 28", 784),
        ("Flatten", "784", 784),
        ("Dense", "1", 1),
    ]


def test_html_is_well_formed_and_escaped() -> None:
    html = Network([Dense(2, name="<script>&'\"")], input_shape=3).summary().to_html()
    table = ElementTree.fromstring(html)
    cells = [cell.text for cell in table.iter("td")]
    assert "<script>&'\"" in cells
    assert "<script>" not in html
    assert [cell.text for cell in table.iter("th")][-2] == "8"
