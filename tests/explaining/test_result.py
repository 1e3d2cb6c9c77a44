"""What every explanation offers: text, JSON, HTML, files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import UsageError
from neuronwise.explaining import Block, Explanation, Table
from neuronwise.explaining.figures import new_figure, signed_bars


@dataclass(frozen=True)
class Made(Explanation):
    title: str
    values: Any
    drawn: bool = True

    def blocks(self) -> list[Block]:
        return [self.title, Table(("of", "value"), (("<b>bold</b>", "1"), ("longer name", "20")), title="values")]

    def figure(self) -> Any:
        if not self.drawn:
            return None
        figure = new_figure(3, 2)
        signed_bars(figure.add_subplot(), ["price $5 $6", "b"], [1.0, -2.0], title="$x$", label="contribution")
        return figure


def test_json_has_words_for_what_json_lacks() -> None:
    made = Made("one", np.array([1.0, np.nan, np.inf, -np.inf], np.float32))
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False)) == {
        "title": "one",
        "values": [1.0, "NaN", "Infinity", "-Infinity"],
        "drawn": True,
    }


def test_text_aligns_the_columns() -> None:
    assert str(Made("one", 1)).splitlines() == [
        "one",
        "values",
        "  of           value",
        "  <b>bold</b>      1",
        "  longer name     20",
    ]


def test_columns_of_words_stand_to_the_left() -> None:
    made = Made("one", 1)
    table = Table(("of", "value", "why"), (("a", "1", "so"), ("b", "20", "because")), left=(0, 2))
    object.__setattr__(made, "blocks", lambda: ["one", table])
    assert str(made).splitlines()[1:] == ["  of  value  why", "  a       1  so", "  b      20  because"]
    sides = re.findall("<td style='text-align: (left|right);", made._repr_html_())
    assert sides == ["left", "right", "left"] * 2


def test_a_line_to_type_keeps_its_letters_together() -> None:
    made = Made("one", 1)
    object.__setattr__(made, "blocks", lambda: ["one", "    neuronwise train <x>"])
    assert re.search("<pre [^>]*><code>neuronwise train &lt;x&gt;</code></pre>", made._repr_html_())


def test_html_escapes_every_word_and_loads_nothing() -> None:
    page = Made('<script>alert("x")</script>', 1)._repr_html_()
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "http" not in page
    assert "src='data:image/png;base64," in page


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.html", b"<!doctype html>"), ("a.json", b"{"), ("a.txt", b"one")],
)
def test_files_are_what_their_ending_says(tmp_path: Any, name: str, start: bytes) -> None:
    path = Made("one", 1).save(tmp_path / name)
    assert path.read_bytes().startswith(start)


def test_a_picture_of_what_has_none_is_refused(tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="no picture of Made"):
        Made("one", 1, drawn=False).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"the ending says what is written.*'a\.gif'"):
        Made("one", 1).save(tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())
