"""A training of an estimator that is kept as a run, as `neuronwise.train` keeps one."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.data import MAX_CLASSES, Column, FeatureEncoder, TargetSpec
from neuronwise.errors import TrainingDiverged, UsageError
from neuronwise.learning import FitResult
from neuronwise.recording import RecordingWriter
from neuronwise.running.checkpointing import training_lock
from neuronwise.running.conclude import run_of
from neuronwise.running.estimators.task import Task
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.learning_task import MetricsLogger
from neuronwise.running.prepare import Prepared
from neuronwise.running.run import Run, make_runs_folder
from neuronwise.running.tracked import Tracking

if TYPE_CHECKING:
    from neuronwise.running.training import TrainOptions


def learn_tracked(task: Task, options: TrainOptions, given: dict[str, Any]) -> tuple[FitResult, Run]:
    """Train, recorded in a folder of its own and tracked in MLflow; return how it went, and the run.

    The run has no result on held-out rows: an estimator learns from all rows that it is given, and what it is worth is
    for the caller to measure on others.

    Args:
        task: What is learned.
        options: As given.
        given: How what was handed in is prepared, see `describe_given`.

    Raises:
        UsageError: What is predicted has no form in which a run could be saved.
        TrainingDiverged: The loss became NaN or infinite; the run is kept as failed, with the last finite weights.
    """
    check_trackable(task)
    data = prepared(task)
    settings = settings_of(task, options)
    runs = make_runs_folder()
    tracking = Tracking.begin(data, task.choice, settings, options)
    failure: TrainingDiverged | None = None
    with tracking.ended_on_error():
        folder = runs / tracking.run_id
        with training_lock(folder):  # nobody takes it for a run whose process was killed
            tracking.keep(folder)
            # Before the learning: without the encoder the recording of a killed process could not be replayed.
            FittedNetwork(task.choice.network, data.encoder, data.target, data.kind).save(folder / "model")
            recorder = RecordingWriter(
                folder / "recording",
                split={"train": data.train, "validation": data.validation, "test": data.test},
                data=recorded_data(data, given),
            )
            try:
                result = task.learn([recorder, MetricsLogger(tracking, recorder)])
            except TrainingDiverged as error:
                result, failure = error.result, error
            run = run_of(data, task.choice.network, settings, result, folder, tracking)
            run.save()
            tracking.complete(run, data, failure)
            run.not_logged = [*tracking.not_logged, *recorder.problems]
    if failure is not None:
        failure.run = run
        raise failure
    return result, run


def check_trackable(task: Task) -> None:
    """Refuse what has no form in which a run could be saved.

    Raises:
        UsageError: Several numbers are predicted, or too many classes.
    """
    if task.spec.outputs > 1:
        raise UsageError(
            f"a run predicts one number, y has {task.spec.outputs}", where="argument track", hint="track=False"
        )
    if len(task.spec.classes) > MAX_CLASSES:
        raise UsageError(
            f"a run predicts at most {MAX_CLASSES:,} classes, y has {len(task.spec.classes):,}",
            where="argument track",
            hint="track=False",
        )


def recorded_data(data: Prepared, given: dict[str, Any]) -> dict[str, Any]:
    """Return what recording.json says of the data, and of how it is prepared."""
    said = {"name": data.name, "source": data.source, "fingerprint": data.fingerprint, "target": data.target.name}
    return said | {"estimator": given}


def prepared(task: Task) -> Prepared:
    """Return the data of a task as the runs of `neuronwise.train` have it."""
    digest = hashlib.sha256(np.ascontiguousarray(task.X).data)
    digest.update(np.ascontiguousarray(task.y).data)
    is_table = isinstance(task.encoder, FeatureEncoder)
    columns: list[Column] = []
    if isinstance(task.encoder, FeatureEncoder):
        columns = [encoding.column for encoding in task.encoder.encodings] + list(task.encoder.left_out)
    name = "DataFrame" if is_table else "array"
    return Prepared(
        name=name,
        source=f"{name} of {len(task.X):,} rows given to an estimator",
        fingerprint=digest.hexdigest(),
        kind="table" if is_table else "array",
        X=task.X.reshape(len(task.X), -1),
        y=task.y,
        train=task.train,
        validation=task.held_out,
        test=np.empty(0, dtype=np.int64),
        encoder=task.encoder,
        target=_plain(task.spec),
        input_shape=task.X.shape[1:],
        columns=columns,
    )


def _plain(spec: TargetSpec) -> TargetSpec:
    """Return the target without what only estimators know of it."""
    return TargetSpec(**{field.name: getattr(spec, field.name) for field in dataclasses.fields(TargetSpec)})


def settings_of(task: Task, options: TrainOptions) -> dict[str, Any]:
    """Return everything that was chosen, by name, for people and for MLflow."""
    network = task.choice.network
    output = network.layers[-1].activation
    dense = {"layers": task.choice.hidden_sizes, "hidden": task.choice.hidden}
    return {
        **(dense if options.network is None else {"network": network.sizes}),
        "output": output.name if output else "",
        "loss": task.choice.loss.name,
        "optimizer": task.optimizer.name,
        **task.optimizer.settings(),
        **task.schedule.settings(),
        "batch_size": task.lengths.batch_size,
        "epochs": task.lengths.epochs,
        "patience": task.lengths.patience if len(task.held_out) else None,
        "clip_norm": task.clip_norm,
        "class_weights": options.class_weights,
        "sample_weights": "given" if task.weights is not None else None,
        "seed": task.seed,
    }
