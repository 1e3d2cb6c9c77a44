"""Commands that make things: train, predict, make-houses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from neuronwise.running import Run
    from neuronwise.running.try_layers import Trial

_ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "softplus")
_OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")
_SCHEDULES = ("constant", "step", "cosine", "plateau")
_INTERRUPTED = 130  # as a shell has it; what was learned is kept, but a script must not take it for done
_TASKS = ("regression", "binary", "multiclass", "classification")


@click.command()
@click.argument("data", required=False)
@click.option("--target", metavar="COLUMN", help="Column to predict; needed for tables.")
@click.option(
    "--layers", default="64,32", show_default=True, metavar="N,N…", help="Neurons of each hidden layer, or none."
)
@click.option("--network", metavar="FILE.json", help="Train the network of this file, of any layers, instead.")
@click.option("--try-layers", metavar="LIST", help='Train several sizes and compare: "none; 16; 16,16; 64,32".')
@click.option("--hidden", type=click.Choice(_ACTIVATIONS), default="relu", show_default=True, help="Hidden activation.")
@click.option(
    "--optimizer", type=click.Choice(_OPTIMIZERS), default="adam", show_default=True, help="How weights move."
)
@click.option("--learning-rate", type=float, metavar="RATE", help="Size of the steps. [default: the optimizer's]")
@click.option(
    "--schedule", type=click.Choice(_SCHEDULES), default="constant", show_default=True, help="How that rate changes."
)
@click.option("--warm-up", type=int, metavar="STEPS", help="Steps over which the rate rises first. [default: none]")
@click.option(
    "--weight-decay", type=float, metavar="RATE", help="Pull of weights towards 0. [default: 0.001 for tables]"
)
@click.option("--batch-size", type=int, metavar="ROWS", help="Rows per step. [default: 32, or 64 from 5,000 rows]")
@click.option("--epochs", type=int, metavar="N", help="Passes over the data, at most. [default: 20 to 200 by the rows]")
@click.option(
    "--patience", type=int, metavar="N", help="Stop after N epochs no better. [default: a fifth of the epochs]"
)
@click.option("--clip-norm", type=float, metavar="X", help="Largest norm of the gradients. [default: no limit]")
@click.option(
    "--class-weights", type=click.Choice(["balanced"]), help="Make rare classes count as much as common ones."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, splits and order.")
@click.option("--task", type=click.Choice(_TASKS), help="What kind of target it is. [default: found]")
@click.option("--log/--no-log", default=None, help="Learn the logarithm of the target. [default: found]")
@click.option("--category", multiple=True, metavar="COLUMN", help="Take as names, though they look like numbers.")
@click.option("--numeric", multiple=True, metavar="COLUMN", help="Take as numbers.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave out. (These three may be repeated, or given A,B.)")
@click.option("--group", metavar="COLUMN", help="Rows alike in it stay on one side of the split; no feature.")
@click.option("--test", type=float, default=0.15, show_default=True, help="Share of rows held out for the result.")
@click.option("--validation", type=float, default=0.1, show_default=True, help="Share of the rest, for early stopping.")
@click.option("--image-size", metavar="HxW", help="Bring pictures to this size, such as 28x28.")
@click.option("--memory", metavar="SIZE", help="What the data may take, such as 2GB; a larger table is read in parts.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of the matrix products.")
@click.option("--experiment", metavar="NAME", help="MLflow experiment. [default: the user's, else neuronwise]")
@click.option("--name", metavar="NAME", help="Name of the run. [default: made up]")
@click.option("--from", "from_run", metavar="RUN", help="Start from the weights and encoder of a run.")
@click.option("--resume", metavar="RUN", help="Go on with a training that ended; only --epochs and --patience beside.")
@click.option("--track/--no-track", default=True, show_default=True, help="Keep the run in MLflow.")
@click.option("--keyframe-every", type=int, metavar="STEPS", help="Record whole states so often. [default: chosen]")
@click.option("--statistics-every", type=int, metavar="STEPS", help="And statistics of neurons. [default: chosen]")
@click.option("--redact", is_flag=True, help="Keep no examples of the data beside the recording.")
@click.option(
    "--explain/--no-explain", default=True, show_default=True,
    help="Explain some held-out answers, and the first layer's neurons.",
)  # fmt: skip
@click.option("--diagnose/--no-diagnose", default=True, show_default=True, help="Say at the end why it went as it did.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout, all else on stderr.")
@click.option("--quiet", is_flag=True, help="No progress; only the result and what went wrong.")
def train(
    data: str | None, try_layers: str | None, resume: str | None, as_json: bool, quiet: bool, **options: Any
) -> int:
    """Train a network on DATA and keep the run in MLflow.

    DATA is a CSV or Parquet file, a folder with one sub-folder of pictures per class, IDX files, 'digits'
    or 'mnist'. All but DATA and the target of a table has a default, which is explained as it is chosen.

    \b
      neuronwise train houses.csv --target price
      neuronwise train digits --layers 16,16
      neuronwise train houses.csv --target price --try-layers "none; 16; 64,32"
      neuronwise train mnist --network conv.json
      neuronwise train --resume latest
    """
    from neuronwise.errors import UsageError
    from neuronwise.running import ConsoleReporter, train

    reporter = ConsoleReporter(console(stderr=as_json), quiet=quiet or as_json)
    if resume is not None:
        return _resume(resume, data, reporter, as_json, options)
    if data is None:
        raise UsageError("there is no data to learn from", where="argument DATA", hint="neuronwise train --help")
    given = _given()
    for name in ("layers", "hidden"):
        if name in given and options["from_run"] is not None:
            raise UsageError("the network is that of the run given with --from", where=f"argument {name}")
        if name in given and options["network"] is not None:
            raise UsageError("the network is that of the file given with --network", where=f"argument {name}")
    if try_layers is not None:
        for name in ("layers", "network"):
            if name in given:
                raise UsageError("--try-layers says which sizes to train", where=f"argument {name}")
    options["image_size"] = _image_size(options.pop("image_size"))
    for name in ("category", "numeric", "drop"):
        options[name] = _columns(options[name])
    if try_layers is not None:
        return _try_layers(data, try_layers, reporter, as_json, options)
    return _told(train(data, reporter=reporter, **options), as_json)


def _told(run: Run, as_json: bool) -> int:
    """Print a run as JSON if asked for, and return the exit code."""
    if as_json:
        content = run.to_dict() | {"folder": str(run.folder), "not_logged": run.not_logged}
        if run.diagnosis is not None:
            content["findings"] = run.diagnosis.to_dict()["findings"]
        click.echo(json.dumps(content, indent=1))
    return _INTERRUPTED if run.status == "interrupted" else 0


def _given() -> set[str]:
    """Return the names of the options that stand on the command line."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    return {name for name in context.params if context.get_parameter_source(name) is not default}


def _resume(run: str, data: str | None, reporter: Any, as_json: bool, options: dict[str, Any]) -> int:
    from neuronwise.errors import UsageError
    from neuronwise.running import resume

    if wrong := _given() - {"data", "resume", "epochs", "patience", "explain", "diagnose", "as_json", "quiet"}:
        name = min(wrong).replace("_run", "").replace("_", "-")
        if name == "track" and not options["track"]:
            name = "no-track"
        raise UsageError(
            "a training that goes on keeps its settings; only --epochs and --patience may change",
            where=f"--{name}",
            hint=f"leave out --{name}, or start anew from the weights: neuronwise train … --from {run}",
        )
    kept = {name: options[name] for name in ("epochs", "patience", "explain", "diagnose")}
    found = resume(run, data, **kept, reporter=reporter)
    return _told(found, as_json)


def _try_layers(data: str, sizes: str, reporter: Any, as_json: bool, options: dict[str, Any]) -> int:
    from rich.table import Table

    from neuronwise.errors import UsageError
    from neuronwise.running import METRICS, DataOptions, TrainOptions, metric, parse_trials, try_layers

    if options.pop("from_run") is not None:
        raise UsageError("--try-layers begins anew with every size", where="--from", hint="leave out one of the two")
    trials = parse_trials(sizes)
    of_data = {name: options.pop(name) for name in tuple(options) if name in DataOptions.__dataclass_fields__}
    options.pop("layers")
    options.pop("network")

    def tried(trial: Trial) -> None:
        shown = next(iter(trial.metrics.items()), None)
        said = f"{METRICS[shown[0]]} {metric(*shown)}" if shown else "diverged"
        if trial.run is not None and trial.run.status == "interrupted":
            said += ", interrupted"
        if not reporter.quiet:
            sizes = ",".join(map(str, trial.layers)) or "none"
            reporter.console.print(f"  layers {sizes}: {said}, {trial.seconds:.1f} s", highlight=False)

    results = try_layers(data, DataOptions(**of_data), TrainOptions(**options), trials, reporter, tried)
    stopped = any(trial.run is not None and trial.run.status == "interrupted" for trial in results)
    code = _INTERRUPTED if stopped else 0 if any(trial.run for trial in results) else 1
    if as_json:
        rows = [
            {"layers": t.layers, "parameters": t.parameters, "metrics": t.metrics, "seconds": t.seconds,
             "run": t.run.id if t.run else None}
            for t in results
        ]  # fmt: skip
        click.echo(json.dumps(rows, indent=1))
        return code
    keys = [key for key in METRICS if any(key in trial.metrics for trial in results)]
    table = Table(box=None, header_style="dim", title="What each layer of capacity buys", title_justify="left")
    table.add_column("hidden layers")
    table.add_column("parameters", justify="right")
    for key in keys:
        table.add_column(METRICS[key], justify="right", overflow="fold")
    if not keys:
        table.add_column("result")
    table.add_column("seconds", justify="right")
    table.add_column("run")
    for trial in results:
        values = [metric(key, trial.metrics[key]) if key in trial.metrics else "diverged" for key in keys or [""]]
        sizes = ",".join(map(str, trial.layers)) or "none (linear)"
        interrupted = trial.run is not None and trial.run.status == "interrupted"
        run_id = trial.run.id[:8] if trial.run else ""
        table.add_row(
            sizes + (" (interrupted)" if interrupted else ""),
            f"{trial.parameters:,}",
            *values,
            f"{trial.seconds:.1f}",
            run_id,
        )
    for compared in next((trial.run.baselines for trial in results if trial.run and trial.run.baselines), []):
        values = [metric(key, compared.metrics[key]) if key in compared.metrics else "" for key in keys]
        table.add_row(f"[dim]{compared.name}[/]", "", *values, "", "")
    reporter.console.print()
    reporter.console.print(table)
    if stopped and len(results) < len(trials):
        left = "; ".join(",".join(map(str, sizes)) or "none" for sizes in trials[len(results) :])
        reporter.console.print(f"[bold]Interrupted[/]: not trained were {left}", highlight=False)
    best = next((trial.run for trial in results if trial.run), None)
    if best is not None:
        reporter.console.print(f"  look at one: neuronwise show {best.id[:8]}", highlight=False)
    return code


@click.command()
@click.argument("run")
@click.argument("data")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write CSV (or .parquet) to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def predict(run: str, data: str, out: Path | None, as_json: bool) -> None:
    """Answer for the rows of DATA with the network of RUN.

    Rows with categories or values that training has never seen are reported. Without --out the answers are
    printed as CSV.
    """
    from neuronwise.errors import NeuronwiseError, UsageError
    from neuronwise.running import load

    if out is not None and not out.parent.is_dir():
        raise UsageError(f"there is no folder {str(out.parent)!r}", where="--out")
    if out is not None and out.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(
            f"predictions are written as .csv or .parquet, got {out.name!r}",
            where="--out",
            hint=f"--out {out.stem}.csv",
        )
    model = load(run)
    if out is not None:
        try:
            rows, unseen = model.predict_file(data, out)
        except OSError as error:
            raise NeuronwiseError(f"cannot write {str(out)!r}: {error.strerror or error}", where="--out") from None
        _notes(unseen)
        click.echo(f"{rows:,} predictions written to {out}", err=True)
        if not as_json:
            return
    frame, unseen = model.predict_frame(data)
    if out is None:
        _notes(unseen)
    if as_json:
        click.echo(frame.to_json(orient="records", indent=1))
    elif sys.stdout.isatty():
        click.echo(_printable(frame.to_csv(index=False)), nl=False)  # for eyes; a pipe gets the bytes as they are
    else:
        frame.to_csv(sys.stdout, index=False)


def _notes(sentences: list[str]) -> None:
    for message in sentences:
        click.echo(_printable(f"note: {message}"), err=True)


@click.command("make-houses")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--rows", type=int, default=2000, show_default=True, help="Number of sales.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same file.")
@click.option("--missing", type=float, default=0.0, show_default=True, help="Share of cells left empty.")
def make_houses(file: Path, rows: int, seed: int, missing: float) -> None:
    """Write synthetic house sales of known truth to FILE (CSV).

    The formula behind the prices is documented in docs/reference/houses.md.
    """
    from neuronwise.data import write_houses

    path = write_houses(file, rows, seed, missing=missing)
    click.echo(f"{rows:,} house sales written to {path}")
    click.echo(f"Next: neuronwise train {path} --target price")


def console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal; elsewhere wide enough that tables are not folded."""
    from rich.console import Console

    made = Console(stderr=stderr)
    return made if made.is_terminal else Console(stderr=stderr, width=160)


def _columns(values: tuple[str, ...]) -> list[str]:
    """Return column names given one by one or joined by commas."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def _image_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"expected height x width such as 28x28, got {text!r}", param_hint="--image-size")
    return int(parts[0]), int(parts[1])


def _printable(text: str) -> str:
    from neuronwise.running.printable import printable

    return printable(text)


COMMANDS = (train, predict, make_houses)
