"""What an explanation is made of: sentences and tables, told as text, HTML or in a terminal, and a picture."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.errors import UsageError
from neuronwise.explaining.figures import figure_bytes
from neuronwise.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".html", ".json", ".txt")
"""Endings of the files that `Explanation.save` writes."""


@dataclass(frozen=True)
class Table:
    """Rows of words: names and sentences stand to the left, numbers to the right.

    Attributes:
        headings: One word or more over each column.
        rows: As many words each as there are headings.
        title: A line above; ``""`` for none.
        left: Places of the columns that stand to the left.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    left: tuple[int, ...] = (0,)


# Words of a table that are so short stand on one line, however narrow the page: × 1.83.
_UNBROKEN = 14
TYPED = "    "
"""What a block begins with that is a line to type."""

_CODE = (
    "margin: 0.4em 0; padding: 0.5em 0.8em; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; "
    "border-radius: 6px; background: rgba(127, 127, 127, 0.15)"
)

Block = str | Table


class Explanation(ABC):
    """A result that says the same as words, numbers, HTML and, where looking is better, as a picture.

    Subclasses are frozen dataclasses; their fields are the numbers.
    """

    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """Return what is to be said: sentences and tables, in order. The first sentence is the headline.

        One that begins with four spaces is a line to type.
        """

    def figure(self) -> Figure | None:
        """Return a picture (matplotlib, not shown anywhere yet); None where looking would not be better."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as JSON's types; NaN and infinity, which JSON lacks, as ``"NaN"``, ``"Infinity"``."""
        return {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def save(self, path: str | Path) -> Path:
        """Write the explanation, as its ending says: a picture (.png, .svg), a page (.html), .json or .txt.

        Raises:
            UsageError: Another ending, or a picture of what has none.
            OSError: The file cannot be written.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending not in ENDINGS:
            raise UsageError(
                f"the ending says what is written: {', '.join(ENDINGS)}, got {path.name!r:.100}", where="argument path"
            )
        write_atomically(path, self._content(ending))
        return path

    def _content(self, ending: str) -> str | bytes:
        if ending == ".json":
            return json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n"
        if ending == ".txt":
            return f"{self}\n"
        if ending == ".html":
            title = html.escape(next((block for block in self.blocks() if isinstance(block, str)), "Neuronwise"))
            return (
                f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
                '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
                '<meta name="color-scheme" content="light dark">\n'
                "<body style='margin: 1.5em auto; max-width: 60em; padding: 0 1em'>"
                f"{self._repr_html_()}</body></html>\n"
            )
        figure = self.figure()
        if figure is None:
            raise UsageError(
                f"there is no picture of {type(self).__name__}", where="argument path", hint="write .html or .json"
            )
        return figure_bytes(figure, ending[1:])

    def _repr_html_(self) -> str:
        """Return the page's part for notebooks: every string escaped, nothing loaded from elsewhere, no script."""
        parts = ["<div style='font: 14px/1.5 system-ui, sans-serif'>"]
        for place, block in enumerate(self.blocks()):
            if isinstance(block, Table):
                parts.append(_html_table(block))
            elif block.startswith(TYPED):
                parts.append(f"<pre style='{_CODE}'><code>{html.escape(block.strip())}</code></pre>")
            else:
                tag = "h3" if place == 0 else "p"
                parts.append(f"<{tag} style='margin: 0.4em 0; white-space: pre-wrap'>{html.escape(block)}</{tag}>")
        if (figure := self.figure()) is not None:
            encoded = base64.b64encode(figure_bytes(figure, "png")).decode("ascii")
            words = html.escape(str(self.blocks()[0]) if self.blocks() else type(self).__name__, quote=True)
            parts.append(
                f"<img alt='{words}' style='max-width: 100%; background: white' src='data:image/png;base64,{encoded}'>"
            )
        return "\n".join([*parts, "</div>"])

    def __str__(self) -> str:
        return "\n".join(_text_table(block) if isinstance(block, Table) else block for block in self.blocks())


def plain(value: Any) -> Any:
    """Return a value as JSON's types: arrays as lists, dataclasses as dicts, NaN and infinity as words."""
    if isinstance(value, Explanation):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _html_table(table: Table) -> str:
    def cell(tag: str, words: str, place: int) -> str:
        side = "left" if place in table.left else "right"
        style = f"text-align: {side}; padding: 0.1em 0.8em 0.1em 0; vertical-align: top"
        style += "; font-variant-numeric: tabular-nums"
        if place and len(words) <= _UNBROKEN:
            style += "; white-space: nowrap"
        elif place:
            style += "; overflow-wrap: anywhere; min-width: 7em"
        return f"<{tag} style='{style}'>{html.escape(words)}</{tag}>"

    head = "".join(cell("th", words, place) for place, words in enumerate(table.headings))
    rows = ["".join(cell("td", words, place) for place, words in enumerate(row)) for row in table.rows]
    caption = f"<caption style='text-align: left'>{html.escape(table.title)}</caption>" if table.title else ""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        "<div style='overflow-x: auto'><table style='border-collapse: collapse; margin: 0.4em 0'>"
        f"{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _text_table(table: Table) -> str:
    every = [table.headings, *table.rows]
    widths = [max(len(row[place]) for row in every) for place in range(len(table.headings))]
    lines = [
        "  " + "  ".join(
            words.ljust(width) if place in table.left else words.rjust(width)
            for place, (words, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in every
    ]  # fmt: skip
    return "\n".join([*([table.title] if table.title else []), *lines])
