"""One step at a time, and back again."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.learning import OPTIMIZERS, Step, WarmUp, backpropagate, clip_by_norm, get_optimizer
from neuronwise.learning.stepping import Stepper
from neuronwise.network import LOSSES, Flatten, Network
from neuronwise.network.layers import BatchNorm, Dense, Dropout

LOSS = LOSSES["categorical_cross_entropy"]


def _stepper(optimizer: str = "adam", weights: np.ndarray | None = None, clip: float | None = None) -> Stepper:
    network = Network([Flatten(), Dense(6, "tanh"), Dense(3, "softmax")], input_shape=(2, 2), seed=1)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2, 2)).astype(np.float32), rng.integers(0, 3, 20)
    one = get_optimizer(optimizer, 0.05)
    one.start(network.parameters)
    return Stepper(network, X, y, weights, LOSS, one, clip)


def test_a_step_is_backpropagation_and_an_update() -> None:
    stepper = _stepper("sgd")
    rows = np.array([3, 1, 4, 1])
    expected = backpropagate(stepper.network, stepper.X[rows], stepper.y[rows])
    before = stepper.network.parameters.copy()
    loss = stepper.step(rows)
    assert loss == pytest.approx(expected.loss, rel=1e-6)
    np.testing.assert_allclose(stepper.gradients, expected.flat, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(stepper.network.parameters, before - stepper.optimizer.update)
    np.testing.assert_array_equal(stepper.space.x, stepper.X[rows])
    np.testing.assert_array_equal(stepper.space.passes[1].delta, stepper.space.passes[1].da)


def test_buffers_are_kept_for_each_batch_size() -> None:
    stepper = _stepper()
    stepper.step(np.arange(8))
    eight = stepper.space
    stepper.step(np.arange(4))
    assert stepper.space is not eight
    assert len(stepper.space.x) == 4
    stepper.step(np.arange(8, 16))
    assert stepper.space is eight


def test_weights_count_rows() -> None:
    weights = np.ones(20, dtype=np.float32)
    weights[2] = 3.0
    rows = np.array([2, 5])
    stepper = _stepper(weights=weights)
    alone = [_stepper().forward_backward(np.array([row])) for row in rows]
    assert stepper.forward_backward(rows) == pytest.approx((3 * alone[0] + alone[1]) / 2, rel=1e-6)


def test_clipping_happens_before_the_update() -> None:
    free, clipped = _stepper("sgd"), _stepper("sgd", clip=0.01)
    for stepper in (free, clipped):
        stepper.step(np.arange(10))
    expected = free.gradients.copy()
    clip_by_norm(expected, 0.01)
    np.testing.assert_array_equal(clipped.gradients, expected)
    assert np.linalg.norm(clipped.gradients) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_going_back_to_a_snapshot_repeats_bit_by_bit(name: str) -> None:
    stepper, rng = _stepper(name, clip=0.5), np.random.default_rng(3)
    batches = [rng.permutation(20)[: 7 if i % 3 else 5] for i in range(12)]
    for rows in batches[:4]:
        stepper.step(rows)
    snapshot = stepper.snapshot()
    first = [stepper.step(rows) for rows in batches[4:]]
    end = stepper.network.parameters.copy()
    stepper.restore(snapshot)
    assert not np.array_equal(stepper.network.parameters, end)
    assert [stepper.step(rows) for rows in batches[4:]] == first
    np.testing.assert_array_equal(stepper.network.parameters, end)


def test_a_snapshot_is_a_copy() -> None:
    stepper = _stepper()
    snapshot = stepper.snapshot()
    kept = snapshot.parameters.copy()
    stepper.step(np.arange(5))
    np.testing.assert_array_equal(snapshot.parameters, kept)
    assert snapshot.optimizer["steps"] == 0


def _regularised(dtype: str = "float64", **options: object) -> Stepper:
    layers = [Flatten(), Dense(6, "tanh"), BatchNorm(), Dropout(0.4), Dense(3, "softmax")]
    network = Network(layers, input_shape=(2, 2), seed=1, dtype=dtype)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2, 2)).astype(dtype), rng.integers(0, 3, 20)
    one = get_optimizer("sgd", 0.05)
    one.start(network.parameters)
    return Stepper(network, X, y, None, LOSS, one, **options)


def test_a_step_drops_and_normalises_as_in_training_and_moves_the_buffers_once() -> None:
    stepper, rows = _regularised(seed=7), np.array([3, 1, 4, 0, 9])
    for step in (1, 2, 3):
        expected = backpropagate(stepper.network, stepper.X[rows], stepper.y[rows], training=True, step=step, seed=7)
        mean, var = (stepper.network["norm1"].buffers[name].copy() for name in ("running_mean", "running_var"))
        assert stepper.step(rows) == pytest.approx(expected.loss, rel=1e-12)
        np.testing.assert_allclose(stepper.gradients, expected.flat, rtol=1e-10, atol=1e-14)
        x = stepper.space.passes[2].x
        np.testing.assert_allclose(stepper.network["norm1"].running_mean, 0.9 * mean + 0.1 * x.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(
            stepper.network["norm1"].running_var, 0.9 * var + 0.1 * x.var(axis=0, ddof=1), rtol=1e-12
        )


def test_looking_at_a_batch_changes_nothing() -> None:
    stepper = _regularised()
    before = stepper.network.parameters.copy(), stepper.network.buffers.copy()
    losses = [stepper.forward_backward(np.arange(6)) for _ in range(2)]
    assert losses[0] == losses[1]  # the masks of a step are those of its number
    np.testing.assert_array_equal(stepper.network.parameters, before[0])
    np.testing.assert_array_equal(stepper.network.buffers, before[1])


def test_a_snapshot_holds_the_buffers_and_masks_too() -> None:
    stepper, rng = _regularised("float32", schedule=WarmUp(5, Step(1))), np.random.default_rng(3)
    stepper.schedule.start(12, 4)
    batches = [rng.permutation(20)[: 7 if i % 3 else 5] for i in range(12)]
    for rows in batches[:4]:
        stepper.step(rows)
    snapshot = stepper.snapshot()
    first = [stepper.step(rows) for rows in batches[4:]]
    end = stepper.network.parameters.copy(), stepper.network.buffers.copy()
    stepper.restore(snapshot)
    assert not np.array_equal(stepper.network.buffers, end[1])
    assert [stepper.step(rows) for rows in batches[4:]] == first
    np.testing.assert_array_equal(stepper.network.parameters, end[0])
    np.testing.assert_array_equal(stepper.network.buffers, end[1])


def test_nothing_is_drawn_where_nothing_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    from neuronwise.network import Workspace

    def fail(*arguments: object) -> None:
        raise AssertionError("called")

    monkeypatch.setattr(Workspace, "draw", fail)
    monkeypatch.setattr(Workspace, "update_buffers", fail)
    _stepper().step(np.arange(5))
    with pytest.raises(AssertionError, match="called"):
        _regularised().step(np.arange(5))


def test_a_schedule_sets_the_rate_of_each_step() -> None:
    stepper = _regularised(schedule=Step(every=1, gamma=0.5))
    stepper.schedule.start(6, 2)
    rates = []
    for _ in range(6):
        before = stepper.network.parameters.copy()
        stepper.step(np.arange(5))
        rates.append(stepper.optimizer.learning_rate)
        np.testing.assert_array_equal(stepper.network.parameters, before - rates[-1] * stepper.gradients)
    assert rates == [0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125] == [stepper.rate(step) for step in range(1, 7)]


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_parts_of_a_clipped_and_scheduled_step_add_up_to_its_update(name: str) -> None:
    network = _stepper().network
    optimizer, schedule = get_optimizer(name, 0.05, 0.01), WarmUp(5)
    optimizer.start(network.parameters)
    schedule.start(6, 6)
    other = _stepper()
    stepper = Stepper(network, other.X, other.y, None, LOSS, optimizer, 0.1, schedule=schedule)
    for step in range(1, 7):
        before = stepper.snapshot()
        stepper.step(np.arange(step, step + 8))
        rate = stepper.rate(step)
        parts = optimizer.parts(before.parameters, stepper.gradients, before.optimizer, step, rate)
        np.testing.assert_allclose(sum(parts.values()), optimizer.update, rtol=1e-5, atol=1e-7)
