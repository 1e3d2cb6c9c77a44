"""What a training says on a terminal."""

from __future__ import annotations

import copy
import io
import re
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import neuronwise
from neuronwise import Network, Run
from neuronwise.data import Column
from neuronwise.learning import TrainingState, fit
from neuronwise.running import ConsoleReporter, Score, columns_table, duration, metric, scores_table, summary_table

from .conftest import make_frame


def screen(*, terminal: bool = False, width: int = 160) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width, force_terminal=terminal, color_system=None), out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1 ms"), (0.0042, "4 ms"), (0.099, "99 ms"), (0.0996, "0.1 s"), (0.84, "0.8 s"), (9.94, "9.9 s"),
        (9.96, "10 s"), (42.4, "42 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (60.0, "1 min 0 s"), (200.0, "3 min 20 s"),
        (3600.0, "1 h 0 min"), (7500.0, "2 h 5 min"), (1e6, "277 h 46 min"),
    ],
)  # fmt: skip
def test_times_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("r2", 0.89512, "0.8951"), ("accuracy", 1.0, "1.0000"), ("median_percent_error", 8.96, "9.0 %"),
        ("mean_absolute_error", 46_881.4, "46,881"), ("median_absolute_error", 0.012346, "0.01235"),
        ("mean_absolute_error", 999.4, "999.4"), ("r2", float("nan"), "–"),
    ],
)  # fmt: skip
def test_metrics_as_text(key: str, value: float, text: str) -> None:
    assert metric(key, value) == text


def text_of(table: Any, width: int = 160) -> str:
    console, out = screen(width=width)
    console.print(table)
    return out.getvalue()


def test_the_best_of_each_metric_is_bold() -> None:
    scores = [
        Score("network", {"r2": 0.9, "mean_absolute_error": 5.0}),
        Score("mean", {"r2": 0.0, "mean_absolute_error": 9.0}),
        Score("linear regression", {"r2": 0.8, "mean_absolute_error": 4.0}),
    ]
    out = io.StringIO()
    Console(file=out, width=160, force_terminal=True, color_system="standard").print(scores_table(scores, "y"))
    bold = re.findall(r"\x1b\[1m([\d.]+)\x1b\[0m", out.getvalue())
    assert sorted(bold) == ["0.9000", "4"]
    assert [line.split()[0] for line in text_of(scores_table(scores, "y")).splitlines()[1:]] == [
        "network", "mean", "linear"
    ]  # fmt: skip


def test_a_metric_that_is_not_known_leaves_a_gap() -> None:
    text = text_of(scores_table([Score("network", {"r2": float("nan")}), Score("mean", {"accuracy": 0.5})], "y"))
    assert "–" in text
    assert "0.5000" in text


def test_very_many_columns_are_cut_and_counted() -> None:
    columns = [Column(f"c{i}" * 30, "numeric", "a number", 0, 5) for i in range(100)]
    text = text_of(columns_table(columns))
    assert "and 40 more columns" in text
    assert "c99" not in text
    assert max(map(len, text.splitlines())) <= 160


def test_missing_cells_of_a_column_are_told() -> None:
    columns = [
        Column("sound", "numeric", "a number", 0, 5),
        Column("holed", "numeric", "a number", 1, 5),
        Column("\x1b[31mred", "category", "names \x07", 1_234, 5),
        Column("left out", "constant", "one value", 3, 1),
    ]
    text = text_of(columns_table(columns))
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert "missing" not in lines["sound"]
    assert "1 " in lines["holed"].split("a number")[1]
    assert "missing" in lines["holed"]
    assert "1,234" in lines["\\x1b[31mred"]
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 160])
def test_the_parameter_table_fits_every_width(width: int) -> None:
    text = text_of(summary_table(Network.dense([784, 16, 16, 10]).summary()), width)
    assert "".join(text.split()).count("13,002") == 1
    assert max(map(len, text.splitlines())) <= width


def learn(reporter: ConsoleReporter, epochs: int = 20, patience: int | None = None) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(64, 3)).astype(np.float32)
    network = Network.dense([3, 4, 1], seed=0)
    observer = reporter.progress()
    observers = [] if observer is None else [observer]
    fit(network, X, X[:, :1], epochs=epochs, validation=0.2, patience=patience, observers=observers)


def test_without_a_terminal_progress_is_plain_lines_about_ten_of_them() -> None:
    console, out = screen()
    learn(ConsoleReporter(console))
    lines = out.getvalue().splitlines()
    assert len(lines) == 10
    number = r"[\d.e+-]+"
    for line in lines:
        assert re.match(rf"epoch \d+/20  loss {number}  val_loss {number}  val_r2 {number}  [\d,]+ steps/s", line)
    assert lines[0].endswith("left at most")
    assert lines[-1].startswith("epoch 20/20")
    assert not lines[-1].endswith("left at most")


def test_how_it_ended_is_said() -> None:
    console, out = screen()
    reporter = ConsoleReporter(console)
    observer = reporter.progress()
    assert observer is not None
    state = TrainingState(Network.dense([2, 1]), 10, 5)
    observer.on_fit_begin(state)
    state.status, state.epoch, state.step = "early_stopped", 3, 15
    observer.on_fit_end(state)
    assert "no better for a while: stopped" in out.getvalue()


def test_on_a_terminal_progress_is_a_bar() -> None:
    console, out = screen(terminal=True)
    learn(ConsoleReporter(console), epochs=3)
    assert "epoch" in out.getvalue()
    assert "3/3" in out.getvalue()
    assert "steps/s" in out.getvalue()
    assert "━" in out.getvalue()


def test_quiet_has_no_progress_and_no_plan_but_warnings() -> None:
    console, out = screen()
    reporter = ConsoleReporter(console, quiet=True)
    assert reporter.progress() is None
    reporter.working("evaluating")
    assert out.getvalue() == ""
    reporter.warned("the disk is full")
    reporter.warned("the disk is full")
    assert out.getvalue() == "note the disk is full\n"


def test_a_whole_training_is_told_in_order() -> None:
    console, out = screen()
    neuronwise.train(make_frame(), "y", epochs=3, track=False, reporter=ConsoleReporter(console))
    text = out.getvalue()
    places = [text.index(word) for word in ("Data", "target", "Network", "Training", "epoch 1/3", "Result", "Run")]
    assert places == sorted(places)
    assert "of memory, at most" in text
    assert "recorded" in text
    assert "neuronwise predict latest DATA" in text


def test_the_next_step_can_be_typed(kept_run: Run) -> None:
    console, out = screen(width=60)
    from dataclasses import replace

    source = "/a/very/long/path/that/would/be/folded/at/the/width/of/the/terminal/table.csv"
    run = replace(kept_run, ui_command=f'mlflow ui --backend-store-uri "sqlite:///{source}"', not_logged=["a", "b"])
    ConsoleReporter(console).finished(run)
    assert f'mlflow ui --backend-store-uri "sqlite:///{source}"\n' in out.getvalue()
    assert "note a\nnote b\n" in out.getvalue()


def test_an_interrupted_training_says_that_it_is_kept(kept_run: Run) -> None:
    from dataclasses import replace

    console, out = screen()
    ConsoleReporter(console).finished(replace(kept_run, status="interrupted"))
    assert "Interrupted after 18 steps; what was learned is kept." in out.getvalue()


def test_how_far_a_long_table_is_read_is_one_line_that_changes_and_one_that_stays() -> None:
    for terminal in (True, False):
        out = io.StringIO()
        reporter = ConsoleReporter(Console(file=out, width=80, force_terminal=terminal, color_system=None))
        for rows in (1000, 2000, 3000):
            reporter.reading("reading", rows, 3000)
        *passing, last = out.getvalue().rstrip("\n").split("\r")
        assert last.startswith("  reading: 3,000 rows in ")
        assert [line.strip() for line in passing] == (["reading: 1,000 of 3,000 rows"] if terminal else [])
    out = io.StringIO()
    ConsoleReporter(Console(file=out), quiet=True).reading("reading", 3, 3)
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("best_epoch", "said"), [(6, "was still getting better when it ended. Try more --epochs"), (3, "too few rows")]
)
def test_a_network_behind_a_simpler_way_is_told_so(kept_run: Run, best_epoch: int, said: str) -> None:
    run = copy.copy(kept_run)
    run.status, run.best_epoch = "finished", best_epoch
    run.metrics, run.baselines = {"r2": 0.5}, [Score("mean", {"r2": 0.0}), Score("linear regression", {"r2": 0.9})]
    out = io.StringIO()
    ConsoleReporter(Console(file=out, width=200)).finished(run)
    assert "linear regression does better here (R² 0.9000)" in out.getvalue()
    assert said in out.getvalue()
    run.metrics = {"r2": 0.89}
    out = io.StringIO()
    ConsoleReporter(Console(file=out, width=200)).finished(run)
    assert "does better here" not in out.getvalue()
