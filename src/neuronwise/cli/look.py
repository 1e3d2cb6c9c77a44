"""Commands that read a recording: history, export."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import click

from neuronwise.cli.tables import courses_table, tell_problems
from neuronwise.cli.train import console


@click.command(short_help="Show how a weight, bias or statistic went while it learned.")
@click.argument("run")
@click.argument("name")
@click.option("--csv", "as_csv", is_flag=True, help="Print every stored step as CSV.")
def history(run: str, name: str, as_csv: bool) -> None:
    """Show how something of RUN went: neuronwise history latest "hidden1[7].bias".

    NAME is a neuron's bias, all of its weights, one of them by its input, or a statistic of it (grad_norm, mean,
    inactive …, see docs/reference/quantities.md); a norm of a layer; or of the whole training loss, learning_rate,
    val_loss …

    \b
      neuronwise history latest "hidden1[7].bias"
      neuronwise history latest "hidden1[7].weights[sqft_living]" --csv
      neuronwise history latest "hidden1[7].weights"
      neuronwise history latest "hidden1[7].grad_norm"
      neuronwise history latest hidden1.grad_norm
      neuronwise history latest loss
    """
    import numpy as np

    from neuronwise.running import open_recording
    from neuronwise.running.printable import escape

    recording = open_recording(run)
    course = recording.history(name)
    names = [name] if course.values.ndim == 1 else recording.input_names(name)
    columns = course.values.reshape(len(course.steps), len(names))
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["step", *map(_inert, names)])
        writer.writerows(
            [step, *map(repr, row)] for step, row in zip(course.steps.tolist(), columns.tolist(), strict=True)
        )
        tell_problems(recording)
        return
    out = console()
    if not len(course.steps):
        out.print(f"[bold]{escape(name)}[/]  nothing is stored of it", highlight=False)
        tell_problems(recording)
        return
    order = np.argsort(-np.abs(columns[-1]), kind="stable")[:20].tolist()
    steps = f"steps {course.steps[0]:,} to {course.steps[-1]:,}, {len(course.steps):,} of them stored"
    out.print(f"[bold]{escape(name)}[/]  {steps}", highlight=False)
    out.print(courses_table("  of", {names[place]: columns[:, place].tolist() for place in order}))
    if len(names) > len(order):
        out.print(
            f"  the {len(order)} largest of {len(names):,} weights; --csv prints all", style="dim", highlight=False
        )
    tell_problems(recording)


@click.command(short_help="Write a run as one interactive page, or as Parquet files for pandas, polars and DuckDB.")
@click.argument("run")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Page to write: the inspector.",
)
@click.option("--redact", is_flag=True, help="Leave rows of the data out of the page.")
@click.option(
    "--parquet", "folder", type=click.Path(file_okay=False, path_type=Path), help="Folder to write Parquet files into."
)
@click.option("--weights", is_flag=True, help="Also all weights of all stored steps, which are most of the bytes.")
def export(run: str, page: Path | None, redact: bool, folder: Path | None, weights: bool) -> None:
    """Write RUN as one interactive page, or its recording as Parquet files.

    \b
      neuronwise export latest --html run.html
      neuronwise export latest --parquet out

    The page shows the network think, neuron by neuron, at every moment of its training. It is one file of at most 10
    MB that loads nothing: open it, e-mail it, print it. What had to be left out is said.

    The Parquet files are steps.parquet (loss of every step), epochs.parquet, neurons.parquet (statistics of every
    neuron), layers.parquet (norms and histograms), of a watched training metrics.parquet, and with --weights
    weights.parquet.
    """
    from neuronwise.errors import UsageError

    if page is None and folder is None:
        raise UsageError("say what to write: --html FILE, or --parquet FOLDER", where="neuronwise export")
    if weights and folder is None:
        raise UsageError("--weights goes with --parquet", where="--weights")
    if redact and page is None:
        raise UsageError("--redact goes with --html", where="--redact")
    if page is not None:
        _export_page(run, page, redact)
    if folder is not None:
        _export_parquet(run, folder, weights)


def _export_page(run: str, page: Path, redact: bool) -> None:
    from neuronwise.errors import NeuronwiseError, UsageError
    from neuronwise.files import format_bytes
    from neuronwise.running.inspector import write_inspector

    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"the name of the file must end in .html, got {str(page)!r:.200}", where="--html")
    try:
        said = write_inspector(run, page, redact=redact)
    except OSError as error:
        raise NeuronwiseError(f"cannot write {str(page)!r}: {error.strerror or error}", where="--html") from None
    click.echo(f"{page}  {format_bytes(page.stat().st_size)}")
    for sentence in said:
        click.echo(sentence, err=True)


def _export_parquet(run: str, folder: Path, weights: bool) -> None:
    from neuronwise.errors import NeuronwiseError
    from neuronwise.files import format_bytes
    from neuronwise.running import open_recording

    recording = open_recording(run)
    try:
        written = recording.to_parquet(folder, weights=weights)
    except OSError as error:
        raise NeuronwiseError(f"cannot write {str(folder)!r}: {error.strerror or error}", where="--parquet") from None
    for path in written:
        click.echo(f"{path}  {format_bytes(path.stat().st_size)}")
    tell_problems(recording)


def _inert(name: str) -> str:
    """Return a heading of a CSV file that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name


COMMANDS = (history, export)
