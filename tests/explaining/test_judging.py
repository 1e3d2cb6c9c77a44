"""Answers judged row by row: losses as the losses have them, classes as the training counts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.explaining.judging import Judge, amount_words, outputs, passes, row_losses
from neuronwise.learning.evaluation import Evaluator
from neuronwise.network import LOSSES, Network, get_loss
from neuronwise.network.losses import SquaredError

OUTPUTS = {"categorical_cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}


@given(name=st.sampled_from(sorted(LOSSES)), seed=st.integers(0, 999), size=st.sampled_from([1.0, 100.0]))
def test_the_loss_of_a_row_is_that_of_the_row_alone(name: str, seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    loss = LOSSES[name]
    z = size * rng.normal(size=(7, 3))
    y: Any = rng.integers(0, 3, 7) if loss.targets == "classes" else rng.random((7, 3))
    a = 1 / (1 + np.exp(-z)) if name == "binary_cross_entropy" else z
    alone = [loss.evaluate(z[i : i + 1], a[i : i + 1], y[i : i + 1], np.empty((1, 3))) for i in range(7)]
    np.testing.assert_allclose(row_losses(loss, z, a, y), alone, rtol=1e-9, atol=1e-12)


def test_a_loss_of_ones_own_is_asked_row_by_row() -> None:
    class Doubled(SquaredError):
        name = "doubled"

        def evaluate(self, *given_: Any, **options: Any) -> float:
            return 2 * super().evaluate(*given_, **options)

    a, y = np.array([[1.0], [3.0]]), np.zeros((2, 1))
    assert row_losses(Doubled(), a, a, y).tolist() == [2.0, 18.0]


@pytest.mark.parametrize(("output", "n_out"), [("softmax", 4), ("sigmoid", 1), ("identity", 2)])
def test_the_whole_is_what_the_training_measures(output: str, n_out: int) -> None:
    rng = np.random.default_rng(0)
    network = Network.dense([5, 8, n_out], "tanh", output, dtype="float64")
    X = rng.normal(size=(3_000, 5))
    y: Any = rng.normal(size=(3_000, n_out)) if output == "identity" else rng.integers(0, max(2, n_out), 3_000)
    judge = Judge(network, y)
    total = right = squares = 0.0
    for rows, space in passes(network, X):
        z, a = outputs(space)
        total += judge.losses(z, a, rows).sum()
        if judge.is_classes:
            right += judge.right(z, a, rows).sum()
        else:
            squares += judge.squares(a, rows).sum()
    measured = Evaluator(network, X, judge.targets, get_loss(None, output))()
    assert total / len(X) == pytest.approx(measured["loss"])
    if judge.is_classes:
        assert right / len(X) == measured["accuracy"]
    else:
        assert float(judge.r2(squares)) == pytest.approx(measured["r2"])


def test_r2_of_constant_targets_is_not_known() -> None:
    network = Network.dense([2, 1])
    assert np.isnan(Judge(network, np.full((5, 1), 0.1)).r2(3.0))


@pytest.mark.parametrize(
    ("amount", "words"),
    [(36_510.2, "36,510"), (0.53182, "0.5318"), (-1_234.5, "-1,234"), (1e20, "1e+20"), (float("nan"), "nan")],
)
def test_amounts_are_told_as_a_person_would(amount: float, words: str) -> None:
    assert amount_words(amount) == words
