"""Ctrl-C and SIGTERM end a training politely: what was learned is kept; a second one ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import neuronwise
from neuronwise.running import find_run

from .helpers import Outcome, finish, start, table

ENDLESS = ["--epochs", 1_000_000, "--patience", 1_000_000]


def _begin(
    folder: Path, *options: object, trials: str | None = None, **popen: Any
) -> tuple[subprocess.Popen[str], list[str]]:
    """Start a training that would take for ever, and wait until it learns."""
    (folder / "good.csv").write_text(table(400))
    sizes = ["--layers", "64,64"] if trials is None else ["--try-layers", trials]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    arguments = ["train", folder / "good.csv", "--target", "price", *ENDLESS, *sizes, *options]
    process = start(*arguments, cwd=folder, env=environment, **popen)
    lines: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        lines.extend(iter(process.stdout.readline, ""))

    # What is read in advance is handed to the outcome later.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    process.reader = reader  # type: ignore[attr-defined]
    deadline = time.monotonic() + 60
    recorded = folder / "home" / "runs"
    while not list(recorded.glob("*/recording/events.jsonl")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    return process, lines


def _end(process: subprocess.Popen[str], lines: list[str]) -> Outcome:
    try:
        code = process.wait(60)
    finally:
        process.kill()
    process.reader.join(10)  # type: ignore[attr-defined]
    assert process.stderr is not None
    return Outcome(code, "".join(lines), process.stderr.read())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_one_signal_keeps_what_was_learned(tmp_path: Path, number: signal.Signals) -> None:
    process, lines = _begin(tmp_path, "--no-track")
    process.send_signal(number)
    outcome = _end(process, lines)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert "what was learned is kept" in outcome.out
    assert "Result on 60 held-out rows" in outcome.out
    run = find_run("latest")
    assert run.status == "interrupted"
    assert run.steps > 0
    # The best weights so far are those that were kept.
    assert run.best_step is not None
    assert run.history_on_disk.parameters(run.best_step).tobytes() == run.network.parameters.tobytes()
    assert len(neuronwise.load("latest").predict(tmp_path / "good.csv")) == 400


def test_an_interrupted_run_is_killed_in_mlflow_and_complete(tmp_path: Path) -> None:
    process, lines = _begin(tmp_path)
    process.send_signal(signal.SIGINT)
    outcome = _end(process, lines)
    assert outcome.code == 130
    from neuronwise.tracking import open_store, resolve_store

    run = find_run("latest")
    stored = open_store(resolve_store()).get_run(run.id)
    assert stored.info.status == "KILLED"
    assert stored.data.tags["neuronwise.status"] == "interrupted"
    assert "test/r2" in stored.data.metrics


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    process, lines = _begin(tmp_path, "--no-track")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.01)
    while process.poll() is None and time.monotonic() - began < 20:
        process.send_signal(signal.SIGINT)
        time.sleep(0.005)
    outcome = _end(process, lines)
    assert time.monotonic() - began < 10
    assert outcome.code in (130, -signal.SIGINT)


def test_a_background_job_that_ignores_ctrl_c_is_still_ended_by_kill(tmp_path: Path) -> None:
    # What a script starts with `&` has SIGINT ignored, and must go on when the user presses Ctrl-C.
    process, lines = _begin(tmp_path, "--no-track", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    outcome = _end(process, lines)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err


def test_try_layers_stops_after_the_size_that_was_interrupted(tmp_path: Path) -> None:
    process, lines = _begin(tmp_path, "--no-track", trials="16;8")
    process.send_signal(signal.SIGINT)
    outcome = _end(process, lines)
    assert outcome.code == 130
    table_of_results = outcome.out.split("What each layer of capacity buys")[1]
    assert "16" in table_of_results
    assert not [line for line in table_of_results.splitlines() if line.strip().startswith("8")]


@pytest.mark.full
def test_four_trainings_started_together_on_a_new_store_all_succeed(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text(table())
    arguments = ["train", tmp_path / "good.csv", "--target", "price", "--epochs", 2, "--json"]
    processes = [start(*arguments, cwd=tmp_path) for _ in range(4)]
    outcomes = [finish(process, 180) for process in processes]
    for outcome in outcomes:
        assert outcome.code == 0, outcome.err
        assert outcome.json["not_logged"] == []
    assert len({outcome.json["id"] for outcome in outcomes}) == 4
    from neuronwise.running import list_runs

    listed, problem = list_runs()
    assert problem is None
    assert {one.status for one in listed} == {"finished"}
    assert len(listed) == 4
