"""What `neuronwise show` tells of a watched run: its layers as they were last seen, and what was noticed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuronwise.recording import Recording
from neuronwise.recording.events import read_events
from neuronwise.recording.layout import LayerLayout
from neuronwise.recording.quantities import norm, ratio
from neuronwise.running.parameter_table import trainable_counts
from neuronwise.watching.torch_losses import OWN_LOSS

# A neuron that was 0 for every example of so many recorded steps, the last, counts as dead.
DEAD_FRAMES = 5


@dataclass(frozen=True)
class WatchedLayerRow:
    """A layer of a watched run.

    Attributes:
        layer: Its path.
        type: Class of the module.
        activation: The function that was seen to follow it, or None.
        neurons: Their number; 0 where none are measured.
        parameters: Number of its weights and biases.
        trainable: How many of them are learned; None where that was not written down.
        weight_norm, grad_norm, update_ratio: At the last recorded step that has them; None where none has.
        dead: How many neurons answered 0 to every example of the last 5 recorded steps; None where the
            activation is no ReLU, or was not seen.
    """

    layer: str
    type: str
    activation: str | None
    neurons: int
    parameters: int
    trainable: int | None
    weight_norm: float | None
    grad_norm: float | None
    update_ratio: float | None
    dead: int | None


def layer_rows(recording: Recording, folder: Path) -> list[WatchedLayerRow]:
    """Return a row for each layer of a watched run.

    Args:
        recording: Of the run.
        folder: Of the run, with its table of parameters.
    """
    counts = trainable_counts(folder)
    layers = recording.stored.layout.layers
    return [_row(recording, layer, _counts(layer, layers, counts)) for layer in layers.values()]


def _counts(
    layer: LayerLayout, layers: Mapping[str, LayerLayout], counts: Mapping[str, tuple[int, int]]
) -> tuple[int, int] | None:
    """Return parameters and trainable ones of a layer; None where they are not known.

    The table beside the run has a row for each module, of which some make several layers.
    """
    module = next((name for name in (layer.name, layer.name.rpartition(".")[0]) if name in counts), None)
    if module is None:
        return None
    own, (of_module, trainable) = _size(layer), counts[module]
    parts = [one for name, one in layers.items() if module in (name, name.rpartition(".")[0])]
    parts = [one for one in parts if one.name == module or one.name not in counts]
    if parts == [layer]:
        return counts[module]
    if sum(map(_size, parts)) != of_module or trainable not in (0, of_module):
        return None  # some are shared or frozen, and it is not known which
    return own, own if trainable else 0


def _size(layer: LayerLayout) -> int:
    return sum(place.size for place in layer.parameters.values())


def _row(recording: Recording, layer: LayerLayout, counts: tuple[int, int] | None) -> WatchedLayerRow:
    own = _size(layer)
    of = {name: _last(recording, layer, name) for name in ("weight_norm", "grad_norm", "update_norm")}
    weights, update = of["weight_norm"], of["update_norm"]
    return WatchedLayerRow(
        layer.name,
        layer.kind,
        layer.activation,
        layer.neurons,
        own if counts is None else counts[0],
        None if counts is None else counts[1],
        weights,
        of["grad_norm"],
        None if weights is None or update is None else ratio(update, weights),
        _dead(recording, layer),
    )


def _last(recording: Recording, layer: LayerLayout, quantity: str) -> float | None:
    """Return the norm of a layer at the last frame that has it."""
    if not layer.neurons:
        return None
    course = recording.neurons(layer.name, quantity)
    measured = np.flatnonzero(~np.isnan(course.values).all(axis=1))
    return float(norm(course.values[measured[-1]])) if len(measured) else None


def _dead(recording: Recording, layer: LayerLayout) -> int | None:
    if not layer.neurons:
        return None
    inactive = recording.neurons(layer.name, "inactive").values
    last = inactive[~np.isnan(inactive).all(axis=1)][-DEAD_FRAMES:]
    return int((last == 1).all(axis=0).sum()) if len(last) else None


def overhead(recording: Recording) -> tuple[float, float] | None:
    """Return how many seconds watching took, and how many the whole; None of a training that has not ended."""
    for event in reversed(read_events(recording.stored.folder, [])):
        if event.get("kind") == "end":
            cost, elapsed = event.get("overhead_s"), event.get("elapsed_s")
            if _is_number(cost) and _is_number(elapsed):
                return float(cost), float(elapsed)
    return None


def noticed(recording: Recording) -> list[str]:
    """Return sentences about what was noticed: the recording's notes, what was not finite, skipped or thinned."""
    found = list(recording.notes)
    skipped, is_own = 0, False
    for event in read_events(recording.stored.folder, []):
        kind, step = event.get("kind"), event.get("step")
        if kind == "nonfinite":
            found.append(_not_finite(event))
        elif kind == "skipped" and type(count := event.get("count")) is int:
            skipped += count
        elif kind == "loss":
            is_own = event.get("function") == OWN_LOSS
        elif kind == "thinned":
            found.append(f"recorded less often from step {step} on: {event.get('reason')}")
        elif kind == "layers_added":
            found.append(f"layers were added before step {step}, which are not recorded: {event.get('layers')}")
        elif kind == "layers_replaced":
            found.append(f"layers were replaced before step {step}, which are followed: {event.get('layers')}")
        elif kind == "layers_moved":
            found.append(
                f"layers stand in other modules since step {step}, without their activations: {event.get('layers')}"
            )
        elif kind == "layers_masked":
            found.append(
                f"layers were pruned or parametrized before step {step}: what is recorded is what is learned, of which "
                f"their weights are made: {event.get('layers')}"
            )
        elif kind == "left_out":
            found.append(f"from step {step} on {event.get('sentence')}")
        elif kind == "network_changed":
            found.append(f"the modules were changed before step {step}: its states are no Network from there on")
    if is_own and not any("loss" in metrics for _, metrics in recording.stored.metrics):
        found.append(
            "the loss is the one that the model returns, of steps with statistics only: watch(…, loss=…) or "
            "watcher.observe(…) sees that of every step"
        )
    elif not len(recording.history("loss").steps):
        found.append("no loss was seen: hand it to watch(…, loss=…), watcher.observe(…) or watcher.log(loss=…)")
    if skipped:
        found.append(f"the gradient scaler skipped {skipped:,} step{'s' * (skipped != 1)}")
    return found


def _neuron(layer: Any, event: dict[str, Any]) -> str:
    return str(layer) if event.get("neuron") is None else f"{layer}[{event.get('neuron')}]"


def _not_finite(event: dict[str, Any]) -> str:
    layer = event.get("layer")
    what = "the loss" if layer is None else f"the {event.get('quantity')} of {_neuron(layer, event)}"
    return f"{what} is NaN or infinite at step {event.get('step')} (all was finite at step {event.get('since')})"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
