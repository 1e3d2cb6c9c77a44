"""runs, show and encode."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from neuronwise.files import folder_size_bytes, user_data_folder
from neuronwise.running import find_run
from neuronwise.running.findings import kept_diagnosis

from .conftest import Command


def test_runs_of_a_new_home_say_how_to_make_one(nw: Command, tmp_path: Path) -> None:
    outcome = nw("runs")
    assert outcome.code == 0
    assert outcome.out == "There are no runs yet. Make one: neuronwise train digits\n"
    assert nw("runs", "--json").json == []
    assert not (tmp_path / "home").exists()


def test_runs_lists_local_runs_the_newest_first_with_their_size(nw: Command, quick: Command) -> None:
    for name in ("first", "second"):
        assert quick("--name", name).code == 0
    listed = nw("runs", "--json").json
    assert [one["name"] for one in listed] == ["second", "first"]
    folder = user_data_folder() / "runs" / listed[0]["id"]
    assert listed[0]["size_bytes"] == folder_size_bytes(folder) > 0
    assert listed[0]["status"] == "finished"
    assert listed[0]["data"] == "good.csv"
    assert listed[0]["result"][0] == "r2"
    out = nw("runs").out
    assert out.index("second") < out.index("first")
    assert "2 runs, " in out
    assert "1 run, " in nw("runs", "--limit", 1).out
    assert "second" in nw("runs", "--limit", 1).out


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"name": 5, "metrics": [], "data": 7, "parameters": "x"}', b"null"]
)
def test_one_damaged_run_hides_no_other(nw: Command, quick: Command, content: bytes) -> None:
    assert quick("--name", "sound").code == 0
    damaged = user_data_folder() / "runs" / ("ab" * 16)
    damaged.mkdir()
    (damaged / "run.json").write_bytes(content)
    outcome = nw("runs")
    assert outcome.code == 0
    assert "sound" in outcome.out
    assert len(nw("runs", "--json").json) == 2
    assert nw("show", "sound").code == 0
    outcome = nw("show", "abab")
    assert outcome.code == 2
    assert "run.json" in outcome.err


def test_show_prints_network_result_and_courses(nw: Command, quick: Command) -> None:
    assert quick("--name", "mine", "--epochs", 12, "--patience", 12).code == 0
    run = find_run("mine")
    outcome = nw("show", "mine")
    assert outcome.code == 0
    out = outcome.out
    assert out.startswith(f"mine ({run.id}), finished\n")
    assert "good.csv: price (regression), 46 rows learned from, 9 held out" in out
    assert "4 × 6 + 4" in out
    assert re.search(r"total +33", out)
    assert "Result on 9 held-out rows" in out
    assert re.search(r"linear regression +-?[\d.]+", out)
    for words in ("loss", "val_loss", "weights: norm of W", "biases: mean", "gradient: norm of dW", "update: "):
        assert re.search(rf"{words}.*[▁▂▃▄▅▆▇█]{{12}}", out), words
    first, last = run.history[0]["loss"], run.history[-1]["loss"]
    assert re.search(rf"training +loss +{first:.3g} +[▁-█]+ +{last:.3g} ", out)


def test_show_as_json_is_the_run(nw: Command, quick: Command) -> None:
    assert quick("--name", "mine").code == 0
    run = find_run("mine")
    shown = nw("show", "mine", "--json").json
    kept = kept_diagnosis(run.folder)
    assert kept is not None
    assert shown.pop("findings") == kept["findings"]
    assert shown == json.loads(json.dumps(run.to_dict())) | {"folder": str(run.folder)}


def test_show_takes_an_id_its_beginning_a_name_latest_or_a_folder(nw: Command, quick: Command) -> None:
    assert quick("--name", "mine").code == 0
    run = find_run("latest")
    for text in (run.id, run.id[:4], "mine", "latest", run.folder):
        assert nw("show", text, "--json").json["id"] == run.id
    outcome = nw("show", run.folder / "model")
    assert outcome.code == 2
    assert "holds a model but no run" in outcome.err


def test_two_runs_of_one_name_are_told_apart_by_id(nw: Command, quick: Command) -> None:
    for _ in range(2):
        assert quick("--name", "twin").code == 0
    outcome = nw("show", "twin")
    assert outcome.code == 2
    assert "'twin' fits 2 runs: twin (" in outcome.err
    assert "give more of the id" in outcome.err
    assert nw("show", nw("runs", "--json").json[0]["id"]).code == 0


def test_encode_shows_every_cell_beside_its_neurons(nw: Command, good: Path) -> None:
    outcome = nw("encode", good, "--row", 7, "--target", "price")
    assert outcome.code == 0
    assert "Row 7 of good.csv: 6 input neurons" in outcome.out
    assert re.search(r"sqft +numeric +849 +sqft +-1\.\d{4}", outcome.out)
    assert re.search(r"zipcode +category +98002 +zipcode=98000 +0\.0000", outcome.out)
    assert re.search(r"\n +zipcode=98002 +1\.0000", outcome.out)
    assert re.search(r"price +target +\d+ +what is learned +-?\d\.\d{4}", outcome.out)


def test_encode_as_json(nw: Command, good: Path) -> None:
    encoded = nw("encode", good, "--row", 7, "--target", "price", "--json").json
    inputs = {name: value for cell in encoded["cells"] for name, value in cell["inputs"]}
    assert inputs["zipcode=98002"] == 1.0
    assert sum(value for name, value in inputs.items() if name.startswith("zipcode=")) == 1.0
    assert encoded["row"] == 7
    assert encoded["target"][0] == "price"


def test_encode_with_a_run_uses_its_encoder(nw: Command, quick: Command, good: Path, tmp_path: Path) -> None:
    assert quick("--name", "mine").code == 0
    run = find_run("mine")
    expected = dict(zip(run.network.input_names or [], run.model.encode(good)[0][3].tolist(), strict=True))
    encoded = nw("encode", good, "--row", 3, "--run", "mine", "--json").json
    assert {name: value for cell in encoded["cells"] for name, value in cell["inputs"]} == pytest.approx(expected)
    new = tmp_path / "new.csv"
    new.write_text("sqft,zipcode\n900,55555\n")
    outcome = nw("encode", new, "--run", "mine")
    assert "55555" in outcome.out
    assert "note: " in outcome.err
    assert "55555" in outcome.err
    assert "55555" in nw("encode", new, "--run", "mine", "--json").json["notes"][0]


def test_encode_overrides(nw: Command, good: Path) -> None:
    assert "2 input neurons" in nw("encode", good, "--target", "price", "--numeric", "zipcode").out
    out = nw("encode", good, "--target", "price", "--drop", "zipcode").out
    assert "1 input neuron" in out
    assert re.search(r"zipcode +dropped", out)
