"""Edges of runs: of a watched model too, and at steps of the training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import neuronwise
from neuronwise.errors import NeuronwiseError, UsageError
from neuronwise.network import Conv2D, Dense, Flatten, MaxPool2D, Network
from neuronwise.running.edges import (
    edges_of_run,
    edges_of_run_over_time,
    feature_maps_of_run,
    is_first_layer,
    patterns_of_run,
)


def conv(shape: tuple[int, ...] = (8, 8)) -> Network:
    return Network([Conv2D(3, 5), MaxPool2D(2), Flatten(), Dense(6), Dense(10, "softmax")], input_shape=shape, seed=3)


def test_a_run_is_looked_at_as_delivered_and_at_any_step() -> None:
    run = neuronwise.train("digits", network=conv(), epochs=1, track=False)
    delivered = edges_of_run(run)
    np.testing.assert_array_equal(delivered.pictures, run.network["conv1"].W[:, 0])
    first = edges_of_run(run.id, step=0)
    np.testing.assert_array_equal(first.pictures, conv()["conv1"].W[:, 0])
    told = edges_of_run_over_time(run, steps=[0, 3])
    np.testing.assert_array_equal(told.pictures[0], first.pictures)
    np.testing.assert_allclose(told.orientation[0], [one.orientation for one in first.neurons])
    assert is_first_layer(run, "conv1")
    assert not is_first_layer(run, "hidden1")
    patterns = patterns_of_run(run, "hidden1[2]")
    assert patterns.neurons[0].pattern.shape == (8, 8, 1)
    assert patterns.rows == 270  # those held out


def test_a_picture_is_brought_to_the_networks_channels(tmp_path: Path) -> None:
    pixels = (np.random.default_rng(0).random((20, 30, 4)) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "see_through.png")
    Image.fromarray(pixels[:, :, 0]).save(tmp_path / "grey.png")
    grey = neuronwise.train("digits", network=conv(), epochs=1, track=False)
    told = feature_maps_of_run(grey, tmp_path / "see_through.png")
    assert told.picture.shape == (20, 30, 1)
    assert "turned to grey" in " ".join(told.notes)
    assert "laid on white" in " ".join(told.notes)
    for index in range(40):
        folder = tmp_path / "pictures" / ("even" if index % 2 == 0 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), (6 * index, 40, 90), np.uint8)).save(folder / f"{index}.png")
    colour = neuronwise.train(tmp_path / "pictures", layers=[3], epochs=1, track=False)
    told = feature_maps_of_run(colour, tmp_path / "grey.png")
    assert told.picture.shape == (20, 30, 3)
    assert "red, green and blue are the same" in " ".join(told.notes)
    np.testing.assert_allclose(told.picture[..., 0], np.asarray(Image.open(tmp_path / "grey.png")) / 255, atol=1e-6)
    Image.fromarray(pixels[:5, :5, 0]).save(tmp_path / "tiny.png")
    with pytest.raises(UsageError, match="fewer than the 8 × 8"):
        feature_maps_of_run(colour, tmp_path / "tiny.png")


def test_a_watched_model_is_looked_at_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 16, 2)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    X, y = torch.rand(16, 1, 8, 8), torch.arange(16) % 2
    with neuronwise.watch(model, optimizer, name="watched", tracking=False):
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(X), y).backward()
            optimizer.step()
    told = edges_of_run("watched")
    np.testing.assert_array_equal(told.pictures, model[0].weight.detach().numpy()[:, 0])
    assert edges_of_run_over_time("watched").steps.tolist() == [0, 1, 2, 3]
    Image.new("L", (30, 20), 128).save(tmp_path / "grey.png")
    maps = feature_maps_of_run("watched", tmp_path / "grey.png")
    with torch.no_grad():
        expected = torch.relu(model[0](torch.full((1, 1, 20, 30), 128 / 255)))[0].numpy()
    np.testing.assert_allclose(maps.levels, expected, atol=1e-5)
    with pytest.raises(NeuronwiseError):
        patterns_of_run("watched", "output")
