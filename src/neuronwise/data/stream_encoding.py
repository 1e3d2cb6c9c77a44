"""A long table into vectors, part by part, straight to where they stay; what is unlike the sample is counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.columns import ODD_SHARE, show
from neuronwise.data.encoder import FeatureEncoder
from neuronwise.data.inputs import UNSEEN, OddCells, Unusual
from neuronwise.data.number_cells import Style
from neuronwise.data.reading import RawTable
from neuronwise.data.scratch import release
from neuronwise.data.streaming import StreamedTable, number_style
from neuronwise.data.transformers import with_ranges
from neuronwise.errors import DataError


class EncodedPart(NamedTuple):
    """Some rows as vectors: the row of the table at which they begin, and float32 (rows, inputs)."""

    first_row: int
    X: NDArray[np.float32]


def styles_of(table: StreamedTable, encoder: FeatureEncoder) -> dict[str, Style]:
    """Return how the numbers of this table are written, as its sample says, for the encoder's columns of numbers."""
    encoder.check_columns(table.sample)
    styles: dict[str, Style] = {}
    for encoding in encoder.encodings:
        column = encoding.column
        if column.kind == "numeric" and column.date_format is None:
            style = number_style(table.sample, column.name, column.decimal)
            styles[column.name] = style or Style(column.decimal)
    return styles


def transform_parts(
    table: StreamedTable, encoder: FeatureEncoder, unusual: list[Unusual] | None = None
) -> Iterator[EncodedPart]:
    """Yield the vectors of all rows, as `FeatureEncoder.transform` would give them, part by part.

    Args:
        table: The table.
        encoder: A fitted encoder.
        unusual: Takes what the encoder never saw, as `FeatureEncoder.check` would say it.

    Raises:
        DataError: A column is missing, or a cell cannot be read as what its column was learned as (with its place).
    """
    seen: dict[tuple[str, str], Unusual] = {}
    for first, part in table.parts(encoder.column_names, styles_of(table, encoder), "encoding"):
        X = encoder.transform(part)
        if unusual is not None:
            rows = np.arange(len(part))
            for encoding in encoder.encodings:
                for found in encoder.unusual(part, encoding, rows):
                    known = seen.setdefault((found.column, found.what), found)
                    if known is not found:
                        known.n += found.n
        yield EncodedPart(first, X)
    if unusual is not None:
        order = {name: i for i, name in enumerate(encoder.column_names)}
        unusual += sorted(seen.values(), key=lambda found: order[found.column])


class _Tally:
    """What one column holds, beyond what the sample told of it."""

    def __init__(self) -> None:
        self.odd = OddCells()
        self.n_missing = self.n_unseen = self.n_present = 0
        self.first_unseen: tuple[str, str] | None = None


def encode_long(
    table: StreamedTable,
    encoder: FeatureEncoder,
    rows: NDArray[np.int64],
    training: NDArray[np.int64],
    out: NDArray[np.float32],
    styles: dict[str, Style],
) -> tuple[FeatureEncoder, list[str]]:
    """Write the vectors of `rows` into `out`; return the encoder that knows the whole table, and notes.

    The encoder was fitted on a sample. What all rows say exactly is put in: how many cells are missing, the range of
    each number among the training rows, and the few cells that cannot be read, which count as missing as in a small
    table.

    Args:
        table: The table.
        encoder: Fitted on the sample's training rows.
        rows: Rows of the table that are wanted, ascending.
        training: Those of them that are learned from.
        out: float32 (len(rows), n_inputs).
        styles: How numbers are written; see `styles_of`.

    Raises:
        DataError: A cell that cannot be read as what its column was taken for, with file and line; of numbers and dates
            only if more than `ODD_SHARE` of the cells are such.
    """
    tallies = {encoding.column.name: _Tally() for encoding in encoder.encodings}
    learned = np.zeros(table.n_rows, bool)
    learned[training] = True
    width = sum(encoding.width for encoding in encoder.encodings)
    low, high = np.full(width, np.nan), np.full(width, np.nan)
    at = 0
    for first, part in table.parts(encoder.column_names, styles, "encoding"):
        end = int(np.searchsorted(rows, first + len(part)))
        chosen = rows[at:end] - first
        numbers = _numbers(part, encoder, chosen, tallies)
        here = numbers[learned[rows[at:end]]]
        if len(here):
            low, high = np.fmin(low, np.fmin.reduce(here)), np.fmax(high, np.fmax.reduce(here))
        encoder.encode_numbers(numbers, out[at:end])
        release(out, at, end)
        at = end
    if table.survey.is_whole:
        return encoder, []
    return _completed(encoder, tallies, low, high), _notes(encoder, tallies)


def _numbers(
    part: RawTable, encoder: FeatureEncoder, chosen: NDArray[np.int64], tallies: dict[str, _Tally]
) -> NDArray[np.float64]:
    columns = []
    for encoding in encoder.encodings:
        name = encoding.column.name
        tally, cells = tallies[name], part.cells(name)
        prepared = encoding.prepare(part, tally.odd)
        codes = cells.codes[chosen]
        tally.n_missing += cells.n_missing
        tally.n_present += cells.n_present
        if encoding.column.kind == "category":
            unseen = np.append(prepared[:-1, 0] == UNSEEN, False)[codes]
            if unseen.any():
                tally.n_unseen += int(unseen.sum())
                if tally.first_unseen is None:
                    row = int(chosen[unseen.argmax()])
                    tally.first_unseen = cells.word(int(cells.codes[row])), part.where(row)
        columns.append(prepared[codes])
    return np.hstack(columns)


def _completed(
    encoder: FeatureEncoder, tallies: dict[str, _Tally], low: NDArray[np.float64], high: NDArray[np.float64]
) -> FeatureEncoder:
    encodings = []
    for encoding in encoder.encodings:
        tally = tallies[encoding.column.name]
        if tally.odd.n > ODD_SHARE * tally.n_present:
            column = encoding.column
            what = "no date" if column.kind == "date" else "no number"
            raise DataError(
                f"{show(next(iter(tally.odd.words)))} is {what}, and {tally.odd.n:,} of the {tally.n_present:,} cells "
                f"are none; by the sample the column was taken for {column.kind}",
                where=tally.odd.where,
                hint=f"Correct or empty the cells, let it be a category: --category {column.name}, or leave it out: "
                f"--drop {column.name}",
            )
        known = dict.fromkeys((*encoding.column.odd, *tally.odd.words))
        column = dataclasses.replace(encoding.column, n_missing=tally.n_missing, odd=tuple(known))
        encodings.append(dataclasses.replace(encoding, column=column))
    inputs = with_ranges(encoder.encodings, encoder.inputs, low, high)
    return encoder.with_parts(encodings, inputs)


def _notes(encoder: FeatureEncoder, tallies: dict[str, _Tally]) -> list[str]:
    notes = []
    for encoding in encoder.encodings:
        name, tally = encoding.column.name, tallies[encoding.column.name]
        if tally.n_missing and not encoding.flag:
            filled = "all their inputs are 0" if encoding.column.kind == "category" else "they are filled"
            notes.append(
                f"{name} is missing in {tally.n_missing:,} rows and never in the sample: {filled}, and no input of its "
                "own tells of it"
            )
        if tally.first_unseen is not None:
            word, place = tally.first_unseen
            notes.append(
                f"{name} holds categories that are not in the sample, in {tally.n_unseen:,} rows, such as {show(word)} "
                f"({place}): all their inputs are 0"
            )
        if tally.odd.n:
            what = "dates" if encoding.column.kind == "date" else "numbers"
            notes.append(
                f"{name}: {tally.odd.n:,} cells beyond the sample are no {what} and count as missing, such as "
                f"{show(next(iter(tally.odd.words)))} ({tally.odd.where.split(', column')[0]})"
            )
    return notes
