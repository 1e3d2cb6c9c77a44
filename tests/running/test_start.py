"""A training that starts from an earlier run holds out the rows which that run never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import neuronwise
from neuronwise.running import Reporter
from neuronwise.running.prepare import Prepared


class Listener(Reporter):
    """Keeps the data as understood."""

    def understood(self, data: Prepared) -> None:
        self.data = data


@pytest.fixture
def table() -> pd.DataFrame:
    random = np.random.default_rng(3)
    a = random.normal(size=120)
    return pd.DataFrame({"a": a, "b": random.normal(size=120), "y": 2 * a + random.normal(0, 0.1, 120)})


def learn(data: pd.DataFrame, **options: object) -> tuple[neuronwise.Run, Prepared]:
    listener = Listener()
    run = neuronwise.train(data, "y", layers="4", epochs=2, track=False, reporter=listener, **options)  # type: ignore[arg-type]
    return run, listener.data


def test_the_same_data_is_split_as_before_whatever_the_seed(table: pd.DataFrame) -> None:
    first, before = learn(table, seed=0)
    _, after = learn(table, seed=7, test=0.3, from_run=first)
    for part in ("train", "validation", "test"):
        assert getattr(after, part).tolist() == getattr(before, part).tolist()
    assert f"the same rows are held out as in the run {first.name}, which the network starts from" in after.notes


def test_by_its_id_too(table: pd.DataFrame) -> None:
    first, before = learn(table, seed=0)
    _, after = learn(table, seed=7, from_run=first.id)
    assert after.test.tolist() == before.test.tolist()


def test_other_data_is_split_anew_and_said(table: pd.DataFrame) -> None:
    first, _ = learn(table, seed=0)
    _, after = learn(table.iloc[:100], seed=7, from_run=first)
    assert any("learned from other data" in note and "not really held out" in note for note in after.notes)


def test_a_model_alone_is_no_run(table: pd.DataFrame) -> None:
    first, _ = learn(table, seed=0)
    _, after = learn(table, seed=7, from_run=first.folder / "model")
    assert any(note.startswith("the network started from may know some of these rows") for note in after.notes)


def test_a_lost_split_is_said(table: pd.DataFrame) -> None:
    first, _ = learn(table, seed=0)
    for path in Path(first.folder / "recording").glob("split-*"):
        path.unlink()
    _, after = learn(table, seed=7, from_run=first)
    assert any("is lost" in note or "does not fit" in note for note in after.notes)
