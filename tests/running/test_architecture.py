"""Which network for which data, and which settings are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.data import TargetSpec, describe_target, read_table
from neuronwise.errors import UsageError
from neuronwise.running import TrainOptions, choose_lengths, choose_network, parse_layers
from neuronwise.running.architecture import check_memory, check_settings, make_optimizer


def target(values: list[Any]) -> TargetSpec:
    return describe_target(read_table(pd.DataFrame({"y": values})), "y")


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ("64,32", [64, 32]),
        (" 64 , 32 ", [64, 32]),
        ("16", [16]),
        ("none", []),
        ("None", []),
        ([], []),
        ((3, 4), [3, 4]),
        (np.array([3, 4]), [3, 4]),
        (5, [5]),
        ("1000000", [1_000_000]),
    ],
    ids=str,
)
def test_layers_are_read(given: Any, sizes: list[int]) -> None:
    assert parse_layers(given) == sizes


@pytest.mark.parametrize(
    "given", ["", " ", "16,x", "16,,8", "16,", "0", "-1", "1.5", "²", "٣", [1.5], [True], [0], None, "16;8", "9" * 9999]
)
def test_layers_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(UsageError) as caught:
        parse_layers(given)
    assert caught.value.where == "argument layers"
    assert len(str(caught.value)) < 300


@given(st.text(max_size=12))
def test_any_text_is_sizes_or_a_usage_error(text: str) -> None:
    try:
        sizes = parse_layers(text)
    except UsageError:
        return
    assert all(1 <= size <= 1_000_000 for size in sizes)


@pytest.mark.parametrize(
    ("values", "output", "loss", "n_out"),
    [
        ([0.5 * i for i in range(50)], "identity", "squared_error", 1),
        (["no", "yes"] * 25, "sigmoid", "binary_cross_entropy", 1),
        (["a", "b", "c"] * 20, "softmax", "categorical_cross_entropy", 3),
    ],
)
def test_output_and_loss_follow_from_the_target(values: list[Any], output: str, loss: str, n_out: int) -> None:
    choice = choose_network(target(values), (2,), ["p", "q"], layers="4,3", hidden="tanh", seed=3)
    network = choice.network
    assert [layer.name for layer in network.layers] == ["hidden1", "hidden2", "output"]
    assert [layer.activation.name for layer in network.layers if layer.activation] == ["tanh", "tanh", output]
    assert choice.loss.name == loss
    assert network.output_size == n_out
    assert network.input_names == ["p", "q"]
    assert network.seed == 3
    assert [reason.split(":")[0] for reason in choice.reasons] == ["hidden layers", "output", "loss"]


def test_reasons_name_the_classes_and_the_logarithm() -> None:
    choice = choose_network(target(["no", "yes"] * 25), (1,), ["p"], layers="none", hidden="relu", seed=0)
    assert choice.reasons[0] == "no hidden layer: a linear model"
    assert "the probability of 'yes' against 'no'" in choice.reasons[1]
    prices = target([float(np.exp(i / 5)) for i in range(60)])
    assert prices.log
    reasons = choose_network(prices, (1,), ["p"], layers="4", hidden="relu", seed=0).reasons
    assert "here its logarithm" in reasons[1]
    assert "log of the target" in reasons[2]


def test_pictures_are_laid_flat_first() -> None:
    choice = choose_network(
        target(["a", "b"] * 9), (4, 5), [str(i) for i in range(20)], layers="3", hidden="relu", seed=0
    )
    assert [layer.name for layer in choice.network.layers] == ["flatten1", "hidden1", "output"]


def test_softmax_is_no_hidden_activation() -> None:
    with pytest.raises(UsageError, match="softmax is for outputs"):
        choose_network(target(["a", "b"] * 9), (1,), ["p"], layers="3", hidden="softmax", seed=0)


def test_a_network_larger_than_the_memory_is_refused_before_it_is_made() -> None:
    with pytest.raises(UsageError, match=r"1,000,002,000,001 weights and biases; to train it takes 32\.0 TB"):
        check_memory([1_000_000 - 1 + 1, 1_000_000, 1])
    check_memory([784, 128, 64, 10])


@pytest.mark.parametrize("rows", [1, 10, 100, 4_999, 5_000, 50_000, 10_000_000])
def test_the_schedule_has_sensible_defaults(rows: int) -> None:
    schedule = choose_lengths(rows, batch_size=None, epochs=None, patience=None)
    assert schedule.batch_size == (32 if rows < 5_000 else 64)
    assert 20 <= schedule.epochs <= 200
    assert 5 <= schedule.patience <= 20


def test_what_is_given_stays() -> None:
    schedule = choose_lengths(100, batch_size=7, epochs=3, patience=2)
    assert (schedule.batch_size, schedule.epochs, schedule.patience) == (7, 3, 2)
    assert choose_lengths(100, batch_size=None, epochs=100, patience=None).patience == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("epochs", -1), ("epochs", 2.5), ("epochs", True), ("epochs", "3"), ("epochs", 2**40),
        ("batch_size", 0), ("batch_size", 1.0), ("patience", 0), ("threads", 0), ("threads", 10**6),
        ("seed", -1), ("seed", 2**32), ("seed", 1.5), ("seed", None), ("seed", False),
        ("clip_norm", 0), ("clip_norm", -1.0), ("clip_norm", float("nan")), ("clip_norm", "x"),
        ("learning_rate", 0), ("learning_rate", -1), ("learning_rate", float("inf")), ("learning_rate", "x"),
        ("weight_decay", -0.1), ("optimizer", "adma"), ("hidden", "rely"), ("hidden", "softmax"), ("layers", "16,x"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_right_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        check_settings(replace(TrainOptions(), **{name: value}))
    assert caught.value.where in (f"argument {name}", "argument activation")


def test_settings_that_are_right_pass() -> None:
    check_settings(TrainOptions())
    check_settings(
        replace(TrainOptions(), seed=np.int64(3), epochs=np.int32(2), batch_size=1, threads=None, clip_norm=1)
    )


def test_weight_decay_is_for_tables() -> None:
    assert make_optimizer("adam", None, None, "table").settings()["weight_decay"] > 0
    assert make_optimizer("adam", None, None, "array").settings()["weight_decay"] == 0
    assert make_optimizer("adam", None, 0.0, "table").settings()["weight_decay"] == 0
