from __future__ import annotations

import os
import shlex
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from neuronwise.errors import TrackingError
from neuronwise.tracking import Store, open_store, resolve_store
from neuronwise.tracking.store import store_again


def test_without_any_setting_it_is_one_file_in_the_users_folder(tmp_path: Path) -> None:
    store = resolve_store()
    assert store.uri == f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}"
    assert store.is_default
    assert store.artifact_root == tmp_path / "home" / "mlartifacts"
    assert not (tmp_path / "home").exists()  # resolving opens nothing


def test_the_users_setting_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert resolve_store().uri == "http://localhost:5000"
    assert resolve_store().source == "MLFLOW_TRACKING_URI"
    assert resolve_store("http://elsewhere:1").uri == "http://elsewhere:1"
    assert resolve_store("http://elsewhere:1").source == "argument"
    assert not resolve_store().is_default


def test_set_tracking_uri_and_the_active_run_are_found(store: Store) -> None:
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    assert resolve_store().uri == store.uri
    assert resolve_store().source == "MLFLOW_TRACKING_URI"
    with mlflow.start_run():
        assert resolve_store().source == "active run"


def test_a_relative_sqlite_file_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_store("sqlite:///mlflow.db").uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert resolve_store("sqlite:///:memory:").uri == "sqlite:///:memory:"


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("sqlite:////a/b.db", "sqlite"),
        ("postgresql+psycopg://u:p@h/db", "database"),
        ("https://h/mlflow", "http"),
        ("file:///a/mlruns", "file"),
        ("./mlruns", "file"),
        ("C:\\mlruns", "file"),
        ("databricks://profile", "other"),
    ],
)
def test_kinds(uri: str, kind: str) -> None:
    assert Store(uri).kind == kind


def test_passwords_are_not_shown() -> None:
    store = Store("postgresql://ada:secret@db.example:5432/mlflow")
    assert store.display_uri == "postgresql://***@db.example:5432/mlflow"
    assert "secret" not in str(store.ui_command)
    assert Store("https://ada:secret@h").run_url("1", "2") == (
        "https://***@h/#/experiments/1/runs/2?workflowType=machine_learning"
    )


def test_the_command_that_opens_the_page_can_be_typed() -> None:
    command = Store("sqlite:////home/a b/mlflow.db").ui_command
    assert command is not None
    words = shlex.split(command)
    assert words[-3:] == ["ui", "--backend-store-uri", "sqlite:////home/a b/mlflow.db"]
    assert words[0].endswith("mlflow") or words[:3] == [sys.executable, "-m", "mlflow"]
    assert Store("http://localhost:5000").ui_command is None


def test_the_command_is_short_where_the_shell_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert str(Store("sqlite:////a.db").ui_command) == 'mlflow ui --backend-store-uri "sqlite:////a.db"'
    other = tmp_path / "mlflow"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))  # another environment's: its MLflow may not read this store
    assert not str(Store("sqlite:////a.db").ui_command).startswith("mlflow ")


def test_a_home_that_cannot_stand_in_an_address_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "100%"))
    with pytest.raises(TrackingError, match=r"cannot hold a store.*\nset NEURONWISE_HOME"):
        resolve_store()


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_is_not_there_is_told_within_seconds(scheme: str) -> None:
    start = time.perf_counter()
    with pytest.raises(TrackingError, match=r"cannot be reached: .*refused") as caught:
        open_store(Store(f"{scheme}://127.0.0.1:{closed_port()}/x"))
    assert time.perf_counter() - start < 3
    assert "unset MLFLOW_TRACKING_URI" in str(caught.value.hint)


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(TrackingError, match="is no address"):
        open_store(Store("http://localhost:port"))


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/nowhere/mlruns"])
def test_the_refusal_of_a_folder_is_explained(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrackingError, match="MLflow no longer takes a folder as its store") as caught:
        open_store(Store(uri, "MLFLOW_TRACKING_URI"))
    assert "migrate-filestore --source" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, but long enough to look like one" * 20)
    start = time.perf_counter()
    with pytest.raises(TrackingError, match=r"mlflow\.db.*cannot be opened: file is not a database"):
        open_store(Store(f"sqlite:///{tmp_path}/mlflow.db"))
    assert time.perf_counter() - start < 5


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrackingError, match="cannot be opened"):
        open_store(Store(f"sqlite:///{tmp_path}/file/mlflow.db"))


def test_a_store_of_another_version_is_not_migrated_unasked(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('0123456789ab')")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(TrackingError, match=r"another version of MLflow \(its tables are 0123456789ab") as caught:
        open_store(Store(f"sqlite:///{path}"))
    assert f'db upgrade "sqlite:///{path}"' in str(caught.value.hint)
    assert path.read_bytes() == before


def test_resolving_and_asking_load_no_mlflow() -> None:
    code = "import sys; from neuronwise.tracking import resolve_store; resolve_store().ui_command; "
    code += "sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


OPEN = """
    import sys, time
    from neuronwise.tracking import Tracker
    from neuronwise.tracking.quiet import import_mlflow
    import_mlflow()
    print("ready", flush=True)
    sys.stdin.readline()
    tracker = Tracker.start(params={"number": sys.argv[1]}, name="run " + sys.argv[1])
    tracker.log_metrics({"loss": float(sys.argv[1])}, step=1)
    tracker.finish()
    sys.exit("; ".join(tracker.not_logged) or 0)
"""


def test_four_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "NEURONWISE_HOME": str(tmp_path / "new home")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(OPEN), str(number)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:  # all have loaded MLflow: they start together
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outcomes: list[tuple[int, str, str]] = []

    def go(process: subprocess.Popen[str]) -> None:
        out, err = process.communicate("go\n", timeout=120)
        outcomes.append((process.returncode, out, err))

    threads = [threading.Thread(target=go, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Every one succeeds, and nothing of MLflow's making of tables reaches the terminal.
    assert outcomes == [(0, "", "")] * 4
    with sqlite3.connect(tmp_path / "new home" / "mlflow.db") as connection:
        assert sorted(connection.execute("SELECT value FROM latest_metrics")) == [(0,), (1,), (2,), (3,)]
        assert connection.execute("SELECT count(*) FROM experiments WHERE name = 'neuronwise'").fetchone() == (1,)
        assert connection.execute("SELECT DISTINCT status FROM runs").fetchall() == [("FINISHED",)]
    connection.close()


def test_the_store_of_a_run_is_found_again_unless_it_is_gone_or_its_password_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    uri = Store(f"sqlite:///{path}").display_uri
    assert store_again(uri) is None
    path.touch()
    found = store_again(uri)
    assert found is not None
    assert found.display_uri == uri
    assert store_again(Store("postgresql://me:secret@host/db").display_uri) is None
    assert store_again("http://127.0.0.1:5000") == Store("http://127.0.0.1:5000", "argument")
