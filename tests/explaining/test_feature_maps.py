"""Feature maps of pictures of any size, against the neuron's own sum at each place."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from neuronwise.data import PixelEncoder
from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining.feature_maps import channels_seen, feature_maps, fitting_size
from neuronwise.explaining.meaning import Meaning
from neuronwise.network import AveragePool2D, BatchNorm, Conv2D, Dense, Flatten, MaxPool2D, Network

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [0, 1, 3])
def test_a_map_is_the_neurons_own_sum_at_each_place(data_format: str, channels: int) -> None:
    first = data_format == "channels_first"
    shape = (8, 8) if not channels else (channels, 8, 8) if first else (8, 8, channels)
    network = Network([Conv2D(3, (3, 2), data_format=data_format), Flatten(), Dense(2)], input_shape=shape, seed=1)
    network["conv1"].b = [0.1, -0.2, 0.3]
    picture = RNG.random((13, 17, channels or 1))
    told = feature_maps(network, picture if channels else picture[:, :, 0])
    assert told.levels.shape == (3, 11, 16)
    W = network["conv1"].W
    for k, i, j in np.ndindex(3, 11, 16):
        patch = picture[i : i + 3, j : j + 2]
        z = float((np.moveaxis(W[k].astype(float), 0, -1) * patch).sum() + network["conv1"].b[k])
        assert told.levels[k, i, j] == pytest.approx(max(z, 0.0), abs=1e-5)


@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 3)])
def test_a_dense_layer_is_slid_over_the_picture(shape: tuple[int, ...]) -> None:
    network = Network([Flatten(), Dense(4), Dense(2)], input_shape=shape, seed=1)
    picture = RNG.random((9, 12, *shape[2:])).astype(np.float32)
    told = feature_maps(network, picture)
    assert told.levels.shape == (4, 5, 8)
    for i, j in np.ndindex(5, 8):
        a = network.trace(picture[None, i : i + 5, j : j + 5])["hidden1"].a[0]
        np.testing.assert_allclose(told.levels[:, i, j], a, atol=1e-5)
    assert told.labels == ("", "", "", "") or all(isinstance(label, str) for label in told.labels)


def test_at_the_size_that_was_learned_deeper_maps_are_the_networks_own() -> None:
    layers = [
        Conv2D(3, 3, padding="same"), BatchNorm(), MaxPool2D(2), Conv2D(4, 3, "tanh", stride=2), AveragePool2D(2),
        Flatten(), Dense(2),
    ]  # fmt: skip
    network = Network(layers, input_shape=(20, 20), seed=1)
    for layer in network.layers:
        for key, values in (layer.parameters | layer.buffers).items():
            values[...] += RNG.uniform(0.1, 0.4, values.shape) * (key != "W")
    picture = RNG.random((20, 20)).astype(np.float32)
    trace = network.trace(picture[None])
    for name in ("conv1", "pool1", "conv2", "pool2"):
        told = feature_maps(network, picture, name)
        np.testing.assert_allclose(told.levels, np.moveaxis(trace[name].a[0], -1, 0), atol=1e-6)
        assert told.neurons[1] == f"{name}[1]"
    before = network.parameters.copy()
    feature_maps(network, RNG.random((50, 31)), "conv2")
    np.testing.assert_array_equal(before, network.parameters)
    assert network.input_shape == (20, 20)


def test_numbers_are_told_without_the_maps_themselves() -> None:
    network = Network([Conv2D(2, 3, "identity"), Flatten(), Dense(2)], input_shape=(8, 8), seed=1)
    network["conv1"].W[1] = np.nan
    picture = RNG.random((10, 10))
    told = feature_maps(network, picture, notes=["It was made."])
    content = json.loads(json.dumps(told.to_dict()))
    assert content["maps"][0]["mean"] == pytest.approx(float(told.levels[0].mean()), rel=1e-5)
    assert content["maps"][1]["not_finite"] == 64
    assert content["maps"][1]["mean"] == "NaN"
    assert content["map_shape"] == [8, 8]
    assert "It was made." in str(told)
    assert told.figure() is not None


def test_large_pictures_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network([Conv2D(4, 3, padding="same"), Flatten(), Dense(2)], input_shape=(8, 8))
    assert fitting_size(network, None, (300, 400)) == (300, 400)
    assert fitting_size(network, None, (2048, 1024)) == (1024, 512)
    monkeypatch.setattr(sys.modules[feature_maps.__module__], "MOST_VALUES", 40_000)
    size = fitting_size(network, None, (200, 400))
    assert 4 * size[0] * size[1] <= 40_000
    assert size[1] == pytest.approx(2 * size[0], rel=0.05)
    with pytest.raises(UsageError, match="too large"):
        feature_maps(network, np.zeros((200, 400)))
    feature_maps(network, np.zeros(size))


def test_many_neurons_are_cut_and_that_is_said() -> None:
    network = Network([Flatten(), Dense(70), Dense(2)], input_shape=(4, 4))
    told = feature_maps(network, RNG.random((6, 6)))
    assert len(told.neurons) == 64
    assert "The first 64 of 70 neurons" in str(told)


def test_rows_of_pixels_are_known_by_their_encoder() -> None:
    network = Network.dense([48, 3, 2])
    meaning = Meaning.of(network, PixelEncoder((4, 4, 3)))
    assert channels_seen(network, meaning) == 3
    assert feature_maps(network, RNG.random((6, 6, 3)), meaning=meaning).levels.shape == (3, 3, 3)


def test_what_cannot_be_done_is_refused() -> None:
    network = Network([Conv2D(2, 3), Flatten(), Dense(3), Dense(2)], input_shape=(8, 8))
    for picture, words in (
        (np.zeros((9, 9, 3)), "pictures of 1 channel, got 3"),
        (np.zeros(5), "a picture is numbers"),
        (np.array([["a"]]), "a picture is numbers"),
    ):
        with pytest.raises(UsageError, match=words):
            feature_maps(network, picture)
    with pytest.raises(UsageError):
        feature_maps(network, np.zeros((2, 2)))
    with pytest.raises(UsageError, match="fewer than the 8 × 8"):
        feature_maps(Network([Flatten(), Dense(2)], input_shape=(8, 8)), np.zeros((7, 9)))
    with pytest.raises(UsageError, match="dense layer above"):
        feature_maps(network, np.zeros((9, 9)), "hidden1")
    with pytest.raises(NotFoundError):
        feature_maps(network, np.zeros((9, 9)), "conv4")
    with pytest.raises(UsageError, match="no pictures"):
        feature_maps(Network.dense([4, 3, 2]), np.zeros((9, 9)))


def test_a_dense_layer_on_pictures_with_channels_first_is_slid_too() -> None:
    network = Network([Flatten(), Dense(4), Dense(2)], input_shape=(3, 6, 6), seed=1)
    picture = RNG.random((9, 12, 3)).astype(np.float32)
    told = feature_maps(network, picture)
    for i, j in np.ndindex(4, 7):
        patch = np.moveaxis(picture[i : i + 6, j : j + 6], -1, 0)
        np.testing.assert_allclose(told.levels[:, i, j], network.trace(patch[None])["hidden1"].a[0], atol=1e-5)
