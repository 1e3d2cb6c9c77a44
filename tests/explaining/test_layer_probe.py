"""Linear probes: the same as scikit-learn's pipeline on activations taken by hand, and as the normal equations."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.explaining.layer_probe import what_layers_add
from neuronwise.network import Conv2D, Dense, Dropout, Flatten, Network


def rings(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, one around the other, which no straight cut tells apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    angle, radius = rng.uniform(0, 2 * np.pi, rows), 1 + y + 0.1 * rng.normal(size=rows)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), y


def distances() -> Network:
    """A network whose hidden layer measures how far out a point is."""
    network = Network.dense([2, 16, 2], "relu", "softmax")
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    network["hidden1"].W = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    network["hidden1"].b = np.full(16, -0.5)
    network["output"].W = [[0.0] * 16, [1.0] * 16]
    network["output"].b = [4.0, 0.0]
    return network


def test_a_probe_is_scikit_learns_model_of_standardised_activations() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network, (X, y), (X_held, y_held) = distances(), rings(400, 0), rings(300, 1)
    found = what_layers_add(network, X, y, X_held, y_held)
    assert found.layers == ("input", "hidden1", "output")
    assert found.units == (2, 16, 2)
    known, held = network.trace(X), network.trace(X_held)
    pairs = [(X, X_held), (known["hidden1"].a, held["hidden1"].a), (known["output"].z, held["output"].z)]
    for place, (learned, asked) in enumerate(pairs):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200)).fit(learned, y)
        assert found.scores[0, place] == pytest.approx(model.score(asked, y_held), abs=0.004)
    assert found.own[0] == np.mean(network.predict(X_held).argmax(axis=1) == y_held)
    assert found.scores[0, 0] < 0.65  # no straight cut tells the rings apart
    assert found.scores[0, 1] > 0.95
    assert found.baseline == np.mean(y_held == np.bincount(y).argmax())
    assert found.chance == 0.5
    assert str(found).startswith("hidden1 adds most")


def test_values_are_probed_by_ridge() -> None:
    rng = np.random.default_rng(0)
    network = Network.dense([3, 7, 1], "tanh", dtype="float64")
    X, X_held = rng.normal(size=(200, 3)), rng.normal(size=(100, 3))
    y, y_held = (np.abs(one[:, :1]) + one[:, 1:2] for one in (X, X_held))
    found = what_layers_add(network, X, y, X_held, y_held)
    for place, name in enumerate(("input", "hidden1", "output")):
        a, held = (
            one if name == "input" else network.trace(one)[name].z if name == "output" else network.trace(one)[name].a
            for one in (X, X_held)
        )  # fmt: skip
        mean, scale = a.mean(axis=0), a.std(axis=0)
        A, H = (a - mean) / scale, (held - mean) / scale
        w = np.linalg.solve(A.T @ A + np.eye(A.shape[1]), A.T @ (y - y.mean()))
        r2 = 1 - ((H @ w + y.mean() - y_held) ** 2).sum() / ((y_held - y_held.mean()) ** 2).sum()
        assert found.scores[0, place] == pytest.approx(r2, abs=1e-4)
    assert found.score_name == "R²"
    assert np.isnan(found.chance)
    assert found.baseline == pytest.approx(0, abs=0.05)
    assert "the mean" in str(found)


def test_over_time_each_network_is_asked_for_in_turn() -> None:
    begun, learned = Network.dense([2, 16, 2], "relu", "softmax", seed=3), distances()
    asked: list[int] = []

    def networks() -> Iterator[tuple[int, Network]]:
        for step, network in ((0, begun), (50, learned)):
            asked.append(step)
            yield step, network

    told: list[tuple[int, int]] = []
    found = what_layers_add(
        networks(), *rings(200, 0), *rings(200, 1), steps_in_all=2, progress=lambda done, of: told.append((done, of))
    )
    assert asked == [0, 50]
    assert told == [(done, 6) for done in range(1, 7)]
    assert found.steps == (0, 50)
    assert found.scores[0, 0] == found.scores[1, 0]  # the input is the same
    alone = what_layers_add(learned, *rings(200, 0), *rings(200, 1))
    assert (found.scores[1] == alone.scores[0]).all()
    text = str(found)
    assert "How that came" in text
    assert "after step 50" in text
    json.dumps(found.to_dict(), allow_nan=False)
    labels = [one.get_text() for one in found.figure().axes[0].get_legend().get_texts()]
    assert labels == ["step 0", "step 50", "most frequent class"]


def test_rows_are_bounded_and_nothing_is_random() -> None:
    a, b = (what_layers_add(distances(), *rings(500, 0), *rings(400, 1), most=100) for _ in range(2))
    assert (a.rows_learned, a.rows_tested) == (100, 100)
    assert (a.scores == b.scores).all()


def test_layers_that_only_reshape_are_left_out_and_wide_ones_thinned() -> None:
    rng = np.random.default_rng(0)
    network = Network(
        [Conv2D(6, 3, padding="same"), Dropout(0.2), Flatten(), Dense(2, "softmax")], input_shape=(20, 20)
    )
    X, y = rng.normal(size=(30, 20, 20)).astype(np.float32), np.arange(30) % 2
    found = what_layers_add(network, X, y, X, y)
    assert found.layers == ("input", "conv1", "output")
    assert found.units == (400, 2048, 2)
    assert any("Of conv1's 2,400 activations an even spread of 2,048" in note for note in found.notes)


def test_what_is_not_finite_is_named_and_not_probed() -> None:
    network = distances()
    network["hidden1"].W[3] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = what_layers_add(network, *rings(50, 0), *rings(50, 1))
    assert np.isfinite(found.scores[0, 0])
    assert np.isnan(found.scores[0, 1:]).all()
    assert "not finite cannot be probed: hidden1, output" in str(found)
    assert found.figure() is not None


def test_a_single_class_has_nothing_to_tell_apart() -> None:
    (X, _), (X_held, y_held) = rings(20, 0), rings(20, 1)
    found = what_layers_add(distances(), X, np.zeros(20, int), X_held, y_held)
    assert (found.scores == np.mean(y_held == 0)).all()


def test_what_does_not_fit_is_said() -> None:
    X, y = rings(10, 0)
    with pytest.raises(UsageError, match="10 inputs need as many targets, got 9"):
        what_layers_add(distances(), X, y[:9], X, y)
    with pytest.raises(UsageError, match="at least one row"):
        what_layers_add(distances(), X, y, X[:0], y[:0])
    with pytest.raises(UsageError, match="at least one network"):
        what_layers_add([], X, y, X, y)
