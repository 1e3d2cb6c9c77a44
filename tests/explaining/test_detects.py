"""What a neuron detects: every number against a slow, obvious second way, and neurons whose answer is known."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining import Meaning, detects
from neuronwise.explaining.average_terms import TermSums
from neuronwise.explaining.neurons import by_neuron, has_neurons, locate, patch_at, patches
from neuronwise.explaining.pattern import pattern
from neuronwise.explaining.separation import class_answers, quarters, sparseness
from neuronwise.network import Network
from neuronwise.network.channels import neuron_counts
from neuronwise.network.layers import Conv2D, Dense, Flatten, MaxPool2D

from .networks import inputs, networks


def _two_classes(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 3
    X = rng.normal(size=(rows, 4))
    X[:, 2] += 12.0 * (y == 1)
    return X, y


def test_a_neuron_built_to_tell_a_class_is_said_to_do_so() -> None:
    X, y = _two_classes()
    network = Network.dense([4, 3, 3], seed=1, class_names=["cat", "dog", "cow"])
    network["hidden1"].W[0], network["hidden1"].b[0] = [0, 0, 1, 0], -6.0
    network["hidden1"].W[1], network["hidden1"].b[1] = [0, 0, -1, 0], 6.0
    on, off = detects(network, "hidden1[0]", X, y), detects(network, "hidden1[1]", X, y)
    assert on.blocks()[0] == "hidden1[0] answers most to dog: its level alone tells dog from the rest with AUC 1.00"
    assert off.blocks()[0] == "hidden1[1] is low for dog: its level alone tells dog from the rest with AUC 1.00"
    assert {one.target for one in on.most} == {"dog"}
    assert "dog" not in {one.target for one in on.least}
    z = X @ network["hidden1"].W[0] - 6.0
    assert [one.row for one in on.most] == np.argsort(-z, kind="stable")[:8].tolist()
    assert [one.z for one in on.least] == pytest.approx(np.sort(z)[:8].tolist(), rel=1e-5)


def test_rows_are_named_by_their_numbers_in_the_data() -> None:
    X, y = _two_classes(30)
    network = Network.dense([4, 3, 3], seed=1)
    numbers = np.arange(30) * 10 + 7
    a, b = detects(network, "hidden1[0]", X, y), detects(network, "hidden1[0]", X, y, rows=numbers)
    assert [one.row for one in b.most] == [10 * one.row + 7 for one in a.most]


@given(st.integers(2, 5), st.integers(0, 10_000), st.booleans())
def test_auc_is_the_share_of_pairs_in_the_right_order(count: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    ids, a = rng.integers(0, count, 40), rng.normal(size=40)
    a = np.maximum(a, 0.0) if ties else a
    names = tuple("abcde"[:count])
    for place, told in enumerate(class_answers(names, ids, a, a)):
        own, others = a[ids == place], a[ids != place]
        if not len(own) or not len(others):
            assert np.isnan(told.auc)
            continue
        pairs = [(x > y) + 0.5 * (x == y) for x in own for y in others]
        assert told.auc == pytest.approx(np.mean(pairs))
        assert told.auc == pytest.approx(roc_auc_score(ids == place, a))
        assert told.mean == pytest.approx(own.mean())
        assert told.active == pytest.approx((own > 0).mean())
        assert told.separates == pytest.approx(max(np.mean(pairs), 1 - np.mean(pairs)))


def test_quarters_hold_all_examples_in_order_and_the_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    target, a = rng.normal(size=101), np.maximum(rng.normal(size=101), 0)
    found, correlation = quarters(target, a, a)
    assert sum(one.examples for one in found) == 101
    assert all(x.greatest <= y.least for x, y in itertools.pairwise(found))
    assert correlation == pytest.approx(spearmanr(target, a).statistic)
    assert np.isnan(quarters(target, a, np.zeros(101))[1])


@pytest.mark.parametrize(
    ("a", "expected"),
    [([1, 1, 1, 1], 0.0), ([0, 0, 0, 5], 1.0), ([0, 0, 1, 1], 2 / 3), ([0, 0], np.nan), ([np.nan, 1], np.nan)],
)
def test_sparseness_of_known_levels(a: list[float], expected: float) -> None:
    # (1 - (2/4)² / (2/4)) / (1 - 1/4) = 2/3
    assert sparseness(np.array(a, float)) == pytest.approx(expected, nan_ok=True)


def test_terms_on_average_are_those_of_all_products() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(3.0, 2.0, (500, 6)).astype(np.float32), rng.normal(size=6)
    sums = TermSums(w)
    for part in np.array_split(x, 7):
        sums.add(part)
    told = sums.told([f"x{i}" for i in range(6)])
    products = x.astype(np.float64) * w
    np.testing.assert_allclose(told.mean, products.mean(axis=0))
    np.testing.assert_allclose(told.size, np.abs(products).mean(axis=0))
    np.testing.assert_allclose(told.moves, products.std(axis=0))
    assert told.warnings == ()


def test_inputs_of_other_scale_and_such_as_go_together_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    x[:, 1] = x[:, 0] + 0.1 * rng.normal(size=400)
    x[:, 3] *= 100
    sums = TermSums(np.ones(4))
    sums.add(x)
    scale, together = sums.told(["a", "b", "c", "d"]).warnings
    assert "d varies by" in scale
    assert "no importance" in scale
    assert "a and b correlate +" in together or "b and a correlate +" in together


@given(network=networks(), seed=st.integers(0, 50))
def test_the_effective_pattern_is_the_mean_of_numeric_slopes(network: Network, seed: int) -> None:
    # dz/dx by differences: exact in float64 while no neuron changes its piece.
    deep = [i for i, layer in enumerate(network.layers) if has_neurons(layer) and len(layer.output_shape) == 1]
    position = deep[seed % len(deep)]
    index = seed % neuron_counts(network.layers)[position]
    X = inputs(network, 2)
    found = locate(network, f"{network.layers[position].name}[{index}]")

    def z_of(x: np.ndarray) -> np.ndarray:
        seen = network.trace(x).layers[position].z
        assert seen is not None
        return by_neuron(seen, network, position)[:, 0, index]

    told = pattern(network, found, X, z_of(X), np.zeros(2, np.int64), meaning=Meaning.of(network))
    chosen = X[z_of(X) > 0] if (z_of(X) > 0).any() else X
    h, slopes = 1e-7, np.zeros((len(chosen), X[0].size))
    for i in range(X[0].size):
        step = np.zeros(X[0].size)
        step[i] = h
        step = step.reshape(X[0].shape)
        slopes[:, i] = (z_of(chosen + step) - z_of(chosen - step)) / (2 * h)
    mean = told.mean
    if mean.ndim == 3:  # channels first, as told
        first = network.layers[0]
        last = getattr(first, "data_format", "channels_last") == "channels_last"
        mean = np.moveaxis(mean, 0, -1) if last else mean
    np.testing.assert_allclose(mean.reshape(-1), slopes.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_the_pattern_of_a_first_layer_is_its_weights() -> None:
    network = Network([Flatten(), Dense(3), Dense(2)], input_shape=(4, 5, 3), seed=1)
    told = detects(network, "hidden1[1]", inputs(network, 20))
    assert told.pattern.is_weights
    assert told.pattern.mean.shape == (3, 4, 5)
    np.testing.assert_array_equal(told.pattern.mean, np.moveaxis(network["hidden1"].W[1].reshape(4, 5, 3), -1, 0))
    assert told.mean_terms is not None
    x = inputs(network, 20).mean(axis=0, dtype=np.float64)
    expected = np.moveaxis(network["hidden1"].W[1].reshape(4, 5, 3) * x, -1, 0)
    np.testing.assert_allclose(told.mean_terms, expected, rtol=1e-5, atol=1e-7)


def test_a_deep_filter_finds_the_pattern_planted_in_it_wherever_it_stands() -> None:
    # Two filters of the first layer look for a bar across and one down; the second layer adds them one above the other.
    network = Network([Conv2D(2, 3), Conv2D(1, 2, "identity"), Flatten(), Dense(2)], input_shape=(10, 10))
    across, down = np.zeros((3, 3)), np.zeros((3, 3))
    across[1], down[:, 1] = 1.0, 1.0
    network["conv1"].W[0, 0], network["conv1"].W[1, 0] = across, down
    network["conv2"].W[...] = 0.0
    network["conv2"].W[0, 0, 0, 0], network["conv2"].W[0, 1, 1, 1] = 1.0, 2.0
    expected = np.zeros((4, 4))
    expected[:3, :3] += across
    expected[1:, 1:] += 2 * down
    X = np.zeros((12, 10, 10), np.float32)
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 6, (12, 2))
    for x, (i, j) in zip(X, corners.tolist(), strict=True):
        x[i : i + 4, j : j + 4] = expected > 0
    told = detects(network, "conv2[0]", X)
    np.testing.assert_allclose(told.pattern.mean[0], expected, atol=1e-6)
    assert told.pattern.agreement == pytest.approx(1.0)
    assert {one.place for one in told.most} <= {(int(i), int(j)) for i, j in corners}
    assert all(one.window == (*(one.place or ()), 4, 4) for one in told.most)


def test_patches_are_what_the_placed_neurons_see() -> None:
    for data_format, shape in (("channels_last", (7, 6, 2)), ("channels_first", (2, 7, 6))):
        layers = [Conv2D(3, (3, 2), stride=(2, 1), padding="same", data_format=data_format), Flatten(), Dense(1)]
        network = Network(layers, input_shape=shape, seed=1, dtype="float64")
        network["conv1"].b[...] = 0.3
        x = inputs(network, 4)
        layer = network["conv1"]
        every = patches(layer, x, np.arange(24))
        z = by_neuron(network.trace(x)["conv1"].z, network, 0)
        np.testing.assert_allclose(every @ layer.W.reshape(3, -1).T + layer.b, z)
        places = np.array([0, 5, 11, 3])
        np.testing.assert_array_equal(patch_at(layer, x, places), every[np.arange(4), places])


def test_a_filter_is_looked_at_where_it_answers_most() -> None:
    network = Network([Conv2D(2, 3), MaxPool2D(2), Flatten(), Dense(2, "softmax")], input_shape=(8, 8), seed=1)
    X = np.random.default_rng(0).random((30, 8, 8))
    y = np.arange(30) % 2
    told = detects(network, "conv1[1]", X, y)
    z = by_neuron(network.trace(X)["conv1"].z, network, 0)[..., 1]
    assert told.most[0].z == pytest.approx(z.max())
    assert told.active == pytest.approx((z.max(axis=1) > 0).mean())
    assert told.most[0].place == divmod(int(z[z.max(axis=1).argmax()].argmax()), 6)
    one = detects(network, "conv1[1] @ (2, 3)", X, y)
    assert one.mean == pytest.approx(np.maximum(z[:, 2 * 6 + 3], 0).mean())
    assert one.most[0].place is None
    assert told.figure() is not None


def test_a_dead_neuron_detects_nothing() -> None:
    network = Network.dense([4, 3, 2], seed=1)
    network["hidden1"].b[0] = -99
    told = detects(network, "hidden1[0]", np.random.default_rng(0).normal(size=(30, 4)))
    assert "detects nothing" in str(told)
    assert told.state == "dead"


def test_values_that_are_not_finite_are_counted_and_written() -> None:
    network = Network.dense([4, 3, 2], seed=1)
    X = np.random.default_rng(0).normal(size=(30, 4))
    X[3, 1] = np.nan
    told = detects(network, "hidden1[0]", X, np.arange(30) % 2)
    assert told.nonfinite == 1
    assert all(np.isnan(one.auc) for one in told.classes)
    assert 3 not in [one.row for one in (*told.most, *told.least)]
    assert "1 levels are not finite" in str(told)
    json.dumps(told.to_dict(), allow_nan=False)
    assert told.figure() is not None


def test_values_as_targets_give_a_correlation() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    network = Network.dense([3, 2, 1], hidden="identity", seed=1)
    network["hidden1"].W[0] = [0, -1, 0]
    told = detects(network, "hidden1[0]", X, X[:, 1:2].astype(np.float32))
    assert told.correlation == pytest.approx(-1.0)
    assert "falls with" in str(told)
    assert len(told.quarters) == 4
    assert told.figure() is not None


def test_looking_changes_nothing() -> None:
    network = Network.dense([4, 8, 6, 2], seed=1)
    before = network.parameters.copy()
    X = np.random.default_rng(0).normal(size=(30, 4))
    kept = X.copy()
    detects(network, "hidden2[0]", X, np.arange(30) % 2)
    np.testing.assert_array_equal(network.parameters, before)
    np.testing.assert_array_equal(X, kept)


def test_what_does_not_fit_is_refused() -> None:
    network = Network.dense([4, 3, 2])
    with pytest.raises(NotFoundError, match="0 to 2, got 3"):
        detects(network, "hidden1[3]", np.zeros((2, 4)))
    with pytest.raises(UsageError, match="classes 0 to 1, got -1"):
        detects(network, "hidden1[0]", np.zeros((2, 4)), [0, -1])
    with pytest.raises(UsageError, match="as many numbers"):
        detects(network, "hidden1[0]", np.zeros((2, 4)), rows=[1])
