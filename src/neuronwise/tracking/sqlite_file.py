"""The file of a sqlite store: made whole or not at all, and what is left of one that was not."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

# What sqlite keeps beside a file; beside a file that is not there they are remains, which a new file of that name
# would inherit.
_COMPANIONS = ("-journal", "-wal", "-shm")
# A file that changed within this time may be in the making by another program, such as `mlflow ui`.
_REST_S = 3.0
# Tables into which MLflow writes by itself, and its experiments that are there before any run.
_MLFLOWS_OWN = frozenset({"alembic_version", "experiments", "workspaces"})
_FIRST_EXPERIMENTS = ("Default", "neuronwise")


@dataclass(frozen=True)
class Content:
    """What a sqlite file holds.

    Attributes:
        tables: Names of its tables.
        revision: Version of MLflow's tables; None if it names none.
        is_used: Whether anything was written to it besides what MLflow writes into a new store.
    """

    tables: frozenset[str] = frozenset()
    revision: str | None = None
    is_used: bool = False


def read_content(path: Path) -> Content:
    """Return what a file holds; nothing if it is absent or empty. It is not changed.

    Raises:
        sqlite3.Error: It is no sqlite file, or cannot be read.
    """
    if not path.exists():
        return Content()
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        )
        tables = frozenset(str(name) for (name,) in names)
        row = None
        if "alembic_version" in tables:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        used = any(_has_rows(connection, name) for name in sorted(tables - _MLFLOWS_OWN))
        if not used and "experiments" in tables:
            marks = ", ".join("?" * len(_FIRST_EXPERIMENTS))
            query = f"SELECT 1 FROM experiments WHERE name NOT IN ({marks}) LIMIT 1"  # noqa: S608 - only marks
            used = connection.execute(query, _FIRST_EXPERIMENTS).fetchone() is not None
    return Content(tables, None if row is None else str(row[0]), used)


def _has_rows(connection: sqlite3.Connection, table: str) -> bool:
    quoted = table.replace('"', '""')
    return connection.execute(f'SELECT 1 FROM "{quoted}" LIMIT 1').fetchone() is not None  # noqa: S608 - quoted


def latest_revision() -> str | None:
    """Return the version of the tables that the installed MLflow makes; None if it does not tell."""
    try:
        from mlflow.store.db.utils import _get_latest_schema_revision
    except ImportError:
        return None
    return str(_get_latest_schema_revision())


def create_file(path: Path) -> None:
    """Make a new store with all of MLflow's tables and no experiment; does nothing if the file has tables already.

    The tables are made in ``<path>.creating``, which takes its place when it is complete: whenever this is
    interrupted or killed, there is no store or a whole one. What an earlier call has left is removed. The caller
    holds the lock of the store.
    """
    path = Path(os.path.realpath(path))
    if "%" in str(path):
        return  # versions of SQLAlchemy differ in what file that is: left to MLflow
    try:
        from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
    except ImportError:
        return  # an MLflow that makes its tables in another way makes them in place
    unfinished = path.with_name(f"{path.name}.creating")
    _remove(unfinished)
    try:
        # Not by MLflow's store: that keeps its engine for the address, and names its folders after it.
        engine = create_sqlalchemy_engine(f"sqlite:///{unfinished.as_posix()}")
        try:
            _initialize_tables(engine)
        finally:
            engine.dispose()
        # MLflow itself or an empty file of the user's may have come between.
        if read_content(unfinished).revision != latest_revision() or read_content(path).tables:
            return
        if path.exists():
            shutil.copymode(path, unfinished)
        for suffix in _COMPANIONS:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.replace(unfinished, path)
    finally:
        _remove(unfinished)


def set_aside_remains(path: Path) -> Path | None:
    """Rename a file whose making was interrupted, if it holds no runs nor anything else, and return its new name.

    The name is ``<path>.incomplete-<n>``. None is returned for a file that is complete, in use, made by a later
    MLflow, absent or empty. Waits until another program has made the file, while that changes it, 10 s at most. The
    caller holds the lock of the store.
    """
    for _ in range(50):
        content = read_content(path)
        if not content.tables or content.is_used or not _is_earlier_revision(content.revision):
            return None
        if not 0 <= time.time() - path.stat().st_mtime < _REST_S:
            break
        time.sleep(0.2)
    number = 1
    while (aside := path.with_name(f"{path.name}.incomplete-{number}")).exists():
        number += 1
    for suffix in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            os.replace(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
    os.replace(path, aside)
    return aside


def _is_earlier_revision(revision: str | None) -> bool:
    """Return whether the installed MLflow knows a version of the tables, and makes a later one."""
    if revision is None:
        return True
    try:
        from alembic.script import ScriptDirectory
        from mlflow.store.db.utils import _get_alembic_config

        known = {script.revision for script in ScriptDirectory.from_config(_get_alembic_config("")).walk_revisions()}
    except ImportError:
        return False
    return revision in known and revision != latest_revision()


def _remove(path: Path) -> None:
    for suffix in ("", *_COMPANIONS):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
