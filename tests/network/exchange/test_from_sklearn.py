"""from_sklearn: a fitted multilayer perceptron of scikit-learn is the same function as a Network."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neuronwise import Network, NeuralNetworkRegressor, from_sklearn
from neuronwise.errors import UsageError

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def _data(dtype: str = "float64") -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    X = random.normal(size=(120, 6)).astype(dtype)
    return X, X[:, 0] - X[:, 1] * X[:, 2]


def _fit(model: Any, X: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 20 epochs are few
        return model.fit(X, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("task", ["binary", "classes", "labels", "number", "numbers"])
def test_equal_in_its_predictions(task: str, activation: str, dtype: str) -> None:
    X, z = _data(dtype)
    y = {
        "binary": np.where(z > 0, "yes", "no"),
        "classes": np.digitize(z, [-1, 0, 1]),
        "labels": np.c_[z > 0, X[:, 0] > 0, X[:, 3] < 0].astype(int),
        "number": z,
        "numbers": np.c_[z, X[:, 1] * 100],
    }[task]
    kind = MLPRegressor if "number" in task else MLPClassifier
    model = _fit(kind(hidden_layer_sizes=(9, 5), activation=activation, max_iter=20, random_state=0), X, y)
    network = from_sklearn(model)
    assert isinstance(network, Network)
    assert network.dtype == model.coefs_[0].dtype == np.dtype(dtype)
    theirs = model.predict(X) if kind is MLPRegressor else model.predict_proba(X)
    ours = network.predict(X)
    if task == "binary":
        ours = np.hstack([1 - ours, ours])
    scale = np.abs(theirs).max()
    assert_allclose(ours / scale, theirs.reshape(ours.shape) / scale, atol=TOLERANCE[dtype], rtol=0)


@pytest.mark.parametrize("layers", [(), (3,), (8, 8, 8, 8)])
def test_any_number_of_layers_and_saturated_outputs(layers: tuple[int, ...]) -> None:
    X, z = _data()
    model = _fit(MLPClassifier(hidden_layer_sizes=layers, max_iter=20, random_state=0), X, np.digitize(z, [-1, 1]))
    network = from_sklearn(model)
    assert [layer.name for layer in network.layers] == [*(f"hidden{i + 1}" for i in range(len(layers))), "output"]
    assert_allclose(network.predict(X * 1e4), model.predict_proba(X * 1e4), atol=1e-12)


def test_names_come_along() -> None:
    X, z = _data()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    colours = np.array(["red", "green", "blue"])[np.digitize(z, [-0.5, 0.5])]
    network = from_sklearn(_fit(MLPClassifier(hidden_layer_sizes=(4,), max_iter=5), frame, colours))
    assert network.input_names == list("abcdef")
    assert network.class_names == ["blue", "green", "red"]
    assert from_sklearn(_fit(MLPClassifier(hidden_layer_sizes=(4,), max_iter=5), X, z > 0)).class_names == ["True"]
    assert from_sklearn(
        _fit(MLPClassifier(hidden_layer_sizes=(4,), max_iter=5), X, np.c_[z > 0, z > 1])
    ).class_names == ["0", "1"]
    number = from_sklearn(_fit(MLPRegressor(hidden_layer_sizes=(4,), max_iter=5), X, z))
    assert number.class_names is None
    assert number.input_names is None


def test_nothing_is_shared_with_the_model() -> None:
    X, z = _data()
    model = _fit(MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0), X, z)
    before = model.predict(X)
    network = from_sklearn(model)
    network.parameters[...] = 0
    assert_array_equal(model.predict(X), before)
    assert network.layers[0].W.shape == (4, 6)


def test_it_goes_on_learning_and_is_saved(tmp_path: Any) -> None:
    from neuronwise.learning import fit

    X, z = _data()
    network = from_sklearn(_fit(MLPRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0), X, z))
    result = fit(network, X, z, epochs=20)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    network.save(tmp_path)
    assert_array_equal(Network.load(tmp_path).predict(X), network.predict(X))


def test_a_class_of_ones_own_that_inherits_is_accepted() -> None:
    class Own(MLPRegressor):
        pass

    X, z = _data()
    assert from_sklearn(_fit(Own(hidden_layer_sizes=(3,), max_iter=2), X, z)).output_size == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MLPClassifier(), "argument model: this MLPClassifier is not fitted; a fitted MLPClassifier or MLPRegressor"),
        (LogisticRegression(), "a fitted MLPClassifier or MLPRegressor is accepted, got LogisticRegression"),
        (None, "a fitted MLPClassifier or MLPRegressor is accepted, got NoneType"),
        (make_pipeline(StandardScaler(), MLPClassifier()), r"Pipeline\nof a .* last step: .*\[:-1\].transform"),
        (GridSearchCV(MLPRegressor(), {}), r"got GridSearchCV\nof a search pass what it found"),
        (CalibratedClassifierCV(MLPClassifier()), "got CalibratedClassifierCV$"),
        (NeuralNetworkRegressor(epochs=1).fit([[1.0], [2.0]], [3.0, 4.0]), r"already one: model.network_"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_accepted_is_told(model: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_sklearn(model)


def test_an_output_that_is_not_known_is_told() -> None:
    X, z = _data()
    model = _fit(MLPRegressor(hidden_layer_sizes=(3,), max_iter=2), X, z)
    model.out_activation_ = "exp"  # as with loss="poisson" in newer versions
    with pytest.raises(UsageError, match="the activation 'exp' of this MLPRegressor is not known here"):
        from_sklearn(model)
