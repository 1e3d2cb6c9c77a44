from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from neuronwise.tracking.quiet import SettingsScope, import_mlflow, quietly, reason

TELEMETRY = """
import os, sys
from neuronwise.tracking.quiet import import_mlflow
if "early" in sys.argv:
    import mlflow
import_mlflow()
from mlflow.telemetry.utils import is_telemetry_disabled
from mlflow.telemetry import get_telemetry_client
print(os.environ.get("MLFLOW_DISABLE_TELEMETRY"), get_telemetry_client())
"""


def run(*arguments: str, **settings: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_DISABLE_TELEMETRY", "CI")}
    environment.pop("PYTEST_CURRENT_TEST", None)
    result = subprocess.run(
        [sys.executable, "-c", TELEMETRY, *arguments],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return result.stdout.strip()


def test_telemetry_is_off() -> None:
    assert run() == "true None"


@pytest.mark.full
def test_telemetry_is_off_also_when_mlflow_was_there_before() -> None:
    assert run("early") == "true None"


@pytest.mark.full
def test_do_not_track_counts_in_any_spelling() -> None:
    assert run(DO_NOT_TRACK="1") == "true None"


@pytest.mark.full
def test_the_users_word_on_telemetry_stays() -> None:
    assert run(MLFLOW_DISABLE_TELEMETRY="false").startswith("false")
    assert run(DO_NOT_TRACK="false").startswith("None")


def test_only_our_own_calls_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    import_mlflow()
    logger = logging.getLogger("mlflow.test")
    with quietly():
        logger.warning("ours")
    logger.warning("the user's")
    assert "ours" not in capsys.readouterr().err.replace("the user's", "")


def test_settings_last_as_long_as_the_last_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    first, second = SettingsScope(), SettingsScope()
    first.enter()
    second.enter()
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"  # the user's own
    first.leave()
    first.leave()
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"
    second.leave()
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"


def test_reasons_are_one_line() -> None:
    assert reason(ValueError("first.\nsecond")) == "first"
    assert reason(ValueError("\x1b[1;33mred\x1b[0m alert")) == "red alert"
    assert reason(ValueError()) == "ValueError"
