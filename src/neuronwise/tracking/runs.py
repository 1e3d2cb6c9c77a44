"""Finding runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from neuronwise.errors import NotFoundError, TrackingError, did_you_mean
from neuronwise.tracking.quiet import calling_mlflow, reason
from neuronwise.tracking.store import Store, open_store

VERSION_TAG = "neuronwise.version"

_OURS = f"tags.`{VERSION_TAG}` LIKE '%'"
_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_MAX_CANDIDATES = 8
_PAGE = 500
# Names are compared in Python beyond what a filter can express, up to so many runs.
_MAX_SCANNED = 5000


@dataclass(frozen=True)
class RunInfo:
    """A run as listed.

    Attributes:
        run_id: 32 hexadecimal digits.
        name: Its name.
        experiment: Name of its experiment.
        experiment_id: Id of its experiment.
        status: ``"RUNNING"``, ``"FINISHED"``, ``"FAILED"``, ``"KILLED"`` or ``"SCHEDULED"``.
        started: Time of its start, UTC.
        duration_s: Seconds from start to end, None while it runs.
        params, metrics, tags: As logged; the last value of each metric.
        artifact_uri: Where its files are.
    """

    run_id: str
    name: str
    experiment: str
    experiment_id: str
    status: str
    started: datetime | None
    duration_s: float | None
    params: dict[str, str] = field(default_factory=dict, repr=False)
    metrics: dict[str, float] = field(default_factory=dict, repr=False)
    tags: dict[str, str] = field(default_factory=dict, repr=False)
    artifact_uri: str = field(default="", repr=False)

    @property
    def has_ended(self) -> bool:
        """Whether it is marked as ended; one whose process was killed is not, until it is completed."""
        return self.status in ("FINISHED", "FAILED", "KILLED")

    @property
    def is_ours(self) -> bool:
        """Whether Neuronwise made or wrote to it."""
        return VERSION_TAG in self.tags


def list_runs(store: Store, experiment: str | None = None, *, limit: int = 50) -> list[RunInfo]:
    """Return the runs of Neuronwise in a store, the latest first.

    Args:
        store: As `resolve_store` returns it.
        experiment: Only runs of the experiment of this name.
        limit: At most so many.

    Raises:
        TrackingError: The store cannot be used.
        NotFoundError: There is no experiment of that name.
    """
    if _is_new(store):
        return []
    client = open_store(store)
    with calling_mlflow():
        experiments = _experiments(client)
        if experiment is not None:
            chosen = {key: name for key, name in experiments.items() if name == experiment}
            if not chosen:
                raise NotFoundError(
                    f"there is no experiment {experiment!r}.{did_you_mean(experiment, experiments.values())}",
                    hint=f"experiments: {', '.join(sorted(experiments.values())[:20])}",
                )
            experiments = chosen
        return list(_search(client, experiments, _OURS, limit))


def find_run(store: Store, text: str) -> RunInfo:
    """Return the run that `text` names: ``latest``, a run id, the unique beginning of one (from 4), or a name.

    Of several runs with one name none is chosen: the error lists them.

    Raises:
        NotFoundError: None or several fit; the message lists those that come close.
        TrackingError: The store cannot be used.
    """
    text = text.strip()
    where = f"run {text!r}"
    if not text:
        raise NotFoundError("no run is named", hint="give a run id, its first characters, a name, or latest")
    if _is_new(store):
        raise NotFoundError(f"there are no runs yet in {store.display_uri}", where=where)
    client = open_store(store)
    with calling_mlflow():
        experiments = _experiments(client)
        if text == "latest":
            for run in _search(client, experiments, _OURS, 1):
                return run
            raise NotFoundError(f"there are no runs of Neuronwise yet in {store.display_uri}", where=where)
        matches = _matches(client, experiments, text)
        if len(matches) == 1:
            return matches[0]
        if matches:
            lines = "\n".join(_line(run) for run in matches[:_MAX_CANDIDATES])
            more = f"\n… and {len(matches) - _MAX_CANDIDATES} more" if len(matches) > _MAX_CANDIDATES else ""
            raise NotFoundError(f"{len(matches)} runs are called so, give more of the id:\n{lines}{more}", where=where)
        recent = list(_search(client, experiments, _OURS, 100))
    names = [run.name for run in recent] + [run.run_id for run in recent]
    listed = "\n".join(_line(run) for run in recent[:_MAX_CANDIDATES])
    raise NotFoundError(
        f"there is no such run in {store.display_uri}.{did_you_mean(text, names)}",
        where=where,
        hint=f"the latest runs are\n{listed}" if recent else "there are no runs of Neuronwise in it",
    )


def _is_new(store: Store) -> bool:
    """Return whether a sqlite store does not exist yet: asking about its runs must not make it."""
    return store.path is not None and not store.path.exists()


def _experiments(client: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    token = None
    while True:
        page = client.search_experiments(max_results=1000, page_token=token)
        found.update({str(one.experiment_id): str(one.name) for one in page})
        token = page.token
        if not token:
            return found


def _search(client: Any, experiments: dict[str, str], condition: str, limit: int) -> Iterator[RunInfo]:
    token, left = None, limit
    while experiments and left > 0:
        try:
            page = client.search_runs(
                list(experiments),
                filter_string=condition,
                max_results=min(_PAGE, left),
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
        except Exception as error:
            raise TrackingError(f"the runs cannot be listed: {reason(error)}") from error
        for run in page:
            yield _info(run, experiments)
        left -= len(page)
        token = page.token
        if not token:
            return


def _matches(client: Any, experiments: dict[str, str], text: str) -> list[RunInfo]:
    lowered = text.lower()
    if _PREFIX.fullmatch(lowered):
        found = list(_search(client, experiments, f"attributes.run_id LIKE '{lowered}%'", _MAX_CANDIDATES + 1))
        if found:
            return found
    if "'" not in text and "\\" not in text:
        return list(_search(client, experiments, f"attributes.run_name = '{text}'", 100))
    # A quote cannot be written in a filter of MLflow.
    return [run for run in _search(client, experiments, "", _MAX_SCANNED) if run.name == text]


def _info(run: Any, experiments: dict[str, str]) -> RunInfo:
    start, end = run.info.start_time, run.info.end_time
    return RunInfo(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        experiment=experiments.get(str(run.info.experiment_id), str(run.info.experiment_id)),
        experiment_id=str(run.info.experiment_id),
        status=str(run.info.status),
        started=datetime.fromtimestamp(start / 1000, UTC) if start else None,
        duration_s=(end - start) / 1000 if start and end else None,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        artifact_uri=run.info.artifact_uri or "",
    )


def _line(run: RunInfo) -> str:
    started = f"{run.started:%Y-%m-%d %H:%M}" if run.started else ""
    return f"  {run.run_id}  {started}  {run.status:8}  {run.name}"
