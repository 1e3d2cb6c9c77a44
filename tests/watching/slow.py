"""Every statistic of a watched step a second time: by autograd's own tensors, kept while it happens, and loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from neuronwise.recording import NEURON_FIELDS
from neuronwise.watching import TorchWatcher

NAN = math.nan
# How the neurons of a layer are cut out of what it returned (or took in): a list of values for each of them.
Cut = Callable[[torch.Tensor, int], torch.Tensor]


def along(axis: int) -> Cut:
    return lambda values, neuron: values.select(axis, neuron)


class Kept:
    """What one step truly had: weights before and after, gradients at the optimizer, outputs as they came."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.before = self.copy()
        self.after: dict[str, torch.Tensor] = {}
        self.gradients: dict[str, torch.Tensor | None] = {}
        self.outputs: dict[str, list[torch.Tensor]] = {}

    def copy(self) -> dict[str, torch.Tensor]:
        return {name: one.detach().clone().double() for name, one in self.model.named_parameters()}

    def keep_gradients(self) -> None:
        self.gradients = {
            name: None
            if one.grad is None
            else (one.grad.to_dense() if one.grad.is_sparse else one.grad).detach().clone().double()
            for name, one in self.model.named_parameters()
        }

    def keep_output(self, layer: str, values: torch.Tensor) -> None:
        self.outputs.setdefault(layer, []).append(values.detach().clone().double())


def expected(
    kept: Kept,
    weight: str,
    bias: str | None,
    layer: str,
    activation: str | None = None,
    cut: Cut | None = None,
) -> list[dict[str, float]]:
    """Return the statistics of each neuron of a layer.

    Args:
        kept: The step.
        weight: Name of the parameter with a row for each neuron.
        bias: Of that with a bias for each.
        layer: Whose outputs are looked at.
        activation: Name of the function that follows.
        cut: How its neurons are found in the outputs; None where activations are not to be known.
    """
    found = []
    for neuron in range(len(kept.after[weight])):
        W, before = kept.after[weight][neuron].flatten(), kept.before[weight][neuron].flatten()
        b = None if bias is None else kept.after[bias][neuron]
        gradient, of_bias = kept.gradients[weight], None if bias is None else kept.gradients[bias]
        dW = None if gradient is None else gradient[neuron].flatten()
        db = None if of_bias is None else of_bias[neuron]
        stats = dict.fromkeys(NEURON_FIELDS, NAN)
        stats["weight_norm"] = norm(W)
        stats["update_norm"] = norm(before - W)
        stats["update_ratio"] = (
            0.0 if not stats["update_norm"] else math.inf if not stats["weight_norm"] else norm(before - W) / norm(W)
        )
        stats["nonfinite_weights"] = bad(W) + (0 if b is None else bad(b))
        if b is not None:
            stats["bias"] = float(b)
        if dW is not None:
            stats["grad_norm"] = norm(dW)
        if db is not None:
            stats["bias_grad"] = float(db)
        if dW is not None or db is not None:
            stats["nonfinite_gradients"] = (0 if dW is None else bad(dW)) + (0 if db is None else bad(db))
        if cut is not None:
            parts = [cut(one, neuron).flatten() for one in kept.outputs.get(layer, [])]
            if parts:
                stats |= of_activations(torch.cat(parts), activation)
        found.append(stats)
    return found


def of_activations(a: torch.Tensor, activation: str | None) -> dict[str, float]:
    values = [float(value) for value in a]
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values) / len(values)
    stats = {
        "mean": mean,
        "std": math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) if math.isfinite(mean) else NAN,
        "min": min(values) if not any(map(math.isnan, values)) else NAN,
        "max": max(values) if not any(map(math.isnan, values)) else NAN,
        "nonfinite_activations": sum(not math.isfinite(value) for value in values),
    }
    if activation == "relu":
        stats["inactive"] = sum(value == 0 for value in values) / len(values)
    elif activation == "sigmoid":
        stats["saturated"] = sum(value < 0.03 or value > 0.97 for value in values) / len(values)
    elif activation == "tanh":
        stats["saturated"] = sum(abs(value) > 0.97 for value in values) / len(values)
    return stats


def norm(values: torch.Tensor) -> float:
    return math.sqrt(math.fsum(float(value) ** 2 for value in values.flatten()))


def bad(values: torch.Tensor) -> int:
    return sum(not math.isfinite(float(value)) for value in values.flatten())


def measured(watcher: TorchWatcher, layer: str, step: int) -> list[dict[str, float]]:
    recording = watcher.recording
    columns = {name: recording.neurons(layer, name, [step]).values[0] for name in NEURON_FIELDS}
    count = len(columns["mean"])
    return [{name: float(column[neuron]) for name, column in columns.items()} for neuron in range(count)]


def assert_equal(
    measured: Sequence[Mapping[str, float]],
    expected: Sequence[Mapping[str, float]],
    rtol: float = 2e-5,
    loose: Mapping[str, float] = {},
    what: Any = "",
) -> None:
    assert len(measured) == len(expected), what
    # Beside the largest of its kind: what nearly cancels is rounding.
    largest = max((abs(one[name]) for one in expected for name in ("min", "max")), default=0.0)
    for name in NEURON_FIELDS:
        size = max((abs(one[name]) for one in expected if math.isfinite(one[name])), default=0.0)
        if name == "mean" and math.isfinite(largest):
            size = 10 * largest
        relative = loose.get(name, 10 * rtol if name == "std" else rtol)
        np.testing.assert_allclose(
            [one[name] for one in measured],
            [one[name] for one in expected],
            rtol=relative,
            atol=relative * size / 10,
            err_msg=f"{what} {name}",
        )
