"""Numbers that describe a layer at the end of an epoch, for events and for MLflow.

What is of single neurons comes from `statistics`; docs/reference/quantities.md defines each quantity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.recording.layout import LayerLayout, Layout

if TYPE_CHECKING:
    from neuronwise.network import Network, Pass

# Norms of a layer: the square root of the sum of the squares of its neurons'.
LAYER_NORMS = ("weight_norm", "grad_norm", "update_norm")


def layer_summaries(
    network: Network, layout: Layout, neurons: np.void, passes: Sequence[Pass]
) -> dict[str, dict[str, float]]:
    """Return, for each layer with weights, numbers about its weights, gradients and activations.

    Of the weights as they are now: ``weight_norm`` = ‖W‖; ``weight_mean``, ``weight_std``; ``bias_mean``, ``bias_std``;
    ``weight_nonfinite``, how many of W and b are NaN or infinite.

    Of the last step, from step 1 on: ``grad_norm`` = ‖dW‖, of the **mean** loss over the batch (after clipping);
    ``update_ratio`` = ‖ΔW‖ / ‖W‖ with ΔW what the step subtracted; ``zero_fraction``, the share of activations of the
    batch that are exactly 0; ``grad_nonfinite``, ``activation_nonfinite``, how many are NaN or infinite.

    Args:
        network: The network; only read.
        layout: Its layout.
        neurons: A row of `Statistics.measure_neurons` of the present step.
        passes: Of the last step.
    """
    activations = {one.layer.name: one.a for one in passes}
    summaries: dict[str, dict[str, float]] = {}
    with np.errstate(all="ignore"):
        for layer in layout.observed:
            if "W" not in layer.parameters:
                continue
            norms = {name: layer_norm(neurons, layer, name) for name in LAYER_NORMS}
            summary = {"weight_norm": norms["weight_norm"]}
            for key, name in (("W", "weight"), ("b", "bias")):
                if key in layer.parameters:
                    values = layer.parameters[key].of(network.parameters)
                    squares = (
                        norms["weight_norm"] * norms["weight_norm"] if key == "W" else float(np.vdot(values, values))
                    )
                    summary |= dict(
                        zip((f"{name}_mean", f"{name}_std"), _mean_and_deviation(values, squares), strict=True)
                    )
            summary["weight_nonfinite"] = _total(neurons, layer, "nonfinite_weights")
            if (a := activations.get(layer.name)) is not None:
                summary |= {
                    "grad_norm": norms["grad_norm"],
                    "update_ratio": ratio(norms["update_norm"], norms["weight_norm"]),
                    "grad_nonfinite": _total(neurons, layer, "nonfinite_gradients"),
                    "zero_fraction": 1.0 - np.count_nonzero(a) / max(1, a.size),
                    "activation_nonfinite": _total(neurons, layer, "nonfinite_activations"),
                }
            summaries[layer.name] = summary
    return summaries


def layer_norm(neurons: np.void, layer: LayerLayout, name: str) -> float:
    """Return a norm of a layer from those of its neurons."""
    return float(norm(_of(neurons, layer, name)))


def norm(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the square root of the sum of squares along the last axis, also where squares are out of range."""
    wide = values.astype(np.float64)
    with np.errstate(all="ignore"):
        scale = scale_of(np.abs(wide).max(axis=-1, initial=0.0))
        wide /= scale[..., None]
        found: NDArray[np.float64] = np.sqrt(np.square(wide).sum(axis=-1)) * scale
    return found


def scale_of(largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what values are divided by so that no square is out of range: the largest, where there is one."""
    return np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)


def ratio(update_norm: float, weight_norm: float) -> float:
    """Return ‖ΔW‖ / ‖W‖: 0 if ΔW is 0, inf if only W is."""
    if update_norm == 0:
        return 0.0
    return update_norm / weight_norm if weight_norm else math.inf


def _of(neurons: np.void, layer: LayerLayout, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = neurons[name][layer.first_neuron :][: layer.neurons].astype(np.float64)
    return values


def _total(neurons: np.void, layer: LayerLayout, name: str) -> float:
    return float(_of(neurons, layer, name).sum())


def _mean_and_deviation(values: NDArray[Any], squares: float) -> tuple[float, float]:
    """Return the mean, and the square root of the mean of (value − mean)².

    Args:
        values: Of any shape.
        squares: The sum of their squares, of which the quick way makes use where that is no matter of rounding.
    """
    mean, square = float(values.mean()), squares / values.size if values.size else math.nan
    variance = square - mean * mean
    if 0.1 * square < variance < math.inf:
        return mean, math.sqrt(variance)
    away = values.ravel().astype(np.float64)
    mean = float(away.mean()) if away.size else math.nan
    away -= mean
    return mean, float(norm(away)) / math.sqrt(away.size) if math.isfinite(mean) else math.nan
