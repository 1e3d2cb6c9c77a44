"""Each example runs as it stands, and leaves a run that opens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neuronwise

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))


@pytest.mark.full
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_leaves_a_run_that_opens(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, timeout=600, cwd=tmp_path, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()  # what a diagnosis at the end found, and nothing else
    assert all(line.startswith(("neuronwise: ", "  try  ", "  why  ")) for line in told), done.stderr
    runs = re.findall(r"neuronwise show (\w+)", done.stdout)
    assert runs
    for run in runs:
        recording = neuronwise.open(run)
        assert recording.status == "finished"
        assert not recording.problems
        assert len(recording.frames) > 50
        command = [sys.executable, "-c", "from neuronwise.cli import main; main()", "show", run]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert shown.returncode == 0, shown.stderr


def test_the_page_names_every_example() -> None:
    page = (EXAMPLES[0].parent / "README.md").read_text()
    assert all(f"({path.name})" in page for path in EXAMPLES)
