"""The reference pages say what the software does today."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from neuronwise import __version__
from neuronwise.errors import FormatError
from neuronwise.learning import OPTIMIZERS
from neuronwise.network import (
    ACTIVATIONS,
    INITIALIZERS,
    LAYERS,
    LOSSES,
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    Network,
    network_schema,
)

from .markdown import ROOT

REFERENCE = ROOT / "docs" / "reference"
PACKAGES = ("network", "data", "learning", "recording", "explaining", "tracking", "running")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    sys.path.insert(0, str(ROOT / "scripts"))  # as when it runs: the scripts share a module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return module


def _page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["make_cli_reference", "make_api_reference", "make_network_reference"])
def test_generated_pages_are_fresh(name: str) -> None:
    script = _script(name)
    assert script.PAGE.read_text(encoding="utf-8") == script.render(), f"python scripts/{name}.py"


def test_the_schema_of_networks_is_fresh_and_takes_what_we_write() -> None:
    script = _script("make_network_reference")
    assert script.SCHEMA.read_text(encoding="utf-8") == script.render_schema(), (
        "python scripts/make_network_reference.py"
    )
    schema = json.loads(script.SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    described = json.loads(json.dumps(every_layer().to_dict()))
    jsonschema.validate(described, schema)
    assert {layer["type"] for layer in described["layers"]} == set(LAYERS)


@pytest.mark.parametrize("initializer", ["he", None, {"name": "glorot"}, {"name": "constant", "value": 0.5}])
def test_schema_and_reader_take_the_same_initialisers(initializer: Any) -> None:
    description = json.loads(json.dumps(every_layer().to_dict()))
    description["layers"][0]["initializer"] = initializer
    jsonschema.validate(description, network_schema())
    described = Network.from_dict(description).to_dict()
    jsonschema.validate(json.loads(json.dumps(described)), network_schema())


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d["layers"][0].update(filters=0), "filters"),
        (lambda d: d["layers"][0].update(filter=1), "filter"),
        (lambda d: d["layers"][0].pop("kernel_size"), "kernel_size"),
        (lambda d: d["layers"][3].update(rate=1), "rate"),
        (lambda d: d["layers"][0].update(initializer={"value": 1}), "initializer"),
        (lambda d: d["layers"][0].update(initializer={"name": "he", "of": 1}), "initializer"),
        (lambda d: d.update(input_shape=[]), "input_shape"),
        (lambda d: d.update(version=2), "version"),
        (lambda d: d.update(layers=[]), "layers"),
    ],
)
def test_schema_and_reader_refuse_the_same(change: Callable[[dict[str, Any]], Any], path: str) -> None:
    description = json.loads(json.dumps(every_layer().to_dict()))
    change(description)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(description, network_schema())
    with pytest.raises(FormatError, match=path):
        Network.from_dict(description)


def every_layer() -> Network:
    layers = [
        Conv2D(2, 3, padding="same"), BatchNorm(), MaxPool2D(), Dropout(0.1), AveragePool2D(2), ActivationLayer("tanh"),
        Flatten(), Dense(3),
    ]  # fmt: skip
    return Network(layers, input_shape=(8, 8))


def test_every_layer_and_setting_is_in_the_reference() -> None:
    page = _page("network-json.md")
    for name, layer in LAYERS.items():
        _, _, section = page.partition(f"\n## {name}\n")
        section = section.partition("\n## ")[0]
        assert section, name
        for setting in layer.properties:
            assert f"| `{setting}` |" in section, (name, setting)


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
