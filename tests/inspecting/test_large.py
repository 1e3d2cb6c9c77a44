"""Large runs: a thousand states of half a million weights, and a layer of 100,000 neurons, open and scrub."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise
from neuronwise.inspecting.page import page
from neuronwise.recording import RecordingWriter
from neuronwise.running import learning_task
from neuronwise.running.inspector import inspector_page
from neuronwise.running.ui import LocalRuns

from .browser import chromium, opened
from .test_page import data_of, numbers

NOW = "document.getElementById('neuronwise').neuronwise"


def test_a_layer_of_100000_neurons_is_drawn_in_cells_and_thinned_where_it_must_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    run = neuronwise.train(
        (X, X[:, 0] * 2), task="regression", layers=[100_000], epochs=2, name="wide", track=False, explain=True,
        diagnose=False, statistics_every=1, learning_rate=1e-4,
    )  # fmt: skip
    text = (run.folder / "inspector.html").read_text(encoding="utf-8")
    assert len(text.encode()) <= 10_000_000
    content = data_of(text)
    layer = content["statistics"]["layers"][0]
    assert (layer["neurons"], layer["spacing"] > 1) == (100_000, True)
    assert any("Of the 100,000 neurons of hidden1 statistics of every" in note for note in content["notes"])
    local = LocalRuns()
    served = local.payload(run.id)
    if not served["weights"]["states"]:  # too many for the page of the command: it asks for them
        flat = np.frombuffer(local.state(run.id, served["weights"]["delivered"]), "<f4")
        assert np.array_equal(flat, run.network.parameters)
    found = local.neuron(run.id, 0, 99_999)
    course = neuronwise.open(run.folder).neurons("hidden1", "weight_norm")
    assert np.array_equal(numbers(found["weight_norm"]["values"]), course.values[:, 99_999])
    with chromium() as browser, opened(browser, (run.folder / "inspector.html").as_uri()) as at:
        title = at.evaluate(f"() => {{ const {{ model }} = {NOW}; return model.net.layers[0].neurons; }}")
        assert title == 100_000
        for step in at.evaluate(f"() => {NOW}.model.steps"):
            at.evaluate(f"step => {NOW}.store.set({{ step, layer: 0, neuron: 77777, view: 'neuron' }})", step)
            at.wait_for_function("() => document.querySelector('.nw-panel h2').textContent === 'hidden1[77777]'")
            assert "✓" in at.inner_text(".nw-check")
        at.click("#nw-tab-layer")
        at.wait_for_selector("text=One layer, one line of algebra")
        assert "each cell the largest of 196 × 1" in at.inner_text(".nw-panel")
        assert "Of all its 100,000 neurons" in at.inner_text(".nw-panel")


@pytest.mark.full
def test_a_thousand_states_of_half_a_million_weights_open_and_scrub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    monkeypatch.setattr(learning_task, "RecordingWriter", functools.partial(RecordingWriter, max_bytes=4_000_000_000))
    run = neuronwise.train(
        "digits", layers=[720, 625], epochs=48, patience=48, batch_size=64, optimizer="sgd", name="big", track=False,
        explain=True, diagnose=False, keyframe_every=1,
    )  # fmt: skip
    recording = neuronwise.open(run.folder)
    assert run.network.parameter_count > 500_000
    assert len(recording.keyframes) > 1_000
    text, said = inspector_page(run.folder)
    assert len(text.encode()) <= 10_000_000
    assert any(f"of the {len(recording.keyframes):,} stored steps, spread evenly" in sentence for sentence in said)
    began = time.process_time()
    local = LocalRuns()
    content = local.payload(run.id)
    shown = page(content, title="big")
    opening = time.process_time() - began
    assert len(shown) < 5_000_000
    assert content["weights"]["every"] == {"first": 0, "last": run.steps}
    # Scrubbing: the weights of any step, as they were.
    began = time.process_time()
    steps = np.linspace(0, run.steps, 100).astype(int).tolist()
    for step in steps:
        flat = np.frombuffer(local.state(run.id, step), "<f4")
        if step % 25 == 0:
            assert np.array_equal(flat, recording.at(step).parameters)
    each = (time.process_time() - began) / len(steps)
    assert (opening < 10, each < 0.5) == (True, True), (opening, each)
    with chromium() as browser, opened(browser, (run.folder / "inspector.html").as_uri()) as at:
        times: Any = at.evaluate(
            f"""async () => {{
                const {{ model, store }} = {NOW};
                const found = [];
                for (const step of [...model.steps, ...model.steps]) {{
                    const start = performance.now();
                    store.set({{ step }});
                    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
                    found.push(performance.now() - start);
                }}
                return found;
            }}"""
        )
        assert len(times) >= 4
        assert "weights and biases" in at.inner_text("header")
