"""Train: from data to a trained, tracked network. The composition of all packages below."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import TrainingDiverged
from neuronwise.learning import FitResult, Observer, Optimizer, TrainingState, estimate_training, fit
from neuronwise.learning.targets import example_weights, prepare_targets
from neuronwise.recording import RecordingWriter, expected_bytes
from neuronwise.running.architecture import Choice, check_settings, choose_network, choose_schedule, make_optimizer
from neuronwise.running.conclude import conclude
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.prepare import DataOptions, Prepared, prepare
from neuronwise.running.reporter import Plan, Reporter
from neuronwise.running.run import Run, make_runs_folder
from neuronwise.running.start import held_out_alike, start_from
from neuronwise.running.tracked import Tracking


@dataclass
class TrainOptions:
    """How to train; see `train` for what each means."""

    layers: str | Sequence[int] = "64,32"
    hidden: str = "relu"
    optimizer: str = "adam"
    learning_rate: float | None = None
    weight_decay: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    clip_norm: float | None = None
    class_weights: str | None = None
    loss: str | None = None
    seed: int = 0
    threads: int | None = 1
    experiment: str | None = None
    name: str | None = None
    track: bool = True


def train(
    data: Any,
    target: str | None = None,
    *,
    layers: str | Sequence[int] = "64,32",
    hidden: str = "relu",
    optimizer: str = "adam",
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    clip_norm: float | None = None,
    class_weights: str | None = None,
    loss: str | None = None,
    seed: int = 0,
    threads: int | None = 1,
    task: str | None = None,
    log: bool | None = None,
    category: Sequence[str] = (),
    numeric: Sequence[str] = (),
    drop: Sequence[str] = (),
    group: str | None = None,
    test: float = 0.15,
    validation: float = 0.1,
    image_size: tuple[int, int] | None = None,
    experiment: str | None = None,
    name: str | None = None,
    from_run: str | Path | Run | None = None,
    track: bool = True,
    observers: Sequence[Observer] = (),
    reporter: Reporter | None = None,
) -> Run:
    """Train a network on data and return the run, which is kept in MLflow and in a local folder.

    Args:
        data: Path of a CSV or Parquet file, IDX file or folder of pictures; ``"digits"`` or ``"mnist"``; a pandas or
            polars frame; `ImageData`; or arrays ``(X, y)``, which are taken as they are.
        target: Column to predict; needed for tables.
        layers: Neurons of each hidden layer, ``"64,32"`` or ``[64, 32]``; ``"none"`` or ``[]`` for a linear model.
        hidden: Activation of the hidden layers.
        optimizer: ``"sgd"``, ``"momentum"``, ``"nesterov"``, ``"rmsprop"``, ``"adam"`` or ``"adamw"``.
        learning_rate: Default that of the optimizer.
        weight_decay: Default 0.001 for tables, else that of the optimizer.
        batch_size: Rows per step; default 32, or 64 from 5,000 rows.
        epochs: Passes over the data at most; default 20 to 200 by the number of rows.
        patience: Epochs without a lower validation loss after which training ends; default a fifth of the epochs,
            5 to 20.
        clip_norm: Largest norm of the gradients; default no limit.
        class_weights: ``"balanced"`` to make every class count the same.
        loss: Default by the task.
        seed: Of weights, splits and order: the same seed gives the same network.
        threads: Threads of the matrix products.
        task: ``"regression"``, ``"binary"``, ``"multiclass"`` or ``"classification"``; default found.
        log: Whether to learn the logarithm of a regression target; default found.
        category: Columns that are names, though they may look like numbers.
        numeric: Columns that are numbers.
        drop: Columns to leave out.
        group: Column whose equal values must not stand on both sides of a split; it is no feature.
        test: Share of the rows held out for the result; an official test split is used instead where there is one.
        validation: Share of the remaining rows for early stopping.
        image_size: (height, width) to which pictures are brought.
        experiment: MLflow experiment; default the user's, else ``neuronwise``.
        name: Name of the run; default made up by MLflow.
        from_run: A run (id, name, ``"latest"``, folder or `Run`) whose weights and encoder to start from. On the same
            data the same rows are held out as there, whatever `seed`, `test` and `validation`: the network knows the
            others.
        track: Whether to keep the run in MLflow.
        observers: Further listeners.
        reporter: Hears of every stage; default silent.

    Raises:
        UsageError: Data or an argument that cannot be used; nothing was written.
        TrainingDiverged: The loss became NaN or infinite; the run is kept as failed, with the last finite weights.
    """
    options = TrainOptions(
        layers, hidden, optimizer, learning_rate, weight_decay, batch_size, epochs, patience, clip_norm,
        class_weights, loss, seed, threads, experiment, name, track,
    )  # fmt: skip
    data_options = DataOptions(target, task, log, category, numeric, drop, group, test, validation, image_size)
    check_settings(options)  # before data is read
    start, earlier = (None, None) if from_run is None else start_from(from_run, data_options)
    reporter = reporter or Reporter()
    prepared = prepare(data, data_options, seed, start)
    if start is not None:
        prepared = held_out_alike(prepared, earlier)
    reporter.understood(prepared)
    return train_prepared(prepared, options, start=start, observers=observers, reporter=reporter)


def train_prepared(
    data: Prepared,
    options: TrainOptions,
    *,
    start: FittedNetwork | None = None,
    observers: Sequence[Observer] = (),
    reporter: Reporter,
    with_baselines: bool = True,
) -> Run:
    """Train on data that was prepared; see `train`."""
    optimizer = make_optimizer(options.optimizer, options.learning_rate, options.weight_decay, data.kind)
    choice = _choose(data, options, start)
    schedule = choose_schedule(
        len(data.train), batch_size=options.batch_size, epochs=options.epochs, patience=options.patience
    )
    settings: dict[str, Any] = {
        "layers": [layer.neuron_count for layer in choice.network.layers[:-1] if layer.parameter_count],
        "hidden": options.hidden if start is None else _hidden(start),
        "output": choice.network.layers[-1].activation.name if choice.network.layers[-1].activation else "",
        "loss": choice.loss.name,
        "optimizer": optimizer.name,
        **optimizer.settings(),
        "batch_size": schedule.batch_size,
        "epochs": schedule.epochs,
        "patience": schedule.patience,
        "clip_norm": options.clip_norm,
        "class_weights": options.class_weights,
        "seed": options.seed,
    }
    y = data.y.astype(np.float32)[:, None] if data.target.task == "binary" else data.y
    X = data.X.reshape(-1, *data.input_shape)
    # What fit would refuse is refused before a run is begun.
    targets = prepare_targets(choice.network, y, choice.loss, len(X))
    example_weights(options.class_weights, targets, choice.loss, choice.network.output_size, choice.network.dtype)
    sample = data.train[: 8 * schedule.batch_size]
    estimate = estimate_training(
        choice.network,
        X[sample],
        y[sample],
        choice.loss,
        optimizer,
        rows=len(data.train),
        epochs=schedule.epochs,
        batch_size=schedule.batch_size,
        threads=options.threads,
    )
    runs = make_runs_folder()
    tracking = Tracking.begin(data, choice, settings, options)
    try:
        plan = Plan(
            data,
            choice,
            settings,
            replace(estimate, memory_bytes=estimate.memory_bytes + data.X.nbytes + data.y.nbytes),
            expected_bytes(choice.network, estimate.steps, schedule.epochs),
            tracking.where,
        )
        reporter.planned(plan)
        for message in tracking.not_logged:
            reporter.warned(message)
        folder = runs / tracking.run_id
        result, failure = _learn(data, plan, optimizer, options, X, y, folder, tracking, observers, reporter)
        run = conclude(plan, result, folder, tracking, reporter, failure, with_baselines=with_baselines)
    except BaseException as error:
        # Whatever happens, no run is left behind as if it were still running.
        tracking.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    if failure is not None:
        failure.run = run
        raise failure
    reporter.finished(run)
    return run


def _learn(
    data: Prepared,
    plan: Plan,
    optimizer: Optimizer,
    options: TrainOptions,
    X: NDArray[np.float32],
    y: NDArray[Any],
    folder: Path,
    tracking: Tracking,
    observers: Sequence[Observer],
    reporter: Reporter,
) -> tuple[FitResult, TrainingDiverged | None]:
    """Fit the network, recorded and watched; return how it went, and the error if it diverged."""
    recorder = RecordingWriter(
        folder / "recording",
        split={"train": data.train, "validation": data.validation, "test": data.test},
        data={"name": data.name, "source": data.source, "fingerprint": data.fingerprint, "target": data.target.name},
    )
    listeners: list[Observer] = [recorder, _MetricsLogger(tracking, recorder)]
    if (progress := reporter.progress()) is not None:
        listeners.append(progress)
    settings: Any = plan.settings
    try:
        result = fit(
            plan.choice.network,
            X,
            y,
            loss=plan.choice.loss,
            optimizer=optimizer,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            validation=data.validation,
            training_rows=data.train,
            class_weights=options.class_weights,
            clip_norm=options.clip_norm,
            patience=settings["patience"],
            seed=options.seed,
            threads=options.threads,
            observers=[*listeners, *observers],
        )
    except TrainingDiverged as error:
        return error.result, error
    finally:
        for problem in recorder.problems:
            reporter.warned(problem)
    return result, None


class _MetricsLogger(Observer):
    """Sends the metrics of every epoch, and the layer summaries that the recorder made, to MLflow."""

    def __init__(self, tracking: Tracking, recorder: RecordingWriter) -> None:
        self._tracking, self._recorder = tracking, recorder
        self._began = time.perf_counter()

    def on_epoch_end(self, state: TrainingState) -> None:
        """Send one batch of metrics, at the step that ends the epoch."""
        values = dict(state.metrics)
        for layer, summary in self._recorder.summaries.items():
            values |= {f"{layer}/{key}": value for key, value in summary.items() if _is_sent(key, value)}
        seconds = time.perf_counter() - self._began
        values["steps_per_second"] = state.step / seconds if seconds > 0 else 0.0
        self._tracking.log_metrics(values, state.step)


# What MLflow's page shows of each layer; the recording holds more. Twelve keys a layer would only slow the page.
_SENT = frozenset({"weight_norm", "bias_mean", "grad_norm", "update_ratio", "zero_fraction"})


def _is_sent(key: str, value: float) -> bool:
    """Return whether a layer's summary goes to MLflow: the five of every layer, and counts of NaN if there are any."""
    return key in _SENT or (key.endswith("_nonfinite") and value > 0)


def _choose(data: Prepared, options: TrainOptions, start: FittedNetwork | None) -> Choice:
    choice = choose_network(
        data.target,
        data.input_shape,
        data.encoder.input_names,
        layers=options.layers if start is None else [
            layer.neuron_count for layer in start.network.layers[:-1] if layer.parameter_count
        ],
        hidden=options.hidden if start is None else _hidden(start),
        seed=options.seed,
        loss=options.loss,
    )  # fmt: skip
    if start is None:
        return choice
    network = start.network.copy()
    return Choice(
        network,
        choice.loss,
        ["the network and its weights are those of the run given with --from", *choice.reasons[1:]],
    )


def _hidden(start: FittedNetwork) -> str:
    """Return the activation of the hidden layers of a network; that of the output where there is none hidden."""
    activations = [layer.activation.name for layer in start.network.layers if layer.activation]
    return activations[0] if len(activations) > 1 else "identity"
