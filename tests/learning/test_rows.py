"""What each row counts, and that the data are never copied whole."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.learning import SGD, Evaluator, Observer, TrainingState, backpropagate, fit
from neuronwise.network import LOSSES, Network
from neuronwise.network.layers import BatchNorm, Dense, Dropout

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 4)), np.arange(24) % 3


def _network(output: str = "softmax") -> Network:
    return Network.dense([4, 6, 3], hidden="tanh", output=output, seed=0, dtype="float64")


class Steps(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[np.ndarray, float, np.ndarray]] = []

    def on_step_end(self, state: TrainingState) -> None:
        self.seen.append((state.batch_indices.copy(), state.loss, state.gradients.copy()))


# --- sample weights


UNEVEN = np.where(np.arange(24) < 14, 0, Y)


@pytest.mark.parametrize(
    ("class_weights", "by_class"),
    [
        (None, [1.0, 1.0, 1.0]),
        ("balanced", 24 / (3 * np.bincount(UNEVEN))),
        ({0: 2.0, 1: 0.5, 2: 1.0}, [2.0, 0.5, 1.0]),
    ],
    ids=["none", "balanced", "given"],
)
def test_a_batch_weighs_its_rows_as_documented(class_weights: Any, by_class: Any) -> None:
    # The slow way: each example by itself, in the formula's words: sum(w_i L_i) / batch.
    weights, steps, y = RNG.uniform(0, 3, 24), Steps(), UNEVEN
    weights[[2, 7]] = 0
    network = _network()
    start = network.copy()
    fit(
        network, X, y, epochs=1, batch_size=10, optimizer=SGD(1e-12), sample_weight=weights, observers=[steps],
        class_weights=class_weights,
    )  # fmt: skip
    assert [len(rows) for rows, _, _ in steps.seen] == [10, 10, 4]
    for rows, loss, gradients in steps.seen:
        alone = [backpropagate(start, X[i], y[i : i + 1]) for i in rows]
        w = weights[rows] * np.asarray(by_class)[y[rows]]
        assert loss == pytest.approx(sum(w * [one.loss for one in alone]) / len(rows), rel=1e-9)
        expected = sum(wi * one.flat for wi, one in zip(w, alone, strict=True)) / len(rows)
        np.testing.assert_allclose(gradients, expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("loss", ["categorical_cross_entropy", "squared_error", "huber"])
def test_whole_weights_are_repeated_rows(loss: str) -> None:
    counts = np.arange(24) % 4  # 0, 1, 2 and 3 times
    again = np.repeat(np.arange(24), counts)
    y: np.ndarray = Y if loss == "categorical_cross_entropy" else RNG.normal(size=(24, 3))
    output = "softmax" if loss == "categorical_cross_entropy" else "identity"
    weighted, repeated = _network(output), _network(output)
    options: dict[str, Any] = {"epochs": 30, "optimizer": SGD(0.3), "loss": loss}
    # Full batches. sum(w L) / 24 and, repeated, sum(w L) / sum(w) are the same where the weights have mean 1.
    one = fit(weighted, X, y, batch_size=24, sample_weight=counts * 24 / counts.sum(), **options)
    other = fit(repeated, X[again], y[again], batch_size=len(again), **options)
    np.testing.assert_allclose(weighted.parameters, repeated.parameters, rtol=1e-9, atol=1e-11)
    assert [row["loss"] for row in one.history] == pytest.approx([row["loss"] for row in other.history], rel=1e-9)


@pytest.mark.parametrize("kind", [list, np.float32, np.int64, bool])
def test_weights_of_one_change_nothing_to_the_last_digits(kind: Any) -> None:
    plain, weighted = _network(), _network()
    fit(plain, X, Y, epochs=3, batch_size=5)
    fit(
        weighted,
        X,
        Y,
        epochs=3,
        batch_size=5,
        sample_weight=np.ones(24).tolist() if kind is list else np.ones(24, kind),
    )
    np.testing.assert_allclose(weighted.parameters, plain.parameters, rtol=1e-10)


def test_rows_of_weight_zero_are_not_learned_from() -> None:
    weights, wrong = np.ones(24), X.copy()
    weights[10:] = 0
    wrong[10:] *= 100
    ends = []
    for inputs in (X, wrong):
        network = _network()
        fit(network, inputs, Y, epochs=3, batch_size=5, sample_weight=weights)
        ends.append(network.parameters)
    np.testing.assert_array_equal(ends[0], ends[1])


def test_the_validation_loss_is_not_weighted() -> None:
    held_out, network = np.arange(6), _network()
    result = fit(network, X, Y, epochs=1, validation=held_out, sample_weight=np.arange(24))
    loss = LOSSES["categorical_cross_entropy"]
    assert result.history[0]["val_loss"] == Evaluator(network, X[:6], Y[:6], loss)()["loss"]


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (np.ones(23), "24 rows need as many weights, of shape (24,), got shape (23,)"),
        (np.ones((24, 1)), "24 rows need as many weights, of shape (24,), got shape (24, 1)"),
        (1.0, "got shape ()"),
        (np.where(np.arange(24) == 5, -0.5, 1), "weights are numbers from 0, got -0.5 at row 5"),
        (np.where(np.arange(24) == 5, np.nan, 1), "contains NaN: 1 value, the first at row 5"),
        (np.where(np.arange(24) == 5, np.inf, 1), "contains infinity: 1 value, the first at row 5"),
        (np.zeros(24), "the weights of all 24 rows to learn from are 0: there is nothing to learn"),
        (["heavy"] * 24, "holds text ('heavy')"),
        (np.full(24, 1e300), "weights too large for float32, the largest is 1e+300"),
        ({"a": 1}, "argument sample_weight"),
    ],
)  # fmt: skip
def test_weights_that_are_none_are_refused(weights: Any, text: str) -> None:
    network = Network.dense([4, 3], output="softmax")
    before = network.parameters.copy()
    with pytest.raises(UsageError) as caught:
        fit(network, X, Y, sample_weight=weights)
    assert "argument sample_weight: " in str(caught.value)
    assert text in str(caught.value)
    np.testing.assert_array_equal(network.parameters, before)


def test_weights_that_are_zero_where_it_matters_are_refused() -> None:
    weights = np.zeros(24)
    weights[:5] = 1
    with pytest.raises(UsageError, match="the weights of all 19 rows to learn from are 0"):
        fit(_network(), X, Y, sample_weight=weights, validation=np.arange(5))


# --- memory


def _peak(function: Callable[[], Any]) -> int:
    """Return the most bytes that were allocated at a time while it ran."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def mapped(tmp_path: Path) -> np.ndarray:
    """40,000 rows of 100 inputs, 16 MB, on disk."""
    rows = RNG.normal(size=(40_000, 100)).astype(np.float32)
    np.save(tmp_path / "X.npy", rows)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("validation", [None, 0.5, "rows"])
@pytest.mark.parametrize("kind", ["mapped", "in memory"])
def test_what_is_float32_already_is_not_copied(kind: str, validation: Any, mapped: np.ndarray) -> None:
    data = mapped if kind == "mapped" else np.array(mapped)
    y = np.arange(len(data)) % 2
    network = Network.dense([100, 4, 2], output="softmax", seed=0)
    held_out = np.arange(0, len(data), 2) if validation == "rows" else validation
    options: dict[str, Any] = {"epochs": 2, "batch_size": 256, "validation": held_out}
    fit(network, data[:300], y[:300], epochs=1, validation=0.2)  # what is imported and cached by the first one
    # A boolean for each value says whether all are finite: a quarter of X. The rows held out, copied, were half of it.
    assert _peak(lambda: fit(network, data, y, **options)) < 0.45 * data.nbytes


def test_held_out_rows_are_measured_without_a_copy(mapped: np.ndarray) -> None:
    for y, loss in ((np.arange(40_000) % 2, "categorical_cross_entropy"), (mapped[:, :2], "squared_error")):
        output = "softmax" if loss == "categorical_cross_entropy" else "identity"
        network, rows = Network.dense([100, 4, 2], output=output, seed=0), RNG.permutation(40_000)[:30_000]
        found: list[dict[str, float]] = []
        peak = _peak(lambda: found.append(Evaluator(network, mapped, y, LOSSES[loss], rows)()))  # noqa: B023
        assert peak < 0.2 * mapped.nbytes
        copied = Evaluator(network, mapped[rows], np.array(y[rows]), LOSSES[loss])()
        assert found[0] == copied


@pytest.mark.parametrize("count", [0, 1, 2048, 2049, 5000])
def test_rows_are_those_of_the_numbers(count: int) -> None:
    rng = np.random.default_rng(count)
    inputs, y = rng.normal(size=(6000, 4)), rng.normal(size=(6000, 3))
    rows = rng.permutation(6000)[: count or 1]
    network = _network("identity")
    found = Evaluator(network, inputs, y, LOSSES["squared_error"], rows)()
    y_hat = network.predict(inputs[rows])
    assert found["loss"] == pytest.approx(np.mean((y_hat - y[rows]) ** 2), rel=1e-10)
    if len(rows) > 1:
        total = ((y[rows] - y[rows].mean(axis=0)) ** 2).sum()
        assert found["r2"] == pytest.approx(1 - ((y_hat - y[rows]) ** 2).sum() / total, rel=1e-9)


def test_the_same_targets_in_the_rows_looked_at_have_no_r2() -> None:
    y = np.where(np.arange(24) % 2, 0.1, 0.7)[:, None]
    network = Network.dense([4, 1], seed=0, dtype="float64")
    assert "r2" not in Evaluator(network, X, y, LOSSES["squared_error"], np.arange(1, 24, 2))()
    assert "r2" in Evaluator(network, X, y, LOSSES["squared_error"], np.arange(1, 24))()


def test_wide_networks_are_measured_in_smaller_portions() -> None:
    network = Network.dense([2, 200_000, 1], seed=0)
    inputs, y = RNG.normal(size=(600, 2)).astype(np.float32), np.zeros((600, 1), np.float32)
    peak = _peak(lambda: Evaluator(network, inputs, y, LOSSES["squared_error"])())
    assert peak < 200e6  # all 600 at a time would take 2 x 480 MB


def test_measuring_is_as_in_use() -> None:
    network = Network(
        [Dense(5), BatchNorm(), Dropout(0.5), Dense(3, "softmax")], input_shape=4, seed=0, dtype="float64"
    )
    fit(network, X, Y, epochs=2)
    before = network.buffers.copy()
    found = Evaluator(network, X, Y, LOSSES["categorical_cross_entropy"])()
    assert found["loss"] == pytest.approx(-np.mean(np.log(network.predict(X)[np.arange(24), Y])), rel=1e-12)
    np.testing.assert_array_equal(network.buffers, before)
    assert not math.isnan(found["accuracy"])
