"""`layers`: how the layers of a network work together."""

from __future__ import annotations

from pathlib import Path

import click

from neuronwise.cli.explanations import output_options, run_options, tell
from neuronwise.cli.progress import progress


@click.command(short_help="Show what each layer adds, and what the layers are without their bends.")
@click.argument("run")
@click.option("--steps", metavar="N,N…", help="Earlier steps to look at, or none. [default: a few stored ones]")
@click.option("--row", type=int, metavar="ROW", help="Also tell a row's answer with and without bends.")
@run_options
@output_options
def layers(
    run: str,
    steps: str | None,
    step: int | None,
    row: int | None,
    data: str | None,
    as_json: bool,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
) -> None:
    """Show how the layers of RUN work together.

    A linear model of each layer's activations shows what that layer adds, now and at earlier steps; then all layers are
    multiplied into one, W x + b, which is what they would be without activation functions.

    \b
      neuronwise layers latest
      neuronwise layers latest --steps 0,10,100 --png layers.png
    """
    from neuronwise.running.layers_together import layers_together

    with progress("linear models") as told:
        found = layers_together(run, steps=parse_steps(steps), step=step, row=row, data=data, progress=told)
    tell(found, as_json, png=png, svg=svg, html=html)


def parse_steps(text: str | None) -> list[int] | None:
    """Return the steps of an option, ``"0,10,100"`` or ``"none"``; None for the default.

    Raises:
        UsageError: They are no whole numbers from 0.
    """
    from neuronwise.errors import UsageError

    if text is None:
        return None
    words = [] if text.strip().lower() == "none" else text.replace(" ", "").split(",")
    if not all(word.isdecimal() and len(word) < 16 for word in words):
        raise UsageError(
            f"expected steps, whole numbers from 0 with commas between, got {text!r:.100}",
            where="argument steps",
            hint="such as --steps 0,10,100",
        )
    return [int(word) for word in words]


COMMANDS = (layers,)
