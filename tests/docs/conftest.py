"""What running a page needs: a home of its own with an MLflow store that is already made, and the command line."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[[str], tuple[int, str]]


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow store: making one takes seconds, copying it nothing."""
    from neuronwise.tracking import Store, open_store

    path = tmp_path_factory.mktemp("docs-store") / "mlflow.db"
    open_store(Store(f"sqlite:///{path.as_posix()}"))
    return path


@pytest.fixture
def page_home(tmp_path: Path, new_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to be in, with a home and store of its own; what a page does to MLflow is undone."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(new_store, home / "mlflow.db")
    monkeypatch.setenv("NEURONWISE_HOME", str(home))
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    if (mlflow := sys.modules.get("mlflow")) is not None:
        while mlflow.active_run() is not None:
            mlflow.end_run()
        mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def neuronwise_command() -> Run:
    """Run a line ``neuronwise …`` in this process; return its exit code, and stdout and stderr together."""
    from neuronwise.cli.main import build_cli, run

    cli = build_cli()

    def call(line: str) -> tuple[int, str]:
        words = shlex.split(line)
        assert words[0] == "neuronwise", line
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = run(lambda: cli.main(words[1:], standalone_mode=False, prog_name="neuronwise"))
        return code, out.getvalue()

    return call
