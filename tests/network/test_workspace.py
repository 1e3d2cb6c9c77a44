"""The chain of passes: buffers kept, both directions, gradients only where something learns."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.network import LOSSES, Dense, Flatten, Network


def _network() -> Network:
    return Network([Flatten(), Dense(4, "tanh"), Dense(2, "softmax")], input_shape=(2, 3), seed=2, dtype="float64")


def test_forward_fills_the_same_buffers_again_and_again() -> None:
    network = _network()
    space = network.workspace(3)
    buffers = [(step.z, step.a) for step in space.passes]
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=(3, 2, 3))
        np.copyto(space.x, x)
        assert space.forward() is space.output.a
        np.testing.assert_array_equal(space.output.a, network.predict(x))
        assert all(step.z is z and step.a is a for step, (z, a) in zip(space.passes, buffers, strict=True))


def test_a_workspace_sees_later_changes_of_the_weights() -> None:
    network = _network()
    space = network.workspace(2)
    space.x[:] = 1
    before = space.forward().copy()
    network.parameters[:] *= -2
    assert not np.array_equal(space.forward(), before)
    np.testing.assert_array_equal(space.forward(), network.predict(space.x))


def test_z_and_a_are_both_kept_and_backward_does_not_change_them() -> None:
    network = _network()
    gradients = np.empty_like(network.parameters)
    space = network.workspace(3, gradients, input_gradient=True)
    np.copyto(space.x, np.random.default_rng(0).normal(size=(3, 2, 3)))
    space.forward()
    kept = [(step.x.copy(), None if step.z is None else step.z.copy(), step.a.copy()) for step in space.passes]
    space.backward(LOSSES["categorical_cross_entropy"], np.array([0, 1, 1]))
    for step, (x, z, a) in zip(space.passes, kept, strict=True):
        np.testing.assert_array_equal(step.x, x)
        np.testing.assert_array_equal(step.a, a)
        if z is not None:
            np.testing.assert_array_equal(step.z, z)
            np.testing.assert_array_equal(step.a, step.layer.activation(z))


def test_gradients_are_the_same_with_and_without_that_of_the_input() -> None:
    network, y = _network(), np.array([0, 1, 1])
    flat = [np.empty_like(network.parameters) for _ in range(2)]
    for wanted in (False, True):
        space = network.workspace(3, flat[wanted], input_gradient=wanted)
        np.copyto(space.x, np.random.default_rng(0).normal(size=(3, 2, 3)))
        space.forward()
        space.backward(LOSSES["categorical_cross_entropy"], y)
        assert (space.dx is not None) == wanted
    np.testing.assert_array_equal(*flat)
    assert space.dx.shape == (3, 2, 3)


@pytest.mark.parametrize("wanted", [False, True])
def test_a_network_without_parameters_goes_both_ways(wanted: bool) -> None:
    network = Network([Flatten()], input_shape=(2, 2), dtype="float64")
    space = network.workspace(1, np.empty(0), input_gradient=wanted)
    space.x[:] = [[[1, 2], [3, 4]]]
    assert space.forward().tolist() == [[1, 2, 3, 4]]
    assert space.backward(LOSSES["squared_error"], np.zeros((1, 4))) == 30 / 4
    if wanted:
        np.testing.assert_array_equal(space.dx, [[[0.5, 1], [1.5, 2]]])
