"""One row of data as a numerical feature vector: each raw cell beside the input neurons it became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from neuronwise.data import (
    FeatureEncoder,
    StreamedTable,
    TargetSpec,
    describe_columns,
    describe_target,
    is_image_source,
    open_table,
)
from neuronwise.errors import UsageError

# Of a one-hot group only the neurons that are not 0 are shown, and how many more there are.
_MAX_SHOWN = 8


@dataclass(frozen=True)
class EncodedCell:
    """A raw cell and what became of it.

    Attributes:
        column: The column.
        kind: Its kind.
        raw: The cell as text.
        inputs: Every input neuron of the column, with its value.
        reason: Why there is none, or what is worth saying of this cell.
    """

    column: str
    kind: str
    raw: str
    inputs: list[tuple[str, float]]
    reason: str

    @property
    def shown(self) -> list[tuple[str, float]]:
        """The input neurons worth a line: all of a few, else those that are not 0."""
        if len(self.inputs) <= _MAX_SHOWN:
            return self.inputs
        return [pair for pair in self.inputs if pair[1] != 0.0][:_MAX_SHOWN]

    @property
    def zeros(self) -> int:
        """How many are not shown."""
        return len(self.inputs) - len(self.shown)


@dataclass(frozen=True)
class EncodedRow:
    """A row as the network sees it.

    Attributes:
        source: Name of the data.
        row: The row, from 0.
        cells: One per column.
        target: Name, raw cell and what is learned of it, or None.
        notes: Sentences about what the run that encodes it has never seen in training.
    """

    source: str
    row: int
    cells: list[EncodedCell]
    target: tuple[str, str, str] | None
    notes: list[str] = field(default_factory=list)

    @property
    def n_inputs(self) -> int:
        """Number of input neurons."""
        return sum(len(cell.inputs) for cell in self.cells)

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self)


def encode_row(
    data: Any,
    row: int,
    *,
    target: str | None = None,
    category: Sequence[str] = (),
    numeric: Sequence[str] = (),
    drop: Sequence[str] = (),
    run: Any = None,
) -> EncodedRow:
    """Return a row as the network sees it.

    Args:
        data: Path of a table, or a frame.
        row: Row, from 0.
        target: Column to predict, which is no input and helps to tell numbers from names.
        category: Columns to be taken as categories.
        numeric: Columns to be taken as numbers.
        drop: Columns to be left out.
        run: A run whose encoder is used; default one fitted to all rows of the data.

    Raises:
        UsageError: The data, row or a column cannot be used.
    """
    if isinstance(data, (str, Path)) and is_image_source(data):
        raise UsageError(
            f"encode shows a row of a table, and {str(data)!r:.200} names pictures, whose pixels are the inputs",
            where="argument data",
        )
    table = open_table(data)
    if isinstance(table, StreamedTable):
        # Of a long table its sample tells what the columns are, and the row stands alone.
        table.look_through([] if target is None else [target])
        known, targets, shown, place = table.sample, table.sample, table.row(row), 0
        if target is not None:
            targets = table.column(target)
    else:
        table.check_row(row)
        known, targets, shown, place = table, table, table, row
    spec: TargetSpec | None = None
    if run is not None:
        from neuronwise.running.find import load

        fitted = load(run)
        if not isinstance(fitted.encoder, FeatureEncoder):
            raise UsageError(f"the run learned from {fitted.kind} data, which has no columns", where="argument run")
        encoder = fitted.encoder
        spec = fitted.target if fitted.target.name in table.column_names else None
    else:
        spec = describe_target(targets, target) if target is not None else None
        described = describe_columns(known, target=spec, category=category, numeric=numeric, drop=drop)
        encoder = FeatureEncoder.fit(known, described)
    columns = [*(encoding.column for encoding in encoder.encodings), *encoder.left_out]
    kinds = {column.name: column.kind for column in columns}
    cells = [
        EncodedCell(cell.column, kinds.get(cell.column, ""), _text(cell.cell), list(cell.inputs), cell.note)
        for cell in encoder.explain_row(shown, place)
    ]
    notes = encoder.check(shown, [place]) if run is not None else []
    return EncodedRow(table.name, row, cells, None if spec is None else _target(shown, spec, place), notes)


def _target(table: Any, spec: TargetSpec, row: int) -> tuple[str, str, str]:
    raw = _text(table.cell(row, spec.name))
    if row not in spec.rows_with_target(table):
        return spec.name, raw, "missing"
    learned = spec.encode(table, [row])
    value = f"{float(learned[0, 0]):.4f}" if spec.task == "regression" else f"class {int(learned[0])}"
    return spec.name, raw, value


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)
