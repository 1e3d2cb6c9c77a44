"""Weights and their changes, and neurons."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from neuronwise.diagnosing.facts import Facts, quantity

# Of fewer weights the root mean square is chance.
_LEAST_WEIGHTS = 16
_OF_CELL = re.compile(r"(.*)weight_[hi]h(.*)")

# --- weights and their changes


def _ratios(facts: Facts) -> list[NDArray[np.float64]]:
    with np.errstate(all="ignore"):
        return [own["update_norm"] / own["weight_norm"] for own in facts.norms.values() if len(own["weight_norm"])]


@quantity
def update_ratio(facts: Facts) -> float | None:
    """Median over layers and recorded steps of ‖ΔW‖ / ‖W‖."""
    found = [ratio[np.isfinite(ratio)] for ratio in _ratios(facts)]
    found = [one for one in found if len(one)]
    return float(np.median([np.median(one) for one in found])) if found else None


@quantity
def update_ratio_early(facts: Facts) -> float | None:
    """Greatest over layers of the mean of ‖ΔW‖ / ‖W‖ over the first 10 steps."""
    found = [ratio[:10][np.isfinite(ratio[:10])].mean() for ratio in _ratios(facts) if np.isfinite(ratio[:10]).any()]
    return float(max(found)) if found else None


@quantity
def moved(facts: Facts) -> float | None:
    """Median over layers of ‖W at the end - W at the beginning‖ / ‖W at the beginning‖."""
    found = []
    keyframes = facts.recording.keyframes
    if not len(keyframes):
        return None
    for layer in facts.weighted:
        first, last = facts.matrix(layer, int(keyframes[0])), facts.matrix(layer, int(keyframes[-1]))
        if first is not None and last is not None and (size := np.linalg.norm(first)) > 0:
            found.append(float(np.linalg.norm(last - first) / size))
    return float(np.median(found)) if found else None


@quantity
def weights_grown(facts: Facts) -> float | None:
    """Greatest over layers of ‖W‖ at the end / at the beginning."""
    found = [float(own["weight_norm"][-1] / own["weight_norm"][0]) for own in facts.norms.values()
             if len(own["weight_norm"]) and own["weight_norm"][0] > 0]  # fmt: skip
    return max(found, default=None)


@quantity
def weights_shrunk(facts: Facts) -> float | None:
    """Median over layers of ‖W‖ at the end / at the beginning."""
    found = [float(own["weight_norm"][-1] / own["weight_norm"][0]) for own in facts.norms.values()
             if len(own["weight_norm"]) and own["weight_norm"][0] > 0]  # fmt: skip
    return float(np.median(found)) if found else None


@quantity
def first_last_gradient(facts: Facts) -> float | None:
    """Median over the first 30 steps of ‖dW‖ of the first weighted layer / that of the last one, each divided by the
    root of its number of weights.
    """
    layers = facts.weighted
    if len(layers) < 2:
        return None
    first, last = layers[0], layers[-1]
    one, other = facts.norms[first.name]["grad_norm"][:30], facts.norms[last.name]["grad_norm"][:30]
    assert first.weights is not None
    assert last.weights is not None
    scale = math.sqrt(last.parameters[last.weights].size / first.parameters[first.weights].size)
    good = np.isfinite(one) & np.isfinite(other) & (other > 0)
    return float(np.median(one[good] / other[good])) * scale if good.any() else None


@quantity
def gradient_norm(facts: Facts) -> float | None:
    """Median over recorded steps of the norm of all weights' gradients."""
    return _of_all_gradients(facts, np.median)


@quantity
def gradient_largest(facts: Facts) -> float | None:
    """Greatest norm of all weights' gradients at a recorded step."""
    return _of_all_gradients(facts, np.max)


def _of_all_gradients(facts: Facts, how: object) -> float | None:
    every = [own["grad_norm"] for own in facts.norms.values()]
    if not every or not len(every[0]):
        return None
    each = np.array(every)
    each = each[:, ~np.isnan(each).all(0)]  # steps of which no gradient is known
    total = np.sqrt(np.nansum(each**2, 0))
    total = total[np.isfinite(total)]
    return float(how(total)) if len(total) else None  # type: ignore[operator]


@quantity
def gradient_first_layer_zero(facts: Facts) -> float | None:
    """Share of the recorded steps at which the gradient of some weighted layer is exactly 0 (below 1e-12)."""
    every = [own["grad_norm"] for own in facts.norms.values()]
    if not every or not len(every[0]):
        return None
    return max(float(np.mean(one < 1e-12)) for one in every)


# --- neurons


def _last_shares(facts: Facts, name: str) -> dict[str, NDArray[np.float64]]:
    """Return for each layer that has it the mean of a share over the last recorded steps, by neuron."""
    found = {}
    for layer in facts.layers:
        steps, values = facts.statistic(layer, name)
        values = values[steps > 0]
        if len(values) and np.isfinite(values).any():
            with np.errstate(all="ignore"):
                found[layer.name] = np.nanmean(values[-max(3, len(values) // 20) :], axis=0)
    return found


@quantity
def dead_share(facts: Facts) -> float | None:
    """Greatest over the ReLU layers of the share of neurons that were 0 for every row of the last recorded steps (over
    99.9 % of the answers).
    """
    found = [float(np.mean(one > 0.999)) for one in _last_shares(facts, "inactive").values()]
    return max(found, default=None)


@quantity
def dead_share_at_first(facts: Facts) -> float | None:
    """Greatest over the ReLU layers of the share of neurons that were 0 for every row of the first batch."""
    found = []
    for layer in facts.layers:
        steps, values = facts.statistic(layer, "inactive")
        values = values[steps > 0]
        if len(values) and np.isfinite(values[0]).any():
            found.append(float(np.mean(values[0] > 0.999)))
    return max(found, default=None)


@quantity
def saturated_share(facts: Facts) -> float | None:
    """Greatest over the hidden sigmoid and tanh layers of the share of answers within 0.03 of an end of the range, over
    the last recorded steps.
    """
    last = facts.weighted[-1].name if facts.weighted else None
    found = [float(np.nanmean(one)) for name, one in _last_shares(facts, "saturated").items() if name != last]
    return max(found, default=None)


@quantity
def saturated_at_first(facts: Facts) -> float | None:
    """The same at the first recorded step."""
    found = []
    for layer in facts.layers[:-1]:
        steps, values = facts.statistic(layer, "saturated")
        values = values[steps > 0]
        if len(values) and np.isfinite(values[0]).any():
            found.append(float(np.nanmean(values[0])))
    return max(found, default=None)


@quantity
def alike_neurons(facts: Facts) -> float | None:
    """Greatest over the hidden layers with two neurons or more of the share of neurons whose weights are, before the
    first step, those of another neuron of the layer (to 1e-6 of the largest).
    """
    found = []
    for layer in facts.weighted[:-1]:
        weights = facts.matrix(layer, 0)
        if weights is not None and len(weights) > 1:
            scale = float(np.abs(weights).max()) or 1.0
            # Rows that are the same lie at the same place along any direction; others, along two at random, do not.
            along = np.random.default_rng(1).standard_normal((weights.shape[1], 2)) / math.sqrt(weights.shape[1])
            _, counts = np.unique(np.round(weights @ along / scale, 6), axis=0, return_counts=True)
            found.append(float(counts[counts > 1].sum() / len(weights)))
    return max(found, default=None)


@quantity
def init_scale_largest(facts: Facts) -> float | None:
    """Greatest over the weighted layers of root mean square of W before the first step * √(inputs of a neuron; of a
    recurrent layer its neurons, where these are more); He's rule gives 1.41, PyTorch's own 0.58.
    """
    return max(init_scales(facts).values(), default=None)


@quantity
def init_scale_least(facts: Facts) -> float | None:
    """The least of the same, of hidden layers."""
    found = init_scales(facts)
    hidden = [found[layer.name] for layer in facts.weighted[:-1] if layer.name in found]
    return min(hidden, default=None)


def init_scales(facts: Facts) -> dict[str, float]:
    """Return the scale of each weighted layer before the first step, of those with weights enough to tell it.

    A neuron of a recurrent layer gets its own layer's last answers beside the inputs: it counts the more of the two, as
    PyTorch's rule does, of which the weights of few inputs are no larger than the others.
    """
    found, widest = {}, _recurrent_inputs(facts)
    for layer in facts.weighted:
        weights = facts.matrix(layer, 0)
        if weights is not None and weights.size >= _LEAST_WEIGHTS and np.isfinite(weights).all():
            inputs = max(weights.shape[1], widest.get(_cell_of(layer.name), 0))
            found[layer.name] = float(np.sqrt(np.mean(weights**2)) * math.sqrt(inputs))
    return found


def _cell_of(name: str) -> str:
    """Return which recurrent layer a weight belongs to, ``lstm._l0`` of ``lstm.weight_ih_l0``; else nothing."""
    found = _OF_CELL.fullmatch(name)
    return "".join(found.groups()) if found else ""


def _recurrent_inputs(facts: Facts) -> dict[str, int]:
    """Return how many answers of its own a neuron of each recurrent layer gets."""
    found: dict[str, int] = {}
    for layer in facts.weighted:
        if (cell := _cell_of(layer.name)) and "weight_hh" in layer.name and layer.weights is not None:
            found[cell] = layer.parameters[layer.weights].shape[1]
    return found


@quantity
def init_bias_largest(facts: Facts) -> float | None:
    """Greatest |bias| of a hidden layer before the first step."""
    found = [float(np.abs(own).max()) for layer in facts.weighted[:-1]
             if (own := facts.biases(layer, 0)) is not None and own.size]  # fmt: skip
    return max(found, default=None)
