"""`neuronwise edges`, on a small convolutional network that was really trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Command

NETWORK = {
    "format": "neuronwise-network", "version": 1, "input_shape": [8, 8],
    "layers": [
        {"type": "Conv2D", "filters": 4, "kernel_size": 5, "padding": "same"}, {"type": "MaxPool2D"},
        {"type": "Conv2D", "filters": 3, "kernel_size": 3}, {"type": "Flatten"},
        {"type": "Dense", "units": 10, "activation": "softmax"},
    ],
}  # fmt: skip


@pytest.fixture
def run(nw: Command, tmp_path: Path) -> str:
    (tmp_path / "conv.json").write_text(json.dumps(NETWORK))
    told = nw("train", "digits", "--network", "conv.json", "--epochs", 1, "--name", "conv", "--no-track", "--quiet")
    assert told.code == 0
    return "conv"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = (np.random.default_rng(0).random((40, 60, 3)) * 255).astype(np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def test_all_that_it_shows(nw: Command, run: str, picture: Path, tmp_path: Path) -> None:
    told = nw("edges", run, "--png", "kernels.png")
    assert told.code == 0
    assert "neurons of conv1" in told.out.lower()
    assert Image.open(tmp_path / "kernels.png").size[0] > 300
    assert len(nw("edges", run, "--json").json["neurons"]) == 4

    told = nw("edges", run, picture)
    assert told.code == 0
    assert "4 feature maps of 40 × 60 places" in told.out
    assert "turned to grey" in told.out
    assert Image.open(tmp_path / "photo-conv1.png").size[0] > 300
    (tmp_path / "photo-conv1.png").unlink()
    maps = nw("edges", run, picture, "--layer", "conv2", "--json").json
    assert maps["map_shape"] == [18, 28]
    assert not list(tmp_path.glob("photo-*.png"))

    told = nw("edges", run, "--layer", "conv2", "--html", "patterns.html")
    assert told.code == 0
    assert "sees 10 × 10 pixels (padding included) of the picture's 8 × 8" in told.out
    assert "<img" in (tmp_path / "patterns.html").read_text()
    told = nw("edges", run, "--neuron", "conv2[1]", "--svg", "one.svg")
    assert "What conv2[1] is built from" in told.out
    assert (tmp_path / "one.svg").read_text().startswith("<?xml")

    told = nw("edges", run, "--over-time", "--png", "time.png")
    assert told.code == 0
    assert "steps from 0 to" in told.out
    assert nw("edges", run, "--step", 0).code == 0

    for arguments, words in (
        ((picture, "--over-time"), "IMAGE and --over-time ask for different things"),
        (("--neuron", "conv2[1]", "--layer", "conv2"), "--neuron and --layer"),
        (("--layer", "conv9"), "there is no layer 'conv9'"),
        (("--layer", "flatten1"), "no neurons with weights"),
        (("--neuron", "conv2[7]"), "conv2 has 3 neurons"),
        (("--neuron", "conv1[0]"), "first layer"),
        (("absent.png",), "no such file"),
        (("conv.json",), "cannot be read"),
        (("--step", 10**6), "step"),
    ):
        told = nw("edges", run, *arguments)
        assert told.code == 2, arguments
        assert words in told.err, arguments


def test_a_network_on_a_table_sees_no_edges(quick: Command, nw: Command) -> None:
    assert quick("--name", "table").code == 0
    told = nw("edges", "table")
    assert told.code == 2
    assert "no pictures" in told.err


def test_a_large_picture_is_scaled_down_and_that_is_said(nw: Command, run: str, tmp_path: Path) -> None:
    Image.new("L", (2400, 600), 128).save(tmp_path / "wide.png")
    told = nw("edges", run, "wide.png")
    assert told.code == 0
    assert "scaled down to 256 × 1,024" in told.out
