"""What was measured, thinned to a page: nothing that is said of a whole layer depends on the thinning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronwise.inspecting.blobs import blob_bytes
from neuronwise.inspecting.statistics_data import (
    HISTOGRAMS,
    STATISTICS,
    SUMS,
    histograms_part,
    ordinal,
    statistics_part,
    sums_of,
)
from neuronwise.learning import fit
from neuronwise.network import Network
from neuronwise.recording import RecordedHistory, RecordingWriter, read_recording

from .test_page import numbers


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> RecordedHistory:
    """Train a network with a wide layer, every step with statistics."""
    folder: Path = tmp_path_factory.mktemp("statistics")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 6)).astype(np.float32), rng.integers(0, 3, 64)
    network = Network.dense([6, 900, 20, 3], output="softmax", seed=0)
    writer = RecordingWriter(folder / "recording", statistics_every=1, keyframe_every=4)
    fit(network, X, y, epochs=12, batch_size=32, observers=[writer])
    return read_recording(folder / "recording")


def test_all_of_it_is_there_where_there_is_room(history: RecordedHistory) -> None:
    part = statistics_part(history, 100_000_000)
    assert part.notes == []
    content = part.content
    assert content["steps"] == history.frames.tolist()
    values = numbers(content["values"])
    step = 7
    row = history.neurons(step)[0]
    for k, name in enumerate(STATISTICS):
        assert np.array_equal(values[content["steps"].index(step), k], row[name], equal_nan=True)


def test_wide_layers_are_thinned_and_what_is_said_of_them_is_of_all_neurons(history: RecordedHistory) -> None:
    everything = statistics_part(history, 100_000_000).content
    room = 40 * blob_bytes(300 * len(STATISTICS), "float32")
    part = statistics_part(history, room)
    layers = {layer["name"]: layer for layer in part.content["layers"]}
    assert layers["hidden1"]["spacing"] > 1
    assert (layers["hidden2"]["spacing"], layers["output"]["spacing"]) == (1, 1)
    assert any(f"every {ordinal(layers['hidden1']['spacing'])}" in note for note in part.notes)
    assert blob_bytes(numbers(part.content["values"]).size, "float32") <= room
    kept = numbers(part.content["values"])
    step = part.content["steps"][3]
    whole = numbers(everything["values"])[everything["steps"].index(step)]
    first = layers["hidden1"]["first"]
    count = -(-900 // layers["hidden1"]["spacing"])
    assert np.array_equal(
        kept[3][:, first : first + count], whole[:, : 900 : layers["hidden1"]["spacing"]], equal_nan=True
    )
    assert np.array_equal(
        numbers(part.content["summed"])[3], numbers(everything["summed"])[everything["steps"].index(step)],
        equal_nan=True,
    )  # fmt: skip


def test_too_little_room_is_said(history: RecordedHistory) -> None:
    part = statistics_part(history, 100)
    assert part.content["values"] is None
    assert "923 neurons are too many" in part.notes[0]


def test_sums_are_those_of_a_slow_loop(history: RecordedHistory) -> None:
    row, layers = history.neurons(9), history.layout.observed
    found = sums_of(row, layers)
    for at, layer in enumerate(layers):
        of = {name: row[name][0][layer.first_neuron : layer.first_neuron + layer.neurons] for name in STATISTICS}
        norm = np.sqrt(sum(float(value) ** 2 for value in of["grad_norm"]))
        assert found[SUMS.index("grad_norm"), at] == pytest.approx(norm, rel=1e-5)
        known = [float(value) for value in of["inactive"] if not np.isnan(value)]
        assert found[SUMS.index("measured"), at] == len(known)
        assert found[SUMS.index("silent"), at] == sum(value == 1.0 for value in known)
        assert found[SUMS.index("nonfinite_weights"), at] == 0


def test_least_and_largest_weights_are_of_all_of_them(history: RecordedHistory) -> None:
    content = histograms_part(history, 100_000_000).content
    ends, odd = numbers(content["ends"]), numbers(content["odd"])
    assert set(content["steps"]) <= set(history.histogram_steps.tolist())
    at = content["layers"].index("hidden2")  # of 18,000 weights the recording counted a sample
    for k, step in enumerate(content["steps"]):
        if step in history.steps:
            W = history.layer(step, "hidden2")["W"]
            assert ends[k, 0, at].tolist() == [W.min(), W.max()]
        else:  # then there are those of the sample only, which the page says
            assert np.isnan(ends[k, 0, at]).all()
        row = history.neurons(step)[0]
        layer = history.layout.layers["hidden2"]
        a = row["max"][layer.first_neuron : layer.first_neuron + layer.neurons]
        if np.isfinite(a).any():
            assert ends[k, HISTOGRAMS.index("a"), at, 1] == a.max()
        assert odd[k, 0, at].tolist() == [0, 0]


def test_values_that_are_not_finite_are_told_apart_where_they_are_stored(
    history: RecordedHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, statistics = history.parameters, history.neurons
    place = history.layout.layers["output"].parameters["W"]

    def broken(step: int) -> np.ndarray:
        flat = read(step).copy()
        place.of(flat)[0, :3] = [np.nan, np.inf, -np.inf]
        return flat

    def counted(step: int) -> np.ndarray:
        row = statistics(step).copy()
        row["nonfinite_gradients"][0, -1] = 5
        return row

    monkeypatch.setattr(history, "parameters", broken)
    monkeypatch.setattr(history, "neurons", counted)
    content = histograms_part(history, 100_000_000).content
    at = content["layers"].index("output")
    odd, ends = numbers(content["odd"]), numbers(content["ends"])
    k = next(k for k, step in enumerate(content["steps"]) if step in history.steps and k)
    assert odd[k, 0, at].tolist() == [1, 2]
    assert np.isfinite(ends[k, 0, at]).all()
    assert odd[k, HISTOGRAMS.index("dW"), at].tolist() == [-1, 5]  # NaN or infinite: the recording counts both


@given(st.integers(0, 10_000))
@settings(max_examples=50)
def test_ordinals(number: int) -> None:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    assert ordinal(number) == f"{number}{ending}"
