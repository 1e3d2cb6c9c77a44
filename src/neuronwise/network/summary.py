"""The table of a network: each layer's shape, how its parameters are counted, and what it is as linear algebra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuronwise.network.layers.base import type_name

if TYPE_CHECKING:
    from neuronwise.network.layers import Layer
    from neuronwise.network.network import Network


@dataclass(frozen=True)
class SummaryRow:
    """One line of a summary.

    Attributes:
        layer: The layer's name; the first row is ``input``.
        kind: Type of the layer.
        shape: Shape of one output, ``"16"`` or ``"28 × 28"``.
        neurons: Number of outputs.
        formula: How the parameters are counted, n_out × n_in + n_out.
        parameters: Number of weights and biases.
        algebra: The layer as linear algebra.
    """

    layer: str
    kind: str
    shape: str
    neurons: int
    formula: str
    parameters: int
    algebra: str


@dataclass(frozen=True)
class Summary:
    """The rows of a network's table; printing it draws the table."""

    rows: tuple[SummaryRow, ...]

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases of all layers."""
        return sum(row.parameters for row in self.rows)

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the rows as text, for any table."""
        header = ["layer", "kind", "neurons", "n_out × n_in + n_out", "parameters", "as linear algebra"]
        rows = [[row.layer, row.kind, row.shape, row.formula, f"{row.parameters:,}", row.algebra] for row in self.rows]
        return header, rows

    def __str__(self) -> str:
        header, rows = self.cells()
        rows = [*rows, ["total", "", "", "", f"{self.parameter_count:,}", ""]]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        right = {2, 3, 4}

        def line(row: list[str]) -> str:
            cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            return "  ".join(cells).rstrip()

        rule = "  ".join("─" * width for width in widths)
        return "\n".join([line(header), rule, *map(line, rows[:-1]), rule, line(rows[-1])])

    def to_html(self) -> str:
        """Return the table as HTML; every text is escaped."""
        import html  # not at the top: `import neuronwise` should cost little beside NumPy

        header, rows = self.cells()
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        total = f'<tr><th colspan="4">total</th><th>{self.parameter_count:,}</th><th></th></tr>'
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody><tfoot>{total}</tfoot></table>"


def summarize(network: Network) -> Summary:
    """Return the table of a network, the input as its first row."""
    return summarize_layers(network.input_shape, network.layers)


def summarize_layers(input_shape: tuple[int, ...], layers: Sequence[Layer]) -> Summary:
    """Return the table of built layers, which need no weights yet."""
    rows = [SummaryRow("input", "", _text(input_shape), math.prod(input_shape), "", 0, "x")]
    for layer in layers:
        rows.append(
            SummaryRow(
                layer.name,
                type_name(type(layer)),
                _text(layer.output_shape),
                layer.neuron_count,
                layer.formula(),
                layer.parameter_count,
                layer.algebra(),
            )
        )
    return Summary(tuple(rows))


def _text(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
