"""`explain`, `what-if` and `important --features`: on a run that really learned; what cannot be is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import neuronwise

from .conftest import Command


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("houses")
        patch.setenv("NEURONWISE_HOME", str(place / "home"))
        neuronwise.data.make_houses(500, 0).to_csv(place / "houses.csv", index=False)
        yield neuronwise.train(str(place / "houses.csv"), "price", layers="8", epochs=8, track=False).folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(tmp_path_factory.mktemp("digits")))
        yield neuronwise.train("digits", layers="16", epochs=6, track=False).folder


def test_a_price_is_told_in_money_and_adds_up(nw: Command, houses: Path, tmp_path: Path) -> None:
    done = nw(
        "explain", houses, "--row", 17, "--currency", "$", "--png", tmp_path / "why.png", "--html", tmp_path / "w.html"
    )
    assert done.code == 0
    first = done.out.splitlines()[0]
    assert first.startswith("price $")
    assert ", × " in first
    words = " ".join(done.out.split())
    assert "the sum misses it by" in words
    assert "What is added to a logarithm multiplies" in words
    assert (tmp_path / "why.png").stat().st_size > 10_000
    assert "<table" in (tmp_path / "w.html").read_text()
    told = nw("explain", houses, "--row", 17, "--json").json
    total = told["start"] + sum(told["contributions"])
    assert total == pytest.approx(told["value"], abs=1e-5)
    assert told["names"][0] == "date"
    assert [layer["layer"] for layer in told["layers"]] == ["hidden1"]


def test_a_class_is_told_against_another(nw: Command, digits: Path) -> None:
    told = nw("explain", digits, "--row", 17, "--output", "7", "--against", "1", "--json").json
    assert (told["output"], told["against"], told["explains"]) == ("7", "1", "logit")
    gradients = nw("explain", digits, "--row", 17, "--method", "gradients", "--steps", 64, "--json").json
    assert (gradients["method"], gradients["steps"]) == ("integrated gradients", 64)
    assert nw("explain", digits, "--row", 17, "--layer", "hidden1", "--baseline", "zeros").code == 0


def test_what_if_sets_columns_weights_and_silence(nw: Command, houses: Path) -> None:
    done = nw(
        "what-if", houses, "--row", 3, "--set", "zipcode=98039", "--set", "hidden1[2].weights[zipcode=98103]=0",
        "--set", "hidden1[1].bias=1.5", "--silence", "hidden1[0]",
    )  # fmt: skip
    assert done.code == 0
    words = " ".join(done.out.split())
    assert "zipcode '98039' was never seen in training; all its inputs are 0" in words
    assert "hidden1[1].bias: " in words
    assert "hidden1[0] silenced" in words
    assert "activation levels moved: hidden1 " in words
    told = nw("what-if", houses, "--row", 3, "--set", "sqft_living=3000", "--json").json
    assert len(told["moved"]) > 0
    assert told["changes"][0].endswith("→ 3000")


def test_the_smallest_change_is_searched(nw: Command, houses: Path, digits: Path) -> None:
    done = nw("what-if", houses, "--row", 3, "--move", "sqft_living", "--by", -30000)
    assert "lowers it by 30,000 or more" in done.out
    done = nw("what-if", digits, "--row", 3, "--flip", "pixel (2, 2)")
    assert "pixel (2, 2)" in done.out
    assert "0 to 16" in " ".join(done.out.split())


def test_columns_are_ranked(nw: Command, houses: Path, tmp_path: Path) -> None:
    done = nw("important", houses, "--features", "--repeats", 2, "--png", tmp_path / "columns.png")
    assert done.code == 0
    assert "matters most: shuffled among the rows, R²" in done.out
    assert (tmp_path / "columns.png").exists()
    told = nw("important", houses, "--features", "--json").json
    assert len(told["loss_increase"]) == len(told["names"]) == 9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "RUN"], "which input? --row takes a row of the data"),
        (["explain", "RUN", "--row", 9999], "there is no row 9999"),
        (["explain", "RUN", "--row", 1, "--layer", "hidden9"], "Did you mean 'hidden1'"),
        (["explain", "RUN", "--row", 1, "--output", "cheap"], "there is no output 'cheap'"),
        (["what-if", "RUN", "--row", 1], "what should be otherwise?"),
        (["what-if", "RUN", "--row", 1, "--set", "zipcode"], "expected NAME=VALUE"),
        (["what-if", "RUN", "--row", 1, "--set", "zip=1"], "Did you mean 'zipcode'"),
        (["what-if", "RUN", "--row", 1, "--set", "sqft_living=1", "--set", "sqft_living=2"], "set twice"),
        (["what-if", "RUN", "--row", 1, "--set", "hidden1[0].bias=x"], "'x' is not a number"),
        (["what-if", "RUN", "--row", 1, "--move", "sqft_living"], "--move and --by go together"),
        (["what-if", "RUN", "--row", 1, "--flip", "zipcode"], "has no class to flip"),
        (["what-if", "RUN", "--row", 1, "--flip", "a", "--move", "b", "--by", 1], "leave one of them out"),
        (["what-if", "RUN", "--row", 1, "--flip", "a", "--set", "b=1"], "search one column"),
        (["what-if", "RUN", "--row", 1, "--to", "cat", "--set", "b=1"], "which class --flip looks for"),
        (["important", "RUN", "--features", "--layer", "hidden1"], "--features ranks columns"),
        (["important", "RUN", "--repeats", 3], "--repeats goes with --features"),
    ],
)
def test_what_cannot_be_is_said(nw: Command, houses: Path, arguments: list[object], words: str) -> None:
    done = nw(*[houses if word == "RUN" else word for word in arguments])
    assert done.code == 2
    assert words in done.err
