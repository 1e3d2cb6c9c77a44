"""Importing neuronwise, or asking the command for help, loads nothing heavy: read off a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *(
        "mlflow",
        "pandas",
        "torch",
        "sklearn",
        "matplotlib",
        "pyarrow",
        "PIL",
        "scipy",
        "polars",
        "starlette",
        "uvicorn",
    ),
    # Many modules of our own, which most commands do without.
    *("neuronwise.explaining", "neuronwise.diagnosing", "neuronwise.inspecting"),
)
SOURCE = Path(__file__).resolve().parent.parent / "src" / "neuronwise"
needs_command = pytest.mark.skipif(not (SOURCE / "cli").is_dir(), reason="src/neuronwise/cli does not exist yet")


def _loaded(code: str) -> set[str]:
    """Return which of the heavy packages are loaded after running `code` in a fresh process."""
    # SystemExit is how a command ends after --help; its own output goes to stdout before the last line.
    script = f"""
import json, sys
try:
    {code}
except SystemExit as end:
    assert not end.code, end.code
print()
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    return set(json.loads(process.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import neuronwise",
        "import neuronwise; neuronwise.Network.dense([3, 4, 2]).predict([[1, 2, 3]]); neuronwise.Neuron([1.0])([2.0])",
        "import neuronwise; neuronwise.Network.dense([3, 2])._repr_html_()",
        "import neuronwise; dir(neuronwise)",
        "import neuronwise.network, neuronwise.errors, neuronwise.files",
        "import neuronwise.learning",
        "import neuronwise.running",
    ],
)
def test_the_library_loads_nothing_heavy(code: str) -> None:
    assert _loaded(code) == set()


@needs_command
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["count", "784", "16", "10"]])
def test_the_command_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; sys.argv = ['neuronwise', *{arguments!r}]; from neuronwise.cli import main; main()"
    assert _loaded(code) == set()


def test_this_guard_can_fail() -> None:
    assert _loaded("import neuronwise, PIL.Image") == {"PIL"}
    assert "scipy" in _loaded("import neuronwise, scipy")
    assert "neuronwise.explaining" in _loaded("import neuronwise; neuronwise.explain")


def test_the_network_needs_no_safetensors_until_it_is_saved() -> None:
    process = subprocess.run(
        [sys.executable, "-c", "import neuronwise, sys; sys.exit('safetensors' in sys.modules)"], timeout=60
    )
    assert process.returncode == 0
