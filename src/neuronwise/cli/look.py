"""Commands that look into a recording: history, step."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping

import click

from neuronwise.cli.train import console


@click.command(short_help="Show how a weight or bias went while it learned.")
@click.argument("run")
@click.argument("name")
@click.option("--csv", "as_csv", is_flag=True, help="Print every stored step as CSV.")
def history(run: str, name: str, as_csv: bool) -> None:
    """Show how a weight or bias of RUN went: neuronwise history latest "hidden1[7].bias".

    NAME is a neuron's bias, all of its weights, or one of them by its input.

    \b
      neuronwise history latest "hidden1[7].bias"
      neuronwise history latest "hidden1[7].weights[sqft_living]" --csv
      neuronwise history latest "hidden1[7].weights"
    """
    import numpy as np
    from rich.table import Table

    from neuronwise.running import open_recording, sparkline

    recording = open_recording(run)
    course = recording.history(name)
    columns = course.values.reshape(len(course.steps), -1)
    names = [name] if course.values.ndim == 1 else recording.input_names(name)
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["step", *names])
        writer.writerows(
            [step, *map(repr, row)] for step, row in zip(course.steps.tolist(), columns.tolist(), strict=True)
        )
        return
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("  of", "first", "", "last", "from", "to"):
        table.add_column(heading, justify="left" if heading in ("  of", "") else "right")
    order = np.argsort(-np.abs(columns[-1]), kind="stable")[:20]
    for place in order.tolist():
        values = columns[:, place].tolist()
        numbers = [f"{value:.3g}" for value in (values[0], values[-1], min(values), max(values))]
        table.add_row(f"  {names[place]}", numbers[0], sparkline(values), *numbers[1:])
    out = console()
    steps = f"steps {course.steps[0]:,} to {course.steps[-1]:,}, {len(course.steps)} of them stored"
    out.print(f"[bold]{name.replace('[', chr(92) + '[')}[/]  {steps}", highlight=False)
    out.print(table)
    if len(names) > len(order):
        out.print(
            f"  the {len(order)} largest of {len(names):,} weights; --csv prints all", style="dim", highlight=False
        )


@click.command(short_help="Take one step of learning again, in words and numbers.")
@click.argument("run")
@click.argument("number", type=int)
@click.argument("data", required=False)
def step(run: str, number: int, data: str | None) -> None:
    """Take step NUMBER of RUN again and show what it computed: neuronwise step latest 43.

    Its batch, the loss, and for each layer how strongly it answered, which error came back to it, and how far its
    weights moved. DATA names the place of a file that was moved since.
    """
    import numpy as np
    from rich.table import Table

    from neuronwise.running import open_recording

    found = open_recording(run, data).step(number)
    out = console()
    rows = ", ".join(map(str, found.rows[:8].tolist())) + (" …" if len(found.rows) > 8 else "")
    out.print(
        f"[bold]Step {number:,}[/] of epoch {found.epoch}, on {len(found.rows)} examples (rows {rows})", highlight=False
    )
    out.print(
        f"  forward: with the weights of step {number - 1:,} the mean loss over them is {found.loss:.6g}",
        highlight=False,
    )
    out.print("  backward: the error dL/dz goes from the last layer to the first and gives each weight its gradient")
    out.print(f"  update: the optimizer subtracts, at a learning rate of {found.learning_rate:.4g}", highlight=False)
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("  layer", "mean a", "a that are 0", "‖dL/dz‖", "gradient", "update", "update / weights"):
        table.add_column(heading, justify="left" if heading == "  layer" else "right")
    for traced in found.trace:
        if traced.name not in found.gradients:
            continue
        gradient, update = (_norm(parts[traced.name]) for parts in (found.gradients, found.update))
        weights = _norm(found.before[traced.name].parameters)
        table.add_row(
            f"  {traced.name}",
            f"{float(np.mean(traced.a)):.4g}",
            f"{float(np.mean(traced.a == 0)):.0%}",
            f"{_norm({'delta': found.delta[traced.name]}):.4g}",
            f"{gradient:.4g}",
            f"{update:.4g}",
            f"{update / weights:.2e}" if weights else "",
        )
    out.print(table)
    out.print("  gradient, update, weights: the norm over all weights and biases of the layer", style="dim")


def _norm(arrays: Mapping[str, object]) -> float:
    import numpy as np

    return float(np.sqrt(sum(float(np.sum(np.asarray(values, dtype=np.float64) ** 2)) for values in arrays.values())))


COMMANDS = (history, step)
