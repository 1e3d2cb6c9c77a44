"""`show --neuron`: one neuron at a step, and how it came to be so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from neuronwise.cli.tables import courses_table, finite, number, table, tell_problems
from neuronwise.cli.train import console
from neuronwise.errors import NotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from neuronwise.recording import Recording

# Weights that are shown: the largest.
_SHOWN = 12
# Of a neuron over time, in words.
_COURSES = {
    "weight_norm": "weights: ‖W‖",
    "bias": "bias",
    "grad_norm": "gradient: ‖dW‖",
    "update_ratio": "update: ‖ΔW‖ / ‖W‖",
    "mean": "activation: mean",
    "std": "activation: deviation",
    "inactive": "share of examples that leave it at 0",
    "saturated": "share of examples that drive it to an end",
}


def show_neuron(run: str, neuron: str, at: int | None, as_json: bool) -> None:
    """Print a neuron of a run at a step: its weights, what it answered, and how both went over the training."""
    import numpy as np

    from neuronwise.running import open_recording, sparkline
    from neuronwise.running.printable import escape

    recording = open_recording(run)
    layer, index, what, _ = recording.stored.layout.neuron(neuron)
    if what is not None:
        raise NotFoundError(
            f"{neuron!r:.200} is not a whole neuron",
            where="--neuron",
            hint=f'show RUN --neuron "{layer.name}[{index}]", or history RUN {neuron!r:.200}',
        )
    neuron = f"{layer.name}[{index}]"
    stored = recording.stored
    if at is not None and at > stored.last_step:
        raise NotFoundError(f"the training took {stored.last_step:,} steps, got {at:,}", where="--step")
    step = stored.delivered_step if at is None else at
    if step is None:
        step = int(recording.keyframes[-1]) if len(recording.keyframes) else 0
    measured_at = step
    parameters: Mapping[str, Any]
    if stored.network_dict is None:  # a watched model: nothing but what is stored
        measured_at = _nearest(recording.frames, stored.last_step if at is None else at, "statistics", neuron)
        step = _nearest(recording.keyframes, step, None, neuron)
        parameters = stored.layer(step, layer.name) if len(recording.keyframes) else {}
        if at is not None and (at != step or at != measured_at):
            weights_of = f"its weights are those of step {step:,}" if parameters else "none of its weights are stored"
            click.echo(
                f"note: step {at:,} is not stored whole: {weights_of}, its statistics those of step {measured_at:,}, "
                "the nearest that are",
                err=True,
            )
    else:
        parameters = recording.at(step)[layer.name].parameters
    statistics = _statistics(recording, layer.name, layer.place_of(index), measured_at)
    has_weights = bool(layer.weights) and layer.weights in parameters
    weights = np.ravel(parameters[str(layer.weights)][index]).astype(float) if has_weights else np.empty(0)
    bias = float(parameters[layer.biases][index]) if layer.biases and layer.biases in parameters else None
    names = recording.input_names(f"{neuron}.weights") if has_weights else []
    if as_json:
        content = {
            "neuron": neuron,
            "step": step,
            "statistics_step": measured_at,
            "activation": layer.activation,
            "bias": bias,
            "weights": dict(zip(names, weights.tolist(), strict=True)),
            "statistics": statistics,
        }
        click.echo(json.dumps(finite(content), indent=1, ensure_ascii=False))
        return
    out = console()
    which = " (the network as delivered)" if step == stored.delivered_step else ""
    out.print(f"[bold]{escape(neuron)}[/] after step {step:,}{which}", highlight=False)
    kind = f"a = {layer.activation}(z), " if layer.activation else ""
    if has_weights or bias is not None:
        out.print(
            f"  {kind}z = Σ weight × input + bias over {len(weights):,} inputs, bias {number(bias)}", highlight=False
        )
    else:
        out.print(f"  {layer.name} has no weights of its own: this is what it returns", highlight=False)
    if has_weights:
        order = np.argsort(-np.abs(weights), kind="stable")[:_SHOWN].tolist()
        course = recording.history(f"{neuron}.weights")
        shown_table = table("  weight of", "weight", "from step 0 on")
        for place in order:
            line = sparkline(course.values[:, place].tolist()) if len(course.steps) else ""
            shown_table.add_row(f"  {escape(names[place])}", f"{weights[place]:.4g}", line)
        out.print(shown_table)
        if len(weights) > len(order):
            out.print(f"  the {len(order)} largest of {len(weights):,} weights", style="dim", highlight=False)
    shown = {words: value for key, words in _COURSES.items() if (value := statistics.get(key)) is not None}
    if shown:
        out.print(f"\n[bold]On the batch of step {measured_at:,}[/]" if measured_at else "\n[bold]At the beginning[/]")
        shown_table = table("  quantity", "value")
        for words, value in shown.items():
            shown_table.add_row(f"  {words}", f"{value:.4g}")
        out.print(shown_table)
    courses = {words: recording.history(f"{neuron}.{key}") for key, words in _COURSES.items() if key != "bias"}
    kept = {words: course.values.tolist() for words, course in courses.items() if np.isfinite(course.values).any()}
    if kept:
        steps = recording.frames
        out.print(
            f"\n[bold]Over time[/]  steps {steps[0]:,} to {steps[-1]:,}, {len(steps):,} of them measured",
            highlight=False,
        )
        out.print(courses_table("  quantity", kept))
    tell_problems(recording)


def _nearest(steps: NDArray[np.int64], step: int, what: str | None, neuron: str) -> int:
    """Return the stored step that is nearest to a step; where none is, the step itself if it may be so."""
    if len(steps):
        return int(steps[abs(steps - step).argmin()])
    if what is None:
        return step
    raise NotFoundError(f"no {what} are stored of {neuron!r:.100}", hint="neuronwise show RUN tells what was recorded")


def _statistics(recording: Recording, layer: str, index: int, step: int) -> dict[str, float]:
    """Return the statistics of a neuron at a step; empty where they are not stored and cannot be computed again."""
    from neuronwise.recording import NEURON_FIELDS

    if step not in recording.frames and recording.why_not_replayed:
        return {}
    values = {name: float(recording.neurons(layer, name, [step]).values[0, index]) for name in NEURON_FIELDS}
    return {name: value for name, value in values.items() if value == value}
