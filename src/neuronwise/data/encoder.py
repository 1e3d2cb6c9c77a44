"""From a table to the vectors a network sees, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data.columns import Column
from neuronwise.data.inputs import ColumnEncoding, Input, Unusual, fit_column, inputs_of, unusual
from neuronwise.data.reading import RawTable, read_table
from neuronwise.data.transformers import assemble, fitted_inputs, output_order
from neuronwise.errors import DataError, did_you_mean
from neuronwise.files import format_bytes

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

MAX_ENCODED_BYTES = 8_000_000_000
"""Largest array that `transform` makes."""
_CHUNK = 65_536
_ENCODED_AT_ONCE = 2_000_000


class ExplainedCell(NamedTuple):
    """One raw cell and what became of it: `inputs` pairs of name and value (none if the column is left out)."""

    column: str
    cell: object
    inputs: list[tuple[str, float]]
    note: str


class FeatureEncoder:
    """Turns the rows of a table into float32 vectors whose entries have names.

    Numbers are standardised (after log(1 + x) where the column says so), categories become one input each (0 or 1),
    yes/no is 1/0, a date its parts. A missing number is filled with the median, a missing yes/no with the more frequent
    answer, and a further input tells of it if that happened while fitting; a category missing or unseen is all zeros.
    The work is done by scikit-learn's transformers; nothing random, nothing pickled.

    Attributes:
        inputs: One `Input` per entry of the vector.
        left_out: Columns that become no input, each with its reason.
    """

    def __init__(
        self,
        encodings: Sequence[ColumnEncoding],
        inputs: Sequence[Input],
        left_out: Sequence[Column],
        transformer: ColumnTransformer,
    ) -> None:
        self.encodings = tuple(encodings)
        self.inputs = tuple(inputs)
        self.left_out = tuple(left_out)
        self._transformer = transformer
        self._order = output_order(self.encodings)

    @classmethod
    def fit(cls, table: RawTable, columns: Sequence[Column], rows: ArrayLike | None = None) -> FeatureEncoder:
        """Return an encoder that knows the given rows only.

        Args:
            table: The table.
            columns: As `describe_columns` gives them.
            rows: Indices of the training rows; None: all.

        Raises:
            DataError: No column is left to learn from, no rows, or a cell that cannot be read.
        """
        chosen = _rows(table, rows)
        if not len(chosen):
            raise DataError("there are no rows to fit the encoder on", where=table.name)
        used = [column for column in columns if column.is_input]
        if not used:
            reasons = "; ".join(f"{column.name}: {column.reason}" for column in columns[:5])
            raise DataError(
                "no column is left to learn from", where=table.name, hint=reasons or "The table holds the target only."
            )
        encodings = [fit_column(table, column, chosen) for column in used]
        # A category that is missing in all these rows, or a lone value without gaps, has no input of its own.
        encodings = [e for e in encodings if inputs_of(e)]
        prepared = _prepare(encodings, table, chosen)
        transformer = assemble(encodings)
        transformer.fit(prepared)
        inputs = fitted_inputs(encodings, transformer, prepared)
        left_out = [column for column in columns if not column.is_input]
        return cls(encodings, inputs, left_out, transformer)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, all different."""
        return [neuron.name for neuron in self.inputs]

    @property
    def n_inputs(self) -> int:
        """Length of the vectors."""
        return len(self.inputs)

    @property
    def column_names(self) -> list[str]:
        """Columns a table must have to be transformed."""
        return [encoding.column.name for encoding in self.encodings]

    @property
    def groups(self) -> dict[str, list[int]]:
        """Indices of the inputs that each column became."""
        groups: dict[str, list[int]] = {}
        for i, neuron in enumerate(self.inputs):
            groups.setdefault(neuron.column, []).append(i)
        return groups

    def transform(self, table: object, rows: ArrayLike | None = None) -> NDArray[np.float32]:
        """Return the vectors of the given rows (all, if None): float32 (rows, n_inputs), C-contiguous.

        Further columns of the table are ignored.

        Raises:
            DataError: A column is missing, a cell cannot be read as what its column was learned as (with its place),
                or the result is larger than `MAX_ENCODED_BYTES`.
        """
        table = read_table(table)
        chosen = _rows(table, rows)
        self.check_columns(table)
        size = len(chosen) * self.n_inputs * 4
        if size > MAX_ENCODED_BYTES:
            raise DataError(
                f"{len(chosen):,} rows × {self.n_inputs:,} inputs take {format_bytes(size)}; the limit is "
                f"{format_bytes(MAX_ENCODED_BYTES)}",
                where=table.name,
                hint="Take fewer rows, or leave out columns of many categories.",
            )
        out = np.empty((len(chosen), self.n_inputs), np.float32)
        tables = [encoding.prepare(table) for encoding in self.encodings]
        for start in range(0, len(chosen), _CHUNK):
            part = chosen[start : start + _CHUNK]
            numbers = np.hstack(
                [t[table.cells(e.column.name).codes[part]] for e, t in zip(self.encodings, tables, strict=True)]
            )
            self.encode_numbers(numbers, out[start : start + _CHUNK])
        return out

    def encode_numbers(self, numbers: NDArray[np.float64], out: NDArray[np.float32]) -> None:
        """Write the vectors of rows of prepared numbers (`ColumnEncoding.prepare`, side by side) into `out`."""
        # scikit-learn makes several float64 copies of what it is given.
        size = max(256, _ENCODED_AT_ONCE // max(self.n_inputs, 1))
        for start in range(0, len(numbers), size):
            encoded = self._transformer.transform(numbers[start : start + size])
            out[start : start + size] = encoded[:, self._order]

    def check(self, table: object, rows: ArrayLike | None = None) -> list[str]:
        """Return sentences on what the encoder never saw; empty if there is nothing to say.

        That is: categories, numbers and dates out of range, missing cells and missing columns.
        """
        table = read_table(table)
        chosen = _rows(table, rows)
        messages: list[str] = []
        for encoding in self.encodings:
            name = encoding.column.name
            if name not in table.frame.columns:
                messages.append(f"column {name!r} is missing.{did_you_mean(name, table.column_names)}")
                continue
            messages += map(str, self.unusual(table, encoding, chosen))
        return messages

    def unusual(self, table: RawTable, encoding: ColumnEncoding, rows: NDArray[np.int64]) -> list[Unusual]:
        """Return the cells of one column, in the given rows, that are unlike any that were seen while fitting."""
        return unusual(table, encoding, [self.inputs[i] for i in self.groups[encoding.column.name]], rows)

    def explain_row(self, table: object, row: int) -> list[ExplainedCell]:
        """Return, for every column of the encoder, the raw cell of `row` and the inputs and values it became.

        Columns that are left out come last, with their reason as note; those not in the table are passed over.
        """
        table = read_table(table)
        table.check_row(row)
        x = self.transform(table, [row])[0]
        explained = []
        for encoding in self.encodings:
            name = encoding.column.name
            values = [(self.inputs[i].name, float(x[i])) for i in self.groups[name]]
            explained.append(ExplainedCell(name, table.cell(row, name), values, self._note(table, encoding, row)))
        for column in self.left_out:
            if column.name in table.frame.columns:
                note = f"left out ({column.kind}): {column.reason}"
                explained.append(ExplainedCell(column.name, table.cell(row, column.name), [], note))
        return explained

    def with_parts(self, encodings: Sequence[ColumnEncoding], inputs: Sequence[Input]) -> FeatureEncoder:
        """Return this encoder with other words on its columns and inputs; it transforms as this one does."""
        return FeatureEncoder(encodings, inputs, self.left_out, self._transformer)

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as JSON's types."""
        from neuronwise.data.encoder_json import encoder_to_dict

        return encoder_to_dict(self)

    @classmethod
    def from_dict(cls, data: object) -> FeatureEncoder:
        """Return the encoder that `to_dict` wrote; it transforms bit for bit alike.

        Raises:
            FormatError: `data` is not such a dict.
        """
        from neuronwise.data.encoder_json import encoder_from_dict

        return encoder_from_dict(data)

    def _note(self, table: RawTable, encoding: ColumnEncoding, row: int) -> str:
        name = encoding.column.name
        first = self.inputs[self.groups[name][0]]
        if table.cells(name).codes[row] < 0:
            filled = "" if encoding.column.kind == "category" else ", filled with what is usual"
            return f"missing{filled}"
        if encoding.column.kind == "category":
            return "1 for this category, 0 for all others"
        if encoding.column.kind == "yes/no":
            return "1 is yes, 0 is no"
        if encoding.column.place:
            return f"z = (x - {first.mean:.6g}) / {first.scale:.6g}, and waves over it: sin z, cos z, sin 2z, cos 2z"
        formula = "log(1 + x)" if first.transform == "log" else "hours" if encoding.column.date_format else "x"
        return (
            f"({formula} - {first.mean:.6g}) / {first.scale:.6g}"
            if len(encoding.parts) < 2
            else "the date's parts, standardised"
        )

    def check_columns(self, table: RawTable) -> None:
        """Raise a DataError if the table lacks a column."""
        missing = [name for name in self.column_names if name not in table.frame.columns]
        if missing:
            shown = ", ".join(repr(name[:60]) for name in missing[:5]) + (" …" if len(missing) > 5 else "")
            raise DataError(
                f"the network was trained on column{'s' * (len(missing) > 1)} {shown}, which the table has not."
                f"{did_you_mean(missing[0], table.column_names)}",
                where=table.name,
            )


def _rows(table: RawTable, rows: ArrayLike | None) -> NDArray[np.int64]:
    return np.arange(len(table)) if rows is None else np.asarray(rows, np.int64).reshape(-1)


def _prepare(encodings: Sequence[ColumnEncoding], table: RawTable, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.hstack([e.prepare(table)[table.cells(e.column.name).codes[rows]] for e in encodings])
