"""The pages about causes are those of the vocabulary."""

from __future__ import annotations

import subprocess
import sys

from neuronwise.diagnosing import CAUSES

from .markdown import ROOT


def test_the_pages_are_fresh() -> None:
    command = [sys.executable, ROOT / "scripts" / "make_cause_pages.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_there_is_one_for_each_cause_and_no_other() -> None:
    assert {page.stem for page in (ROOT / "docs" / "causes").glob("*.md")} == {"index", *CAUSES}
