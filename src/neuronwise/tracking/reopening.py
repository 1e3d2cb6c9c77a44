"""A run of ours that is completed later: made if it is not there, once, and asked what it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuronwise.errors import NotFoundError, TrackingError
from neuronwise.tracking.experiments import DEFAULT_EXPERIMENT, experiment_id, users_experiment, with_context_tags
from neuronwise.tracking.names import MAX_TAG_VALUE, safe_key, shorten
from neuronwise.tracking.quiet import calling_mlflow, reason
from neuronwise.tracking.store import Store, open_store

# Set when a run is made, so that a run made just before its process was killed is found, not made twice.
LOCAL_ID_TAG = "neuronwise.local_id"

# MLflow writes the picture, then a smaller one: with that it is whole. Its versions differ in the signs between.
_IMAGE = re.compile(r"images/(.+)[%+]step[%+](\d+)[%+]timestamp[%+].*\.webp")

_LOCAL_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class StoredRun:
    """What a store has of a run.

    Attributes:
        status: As `RunInfo.status`.
        is_deleted: Whether it is in the store's bin.
        tags: Its tags.
        has_data_set: Whether it says what data it used.
        model_steps: The steps of the models it has.
        experiment_id: Of the experiment in which it is.
    """

    status: str
    is_deleted: bool
    tags: dict[str, str]
    has_data_set: bool
    model_steps: frozenset[int]
    experiment_id: str


def find_or_create(
    store: Store,
    local_id: str,
    *,
    experiment: str | None = None,
    name: str | None = None,
    tags: Mapping[str, Any] | None = None,
    started_ms: int | None = None,
) -> str:
    """Return the id of the run that was made for a training, which is made if there is none.

    Args:
        store: As `resolve_store` returns it.
        local_id: What the training is known by: 32 hexadecimal digits.
        experiment: Name of the experiment for a new run; default: the one that the user has set, else "neuronwise".
        name: Name of a new run.
        tags: Tags of a new run; `neuronwise.version` and `neuronwise.local_id` are added.
        started_ms: When it began, in milliseconds since 1970; default now.

    Raises:
        TrackingError: The store cannot be used, or gives no answer.
    """
    from neuronwise import __version__

    if not _LOCAL_ID.fullmatch(local_id):
        raise TrackingError(f"{local_id!r:.100} is no id of a run: 32 hexadecimal digits are expected")
    client = open_store(store)
    try:
        with calling_mlflow():
            if (found := _tagged(client, local_id)) is not None:
                return found
            place = experiment_id(client, store, experiment or users_experiment(client) or DEFAULT_EXPERIMENT)
            every = {**(tags or {}), "neuronwise.version": __version__, LOCAL_ID_TAG: local_id}
            cleaned = {safe_key(str(key)): shorten(str(value), MAX_TAG_VALUE) for key, value in every.items()}
            run = client.create_run(place, start_time=started_ms, tags=with_context_tags(cleaned), run_name=name)
            return str(run.info.run_id)
    except TrackingError:
        raise
    except Exception as error:
        raise TrackingError(f"no run could be made in {store.display_uri!r}: {reason(error)}") from error


def _tagged(client: Any, local_id: str) -> str | None:
    from mlflow.entities import ViewType

    token = None
    while True:
        page = client.search_experiments(max_results=1000, page_token=token, view_type=ViewType.ALL)
        ids = [str(one.experiment_id) for one in page]
        # Deleted ones too: whoever deleted the run does not want it made anew behind his back.
        found = client.search_runs(
            ids, f"tags.`{LOCAL_ID_TAG}` = '{local_id}'", run_view_type=ViewType.ALL, max_results=2
        )
        if found:
            return str(found[0].info.run_id)
        token = page.token
        if not token:
            return None


def stored_run(store: Store, run_id: str) -> StoredRun:
    """Return what a store has of a run, also of one that was deleted and can be restored.

    Raises:
        NotFoundError: It has no run of that id.
        TrackingError: It cannot be used, or gives no answer.
    """
    client = open_store(store)
    with calling_mlflow():
        try:
            run = client.get_run(run_id)
        except Exception as error:
            if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
                raise NotFoundError(f"{store.display_uri} has no run {run_id}", where=f"run {run_id}") from None
            raise TrackingError(f"{store.display_uri!r} says nothing about run {run_id}: {reason(error)}") from error
    outputs = getattr(run, "outputs", None)
    return StoredRun(
        str(run.info.status),
        run.info.lifecycle_stage != "active",
        dict(run.data.tags),
        bool(getattr(run.inputs, "dataset_inputs", None)),
        frozenset(int(one.step) for one in getattr(outputs, "model_outputs", None) or ()),
        str(run.info.experiment_id),
    )


def stored_images(client: Any, run_id: str) -> frozenset[tuple[str, int]]:
    """Return key and step of every picture that a run has whole."""
    names = [str(one.path) for one in client.list_artifacts(run_id, "images")]
    found = (_IMAGE.fullmatch(name) for name in names)
    return frozenset((re.sub("[#~]", "/", match[1]), int(match[2])) for match in found if match)
