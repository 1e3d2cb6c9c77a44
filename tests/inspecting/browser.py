"""A real browser for the tests: Debian's Chromium, driven by Playwright; what its page says and asks for is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = os.environ.get("NEURONWISE_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
# Without these, Chromium asks for its maker's hosts at every start.
ARGUMENTS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield a browser; skip, with the reason, where there is none."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt install chromium), or name it in NEURONWISE_TEST_CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    sandbox = () if os.geteuid() else ("--no-sandbox",)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *sandbox])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, address: str, *, width: int = 1400, allowed: str = "", **options: Any) -> Iterator[Any]:
    """Yield a page that is open; afterwards fail if it wrote an error or asked for anything but `allowed`."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(f"dialog {dialog.message}"), dialog.dismiss()))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(address)
        page.wait_for_selector("canvas.nw-network")
        settled(page)
        yield page
        assert said == []
        assert [url for url in asked if url != address and not (allowed and url.startswith(allowed))] == []
    finally:
        context.close()


def settled(page: Any) -> None:
    """Wait until all is drawn that was asked for, however long the machine takes: a page or a frame in one."""
    # What the pointer or the pad has asked for is looked at in the next frame.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait_for_selector(".nw-main[aria-busy='true']", state="detached")
