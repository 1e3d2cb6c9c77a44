"""Dropout: what it drops, when, and that a step's mask is the same whenever the step is taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import UsageError
from neuronwise.network import Dense, Dropout, Flatten, Network, get_loss


def _space(rate: float = 0.5, rows: int = 400, dtype: str = "float32", shape: tuple[int, ...] = (50,)):
    layers = [Dropout(rate), *([Flatten()] if len(shape) > 1 else []), Dense(3, "identity")]
    network = Network(layers, input_shape=shape, seed=1, dtype=dtype)
    space = network.workspace(rows, np.zeros_like(network.parameters), training=True, input_gradient=True)
    space.x[...] = np.random.default_rng(0).normal(size=space.x.shape)
    return network, space


@given(st.floats(0, 0.95), st.integers(0, 2**40), st.integers(1, 10**9))
def test_in_training_values_are_0_or_divided_by_what_is_kept(rate: float, seed: int, step: int) -> None:
    _, space = _space(rate, rows=20)
    space.draw(seed, step)
    space.forward()
    dropped, x = space.passes[0].a, space.x
    kept = dropped != 0
    np.testing.assert_array_equal(dropped[kept], (x * np.float32(1 / (1 - rate)))[kept])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_share_and_the_mean_are_those_promised(rate: float, dtype: str) -> None:
    _, space = _space(rate, dtype=dtype)
    space.x[...] = 1
    shares = []
    for step in range(1, 21):
        space.draw(3, step)
        space.forward()
        shares.append(float((space.passes[0].a == 0).mean()))
    # 400,000 draws: five standard deviations of their mean.
    assert np.mean(shares) == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / 400_000))
    assert space.passes[0].a.mean() == pytest.approx(1, abs=0.1)


def test_a_steps_mask_depends_on_seed_step_and_name_alone() -> None:
    _, space = _space()
    masks = {}
    for seed, step in [(1, 1), (1, 2), (2, 1), (1, 1)]:
        space.draw(seed, step)
        mask = space.passes[0].mask.copy()
        if (seed, step) in masks:
            np.testing.assert_array_equal(mask, masks[seed, step])
        masks[seed, step] = mask
    assert not np.array_equal(masks[1, 1], masks[1, 2])
    assert not np.array_equal(masks[1, 1], masks[2, 1])
    network = Network([Dropout(), Dropout(), Dense(1)], input_shape=50)
    two = network.workspace(400, training=True)
    two.draw(1, 1)
    assert not np.array_equal(two.passes[0].mask, two.passes[1].mask)


def test_evaluation_changes_nothing_and_copies_nothing() -> None:
    network = Network([Dropout(0.9), Dense(2, "identity")], input_shape=4, seed=0)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(network.predict(x), x @ network["output"].W.T, rtol=1e-6)
    space = network.workspace(5)
    assert space.passes[0].a is space.x
    assert not space.is_random


def test_a_rate_of_0_draws_nothing() -> None:
    network = Network([Dropout(0), Dense(1)], input_shape=2)
    space = network.workspace(3, training=True)
    space.x[...] = 2
    space.draw(0, 1)
    space.forward()
    np.testing.assert_array_equal(space.passes[0].a, space.x)


def test_a_training_step_without_its_mask_does_not_pass_for_one() -> None:
    _, space = _space()
    assert np.isnan(space.forward()).all()


def test_the_gradient_flows_where_values_did() -> None:
    _, space = _space(0.4, rows=6, dtype="float64", shape=(3, 4))
    y = np.random.default_rng(2).normal(size=(6, 3))
    loss = get_loss("squared_error", "identity")
    space.draw(5, 7)
    space.forward()
    space.backward(loss, y)
    gradient = space.dx.copy()
    numeric, x = np.empty_like(space.x), space.x
    for place in np.ndindex(x.shape):
        kept = x[place]
        values = []
        for change in (1e-6, -1e-6):
            x[place] = kept + change
            space.forward()
            values.append(space.backward(loss, y))
        x[place] = kept
        numeric[place] = (values[0] - values[1]) / 2e-6
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)
    assert (gradient == 0).any()


@pytest.mark.parametrize("rate", [1, -0.1, 1.5, float("nan"), True, "0.5", None])
def test_a_rate_that_cannot_be_is_refused(rate: object) -> None:
    with pytest.raises(UsageError, match="argument rate: expected a share from 0 to below 1, got"):
        Dropout(rate)  # type: ignore[arg-type]


def test_it_describes_itself() -> None:
    network = Network([Dense(4), Dropout(0.25), Dense(2)], input_shape=3)
    layer = network["dropout1"]
    assert layer.to_dict() == {"type": "Dropout", "name": "dropout1", "rate": 0.25}
    assert list(layer.unit_names()) == [f"hidden1[{i}]" for i in range(4)]
    assert layer.parameter_count == layer.buffer_count == 0
    assert Network.from_dict(network.to_dict()).to_dict() == network.to_dict()
    assert "0.75" in layer.algebra()
    assert repr(layer) == "Dropout(0.25)"
