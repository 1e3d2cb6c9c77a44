"""Commands that look at what there is: runs, show, encode."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from neuronwise.cli.neuron import show_neuron
from neuronwise.cli.train import _columns, console
from neuronwise.cli.watched import print_diagnosis, show_watched

if TYPE_CHECKING:
    from neuronwise.running import Run


@click.command()
@click.option("--experiment", metavar="NAME", help="Only those of this MLflow experiment.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def runs(experiment: str | None, limit: int, as_json: bool) -> None:
    """List the runs, the newest first, with their size on disk."""
    from rich.table import Table

    from neuronwise.files import format_bytes
    from neuronwise.running import METRICS, list_runs, metric
    from neuronwise.running.printable import escape, printable

    listed, problem = list_runs(experiment, limit)
    if problem:
        click.echo(printable(f"note: {problem}; only the runs on this machine are listed"), err=True)
    if as_json:
        click.echo(json.dumps([_as_dict(one) for one in listed], indent=1))
        return
    out = console()
    if not listed:
        out.print("There are no runs yet. Make one: neuronwise train digits", highlight=False)
        return
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("run", "id", "started", "status", "data", "parameters", "result", "size"):
        table.add_column(heading, justify="right" if heading in ("parameters", "size") else "left", overflow="fold")
    for one in listed:
        result = f"{METRICS.get(one.result[0], escape(one.result[0]))} {metric(*one.result)}" if one.result else ""
        table.add_row(
            escape(one.name),
            one.id[:8],
            one.started.strftime("%Y-%m-%d %H:%M") if one.started else "",
            escape(one.status.replace("_", " ")),
            escape(one.data),
            f"{one.parameters:,}" if one.parameters else "",
            result,
            format_bytes(one.size_bytes) if one.size_bytes else "not here",
        )
    out.print(table)
    total = sum(one.size_bytes for one in listed)
    count = f"{len(listed)} run{'s' if len(listed) != 1 else ''}"
    out.print(f"{count}, {format_bytes(total)} on this machine", style="dim", highlight=False)


@click.command(short_help="Show a run: its network, its result, its course; or one neuron.")
@click.argument("run")
@click.option("--neuron", metavar="NAME", help='Show one neuron instead, such as "hidden1[7]".')
@click.option(
    "--step", type=click.IntRange(0), metavar="N", help="The neuron after this step. [default: as it was delivered]"
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(run: str, neuron: str | None, step: int | None, as_json: bool) -> None:
    """Show a run: its network, its result, and how weights, biases and gradients of each layer moved.

    Of a watched run: its layers with their last norms and dead neurons, and what was noticed.

    With --neuron: its weights at a step, what it answered to the batch, and how both went over the training.
    """
    from neuronwise.errors import UsageError
    from neuronwise.running import Run, find_any
    from neuronwise.running.findings import kept_diagnosis

    if neuron is not None:
        show_neuron(run, neuron, step, as_json)
        return
    if step is not None:
        raise UsageError("a step is of one neuron", where="argument step", hint='--neuron "hidden1[7]" --step 43')
    found = find_any(run)
    if not isinstance(found, Run):
        show_watched(found, as_json)
        return
    if as_json:
        content = found.to_dict() | {"folder": str(found.folder)}
        if (kept := kept_diagnosis(found.folder)) is not None:
            content["findings"] = kept["findings"]
        click.echo(json.dumps(content, indent=1))
        return
    _print_run(found)


def _print_run(run: Run) -> None:
    from neuronwise.files import format_bytes
    from neuronwise.running import Score, courses_table, duration, scores_table, summary_table
    from neuronwise.running.printable import escape

    out = console()
    out.print(
        f"[bold]{escape(run.name)}[/] ({escape(run.id)}), {escape(run.status.replace('_', ' '))}", highlight=False
    )
    rows = f"{run.data['train_rows']:,} rows learned from, {run.data['test_rows']:,} held out"
    out.print(
        f"  {escape(str(run.data['name']))}: {escape(str(run.data['target']))} ({escape(run.data['task'])}), {rows}",
        highlight=False,
    )
    best = f", weights of epoch {run.best_epoch} (step {run.best_step:,}) kept" if run.best_epoch else ""
    out.print(f"  {run.steps:,} steps in {duration(run.duration_s)}{best}", highlight=False)
    out.print(f"  {escape(str(run.folder))}, {format_bytes(run.size_bytes)}", highlight=False, soft_wrap=True)
    out.print()
    out.print(summary_table(run.network.summary()))
    out.print()
    if run.metrics:
        out.print(f"[bold]Result[/] on {run.data['test_rows']:,} held-out rows", highlight=False)
        out.print(scores_table([Score("network", run.metrics), *run.baselines], str(run.data["target"])))
        out.print()
    print_diagnosis(run.folder)
    out.print("[bold]Over time[/]  from the first epoch to the last", highlight=False)
    out.print(courses_table(run))


@click.command(short_help="Show a row of DATA as the network sees it.")
@click.argument("data")
@click.option(
    "--row", type=click.IntRange(0), default=0, show_default=True, help="Row, counted from 0 below the header."
)
@click.option("--target", metavar="COLUMN", help="Column to predict, which helps to tell numbers from names.")
@click.option("--category", multiple=True, metavar="COLUMN", help="Take as names, though they look like numbers.")
@click.option("--numeric", multiple=True, metavar="COLUMN", help="Take as numbers.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave out.")
@click.option("--run", "run", metavar="RUN", help="Encode as this run does. [default: as a new training would]")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def encode(
    data: str,
    row: int,
    target: str | None,
    category: tuple[str, ...],
    numeric: tuple[str, ...],
    drop: tuple[str, ...],
    run: str | None,
    as_json: bool,
) -> None:
    """Show a row of DATA as the network sees it: each raw cell beside the input neurons it became."""
    from rich.table import Table

    from neuronwise.running import encode_row
    from neuronwise.running.printable import escape, printable

    encoded = encode_row(
        data, row, target=target, category=_columns(category), numeric=_columns(numeric), drop=_columns(drop), run=run
    )
    for message in encoded.notes:
        click.echo(printable(f"note: {message}"), err=True)
    if as_json:
        click.echo(json.dumps(encoded.to_dict(), indent=1))
        return
    out = console()
    out.print(f"Row {row} of {escape(encoded.source)}: {encoded.n_inputs:,} input neurons", highlight=False)
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("column", "kind", "cell", "input neuron", "value"):
        table.add_column(heading, justify="right" if heading == "value" else "left", overflow="fold")
    for cell in encoded.cells:
        for index, (name, value) in enumerate(cell.shown or [("", None)]):
            first = index == 0
            table.add_row(
                escape(cell.column) if first else "",
                cell.kind if first else "",
                escape(cell.raw) if first else "",
                escape(name) if name else f"[dim]{escape(cell.reason)}[/]",
                "" if value is None else f"{value:.4f}",
            )
        if cell.zeros:
            table.add_row("", "", "", f"[dim]and {cell.zeros:,} more of this column[/]", "0.0000")
    if encoded.target is not None:
        column, raw, learned = encoded.target
        table.add_row(f"[bold]{escape(column)}[/]", "target", escape(raw), "[dim]what is learned[/]", learned)
    out.print(table)


def _as_dict(one: Any) -> dict[str, Any]:
    from dataclasses import asdict

    values = asdict(one)
    values["started"] = one.started.isoformat() if one.started else None
    return values


COMMANDS = (runs, show, encode)
