"""A network that the user describes, brought together with the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuronwise.data import make_houses
from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.network import Conv2D, Dense, Flatten, MaxPool2D, Network
from neuronwise.running import count_network_file, load, train

QUICK: dict[str, Any] = {"epochs": 2, "track": False}
LAYERS: list[dict[str, Any]] = [
    {"type": "Conv2D", "filters": 4, "kernel_size": 3},
    {"type": "MaxPool2D"},
    {"type": "Flatten"},
    {"type": "Dropout", "rate": 0.1},
    {"type": "Dense", "units": 10, "activation": "softmax"},
]


def described(layers: list[dict[str, Any]] | None = None, **keys: Any) -> dict[str, Any]:
    return {"format": "neuronwise-network", "version": 1, "layers": layers or LAYERS} | keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "conv.json"
    path.write_text(json.dumps(described()), encoding="utf-8")
    return path


def test_a_file_its_content_and_the_network_train_alike(path: Path) -> None:
    runs = [
        train("digits", network=path, **QUICK),
        train("digits", network=str(path), **QUICK),
        train("digits", network=described(), **QUICK),
        train("digits", network=described(input_shape=[8, 8, 1], seed=0), **QUICK),
        train("digits", network=Network.from_dict(described(input_shape=[8, 8])), **QUICK),
    ]
    for run in runs:
        np.testing.assert_array_equal(run.network.parameters, runs[0].network.parameters)
        assert run.settings["network"].endswith("10")
        assert "layers" not in run.settings
        assert [layer.name for layer in run.network.layers] == ["conv1", "pool1", "flatten1", "dropout1", "output"]
    loaded = load(runs[0].folder)
    assert list(loaded.predict("digits")) == list(runs[0].predict("digits"))
    assert runs[0].network.class_names == [str(i) for i in range(10)]
    assert runs[0].network.input_names is not None


def test_the_seed_of_the_description_comes_before_that_of_the_training() -> None:
    layers = [LAYERS[2], LAYERS[4]]
    own = train("digits", network=described(layers, seed=3), seed=1, **QUICK)
    given = train("digits", network=described(layers), seed=3, **QUICK)
    other = train("digits", network=described(layers), seed=1, **QUICK)
    assert own.network.seed == given.network.seed == 3
    assert other.network.seed == 1


def test_a_network_that_is_given_is_not_changed() -> None:
    network = Network([Flatten(), Dense(10, "softmax")], input_shape=(8, 8))
    before = network.parameters.copy()
    train("digits", network=network, **QUICK)
    np.testing.assert_array_equal(network.parameters, before)
    assert network.class_names is None


def test_tables_and_two_classes_take_networks_too() -> None:
    frame = make_houses(300, seed=0)
    layers = [
        {"type": "BatchNorm"},
        {"type": "Dense", "units": 6},
        {"type": "Dense", "units": 1, "activation": "identity"},
    ]
    run = train(frame, "price", network=described(layers), **QUICK)
    assert run.network["norm1"].features == run.data["inputs"]
    frame = pd.DataFrame({"a": np.sin(np.arange(200.0)), "b": ["yes" if i % 3 else "no" for i in range(200)]})
    layers[-1]["activation"] = "sigmoid"
    assert set(train(frame, "b", network=described(layers), **QUICK).predict(frame)) <= {"yes", "no"}


@pytest.mark.parametrize(
    ("network", "error", "parts"),
    [
        (
            described(input_shape=[9, 9]),
            UsageError,
            ["the network takes 9 × 9 inputs, the data has 8 × 8", "leave the key"],
        ),
        (
            described(LAYERS[:-1]),
            UsageError,
            ["layer output", "outputs of shape 36, the data needs 10 classes", "Dense"],
        ),
        (
            described([LAYERS[2], {"type": "Dense", "units": 10, "activation": "relu"}]),
            UsageError,
            ["layer output", "'relu', but what is learned is a probability for each class", '"softmax"'],
        ),
        (described([LAYERS[2], LAYERS[4], LAYERS[3]]), UsageError, ["layer output", "None"]),
        (described(class_names=[*"abcdefghij"]), UsageError, ["'class_names'", "'a' there, '0' here"]),
        (described(input_names=["x"] * 64), UsageError, ["'input_names'"]),
        (described([{"type": "Conv2d", "filters": 3}]), FormatError, ["layers[0]", "Conv2d", "Did you mean 'Conv2D'?"]),
        (described([{"type": "Conv2D", "filters": 4, "kernel_size": 9}]), FormatError, ["layers[0]", "9"]),
        (described([{"type": "Dense", "units": 3}]), FormatError, ["layers[0]", "put Flatten() before it"]),
        ({"layers": LAYERS}, FormatError, ["'format'"]),
        (described([{"type": "Flatten"}, {"type": "Dense", "units": 10**8}, LAYERS[-1]]), UsageError, ["of memory"]),
        (7, UsageError, ["argument network", "got 7"]),
        ("none.json", NotFoundError, ["there is no file 'none.json'"]),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    network: Any, error: type[Exception], parts: list[str]
) -> None:
    from neuronwise.running.run import runs_folder

    with pytest.raises(error) as caught:
        train("digits", network=network, **QUICK)
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    assert not runs_folder().exists() or not list(runs_folder().iterdir())


def test_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    for content, part in [
        ("{", "not valid JSON"), ("[]", "expected a JSON object"),
        (json.dumps(described([{"type": "Dense", "units": "3"}])), "layers[0]: the key 'units'"),
    ]:  # fmt: skip
        path.write_text(content)
        with pytest.raises(FormatError) as caught:
            train("digits", network=path, **QUICK)
        assert str(path) in str(caught.value)
        assert part in str(caught.value)


def test_a_network_and_a_run_to_start_from_are_not_given_together(path: Path) -> None:
    with pytest.raises(UsageError, match="argument network: the network is that of the run to start from"):
        train("digits", network=path, from_run="latest", **QUICK)


def test_a_file_is_counted_without_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    layers = [
        {"type": "Conv2D", "filters": 1000, "kernel_size": 100},
        {"type": "Flatten"},
        {"type": "Dense", "units": 1},
    ]
    path.write_text(json.dumps(described(layers, input_shape=[1000, 1000, 100])))
    summary = count_network_file(path)
    expected = 1000 * (100 * 100 * 100) + 1000 + 901 * 901 * 1000 + 1
    assert summary.parameter_count == expected
    network = Network([Conv2D(2, 3), MaxPool2D(), Flatten(), Dense(1)], input_shape=(8, 8))
    path.write_text(json.dumps(network.to_dict()))
    assert count_network_file(path) == network.summary()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dtype", "float16", "the key 'dtype' should be 'float32' or 'float64', got 'float16'"),
        ("seed", -1, "the key 'seed' should be a whole number from 0, got -1"),
        ("input_names", ["a"], "the key 'input_names' should hold 64 names, has 1"),
        ("class_names", "abc", "the key 'class_names' should be a list of names or null, got 'abc'"),
    ],
)
def test_counting_refuses_what_training_would(tmp_path: Path, key: str, value: Any, message: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(described(input_shape=[8, 8]) | {key: value}), encoding="utf-8")
    with pytest.raises(FormatError) as refused:
        count_network_file(path)
    assert (refused.value.where, refused.value.message) == (str(path), message)


def test_layers_too_wide_for_the_memory_are_refused_before_they_take_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronwise.running.architecture._machine_bytes", lambda: 1e9)
    layers = [
        {"type": "Conv2D", "filters": 200_000, "kernel_size": 1},
        {"type": "Conv2D", "filters": 1, "kernel_size": 1},
    ]
    message = r"layer conv1: a batch of 32 rows takes 4.9 GB of memory in the layers, 12,800,000 values for each row"
    with pytest.raises(UsageError, match=message):
        train("digits", network=described([*layers, LAYERS[2], LAYERS[4]]), **QUICK)


def test_counting_says_which_shape_to_add(path: Path) -> None:
    with pytest.raises(FormatError, match=r'conv.json: the key .input_shape. is missing\n"input_shape": \[28, 28\]'):
        count_network_file(path)


def test_colours_that_would_be_taken_for_rows_are_refused() -> None:
    """Pictures have their channels last; only laid out anew for channels first they would be scrambled."""
    from neuronwise.data import ImageData

    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3)).astype(np.uint8)
    data = ImageData(images, np.arange(40) % 2, ["a", "b"])
    network = Network(
        [Conv2D(2, 3, data_format="channels_first"), Flatten(), Dense(1, "sigmoid")], input_shape=(3, 6, 6)
    )
    with pytest.raises(UsageError, match=r"(?s)pictures of 3 × 6 × 6, those of the data are 6 × 6 × 3.*\[6, 6, 3\]"):
        train(data, network=network, **QUICK)
    grey = ImageData(images[..., 0], np.arange(40) % 2, ["a", "b"])
    network = Network(
        [Conv2D(2, 3, data_format="channels_first"), Flatten(), Dense(1, "sigmoid")], input_shape=(1, 6, 6)
    )
    assert train(grey, network=network, **QUICK).network.input_shape == (1, 6, 6)
