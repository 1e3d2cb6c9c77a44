"""Fixtures shared by all tests: deterministic Hypothesis, a home of its own for each test, shared data."""

from __future__ import annotations

import os
import signal
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

# A shell starts what runs in its background with Ctrl-C ignored, and Python then leaves it so: the tests of Ctrl-C
# would wait for it in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's runs, cache or tracking settings."""
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)  # MLflow's own defaults write where one stands
    for name in ("TRACKING_URI", "RUN_ID", "EXPERIMENT_NAME", "EXPERIMENT_ID"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
    monkeypatch.delenv("NEURONWISE_DATA", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with MNIST, house sales and pictures; skip where it is absent.

    It is `NEURONWISE_TEST_DATA`, else `shared/data` beside the repository.
    """
    folder = Path(os.environ.get("NEURONWISE_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the folder {folder} is absent: set NEURONWISE_TEST_DATA to one with mnist/ and housing/")
    return folder
