"""The command `step`: one step of learning, taken again, in words and numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from neuronwise.cli.tables import finite, table, tell_problems
from neuronwise.cli.train import console

if TYPE_CHECKING:
    from rich.console import Console

    from neuronwise.recording import Recording, ReplayedStep

# Weights of a neuron, and examples of the batch, that are shown: the largest.
_SHOWN = 12


@click.command(short_help="Take one step of learning again, in words and numbers.")
@click.argument("run")
@click.argument("number", type=int)
@click.argument("data", required=False)
@click.option("--neuron", metavar="NAME", help='Show what the step did to one neuron, such as "hidden1[7]".')
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def step(run: str, number: int, data: str | None, neuron: str | None, as_json: bool) -> None:
    """Take step NUMBER of RUN again and show what it computed: neuronwise step latest 43.

    Its batch, the loss, and for each layer how strongly it answered, which error came back to it, and how far its
    weights moved: by this step's gradient, by what the optimizer remembered of earlier ones, and by weight decay.
    DATA names the place of a file that was moved since.
    """
    from neuronwise.running import open_recording

    recording = open_recording(run, data)
    found = recording.step(number)
    if as_json:
        click.echo(json.dumps(_step_as_dict(found), indent=1))
        return
    out = console()
    _print_step(out, found)
    if neuron is not None:
        _print_neuron_step(out, recording, found, neuron)
    tell_problems(recording)


def _print_step(out: Console, found: ReplayedStep) -> None:
    import numpy as np

    from neuronwise.running.printable import escape

    rows = ", ".join(map(str, found.rows[:8].tolist())) + (" …" if len(found.rows) > 8 else "")
    out.print(
        f"[bold]Step {found.step:,}[/] of epoch {found.epoch}, on {len(found.rows)} examples (rows {rows})",
        highlight=False,
    )
    out.print(
        f"  forward: with the weights of step {found.step - 1:,} the mean loss over them is {found.loss:.6g}",
        highlight=False,
    )
    out.print("  backward: the error dL/dz goes from the last layer to the first and gives each weight its gradient")
    out.print(f"  update: the optimizer subtracts, at a learning rate of {found.learning_rate:.4g}", highlight=False)
    parts = list(found.parts)
    shown = table("  layer", "mean a", "a that are 0", "‖dL/dz‖", "gradient", "update", *_by(parts), "update / weights")
    for traced in found.trace:
        if traced.name not in found.gradients:
            continue
        gradient, update = (_norm(one[traced.name]) for one in (found.gradients, found.update))
        weights = _norm(found.before[traced.name].parameters)
        shown.add_row(
            f"  {escape(traced.name)}",
            f"{float(np.mean(traced.a)):.4g}",
            f"{float(np.mean(traced.a == 0)):.0%}",
            f"{_norm({'delta': found.delta[traced.name]}):.4g}",
            f"{gradient:.4g}",
            f"{update:.4g}",
            *(f"{_norm(found.parts[part][traced.name]):.4g}" for part in (parts if len(parts) > 1 else ())),
            f"{update / weights:.2e}" if weights else "",
        )
    out.print(shown)
    out.print("  gradient, update, weights: the norm over all weights and biases of the layer", style="dim")
    if len(parts) > 1:
        out.print("  the update is the sum of its parts, weight by weight; of norms that is not so", style="dim")


def _print_neuron_step(out: Console, recording: Recording, found: ReplayedStep, neuron: str) -> None:
    """Print what a step did to a neuron: how each weight moved, and which examples pulled most."""
    import numpy as np

    from neuronwise.running.printable import escape

    layer, index, _, _ = recording.stored.layout.neuron(neuron)
    if layer.weights is None:
        return
    names = [*recording.input_names(neuron), "bias"]
    parts = list(found.parts)

    def of(parameters: Mapping[str, Any]) -> list[float]:
        weights = np.ravel(parameters[str(layer.weights)][index]).tolist()
        return [*weights, *([float(parameters[layer.biases][index])] if layer.biases else [])]

    before, after = of(found.before[layer.name].parameters), of(found.after[layer.name].parameters)
    gradient, update = of(found.gradients[layer.name]), of(found.update[layer.name])
    split = [of(found.parts[part][layer.name]) for part in (parts if len(parts) > 1 else ())]
    order = sorted(range(len(before)), key=lambda place: -abs(update[place]))
    out.print(f"\n[bold]{escape(neuron)}[/]  the {min(_SHOWN, len(order))} of {len(order)} that moved most")
    shown = table("  weight of", "before", "gradient", "update", *_by(parts), "after")
    for place in order[:_SHOWN]:
        numbers = [before[place], gradient[place], update[place], *(one[place] for one in split), after[place]]
        shown.add_row(f"  {escape(names[place])}", *(f"{number:.5g}" for number in numbers))
    out.print(shown)
    pulls = found.neuron_gradients(f"{layer.name}[{index}]")
    size = np.sqrt(sum(np.sum(values.reshape(len(found.rows), -1) ** 2.0, axis=1) for values in pulls.values()))
    out.print("  which examples pulled at it: the norm of the gradient of each one's own loss", highlight=False)
    shown = table("  row", "pull", "on its bias")
    bias = pulls.get(str(layer.biases))
    for place in np.argsort(-size, kind="stable")[:_SHOWN].tolist():
        shown.add_row(
            f"  {found.rows[place]}", f"{size[place]:.4g}", "" if bias is None else f"{float(bias[place]):+.4g}"
        )
    out.print(shown)
    silent = int(np.count_nonzero(size == 0))
    if silent:
        out.print(f"  {silent} of {len(size)} examples did not pull at all", style="dim", highlight=False)


def _by(parts: Sequence[str]) -> list[str]:
    """Return the headings of the parts of an update; none where it has one part only."""
    return [f"by {part.replace('_', ' ')}" for part in parts] if len(parts) > 1 else []


def _norm(arrays: Mapping[str, Any]) -> float:
    import numpy as np

    return float(np.sqrt(sum(float(np.sum(np.asarray(values, dtype=np.float64) ** 2)) for values in arrays.values())))


def _step_as_dict(found: ReplayedStep) -> dict[str, Any]:
    layers = {
        name: {
            "gradient_norm": _norm(found.gradients[name]),
            "update_norm": _norm(found.update[name]),
            "update_parts_norm": {part: _norm(of[name]) for part, of in found.parts.items()},
            "delta_norm": _norm({"delta": found.delta[name]}),
            "weight_norm_before": _norm(found.before[name].parameters),
        }
        for name in found.gradients
    }
    content = {
        "step": found.step,
        "epoch": found.epoch,
        "rows": found.rows.tolist(),
        "loss": found.loss,
        "learning_rate": found.learning_rate,
        "layers": layers,
    }
    found_as: dict[str, Any] = finite(content)
    return found_as


COMMANDS = (step,)
