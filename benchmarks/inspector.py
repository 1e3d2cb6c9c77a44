"""How quick the inspector is, in Chromium: the first view, from a step chosen to the frame drawn, and the local page.

    python benchmarks/inspector.py [--quick]

The pages of the demo runs (digits, made house sales) are trained here, each a few seconds; the others are of made
networks, with as many states as their page holds. A frame is timed from the change of the step, as the slider makes
it, to the end of the frame in which the network of that step is drawn; the wait for the screen's next frame, up to
17 ms, is part of it, and so is the panel below, which follows at its own pace. Needs Debian's chromium (or
NEURONWISE_TEST_CHROMIUM) and playwright. Aims: the first view under 1 s on the demo runs, a frame under 50 ms at
10,000 neurons, `neuronwise ui` up in under 2 s.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from measuring import arguments, machine, pin, restart_clean, save, table

NETWORKS = {
    "784-16-16-10": ([784, 16, 16, 10], 60),
    "784-512-512-10": ([784, 512, 512, 10], 4),
    "16-5000-100-5000-10": ([16, 5000, 100, 5000, 10], 3),
    "10-100000-1": ([10, 100_000, 1], 2),
}
MEASURE = """async (rounds) => {
  const { model, store } = document.getElementById("neuronwise").neuronwise;
  const drawn = () => new Promise((resolve) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
  }));
  const found = [];
  for (let round = 0; round < (rounds ?? 12); round++) {
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


def main() -> None:
    options = arguments(__doc__, "inspector.json").parse_args()
    restart_clean()
    chromium = os.environ.get("NEURONWISE_TEST_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed")
    pin()
    result: dict[str, Any] = {
        "benchmark": "inspector",
        "command": "python benchmarks/inspector.py",
        "quick": options.quick,
        "machine": machine(["playwright"]),
        "pages": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NEURONWISE_HOME"] = folder
        pages = demo_pages(Path(folder), epochs=3 if options.quick else 30)
        for name, (sizes, states) in list(NETWORKS.items())[: 1 if options.quick else None]:
            pages[name] = Path(folder) / f"{len(pages)}.html"
            pages[name].write_text(made_page(sizes, states), encoding="utf-8")
        for name, path in pages.items():
            result["pages"].append({"page": name} | timed_page(chromium, path, rounds=2 if options.quick else 12))
            print(as_row(result["pages"][-1]), flush=True)
        result["ui_up_s"] = [seconds_to_ui(folder) for _ in range(1 if options.quick else 5)]
    print("\n" + as_table(result) + "\n\n" + footnote(result))
    save(result, options.out)


def demo_pages(folder: Path, *, epochs: int) -> dict[str, Path]:
    """Train the two demo runs and return their pages."""
    import neuronwise
    from neuronwise.data import write_houses

    write_houses(folder / "houses.csv", rows=2000, seed=1)
    options: dict[str, Any] = {"epochs": epochs, "track": False, "explain": True}
    runs = {
        "digits, 64-16-16-10": neuronwise.train("digits", layers=[16, 16], name="digits", **options),
        "made houses, 32-16": neuronwise.train(
            str(folder / "houses.csv"), target="price", layers=[32, 16], name="houses", **options
        ),
    }
    return {name: run.folder / "inspector.html" for name, run in runs.items()}


def made_page(sizes: list[int], states: int) -> str:
    """Return the page of a network with so many states, which differ."""
    import numpy as np

    from neuronwise.explaining import Meaning
    from neuronwise.inspecting import ShownExamples, build_payload, page
    from neuronwise.inspecting.blobs import blob
    from neuronwise.network import Network

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


def timed_page(chromium: str, path: Path, *, rounds: int) -> dict[str, Any]:
    """Return how large a page is, when its first view stood, and how long frames took."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:  # a browser of its own: none is slowed by a page before
        browser = driver.chromium.launch(executable_path=chromium, args=["--disable-gpu", "--no-sandbox"])
        browser.new_page().close()
        at = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        at.goto(path.as_uri())
        at.wait_for_selector("canvas.nw-network")
        at.wait_for_timeout(1000)
        first = at.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
        neurons = at.evaluate(
            "() => document.getElementById('neuronwise').neuronwise.model.net.layers"
            ".reduce((all, layer) => all + layer.neurons, 0)"
        )
        times = sorted(at.evaluate(MEASURE, rounds))
        browser.close()
    return {
        "neurons": neurons,
        "bytes": path.stat().st_size,
        "first_view_ms": first,
        "frame_ms": {"median": statistics.median(times), "p95": times[int(0.95 * len(times))], "frames": len(times)},
    }


def seconds_to_ui(home: str) -> float:
    """Return the seconds from typing ``neuronwise ui`` to its first answer."""
    script = "from neuronwise.cli import main; main()"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script, "ui", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "NEURONWISE_HOME": home},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())  # which the key's cookie needs
        with browser.open(process.stdout.readline().strip(), timeout=30) as answer:
            answer.read(1)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def as_row(page: dict[str, Any]) -> list[str]:
    frame = page["frame_ms"]
    return [page["page"], f"{page['neurons']:,}", f"{page['bytes'] / 1e6:.1f} MB", f"{page['first_view_ms']:.0f} ms",
            f"{frame['median']:.0f} ms", f"{frame['p95']:.0f} ms"]  # fmt: skip


def as_table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    header = ["page", "neurons", "size", "first view", "frame, median", "95 %"]
    return table(header, [as_row(page) for page in result["pages"]])


def footnote(result: dict[str, Any]) -> str:
    """Return what the table does not say."""
    up = result["ui_up_s"]
    return f"`neuronwise ui` answered after {statistics.median(up):.2f} s ({min(up):.2f} to {max(up):.2f} s)."


if __name__ == "__main__":
    main()
