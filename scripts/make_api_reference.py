"""Write docs/reference/api.md: every public name with the first line of its docstring.

``python scripts/make_api_reference.py`` writes the page; with ``--check`` it fails if the page is stale. The sources
are read, not imported: nothing of what a package needs has to be installed.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from pages import ROOT, write_or_check

SOURCE = ROOT / "src" / "neuronwise"
PAGE = ROOT / "docs" / "reference" / "api.md"

# In the order of the house: each imports only those above it.
PACKAGES = ("network", "data", "learning", "recording", "explaining", "diagnosing", "tracking", "running")
MODULES = ("errors", "files")
# Called otherwise at the top: there `open` would hide Python's own.
ALIASES = {"open": "open_recording"}

HEAD = """\
# Python API

<!-- Made by scripts/make_api_reference.py from docstrings. Do not edit: change the docstring and run the script. -->

Every public name and what it returns or does. `help(neuronwise.train)` tells the arguments, shapes, defaults and the
errors raised. The version is 0.1: names may still change, and the [changelog](../../CHANGELOG.md) says when they do.
"""


@dataclass(frozen=True)
class Entry:
    """A public name: how it is written, and what it is."""

    name: str
    written: str
    text: str


def public_names(module: Path) -> list[str]:
    """Return `__all__` of a module's source."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


def definitions(module: Path) -> dict[str, Entry]:
    """Return the top-level classes, functions and documented values of a module."""
    body = ast.parse(module.read_text(encoding="utf-8")).body
    found: dict[str, Entry] = {}
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef):
            found[node.name] = Entry(node.name, node.name, first_line(ast.get_docstring(node)))
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = Entry(node.name, signature(node), first_line(ast.get_docstring(node)))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            told = ast.unparse(node.value)
            text = f"`{told}`" if len(told) <= 160 else ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = first_line(str(following.value.value))
            for target in targets:
                if isinstance(target, ast.Name):
                    found[target.id] = Entry(target.id, target.id, text)
    return found


def signature(node: ast.FunctionDef) -> str:
    """Return a function's name with the names of its arguments: those with a default end in ``=…``."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    parts = [arg.arg if i < required else f"{arg.arg}=…" for i, arg in enumerate(positional)]
    if arguments.vararg:
        parts.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        parts.append("*")
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parts += [arg.arg if default is None else f"{arg.arg}=…" for arg, default in keywords]
    shown = ", ".join(parts)
    return f"{node.name}({shown})" if len(shown) <= 60 else f"{node.name}({', '.join(parts[:2])}, …)"


def first_line(docstring: str | None) -> str:
    """Return the first line of a docstring."""
    return (docstring or "").strip().splitlines()[0].strip() if docstring else ""


def entries(package: str) -> list[Entry]:
    """Return the public names of a package, in the order of its `__all__`."""
    folder = SOURCE / package
    modules = sorted(folder.rglob("*.py"))
    known: dict[str, Entry] = {}
    for module in modules:
        known |= definitions(module)
    return [known[name] for name in public_names(folder / "__init__.py") if name in known]


def root_entries() -> list[Entry]:
    """Return the names of `neuronwise` itself, which come from its packages."""
    known: dict[str, Entry] = {}
    for package in PACKAGES:
        for module in sorted((SOURCE / package).rglob("*.py")):
            for name, entry in definitions(module).items():
                known.setdefault(name, entry)
    names = [name for name in public_names(SOURCE / "__init__.py") if not name.startswith("_")]
    return [
        replace(found, written=found.written.replace(found.name, name, 1), name=name)
        for name in names
        for found in [known[ALIASES.get(name, name)]]
    ]


def module_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return first_line(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))


def table(rows: list[Entry]) -> str:
    """Return the entries as a Markdown table."""
    lines = ["| name | what it is |", "| --- | --- |"]
    for entry in rows:
        text = entry.text.replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{entry.written}` | {text} |")
    return "\n".join(lines)


def render() -> str:
    """Return the text of the page."""
    parts = [HEAD, f"## neuronwise\n\n{module_line(SOURCE / '__init__.py')}\n\n{table(root_entries())}\n"]
    for package in PACKAGES:
        init = SOURCE / package / "__init__.py"
        parts.append(f"## neuronwise.{package}\n\n{module_line(init)}\n\n{table(entries(package))}\n")
    for module in MODULES:
        path = SOURCE / f"{module}.py"
        rows = [entry for name, entry in definitions(path).items() if not name.startswith("_")]
        parts.append(f"## neuronwise.{module}\n\n{module_line(path)}\n\n{table(rows)}\n")
    return "\n".join(parts)


def main() -> int:
    """Write or check the page."""
    return write_or_check({PAGE: render()}, "make_api_reference")


if __name__ == "__main__":
    sys.exit(main())
