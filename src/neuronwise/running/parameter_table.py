"""How many weights and biases each layer of a PyTorch model has, as a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.files import write_atomically
from neuronwise.network import read_json

if TYPE_CHECKING:
    from torch import nn

JSON, MARKDOWN = "parameters.json", "parameters.md"
FORMAT = "neuronwise-parameters"
VERSION = 1


@dataclass(frozen=True)
class ParameterRow:
    """A module with parameters of its own.

    Attributes:
        layer: Its path; the name of the model's class for the model itself.
        type: Its class.
        shape: Of its weight, or of its first parameter.
        parameters: Their number; those that stood in a layer above are not counted again.
        trainable: How many of them gradients are computed for.
        note: Which of its parameters belong to a layer above, or ``""``.
    """

    layer: str
    type: str
    shape: tuple[int, ...]
    parameters: int
    trainable: int
    note: str = ""


@dataclass(frozen=True)
class ParameterTable:
    """The rows and their sums."""

    rows: list[ParameterRow]

    @property
    def parameters(self) -> int:
        """Number of all weights and biases."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """Those that are learned."""
        return sum(row.trainable for row in self.rows)

    def to_markdown(self) -> str:
        """Return it for people."""
        lines = ["| layer | type | weight | parameters | trainable |", "| --- | --- | --- | ---: | ---: |"]
        for row in self.rows:
            layer = row.layer.replace("|", "\\|") + (f" ({row.note})" if row.note else "")
            shape = " × ".join(map(str, row.shape))
            lines.append(f"| {layer} | {row.type} | {shape} | {row.parameters:,} | {row.trainable:,} |")
        lines.append(f"| **total** | | | **{self.parameters:,}** | **{self.trainable:,}** |")
        return "\n".join(lines) + "\n"

    def save(self, folder: Path) -> None:
        """Write ``parameters.json`` and ``parameters.md``.

        Raises:
            OSError: They cannot be written.
        """
        content = {
            "format": FORMAT,
            "version": VERSION,
            "parameters": self.parameters,
            "trainable": self.trainable,
            "layers": [asdict(row) for row in self.rows],
        }
        write_atomically(folder / JSON, json.dumps(content, indent=1) + "\n")
        write_atomically(folder / MARKDOWN, self.to_markdown())


def parameter_table(model: nn.Module) -> ParameterTable | None:
    """Return the table of a model; None where the shape of a parameter is not known yet (a lazy module)."""
    from torch.nn.parameter import is_lazy

    if any(is_lazy(one) for one in model.parameters()):
        return None
    rows: list[ParameterRow] = []
    owner: dict[int, str] = {}
    for path, module in model.named_modules():
        own = {key: one for key, one in module._parameters.items() if one is not None}
        if not own:
            continue
        name = path or type(model).__name__
        new = {key: one for key, one in own.items() if id(one) not in owner}
        shared = [f"{key} of {owner[id(one)]}" for key, one in own.items() if key not in new]
        owner.update((id(one), name) for one in new.values())
        weight = own.get("weight", next(iter(own.values())))
        # A parameter that stands twice in one module is one.
        numbers = {id(one): (one.numel(), one.requires_grad) for one in new.values()}.values()
        rows.append(
            ParameterRow(
                name,
                type(module).__name__,
                tuple(weight.shape),
                sum(count for count, _ in numbers),
                sum(count for count, learns in numbers if learns),
                ", ".join(shared),
            )
        )
    return ParameterTable(rows)


def trainable_counts(folder: Path) -> dict[str, tuple[int, int]]:
    """Return parameters and trainable ones of each layer, by name, as written beside a watched run; empty if absent."""
    try:
        content = read_json(folder / JSON, "table of parameters")
        return {str(one["layer"]): (int(one["parameters"]), int(one["trainable"])) for one in content["layers"]}
    except (NotFoundError, FormatError, KeyError, TypeError, ValueError):
        return {}
