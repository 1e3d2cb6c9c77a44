"""Which columns the answers rest on: against a slow shuffle, scikit-learn, and houses whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuronwise.data import FeatureEncoder, describe_columns, describe_target, read_table
from neuronwise.data.houses import HOUSE_TRUTH, expected_log_price, make_houses
from neuronwise.errors import UsageError
from neuronwise.explaining import Meaning
from neuronwise.explaining.companions import companions
from neuronwise.explaining.feature_importance import feature_importance
from neuronwise.explaining.judging import Judge
from neuronwise.explaining.local_linear import local_linear
from neuronwise.explaining.prediction import explain_prediction
from neuronwise.explaining.shuffling import shuffle_columns
from neuronwise.learning import fit
from neuronwise.network import Network
from neuronwise.network.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten


def _slow(network: Network, X: Any, y: Any, places: Any, repeat: int, seed: int) -> float:
    """Return the mean squared error with some inputs of each row taken from another, row by row."""
    order = np.random.default_rng([seed, repeat]).permutation(len(X))
    total = 0.0
    for row in range(len(X)):
        x = X[row].reshape(-1).copy()
        x[places] = X[order[row]].reshape(-1)[places]
        total += float((network.predict(x)[0, 0] - y[row]) ** 2)
    return total / len(X)


@pytest.mark.parametrize(
    "layers",
    [
        [Flatten(), Dense(5, "tanh"), Dense(1, "identity")],
        [Dropout(0.5), Flatten(), Dense(1, "identity")],
        [Conv2D(2, 2), BatchNorm(), Flatten(), Dense(1, "identity")],
    ],
    ids=["dense first", "one layer", "convolution"],
)
def test_shuffling_is_what_it_says(layers: Any) -> None:
    network = Network(layers, input_shape=(3, 3, 1), seed=2, dtype="float64")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3, 3, 1)), rng.normal(size=30)
    groups = [np.array([0]), np.array([1, 4, 5]), np.array([2, 3, 6, 7, 8])]
    found = shuffle_columns(network, X, Judge(network, y), groups, repeats=2, seed=7)
    for column, places in enumerate(groups):
        for repeat in range(2):
            assert found.losses[repeat, column] == pytest.approx(_slow(network, X, y, places, repeat, 7))
    assert found.loss == pytest.approx(float(((network.predict(X)[:, 0] - y) ** 2).mean()))
    spread = ((y - y.mean()) ** 2).mean()
    np.testing.assert_allclose(found.scores, 1 - found.losses / spread)


def test_scikit_learn_finds_the_same_importance() -> None:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.inspection import permutation_importance

    network = Network.dense([4, 8, 3], output="softmax", seed=1)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(600, 4)).astype(np.float32)
    y = network.predict(X).argmax(axis=1)

    class Model(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        classes_ = np.arange(3)

        def fit(self, X: Any, y: Any) -> Any:
            return self

        def predict(self, X: Any) -> Any:
            return network.predict(X).argmax(axis=1)

    theirs = permutation_importance(Model(), X, y, n_repeats=60, random_state=0)
    ours = feature_importance(network, X, y, repeats=60)
    error = 4 * np.hypot(theirs.importances_std, theirs.importances_std) / math.sqrt(60)
    assert (np.abs(-ours.score_change - theirs.importances_mean) <= error).all()
    assert ours.order[0] == int(theirs.importances_mean.argmax())
    assert ours.score == 1.0
    assert ours.score_name == "accuracy"


@pytest.fixture(scope="module")
def houses() -> Any:
    """Return a network that learned made houses, what it means, and rows it has not seen."""
    frame = make_houses(12_000, seed=1)
    table = read_table(frame.drop(columns=["sale_id"]))
    target = describe_target(table, "price", log=True)
    columns = describe_columns(table, target=target, category=["zipcode"])
    train, test = np.arange(9_000), np.arange(9_000, 12_000)
    encoder = FeatureEncoder.fit(table, columns, train)
    target = target.fit(table, train)
    X, y = encoder.transform(table), target.encode(table)
    network = Network.dense([encoder.n_inputs, 32, 16, 1], seed=3)
    fit(network, X[train], y[train], epochs=30, batch_size=64, optimizer="adamw", learning_rate=0.003)
    return network, Meaning.of(network, encoder, target), X, y, frame, train, test


def _true_importance(frame: pd.DataFrame, column: str) -> float:
    """Return what shuffling a column does to the formula that made the prices: mean squared change of log price."""
    rng = np.random.default_rng(0)
    shuffled = frame.assign(**{column: frame[column].to_numpy()[rng.permutation(len(frame))]})
    return float(((expected_log_price(shuffled) - expected_log_price(frame)) ** 2).mean())


def test_made_houses_have_the_importance_of_their_formula(houses: Any) -> None:
    from scipy.stats import spearmanr

    network, meaning, X, y, frame, train, test = houses
    found = feature_importance(network, X[test], y[test], meaning=meaning, baseline=X[train].mean(axis=0))
    assert found.score > 0.93
    true = [_true_importance(frame.iloc[test], name) for name in found.names]
    assert spearmanr(found.loss_increase, true).statistic >= 0.9
    assert found.names[found.order[-1]] == "lucky_number"
    assert "lucky_number" in str(found).split("Not missed when shuffled")[1].splitlines()[0]
    # Each column's mean |contribution| against the mean |effect| in the formula, from the mean row's.
    assert spearmanr(np.abs(_true_effects(frame.iloc[test], found.names)).mean(axis=0), found.contribution)[0] >= 0.9


def _true_effects(frame: pd.DataFrame, names: Any) -> Any:
    days = (pd.to_datetime(frame["date"]) - pd.Timestamp("2023-01-01")).dt.days
    truth = HOUSE_TRUTH
    effects = {
        "date": truth.years_sold * days / 365.25,
        "sqft_living": truth.sqft_living * np.log(frame["sqft_living"]),
        "sqft_lot": truth.sqft_lot * np.log(frame["sqft_lot"]),
        "bathrooms": truth.bathrooms * frame["bathrooms"],
        "year_built": truth.year_built * frame["year_built"],
        "waterfront": truth.waterfront * (frame["waterfront"] == "yes"),
        "zipcode": frame["zipcode"].astype(str).map(dict(truth.zip_premiums)),
    }
    table = np.stack([effects.get(name, 0 * days).to_numpy(float) for name in names], axis=1)
    return table - table.mean(axis=0)


def test_effects_of_single_houses_rank_as_the_formula_has_them(houses: Any) -> None:
    from scipy.stats import spearmanr

    network, meaning, X, _, frame, train, test = houses
    rows = test[:500]
    origin = X[train].mean(axis=0)
    maps = local_linear(network, X[rows])
    told = meaning.by_column(maps.gradient[:, 0] * (X[rows] - origin)) * meaning.target.scale
    true = _true_effects(frame.iloc[rows], meaning.columns)
    assert spearmanr(told.ravel(), true.ravel()).statistic >= 0.8
    for column in ("sqft_living", "zipcode"):
        place = meaning.columns.index(column)
        assert spearmanr(told[:, place], true[:, place]).statistic >= 0.97
    # One row by itself tells the same numbers.
    one = explain_prediction(network, X[rows[3]], meaning=meaning, baseline=origin)
    np.testing.assert_allclose(one.contributions * meaning.target.scale, told[3], atol=1e-5)


def test_premiums_of_zip_codes_are_found_within_15_percent(houses: Any) -> None:
    network, meaning, X, y, _, train, test = houses
    found = feature_importance(network, X[test], y[test], meaning=meaning, baseline=X[train].mean(axis=0))
    assert found.unit is not None
    told = {one.name: one.contribution * found.unit.scale for one in found.categories["zipcode"]}
    assert set(told) == set(HOUSE_TRUTH.zip_premiums)
    rows = {one.name: one.rows for one in found.categories["zipcode"]}
    average = sum(HOUSE_TRUTH.zip_premiums[name] * rows[name] for name in told) / sum(rows.values())
    # The formula's premiums are from its reference, ours from the average house; the price of one is that much higher.
    shift = sum(told[name] * rows[name] for name in told) / sum(rows.values())
    for name, premium in HOUSE_TRUTH.zip_premiums.items():
        true = premium - average
        assert abs(told[name] - shift - true) <= 0.15 * max(abs(true), 0.1), (name, told[name] - shift, true)


def test_contributions_are_the_mean_of_single_explanations() -> None:
    for hidden in ("relu", "tanh"):
        network = Network.dense([3, 6, 4], hidden=hidden, output="softmax", seed=2, dtype="float64")
        rng = np.random.default_rng(0)
        X = rng.normal(size=(20, 3))
        found = feature_importance(network, X, rng.integers(0, 4, 20))
        slow = [np.abs(explain_prediction(network, x, baseline=X.mean(axis=0)).contributions) for x in X]
        np.testing.assert_allclose(found.contribution, np.mean(slow, axis=0), rtol=1e-3)
        assert found.gap < 1e-5
        assert found.curved == (() if hidden == "relu" else ("hidden1",))


def test_columns_that_go_together_are_named() -> None:
    rng = np.random.default_rng(0)
    n = 2_000
    size, noise = rng.normal(size=(2, n))
    group = rng.integers(0, 3, n)
    onehot = np.eye(3)[group]
    level = np.array([-1.0, 0.0, 1.0])[group] + 0.3 * rng.normal(size=n)
    X = np.column_stack([size, -size + 0.1 * noise, noise, onehot, level, np.full(n, 3.0)])
    names = ["size", "minus", "noise", "group", "level", "constant"]
    groups = [np.array([0]), np.array([1]), np.array([2]), np.array([3, 4, 5]), np.array([6]), np.array([7])]
    found = companions(X, names, groups)
    assert [pair[:2] for pair in found] == [("size", "minus"), ("group", "level")]
    assert found[0][2] == pytest.approx(np.corrcoef(X[:, 0], X[:, 1])[0, 1])
    # The correlation ratio: of the number with its mean in each category.
    means = np.array([level[group == g].mean() for g in range(3)])[group]
    assert found[1][2] == pytest.approx(np.corrcoef(level, means)[0, 1])
    assert companions(X[:30], names, [np.array([2]), np.arange(3, 6)]) == []  # too few rows to tell
    network = Network.dense([8, 1])
    told = str(feature_importance(network, X, level, meaning=None))
    assert "Beware: these go together: x[0] and x[1] (-1.00)" in told


def test_it_says_and_draws_all_that(houses: Any, tmp_path: Any) -> None:
    network, meaning, X, y, _, _, test = houses
    done: list[tuple[int, int]] = []
    found = feature_importance(network, X[test[:400]], y[test[:400]], meaning=meaning, rows_are="held-out rows",
                               progress=lambda a, b: done.append((a, b)))  # fmt: skip
    assert done[-1][0] == done[-1][1]
    assert done == sorted(done)
    text = str(found)
    assert "matters most: shuffled among the rows, R² goes from 0.9" in text
    assert "(mean of 5 × 400 held-out rows)" in text
    assert "zipcode: what it adds, compared with the average row" in text
    assert "sqft_living and bathrooms" in text
    found.save(tmp_path / "a.png")
    pictures = Network([Flatten(), Dense(2, "softmax")], input_shape=(4, 4))
    told = feature_importance(pictures, np.random.default_rng(0).random((30, 4, 4)), np.arange(30) % 2)
    told.save(tmp_path / "b.png")
    assert "pixel" in str(told)
    assert isinstance(found.to_dict()["categories"]["zipcode"][0]["contribution"], float)


def test_of_very_many_a_draw_is_shuffled_and_that_is_said() -> None:
    network = Network.dense([3, 4, 2], output="softmax")
    X = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    found = feature_importance(network, X, np.arange(500) % 2, most_rows=100, repeats=2)
    assert (found.rows, found.shuffled_rows, found.repeats, found.contribution_rows) == (500, 100, 2, 500)
    assert "(mean of 2 × 100 rows)" in str(found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"X": np.zeros((1, 3)), "y": [0]}, "at least two rows"),
        ({"y": [0, 1]}, "4 rows need as many targets, got 2"),
        ({"repeats": 0}, "whole number from 1, got 0"),
        ({"y": [0, 1, 2, 9]}, "class numbers from 0 to 1"),
        ({"output": "cat"}, "no output 'cat'"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments: dict[str, Any], words: str) -> None:
    given = {"X": np.zeros((4, 3)), "y": [0, 1, 0, 1]} | arguments
    with pytest.raises(UsageError, match=words):
        feature_importance(Network.dense([3, 2], output="softmax"), **given)
