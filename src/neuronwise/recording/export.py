"""The recording as tables, for pandas, polars and DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.errors import FormatError, NotFoundError, UsageError, did_you_mean
from neuronwise.files import atomic_file
from neuronwise.recording.quantities import LAYER_NORMS, layer_norm
from neuronwise.recording.rows import HISTOGRAMS, NEURON_FIELDS

if TYPE_CHECKING:
    import pyarrow as pa

    from neuronwise.recording.recording import Recording

# Rows that are held in memory at a time.
_ROWS = 65_536


def to_table(recording: Recording, name: str) -> pa.Table:
    """Return a table of a recording; see `Recording.to_pandas`.

    Raises:
        NotFoundError: There is no such table.
    """
    import pyarrow as pa

    if name not in TABLES:
        raise NotFoundError(
            f"there is no table {name!r:.100}.{did_you_mean(name[:100], TABLES)}",
            where="argument table",
            hint=f"tables are {', '.join(TABLES)}",
        )
    parts = list(TABLES[name](recording))
    return pa.concat_tables(parts) if parts else pa.table({})


def write_parquet(recording: Recording, folder: Path, *, weights: bool) -> list[Path]:
    """Write the tables as Parquet files; see `Recording.to_parquet`."""
    import pyarrow.parquet as pq

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is a file", where="argument folder", hint="name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, make in TABLES.items():
        if (name == "weights" and not weights) or (name == "metrics" and not recording.stored.metrics):
            continue
        path, writer = folder / f"{name}.parquet", None
        with atomic_file(path) as file:
            for part in make(recording):
                if writer is None:
                    writer = pq.ParquetWriter(file, part.schema)
                writer.write_table(part)
            if writer is None:  # nothing of this kind was recorded: an empty table
                writer = pq.ParquetWriter(file, to_table(recording, name).schema)
            writer.close()
        written.append(path)
    return written


def _steps(recording: Recording) -> Iterator[pa.Table]:
    import pyarrow as pa

    rows = recording.stored.scalars
    yield pa.table({key: pa.array(rows[key]) for key in ("step", "attempt", "epoch", "loss", "learning_rate")})


def _epochs(recording: Recording) -> Iterator[pa.Table]:
    import pyarrow as pa

    epochs = recording.stored.epochs
    metrics = sorted({key for epoch in epochs for key in epoch["metrics"]})
    columns: dict[str, Any] = {
        "epoch": pa.array([epoch["epoch"] for epoch in epochs], pa.int64()),
        "step": pa.array([epoch["step"] for epoch in epochs], pa.int64()),
        "elapsed_s": pa.array([epoch.get("elapsed_s") for epoch in epochs], pa.float64()),
    }
    columns |= {key: pa.array([epoch["metrics"].get(key) for epoch in epochs], pa.float64()) for key in metrics}
    yield pa.table(columns)


def _metrics(recording: Recording) -> Iterator[pa.Table]:
    import pyarrow as pa

    points = [(step, name, value) for step, metrics in recording.stored.metrics for name, value in metrics.items()]
    steps, names, values = zip(*points, strict=True) if points else ((), (), ())
    yield pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "name": pa.array(names, pa.string()),
            "value": pa.array(values, pa.float64()),
        }
    )


def _neurons(recording: Recording) -> Iterator[pa.Table]:
    import pyarrow as pa

    layout = recording.stored.layout
    layers = np.repeat([layer.name for layer in layout.observed], [layer.neurons for layer in layout.observed])
    within = np.concatenate([np.empty(0, np.int64), *(np.array(layer.rows) for layer in layout.observed)])
    stored = recording.stored
    for steps, rows in _read(recording.frames, _ROWS // max(1, layout.neuron_count), stored.neurons):
        count = len(steps)
        columns: dict[str, Any] = {
            "step": np.repeat(steps, layout.neuron_count),
            "layer": pa.array(np.tile(layers, count).tolist(), pa.string()).dictionary_encode(),
            "neuron": np.tile(within, count),
        }
        columns |= {name: np.concatenate([row[name][0] for row in rows]) for name in NEURON_FIELDS}
        yield pa.table(columns)


def _layers(recording: Recording) -> Iterator[pa.Table]:
    import pyarrow as pa

    layout = recording.stored.layout
    names = [layer.name for layer in layout.observed]
    stored = recording.stored

    def both(step: int) -> tuple[Any, Any]:
        return stored.neurons(step), stored.histograms(step)

    for steps, rows in _read(stored.histogram_steps, _ROWS // max(1, len(names)), both):
        columns: dict[str, Any] = {
            "step": np.repeat(steps, len(names)),
            "layer": pa.array(names * len(steps), pa.string()).dictionary_encode(),
        }
        for name in LAYER_NORMS:
            columns[name] = [layer_norm(row[0][0], layer, name) for row in rows for layer in layout.observed]
        for name in HISTOGRAMS:
            columns[f"{name}_least"] = np.concatenate([row[1][f"{name}_range"][0, :, 0] for row in rows])
            columns[f"{name}_greatest"] = np.concatenate([row[1][f"{name}_range"][0, :, 1] for row in rows])
            counts = np.concatenate([row[1][f"{name}_counts"][0] for row in rows])
            columns[f"{name}_counts"] = pa.array(list(counts), pa.list_(pa.uint32()))
        yield pa.table(columns)


def _read(
    every: np.ndarray[Any, Any], at_once: int, read: Callable[[int], Any]
) -> Iterator[tuple[np.ndarray[Any, Any], list[Any]]]:
    """Yield steps with what is stored of each, some at a time; damaged ones are left out and told."""
    for start in range(0, len(every), max(1, at_once)):
        steps, rows = [], []
        for step in every[start : start + max(1, at_once)].tolist():
            try:
                rows.append(read(step))
            except (FormatError, NotFoundError):
                continue
            steps.append(step)
        if steps:
            yield np.array(steps, dtype=np.int64), rows


def _weights(recording: Recording) -> Iterator[pa.Table]:
    import pyarrow as pa

    stored, layout = recording.stored, recording.stored.layout
    for step in recording.keyframes.tolist():
        try:
            flat = stored.parameters(step)
        except FormatError:  # damaged: told by the history
            continue
        for layer in layout.observed:
            if layer.weights is None:
                continue
            rows = layer.parameters[layer.weights].of(flat).reshape(layer.row_count, -1)
            count = len(rows)
            biases = None if layer.biases is None else layer.parameters[layer.biases].of(flat)
            offsets = np.arange(count + 1, dtype=np.int64) * rows.shape[1]
            yield pa.table(
                {
                    "step": np.full(count, step),
                    "layer": pa.array([layer.name] * count, pa.string()),
                    "neuron": np.arange(count),
                    "bias": pa.nulls(count, pa.from_numpy_dtype(layout.dtype)) if biases is None else pa.array(biases),
                    "weights": pa.LargeListArray.from_arrays(offsets, rows.ravel()),
                }
            )


TABLES: dict[str, Callable[[Recording], Iterator[Any]]] = {
    "steps": _steps,
    "epochs": _epochs,
    "metrics": _metrics,
    "neurons": _neurons,
    "layers": _layers,
    "weights": _weights,
}
"""Every table by its name."""
