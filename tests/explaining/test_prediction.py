"""Why this answer: it adds up, in the user's columns and units; integrated gradients and conductance where curved."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronwise.data import FeatureEncoder, PixelEncoder, describe_columns, describe_target, read_table
from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining import Meaning
from neuronwise.explaining.local_linear import local_linear
from neuronwise.explaining.path import integrate
from neuronwise.explaining.prediction import Baseline, Question, explain_prediction
from neuronwise.explaining.unfamiliar import unfamiliar
from neuronwise.explaining.units import OutputUnit
from neuronwise.network import ACTIVATIONS, Network
from neuronwise.network.layers import ActivationLayer, Conv2D, Dense, Flatten, MaxPool2D

from .networks import inputs, networks

CURVED = tuple(name for name in ACTIVATIONS if name != "softmax")


@pytest.fixture(scope="module")
def houses() -> tuple[FeatureEncoder, Any, pd.DataFrame]:
    """Return encoder, target and frame of a few houses whose price stands with its sign of money."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "sqft": rng.integers(290, 13_540, 60),
            "zipcode": rng.choice(["98103", "98039", "98178"], 60),
            "waterfront": rng.choice(["yes", "no"], 60),
            "date": [f"2023-0{1 + i % 9}-1{i % 10}" for i in range(60)],
            "price": [f"${math.exp(rng.normal(13, 1)):,.2f}" for _ in range(60)],
        }
    )
    table = read_table(frame)
    target = describe_target(table, "price", log=True)
    encoder = FeatureEncoder.fit(table, describe_columns(table, target=target, category=["zipcode"]))
    return encoder, target.fit(table), frame


@settings(max_examples=40)
@given(networks("float64"), st.booleans())
def test_exact_explanations_are_gradient_times_input_and_add_up_in_every_layer(network: Network, moved: bool) -> None:
    x = inputs(network, 1)[0]
    origin = inputs(network, 2)[1] if moved else None
    told = explain_prediction(network, x, baseline=origin)
    best = int(network.predict(x[None])[0].argmax())
    maps = local_linear(network, x, neurons=best)
    away = x if origin is None else x - origin
    np.testing.assert_allclose(told.input_contributions, (maps.gradient[0, 0] * away).reshape(-1), atol=1e-12)
    size = np.abs(told.input_contributions).sum() + abs(told.start) + abs(told.value) + 1
    assert told.method == "local linear map"
    assert told.is_exact
    assert told.value == maps.value[0, 0]
    assert abs(told.gap) <= 1e-12 * size
    assert told.start + told.input_contributions.sum() + told.gap == pytest.approx(told.value, abs=1e-12 * size)
    if origin is None:
        assert told.start == pytest.approx(sum(told.bias_terms.values()), abs=1e-12 * size)
    for layer in told.layers:
        assert abs(layer.gap) <= 1e-11 * (np.abs(layer.contributions).sum() + abs(layer.start) + 1)
        level = network.trace(x)[layer.layer].a[0]
        if level.ndim == 1:
            np.testing.assert_array_equal(layer.activation, level)
            assert layer.slope is not None
            np.testing.assert_allclose(layer.contributions, level * layer.slope)


@settings(max_examples=40)
@given(networks("float64", activations=CURVED))
def test_integrated_gradients_close_the_gap_in_every_layer(network: Network) -> None:
    x = inputs(network, 1)[0]
    told = explain_prediction(network, x, method="integrated gradients")
    assert told.method == "integrated gradients"
    size = np.abs(told.input_contributions).sum()
    at_zero = float(network.predict(np.zeros_like(x)[None])[0, network.predict(x[None])[0].argmax()])
    assert told.start == pytest.approx(at_zero, abs=1e-9)
    assert told.is_close
    assert abs(told.gap) <= 1e-4 * max(size, abs(told.value - told.start)) + 1e-12
    for layer in told.layers:
        total = np.abs(layer.contributions).sum()
        assert abs(layer.gap) <= 1e-3 * (total + size) + 1e-9


def test_integrated_gradients_by_a_slow_sum() -> None:
    network = Network([Dense(5, "tanh"), Dense(4, "gelu"), Dense(2, "softmax")], input_shape=3, seed=4, dtype="float64")
    x, origin = inputs(network, 2)
    told = explain_prediction(network, x, 1, baseline=origin)
    n = 800
    slow, hidden = np.zeros(3), np.zeros(5)
    before = None
    for k in range(n):
        point = origin + (k + 0.5) / n * (x - origin)
        slow += local_linear(network, point, neurons=1).gradient[0, 0] / n * (x - origin)
        # Conductance of hidden1, the definition: dF/da_j · da_j/dalpha, the latter by the neuron's own slope.
        a, z = network.trace(point)["hidden1"].a[0], network.trace(point)["hidden1"].z[0]
        rate = (1 - np.tanh(z) ** 2) * (network["hidden1"].W @ (x - origin))
        top = Network([Dense(4, "gelu"), Dense(2, "softmax")], input_shape=5, dtype="float64")
        top.parameters[:] = network.parameters[network["hidden1"].parameter_count :]
        hidden += local_linear(top, a, neurons=1).gradient[0, 0] * rate / n
        before = a if before is None else before
    np.testing.assert_allclose(told.input_contributions, slow, atol=2e-4 * np.abs(slow).sum())
    np.testing.assert_allclose(told.layers[0].contributions, hidden, atol=2e-4 * np.abs(hidden).sum())
    assert told.curved == ("hidden1", "hidden2")
    assert told.explains == "logit"


def test_steps_are_as_many_as_needed_or_as_asked_for() -> None:
    network = Network.dense([3, 8, 1], hidden="sigmoid", seed=1, dtype="float64")
    network["hidden1"].W *= 40
    network["hidden1"].b = np.full(8, 5.0)
    x = inputs(network, 1)[0]
    told = explain_prediction(network, x)
    assert told.steps > 32
    assert told.is_close
    assert explain_prediction(network, x, steps=7).steps == 7
    seed = np.ones(1)
    question = Question.of(network, network.predict(x[None])[0], None, None, Meaning.of(network))
    coarse = integrate(network, x, np.zeros(3), question.target, seed, steps=3)
    fine = integrate(network, x, np.zeros(3), question.target, seed, steps=4096)
    assert abs(fine.gap) < abs(coarse.gap)
    assert not coarse.is_close
    assert "more than wanted" in str(explain_prediction(network, x, steps=3))


def test_a_network_by_hand_in_words() -> None:
    # z = (2, -1.5), a = (2, 0); output: 3 a1 - a2 + 0.25 = 6.25 = 6 - 3 + (3 + 0.25)
    network = Network.dense([2, 2, 1], dtype="float64", input_names=["sqft", "age"], class_names=["price"])
    network["hidden1"].W, network["hidden1"].b = [[1, -1], [-1, 0]], [1, 0.5]
    network["output"].W, network["output"].b = [[3, -1]], [0.25]
    told = explain_prediction(network, [2.0, 1.0])
    assert told.contributions.tolist() == [6.0, -3.0]
    assert (told.value, told.start, told.gap) == (6.25, 3.25, 0.0)
    assert told.bias_terms == {"hidden1": 3.0, "output": 0.25}
    (hidden,) = told.layers
    assert hidden.contributions.tolist() == [6.0, 0.0]
    assert (hidden.start, hidden.gap) == (0.25, 0.0)
    text = str(told)
    assert text.startswith("price 6.25: sqft 2 counts most, +6 to price.")
    assert "The network computed 6.25; the sum misses it by 0.0e+00" in text
    assert "biases above" in text
    assert "Exact:" in text
    assert json.loads(json.dumps(told.to_dict()))["contributions"] == [6.0, -3.0]
    assert "<table" in told._repr_html_()


def _priced(houses: Any) -> tuple[Network, Meaning, Any]:
    encoder, target, frame = houses
    network = Network.dense([encoder.n_inputs, 6, 1], seed=2)
    return network, Meaning.of(network, encoder, target), encoder.transform(read_table(frame))


def test_one_hot_groups_are_summed_and_money_is_told(houses: Any) -> None:
    network, meaning, X = _priced(houses)
    target = meaning.target
    assert target is not None
    told = explain_prediction(network, X[4], meaning=meaning, baseline=Baseline(X.mean(axis=0), "the average house"))
    assert list(told.names) == list(meaning.groups)
    places = meaning.groups["zipcode"]
    maps = local_linear(network, X[4])
    by_hand = (maps.gradient[0, 0] * (X[4] - X.mean(axis=0)))[places].sum()
    assert told.contributions[list(told.names).index("zipcode")] == pytest.approx(by_hand, rel=1e-5)
    # A price is exp(output · scale + mean), so a contribution c is the factor exp(c · scale).
    price = math.exp(told.value * target.scale + target.mean)
    factors = [told.factor(name) for name in told.names]
    start = math.exp(told.start * target.scale + target.mean)
    assert start * math.prod(factors) == pytest.approx(price, rel=1e-5)
    assert told.factor("zipcode") == pytest.approx(math.exp(by_hand * target.scale), rel=1e-5)
    assert told.unit is not None
    c = float(told.contributions[0])
    assert told.unit.difference(c, told.value) == pytest.approx(price - price / math.exp(c * target.scale))
    text = str(told)
    assert text.startswith("price $")
    assert ", × " in text.splitlines()[0]
    assert "about +$" in text.splitlines()[0] or "about −$" in text.splitlines()[0]
    assert "The logarithm of price was learned. What is added to a logarithm multiplies" in text
    assert "start (the average house)" in text


def test_the_sign_of_money_is_shown_only_where_it_is_known(houses: Any) -> None:
    network, meaning, X = _priced(houses)
    assert meaning.target is not None
    unsigned = dataclasses.replace(meaning, target=dataclasses.replace(meaning.target, reason="60 distinct numbers"))
    assert "$" not in str(explain_prediction(network, X[0], meaning=unsigned))
    assert "€" in str(explain_prediction(network, X[0], meaning=unsigned, unit="€"))


def test_a_target_without_logarithm_is_told_in_amounts_that_add_up() -> None:
    unit = OutputUnit("rent", mean=1000.0, scale=250.0, log=False)
    assert unit.amount(0.5) == 1125.0
    assert unit.difference(0.2, 0.5) == 50.0
    assert unit.words(-51_234.0, signed=True) == "−51,200"
    assert unit.words(math.nan) == "nan"
    assert OutputUnit("p", 0.0, 1.0, True).factor(1e6) == math.inf


def test_two_classes_have_one_logit_and_two_signs() -> None:
    table = read_table(pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "sold": ["no", "yes", "no", "yes"]}))
    target = describe_target(table, "sold")
    network = Network.dense([1, 3, 1], output="sigmoid", seed=5, dtype="float64")
    meaning = Meaning.of(network, target=target)
    x = np.array([1.3])
    z = float(network.trace(x)[-1].z[0, 0])
    yes, no = (explain_prediction(network, x, name, meaning=meaning) for name in ("yes", "no"))
    assert (yes.value, no.value) == (z, -z)
    np.testing.assert_array_equal(yes.contributions, -no.contributions)
    assert yes.probability == pytest.approx(1 / (1 + math.exp(-z)))
    assert no.probability == pytest.approx(1 - 1 / (1 + math.exp(-z)))
    assert explain_prediction(network, x, meaning=meaning).output == ("yes" if z >= 0 else "no")
    with pytest.raises(NotFoundError, match="no output 'maybe'"):
        explain_prediction(network, x, "maybe", meaning=meaning)


def test_why_this_class_and_not_that_one() -> None:
    network = Network.dense([4, 6, 3], output="softmax", seed=1, dtype="float64", class_names=["cat", "dog", "cow"])
    x = inputs(network, 1)[0]
    z = network.trace(x)[-1].z[0]
    told = explain_prediction(network, x, "dog", against="cat")
    assert told.value == pytest.approx(z[1] - z[0])
    parts = [explain_prediction(network, x, name).contributions for name in ("dog", "cat")]
    np.testing.assert_allclose(told.contributions, parts[0] - parts[1], atol=1e-12)
    assert told.what == "the logit of dog minus that of cat"
    assert explain_prediction(network, x).output == ["cat", "dog", "cow"][int(z.argmax())]


def test_a_softmax_in_a_layer_of_its_own_is_explained_by_its_logits() -> None:
    network = Network([Dense(4), Dense(3, "identity"), ActivationLayer("softmax")], input_shape=2, dtype="float64")
    x = inputs(network, 1)[0]
    told = explain_prediction(network, x, 2)
    assert told.value == network.trace(x)[1].z[0, 2]
    assert [layer.layer for layer in told.layers] == ["hidden1"]
    assert told.is_exact


def test_the_filters_of_a_convolution_are_summed_over_their_places() -> None:
    network = Network(
        [Conv2D(3, 3), MaxPool2D(2), Flatten(), Dense(2, "softmax")], input_shape=(8, 8, 1), dtype="float64"
    )
    x = inputs(network, 1)[0]
    told = explain_prediction(network, x)
    (conv,) = told.layers
    assert list(conv.names) == ["conv1[0]", "conv1[1]", "conv1[2]"]
    assert abs(conv.gap) < 1e-12
    a = network.trace(x)["conv1"].a[0]
    np.testing.assert_allclose(conv.activation, a.mean(axis=(0, 1)))
    # Silenced by hand: where no maximum changes its place, that is what the filter adds.
    assert told.picture is not None
    assert told.figure() is not None


def test_pictures_of_all_sorts_are_drawn(houses: Any, tmp_path: Any) -> None:
    network, meaning, X = _priced(houses)
    explain_prediction(network, X[0], meaning=meaning).save(tmp_path / "a.png")
    wide = Network.dense([30, 1])
    explain_prediction(wide, np.ones(30)).save(tmp_path / "b.svg")
    explain_prediction(wide, np.full(30, np.nan)).save(tmp_path / "c.png")
    colours = Network([Flatten(), Dense(3, "tanh"), Dense(2, "softmax")], input_shape=(5, 6, 3))
    encoder = PixelEncoder((5, 6, 3))
    told = explain_prediction(colours, np.random.default_rng(0).random((5, 6, 3)), meaning=Meaning.of(colours, encoder))
    told.save(tmp_path / "d.png")
    assert "a black picture" in str(told)
    assert len(list(tmp_path.iterdir())) == 4


def test_not_a_number_is_told_not_dropped() -> None:
    network = Network.dense([2, 3, 1])
    told = explain_prediction(network, [np.nan, 1.0])
    text = str(told)
    assert "Beware: 1 of 2 inputs are not finite, the first is x[0]: nan." in text
    assert "nan" in text.splitlines()[0]
    assert told.to_dict()["value"] == "NaN"


def test_what_training_has_never_seen_is_said(houses: Any) -> None:
    encoder, _, frame = houses
    network, meaning, X = _priced(houses)
    for row in X:
        assert unfamiliar(meaning, row) == []
    low, high = int(frame["sqft"].min()), int(frame["sqft"].max())
    changed = frame.iloc[[0]].assign(sqft=40_000, zipcode="10115", date="2031-01-01")
    said = unfamiliar(meaning, encoder.transform(read_table(changed))[0])
    assert said[0] == f"sqft 40,000 is beyond anything seen: {low:,} to {high:,}" or str(low) in said[0]
    assert said[1] == "zipcode: none of the 3 categories seen in training; all its inputs are 0"
    assert said[2].startswith("date 2031-01-01 is beyond anything seen: 2023-0")
    text = str(explain_prediction(network, encoder.transform(read_table(changed))[0], meaning=meaning))
    assert "Beware: sqft 40,000 is beyond anything seen" in text
    pixels = Meaning.of(Network.dense([4, 1]), PixelEncoder((2, 2)))
    assert unfamiliar(pixels, np.array([0.0, 1.0, 0.5, 1.5])) == [
        "1 of 4 pixels are beyond anything seen: 0 to 255 (here 0 to 1)"
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": np.zeros((2, 3))}, UsageError, "one input is explained at a time, got 2"),
        ({"output": 7}, NotFoundError, "there is no output '7'"),
        ({"against": 0, "output": 0}, UsageError, "compared with itself"),
        ({"baseline": [1.0]}, UsageError, "one input of 3 finite numbers"),
        ({"baseline": [1.0, np.nan, 0.0]}, UsageError, "finite"),
        ({"method": "shap"}, UsageError, "got 'shap'"),
        ({"method": "local linear map"}, UsageError, "hidden1 is not made of straight pieces"),
        ({"steps": 0}, UsageError, "whole number from 1"),
        ({"layers": ["output"]}, UsageError, "hidden layers are hidden1"),
        ({"layers": ["hidden7"]}, NotFoundError, "Did you mean 'hidden1'"),
    ],
)
def test_what_cannot_be_explained_is_said(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    network = Network.dense([3, 4, 2], hidden="tanh", output="softmax")
    given = {"x": np.zeros(3)} | arguments
    with pytest.raises(error, match=words):
        explain_prediction(network, **given)
