"""history and step, from the user's side."""

from __future__ import annotations

import csv
import io

import pytest

from .conftest import Command


@pytest.fixture
def trained(nw: Command) -> Command:
    outcome = nw("train", "digits", "--layers", 8, "--epochs", 2, "--no-track", "--quiet", "--name", "digits")
    assert outcome.code == 0, outcome.err
    return nw


def test_the_history_of_a_bias_is_drawn_and_printed_as_csv(trained: Command) -> None:
    drawn = trained("history", "digits", "hidden1[3].bias")
    assert drawn.code == 0, drawn.err
    assert "hidden1[3].bias" in drawn.out
    rows = list(csv.reader(io.StringIO(trained("history", "digits", "hidden1[3].bias", "--csv").out)))
    assert rows[0] == ["step", "hidden1[3].bias"]
    assert rows[1] == ["0", "0.0"]
    assert int(rows[-1][0]) == 86
    every = list(csv.reader(io.StringIO(trained("history", "digits", "hidden1[3].weights", "--csv").out)))
    assert len(every[0]) == 65
    assert "the 20 largest of 64 weights" in trained("history", "digits", "hidden1[3].weights").out


def test_a_step_is_told_in_words_and_numbers(trained: Command) -> None:
    outcome = trained("step", "digits", 17)
    assert outcome.code == 0, outcome.err
    assert "Step 17 of epoch 1, on 32 examples" in outcome.out
    assert "the mean loss over them is" in outcome.out
    for word in ("hidden1", "output", "‖dL/dz‖", "update / weights"):
        assert word in outcome.out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["history", "digits", "hidden1"], "'hidden1' names no weight or bias"),
        (["history", "digits", "hidden1[8].bias"], "'hidden1' has the neurons 0 to 7, got 8"),
        (["step", "digits", "87"], "the training took 86 steps, got 87"),
        (["step", "digits", "0"], "steps count from 1, got 0"),
        (["step", "nonsense", "1"], "there is no run 'nonsense'"),
    ],
)
def test_what_is_not_there_is_a_usage_error(trained: Command, arguments: list[str], part: str) -> None:
    outcome = trained(*arguments)
    assert outcome.code == 2
    assert part in outcome.err
