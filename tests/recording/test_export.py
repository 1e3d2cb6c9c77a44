from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from neuronwise.errors import NotFoundError
from neuronwise.recording import NEURON_FIELDS, Recording, read_recording
from neuronwise.recording.export import TABLES

from .helpers import all_layers, plain, train


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("export")
    train(folder, all_layers(), writer={"keyframe_every": 7, "statistics_every": 5}, validation=np.arange(60, 70))
    return Recording(read_recording(folder))


def test_steps_and_epochs(recording: Recording) -> None:
    steps = recording.to_pandas("steps")
    assert steps.columns.tolist() == ["step", "attempt", "epoch", "loss", "learning_rate"]
    np.testing.assert_array_equal(steps.loss, recording.history("loss").values)
    epochs = recording.to_pandas("epochs")
    assert epochs.columns.tolist() == ["epoch", "step", "elapsed_s", "loss", "val_accuracy", "val_loss"]
    np.testing.assert_array_equal(epochs.val_loss, recording.history("val_loss").values)


def test_neurons_and_layers(recording: Recording) -> None:
    neurons = recording.to_pandas()
    assert len(neurons) == len(recording.frames) * 14
    assert neurons.columns.tolist() == ["step", "layer", "neuron", *NEURON_FIELDS]
    for (layer, neuron), rows in neurons.groupby(["layer", "neuron"], observed=True):
        for quantity in NEURON_FIELDS:
            course = recording.history(f"{layer}[{neuron}].{quantity}") if quantity != "bias" else None
            if course is not None:
                # Before the first step there is no gradient or activation: the course begins after it.
                np.testing.assert_array_equal(rows[quantity][-len(course.values) :], course.values)
    layers = recording.to_pandas("layers")
    for layer, rows in layers.groupby("layer", observed=True):
        np.testing.assert_array_equal(rows.grad_norm, recording.layer_norms(str(layer), "grad_norm").values)
        for step, counts, least in zip(rows.step, rows.a_counts, rows.a_least, strict=True):
            histogram = recording.histogram(str(layer), "a", step)
            np.testing.assert_array_equal(counts, histogram.counts)
            assert least == histogram.edges[0] or (np.isnan(least) and np.isnan(histogram.edges[0]))


def test_weights(recording: Recording) -> None:
    weights = recording.to_pandas("weights")
    assert len(weights) == len(recording.keyframes) * 14
    for row in weights.itertuples():
        course = recording.history(f"{row.layer}[{row.neuron}].weights")
        np.testing.assert_array_equal(row.weights, course.values[course.steps == row.step][0])
        course = recording.history(f"{row.layer}[{row.neuron}].bias")
        assert row.bias == course.values[course.steps == row.step][0]


def test_an_unknown_table_names_those_there_are(recording: Recording) -> None:
    with pytest.raises(
        NotFoundError, match=r"no table 'neuron'\. Did you mean 'neurons'\?\ntables are steps, epochs, "
    ):
        recording.to_pandas("neuron")


@pytest.mark.parametrize("at_once", [65_536, 20])
def test_parquet_files_hold_the_same(
    recording: Recording, tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuronwise.recording.export._ROWS", at_once)
    paths = recording.to_parquet(tmp_path / "tables")
    assert [path.name for path in paths] == ["steps.parquet", "epochs.parquet", "neurons.parquet", "layers.parquet"]
    paths = recording.to_parquet(tmp_path / "tables", weights=True)  # written over
    assert {path.stem for path in paths} == set(TABLES) - {"metrics"}  # which only watched trainings have
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {path.name for path in paths}
    for path in paths:
        frame = pq.read_table(path).to_pandas()
        pd.testing.assert_frame_equal(frame, recording.to_pandas(path.stem), check_categorical=False)


def test_a_recording_of_nothing_has_empty_tables(tmp_path: Path) -> None:
    train(tmp_path / "r", plain(), writer={"max_bytes": 50}, epochs=1)
    recording = Recording(read_recording(tmp_path / "r"))
    for path in recording.to_parquet(tmp_path / "tables", weights=True):
        assert pq.read_table(path).num_rows == len(recording.to_pandas(path.stem))
