"""Parameters counted without a network."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from neuronwise.network import Network
from neuronwise.running import count_parameters


def test_the_well_known_network_has_13002() -> None:
    summary = count_parameters([784, 16, 16, 10])
    assert summary.parameter_count == 13_002
    assert [row.parameters for row in summary.rows] == [0, 12_560, 272, 170]
    assert [row.layer for row in summary.rows] == ["input", "hidden1", "hidden2", "output"]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6))
def test_the_count_is_that_of_a_real_network(sizes: list[int]) -> None:
    counted = count_parameters(sizes)
    made = Network.dense(sizes)
    assert counted.parameter_count == made.parameter_count
    assert [row.layer for row in counted.rows[1:]] == [layer.name for layer in made.layers]
