"""`important`: what the answers rest on: the neurons of a layer, ranked by what is lost without each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neuronwise.cli.explanations import output_options, run_options, tell
from neuronwise.cli.progress import progress

PARTS = click.Choice(["held-out", "train", "validation", "test"])


@click.command(short_help="Rank the columns, or the neurons of a layer, by what is lost without each.")
@click.argument("run")
@click.option("--features", is_flag=True, help="Rank the columns (pixels), not the neurons of a layer.")
@click.option("--output", metavar="CLASS", help="With --features: contributions to this class, not to the answer.")
@click.option("--repeats", type=click.IntRange(1, 1000), metavar="N", help="With --features: shuffle each N times.")
@click.option("--layer", metavar="LAYER", help="Whose neurons are ranked. [default: the first hidden layer]")
@click.option(
    "--mode", type=click.Choice(["zero", "mean"]), default="zero", show_default=True,
    help="What a silenced neuron's activation is replaced by: 0, or its mean over the rows.",
)  # fmt: skip
@click.option("--part", type=PARTS, default="held-out", show_default=True, help="Rows it is measured on.")
@run_options
@output_options
def important(
    run: str,
    features: bool,
    output: str | None,
    repeats: int | None,
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
    """Rank the neurons of a layer of RUN by what the network loses without each; with --features its columns.

    Columns are ranked by what is lost when their values are shuffled among the rows, beside how much they move the
    answer; columns that go together are named.

    \b
      neuronwise important latest --features --png columns.png
      neuronwise important latest --layer hidden1
      neuronwise important latest --layer hidden1 --mode mean --png hidden1.png
    """
    from neuronwise.running.important_neurons import important_neurons

    _refuse_together(features, layer, mode, output, repeats)
    if features:
        from neuronwise.running.why import important_features

        with progress("columns, shuffled one by one") as told:
            ranked = important_features(
                run, output=output, part=part, repeats=repeats, step=step, data=data, progress=told
            )
        tell(ranked, as_json, png=png, svg=svg, html=html)
        return
    with progress("neurons, silenced one by one") as told:
        found = important_neurons(run, layer, mode=mode, part=part, step=step, data=data, progress=told)
    tell(found, as_json, png=png, svg=svg, html=html)


def _refuse_together(features: bool, layer: str | None, mode: str, output: str | None, repeats: int | None) -> None:
    from neuronwise.errors import UsageError

    if features and (layer is not None or mode != "zero"):
        option = "--layer" if layer is not None else "--mode"
        raise UsageError(
            f"--features ranks columns, and {option} is about neurons: leave one of them out", where=option
        )
    if not features and (output is not None or repeats is not None):
        option = "--output" if output is not None else "--repeats"
        raise UsageError(f"{option} goes with --features", where=option, hint="neuronwise important RUN --features")


COMMANDS = (important,)
