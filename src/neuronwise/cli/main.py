"""The command `neuronwise`: its groups, how it starts and how it fails.

Exit codes: 0 done, 1 failed, 2 the user's input cannot be used (as click has it), 130 ended by Ctrl-C.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
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
    epilog="\b\nStart with:\n  neuronwise make-houses houses.csv\n  neuronwise train houses.csv --target price",
)
@click.version_option(__version__, prog_name="neuronwise")
def cli() -> None:
    """See inside a neural network: train it, and ask what each neuron detects.

    RUN is a run id, the beginning of one, a run name, 'latest', or a folder. Every command explains its
    options: neuronwise train --help.
    """


def build_cli() -> click.Group:
    """Return the command with all of its sub-commands."""
    from neuronwise.cli import (
        diagnose,
        edges,
        explain,
        important,
        inspect,
        keep,
        layers,
        look,
        neurons,
        step,
        train,
        ui,
        unlearned,
        why,
    )

    asked = (inspect, look, step, why, neurons, important, layers, unlearned, diagnose, edges)
    for module in (train, ui, *asked, keep, explain):
        for command in module.COMMANDS:
            cli.add_command(command)
    return cli


def main() -> None:
    """Run the command line and exit with its code; a user's mistake gives a message, not a traceback."""
    command = build_cli()
    # A polite end (a job scheduler, `kill`) is taken as Ctrl-C is: what was learned is kept.
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _show_warning
    sys.exit(run(lambda: command.main(standalone_mode=False, prog_name="neuronwise")))


def run(command: Callable[[], Any]) -> int:
    """Run a command and return its exit code, printing what went wrong to stderr."""
    try:
        result = command()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except NeuronwiseError as error:
        click.echo(format_error(error), err=True)
        return error.exit_code
    except MemoryError as error:
        click.echo(f"Error: there is not enough memory: {error}", err=True)
        return 1
    except (KeyboardInterrupt, click.Abort):  # click makes the second of the first
        click.echo("Ended at once by Ctrl-C or SIGTERM.", err=True)
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
    from neuronwise.running.printable import printable

    place = f"{_as_typed(error.where)}: " if error.where else ""
    lines = [f"Error: {place}{error.message}"]
    if error.hint:
        lines.append(f"Hint:  {error.hint}")
    run = getattr(error, "run", None)  # a training that diverged is kept all the same
    if run is not None:
        lines.append(f"Kept:  neuronwise show {run.id[:8]}")
    return printable("\n".join(lines))


def _as_typed(where: str) -> str:
    """Return a place in the words of the command line: the argument ``learning_rate`` is ``--learning-rate`` here."""
    match = re.fullmatch(r"argument ([a-z_]+)", where)
    if match is None or match[1] in ("data", "activation"):
        return where
    return {"from_run": "--from"}.get(match[1], f"--{match[1].replace('_', '-')}")


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Print a warning as a sentence; where in our code it was raised helps nobody who types commands."""
    from neuronwise.running.printable import printable

    click.echo(f"warning: {printable(str(message))}", err=True)


def _terminate(number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # a script's background job ignores Ctrl-C; it must still be ended by `kill`
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)
