"""The diagnosis in the page: findings with evidence, the series it was computed from, jumps; and on demand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import neuronwise
from neuronwise.explaining import Meaning
from neuronwise.inspecting import build_payload, page
from neuronwise.inspecting.diagnosis_data import diagnosis_part
from neuronwise.network import Network
from neuronwise.running import Run
from neuronwise.running.inspector import inspector_page
from neuronwise.running.ui import LocalRuns

from .browser import opened, settled
from .conftest import HOSTILE
from .test_page import data_of, numbers

FOUND: dict[str, Any] = {
    "findings": [
        {
            "cause": "lr_too_high", "title": "The learning rate is too high", "confidence": 0.93, "critical": True,
            "layers": ["hidden1"], "neurons": ["hidden1[2]", "hidden1[7]", "gone[1]"], "first_step": 12,
            "evidence": [
                {"quantity": "loss_ratio", "value": "NaN", "threshold": 0.95, "is_above": True, "source": "measured",
                 "series": "loss"},
                {"quantity": "learning_rate", "value": 3.0, "threshold": 0.5, "is_above": True, "source": "defaults",
                 "series": "learning_rate"},
            ],
            "symptoms": ["loss_explodes"], "student": "Each step is too long.", "expert": "It jumps.",
            "reference": "Goodfellow 2016", "treatment": {"setting": "learning_rate", "to": "0.1",
            "sentence": "Lower it.", "line": "neuronwise train digits --learning-rate 0.1"},
        },
        {"cause": HOSTILE[0], "title": HOSTILE[0], "confidence": 0.2, "critical": False, "layers": [], "neurons": [],
         "first_step": None, "evidence": [], "symptoms": [], "student": "a\u202eb", "expert": HOSTILE[4],
         "reference": "", "treatment": {}},
    ],
    "symptoms": [], "remarks": [{"name": "dead_relu", "layers": [], "neurons": [], "first_step": None, "evidence": [],
                                 "sentence": "Two neurons are dead."}],
    "checked": ["the loss of 40 steps"], "missing": ["rows held out: there are none"], "skill": 0.5, "steps": 40,
    "series": {"loss": {"words": "Loss of each step", "steps": [1, 2, 3], "values": [1.0, "NaN", "Infinity"], "of": 9}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("neuronwise train /home/ann/a.csv --target price", "neuronwise train a.csv --target price"),
        (r"neuronwise train 'C:\Users\ann\a b.csv' --epochs 3", "neuronwise train 'a b.csv' --epochs 3"),
        ("neuronwise train digits --network /srv/x/conv.json", "neuronwise train digits --network conv.json"),
        ("neuronwise train data/a.csv", "neuronwise train data/a.csv"),
        ("neuronwise train '/home/ann/a.csv", "neuronwise train 'a.csv"),
        ("model = nn.Sequential(…, nn.Linear(4, 2) / 2)", "model = nn.Sequential(…, nn.Linear(4, 2) / 2)"),
    ],
)
def test_a_line_to_type_names_no_folder_of_the_machine(line: str, shown: str) -> None:
    finding = {"cause": "lr_too_high", "treatment": {"setting": "learning_rate", "line": line}}
    part = diagnosis_part({"findings": [finding]}, None)
    assert part.content["findings"][0]["treatment"]["line"] == shown


def test_what_was_found_is_shown_and_leads_to_where_it_is(browser: Any, tmp_path: Path) -> None:
    network = Network.dense([3, 8, 2], output="softmax")
    payload = build_payload(network, Meaning.of(network), run={"name": "made"}, diagnosis=FOUND)
    for step in (0, 10, 14):
        payload["weights"]["states"].append(payload["weights"]["states"][0] | {"step": step})
    path = tmp_path / "page.html"
    path.write_text(page(payload, title="made"), encoding="utf-8")
    with opened(browser, path.as_uri()) as at:
        at.click("#nw-tab-diagnosis")
        at.wait_for_selector("text=Diagnosis: 2 findings")
        text = at.inner_text(".nw-panel")
        for words in (
            "1. The learning rate is too high", "93 % sure", "Each step is too long.", "loss ratio is NaN, above 0.95",
            "limit: measured", "learning rate is 3, above 0.5", "Loss of each step, 3 of 9 values", "Lower it.",
            "neuronwise train digits --learning-rate 0.1", "Two neurons are dead.", "50 % of the way",
            "learning_rate is not stored in this recording",
        ):  # fmt: skip
            assert words in text, words
        said = "answers are {} than a constant guess"
        for skill, words in (
            (0.01, said.format("no better")),
            (-0.4, said.format("no better")),
            (-9, said.format("far worse")),
        ):
            payload["diagnosis"]["skill"] = skill
            path.with_name("other.html").write_text(page(payload, title="made"), encoding="utf-8")
            with opened(browser, path.with_name("other.html").as_uri()) as other:
                other.click("#nw-tab-diagnosis")
                other.wait_for_selector(f"text={words}")
        assert at.locator("img").count() == 0
        assert HOSTILE[0] in text
        assert "a⟨U+202E⟩b" in text
        at.click("summary:has-text('What could not be looked at')")
        settled(at)  # what is opened is filled then
        assert "rows held out: there are none" in at.inner_text(".nw-panel")
        assert at.locator("button:text-is('gone[1]')").count() == 0  # no such layer: nothing to jump to
        at.click("button:text-is('hidden1[7]')")
        at.wait_for_function("() => document.querySelector('.nw-panel h2').textContent === 'hidden1[7]'")
        now = at.evaluate("() => document.getElementById('neuronwise').neuronwise.store.now")
        assert (now["view"], now["neuron"], now["step"]) == ("neuron", 7, 10)  # 12 is not stored; 10 is as near as 14


def test_series_travel_with_what_is_not_finite_and_nonsense_is_left_out() -> None:
    content = diagnosis_part(FOUND, None).content
    assert np.array_equal(numbers(content["series"]["loss"]["values"]), [1.0, np.nan, np.inf], equal_nan=True)
    assert list(content["series"]) == ["loss"]
    odd = {
        "findings": [3, {"evidence": 7, "layers": ["x"] * 500}],
        "remarks": "no",
        "series": [1],
        "skill": float("inf"),
    }
    content = diagnosis_part(odd, None).content
    assert len(content["findings"]) == 1
    assert len(content["findings"][0]["layers"]) < 100
    assert content["findings"][0]["layers_count"] == 500
    assert (content["remarks"], content["series"], content["skill"]) == ([], {}, "inf")
    json.dumps(content, allow_nan=False)


def test_the_local_page_diagnoses_a_run_that_was_not(
    runs: dict[str, Run], home_of_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(home_of_runs / "runs" / runs["digits"].id, home / "runs" / runs["digits"].id)
    (home / "runs" / runs["digits"].id / "diagnosis.json").unlink(missing_ok=True)
    monkeypatch.setenv("NEURONWISE_HOME", str(home))
    local = LocalRuns()
    assert local.payload(runs["digits"].id)["diagnosis"] is None
    found = local.diagnosis(runs["digits"].id)
    expected = neuronwise.diagnose(neuronwise.open(runs["digits"].folder))
    assert [one["cause"] for one in found["findings"]] == [one.cause for one in expected.findings]
    assert found["steps"] == expected.steps
    assert local.payload(runs["digits"].id)["diagnosis"] == found  # the next who opens it has it at once


def test_a_run_of_a_frame_keeps_the_rows_that_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.uniform(1, 9, 120), "kind": rng.choice(["a", "b"], 120)})
    frame["price"] = frame["size"] * 2 + (frame["kind"] == "a")
    options: dict[str, Any] = {"target": "price", "layers": [4], "epochs": 3, "track": False, "explain": True,
                               "diagnose": False}  # fmt: skip
    run = neuronwise.train(frame, **options)
    made = data_of((run.folder / "inspector.html").read_text(encoding="utf-8"))
    text, said = inspector_page(run.id)  # the frame is gone
    assert data_of(text)["examples"] == made["examples"]
    assert data_of(text)["mean_input"] == made["mean_input"]
    assert any("rows of the data (test" in sentence for sentence in said)
    assert data_of(inspector_page(run.id, redact=True)[0])["examples"] is None
    redacted = neuronwise.train(frame, redact=True, **options)
    assert not (redacted.folder / "inspector_rows.json").exists()
    text, said = inspector_page(redacted.id)
    assert data_of(text)["examples"] is None
    assert any("The page shows no examples" in sentence for sentence in said)
    (run.folder / "inspector_rows.json").write_text(
        '{"format": "neuronwise-inspector-rows", "version": 0, "inputs": 3}'
    )
    assert data_of(inspector_page(run.id)[0])["examples"] is None  # damaged: as if there were none
