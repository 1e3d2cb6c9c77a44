"""Sparklines and the table of courses."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from neuronwise import Run
from neuronwise.running import courses_table, sparkline

BLOCKS = "▁▂▃▄▅▆▇█"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([5.0], "▁"),
        ([2.0, 2.0, 2.0], "▁▁▁"),
        ([0.0, 1.0], "▁█"),
        ([0, 1, 2, 3, 4, 5, 6, 7], BLOCKS),
        ([7, 6, 5, 4, 3, 2, 1, 0], BLOCKS[::-1]),
        ([0.0, math.nan, 1.0], "▁×█"),
        ([math.inf, 0.0, -math.inf], "×▁×"),
        ([math.nan, math.nan], "××"),
        ([-1e308, 0.0, 1e308], "▁▅█"),
    ],
    ids=str,
)
def test_a_line_of_blocks(values: list[float], line: str) -> None:
    assert sparkline(values) == line


@given(st.lists(st.floats(), max_size=200), st.integers(1, 40))
def test_any_values_fit_the_width(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    assert set(line) <= set(BLOCKS + "×")


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=60))
def test_the_smallest_is_lowest_and_the_largest_highest(values: list[int]) -> None:
    line = sparkline([float(value) for value in values], 60)
    if min(values) < max(values):
        assert {line[i] for i, v in enumerate(values) if v == min(values)} == {"▁"}
        assert {line[i] for i, v in enumerate(values) if v == max(values)} == {"█"}


def test_more_values_than_places_are_averaged() -> None:
    assert sparkline([0.0] * 50 + [1.0] * 50, 4) == "▁▁██"
    # One NaN among many is not hidden by the mean of its place.
    assert sparkline([0.0] * 49 + [math.nan] + [1.0] * 50, 4) == "▁×██"


def shown(run: Run) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(courses_table(run))
    return out.getvalue()


def test_every_layer_has_its_courses(kept_run: Run) -> None:
    text = shown(kept_run)
    for layer in ("training", "hidden1", "hidden2", "output"):
        assert re.search(rf"^  {layer} ", text, re.MULTILINE)
    assert text.count("weights: norm of W") == 3
    assert text.count("activations that are 0") == 3
    epochs = kept_run.history_on_disk.epochs
    first, last = (epochs[i]["layers"]["hidden1"]["weight_norm"] for i in (0, -1))
    line = next(line for line in text.splitlines() if line.strip().startswith("hidden1"))
    assert f"{first:.3g}" in line
    assert f"{last:.3g}" in line


def test_a_run_without_epochs_has_an_empty_table(kept_run: Run, tmp_path: Path) -> None:
    from dataclasses import replace
    from shutil import copytree

    copytree(kept_run.folder, tmp_path / "run")
    (tmp_path / "run" / "recording" / "events.jsonl").write_text("")
    text = shown(replace(kept_run, folder=tmp_path / "run", history=[]))
    assert "hidden1" not in text


def test_a_nan_in_the_history_is_marked(kept_run: Run) -> None:
    from dataclasses import replace

    history = [dict(epoch) for epoch in kept_run.history]
    history[2]["loss"] = math.nan
    line = next(line for line in shown(replace(kept_run, history=history)).splitlines() if "training" in line)
    assert "×" in line
    assert "nan" not in line
