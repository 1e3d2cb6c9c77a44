"""What each layer of capacity buys."""

from __future__ import annotations

from typing import Any

import pytest

import neuronwise
from neuronwise.errors import UsageError
from neuronwise.running import DataOptions, Reporter, TrainOptions, Trial, parse_trials, try_layers

from .conftest import make_frame


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("none; 16; 16,16; 64,32", [[], [16], [16, 16], [64, 32]]),
        ("16", [[16]]),
        (" 16 ;; none ; ", [[16], []]),
        (["none", [3, 4]], [[], [3, 4]]),
    ],
)
def test_sizes_are_read(text: Any, sizes: list[list[int]]) -> None:
    assert parse_trials(text) == sizes


@pytest.mark.parametrize("text", ["", ";", " ; ", "16; x", "junk", [], [[0]]])
def test_sizes_that_are_none_are_refused(text: Any) -> None:
    with pytest.raises(UsageError):
        parse_trials(text)


def run(trials: str, options: TrainOptions, heard: list[str] | None = None) -> list[Trial]:
    class Listener(Reporter):
        def warned(self, message: str) -> None:
            assert heard is not None
            heard.append(message)

    told: list[Trial] = []
    results = try_layers(
        make_frame(), DataOptions("y", drop=["sign"]), options, parse_trials(trials), Listener(), told.append
    )
    assert told == results
    return results


def test_every_size_is_trained_on_the_same_rows_with_the_same_seed() -> None:
    options = TrainOptions(epochs=3, track=False, seed=5, name="mine")
    none, four = run("none; 4", options)
    assert (none.layers, four.layers) == ([], [4])
    assert (none.parameters, four.parameters) == (6, 29)
    assert none.run is not None
    assert four.run is not None
    assert (none.run.name, four.run.name) == ("mine-none", "mine-4")
    # The rows are the same, so simpler ways are tried once.
    assert [one.name for one in none.run.baselines] == ["mean", "linear regression"]
    assert four.run.baselines == []
    for part in ("train", "validation", "test"):
        assert (none.run.history_on_disk.split(part) == four.run.history_on_disk.split(part)).all()
    alone = neuronwise.train(make_frame(), "y", drop=["sign"], layers="4", epochs=3, seed=5, track=False)
    assert four.run.network.parameters.tobytes() == alone.network.parameters.tobytes()
    assert four.metrics == alone.metrics


def test_one_that_diverges_is_told_and_the_next_is_tried() -> None:
    heard: list[str] = []
    options = TrainOptions(epochs=30, track=False, optimizer="sgd", learning_rate=1e6)
    results = run("64; none", options, heard)
    assert [trial.metrics for trial in results] == [{}, {}]
    assert [trial.run for trial in results] == [None, None]
    assert len(heard) == 2
    assert heard[0].startswith("layers 64: step ")
    assert "\n" not in heard[0]


def test_a_size_that_cannot_be_is_refused_before_the_first_is_trained() -> None:
    from neuronwise.running.run import local_runs

    with pytest.raises(UsageError, match="memory"):
        run("4; 1000000,1000000", TrainOptions(epochs=1, track=False))
    with pytest.raises(UsageError, match="epochs"):
        run("4", TrainOptions(epochs=0, track=False))
    assert local_runs() == []
