"""A fitted encoder as JSON, written without pickle and read with suspicion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.data.checked import Checked
from neuronwise.data.columns import INPUT_KINDS, Column
from neuronwise.data.dates import FORMATS, PARTS, TIME_OF_DAY
from neuronwise.data.delimited import MAX_COLUMNS
from neuronwise.data.inputs import ColumnEncoding, Input, inputs_of
from neuronwise.data.shapes import MAX_CATEGORIES

if TYPE_CHECKING:
    from neuronwise.data.encoder import FeatureEncoder

VERSION = 0
_KINDS = ("numeric", "category", "yes/no", "date", "identifier", "constant", "text", "dropped")
_NUMBERS = ("mean", "scale", "minimum", "maximum", "fill")


def encoder_to_dict(encoder: FeatureEncoder) -> dict[str, Any]:
    """Return the encoder as JSON's types: finite numbers, texts, lists and dicts."""
    return {
        "version": VERSION,
        "columns": [
            {
                **_column_to_dict(encoding.column),
                "parts": list(encoding.parts),
                "origin": encoding.origin,
                "categories": list(encoding.categories),
                "flag": encoding.flag,
            }
            for encoding in encoder.encodings
        ],
        # Names and kinds of the inputs follow from the columns; only what was measured is kept for each.
        "inputs": [
            {"name": neuron.name, **{key: getattr(neuron, key) for key in _NUMBERS}} for neuron in encoder.inputs
        ],
        "left_out": [_column_to_dict(column) for column in encoder.left_out],
    }


def _column_to_dict(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "kind": column.kind,
        "reason": column.reason,
        "n_missing": column.n_missing,
        "n_distinct": column.n_distinct,
        # Raw cells stay where they are; a date is kept as the pattern that an error message shows.
        "examples": list(column.examples[:1]) if column.kind == "date" else [],
        "log": column.log,
        "place": column.place,
        "decimal": column.decimal,
        "date_format": column.date_format,
        "odd": list(column.odd),
    }


def encoder_from_dict(data: object) -> FeatureEncoder:
    """Return the encoder; every entry is checked before it is used.

    Raises:
        FormatError: An entry is missing, of a wrong type, too large, or contradicts another.
    """
    import dataclasses

    from neuronwise.data.encoder import FeatureEncoder
    from neuronwise.data.transformers import restore

    d = Checked(data, "encoder")
    version = d.whole("version")
    if version != VERSION:
        raise d.error(f"its format has version {version}, and this Neuronwise knows {VERSION}")
    encodings = [_encoding(item, i) for i, item in enumerate(d.items("columns", MAX_COLUMNS))]
    if not encodings:
        raise d.error("it has no columns")
    left_out = [
        _column(Checked(item, f"encoder, left_out {i}")) for i, item in enumerate(d.items("left_out", MAX_COLUMNS))
    ]
    names = [encoding.column.name for encoding in encodings]
    if len(set(names)) != len(names):
        raise d.error("two columns have the same name")
    blank = [neuron for encoding in encodings for neuron in inputs_of(encoding)]
    items = d.items("inputs", len(blank))
    if len(items) != len(blank):
        raise d.error(f"the columns make {len(blank)} inputs, and {len(items)} are given")
    inputs: list[Input] = []
    for i, (neuron, item) in enumerate(zip(blank, items, strict=True)):
        entry = Checked(item, f"encoder, input {i}")
        numbers = {key: entry.number(key, above=0.0) if key == "scale" else entry.number(key) for key in _NUMBERS}
        inputs.append(dataclasses.replace(neuron, name=entry.text("name"), **numbers))  # type: ignore[arg-type]
    return FeatureEncoder(encodings, inputs, left_out, restore(encodings, inputs))


def _column(d: Checked) -> Column:
    date_format = d.text_or_none("date_format")
    if date_format is not None and date_format not in (*FORMATS, TIME_OF_DAY):
        raise d.error(f"{date_format[:60]!r} is no known date format")
    return Column(
        name=d.text("name"),
        kind=d.choice("kind", _KINDS),  # type: ignore[arg-type]
        reason=d.text("reason"),
        n_missing=d.whole("n_missing"),
        n_distinct=d.whole("n_distinct"),
        examples=d.texts("examples", 100),
        log=d.truth("log"),
        place=d.truth("place"),
        decimal=d.choice("decimal", (".", ",")),
        date_format=date_format,
        odd=d.texts("odd", 1_000_000),
    )


def _encoding(item: object, i: int) -> ColumnEncoding:
    d = Checked(item, f"encoder, column {i}")
    column = _column(d)
    if column.kind not in INPUT_KINDS:
        raise d.error(f"a column of kind {column.kind!r} has no inputs")
    categories = d.texts("categories", MAX_CATEGORIES, distinct=True)
    parts = d.texts("parts", len(PARTS), distinct=True)
    origin = d.text_or_none("origin")
    flag = d.truth("flag")
    if column.kind == "category":
        if not categories and not flag:
            raise d.error("a category column has no categories")
    elif categories:
        raise d.error(f"a column of kind {column.kind!r} has categories")
    if (column.kind == "date") != bool(parts) or not set(parts) <= set(PARTS):
        raise d.error("the parts of the date are wrong")
    if column.kind == "date":
        if origin is None or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", origin, re.ASCII):
            raise d.error("the first date is missing or no date")
        try:
            np.datetime64(origin, "s")
        except ValueError:
            raise d.error(f"{origin!r} is no date") from None
    if column.date_format is not None:
        fits = column.kind == ("numeric" if column.date_format == TIME_OF_DAY else "date")
        if not fits:
            raise d.error(f"{column.date_format!r} does not fit the kind {column.kind!r}")
    if (column.log or column.place) and (column.kind != "numeric" or column.log == column.place):
        raise d.error("only a number has a logarithm or is a place, and not both")
    return ColumnEncoding(column, parts, origin, categories, flag)
