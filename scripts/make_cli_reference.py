"""Write docs/reference/cli.md from the `--help` of every command.

``python scripts/make_cli_reference.py`` writes the page; with ``--check`` it fails if the page is stale.
"""

from __future__ import annotations

import sys

import click
from pages import REFERENCE, write_or_check

from neuronwise.cli.main import build_cli

PAGE = REFERENCE / "cli.md"
WIDTH = 100

HEAD = """\
# Command line

<!-- Made by scripts/make_cli_reference.py from --help. Do not edit: change the help text and run the script. -->

What every command prints for `--help`. `RUN` is a run id, the beginning of one (at least 4 characters), a run name,
`latest`, or a folder. Exit codes and where errors are told: [errors](errors.md).
"""


def help_of(command: click.Command, name: str, parent: click.Context | None = None) -> str:
    """Return the help text of a command, wrapped alike on every terminal."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    with click.Context(command, info_name=name, parent=parent, **settings) as context:
        return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def render() -> str:
    """Return the text of the page."""
    cli = build_cli()
    parts = [HEAD, f"## neuronwise\n\n```text\n{help_of(cli, 'neuronwise')}\n```\n"]
    with click.Context(cli, info_name="neuronwise", **cli.context_settings) as parent:
        for name in cli.list_commands(parent):
            command = cli.commands[name]
            parts.append(f"## neuronwise {name}\n\n```text\n{help_of(command, name, parent)}\n```\n")
    return "\n".join(parts)


def main() -> int:
    """Write or check the page."""
    return write_or_check({PAGE: render()}, "make_cli_reference")


if __name__ == "__main__":
    sys.exit(main())
