"""How the commands that explain print and write what they were given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from neuronwise.cli.tables import table
from neuronwise.cli.train import console

if TYPE_CHECKING:
    from neuronwise.explaining import Explanation

_Command = TypeVar("_Command", bound=Callable[..., Any])
_ENDINGS = ("png", "svg", "html")


def run_options(command: _Command) -> _Command:
    """Add --step and --data to a command that explains a run, which takes them as `step` and `data`."""
    command = click.option("--data", metavar="DATA", help="What it learned from, if the run cannot find it.")(command)
    step = click.IntRange(0)
    return click.option("--step", type=step, metavar="N", help="The network after this step. [default: as delivered]")(
        command
    )


def output_options(command: _Command) -> _Command:
    """Add --json, --png, --svg and --html to a command, which takes them as `as_json`, `png`, `svg`, `html`."""
    for ending, words in zip(_ENDINGS, ("as a picture", "as a picture in lines", "as a page"), strict=True):
        file = click.Path(dir_okay=False, path_type=Path)
        command = click.option(
            f"--{ending}", type=file, metavar="FILE", callback=_check_ending, help=f"Also write it {words}."
        )(command)
    return click.option("--json", "as_json", is_flag=True, help="Print as JSON.")(command)


def _check_ending(_: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a name of another kind of file before anything is computed."""
    from neuronwise.errors import UsageError

    if path is not None and path.suffix.lower() != f".{option.name}":
        raise UsageError(
            f"the name of the file must end in .{option.name}, got {str(path)!r:.200}", where=f"--{option.name}"
        )
    return path


def tell(explanation: Explanation, as_json: bool, **files: Path | None) -> None:
    """Write an explanation to each file that was asked for, and print it.

    Raises:
        NeuronwiseError: A file cannot be written.
    """
    from neuronwise.errors import NeuronwiseError

    written = [path for path in files.values() if path is not None]
    for path in written:  # first: who reads what is printed may not read all of it
        try:
            explanation.save(path)
        except OSError as error:
            where = f"--{path.suffix[1:].lower()}"
            raise NeuronwiseError(f"cannot write {str(path)!r}: {error.strerror or error}", where=where) from None
    if as_json:
        click.echo(json.dumps(explanation.to_dict(), indent=1, ensure_ascii=False))
    else:
        _print(explanation)
    for path in written:
        click.echo(f"written: {path}", err=True)


def _print(explanation: Explanation) -> None:
    from neuronwise.explaining import Table
    from neuronwise.explaining.result import TYPED
    from neuronwise.running.printable import escape

    out = console()
    for place, block in enumerate(explanation.blocks()):
        if isinstance(block, Table):
            shown = table(
                *(f"{'  ' * (not i)}{escape(words)}" for i, words in enumerate(block.headings)), left=block.left
            )
            for row in block.rows:
                shown.add_row(*(f"{'  ' * (not i)}{escape(words)}" for i, words in enumerate(row)))
            if block.title:
                out.print(f"\n[bold]{escape(block.title)}[/]", highlight=False)
            out.print(shown)
        else:
            # A line to type is copied whole, however narrow the terminal.
            words = f"[bold]{escape(block)}[/]" if place == 0 else escape(block)
            out.print(words, highlight=False, soft_wrap=block.startswith(TYPED))
