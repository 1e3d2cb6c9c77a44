"""A training kept in MLflow: what is sent when, and how it is read back. Without MLflow the training still runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NotFoundError, TrainingDiverged
from neuronwise.explaining import histograms_over_time, png, weight_histograms, weight_images
from neuronwise.files import folder_size_bytes, write_atomically
from neuronwise.network import Conv2D, Flatten, Network
from neuronwise.running.checkpointing import can_resume
from neuronwise.running.names import new_local_id, new_local_name
from neuronwise.tracking import (
    DatasetInfo,
    RunInfo,
    Tracker,
    download_artifacts,
    find_run,
    list_runs,
    resolve_store,
)
from neuronwise.tracking.store import store_again

if TYPE_CHECKING:
    from neuronwise.recording import RecordedHistory
    from neuronwise.running.architecture import Choice
    from neuronwise.running.find import Listed
    from neuronwise.running.prepare import Prepared
    from neuronwise.running.run import Run
    from neuronwise.running.training import TrainOptions

# Pictures per layer: enough for a slider, few enough that MLflow's page stays quick.
_PICTURES = 10
_LAYERS_WITH_PICTURES = 8

# MLflow's words for the kinds of columns that are not text.
_SCHEMA = {"numeric": "double", "date": "datetime"}

_STATUS = {"interrupted": "KILLED", "diverged": "FAILED"}


class Tracking:
    """The MLflow side of one training; every method is safe whether or not MLflow can be reached.

    Attributes:
        run_id: Id of the MLflow run, or one of our own.
        run_name: Its name.
        uri: Address of the store, or None if the run is not in MLflow.
        ui_command: Command that opens the store, or None.
        run_url: Page of the run, or None.
        where: Where the run is kept, in a sentence.
        sent_step: The last step of which a run that goes on has metrics already; 0 for a new one.
    """

    def __init__(self, tracker: Tracker | None, name: str | None) -> None:
        self._tracker = tracker
        self.sent_step = 0
        online = tracker is not None and tracker.is_online
        self.run_id = (tracker.run_id if tracker else None) or new_local_id()
        self.run_name = (tracker.run_name if tracker else None) or name or new_local_name(self.run_id)
        self.uri = tracker.store.display_uri if tracker and online else None
        self.ui_command = tracker.store.ui_command if tracker and online else None
        self.run_url = tracker.run_url if tracker and online else None
        self._is_complete = False
        self.where = f"tracked by MLflow in {self.uri}" if self.uri else "kept in a local folder only, not in MLflow"

    @classmethod
    def begin(cls, data: Prepared, choice: Choice, settings: dict[str, Any], options: TrainOptions) -> Tracking:
        """Open the store and begin a run, or stay local."""
        if not options.track:
            return cls(None, options.name)
        params = {key: value for key, value in settings.items() if value is not None} | {
            "data": data.name,
            "target": data.target.name,
            "task": data.target.task,
            "parameters": choice.network.parameter_count,
            "inputs": data.X.shape[1],
            "training_rows": len(data.train),
            "validation_rows": len(data.validation),
            "test_rows": len(data.test),
        }
        tags = {"neuronwise.data": data.name, "neuronwise.task": data.target.task}
        tracker = Tracker.start(experiment=options.experiment, name=options.name, params=params, tags=tags)
        tracker.log_input(_dataset(data))
        return cls(tracker, options.name)

    @classmethod
    def rejoin(cls, run_id: str, run_name: str, uri: str | None, step: int) -> Tracking:
        """Go on with a run that was begun before, or stay local if it was.

        Args:
            run_id: Its id.
            run_name: Its name.
            uri: The store that it was kept in, or None.
            step: The step at which the training goes on.
        """
        tracker = None
        if uri is not None:
            tracker = Tracker.start(store_again(uri), rejoin=run_id, tags={"neuronwise.resumed_at_step": step})
        tracking = cls(tracker, run_name)
        if tracker is not None:
            tracking.sent_step = tracker.last_step("loss")
        tracking.run_id, tracking.run_name = run_id, run_name
        return tracking

    @property
    def not_logged(self) -> list[str]:
        """What could not be sent, in sentences."""
        return list(self._tracker.not_logged) if self._tracker else []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Send metrics in the background."""
        if self._tracker:
            self._tracker.log_metrics(metrics, step)

    @contextmanager
    def ended_on_error(self) -> Iterator[None]:
        """End the run at once after an error or a second Ctrl-C: none is left behind as if it were still running."""
        try:
            yield
        except BaseException as error:
            if self._tracker and not self._is_complete:
                self._tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", timeout_s=3.0)
            raise

    def complete(self, run: Run, data: Prepared, failure: TrainingDiverged | None) -> None:
        """Send result, recording, pictures and model, and end the run."""
        tracker = self._tracker
        if tracker is None or not tracker.is_online:
            return
        results = {f"test/{key}": value for key, value in run.metrics.items()}
        for compared in run.baselines:
            name = compared.name.replace(" ", "_")
            results |= {f"test/{name}_{key}": value for key, value in compared.metrics.items()}
        tracker.log_metrics(results, run.steps)
        tags: dict[str, Any] = {
            "neuronwise.status": run.status,
            "neuronwise.folder": str(run.folder),
            "mlflow.note.content": _description(run, failure),
        }
        if run.best_epoch is not None:
            tags |= {"neuronwise.best_epoch": run.best_epoch, "neuronwise.best_step": run.best_step}
        if failure is not None:
            tags["neuronwise.failure"] = str(failure)
        tracker.set_tags(tags)
        _send_pictures(tracker, run)
        tracker.log_artifacts(run.folder / "recording", "neuronwise/recording")
        tracker.log_artifacts(run.folder / "model", "neuronwise/model")
        tracker.log_file(run.folder / "run.json", "neuronwise/run.json")
        columns = [column.name for column in data.columns if column.is_input] or None
        tracker.log_model(run.folder / "model", columns=columns, step=run.best_step or run.steps)
        self._is_complete = True
        tracker.finish(_STATUS.get(run.status, "FINISHED"), timeout_s=30.0)  # type: ignore[arg-type]


def _dataset(data: Prepared) -> DatasetInfo:
    if data.table is not None:
        kinds = {column.name: _SCHEMA.get(column.kind, "string") for column in data.columns}
        kinds[data.target.name] = "double" if data.target.task == "regression" else "string"
        return DatasetInfo(
            name=data.name,
            digest=data.fingerprint,
            source=data.source,
            rows=data.table.n_rows,
            columns=tuple((name, kinds.get(name, "string")) for name in data.table.column_names),
            target=data.target.name,
        )
    return DatasetInfo.from_arrays(data.X, data.y, name=data.name, digest=data.fingerprint, source=data.source)


def _send_pictures(tracker: Tracker, run: Run) -> None:
    """Send histograms of weights over time and, for images, first-layer weights, each with its step."""
    history = run.history_on_disk
    layers = [layer for layer in run.network.layers if "W" in layer.parameters][:_LAYERS_WITH_PICTURES]
    steps = spread(history.steps, _PICTURES)
    if not steps:
        return
    of_layers = {layer.name: [np.array(history.layer(step, layer.name)["W"]) for step in steps] for layer in layers}
    for name, matrices in of_layers.items():
        for step, picture in zip(steps, weight_histograms(name, steps, matrices), strict=True):
            tracker.log_image(picture, f"{name}/weights", step)
    if (shape := image_shape(run.network)) is not None:
        first = layers[0].name
        largest = float(max(np.abs(W[np.isfinite(W)]).max(initial=0.0) for W in of_layers[first]))
        for step, W in zip(steps, of_layers[first], strict=True):
            picture = weight_images(_as_rows(W), shape, largest=largest)
            tracker.log_image(picture, f"{first}/weights_as_images", step)
    course = _course(history, [layer.name for layer in layers])
    path = run.folder / "recording" / "weights_over_time.png"
    write_atomically(path, png(course))


def _course(history: RecordedHistory, names: list[str]) -> NDArray[np.uint8]:
    steps = spread(history.steps, 60)
    return histograms_over_time(steps, {name: [history.layer(step, name)["W"] for step in steps] for name in names})


def image_shape(network: Network) -> tuple[int, ...] | None:
    """Return the shape of the weights of one neuron of the first layer with weights, if they can be seen as a picture.

    A dense layer must look at the picture itself; the patch of a convolution must have one channel, or three.
    """
    shape, first = network.input_shape, next((layer for layer in network.layers if "W" in layer.parameters), None)
    if isinstance(first, Conv2D):
        channels, *patch = first.W.shape[1:]
        return {1: (*patch,), 3: (*patch, 3)}.get(channels)
    return shape if len(shape) in (2, 3) and isinstance(network.layers[0], Flatten) else None


def _as_rows(W: NDArray[Any]) -> NDArray[Any]:
    """Return weights as a row for each neuron, a convolution's in the order rows, columns, channels."""
    return W if W.ndim == 2 else np.moveaxis(W, 1, -1).reshape(len(W), -1)


def spread(steps: Any, count: int) -> list[int]:
    """Return at most `count` of the steps, the first and last among them, evenly over their order."""
    every = [int(step) for step in steps]
    if len(every) <= count:
        return every
    return [every[i] for i in np.unique(np.linspace(0, len(every) - 1, count).round().astype(int))]


def _description(run: Run, failure: TrainingDiverged | None) -> str:
    """Return the run's description for MLflow's page, in Markdown."""
    lines = [f"Neuronwise: {run.network.sizes} network, {run.network.parameter_count:,} weights and biases."]
    if failure is not None:
        lines.append(f"**Diverged** at step {failure.step} in layer {failure.layer}.")
    lines.append(
        "Weights over time: the pictures under *Model metrics* (a section per layer, with a slider over the steps) and "
        "`neuronwise/recording/weights_over_time.png` under *Artifacts*."
    )
    return "\n\n".join(lines)


def stored_runs(experiment: str | None, limit: int) -> list[Listed]:
    """Return the runs of the user's store.

    Raises:
        TrackingError: The store cannot be used.
    """
    return [_listed(info) for info in list_runs(resolve_store(), experiment, limit=limit)]


def _listed(info: RunInfo) -> Listed:
    from neuronwise.running.find import Listed
    from neuronwise.running.run import runs_folder
    from neuronwise.running.scores import METRICS

    parameters = info.params.get("parameters", "")
    result = next(((key, info.metrics[f"test/{key}"]) for key in METRICS if f"test/{key}" in info.metrics), None)
    return Listed(
        info.run_id,
        info.name,
        info.started,
        info.tags.get("neuronwise.status") or info.status.lower(),
        info.params.get("data", ""),
        int(parameters) if parameters.isdigit() else None,
        result,
        folder_size_bytes(runs_folder() / info.run_id),
        info.experiment,
    )


def fetch_run(text: str, cache: Path) -> Path | None:
    """Return the folder of a run of the store: local if it is here, else fetched into the cache; None if unknown.

    Raises:
        TrackingError: The store cannot be used.
    """
    from neuronwise.running.run import runs_folder

    store = resolve_store()
    if store.path is not None and not store.path.exists():
        return None
    info = find_run(store, text)
    local = runs_folder() / info.run_id
    if (local / "run.json").is_file():
        return local
    folder = cache / info.run_id
    if not (folder / "run.json").is_file():
        if not info.is_ours:
            raise NotFoundError(f"the run {info.name!r} was not made by Neuronwise", where=f"run {info.run_id}")
        try:
            download_artifacts(store, info.run_id, "neuronwise", folder)
        except NotFoundError:
            raise NotFoundError(
                f"the run {info.name!r} ({info.status.lower()}) left no network: it ended before one was saved",
                where=f"run {info.run_id}",
                hint=f"it can go on: neuronwise train --resume {info.run_id[:8]}" if can_resume(local) else None,
            ) from None
    return folder
