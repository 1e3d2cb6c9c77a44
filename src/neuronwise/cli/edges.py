"""`edges`: which neurons detect edges, what a picture looks like to them, what deeper neurons look for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuronwise.cli.explanations import output_options, run_options, tell
from neuronwise.cli.progress import progress

if TYPE_CHECKING:
    from neuronwise.explaining import Explanation


@click.command(short_help="Show which neurons detect edges, or feature maps of a picture.")
@click.argument("run")
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.option("--layer", metavar="LAYER", help="The layer looked at. [default: the first with weights]")
@click.option("--neuron", metavar="NEURON", help="One neuron of a deeper layer: what it looks for.")
@click.option("--over-time", is_flag=True, help="How the angles came to be, and when each had settled.")
@run_options
@output_options
def edges(
    run: str,
    image: Path | None,
    layer: str | None,
    neuron: str | None,
    over_time: bool,
    step: int | None,
    data: str | None,
    as_json: bool,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
) -> None:
    """Show which neurons of RUN detect edges, lines and stripes: their angle, and whether it is more than chance.

    With IMAGE, any picture, write what the neurons of a layer make of it as one grid of feature maps: into
    IMAGE-LAYER.png here, or the file that --png, --svg or --html names.

    \b
      neuronwise edges latest --png kernels.png
      neuronwise edges latest camera.png
      neuronwise edges latest camera.png --layer conv2 --png maps.png
      neuronwise edges latest --layer conv2 --png patterns.png
      neuronwise edges latest --neuron "conv2[3]"
      neuronwise edges latest --over-time --png learned.png
    """
    from neuronwise.running.edges import (
        edges_of_run,
        edges_of_run_over_time,
        feature_maps_of_run,
        is_first_layer,
        patterns_of_run,
    )

    _refuse_together(image, layer, neuron, over_time, step)
    told: Explanation
    if image is not None:
        maps = feature_maps_of_run(run, image, layer, step=step)
        if not as_json and png is None and svg is None and html is None:
            png = Path(f"{image.stem}-{maps.layer}.png")
        told = maps
    elif over_time:
        told = edges_of_run_over_time(run, layer, data=data)
    elif neuron is not None or (layer is not None and not is_first_layer(run, layer)):
        with progress("neurons") as bar:
            told = patterns_of_run(run, str(neuron or layer), step=step, data=data, progress=bar)
    else:
        told = edges_of_run(run, layer, step=step)
    tell(told, as_json, png=png, svg=svg, html=html)


def _refuse_together(
    image: Path | None, layer: str | None, neuron: str | None, over_time: bool, step: int | None
) -> None:
    from neuronwise.errors import UsageError

    given = {"IMAGE": image, "--layer": layer, "--neuron": neuron, "--over-time": over_time or None, "--step": step}
    for one, other in (
        ("IMAGE", "--neuron"), ("IMAGE", "--over-time"), ("--neuron", "--layer"), ("--neuron", "--over-time"),
        ("--over-time", "--step"),
    ):  # fmt: skip
        if given[one] is not None and given[other] is not None:
            raise UsageError(f"{one} and {other} ask for different things: leave one of them out", where=other)


COMMANDS = (edges,)
