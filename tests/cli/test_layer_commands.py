"""important, layers and unlearned: on a run that really learned, in words, as JSON and as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
        run = neuronwise.train("digits", layers="16,8", epochs=6, track=False)
        yield run.folder


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("houses")
        patch.setenv("NEURONWISE_HOME", str(place / "home"))
        neuronwise.data.make_houses(500, 0).to_csv(place / "houses.csv", index=False)
        run = neuronwise.train(str(place / "houses.csv"), "price", layers="8", epochs=8, track=False)
        yield run.folder


def test_important_ranks_the_neurons_of_a_layer(nw: Command, digits: Path, tmp_path: Path) -> None:
    out = nw("important", digits, "--layer", "hidden2", "--png", tmp_path / "a.png")
    assert out.code == 0, out.err
    assert "is missed most of the 8 neurons of hidden2: held at 0" in " ".join(out.out.split())
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    found = nw("important", digits, "--layer", "hidden2", "--json").json
    subject = Subject(digits)
    rows, network = subject.examples(), subject.network
    best = int(np.argmax(found["loss_increase"]))
    without = network.copy()
    without["output"].W[:, best] = 0
    right = np.mean(without.predict(rows.X).argmax(axis=1) == rows.y)
    assert found["score"] + found["score_change"][best] == pytest.approx(right)
    assert found["rows"] == len(rows.y) == 270


def test_important_can_hold_at_the_mean_and_takes_the_first_layer(nw: Command, digits: Path) -> None:
    found = nw("important", digits, "--mode", "mean", "--part", "train", "--json").json
    assert (found["layer"], found["mode"]) == ("hidden1", "mean")
    assert found["rows_are"] == "training rows"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--layer", "output"], "--layer: 'output' is the last layer"),
        (["--layer", "hiden1"], "Did you mean 'hidden1'"),
        (["--layer", "hidden1[3]"], "'hidden1[3]' is a neuron"),
        (["--mode", "off"], "'off' is not one of 'zero', 'mean'"),
    ],
)
def test_important_says_what_is_wrong(nw: Command, digits: Path, arguments: list[str], words: str) -> None:
    out = nw("important", digits, *arguments)
    assert out.code == 2
    assert words in " ".join(out.err.split())


def test_layers_shows_what_each_adds_and_the_collapse(nw: Command, digits: Path, tmp_path: Path) -> None:
    out = nw("layers", digits, "--row", 17, "--html", tmp_path / "a.html")
    assert out.code == 0, out.err
    text = " ".join(out.out.split())
    assert "What each layer adds after step" in text
    assert "W = W(output) W(hidden2) W(hidden1)" in text
    assert "the same as the network computed layer by layer without activations" in text
    assert "row 17: the network says" in text
    assert "<img alt=" in (tmp_path / "a.html").read_text()
    found = nw("layers", digits, "--steps", "0,20", "--json").json
    assert found["added"]["steps"][:2] == [0, 20]
    assert found["collapsed"]["is_same"] is True
    subject = Subject(digits)
    assert found["added"]["steps"][2] == subject.recording.stored.delivered_step
    rows = subject.examples("held-out")
    at_20 = np.mean(subject.recording.at(20).predict(rows.X).argmax(axis=1) == rows.y)
    assert found["added"]["own"][1] == pytest.approx(at_20)


def test_layers_without_earlier_steps(nw: Command, digits: Path) -> None:
    assert len(nw("layers", digits, "--steps", "none", "--json").json["added"]["steps"]) == 1


def test_unlearned_by_class(nw: Command, digits: Path, tmp_path: Path) -> None:
    out = nw("unlearned", digits, "--svg", tmp_path / "a.svg")
    assert out.code == 0, out.err
    assert "Share of each class that is wrong, over time" in out.out
    assert "--part train" in out.out
    found = nw("unlearned", digits, "--json").json
    subject = Subject(digits)
    rows = subject.examples()
    chosen = subject.network.predict(rows.X).argmax(axis=1)
    assert found["wrong"] == int((chosen != rows.y).sum())
    assert sum(map(sum, found["confusion"])) == 270
    wrong_rows = set(rows.rows[chosen != rows.y].tolist())
    assert set(found["never_learned"]) | set(found["forgotten"]) == wrong_rows
    assert {one["row"] for one in found["worst"]} <= wrong_rows


def test_unlearned_by_zip_code(nw: Command, houses: Path) -> None:
    out = nw("unlearned", houses, "--by", "zipcode")
    assert out.code == 0, out.err
    assert "By zipcode, over time" in out.out
    found = nw("unlearned", houses, "--by", "zipcode", "--json").json
    (cut,) = found["slices"]
    subject = Subject(houses)
    rows, target = subject.examples(), subject.fitted.target
    truth, answers = target.decode(rows.y), target.decode(subject.network.predict(rows.X))
    errors = np.abs(np.log(answers / truth)) if target.log else np.abs(answers - truth)
    assert found["errors"][-1] == pytest.approx(errors.mean(), rel=1e-4)
    words = [subject.meaning.column_words("zipcode", x) for x in rows.X]
    for label, error in zip(cut["labels"], cut["errors"][-1], strict=True):
        assert error == pytest.approx(errors[[word == label for word in words]].mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "zipcod"], "Did you mean 'zipcode'"),
        (["--steps", "1,x"], "--steps: expected steps, whole numbers from 0"),
        (["--steps", "1,9999999"], "the training took"),
        (["--part", "all"], "'all' is not one of"),
    ],
)
def test_unlearned_says_what_is_wrong(nw: Command, houses: Path, arguments: list[str], words: str) -> None:
    out = nw("unlearned", houses, *arguments)
    assert out.code == 2
    assert words in " ".join(out.err.split())


def test_a_later_step_than_the_one_looked_at_is_refused(nw: Command, houses: Path) -> None:
    out = nw("unlearned", houses, "--step", 10, "--steps", "20")
    assert out.code == 2
    assert "step 20 comes after the network that is looked at, that of step 10" in out.err
    assert "--step 20" in out.err


def test_a_network_without_hidden_layers_has_no_neuron_to_silence(nw: Command, quick: Command) -> None:
    assert quick("--layers", "none").code == 0
    out = nw("important", "latest")
    assert out.code == 2
    assert "no hidden layer" in out.err


def test_a_network_of_another_step_is_looked_at(nw: Command, digits: Path) -> None:
    found = nw("unlearned", digits, "--step", 30, "--steps", "none", "--json").json
    assert found["steps"] == [30]
    subject = Subject(digits, step=30)
    rows: Any = subject.examples()
    assert found["wrong"] == int((subject.network.predict(rows.X).argmax(axis=1) != rows.y).sum())


def test_train_names_its_explanations_in_the_closing_lines(nw: Command, good: Path) -> None:
    out = nw("train", good, "--target", "price", "--no-track", "--epochs", 2, "--layers", 4)
    assert out.code == 0, out.err
    lines = {line.rpartition("  ")[0].strip(): line.rpartition("  ")[2] for line in out.out.splitlines()}
    assert Path(lines["why some held-out rows were answered so"]).is_file()
    assert Path(lines["what the first layer's neurons look for"]).is_file()


def test_train_can_leave_them_out(nw: Command, good: Path) -> None:
    out = nw("train", good, "--target", "price", "--no-track", "--epochs", 2, "--layers", 4, "--no-explain")
    assert "why some held-out rows" not in out.out
