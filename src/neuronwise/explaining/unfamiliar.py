"""What of an input lies outside anything that training has seen, in sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import ArrayEncoder, FeatureEncoder, PixelEncoder
from neuronwise.data.columns import figure
from neuronwise.data.inputs import MISSING, Input
from neuronwise.explaining.meaning import Meaning

# Inputs are float32, so the largest value seen comes back a little larger or smaller.
_ROUNDING = 1e-5


def unfamiliar(meaning: Meaning, x: NDArray[Any]) -> list[str]:
    """Return sentences on what one input, (inputs,) or (*input_shape), has that training never had.

    Numbers and dates outside their range ("sqft_living 40,000 is beyond anything seen: 290 to 13,540"), columns of
    which no category is set, values that are not finite. Empty where nothing is known of the training.
    """
    flat = np.asarray(x, np.float64).reshape(-1)
    said = []
    if not np.isfinite(flat).all():
        wrong = np.flatnonzero(~np.isfinite(flat))
        said.append(
            f"{len(wrong):,} of {len(flat):,} inputs are not finite, the first is "
            f"{meaning.input_names[int(wrong[0])]}: {flat[wrong[0]]}"
        )
    if isinstance(meaning.encoder, FeatureEncoder):
        for column, places in meaning.groups.items():
            said += _of_column(meaning, column, [(meaning.encoder.inputs[i], float(flat[i])) for i in places.tolist()])
    elif isinstance(meaning.encoder, PixelEncoder):
        outside = int(((flat < -_ROUNDING) | (flat > 1 + _ROUNDING)).sum())
        if outside:
            top = f"{meaning.encoder.maximum:g}"
            said.append(f"{outside:,} of {len(flat):,} pixels are beyond anything seen: 0 to {top} (here 0 to 1)")
    elif isinstance(meaning.encoder, ArrayEncoder):
        raw = flat
        if meaning.encoder.means is not None and meaning.encoder.scales is not None:
            raw = flat * meaning.encoder.scales + meaning.encoder.means
        low, high = meaning.encoder.minimum, meaning.encoder.maximum
        slack = _ROUNDING * max(abs(low), abs(high), 1.0)
        outside_raw = np.flatnonzero((raw < low - slack) | (raw > high + slack))
        if len(outside_raw):
            place = int(outside_raw[0])
            more = f", and {len(outside_raw) - 1:,} more inputs" if len(outside_raw) > 1 else ""
            said.append(
                f"{meaning.input_names[place]} {figure(float(f'{raw[place]:.6g}'))} is beyond anything seen: "
                f"{figure(low)} to {figure(high)}{more}"
            )
    return said


def _of_column(meaning: Meaning, column: str, inputs: list[tuple[Input, float]]) -> list[str]:
    if any(known.part == MISSING and value == 1.0 for known, value in inputs):
        return []
    first, value = inputs[0]
    if first.kind == "category":
        if any(value != 0.0 for _, value in inputs):
            return []
        return [f"{column}: none of the {len(inputs):,} categories seen in training; all its inputs are 0"]
    said = []
    for known, value in inputs:
        if not known.is_scaled or (known.kind == "date" and known.part != "days since first"):
            continue
        raw = float(known.decode(value))
        slack = _ROUNDING * max(known.maximum - known.minimum, abs(raw))
        if raw < known.minimum - slack or raw > known.maximum + slack:
            words = [figure(float(f"{number:.6g}")) for number in (raw, known.minimum, known.maximum)]
            if known.kind == "date":
                words = [meaning.date_words(column, days) for days in (raw, known.minimum, known.maximum)]
            said.append(f"{column} {words[0]} is beyond anything seen: {words[1]} to {words[2]}")
    return said
