"""Train: from data to a trained, tracked network. The composition of all packages below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neuronwise.errors import UsageError
from neuronwise.learning import Observer, Schedule
from neuronwise.network import Network
from neuronwise.running.architecture import Choice, check_settings, choose_lengths, choose_network
from neuronwise.running.checkpointing import SavedTraining, source_of, training_lock
from neuronwise.running.command_line import train_arguments
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.given_network import choose_given_network, read_description
from neuronwise.running.learning_task import KEPT_OPTIONS, LearningTask
from neuronwise.running.prepare import DataOptions, Prepared, prepare
from neuronwise.running.reporter import Reporter
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
    network: str | Path | dict[str, Any] | Network | None = None
    schedule: str | Schedule | None = None
    warm_up: int | None = None
    keyframe_every: int | None = None
    statistics_every: int | None = None
    redact: bool = False
    explain: bool = False
    diagnose: bool = False


def train(
    data: Any,
    target: str | None = None,
    *,
    layers: str | Sequence[int] = "64,32",
    hidden: str = "relu",
    network: str | Path | dict[str, Any] | Network | None = None,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    schedule: str | Schedule | None = None,
    warm_up: int | None = None,
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
    memory: int | str | None = None,
    experiment: str | None = None,
    name: str | None = None,
    from_run: str | Path | Run | None = None,
    track: bool = True,
    keyframe_every: int | None = None,
    statistics_every: int | None = None,
    redact: bool = False,
    explain: bool = False,
    diagnose: bool = True,
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
        network: Instead of `layers` and `hidden`: a JSON file that describes a network of any layers, its content, or a
            `Network`, which is copied with its weights.
        optimizer: ``"sgd"``, ``"momentum"``, ``"nesterov"``, ``"rmsprop"``, ``"adam"`` or ``"adamw"``.
        learning_rate: Default that of the optimizer.
        schedule: How the learning rate changes: ``"constant"`` (default), ``"step"``, ``"cosine"``, ``"plateau"``, or a
            `neuronwise.learning.Schedule`.
        warm_up: Steps over which the rate rises to its value first; default none.
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
        memory: Bytes that the data may take, or a size such as ``"2GB"``; default that of the environment variable
            `NEURONWISE_MEMORY`, else 1 GB. A table in a file that would take more is read in parts.
        experiment: MLflow experiment; default the user's, else ``neuronwise``.
        name: Name of the run; default made up by MLflow.
        from_run: A run (id, name, ``"latest"``, folder or `Run`) whose weights and encoder to start from. On the same
            data the same rows are held out as there, whatever `seed`, `test` and `validation`: the network knows the
            others.
        track: Whether to keep the run in MLflow.
        keyframe_every: Steps between whole states in the recording; default chosen by what they take and cost.
        statistics_every: Steps between statistics of every neuron in it, likewise; any other step's can be had later.
        redact: Keep no examples of the data beside the recording (up to 64 of the rows held out are its probe).
        explain: Write a page on why some held-out rows, right and wrong, were answered so, and an atlas of the first
            layer's neurons, into the run's folder and MLflow; takes some seconds (the command line does it by default).
        diagnose: Say at the end why it went as it did, `Run.diagnosis`, and keep that beside the run and in MLflow; of
            a short training that takes a tenth of a second.
        observers: Further listeners.
        reporter: Hears of every stage; default silent.

    Raises:
        UsageError: Data or an argument that cannot be used; nothing was written.
        TrainingDiverged: The loss became NaN or infinite; the run is kept as failed, with the last finite weights.
    """
    options = TrainOptions(
        layers, hidden, optimizer, learning_rate, weight_decay, batch_size, epochs, patience, clip_norm,
        class_weights, loss, seed, threads, experiment, name, track, network, schedule, warm_up,
        keyframe_every, statistics_every, redact, explain, diagnose,
    )  # fmt: skip
    data_options = DataOptions(target, task, log, category, numeric, drop, group, test, validation, image_size, memory)
    if network is not None and from_run is not None:
        raise UsageError("the network is that of the run to start from", where="argument network")
    check_settings(options)  # before data is read
    if network is not None and not isinstance(network, Network):
        read_description(network)
    start, earlier = (None, None) if from_run is None else start_from(from_run, data_options)
    reporter = reporter or Reporter()
    prepared = prepare(data, data_options, seed, start, reporter.reading)
    if start is not None:
        prepared = held_out_alike(prepared, earlier)
    reporter.understood(prepared)
    return train_prepared(
        prepared,
        options,
        start=start,
        observers=observers,
        reporter=reporter,
        source=source_of(data),
        data_options=data_options,
        from_run=None if from_run is None else earlier.id if earlier is not None else str(from_run),
    )


def train_prepared(
    data: Prepared,
    options: TrainOptions,
    *,
    start: FittedNetwork | None = None,
    observers: Sequence[Observer] = (),
    reporter: Reporter,
    with_baselines: bool = True,
    source: str | None = None,
    data_options: DataOptions | None = None,
    from_run: str | None = None,
) -> Run:
    """Train on data that was prepared; see `train`.

    Args:
        data: The data.
        options: How to train.
        start: The network to start from, or None.
        observers: Further listeners.
        reporter: Hears of every stage.
        with_baselines: Whether to compare with simpler ways.
        source: What names the data for a process that resumes the training, or None.
        data_options: How the data was prepared, likewise; default `DataOptions` of the target.
        from_run: What names the network to start from, for a line to type.
    """
    choice = _choose(data, options, start)
    lengths = choose_lengths(
        len(data.train), batch_size=options.batch_size, epochs=options.epochs, patience=options.patience
    )
    data_options = data_options or DataOptions(data.target.name)
    arguments = train_arguments(data, data_options, options, from_run)
    task = replace(LearningTask.of(data, choice, options, lengths), arguments=arguments)
    estimate = task.estimate(lengths.epochs)
    runs = make_runs_folder()
    tracking = Tracking.begin(data, choice, task.settings, options)
    with tracking.ended_on_error():
        folder = runs / tracking.run_id
        with training_lock(folder):
            _keep_beginning(task, folder, tracking, source, data_options)
            tracking.keep(folder)
            return task.run(folder, tracking, estimate, observers, reporter, with_baselines=with_baselines)


def _keep_beginning(
    task: LearningTask, folder: Path, tracking: Tracking, source: str | None, data_options: DataOptions
) -> None:
    """Write down how the training begins, so that it can go on should the process end."""
    data = task.data
    SavedTraining(
        folder,
        tracking.run_id,
        tracking.run_name,
        tracking.uri,
        source,
        data.fingerprint,
        data.name,
        data.kind,
        data_options,
        task.settings | {name: getattr(task.options, name) for name in KEPT_OPTIONS},
    ).save(
        FittedNetwork(task.choice.network, data.encoder, data.target, data.kind),
        {"train": data.train, "validation": data.validation, "test": data.test},
    )


def _choose(data: Prepared, options: TrainOptions, start: FittedNetwork | None) -> Choice:
    if options.network is not None:
        return choose_given_network(
            options.network,
            data.target,
            data.input_shape,
            data.encoder.input_names,
            seed=options.seed,
            loss=options.loss,
        )
    if start is None:
        return choose_network(
            data.target,
            data.input_shape,
            data.encoder.input_names,
            layers=options.layers,
            hidden=options.hidden,
            seed=options.seed,
            loss=options.loss,
        )
    choice = choose_given_network(
        start.network, data.target, data.input_shape, data.encoder.input_names, seed=options.seed, loss=options.loss
    )
    reasons = ["the network and its weights are those of the run given with --from", *choice.reasons[1:]]
    return replace(choice, reasons=reasons)
