"""Optimizers against torch, by hand, and against themselves after going back."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.learning import (
    OPTIMIZERS,
    SGD,
    Adam,
    AdamW,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
    backpropagate,
    clip_by_norm,
    get_optimizer,
    optimizers,
)
from neuronwise.network import Network

from .helpers import flat, torch_loss, torch_twin

NAMES = sorted(OPTIMIZERS)
SETTINGS: dict[str, list[dict[str, float]]] = {
    "sgd": [{}, {"learning_rate": 0.3, "weight_decay": 0.1}],
    "momentum": [{}, {"learning_rate": 0.05, "weight_decay": 0.1, "momentum": 0.5}],
    "nesterov": [{}, {"learning_rate": 0.05, "weight_decay": 0.1, "momentum": 0.7}],
    "rmsprop": [{}, {"learning_rate": 0.01, "weight_decay": 0.1, "decay": 0.8, "epsilon": 1e-4}],
    "adam": [{}, {"learning_rate": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-4}],
    "adamw": [{}, {"learning_rate": 0.01, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-4}],
}
CASES = [(name, settings) for name in NAMES for settings in SETTINGS[name]]


def _torch_optimizer(torch: Any, name: str, optimizer: Optimizer, parameters: list[Any]) -> Any:
    common = {"lr": optimizer.learning_rate, "weight_decay": optimizer.weight_decay}
    own, optim = optimizer.settings(), torch.optim
    if name in ("adam", "adamw"):
        kind = optim.Adam if name == "adam" else optim.AdamW
        return kind(parameters, betas=(own["beta1"], own["beta2"]), eps=own["epsilon"], **common)
    if name == "rmsprop":
        return optim.RMSprop(parameters, alpha=own["decay"], eps=own["epsilon"], **common)
    return optim.SGD(parameters, momentum=own.get("momentum", 0), nesterov=name == "nesterov", **common)


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_one_step_and_ten_equal_torch(name: str, settings: dict[str, float], dtype: str, clip: float | None) -> None:
    network = Network.dense([5, 8, 3], hidden="tanh", output="softmax", seed=1, dtype=dtype)
    torch, forward, parameters = torch_twin(network)
    optimizer = OPTIMIZERS[name](**settings)
    optimizer.start(network.parameters)
    theirs = _torch_optimizer(torch, name, optimizer, parameters)
    rng = np.random.default_rng(0)
    for step in range(1, 11):
        x, y = rng.normal(size=(16, 5)).astype(dtype), rng.integers(0, 3, 16)
        before, gradients = network.parameters.copy(), backpropagate(network, x, y).flat
        if clip is not None:
            clip_by_norm(gradients, clip)
        optimizer.step(network.parameters, gradients)
        np.testing.assert_array_equal(network.parameters, before - optimizer.update)
        theirs.zero_grad()
        torch_loss(torch, "categorical_cross_entropy", *forward(x), y).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        theirs.step()
        # In float32 a step of Adam divides noise by noise where a gradient is nearly 0: at most a share of the rate.
        rate = optimizer.learning_rate
        tolerance = (1e-6 + 5e-3 * rate * step) if dtype == "float32" else 1e-12 * step
        np.testing.assert_allclose(network.parameters, flat(parameters), rtol=0, atol=tolerance)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert {name: get_optimizer(name).settings() for name in NAMES} == {
        "sgd": {"learning_rate": 0.1, "weight_decay": 0.0},
        "momentum": {"learning_rate": 0.01, "weight_decay": 0.0, "momentum": 0.9},
        "nesterov": {"learning_rate": 0.01, "weight_decay": 0.0, "momentum": 0.9},
        "rmsprop": {"learning_rate": 0.001, "weight_decay": 0.0, "decay": 0.99, "epsilon": 1e-8},
        "adam": {"learning_rate": 0.001, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        "adamw": {"learning_rate": 0.001, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    }


def test_two_steps_by_hand() -> None:
    # Momentum 0.5, rate 0.1, gradient 1 then 2: v = 1, W = -0.1; v = 2.5, W = -0.35.
    # Nesterov: 1 + 0.5·1 = 1.5, W = -0.15; v = 2.5, 2 + 0.5·2.5 = 3.25, W = -0.475.
    # Adam: the first step is the rate itself whatever the gradient.
    found = {}
    for optimizer in (Momentum(0.1, momentum=0.5), Nesterov(0.1, momentum=0.5), Adam(0.1), SGD(0.1)):
        W = np.zeros(1)
        optimizer.start(W)
        for gradient in (1.0, 2.0):
            optimizer.step(W, np.array([gradient]))
            found.setdefault(optimizer.name, []).append(float(W[0]))
    assert found["momentum"] == pytest.approx([-0.1, -0.35])
    assert found["nesterov"] == pytest.approx([-0.15, -0.475])
    assert found["adam"][0] == pytest.approx(-0.1, rel=1e-7)
    assert found["sgd"] == pytest.approx([-0.1, -0.3])


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_step_leaves_the_gradients_as_they_are(name: str, settings: dict[str, float]) -> None:
    # Those who look at a training are shown the gradients of the loss, not the pull of weight decay on top.
    optimizer, parameters, gradients = OPTIMIZERS[name](**settings), np.ones(4), np.array([1.0, -2, 0, 1e-9])
    optimizer.start(parameters)
    before = gradients.copy()
    optimizer.step(parameters, gradients)
    np.testing.assert_array_equal(gradients, before)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_going_back_to_a_snapshot_repeats_the_steps_to_the_last_bit(name: str, settings: dict[str, float]) -> None:
    optimizer, rng = OPTIMIZERS[name](**settings), np.random.default_rng(0)
    parameters = rng.normal(size=20).astype(np.float32)
    optimizer.start(parameters)
    gradients = rng.normal(size=(10, 20)).astype(np.float32)
    for gradient in gradients[:4]:
        optimizer.step(parameters, gradient.copy())
    snapshot, kept = optimizer.snapshot(), parameters.copy()
    ends = []
    for _ in range(2):
        for gradient in gradients[4:]:
            optimizer.step(parameters, gradient.copy())
        ends.append((parameters.copy(), optimizer.steps, optimizer.update.copy(), copy.deepcopy(optimizer.state)))
        optimizer.restore(snapshot)
        parameters[:] = kept
    assert ends[0][1] == ends[1][1] == 10
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    np.testing.assert_array_equal(ends[0][2], ends[1][2])
    for key, value in ends[0][3].items():
        np.testing.assert_array_equal(value, ends[1][3][key])


@pytest.mark.parametrize("name", NAMES)
def test_start_forgets_everything(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    ends = []
    for _ in range(2):
        parameters = np.ones(3)
        optimizer.start(parameters)
        assert optimizer.steps == 0
        for _ in range(3):
            optimizer.step(parameters, np.array([0.1, -0.2, 0.3]))
        ends.append(parameters)
    np.testing.assert_array_equal(*ends)


def test_weight_decay_alone_pulls_to_zero() -> None:
    for optimizer in (SGD(0.1, weight_decay=0.5), AdamW(0.1, weight_decay=0.5)):
        parameters = np.array([1.0, -2.0])
        optimizer.start(parameters)
        optimizer.step(parameters, np.zeros(2))
        np.testing.assert_allclose(parameters, [0.95, -1.9], rtol=1e-12)


def test_names_settings_and_repr() -> None:
    assert get_optimizer("adam", 0.01, 0.1).settings()["weight_decay"] == 0.1
    assert repr(SGD(0.5)) == "SGD(learning_rate=0.5, weight_decay=0)"
    own = RMSprop()
    assert get_optimizer(own) is own
    assert get_optimizer("sgd") is not get_optimizer("sgd")
    assert SGD(np.float32(0.5)).learning_rate == 0.5
    assert SGD(1).learning_rate == 1.0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("adan",), "argument optimizer: unknown optimizer 'adan'. Did you mean 'adam'?"),
        (("quasi-newton",), "known are sgd, momentum, nesterov, rmsprop, adam, adamw"),
        ((3,), "unknown optimizer 3"),
        ((["adam"],), "unknown optimizer ['adam']"),
        (("adam", 0), "argument learning_rate: expected a number above 0, got 0"),
        (("adam", -0.1), "argument learning_rate: expected a number above 0, got -0.1"),
        (("adam", math.nan), "expected a number above 0, got nan"),
        (("adam", math.inf), "expected a number above 0, got inf"),
        (("adam", "fast"), "argument learning_rate: expected a number above 0, got 'fast'"),
        (("adam", True), "expected a number above 0, got True"),
        (("adam", [0.1]), "expected a number above 0, got [0.1]"),
        (("adam", 1j), "expected a number above 0, got 1j"),
        (("sgd", 0.1, -1), "argument weight_decay: expected a number from 0, got -1"),
        (("sgd", 0.1, math.nan), "argument weight_decay: expected a number from 0, got nan"),
    ],
)
def test_an_optimizer_that_cannot_be_is_refused(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        get_optimizer(*arguments)
    assert text in str(caught.value)


def test_a_learning_rate_that_cannot_be_is_answered_with_the_usual_ones() -> None:
    with pytest.raises(UsageError, match=r"the usual rates are 0\.001 \(Adam\) and 0\.1 \(SGD\)"):
        get_optimizer("adam", 0)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(Momentum, {"momentum": 1.0}), (Momentum, {"momentum": -0.1}), (RMSprop, {"decay": 1}), (RMSprop, {"epsilon": 0}),
     (Adam, {"beta1": 1.0}), (Adam, {"beta2": math.nan}), (AdamW, {"epsilon": -1})],
)  # fmt: skip
def test_settings_out_of_range_are_named(kind: type[Optimizer], settings: dict[str, float]) -> None:
    (key,) = settings
    with pytest.raises(UsageError, match=f"argument {key}: expected a number"):
        kind(**settings)


def test_a_rate_beside_an_optimizer_object_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        get_optimizer(Adam(), 0.1)
    assert "learning_rate and weight_decay are given both in the optimizer and beside it" in str(caught.value)
    assert "Adam(learning_rate=0.001)" in str(caught.value)


# --- clipping


def test_clipping_scales_the_whole_to_the_limit() -> None:
    gradients = np.array([3.0, 4.0])
    assert clip_by_norm(gradients, 1.0) == 5.0
    np.testing.assert_allclose(gradients, [0.6, 0.8], rtol=1e-6)
    small = np.array([0.3, 0.4])
    assert clip_by_norm(small, 1.0) == pytest.approx(0.5)
    assert small.tolist() == [0.3, 0.4]


def test_gradients_whose_square_overflows_are_clipped_not_erased() -> None:
    # Exactly the exploding gradients that clipping is for: 3e19 squared is beyond float32.
    gradients = np.array([3e19, -4e19], dtype=np.float32)
    with np.errstate(all="ignore"):
        assert clip_by_norm(gradients, 1.0) == pytest.approx(5e19, rel=1e-6)
    np.testing.assert_allclose(gradients, [0.6, -0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clipping_does_not_hide_what_is_not_finite(bad: float) -> None:
    gradients = np.array([1.0, bad])
    with np.errstate(all="ignore"):
        assert not math.isfinite(clip_by_norm(gradients, 1.0))
    assert not np.isfinite(gradients).all()


def test_every_optimizer_lowers_a_quadratic_loss() -> None:
    for name in NAMES:
        optimizer, W = get_optimizer(name, 0.05), np.array([1.0, -2.0, 3.0])
        optimizer.start(W)
        for _ in range(100):
            optimizer.step(W, 2 * W)
        assert (W**2).sum() < 1, name


# --- large networks and long trainings


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_large_network_is_updated_block_by_block_to_the_same_bits(name: str, settings: dict[str, float]) -> None:
    rng, n = np.random.default_rng(0), 2 * optimizers._BLOCK + 77
    start, gradients = rng.normal(size=n).astype(np.float32), rng.normal(size=(3, n)).astype(np.float32)

    def trained(part: slice) -> tuple[np.ndarray, np.ndarray]:
        parameters, optimizer = start[part].copy(), OPTIMIZERS[name](**settings)
        optimizer.start(parameters)
        for gradient in gradients:
            optimizer.step(parameters, gradient[part])
        return parameters, optimizer.update

    whole, update = trained(slice(None))
    for part in (slice(0, 1000), slice(optimizers._BLOCK - 500, optimizers._BLOCK + 500), slice(n - 300, n)):
        alone, alone_update = trained(part)
        # Vector instructions treat the end of an array apart, so the last bit may differ, but no more.
        np.testing.assert_allclose(whole[part], alone, rtol=3e-7, atol=1e-9)
        np.testing.assert_allclose(update[part], alone_update, rtol=3e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["momentum", "nesterov", "rmsprop", "adam", "adamw"])
def test_what_decayed_to_nothing_becomes_zero_and_nothing_else_changes(name: str) -> None:
    # One weight learns always, the other (of a dead neuron) only once.
    optimizer, parameters = get_optimizer(name, 0.01), np.ones(2, dtype=np.float32)
    optimizer.start(parameters)
    optimizer.step(parameters, np.array([1.0, 1e-12], dtype=np.float32))
    for _ in range(3 * optimizers._FLUSH_EVERY):
        optimizer.step(parameters, np.array([1.0, 0.0], dtype=np.float32))
    tiny = np.finfo(np.float32).tiny
    for key, array in optimizer.state.items():
        assert array[0] > 0.5, key
        assert array[1] == 0 or abs(array[1]) >= tiny, (key, array[1])


def test_going_back_across_a_flush_repeats_the_steps() -> None:
    optimizer, parameters = get_optimizer("adam", 0.01), np.ones(3)
    optimizer.start(parameters)
    gradients = np.random.default_rng(0).normal(size=(optimizers._FLUSH_EVERY + 20, 3)) * [1, 1e-150, 0]
    for gradient in gradients[:10]:
        optimizer.step(parameters, gradient)
    snapshot, kept, ends = optimizer.snapshot(), parameters.copy(), []
    for _ in range(2):
        for gradient in gradients[10:]:
            optimizer.step(parameters, gradient)
        ends.append((parameters.tobytes(), [array.tobytes() for array in optimizer.state.values()]))
        optimizer.restore(snapshot)
        parameters[:] = kept
    assert ends[0] == ends[1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_that_decayed_to_nothing_become_zero(name: str) -> None:
    # As those of a dead neuron do under weight decay: subnormal numbers made every step three times slower.
    optimizer = get_optimizer(name, None, 0.01)
    parameters = np.array([1e-20, -3e-39, 0.5], dtype=np.float32)
    optimizer.start(parameters)
    for _ in range(256):
        optimizer.step(parameters, np.zeros_like(parameters))
    tiny = np.finfo(np.float32).tiny
    for array in (parameters, *optimizer.state.values()):
        assert not ((array != 0) & (np.abs(array) < tiny)).any()
    assert parameters[2] != 0


def test_without_weight_decay_small_weights_stay() -> None:
    parameters = np.array([1e-20, 0.5], dtype=np.float32)
    optimizer = get_optimizer("adam")
    optimizer.start(parameters)
    for _ in range(256):
        optimizer.step(parameters, np.zeros_like(parameters))
    assert parameters.tolist() == np.array([1e-20, 0.5], dtype=np.float32).tolist()


# --- the parts of an update

PART_NAMES = {
    "sgd": ["gradient"],
    "momentum": ["gradient", "memory"],
    "nesterov": ["gradient", "memory"],
    "rmsprop": ["gradient"],
    "adam": ["gradient", "memory"],
    "adamw": ["gradient", "memory"],
}
DECAYS = (0.0, 0.1, 3.0)


def _parts_by_the_papers(optimizer: Optimizer, weights: list[float], gradients: list[float]) -> dict[str, float]:
    """Return the parts of the last update of one weight, from its history alone.

    `weights` and `gradients` are those of every step; what pulls at step i is gᵢ = dWᵢ + λ Wᵢ (AdamW: dWᵢ). A running
    sum is written out: Kingma and Ba 2015, section 3, v_t = (1-β₂) Σ β₂^(t-i) gᵢ².
    """
    own, t = optimizer.settings(), len(gradients)
    eta, decay, adamw = own["learning_rate"], own["weight_decay"], optimizer.name == "adamw"
    g = [dW + (0.0 if adamw else decay * W) for W, dW in zip(weights, gradients, strict=True)]
    now, pull, earlier = gradients[-1], decay * weights[-1], range(t - 1)  # earlier[i] is step i + 1
    if optimizer.name == "sgd":
        parts = {"gradient": eta * now, "weight_decay": eta * pull}
    elif optimizer.name == "momentum":  # W ← W - η v, v = Σ μ^(t-i) gᵢ
        memory = sum(own["momentum"] ** (t - 1 - i) * g[i] for i in earlier)
        parts = {"gradient": eta * now, "memory": eta * memory, "weight_decay": eta * pull}
    elif optimizer.name == "nesterov":  # W ← W - η (g_t + μ v), v = Σ μ^(t-i) gᵢ
        mu = own["momentum"]
        memory = sum(mu * mu ** (t - 1 - i) * g[i] for i in earlier)
        parts = {"gradient": eta * (now + mu * now), "memory": eta * memory, "weight_decay": eta * (pull + mu * pull)}
    elif optimizer.name == "rmsprop":  # W ← W - η g_t / (√s + ε)
        rho = own["decay"]
        s = sum((1 - rho) * rho ** (t - 1 - i) * g[i] ** 2 for i in range(t))
        below = math.sqrt(s) + own["epsilon"]
        parts = {"gradient": eta * now / below, "weight_decay": eta * pull / below}
    else:  # W ← W - η m̂ / (√v̂ + ε)
        beta1, beta2 = own["beta1"], own["beta2"]
        v_hat = sum((1 - beta2) * beta2 ** (t - 1 - i) * g[i] ** 2 for i in range(t)) / (1 - beta2**t)
        share = (1 - beta1) / (1 - beta1**t)  # of m̂
        below = math.sqrt(v_hat) + own["epsilon"]
        memory = sum(share * beta1 ** (t - 1 - i) * g[i] for i in earlier)
        parts = {"gradient": eta * share * now / below, "memory": eta * memory / below}
        parts["weight_decay"] = eta * pull if adamw else eta * share * pull / below
    return {name: value for name, value in parts.items() if decay or name != "weight_decay"}


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_parts_are_those_of_the_papers_weight_by_weight(name: str, settings: dict[str, float]) -> None:
    optimizer, rng = OPTIMIZERS[name](**settings), np.random.default_rng(4)
    parameters, weights, gradients = rng.normal(size=7), [], []
    optimizer.start(parameters)
    for step in range(1, 13):
        dW = rng.normal(size=7) * [1, 1e-6, 1e6, 0, 1, -1, 1e-3]
        dW[4] *= step == 3
        weights.append(parameters.copy())
        gradients.append(dW)
        found = optimizer.parts(parameters, dW, optimizer.snapshot(), step)
        for i in range(7):
            expected = _parts_by_the_papers(optimizer, [float(W[i]) for W in weights], [float(g[i]) for g in gradients])
            assert list(found) == list(expected)
            assert {key: float(values[i]) for key, values in found.items()} == pytest.approx(expected, rel=1e-9)
        optimizer.step(parameters, dW)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("name", NAMES)
def test_parts_add_up_to_what_the_step_subtracts(name: str, decay: float, dtype: str) -> None:
    optimizer, rng = get_optimizer(name, 0.003, decay), np.random.default_rng(5)
    n, info = 3000, np.finfo(dtype)
    parameters = (rng.normal(size=n) * 10.0 ** rng.integers(-25, 3, n)).astype(dtype)
    sizes = 10.0 ** rng.integers(-40, 15, n)  # the squares of the smallest are 0 in float32
    sizes[:50] = 0
    optimizer.start(parameters)
    for step in range(1, optimizers._FLUSH_EVERY + 6):  # beyond a flush
        with np.errstate(under="ignore"):
            gradients = (rng.normal(size=n) * sizes * (rng.random(n) < 0.5)).astype(dtype)
        arguments = parameters.copy(), gradients, optimizer.snapshot(), step
        with np.errstate(under="ignore"):
            optimizer.step(parameters, gradients)
        found = optimizer.parts(*arguments)
        assert list(found) == PART_NAMES[name] + ["weight_decay"] * bool(decay)
        assert all(part.dtype == np.float64 and part.shape == (n,) for part in found.values())
        # Each of the few operations of a step rounds; of parts that cancel, the rounding of the larger remains.
        rounding = 8 * info.eps * sum(np.abs(part) for part in found.values()) + 8 * info.tiny
        assert (np.abs(sum(found.values()) - optimizer.update) <= rounding).all()


@pytest.mark.parametrize("name", ["rmsprop", "adam", "adamw"])
def test_parts_of_a_gradient_whose_square_overflows_are_zero_as_the_update_is(name: str) -> None:
    optimizer, parameters = get_optimizer(name, None, 0.0), np.ones(2, dtype=np.float32)
    optimizer.start(parameters)
    before, gradients = optimizer.snapshot(), np.array([1e25, 1.0], dtype=np.float32)
    with np.errstate(over="ignore"):
        optimizer.step(parameters, gradients)
    assert optimizer.update[0] == 0
    np.testing.assert_allclose(optimizer.parts(np.ones(2), gradients, before, 1)["gradient"], optimizer.update, 1e-6)


def test_parts_worked_out_by_hand() -> None:
    # v = 4, W = 10, dW = 1, rate 0.1, momentum 0.5, decay 0.2: v becomes 0.5·4 + 1 + 0.2·10 = 5, and 0.5 is subtracted.
    found = Momentum(0.1, 0.2, momentum=0.5).parts(np.array([10.0]), np.array([1.0]), {"velocity": np.array([4.0])}, 9)
    assert {key: float(part[0]) for key, part in found.items()} == pytest.approx(
        {"gradient": 0.1, "memory": 0.2, "weight_decay": 0.2}
    )
    # Adam's first step is the rate, whatever the gradient; at rest after it, only memory moves: m̂ = 0.09 / 0.19,
    # v̂ = 0.000999 / 0.001999, so 0.1 · 0.6699 …
    adam, rest = Adam(0.1), {"gradient_sum": np.array([1.0]), "square_sum": np.array([1.0])}
    first = adam.parts(np.zeros(1), np.array([5.0]), {key: np.zeros(1) for key in rest}, 1)
    assert float(first["gradient"][0]) == pytest.approx(0.1)
    found = adam.parts(np.zeros(1), np.zeros(1), rest, 2)
    assert float(found["gradient"][0]) == 0
    assert float(found["memory"][0]) == pytest.approx(0.1 * (0.09 / 0.19) / math.sqrt(0.000999 / 0.001999))


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_parts_change_nothing_and_can_be_asked_for_some_weights_alone(name: str, settings: dict[str, float]) -> None:
    optimizer, rng = OPTIMIZERS[name](**settings), np.random.default_rng(6)
    parameters = rng.normal(size=20)
    optimizer.start(parameters)
    optimizer.step(parameters, rng.normal(size=20))
    state, gradients = optimizer.snapshot(), rng.normal(size=20)
    for array in (parameters, gradients, *optimizer.state.values()):
        array.flags.writeable = False
    before = repr(optimizer), optimizer.steps, optimizer.update.copy()
    whole = optimizer.parts(parameters, gradients, state, 2)
    assert (repr(optimizer), optimizer.steps) == before[:2]
    np.testing.assert_array_equal(optimizer.update, before[2])
    some = {key: optimizer.state[key][4:8].reshape(2, 2) for key in optimizer.state}
    found = optimizer.parts(parameters[4:8].reshape(2, 2), gradients[4:8].reshape(2, 2), some, 2)
    for key, part in found.items():
        assert part.flags.writeable
        np.testing.assert_allclose(part.ravel(), whole[key][4:8], rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_in_proportion_to_the_rate_of_the_step(name: str) -> None:
    optimizer, state = get_optimizer(name, 0.01, 0.1), {}
    for key in optimizer.state_names():
        state[key] = np.array([0.5, 2.0])
    usual = optimizer.parts(np.ones(2), np.array([1.0, -2.0]), state, 3)
    for rate in (0.0, 0.03):
        found = optimizer.parts(np.ones(2), np.array([1.0, -2.0]), state, 3, learning_rate=rate)
        for key, part in found.items():
            np.testing.assert_allclose(part, usual[key] * (rate / 0.01), rtol=1e-12)


def test_parts_without_what_they_need_are_refused() -> None:
    adam, ones = Adam(), np.ones(3)
    state = {"gradient_sum": ones, "square_sum": ones}
    for arguments, text in (
        ((ones, ones, {}, 1), "argument state: adam remembers gradient_sum, square_sum, got nothing"),
        ((ones, ones, {"velocity": ones}, 1), "adam remembers gradient_sum, square_sum, got velocity"),
        ((ones, np.ones(2), state, 1), "must have one shape, got (3,), (2,), (3,), (3,)"),
        ((ones, ones, state | {"square_sum": np.ones(1)}, 1), "must have one shape, got (3,), (3,), (3,), (1,)"),
        ((ones, ones, state, 0), "argument step: expected a whole number from 1, got 0"),
        ((ones, ones, state, 1, -0.1), "argument learning_rate: expected a number from 0, got -0.1"),
    ):
        with pytest.raises(UsageError) as caught:
            adam.parts(*arguments)
        assert text in str(caught.value)
