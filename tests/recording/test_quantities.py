"""Layer summaries against loops over their definition, and that every quantity is described."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuronwise.network import BatchNorm, Conv2D, Dense, Flatten, Network
from neuronwise.recording import HISTOGRAMS, NEURON_FIELDS, Layout, Measured, Statistics, layer_summaries

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "quantities.md"


def a_step(network: Network, seed: int = 0) -> Measured:
    generator = np.random.default_rng(seed)
    workspace = network.workspace(6)
    workspace.x[...] = generator.normal(size=workspace.x.shape)
    workspace.forward()
    gradients = generator.normal(size=network.parameter_count).astype(network.dtype)
    update = (0.1 * gradients).astype(network.dtype)
    network.parameters[:] -= update
    return Measured(network.parameters, gradients, update, workspace.passes)


def dense(dtype: str = "float64") -> Network:
    return Network.dense([5, 4, 3], hidden="relu", output="softmax", seed=0, dtype=dtype)


def pictures(dtype: str = "float64") -> Network:
    layers = [Conv2D(3, 3, "relu"), BatchNorm(), Flatten(), Dense(2, "softmax")]
    return Network(layers, input_shape=(6, 6), seed=0, dtype=dtype)


def summaries_of(network: Network, step: Measured) -> dict[str, dict[str, float]]:
    layout = Layout.of(network)
    return layer_summaries(network, layout, Statistics(network, layout).measure_neurons(step)[0], step.passes)


def slow_summary(network: Network, step: Measured, position: int) -> dict[str, float]:
    """Element by element, with loops: the obvious second way."""

    def values(flat: Any, key: str) -> list[float]:
        return [float(value) for value in network.views(flat)[position][key].ravel()]

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    def std(values: list[float]) -> float:
        return math.sqrt(mean([(v - mean(values)) ** 2 for v in values]))

    W, b = values(step.parameters, "W"), values(step.parameters, "b")
    a = [float(value) for value in step.passes[position].a.ravel()]
    return {
        "weight_norm": math.hypot(*W),
        "weight_mean": mean(W),
        "weight_std": std(W),
        "bias_mean": mean(b),
        "bias_std": std(b),
        "weight_nonfinite": 0,
        "grad_norm": math.hypot(*values(step.gradients, "W")),
        "update_ratio": math.hypot(*values(step.update, "W")) / math.hypot(*W),
        "grad_nonfinite": 0,
        "zero_fraction": sum(v == 0 for v in a) / len(a),
        "activation_nonfinite": 0,
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("make", [dense, pictures])
def test_agrees_with_the_slow_obvious_way(make: Any, seed: int) -> None:
    network = make()
    step = a_step(network, seed)
    summaries = summaries_of(network, step)
    names = [layer.name for layer in network.layers]
    assert list(summaries) == [layer.name for layer in network.layers if "W" in layer.parameters]
    for name, summary in summaries.items():
        assert summary == pytest.approx(slow_summary(network, step, names.index(name)), rel=1e-12)
    assert next(iter(summaries.values()))["zero_fraction"] > 0


def test_before_the_first_step_only_the_weights_are_described() -> None:
    network = dense()
    summary = summaries_of(network, Measured(network.parameters, None, None, ()))["hidden1"]
    assert set(summary) == {
        "weight_norm", "weight_mean", "weight_std", "bias_mean", "bias_std", "weight_nonfinite",
    }  # fmt: skip


def test_nan_and_inf_are_counted_and_stay_visible() -> None:
    network = dense()
    step = a_step(network)
    assert step.gradients is not None
    network.layers[0].parameters["W"][0, :2] = np.nan, np.inf
    network.layers[0].parameters["b"][3] = np.inf
    step.gradients[0] = -np.inf
    step.passes[0].a[0, 0] = np.nan
    summary = summaries_of(network, step)["hidden1"]
    assert (summary["weight_nonfinite"], summary["grad_nonfinite"], summary["activation_nonfinite"]) == (3, 1, 1)
    assert math.isnan(summary["weight_norm"])
    assert math.isnan(summary["weight_std"])
    assert math.isinf(summary["grad_norm"])


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e38), ("float64", 1e300), ("float64", 1e-300)])
def test_large_and_tiny_weights_keep_their_norm_and_deviation(dtype: str, size: float) -> None:
    network = dense(dtype)
    step = a_step(network)
    W = network.layers[0].parameters["W"]
    W[:] = np.resize([size, -size], W.shape)
    summary = summaries_of(network, step)["hidden1"]
    assert summary["weight_norm"] == pytest.approx(size * math.sqrt(20), rel=1e-6, abs=0)
    assert summary["weight_std"] == pytest.approx(size, rel=1e-6, abs=0)


def test_update_of_zero_weights() -> None:
    network = dense()
    step = a_step(network)
    assert step.update is not None
    network.layers[0].parameters["W"][:] = 0
    assert summaries_of(network, step)["hidden1"]["update_ratio"] == math.inf
    step.update[:] = 0
    assert summaries_of(network, step)["hidden1"]["update_ratio"] == 0


def test_every_quantity_is_described() -> None:
    page = PAGE.read_text(encoding="utf-8")
    of_neurons, rest = page.split("## Of a neuron")[1].split("## Of a layer, at the same steps")
    histograms, summaries = rest.split("## Of a layer, at the ends of epochs")
    for name in NEURON_FIELDS:
        assert f"\n| `{name}` |" in of_neurons
    for name in HISTOGRAMS:
        assert f"\n| `{name}` |" in histograms
    network = dense()
    for name in summaries_of(network, a_step(network))["hidden1"]:
        assert f"`{name}`" in summaries
