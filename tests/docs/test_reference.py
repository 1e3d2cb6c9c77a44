"""The reference pages say what the software does today."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from neuronwise import __version__
from neuronwise.learning import OPTIMIZERS
from neuronwise.network import ACTIVATIONS, INITIALIZERS, LOSSES

from .markdown import ROOT

REFERENCE = ROOT / "docs" / "reference"
PACKAGES = ("network", "data", "learning", "recording", "explaining", "tracking", "running")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["make_cli_reference", "make_api_reference"])
def test_generated_pages_are_fresh(name: str) -> None:
    script = _script(name)
    assert script.PAGE.read_text(encoding="utf-8") == script.render(), f"python scripts/{name}.py"


def test_a_stale_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script("make_cli_reference")
    stale = tmp_path / "cli.md"
    stale.write_text(script.render() + "\n")
    monkeypatch.setattr(script, "PAGE", stale)
    monkeypatch.setattr(sys, "argv", ["make_cli_reference.py", "--check"])
    assert script.main() == 1
    monkeypatch.setattr(sys, "argv", ["make_cli_reference.py"])
    assert script.main() == 0
    monkeypatch.setattr(sys, "argv", ["make_cli_reference.py", "--check"])
    assert script.main() == 0


def test_every_option_of_every_command_is_in_the_reference() -> None:
    cli, page = _script("make_cli_reference").build_cli(), _page("cli.md")
    for name, command in cli.commands.items():
        _, _, section = page.partition(f"\n## neuronwise {name}\n")
        section = section.partition("\n## ")[0]
        assert section, f"the command {name} is missing"
        missing = [option for p in command.params for option in p.opts if option[0] == "-" and option not in section]
        assert missing == [], name


def test_every_public_name_is_in_the_reference() -> None:
    page = _page("api.md")
    for package in PACKAGES:
        section = page.partition(f"\n## neuronwise.{package}\n")[2].partition("\n## ")[0]
        named = set(re.findall(r"^\| `(\w+)", section, re.MULTILINE))
        assert named == set(importlib.import_module(f"neuronwise.{package}").__all__), package


def test_every_public_name_says_what_it_is() -> None:
    silent = re.findall(r"^\| `([^`]+)` \| *\|$", _page("api.md"), re.MULTILINE)
    assert silent == []


def test_activations_are_described_as_they_are() -> None:
    page = _page("activations.md")
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == list(ACTIVATIONS)
    for activation in ACTIVATIONS.values():
        section = page.partition(f"\n## {activation.name}\n")[2].partition("\n## ")[0]
        for fact in (
            activation.formula,
            activation.derivative_formula,
            activation.value_range,
            activation.use,
            activation.weakness,
        ):
            assert fact in section, f"{activation.name}: {fact}"
    assert "ReLU does not squeeze" in page


def test_losses_optimizers_and_initialisers_are_described_as_they_are() -> None:
    page = _page("losses-optimizers-initialisers.md")
    for loss in LOSSES.values():
        assert f"`{loss.name}`" in page
        assert loss.formula.removeprefix("L = ") in page.replace("\\|", "|"), loss.name
    for name, optimizer in OPTIMIZERS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        for key, value in optimizer().settings().items():
            assert f"{value:g}" in row, f"{name}: {key} is {value:g}"
    for name in INITIALIZERS:
        assert f"`{name}`" in page


def test_exit_codes_are_those_of_the_errors() -> None:
    from neuronwise import errors

    page = _page("errors.md")
    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.NeuronwiseError):
            row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
            assert f"| {kind.exit_code} |" in row, name


def test_the_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(__version__)}\b", changelog, re.MULTILINE)


def test_the_architecture_names_every_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = [path.parent.name for path in (ROOT / "src" / "neuronwise").glob("*/__init__.py")]
    assert [name for name in folders if f"`{name}/`" not in page] == []


@pytest.mark.filterwarnings("default")  # matplotlib's own
def test_the_pictures_can_be_drawn_again(tmp_path: Path) -> None:
    drawn = _script("make_pictures").draw(tmp_path / "images")
    assert sorted(path.name for path in drawn) == ["first_layer.png", "network.svg", "weights_over_time.png"]
    assert all(path.stat().st_size > 1000 for path in drawn)
