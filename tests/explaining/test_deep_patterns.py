"""What deeper neurons look for: a planted corner detector, sums that add up, alignment at the borders."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining.deep_patterns import DeepPattern, deep_patterns
from neuronwise.network import Conv2D, Dense, Flatten, MaxPool2D, Network


def rectangles(count: int, seed: int = 0, side: int = 24) -> NDArray[np.float32]:
    """Return pictures of light rectangles on dark ground, with noise."""
    rng = np.random.default_rng(seed)
    made = rng.normal(0, 0.05, (count, side, side)).astype(np.float32)
    for picture in made:
        for _ in range(2):
            top, left = rng.integers(0, side - 8, 2)
            height, width = rng.integers(6, 14, 2)
            picture[top : top + height, left : left + width] = rng.uniform(0.4, 1.0)
    return made


def corner_network(data_format: str = "channels_last", noise: float = 0.1, padding: Any = "same") -> Network:
    """Return a network whose conv2[0] is a conjunction of two edges: the upper left corner of something light."""
    layers = [
        Conv2D(4, 3, padding=padding, data_format=data_format), Conv2D(2, 5, data_format=data_format), Flatten(),
        Dense(2),
    ]  # fmt: skip
    network = Network(layers, input_shape=(24, 24), seed=1)
    rng = np.random.default_rng(3)
    first = rng.normal(0, noise, (4, 1, 3, 3))
    horizontal = np.array([[-1.0] * 3, [0.0] * 3, [1.0] * 3])
    first[0, 0] += horizontal
    first[1, 0] += horizontal.T
    second = rng.normal(0, noise, (2, 4, 5, 5))
    second[0, 0, 2, 2:] += 1.0  # a horizontal edge from the middle to the right
    second[0, 1, 2:, 2] += 1.0  # and a vertical one from the middle down
    network["conv1"].W, network["conv2"].W = first, second
    network["conv2"].b = [-6.0, 0.0]
    return network


def corner() -> NDArray[np.float64]:
    """Return the corner as a matched filter draws it: the difference across the edges, light inside."""
    light = np.zeros((7, 7))
    for column in (3, 4, 5):  # the horizontal edge, three pixels wide at each of its places
        light[4, column - 1 : column + 2] += 1
        light[2, column - 1 : column + 2] -= 1
    for row in (3, 4, 5):
        light[row - 1 : row + 2, 4] += 1
        light[row - 1 : row + 2, 2] -= 1
    return light


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_planted_corner_detector_looks_for_a_corner(data_format: str) -> None:
    told = deep_patterns(corner_network(data_format), "conv2[0]", rectangles(300))
    one = told.neurons[0]
    assert told.field is not None
    assert told.field.size == (7, 7)
    assert one.pattern.shape == (7, 7, 1)
    assert correlation(one.pattern, corner()) >= 0.9
    assert one.agreement > 0.9
    assert set(one.order()[:2]) == {0, 1}  # built from the two edges
    assert (one.weights[[0, 1]] > 1).all()
    row, column = np.mgrid[:7, :7]
    assert correlation(one.mean_patch, (row > 2) & (column > 2)) > 0.6
    # The other neuron, of noise alone, looks for something else.
    other = deep_patterns(corner_network(data_format), "conv2[1]", rectangles(300)).neurons[0]
    assert abs(correlation(other.pattern, corner())) < 0.6


def test_with_pooling_between_the_corner_is_still_what_it_looks_for() -> None:
    network = Network([Conv2D(2, 3), MaxPool2D(2), Conv2D(1, 3), Flatten(), Dense(2)], input_shape=(24, 24), seed=1)
    horizontal = np.array([[-1.0] * 3, [0.0] * 3, [1.0] * 3])
    network["conv1"].W = np.array([horizontal, horizontal.T])[:, None]
    second = np.zeros((1, 2, 3, 3))
    second[0, 0, 1, 1:] = second[0, 1, 1:, 1] = 1.0
    network["conv2"].W = second
    told = deep_patterns(network, "conv2", rectangles(300))
    one = told.neurons[0]
    assert told.field is not None
    assert told.field.size == (8, 8)
    bright = np.zeros((8, 8))
    bright[4:, 4:] = 1
    assert correlation(one.mean_patch, bright) > 0.6
    assert one.pattern[:3, :, 0].sum() < 0 < one.pattern[4:, 4:, 0].sum()


def slow_pattern(network: Network, neuron: int, x: NDArray[Any], one: DeepPattern, size: int) -> NDArray[np.float64]:
    """Return the mean of dz/dx by central differences, pixel by pixel, at the places that were chosen."""
    total, inside = np.zeros((2, size, size))
    for example, (row, column) in zip(one.examples, one.places, strict=True):
        base = x[example].astype(np.float64)
        for i, j in np.ndindex(size, size):
            pixel = row + i - 1, column + j - 1  # the field begins one pixel outside the picture
            if not (0 <= pixel[0] < 24 and 0 <= pixel[1] < 24):
                continue
            inside[i, j] += 1
            z = []
            for step in (1e-5, -1e-5):
                moved = base.copy()
                moved[pixel] += step
                z.append(network.trace(moved[None])["conv2"].z[0, row, column, neuron])  # type: ignore[index]
            total[i, j] += (z[0] - z[1]) / 2e-5
    return total / inside


def test_the_pattern_is_the_mean_of_slopes_found_by_moving_each_pixel() -> None:
    network = corner_network()
    network = Network([one.unbuilt() for one in network.layers], input_shape=(24, 24), dtype="float64")
    source = corner_network()
    network.parameters[...] = source.parameters
    x = rectangles(30)
    one = deep_patterns(network, "conv2[0]", x, patches=5).neurons[0]
    assert one.patches == 5
    np.testing.assert_allclose(one.pattern[..., 0], slow_pattern(network, 0, x, one, 7), atol=1e-6)
    z = network.trace(x)["conv2"].z
    assert z is not None
    best = np.sort(z[..., 0].reshape(30, -1).max(axis=1))[::-1][:5]
    assert one.z == pytest.approx(best.mean())


@pytest.mark.parametrize("name", ["conv2", "hidden1", "hidden2[1]", "output"])
def test_contributions_of_the_first_layer_and_constants_sum_to_z(name: str) -> None:
    layers = [Conv2D(3, 3), MaxPool2D(), Conv2D(4, 3), Flatten(), Dense(6), Dense(4), Dense(3)]
    network = Network(layers, input_shape=(12, 12, 2), seed=5)
    rng = np.random.default_rng(0)
    network.parameters[...] += rng.normal(0, 0.1, network.parameters.shape)
    told = deep_patterns(network, name, rng.normal(size=(40, 12, 12, 2)), patches=10)
    for one in told.neurons:
        if one.patches:
            assert abs(one.gap) <= 1e-5 * (np.abs(one.contributions).sum() + abs(one.bias) + 1)
            assert one.z == pytest.approx(one.contributions.sum() + one.bias + one.gap)
            assert one.pattern.shape == ((8, 8, 2) if name == "conv2" else (12, 12, 2))
    assert told.curved == ()
    str(told)
    json.dumps(told.to_dict())


def test_curved_functions_are_named_and_the_gap_is_told() -> None:
    network = Network([Flatten(), Dense(5, "tanh"), Dense(4, "sigmoid"), Dense(2)], input_shape=(6, 6), seed=0)
    told = deep_patterns(network, "output", rectangles(20, side=24)[:, :6, :6])
    assert told.curved == ("hidden2",) or "hidden2" in told.curved
    assert "curved" in str(told)


def test_a_neuron_that_answers_to_nothing_says_so() -> None:
    network = corner_network()
    network["conv2"].b = [-1e6, 0.0]
    told = deep_patterns(network, "conv2", rectangles(10))
    assert told.neurons[0].patches == 0
    assert "no example gives it a finite z > 0" in str(told)
    assert told.figure() is not None
    alone = deep_patterns(network, "conv2[0]", rectangles(10))
    assert "no example gives it a finite z > 0" in str(alone)
    assert alone.figure() is not None


def test_weights_that_are_not_finite_are_shown_as_such() -> None:
    network = corner_network()
    network["conv2"].W[1] = np.nan
    told = deep_patterns(network, "conv2", rectangles(10))
    assert told.neurons[1].patches == 0  # z is NaN everywhere
    assert told.neurons[0].patches > 0


def test_few_examples_give_several_patches_each() -> None:
    told = deep_patterns(corner_network(), "conv2[0]", rectangles(4), patches=12)
    assert told.neurons[0].patches > 4
    assert np.bincount(told.neurons[0].examples).max() <= 3


def test_what_cannot_be_asked_is_refused() -> None:
    network = corner_network()
    x = rectangles(3)
    for name, words in (("conv1", "first layer"), ("flatten1", "no neurons with weights")):
        with pytest.raises(UsageError, match=words):
            deep_patterns(network, name, x)
    for name in ("conv7", "conv2[9]", "conv2[x]", "conv2[1"):
        with pytest.raises(NotFoundError):
            deep_patterns(network, name, x)
    with pytest.raises(UsageError, match="no examples"):
        deep_patterns(network, "conv2", x[:0])
    with pytest.raises(UsageError, match="no pictures"):
        deep_patterns(Network.dense([4, 3, 2]), "output", np.zeros((2, 4)))


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    deep_patterns(corner_network(), "conv2", rectangles(3), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
