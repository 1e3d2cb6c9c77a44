"""Loading and calling MLflow without its noise, its telemetry, or lasting changes to the user's process."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from neuronwise.errors import MissingExtraError, TrackingError

_log = logging.getLogger("neuronwise")
_LOGGERS = ("mlflow", "alembic", "sqlalchemy.engine", "huey")
_here = threading.local()

# While one of our runs is open. Requests are few and a dead server must not hold anyone up for the
# four minutes of MLflow's own retries; links and bars are printed by our command line, not by a library.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_lock = threading.Lock()
_users = 0
_ours: list[str] = []


class _SilentHere(logging.Filter):
    """Keeps what our own calls log off the terminal; records of the user's threads pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(_here, "depth", 0):
            return True
        _log.debug("%s: %s", record.name, record.getMessage())
        return False


def import_mlflow() -> Any:
    """Return the module `mlflow`, imported with its telemetry off (unless the user chose) and in silence.

    Raises:
        MissingExtraError: MLflow is not installed.
        TrackingError: It is installed and cannot be imported.
    """
    loaded = "mlflow" in sys.modules
    _disable_telemetry(loaded)
    try:
        with warnings.catch_warnings():
            if not loaded:
                warnings.simplefilter("ignore")
            import mlflow
    except ModuleNotFoundError as error:
        if error.name != "mlflow":
            raise TrackingError(f"MLflow cannot be imported: {error}") from error
        raise MissingExtraError("MLflow is not installed", hint="pip install 'mlflow>=3.10,<4'") from None
    except Exception as error:
        raise TrackingError(f"MLflow cannot be imported: {type(error).__name__}: {error}") from error
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(one, _SilentHere) for one in handler.filters):
                handler.addFilter(_SilentHere())
    return mlflow


def _disable_telemetry(loaded: bool) -> None:
    """Switch MLflow's telemetry off unless the user decided: MLflow itself understands only DO_NOT_TRACK=true."""
    if "MLFLOW_DISABLE_TELEMETRY" in os.environ:
        return
    if os.environ.get("DO_NOT_TRACK", "").strip().lower() in ("0", "false", "no"):
        return
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    if loaded:
        with contextlib.suppress(Exception):
            from mlflow.telemetry import set_telemetry_client

            set_telemetry_client()  # reads the variable again and lets go of its client


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep what MLflow logs in this thread off the terminal."""
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore warnings of MLflow's own code. Changes the process's filters: for the caller's thread only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def own_randomness() -> Iterator[None]:
    """Leave Python's random state as it was, whatever is drawn meanwhile, also by threads that are waited for.

    What is drawn is of no seed of the user's: else the names that MLflow makes of it would come again with every
    start of a script.
    """
    state = random.getstate()
    random.seed()
    try:
        yield
    finally:
        random.setstate(state)


class SettingsScope:
    """MLflow settings for as long as one of our runs is open; what the user has set stays as it is."""

    def __init__(self) -> None:
        self._open = False

    def enter(self) -> None:
        """Apply the settings, if this is the first scope."""
        global _users
        with _lock:
            if self._open:
                return
            self._open = True
            _users += 1
            if _users == 1:
                _ours[:] = [name for name in _SETTINGS if name not in os.environ]
                os.environ.update({name: _SETTINGS[name] for name in _ours})

    def leave(self) -> None:
        """Take the settings back, if this is the last scope; a second call does nothing."""
        global _users
        with _lock:
            if not self._open:
                return
            self._open = False
            _users -= 1
            if _users == 0:
                for name in _ours:
                    if os.environ.get(name) == _SETTINGS[name]:
                        del os.environ[name]


@contextlib.contextmanager
def calling_mlflow() -> Iterator[None]:
    """Quiet logs and our settings around calls of MLflow."""
    scope = SettingsScope()
    scope.enter()
    try:
        with quietly():
            yield
    finally:
        scope.leave()


def reason(error: BaseException) -> str:
    """Return the first line of an error, for a sentence; without colours and other control characters."""
    text = str(getattr(error, "message", None) or error).strip()
    text = re.sub(r"\x1b\[[0-9;]*m|[\x00-\x09\x0b-\x1f\x7f]", "", text)
    lines = text.splitlines()
    first = lines[0].rstrip(".") if lines else ""
    if len(first) > 600:
        first = first[:600].rsplit(" ", 1)[0] + " …"
    return first or type(error).__name__
