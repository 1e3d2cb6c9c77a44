"""Names that would like to be something else: as columns, categories, classes, runs and experiments they are texts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import neuronwise
from neuronwise.inspecting.page import page as page_of
from neuronwise.running import Run
from neuronwise.running.inspector import write_inspector

from .browser import settled
from .conftest import HOSTILE, environment
from .journeys import watched

SEEN = ("</script><img", "__proto__", "constructor", "a⟨U+202E⟩b", "(10,000 characters)", "⟨U+001B⟩[31mred", "<!--")
"""How each of them is seen: whole or cut, every character that is not seen by its number."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    """Train on a table of which every name is hostile; columns, one column's categories, classes, run, experiment."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(size=210) for name in HOSTILE})
    frame["a category"] = rng.choice(list(HOSTILE), 210)
    frame["y"] = list(HOSTILE) * 30
    with environment({"NEURONWISE_HOME": str(home)}):
        return neuronwise.train(
            frame, "y", layers=[6], epochs=3, name=HOSTILE[0], experiment=HOSTILE[0], track=False, explain=False
        )


def look_everywhere(page: Any) -> str:
    """Open every view and every table of a run, and return all texts that were seen."""
    texts = [page.inner_text("header")]
    for tab in page.locator("[role='tab']").all():
        tab.click()
        settled(page)
        page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        settled(page)
        texts.append(page.inner_text("main"))
        texts.append(" ".join(page.locator("option").all_text_contents()))
        wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room, page.inner_text("[aria-selected='true']")
    box = page.locator("canvas.nw-network").bounding_box()
    for k in range(1, 16):  # what the pointer is on is told beside it
        page.mouse.move(box["x"] + 60, box["y"] + box["height"] * k / 16)
        if page.locator(".nw-tip").is_visible():
            texts.append(page.inner_text(".nw-tip"))
    page.click("text=Guided tour")
    for _ in range(8):
        texts.append(page.inner_text(".nw-tour"))
        page.keyboard.press("Enter")
    return "\n".join(texts)


def check_inert(page: Any, width: int) -> None:
    """Check that none of the names became an element, or an attribute, or moved anything."""
    assert page.locator("img, iframe, object, embed, link").count() == 0
    assert page.locator("script").count() == 2
    assert page.evaluate("() => [...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())"
                         ".filter((name) => name.startsWith('on')).length") == 0  # fmt: skip
    assert page.evaluate("() => ({}).polluted === undefined && Object.prototype.constructor === Object")
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert "\u202e" not in page.evaluate("document.body.innerText")


@pytest.mark.parametrize("width", [1400, 380])
def test_in_the_file(run: Run, browser: Any, tmp_path: Path, width: int) -> None:
    write_inspector(run, tmp_path / "hostile.html")
    address = (tmp_path / "hostile.html").as_uri()
    context = browser.new_context(viewport={"width": width, "height": 900})
    with watched(context, address):
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("canvas.nw-network")
        assert page.inner_text("h1") == HOSTILE[0]
        said = look_everywhere(page)
        assert [name for name in SEEN if name not in said] == []
        check_inert(page, width)
    context.close()


def test_in_the_local_page(run: Run, home: Path, browser: Any) -> None:
    command = [sys.executable, "-u", "-c", "from neuronwise.cli import main; main()", "ui", "--port", "0"]
    with environment({"NEURONWISE_HOME": str(home)}):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    try:
        with watched(context, address.split("/enter")[0]):
            page = context.new_page()
            page.goto(address)
            page.wait_for_selector("text=1 run.")
            assert page.locator("tbody th").all_text_contents() == [HOSTILE[0]]
            page.get_by_label("Search the runs").fill("onerror")
            page.click("tbody a")
            page.wait_for_selector("canvas.nw-network")
            said = look_everywhere(page)
            assert [name for name in SEEN if name not in said] == []
            check_inert(page, 1400)
    finally:
        context.close()
        process.terminate()
        process.wait(20)


def test_in_the_list_of_runs(browser: Any, tmp_path: Path) -> None:
    listed = [
        {"id": f"{i:08x}", "name": name, "started": None, "status": name, "data": name, "parameters": 3,
         "result": {"name": name, "value": 0.5}, "experiment": name}
        for i, name in enumerate(HOSTILE)
    ]  # fmt: skip
    text = page_of({"format": "neuronwise-runs", "runs": listed, "problem": HOSTILE[0]}, title=HOSTILE[0])
    path = tmp_path / "runs.html"
    path.write_text(text, encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("tbody tr")
    assert page.locator("tbody tr").count() == len(HOSTILE)
    said = page.inner_text("body")
    assert [name for name in SEEN if name not in said] == []
    check_inert(page, 1280)
    context.close()


def test_names_stand_in_the_data_as_they_are(run: Run, tmp_path: Path) -> None:
    write_inspector(run, tmp_path / "hostile.html")
    text = (tmp_path / "hostile.html").read_text(encoding="utf-8")
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    island = text.split('id="neuronwise-data">')[1].split("</script>")[0]
    data = json.loads(island)
    assert set(HOSTILE) <= {column["name"] for column in data["inputs"]["columns"]}
    assert sorted(data["outputs"]["classes"]) == sorted(HOSTILE)
    assert data["run"]["name"] == HOSTILE[0]
