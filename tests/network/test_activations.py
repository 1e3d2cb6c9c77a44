"""Activations against slow scalar formulas, finite differences and torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import UsageError
from neuronwise.network import ACTIVATIONS, get_activation


def _sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))


SLOW: dict[str, Callable[[float], float]] = {
    "identity": lambda z: z,
    "sigmoid": _sigmoid,
    "tanh": math.tanh,
    "relu": lambda z: max(0.0, z),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "gelu": lambda z: z * 0.5 * math.erfc(-z / math.sqrt(2.0)),
    "softplus": lambda z: max(z, 0.0) + math.log1p(math.exp(-abs(z))),
}
ELEMENTWISE = sorted(SLOW)


def test_every_activation_has_a_slow_twin_and_facts_for_the_user() -> None:
    assert set(ACTIVATIONS) == {*SLOW, "softmax"}
    for name, activation in ACTIVATIONS.items():
        assert activation.name == name
        for fact in ("formula", "derivative_formula", "value_range", "use", "weakness"):
            assert len(getattr(activation, fact)) > 4, (name, fact)
        assert repr(activation) == f"<activation {name}: {activation.formula}>"


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(z=st.floats(-1e4, 1e4))
def test_forward_is_the_formula(name: str, z: float) -> None:
    a = get_activation(name)(np.array([[z]]))[0, 0]
    assert a == pytest.approx(SLOW[name](z), rel=4e-15, abs=1e-15)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_float32_stays_float32_and_agrees_to_its_precision(name: str) -> None:
    z = np.linspace(-30, 30, 2001, dtype=np.float32)[:, None]
    a = get_activation(name)(z)
    assert a.dtype == np.float32
    slow = np.array([SLOW[name](float(v)) for v in z[:, 0]])
    np.testing.assert_allclose(a[:, 0], slow, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivative_is_that_of_finite_differences(name: str) -> None:
    rng = np.random.default_rng(0)
    z = rng.uniform(-8, 8, 400)
    z = z[np.abs(z) > 1e-3]  # away from the kinks
    h = 1e-5
    f = get_activation(name)
    numeric = (f(z + h) - f(z - h)) / (2 * h)
    np.testing.assert_allclose(f.derivative(z), numeric, rtol=2e-7, atol=2e-9)


@pytest.mark.parametrize(("name", "at_zero"), [("relu", 0.0), ("leaky_relu", 0.01), ("elu", 1.0)])
def test_derivative_at_the_kink_is_torchs(name: str, at_zero: float) -> None:
    assert get_activation(name).derivative(np.array([0.0])) == pytest.approx([at_zero], abs=0)


def test_leaky_relu_slope_is_exactly_one_for_positive_z() -> None:
    for dtype in (np.float32, np.float64):
        z = np.array([[3.0, -2.0]], dtype=dtype)
        delta = np.ones_like(z)
        f = get_activation("leaky_relu")
        f.backward(delta, z, f(z), np.empty_like(z))
        assert delta[0, 0] == 1.0
        assert delta[0, 1] == dtype(0.01)


def test_gelu_is_exact_to_the_last_digits() -> None:
    z = np.linspace(-40, 40, 20001)
    slow = np.array([0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))) for v in z])
    # Beyond |z| = 1 a is as large as z, so its last digit is larger too.
    assert np.max(np.abs(get_activation("gelu")(z) - slow) / np.maximum(1.0, np.abs(z))) < 1e-15


def test_gelu_keeps_relative_precision_in_the_tail() -> None:
    # z·Phi(z) at -20 is about -5e-88: 1 + erf(z) would give 0.
    z = np.linspace(-25, -1, 500)
    np.testing.assert_allclose(get_activation("gelu")(z), [SLOW["gelu"](v) for v in z], rtol=2e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_no_nan_up_to_ten_thousand_and_no_warning(name: str, dtype: type[np.floating]) -> None:
    z = np.concatenate([-np.logspace(4, -8, 200), [0.0, -0.0], np.logspace(-8, 4, 200)]).astype(dtype)[None]
    f = get_activation(name)
    a = f(z)
    delta, scratch = np.ones_like(z), np.empty_like(z)
    with np.errstate(all="ignore"):
        f.backward(delta, z, a, scratch)
    assert np.isfinite(a).all()
    assert np.isfinite(delta).all()
    assert z.dtype == a.dtype == dtype


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_nan_stays_nan(name: str) -> None:
    z = np.array([[1.0, np.nan, -1.0]])
    f = get_activation(name)
    a, delta = f(z), np.ones_like(z)
    with np.errstate(all="ignore"):
        f.backward(delta, z, a, np.empty_like(z))
    assert np.isnan(a[0, 1])
    if name != "identity":  # its derivative is 1 whatever z is
        assert np.isnan(delta[0, 1])
    if name != "softmax":
        assert np.isfinite(a[0, [0, 2]]).all()


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus"])
def test_infinite_z_gives_the_limit(name: str) -> None:
    limits = {
        "sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, math.inf), "leaky_relu": (-math.inf, math.inf),
        "elu": (-1, math.inf), "softplus": (0, math.inf),
    }  # fmt: skip
    assert tuple(get_activation(name)(np.array([-np.inf, np.inf]))) == limits[name]


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_forward_and_backward_leave_z_and_a_intact(name: str) -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(5, 4))
    before, f = z.copy(), get_activation(name)
    a = f(z)
    a_before = a.copy()
    f.backward(np.ones_like(z), z, a, np.empty_like(z))
    np.testing.assert_array_equal(z, before)
    np.testing.assert_array_equal(a, a_before)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_integers_count_as_float64(name: str) -> None:
    a = get_activation(name)([[-2, 0, 3]])
    assert a.dtype == np.float64
    np.testing.assert_array_equal(a, get_activation(name)(np.array([[-2.0, 0.0, 3.0]])))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_single_number_is_taken_too(name: str) -> None:
    assert float(get_activation(name)(0.5)) == pytest.approx(SLOW[name](0.5), rel=1e-15)
    assert np.isfinite(float(get_activation(name).derivative(0.5)))


@given(z=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8), shift=st.floats(-1e3, 1e3))
def test_softmax_sums_to_one_and_ignores_a_shift(z: list[float], shift: float) -> None:
    f = get_activation("softmax")
    a = f(np.array([z]))
    slow = np.array([math.exp(v - max(z)) for v in z])
    np.testing.assert_allclose(a[0], slow / slow.sum(), rtol=1e-14)
    assert a.sum() == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_allclose(f(np.array([z]) + shift), a, rtol=1e-9, atol=1e-12)


def test_softmax_backward_is_its_jacobian() -> None:
    rng = np.random.default_rng(2)
    f = get_activation("softmax")
    z, upstream = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    delta = upstream.copy()
    f.backward(delta, z, f(z), np.empty_like(z))
    for row in range(3):
        a = f(z[row])
        jacobian = np.diag(a) - np.outer(a, a)
        np.testing.assert_allclose(delta[row], jacobian @ upstream[row], rtol=1e-12, atol=1e-15)


def test_softmax_has_no_derivative_per_neuron_and_says_so() -> None:
    with pytest.raises(UsageError, match="the derivative of softmax is a matrix") as caught:
        get_activation("softmax").derivative([1.0, 2.0])
    assert "activation softmax" in str(caught.value)
    assert "a_i · (1[i = j] - a_j)" in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest_one_and_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        get_activation("rleu")
    text = str(caught.value)
    assert text.startswith("argument activation: unknown activation 'rleu'. Did you mean 'relu'?")
    assert "known are identity, sigmoid, tanh, relu, leaky_relu, elu, gelu, softplus, softmax" in text


@pytest.mark.parametrize("wrong", [None, 3, ["relu"], {"name": "relu"}])
def test_an_activation_that_is_no_name_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="unknown activation"):
        get_activation(wrong)  # type: ignore[arg-type]


def test_an_activation_object_is_returned_as_it_is() -> None:
    relu = ACTIVATIONS["relu"]
    assert get_activation(relu) is relu


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_forward_and_backward_equal_torch(name: str, dtype: type[np.floating]) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    theirs = {
        "identity": lambda t: t.clone(), "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": functional.relu,
        "leaky_relu": functional.leaky_relu, "elu": functional.elu, "gelu": functional.gelu,
        "softplus": functional.softplus, "softmax": lambda t: functional.softmax(t, dim=-1),
    }  # fmt: skip
    rng = np.random.default_rng(3)
    z, upstream = rng.normal(scale=4, size=(40, 7)).astype(dtype), rng.normal(size=(40, 7)).astype(dtype)
    z[0, 0] = 0.0
    tensor = torch.tensor(z, requires_grad=True)
    expected = theirs[name](tensor)
    expected.backward(torch.tensor(upstream))
    f = get_activation(name)
    a, delta = f(z), upstream.copy()
    f.backward(delta, z, a, np.empty_like(z))
    # torch's softplus is linear beyond 20; within 1e-8 it is the same.
    tolerance = 1e-6 if dtype == np.float32 else (1e-8 if name == "softplus" else 1e-12)
    np.testing.assert_allclose(a, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(delta, tensor.grad.numpy(), rtol=tolerance, atol=tolerance)
