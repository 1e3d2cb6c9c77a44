"""The command line of a training, kept in its recording, trains the same again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuronwise
from neuronwise.cli import train as command
from neuronwise.errors import TrainingDiverged
from neuronwise.network import Network
from neuronwise.running import DataOptions, TrainOptions
from neuronwise.running.command_line import train_arguments

from .conftest import make_frame
from .test_diagnosed import FAST


class _Data:
    """Of data only how it is named matters."""

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source


def _parsed(arguments: list[str]) -> dict[str, Any]:
    """Return what the command takes them for. It keeps its option for help, which is to be that of the whole."""
    return command.train.make_context("train", arguments.copy(), help_option_names=["-h", "--help"]).params


def _arguments(data: Any, of_data: DataOptions, options: TrainOptions, from_run: str | None = None) -> list[str]:
    return train_arguments(data, of_data, options, from_run)


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters=",", exclude_categories=["C"]), min_size=1).filter(
    lambda name: name.strip() == name
)
_RATES = st.sampled_from([0.1, 0.001, 3.0, 1e-7, 0.00123456789, 1 / 3])


@given(
    of_data=st.builds(
        DataOptions,
        target=_NAMES,
        task=st.sampled_from([None, "binary"]),
        log=st.sampled_from([None, True, False]),
        category=st.lists(_NAMES, max_size=2),
        drop=st.lists(_NAMES, max_size=2),
        group=st.none() | _NAMES,
        test=st.sampled_from([0.15, 0.3]),
        image_size=st.sampled_from([None, (28, 14)]),
        memory=st.sampled_from([None, "2GB"]),
    ),
    options=st.builds(
        TrainOptions,
        layers=st.sampled_from(["64,32", "none", "16"]),
        hidden=st.sampled_from(["relu", "tanh"]),
        optimizer=st.sampled_from(["adam", "sgd"]),
        learning_rate=st.none() | _RATES,
        weight_decay=st.none() | _RATES,
        batch_size=st.sampled_from([None, 7]),
        epochs=st.sampled_from([None, 3]),
        patience=st.sampled_from([None, 3]),
        clip_norm=st.none() | _RATES,
        class_weights=st.sampled_from([None, "balanced"]),
        seed=st.sampled_from([0, 5]),
        threads=st.sampled_from([1, 2]),
        schedule=st.sampled_from([None, "constant", "cosine"]),
        warm_up=st.sampled_from([None, 9]),
    ),
)
def test_the_command_reads_it_as_it_was_meant(of_data: DataOptions, options: TrainOptions) -> None:
    arguments = _arguments(_Data("digits", "made"), of_data, options)
    typed = _parsed(arguments)
    for chosen in (of_data, options):
        for name in chosen.__dataclass_fields__:
            if name not in typed or name in ("experiment", "name", "track", "explain", "diagnose"):
                continue
            value, meant = typed[name], getattr(chosen, name)
            if name == "image_size":
                value = command._image_size(value)
            if name in ("category", "numeric", "drop"):
                value, meant = list(value), list(meant)
            assert value == meant or (name, value, meant) == ("schedule", "constant", None), name


def test_nothing_but_the_data_stands_there_where_all_was_chosen(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.touch()
    for data, named in (
        (_Data("a.csv", str(file)), str(file)),
        (_Data("mnist", "…"), "mnist"),
        (_Data("x", "?"), "DATA"),
    ):
        assert _arguments(data, DataOptions(), TrainOptions()) == [named]


def test_what_was_made_in_python_has_a_placeholder() -> None:
    network = Network.dense([4, 2])
    options = TrainOptions(network=network, layers=(3, 2), loss="squared_error")
    assert _arguments(_Data("frame", "?"), DataOptions("y"), options, "ab12") == [
        "DATA", "--target", "y", "--layers", "3,2", "--network", "FILE.json", "--from", "ab12",
    ]  # fmt: skip


def test_the_line_of_a_finding_keeps_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    file = tmp_path / "rows.csv"
    make_frame().to_csv(file, index=False)
    with pytest.raises(TrainingDiverged) as caught:
        neuronwise.train(file, "y", **FAST | {"learning_rate": 30.0, "optimizer": "sgd", "seed": 4}, track=False)
    assert "try 0.1," in str(caught.value.hint)
    run = caught.value.run
    assert run.diagnosis is not None
    line = run.diagnosis.findings[0].treatment.line
    typed = shlex.split(line)
    assert typed[:3] == ["neuronwise", "train", str(file)]
    parsed = _parsed(typed[2:])
    assert (parsed["target"], parsed["optimizer"], parsed["seed"]) == ("y", "sgd", 4)
    assert parsed["learning_rate"] == 0.1
