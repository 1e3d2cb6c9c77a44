"""What a training says on a terminal: the data as understood, the network, progress, results. Printing only."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronwise.files import format_bytes
from neuronwise.learning import Observer, TrainingState
from neuronwise.running.findings import told
from neuronwise.running.printable import escape
from neuronwise.running.reporter import Plan, Reporter
from neuronwise.running.scores import METRICS, Score
from neuronwise.running.shown_files import SHOWN
from neuronwise.running.terminal import Console, Table

if TYPE_CHECKING:
    from neuronwise.network import Summary
    from neuronwise.running.prepare import Prepared
    from neuronwise.running.run import Run

_MAX_COLUMNS = 60
_LOWER_IS_BETTER = {"mean_absolute_error", "median_absolute_error", "median_percent_error", "log_loss"}


class ConsoleReporter(Reporter):
    """Tells a training on a console.

    Args:
        console: Where to; progress is drawn as a bar on a terminal and as plain lines elsewhere.
        quiet: Only warnings and the result.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console, self.quiet = console, quiet
        self._warned: set[str] = set()
        self._stage, self._stage_began, self._stage_shown = "", 0.0, 0.0

    def reading(self, what: str, rows: int, total: int) -> None:
        """Print how far the reading of a long table is: in one line that changes, and one that stays at its end."""
        if self.quiet:
            return
        now = time.perf_counter()
        if what != self._stage:
            self._stage, self._stage_began = what, now
        ended = rows >= total
        if ended:
            self._stage = ""
            text = f"  {what}: {rows:,} rows in {duration(now - self._stage_began)}"
            self.console.print(f"{text:<60}", highlight=False)
        elif self.console.is_terminal and now - self._stage_shown > 0.2:
            self._stage_shown = now
            self.console.print(f"{f'  {what}: {rows:,} of {total:,} rows':<60}", end="\r", highlight=False)

    def understood(self, data: Prepared) -> None:
        """Print what was understood of the data; if quiet only what was left out for want of advice."""
        if self.quiet:
            for column in data.columns:
                if column.kind == "text":
                    self.warned(f"the column {column.name} is left out: {column.reason}")
            return
        out = self.console
        held = f"{len(data.train):,} to learn from, {len(data.validation):,} to validate, {len(data.test):,} held out"
        out.print(f"[bold]Data[/]  {escape(data.name)}: {len(data.X):,} rows ({held})", highlight=False)
        for note in data.notes:
            out.print(f"  {escape(note)}", highlight=False)
        for line in data.target.describe():
            out.print(f"  [bold]target[/] {escape(line)}", highlight=False)
        if data.columns:
            out.print(columns_table(data.columns))
        out.print(f"  {data.X.shape[1]:,} input neurons", highlight=False)
        out.print()

    def planned(self, plan: Plan) -> None:
        """Print the network, why it is so, and what the training will need."""
        if self.quiet:
            return
        out, estimate = self.console, plan.estimate
        out.print("[bold]Network[/]")
        for reason in plan.choice.reasons:
            out.print(f"  {escape(reason)}", highlight=False)
        out.print(summary_table(plan.choice.network.summary()))
        shown = {key: value for key, value in plan.settings.items() if value not in (None, 0.0, "")}
        out.print(
            "[bold]Training[/]  " + escape(", ".join(f"{key} {_setting(value)}" for key, value in shown.items())),
            highlight=False,
        )
        out.print(
            f"  about {format_bytes(estimate.memory_bytes)} of memory, at most "
            f"{format_bytes(plan.recording_bytes)} recorded, about {duration(estimate.seconds)} for all "
            f"{estimate.steps:,} steps{_SOONER if _may_stop_early(plan) else ''}",
            highlight=False,
        )
        out.print(f"  {escape(plan.where)}", highlight=False)
        out.print()

    def progress(self) -> Observer | None:
        """Return the progress display: a bar on a terminal, a line per tenth elsewhere, nothing if quiet."""
        if self.quiet:
            return None
        return _Progress(self.console) if self.console.is_terminal else _PlainProgress(self.console)

    def working(self, what: str) -> None:
        """Print what is being done."""
        if not self.quiet:
            self.console.print(f"  {escape(what)} …", style="dim", highlight=False)

    def warned(self, message: str) -> None:
        """Print a warning, also if quiet; the same one once."""
        if message not in self._warned:
            self._warned.add(message)
            self.console.print(f"[bold]note[/] {escape(message)}", highlight=False)

    def finished(self, run: Run) -> None:
        """Print the result beside baselines, and where to look next."""
        out = self.console
        for message in run.not_logged:
            self.warned(message)
        if run.status == "interrupted":
            out.print(
                f"[bold]Interrupted[/] after {run.steps:,} steps; what was learned is kept. "
                f"To go on: neuronwise train --resume {run.id[:8]}",
                highlight=False,
            )
        out.print()
        rows = int(run.data["test_rows"])
        out.print(f"[bold]Result[/] on {rows:,} held-out row{'s' * (rows != 1)}", highlight=False)
        out.print(scores_table([Score("network", run.metrics), *run.baselines], str(run.data["target"])))
        for advice in _advice(run):
            out.print(f"  {escape(advice)}", highlight=False)
        for compared in run.baselines:
            if compared.note:
                out.print(f"  {escape(compared.name)}: {escape(compared.note)}", highlight=False)
        best = f", weights of epoch {run.best_epoch} kept" if run.best_epoch else ""
        out.print(f"  {run.steps:,} steps in {duration(run.duration_s)}{best}", highlight=False)
        out.print()
        self.diagnosed(run)
        out.print(f"[bold]Run[/] {escape(run.name)} ({run.id})", highlight=False)
        if not self.quiet:
            self._next(run)

    def diagnosed(self, run: Run) -> None:
        """Print what was found, each with the line to type; if quiet only if there is anything."""
        if run.diagnosis is None or (self.quiet and not run.diagnosis.findings):
            return
        print_findings(self.console, run.diagnosis.to_dict())
        if run.diagnosis.findings:
            self.console.print(f"  why  [bold]neuronwise diagnose {run.id[:8]}[/]", highlight=False)
        self.console.print()

    def _next(self, run: Run) -> None:
        lines = [
            ("its network and how its weights moved", "neuronwise show latest"),
            ("answers for new data", f"neuronwise predict latest {_example(run)}"),
        ]
        lines += [(SHOWN[path.name], str(path)) for path in run.explained if path.name in SHOWN]
        if run.ui_command:
            lines.append(("histograms and metrics in MLflow", run.ui_command))
        if run.run_url:
            lines.append(("this run in the browser", run.run_url))
        width = max(len(what) for what, _ in lines)
        for what, line in lines:
            self.console.print(f"  {what:<{width}}  ", end="", highlight=False)
            self.console.print(escape(line), style="bold", highlight=False, soft_wrap=True)


_SOONER = " (early stopping usually ends it sooner)"
# Fewer held-out rows than this, and a result moves by many per cent with each of them.
_FEW_ROWS = 30


def _may_stop_early(plan: Plan) -> bool:
    """Return whether the patience can run out before the epochs do."""
    patience, epochs = plan.settings["patience"], plan.settings["epochs"]
    return isinstance(patience, int) and isinstance(epochs, int) and patience + 1 < epochs


def _advice(run: Run) -> list[str]:
    """Return what a user should know of a result before resting on it."""
    advice = []
    rows = int(run.data["test_rows"])
    if rows < _FEW_ROWS:
        advice.append(
            f"{rows} held-out {'row is' if rows == 1 else 'rows are'} few: the result may be quite different on others"
        )
    key = "r2" if run.data["task"] == "regression" else "log_loss"
    own = run.metrics.get(key)
    better = [
        one
        for one in run.baselines
        if own is not None and key in one.metrics and (one.metrics[key] - own) * (-1 if key == "log_loss" else 1) > 0.02
    ]
    if better:
        best = max(better, key=lambda one: one.metrics[key] * (-1 if key == "log_loss" else 1))
        said = f"{best.name} does better here ({METRICS[key]} {best.metrics[key]:.4f}): "
        if run.status == "finished" and run.best_epoch == run.settings.get("epochs"):
            advice.append(said + "the network was still getting better when it ended. Try more --epochs")
        else:
            balanced = "" if run.data["task"] == "regression" else " or --class-weights balanced"
            advice.append(
                said + "the network may have too few rows for its size. Try --layers none, fewer columns (--drop), "
                f"more --weight-decay{balanced}"
            )
    return advice


def _example(run: Run) -> str:
    if run.data["name"] in ("digits", "mnist"):
        return str(run.data["name"])
    source = str(run.data["source"])
    return source if Path(source).exists() and " " not in source else "DATA"


class _Progress(Observer):
    """A bar with epoch, loss, metric, steps per second and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = 0.0

    def on_fit_begin(self, state: TrainingState) -> None:
        """Start the bar."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]:>4}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=False,
            refresh_per_second=8,
        )
        self._task = self._progress.add_task(
            "", total=state.epochs * state.steps_per_epoch, epoch=0, epochs=state.epochs, said=""
        )
        self._began, self._first = time.perf_counter(), state.step
        self._progress.start()

    def on_step_end(self, state: TrainingState) -> None:
        """Move the bar, at most ten times a second."""
        self.on_epoch_end(state)

    def next_step(self, step: int) -> float:
        """Look at the clock at every 128th step only."""
        return (step // 128 + 1) * 128

    def on_epoch_end(self, state: TrainingState) -> None:
        """Move the bar, at most ten times a second."""
        if time.perf_counter() - self._shown > 0.1:
            self._show(state)

    def on_fit_end(self, state: TrainingState) -> None:
        """Leave the bar where the training ended."""
        self._show(state)
        self._progress.stop()

    def _show(self, state: TrainingState) -> None:
        self._shown = time.perf_counter()
        said = measured(state, self._shown - self._began, self._first)
        self._progress.update(self._task, completed=state.step, epoch=state.epoch, said=said)


class _PlainProgress(Observer):
    """A line for about every tenth of the epochs, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def on_fit_begin(self, state: TrainingState) -> None:
        """Note the time."""
        self._began, self._first = time.perf_counter(), state.step
        self._every = max(1, state.epochs // 10)
        self._printed = 0

    def on_epoch_end(self, state: TrainingState) -> None:
        """Print a line if one is due."""
        if state.epoch % self._every == 0 or state.epoch == state.epochs:
            self._print(state)

    def on_fit_end(self, state: TrainingState) -> None:
        """Print how it ended."""
        words = {
            "early_stopped": "no better for a while: stopped",
            "interrupted": "interrupted",
            "diverged": "diverged",
        }
        if state.status in words and state.epoch == self._printed:
            self._console.print(f"  ({words[state.status]})", highlight=False)
        elif state.status in words:
            self._print(state, f"  ({words[state.status]})")

    def _print(self, state: TrainingState, more: str = "") -> None:
        self._printed = state.epoch
        seconds = time.perf_counter() - self._began
        said = measured(state, seconds, self._first)
        left = seconds / max(state.step - self._first, 1) * (state.epochs * state.steps_per_epoch - state.step)
        if state.status == "running" and state.epoch < state.epochs:
            said += f"  {duration(left)} left at most"
        self._console.print(f"epoch {state.epoch}/{state.epochs}  {said}{more}", highlight=False)


def print_findings(console: Console, content: dict[str, Any]) -> None:
    """Print what a diagnosis found, each with the line to type; or how much was looked at."""
    for words, line in told(content):
        console.print(f"[bold]Diagnosis[/] {escape(words)}", highlight=False, soft_wrap=True)
        if line:
            console.print(f"  try  [bold]{escape(line)}[/]", highlight=False, soft_wrap=True)


def measured(state: TrainingState, seconds: float, first: int = 0) -> str:
    """Return loss, validation metric and speed as text; the seconds are those since step `first`."""
    parts = [f"loss {state.metrics.get('loss', state.loss):.4g}"]
    for key in ("val_loss", "val_accuracy", "val_r2"):
        if key in state.metrics:
            parts.append(f"{key} {state.metrics[key]:.4g}")
    if seconds > 0:
        parts.append(f"{(state.step - first) / seconds:,.0f} steps/s")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Return a time as people say it: ``"35 ms"``, ``"0.8 s"``, ``"42 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    if seconds < 0.0995:
        return f"{max(1, round(1000 * seconds))} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def columns_table(columns: list[Any]) -> Table:
    """Return what was understood of each column."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    for heading in ("  column", "kind", "why"):
        table.add_column(heading, overflow="fold")
    for column in columns[:_MAX_COLUMNS]:
        style = "" if column.is_input else "dim"
        table.add_row(f"  {escape(_short(column.name))}", column.kind, escape(_why(column)), style=style)
    if len(columns) > _MAX_COLUMNS:
        table.add_row("  …", "", f"and {len(columns) - _MAX_COLUMNS:,} more columns")
    return table


def _why(column: Any) -> str:
    """Return the reason of a column's kind, and what becomes of its missing cells."""
    if not column.n_missing or not column.is_input:
        return str(column.reason)
    filled = (
        "are all zeros" if column.kind == "category" else "are filled with what is usual and flagged by an own input"
    )
    return f"{column.reason}; {column.n_missing:,} missing, which {filled}"


def summary_table(summary: Summary) -> Table:
    """Return the layers of a network as a table."""
    header, rows = summary.cells()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, heading in enumerate(header):
        indent = "  " if index == 0 else ""
        table.add_column(indent + heading, justify="right" if index in (2, 3, 4) else "left", overflow="fold")
    for row in rows:
        table.add_row(*[("  " if index == 0 else "") + escape(cell) for index, cell in enumerate(row)])
    table.add_row("  [bold]total[/]", "", "", "", f"[bold]{summary.parameter_count:,}[/]", "")
    return table


def scores_table(scores: list[Score], target: str) -> Table:
    """Return results side by side, the best of each metric in bold."""
    keys = [key for key in METRICS if any(key in score.metrics for score in scores)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  ")
    for key in keys:
        table.add_column(METRICS[key], justify="right", overflow="fold")
    for one in scores:
        cells = []
        for key in keys:
            value = one.metrics.get(key)
            text = "" if value is None else metric(key, value)
            cells.append(f"[bold]{text}[/]" if value is not None and _is_best(key, value, scores) else text)
        table.add_row(f"  {escape(one.name)}", *cells)
    return table


def metric(key: str, value: float) -> str:
    """Return the value of a metric as text."""
    if not math.isfinite(value):
        return "–"
    if key == "median_percent_error":
        return f"{value:.1f} %"
    if key in ("mean_absolute_error", "median_absolute_error"):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:.4f}"


def _is_best(key: str, value: float, scores: list[Score]) -> bool:
    values = [score.metrics[key] for score in scores if key in score.metrics]
    return len(values) > 1 and value == (min(values) if key in _LOWER_IS_BETTER else max(values))


def _setting(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _short(text: str, length: int = 40) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
