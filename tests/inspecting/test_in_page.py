"""The local page of `neuronwise ui`: what a person does there, with a run of pictures and with one of a table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuronwise.running import Run

from .conftest import environment
from .journeys import NOUGHT, Journey, watched


@pytest.fixture(scope="module")
def address(runs: dict[str, Run], home_of_runs: Path) -> Iterator[str]:
    """Start the command in a process of its own and yield its address."""
    command = [sys.executable, "-u", "-c", "from neuronwise.cli import main; main()", "ui", "--port", "0"]
    with environment({"NEURONWISE_HOME": str(home_of_runs)}):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(20)


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """Open the list of runs; afterwards nothing went wrong in it, and nothing was asked of anyone else."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    with watched(context, address.split("/enter")[0]):
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("text=2 runs")
        yield page
    context.close()


def opened(page: Any, run: Run) -> Journey:
    page.click(f"a:text-is('{run.name}')")
    page.wait_for_selector("canvas.nw-network")
    return Journey(page, page, run)


def test_a_run_of_digits(page: Any, runs: dict[str, Run]) -> None:
    journey = opened(page, runs["digits"])
    journey.click_a_neuron()
    journey.scrub()
    assert journey.draw(NOUGHT) == "0"


def test_a_run_of_houses(page: Any, runs: dict[str, Run]) -> None:
    journey = opened(page, runs["houses"])
    journey.click_a_neuron()
    journey.scrub()
    journey.edit({"sqft_living": "3100", "waterfront": "yes", "date": "2024-05-17"})


@pytest.mark.parametrize("name", ["digits", pytest.param("houses", marks=pytest.mark.full)])
def test_by_keyboard_alone(page: Any, runs: dict[str, Run], name: str) -> None:
    opened(page, runs[name]).by_keyboard()


def test_a_server_that_is_gone_is_told_with_a_way_on(browser: Any, runs: dict[str, Run], home_of_runs: Path) -> None:
    command = [sys.executable, "-u", "-c", "from neuronwise.cli import main; main()", "ui", "digits", "--port", "0"]
    with environment({"NEURONWISE_HOME": str(home_of_runs)}):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(process.stdout.readline().strip())
        page.wait_for_selector("canvas.nw-network")
        journey = Journey(page, page, runs["digits"])
        stored = set(journey.subject.recording.keyframes)
        missing = next(step for step in range(runs["digits"].steps) if step not in stored)
    finally:
        process.terminate()
        process.wait(20)
    page.evaluate("step => document.getElementById('neuronwise').neuronwise.store.set({ step })", missing)
    page.wait_for_function("() => document.querySelector('.nw-failure').textContent !== ''", timeout=10_000)
    said = page.inner_text(".nw-failure")
    assert f"Step {missing:,} cannot be shown: the command neuronwise ui does not answer; is it still running?" in said
    journey.until_text(".nw-step", "this one could not be had")
    page.click("text=Try again")
    page.wait_for_function("() => document.querySelector('.nw-failure').textContent !== ''", timeout=10_000)
    journey.at.locator(".nw-timeline input").press("Home")  # what is here can still be looked at
    journey.until_text(".nw-step", "step 0,")
    page.wait_for_timeout(400)
    journey.check_sum()
    context.close()
