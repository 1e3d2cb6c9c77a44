"""How quick the inspector is, in Chromium: the first view, and from a step chosen to the frame drawn.

``python benchmarks/inspector.py`` trains nothing: the networks are made, with as many states as the page holds. Needs
Debian's chromium (or NEURONWISE_TEST_CHROMIUM) and playwright. Aims: the first view under 1 s, a frame under 50 ms.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from neuronwise.explaining import Meaning
from neuronwise.inspecting import ShownExamples, build_payload, page
from neuronwise.inspecting.blobs import blob
from neuronwise.network import Network

NETWORKS = {
    "784-16-16-10": ([784, 16, 16, 10], 60),
    "784-512-512-10": ([784, 512, 512, 10], 4),
    "16-5000-100-5000-10": ([16, 5000, 100, 5000, 10], 3),
    "10-100000-1": ([10, 100_000, 1], 2),
}
MEASURE = """async () => {
  const { model, store } = document.getElementById("neuronwise").neuronwise;
  const drawn = () => new Promise((resolve) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
  }));
  const found = [];
  for (let round = 0; round < 12; round++) {
    for (const step of model.steps.slice(0, 12)) {
      await drawn();
      const start = performance.now();
      store.set({ step });
      await drawn();
      if (round) found.push(performance.now() - start);
    }
  }
  return found;
}"""


def made_page(sizes: list[int], states: int) -> str:
    """Return the page of a network with so many states, which differ."""
    network = Network.dense(sizes, output="softmax" if sizes[-1] > 1 else "identity", seed=1)
    rng = np.random.default_rng(0)
    X = rng.random((40, sizes[0]), np.float32)
    examples = ShownExamples(X, rng.integers(0, sizes[-1], 40), np.arange(40), "test", 40)
    payload = build_payload(network, Meaning.of(network), run={"name": "made"}, examples=examples)
    for step in range(1, states):
        moved = network.parameters + rng.normal(0, 0.01, network.parameters.shape)
        payload["weights"]["states"].append(
            {"step": step, "parameters": blob(moved, "float16"), "buffers": blob([], "float32")}
        )
    return page(payload, title="made")


def main() -> None:
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("NEURONWISE_TEST_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed")
    print(f"{'network':22} {'page':>9} {'first view':>11} {'frame, median':>14} {'95 %':>9}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--disable-gpu", "--no-sandbox"])
        for name, (sizes, states) in NETWORKS.items():
            path = Path(folder) / "page.html"
            path.write_text(made_page(sizes, states), encoding="utf-8")
            at = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            at.goto(path.as_uri())
            at.wait_for_selector("canvas.nw-network")
            at.wait_for_timeout(1000)
            first = at.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
            times = at.evaluate(MEASURE)
            print(
                f"{name:22} {path.stat().st_size / 1e6:6.1f} MB {first:8.0f} ms "
                f"{statistics.median(times):11.0f} ms {np.percentile(times, 95):6.0f} ms",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    main()
