"""`explain` and `what-if`: why an answer came out, and what it would be if something were otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from neuronwise.cli.explanations import output_options, run_options, tell

if TYPE_CHECKING:
    from neuronwise.explaining import Explanation

_Command = TypeVar("_Command", bound=Callable[..., Any])


def input_options(command: _Command) -> _Command:
    """Add --row, --input, --step, --data and --currency to a command."""
    for option in (
        click.option("--currency", "unit", metavar="SIGN", help="Sign of money before amounts, such as $."),
        run_options,
        click.option("--input", "source", metavar="FILE", help="A table or picture: its first row, or --row of it."),
        click.option("--row", type=click.IntRange(0), metavar="N", help="This row of the data, counted from 0."),
    ):
        command = option(command)
    return command


@click.command(short_help="Show why an answer came out: what each column and neuron adds.")
@click.argument("run")
@input_options
@click.option("--output", metavar="CLASS", help="The class that is explained. [default: the answer]")
@click.option("--against", metavar="CLASS", help="Why the one and not this: the difference of both is explained.")
@click.option("--layer", "layers", multiple=True, metavar="LAYER", help="Only this hidden layer; again for more.")
@click.option(
    "--baseline", type=click.Choice(["average", "zeros"]),
    help="What contributions are counted from. [default: the average training row; of pictures black]",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["auto", "map", "gradients"]), default="auto", show_default=True,
    help="The local linear map (exact), or integrated gradients; auto: the map where the network has one.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(1, 1_000_000), metavar="N", help="Steps of integrated gradients.")
@output_options
def explain(
    run: str,
    row: int | None,
    source: str | None,
    step: int | None,
    data: str | None,
    unit: str | None,
    output: str | None,
    against: str | None,
    layers: tuple[str, ...],
    baseline: Any,
    method: str,
    steps: int | None,
    as_json: bool,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
) -> None:
    """Show why RUN answers so for one input: what each column, pixel and hidden neuron adds to the answer.

    The contributions add up to the answer, and what they miss is printed. A price whose logarithm was learned is told
    in factors and amounts.

    \b
      neuronwise explain latest --row 17
      neuronwise explain latest --row 17 --currency "$" --png why.png
      neuronwise explain latest --input new.csv --layer hidden1
      neuronwise explain digits --row 17 --output 7 --against 1
    """
    from neuronwise.running.why import explain as explained

    _refuse_no_input(run, row, source, "explain")
    ways: dict[str, Any] = {"map": "local linear map", "gradients": "integrated gradients"}
    told = explained(
        run, source, output, row=row, against=against, layers=layers or None, baseline=baseline,
        method=ways.get(method, "auto"), steps=steps, step=step, data=data, unit=unit,
    )  # fmt: skip
    tell(told, as_json, png=png, svg=svg, html=html)


@click.command("what-if", short_help="Show what the answer would be if something were otherwise.")
@click.argument("run")
@input_options
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A column, weight or bias set; again …")
@click.option("--silence", multiple=True, metavar="NEURON", help="A neuron held at 0, such as hidden1[3]; again …")
@click.option("--flip", metavar="COLUMN", help="Find the smallest change of this column that changes the class.")
@click.option("--to", metavar="CLASS", help="With --flip: the class it has to become. [default: any other]")
@click.option("--move", metavar="COLUMN", help="Find the smallest change of this column that moves the answer --by.")
@click.option("--by", type=float, metavar="AMOUNT", help="With --move: by how much, up or (negative) down.")
@output_options
def what_if(
    run: str,
    row: int | None,
    source: str | None,
    step: int | None,
    data: str | None,
    unit: str | None,
    settings: tuple[str, ...],
    silence: tuple[str, ...],
    flip: str | None,
    to: str | None,
    move: str | None,
    by: float | None,
    as_json: bool,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
) -> None:
    """Show what RUN would answer for one input if a column, a weight or a bias were another, or neurons silent.

    Every activation level that moves is counted, those that move most are shown. With --flip or --move: the smallest
    change of one column that brings about another answer, searched over all that training has seen.

    \b
      neuronwise what-if latest --row 17 --set zipcode=98039 --set sqft_living=3000
      neuronwise what-if latest --row 17 --silence "hidden1[3]" --set "hidden2[0].bias=0.5"
      neuronwise what-if latest --row 17 --set "hidden1[3].weights[sqft_living]=0"
      neuronwise what-if latest --row 17 --move sqft_living --by 50000
      neuronwise what-if digits --row 17 --flip "pixel (4, 5)"
    """
    from neuronwise.running.why import smallest_change_of_run, what_if_run

    _refuse_no_input(run, row, source, "what-if")
    column = _searched(settings, silence, flip, to, move, by)
    told: Explanation
    if column is not None:
        told = smallest_change_of_run(run, column, source, row=row, by=by, to=to, step=step, data=data, unit=unit)
    else:
        inputs, parameters = _settings(settings)
        told = what_if_run(
            run, source, row=row, inputs=inputs, parameters=parameters, silence=silence, step=step, data=data, unit=unit
        )
    tell(told, as_json, png=png, svg=svg, html=html)


def _refuse_no_input(run: str, row: int | None, source: str | None, command: str) -> None:
    from neuronwise.errors import UsageError

    if row is None and source is None:
        raise UsageError(
            "which input? --row takes a row of the data, --input a file",
            where="--row",
            hint=f"neuronwise {command} {run} --row 17",
        )


def _searched(
    settings: Sequence[str],
    silence: Sequence[str],
    flip: str | None,
    to: str | None,
    move: str | None,
    by: float | None,
) -> str | None:
    """Return the column that is searched, None where something is set; refuse what does not go together."""
    from neuronwise.errors import UsageError

    if flip is not None and move is not None:
        raise UsageError("--flip is for classes and --move for numbers: leave one of them out", where="--flip")
    column = flip if flip is not None else move
    if column is not None and (settings or silence):
        raise UsageError(
            "--flip and --move search one column of the input as it is",
            where="--set",
            hint="leave --set and --silence out",
        )
    if (move is None) != (by is None):
        raise UsageError("--move and --by go together", where="--by", hint="--move sqft_living --by 50000")
    if to is not None and flip is None:
        raise UsageError("--to says which class --flip looks for", where="--to")
    if column is None and not settings and not silence:
        raise UsageError(
            "what should be otherwise? Nothing is set, silenced or searched", where="--set", hint="--set zipcode=98039"
        )
    return column


def _settings(settings: Sequence[str]) -> tuple[dict[str, object], dict[str, float]]:
    """Return what is set, columns and parameters apart: those are named like ``hidden1[3].bias``."""
    import re

    from neuronwise.errors import UsageError

    inputs: dict[str, object] = {}
    parameters: dict[str, float] = {}
    for setting in settings:
        # A weight's input may be a category, hidden1[3].weights[zipcode=98039]=0; its value is behind the bracket.
        match = re.fullmatch(r"(.+\]\.(?:bias|weights\[.+\]))=(.*)", setting)
        name, value = (match[1], match[2]) if match else ("", "")
        if match is None:
            name, sign, value = setting.partition("=")
            if not sign or not name:
                raise UsageError(
                    f"expected NAME=VALUE, got {setting!r:.100}", where="--set", hint="--set zipcode=98039"
                )
        if name in inputs or name in parameters:
            raise UsageError(f"{name!r:.100} is set twice", where="--set")
        if match is None:
            inputs[name] = value
            continue
        try:
            parameters[name] = float(value)
        except ValueError:
            raise UsageError(f"{value!r:.100} is not a number", where=f"--set {name}") from None
    return inputs, parameters


COMMANDS = (explain, what_if)
