"""`neuron`: what a neuron detects, how it comes to its level on an input, how it came to be so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neuronwise.cli.explanations import output_options, run_options, tell
from neuronwise.cli.important import PARTS
from neuronwise.cli.layers import parse_steps
from neuronwise.cli.progress import progress

if TYPE_CHECKING:
    from neuronwise.explaining import Explanation


@click.command(short_help="Show what a neuron detects, or how it comes to its level on an input.")
@click.argument("run")
@click.argument("name", required=False)
@click.option("--row", type=click.IntRange(0), metavar="N", help="Its sum on this row of the data, from 0.")
@click.option("--input", "source", metavar="FILE", help="Its sum on the first row of FILE (or row N), or a picture.")
@click.option("--over-time", is_flag=True, help="How it came to be so, and when it had settled.")
@click.option("--steps", metavar="N,N…", help="The same, at these steps. [default: some stored ones]")
@click.option("--part", type=PARTS, default="held-out", show_default=True, help="Rows it is looked at on.")
@run_options
@output_options
def neuron(
    run: str,
    name: str | None,
    row: int | None,
    source: str | None,
    over_time: bool,
    steps: str | None,
    part: Any,
    step: int | None,
    data: str | None,
    as_json: bool,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
) -> None:
    """Show what a neuron of RUN detects: its pattern, the rows it likes, the classes it tells apart, its twins.

    NAME is a neuron, "hidden1[7]", "conv1[7]" or "conv1[7] @ (3, 4)". With --row or --input: its sum on that input,
    term by term. NAME may be a layer, hidden1: which of its neurons are dead, always on, saturated or twins. Without
    NAME: an atlas of the first layer.

    \b
      neuronwise neuron latest "hidden1[7]" --png neuron.png
      neuronwise neuron latest "hidden1[7]" --row 17
      neuronwise neuron latest "hidden1[7]" --input new.csv
      neuronwise neuron latest "hidden1[7]" --over-time --png learned.png
      neuronwise neuron latest hidden1
      neuronwise neuron latest --png atlas.png
    """
    from neuronwise.running import neuron_report

    over_time = over_time or steps is not None
    _refuse_together(name, row, source, over_time, step)
    told: Explanation
    with progress("neuron") as bar:
        if name is None:
            told = neuron_report.atlas_of_run(run, part=part, step=step, data=data)
        elif source is not None:
            told = neuron_report.neuron_on_input(run, name, source, row or 0, step=step)
        elif row is not None:
            told = neuron_report.neuron_on_row(run, name, row, step=step, data=data)
        elif over_time:
            told = neuron_report.neuron_of_run_over_time(
                run, name, steps=parse_steps(steps), part=part, data=data, progress=bar
            )
        elif "[" in name:
            told = neuron_report.what_neuron_detects(run, name, part=part, step=step, data=data, progress=bar)
        else:
            told = neuron_report.neurons_of_layer(run, name, part=part, step=step, data=data, progress=bar)
    tell(told, as_json, png=png, svg=svg, html=html)


def _refuse_together(name: str | None, row: int | None, source: str | None, over_time: bool, step: int | None) -> None:
    from neuronwise.errors import UsageError

    asked = {"--row": row is not None, "--input": source is not None, "--over-time": over_time}
    given = [option for option, is_given in asked.items() if is_given]
    if given and (name is None or "[" not in name):
        raise UsageError(
            f"{given[0]} asks about one neuron, got {name!r:.100}" if name else f"{given[0]} asks about one neuron",
            where="argument NAME",
            hint=f'neuronwise neuron RUN "hidden1[7]" {given[0]} …',
        )
    if over_time and len(given) > 1:
        raise UsageError(f"{given[0]} and --over-time ask for different things: leave one of them out", where=given[0])
    if over_time and step is not None:
        raise UsageError("--over-time looks at many steps: name them by --steps", where="--step")


COMMANDS = (neuron,)
