"""Write docs/reference/cli.md from the `--help` of every command.

``python scripts/make_cli_reference.py`` writes the page; with ``--check`` it fails if the page is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from neuronwise.cli.main import build_cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"
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
    text = render()
    if "--check" in sys.argv[1:]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE} is stale: python scripts/make_cli_reference.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
