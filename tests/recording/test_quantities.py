from __future__ import annotations

import math

import numpy as np
import pytest

from neuronwise.learning.observers import TrainingState
from neuronwise.network import Network
from neuronwise.recording import layer_summaries


def a_state(seed: int = 0, dtype: str = "float64") -> TrainingState:
    generator = np.random.default_rng(seed)
    network = Network.dense([5, 4, 3], hidden="relu", output="softmax", seed=seed, dtype=dtype)
    state = TrainingState(network, epochs=1, steps_per_epoch=1)
    workspace = network.workspace(6)
    workspace.x[:] = generator.normal(size=workspace.x.shape)
    workspace.forward()
    state.passes = workspace.passes
    state.gradients = generator.normal(size=network.parameter_count).astype(dtype)
    state.update = (0.1 * state.gradients).astype(dtype)
    network.parameters[:] -= state.update
    state.step = state.epoch = 1
    return state


def slow_summary(state: TrainingState, position: int) -> dict[str, float]:
    """Element by element, with loops: the obvious second way."""
    network, layer = state.network, state.network.layers[position]
    start = network.offset(layer.name)
    n_W = layer.W.size
    W = [float(w) for w in network.parameters[start : start + n_W]]
    b = [float(v) for v in network.parameters[start + n_W : start + layer.parameter_count]]
    dW = [float(v) for v in state.gradients[start : start + n_W]]
    update = [float(v) for v in state.update[start : start + n_W]]
    before = [w + u for w, u in zip(W, update, strict=True)]
    a = [float(v) for row in state.passes[position].a for v in row]

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    def norm(values: list[float]) -> float:
        return math.sqrt(math.fsum(v * v for v in values))

    def std(values: list[float]) -> float:
        return math.sqrt(mean([(v - mean(values)) ** 2 for v in values]))

    return {
        "weight_norm": norm(W),
        "weight_mean": mean(W),
        "weight_std": std(W),
        "bias_mean": mean(b),
        "bias_std": std(b),
        "weight_nonfinite": 0,
        "grad_norm": norm(dW),
        "update_ratio": norm(update) / norm(before),
        "grad_nonfinite": 0,
        "zero_fraction": sum(v == 0 for v in a) / len(a),
        "activation_nonfinite": 0,
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_the_slow_obvious_way(seed: int) -> None:
    state = a_state(seed)
    summaries = layer_summaries(state)
    assert list(summaries) == ["hidden1", "output"]
    for position, summary in enumerate(summaries.values()):
        assert summary == pytest.approx(slow_summary(state, position), rel=1e-12)
    assert summaries["hidden1"]["zero_fraction"] > 0


def test_before_the_first_step_only_the_weights_are_described() -> None:
    network = Network.dense([5, 4, 3])
    summary = layer_summaries(TrainingState(network, 1, 1))["hidden1"]
    assert set(summary) == {
        "weight_norm",
        "weight_mean",
        "weight_std",
        "bias_mean",
        "bias_std",
        "weight_nonfinite",
    }


def test_nan_and_inf_are_counted_and_stay_visible() -> None:
    state = a_state()
    state.network.layers[0].W[0, :2] = np.nan, np.inf
    state.gradients[0] = -np.inf
    state.passes[0].a[0, 0] = np.nan
    summary = layer_summaries(state)["hidden1"]
    assert summary["weight_nonfinite"] == 2
    assert summary["grad_nonfinite"] == 1
    assert summary["activation_nonfinite"] == 1
    assert math.isnan(summary["weight_norm"])
    assert math.isinf(summary["grad_norm"])


def test_large_float32_weights_do_not_overflow() -> None:
    state = a_state(dtype="float32")
    state.network.layers[0].W[:] = 1e38
    assert layer_summaries(state)["hidden1"]["weight_norm"] == pytest.approx(1e38 * math.sqrt(20), rel=1e-6)


def test_update_of_zero_weights() -> None:
    state = a_state()
    state.network.layers[0].W[:] = 0
    state.update[:] = 0
    assert layer_summaries(state)["hidden1"]["update_ratio"] == 0
    state.update[:] = 1
    state.network.layers[0].W[:] = -1  # 0 before the update
    assert layer_summaries(state)["hidden1"]["update_ratio"] == math.inf


def test_nothing_is_changed_by_looking() -> None:
    state = a_state()
    before = [state.network.parameters.copy(), state.gradients.copy(), state.update.copy()]
    layer_summaries(state)
    for old, new in zip(before, [state.network.parameters, state.gradients, state.update], strict=True):
        np.testing.assert_array_equal(old, new)
