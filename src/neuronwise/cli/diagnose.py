"""`diagnose`: why a training did not go well."""

from __future__ import annotations

from pathlib import Path

import click

from neuronwise.cli.explanations import output_options, tell

CRITICAL_EXIT = 3


@click.command(short_help="Say why a training did not go well, with evidence and what to try.")
@click.argument("run")
@click.option("--data", metavar="DATA", help="What it learned from, if the run cannot find it.")
@output_options
def diagnose(run: str, data: str | None, as_json: bool, png: Path | None, svg: Path | None, html: Path | None) -> int:
    """Say why the training RUN did not go well: a root cause, what speaks for it, and what to try.

    Where nothing is wrong, it says what was looked at. The exit code is 3 when a critical finding stands, of a
    confidence of at least 50 %; else 0.

    \b
      neuronwise diagnose latest
      neuronwise diagnose latest --json
      neuronwise diagnose latest --html diagnosis.html
    """
    from neuronwise.running.diagnosed import diagnose_run

    found = diagnose_run(run, data)
    tell(found, as_json, png=png, svg=svg, html=html)
    return CRITICAL_EXIT if found.is_critical else 0


COMMANDS = (diagnose,)
