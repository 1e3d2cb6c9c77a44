"""Numbers that describe a layer at a moment of training.

All are computed in float64 (squares of large float32 weights would overflow), all are NaN or inf where the
values they describe are: nothing is left out, and the counts say how much is not finite.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from neuronwise.learning.observers import TrainingState


def layer_summaries(state: TrainingState) -> dict[str, dict[str, float]]:
    """Return, for each layer with parameters, numbers about its weights, gradients and activations.

    Of the weights as they are now:

    - ``weight_norm``: ‖W‖, the square root of the sum of all W²
    - ``weight_mean``, ``weight_std``: mean of W; square root of the mean of (W − mean)²
    - ``bias_mean``, ``bias_std``: the same of b
    - ``weight_nonfinite``: how many of W and b are NaN or infinite

    Of the last step, from step 1 on:

    - ``grad_norm``: ‖dW‖, dW the gradient of the **mean** loss over the batch (after clipping)
    - ``update_ratio``: ‖ΔW‖ / ‖W‖ with ΔW what the step subtracted and W the weights before it; 0 if ΔW is 0,
      inf if only W is. About 0.001 is a usual value.
    - ``zero_fraction``: share of the activations a of the batch, (batch, neurons), that are exactly 0
    - ``grad_nonfinite``, ``activation_nonfinite``: how many of dW and db, and of a, are NaN or infinite

    Args:
        state: Of the training; only read.
    """
    network = state.network
    stepped = state.step > 0
    gradients = network.views(state.gradients) if stepped else None
    updates = network.views(state.update) if stepped else None
    activations = {one.layer.name: one.a for one in state.passes or ()} if stepped else {}
    summaries: dict[str, dict[str, float]] = {}
    with np.errstate(all="ignore"):
        for position, layer in enumerate(network.layers):
            if "W" not in layer.parameters:
                continue
            summary = _of_weights(layer.parameters)
            if gradients is not None and updates is not None:
                dW, update = gradients[position]["W"], updates[position]["W"].astype(np.float64)
                summary["grad_norm"] = _norm(dW)
                summary["update_ratio"] = _ratio(_norm(update), _norm(layer.parameters["W"] + update))
                summary["grad_nonfinite"] = _nonfinite(*gradients[position].values())
            if (a := activations.get(layer.name)) is not None:
                summary["zero_fraction"] = float(np.count_nonzero(a == 0)) / max(1, a.size)
                summary["activation_nonfinite"] = _nonfinite(a)
            summaries[layer.name] = summary
    return summaries


def _of_weights(parameters: dict[str, NDArray[Any]]) -> dict[str, float]:
    W = parameters["W"]
    summary = {
        "weight_norm": _norm(W),
        "weight_mean": float(np.mean(W, dtype=np.float64)),
        "weight_std": float(np.std(W, dtype=np.float64)),
    }
    if (b := parameters.get("b")) is not None:
        summary["bias_mean"] = float(np.mean(b, dtype=np.float64))
        summary["bias_std"] = float(np.std(b, dtype=np.float64))
    summary["weight_nonfinite"] = _nonfinite(*parameters.values())
    return summary


def _norm(values: NDArray[Any]) -> float:
    return float(np.linalg.norm(values.ravel().astype(np.float64)))


def _ratio(update_norm: float, weight_norm: float) -> float:
    if update_norm == 0:
        return 0.0
    return update_norm / weight_norm if weight_norm else math.inf


def _nonfinite(*arrays: NDArray[Any]) -> float:
    return float(sum(array.size - np.count_nonzero(np.isfinite(array)) for array in arrays))
