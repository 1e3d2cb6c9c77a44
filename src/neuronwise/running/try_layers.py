"""What each layer of capacity buys: the same data, several sizes of network, one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from neuronwise.errors import TrainingDiverged, UsageError
from neuronwise.running.architecture import check_memory, check_settings, parse_layers
from neuronwise.running.prepare import DataOptions, prepare
from neuronwise.running.reporter import Reporter
from neuronwise.running.run import Run
from neuronwise.running.training import TrainOptions, train_prepared


@dataclass(frozen=True)
class Trial:
    """One size tried.

    Attributes:
        layers: Neurons of each hidden layer; empty for a linear model.
        parameters: Number of weights and biases.
        metrics: Result on the held-out rows; empty if it diverged.
        seconds: Seconds of learning.
        run: The run, or None if it diverged.
    """

    layers: list[int]
    parameters: int
    metrics: dict[str, float]
    seconds: float
    run: Run | None


def parse_trials(text: str | Sequence[str | Sequence[int]]) -> list[list[int]]:
    """Return the sizes to try: ``"none; 16; 16,16; 64,32"``.

    Raises:
        UsageError: A size is not a whole number, or nothing is to be tried.
    """
    parts = [part for part in text.split(";") if part.strip()] if isinstance(text, str) else list(text)
    if not parts:
        raise UsageError("nothing to try", where="argument try_layers", hint='--try-layers "none; 16; 64,32"')
    return [parse_layers(part) for part in parts]


def try_layers(
    data: Any,
    data_options: DataOptions,
    options: TrainOptions,
    trials: Sequence[list[int]],
    reporter: Reporter,
    tried: Callable[[Trial], None],
) -> list[Trial]:
    """Train each size on the same rows with the same seed, and return what each reached.

    Args:
        data: As for `train`.
        data_options: How the data is understood and split.
        options: How to train; its layers are replaced.
        trials: Hidden layers of each network.
        reporter: Hears what was understood of the data.
        tried: Called after each.
    """
    check_settings(options)
    prepared = prepare(data, data_options, options.seed)
    for layers in trials:  # before the first is trained
        check_memory([prepared.X.shape[1], *layers, prepared.target.n_outputs])
    reporter.understood(prepared)
    results: list[Trial] = []
    for layers in trials:
        label = ",".join(map(str, layers)) or "none"
        name = f"{options.name}-{label}" if options.name else f"layers-{label}"
        chosen = replace(options, layers=layers, name=name, explain=False)
        try:
            run = train_prepared(
                prepared,
                chosen,
                reporter=_Warnings(reporter),
                with_baselines=not results,
                data_options=data_options,
            )
            trial = Trial(layers, run.network.parameter_count, run.metrics, run.duration_s, run)
        except TrainingDiverged as error:
            reporter.warned(f"layers {label}: {error.where}: {error.message}")
            trial = Trial(layers, error.run.network.parameter_count, {}, error.result.duration_s, None)
        results.append(trial)
        tried(trial)
        if trial.run is not None and trial.run.status == "interrupted":
            break
    return results


class _Warnings(Reporter):
    """Passes on warnings only, each once: the sizes share one table of results."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def warned(self, message: str) -> None:
        """Pass it on."""
        self._reporter.warned(message)
