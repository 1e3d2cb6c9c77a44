"""By default the estimators are no worse than scikit-learn's on its own data sets."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor

from neuronwise import NeuralNetworkClassifier, NeuralNetworkRegressor


def _mean_score(model: Any, X: Any, y: Any) -> float:
    return float(cross_val_score(model.set_params(random_state=0), X, y, cv=3).mean())


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_digits, load_diabetes], ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_no_worse_than_scikit_learn_by_default(load: Any) -> None:
    X, y = load(return_X_y=True)
    if load is load_digits:
        X, y = X[:250], y[:250]
    ours, theirs = (
        (NeuralNetworkRegressor(), MLPRegressor(max_iter=200))
        if load is load_diabetes
        else (NeuralNetworkClassifier(), MLPClassifier(max_iter=100))
    )
    assert _mean_score(ours, X, y) > _mean_score(theirs, X, y) - 0.005
