"""The command `neuronwise`: its groups, how it starts and how it fails.

Exit codes: 0 done, 1 failed, 2 the user's input cannot be used (as click has it), 130 ended by Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import click

from neuronwise import __version__
from neuronwise.errors import NeuronwiseError, did_you_mean


class Commands(click.Group):
    """A group that suggests the nearest command for a misspelt one and lists commands in the order of work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added, which is that of work."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or fail with the nearest name."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            hint = did_you_mean(args[0], self.commands)
            ctx.fail(f"there is no command {args[0]!r}.{hint or ' neuronwise --help lists them.'}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with:  neuronwise make-houses houses.csv  and  neuronwise train houses.csv --target price",
)
@click.version_option(__version__, prog_name="neuronwise")
def cli() -> None:
    """See inside a neural network: train it, and ask what each neuron detects.

    RUN is a run id, the beginning of one, a run name, 'latest', or a folder. Every command explains its
    options: neuronwise train --help.
    """


def main() -> None:
    """Run the command line and exit with its code; a user's mistake gives a message, not a traceback."""
    from neuronwise.cli import explain, inspect, train

    for module in (train, inspect, explain):
        for command in module.COMMANDS:
            cli.add_command(command)
    # A polite end (a job scheduler, `kill`) is taken as Ctrl-C is: what was learned is kept.
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(lambda: cli.main(standalone_mode=False, prog_name="neuronwise")))


def run(command: Callable[[], Any]) -> int:
    """Run a command and return its exit code, printing what went wrong to stderr."""
    try:
        result = command()
    except click.exceptions.Abort:
        click.echo("Aborted.", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except NeuronwiseError as error:
        click.echo(format_error(error), err=True)
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("Ended by Ctrl-C.", err=True)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has closed; Python would complain again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"Error: {place}{error.strerror or error}", err=True)
        return 1
    return result if isinstance(result, int) else 0


def format_error(error: NeuronwiseError) -> str:
    """Return an error as lines for the terminal: what is wrong and where, then how to mend it."""
    place = f"{error.where}: " if error.where else ""
    lines = [f"Error: {place}{error.message}"]
    if error.hint:
        lines.append(f"Try:   {error.hint}")
    return printable("\n".join(lines))


def printable(text: str) -> str:
    """Return text with control characters (but line ends) shown as escapes, so that data cannot steer a terminal."""
    return "".join(
        c if c == "\n" or (c.isprintable() and not "\u202a" <= c <= "\u202e") else c.encode("unicode_escape").decode()
        for c in text
    )


def _terminate(number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
