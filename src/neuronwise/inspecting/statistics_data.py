"""What was measured of neurons and layers over a training, thinned to what a page can carry.

Of layers too wide for the page every so many neurons are here; sums over a layer are of all its neurons.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.inspecting.blobs import blob, blob_bytes
from neuronwise.inspecting.history_data import Part, spread_evenly
from neuronwise.recording import RecordedHistory
from neuronwise.recording.layout import LayerLayout, Layout

STATISTICS = ("grad_norm", "weight_norm", "update_norm", "bias", "mean", "std", "min", "max", "inactive", "saturated",
              "nonfinite_weights", "nonfinite_gradients", "nonfinite_activations")  # fmt: skip
"""What of each neuron goes into the page, see docs/reference/quantities.md."""
SUMS = ("grad_norm", "weight_norm", "update_norm", "silent", "measured", "nonfinite_weights", "nonfinite_gradients",
        "nonfinite_activations")  # fmt: skip
"""What is added up over all neurons of a layer: norms, how many were silent on every input, of how many that is known,
and how many values were not finite."""
HISTOGRAMS = ("W", "dW", "z", "a")
_MOST_FRAMES, _LEAST_FRAMES, _MOST_HISTOGRAMS = 160, 40, 60
_MOST_READ_BYTES = 400_000_000
_LEAST_NEURONS = 64  # of a layer that are always here


def statistics_part(history: RecordedHistory, room_bytes: int) -> Part:
    """Return statistics of neurons, and their sums over layers, at stored frames spread evenly over them.

    What fits decides how many frames, and where few would, how many neurons of wide layers.
    """
    layout, steps = history.layout, history.frames
    sums_bytes = blob_bytes(len(layout.observed) * len(SUMS), "float32")
    room = room_bytes - min(len(steps), _MOST_FRAMES) * sums_bytes
    taken, spacings = _neurons_that_fit(layout, min(len(steps), _LEAST_FRAMES), room)
    most = min(max(room, 0) // max(blob_bytes(taken.size * len(STATISTICS), "float32"), 1), _MOST_FRAMES)
    layers, first = [], 0
    for layer, spacing in zip(layout.observed, spacings, strict=True):
        here = -(-layer.neurons // spacing)
        layers.append({"name": layer.name, "first": first, "neurons": layer.neurons, "every": layer.every,
                       "spacing": spacing})  # fmt: skip
        first += here
    content: dict[str, Any] = {"fields": list(STATISTICS), "layers": layers, "steps": [], "values": None,
                               "sums": list(SUMS), "summed": None, "of_frames": len(steps)}  # fmt: skip
    part = Part(content)
    if not len(steps) or most < 1:
        if len(steps):
            part.notes.append(f"Statistics of {layout.neuron_count:,} neurons are too many for this page.")
        return part
    chosen = spread_evenly(steps, int(most))
    rows, sums, kept = [], [], []
    for step in chosen.tolist():
        try:
            row = history.neurons(step)
        except (FormatError, NotFoundError):
            continue
        rows.append(np.stack([np.asarray(row[name][0], np.float32)[taken] for name in STATISTICS]))
        sums.append(sums_of(row, layout.observed))
        kept.append(step)
    content |= {"steps": kept, "values": blob(np.array(rows), "float32"), "summed": blob(np.array(sums), "float32")}
    if len(chosen) < len(steps):
        part.notes.append(f"Statistics of neurons are here at {len(kept):,} of {len(steps):,} stored steps.")
    for layer, spacing in zip(layout.observed, spacings, strict=True):
        if spacing > 1:
            part.notes.append(
                f"Of the {layer.neurons:,} neurons of {layer.name:.100} statistics of every {ordinal(spacing)} are "
                "here; what is said of the whole layer is of all of them."
            )
    if len(kept) < len(chosen):
        part.notes.append(f"Statistics of {len(chosen) - len(kept):,} steps are damaged in the recording and left out.")
    return part


def _neurons_that_fit(layout: Layout, frames: int, room_bytes: int) -> tuple[NDArray[np.int64], list[int]]:
    """Return which neurons of all layers are taken, and of each layer every how many.

    All of them where so many frames fit; else the most per layer is halved until they do.
    """
    widest = max((layer.neurons for layer in layout.observed), default=0)
    while True:
        spacings = [-(-layer.neurons // max(widest, _LEAST_NEURONS)) for layer in layout.observed]
        taken = [
            np.arange(layer.first_neuron, layer.first_neuron + layer.neurons, spacing)
            for layer, spacing in zip(layout.observed, spacings, strict=True)
        ]
        every = np.concatenate(taken) if taken else np.empty(0, np.int64)
        if widest <= _LEAST_NEURONS or frames * blob_bytes(every.size * len(STATISTICS), "float32") <= room_bytes:
            return every, spacings
        widest //= 2


def sums_of(row: NDArray[np.void], layers: list[LayerLayout]) -> NDArray[np.float32]:
    """Return `SUMS` of each layer at a frame, (sums, layers); NaN where no neuron has any."""
    firsts = [layer.first_neuron for layer in layers]  # which lie one behind the other
    found = np.full((len(SUMS), len(layers)), np.nan)
    for k, name in enumerate(SUMS):
        values = np.asarray(row[{"silent": "inactive", "measured": "inactive"}.get(name, name)][0], np.float64)
        known = ~np.isnan(values)
        counts = np.add.reduceat(known, firsts, dtype=np.int64)
        if name == "measured":
            found[k] = counts
        elif name == "silent":
            found[k] = np.add.reduceat(values == 1, firsts, dtype=np.int64)
        else:
            is_norm = name.endswith("_norm")
            with np.errstate(over="ignore"):
                sums = np.add.reduceat(np.where(known, values**2 if is_norm else values, 0.0), firsts)
            found[k] = np.where(counts > 0, np.sqrt(sums) if is_norm else sums, np.nan)
    with np.errstate(over="ignore"):
        return found.astype(np.float32)


def histograms_part(history: RecordedHistory, room_bytes: int) -> Part:
    """Return how weights, gradients, z and a of each layer were spread, at stored frames, as far as they fit.

    The classes are those of the recording, of a sample where a layer has more than 16,384 values. Least and largest
    are of all values where the recording has them: of weights in a stored state, of activations by neuron.
    """
    observed = history.layout.observed
    names, steps = [layer.name for layer in observed], history.histogram_steps
    size = len(names) * len(HISTOGRAMS) * (blob_bytes(64, "uint8") + blob_bytes(4, "float32"))
    most = min(room_bytes // max(size, 1), _MOST_HISTOGRAMS)
    content: dict[str, Any] = {"layers": names, "what": list(HISTOGRAMS), "steps": [], "of": len(steps)}
    if not len(steps) or most < 1 or not names:
        return Part(content)
    counts, ranges, ends, odds, kept = [], [], [], [], []
    state_bytes, read_bytes = history.layout.parameter_count * history.layout.dtype.itemsize, 0
    for step in spread_evenly(steps, int(most)).tolist():
        try:
            row = history.histograms(step)[0]
        except (FormatError, NotFoundError):
            continue
        found = np.stack([np.asarray(row[f"{what}_counts"], np.float64) for what in HISTOGRAMS])
        # As shares of the fullest class: 0 to 255 are enough to draw them.
        largest = found.max(axis=-1, keepdims=True)
        counts.append(np.ceil(255 * found / np.where(largest > 0, largest, 1)).astype(np.uint8))
        ranges.append(np.stack([np.asarray(row[f"{what}_range"], np.float32) for what in HISTOGRAMS]))
        # Of very large models weights are read at the first steps only: the end of a training does not wait for it.
        reads = read_bytes + state_bytes <= _MOST_READ_BYTES
        read_bytes += state_bytes if reads else 0
        true_ends, odd = _ends_and_odd(history, step, observed, reads=reads)
        ends.append(true_ends)
        odds.append(odd)
        kept.append(step)
    if kept:
        content |= {"steps": kept, "counts": blob(counts, "uint8"), "ranges": blob(ranges, "float32"),
                    "ends": blob(ends, "float32"), "odd": blob(odds, "int32")}  # fmt: skip
    return Part(content)


def _ends_and_odd(
    history: RecordedHistory, step: int, observed: list[LayerLayout], *, reads: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return least and largest of all finite values, NaN where they are not known, (histograms, layers, 2).

    And how many values are NaN and how many infinite, (histograms, layers, 2); −1, and all that are not finite, where
    the recording does not tell one from the other.

    Args:
        history: The recording.
        step: Of which.
        observed: Its layers that have neurons.
        reads: Whether the weights are read, where they are stored.
    """
    ends = np.full((len(HISTOGRAMS), len(observed), 2), np.nan, np.float32)
    odd = np.zeros((len(HISTOGRAMS), len(observed), 2), np.int64)
    try:
        row = history.neurons(step)[0]
    except (FormatError, NotFoundError):
        row = None
    try:
        flat = history.parameters(step) if reads and step in history.steps else None
    except (FormatError, NotFoundError):
        flat = None
    fields = {"W": "nonfinite_weights", "dW": "nonfinite_gradients", "a": "nonfinite_activations"}
    for at, layer in enumerate(observed):
        which = slice(layer.first_neuron, layer.first_neuron + layer.neurons)
        if row is not None:
            for k, what in enumerate(HISTOGRAMS):
                if what in fields and (count := int(np.nansum(row[fields[what]][which]))):
                    odd[k, at] = -1, min(count, 2**31 - 1)
            low, high = np.asarray(row["min"][which], np.float64), np.asarray(row["max"][which], np.float64)
            if np.isfinite(low).any() and np.isfinite(high).any():
                place = HISTOGRAMS.index("a")
                ends[place, at] = low[np.isfinite(low)].min(), high[np.isfinite(high)].max()
        if flat is not None and layer.weights is not None:
            values = layer.parameters[layer.weights].of(flat)
            finite = np.isfinite(values)
            if finite.any():
                ends[0, at] = (
                    np.min(values, where=finite, initial=np.inf),
                    np.max(values, where=finite, initial=-np.inf),
                )
            odd[0, at] = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    return ends, odd


def ordinal(number: int) -> str:
    """Return ``"2nd"``, ``"8th"``."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
