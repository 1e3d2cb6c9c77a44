"""What the scripts that make pages share: writing them, or checking that they are fresh."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"


def write_or_check(pages: Mapping[Path, str], script: str) -> int:
    """Write the pages, or with ``--check`` on the command line say which are stale; return the exit code."""
    code = 0
    for page, text in pages.items():
        if "--check" not in sys.argv[1:]:
            page.write_text(text, encoding="utf-8")
        elif not page.is_file() or page.read_text(encoding="utf-8") != text:
            print(f"{page} is stale: python scripts/{script}.py", file=sys.stderr)
            code = 1
    return code
