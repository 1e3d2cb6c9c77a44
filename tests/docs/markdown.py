"""Pages of Markdown as the blocks that can be run, and output compared with what a page shows.

What a comment directly above a block says:

- ``<!-- varies -->``: numbers in the shown output may differ (a training on another machine).
- ``<!-- exit 2 -->``: the command ends with this code.
- ``<!-- full: why -->``: run by `make test-full` only.
- ``<!-- needs mnist -->``: as full, and skipped where MNIST is absent.
- ``<!-- file conv.json -->``: the block is the content of a file, which is written beside the others.
- ``<!-- not run: why -->``: never run.

In shown output "…" stands for anything, also for lines left out. White space counts as one space.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^(`{3,})(\w*)[^\n]*\n(.*?)^\1 *$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--\s*(varies|exit \d+|full|needs \w+|file [\w.]+|not run)\b(?::[^>]*)?\s*-->\s*\Z")
_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_TERM = rf"\S[^\n×]*[ ]+{_NUMBER} ×\s+{_NUMBER} =\s+{_NUMBER}(?=\n)"
_ONE = re.compile(
    rf"(?P<gap>\s*…\s*)|(?P<term>\n +{_TERM})|(?P<space>\s+)|(?P<course>[▁▂▃▄▅▆▇█]{{2,}})|(?P<id>\b[0-9a-f]{{32}}\b)"
    rf"|(?P<number>(?<![\w.=])(?<!\w\[){_NUMBER}(?!\w))|(?P<other>.)",
    re.DOTALL,
)
# What may differ beside numbers: a sparkline, an id, and the terms of a neuron's sum, which stand in order of size.
_VARYING = {"course": r"[▁▂▃▄▅▆▇█]+", "id": r"[0-9a-f]{32}", "term": rf"\s+{_TERM}"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it holds, the line of its first line, and the marks above it."""

    page: Path
    line: int
    language: str
    text: str
    marks: tuple[str, ...]

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def varies(self) -> bool:
        """Whether numbers in its output may differ."""
        return "varies" in self.marks

    @property
    def file(self) -> str | None:
        """The file whose content it is, or None."""
        return next((mark.split()[1] for mark in self.marks if mark.startswith("file ")), None)

    @property
    def exit_code(self) -> int:
        """The exit code that its commands must have."""
        return next((int(mark.split()[1]) for mark in self.marks if mark.startswith("exit ")), 0)


@dataclass(frozen=True)
class Command:
    """A line to type, and the output shown below it."""

    line: str
    shown: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        above, marks = text[: match.start()], []
        while comment := _COMMENT.search(above):
            marks.append(comment[1])
            above = above[: comment.start()]
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(page, line, match[2], match[3], tuple(marks)))
    return found


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block; without any prompt every line is one."""
    lines = block.text.splitlines()
    if not any(line.startswith("$ ") for line in lines):
        return [Command(line, "") for line in lines if line.strip()]
    found: list[Command] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif found and found[-1].line.endswith("\\"):
            found[-1] = Command(found[-1].line[:-1].rstrip() + " " + line.lstrip("> "), "")
        elif found:
            found[-1] = Command(found[-1].line, found[-1].shown + line + "\n")
    return found


def difference(shown: str, actual: str, *, varies: bool = False) -> str | None:
    """Return how the actual output differs from the shown one, None if it does not."""
    pattern: list[str] = []
    numbers: list[str] = []
    for match in _ONE.finditer(shown.strip()):
        _add(match, pattern, numbers, varies=varies)
    found = re.fullmatch("".join(pattern), actual.strip())
    if found is None:
        return f"shown:\n{shown.strip()}\n\nactual:\n{actual.strip()}"
    for expected, number in zip(numbers, found.groups(), strict=True):
        if not varies and not _close(expected, number):
            return f"{expected} is shown, {number} is the actual one, in:\n{actual.strip()}"
    return None


def _add(match: re.Match[str], pattern: list[str], numbers: list[str], *, varies: bool) -> None:
    kind, text = str(match.lastgroup), match[0]
    if kind == "gap":
        pattern.append(r"[\s\S]*?")
    elif kind in _VARYING and varies:
        pattern.append(_VARYING[kind])
    elif kind == "term":  # its parts, one by one
        pattern.append(r"\s+")
        for part in _ONE.finditer(text.lstrip()):
            _add(part, pattern, numbers, varies=False)
    elif kind == "space":
        pattern.append(r"\s+")
    elif kind == "number":
        numbers.append(text)
        pattern.append(f"({_NUMBER})")
    else:
        pattern.append(re.escape(text))


def _close(shown: str, actual: str) -> bool:
    """Return whether two numbers are the same: whole ones exactly, others but for the last digits of a sum."""
    a, b = float(shown.replace(",", "")), float(actual.replace(",", ""))
    return a == b if shown.replace(",", "").isdigit() else math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-6)
