"""Tracker: one MLflow run of a training, written in the background, never in its way."""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, TrackingError
from neuronwise.tracking.background import BackgroundWriter, Job, Point
from neuronwise.tracking.datasets import DatasetInfo
from neuronwise.tracking.experiments import (
    DEFAULT_EXPERIMENT,
    experiment_id,
    users_experiment,
    users_run,
    with_context_tags,
)
from neuronwise.tracking.manifest import Manifest, fetch_manifest
from neuronwise.tracking.model import CODE, log_pyfunc
from neuronwise.tracking.names import (
    MAX_PARAM_VALUE,
    MAX_TAG_VALUE,
    KeyMap,
    is_artifact_path,
    safe_image_key,
    safe_key,
    shorten,
)
from neuronwise.tracking.quiet import SettingsScope, calling_mlflow, reason
from neuronwise.tracking.reopening import stored_images
from neuronwise.tracking.store import Store, check_reachable, open_store, resolve_store
from neuronwise.tracking.uploads import Uploads, find_files

_log = logging.getLogger("neuronwise")

# MLflow's page takes 20 s to draw a run of 6,070 metrics; with 200 it is quick.
MAX_METRIC_KEYS = 200
_NONFINITE = "_nonfinite"
_START_TIMEOUT_S = 30.0
# How often a training's folder is looked through for files that have come.
_UPLOAD_EVERY_S = 5.0
_FILES_TIMEOUT_S = 300.0
_METRICS_PER_BATCH = 1000
_MAX_SENTENCES = 50

FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker:
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

    def __init__(self, store: Store) -> None:
        self.store = store
        self.run_id: str | None = None
        self.run_name: str | None = None
        self.experiment_id: str | None = None
        self.owns_run = False
        self.has_lost = False
        self.found_tags: dict[str, str] = {}
        self._process = os.getpid()
        self._client: Any = None
        self._sentences: list[str] = []
        self._lock = threading.Lock()
        self._keys = KeyMap(MAX_METRIC_KEYS)
        self._nonfinite: dict[str, int] = {}
        self._refused_keys: set[str] = set()
        self._stored: dict[str, set[int]] = {}
        self._stored_images: frozenset[tuple[str, int]] = frozenset()
        self._uploads: Uploads  # set with the run
        self._settings = SettingsScope()
        self._background: BackgroundWriter | None = None
        self._finished = False
        self._gave_up = False

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

        cleaned = _clean_tags({"neuronwise.version": __version__, **tags})
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

    # ------------------------------------------------------------------ state

    @property
    def is_online(self) -> bool:
        """Whether there is a run that is written to."""
        return self._background is not None

    @property
    def sent(self) -> tuple[int, int, int]:
        """Points of metrics, files and bytes of files that were sent so far."""
        if self._background is None:
            return 0, 0, 0
        return self._background.sent, self._uploads.sent_files, self._uploads.sent_bytes

    @property
    def not_logged(self) -> list[str]:
        """Sentences about what was not logged, to show to the user; empty if all is well."""
        sentences = list(self._sentences)
        if self._refused_keys:
            sentences.append(
                f"{len(self._refused_keys)} metrics beyond the {MAX_METRIC_KEYS} a run may have were not logged, "
                f"such as {sorted(self._refused_keys)[0]!r}"
            )
        background = self._background
        if background is not None:
            if background.thinned:
                sentences.append(f"{background.thinned:,} points of metrics were left out: MLflow was too slow")
            lost = background.dropped + (background.pending if self._finished else 0)
            if lost:
                sentences.append(f"{lost:,} points of metrics were not logged: {background.last_error}")
        return sentences

    @property
    def run_url(self) -> str | None:
        """Address of the run's page on an MLflow server; None for other stores."""
        if self.run_id is None or self.experiment_id is None:
            return None
        return self.store.run_url(self.experiment_id, self.run_id)

    def _say(self, sentence: str) -> None:
        with self._lock:
            if sentence not in self._sentences and len(self._sentences) < _MAX_SENTENCES:
                self._sentences.append(sentence)

    # ---------------------------------------------------------------- metrics

    def log_metrics(self, metrics: Mapping[str, float], step: int, *, time_ms: int | None = None) -> None:
        """Log numbers of a step; returns at once.

        MLflow would turn ±inf into ±1.8e308 and show NaN as the latest value: such points are counted instead,
        under ``<key>_nonfinite``. A run takes 200 keys; those that come later are not logged.

        Args:
            metrics: Number by name.
            step: Whole number.
            time_ms: When they were measured, in milliseconds since 1970; default now.
        """
        background = self._background
        if background is None or self._finished:
            return
        now = int(time.time() * 1000) if time_ms is None else time_ms
        points: list[Point] = []
        for name, value in metrics.items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                self._say(f"the metric {name!r} was not logged: {type(value).__name__} is no number")
                continue
            if not math.isfinite(number):
                self._nonfinite[name] = self._nonfinite.get(name, 0) + 1
                name, number = f"{name}{_NONFINITE}", float(self._nonfinite[name])
            if (key := self._keys[str(name)]) is None:
                self._refused_keys.add(str(name))
            elif int(step) not in self._stored.get(key, ()):
                points.append((key, number, now, int(step)))
        if points:
            background.add(points)

    def skip_stored(self) -> bool:
        """Log no point and no picture again that the store has; return whether it said which it has.

        For a run that is completed later from what was recorded on disk. Waits for the store.
        """

        def ask() -> dict[str, set[int]]:
            self._stored_images = stored_images(self._client, str(self.run_id))
            keys = list(self._client.get_run(self.run_id).data.metrics)
            return {key: {one.step for one in self._client.get_metric_history(self.run_id, key)} for key in keys}

        job = self._submit(ask, "the metrics that the run has")
        if job is None or not self._wait(job):
            return False
        self._stored = job.result
        return True

    def last_step(self, metric: str) -> int:
        """Return the last step at which the store has a metric of the run; 0 if it has none, or gives no answer."""

        def ask() -> int:
            try:
                return max((one.step for one in self._client.get_metric_history(self.run_id, metric)), default=0)
            except Exception as error:  # noqa: BLE001 - points that are sent twice do no harm
                _log.debug("the history of %s could not be read", metric, exc_info=error)
                return 0

        job = self._submit(ask, f"the history of {metric!r}")
        return int(job.result) if job is not None and self._wait(job) else 0

    def _send(self, points: list[Point]) -> None:
        from mlflow.entities import Metric

        if self._background is not None and self._background.has_failed:
            check_reachable(self.store)  # 3 s instead of MLflow's retries
        # One writer and sorted keys: older servers deadlock on other orders.
        points = sorted(points, key=lambda point: point[0])
        for start in range(0, len(points), _METRICS_PER_BATCH):
            batch = [Metric(*point) for point in points[start : start + _METRICS_PER_BATCH]]
            self._client.log_batch(self.run_id, metrics=batch, synchronous=True)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; returns at once. Those that the run already has with another value stay as they are."""
        keys = KeyMap(10_000)
        cleaned = {keys[str(name)] or "_": shorten(_text(value), MAX_PARAM_VALUE) for name, value in params.items()}

        def send() -> None:
            from mlflow.entities import Param

            every = [Param(key, value) for key, value in cleaned.items()]
            try:
                self._client.log_batch(self.run_id, params=every, synchronous=True)
                return
            except Exception as error:
                if len(every) == 1:
                    raise
                _log.debug("parameters are logged one by one", exc_info=error)
            for param in every:
                try:
                    self._client.log_batch(self.run_id, params=[param], synchronous=True)
                except Exception as error:
                    if getattr(error, "error_code", None) != "INVALID_PARAMETER_VALUE":
                        raise  # it was not refused: it did not arrive
                    self._say(f"the parameter {param.key!r} was not logged: {reason(error)}")

        self._submit(send, "the parameters")

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, also the description ``mlflow.note.content``; returns at once."""
        cleaned = _clean_tags(tags)
        self._submit(lambda: self._set_tags(cleaned), f"the tags {', '.join(cleaned)}")

    def _set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(*item) for item in tags.items()], synchronous=True)

    def log_input(self, info: DatasetInfo) -> None:
        """Log which data the run used; returns at once. Rows are not sent, only the description."""
        self._submit(
            lambda: self._client.log_inputs(self.run_id, datasets=[info.to_mlflow()]), f"the data set {info.name!r}"
        )

    # ------------------------------------------------------------------ files

    def upload_meanwhile(self, places: Mapping[str, Path]) -> None:
        """Send files and folders while they are written to, from the background thread, every few seconds.

        Files that are sealed go once, and those that change at most once a minute; unsealed ``.part`` files wait.
        What is missing at the end is for `log_artifacts` to send. Nothing here ever waits or costs the caller
        anything: the thread has its own clock.

        Args:
            places: Path in the run of each local file or folder, which need not exist yet.
        """
        if self._background is None or self._finished:
            return

        def send() -> int:
            if self._background is not None and self._background.has_failed:
                check_reachable(self.store)
            return self._uploads.send_new(places)

        self._background.every(_UPLOAD_EVERY_S, send)

    def log_artifacts(self, folder: str | Path, path: str = "neuronwise", *, wait: bool = True) -> bool:
        """Upload the files of a folder, and of those in it, to `path` in the run; return whether all arrived.

        Files that are there already with the same content are not sent again; links and temporary files are left
        out. Names must be ours: lower case, digits and ``._/-``.

        Args:
            folder: The folder; must not change while it is uploaded.
            path: Where to, in the run.
            wait: Whether to wait until it is done; else True means that it has begun.
        """
        return self._log_files(find_files({path: Path(folder)}), f"the files of {Path(folder).name!r}", wait)

    def log_places(self, places: Mapping[str, Path], *, unsealed: bool = False, wait: bool = True) -> bool:
        """Upload several files and folders, as `log_artifacts` does one; return whether all arrived.

        Args:
            places: Path in the run of each local file or folder; one that does not exist is left out.
            unsealed: Whether ``.part`` files, of a writer that was killed, are sent too.
            wait: Whether to wait until it is done; else True means that it has begun.
        """
        return self._log_files(find_files(places, unsealed=unsealed), "the files of the run", wait)

    def _log_files(self, files: Mapping[str, Path], what: str, wait: bool) -> bool:
        return self._are_ours(files, what) and self._run(lambda: self._uploads.send(files), what, wait)

    def log_file(self, local: str | Path, path: str, *, wait: bool = True) -> bool:
        """Upload one file to `path` in the run; return whether it arrived."""
        what = f"the file {path!r}"
        return self._are_ours([path], what) and self._run(lambda: self._uploads.send({path: Path(local)}), what, wait)

    def log_text(self, text: str, path: str, *, wait: bool = True) -> bool:
        """Write a text (UTF-8) to `path` in the run; return whether it arrived (or, without waiting, was taken)."""
        what = f"the file {path!r}"
        return self._are_ours([path], what) and self._run(lambda: self._uploads.send_text(text, path), what, wait)

    def log_dict(self, values: Mapping[str, Any], path: str, *, wait: bool = True) -> bool:
        """Write JSON values to `path` in the run; return whether it arrived."""
        text = json.dumps(values, ensure_ascii=False, indent=1, default=str) + "\n"
        return self.log_text(text, path, wait=wait)

    def _are_ours(self, paths: Iterable[str], what: str) -> bool:
        bad = [path for path in paths if not is_artifact_path(path)]
        if bad:
            self.has_lost = True
            self._say(f"{what} could not be logged: {bad[0]!r} is no name for a file of ours (a-z, 0-9, '._/-')")
        return not bad

    def log_image(self, image: Any, key: str, step: int) -> None:
        """Log a picture of a step, shown in MLflow with a slider over the steps; returns at once.

        Args:
            image: uint8 array (height, width) or (height, width, 3), or a PNG as bytes or path. Small pictures
                should be enlarged before (nearest neighbour): MLflow's page smooths them.
            key: Name; a slash makes a section.
            step: Whole number.
        """
        cleaned = safe_image_key(key)
        if (cleaned, int(step)) in self._stored_images:
            return
        content = Path(image).read_bytes() if isinstance(image, (str, Path)) else image
        if hasattr(content, "copy") and not isinstance(content, bytes):
            content = content.copy()

        def send() -> None:
            picture = content
            if isinstance(picture, (bytes, bytearray)):
                import io

                from PIL import Image

                picture = Image.open(io.BytesIO(picture), formats=["PNG"])
            self._client.log_image(self.run_id, picture, key=cleaned, step=int(step), synchronous=True)

        self._submit(send, f"the picture {key!r}")

    def log_model(
        self,
        folder: str | Path,
        *,
        columns: Sequence[str] | None = None,
        name: str = "model",
        code: Path = CODE,
        step: int = 0,
    ) -> str | None:
        """Log a trained network as a model that `mlflow.pyfunc.load_model` loads; see `save_pyfunc`.

        Args:
            folder: network.json, network.safetensors, encoder.json …
            columns: Names of the input columns; None for arrays.
            name: Name of the model in the run.
            code: The file that MLflow runs on loading.
            step: Step of the network.

        Returns:
            Its address ``models:/m-…``, or None if it was not logged.
        """
        job = self._submit(
            lambda: log_pyfunc(
                self._client,
                str(self.experiment_id),
                str(self.run_id),
                Path(folder),
                columns=columns,
                name=name,
                code=code,
                step=step,
            ),
            "the model",
        )
        return str(job.result) if job is not None and self._wait(job) else None

    # ------------------------------------------------------------------- jobs

    def _submit(self, action: Callable[[], Any], what: str) -> Job | None:
        """Queue a call whose failure becomes a sentence; None if it was not taken."""
        background = self._background
        if background is None or self._finished:
            return None

        def guarded() -> Any:
            try:
                if background.has_failed:
                    check_reachable(self.store)  # 3 s instead of MLflow's retries
                return action()
            except Exception as error:
                self.has_lost = True
                self._say(f"{what} could not be logged: {reason(error)}")
                self._note_if_gone()
                raise

        job = Job(guarded, what)
        if self._gave_up:
            job.refuse(f"no answer within {_FILES_TIMEOUT_S:.0f} s")
        else:
            job = background.submit(guarded, what)
        if job.refused:
            self.has_lost = True
            self._say(f"{what} could not be logged: {job.error}")
            return None
        return job

    def _note_if_gone(self) -> None:
        """After a failure: what comes next need not wait one by one for a store that cannot be reached."""
        try:
            check_reachable(self.store)
        except TrackingError as error:
            if self._background is not None:
                self._background.note_gone(error.message)

    def _wait(self, job: Job) -> bool:
        sent = self.sent
        while not job.wait(_FILES_TIMEOUT_S):
            if self.sent == sent:
                self._gave_up = self.has_lost = True
                self._say(f"{job.what} may not be logged: no answer within {_FILES_TIMEOUT_S:.0f} s")
                return False
            sent = self.sent  # slow, but it comes
        return job.error is None

    def try_again(self) -> None:
        """Let the next call try at once, though the store counted as gone: before what must not be missed."""
        if self._background is not None:
            self._background.try_again()

    def _run(self, action: Callable[[], Any], what: str, wait: bool) -> bool:
        job = self._submit(action, what)
        return job is not None and (not wait or self._wait(job))

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


def _clean_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    return {safe_key(str(key)): shorten(_text(value), MAX_TAG_VALUE) for key, value in tags.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
