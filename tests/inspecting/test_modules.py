"""The front end's modules: pure ones run by node, and what all of them must and must not hold."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import neuronwise.inspecting
from neuronwise.inspecting.page import MODULES, joined_script, module_source
from neuronwise.running import Run
from neuronwise.running.subject import Subject

from .vectors import write_vectors

STATIC = Path(neuronwise.inspecting.__file__).parent / "static"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed: the front end's pure modules are not run")

# What could read a text as HTML or as a program, or reach another place.
FORBIDDEN = {
    "innerHTML": r"\binnerHTML\b",
    "outerHTML": r"\bouterHTML\b",
    "insertAdjacentHTML": r"\binsertAdjacentHTML\b",
    "document.write": r"\bdocument\s*\.\s*write",
    "createContextualFragment": r"\bcreateContextualFragment\b",
    "DOMParser": r"\bDOMParser\b",
    "srcdoc": r"\bsrcdoc\b",
    "eval": r"\beval\s*\(",
    "Function": r"\bnew\s+Function\b|\bFunction\s*\(",
    "text as a timer": r"\bset(?:Timeout|Interval)\s*\(\s*[\"'`]",
    "an inline handler": r"[\"'`\s{,]on(?:click|error|load|input|change|key\w+|pointer\w+|mouse\w+)[\"'`]?\s*[:=]",
    "storage": r"\b(?:local|session)Storage\b",
    "another address": r"https?://(?!www\.w3\.org/2000/svg)",
}


def test_pure_modules_pass_their_tests_in_node(runs: dict[str, Run], tmp_path: Path) -> None:
    if NODE is None:
        pytest.skip("node is not installed: the front end's pure modules are not run")
    subject = Subject(runs["digits"])
    found = subject.examples(most=40)
    write_vectors(tmp_path / "vectors.json", subject.network, subject.meaning, found.X, found.y)
    done = subprocess.run(
        [NODE, "--test", str(Path(__file__).parent / "js" / "pure.test.mjs")],
        env={
            **os.environ,
            "NEURONWISE_STATIC": str(STATIC) + "/",
            "NEURONWISE_VECTORS": str(tmp_path / "vectors.json"),
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    failed = re.split(r"\n(?=not ok )", done.stdout)[1:]  # each with its reason
    assert done.returncode == 0, "\n".join(one[:1500] for one in failed[:5]) + done.stderr[-2000:]


@needs_node
def test_the_joined_script_is_one_valid_module(tmp_path: Path) -> None:
    path = tmp_path / "joined.mjs"
    path.write_text(joined_script(), encoding="utf-8")
    done = subprocess.run([str(NODE), "--check", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr  # a name that two modules give is a syntax error here


def test_every_module_is_joined_and_nothing_of_imports_or_exports_is_left() -> None:
    assert {path.stem for path in STATIC.glob("*.js")} == set(MODULES)
    assert not re.search(r"^\s*(?:import|export)\b", joined_script(), re.MULTILINE)


def test_a_module_uses_only_those_before_it() -> None:
    for place, name in enumerate(MODULES):
        used = re.findall(r'^import \{[^}]*\} from "\./(\w+)\.js";$', module_source(name), re.MULTILINE)
        assert len(used) == len(re.findall(r"^import\b", module_source(name), re.MULTILINE)), name
        assert " as " not in "".join(re.findall(r"^import \{[^}]*\}", module_source(name), re.MULTILINE)), name
        assert set(used) <= set(MODULES[:place]), name


@pytest.mark.parametrize("name", MODULES)
def test_no_text_is_ever_read_as_html_or_as_a_program(name: str) -> None:
    source = module_source(name)
    found = [what for what, pattern in FORBIDDEN.items() if re.search(pattern, source)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["el.innerHTML = x", "eval(x)", 'h("a", { onclick: run })', 'setTimeout("x()", 1)', "new Function(x)",
     "localStorage.x", 'fetch("https://example.org")', "document.write(x)",
     'el.setAttribute("onerror", x) // "onerror" ='],
)  # fmt: skip
def test_that_guard_can_fail(line: str) -> None:
    assert any(re.search(pattern, line) for pattern in FORBIDDEN.values())


def _contrast(one: str, other: str) -> float:
    """Return the ratio of WCAG 2.2 between two colours, #rrggbb or #rgb."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_is_read_and_every_focus_seen(theme: str) -> None:
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r"^\.nw-root(?:\[data-theme=\"dark\"\])? \{([^}]*)\}", style, re.MULTILINE)
    light, dark = (dict(re.findall(r"--(\w+): (#\w+)", one)) for one in blocks[:2])
    colours = light if theme == "light" else light | dark
    for text, ground in (("ink", "card"), ("ink", "ground"), ("quiet", "card"), ("quiet", "ground"), ("card", "ink"),
                         ("positive", "card"), ("positive", "ground"), ("bad", "card"),
                         ("warn", "warnground")):  # fmt: skip
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for mark, ground in (("focus", "card"), ("focus", "ground"), ("negative", "card")):
        assert _contrast(colours[mark], colours[ground]) >= 3.0, (mark, ground)
    assert _contrast("#777777", "#ffffff") < 4.5  # it can fail


def test_numbers_travel_bit_by_bit() -> None:
    from neuronwise.inspecting.blobs import blob, blob_bytes, inert_json

    values = np.array([1.5, -0.0, np.nan, np.inf, 1e-40], np.float32)
    packed = blob(values, "float32")
    assert len(packed["data"]) == blob_bytes(5, "float32")
    with pytest.raises(ValueError, match="a page cannot carry complex64"):
        blob(values, "complex64")
    assert (
        inert_json({"a": "</script><!--\u2028\ud800"}) == '{"a":"\\u003c/script>\\u003c!--\\u2028\ufffd\ufffd\ufffd"}'
    )
    with pytest.raises(ValueError, match="Out of range"):
        inert_json([float("nan")])
