"""`important`: what the answers rest on: the neurons of a layer, ranked by what is lost without each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neuronwise.cli.explanations import output_options, tell
from neuronwise.cli.progress import progress

PARTS = click.Choice(["held-out", "train", "validation", "test"])


@click.command(short_help="Rank the neurons of a layer by what is lost without each.")
@click.argument("run")
@click.option("--layer", metavar="LAYER", help="Whose neurons are ranked. [default: the first hidden layer]")
@click.option(
    "--mode", type=click.Choice(["zero", "mean"]), default="zero", show_default=True,
    help="What a silenced neuron's activation is replaced by: 0, or its mean over the rows.",
)  # fmt: skip
@click.option("--part", type=PARTS, default="held-out", show_default=True, help="Rows it is measured on.")
@click.option("--step", type=int, metavar="N", help="The network after this step. [default: as delivered]")
@click.option("--data", metavar="DATA", help="What it learned from, if the run cannot find it.")
@output_options
def important(
    run: str,
    layer: str | None,
    mode: Any,
    part: Any,
    step: int | None,
    data: str | None,
    as_json: bool,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
) -> None:
    """Rank the neurons of a layer of RUN by what the network loses without each.

    \b
      neuronwise important latest --layer hidden1
      neuronwise important latest --layer hidden1 --mode mean --png hidden1.png
    """
    from neuronwise.running.important_neurons import important_neurons

    with progress("neurons, silenced one by one") as told:
        found = important_neurons(run, layer, mode=mode, part=part, step=step, data=data, progress=told)
    tell(found, as_json, png=png, svg=svg, html=html)


COMMANDS = (important,)
