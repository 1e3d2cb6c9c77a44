"""What goes into the page: all that it shows, nothing of the machine, within its size."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise
from neuronwise.errors import TrainingDiverged, UsageError
from neuronwise.explaining import Meaning
from neuronwise.inspecting import build_payload, page
from neuronwise.inspecting.familiar import find_familiar
from neuronwise.inspecting.history_data import Part, spread_evenly, states_part
from neuronwise.inspecting.meaning_data import drawn_like
from neuronwise.network import Network
from neuronwise.running import Run
from neuronwise.running.inspector import inspector_page

from .conftest import HOSTILE, environment


def data_of(text: str) -> dict[str, Any]:
    """Return the data that stands in a page."""
    found = re.search(r'<script type="application/json" id="neuronwise-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def numbers(packed: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(packed["data"]), packed["dtype"]).reshape(packed["shape"])


def test_the_page_holds_the_weights_as_they_were(runs: dict[str, Run]) -> None:
    text, _ = inspector_page(runs["digits"])
    data = data_of(text)
    states = {state["step"]: state for state in data["weights"]["states"]}
    history = runs["digits"].history_on_disk
    assert sorted(states) == history.steps.tolist()
    for step in (0, int(history.steps[-1])):
        assert np.array_equal(numbers(states[step]["parameters"]), history.parameters(step))
    delivered = numbers(states[data["weights"]["delivered"]]["parameters"])
    assert np.array_equal(delivered, runs["digits"].network.parameters)
    shown = data["examples"]
    assert (numbers(shown["X"]).dtype, shown["divided_by"]) == (np.uint8, 16.0)
    assert len(text.encode()) < 3_000_000


def test_only_one_script_may_run_and_nothing_may_be_loaded(runs: dict[str, Run]) -> None:
    text, _ = inspector_page(runs["houses"])
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])  # type: ignore[index]
    scripts = re.findall(r'<script type="module">(.*?)</script>', text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert (len(scripts), len(styles), text.count("<script")) == (1, 1, 2)
    for kind, content in (("script-src", scripts[0]), ("style-src", styles[0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert not re.search(r'(?:src|href)="', text)


def test_nothing_of_this_machine_is_in_the_page(runs: dict[str, Run]) -> None:
    for run in runs.values():
        text, _ = inspector_page(run)
        for word in (str(run.folder), str(run.folder.parent), str(Path.home()) + "/", "/tmp/", "neuronwise.folder"):
            assert word not in text, word


def test_redacted_pages_hold_no_row_and_nothing_made_of_rows(runs: dict[str, Run]) -> None:
    text, said = inspector_page(runs["digits"], redact=True)
    data = data_of(text)
    assert data["examples"] is None
    assert data["redacted"] is True
    assert "familiar" not in data["inputs"]
    assert "drawn" not in data["inputs"]
    assert "mean_input" not in data
    assert not any("rows of the data" in sentence for sentence in said)
    _, open_said = inspector_page(runs["digits"])
    assert any("240 rows of the data (test, 15.4 kB)" in sentence for sentence in open_said)


def test_hostile_names_are_inert_and_whole() -> None:
    network = Network.dense([len(HOSTILE), 3, len(HOSTILE)], input_names=list(HOSTILE), class_names=list(HOSTILE))
    payload = build_payload(network, Meaning.of(network), run={"name": HOSTILE[0], "id": HOSTILE[1]})
    text = page(payload, title="".join(HOSTILE))
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert "<!--" not in text.split("<body>")[1]
    data = data_of(text)
    assert data["inputs"]["names"] == list(HOSTILE)
    assert data["outputs"]["names"] == list(HOSTILE)
    assert len(re.search(r"<title>(.*?)</title>", text, re.DOTALL)[1]) < 1_500  # type: ignore[index]


def test_weights_are_thinned_to_their_room_and_it_is_said(runs: dict[str, Run]) -> None:
    history, network = runs["digits"].history_on_disk, runs["digits"].network
    delivered = int(history.delivered_step or 0)
    own = (network.parameters, network.buffers)

    def states(room: int) -> Part:
        return states_part(delivered, own, history.steps, lambda step: (history.parameters(step), own[1]), room)

    everything = states(10**8)
    assert (len(everything.content["states"]), everything.notes) == (len(history.steps), [])
    one = len(json.dumps(everything.content["states"][0]))
    small = states(one * 4)
    assert small.content["states"][0]["parameters"]["dtype"] == "float16"
    assert len(json.dumps(small.content)) <= one * 4.2
    kept = [state["step"] for state in small.content["states"]]
    assert delivered in kept
    assert {0, int(history.steps[-1])} <= set(kept)
    at = next(state for state in small.content["states"] if state["step"] == delivered)
    assert np.array_equal(numbers(at["parameters"]), network.parameters)
    assert f"at {len(kept)} of the {len(history.steps)} stored steps" in small.notes[0]
    assert "rounded to 11 binary digits" in small.notes[1]
    with pytest.raises(ValueError, match="of the page are left"):
        states(100)


def test_a_network_too_large_for_a_page_is_refused_with_a_way_on(runs: dict[str, Run]) -> None:
    with pytest.raises(
        UsageError, match=r"too large for one page of 401 kB: 1,414 weights|too large for one page"
    ) as told:
        inspector_page(runs["digits"], most_bytes=401_000)
    assert "neuronwise ui" in str(told.value.hint)


def test_a_large_network_stays_below_ten_megabytes() -> None:
    network = Network.dense([784, 512, 512, 10], output="softmax")
    payload = build_payload(network, Meaning.of(network), run={"name": "large"})
    assert len(page(payload, title="large").encode()) < 10_000_000


def test_steps_are_spread_with_both_ends_and_those_to_keep() -> None:
    steps = np.arange(0, 1000, 10)
    few = spread_evenly(steps, 7, keep=(330,))
    assert 330 in few
    assert {0, 990} <= set(few.tolist())
    assert len(few) <= 7
    assert np.array_equal(spread_evenly(steps, 100), steps)
    assert len(spread_evenly(steps, 1)) == 1


def test_how_pictures_are_drawn_is_measured() -> None:
    pictures = np.zeros((10, 28, 28))
    pictures[:, 4:24, 12:15] = 0.9  # a bar of 20 × 3
    drawn = drawn_like(pictures)
    assert drawn is not None
    assert drawn["box"] == 20
    assert drawn["row"] == pytest.approx(13.5)
    assert drawn["column"] == pytest.approx(13.0)
    assert drawn["level"] == pytest.approx(0.9)
    assert 2.0 < drawn["stroke"] < 4.0
    assert drawn_like(np.zeros((10, 8, 8))) is None


def test_what_is_unlike_training_is_told_from_what_is_like_it() -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(5, 64))
    X = rng.normal(size=(500, 5)) @ directions + 0.01 * rng.normal(size=(500, 64))
    familiar = find_familiar(X)
    assert familiar is not None
    alike = rng.normal(size=(100, 5)) @ directions
    assert (familiar.unexplained(alike) <= familiar.limit).mean() > 0.9
    assert familiar.unexplained(rng.normal(size=(20, 64))).min() > 10 * familiar.limit
    assert find_familiar(X[:50]) is None


def test_a_training_that_diverged_leaves_its_inspector_too(
    runs: dict[str, Run], home_of_runs: Path, tmp_path: Path
) -> None:
    with environment({"NEURONWISE_HOME": str(tmp_path)}), pytest.raises(TrainingDiverged) as caught:
        neuronwise.train(str(home_of_runs / "houses.csv"), target="price", layers=[8], epochs=3, name="too fast",
                         optimizer="sgd", learning_rate=1e6, track=False, explain=True)  # fmt: skip
    run = caught.value.run
    assert run is not None
    data = data_of((run.folder / "inspector.html").read_text(encoding="utf-8"))
    assert data["run"]["status"] == "diverged"
    assert data["diagnosis"]["findings"][0]["cause"] == "lr_too_high"
    assert not (run.folder / "explanations").exists()  # answers of a network that is not one are not explained
