"""The page inside MLflow's own, where nothing may be loaded or kept: it works there as it does alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise
from neuronwise.running import Run

from .browser import chromium

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Run]]:
    """Train a run into a store, serve it by `mlflow server`, and yield the server's address and the run."""
    home = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{home / 'store.db'}"
    names = {"NEURONWISE_HOME": str(home), "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        run = neuronwise.train("digits", layers=[16, 12], epochs=6, name="digits", explain=True)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (home / "server.log").open("wb")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        uri,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    environment = {**os.environ, **names, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=home, start_new_session=True)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, home / "server.log")
        yield f"http://127.0.0.1:{port}", run
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


@pytest.mark.parametrize("width", [1400, 1024])
def test_the_description_opens_the_page_and_it_works_in_the_viewers_frame(served: tuple[str, Run], width: int) -> None:
    address, run = served
    with chromium() as browser:
        context = browser.new_context(viewport={"width": width, "height": 900})
        overview = context.new_page()
        runs = _experiment_of(address, run.id)
        overview.goto(f"{address}/#/experiments/{runs}/runs/{run.id}?workflowType=machine_learning")
        link = overview.get_by_text("Open the inspector")
        link.wait_for(timeout=60_000)
        with context.expect_page() as opening:
            link.click()
        at = opening.value
        said: list[str] = []
        at.on("pageerror", lambda error: said.append(str(error)))
        frame: Any = None
        for _ in range(120):
            frame = next((one for one in at.frames if one.url.startswith("blob:")), None)
            if frame is not None and frame.locator("canvas.nw-network").count():
                break
            at.wait_for_timeout(500)
        assert frame is not None
        frame.wait_for_selector("canvas.nw-network", timeout=60_000)
        assert frame.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        frame.focus(".nw-timeline input")
        at.keyboard.press("Home")
        frame.wait_for_function("() => document.querySelector('.nw-step').textContent.startsWith('step 0')")
        at.keyboard.press("End")
        frame.focus("canvas.nw-network")
        at.keyboard.press("Enter")
        frame.wait_for_function("() => document.activeElement.tagName === 'H2'")
        assert "✓" in frame.inner_text(".nw-check")
        if not frame.locator("canvas.nw-pad").is_visible():
            frame.click("summary:text-is('Draw your own')")
        frame.focus("canvas.nw-pad")
        at.keyboard.press(" ")
        for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
            at.keyboard.press(key)
        frame.wait_for_function("() => document.getElementById('neuronwise').neuronwise.store.now.example === -1")
        state = "document.getElementById('neuronwise').neuronwise"
        pixels = np.array(frame.evaluate(f"Array.from({state}.model.input(-1))"), np.float32)
        shown = frame.evaluate(f"Array.from({state}.model.trace({state}.model.delivered, -1).at(-1).a)")
        assert shown == pytest.approx(run.network.predict(pixels)[0], abs=1e-5)
        assert said == []
        context.close()


def _experiment_of(address: str, run: str) -> str:
    import json

    with urllib.request.urlopen(f"{address}/api/2.0/mlflow/runs/get?run_id={run}", timeout=30) as answer:
        return str(json.loads(answer.read())["run"]["info"]["experiment_id"])
