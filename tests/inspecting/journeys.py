"""What a person does in the inspector, in whatever home: each step is compared with what Python computes.

A place is a page, or the frame in which MLflow shows the page; keys and the mouse are those of the page around it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuronwise.running import Run
from neuronwise.running.subject import Subject

NUMBER = r"[+−]?[\d,]+(?:\.\d+)?(?:e−?\d+)?"
NOUGHT = [(0.5 + 0.22 * math.cos(t / 4), 0.5 + 0.36 * math.sin(t / 4)) for t in range(27)]
ONE = [(0.5, 0.1 + 0.08 * t) for t in range(11)]


def number(text: str) -> float:
    """Return the first number in a text as the page writes them."""
    found = re.search(NUMBER, text)
    assert found is not None, text
    return float(found[0].replace(",", "").replace("−", "-"))


@contextmanager
def watched(context: Any, home: str) -> Iterator[None]:
    """Fail afterwards if a page of a browser's context asked for anything but its home, or wrote an error.

    Of MLflow's own pages only what they ask for is looked at: what they write to the console is theirs.
    """
    said: list[str] = []
    asked: list[str] = []

    def heard(message: Any) -> None:
        where = str(message.location.get("url", ""))
        if message.type in ("error", "warning") and ("/static-files/" not in where and "/ajax-api/" not in where):
            said.append(f"{message.text} ({where})")

    context.on("console", heard)
    context.on("weberror", lambda error: said.append(str(error.error)))
    context.on("dialog", lambda dialog: (said.append(f"dialog {dialog.message}"), dialog.dismiss()))
    context.on("request", lambda request: asked.append(request.url))
    yield
    assert said == []
    assert [url for url in asked if not url.startswith((home, "blob:", "data:"))] == []


class Journey:
    """One person, one run, one place.

    Args:
        page: Whose keyboard and mouse are used.
        at: The page itself, or the frame in it.
        run: What is looked at.
    """

    def __init__(self, page: Any, at: Any, run: Run) -> None:
        self.page, self.at, self.run = page, at, run
        self.subject = Subject(run)

    # ------------------------------------------------------------------ what is seen

    def heading(self) -> str:
        return str(self.at.inner_text(".nw-panel h2"))

    def until(self, condition: str, given: Any = None) -> None:
        """Wait until something holds in the page."""
        self.at.wait_for_function(condition, arg=given, timeout=20_000)

    def until_text(self, selector: str, text: str) -> None:
        """Wait until an element's text has a part."""
        self.until(
            "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)", [selector, text]
        )

    def row(self) -> int:
        """Return the row of the data that is shown."""
        return int(number(self.at.inner_text(".nw-place")))

    def step(self) -> int:
        return int(number(self.at.inner_text(".nw-step")))

    def shown_z(self) -> float:
        return number(self.at.inner_text(".nw-formula").split("=")[3])

    def python_z(self, name: str, step: int, x: Any) -> float:
        """Return z of a neuron at a step for an input."""
        layer, neuron = name[:-1].split("[")
        network = self.subject.recording.at(step)
        return float(network.trace(x)[layer].z[0, int(neuron)])

    def made(self) -> Any:
        """Return the input that was drawn or typed, as the page gives it to the network."""
        found = self.at.evaluate("() => Array.from(document.getElementById('neuronwise').neuronwise.model.input(-1))")
        return np.array(found, np.float32)

    # ------------------------------------------------------------------ what is done

    def click_a_neuron(self) -> None:
        """Click into the picture of the network, read the sum, and compare it with Python's."""
        canvas = self.at.locator("canvas.nw-network")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        before, across = self.heading(), box["width"] > box["height"] or box["width"] > 560
        for part in range(4, 40):
            share = part / 40
            x, y = (share, 0.52) if across else (0.52, share)
            canvas.click(position={"x": x * box["width"], "y": y * box["height"]})
            self.page.wait_for_timeout(40)
            if self.heading() != before:
                break
        name = self.heading()
        assert re.fullmatch(r"(hidden\d|output)\[\d+\]", name), name
        self.check_sum()

    def check_sum(self) -> None:
        """Read the neuron's sum and compare it with Python's."""
        name, step = self.heading(), self.step()
        assert self.shown_z() == pytest.approx(
            self.python_z(name, step, self.subject.row(self.row())), rel=1e-3, abs=1e-4
        )
        assert self.at.inner_text(".nw-check").startswith("✓")
        terms = self.at.locator(".nw-terms tbody tr")
        products = [number(terms.nth(i).inner_text().split("\t")[-1]) for i in range(terms.count())]
        assert sum(products[:-1]) == pytest.approx(products[-1], abs=0.02 * max(map(abs, products)))

    def scrub(self) -> None:
        """Go to the beginning, somewhere between, and the end: the sum follows."""
        slider = self.at.locator(".nw-timeline input")
        last = int(slider.get_attribute("max"))
        shown = []
        for place in (0, last // 3, last):
            slider.fill(str(place))
            self.until("place => document.querySelector('.nw-timeline input').value === place", str(place))
            self.until("() => !document.querySelector('.nw-step').textContent.includes('being computed')")
            self.page.wait_for_timeout(350)
            self.check_sum()
            shown.append(self.step())
        assert shown[0] == 0
        assert shown == sorted(set(shown))

    def draw(self, points: Sequence[tuple[float, float]]) -> str:
        """Draw a digit with the mouse and return the class that is shown, which is Python's."""
        if not self.at.locator("canvas.nw-pad").is_visible():
            self.at.click("summary:text-is('Draw your own')")
        self.at.click("button:text-is('Clear')")
        pad = self.at.locator("canvas.nw-pad")
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        places = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place)
        self.page.mouse.up()
        self.until_text(".nw-place", "yours")
        assert self.at.locator(".nw-seen canvas").count() == 1  # what the network is given stands beside the strokes
        return self.check_drawing()

    def check_drawing(self) -> str:
        """Return the class of what is drawn, which is that of Python."""
        self.page.wait_for_timeout(150)
        pixels = self.made()
        assert pixels.max() > 0.5
        expected = str(int(self.run.network.predict(pixels)[0].argmax()))
        self.at.click("#nw-tab-answer")
        self.until_text(".nw-panel h2", f"The answer: {expected}")
        self.check_sums_of_the_answer()
        return expected

    def check_sums_of_the_answer(self) -> None:
        """Read that each sum of contributions adds up: over inputs, and through each layer."""
        checks = self.at.locator(".nw-panel .nw-check").all_inner_texts()
        assert len(checks) >= 2
        assert [one for one in checks if not one.startswith("✓")] == []

    def edit(self, cells: dict[str, str]) -> None:
        """Edit a house: the price that is shown is Python's."""
        row, table = self.row(), self.subject.prepared.table
        assert table is not None
        frame = pd.DataFrame([{name: table.cell(row, name) for name in table.column_names} | cells])
        expected = float(self.run.predict(frame)[0])
        if not self.at.get_by_label("sqft_living", exact=True).is_visible():
            self.at.click("summary:text-is('Edit this row')")
        for name, value in cells.items():
            field = self.at.get_by_label(name, exact=True)
            if field.evaluate("field => field.tagName") == "SELECT":
                field.select_option(label=value)
            else:
                field.fill(value)
        self.until_text(".nw-place", "yours")
        self.at.click("#nw-tab-answer")
        self.until_text(".nw-panel h2", "The answer: ")
        self.page.wait_for_timeout(200)
        assert number(self.heading()) == pytest.approx(expected, rel=1e-4)
        self.check_sums_of_the_answer()

    # ------------------------------------------------------------------ by keyboard alone

    def tab_to(self, selector: str, most: int = 60, *, back: bool = False) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(most):
            if self.at.evaluate("selector => document.activeElement?.matches(selector) ?? false", selector):
                return
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
        raise AssertionError(f"Tab does not come to {selector}")

    def by_keyboard(self) -> None:
        """Choose an example, a neuron, a step, and make an input, without a pointer."""
        press = self.page.keyboard.press
        self.tab_to("canvas.nw-network")
        press("n")
        self.until_text(".nw-place", "(2 of ")
        for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowDown"):
            press(key)
        press("Enter")
        self.until("() => document.activeElement.matches('.nw-panel h2')")
        self.check_sum()
        press("s")
        self.until_text(".nw-changes", "1 neuron silenced by hand")
        press("r")
        self.until("() => document.querySelector('.nw-changes').textContent === ''")
        press("Home")
        self.until_text(".nw-step", "step 0,")
        self.page.wait_for_timeout(350)
        self.check_sum()
        press("End")
        press("Escape")
        self.until("() => document.activeElement.matches('canvas.nw-network')")
        press("?")
        self.until_text(".nw-help", "Page Up, Page Down")
        press("?")
        press("3")
        self.until_text(".nw-panel h2", "The answer")
        if self.run.network.input_shape == (8, 8):
            self._draw_by_keys()
        else:
            self._edit_by_keys()

    def _draw_by_keys(self) -> None:
        press = self.page.keyboard.press
        self._open_maker("Draw your own")
        self.tab_to("canvas.nw-pad")
        for key in ("ArrowUp", "ArrowUp", "ArrowUp", " ", *["ArrowDown"] * 6, " "):
            press(key)
        self.until_text(".nw-place", "yours")
        self.check_drawing()
        self.at.focus("canvas.nw-pad")
        press("Delete")
        self.until_text(".nw-place", "(2 of ")

    def _edit_by_keys(self) -> None:
        self._open_maker("Edit this row")
        self.tab_to(".nw-form input")
        for _ in range(6):
            if self.at.evaluate("() => document.activeElement.closest('label')?.textContent === 'bathrooms'"):
                break
            self.page.keyboard.press("Tab")
        row, table = self.row(), self.subject.prepared.table
        assert table is not None
        name = self.at.evaluate("() => document.activeElement.closest('label').textContent")
        frame = pd.DataFrame([{one: table.cell(row, one) for one in table.column_names} | {name: "4"}])
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type("4")
        self.until_text(".nw-place", "yours")
        self.page.wait_for_timeout(200)
        assert number(self.heading()) == pytest.approx(float(self.run.predict(frame)[0]), rel=1e-4)

    def _open_maker(self, words: str) -> None:
        """Come from the picture to the part where an input is made, and open it if it is closed."""
        self.tab_to(".nw-input summary", back=True)
        assert self.at.evaluate("() => document.activeElement.textContent") == words
        if not self.at.evaluate("() => document.activeElement.parentElement.open"):
            self.page.keyboard.press("Enter")
