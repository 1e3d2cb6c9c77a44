"""The house (docs/architecture.md): a package imports only those above it. Read off the source, every import of it.

Imports inside functions and under TYPE_CHECKING count, and so does `importlib.import_module("neuronwise.…")`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"

# From the ground floor to the roof.
ORDER = ("network", "data", "learning", "recording", "watching", "explaining", "diagnosing", "tracking", "inspecting",
         "running", "cli")  # fmt: skip
ROOT_MODULES = ("errors", "files")
# May import what stands below it in the list, each with its reason.
ALLOWED = {
    "src/neuronwise/__init__.py": "the public names, found when first used",
    "src/neuronwise/tracking/pyfunc_model.py": "no part of the package: MLflow runs a copy of it, as a user's script",
}


def _imports(source: str, path: str) -> Iterator[tuple[int, str]]:
    """Yield line and dotted target of every import of neuronwise: ``"neuronwise.data.kinds"``, ``"?"`` if unknown."""
    package = Path(path).with_suffix("").parts[1:]  # without src
    package = package[:-1]  # the package that relative imports start from, also for an __init__.py
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "neuronwise":
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            if base.split(".")[0] == "neuronwise":
                for alias in node.names:
                    yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in ("import_module", "__import__", "find_spec", "lazy_import"):
                first = node.args[0] if node.args else None
                value = first.value if isinstance(first, ast.Constant) else None
                if not isinstance(value, str) or value.startswith("."):
                    yield node.lineno, "?"
                elif value.split(".")[0] == "neuronwise":
                    yield node.lineno, value


def offences(source: str, path: str) -> list[str]:
    """Return what breaks the order in one file, as ``"path:line imports …"``."""
    parts = Path(path).parts[2:]  # without src/neuronwise
    own = parts[0].removesuffix(".py")
    if len(parts) > 1 and own not in ORDER:
        return [f"{path}: the package {own!r} has no place in the order: add it to ORDER"]
    allowed = {*ROOT_MODULES, *(ORDER[: ORDER.index(own) + 1] if own in ORDER else ())}
    found = []
    for line, target in _imports(source, path):
        names = target.split(".")
        if target == "?":
            found.append(f"{path}:{line} imports a module whose name is not written out")
        elif names[1:] == ["__version__"]:
            continue
        elif len(names) == 1:
            found.append(f"{path}:{line} imports neuronwise as a whole: name the package")
        elif names[1] not in allowed:
            known = names[1] in (*ORDER, *ROOT_MODULES)
            why = f"{own} stands above it" if known else "import it from its package"
            found.append(f"{path}:{line} imports {target}: {why}")
    return found


def _files() -> list[str]:
    return sorted(path.relative_to(SOURCE.parent).as_posix() for path in (SOURCE / "neuronwise").rglob("*.py"))


def test_there_is_something_to_read() -> None:
    files = _files()
    assert "src/neuronwise/network/neuron.py" in files
    assert len(files) > 20


@pytest.mark.parametrize("path", [path for path in _files() if path not in ALLOWED])
def test_a_package_imports_only_those_above_it(path: str) -> None:
    assert offences((SOURCE.parent / path).read_text(encoding="utf-8"), path) == []


def test_every_exception_is_still_needed() -> None:
    for path in ALLOWED:
        source = (SOURCE.parent / path).read_text(encoding="utf-8")
        assert offences(source, path), f"{path} breaks nothing any more: take it off ALLOWED"


def test_only_root_modules_stand_beside_the_packages() -> None:
    root = {path.stem for path in (SOURCE / "neuronwise").glob("*.py")}
    assert root <= {"__init__", "__main__", *ROOT_MODULES}


@pytest.mark.parametrize(
    ("path", "source", "word"),
    [
        ("network/made_up.py", "import neuronwise.data", "imports neuronwise.data: network stands above it"),
        ("network/made_up.py", "from neuronwise.learning import fit", "imports neuronwise.learning.fit"),
        ("network/made_up.py", "from neuronwise import data", "imports neuronwise.data"),
        ("network/made_up.py", "from neuronwise import train", "imports neuronwise.train: import it from its package"),
        ("network/made_up.py", "import neuronwise", "imports neuronwise as a whole"),
        ("network/made_up.py", "import neuronwise as nw", "imports neuronwise as a whole"),
        ("network/made_up.py", "from ..data import reading", "imports neuronwise.data.reading"),
        ("network/made_up.py", "from .. import data", "imports neuronwise.data"),
        ("network/deep/made_up.py", "from ...data import reading", "imports neuronwise.data.reading"),
        ("network/__init__.py", "from ..running import train", "imports neuronwise.running.train"),
        ("learning/made_up.py", "def f():\n    from neuronwise.running import train", "made_up.py:2 imports"),
        ("data/made_up.py", "if TYPE_CHECKING:\n    from neuronwise.cli import main", "made_up.py:2 imports"),
        ("data/made_up.py", "class A:\n    import neuronwise.tracking as t", "made_up.py:2 imports"),
        ("data/made_up.py", "importlib.import_module('neuronwise.tracking')", "imports neuronwise.tracking"),
        ("data/made_up.py", "from importlib import import_module\nimport_module('neuronwise.cli')", "made_up.py:2"),
        ("data/made_up.py", "__import__('neuronwise.cli')", "imports neuronwise.cli"),
        ("data/made_up.py", "importlib.import_module(name)", "whose name is not written out"),
        ("data/made_up.py", "importlib.import_module(f'neuronwise.{x}')", "whose name is not written out"),
        ("data/made_up.py", "importlib.import_module('..cli', __package__)", "whose name is not written out"),
        ("errors.py", "from neuronwise.network import Network", "imports neuronwise.network.Network"),
        ("files.py", "def f():\n    from .network import Network", "imports neuronwise.network.Network"),
        ("tracking/made_up.py", "from neuronwise.inspecting import page", "tracking stands above it"),
        ("attic/made_up.py", "x = 1", "the package 'attic' has no place in the order"),
    ],
)  # fmt: skip
def test_this_guard_can_fail(path: str, source: str, word: str) -> None:
    found = offences(source, f"src/neuronwise/{path}")
    assert len(found) == 1
    assert word in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("network/made_up.py", "import numpy\nfrom neuronwise.errors import UsageError\nfrom neuronwise import files"),
        ("network/made_up.py", "from .layers import Dense\nfrom neuronwise.network import Neuron"),
        ("cli/made_up.py", "\n".join(f"from neuronwise.{name} import x" for name in ORDER)),
        ("data/made_up.py", "from neuronwise import __version__\nimport neuronwise.network.layers"),
        ("errors.py", "import difflib"),
        ("files.py", "from neuronwise.errors import NeuronwiseError"),
        ("data/made_up.py", "import neuronwise_other\nfrom neuronwise_other import data\nopen('neuronwise.cli')"),
    ],
)
def test_what_is_right_is_not_an_offence(path: str, source: str) -> None:
    assert offences(source, f"src/neuronwise/{path}") == []
