"""Losses against slow scalar sums and torch; logits so large that a probability rounds to 0 or 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.errors import UsageError
from neuronwise.network import ACTIVATIONS, LOSSES, get_activation, get_loss

VALUES = ["absolute_error", "binary_cross_entropy", "huber", "squared_error"]


def _huber(d: float) -> float:
    return d * d / 2 if abs(d) < 1 else abs(d) - 0.5


def _log_sum_exp(row: list[float]) -> float:
    top = max(row)
    return top + math.log(math.fsum(math.exp(v - top) for v in row))


# One output of one example: (prediction or logit, target).
SLOW: dict[str, Callable[[float, float], float]] = {
    "squared_error": lambda a, y: (a - y) ** 2,
    "absolute_error": lambda a, y: abs(a - y),
    "huber": lambda a, y: _huber(a - y),
    "binary_cross_entropy": lambda z, y: math.log1p(math.exp(-abs(z))) + max(z, 0.0) * (1 - y) + max(-z, 0.0) * y,
}


def _targets(name: str, rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    if name == "categorical_cross_entropy":
        return rng.integers(0, n, m)
    return rng.integers(0, 2, (m, n)).astype(float) if name == "binary_cross_entropy" else rng.normal(size=(m, n))


def _slow_mean(name: str, z: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    m, n = z.shape
    w = np.ones(m) if weights is None else weights
    if name == "categorical_cross_entropy":
        return math.fsum(w[i] * (_log_sum_exp(z[i].tolist()) - z[i, y[i]]) for i in range(m)) / m
    return math.fsum(w[i] * SLOW[name](z[i, j], y[i, j]) for i in range(m) for j in range(n)) / (m * n)


def test_every_loss_is_tested_here() -> None:
    assert sorted(LOSSES) == sorted([*SLOW, "categorical_cross_entropy"])
    for name, loss in LOSSES.items():
        assert loss.name == name
        assert repr(loss) == f"<loss {name}: {loss.formula}>"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_value_is_the_slow_mean_and_gradient_its_finite_difference(name: str, weighted: bool) -> None:
    rng = np.random.default_rng(5)
    m, n = 6, 3
    z, y = rng.normal(scale=2, size=(m, n)), _targets(name, rng, m, n)
    weights = rng.uniform(0.2, 3, m) if weighted else None
    delta, loss = np.empty_like(z), LOSSES[name]
    value = loss.evaluate(z, z, y, delta, weights)
    assert value == pytest.approx(_slow_mean(name, z, y, weights), rel=1e-13)
    h = 1e-6
    for i in range(m):
        for j in range(n):
            up, down = z.copy(), z.copy()
            up[i, j] += h
            down[i, j] -= h
            numeric = (_slow_mean(name, up, y, weights) - _slow_mean(name, down, y, weights)) / (2 * h)
            assert delta[i, j] == pytest.approx(numeric, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "output"), [("binary_cross_entropy", "sigmoid"), ("categorical_cross_entropy", "softmax")]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_linked_and_not_linked_agree(name: str, output: str, dtype: type[np.floating], scale: float) -> None:
    rng = np.random.default_rng(6)
    z = (rng.normal(size=(50, 4)) * scale).astype(dtype)
    y = _targets(name, rng, 50, 4)
    y = y if y.dtype.kind == "i" else y.astype(dtype)
    a, loss = get_activation(output)(z), LOSSES[name]
    results = []
    for linked in (True, False):
        for weights in (None, rng.uniform(0.5, 2, 50).astype(dtype) if not results else results[1][2]):
            delta = np.empty_like(z)
            with np.errstate(all="ignore"):
                value = loss.evaluate(z, a, y, delta, weights, linked=linked)
            results.append((value, delta, weights))
    for one, other in zip(results[:2], results[2:], strict=True):
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_ten_thousand_give_finite_exact_losses(dtype: type[np.floating]) -> None:
    z = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4]], dtype=dtype)
    categorical, binary = LOSSES["categorical_cross_entropy"], LOSSES["binary_cross_entropy"]
    delta = np.empty_like(z)
    with np.errstate(all="ignore"):
        value = categorical.evaluate(z, z, np.array([1, 1, 0]), delta)
        assert value == pytest.approx((2e4 + 0 + math.log(2)) / 3, rel=1e-7)
        np.testing.assert_allclose(delta * 3, [[1, -1], [0, 0], [-0.5, 0.5]], atol=1e-7)
        y = np.array([[0, 0], [0, 1], [1, 0]], dtype=dtype)
        assert binary.evaluate(z, z, y, delta) == pytest.approx((1e4 + 0 + 0 + 0 + 0 + 1e4) / 6, rel=1e-7)
        np.testing.assert_allclose(delta * 6, [[1, 0], [0, 0], [0, 1]], atol=1e-7)


@pytest.mark.parametrize("weights", [None, [1e-9, 1.0], [1.0, 1e-9]])
def test_one_hopeless_example_among_good_ones_is_counted_exactly(weights: list[float] | None) -> None:
    z = np.array([[0.0, 1e4], [3.0, 0.0]])
    y, w = np.array([0, 0]), None if weights is None else np.array(weights)
    with np.errstate(all="ignore"):
        value = LOSSES["categorical_cross_entropy"].evaluate(z, z, y, np.empty_like(z), w)
    assert value == pytest.approx(_slow_mean("categorical_cross_entropy", z, y, w), rel=1e-12)


@given(st.floats(-1e4, 1e4), st.sampled_from([0.0, 1.0, 0.3]))
def test_binary_cross_entropy_is_exact_for_confident_answers_too(z: float, y: float) -> None:
    # log(1 + e^z) - y·z cancels where the answer is right and sure: at z = 40, y = 1 it must be e^-40, not 0.
    slow = SLOW["binary_cross_entropy"](z, y)
    assert LOSSES["binary_cross_entropy"]([[z]], [[y]]) == pytest.approx(slow, rel=1e-13, abs=1e-300)


def test_binary_cross_entropy_in_float32_keeps_its_digits() -> None:
    z = np.linspace(-30, 30, 121, dtype=np.float32)[:, None]
    for y in (0.0, 1.0):
        targets = np.full_like(z, y)
        for row in range(len(z)):
            value = LOSSES["binary_cross_entropy"].evaluate(
                z[row : row + 1], z[row : row + 1], targets[row : row + 1], np.empty((1, 1), np.float32)
            )
            assert value == pytest.approx(SLOW["binary_cross_entropy"](float(z[row, 0]), y), rel=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_nan_gives_a_nan_loss(name: str) -> None:
    z = np.array([[np.nan, 1.0], [0.0, 1.0]])
    y = np.array([0, 1]) if name == "categorical_cross_entropy" else np.array([[0.0, 1.0], [1.0, 0.0]])
    assert math.isnan(LOSSES[name](z, y))


def test_the_gradient_of_absolute_error_at_zero_is_zero() -> None:
    delta = np.empty((1, 2))
    LOSSES["absolute_error"].evaluate(np.ones((1, 2)), np.ones((1, 2)), np.array([[1.0, 0.0]]), delta)
    assert delta.tolist() == [[0.0, 0.5]]


def test_means_are_over_batch_and_outputs_but_for_categorical_over_the_batch() -> None:
    assert LOSSES["squared_error"]([[1, 2], [3, 4]], [[0, 0], [0, 0]]) == (1 + 4 + 9 + 16) / 4
    assert LOSSES["categorical_cross_entropy"](np.zeros((3, 4)), [0, 1, 2]) == pytest.approx(math.log(4))
    assert LOSSES["binary_cross_entropy"](np.zeros((3, 4)), np.zeros((3, 4))) == pytest.approx(math.log(2))


def test_weights_count_examples_and_divide_by_the_batch() -> None:
    a, y = np.array([[1.0], [2.0]]), np.zeros((2, 1))
    delta = np.empty_like(a)
    value = LOSSES["squared_error"].evaluate(a, a, y, delta, np.array([3.0, 0.5]))
    assert value == (3 * 1 + 0.5 * 4) / 2
    assert delta.tolist() == [[3 * 2 * 1 / 2], [0.5 * 2 * 2 / 2]]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_evaluate_changes_neither_z_nor_a_nor_y(name: str) -> None:
    rng = np.random.default_rng(7)
    z, y = rng.normal(size=(4, 3)), _targets(name, rng, 4, 3)
    a = get_activation("softmax" if name.startswith("cat") else "sigmoid")(z)
    copies = z.copy(), a.copy(), y.copy()
    LOSSES[name].evaluate(z, a, y, np.empty_like(z), rng.random(4), linked=name.endswith("entropy"))
    for now, before in zip((z, a, y), copies, strict=True):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("name", VALUES)
def test_one_dimensional_predictions_and_targets_are_one_batch(name: str) -> None:
    y_hat, y = [0.5, -1.0, 2.0], [1.0, 0.0, 1.0]
    assert LOSSES[name](y_hat, y) == pytest.approx(_slow_mean(name, np.array([y_hat]), np.array([y])), rel=1e-14)


def test_calling_a_cross_entropy_with_extreme_logits_gives_no_warning() -> None:
    assert LOSSES["categorical_cross_entropy"]([[1e4, -1e4]], [1]) == 2e4
    assert LOSSES["binary_cross_entropy"]([[1e4]], [[0.0]]) == 1e4


@pytest.mark.parametrize(
    ("y", "text"),
    [
        ([3, 0], "class numbers go from 0 to 2, got 3"),
        ([0, -1], "class numbers go from 0 to 2, got -1"),
        ([0.5, 1], "class numbers go from 0 to 2, got 0.5"),
        ([0], "2 predictions need as many class numbers, got shape (1,)"),
        ([[0], [1]], "2 predictions need as many class numbers, got shape (2, 1)"),
        (0, "2 predictions need as many class numbers, got shape ()"),
    ],
)
def test_class_numbers_that_do_not_fit_are_refused(y: object, text: str) -> None:
    # Without a check class 3 of row 0 would be read as class 0 of row 1.
    with pytest.raises(UsageError) as caught:
        LOSSES["categorical_cross_entropy"](np.zeros((2, 3)), y)
    assert text in str(caught.value)
    assert "argument y" in str(caught.value)


def test_targets_of_another_size_are_refused() -> None:
    with pytest.raises(UsageError, match=r"predictions of shape \(2, 3\) need as many targets, got shape \(2,\)"):
        LOSSES["squared_error"](np.zeros((2, 3)), [1, 2])


def test_the_default_follows_the_output_activation() -> None:
    found = {name: get_loss(None, name).name for name in ACTIVATIONS}
    assert found.pop("softmax") == "categorical_cross_entropy"
    assert found.pop("sigmoid") == "binary_cross_entropy"
    assert set(found.values()) == {"squared_error"}
    assert get_loss(None).name == "squared_error"
    assert get_loss(LOSSES["huber"], "softmax") is LOSSES["huber"]


@pytest.mark.parametrize("wrong", ["mse", 3, ["squared_error"]])
def test_an_unknown_loss_is_answered_with_the_list(wrong: object) -> None:
    with pytest.raises(UsageError) as caught:
        get_loss(wrong)  # type: ignore[arg-type]
    assert f"argument loss: unknown loss {wrong!r}." in str(caught.value)
    assert "known are squared_error, absolute_error, huber, binary_cross_entropy" in str(caught.value)


def test_a_misspelled_loss_finds_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'squared_error'"):
        get_loss("square_error")


def test_a_loss_refuses_an_output_activation_that_it_cannot_go_with() -> None:
    with pytest.raises(UsageError) as caught:
        LOSSES["categorical_cross_entropy"].check_activation(get_activation("relu"))
    text = str(caught.value)
    assert "the loss 'categorical_cross_entropy' does not go with the output activation 'relu'" in text
    assert "use output='softmax' (or identity)" in text
    for name in ACTIVATIONS:
        LOSSES["squared_error"].check_activation(get_activation(name))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_value_and_gradient_equal_torch(name: str, scale: float, dtype: type[np.floating]) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    theirs = {
        "squared_error": functional.mse_loss, "absolute_error": functional.l1_loss, "huber": functional.huber_loss,
        "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
        "categorical_cross_entropy": functional.cross_entropy,
    }  # fmt: skip
    rng = np.random.default_rng(8)
    z = (rng.normal(size=(30, 5)) * scale).astype(dtype)
    y = _targets(name, rng, 30, 5)
    y = y if y.dtype.kind == "i" else y.astype(dtype)
    tensor = torch.tensor(z, requires_grad=True)
    expected = theirs[name](tensor, torch.tensor(y))
    expected.backward()
    delta = np.empty_like(z)
    with np.errstate(all="ignore"):
        value = LOSSES[name].evaluate(z, z, y, delta)
    tolerance = 1e-6 if dtype == np.float32 else 1e-13
    assert value == pytest.approx(expected.item(), rel=tolerance)
    np.testing.assert_allclose(delta, tensor.grad.numpy(), rtol=tolerance, atol=tolerance)
