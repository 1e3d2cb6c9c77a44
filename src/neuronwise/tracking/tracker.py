"""Tracker: one MLflow run of a training, written in the background, never in its way."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from typing import Any, Literal

from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, TrackingError
from neuronwise.tracking.background import BackgroundWriter, Job
from neuronwise.tracking.experiments import (
    DEFAULT_EXPERIMENT,
    experiment_id,
    users_experiment,
    users_run,
    with_context_tags,
)
from neuronwise.tracking.manifest import Manifest, fetch_manifest
from neuronwise.tracking.quiet import calling_mlflow, own_randomness, reason
from neuronwise.tracking.run_log import RunLog, clean_tags
from neuronwise.tracking.store import Store, check_reachable, open_store, resolve_store
from neuronwise.tracking.uploads import Uploads

_START_TIMEOUT_S = 30.0

FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker(RunLog):
    """An MLflow run that a training writes to. Made by `Tracker.start`.

    No method raises because of MLflow, and none but `start`, `finish` and the logging of files and models ever
    waits for it. What could not be logged is told in sentences by `not_logged`.

    Attributes:
        store: Where the run is.
        run_id: Its id; None if there is no run (`is_online` is False).
        run_name: Its name, also None then.
        experiment_id: Id of its experiment.
        owns_run: Whether `finish` ends the run; False for a run that the user had opened.
        has_lost: Whether something that it was given did not arrive, as far as is known.
        found_tags: The tags that a run had which was joined; empty for a new one.

    Example:
        >>> tracker = Tracker.start(params={"learning_rate": 0.01})
        >>> tracker.log_metrics({"loss": 0.5, "hidden1/weight_norm": 3.2}, step=1)
        >>> tracker.finish()
    """

    @classmethod
    def start(
        cls,
        store: Store | str | None = None,
        *,
        experiment: str | None = None,
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        rejoin: str | None = None,
        reopen: bool = True,
        parent: str | None = None,
        interval_s: float = 1.0,
    ) -> Tracker:
        """Return a tracker with a new run, or with the run that the user has open.

        A run that is active in this process, or that `MLFLOW_RUN_ID` names, is written to and not ended. If
        MLFlow cannot be used, the tracker is offline: it takes everything, and `not_logged` says why nothing
        was logged.

        Args:
            store: As `resolve_store` returns it, or an address; None for the user's.
            experiment: Name of the experiment; default: the one that the user has set, else "neuronwise".
            name: Name of the run; default: MLflow makes one.
            params: Parameters; names and values are shortened and cleaned to what MLflow takes.
            tags: Tags, likewise. `neuronwise.version` is added.
            rejoin: Id of a run of ours that goes on; its tags are replaced.
            reopen: Whether such a run is marked as running again.
            parent: Id of a run below which a new one is made, though the user has it open.
            interval_s: Metrics are sent at most this often.
        """
        try:
            resolved = store if isinstance(store, Store) else resolve_store(store)
        except NeuronwiseError as error:
            tracker = cls(Store("", "default"))
            tracker._go_offline(error)
            return tracker
        tracker = cls(resolved)
        tracker._settings.enter()
        try:
            with own_randomness():
                tracker._open(experiment, name, tags or {}, rejoin, reopen, parent)
        except NeuronwiseError as error:
            tracker._go_offline(error)
            return tracker
        except BaseException:
            tracker._settings.leave()
            raise
        tracker._background = BackgroundWriter(tracker._send, tracker._say, interval_s=interval_s)
        atexit.register(tracker._at_exit)
        if params:
            tracker.log_params(params)
        return tracker

    def _open(
        self,
        experiment: str | None,
        name: str | None,
        tags: Mapping[str, Any],
        rejoin: str | None,
        reopen: bool,
        parent: str | None,
    ) -> None:
        from neuronwise import __version__

        cleaned = clean_tags({"neuronwise.version": __version__, **tags})
        self._client = open_store(self.store, say=self._say)
        joined = rejoin
        if rejoin is None and parent is None:
            joined = users_run(self.store)

        def attach() -> None:
            with calling_mlflow():
                manifest = Manifest()
                if joined is not None:
                    manifest = self._join_run(joined, cleaned)
                    if rejoin is not None:
                        self._set_tags(cleaned)
                        if reopen:
                            self._client.update_run(rejoin, status="RUNNING")
                        self.owns_run = True
                else:
                    self._create_run(experiment, name, cleaned, parent)
                self._uploads = Uploads(self._client, str(self.run_id), manifest)

        # In a thread with a time limit: a server may take the connection and then say nothing.
        job = Job(attach, "start")
        threading.Thread(target=job.run, daemon=True, name="neuronwise-start").start()
        if not job.wait(_START_TIMEOUT_S):
            raise TrackingError(f"{self.store.display_uri!r} gave no answer within {_START_TIMEOUT_S:.0f} s")
        if job.error is not None:
            raise TrackingError(f"no run could be opened in {self.store.display_uri!r}: {job.error}")

    def _create_run(self, experiment: str | None, name: str | None, tags: dict[str, str], parent: str | None) -> None:
        if parent is not None:
            tags = tags | {"mlflow.parentRunId": parent}
            self.experiment_id = str(self._client.get_run(parent).info.experiment_id)
        elif experiment is None:
            try:
                experiment = users_experiment(self._client)
            except Exception as error:  # noqa: BLE001 - told, and the default is as good
                self._say(f"the experiment that is set was not used: {reason(error)}")
        if self.experiment_id is None:
            self.experiment_id = experiment_id(self._client, self.store, experiment or DEFAULT_EXPERIMENT)
        run = self._client.create_run(self.experiment_id, tags=with_context_tags(tags), run_name=name)
        self.owns_run = True
        self.run_id, self.run_name = run.info.run_id, run.info.run_name or name

    def _join_run(self, run_id: str, tags: dict[str, str]) -> Manifest:
        run = self._client.get_run(run_id)
        self.experiment_id, self.run_id, self.run_name = run.info.experiment_id, run_id, run.info.run_name
        self.found_tags = dict(run.data.tags)
        # What the user has set stays, also the description.
        kept = {key: value for key, value in tags.items() if key not in run.data.tags}
        self._set_tags({**kept, "neuronwise.version": tags["neuronwise.version"]})
        try:
            return fetch_manifest(self._client, run_id)
        except (FormatError, NotFoundError):
            return Manifest()

    def _go_offline(self, error: NeuronwiseError) -> None:
        self.has_lost = True
        self._settings.leave()
        hint = f" ({error.hint})" if error.hint else ""
        self._say(f"nothing was logged to MLflow: {error.message}{hint}")

    @property
    def run_url(self) -> str | None:
        """Address of the run's page on an MLflow server; None for other stores."""
        if self.run_id is None or self.experiment_id is None:
            return None
        return self.store.run_url(self.experiment_id, self.run_id)

    def flush(self, timeout_s: float = 15.0) -> bool:
        """Send all metrics now; return whether everything sent so far has arrived within the time."""
        background = self._background
        if background is None or self._finished:
            return False
        job = background.submit(background.flush, "flush")
        return job.wait(timeout_s) and background.pending == 0

    def finish(self, status: FinalStatus = "FINISHED", *, timeout_s: float = 15.0, ended_ms: int | None = None) -> None:
        """Send what is left and end the run; a second call does nothing.

        Takes at most about `timeout_s` seconds. A run that the user had opened is not ended.

        Args:
            status: How it ended.
            timeout_s: Seconds to wait at most.
            ended_ms: When it ended, in milliseconds since 1970; default now.
        """
        background = self._background
        if self._finished:
            return
        self._finished = True
        if background is None:
            return
        atexit.unregister(self._at_exit)

        def end() -> None:
            if background.last_error:
                check_reachable(self.store)
            self._uploads.send_manifest()
            if self.owns_run:
                self._client.set_terminated(self.run_id, status=status, end_time=ended_ms)

        try:
            failure = background.close(timeout_s, end)
            if failure:
                self.has_lost = True
                self._say(f"the run could not be marked as {status}: {failure}")
            if background.dropped or background.pending or background.thinned:
                self.has_lost = True
        finally:
            self._settings.leave()

    def _at_exit(self) -> None:
        """The process ends and nobody has finished the run: what is there is sent, briefly."""
        if os.getpid() != self._process:  # a copy (fork) of the process: the run is the original's
            return
        self.finish("KILLED", timeout_s=5.0)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.finish("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")

    def __repr__(self) -> str:
        return f"<Tracker of run {self.run_id}>" if self.is_online else "<Tracker, offline>"
