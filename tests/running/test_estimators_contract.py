"""The estimators keep scikit-learn's contract: its own checks, and what its tools do with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from neuronwise import NeuralNetworkClassifier, NeuralNetworkRegressor
from neuronwise.errors import TrainingDiverged

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "rows are learned from in mini-batches: a row that is there three "
    "times is met three times an epoch, in other company than one row of weight 3",
}


@parametrize_with_checks(
    [NeuralNetworkClassifier(), NeuralNetworkRegressor()], expected_failed_checks=lambda estimator: EXPECTED_FAILURES
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_grid_search_in_two_processes_inside_a_pipeline() -> None:
    wine = load_wine(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), NeuralNetworkClassifier(epochs=15, random_state=0))
    grid = {"neuralnetworkclassifier__layers": [(), (16,)], "neuralnetworkclassifier__learning_rate": [0.003]}
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(*wine)
    assert search.best_score_ > 0.9
    assert search.predict(wine[0]).shape == (178,)


def test_a_training_that_diverges_is_a_failed_fit_of_a_search() -> None:
    X, y = load_iris(return_X_y=True)
    model = NeuralNetworkClassifier(optimizer="sgd", epochs=3, random_state=0)
    with pytest.raises(TrainingDiverged, match="the learning rate was 1e\\+30"):
        clone(model).set_params(learning_rate=1e30).fit(X, y)
    with pytest.warns(Warning, match="fits failed|non-finite"):  # scikit-learn's own
        search = GridSearchCV(model, {"learning_rate": [0.1, 1e30]}, cv=3).fit(X, y)
    assert search.best_params_ == {"learning_rate": 0.1}
    assert np.isnan(search.cv_results_["mean_test_score"][1])


def test_cross_validation_of_columns_transformed() -> None:
    X, y = load_iris(return_X_y=True)
    columns = ColumnTransformer([("scaled", StandardScaler(), [0, 1]), ("as they are", "passthrough", [2, 3])])
    scores = cross_val_score(make_pipeline(columns, NeuralNetworkClassifier(random_state=0)), X, y, cv=3)
    assert scores.mean() > 0.9
