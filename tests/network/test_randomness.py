"""Randomness without state."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.network import generator


@given(st.integers(0, 2**70), st.text(max_size=10), st.lists(st.integers(0, 2**40), max_size=3))
def test_the_same_arguments_give_the_same_numbers(seed: int, purpose: str, counters: list[int]) -> None:
    first = generator(seed, purpose, *counters).random(4)
    generator(seed, "something else").random(100)
    np.testing.assert_array_equal(first, generator(seed, purpose, *counters).random(4))


def test_seed_purpose_and_counter_each_give_other_numbers() -> None:
    keys = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a", 1, 1)]
    drawn = {tuple(generator(*key).integers(0, 2**60, 4)) for key in keys}
    assert len(drawn) == len(keys)


def test_purposes_are_not_correlated() -> None:
    a, b = generator(0, "shuffle", 1).normal(size=20_000), generator(0, "dropout", 1).normal(size=20_000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(20_000)


def test_the_global_random_state_is_not_moved() -> None:
    before = np.random.get_state()
    generator(3, "shuffle", 1).permutation(100)
    after = np.random.get_state()
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]
