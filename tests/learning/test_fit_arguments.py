"""Arguments of `fit` that cannot be used: the message says which, what was received, and how to mend it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.learning import Adam, Observer, fit
from neuronwise.network import Flatten, Network

X, Y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 3


def _refused(text: str, network: Network | None = None, **arguments: Any) -> str:
    network = network or Network.dense([4, 5, 3], output="softmax", seed=0)
    before, handler = network.parameters.copy(), np.geterr()
    options = {"X": X, "y": Y, "epochs": 1} | arguments
    with pytest.raises(UsageError) as caught:
        fit(network, options.pop("X"), options.pop("y"), **options)
    assert text in str(caught.value)
    np.testing.assert_array_equal(network.parameters, before)
    assert np.geterr() == handler
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"learning_rate": 0}, "argument learning_rate: expected a number above 0, got 0"),
        ({"learning_rate": -0.1}, "argument learning_rate: expected a number above 0, got -0.1"),
        ({"learning_rate": math.nan}, "argument learning_rate: expected a number above 0, got nan"),
        ({"learning_rate": "fast"}, "argument learning_rate: expected a number above 0, got 'fast'"),
        ({"weight_decay": -1}, "argument weight_decay: expected a number from 0, got -1"),
        ({"optimizer": "adma"}, "argument optimizer: unknown optimizer 'adma'. Did you mean 'adam'?"),
        ({"optimizer": Adam}, "argument optimizer: unknown optimizer <class"),
        ({"optimizer": Adam(), "learning_rate": 1.0}, "are given both in the optimizer and beside it"),
        ({"loss": "crossentropy"}, "argument loss: unknown loss 'crossentropy'."),
        ({"loss": "binary_cross_entropy"}, "does not go with the output activation 'softmax'"),
        ({"epochs": 0}, "argument epochs: expected a whole number from 1, got 0"),
        ({"epochs": 2.0}, "argument epochs: expected a whole number from 1, got 2.0"),
        ({"epochs": True}, "argument epochs: expected a whole number from 1, got True"),
        ({"batch_size": 0}, "argument batch_size: expected a whole number from 1, got 0"),
        ({"batch_size": "32"}, "argument batch_size: expected a whole number from 1, got '32'"),
        ({"patience": 3}, "argument patience: early stopping needs rows to validate on"),
        ({"patience": 0, "validation": 0.2}, "argument patience: expected a whole number from 1, got 0"),
        ({"min_delta": -0.1, "validation": 0.2}, "argument min_delta: expected a number from 0, got -0.1"),
        ({"min_delta": math.nan}, "argument min_delta: expected a number from 0, got nan"),
        ({"min_delta": "small"}, "argument min_delta: expected a number from 0, got 'small'"),
        ({"clip_norm": 0}, "argument clip_norm: expected a number above 0, got 0"),
        ({"clip_norm": -1.0}, "argument clip_norm: expected a number above 0, got -1.0"),
        ({"clip_norm": math.inf}, "argument clip_norm: expected a number above 0, got inf"),
        ({"clip_norm": "1"}, "argument clip_norm: expected a number above 0, got '1'"),
        ({"seed": -1}, "argument seed: expected a whole number from 0, got -1"),
        ({"seed": 1.5}, "argument seed: expected a whole number from 0, got 1.5"),
        ({"threads": 0}, "argument threads: expected a whole number from 1, got 0"),
        ({"validation": 0}, "argument validation: expected a share between 0 and 1"),
        ({"validation": 1.0}, "argument validation: expected a share between 0 and 1"),
        ({"validation": -0.1}, "got -0.1"),
        ({"validation": math.nan}, "got nan"),
        ({"validation": True}, "got True"),
        ({"validation": "20%"}, "got '20%'"),
        ({"validation": (X,)}, "argument validation: expected (X, y), got 1 value"),
        ({"validation": (X, Y, Y)}, "argument validation: expected (X, y), got 3 values"),
        ({"validation": (X[:, :3], Y)}, "argument validation: expected inputs of shape (batch, 4), got (20, 3)"),
        ({"validation": (X, Y[:5])}, "argument validation: X and y have different lengths"),
        ({"validation": (X * np.nan, Y)}, "argument validation: Input X contains NaN"),
        ({"validation": (X, Y + 1)}, "argument validation: class numbers go from 0 to 2"),
        ({"validation": np.array([0.5])}, "argument validation: expected an array of row numbers"),
        ({"validation": np.array([20])}, "argument validation: row numbers go from 0 to 19, got 20 to 20"),
        ({"validation": np.arange(20)}, "argument validation: no rows are left to learn from"),
        ({"validation": np.array([3]), "training_rows": [1, 3]}, "argument validation: row 3 is in training_rows too"),
        ({"training_rows": []}, "argument training_rows: expected an array of row numbers, got []"),
        ({"training_rows": [-1]}, "argument training_rows: row numbers go from 0 to 19, got -1 to -1"),
        ({"groups": Y}, "argument groups: groups say how to split, but nothing is to be split"),
        ({"groups": Y, "validation": (X, Y)}, "argument groups: groups say how to split, but nothing is to be split"),
        ({"groups": Y[:5], "validation": 0.2}, "argument groups: 20 rows need as many labels, got 5"),
        ({"groups": np.zeros(20), "validation": 0.2}, "argument groups: all rows belong to one group"),
        ({"class_weights": "even"}, "argument class_weights: expected 'balanced' or weights by class, got 'even'"),
        ({"class_weights": {0: 1}}, "argument class_weights: class 1 needs a positive weight, got none"),
        ({"observers": Observer()}, "argument observers: expected a list of observers, got <"),
        ({"observers": [print]}, "argument observers: expected an Observer, got <built-in function print>"),
        ({"observers": [Observer]}, "argument observers: expected an Observer, got <class"),
        ({"observers": None}, "argument observers: expected a list of observers, got None"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_changed(arguments: dict[str, Any], text: str) -> None:
    _refused(text, **arguments)


def test_patience_alone_is_answered_with_what_to_type() -> None:
    assert "pass validation=0.1 (a share of the rows) or validation=(X, y)" in _refused("patience", patience=2)


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ({"X": np.where(np.arange(80).reshape(20, 4) == 17, np.nan, X)}, ["NaN: 1 value", "row 4, column 1"]),
        ({"X": np.where(np.arange(80).reshape(20, 4) > 77, np.inf, X)}, ["infinity: 2 values", "row 19, column 2"]),
        ({"X": np.full((20, 4), 1e300)}, ["too large for float32: 80 values", "row 0, column 0"]),
        ({"X": X[:, 0]}, ["2-D array", "(20,)"]),
        ({"X": X[:, :3]}, ["expected inputs of shape (batch, 4), got (20, 3)"]),
        ({"X": X[:0], "y": Y[:0]}, ["X has no rows"]),
        ({"X": [["a", "b", "c", "d"]] * 20}, ["holds text ('a')"]),
        ({"y": Y[:-1]}, ["different lengths: 20 rows in X, 19 in y"]),
        ({"y": Y + 1}, ["class numbers go from 0 to 2 (the network has 3 outputs), got 3"]),
        ({"y": Y - 1}, ["class numbers go from 0 to 2", "got -1"]),
        ({"y": Y + 0.5}, ["class numbers go from 0 to 2", "got 0.5"]),
        ({"y": ["cat"] * 20}, ["holds text ('cat')"]),
        ({"y": np.where(np.arange(20) == 3, np.nan, Y)}, ["Input y contains NaN: 1 value, the first at row 3"]),
        ({"y": None}, ["argument y"]),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused_with_the_place(data: dict[str, Any], texts: list[str]) -> None:
    for text in texts:
        _refused(text, **data)


def test_values_of_a_regression_are_checked_too() -> None:
    network = Network.dense([4, 2], seed=0)
    _refused("expected targets of shape (20, 2), got (20,)", network, y=np.zeros(20))
    _refused("Input y contains infinity", network, y=np.full((20, 2), np.inf))


def test_a_network_that_has_nothing_to_learn_is_refused() -> None:
    _refused("the network has no weights: there is nothing to learn", Network([Flatten()], input_shape=4), y=X)
