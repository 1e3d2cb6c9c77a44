"""Going on with a training that ended before its time, as if it had never stopped."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuronwise.data import FeatureEncoder
from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.learning import SCHEDULES, Checkpoint, Observer, Schedule, schedule_from_settings
from neuronwise.learning.identity import check_lengths
from neuronwise.network import get_loss
from neuronwise.running.architecture import Choice, Lengths
from neuronwise.running.checkpointing import (
    FOLDER,
    SavedTraining,
    check_same_data,
    find_begun,
    is_concluded,
    training_lock,
)
from neuronwise.running.find import find_folder
from neuronwise.running.learning_task import LearningTask
from neuronwise.running.locating import restore_recording
from neuronwise.running.prepare import Prepared, prepare
from neuronwise.running.reporter import Reporter
from neuronwise.running.run import Run
from neuronwise.running.tracked import Tracking


def resume(
    run: str | Path | Run,
    data: Any = None,
    *,
    epochs: int | None = None,
    patience: int | None = None,
    explain: bool = False,
    diagnose: bool = True,
    observers: Sequence[Observer] = (),
    reporter: Reporter | None = None,
) -> Run:
    """Go on with the training of a run, bit for bit as if it had never stopped, and return the run.

    A run that was interrupted (Ctrl-C) goes on at the step at which it stopped; one whose process was killed, at its
    last checkpoint (written every two seconds or more); one that finished or stopped early needs more `epochs` or
    `patience` to go on, but one that was killed while it was evaluated or sent needs nothing: that is done now. Same
    machine, same versions: as for every promise of bits.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        data: What it learned from, where the run cannot find it by itself: a frame or arrays, or a file that was moved.
        epochs: Passes over the data in all, with those taken before; default as it was planned.
        patience: Epochs without a lower validation loss after which training ends; default as it was.
        explain: Write explanations, as for `train`.
        diagnose: Say at the end why it went as it did, as for `train`.
        observers: Further listeners.
        reporter: Hears of every stage; default silent.

    Raises:
        NotFoundError: There is no such run on this machine, or it keeps no checkpoint.
        UsageError: The data is not the same, or is not to be found; or the training ended and nothing is longer.
        TrainingDiverged: The loss became NaN or infinite.
    """
    reporter = reporter or Reporter()
    saved = SavedTraining.load(run.folder if isinstance(run, Run) else (find_begun(str(run)) or find_folder(run)))
    with training_lock(saved.folder):
        checkpoint = saved.checkpoint()
        ended = _why_ended(checkpoint, epochs, patience)
        if ended is not None and is_concluded(saved.folder):
            raise ended
        restore_recording(saved.folder)
        prepared = prepare_again(saved, data, reporter)
        reporter.understood(prepared)
        task = _task(saved, prepared, checkpoint, epochs, patience, explain, diagnose)
        if ended is None:
            _check_rate(task, checkpoint)
        return _go_on(saved, task, checkpoint, observers, reporter)


def _why_ended(checkpoint: Checkpoint, epochs: int | None, patience: int | None) -> UsageError | None:
    """Return the error for a training that has reached its end; None if there are steps left to take."""
    planned = checkpoint.epochs if epochs is None else epochs
    if not checkpoint.is_epoch_ended:
        return None
    if checkpoint.epoch >= planned:
        return UsageError(
            f"the training has taken all of its {checkpoint.epoch} epochs, and {planned} are asked for",
            where="argument epochs",
            hint=f"--epochs {2 * checkpoint.epoch} takes as many again",
        )
    waited = checkpoint.epoch - (checkpoint.best_epoch or 0)
    allowed = checkpoint.patience if patience is None else patience
    if allowed is not None and waited >= allowed:
        return UsageError(
            f"the training stopped early: {waited} epochs brought no lower validation loss, the patience is {allowed}",
            where="argument patience",
            hint=f"--patience {2 * waited} lets it go on",
        )
    return None


def prepare_again(saved: SavedTraining, data: Any, reporter: Reporter) -> Prepared:
    """Return the data as it was when the run began, split as then.

    Raises:
        NotFoundError: It is not to be found.
        UsageError: It is not the same.
    """
    if data is None and saved.source is None:
        raise UsageError(
            f"the run learned from {saved.data_name!r}, which was handed in by a program",
            where="argument data",
            hint="hand it in again: neuronwise.open(RUN, data) looks at any step, neuronwise.resume(RUN, data) "
            "goes on; neuronwise step RUN N FILE reads it from a file that holds the same",
        )
    source = _find_source(saved) if data is None else data
    prepared = prepare(source, saved.data_options, _seed(saved), saved.model(), reporter.reading)
    check_same_data(saved, prepared)
    train, validation, test = saved.split(len(prepared.X))
    columns = prepared.columns
    if isinstance(prepared.encoder, FeatureEncoder) and not columns:
        columns = [*(encoding.column for encoding in prepared.encoder.encodings), *prepared.encoder.left_out]
    return replace(prepared, train=train, validation=validation, test=test, columns=columns, notes=[])


def _find_source(saved: SavedTraining) -> str:
    """Return what names the data; a file that was moved is looked for by its name where files of data are kept.

    Whether it is the same is told by its fingerprint later.

    Raises:
        NotFoundError: There is no such file.
    """
    source = str(saved.source)
    if not os.path.isabs(source) or os.path.exists(source):
        return source
    folders = [Path.cwd(), *(Path(place) for place in (os.environ.get("NEURONWISE_DATA"),) if place)]
    for folder in folders:
        if (folder / Path(source).name).exists():
            return str(folder / Path(source).name)
    raise NotFoundError(
        f"the data of the run is no longer at {source!r}",
        where="argument data",
        hint=f"name its new place: neuronwise train PLACE --resume {saved.run_id[:8]}, neuronwise step RUN N PLACE, "
        "neuronwise.open(RUN, PLACE)",
    )


def _seed(saved: SavedTraining) -> int:
    seed = saved.settings.get("seed")
    return seed if type(seed) is int and seed >= 0 else 0


def _task(
    saved: SavedTraining,
    data: Prepared,
    checkpoint: Checkpoint,
    epochs: int | None,
    patience: int | None,
    explain: bool = False,
    diagnose: bool = False,
) -> LearningTask:
    from neuronwise.running.training import TrainOptions

    settings, network = saved.settings, saved.model().network
    try:
        choice = Choice(
            network, get_loss(settings["loss"], settings["output"]), [f"the training of {saved.run_name} goes on"]
        )
        options = TrainOptions(
            optimizer=settings["optimizer"],
            learning_rate=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            schedule=_schedule(settings),
            clip_norm=settings["clip_norm"],
            class_weights=settings["class_weights"],
            loss=settings["loss"],
            seed=settings["seed"],
            threads=settings["threads"],
            name=saved.run_name,
            track=saved.tracking_uri is not None,
            network=network if "network" in settings else None,  # so that the settings name it as before
            keyframe_every=settings.get("keyframe_every"),
            statistics_every=settings.get("statistics_every"),
            redact=settings.get("redact") is True,
            explain=explain,
            diagnose=diagnose,
        )
        lengths = Lengths(
            settings["batch_size"],
            checkpoint.epochs if epochs is None else epochs,
            (checkpoint.patience or settings["patience"]) if patience is None else patience,
        )
    except (KeyError, TypeError) as error:
        where = str(saved.folder / FOLDER / "training.json")
        raise FormatError(f"a setting is missing or wrong: {error}", where=where) from None
    check_lengths(checkpoint, lengths.epochs, lengths.patience)
    return LearningTask.of(data, choice, options, lengths)


def _schedule(settings: dict[str, Any]) -> Schedule:
    if (name := settings.get("schedule")) not in SCHEDULES:
        raise UsageError(
            f"the schedule {name!r} is one of a program's own, which cannot be made again from its name",
            where="argument run",
            hint="learning.fit(…, schedule=…, resume=Checkpoint.load(…)) goes on with any schedule",
        )
    return schedule_from_settings(settings)


def _check_rate(task: LearningTask, checkpoint: Checkpoint) -> None:
    """Refuse to go on where the schedule has ended at a learning rate of 0."""
    schedule = task.schedule
    schedule.start(checkpoint.planned_steps, math.ceil(len(task.data.train) / task.settings["batch_size"]))
    schedule.restore(checkpoint.schedule_state)
    if schedule.factor(checkpoint.step + 1) == 0:
        raise UsageError(
            f"the schedule {schedule.settings()['schedule']!r} ended with the training at a learning rate of 0, "
            "so that further epochs would change nothing",
            where="argument epochs",
            hint="start anew from the weights: neuronwise train … --from RUN",
        )


def _go_on(
    saved: SavedTraining,
    task: LearningTask,
    checkpoint: Checkpoint,
    observers: Sequence[Observer],
    reporter: Reporter,
) -> Run:
    estimate = task.estimate(max(1, task.settings["epochs"] - len(checkpoint.history)))
    tracking = Tracking.rejoin(saved.folder, saved.run_id, saved.run_name, saved.tracking_uri, checkpoint.step)
    with tracking.ended_on_error():
        return task.run(saved.folder, tracking, estimate, observers, reporter, resume=checkpoint)
