"""A real MLflow store for each test module: making one takes about two seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuronwise.tracking import Store, Tracker, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store with spaces é")
    made = Store(f"sqlite:///{(folder / 'mlflow.db').as_posix()}", "default", folder / "mlartifacts")
    open_store(made)
    return made


@pytest.fixture
def tracker(store: Store) -> Iterator[Tracker]:
    with Tracker.start(store, interval_s=0.0) as started:
        assert started.not_logged == []
        yield started


@pytest.fixture(autouse=True)
def _no_active_run() -> Iterator[None]:
    yield
    if (mlflow := sys.modules.get("mlflow")) is not None:
        while mlflow.active_run() is not None:
            mlflow.end_run()
        mlflow.set_tracking_uri(None)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    from neuronwise.network import Network

    folder = tmp_path / "a person's folder"
    Network.dense([2, 3, 1], seed=1, input_names=["sqft", "zip"]).save(folder)
    (folder / "encoder.json").write_text("{}")
    return folder
