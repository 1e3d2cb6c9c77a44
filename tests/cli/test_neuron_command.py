"""`neuronwise neuron`: on runs that really learned, in words, as JSON and as files; what cannot be is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import neuronwise
from neuronwise.running.subject import Subject

from .conftest import Command


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run on digits, trained once for all of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(tmp_path_factory.mktemp("digits")))
        yield neuronwise.train("digits", layers="16,8", epochs=6, track=False).folder


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("houses")
        patch.setenv("NEURONWISE_HOME", str(place / "home"))
        neuronwise.data.make_houses(500, 0).to_csv(place / "houses.csv", index=False)
        yield neuronwise.train(str(place / "houses.csv"), "price", layers="8", epochs=8, track=False).folder


def test_a_row_is_told_term_by_term_in_original_units(nw: Command, houses: Path) -> None:
    found = nw("neuron", houses, "hidden1[3]", "--row", 17, "--json").json
    subject = Subject(houses)
    z = subject.network.trace(subject.row(17))["hidden1"].z
    assert z is not None
    assert found["z"] == float(z[0, 3])
    table = neuronwise.data.make_houses(500, 0)
    by_name = {term["name"]: term for term in found["terms"]}
    assert by_name["sqft_living"]["original"] == str(table["sqft_living"][17])
    assert abs(found["gap"]) <= found["rounding"]
    out = nw("neuron", houses, "hidden1[3]", "--row", 17)
    assert f"sqft_living = {table['sqft_living'][17]}" in out.out
    assert "no more than rounding does" in " ".join(out.out.split())


def test_a_file_is_told_and_what_training_never_saw_is_flagged(nw: Command, houses: Path, tmp_path: Path) -> None:
    table = neuronwise.data.make_houses(500, 0).head(3)
    table.loc[1, "sqft_living"] = 40_000
    table.to_csv(tmp_path / "new.csv", index=False)
    out = nw("neuron", houses, "hidden1[3]", "--input", tmp_path / "new.csv", "--row", 1)
    assert out.code == 0
    assert "beyond anything seen" in out.out
    assert "beyond anything seen" not in nw("neuron", houses, "hidden1[3]", "--input", tmp_path / "new.csv").out
    beyond = nw("neuron", houses, "hidden1[3]", "--input", tmp_path / "new.csv", "--row", 9)
    assert beyond.code == 2
    assert "there is no row 9: the data has 3" in beyond.err


def test_what_a_neuron_detects_is_told_on_held_out_rows(nw: Command, digits: Path, tmp_path: Path) -> None:
    out = nw("neuron", digits, "hidden2[1]", "--png", tmp_path / "a.png", "--html", tmp_path / "a.html")
    assert out.code == 0, out.err
    assert "AUC" in out.out
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<table" in (tmp_path / "a.html").read_text()
    found = nw("neuron", digits, "hidden2[1]", "--json").json
    subject = Subject(digits)
    rows = subject.examples()
    a = subject.network.trace(rows.X)["hidden2"].a[:, 1].astype(float)
    assert found["examples"] == len(rows.y)
    assert found["mean"] == pytest.approx(a.mean(), rel=1e-5)
    assert {one["row"] for one in found["most"]} <= set(rows.rows.tolist())
    level = dict(zip(rows.rows.tolist(), a.tolist(), strict=True))
    assert found["most"][0]["a"] == pytest.approx(level[found["most"][0]["row"]], rel=1e-4)


def test_another_step_is_another_neuron(nw: Command, digits: Path) -> None:
    now, first = (nw("neuron", digits, "hidden1[2]", "--json", *more).json for more in ((), ("--step", 0)))
    subject = Subject(digits, step=0)
    np.testing.assert_allclose(first["terms"]["weights"], subject.network["hidden1"].W[2], rtol=1e-6)
    assert now["terms"]["weights"] != first["terms"]["weights"]


def test_over_time_it_is_told_when_it_settled(nw: Command, digits: Path, tmp_path: Path) -> None:
    out = nw("neuron", digits, "hidden1[2]", "--steps", "0,20,100", "--png", tmp_path / "t.png")
    assert out.code == 0, out.err
    assert "settled" in out.out
    found = nw("neuron", digits, "hidden1[2]", "--steps", "0,20,100", "--json").json
    assert found["steps"] == [0, 20, 100]
    recording = Subject(digits).recording
    np.testing.assert_allclose(np.ravel(found["patterns"][1]), recording.at(20)["hidden1"].W[2], rtol=1e-6)
    assert len(nw("neuron", digits, "hidden1[2]", "--over-time", "--json").json["steps"]) > 3


def test_a_layer_names_its_dead_neurons(nw: Command, digits: Path, tmp_path: Path) -> None:
    found = nw("neuron", digits, "hidden1", "--json").json
    subject = Subject(digits)
    a = subject.network.trace(subject.examples().X)["hidden1"].a
    assert found["dead"] == [f"hidden1[{i}]" for i in range(16) if not a[:, i].any()]
    out = nw("neuron", digits, "hidden1", "--png", tmp_path / "layer.png")
    assert "16 relu neurons on 270 examples" in " ".join(out.out.split())


def test_without_a_name_it_is_an_atlas(nw: Command, digits: Path, houses: Path, tmp_path: Path) -> None:
    for run in (digits, houses):
        out = nw("neuron", run, "--png", tmp_path / "atlas.png")
        assert out.code == 0, out.err
        assert "look for in the inputs" in out.out
        assert (tmp_path / "atlas.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hidden1[99]"], "16 neurons, 0 to 15, got 99"),
        (["hiden1[1]"], "hidden1"),
        (["hidden1", "--row", "3"], "--row asks about one neuron, got 'hidden1'"),
        (["--over-time"], "--over-time asks about one neuron"),
        (["hidden1[1]", "--row", "3", "--over-time"], "ask for different things"),
        (["hidden1[1]", "--over-time", "--step", "3"], "--over-time looks at many steps"),
        (["hidden1[1]", "--row", "99999"], "there is no row 99999"),
        (["hidden1[1]", "--steps", "a"], "expected steps"),
        (["hidden1[1]", "--steps", "none"], "no steps are named"),
        (["hidden1[1]", "--steps", "7000000"], "7000000"),
        (["hidden1[1]", "--input", "nowhere.png"], "nowhere.png"),
        (["hidden1[1]", "--png", "a.svg"], "must end in .png"),
    ],
)
def test_what_cannot_be_told_is_said(nw: Command, digits: Path, arguments: list[str], words: str) -> None:
    out = nw("neuron", digits, *arguments)
    assert out.code == 2
    assert words in out.err
