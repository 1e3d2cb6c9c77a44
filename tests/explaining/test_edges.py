"""Which neurons of a layer are detectors, in words, of one channel and several."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neuronwise.data import PixelEncoder
from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining.edges import find_edges, side_words
from neuronwise.explaining.kernels import kernels, split
from neuronwise.explaining.meaning import Meaning
from neuronwise.network import Conv2D, Dense, Flatten, MaxPool2D, Network

from .kernels_made import Array, apart, gabor, sobel


def network_of(*made: Array, bias: float = 0.0) -> Network:
    """Return a network whose first layer has these kernels, (rows, columns) or (channels, rows, columns)."""
    weights = np.array([one if one.ndim == 3 else one[None] for one in made])
    channels = weights.shape[1]
    shape = (30, 30) if channels == 1 else (30, 30, channels)
    network = Network([Conv2D(len(made), weights.shape[2:]), Flatten(), Dense(2)], input_shape=shape)
    network["conv1"].W = weights
    network["conv1"].b = [bias] * len(made)
    return network


def noise(seed: int, size: int = 7) -> Array:
    return np.random.default_rng(seed).normal(size=(size, size))


def test_detectors_are_told_with_their_kind_angle_and_how_sure_that_is() -> None:
    told = find_edges(network_of(sobel(45, 7), gabor(120, 7, 4, 0.0, 0.4), gabor(60, 7, 2.8, 1.0, 0.9), noise(0)))
    edge, line, stripes, random = told.neurons
    assert (edge.kind, line.kind, stripes.kind) == ("edge", "line", "stripes")
    assert edge.words == (
        "conv1[0]: edge detector at 45°, light at the upper left, selectivity 0.32, beyond all 1,000 random kernels"
    )
    assert apart([line.orientation, stripes.orientation], [120, 60]).max() < 5
    assert [one.is_detector for one in told.neurons] == [True, True, True, False]
    assert random.words.startswith("conv1[3]: no oriented response beyond chance (selectivity 0.")
    assert np.isnan(line.light)
    assert {one.neuron for one in told.detectors} == {"conv1[0]", "conv1[1]", "conv1[2]"}
    assert str(told).splitlines()[0] == "conv1: 3 of 4 neurons are detectors of edges, lines or stripes (7 × 7 pixels)"
    assert "1,000 random kernels" in str(told)
    assert json.loads(json.dumps(told.to_dict()))["neurons"][0]["is_detector"] is True


def test_a_layer_without_any_says_so() -> None:
    told = find_edges(network_of(*(noise(seed) for seed in range(1, 5))))
    assert str(told).startswith("conv1: no oriented response beyond chance in any of its 4 neurons (7 × 7 pixels)")


def test_a_large_smooth_kernel_that_only_leans_is_no_detector() -> None:
    row, column = np.mgrid[0:28, 0:28]
    blob = np.exp(-((row - 13.5) ** 2) / 8 - (column - 13.5) ** 2 / 25)
    told = find_edges(network_of(blob))
    assert told.neurons[0].beyond > 0.99
    assert not told.neurons[0].is_detector
    assert "leans to 0°, but weakly" in told.neurons[0].words
    assert "1 lean to an angle, but weakly" in str(told).splitlines()[0]


def test_what_has_no_angle_says_why() -> None:
    broken = sobel(0, 5)
    broken[0, 0] = np.nan
    told = find_edges(network_of(np.ones((5, 5)), broken, np.zeros((5, 5)), sobel(0, 5)))
    assert "all of its weights are equal" in told.neurons[0].words
    assert "not finite" in told.neurons[1].words
    assert "all of its weights are equal" in told.neurons[2].words
    assert told.neurons[3].is_detector
    assert told.neurons[0].even_share == pytest.approx(1.0)
    assert told.to_dict()["neurons"][1]["orientation"] == "NaN"
    assert told.figure() is not None
    str(told)


def test_small_kernels_are_not_judged_and_3_by_3_with_care() -> None:
    told = find_edges(network_of(sobel(30, 3)))
    assert apart(told.neurons[0].orientation, 30) < 5
    assert "hardly whether it is more than chance" in str(told)
    for shape in ((2, 2), (1, 5), (1, 1)):
        small = find_edges(network_of(np.arange(1.0, 1 + np.prod(shape)).reshape(shape)))
        assert not small.neurons[0].is_detector
        assert "too small" in str(small)
        assert small.figure() is not None


def test_colours_are_mixed_as_the_kernel_has_them() -> None:
    # A red-against-green edge: its sum over the channels is nothing.
    told = find_edges(network_of(np.array([sobel(30, 5), -sobel(30, 5), np.zeros((5, 5))])))
    one = told.neurons[0]
    assert one.is_detector
    assert apart(one.orientation, 30) < 5
    assert np.abs(one.colour) == pytest.approx([0.5**0.5, 0.5**0.5, 0], abs=1e-6)
    assert one.colour_share == pytest.approx(1.0)
    # One that sums all colours is seen as their sum.
    grey = split("conv1", np.repeat(sobel(70, 5)[None, :, :, None], 3, axis=3))
    np.testing.assert_allclose(grey.pictures[0], 3**0.5 * sobel(70, 5), atol=1e-9)
    # Two edges in two colours are two pictures; the share says that one was left out.
    two = find_edges(network_of(np.array([sobel(0, 5), 0 * sobel(0, 5), 0.8 * sobel(90, 5)]))).neurons[0]
    assert apart(two.orientation, 0) < 5
    assert two.colour_share == pytest.approx(1 / (1 + 0.64), abs=1e-6)
    assert "at least 61 %" in str(find_edges(network_of(np.array([sobel(0, 5), 0 * sobel(0, 5), 0.8 * sobel(90, 5)]))))


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 1), (9, 9, 3)])
def test_a_dense_neuron_on_pictures_is_a_kernel_of_the_picture(shape: tuple[int, ...]) -> None:
    network = Network([Flatten(), Dense(2), Dense(2)], input_shape=shape)
    channels = shape[2] if len(shape) == 3 else 1
    made = np.stack([sobel(120, 9), gabor(20, 9, 4)])
    network["hidden1"].W = np.repeat(made[..., None], channels, axis=3).reshape(2, -1)
    told = find_edges(network)
    assert told.size == (9, 9)
    assert apart([one.orientation for one in told.neurons], [120, 20]).max() < 5


def test_pictures_given_as_rows_are_known_by_their_encoder() -> None:
    network = Network.dense([81, 2, 2])
    network["hidden1"].W = np.stack([sobel(120, 9), gabor(20, 9, 4)]).reshape(2, -1)
    with pytest.raises(UsageError, match="no pictures"):
        find_edges(network)
    told = find_edges(network, meaning=Meaning.of(network, PixelEncoder((9, 9))))
    assert apart(told.neurons[0].orientation, 120) < 5


def test_kernels_are_the_same_in_both_data_formats() -> None:
    W = np.random.default_rng(0).normal(size=(2, 3, 5, 5))
    found = []
    for data_format, shape in (("channels_last", (8, 8, 3)), ("channels_first", (3, 8, 8))):
        network = Network([Conv2D(2, 5, data_format=data_format), Flatten(), Dense(2)], input_shape=shape)
        network["conv1"].W = W
        found.append(kernels(network).pictures)
    np.testing.assert_array_equal(*found)


def test_layers_without_kernels_are_refused() -> None:
    network = Network([Conv2D(2, 3), MaxPool2D(), Flatten(), Dense(3), Dense(2)], input_shape=(8, 8))
    for layer, words in (("pool1", "no layer of kernels"), ("hidden1", "dense layer above other layers")):
        with pytest.raises(UsageError, match=words):
            find_edges(network, layer)
    with pytest.raises(NotFoundError, match="there is no layer 'conv9'"):
        find_edges(network, "conv9")
    with pytest.raises(UsageError, match="no pictures"):
        find_edges(Network.dense([4, 3, 2]))


def test_a_deeper_convolution_looks_at_maps() -> None:
    network = Network([Conv2D(4, 3), Conv2D(2, 5), Flatten(), Dense(2)], input_shape=(12, 12))
    told = find_edges(network, "conv2")
    assert len(told.neurons[0].colour) == 4


def test_sides_are_told_in_words() -> None:
    assert [side_words(angle) for angle in (0, 44, 90, 180, 269, 350)] == [
        "right", "upper right", "top", "left", "bottom", "right",
    ]  # fmt: skip


def test_a_picture_of_many_neurons_shows_64() -> None:
    told = find_edges(network_of(*(noise(seed, 5) for seed in range(70))))
    assert "64 most selective of 70" in told.figure()._suptitle.get_text()  # type: ignore[attr-defined]
    assert "40 most selective of 70" in str(told)


def test_pictures_that_a_network_of_pytorch_lays_out_have_their_channels_first() -> None:
    network = Network([Flatten(), Dense(2), Dense(2)], input_shape=(3, 9, 9))
    made = np.stack([sobel(120, 9), gabor(20, 9, 4)])
    network["hidden1"].W = np.repeat(made[:, None], 3, axis=1).reshape(2, -1)
    told = find_edges(network)
    assert told.size == (9, 9)
    assert apart([one.orientation for one in told.neurons], [120, 20]).max() < 5
