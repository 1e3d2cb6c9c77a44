"""Fixtures shared by all tests: deterministic Hypothesis, a home of its own for each test, shared data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Deterministic and without a deadline: the machines that run this are shared and noisy.
settings.register_profile(
    "neuronwise",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("neuronwise")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads or writes the user's runs, cache or tracking settings."""
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "home"))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "NEURONWISE_DATA", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with MNIST, house sales and pictures; skip where it is absent.

    It is `NEURONWISE_TEST_DATA`, else `shared/data` beside the repository.
    """
    folder = Path(os.environ.get("NEURONWISE_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the data folder {folder} is absent: set NEURONWISE_TEST_DATA to a folder with mnist/ and housing/")
    return folder
