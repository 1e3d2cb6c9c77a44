"""Results, compared with slow and obvious implementations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from neuronwise.data import TargetSpec, describe_target, read_table
from neuronwise.running import METRICS, baselines, score


def spec(values: NDArray[np.generic] | list[str], log: bool | None = None) -> tuple[TargetSpec, NDArray[np.generic]]:
    table = read_table(pd.DataFrame({"y": values}))
    target = describe_target(table, "y", log=log)
    rows = np.arange(len(values))
    target = target.fit(table, rows)
    return target, target.encode(table, rows)


def r2(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    mean = sum(truth) / len(truth)
    missed = sum((t - p) ** 2 for t, p in zip(truth, predicted, strict=True))
    return float(1.0 - missed / sum((t - mean) ** 2 for t in truth))


@pytest.mark.parametrize("log", [False, True])
def test_regression_is_scored_in_the_original_unit(log: bool) -> None:
    random = np.random.default_rng(0)
    truth = np.exp(random.normal(10.0, 0.5, 41))
    target, y = spec(truth, log=log)
    y_hat = y + random.normal(0.0, 0.3, y.shape)
    found = score(target, y, y_hat)
    z = y_hat[:, 0] * target.scale + target.mean
    predicted = np.exp(z) if log else z
    errors = sorted(abs(p - t) for p, t in zip(predicted, truth, strict=True))
    percent = sorted(100 * abs(p - t) / t for p, t in zip(predicted, truth, strict=True))
    # The target passes through float32 on its way: that is 7 digits.
    assert found["r2"] == pytest.approx(r2(truth, predicted), abs=1e-5)
    assert found["mean_absolute_error"] == pytest.approx(sum(errors) / 41, rel=1e-4)
    assert found["median_absolute_error"] == pytest.approx(errors[20], rel=1e-4)
    assert found["median_percent_error"] == pytest.approx(percent[20], rel=1e-4)
    assert ("r2_log" in found) == log
    if log:
        assert found["r2_log"] == pytest.approx(r2(np.log(truth), np.log(predicted)), abs=1e-5)
    assert set(found) <= set(METRICS)


def test_percent_is_left_out_where_a_target_is_not_positive() -> None:
    target, y = spec(np.linspace(-1.0, 1.0, 20))
    assert set(score(target, y, y)) == {"r2", "mean_absolute_error", "median_absolute_error"}
    assert score(target, y, y)["r2"] == pytest.approx(1.0)


def test_one_row_has_no_r2() -> None:
    target, y = spec(np.linspace(1.0, 2.0, 20))
    found = score(target, y[:1], y[:1])
    assert math.isnan(found["r2"])
    assert found["mean_absolute_error"] == pytest.approx(0.0, abs=1e-6)


def test_classes_are_scored_by_the_most_probable() -> None:
    random = np.random.default_rng(1)
    names = random.choice(["a", "b", "c"], 60, p=[0.6, 0.3, 0.1])
    target, y = spec(list(names))
    y_hat = random.dirichlet([1, 1, 1], 60).astype(np.float32)
    found = score(target, y, y_hat)
    right = [int(np.argmax(p) == t) for p, t in zip(y_hat, y, strict=True)]
    recalls = [np.mean([r for r, t in zip(right, y, strict=True) if t == k]) for k in range(3)]
    loss = -np.mean([math.log(p[t]) for p, t in zip(y_hat, y, strict=True)])
    assert found["accuracy"] == pytest.approx(np.mean(right))
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["log_loss"] == pytest.approx(loss, rel=1e-5)
    assert set(found) <= set(METRICS)


def test_two_classes_from_one_probability() -> None:
    target, y = spec(["no", "yes"] * 15)
    p = np.random.default_rng(2).uniform(0.05, 0.95, (30, 1)).astype(np.float32)
    found = score(target, y, p)
    assert found["accuracy"] == pytest.approx(np.mean((p[:, 0] > 0.5) == y))
    assert found["log_loss"] == pytest.approx(-np.mean(np.log(np.where(y == 1, p[:, 0], 1 - p[:, 0]))), rel=1e-5)


def test_certainty_that_is_wrong_costs_much_and_not_infinitely() -> None:
    target, y = spec(["no", "yes"] * 5)
    found = score(target, y, np.array(1 - y, dtype=np.float32)[:, None])
    assert found["accuracy"] == 0.0
    assert math.isfinite(found["log_loss"])
    assert found["log_loss"] > 10


def test_a_class_that_is_not_held_out_is_left_out_of_the_balance() -> None:
    target, y = spec(["a", "b", "c"] * 10)
    rows = y < 2
    y_hat = np.eye(3, dtype=np.float32)[y]
    assert score(target, y[rows], y_hat[rows])["balanced_accuracy"] == 1.0


def test_the_mean_and_the_line_as_baselines() -> None:
    random = np.random.default_rng(3)
    X = random.normal(size=(200, 3)).astype(np.float32)
    truth = X @ np.array([1.0, -2.0, 0.5]) + 7 + random.normal(0, 0.1, 200)
    target, y = spec(truth, log=False)
    mean, line = baselines(target, X, y, np.arange(150), np.arange(150, len(X)), seed=0)
    assert (mean.name, line.name) == ("mean", "linear regression")
    predicted = np.full(50, truth[:150].mean())
    assert mean.metrics["r2"] == pytest.approx(r2(truth[150:], predicted), abs=1e-5)
    A = np.c_[X[:150], np.ones(150)]
    weights = np.linalg.solve(A.T @ A, A.T @ truth[:150])
    by_hand = np.c_[X[150:], np.ones(50)] @ weights
    assert line.metrics["r2"] == pytest.approx(r2(truth[150:], by_hand), abs=1e-4)
    assert line.note == ""


def test_the_majority_and_the_logistic_curve_as_baselines() -> None:
    random = np.random.default_rng(4)
    X = random.normal(size=(200, 2)).astype(np.float32)
    names = np.where(X[:, 0] > 0.5, "rare", "common")
    target, y = spec(list(names))
    majority, curve = baselines(target, X, y, np.arange(150), np.arange(150, len(X)), seed=0)
    assert (majority.name, curve.name) == ("majority class", "logistic regression")
    assert majority.metrics["accuracy"] == pytest.approx(np.mean(names[150:] == "common"))
    assert majority.metrics["balanced_accuracy"] == 0.5
    share = np.mean(names[:150] == "common")
    by_hand = -np.mean(np.log(np.where(names[150:] == "common", share, 1 - share)))
    assert majority.metrics["log_loss"] == pytest.approx(by_hand, rel=1e-6)
    assert curve.metrics["accuracy"] > 0.9


def test_a_class_without_training_rows_gets_no_probability() -> None:
    random = np.random.default_rng(5)
    X = random.normal(size=(60, 2)).astype(np.float32)
    target, y = spec(["a", "b", "c"] * 20)
    known = y != 2
    _, curve = baselines(target, X, y, np.flatnonzero(known), np.arange(len(X)), seed=0)
    assert math.isfinite(curve.metrics["log_loss"])
    only = y == 0
    assert [one.name for one in baselines(target, X, y, np.flatnonzero(only), np.arange(len(X)), seed=0)] == [
        "majority class"
    ]


def test_of_very_many_rows_a_sample_is_learned_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronwise.running.scores._MAX_LINEAR_ROWS", 100)
    X = np.random.default_rng(6).normal(size=(1000, 2)).astype(np.float32)
    target, y = spec(X[:, 0].astype(np.float64) * 3, log=False)
    _, line = baselines(target, X, y, np.arange(900), np.arange(900, len(X)), seed=0)
    assert line.note == "learned from 100 of 900 rows"
    assert line.metrics["r2"] == pytest.approx(1.0, abs=1e-4)


def test_inputs_that_repeat_one_another_do_not_break_the_line() -> None:
    X = np.repeat(np.random.default_rng(7).normal(size=(60, 1)), 3, axis=1).astype(np.float32)
    target, y = spec(X[:, 0].astype(np.float64), log=False)
    _, line = baselines(target, X, y, np.arange(40), np.arange(40, len(X)), seed=0)
    assert line.metrics["r2"] == pytest.approx(1.0, abs=1e-3)


def test_no_percentage_of_almost_nothing() -> None:
    claims = np.array([1e-9] * 7 + [100.0, 200.0, 300.0])
    target = describe_target(read_table(pd.DataFrame({"y": claims})), "y", task="regression", log=False)
    y = target.encode(read_table(pd.DataFrame({"y": claims})))
    assert "median_percent_error" not in score(target, y, y)
    prices = claims + 1000
    target = describe_target(read_table(pd.DataFrame({"y": prices})), "y", task="regression", log=False)
    y = target.encode(read_table(pd.DataFrame({"y": prices})))
    assert score(target, y, y)["median_percent_error"] < 1e-3
