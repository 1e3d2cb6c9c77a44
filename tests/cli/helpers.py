"""The command line run in this process, as a user would see it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON on stdout, which must be nothing but that."""
        return json.loads(self.out, parse_constant=lambda word: (_ for _ in ()).throw(ValueError(word)))


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    script = "from neuronwise.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 90) -> Outcome:
    """Wait for a command that was started."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return Outcome(process.returncode, out, err)


def tree(folder: Path) -> set[str]:
    """Return every file and folder below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def table(rows: int = 60) -> str:
    """Return a CSV of numbers, a category and a price that follows from them."""
    lines = [f"{800 + 7 * i},{98000 + i % 5},{100_000 + 300 * (i * 37 % 60) + 9000 * (i % 5)}" for i in range(rows)]
    return "\n".join(["sqft,zipcode,price", *lines, ""])
