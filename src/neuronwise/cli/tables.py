"""What the commands that look into a recording share: tables, lines of blocks, numbers, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from neuronwise.recording import Recording


def table(*headings: str, left: Sequence[int] = (0,)) -> Table:
    """Return an empty table without lines; columns at the places `left` stand to the left, others to the right."""
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place in left else "right", overflow="fold")
    return table


def courses_table(first: str, courses: Mapping[str, Sequence[float]]) -> Table:
    """Return a row for each course: its first and last value, a line of blocks between them, and its range."""
    import numpy as np

    from neuronwise.running import sparkline
    from neuronwise.running.printable import escape

    made = table(first, "first", "", "last", "from", "to")
    for name, values in courses.items():
        finite = [value for value in values if np.isfinite(value)] or [float("nan")]
        numbers = [f"{value:.3g}" for value in (values[0], values[-1], min(finite), max(finite))]
        made.add_row(f"  {escape(name)}", numbers[0], sparkline(values), *numbers[1:])
    return made


def number(value: float | None) -> str:
    """Return a number in four digits."""
    return "none" if value is None else f"{value:.4g}"


def finite(value: Any) -> Any:
    """Return JSON values with NaN and infinity, which JSON lacks, as text."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def tell_problems(recording: Recording) -> None:
    """Print on stderr what of a recording is missing or damaged; a training that still runs is not complete yet."""
    from neuronwise.running.printable import printable
    from neuronwise.running.stored import cached_runs

    usual = "was not sealed"
    told = [one for one in recording.problems if recording.status != "unfinished" or usual not in one]
    for problem in told:
        click.echo(printable(f"note: {problem}"), err=True)
    if told and recording.stored.folder.is_relative_to(cached_runs()):
        click.echo("note: this is a copy of what MLflow has; fetch it anew: neuronwise clean --cache", err=True)
