"""The local page while a watched training runs: it is listed, opened and followed, and its end is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuronwise.running.checkpointing import is_held, training_lock
from neuronwise.running.ui import is_live

from .browser import chromium

pytest.importorskip("torch", reason="PyTorch is not installed")

MODELS = {
    "sequence": "nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))",
    "modules": "Other()",
}
LOOP = """
import os, sys, time, torch, neuronwise
from torch import nn
class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 6), nn.Linear(6, 3)
    def forward(self, x):
        return self.last(torch.relu(self.first(x)))
model, loss = MODEL, nn.CrossEntropyLoss()
x, y = torch.randn(64, 8), torch.randint(0, 3, (64,))
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
with neuronwise.watch(model, optimizer, loss=loss, tracking=False, diagnose=False, name="watched live") as watcher:
    while not os.path.exists(sys.argv[1]):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
        time.sleep(0.02)
"""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start ``neuronwise ui`` in a process of its own and yield its address."""
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "home"))
    script = "from neuronwise.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script, "ui", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(20)


@pytest.mark.parametrize("kind", ["sequence", pytest.param("modules", marks=pytest.mark.full)])
def test_a_watched_training_is_followed_until_it_ends(kind: str, served: str, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    training = subprocess.Popen([sys.executable, "-W", "ignore", "-c", LOOP.replace("MODEL", MODELS[kind]), str(stop)])
    now = "document.getElementById('neuronwise').neuronwise"
    try:
        with chromium() as browser:
            at = browser.new_page()
            said: list[str] = []
            at.on("pageerror", lambda error: said.append(str(error)))
            at.goto(served)
            for _ in range(80):
                at.reload()
                at.wait_for_timeout(500)
                if at.locator("a:text-is('watched live')").count():
                    break
            at.wait_for_timeout(1500)  # until there is something to read
            at.click("a:text-is('watched live')")
            at.wait_for_selector("canvas.nw-network")
            assert "this page follows it" in at.inner_text("header")
            first: Any = at.evaluate(f"() => {now}.store.now.step")
            at.wait_for_function(f"first => {now}.store.now.step > first", arg=first, timeout=40_000)
            assert "the newest" in at.inner_text(".nw-step")
            stop.touch()
            at.wait_for_selector("text=The training has ended", timeout=40_000)
            at.click("text=Show the finished run")
            at.wait_for_function(f"() => {now} && !{now}.model.payload.live", timeout=20_000)
            assert at.evaluate(f"() => {now}.model.steps.length") > 5
            assert said == []
    finally:
        training.kill()
        training.wait()


def test_a_training_that_was_killed_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path))
    folder = tmp_path / "runs" / ("0" * 32)
    assert not is_held(folder)
    with training_lock(folder):
        assert is_held(folder)
    assert not is_held(folder)
    assert not is_live("0" * 32)
    assert os.listdir(folder / "checkpoint") in ([], ["lock"])
