from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neuronwise.errors import TrackingError
from neuronwise.tracking import Store, Tracker, open_store, resolve_store
from neuronwise.tracking.quiet import calling_mlflow, import_mlflow, without_warnings
from neuronwise.tracking.sqlite_file import create_file, latest_revision, read_content

HALF = "534353b11cbc"  # where a real interruption left a store
START = """
from neuronwise.tracking import Tracker
from neuronwise.tracking.quiet import import_mlflow
import_mlflow()
print("ready", flush=True)
Tracker.start().finish()
"""


def execute(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.fixture(scope="module")
def half_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of which MLflow has made the first tables, an hour ago."""
    import_mlflow()
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
    from mlflow.store.tracking.dbmodels.initial_models import Base

    path = tmp_path_factory.mktemp("half") / "mlflow.db"
    with calling_mlflow(), without_warnings():
        engine = create_sqlalchemy_engine(f"sqlite:///{path.as_posix()}")
        Base.metadata.create_all(engine)
        config = _get_alembic_config(f"sqlite:///{path.as_posix()}")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, HALF)
        engine.dispose()
    return path


@pytest.fixture
def default(half_made: Path) -> Path:
    """The default store, half made."""
    path = resolve_store().path
    assert path is not None
    path.parent.mkdir(parents=True)
    shutil.copy(half_made, path)
    an_hour_ago(path)
    return path


def an_hour_ago(path: Path) -> None:
    os.utime(path, (time.time() - 3600, time.time() - 3600))


def kill_while_creating(number: signal.Signals, delay_s: float) -> Path:
    """Send a signal to a process `delay_s` seconds after it has begun to make the default store."""
    path = resolve_store().path
    assert path is not None
    process = subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    while process.poll() is None and not [file for file in path.parent.glob("mlflow.db*") if file.suffix != ".lock"]:
        time.sleep(0.005)
    time.sleep(delay_s)
    process.send_signal(number)
    process.communicate(timeout=60)
    return path


def assert_none_or_whole(path: Path) -> None:
    if path.exists():
        assert read_content(path).revision == latest_revision()


def assert_tracking_works(path: Path) -> None:
    with Tracker.start() as tracker:
        assert tracker.not_logged == []
        assert tracker.is_online
    assert sorted(file.name for file in path.parent.glob("mlflow.db*") if file.suffix != ".lock") == ["mlflow.db"]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (location,) = connection.execute("SELECT artifact_location FROM experiments WHERE name = 'Default'").fetchone()
    assert location == f"{(path.parent / 'mlartifacts').as_uri()}/0"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_creation_that_is_killed_leaves_no_store(number: signal.Signals) -> None:
    path = kill_while_creating(number, 0.4)
    assert not path.exists()
    left = path.with_name("mlflow.db.creating")
    assert left.exists() == (number == signal.SIGKILL)
    assert_tracking_works(path)


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.25, 0.6, 0.9, 1.2, 1.4, 1.5, 1.6, 1.7, 1.8, 2.0, 2.3])
def test_a_creation_killed_at_any_moment_leaves_no_store_or_a_whole_one(number: signal.Signals, delay_s: float) -> None:
    path = kill_while_creating(number, delay_s)
    assert_none_or_whole(path)
    assert_tracking_works(path)


def test_a_half_made_default_store_is_set_aside(default: Path) -> None:
    before = default.read_bytes()
    with Tracker.start() as tracker:
        assert tracker.is_online
        assert tracker.not_logged == [
            f"the MLflow store {str(default)!r} was incomplete and held no runs: "
            "it was set aside as 'mlflow.db.incomplete-1' and made anew"
        ]
    assert default.with_name("mlflow.db.incomplete-1").read_bytes() == before
    with Tracker.start() as tracker:
        assert tracker.not_logged == []


def test_one_that_is_set_aside_overwrites_no_earlier_one(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default.with_name("mlflow.db.incomplete-1").write_text("earlier")
    monkeypatch.setattr("neuronwise.tracking.store.create_file", stop)
    with pytest.raises(TrackingError, match="stopped here"):
        open_store(resolve_store())
    assert default.with_name("mlflow.db.incomplete-1").read_text() == "earlier"
    assert default.with_name("mlflow.db.incomplete-2").exists()


def stop(path: Path) -> None:
    raise TrackingError("stopped here")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO runs (run_uuid) VALUES ('a')",
        "INSERT INTO registered_models (name) VALUES ('a')",
        "INSERT INTO experiments (experiment_id, name) VALUES (7, 'prices')",
    ],
)
def test_a_half_made_default_store_that_is_used_is_untouched(default: Path, statement: str) -> None:
    execute(default, statement)
    an_hour_ago(default)
    before = default.read_bytes()
    with pytest.raises(TrackingError, match="is incomplete or was written by another version of MLflow") as caught:
        open_store(resolve_store())
    assert f"(its tables are {HALF}, this MLflow has {latest_revision()})" in caught.value.message
    assert default.read_bytes() == before
    assert not list(default.parent.glob("*.incomplete-*"))


def test_a_half_made_store_of_the_users_is_untouched(default: Path) -> None:
    before = default.read_bytes()
    with pytest.raises(TrackingError, match="is incomplete or was written by another version of MLflow"):
        open_store(Store(f"sqlite:///{default.as_posix()}"))
    assert default.read_bytes() == before
    assert not list(default.parent.glob("*.incomplete-*"))


def test_a_default_store_of_a_later_mlflow_is_untouched(default: Path) -> None:
    execute(default, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    an_hour_ago(default)
    with pytest.raises(TrackingError, match="another version of MLflow"):
        open_store(resolve_store())
    assert read_content(default).revision == "ffffffffffff"


def test_a_store_that_another_program_is_making_is_waited_for(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(default)  # it has just changed

    def complete(seconds: float) -> None:
        execute(default, f"UPDATE alembic_version SET version_num = '{latest_revision()}'")

    monkeypatch.setattr("neuronwise.tracking.sqlite_file.time.sleep", complete)
    monkeypatch.setattr("neuronwise.tracking.store.create_file", stop)
    with contextlib.suppress(TrackingError):  # it is not really complete
        open_store(resolve_store())
    assert default.exists()
    assert not list(default.parent.glob("*.incomplete-*"))


def test_remains_beside_a_new_file_are_removed_and_an_empty_one_keeps_its_mode(tmp_path: Path) -> None:
    import_mlflow()
    path = tmp_path / "mlflow.db"
    path.touch()
    path.chmod(0o600)
    remains = [tmp_path / name for name in ("mlflow.db-journal", "mlflow.db.creating", "mlflow.db.creating-journal")]
    for file in remains:
        file.write_text("remains")
    with calling_mlflow(), without_warnings():
        create_file(path)
    assert list(tmp_path.iterdir()) == [path]
    assert read_content(path).revision == latest_revision()
    assert path.stat().st_mode & 0o777 == 0o600
