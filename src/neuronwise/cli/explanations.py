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


def output_options(command: _Command) -> _Command:
    """Add --json, --png, --svg and --html to a command, which takes them as `as_json`, `png`, `svg`, `html`."""
    for ending, words in zip(_ENDINGS, ("as a picture", "as a picture in lines", "as a page"), strict=True):
        file = click.Path(dir_okay=False, path_type=Path)
        command = click.option(f"--{ending}", type=file, metavar="FILE", help=f"Also write it {words}.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print as JSON.")(command)


def tell(explanation: Explanation, as_json: bool, **files: Path | None) -> None:
    """Print an explanation, and write it to each file that was asked for.

    Raises:
        UsageError: A file's ending is another than its option says.
        NeuronwiseError: A file cannot be written.
    """
    from neuronwise.errors import NeuronwiseError, UsageError
    from neuronwise.explaining import Table
    from neuronwise.running.printable import escape

    for ending, path in files.items():
        if path is not None and path.suffix.lower() != f".{ending}":
            raise UsageError(f"the name of the file must end in .{ending}, got {str(path)!r:.200}", where=f"--{ending}")
    if as_json:
        click.echo(json.dumps(explanation.to_dict(), indent=1, ensure_ascii=False))
    else:
        out = console()
        for place, block in enumerate(explanation.blocks()):
            if isinstance(block, Table):
                shown = table(*(f"{'  ' * (not i)}{escape(words)}" for i, words in enumerate(block.headings)))
                for row in block.rows:
                    shown.add_row(*(f"{'  ' * (not i)}{escape(words)}" for i, words in enumerate(row)))
                if block.title:
                    out.print(f"\n[bold]{escape(block.title)}[/]", highlight=False)
                out.print(shown)
            else:
                out.print(f"[bold]{escape(block)}[/]" if place == 0 else escape(block), highlight=False)
    for ending, path in files.items():
        if path is not None:
            try:
                explanation.save(path)
            except OSError as error:
                raise NeuronwiseError(
                    f"cannot write {str(path)!r}: {error.strerror or error}", where=f"--{ending}"
                ) from None
            click.echo(f"written: {path}", err=True)
