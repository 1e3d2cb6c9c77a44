"""`show` of a run that was watched while another framework trained it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuronwise.cli.tables import courses_table, finite, table, tell_problems
from neuronwise.cli.train import console

if TYPE_CHECKING:
    from neuronwise.recording import Recording
    from neuronwise.running import WatchedRun

_COURSES = ("loss", "learning_rate", "grad_norm", "grad_norm_before_clipping")


def show_watched(run: WatchedRun, as_json: bool) -> None:
    """Print a watched run: what was watched, its layers, what was noticed, and how the loss went."""
    from neuronwise.errors import NotFoundError
    from neuronwise.running import layer_rows, noticed, open_recording, overhead
    from neuronwise.running.findings import kept_diagnosis

    try:
        recording = open_recording(run.folder)
    except NotFoundError:
        if (run.folder / "recording" / "recording.json").exists() or (run.folder / "moved.json").exists():
            raise
        recording = None  # no step of the optimizer was taken, or none yet
    if as_json:
        content = run.to_dict() | {"folder": str(run.folder)}
        if (kept := kept_diagnosis(run.folder)) is not None:
            content["findings"] = kept["findings"]
        if recording is not None:
            cost = overhead(recording)
            content |= {
                "steps": run.steps or recording.stored.last_step,
                "recording_status": recording.status,
                "overhead_s": cost[0] if cost else None,
                "elapsed_s": cost[1] if cost else None,
                "layers": [asdict(row) for row in layer_rows(recording, run.folder)],
                "notes": noticed(recording),
                "problems": recording.problems,
            }
        click.echo(json.dumps(finite(content), indent=1, ensure_ascii=False))
        return
    _print_head(run, recording)
    print_diagnosis(run.folder)
    if recording is None:
        console().print("  nothing is recorded: no step of the optimizer was taken", highlight=False)
        return
    _print_layers(run, recording)
    _print_courses(recording)
    tell_problems(recording)


def print_diagnosis(folder: Path) -> None:
    """Print what a run's diagnosis found when it ended, if it was diagnosed."""
    from neuronwise.running.console import print_findings
    from neuronwise.running.findings import kept_diagnosis

    if (kept := kept_diagnosis(folder)) is not None:
        out = console()
        print_findings(out, kept)
        out.print()


def _print_head(run: WatchedRun, recording: Recording | None) -> None:
    from neuronwise.files import format_bytes
    from neuronwise.running import duration, overhead
    from neuronwise.running.printable import escape

    out = console()
    out.print(f"[bold]{escape(run.name)}[/] ({escape(run.id)}), {escape(run.status)}, watched", highlight=False)
    count = f", {run.parameters:,} parameters" if run.parameters else ""
    out.print(f"  {escape(run.model)} ({escape(run.framework)}){count}", highlight=False)
    if recording is not None:
        cost = overhead(recording)
        took = f" in {duration(cost[1])}, watching took {cost[0] / cost[1]:.1%} of it" if cost and cost[1] else ""
        out.print(
            f"  {run.steps or recording.stored.last_step:,} steps{took}; "
            f"statistics of {len(recording.frames):,} steps, weights of {len(recording.keyframes):,}",
            highlight=False,
        )
    out.print(f"  {escape(str(run.folder))}, {format_bytes(run.size_bytes)}", highlight=False, soft_wrap=True)


def _print_layers(run: WatchedRun, recording: Recording) -> None:
    from neuronwise.running import layer_rows, noticed
    from neuronwise.running.printable import escape

    out = console()
    rows = layer_rows(recording, run.folder)
    shown = table("  layer", "type", "neurons", "parameters", "‖W‖", "‖dW‖", "‖ΔW‖ / ‖W‖", "dead")
    for row in rows:
        norms = (row.weight_norm, row.grad_norm, row.update_ratio)
        frozen = " (frozen)" if row.trainable == 0 and row.parameters else ""
        shown.add_row(
            f"  {escape(row.layer)}",
            escape(row.type) + (f" → {escape(row.activation)}" if row.activation else ""),
            f"{row.neurons:,}" if row.neurons else "",
            f"{row.parameters:,}{frozen}",
            *("" if value is None else f"{value:.3g}" for value in norms),
            "" if row.dead is None else f"{row.dead:,}",
        )
    total = sum(row.parameters for row in rows)
    shown.add_row("  [bold]total[/]", "", f"{sum(row.neurons for row in rows):,}", f"[bold]{total:,}[/]")
    out.print()
    out.print(shown)
    out.print(
        "  norms: at the last recorded step; dead: answered 0 to every example of the last 5 recorded steps",
        style="dim",
        highlight=False,
    )
    if notes := noticed(recording):
        out.print("\n[bold]Noticed[/]")
        for note in notes:
            out.print(f"  {escape(note)}", highlight=False, soft_wrap=True)


def _print_courses(recording: Recording) -> None:
    from neuronwise.errors import NotFoundError

    names = sorted({key for _, metrics in recording.stored.metrics for key in metrics} - set(_COURSES))
    courses = {}
    for name in (*_COURSES, *names):
        try:
            course = recording.history(name)
        except NotFoundError:
            continue
        if len(course.steps):
            courses[name] = course.values.tolist()
    if courses:
        out = console()
        out.print("\n[bold]Over time[/]  from the first step to the last")
        out.print(courses_table("  quantity", courses))
