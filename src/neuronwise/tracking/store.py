"""Which MLflow store runs go to, and opening it safely."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from neuronwise.errors import TrackingError
from neuronwise.files import user_data_folder
from neuronwise.tracking.quiet import calling_mlflow, import_mlflow, reason, without_warnings
from neuronwise.tracking.sqlite_file import create_file, latest_revision, read_content, set_aside_remains

_log = logging.getLogger("neuronwise")

Kind = Literal["sqlite", "database", "http", "file", "other"]
Source = Literal["argument", "MLFLOW_TRACKING_URI", "active run", "default", "the run"]

# Seconds until a server counts as unreachable.
CONNECT_TIMEOUT_S = 3.0
# Creating the 71 tables of a new store takes about 2 s; several processes wait for one another.
_LOCK_TIMEOUT_S = 120.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


@dataclass(frozen=True)
class Store:
    """A place where MLflow keeps runs.

    Attributes:
        uri: MLflow's tracking URI; a local sqlite file by its absolute path. It may hold a password, which
            `display_uri` hides.
        source: Where it comes from: ``"argument"``, ``"MLFLOW_TRACKING_URI"``, ``"active run"``, ``"default"``, or
            ``"the run"`` that is kept in it.
        artifact_root: Folder for the files of new experiments, or None: as the store decides.
    """

    uri: str
    source: Source = "argument"
    artifact_root: Path | None = None

    @property
    def is_default(self) -> bool:
        """Whether this is Neuronwise's own store, in the user's data folder."""
        return self.source == "default"

    @property
    def kind(self) -> Kind:
        """What stands behind it."""
        scheme = urlsplit(self.uri).scheme.lower() if "://" in self.uri or ":" in self.uri else ""
        if scheme.startswith("sqlite"):
            return "sqlite"
        if scheme.split("+")[0] in ("postgresql", "mysql", "mssql"):
            return "database"
        if scheme in ("http", "https"):
            return "http"
        # One letter is a drive of Windows.
        return "file" if scheme in ("", "file") or len(scheme) == 1 else "other"

    @property
    def path(self) -> Path | None:
        """The file of a sqlite store; None for others and for one in memory."""
        if self.kind != "sqlite":
            return None
        name = self.uri.split(":///", 1)[1].split("?")[0] if ":///" in self.uri else ""
        return None if name in ("", ":memory:") else Path(name)

    @property
    def display_uri(self) -> str:
        """The address to show: without password."""
        return re.sub(r"(?<=://)[^/@]*:[^/@]*@", "***@", self.uri)

    @property
    def ui_command(self) -> str | None:
        """The line to type that opens MLflow's page on this store; None for a server, which is a page itself."""
        if self.kind not in ("sqlite", "database", "file"):
            return None
        return f"{_mlflow_command()} ui --backend-store-uri {_quote(self.display_uri)}"

    def run_url(self, experiment_id: str, run_id: str) -> str | None:
        """Return the address of a run's page on a server; None for other stores."""
        if self.kind != "http":
            return None
        base = self.display_uri.rstrip("/")
        return f"{base}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def resolve_store(uri: str | Path | None = None) -> Store:
    """Return the store to use; nothing is opened, and MLflow is not imported.

    The first of: `uri`, the run that is active in this process, `MLFLOW_TRACKING_URI` (which
    `mlflow.set_tracking_uri` also sets), else one sqlite file in the user's data folder.

    Raises:
        TrackingError: The user's data folder has a name that cannot stand in an address.
    """
    if uri is not None:
        return Store(_absolute(str(uri)), "argument")
    mlflow = sys.modules.get("mlflow")
    # A module that is only half imported (by another thread) has no such function yet.
    if mlflow is not None and getattr(mlflow, "active_run", None) is not None:
        if mlflow.active_run() is not None:
            return Store(_absolute(str(mlflow.get_tracking_uri())), "active run")
        if mlflow.is_tracking_uri_set():
            return Store(_absolute(str(mlflow.get_tracking_uri())), "MLFLOW_TRACKING_URI")
    if given := os.environ.get("MLFLOW_TRACKING_URI", "").strip():
        return Store(_absolute(given), "MLFLOW_TRACKING_URI")
    return default_store()


def default_store() -> Store:
    """Return Neuronwise's own store, in the user's data folder.

    Raises:
        TrackingError: That folder has a name that cannot stand in an address.
    """
    folder = user_data_folder()
    if set(str(folder)) & set("?%"):
        raise TrackingError(
            f"the folder {str(folder)!r} cannot hold a store: '?' and '%' cannot stand in its address",
            hint="set NEURONWISE_HOME to another folder",
        )
    return Store(_sqlite_uri(folder / "mlflow.db"), "default", folder / "mlartifacts")


def store_again(uri: str) -> Store | None:
    """Return the store that a run was kept in, by its `display_uri`; None for the user's, if that one is gone.

    A password is not kept: for such a store the user's address is taken.
    """
    store = resolve_store(uri)
    gone = store.path is not None and not store.path.exists()
    return None if "***@" in uri or gone else store


def store_of(uri: str | None) -> Store:
    """Return the store that a run is kept in, or was to be kept in.

    Args:
        uri: Its `display_uri`; None, where it had no address yet, for the user's.

    Raises:
        TrackingError: Its address needs a password, which is not kept.
    """
    if uri is None:
        return resolve_store()
    for known in (resolve_store(), default_store()):
        if known.display_uri == uri:  # with its password, and the folder for its files
            return known
    if "***@" in uri:
        raise TrackingError(
            f"the password of the store {uri!r} is not kept",
            hint="set MLFLOW_TRACKING_URI to its whole address and try again",
        )
    return Store(_absolute(uri), "the run")


def open_store(store: Store, *, say: Callable[[str], None] = _log.info) -> Any:
    """Return an `mlflow.MlflowClient` of a store that works, creating a sqlite file if it is new.

    A file in Neuronwise's own place whose making was interrupted, without runs, is set aside and made anew; `say`
    is called with a sentence about it. Files with runs, and the user's, stay as they are.

    Raises:
        TrackingError: It cannot be reached, opened or used with this MLflow; the message says what to do.
        MissingExtraError: MLflow is not installed.
    """
    check_reachable(store)
    mlflow = import_mlflow()
    with calling_mlflow(), without_warnings():
        if store.kind == "sqlite" and store.path is not None:
            return _open_sqlite(mlflow, store, store.path, say)
        try:
            client = mlflow.MlflowClient(tracking_uri=store.uri)
            if store.kind == "file":
                client.search_experiments(max_results=1)  # the refusal of a file store comes with its first use
            return client
        except Exception as error:
            raise _explain(store, error) from error


def _open_sqlite(mlflow: Any, store: Store, path: Path, say: Callable[[str], None]) -> Any:
    import filelock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{path}.lock", timeout=_LOCK_TIMEOUT_S)
        # MLflow creates its tables without any lock: of four processes that open a new file at once, three die.
        with lock:
            if _check_sqlite(store, path, say):
                create_file(path)
            if store.artifact_root is not None:
                # The same store MLflow's client will use, made first so that its experiment "Default" keeps its
                # files in our folder, not in the current directory.
                with contextlib.suppress(ImportError, TypeError):
                    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

                    SqlAlchemyStore(store.uri, store.artifact_root.as_uri())
            return mlflow.MlflowClient(tracking_uri=store.uri)
    except filelock.Timeout:
        raise TrackingError(
            f"another process has been opening {str(path)!r} for {_LOCK_TIMEOUT_S:.0f} s",
            hint=f"if none is running, delete {str(path) + '.lock'!r}",
        ) from None
    except TrackingError:
        raise
    except Exception as error:
        raise _explain(store, error) from error


def _check_sqlite(store: Store, path: Path, say: Callable[[str], None]) -> bool:
    """Return whether the file is still to be made; fail where MLflow would try ten times for two minutes.

    An old file is never migrated unasked. One of ours that holds nothing is set aside: its making was interrupted.
    """
    if store.is_default and (aside := set_aside_remains(path)) is not None:
        say(
            f"the MLflow store {str(path)!r} was incomplete and held no runs: "
            f"it was set aside as {aside.name!r} and made anew"
        )
    content, expected = read_content(path), latest_revision()
    # Tables without a version are MLflow's to complete.
    if content.revision is not None and expected is not None and content.revision != expected:
        raise TrackingError(
            f"{str(path)!r} is incomplete or was written by another version of MLflow (its tables are "
            f"{content.revision}, this MLflow has {expected})",
            hint=f"make a copy of the file, then: {_mlflow_command()} db upgrade {_quote(store.uri)}",
        )
    return not content.tables


def _explain(store: Store, error: Exception) -> TrackingError:
    text = reason(error)
    if store.kind == "file":
        folder = store.uri.removeprefix("file://") or "./mlruns"
        return TrackingError(
            f"MLflow no longer takes a folder as its store, and {store.uri!r} (from {store.source}) is one: {text}",
            hint=(
                f"migrate it: {_mlflow_command()} migrate-filestore --source {_quote(folder)} "
                f'--target "sqlite:///mlflow.db", and set MLFLOW_TRACKING_URI to the new address'
            ),
        )
    where = str(store.path) if store.path else store.display_uri
    return TrackingError(
        f"the MLflow store {where!r} (from {store.source}) cannot be opened: {text}",
        hint="check the address, or unset MLFLOW_TRACKING_URI to use Neuronwise's own store"
        if not store.is_default
        else "set NEURONWISE_HOME to a folder that can be written",
    )


def check_reachable(store: Store) -> None:
    """Return if the server of a store takes connections, within `CONNECT_TIMEOUT_S`; local stores always do.

    Raises:
        TrackingError: It does not; the message says why.
    """
    if store.kind not in ("http", "database"):
        return
    parts = urlsplit(store.uri)
    scheme = parts.scheme.lower().split("+")[0]
    try:
        host, port = parts.hostname, parts.port or _PORTS.get(scheme)
    except ValueError as error:
        raise TrackingError(f"{store.display_uri!r} (from {store.source}) is no address: {error}") from None
    if not host or port is None or _uses_proxy(scheme, host):
        return
    failure = _connect(host, port)
    if failure:
        raise TrackingError(
            f"the MLflow server {store.display_uri!r} (from {store.source}) cannot be reached: {failure}",
            hint="start it, or unset MLFLOW_TRACKING_URI to use Neuronwise's own store",
        )


def _connect(host: str, port: int) -> str | None:
    """Return why no connection comes about within `CONNECT_TIMEOUT_S`, None if one does."""
    answer: list[str | None] = []

    def attempt() -> None:
        try:
            with socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S):
                answer.append(None)
        except OSError as error:
            answer.append(error.strerror or str(error))

    # A thread, since looking up a name has no timeout of its own.
    thread = threading.Thread(target=attempt, daemon=True, name="neuronwise-connect")
    thread.start()
    thread.join(CONNECT_TIMEOUT_S + 0.5)
    return answer[0] if answer else f"no answer within {CONNECT_TIMEOUT_S:.0f} s"


def _uses_proxy(scheme: str, host: str) -> bool:
    if scheme not in ("http", "https"):
        return False
    import urllib.request

    return scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)


def _absolute(uri: str) -> str:
    """Make the path of a sqlite address absolute, so that it means the same from every folder."""
    match = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^?]+)(\?.*)?", uri)
    if match is None or match[2] == ":memory:" or not match[2].strip():
        return uri
    return match[1] + Path(match[2]).expanduser().absolute().as_posix() + (match[3] or "")


def _sqlite_uri(path: Path) -> str:
    # Not percent-encoded: SQLAlchemy takes spaces as they are, and its versions differ in decoding.
    return f"sqlite:///{path.absolute().as_posix()}"


def _mlflow_command() -> str:
    """Return ``mlflow`` if a shell would find the one of this Python, else its full path."""
    script = Path(sys.executable).with_name("mlflow.exe" if os.name == "nt" else "mlflow")
    found = shutil.which("mlflow")
    if found is not None and Path(found).parent == script.parent:
        return "mlflow"
    if script.exists():
        return _quote(str(script), bare=True)
    return f"{_quote(sys.executable, bare=True)} -m mlflow"


def _quote(text: str, *, bare: bool = False) -> str:
    """Quote for a shell; with double quotes, which all shells know, unless the text holds what they would expand."""
    if bare and re.fullmatch(r"[\w./:\\~+-]+", text):
        return text
    return shlex.quote(text) if set(text) & set('$`"\\!') and os.name != "nt" else f'"{text}"'
