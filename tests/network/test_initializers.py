"""First weights: their moments, their defaults and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.network import ACTIVATIONS, INITIALIZERS, Dense, Initializer, Network, generator, get_initializer

N_IN, N_OUT = 300, 200


def _draw(name: str, value: float | None = None, seed: int = 0) -> np.ndarray:
    return Initializer(name, value).draw((N_OUT, N_IN), N_IN, N_OUT, generator(seed, "test"))


@pytest.mark.parametrize(
    ("name", "value", "variance"),
    [
        ("he", None, 2 / N_IN),
        ("glorot", None, 2 / (N_IN + N_OUT)),
        ("lecun", None, 1 / N_IN),
        ("normal", None, 0.05**2),
        ("normal", 0.5, 0.25),
    ],
)
def test_mean_and_variance_are_those_of_the_paper(name: str, value: float | None, variance: float) -> None:
    W = _draw(name, value)
    n = W.size
    # Four standard errors: of the mean, and (kurtosis at most 3) of the variance.
    assert abs(W.mean()) < 4 * math.sqrt(variance / n)
    assert W.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / n))


def test_he_is_normal_and_glorot_uniform_within_its_limit() -> None:
    he, glorot = _draw("he").ravel(), _draw("glorot").ravel()
    limit = math.sqrt(6 / (N_IN + N_OUT))
    assert np.abs(glorot).max() <= limit
    assert np.abs(glorot).max() > 0.999 * limit
    assert np.mean(glorot**4) / np.mean(glorot**2) ** 2 == pytest.approx(1.8, abs=0.03)  # uniform
    assert np.mean(he**4) / np.mean(he**2) ** 2 == pytest.approx(3.0, abs=0.1)  # normal


def test_zeros_and_constant() -> None:
    assert not _draw("zeros").any()
    assert (_draw("constant") == 0.1).all()
    assert (_draw("constant", -3) == -3.0).all()
    assert (_draw("constant", 0.0) == 0.0).all()
    assert not _draw("normal", 0.0).any()


def test_the_default_follows_the_activation() -> None:
    found = {name: get_initializer(None, name).name for name in ACTIVATIONS}
    assert found == {
        "identity": "glorot", "sigmoid": "glorot", "tanh": "glorot", "softmax": "glorot", "relu": "he",
        "leaky_relu": "he", "elu": "he", "gelu": "he", "softplus": "he",
    }  # fmt: skip
    network = Network([Dense(3, "tanh"), Dense(3, "relu", initializer="lecun"), Dense(1, "identity")], input_shape=2)
    assert [layer.initializer.name for layer in network.layers] == ["glorot", "lecun", "glorot"]


def test_an_initialiser_is_given_by_name_by_mapping_or_as_itself() -> None:
    assert get_initializer("he", "tanh") == Initializer("he")
    assert get_initializer({"name": "normal", "value": 0.2}, "tanh") == Initializer("normal", 0.2)
    own = Initializer("constant", 2.0)
    assert get_initializer(own, "relu") is own


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_json_and_back(name: str) -> None:
    for one in (Initializer(name), Initializer(name, 0.7) if name in ("normal", "constant") else Initializer(name)):
        assert get_initializer(one.to_json(), "relu") == one


def test_the_seed_decides_the_weights_and_each_layer_has_its_own() -> None:
    a, b = Network.dense([4, 4, 4], seed=1), Network.dense([4, 4, 4], seed=1)
    np.testing.assert_array_equal(a.parameters, b.parameters)
    assert not np.array_equal(a.parameters, Network.dense([4, 4, 4], seed=2).parameters)
    same = Network.dense([4, 4, 4], hidden="relu", output="relu", seed=1)
    assert not np.array_equal(same["hidden1"].W, same["output"].W)


def test_float32_weights_are_the_float64_ones_rounded_and_biases_zero() -> None:
    single, double = Network.dense([5, 4, 3], seed=7), Network.dense([5, 4, 3], seed=7, dtype="float64")
    np.testing.assert_array_equal(single.parameters, double.parameters.astype(np.float32))
    assert all(not layer.b.any() for layer in single.layers)


def test_a_wider_layer_does_not_change_the_one_after_it_when_its_shape_is_the_same() -> None:
    # The generator of a layer derives from its place, not from what was drawn before.
    one = Network([Dense(4, "relu"), Dense(2)], input_shape=3, seed=5)
    other = Network([Dense(4, "relu", initializer="zeros"), Dense(2)], input_shape=9, seed=5)
    np.testing.assert_array_equal(one["output"].W, other["output"].W)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("hee", "argument initializer: unknown initialiser 'hee'. Did you mean 'he'?"),
        ("xavier", "known are he, glorot, lecun, normal, zeros, constant"),
        (3, "unknown initialiser 3"),
        (["he"], "unknown initialiser ['he']"),
        ({"name": "he", "value": 1.0}, "initialiser 'he' takes no value, got 1.0"),
        ({"value": 1.0}, "an initialiser has the keys name and value, got ['value']"),
        ({"name": "he", "scale": 2}, "an initialiser has the keys name and value, got ['name', 'scale']"),
        ({"name": ["he"]}, "unknown initialiser ['he']"),
        ({"name": "normal", "value": math.nan}, "the value must be a finite number, got nan"),
        ({"name": "normal", "value": math.inf}, "the value must be a finite number, got inf"),
        ({"name": "normal", "value": "0.1"}, "the value must be a finite number, got '0.1'"),
        ({"name": "constant", "value": True}, "the value must be a finite number, got True"),
        ({"name": "constant", "value": 10**400}, "the value must be a finite number"),
    ],
)
def test_what_is_no_initialiser_is_refused(given: object, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        get_initializer(given, "relu")  # type: ignore[arg-type]
    assert text in str(caught.value)
