"""What inputs and outputs mean, as the front end needs it: names, units, and the form in which a row is edited."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import ArrayEncoder, FeatureEncoder, PixelEncoder
from neuronwise.data.inputs import ColumnEncoding, Input
from neuronwise.explaining import Meaning

_MOST_NAMES = 20_000


def describe_inputs(meaning: Meaning) -> dict[str, Any]:
    """Return what the inputs are: ``kind`` is ``"picture"``, ``"table"`` or ``"vector"``.

    A table has its columns in order, each with the inputs it became (how each is scaled, the categories), so that the
    page can show a row in original units and encode an edited one as the encoder does.
    """
    if meaning.picture_shape is not None:
        encoder = meaning.encoder
        maximum = encoder.maximum if isinstance(encoder, PixelEncoder) else 1.0
        return {"kind": "picture", "shape": list(meaning.picture_shape), "maximum": maximum}
    if isinstance(meaning.encoder, FeatureEncoder):
        encodings = {encoding.column.name: encoding for encoding in meaning.encoder.encodings}
        inputs = meaning.encoder.inputs
        columns = [
            _column(encodings[name], [(int(place), inputs[int(place)]) for place in places])
            for name, places in meaning.groups.items()
        ]
        return {"kind": "table", "names": list(meaning.input_names), "columns": columns}
    names = list(meaning.input_names[:_MOST_NAMES])
    found: dict[str, Any] = {"kind": "vector", "names": [str(name) for name in names]}
    if isinstance(meaning.encoder, ArrayEncoder) and meaning.encoder.means is not None:
        assert meaning.encoder.scales is not None
        found |= {"means": _finite(meaning.encoder.means), "scales": _finite(meaning.encoder.scales)}
    return found


def _column(encoding: ColumnEncoding, inputs: list[tuple[int, Input]]) -> dict[str, Any]:
    column = encoding.column
    entry: dict[str, Any] = {
        "name": column.name,
        "kind": column.kind,
        "time_of_day": column.date_format if column.kind == "numeric" else None,
        "inputs": [_input(place, one) for place, one in inputs],
    }
    if column.kind == "date":
        entry["origin"] = encoding.origin or "1970-01-01"
    return entry


def _input(place: int, one: Input) -> dict[str, Any]:
    return {
        "place": place,
        "name": one.name,
        "part": one.part,
        "category": one.category,
        "transform": one.transform,
        "scaled": one.is_scaled,
        "mean": one.mean,
        "scale": one.scale,
        "minimum": one.minimum,
        "maximum": one.maximum,
        "fill": one.fill,
    }


def describe_outputs(meaning: Meaning) -> dict[str, Any]:
    """Return names of the outputs, what kind of question they answer, and the way back to the target's unit."""
    target = meaning.target
    return {
        "names": [str(name) for name in meaning.output_names],
        "task": target.task if target is not None else None,
        "target": target.name if target is not None else None,
        "classes": list(target.classes) if target is not None else [],
        "log": bool(target.log) if target is not None else False,
        "mean": target.mean if target is not None else 0.0,
        "scale": target.scale if target is not None else 1.0,
    }


def drawn_like(pictures: NDArray[Any]) -> dict[str, float] | None:
    """Return how pictures are drawn, so that what a user draws can be made alike; None where it cannot be told.

    Args:
        pictures: Grey pictures (n, h, w), 0 to 1.

    Returns:
        Means over the pictures, in pixels: ``box``, the larger side of what is inked (at least 0.3 of a picture's
        largest value), ``row`` and ``column`` of its centre of mass, ``stroke``, its width: that of a long stroke is
        about 2 · area / perimeter; and ``level``, the mean of the largest values.
    """
    h, w = pictures.shape[1:]
    found = []
    for picture in np.asarray(pictures, np.float64)[:500]:
        largest = picture.max(initial=0.0)
        if not largest > 0 or not math.isfinite(largest):
            continue
        ink = picture >= 0.3 * largest
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        mass = picture / picture.sum()
        padded = np.pad(ink, 1)
        perimeter = sum(int((padded & ~np.roll(padded, s, axis)).sum()) for axis in (0, 1) for s in (1, -1))
        found.append(
            (
                max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1,
                float(mass.sum(axis=1) @ np.arange(h)),
                float(mass.sum(axis=0) @ np.arange(w)),
                2.0 * float(picture.sum() / largest) / max(perimeter * 0.8, 1.0),
                largest,
            )
        )
    if len(found) < 5:
        return None
    names = ("box", "row", "column", "stroke", "level")
    return dict(zip(names, (float(v) for v in np.mean(found, axis=0)), strict=True))


def _finite(values: NDArray[np.float64]) -> list[float]:
    return [float(value) if math.isfinite(value) else 0.0 for value in values]
