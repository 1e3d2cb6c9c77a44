"""A neuron of a run: on one input, what it detects, how it came to be so; and the neurons of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.explaining.atlas import Atlas, atlas
from neuronwise.explaining.detects import Detection, detects
from neuronwise.explaining.layer_neurons import LayerNeurons, layer_neurons
from neuronwise.explaining.neuron_on_input import NeuronOnInput, explain_neuron
from neuronwise.explaining.neuron_over_time import NeuronOverTime, neuron_over_time
from neuronwise.explaining.neurons import locate, locate_layer
from neuronwise.running.run import Run
from neuronwise.running.subject import Part, Subject

Progress = Callable[[int, int], None]


def neuron_on_row(
    run: str | Path | Run, neuron: str, row: int, *, step: int | None = None, data: Any = None
) -> NeuronOnInput:
    """Return how a neuron of a run's network comes to its level on a row of the data that it learned from.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        neuron: Its name, as for `explaining.explain_neuron`.
        row: Number of the row, from 0, as the data has it; also one that was held out.
        step: The network after this step; default as it was delivered.
        data: What it learned from, where the run cannot find it by itself.

    Raises:
        NotFoundError: There is no such run, neuron or row, or its data is not to be found.
    """
    subject = Subject(run, data, step=step)
    locate(subject.network, neuron)  # said before the data is read
    return explain_neuron(subject.network, neuron, subject.row(row), meaning=subject.meaning)


def neuron_on_input(
    run: str | Path | Run, neuron: str, source: Any, row: int = 0, *, step: int | None = None
) -> NeuronOnInput:
    """Return the same for new data: a file, a frame, a picture, or what else the run's network predicts for.

    Args:
        run: As for `neuron_on_row`.
        neuron: Its name.
        source: The data.
        row: Which of its rows.
        step: The network after this step; default as it was delivered.

    Raises:
        NotFoundError: There is no such run, neuron or row.
        DataError: The data cannot be read, or lacks a column.
    """
    subject = Subject(run, step=step)
    locate(subject.network, neuron)
    X, _ = subject.encode(source)
    if not 0 <= row < len(X):
        raise NotFoundError(f"there is no row {row}: the data has {len(X):,}, from 0", where="argument row")
    return explain_neuron(subject.network, neuron, X[row], meaning=subject.meaning)


def what_neuron_detects(
    run: str | Path | Run,
    neuron: str,
    *,
    part: Part = "held-out",
    step: int | None = None,
    data: Any = None,
    progress: Progress | None = None,
) -> Detection:
    """Return what a neuron of a run's network detects, on rows of its data.

    Args:
        run: As for `neuron_on_row`.
        neuron: Its name, as for `explaining.detects`.
        part: On which rows.
        step: The network after this step; default as it was delivered.
        data: What it learned from, where the run cannot find it by itself.
        progress: Called with the rows done and all rows.

    Raises:
        NotFoundError: There is no such run or neuron, or its data is not to be found.
    """
    subject = Subject(run, data, step=step)
    locate(subject.network, neuron)
    rows = subject.examples(part)
    return detects(subject.network, neuron, rows.X, rows.y, meaning=subject.meaning, rows=rows.rows, progress=progress)


def neuron_of_run_over_time(
    run: str | Path | Run,
    neuron: str,
    *,
    steps: Iterable[int] | None = None,
    part: Part = "held-out",
    data: Any = None,
    progress: Progress | None = None,
) -> NeuronOverTime:
    """Return how a neuron came to be what it is over the training of a run.

    Args:
        run: As for `neuron_on_row`.
        neuron: Its name.
        steps: As for `explaining.neuron_over_time`.
        part: On which rows; of more than 2,000 a sample is taken.
        data: What it learned from, where the run cannot find it by itself.
        progress: Called with the steps done and all steps.

    Raises:
        NotFoundError: There is no such run, neuron or step, or nothing was recorded.
        UsageError: No steps are named.
    """
    chosen = None if steps is None else list(steps)
    if chosen is not None and not chosen:
        raise UsageError("no steps are named", where="argument steps", hint="such as --steps 0,10,100")
    subject = Subject(run, data)
    locate(subject.network, neuron)
    rows = subject.examples(part)
    return neuron_over_time(
        subject.recording, neuron, rows.X, rows.y, steps=chosen, meaning=subject.meaning, progress=progress
    )


def neurons_of_layer(
    run: str | Path | Run,
    layer: str,
    *,
    part: Part = "held-out",
    step: int | None = None,
    data: Any = None,
    progress: Progress | None = None,
) -> LayerNeurons:
    """Return how the neurons of a layer answer: who is dead, always on, saturated or a twin.

    Args:
        run: As for `neuron_on_row`.
        layer: Name of the layer.
        part: On which rows.
        step: The network after this step; default as it was delivered.
        data: What it learned from, where the run cannot find it by itself.
        progress: Called with the rows done and all rows.

    Raises:
        NotFoundError: There is no such run or layer, or its data is not to be found.
    """
    subject = Subject(run, data, step=step)
    locate_layer(subject.network, layer)
    rows = subject.examples(part)
    return layer_neurons(subject.network, layer, rows.X, rows.y, meaning=subject.meaning, progress=progress)


def atlas_of_run(run: str | Path | Run, *, part: Part = "held-out", step: int | None = None, data: Any = None) -> Atlas:
    """Return the neurons of the first layer of a run's network side by side.

    Args:
        run: As for `neuron_on_row`.
        part: On which rows it is measured what each tells best.
        step: The network after this step; default as it was delivered.
        data: What it learned from, where the run cannot find it by itself.

    Raises:
        NotFoundError: There is no such run, or its data is not to be found.
        UsageError: No layer with weights looks at the inputs themselves.
    """
    subject = Subject(run, data, step=step)
    network = subject.network
    rows = subject.examples(part, most=2_000)
    return atlas(network, rows.X, rows.y, meaning=subject.meaning)
