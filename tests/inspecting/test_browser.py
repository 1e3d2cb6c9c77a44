"""The page in a real browser: what it shows is what Python computes, by mouse and by keyboard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuronwise.explaining import Meaning
from neuronwise.inspecting import build_payload, page
from neuronwise.network import Network
from neuronwise.running import Run
from neuronwise.running.subject import Subject

from .browser import opened, settled
from .conftest import HOSTILE
from .journeys import NOUGHT, ONE, number


def open_neuron(page: Any, layer: str, neuron: int) -> None:
    """Go to a neuron by keys."""
    place = page.evaluate(
        """([layer, neuron]) => {
            const { model } = document.getElementById("neuronwise").neuronwise;
            return model.net.layers.findIndex((one) => one.name === layer);
        }""",
        [layer, neuron],
    )
    page.evaluate(
        "([layer, neuron]) => document.getElementById('neuronwise').neuronwise.store.set({ layer, neuron: 0 })",
        [place, neuron],
    )
    page.focus("canvas.nw-network")
    for _ in range(neuron):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    settled(page)


def seen(page: Any, what: str) -> Any:
    """Return something of the page's model."""
    return page.evaluate(
        f"() => {{ const {{ model, store }} = document.getElementById('neuronwise').neuronwise; return {what}; }}"
    )


def test_a_neuron_is_clicked_and_its_sum_is_that_of_python(
    browser: Any, pages: dict[str, str], runs: dict[str, Run]
) -> None:
    subject = Subject(runs["digits"])
    with opened(browser, pages["digits"]) as at:
        box = at.locator("canvas.nw-network").bounding_box()
        before = at.inner_text(".nw-panel h2")
        # The first hidden layer's column is found where a neuron answers the pointer.
        for x in range(300, int(box["width"]), 12):
            at.mouse.click(box["x"] + x, box["y"] + box["height"] / 2)
            settled(at)
            if at.inner_text(".nw-panel h2") != before:
                break
        name = at.inner_text(".nw-panel h2")
        assert re.fullmatch(r"hidden1\[\d+\]", name)
        row = subject.examples(most=240).rows[0]
        x = subject.row(int(row))
        neuron = subject.network.neuron(name)
        z = float(neuron.weights @ x.reshape(-1) + neuron.bias)
        formula = at.inner_text(".nw-formula")
        assert number(formula.split("=")[3]) == pytest.approx(z, rel=1e-4)
        check = at.inner_text(".nw-check")
        assert "✓" in check
        assert "64 products and the bias" in check
        terms = at.locator(".nw-terms tbody tr")
        shown = [terms.nth(i).inner_text().split("\t") for i in range(terms.count())]
        products = [number(cells[-1]) for cells in shown[:-1]]  # terms, the rest, the bias
        assert sum(products) == pytest.approx(z, abs=0.02)
        at.click("text=Copy all terms")
        assert at.locator("text=Copied").count() == 1
        largest = np.sort(np.abs(neuron.weights * x.reshape(-1)))[::-1][: len(products) - 2]
        assert np.abs(products[:-2]) == pytest.approx(largest, rel=0.01)


def test_the_slider_moves_everything_to_another_step(browser: Any, pages: dict[str, str], runs: dict[str, Run]) -> None:
    subject = Subject(runs["digits"])
    x = subject.row(int(subject.examples(most=240).rows[0]))
    with opened(browser, pages["digits"]) as at:
        at.focus(".nw-timeline input")
        at.keyboard.press("Home")
        settled(at)
        assert "step 0, before training" in at.inner_text(".nw-step")
        first = subject.recording.at(0).trace(x)
        z = float(first["hidden1"].z[0, seen(at, "store.now.neuron")])
        assert number(at.inner_text(".nw-formula").split("=")[3]) == pytest.approx(z, rel=1e-3)
        at.keyboard.press("End")
        settled(at)
        last = seen(at, "store.now.step")
        assert last == int(subject.recording.keyframes[-1])


def test_a_drawn_digit_gets_the_class_that_python_gives_it(
    browser: Any, pages: dict[str, str], runs: dict[str, Run]
) -> None:
    network = runs["digits"].network
    with opened(browser, pages["digits"]) as at:
        answers = []
        for points in (NOUGHT, ONE):
            at.click("button:text-is('Clear')")
            at.locator("canvas.nw-pad").scroll_into_view_if_needed()
            box = at.locator("canvas.nw-pad").bounding_box()
            at.mouse.move(box["x"] + points[0][0] * box["width"], box["y"] + points[0][1] * box["height"])
            at.mouse.down()
            for u, v in points[1:]:
                at.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])
            at.mouse.up()
            settled(at)
            assert seen(at, "store.now.example") == -1
            pixels = np.array(list(seen(at, "Array.from(model.input(-1))")), np.float32)
            assert pixels.max() > 0.5
            expected = network.predict(pixels)[0]
            shown = np.array(list(seen(at, "Array.from(model.trace(store.now.step, -1).at(-1).a)")))
            assert shown == pytest.approx(expected, abs=1e-5)
            at.click("#nw-tab-answer")
            at.wait_for_function(
                "words => document.querySelector('.nw-panel h2').textContent === words",
                arg=f"The answer: {int(expected.argmax())}",
                timeout=5000,
            )
            answers.append(int(expected.argmax()))
        assert answers[0] == 0


def test_scribble_is_said_to_be_unlike_training(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["digits"]) as at:
        pad = at.locator("canvas.nw-pad")
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        for line in range(4):  # a grid, as no digit is
            for dx, dy in (
                ((0.05, 0.05 + line * 0.3), (0.95, 0.05 + line * 0.3)),
                ((0.05 + line * 0.3, 0.05), (0.05 + line * 0.3, 0.95)),
            ):
                at.mouse.move(box["x"] + dx[0] * box["width"], box["y"] + dx[1] * box["height"])
                at.mouse.down()
                at.mouse.move(box["x"] + dy[0] * box["width"], box["y"] + dy[1] * box["height"], steps=2)
                at.mouse.up()
        settled(at)
        assert "unlike anything seen in training" in at.inner_text(".nw-warnings")


def test_an_edited_house_gets_the_price_that_python_gives_it(
    browser: Any, pages: dict[str, str], runs: dict[str, Run]
) -> None:
    import pandas as pd

    subject = Subject(runs["houses"])
    row = int(subject.examples(most=240).rows[0])
    table = subject.prepared.table
    assert table is not None
    frame = pd.DataFrame([{name: table.cell(row, name) for name in table.column_names}])
    frame["sqft_living"], frame["waterfront"], frame["date"] = "3100", "yes", "2024-05-17"
    expected = float(runs["houses"].predict(frame)[0])
    with opened(browser, pages["houses"]) as at:
        at.get_by_label("sqft_living", exact=True).fill("3100")
        at.get_by_label("waterfront", exact=True).select_option(label="yes")
        at.get_by_label("date", exact=True).fill("2024-05-17")
        settled(at)
        at.click("#nw-tab-answer")
        settled(at)
        assert number(at.inner_text(".nw-panel h2")) == pytest.approx(expected, rel=1e-4)
        at.get_by_label("sqft_living", exact=True).fill("90000")
        settled(at)
        assert "sqft_living: 90,000 is beyond anything seen" in at.inner_text(".nw-warnings")


def test_a_silenced_neuron_moves_the_answer_and_one_click_restores_it(
    browser: Any, pages: dict[str, str], runs: dict[str, Run]
) -> None:
    with opened(browser, pages["digits"]) as at:
        before = list(seen(at, "Array.from(model.trace(store.now.step, store.now.example).at(-1).a)"))
        neuron = seen(at, "store.now.neuron")
        at.click("text=Silence it")
        settled(at)
        assert "1 neuron silenced by hand" in at.inner_text(".nw-changes")
        network = runs["digits"].network.copy()
        network["hidden2"].W[:, neuron] = 0.0
        x = Subject(runs["digits"]).row(int(Subject(runs["digits"]).examples(most=240).rows[0]))
        expected = network.predict(x)[0]
        assert list(seen(at, "Array.from(model.trace(store.now.step, store.now.example).at(-1).a)")) == pytest.approx(
            expected, abs=1e-5
        )
        at.click("text=Restore the network")
        settled(at)
        assert list(seen(at, "Array.from(model.trace(store.now.step, store.now.example).at(-1).a)")) == before


def test_one_journey_by_keyboard_alone(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["digits"]) as at:
        at.keyboard.press("n")
        settled(at)
        assert "(2 of 240)" in at.inner_text(".nw-place")
        at.keyboard.press("p")
        for _ in range(40):
            at.keyboard.press("Tab")
            if at.evaluate("document.activeElement.className") == "nw-network":
                break
        assert at.evaluate("document.activeElement.className") == "nw-network"
        at.keyboard.press("ArrowRight")
        for _ in range(20):
            at.keyboard.press("ArrowUp")  # the first one is as far as it goes
        at.keyboard.press("ArrowDown")
        at.keyboard.press("ArrowDown")
        at.keyboard.press("Enter")
        settled(at)
        assert at.evaluate("document.activeElement.textContent") == "hidden2[2]"
        at.keyboard.press("Escape")
        settled(at)
        assert at.evaluate("document.activeElement.className") == "nw-network"
        at.keyboard.press("Home")
        settled(at)
        assert "step 0" in at.inner_text(".nw-step")
        at.keyboard.press("n")
        settled(at)
        assert "(2 of 240)" in at.inner_text(".nw-place")
        at.keyboard.press("?")
        assert "Page Up, Page Down" in at.inner_text(".nw-help")
        at.focus("canvas.nw-pad")
        at.keyboard.press(" ")
        for _ in range(5):
            at.keyboard.press("ArrowDown")
        settled(at)
        assert at.inner_text(".nw-place") == "yours"


def test_the_tour_has_eight_stops_and_ends(browser: Any, pages: dict[str, str]) -> None:
    for name in pages:
        with opened(browser, pages[name]) as at:
            at.click("text=Guided tour")
            for stop in range(1, 9):
                assert at.inner_text(".nw-tour h3").startswith(f"{stop} of 8: ")
                settled(at)
                at.keyboard.press("Enter")  # the button that goes on has the focus
            assert at.inner_text(".nw-tour") == ""
            assert "step 0" in at.inner_text(".nw-step")


def test_keys_do_not_leave_the_page_element(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["digits"]) as at:
        at.evaluate(
            "() => { window.heard = []; document.body.addEventListener('keydown', (e) => window.heard.push(e.key)); }"
        )
        at.focus("canvas.nw-network")
        for key in ("b", "ArrowDown", "Enter", " "):
            at.keyboard.press(key)
        assert at.evaluate("() => window.heard") == []


@pytest.mark.parametrize("width", [1400, 800, 380, 340])
def test_nothing_is_wider_than_the_page(browser: Any, pages: dict[str, str], width: int) -> None:
    for name in pages:
        with opened(browser, pages[name], width=width, color_scheme="dark") as at:
            for tab in ("neuron", "layer", "answer", "about"):
                at.click(f"#nw-tab-{tab}")
                settled(at)
                assert at.evaluate("document.documentElement.scrollWidth") <= width, (name, tab)


def test_hostile_names_do_nothing_and_are_seen(browser: Any, tmp_path: Path) -> None:
    network = Network.dense([len(HOSTILE), 3, len(HOSTILE)], input_names=list(HOSTILE), class_names=list(HOSTILE))
    payload = build_payload(network, Meaning.of(network), run={"name": HOSTILE[0], "id": HOSTILE[1]})
    path = tmp_path / "hostile.html"
    path.write_text(page(payload, title=HOSTILE[0]), encoding="utf-8")
    with opened(browser, path.as_uri()) as at:
        assert at.inner_text("h1") == HOSTILE[0]
        for tab in ("neuron", "layer", "answer", "about"):
            at.click(f"#nw-tab-{tab}")
            settled(at)
        at.click("#nw-tab-answer")
        settled(at)
        text = at.inner_text(".nw-panel")
        assert "__proto__" in text
        assert "a⟨U+202E⟩b" in text
        assert "⟨U+001B⟩[31mred" in text
        assert "(10,000 characters)" in text
        assert at.locator("img").count() == 0
        assert at.evaluate("document.documentElement.scrollWidth") <= 1400


def test_a_page_of_broken_data_says_so(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "broken.html"
    path.write_text(page({"format": "other"}, title="broken"), encoding="utf-8")
    context = browser.new_context()
    at = context.new_page()
    at.goto(path.as_uri())
    assert "this is no data of the inspector" in at.inner_text(".nw-failed")
    context.close()


def test_values_that_are_not_finite_have_marks_and_words(browser: Any, tmp_path: Path) -> None:
    network = Network.dense([4, 6, 3], output="softmax")
    network["hidden1"].W[2, 1] = np.nan
    network["hidden1"].b[3] = np.inf
    path = tmp_path / "odd.html"
    path.write_text(
        page(build_payload(network, Meaning.of(network), run={"name": "odd"}), title="odd"), encoding="utf-8"
    )
    with opened(browser, path.as_uri()) as at:
        open_neuron(at, "hidden1", 2)
        assert "NaN" in at.inner_text(".nw-formula")
        for tab in ("layer", "answer"):
            at.click(f"#nw-tab-{tab}")
            settled(at)


def test_a_price_is_seen_beside_what_is_usual_not_always_as_the_largest_of_all(
    browser: Any, pages: dict[str, str]
) -> None:
    with opened(browser, pages["houses"]) as at:
        shown = float(at.locator(".nw-legend").last.locator("b").last.inner_text())
        largest = at.evaluate(
            """() => { const { model, store } = document.getElementById("neuronwise").neuronwise;
               const trace = model.trace(store.now.step, store.now.example);
               return Math.max(2.5, ...trace.slice(0, -1).flatMap(({ a }) => [...a])); }"""
        )
        assert shown == pytest.approx(largest, rel=0.01)  # prices were scaled to a spread of 1


def test_the_answer_names_what_it_is_of(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["houses"]) as at:
        at.click("#nw-tab-answer")
        settled(at)
        assert re.fullmatch(r"The answer: price [\d,]+", at.inner_text(".nw-panel h2"))
        assert at.inner_text(".nw-panel .nw-lead").startswith("Right is ")
