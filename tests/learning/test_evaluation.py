"""Loss and metric on held-out rows against slow formulas, also beyond one chunk."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.learning import Evaluator, prepare_targets
from neuronwise.network import LOSSES, Dense, Flatten, Network

from .helpers import COMBINATIONS, targets_for


@pytest.mark.parametrize("rows", [1, 50, 2048 * 2 + 3])
@pytest.mark.parametrize(("loss", "output"), COMBINATIONS)
def test_loss_and_metric_are_the_slow_ones(loss: str, output: str, rows: int) -> None:
    rng = np.random.default_rng(1)
    network = Network.dense([3, 5, 2], hidden="tanh", output=output, seed=2, dtype="float64")
    X, y = rng.normal(size=(rows, 3)), targets_for(loss, rng, rows, 2)
    found = Evaluator(network, X, prepare_targets(network, y, LOSSES[loss], rows), LOSSES[loss])()
    trace = network.trace(X)
    a, z = trace[-1].a, trace[-1].z
    with np.errstate(all="ignore"):
        assert found["loss"] == pytest.approx(LOSSES[loss].evaluate(z, a, y, np.empty_like(a)), rel=1e-10)
    if loss == "categorical_cross_entropy":
        assert found["accuracy"] == np.mean([a[i].argmax() == y[i] for i in range(rows)])
    elif loss == "binary_cross_entropy":
        assert found["accuracy"] == np.mean([all((z[i, j] > 0) == y[i, j] for j in range(2)) for i in range(rows)])
    elif rows > 1:
        total = sum(((y - y.mean(axis=0)) ** 2).ravel())
        assert found["r2"] == pytest.approx(1 - sum(((y - a) ** 2).ravel()) / total, rel=1e-9, abs=1e-9)
    assert set(found) <= {"loss", "accuracy", "r2"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_r2_is_missing_where_all_targets_are_the_same(rows: int, dtype: str) -> None:
    network = Network.dense([2, 1], seed=0, dtype=dtype)
    X, y = np.ones((rows, 2), dtype=dtype), np.full((rows, 1), 0.1, dtype=dtype)
    assert set(Evaluator(network, X, y, LOSSES["squared_error"])()) == {"loss"}


def test_r2_of_targets_far_from_zero_is_exact_enough() -> None:
    # Prices: a mean of 10^6 and a spread of 100, in float32.
    rng = np.random.default_rng(0)
    network = Network.dense([1, 1], seed=0)
    network.parameters[:] = [100, 1e6]
    X = rng.normal(size=(5000, 1)).astype(np.float32)
    y = (1e6 + 100 * X + rng.normal(scale=50, size=X.shape)).astype(np.float32)
    y64, y_hat = y.astype(float), network.predict(X).astype(float)
    slow = 1 - ((y64 - y_hat) ** 2).sum() / ((y64 - y64.mean()) ** 2).sum()
    assert Evaluator(network, X, y, LOSSES["squared_error"])()["r2"] == pytest.approx(slow, abs=1e-4)


def test_it_sees_later_weights() -> None:
    network = Network.dense([2, 2], output="softmax", seed=0)
    evaluator = Evaluator(network, np.eye(2, dtype=np.float32), np.array([0, 1]), LOSSES["categorical_cross_entropy"])
    network["output"].W = [[9, -9], [-9, 9]]
    assert evaluator()["accuracy"] == 1.0
    network["output"].W = [[-9, 9], [9, -9]]
    assert evaluator()["accuracy"] == 0.0


def test_extreme_logits_and_nan_give_no_warning() -> None:
    network = Network([Flatten(), Dense(2, "softmax")], input_shape=(1, 2), seed=0)
    network["output"].W = [[1e6, 0], [0, 1e6]]
    X = np.array([[[1, -1]], [[-1, 1]]], dtype=np.float32)
    evaluator = Evaluator(network, X, np.array([1, 0]), LOSSES["categorical_cross_entropy"])
    assert evaluator()["loss"] == pytest.approx(2e6)
    network.parameters[:] = np.nan
    assert np.isnan(evaluator()["loss"])


def test_the_network_is_only_read() -> None:
    network = Network.dense([2, 3, 1], seed=0)
    before = network.parameters.copy()
    Evaluator(network, np.ones((4, 2), np.float32), np.arange(4, dtype=np.float32)[:, None], LOSSES["huber"])()
    np.testing.assert_array_equal(network.parameters, before)
