"""Results on held-out rows, in the original unit, beside what simpler ways reach."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import TargetSpec
from neuronwise.network import Network

# A linear model of more rows than this says the same and takes longer than the network did.
_MAX_LINEAR_ROWS = 20_000
_MAX_LOGISTIC_ROWS = 5_000
# Rows whose inputs are copied at once.
_ROWS = 65_536


@dataclass(frozen=True)
class Score:
    """How one way of predicting does on held-out rows.

    Attributes:
        name: ``"network"``, ``"linear regression"`` …
        metrics: By name, as listed in `METRICS`.
        note: What should be known of it, or ``""``.
    """

    name: str
    metrics: dict[str, float]
    note: str = ""


METRICS = {
    "r2": "R²",
    "r2_log": "R² of the logarithm",
    "mean_absolute_error": "mean absolute error",
    "median_absolute_error": "median absolute error",
    "median_percent_error": "median absolute error in %",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
}
"""Every metric of a result, with its words. Errors are in the unit of the target."""


def score(target: TargetSpec, y: NDArray[Any], y_hat: NDArray[Any]) -> dict[str, float]:
    """Return the metrics of predictions.

    Args:
        target: The target.
        y: What is right, as `TargetSpec.encode` gives it.
        y_hat: The network's output, (rows, outputs): standardised values, or probabilities.
    """
    from sklearn import metrics

    if target.task == "regression":
        truth, predicted = target.decode(y), target.decode(y_hat)
        values = {
            "r2": _r2(truth, predicted),
            "mean_absolute_error": float(metrics.mean_absolute_error(truth, predicted)),
            "median_absolute_error": float(metrics.median_absolute_error(truth, predicted)),
        }
        if target.log:
            values["r2_log"] = _r2(np.log(truth), np.log(np.maximum(predicted, np.finfo(float).tiny)))
        # A percentage of almost nothing says nothing: such targets (claims, most of them 0) get none.
        if truth.min() > 0 and (target.log or truth.min() >= 0.01 * truth.mean()):
            values["median_percent_error"] = 100.0 * float(np.median(np.abs(predicted - truth) / truth))
        return values
    probabilities = np.hstack([1.0 - y_hat, y_hat]) if y_hat.shape[1] == 1 else y_hat
    probabilities = probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    chosen = probabilities.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class without held-out rows has no recall; the mean is over the others
        return {
            "accuracy": float(metrics.accuracy_score(y, chosen)),
            "balanced_accuracy": float(metrics.balanced_accuracy_score(y, chosen)),
            "log_loss": float(metrics.log_loss(y, probabilities, labels=np.arange(len(target.classes)))),
        }


def _r2(truth: NDArray[Any], predicted: NDArray[Any]) -> float:
    from sklearn.metrics import r2_score

    # With one row R² is not defined; scikit-learn warns and returns NaN.
    return float(r2_score(truth, predicted)) if len(truth) > 1 else float("nan")


def answers(network: Network, X: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return the network's output for some rows of X, (rows, outputs); a few thousand of them are copied at a time."""
    if not len(rows):
        return network.predict(X[rows])
    parts = (network.predict(X[rows[start : start + _ROWS]]) for start in range(0, len(rows), _ROWS))
    return np.concatenate(list(parts))


def baselines(
    target: TargetSpec,
    X: NDArray[Any],
    y: NDArray[Any],
    known: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
) -> list[Score]:
    """Return what the mean (or majority) and a linear (or logistic) regression reach on the same rows.

    Both learn from the same encoded inputs as the network, from the rows it learned and validated on; of very
    many rows a sample, which the note says.

    Args:
        target: The target.
        X: Encoded inputs of all rows.
        y: Encoded targets of all rows.
        known: Rows to learn from.
        test: Rows to be measured on.
        seed: Of the sample.
    """
    from neuronwise.network import generator

    regression = target.task == "regression"
    y_known, y_test = y[known], y[test]
    simple = _mean(y_known, len(test)) if regression else _majority(target, y_known, len(test))
    scores = [Score("mean" if regression else "majority class", score(target, y_test, simple))]
    if not regression and len(np.unique(y_known)) < 2:  # the rows of all other classes are held out
        return scores
    limit = _MAX_LINEAR_ROWS if regression else _MAX_LOGISTIC_ROWS
    note = ""
    if len(known) > limit:
        drawn = np.sort(generator(seed, "baseline rows").choice(len(known), limit, replace=False))
        note = f"learned from {limit:,} of {len(known):,} rows"
        known = known[drawn]
    model = _linear(X[known], y[known]) if regression else _logistic(target, X[known], y[known])
    predicted = np.concatenate([model(X[test[start : start + _ROWS]]) for start in range(0, len(test), _ROWS)])
    name = "linear regression" if regression else "logistic regression"
    return [*scores, Score(name, score(target, y_test, predicted), note)]


def _mean(y: NDArray[Any], rows: int) -> NDArray[Any]:
    """Predict the mean of what is learned (of the logarithm, where that is)."""
    return np.full((rows, 1), y.mean(dtype=np.float64))


def _majority(target: TargetSpec, y: NDArray[Any], rows: int) -> NDArray[Any]:
    """Predict each class with its share, so that the largest wins."""
    shares = np.bincount(y, minlength=len(target.classes)) / len(y)
    return np.tile(shares, (rows, 1))


def _linear(X: NDArray[Any], y: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    from sklearn.linear_model import Ridge

    # Least squares; the trace of ridge only makes it solvable where one-hot columns add up to 1.
    model = Ridge(alpha=1e-3).fit(X.astype(np.float64), y.reshape(-1))
    return lambda X: np.asarray(model.predict(X.astype(np.float64))).reshape(-1, 1)


def _logistic(target: TargetSpec, X: NDArray[Any], y: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations are plenty for a comparison
        model = LogisticRegression(max_iter=100).fit(X, y)

    def predict(X: NDArray[Any]) -> NDArray[Any]:
        probabilities = np.zeros((len(X), len(target.classes)))
        probabilities[:, model.classes_] = model.predict_proba(X)
        return probabilities

    return predict
