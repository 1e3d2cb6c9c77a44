"""An input with some of its raw values replaced, through the encoder that the network learned with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import ArrayEncoder, FeatureEncoder, PixelEncoder
from neuronwise.data.inputs import ColumnEncoding
from neuronwise.data.reading import RawTable, read_table
from neuronwise.errors import NotFoundError, UsageError, did_you_mean
from neuronwise.explaining.meaning import Meaning


def change_inputs(
    meaning: Meaning, x: NDArray[Any], changes: Mapping[str, object]
) -> tuple[NDArray[Any], list[str], list[str]]:
    """Return one input with columns replaced by raw values, what was replaced in words, and what training never saw.

    Args:
        meaning: Knows the encoder.
        x: One input, (inputs,) or (*input_shape).
        changes: Raw values by column, as a cell of the table has them (``zipcode="98039"``, ``sqft_living=3000``); of
            pixels and plain arrays by the input's name, in the unit of the data.

    Raises:
        NotFoundError: There is no such column; or it was left out when the network learned.
        DataError: A value that cannot be read as what its column was learned as.
    """
    flat = np.array(x).reshape(-1)
    said, unseen = [], []
    for name, cell in changes.items():
        column = find_column(meaning, name)
        before = meaning.column_words(column, flat) if meaning.groups else _words(meaning, column, flat)
        places, values, odd = encode_cells(meaning, column, [cell])
        flat[places] = values[0]
        after = meaning.column_words(column, flat) if meaning.groups else _words(meaning, column, flat)
        if odd and "never seen" in after:
            after = f"{cell!s:.60} (never seen in training)"
        said.append(f"{column}: {before} → {after}")
        unseen += odd
    return flat.reshape(np.shape(x)), said, unseen


def find_column(meaning: Meaning, name: str) -> str:
    """Return a column by its name; upper and lower case may differ where that is clear.

    Raises:
        NotFoundError: There is no such column, or it is none of those that were learned from.
    """
    columns = [str(column) for column in meaning.columns]
    if name in columns:
        return name
    alike = [column for column in columns if column.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    if isinstance(meaning.encoder, FeatureEncoder):
        left = next((column for column in meaning.encoder.left_out if column.name == name), None)
        if left is not None:
            raise NotFoundError(
                f"the network does not see the column {name!r}: it was left out ({left.reason})",
                where="the column to change",
                hint=f"the columns are {', '.join(columns[:20])}",
            )
    what = "column" if meaning.groups else "input"
    shown = ", ".join(columns[:20]) + (" …" if len(columns) > 20 else "")
    raise NotFoundError(
        f"there is no {what} {name!r:.100}.{did_you_mean(name, columns)}",
        where="the column to change",
        hint=f"the {what}s are {shown}",
    )


def encode_cells(
    meaning: Meaning, column: str, cells: Sequence[object]
) -> tuple[NDArray[np.int64], NDArray[Any], list[str]]:
    """Return the places of a column's inputs, their values for each raw cell, (cells, places), and what is unseen."""
    encoder = meaning.encoder
    if isinstance(encoder, FeatureEncoder):
        table = _table(encoder, column, cells)
        places = meaning.groups[column]
        values = encoder.transform(table)[:, places]
        encoding = encoding_of(encoder, column)
        unusual = encoder.unusual(table, encoding, np.arange(len(cells)))
        return places, values, [f"{one.column} {one.what.format(cell=one.cell)}" for one in unusual]
    place = list(meaning.input_names).index(column)
    raw = np.array([_number(cell, column) for cell in cells])
    scaled, odd = raw, []
    if isinstance(encoder, PixelEncoder):
        scaled, low, high = raw / encoder.maximum, 0.0, encoder.maximum
        odd = _beyond(column, raw, low, high)
    elif isinstance(encoder, ArrayEncoder):
        odd = _beyond(column, raw, encoder.minimum, encoder.maximum)
        if encoder.means is not None and encoder.scales is not None:
            scaled = (raw - encoder.means[place]) / encoder.scales[place]
    return np.array([place]), scaled[:, None], odd


def encoding_of(encoder: FeatureEncoder, column: str) -> ColumnEncoding:
    """Return how a column becomes its inputs."""
    return next(encoding for encoding in encoder.encodings if encoding.column.name == column)


def _table(encoder: FeatureEncoder, column: str, cells: Sequence[object]) -> RawTable:
    """Return a table of these cells in one column; the others, of which nothing is taken, are empty."""
    import pandas as pd

    words = [None if cell is None or cell == "" else str(cell) for cell in cells]
    frame = pd.DataFrame({name: [None] * len(cells) for name in encoder.column_names}, dtype=object)
    frame[column] = pd.Series(words, dtype=object)
    return read_table(frame)


def _number(cell: object, column: str) -> float:
    try:
        number = float(str(cell))
    except ValueError:
        raise UsageError(f"{cell!r:.100} is not a number", where=f"input {column}") from None
    if not np.isfinite(number):
        raise UsageError(f"{cell!r:.100} is not a finite number", where=f"input {column}")
    return number


def _beyond(column: str, raw: NDArray[Any], low: float, high: float) -> list[str]:
    outside = raw[(raw < low) | (raw > high)]
    return [f"{column} {outside[0]:g} is beyond anything seen in training: {low:g} to {high:g}"] if len(outside) else []


def _words(meaning: Meaning, column: str, flat: NDArray[Any]) -> str:
    place = list(meaning.input_names).index(column)
    return meaning.value_words(place, float(flat[place]))
