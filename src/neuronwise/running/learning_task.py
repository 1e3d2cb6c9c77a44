"""The learning of one run: the arguments of `fit`, and who listens."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError, TrainingDiverged
from neuronwise.learning import (
    Checkpoint,
    Estimate,
    FitResult,
    Observer,
    Optimizer,
    Schedule,
    TrainingState,
    estimate_training,
    fit,
    get_schedule,
)
from neuronwise.learning.rows import row_weights
from neuronwise.learning.targets import example_weights, prepare_targets
from neuronwise.network import Dense, Flatten
from neuronwise.recording import RecordingWriter, TrainingData, expected_bytes, read_recording
from neuronwise.running.architecture import Choice, Lengths, check_batch_memory, make_optimizer
from neuronwise.running.checkpointing import CheckpointKeeper, mark_concluded, save_checkpoint
from neuronwise.running.conclude import conclude
from neuronwise.running.prepare import Prepared
from neuronwise.running.reporter import Plan, Reporter
from neuronwise.running.run import Run
from neuronwise.running.tracked import Tracking

if TYPE_CHECKING:
    from neuronwise.running.training import TrainOptions


@dataclass(frozen=True)
class LearningTask:
    """What is learned, and how.

    Attributes:
        data: The data.
        choice: Network and loss.
        options: As given.
        optimizer: The optimizer.
        schedule: The learning-rate schedule.
        settings: Everything that was chosen, by name, for people and for MLflow.
        X: Inputs in their shape, (rows, *input_shape): a view of the data's.
        y: Targets as `fit` takes them.
        arguments: Of ``neuronwise train``, for the same again; kept in the recording.
    """

    data: Prepared
    choice: Choice
    options: TrainOptions
    optimizer: Optimizer
    schedule: Schedule
    settings: dict[str, Any]
    X: NDArray[np.float32]
    y: NDArray[Any]
    arguments: Sequence[str] = ()

    @classmethod
    def of(cls, data: Prepared, choice: Choice, options: TrainOptions, lengths: Lengths) -> LearningTask:
        """Return the task; what `fit` would refuse is refused here, before a run is begun.

        Raises:
            UsageError: Targets or class weights that cannot be used, or layers too large for the memory.
        """
        network = choice.network
        check_batch_memory(network, min(lengths.batch_size, len(data.train)))
        optimizer = make_optimizer(options.optimizer, options.learning_rate, options.weight_decay, data.kind)
        schedule = get_schedule(options.schedule, warm_up=options.warm_up)
        y = targets_to_fit(data)
        X = data.X.reshape(-1, *network.input_shape)
        targets = prepare_targets(network, y, choice.loss, len(X))
        example_weights(options.class_weights, targets, choice.loss, network.output_size, network.dtype)
        activation = network.layers[-1].activation
        is_plain = options.network is None and all(isinstance(layer, (Dense, Flatten)) for layer in network.layers)
        dense = {"layers": choice.hidden_sizes, "hidden": choice.hidden}
        settings = {
            **(dense if is_plain else {"network": network.sizes}),
            "output": activation.name if activation else "",
            "loss": choice.loss.name,
            "optimizer": optimizer.name,
            **optimizer.settings(),
            **schedule.settings(),
            "batch_size": lengths.batch_size,
            "epochs": lengths.epochs,
            "patience": lengths.patience,
            "clip_norm": options.clip_norm,
            "class_weights": options.class_weights,
            "seed": options.seed,
        }
        return cls(data, choice, options, optimizer, schedule, settings, X, y)

    def estimate(self, epochs: int) -> Estimate:
        """Return memory, steps and time of so many epochs, by a few steps of a copy of the network."""
        data, size = self.data, self.settings["batch_size"]
        sample = data.train[: 8 * size]
        found = estimate_training(
            self.choice.network,
            self.X[sample],
            self.y[sample],
            self.choice.loss,
            self.optimizer,
            rows=len(data.train),
            epochs=epochs,
            batch_size=size,
            threads=self.options.threads,
        )
        return replace(found, memory_bytes=found.memory_bytes + data.memory_bytes)

    def run(
        self,
        folder: Path,
        tracking: Tracking,
        estimate: Estimate,
        observers: Sequence[Observer],
        reporter: Reporter,
        *,
        resume: Checkpoint | None = None,
        with_baselines: bool = True,
    ) -> Run:
        """Tell the plan, learn, and conclude the run.

        Raises:
            TrainingDiverged: The run is kept all the same.
        """
        network = self.choice.network
        states = len(self.optimizer.state_names())
        size = expected_bytes(
            network,
            estimate.steps,
            self.settings["epochs"],
            batch_size=self.settings["batch_size"],
            states=states,
            keyframe_every=self.options.keyframe_every,
            statistics_every=self.options.statistics_every,
        )
        plan = Plan(self.data, self.choice, self.settings, estimate, size, tracking.where)
        reporter.planned(plan)
        for message in tracking.not_logged:
            reporter.warned(message)
        mark_concluded(folder, False)
        result, failure = self.learn(folder, tracking, observers, reporter, resume)
        run = conclude(
            plan, result, folder, tracking, reporter, failure, with_baselines=with_baselines,
            with_explanations=self.options.explain, redact=self.options.redact,
            diagnosed_with=self._training_data if self.options.diagnose else None,
        )  # fmt: skip
        mark_concluded(folder, True)
        if failure is not None:
            failure.run = run
            reporter.diagnosed(run)
            raise failure
        reporter.finished(run)
        return run

    def learn(
        self,
        folder: Path,
        tracking: Tracking,
        observers: Sequence[Observer],
        reporter: Reporter,
        resume: Checkpoint | None = None,
    ) -> tuple[FitResult, TrainingDiverged | None]:
        """Fit the network, recorded and watched; return how it went, and the error if it diverged.

        Args:
            folder: Of the run.
            tracking: Its MLflow side.
            observers: Further listeners.
            reporter: Hears of every stage.
            resume: Where to go on from; None to begin.
        """
        data, settings = self.data, self.settings
        recorder = RecordingWriter(
            folder / "recording",
            split={"train": data.train, "validation": data.validation, "test": data.test},
            data={
                "name": data.name, "source": data.source, "fingerprint": data.fingerprint, "target": data.target.name,
                "arguments": list(self.arguments),
            },
            keyframe_every=self.options.keyframe_every,
            statistics_every=self.options.statistics_every,
            probe=None if self.options.redact else self._probe(),
            resume=resume is not None,
        )  # fmt: skip
        recorded = [] if resume is None else _recorded_epochs(recorder.folder)
        listeners: list[Observer] = [recorder, MetricsLogger(tracking, recorder, recorded), CheckpointKeeper(folder)]
        if (progress := reporter.progress()) is not None:
            listeners.append(progress)
        try:
            result = fit(
                self.choice.network,
                self.X,
                self.y,
                loss=self.choice.loss,
                optimizer=self.optimizer,
                schedule=self.schedule,
                epochs=settings["epochs"],
                batch_size=settings["batch_size"],
                validation=data.validation,
                training_rows=data.train,
                class_weights=self.options.class_weights,
                clip_norm=self.options.clip_norm,
                patience=settings["patience"],
                seed=self.options.seed,
                threads=self.options.threads,
                observers=[*listeners, *observers],
                resume=resume,
            )
        except TrainingDiverged as error:
            save_checkpoint(folder, None)
            return error.result, error
        finally:
            recorder.close()  # also after a second Ctrl-C
            for problem in recorder.problems:
                reporter.warned(problem)
        try:
            save_checkpoint(folder, result.checkpoint)
        except FileNotFoundError:
            reporter.warned(
                f"the run's folder {folder} was deleted or moved while it trained: it is made again for the network, "
                "but the training cannot go on from its end"
            )
        except OSError as error:  # a full disk: what was learned, which is smaller, may still be saved
            reporter.warned(f"the checkpoint was not written, so that the training cannot go on from its end: {error}")
        return result, None

    def _training_data(self) -> TrainingData:
        """Return what is learned from as `fit` has it."""
        network, loss, data = self.choice.network, self.choice.loss, self.data
        y = prepare_targets(network, targets_to_fit(data), loss, len(self.X))
        return TrainingData(
            self.X, y, data.train, row_weights(loss, network, self.options.class_weights, None, y, data.train)
        )

    def _probe(self) -> NDArray[np.float32] | None:
        """Return some rows that nothing is learned from, evenly spread, as the recording's probe."""
        rows = self.data.validation if len(self.data.validation) else self.data.train
        most = min(_PROBE_ROWS, _PROBE_BYTES // max(1, self.X[:1].nbytes))
        if not most:
            return None
        return self.X[rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))]]


# What of the options is kept with the settings for a training that is resumed.
KEPT_OPTIONS = ("threads", "keyframe_every", "statistics_every", "redact")
_PROBE_ROWS, _PROBE_BYTES = 64, 1_000_000


def targets_to_fit(data: Prepared) -> NDArray[Any]:
    """Return the targets as `fit` takes them: of two classes 0 and 1 as numbers, (rows, 1)."""
    return data.y.astype(np.float32)[:, None] if data.target.task == "binary" else data.y


def _recorded_epochs(folder: Path) -> list[dict[str, Any]]:
    """Return the epochs that a recording holds; none where it is gone, or damaged beyond reading."""
    try:
        return read_recording(folder).epochs
    except (FormatError, NotFoundError):
        return []


class MetricsLogger(Observer):
    """Sends the metrics of every epoch, and the layer summaries that the recorder made, to MLflow, each once.

    Args:
        tracking: Where to.
        recorder: What makes the summaries.
        recorded: `RecordedHistory.epochs` of a training that goes on: those that a kill kept from being sent are sent.
    """

    def __init__(
        self, tracking: Tracking, recorder: RecordingWriter, recorded: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._tracking, self._recorder, self._recorded = tracking, recorder, recorded
        self._began, self._first = time.perf_counter(), 0

    def on_fit_begin(self, state: TrainingState) -> None:
        """Note where this process begins, and send what is missing of the epochs before."""
        self._began, self._first = time.perf_counter(), state.step
        for epoch in self._recorded:
            if (epoch["step"] or 0) <= state.step:
                self._send(epoch["metrics"], epoch["layers"], epoch["step"] or 0)

    def on_epoch_end(self, state: TrainingState) -> None:
        """Send one batch of metrics, at the step that ends the epoch."""
        seconds = time.perf_counter() - self._began
        speed = (state.step - self._first) / seconds if seconds > 0 else 0.0
        self._send(state.metrics | {"steps_per_second": speed}, self._recorder.summaries, state.step)

    def _send(self, metrics: Mapping[str, float], layers: Mapping[str, Mapping[str, float]], step: int) -> None:
        if step <= self._tracking.sent_step:
            return
        self._tracking.log_metrics(metrics_to_send(metrics, layers), step)


def metrics_to_send(metrics: Mapping[str, float], layers: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return what goes to MLflow of an epoch: its metrics, and for each layer those that MLflow's page shows."""
    values = dict(metrics)
    for layer, summary in layers.items():
        values |= {f"{layer}/{key}": value for key, value in summary.items() if _is_sent(key, value)}
    return values


# What MLflow's page shows of each layer; the recording holds more. Twelve keys a layer would only slow the page.
_SENT = frozenset({"weight_norm", "bias_mean", "grad_norm", "update_ratio", "zero_fraction"})


def _is_sent(key: str, value: float) -> bool:
    """Return whether a layer's summary goes to MLflow: the five of every layer, and counts of NaN if there are any."""
    return key in _SENT or (key.endswith("_nonfinite") and value > 0)
