"""Where a new run goes: the run the user has open, the experiment the user has chosen, or ours."""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from typing import Any

from neuronwise.errors import TrackingError
from neuronwise.tracking.names import MAX_EXPERIMENT, shorten
from neuronwise.tracking.quiet import import_mlflow
from neuronwise.tracking.store import Store, resolve_store

DEFAULT_EXPERIMENT = "neuronwise"


def users_run(store: Store) -> str | None:
    """Return the id of the run that is active in this process or that `MLFLOW_RUN_ID` names, None if there is none."""
    if store.source in ("active run", "argument"):
        mlflow = import_mlflow()
        run = mlflow.active_run()
        if run is not None and resolve_store(str(mlflow.get_tracking_uri())).uri == store.uri:
            return str(run.info.run_id)
    return os.environ.get("MLFLOW_RUN_ID") or None


def users_experiment(client: Any) -> str | None:
    """Return the name of the experiment chosen by `mlflow.set_experiment` or the environment, None if there is none.

    Raises:
        Exception: MLflow's own, if the store has no experiment of the id that is set.
    """
    with contextlib.suppress(Exception):  # it may belong to another store
        from mlflow.tracking import fluent

        if (active := getattr(fluent, "_active_experiment_id", None)) is not None:
            return str(client.get_experiment(str(active)).name)
    if name := os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        return name
    if identity := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return str(client.get_experiment(identity).name)
    return None


def experiment_id(client: Any, store: Store, name: str) -> str:
    """Return the id of the experiment of this name, which is made if there is none; of a long one it is cut.

    Raises:
        TrackingError: It was deleted.
    """
    name = shorten(name, MAX_EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is None:
        location = (store.artifact_root / _folder_name(name)).as_uri() if store.artifact_root else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except Exception as error:
            if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process was faster
    if found is None or found.lifecycle_stage != "active":
        identity = found.experiment_id if found is not None else "ID"
        raise TrackingError(
            f"the experiment {name!r} was deleted",
            hint=f"name another experiment, or: mlflow experiments restore -x {identity}",
        )
    return str(found.experiment_id)


def with_context_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return `tags` with those that MLflow gives its own runs: user, script, git commit."""
    with contextlib.suppress(Exception):
        from mlflow.tracking.context import registry

        return dict(registry.resolve_tags(tags))
    return tags


def _folder_name(experiment: str) -> str:
    """Return a folder name for an experiment that no other experiment gets, whatever characters it has."""
    slug = re.sub(r"[^a-z0-9-]+", "-", experiment.lower()).strip("-")[:40]
    return slug if slug == experiment else f"{slug or 'experiment'}-{zlib.crc32(experiment.encode()):08x}"
