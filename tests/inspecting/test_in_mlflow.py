"""The page inside MLflow's own, where nothing may be loaded or kept: it works there as it does alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import neuronwise
from neuronwise.data import write_houses
from neuronwise.running import Run

from .conftest import HOSTILE, environment
from .journeys import NOUGHT, Journey, watched


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Run], Path, dict[str, str]]:
    """Train two runs into a store, one of an experiment with a hostile name; yield them, and where they are kept."""
    home = tmp_path_factory.mktemp("mlflow")
    names = {
        "NEURONWISE_HOME": str(home),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'store.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    write_houses(home / "houses.csv", rows=400, seed=1)
    frame = pd.read_csv(home / "houses.csv", dtype=str)
    for place, name in enumerate(HOSTILE[:4]):
        frame[name] = [str((17 * row + place) % 97) for row in range(len(frame))]
    frame.to_csv(home / "houses.csv", index=False)
    hostile: dict[str, Any] = {"experiment": HOSTILE[0], "layers": [8], "epochs": 6, "explain": True}
    with environment(names):
        runs = {
            "digits": neuronwise.train("digits", layers=[16, 12], epochs=6, name="digits", explain=True),
            "houses": neuronwise.train(str(home / "houses.csv"), target="price", name=HOSTILE[0], **hostile),
        }
    return runs, home, names


@pytest.fixture(scope="module")
def served(stored: tuple[dict[str, Run], Path, dict[str, str]]) -> Iterator[tuple[str, dict[str, Run]]]:
    """Serve them by `mlflow server`, and yield the server's address and the runs."""
    runs, home, names = stored
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (home / "server.log").open("wb")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", names["MLFLOW_TRACKING_URI"],
               "--port", str(port), "--workers", "1"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=log, stderr=log, env={**os.environ, **names, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        cwd=home, start_new_session=True,
    )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, home / "server.log")
        yield f"http://127.0.0.1:{port}", runs
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)
        log.close()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the server did not start: {log.read_text()[-3000:]}")


def opened(context: Any, address: str, run: Run) -> Journey:
    """Open a run's page in MLflow, click the link in its description, and return the inspector in its frame."""
    overview = context.new_page()
    overview.goto(
        f"{address}/#/experiments/{_experiment_of(address, run.id)}/runs/{run.id}?workflowType=machine_learning"
    )
    link = overview.get_by_text("Open the inspector")
    link.wait_for(timeout=60_000)
    with context.expect_page() as opening:
        link.click()
    page = opening.value
    overview.close()
    for _ in range(240):
        frame = next((one for one in page.frames if one.url.startswith("blob:")), None)
        if frame is not None and frame.locator("canvas.nw-network").count():
            frame.wait_for_selector("canvas.nw-network", timeout=60_000)
            return Journey(page, frame, run)
        page.wait_for_timeout(250)
    raise AssertionError("MLflow shows no inspector")


def _experiment_of(address: str, run: str) -> str:
    with urllib.request.urlopen(f"{address}/api/2.0/mlflow/runs/get?run_id={run}", timeout=30) as answer:
        return str(json.loads(answer.read())["run"]["info"]["experiment_id"])


@pytest.mark.parametrize("name", ["digits", pytest.param("houses", marks=pytest.mark.full)])
def test_the_description_opens_the_page_and_all_of_it_works_in_mlflows_frame(
    browser: Any, served: tuple[str, dict[str, Run]], name: str
) -> None:
    address, runs = served
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    with watched(context, address):
        journey = opened(context, address, runs[name])
        assert journey.at.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert journey.at.evaluate("window.origin") == "null"  # the sandbox
        journey.click_a_neuron()
        journey.scrub()
        if name == "digits":
            assert journey.draw(NOUGHT) == "0"
        else:
            assert journey.at.inner_text("h1") == HOSTILE[0]
            journey.edit({"sqft_living": "3100", "waterfront": "yes", "date": "2024-05-17"})
            assert journey.page.locator("img[src='x']").count() == 0
    context.close()


@pytest.mark.full
@pytest.mark.parametrize("name", ["digits", "houses"])
def test_by_keyboard_alone_in_mlflows_frame_at_its_narrowest(
    browser: Any, served: tuple[str, dict[str, Run]], name: str
) -> None:
    address, runs = served
    context = browser.new_context(viewport={"width": 1024, "height": 900})
    with watched(context, address):
        journey = opened(context, address, runs[name])
        assert journey.at.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        journey.at.focus("canvas.nw-network")
        journey.by_keyboard()
    context.close()
