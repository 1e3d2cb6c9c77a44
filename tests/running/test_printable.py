"""Text of others on the user's terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from neuronwise.running.printable import escape, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("price", "price"),
        ("größe 面积 1\u00a0234", "größe 面积 1\u00a0234"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x07\x08\x9b\x7f", "a\\x07\\x08\\x9b\\x7f"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("a\r\tb", "a\\r\\tb"),
        ("two\nlines", "two\nlines"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_name_is_one_line() -> None:
    assert printable("two\nlines", one_line=True) == "two\\nlines"
    assert escape("two\nlines") == "two\\nlines"


@given(st.text())
def test_whatever_is_printed_by_rich_steers_nothing_and_keeps_its_words(text: str) -> None:
    out = io.StringIO()
    Console(file=out, width=100_000, force_terminal=False).print(
        escape(text), highlight=False, emoji=False, soft_wrap=True
    )
    shown = out.getvalue().removesuffix("\n")
    assert all(c.isprintable() or c.isspace() for c in shown)
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert shown == printable(text, one_line=True)


def test_markup_of_rich_in_a_name_is_text() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(escape("[bold]x[/bold] [link=https://example.org]y[/link] :smile:"))
    assert "[bold]x[/bold] [link=https://example.org]y[/link]" in out.getvalue()
