"""Data that is learned in a moment, and one run for the tests that only look at one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import neuronwise
from neuronwise import Run

from .flaky import Flaky

if TYPE_CHECKING:
    from neuronwise.tracking import Store


def make_frame(rows: int = 90, seed: int = 0) -> pd.DataFrame:
    """Return a table: two numbers, a category, a target that follows from them, and a class."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": random.normal(size=rows), "b": random.normal(size=rows)})
    frame["kind"] = random.choice(["x", "y", "z"], rows)
    frame["y"] = 2.0 * frame["a"] - frame["b"] + (frame["kind"] == "x")
    frame["sign"] = np.where(frame["a"] > 0, "above", "below")
    return frame


@pytest.fixture
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture(scope="session")
def kept_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "home"


@pytest.fixture(scope="session")
def kept_run(kept_home: Path) -> Run:
    """Return a run on a table, not tracked; tests must not change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(kept_home))
        return neuronwise.train(
            make_frame(), "y", drop=["sign"], layers=[6, 4], epochs=6, learning_rate=0.05, name="kept", track=False
        )


@pytest.fixture(scope="session")
def kept_classes(kept_home: Path) -> Run:
    """Return a run on two classes, likewise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(kept_home))
        return neuronwise.train(make_frame(), "sign", drop=["y"], layers=[4], epochs=6, name="classes", track=False)


@pytest.fixture
def in_home(kept_home: Path, kept_run: Run, kept_classes: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the home of the kept runs the user's."""
    monkeypatch.setenv("NEURONWISE_HOME", str(kept_home))
    return kept_home


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of an MLflow store without runs: making one takes seconds, copying it nothing."""
    from neuronwise.tracking import Store, open_store

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    open_store(Store(f"sqlite:///{path.as_posix()}"))
    return path


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Store:
    """Return the user's store, which is empty."""
    from neuronwise.tracking import resolve_store

    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(empty_store, home / "mlflow.db")
    return resolve_store()


@pytest.fixture
def flaky(store: Store, monkeypatch: pytest.MonkeyPatch) -> Flaky:
    """Return what lets the user's store be away."""
    return Flaky().install(monkeypatch)
