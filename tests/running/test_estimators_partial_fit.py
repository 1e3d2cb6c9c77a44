"""partial_fit: one pass over the rows of each call, going on from what was learned."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_wine

from neuronwise import NeuralNetworkClassifier, NeuralNetworkRegressor
from neuronwise.errors import TrainingDiverged, UsageError
from neuronwise.learning import Adam
from neuronwise.network import Network, generator, get_loss

from .test_estimators_frames import make_frame


@pytest.fixture(scope="module")
def wine() -> tuple[Any, Any]:
    X, y = load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], y[order]


def test_it_learns_and_counts_its_passes(wine: tuple[Any, Any]) -> None:
    X, y = wine
    model = NeuralNetworkClassifier(random_state=0, batch_size=32)
    for _ in range(20):
        assert model.partial_fit(X, y, classes=[0, 1, 2]) is model
    assert model.score(X, y) > 0.95
    assert model.n_iter_ == len(model.loss_curve_) == 20
    assert model.history_[-1] == {"epoch": 20, "step": 20 * 6, "loss": model.loss_curve_[-1]}
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 2


def test_each_pass_is_what_the_formulas_say(wine: tuple[Any, Any]) -> None:
    # A slow twin: the same steps with backpropagation and Adam called by hand.
    X, y = wine
    model = NeuralNetworkClassifier((7,), random_state=3, batch_size=50, weight_decay=0.01)
    for _ in range(2):
        model.partial_fit(X, y, classes=[0, 1, 2])
    from neuronwise.learning import backpropagate

    network = Network.dense([13, 7, 3], output="softmax", seed=3)
    optimizer = Adam(weight_decay=0.01)
    optimizer.start(network.parameters)
    x = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    for number in (1, 2):
        order = generator(3, "partial fit", number).permutation(len(X))
        for start in range(0, len(X), 50):
            rows = order[start : start + 50]
            gradients = backpropagate(network, x[rows], y[rows], get_loss("categorical_cross_entropy"))
            optimizer.step(network.parameters, gradients.flat)
    assert_allclose(model.network_.parameters, network.parameters, atol=1e-5)


def test_it_repeats_to_the_last_bit_also_when_pickled_in_between(wine: tuple[Any, Any]) -> None:
    X, y = wine
    straight = NeuralNetworkClassifier(random_state=0)
    pickled = NeuralNetworkClassifier(random_state=0)
    for start in range(0, 160, 40):
        part = slice(start, start + 40)
        straight.partial_fit(X[part], y[part], classes=[0, 1, 2])
        pickled = pickle.loads(pickle.dumps(pickled.partial_fit(X[part], y[part], classes=[0, 1, 2])))
    assert_array_equal(straight.network_.parameters, pickled.network_.parameters)


def test_the_optimizer_is_kept_between_calls(wine: tuple[Any, Any]) -> None:
    X, y = wine
    model = NeuralNetworkRegressor(random_state=0, batch_size=200, optimizer="momentum", learning_rate=0.01)
    for _ in range(3):
        model.partial_fit(X, y)
    steps = model._optimizer.steps
    assert steps == 3
    assert np.abs(model._optimizer.state["velocity"]).max() > 0


def test_a_fit_after_it_begins_anew_and_one_before_it_is_gone_on_from(wine: tuple[Any, Any]) -> None:
    X, y = wine
    fitted = NeuralNetworkClassifier(random_state=0, epochs=3).fit(X, y)
    before = fitted.network_.parameters.copy()
    passed = NeuralNetworkClassifier(random_state=0, epochs=3).partial_fit(X, y, classes=[0, 1, 2]).fit(X, y)
    assert_array_equal(passed.network_.parameters, before)
    fitted.partial_fit(X, y)
    assert fitted.n_iter_ == 4
    assert 0 < np.abs(fitted.network_.parameters - before).max() < 0.1


def test_the_first_call_needs_the_classes_and_later_ones_the_same(wine: tuple[Any, Any]) -> None:
    X, y = wine
    model = NeuralNetworkClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    model.partial_fit(X[y < 2], y[y < 2], classes=[2, 0, 1])
    assert_array_equal(model.classes_, [0, 1, 2])
    model.partial_fit(X[y == 2], y[y == 2])
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(UsageError, match="the label 9 is none of the classes 0, 1, 2"):
        model.partial_fit(X, np.where(y == 0, 9, y))
    with pytest.raises(UsageError, match="the label 'a' is none of the classes"):
        model.partial_fit(X, np.full(len(X), "a"))
    with pytest.raises(ValueError, match="expecting 13 features"):
        model.partial_fit(X[:, :5], y)


def test_weights_are_used_as_they_are(wine: tuple[Any, Any]) -> None:
    X, y = wine
    settings: dict[str, Any] = {"optimizer": "sgd", "random_state": 0, "weight_decay": 0.0}
    heavy = NeuralNetworkRegressor(learning_rate=0.01, **settings).partial_fit(X, y, np.full(len(y), 3.0))
    fast = NeuralNetworkRegressor(learning_rate=0.03, **settings).partial_fit(X, y)
    assert_allclose(heavy.network_.parameters, fast.network_.parameters, atol=1e-5)
    labelled = NeuralNetworkClassifier(learning_rate=0.01, class_weight={0: 3.0, 1: 3.0, 2: 3.0}, **settings)
    plain = NeuralNetworkClassifier(learning_rate=0.03, **settings)
    for model in (labelled, plain):
        model.partial_fit(X[y > 0], y[y > 0], classes=[0, 1, 2])
    assert_allclose(labelled.network_.parameters, plain.network_.parameters, atol=1e-5)
    with pytest.raises(UsageError, match="'balanced' counts all rows"):
        NeuralNetworkClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


def test_frames_in_portions() -> None:
    X, y = make_frame()
    model = NeuralNetworkRegressor(random_state=0, learning_rate=0.01)
    for _ in range(15):
        for start in range(0, 200, 50):
            model.partial_fit(X[start : start + 50], y[start : start + 50])
    assert model.score(X, y) > 0.8


def test_one_row_at_a_time() -> None:
    X = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 1.0]])
    model = NeuralNetworkRegressor(random_state=0)
    for i in range(3):
        model.partial_fit(X[i : i + 1], [float(i)])
    assert np.isfinite(model.predict(X)).all()


def test_a_pass_that_diverges_keeps_the_last_finite_weights(wine: tuple[Any, Any]) -> None:
    X, y = wine
    model = NeuralNetworkRegressor(optimizer="sgd", random_state=0, learning_rate=0.01).partial_fit(X, y)
    model._optimizer.learning_rate = 1e25
    with pytest.raises(TrainingDiverged, match="the learning rate was 1e\\+25"):
        model.partial_fit(X, y)
    assert np.isfinite(model.network_.parameters).all()


def test_a_network_of_float64_learns_in_portions(wine: tuple[Any, Any]) -> None:
    X, y = wine
    network = Network.dense([13, 5, 3], output="softmax", dtype="float64", seed=0)
    model = NeuralNetworkClassifier(network=network, random_state=0)
    for _ in range(15):
        model.partial_fit(X, y, classes=[0, 1, 2])
    assert model.network_.dtype == np.float64
    assert model.loss_curve_[-1] < model.loss_curve_[0]
