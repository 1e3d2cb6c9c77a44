"""RunLog: what a training logs to its MLflow run: metrics, parameters, tags, files, pictures, the model."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuronwise.tracking.background import Point
from neuronwise.tracking.datasets import DatasetInfo
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
from neuronwise.tracking.quiet import reason
from neuronwise.tracking.reopening import stored_images
from neuronwise.tracking.run_link import RunLink
from neuronwise.tracking.store import Store, check_reachable
from neuronwise.tracking.uploads import find_files

_log = logging.getLogger("neuronwise")

# MLflow's page takes 20 s to draw a run of 6,070 metrics; with 200 it is quick.
MAX_METRIC_KEYS = 200
_NONFINITE = "_nonfinite"
# How often a training's folder is looked through for files that have come.
_UPLOAD_EVERY_S = 5.0
_METRICS_PER_BATCH = 1000


class RunLog(RunLink):
    """What is logged to a run. See `Tracker`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._keys = KeyMap(MAX_METRIC_KEYS)
        self._nonfinite: dict[str, int] = {}
        self._refused_keys: set[str] = set()
        self._stored: dict[str, set[int]] = {}
        self._stored_images: frozenset[tuple[str, int]] = frozenset()

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
        cleaned = clean_tags(tags)
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


def clean_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return tags as MLflow takes them."""
    return {safe_key(str(key)): shorten(_text(value), MAX_TAG_VALUE) for key, value in tags.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
