"""Take the pictures of the inspector that the README and the guides show, from networks that are really trained.

``python scripts/make_inspector_pictures.py`` writes into docs/images, ``… FOLDER`` there. It wants Debian's Chromium,
playwright and MNIST (`NEURONWISE_DATA`, see `neuronwise.data.mnist`). Runs are kept in a temporary folder.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
SEVEN = [[(0.22 + 0.06 * t, 0.2) for t in range(10)], [(0.76 - 0.032 * t, 0.2 + 0.06 * t) for t in range(11)]]
NOUGHT = [[(0.5 + 0.22 * math.cos(t / 4), 0.5 + 0.36 * math.sin(t / 4)) for t in range(27)]]
STATE = "document.getElementById('neuronwise').neuronwise"


def keep(folder: Path, name: str, shot: bytes) -> None:
    """Write a screenshot with as few colours as do, which makes it small."""
    from PIL import Image

    picture = (
        Image.open(io.BytesIO(shot))
        .convert("RGB")
        .quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    picture.save(folder / name, optimize=True)
    print(f"{name}: {(folder / name).stat().st_size:,} bytes")


def shoot(page: Any, folder: Path, name: str, until: str, *, under: int = 12) -> None:
    """Take a page from its beginning to the end of an element."""
    page.wait_for_timeout(1500)
    page.evaluate("document.querySelector('.nw-footer').style.position = 'static'")
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(2, 2)
    page.wait_for_timeout(200)
    box = page.locator(until).first.bounding_box()
    height = math.ceil(box["y"] + page.evaluate("scrollY") + box["height"] + under)
    width = page.viewport_size["width"]
    keep(folder, name, page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height}))


def draw(page: Any, strokes: list[list[tuple[float, float]]]) -> None:
    """Draw into the page's pad with the mouse."""
    box = page.locator("canvas.nw-pad").bounding_box()
    for stroke in strokes:
        places = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def pictures_of_files(browser: Any, folder: Path, digits: Path, houses: Path) -> None:
    """Take the pictures of single files."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page.goto(digits.as_uri())
    page.wait_for_selector("canvas.nw-network")
    # A neuron that likes what it is shown: the most active one on the first seven of the rows held out.
    page.select_option("select", label="7")
    page.evaluate(
        f"""() => {{ const {{ model, store }} = {STATE}; const {{ step, example, layer }} = store.now;
        const {{ a }} = model.trace(step, example)[layer]; store.set({{ neuron: a.indexOf(Math.max(...a)) }}); }}"""
    )
    shoot(page, folder, "inspector.png", ".nw-three")
    page.close()

    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto(digits.as_uri())
    page.wait_for_selector("canvas.nw-network")
    draw(page, SEVEN)
    page.click("#nw-tab-answer")
    page.check("input[value='signals']")
    shoot(page, folder, "inspector_drawn.png", ".nw-pair", under=40)
    page.close()

    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto(houses.as_uri())
    page.wait_for_selector("canvas.nw-network")
    page.get_by_label("waterfront", exact=True).select_option(label="yes")
    page.click("#nw-tab-answer")
    shoot(page, folder, "inspector_houses.png", ".nw-columns")
    page.close()

    page = browser.new_page(viewport={"width": 420, "height": 900}, color_scheme="dark")
    page.goto(digits.as_uri())
    page.wait_for_selector("canvas.nw-network")
    page.click("text=Guided tour")
    for _ in range(2):
        page.keyboard.press("Enter")
    page.wait_for_timeout(1200)
    keep(folder, "inspector_tour.png", page.screenshot())
    page.close()


def watched_transformer(home: Path) -> Path:
    """Watch a small transformer learn digits, row by row, and return its page."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    import neuronwise

    class Reader(nn.Module):
        """Reads a digit as eight rows of eight pixels."""

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(8, 32)
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
            self.head = nn.Linear(32, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.encoder(self.embed(x.reshape(-1, 8, 8))).mean(1))

    torch.manual_seed(0)
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    model, loss, cut = Reader(), nn.CrossEntropyLoss(), 1437
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    held = (x[cut:], y[cut:])
    with neuronwise.watch(
        model, optimizer, loss=loss, validation=held, folder=home / "transformer", name="a transformer, watched"
    ) as watcher:
        for _ in range(500):
            rows = torch.randint(0, cut, (64,))
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return watcher.run_folder / "inspector.html"


def picture_of_modules(browser: Any, folder: Path, path: Path) -> None:
    """Take the picture of a model that the page cannot run: its modules."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto(path.as_uri())
    page.wait_for_selector("canvas.nw-network")
    page.get_by_label("Go to a module or a neuron").fill("encoder.layers.0.linear1")
    page.keyboard.press("Enter")
    shoot(page, folder, "inspector_modules.png", ".nw-charts", under=56)
    page.close()


def picture_in_mlflow(browser: Any, folder: Path, home: Path, run: Any) -> None:
    """Take the inspector in MLflow's own page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"],
               "--port", str(port), "--workers", "1"]  # fmt: skip
    log = (home / "server.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, start_new_session=True)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        import mlflow

        experiment = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).get_run(run.id).info.experiment_id
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.goto(
            f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs/{run.id}/artifacts/neuronwise/inspector.html"
            "?workflowType=machine_learning"
        )
        for _ in range(240):
            frame = next((one for one in page.frames if one.url.startswith("blob:")), None)
            if frame is not None and frame.locator("canvas.nw-network").count():
                break
            page.wait_for_timeout(500)
        # The folder it happens to lie in says nothing; without the assistant there is more room.
        page.evaluate(
            """() => { for (const one of document.querySelectorAll('div, span, p')) {
                 const isPath = !one.children.length && one.textContent.startsWith('Path:');
                 if (isPath) one.style.visibility = 'hidden'; } }"""
        )
        close = page.get_by_role("button", name="Close")
        if close.count():
            close.first.click()
        page.wait_for_timeout(3000)
        keep(folder, "inspector_mlflow.png", page.screenshot())
        page.close()
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)
        log.close()


def main() -> None:
    """Take all of them into the folder given, or docs/images."""
    from playwright.sync_api import sync_playwright

    import neuronwise
    from neuronwise.data import write_houses

    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as driver:
        home = Path(made)
        os.environ |= {
            "NEURONWISE_HOME": made,
            "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'store.db'}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        os.chdir(home)
        write_houses(home / "houses.csv", rows=3000, seed=0)
        digits = neuronwise.train("mnist", layers=[16, 16], epochs=4, seed=0, name="mnist", explain=True)
        houses = neuronwise.train(
            str(home / "houses.csv"), "price", layers=[24, 12], seed=0, name="houses", explain=True, track=False
        )
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=() if os.geteuid() else ["--no-sandbox"]
        )
        pictures_of_files(browser, folder, digits.folder / "inspector.html", houses.folder / "inspector.html")
        picture_of_modules(browser, folder, watched_transformer(home))
        picture_in_mlflow(browser, folder, home, digits)
        browser.close()


if __name__ == "__main__":
    main()
