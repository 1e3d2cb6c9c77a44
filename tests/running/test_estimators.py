"""The estimators: what is fitted, which labels, weights and parameters they take, and what they refuse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine, make_regression
from sklearn.exceptions import NotFittedError

from neuronwise import NeuralNetworkClassifier, NeuralNetworkRegressor
from neuronwise.errors import DataError, UsageError
from neuronwise.learning import Adam
from neuronwise.network import Dense, Flatten, Network


@pytest.fixture(scope="module")
def wine() -> tuple[Any, Any]:
    return load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(wine: tuple[Any, Any]) -> NeuralNetworkClassifier:
    return NeuralNetworkClassifier(random_state=0).fit(*wine)


def test_what_is_fitted_can_be_asked(fitted: NeuralNetworkClassifier, wine: tuple[Any, Any]) -> None:
    X, _ = wine
    assert isinstance(fitted.network_, Network)
    assert fitted.network_.class_names == ["0", "1", "2"]
    assert fitted.network_.input_names == [f"x[{i}]" for i in range(13)]
    assert_array_equal(fitted.classes_, [0, 1, 2])
    assert fitted.n_features_in_ == 13
    assert fitted.n_iter_ == len(fitted.history_) == len(fitted.loss_curve_) == fitted.result_.epochs
    assert fitted.loss_curve_[-1] < 0.1 * fitted.loss_curve_[0]
    assert not hasattr(fitted, "run_")
    # The network takes what the encoder returns, and its explanations work on it.
    x = fitted.encoder_.transform(X)
    assert_allclose(fitted.network_.predict(x), fitted.predict_proba(X), atol=1e-5)
    neuron = fitted.network_["output[1]"]
    explained = neuron.explain(fitted.network_.trace(x[:1])["hidden1"].a[0])
    assert_allclose(explained.z, fitted.network_.trace(x[:1])["output"].z[0, 1], rtol=1e-4)


def test_the_same_seed_gives_the_same_bits_and_another_one_others(wine: tuple[Any, Any]) -> None:
    first, second, other = (NeuralNetworkClassifier(random_state=s, epochs=5).fit(*wine) for s in (3, 3, 4))
    assert_array_equal(first.network_.parameters, second.network_.parameters)
    assert (first.network_.parameters != other.network_.parameters).any()
    from_state = [NeuralNetworkClassifier(random_state=np.random.RandomState(7), epochs=2).fit(*wine) for _ in range(2)]
    assert_array_equal(from_state[0].network_.parameters, from_state[1].network_.parameters)


@pytest.mark.parametrize(
    "labels",
    [["no", "yes"], [False, True], [-1, 1], [1.0, 2.0], ["a", "b", "c"], [10, 20, 30], np.array([3, 5, 9], np.int8)],
    ids=str,
)
def test_labels_of_any_type_come_back_in_their_own_dtype(labels: Any, wine: tuple[Any, Any]) -> None:
    X, y = wine
    y = np.asarray(labels)[y % len(labels)]
    model = NeuralNetworkClassifier(random_state=0, epochs=30).fit(X, y)
    assert model.classes_.dtype == model.predict(X).dtype == y.dtype
    assert_array_equal(model.classes_, np.unique(y))
    assert model.score(X, y) > 0.9
    assert model.predict_proba(X).shape == (len(X), len(labels))


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "UInt8", "Float32"])
def test_labels_that_pandas_can_hold_with_gaps_stay_what_they_are(dtype: str) -> None:
    y = pd.Series([0, 1] * 20, dtype=dtype)
    model = NeuralNetworkClassifier(epochs=1).fit(np.arange(40.0)[:, None], y)
    assert model.classes_.dtype == model.predict([[3.0]]).dtype == np.dtype(dtype.lower().replace("boolean", "bool"))


@pytest.mark.parametrize(
    "y",
    [
        np.array(["a", None] * 4, object),
        pd.Series(["a", pd.NA] * 4, dtype="string"),
        pd.Series([1, pd.NA] * 4, dtype="Int64"),
        pd.Series([1.0, np.nan] * 4),
    ],
    ids=["object", "string", "Int64", "float"],
)
def test_a_missing_label_is_told_by_its_row(y: Any) -> None:
    with pytest.raises(DataError, match="argument y: Input y contains NaN: 4 missing, the first at row 1"):
        NeuralNetworkClassifier().fit(np.ones((8, 2)), y)


def test_numbers_that_are_none_are_told_by_their_place() -> None:
    X, y = np.ones((6, 3)), np.arange(6.0)
    X[4, 2] = np.nan
    with pytest.raises(DataError, match=r"Input X contains NaN: 1 value, the first at row 4, column 2\n(.|\n)*frame"):
        NeuralNetworkRegressor().fit(X, y)
    X[4, 2], y[3] = 0.0, np.inf
    with pytest.raises(DataError, match="Input y contains infinity: 1 value, the first at row 3"):
        NeuralNetworkRegressor().fit(X, y)
    with pytest.raises(DataError, match=r"27 masked values, the first at row 0, column 0\n.*X.filled"):
        NeuralNetworkRegressor().fit(np.ma.array(np.ones((9, 3)), mask=True), np.arange(9.0))
    with pytest.raises(DataError, match=r"argument y: Input y holds text: .*'no'.*\nNeuralNetworkClassifier learns"):
        NeuralNetworkRegressor().fit(np.ones((2, 3)), ["no", "yes"])
    with pytest.raises(DataError, match="text: could not convert string to float: 'red'\npass a DataFrame"):
        NeuralNetworkRegressor().fit(np.array([[1, "red"], [2, "blue"]], object), [1.0, 2.0])


def test_object_labels_stay_objects(wine: tuple[Any, Any]) -> None:
    X, y = wine
    names = np.array(["low", "middle", "high"], dtype=object)[y]
    assert NeuralNetworkClassifier(random_state=0, epochs=2).fit(X, names).predict(X).dtype == object


@settings(max_examples=15)
@given(st.integers(2, 5), st.integers(0, 1000), st.booleans())
def test_probabilities_are_probabilities(classes: int, seed: int, standardize: bool) -> None:
    random = np.random.default_rng(seed)
    X, y = random.normal(size=(40, 3)), np.arange(40) % classes
    model = NeuralNetworkClassifier((4,), epochs=3, random_state=seed, standardize=standardize).fit(X, y)
    p = model.predict_proba(X)
    assert p.shape == (40, classes)
    assert (p >= 0).all()
    assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)
    assert_array_equal(model.predict(X), model.classes_[p.argmax(axis=1)])
    assert_allclose(np.exp(model.predict_log_proba(X)), p, atol=1e-12)


def test_predicting_draws_no_weights(fitted: Any, wine: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fitted.predict_proba(wine[0])
    monkeypatch.setattr(Dense, "initial_parameters", lambda *_: pytest.fail("first weights were drawn"))
    assert_array_equal(fitted.predict_proba(wine[0]), expected)


def test_a_row_alone_gets_the_answer_it_gets_among_others(fitted: Any, wine: tuple[Any, Any]) -> None:
    X, _ = wine
    alone = np.vstack([fitted.predict_proba(X[i : i + 1]) for i in range(20)])
    assert_allclose(alone, fitted.predict_proba(X)[:20], rtol=1e-12)


def test_large_and_small_columns_are_learned_alike() -> None:
    X, y = make_regression(300, 5, n_informative=5, random_state=0)
    wild = X * [1e-6, 1.0, 1e6, 1e300, 1.0] + [0, 1e7, 0, 0, -5]
    plain = NeuralNetworkRegressor(random_state=0).fit(X, y).score(X, y)
    assert plain > 0.95
    far = y * 1e100 - 1e102
    assert NeuralNetworkRegressor(random_state=0).fit(wild, far).score(wild, far) > 0.95


def test_numbers_taken_as_they_are_are_warned_of_where_they_are_large(wine: tuple[Any, Any]) -> None:
    model = NeuralNetworkClassifier(standardize=False, epochs=1, random_state=0)
    with pytest.warns(UserWarning, match=r"the values go from .* and are learned as they are.*standardize"):
        model.fit(*wine)
    x = wine[0] / 1000
    assert_allclose(model.fit(x, wine[1]).encoder_.transform(x), x, rtol=1e-6)


def test_pickled_and_cloned(fitted: NeuralNetworkClassifier, wine: tuple[Any, Any]) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict_proba(wine[0]), fitted.predict_proba(wine[0]))
    bare = clone(NeuralNetworkClassifier((5,), optimizer=Adam(0.01), class_weight={0: 2.0, 1: 1.0, 2: 1.0}))
    assert bare.layers == (5,)
    assert bare.optimizer.learning_rate == 0.01
    assert not hasattr(bare, "network_")
    with pytest.raises(NotFittedError):
        bare.predict(wine[0])


def test_parameters_are_left_as_they_were_given(wine: tuple[Any, Any]) -> None:
    optimizer = Adam(0.01)
    before = pickle.dumps(optimizer)
    layers = [6, 4]
    model = NeuralNetworkClassifier(layers, optimizer=optimizer, epochs=2, random_state=0).fit(*wine)
    assert model.get_params()["layers"] is layers
    assert model.optimizer is optimizer
    assert pickle.dumps(optimizer) == before
    assert [layer.neuron_count for layer in model.network_.layers] == [6, 4, 3]


def test_several_numbers_at_once() -> None:
    X, y = make_regression(200, 6, n_informative=6, n_targets=3, random_state=1)
    y = y * [1, 1000, 0.001] + [0, 5, 1]
    model = NeuralNetworkRegressor(random_state=0).fit(X, y)
    assert model.predict(X).shape == (200, 3)
    assert model.n_outputs_ == 3
    assert model.score(X, y) > 0.95
    with pytest.raises(ValueError, match="y has 1 columns, and 3 were learned"):
        model.partial_fit(X, y[:, 0])


def test_several_labels_for_a_row_are_refused(wine: tuple[Any, Any]) -> None:
    X, y = wine
    with pytest.raises(UsageError, match="several labels for each row are not offered"):
        NeuralNetworkClassifier().fit(X, np.c_[y, y])


def test_one_class_is_refused(wine: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="y holds 1 class, 1: at least two are needed"):
        NeuralNetworkClassifier().fit(wine[0], np.ones(178, int))


def test_the_logarithm_of_a_target() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 3))
    y = np.exp(X @ [1.0, -1.0, 0.5])
    model = NeuralNetworkRegressor(log=True, random_state=0).fit(X, y)
    assert (model.predict(X) > 0).all()
    assert model.score(X, y) > 0.9
    with pytest.raises(UsageError, match="the logarithm cannot be learned: y goes down to -1"):
        model.fit(X, y - y.min() - 1)


def test_rows_of_weight_0_are_as_if_they_were_not_there() -> None:
    X, y = load_iris(return_X_y=True)
    keep = np.arange(150) % 3 > 0
    weighted = NeuralNetworkClassifier(random_state=0, epochs=5).fit(X, y, sample_weight=keep.astype(float))
    removed = NeuralNetworkClassifier(random_state=0, epochs=5).fit(X[keep], y[keep])
    assert_allclose(weighted.predict_proba(X), removed.predict_proba(X), rtol=1e-5)


def test_only_the_proportions_of_weights_count() -> None:
    X, y = load_iris(return_X_y=True)
    weights = np.random.default_rng(0).uniform(0.5, 2, 150)
    first, second = (
        NeuralNetworkClassifier(random_state=0, epochs=5).fit(X, y, sample_weight=weights * f) for f in (1, 1024)
    )
    assert_allclose(first.predict_proba(X), second.predict_proba(X), rtol=1e-4)


def test_weights_move_the_answer_to_the_rows_that_count() -> None:
    X = np.zeros((60, 1))
    y, weights = np.r_[np.zeros(30), np.ones(30)], np.r_[np.ones(30), np.full(30, 9.0)]
    model = NeuralNetworkClassifier((), learning_rate=0.01, batch_size=200, random_state=0, epochs=600).fit(
        X, y, sample_weight=weights
    )
    assert_allclose(model.predict_proba(X[:1])[0], [0.1, 0.9], atol=0.02)
    by_class = NeuralNetworkClassifier(
        (), learning_rate=0.01, batch_size=200, random_state=0, epochs=600, class_weight={0: 1, 1: 9}
    ).fit(X, y)
    assert_allclose(by_class.predict_proba(X[:1]), model.predict_proba(X[:1]), rtol=1e-5)
    regressor = NeuralNetworkRegressor((), learning_rate=0.01, batch_size=200, random_state=0, epochs=600).fit(
        X, y, sample_weight=weights
    )
    assert_allclose(regressor.predict(X[:1]), [0.9], atol=0.02)


def test_balanced_classes_count_the_same() -> None:
    X, y = np.zeros((100, 1)), np.r_[np.zeros(90), np.ones(10)]
    model = NeuralNetworkClassifier(
        (), learning_rate=0.01, batch_size=200, random_state=0, class_weight="balanced", validation=None, epochs=600
    ).fit(X, y)
    assert_allclose(model.predict_proba(X[:1])[0], [0.5, 0.5], atol=0.03)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"layers": (0,)}, "'0' is not a whole number of neurons"),
        ({"hidden": "rellu"}, "Did you mean 'relu'"),
        ({"optimizer": "adamm"}, "Did you mean 'adam'"),
        ({"learning_rate": -1}, "argument learning_rate"),
        ({"validation": 1.5}, "argument validation: expected a share between 0 and 1, 'auto' or None, got 1.5"),
        ({"validation": True}, "got True"),
        ({"epochs": 0}, "argument epochs"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"class_weight": "equal"}, "class_weight"),
        ({"category": ["zip"]}, "argument category: a plain array has no named columns"),
        ({"loss": "binary_cross_entropy"}, "does not go with the output activation"),
        ({"random_state": -1}, "Seed|seed"),
    ],
)
def test_wrong_parameters_are_told_in_fit(parameters: dict[str, Any], message: str, wine: tuple[Any, Any]) -> None:
    model = NeuralNetworkClassifier(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(*wine)
    assert not hasattr(model, "network_")


def test_going_on_from_what_was_learned(wine: tuple[Any, Any]) -> None:
    X, y = wine
    model = NeuralNetworkClassifier(random_state=0, epochs=3, warm_start=True, validation=None).fit(X, y)
    first, encoder = model.loss_curve_, model.encoder_
    model.fit(X, y)
    assert model.encoder_ is encoder
    assert model.loss_curve_[0] < first[-1]
    with pytest.raises(UsageError, match="the label 7 is none of the classes 0, 1, 2"):
        model.fit(X, np.where(y == 0, 7, y))
    model.set_params(warm_start=False).fit(X, y)
    assert model.loss_curve_[0] == first[0]


def test_a_network_of_any_layers(wine: tuple[Any, Any]) -> None:
    X, y = load_digits(n_class=4, return_X_y=True)
    layers = [Flatten(), Dense(12, "tanh"), Dense(4, "softmax")]
    given = Network(layers, input_shape=(8, 8), seed=5)
    before = given.parameters.copy()
    model = NeuralNetworkClassifier(network=given, standardize=False, epochs=5, random_state=0).fit(X / 16, y)
    assert model.network_.input_shape == (8, 8)
    assert_array_equal(given.parameters, before)
    assert model.partial_fit(X / 16, y).score(X / 16, y) > 0.9
    with pytest.raises(UsageError, match="the network takes 8 × 8 inputs, the data has 13"):
        NeuralNetworkClassifier(network=given).fit(*wine)


def test_an_interrupted_fit_keeps_what_was_learned(monkeypatch: pytest.MonkeyPatch, wine: tuple[Any, Any]) -> None:
    from dataclasses import replace

    from neuronwise.running.estimators import task

    learn = task.Task.learn
    monkeypatch.setattr(task.Task, "learn", lambda self: replace(learn(self), status="interrupted"))
    model = NeuralNetworkClassifier(random_state=0, epochs=10)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*wine)
    assert model.score(*wine) > 0.8
