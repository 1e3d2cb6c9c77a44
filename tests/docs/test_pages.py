"""Every block of code and every command in README and docs runs, and its output is the one shown."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .markdown import PAGES, ROOT, Block, blocks, commands, difference

Run = Callable[[str], tuple[int, str]]

# Set-up that is not ours to test: allowed in a console block, and not run.
SETUP = re.compile(r"(cd|export|pip install|python scripts/|mlflow (ui|server)) ")
RUN_HERE = {"python", "console", "bash"}


def _is_full(block: Block) -> bool:
    return any(mark == "full" or mark.startswith("needs ") for mark in block.marks)


def _to_run(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in RUN_HERE and "not run" not in block.marks]


def _parameters() -> list[Any]:
    found = []
    for page in PAGES:
        run = _to_run(page)
        if not run:
            continue
        name = page.relative_to(ROOT).as_posix()
        found.append(pytest.param(page, False, id=name))
        if any(_is_full(block) for block in run):
            found.append(pytest.param(page, True, id=f"{name}-full", marks=pytest.mark.full))
    return found


@pytest.mark.parametrize(("page", "full"), _parameters())
def test_the_page_runs_as_it_is_written(
    page: Path,
    full: bool,
    page_home: Path,
    neuronwise_command: Run,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    every = blocks(page)
    for position, block in enumerate(every):
        if block.file is not None:
            Path(block.file).write_text(block.text, encoding="utf-8")
        if block.language not in RUN_HERE or "not run" in block.marks or (_is_full(block) and not full):
            continue
        if "needs mnist" in block.marks:
            monkeypatch.setenv("NEURONWISE_DATA", str(request.getfixturevalue("shared_data")))
        if block.language == "python":
            following = every[position + 1] if position + 1 < len(every) else None
            _run_python(block, following, namespace)
        else:
            _run_console(block, neuronwise_command)


def _run_python(block: Block, following: Block | None, namespace: dict[str, Any]) -> None:
    out = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec", dont_inherit=True)
    with contextlib.redirect_stdout(out):
        exec(code, namespace)
    if following is not None and following.language == "text" and _is_output(block, following):
        wrong = difference(following.text, out.getvalue(), varies=following.varies)
        assert wrong is None, f"{following.place}: the output is another one\n{wrong}"


def _is_output(block: Block, following: Block) -> bool:
    """Whether a text block stands directly below the code (marks apart), so that it is its output."""
    lines = block.page.read_text(encoding="utf-8").splitlines()
    between = lines[block.line - 1 + block.text.count("\n") + 1 : following.line - 2]
    return all(not line.strip() or line.startswith("<!--") for line in between)


def _run_console(block: Block, run: Run) -> None:
    for command in commands(block):
        if command.line.startswith("make "):
            _check_make(command.line, block.place)
            continue
        if SETUP.match(command.line):
            continue
        assert command.line.startswith("neuronwise "), f"{block.place}: not run by any test: {command.line}"
        code, out = run(command.line)
        assert code == block.exit_code, f"{block.place}: {command.line} ended with {code}\n{out}"
        if command.shown.strip():
            wrong = difference(command.shown, out, varies=block.varies)
            assert wrong is None, f"{block.place}: {command.line}: the output is another one\n{wrong}"


def _check_make(line: str, place: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in line.split()[1:]:
        if "=" not in target:
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"{place}: make has no {target!r}"


def test_what_can_be_run_is_marked_as_such() -> None:
    unmarked = [
        block.place
        for page in PAGES
        for block in blocks(page)
        if block.language not in RUN_HERE
        and re.search(r"^(\$ |neuronwise |import |from \w+ import )", block.text, re.M)
    ]
    assert unmarked == []


def test_no_page_tells_of_one_machine() -> None:
    told = [
        f"{page.name}: {found}"
        for page in PAGES
        for found in re.findall(r"/(?:work|tmp|root|home/(?!you\b))\S*", page.read_text(encoding="utf-8"))
    ]
    assert told == []
