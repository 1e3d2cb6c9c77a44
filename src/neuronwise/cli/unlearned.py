"""`unlearned`: what a network has not learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neuronwise.cli.explanations import output_options, run_options, tell
from neuronwise.cli.important import PARTS
from neuronwise.cli.layers import parse_steps
from neuronwise.cli.progress import progress


@click.command(short_help="Show which classes, slices and rows were not learned.")
@click.argument("run")
@click.option("--by", multiple=True, metavar="COLUMN", help="Cut the rows by it. [default: each column of a table]")
@click.option("--part", type=PARTS, default="held-out", show_default=True, help="Rows that are looked at.")
@click.option("--steps", metavar="N,N…", help="Earlier steps to look at, or none. [default: some stored ones]")
@run_options
@output_options
def unlearned(
    run: str,
    by: tuple[str, ...],
    part: Any,
    steps: str | None,
    step: int | None,
    data: str | None,
    as_json: bool,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
) -> None:
    """Show what the network of RUN has not learned: which classes, which slices of a table, which rows.

    Errors by class and by slice over the training; rows never learned, or learned and forgotten; classes that are taken
    for each other, and which hidden neurons tell them apart.

    \b
      neuronwise unlearned latest
      neuronwise unlearned latest --by zipcode --png zipcodes.png
      neuronwise unlearned latest --part train
    """
    from neuronwise.running.unlearned import unlearned

    with progress("rows, over the training") as told:
        found = unlearned(
            run, by=list(by) or None, part=part, steps=parse_steps(steps), step=step, data=data, progress=told
        )  # fmt: skip
    tell(found, as_json, png=png, svg=svg, html=html)


COMMANDS = (unlearned,)
