"""Rows of the data in the page: counted, and left out when asked, whichever way the page is made."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise
from neuronwise.data import write_houses
from neuronwise.running import Run
from neuronwise.running.inspector import write_inspector
from neuronwise.running.subject import Subject

from .browser import chromium, opened, settled
from .conftest import environment
from .test_page import data_of


def arrays(content: Any) -> Iterator[bytes]:
    """Yield the bytes of every array in a page's data."""
    if isinstance(content, dict):
        if isinstance(content.get("data"), str) and "dtype" in content:
            yield base64.b64decode(content["data"])
            return
        content = list(content.values())
    if isinstance(content, list):
        for one in content:
            yield from arrays(one)


def rows_in(page: Path, run: Run) -> int:
    """Return how many rows of a run's data, as the network sees them, stand in its page in some array."""
    prepared = Subject(run).prepared
    everything = b"|".join(arrays(data_of(page.read_text(encoding="utf-8"))))
    shape = run.network.input_shape
    found = 0
    for x in prepared.X.reshape(len(prepared.X), -1):
        forms = [np.asarray(x, "<f4").tobytes(), np.asarray(x, "<f2").tobytes()]
        if len(shape) > 1:
            forms.append(np.round(x * 16).astype(np.uint8).tobytes())
        found += any(form in everything for form in forms)
    return found


@pytest.fixture(scope="module", params=["digits", "houses"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Run]:
    """Train with and without `redact`."""
    home = tmp_path_factory.mktemp("redacted")
    write_houses(home / "houses.csv", rows=300, seed=1)
    data, target = ("digits", None) if request.param == "digits" else (str(home / "houses.csv"), "price")
    with environment({"NEURONWISE_HOME": str(home)}):
        return {
            redact: neuronwise.train(
                data, target, layers=[6], epochs=2, redact=redact, explain=True, track=False, name=request.param
            )
            for redact in (False, True)
        }


def test_what_training_leaves_is_redacted_when_asked(trained: dict[bool, Run]) -> None:
    pages = {redact: run.folder / "inspector.html" for redact, run in trained.items()}
    assert rows_in(pages[False], trained[False]) >= 30
    assert rows_in(pages[True], trained[True]) == 0
    data = data_of(pages[True].read_text(encoding="utf-8"))
    assert (data["examples"], data["redacted"]) == (None, True)
    assert not {"mean_input"} & set(data)
    assert not {"familiar", "drawn"} & set(data["inputs"])


def test_what_is_exported_is_redacted_when_asked(trained: dict[bool, Run], tmp_path: Path) -> None:
    run = trained[False]
    for redact in (False, True):
        said = write_inspector(run, tmp_path / f"{redact}.html", redact=redact)
        assert any("rows of the data" in sentence for sentence in said) is not redact
    assert rows_in(tmp_path / "False.html", run) >= 30
    assert rows_in(tmp_path / "True.html", run) == 0


def test_the_page_counts_them_or_says_that_there_are_none(trained: dict[bool, Run]) -> None:
    with chromium() as browser:
        for redact, run in trained.items():
            with opened(browser, (run.folder / "inspector.html").as_uri()) as page:
                page.click("#nw-tab-about")
                settled(page)
                said = page.inner_text(".nw-panel")
                if redact:
                    assert "No rows of the data: the page was made with --redact." in said
                    assert "made with --redact" in page.inner_text(".nw-input")
                    page.click("#nw-tab-neuron")
                    settled(page)
                    assert "made without rows" in page.inner_text(".nw-panel")
                    page.click("#nw-tab-answer")
                    settled(page)
                    assert "✗" not in page.inner_text(".nw-panel")
                else:
                    shown = data_of((run.folder / "inspector.html").read_text(encoding="utf-8"))["examples"]
                    count, size = len(shown["rows"]), shown["bytes"]
                    assert f"{count} of {shown['of']} held-out rows of the data, {size:,} bytes" in said
                    page.click("text=Which rows")
                    listed = page.inner_text(".nw-panel li p").split(": ")[1].split(". ")[0]
                    assert [int(number.replace(",", "")) for number in listed.split("; ")] == shown["rows"]
