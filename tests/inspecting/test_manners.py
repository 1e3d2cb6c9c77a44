"""How the page behaves: on paper, at 400 % zoom, without motion, by keys, and for who hears it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neuronwise.explaining import Meaning
from neuronwise.inspecting import build_payload, page
from neuronwise.network import Network
from neuronwise.running import Run
from neuronwise.running.inspector import write_inspector

from .browser import opened, settled

SET = "document.getElementById('neuronwise').neuronwise.store.set"


@pytest.mark.parametrize("name", ["digits", "houses"])
def test_at_400_percent_everything_is_in_one_column(browser: Any, pages: dict[str, str], name: str) -> None:
    with opened(browser, pages[name], width=320) as at:  # 1280 pixels at 400 %
        at.set_viewport_size({"width": 320, "height": 256})
        at.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        for tab in at.locator("[role='tab']").all():
            tab.click()
            settled(at)
            assert at.evaluate("document.documentElement.scrollWidth") <= 320
        assert at.evaluate("getComputedStyle(document.querySelector('.nw-footer')).position") == "static"
        at.click("text=Guided tour")
        settled(at)
        box = at.locator(".nw-tour").bounding_box()
        assert box["height"] <= 256 / 2  # what it speaks of is still seen


def test_what_has_the_focus_is_seen(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["digits"]) as at:
        seen = set()
        for _ in range(60):
            at.keyboard.press("Tab")
            style = at.evaluate(
                """() => { const one = document.activeElement;
                   const { outlineStyle, outlineWidth } = getComputedStyle(one);
                   return { what: `${one.tagName}.${one.className}`, kind: outlineStyle, width: outlineWidth }; }"""
            )
            if style["what"] in ("BODY.", "DIV.nw-root"):
                break
            assert style["kind"] == "solid", style
            assert float(style["width"].removesuffix("px")) >= 2, style
            seen.add(style["what"].split(".")[0])
        assert {"BUTTON", "SELECT", "CANVAS", "INPUT", "SUMMARY"} <= seen


def test_one_line_speaks_and_not_too_often(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["digits"]) as at:
        for tab in at.locator("[role='tab']").all():
            tab.click()
            settled(at)
            assert at.locator("[aria-live], [role='status'], [role='alert'], [role='log']").count() == 1
        at.wait_for_timeout(900)
        at.evaluate(
            """() => { const line = document.querySelector('[aria-live]'); window.said = [];
               new MutationObserver(() => window.said.push(line.textContent))
               .observe(line, { childList: true, characterData: true, subtree: true }); }"""
        )
        at.focus(".nw-timeline input")
        at.keyboard.press("Home")
        for _ in range(8):
            at.keyboard.press("ArrowRight")
        at.wait_for_timeout(1600)
        said = at.evaluate("window.said")
        assert 1 <= len(said) <= 4  # not nine
        assert said[-1].startswith("Step ")
        assert " has activation " in said[-1]
        assert "; the answer is " in said[-1]


def test_on_paper_it_is_light_and_nothing_floats(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["digits"], color_scheme="dark") as at:
        assert at.evaluate("document.getElementById('neuronwise').dataset.theme") == "dark"
        at.emulate_media(media="print", color_scheme="dark")
        settled(at)
        assert at.evaluate("document.getElementById('neuronwise').dataset.theme") == "light"
        assert at.evaluate("getComputedStyle(document.querySelector('.nw-footer')).position") == "static"
        assert (
            at.evaluate("getComputedStyle(document.querySelector('.nw-root')).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert len(at.pdf()) > 20_000
        at.emulate_media(media="screen", color_scheme="dark")
        settled(at)
        assert at.evaluate("document.getElementById('neuronwise').dataset.theme") == "dark"


def test_on_paper_the_picture_fits_bars_have_their_colours_and_nothing_to_click_is_left(
    browser: Any, pages: dict[str, str]
) -> None:
    with opened(browser, pages["houses"]) as at:
        at.click("#nw-tab-answer")
        at.emulate_media(media="print")
        settled(at)
        style = "getComputedStyle(document.querySelector('{}')).{}"
        # Paper is narrower than the window that the picture was drawn for, and it is not drawn anew for paper.
        at.evaluate("document.querySelector('.nw-canvasframe').style.width = '400px'")
        box = at.evaluate(
            "(() => { const { width, height } = document.querySelector('canvas.nw-network').getBoundingClientRect();"
            " const { width: w, height: h } = document.querySelector('canvas.nw-network');"
            " return [width, height / width - h / w]; })()"
        )
        assert box[0] <= 400
        assert abs(box[1]) < 0.01
        assert at.evaluate(style.format(".nw-fill", "printColorAdjust")) == "exact"
        for gone in (".nw-play", ".nw-timeline input", ".nw-picker select", "#nw-tab-about", "text=Guided tour"):
            assert not at.locator(gone).first.is_visible(), gone
        assert at.locator("#nw-tab-answer").is_visible()


def test_what_is_drawn_on_a_canvas_is_not_taken_away_again(browser: Any, tmp_path: Path) -> None:
    # On paper Chromium carries out what was drawn, and clearing a part takes away all of the paper before it.
    network = Network.dense([3, 100, 2], output="softmax")
    payload = build_payload(network, Meaning.of(network), run={"name": "wide"})
    (tmp_path / "wide.html").write_text(page(payload, title="wide"), encoding="utf-8")
    with opened(browser, (tmp_path / "wide.html").as_uri()) as at:
        at.evaluate(
            """() => { window.cleared = []; const { prototype } = CanvasRenderingContext2D;
                 const before = prototype.clearRect;
                 prototype.clearRect = function (x, y, ...size) {
                   window.cleared.push([x, y]); before.call(this, x, y, ...size); }; }"""
        )
        at.get_by_label("Light or dark").click()
        settled(at)
        cleared = at.evaluate("window.cleared")
        assert cleared
        assert {tuple(place) for place in cleared} == {(0, 0)}


@pytest.mark.parametrize(("name", "width"), [("digits", 1400), ("houses", 380)])
def test_what_the_tour_speaks_of_is_seen_between_its_words_and_the_time(
    browser: Any, pages: dict[str, str], name: str, width: int
) -> None:
    with opened(browser, pages[name], width=width, reduced_motion="reduce") as at:
        at.click("text=Guided tour")
        for stop in range(1, 8):
            settled(at)
            at.wait_for_selector(".nw-spot")
            spot, tour, time = (at.locator(one).bounding_box() for one in (".nw-spot", ".nw-tour", ".nw-footer"))
            assert spot["y"] >= tour["y"] + tour["height"] - 1, stop
            room = time["y"] - tour["y"] - tour["height"]
            seen = min(time["y"], spot["y"] + spot["height"]) - spot["y"]
            assert seen >= min(spot["height"], room - 40) - 1, stop
            at.keyboard.press("Enter")


def test_the_theme_follows_the_system_and_a_click(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["houses"], color_scheme="light") as at:
        theme = "document.getElementById('neuronwise').dataset.theme"
        assert at.evaluate(theme) == "light"
        at.emulate_media(color_scheme="dark")
        settled(at)
        assert at.evaluate(theme) == "dark"
        at.get_by_label("Light or dark").click()
        assert at.evaluate(theme) == "light"


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_without_motion_a_picture_is_drawn_once(browser: Any, pages: dict[str, str], motion: str) -> None:
    with opened(browser, pages["digits"], reduced_motion=motion) as at:
        settled(at)
        at.evaluate(
            """() => { window.frames = 0; const ask = window.requestAnimationFrame;
               window.requestAnimationFrame = (f) => { window.frames += 1; return ask(f); }; }"""
        )
        at.keyboard.press("n")
        at.wait_for_timeout(900)
        frames = at.evaluate("window.frames")
        assert frames <= 2 if motion == "reduce" else frames > 4


def test_what_was_typed_or_opened_stays_when_the_page_is_drawn_anew(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["digits"]) as at:
        at.locator(".nw-edit").first.focus()
        name = at.evaluate("document.activeElement.dataset.key")
        at.click("text=Its past as a table")
        at.locator(f"[data-key='{name}']").focus()
        at.evaluate(f"() => {SET}({{ step: document.getElementById('neuronwise').neuronwise.model.steps[1] }})")
        at.wait_for_timeout(500)
        assert at.evaluate("document.activeElement.dataset.key") == name
        assert at.locator(".nw-panel details[open]").count() == 1


def test_a_weight_is_changed_where_it_stands_and_restored(
    browser: Any, pages: dict[str, str], runs: dict[str, Run]
) -> None:
    with opened(browser, pages["digits"]) as at:
        key = at.locator(".nw-edit").first.get_attribute("data-key")
        place = int(key.split()[1])
        shown = "Array.from(model.trace(store.now.step, store.now.example).at(-1).a)"
        ask = (
            f"() => {{ const {{ model, store }} = document.getElementById('neuronwise').neuronwise; return {shown}; }}"
        )
        before = at.evaluate(ask)
        at.locator(f"[data-key='{key}']").click()
        at.keyboard.type("9.5")
        at.keyboard.press("Escape")
        assert at.evaluate(ask) == before
        at.locator(f"[data-key='{key}']").press("Enter")
        at.keyboard.type("9.5")
        at.keyboard.press("Enter")
        settled(at)
        assert at.evaluate("document.activeElement.dataset.key") == key
        assert "1 weight or bias changed by hand." in at.inner_text(".nw-changes")
        network = runs["digits"].network.copy()
        network.parameters[place] = 9.5
        x = at.evaluate("() => Array.from(document.getElementById('neuronwise').neuronwise.model.input(0))")
        assert at.evaluate(ask) == pytest.approx(network.predict([x])[0], abs=1e-5)
        assert "neurons moved, most:" in at.inner_text(".nw-changes")
        at.keyboard.press("r")
        at.wait_for_function("() => document.querySelector('.nw-changes').textContent === ''")
        assert at.evaluate(ask) == before


def test_a_finger_draws_too(browser: Any, pages: dict[str, str], runs: dict[str, Run]) -> None:
    with opened(browser, pages["digits"], has_touch=True, width=800) as at:
        at.tap("summary:text-is('Draw your own')")
        pad = at.locator("canvas.nw-pad")
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        touch = at.context.new_cdp_session(at)
        places = [
            {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] * (0.1 + 0.08 * k)} for k in range(11)
        ]
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [places[0]]})
        for place in places[1:]:
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [place]})
        # In motion still: what comes next must not be taken for the tap that stops a fling.
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        at.wait_for_function("() => document.querySelector('.nw-place').textContent === 'yours'")
        settled(at)
        pixels = at.evaluate("() => Array.from(document.getElementById('neuronwise').neuronwise.model.input(-1))")
        assert max(pixels) > 0.5
        expected = int(runs["digits"].network.predict([pixels])[0].argmax())
        at.tap("#nw-tab-answer")
        at.wait_for_function(
            "words => document.querySelector('.nw-panel h2').textContent === words", arg=f"The answer: {expected}"
        )


def test_states_that_are_empty_or_failed_say_what_to_do(browser: Any, runs: dict[str, Run], tmp_path: Path) -> None:
    write_inspector(runs["houses"], tmp_path / "redacted.html", redact=True)
    with opened(browser, (tmp_path / "redacted.html").as_uri()) as at:
        assert "Make an input of your own" in at.inner_text(".nw-input")
    text = (tmp_path / "redacted.html").read_text(encoding="utf-8").replace("neuronwise-inspector", "something", 1)
    (tmp_path / "broken.html").write_text(text, encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "broken.html").as_uri())
    assert "Write the page again: neuronwise export RUN --html FILE" in page.inner_text("body")
    context.close()
