"""How kernels answer to oriented edges, bars and gratings, and how random kernels of the same size do.

The angle of a stimulus is the direction of its lines, counterclockwise from horizontal as one sees the picture (rows
run downwards), 0 ≤ θ < 180: a horizon lies at 0°, a lamp post at 90°, "/" at 45°.

Each stimulus is cut out by the kernel's support, freed of its mean there and brought to norm 1; a kernel is freed of
its mean and brought to norm 1 likewise. So a response is a cosine, 0 to 1: the z of the kernel for that stimulus, as a
share of what a kernel of its norm can reach, and how bright the patch is counts for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ANGLES: Final = np.arange(0.0, 180.0, 5.0)
"""Angles of the stimuli in degrees, (36,)."""
FREQUENCIES: Final = 16
"""Number of spatial frequencies, evenly from half a cycle per longer side of the kernel to 0.5 cycles per pixel."""
RANDOM_KERNELS: Final = 1000
"""Number of random kernels that a kernel is compared with."""
RANDOM_SEED: Final = 0
"""Seed of the random kernels."""
LARGEST_SIDE: Final = 32
"""Kernels with a longer side are averaged down to it before their response is computed."""

# Kernels at a time, which bounds memory: 100 kernels of 32 × 32 against 1,152 gratings.
_AT_A_TIME = 100


@dataclass(frozen=True)
class Tuning:
    """Responses of kernels, and what is read from them.

    Attributes:
        responses: Response to gratings at each of `ANGLES`, (kernels, 36), 0 to 1: at each frequency that of the best
            phase, then the root of the mean square over the frequencies.
        orientation: Angle of the lines the kernel prefers, in degrees, (kernels,): half the angle of Σ r² e^{2iθ}.
        selectivity: |Σ r e^{2iθ}| / Σ r, (kernels,): 1 minus the circular variance (Ringach, Shapley and Hawken 2002,
            J. Neurosci. 22(13), 5639, equation 1). 0 for all angles alike, 1 for a single angle; 1/3 for a derivative.
        frequency: Spatial frequency of the grating that is answered most, in cycles per pixel, (kernels,).
        grating: The largest response to any grating, (kernels,).
        edge: The largest response to any step edge, (kernels,).
        bar: The largest response to any bar that lies inside the kernel, of either sign, (kernels,).
        light: Across its lines, the side that is light where that best edge raises z: `orientation` + 90 or + 270
            degrees counterclockwise from the right, (kernels,).

    All are NaN for kernels without any difference between their pixels, and for those that are not finite.
    """

    responses: Array
    orientation: Array
    selectivity: Array
    frequency: Array
    grating: Array
    edge: Array
    bar: Array
    light: Array


def tune(kernels: NDArray[Any]) -> Tuning:
    """Return how kernels, (kernels, rows, columns), answer to oriented stimuli."""
    small = shrink(np.asarray(kernels, np.float64))
    unit, known = _normed(small)
    parts = [_tune(unit[start : start + _AT_A_TIME]) for start in range(0, len(unit), _AT_A_TIME)]
    scale = max(small.shape[1:]) / max(kernels.shape[1:])
    fields = [np.concatenate([part[place] for part in parts]) for place in range(8)]
    fields[3] = fields[3] * scale
    for values in fields:
        values[~known] = np.nan
    return Tuning(*fields)


@dataclass(frozen=True)
class Chance:
    """What random kernels of one size reach, each ascending, (kernels,).

    Attributes:
        selectivity: Their selectivities.
        best: Their largest responses to any edge, bar or grating.
    """

    selectivity: Array
    best: Array

    def beyond(self, selectivity: Array) -> Array:
        """Return the share of random kernels, 0 to 1, that are less selective; NaN for NaN."""
        share = np.searchsorted(self.selectivity, selectivity, side="left") / len(self.selectivity)
        return np.where(np.isnan(selectivity), np.nan, share)


@lru_cache(maxsize=64)
def chance(rows: int, columns: int, *, count: int = RANDOM_KERNELS, seed: int = RANDOM_SEED) -> Chance:
    """Return what random kernels of this size reach; kept, because it depends on nothing else.

    The kernels' weights are independent and normal. Responses do not depend on a kernel's norm, so these are also
    random kernels of the same norm.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, count, _AT_A_TIME):  # drawn in parts: 1,000 kernels of a large picture are gigabytes
        parts.append(tune(rng.standard_normal((min(_AT_A_TIME, count - start), rows, columns))))
    best = np.concatenate([np.maximum(np.maximum(part.grating, part.edge), part.bar) for part in parts])
    return Chance(np.sort(np.concatenate([part.selectivity for part in parts])), np.sort(best))


def shrink(kernels: Array) -> Array:
    """Return kernels, (kernels, rows, columns), averaged down so that no side is longer than `LARGEST_SIDE`."""
    longest = max(kernels.shape[1:])
    if longest <= LARGEST_SIDE:
        return kernels
    rows, columns = (_averages(size, max(1, round(size * LARGEST_SIDE / longest))) for size in kernels.shape[1:])
    shrunk: Array = rows @ kernels @ columns.T
    return shrunk


def _averages(size: int, smaller: int) -> Array:
    """Return the matrix, (smaller, size), whose rows average equal parts of an axis, pixels shared where cut."""
    ends = np.linspace(0.0, size, smaller + 1)
    pixels = np.arange(size)
    overlap = np.minimum(pixels + 1, ends[1:, None]) - np.maximum(pixels, ends[:-1, None])
    parts: Array = np.clip(overlap, 0.0, None) * (smaller / size)
    return parts


def _normed(kernels: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return kernels without their mean, of norm 1 each, and which have a direction; the others are 0."""
    finite = np.asarray(np.isfinite(kernels).all(axis=(1, 2)))
    clean = np.where(finite[:, None, None], kernels, 0.0)
    largest = np.abs(clean).max(axis=(1, 2), initial=0.0)
    clean = clean / np.where(largest > 0, largest, 1.0)[:, None, None]  # no square overflows or vanishes
    clean -= clean.mean(axis=(1, 2), keepdims=True)
    norms = np.linalg.norm(clean.reshape(len(clean), -1), axis=1)
    # A constant kernel leaves a rest of rounding: weights are mostly float32.
    known = finite & (norms > 1e-6 * math.sqrt(kernels[0].size if len(kernels) else 1))
    return np.where(known[:, None, None], clean / np.where(known, norms, 1.0)[:, None, None], 0.0), known


def _tune(unit: Array) -> tuple[Array, ...]:
    """Return the fields of `Tuning` for kernels without mean and of norm 1."""
    rows, columns = unit.shape[1:]
    flat = unit.reshape(len(unit), -1)
    waves, frequencies = gratings(rows, columns)
    pairs = (flat @ waves.reshape(-1, rows * columns).T).reshape(len(flat), len(frequencies), len(ANGLES), 2)
    amplitudes = np.sqrt((pairs**2).sum(axis=-1))
    responses = np.sqrt((amplitudes**2).mean(axis=1))
    doubled = np.exp(2j * np.deg2rad(ANGLES))
    with np.errstate(invalid="ignore", divide="ignore"):
        selectivity = np.abs(responses @ doubled) / responses.sum(axis=1)
    orientation = np.rad2deg(np.angle(responses**2 @ doubled)) / 2 % 180.0
    frequency = _peak(amplitudes.max(axis=2), frequencies)
    steps, sides = edges(rows, columns)
    on_steps = flat @ steps.T
    best = np.abs(on_steps).argmax(axis=1)
    of_best = on_steps[np.arange(len(flat)), best]
    # To which side of its own lines: the better edge may lie some degrees from them.
    towards = sides[best] + np.where(of_best < 0, 180.0, 0.0)
    light = (orientation + np.where(np.cos(np.deg2rad(towards - orientation - 90.0)) < 0, 270.0, 90.0)) % 360.0
    on_bars = np.abs(flat @ bars(rows, columns).T).max(axis=1, initial=0.0)
    return (
        responses, orientation, selectivity, frequency,
        amplitudes.max(axis=(1, 2)), np.abs(of_best), on_bars, light,
    )  # fmt: skip


def _peak(values: Array, frequencies: Array) -> Array:
    """Return the frequency of the largest value of each row; between frequencies by a parabola through three."""
    places = values.argmax(axis=1)
    inner = np.clip(places, 1, len(frequencies) - 2)
    here = np.arange(len(values))
    below, middle, above = values[here, inner - 1], values[here, inner], values[here, inner + 1]
    bend = below - 2 * middle + above
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = np.where((bend < 0) & (places == inner), (below - above) / (2 * bend), 0.0)
    found: Array = frequencies[places] + np.clip(moved, -0.5, 0.5) * (frequencies[1] - frequencies[0])
    return found


@lru_cache(maxsize=8)
def gratings(rows: int, columns: int) -> tuple[Array, Array]:
    """Return gratings, (frequencies, angles, 2, pixels), and their frequencies in cycles per pixel.

    The two of a pair, a cosine and a sine about the centre, are at right angles to each other (the support is
    symmetric), so that the root of the sum of their squared responses is the response at the best phase.
    """
    across = _across(rows, columns)
    frequencies = np.linspace(0.5 / max(rows, columns), 0.5, FREQUENCIES)
    turns = 2 * np.pi * frequencies[:, None, None] * across
    return _contrast(np.stack([np.cos(turns), np.sin(turns)], axis=2)), frequencies


@lru_cache(maxsize=8)
def edges(rows: int, columns: int) -> tuple[Array, Array]:
    """Return step edges, (edges, pixels), and the direction of the light side of each in degrees, (edges,).

    At each of `ANGLES` the step lies at every half pixel that leaves at least half a pixel on both sides.
    """
    across, fractions = _across(rows, columns), []
    directions = []
    for angle, u in zip(ANGLES, across, strict=True):
        for place in _places(u, 0.5):
            fractions.append(_covered(u - place, angle))
            directions.append(angle + 90.0)
    return _contrast(np.array(fractions)), np.array(directions)


@lru_cache(maxsize=8)
def bars(rows: int, columns: int) -> Array:
    """Return bars, (bars, pixels), light on dark and wholly inside the kernel, 1 pixel to a third of it wide."""
    widths = np.unique(np.round(np.geomspace(1.0, max(1.0, min(rows, columns) / 3), 4), 1))
    found = []
    for angle, u in zip(ANGLES, _across(rows, columns), strict=True):
        for width in widths:
            for place in _places(u, width / 2 + 0.5):
                found.append(_covered(u - place + width / 2, angle) - _covered(u - place - width / 2, angle))
    return _contrast(np.array(found)) if found else np.empty((0, rows * columns))


def _across(rows: int, columns: int) -> Array:
    """Return how far each pixel's centre lies across the lines of each angle from the kernel's centre, (36, pixels)."""
    row, column = np.mgrid[0:rows, 0:columns].reshape(2, -1).astype(np.float64)
    right, up = column - (columns - 1) / 2, (rows - 1) / 2 - row
    angles = np.deg2rad(ANGLES)[:, None]
    across: Array = -np.sin(angles) * right + np.cos(angles) * up
    return across


def _places(u: Array, margin: float) -> Array:
    """Return places across the kernel, symmetric about its centre at most half a pixel apart, that leave a margin."""
    reach = float(np.abs(u).max()) + 0.5 - margin
    if reach < 0:
        return np.empty(0)
    steps = min(math.floor(2 * reach), LARGEST_SIDE)
    return np.linspace(-reach, reach, 2 * math.ceil(steps / 2) + 1) if steps else np.zeros(1)


def _covered(u: Array, angle: float) -> Array:
    """Return the share of each pixel, a unit square at distance `u`, that lies beyond a line at 0: exact.

    Projected across the line, a square is the sum of two uniform spreads, |sin θ| and |cos θ| wide; this is its
    distribution function.
    """
    a, b = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    if min(a, b) < 1e-9:
        return np.clip(u / max(a, b) + 0.5, 0.0, 1.0)
    half, inner = (a + b) / 2, abs(a - b) / 2
    squares = [np.clip(u + t, 0.0, None) ** 2 for t in (half, inner, -inner, -half)]
    return np.clip((squares[0] - squares[1] - squares[2] + squares[3]) / (2 * a * b), 0.0, 1.0)


def _contrast(stimuli: Array) -> Array:
    """Return stimuli, (…, pixels), without their mean and of norm 1; those without contrast are 0."""
    stimuli = stimuli - stimuli.mean(axis=-1, keepdims=True)
    norms = np.linalg.norm(stimuli, axis=-1, keepdims=True)
    return np.where(norms > 1e-9, stimuli / np.where(norms > 1e-9, norms, 1.0), 0.0)
