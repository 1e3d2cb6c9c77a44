"""Which numbers of a watched training go to MLflow: the same while it runs, and when it is sent later from disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.recording import read_recording
from neuronwise.recording.layout import LayerLayout, Layout
from neuronwise.recording.quantities import norm, ratio
from neuronwise.tracking import MAX_METRIC_KEYS

# Fields of a row of statistics from which those of a layer are computed.
FIELDS = (
    "weight_norm", "grad_norm", "bias_grad", "update_norm", "inactive", "nonfinite_weights", "nonfinite_gradients",
)  # fmt: skip

# A layer has four keys; what is left is for the loss and what the user logs.
_KEYS_OF_LAYER, _OTHER_KEYS = 4, 40
MAX_LAYERS = (MAX_METRIC_KEYS - _OTHER_KEYS) // _KEYS_OF_LAYER
# So many steps are all sent, then every second, of twice as many every fourth …: more would only slow the page.
_DENSE_STEPS = 1000


def spacing(step: int) -> int:
    """Return how far apart points of a metric are at a step: 1 up to 1,000, then 500 to 1,000 for each doubling."""
    return 1 << (max(0, step - 1) // _DENSE_STEPS).bit_length()


def is_sent(step: int) -> bool:
    """Return whether the loss of a step goes to MLflow."""
    return step % spacing(step) == 0


def sent_layers(layout: Layout) -> list[LayerLayout]:
    """Return the layers whose norms go to MLflow: all, or of many some at equal distances, with first and last."""
    layers = layout.observed
    if len(layers) <= MAX_LAYERS:
        return list(layers)
    places = np.linspace(0, len(layers) - 1, MAX_LAYERS).round().astype(int)
    return [layers[place] for place in places.tolist()]


def layer_values(values: Mapping[str, NDArray[Any]], layers: list[LayerLayout]) -> dict[str, float]:
    """Return what goes to MLflow of a row of statistics: four numbers of each layer, and the norm of all gradients.

    What was not measured is left out.

    Args:
        values: The fields `FIELDS` of all neurons.
        layers: Which layers.
    """
    found: dict[str, float] = {}
    learned = ~np.isnan(values["nonfinite_gradients"])
    if learned.any():
        # A neuron without a bias has no gradient of one, which is NaN too; a NaN of its weights' stays one.
        weights_and_biases = (values["grad_norm"][learned], values["bias_grad"][~np.isnan(values["bias_grad"])])
        found["grad_norm"] = float(norm(np.concatenate(weights_and_biases)))
    for layer in layers:
        place = slice(layer.first_neuron, layer.first_neuron + layer.neurons)
        of = {name: values[name][place].astype(np.float64) for name in FIELDS}
        weights = float(norm(of["weight_norm"]))
        if not np.isnan(of["nonfinite_weights"]).all():  # else it has none, as what a recurrent module returns
            found[f"{layer.name}/weight_norm"] = weights
        if not np.isnan(of["nonfinite_gradients"]).all():  # else there was no gradient: nothing to tell
            found[f"{layer.name}/grad_norm"] = float(norm(of["grad_norm"]))
        update = float(norm(of["update_norm"]))
        if not math.isnan(update):
            found[f"{layer.name}/update_ratio"] = ratio(update, weights)
        if not np.isnan(of["inactive"]).all():
            found[f"{layer.name}/zero_fraction"] = float(np.nanmean(of["inactive"]))
    return found


def of_step(loss: float, learning_rate: float) -> dict[str, float]:
    """Return the metrics of a step, without the learning rate of an optimizer that has none."""
    return {"loss": loss} | ({} if math.isnan(learning_rate) else {"learning_rate": learning_rate})


def recorded_points(folder: Path, duration_s: float) -> Iterator[tuple[int, dict[str, float], float]]:
    """Yield step, metrics and seconds since the beginning of all that goes to MLflow, read from a run's folder.

    Args:
        folder: Of the run.
        duration_s: How long it took: when each step was taken is not recorded, so they count as equally long.
    """
    try:
        history = read_recording(folder / "recording")
    except (FormatError, NotFoundError):
        return
    points: dict[int, dict[str, float]] = {}
    for row in history.scalars:
        if is_sent(step := int(row["step"])):
            points.setdefault(step, {}).update(of_step(float(row["loss"]), float(row["learning_rate"])))
    for step, metrics in history.metrics:
        points.setdefault(step, {}).update(metrics)
    layers = sent_layers(history.layout)
    frames = set(_sent_frames(history.frames.tolist()))
    last = max(1, history.last_step)
    for step in sorted(points.keys() | frames):
        values = points.get(step, {})
        if step in frames:
            try:
                row = history.neurons(step)[0]
            except (NotFoundError, FormatError):
                row = None
            if row is not None:
                values = layer_values({name: row[name] for name in FIELDS}, layers) | values
        yield step, values, duration_s * min(1.0, step / last)


def _sent_frames(steps: list[int]) -> Iterator[int]:
    last = 0
    for step in steps:
        if step - last >= spacing(step):
            yield (last := step)
