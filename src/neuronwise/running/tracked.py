"""A training kept in MLflow: what is sent when. Without MLflow the training still runs, and is sent later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronwise.errors import NeuronwiseError, TrainingDiverged
from neuronwise.running.findings import described, findings_tags, kept_diagnosis
from neuronwise.running.names import new_local_id, new_local_name
from neuronwise.running.shown_files import DIAGNOSIS, DIAGNOSIS_PAGE, INSPECTOR, PREDICTIONS, SHOWN
from neuronwise.running.shown_files import FOLDER as EXPLANATIONS
from neuronwise.running.tracking_file import TrackingState
from neuronwise.tracking import LOCAL_ID_TAG, DatasetInfo, Tracker
from neuronwise.tracking.store import store_again

if TYPE_CHECKING:
    from neuronwise.running.architecture import Choice
    from neuronwise.running.prepare import Prepared
    from neuronwise.running.run import Run
    from neuronwise.running.training import TrainOptions

# MLflow's words for the kinds of columns that are not text.
_SCHEMA = {"numeric": "double", "date": "datetime"}

_STATUS = {"interrupted": "KILLED", "diverged": "FAILED"}


class Tracking:
    """The MLflow side of one training; every method is safe whether or not MLflow can be reached.

    What is wanted of MLflow is kept in the run's folder, ``tracking.json``, so that `sync` can complete it.

    Attributes:
        run_id: Id of the MLflow run, or one of our own.
        run_name: Its name.
        uri: Address of the store, or None if the run is not in MLflow.
        ui_command: Command that opens the store, or None.
        run_url: Page of the run, or None.
        where: Where the run is kept, in a sentence.
        sent_step: The last step of which a run that goes on has metrics already; 0 for a new one.
    """

    def __init__(self, tracker: Tracker | None, name: str | None, local_id: str | None = None) -> None:
        self._tracker = tracker
        self._state: TrackingState | None = None
        self._sentences: list[str] = []
        self.sent_step = 0
        online = tracker is not None and tracker.is_online
        self.run_id = (tracker.run_id if tracker else None) or local_id or new_local_id()
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
        local_id, began_ms = new_local_id(), int(time.time() * 1000)
        tags = {"neuronwise.data": data.name, "neuronwise.task": data.target.task, LOCAL_ID_TAG: local_id}
        tracker = Tracker.start(experiment=options.experiment, name=options.name, params=params, tags=tags)
        data_set = _dataset(data)
        tracker.log_input(data_set)
        tracking = cls(tracker, options.name, local_id)
        columns = [column.name for column in data.columns if column.is_input] or None
        tracking._want(tracker, local_id, began_ms, options.experiment, params, tags, data_set, columns)
        return tracking

    def _want(
        self,
        tracker: Tracker,
        local_id: str,
        began_ms: int,
        experiment: str | None,
        params: dict[str, Any],
        tags: dict[str, Any],
        data_set: DatasetInfo | None = None,
        columns: list[str] | None = None,
    ) -> None:
        """Note what is wanted of MLflow, for `keep` to write down; see `TrackingState`."""
        owns_run = not tracker.is_online or bool(tracker.owns_run)
        store = tracker.store.display_uri or None
        self._state = TrackingState(
            Path(), local_id, self.run_name, store, tracker.run_id, owns_run, experiment, began_ms, params, tags,
            data_set, columns,
        )  # fmt: skip

    @classmethod
    def rejoin(cls, folder: Path, run_id: str, run_name: str, uri: str | None, step: int) -> Tracking:
        """Go on with a run that was begun before, or stay local if it is.

        Args:
            folder: Of the run; its ``tracking.json`` says where it is kept, if it has one.
            run_id: Its local id.
            run_name: Its name.
            uri: The store that it was kept in, or None; for runs of earlier versions.
            step: The step at which the training goes on.
        """
        state = TrackingState.find(folder)
        stored_id = state.run_id if state is not None else run_id
        if state is not None:
            uri = state.store if state.run_id is not None else None
        tracker = None
        if uri is not None and stored_id is not None:
            tracker = Tracker.start(store_again(uri), rejoin=stored_id, tags={"neuronwise.resumed_at_step": step})
        tracking = cls(tracker, run_name)
        if tracker is not None:
            tracking.sent_step = tracker.last_step("loss")
            if state is not None:
                tracker.owns_run = state.owns_run
        tracking.run_id, tracking.run_name = run_id, run_name
        if state is not None:
            state.is_complete, state.status = False, None
            state.tags["neuronwise.resumed_at_step"] = step
            tracking._state = state
            tracking.keep(folder)
        return tracking

    def keep(self, folder: Path) -> None:
        """Write down in the run's folder what is wanted of MLflow; from now on its files are sent as they come.

        Raises:
            OSError: It cannot be written: found out before the learning, not after.
        """
        if self._state is not None:
            self._state.folder = folder
            self._state.save()
        if self._tracker is not None:
            self._tracker.upload_meanwhile(recorded_places(folder))

    def leave(self, run: Run) -> None:
        """End the run at once: pictures, model and files that have not been sent are left for `neuronwise sync`."""
        status, tags = _STATUS.get(run.status, "FINISHED"), tags_of(run, None, self._place)
        self._note(status, tags)
        if self._tracker is not None and self._tracker.is_online:
            self._tracker.set_tags(tags)
            self._is_complete = True
            self._tracker.finish(status, timeout_s=5.0)  # type: ignore[arg-type]

    @property
    def not_logged(self) -> list[str]:
        """What could not be sent, in sentences."""
        return [*(self._tracker.not_logged if self._tracker else ()), *self._sentences]

    @property
    def _place(self) -> tuple[str, str] | None:
        """The experiment and the run in MLflow; None while it has none."""
        if self._tracker is None or self._tracker.experiment_id is None or self._tracker.run_id is None:
            return None
        return self._tracker.experiment_id, self._tracker.run_id

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
            if not self._is_complete:
                status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
                self._note(status)
                if self._tracker:
                    self._tracker.finish(status, timeout_s=3.0)  # type: ignore[arg-type]
            raise

    def _note(self, status: str, tags: dict[str, Any] | None = None, *, is_complete: bool = False) -> None:
        """Write down how the run ended, and whether all of it has arrived."""
        if self._state is None or self._state.folder == Path():
            return
        self._state.status, self._state.is_complete = status, is_complete
        self._state.tags |= tags or {}
        try:
            self._state.save()
        except OSError as error:  # a full disk: what was learned is kept, and the next sync looks what is missing
            self._sentences.append(f"how far the run has come in MLflow was not written down: {error}")

    def complete(self, run: Run, data: Prepared, failure: TrainingDiverged | None) -> None:
        """Send result, recording, pictures and model, and end the run."""
        tracker = self._tracker
        status, tags = _STATUS.get(run.status, "FINISHED"), tags_of(run, failure, self._place)
        self._note(status, tags)
        if tracker is not None and tracker.is_online:
            tracker.try_again()  # it may have come back
            tracker.set_tags(tags)
            columns = [column.name for column in data.columns if column.is_input] or None
            self._sentences += send_kept(tracker, run.folder, run, columns)
            self._is_complete = True
            tracker.finish(status, timeout_s=30.0)  # type: ignore[arg-type]
            self._note(status, is_complete=not tracker.has_lost)
        if self._state is not None and not self._state.is_complete:
            self._sentences.append(
                f"nothing of it is lost: it is kept in {run.folder}, and neuronwise sync {run.id[:8]} sends to MLflow "
                "what is missing there"
            )


def recorded_places(folder: Path) -> dict[str, Path]:
    """Return which files and folders of a run go to MLflow while it learns, by their path there.

    With them a run whose process was killed can be read and its steps taken again from MLflow alone.
    """
    begun = folder / "checkpoint"
    return {
        "neuronwise/recording": folder / "recording",
        "neuronwise/checkpoint/training.json": begun / "training.json",
        "neuronwise/checkpoint/split.safetensors": begun / "split.safetensors",
        "neuronwise/checkpoint/model": begun / "model",
        # Of a watched training.
        "neuronwise/watched.json": folder / "watched.json",
        "neuronwise/parameters.json": folder / "parameters.json",
        "neuronwise/parameters.md": folder / "parameters.md",
    }


def send_kept(
    tracker: Tracker,
    folder: Path,
    run: Run | None,
    columns: list[str] | None,
    *,
    with_pictures: bool = True,
    with_model: bool = True,
) -> list[str]:
    """Send all that a run keeps on disk and that is not there yet; return sentences about what could not be made.

    Args:
        tracker: Where to.
        folder: Of the run, to which nobody writes any more.
        run: What is in it; None for one that left no network.
        columns: Names of the input columns, None for arrays.
        with_pictures: Whether to draw and send the pictures.
        with_model: Whether to send the model.
    """
    problems = []
    places = recorded_places(folder)
    places |= {f"neuronwise/{name}": folder / name for name in (DIAGNOSIS, DIAGNOSIS_PAGE, INSPECTOR)}
    if run is not None:
        tracker.log_metrics(_results(run), run.steps)
        if with_pictures:
            from neuronwise.running.pictures import send_pictures

            try:
                send_pictures(tracker, run)
            except (NeuronwiseError, OSError) as error:  # a recording that ended early, a full disk
                problems.append(f"the pictures could not be drawn: {error}")
        places |= {"neuronwise/model": folder / "model", "neuronwise/run.json": folder / "run.json"}
        places["neuronwise/explanations"] = folder / EXPLANATIONS
    tracker.log_places(places, unsealed=True)
    if run is not None and with_model:
        tracker.log_model(folder / "model", columns=columns, step=model_step(run))
    return problems


def model_step(run: Run) -> int:
    """Return the step of the network that a run left."""
    return run.best_step or run.steps


def _results(run: Run) -> dict[str, float]:
    results = {f"test/{key}": value for key, value in run.metrics.items()}
    for compared in run.baselines:
        name = compared.name.replace(" ", "_")
        results |= {f"test/{name}_{key}": value for key, value in compared.metrics.items()}
    return results


def tags_of(run: Run, failure: TrainingDiverged | None, place: tuple[str, str] | None = None) -> dict[str, Any]:
    """Return the tags of a run that has ended, with its description.

    That links to the inspector where the ids of experiment and run in MLflow are known, `place`.
    """
    tags: dict[str, Any] = {
        "neuronwise.status": run.status,
        "neuronwise.folder": str(run.folder),
        "mlflow.note.content": _description(run, failure, place),
    }
    tags |= findings_tags(kept_diagnosis(run.folder))
    if run.best_epoch is not None:
        tags |= {"neuronwise.best_epoch": run.best_epoch, "neuronwise.best_step": run.best_step}
    if failure is not None:
        tags["neuronwise.failure"] = str(failure)
    return tags


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


def inspector_line(place: tuple[str, str] | None) -> str:
    """Return what a description says of the inspector: a link where the ids of experiment and run are known."""
    return _UNLINKED if place is None else _linked_to(*place)


_INSPECTOR_PLACE = f"neuronwise/{INSPECTOR}"
# How each paragraph of `_description` begins: who finds others knows that the user wrote them.
_OWN_PARAGRAPHS = (
    "**[Open the ", "`neuronwise/", "Neuronwise: ", "**Diverged**", "Weights over time: ", "Why some ", "Diagnosis",
)  # fmt: skip
_UNLINKED = f"`{_INSPECTOR_PLACE}` under *Artifacts*: {SHOWN[INSPECTOR]}."


def _linked_to(experiment_id: str, run_id: str) -> str:
    # Without the parameter MLflow 3.18 shows its pages for language models instead.
    address = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{_INSPECTOR_PLACE}?workflowType=machine_learning"
    return f"**[Open the inspector]({address})**: {SHOWN[INSPECTOR]}."


def link_inspector(description: str, experiment_id: str, run_id: str) -> str:
    """Return a description of `tags_of` with the link to the inspector where the run is in MLflow now.

    What was written while the run had no place there yet, or has another one since, names no link, or a dead one.
    """
    first, between, rest = description.partition("\n\n")
    if first == _UNLINKED or first.startswith("**[Open the inspector]("):
        return _linked_to(experiment_id, run_id) + between + rest
    return description


def is_own_description(text: str) -> bool:
    """Whether nobody has written into a description of `tags_of` since."""
    return all(paragraph.startswith(_OWN_PARAGRAPHS) for paragraph in text.split("\n\n"))


def _description(run: Run, failure: TrainingDiverged | None, place: tuple[str, str] | None) -> str:
    """Return the run's description for MLflow's page, in Markdown."""
    lines = []
    if (run.folder / INSPECTOR).is_file():  # first, as MLflow covers the end of a long description
        lines.append(inspector_line(place))
    lines.append(f"Neuronwise: {run.network.sizes} network, {run.network.parameter_count:,} weights and biases.")
    if failure is not None:
        lines.append(f"**Diverged** at step {failure.step} in layer {failure.layer}.")
    lines += described(kept_diagnosis(run.folder))
    lines.append(
        "Weights over time: the pictures under *Model metrics* (a section per layer, with a slider over the steps) and "
        "`neuronwise/recording/weights_over_time.png` under *Artifacts*."
    )
    if (run.folder / EXPLANATIONS / PREDICTIONS).is_file():
        lines.append(
            f"Why some held-out rows were answered so: `neuronwise/{EXPLANATIONS}/{PREDICTIONS}` under *Artifacts*, "
            "and the first layer's neurons beside it."
        )
    return "\n\n".join(lines)
