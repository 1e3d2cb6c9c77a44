"""The line to type after a training of our own engine: as it was typed, but for what should be another."""

from __future__ import annotations

from typing import Any

import pytest

from neuronwise.diagnosing.causes import CAUSES
from neuronwise.diagnosing.own_lines import OPTIONS, own_line

WORDS: dict[str, Any] = {
    "lower_lr": 0.04, "higher_lr": 0.1, "more_epochs": 90, "wider": 16, "more_decay": 0.01, "column": "sale id",
}  # fmt: skip


def _line(cause: str, *arguments: str) -> str | None:
    return own_line(cause, WORDS, {"arguments": list(arguments)})


def test_what_was_typed_stays_and_what_changes_takes_its_place() -> None:
    typed = ("my houses.csv", "--target", "price", "--learning-rate", "3", "--optimizer", "sgd", "--no-log")
    assert _line("lr_too_high", *typed) == (
        "neuronwise train 'my houses.csv' --target price --learning-rate 0.04 --optimizer sgd --no-log"
    )
    assert _line("too_few_epochs", *typed) == (
        "neuronwise train 'my houses.csv' --target price --learning-rate 3 --optimizer sgd --no-log --epochs 90"
    )
    assert _line("wrong_optimizer", *typed) == (
        "neuronwise train 'my houses.csv' --target price --learning-rate 0.001 --optimizer adam --no-log"
    )


def test_columns_are_added_to_those_left_out_before() -> None:
    assert _line("leaking_target", "a.csv", "--target", "y", "--drop", "b") == (
        "neuronwise train a.csv --target y --drop b --drop 'sale id'"
    )
    assert _line("code_as_number", "a.csv", "--from", "1234", "--target", "y") == (
        "neuronwise train a.csv --target y --category 'sale id'"
    )


def test_a_column_is_not_told_of_twice_which_would_be_an_error() -> None:
    assert _line("code_as_number", "a.csv", "--numeric", "sale id", "--target", "y") == (
        "neuronwise train a.csv --target y --category 'sale id'"
    )
    assert _line("identifier_feature", "a.csv", "--numeric", "b,sale id", "--category", "c") == (
        "neuronwise train a.csv --numeric b --category c --drop 'sale id'"
    )


def test_other_layers_stand_instead_of_a_given_network() -> None:
    assert _line("network_too_small", "digits", "--network", "n.json", "--seed", "3") == (
        "neuronwise train digits --seed 3 --layers 16,16"
    )


@pytest.mark.parametrize("data", [None, {}, {"arguments": []}, {"arguments": [1]}, {"arguments": "digits"}])
def test_where_it_is_not_known_how_it_was_typed_there_is_a_placeholder(data: Any) -> None:
    assert own_line("class_imbalance", WORDS, data) == "neuronwise train DATA --class-weights balanced"


def test_an_estimator_is_told_in_python() -> None:
    said = {"arguments": ["a.csv"], "estimator": {}}
    lines = {cause: own_line(cause, WORDS, said) for cause in OPTIONS}
    assert lines["lr_too_high"] == "estimator.set_params(learning_rate=0.04)"
    assert lines["wrong_optimizer"] == "estimator.set_params(optimizer='adam', learning_rate=0.001)"
    assert lines["network_too_small"] == "estimator.set_params(layers=(16, 16))"
    assert lines["class_imbalance"] == "estimator.set_params(class_weight='balanced')"
    assert lines["code_as_number"] == (
        "estimator.set_params(category=['sale id'], numeric=[one for one in estimator.numeric if one != 'sale id'])"
    )
    assert lines["identifier_feature"] == "X = X.drop(columns=['sale id'])"


def test_every_line_is_of_a_cause_and_others_have_none() -> None:
    assert set(OPTIONS) <= set(CAUSES)
    assert _line("wrong_loss", "digits") is None


def test_estimators_take_each_of_these_lines() -> None:
    from neuronwise.running import NeuralNetworkClassifier

    estimator = NeuralNetworkClassifier()
    for cause in OPTIONS:
        line = own_line(cause, WORDS, {"estimator": {}})
        assert line is not None
        if line.startswith("estimator."):
            exec(line, {"estimator": estimator})
    assert estimator.learning_rate == 0.001
    assert estimator.class_weight == "balanced"
