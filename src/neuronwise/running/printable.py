"""Text of others (names, cells, messages of libraries) on the user's terminal: shown, never obeyed."""

from __future__ import annotations

import unicodedata

from neuronwise.running.terminal import without_markup


def printable(text: str, *, one_line: bool = False) -> str:
    """Return text with control and direction characters shown as escapes, so that data cannot steer a terminal.

    Args:
        text: Any text.
        one_line: Show line ends as escapes too; a name is one line.
    """
    return "".join(c if _is_harmless(c) or (c == "\n" and not one_line) else _escape(c) for c in text)


def escape(text: str) -> str:
    """Return a name or sentence for rich: on one line, without control characters and markup."""
    return without_markup(printable(text, one_line=True))


def _is_harmless(character: str) -> bool:
    # The spaces of other scripts are no control characters, though Python calls them not printable.
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
