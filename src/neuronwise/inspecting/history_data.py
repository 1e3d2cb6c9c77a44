"""What a training left, thinned to what a page can carry: weights at some steps, statistics of neurons, the losses.

What is left out is said with its numbers, in `note`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.files import format_bytes
from neuronwise.inspecting.blobs import blob, blob_bytes
from neuronwise.network import Network
from neuronwise.recording import RecordedHistory

STATISTICS = ("grad_norm", "weight_norm", "bias", "mean", "std", "min", "max", "inactive", "nonfinite_weights",
              "nonfinite_gradients", "nonfinite_activations")  # fmt: skip
"""What of each neuron goes into the page, see docs/reference/quantities.md."""
HISTOGRAMS = ("W", "dW", "z", "a")
_MOST_STATES, _MOST_FRAMES, _MOST_HISTOGRAMS, _MOST_POINTS = 240, 160, 60, 1_500
_LEAST_STATES = 24  # below that many the page carries the others in 16 bits


@dataclass
class Part:
    """A part of the page's data, and what had to be left out of it, in sentences."""

    content: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def spread_evenly(steps: NDArray[np.int64], count: int, keep: tuple[int, ...] = ()) -> NDArray[np.int64]:
    """Return at most `count` (at least 1) of ascending steps, spread evenly over their order; first, last and `keep`.

    Those of `keep` that are among the steps come first; of what is left of `count`, the first and last are taken.
    """
    kept = [step for step in dict.fromkeys(keep) if step in steps][: max(count, 1)]
    if len(steps) <= count:
        return steps
    chosen = set(kept)
    room = max(count - len(chosen), 0)
    if room == 1:
        chosen.add(int(steps[0]))
    elif room > 1:
        chosen |= set(steps[np.linspace(0, len(steps) - 1, room).round().astype(int)].tolist())
    if not chosen:
        chosen = {int(steps[-1])}
    return np.array(sorted(chosen), np.int64)


def states_part(network: Network, history: RecordedHistory | None, delivered: int, room_bytes: int) -> Part:
    """Return weights at stored steps: all of them if they fit, else spread evenly, and that which was delivered.

    Args:
        network: As it was delivered, with its weights.
        history: What was stored; None where there is no recording: then there is that one state.
        delivered: The step of `network`.
        room_bytes: What the weights may take in the page.

    Raises:
        ValueError: Not even one state fits.
    """
    count = network.parameter_count + network.buffer_count
    whole, half = blob_bytes(count, "float32"), blob_bytes(count, "float16")
    if whole > room_bytes:
        raise ValueError(
            f"{count:,} weights take {format_bytes(whole)}, and {format_bytes(room_bytes)} of the page are left"
        )
    stored = history.steps if history is not None else np.empty(0, np.int64)
    others = stored[stored != delivered]
    fitting = (room_bytes - whole) // whole
    dtype, size = ("float32", whole) if fitting >= min(_LEAST_STATES, len(others)) else ("float16", half)
    most = min((room_bytes - whole) // size, _MOST_STATES)
    chosen = spread_evenly(others, int(most)) if most > 0 else others[:0]
    entries, damaged = [], 0
    for step in chosen.tolist():
        try:
            assert history is not None
            entries.append(_state(step, history.parameters(step), history.buffers(step), dtype))
        except (FormatError, NotFoundError):  # the recording names it among its problems
            damaged += 1
    entries.append(_state(delivered, network.parameters, network.buffers, "float32"))
    entries.sort(key=lambda entry: int(entry["step"]))
    part = Part({"delivered": delivered, "states": entries})
    if len(others) > len(chosen):
        part.notes.append(
            f"Weights are here at {len(entries):,} of the {len(others) + 1:,} stored steps, spread evenly: the page is "
            f"kept small."
        )
    if dtype == "float16":
        part.notes.append("Weights of steps other than the delivered one are rounded to 11 binary digits.")
    if damaged:
        part.notes.append(f"Weights of {damaged:,} steps are damaged in the recording and left out.")
    return part


def _state(step: int, parameters: NDArray[Any], buffers: NDArray[Any], dtype: str) -> dict[str, Any]:
    return {"step": step, "parameters": blob(parameters, dtype), "buffers": blob(buffers, "float32")}


def state_entry(history: RecordedHistory, step: int) -> dict[str, Any]:
    """Return the stored weights of one step, as they stand among those of `states_part`."""
    return _state(step, history.parameters(step), history.buffers(step), "float32")


def statistics_part(history: RecordedHistory, room_bytes: int) -> Part:
    """Return statistics of every neuron at stored frames, spread evenly over them, as far as they fit."""
    layout = history.layout
    steps = history.frames
    size = blob_bytes(layout.neuron_count * len(STATISTICS), "float32")
    most = min(room_bytes // max(size, 1), _MOST_FRAMES)
    layers = [
        {"name": layer.name, "first": layer.first_neuron, "neurons": layer.neurons, "every": layer.every}
        for layer in layout.observed
    ]
    content: dict[str, Any] = {"fields": list(STATISTICS), "layers": layers, "steps": [], "values": None}
    if not len(steps) or most < 1:
        part = Part(content)
        if len(steps):
            part.notes.append(f"Statistics of {layout.neuron_count:,} neurons are too many for this page.")
        return part
    chosen = spread_evenly(steps, int(most))
    rows, kept, damaged = [], [], 0
    for step in chosen.tolist():
        try:
            row = history.neurons(step)
        except (FormatError, NotFoundError):
            damaged += 1
            continue
        rows.append(np.stack([np.asarray(row[name][0], np.float32) for name in STATISTICS]))
        kept.append(step)
    content |= {"steps": kept, "values": blob(np.array(rows), "float32")}
    part = Part(content)
    if len(chosen) < len(steps):
        part.notes.append(f"Statistics of neurons are here at {len(kept):,} of {len(steps):,} stored steps.")
    if damaged:
        part.notes.append(f"Statistics of {damaged:,} steps are damaged in the recording and left out.")
    return part


def histograms_part(history: RecordedHistory, room_bytes: int) -> Part:
    """Return how weights, gradients, z and a of each layer were spread, at stored frames, as far as they fit."""
    names = [layer.name for layer in history.layout.observed]
    steps = history.histogram_steps
    size = len(names) * len(HISTOGRAMS) * (blob_bytes(64, "uint8") + blob_bytes(2, "float32"))
    most = min(room_bytes // max(size, 1), _MOST_HISTOGRAMS)
    content: dict[str, Any] = {"layers": names, "what": list(HISTOGRAMS), "steps": []}
    if not len(steps) or most < 1 or not names:
        return Part(content)
    counts, ranges, kept = [], [], []
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
        kept.append(step)
    if kept:
        content |= {"steps": kept, "counts": blob(counts, "uint8"), "ranges": blob(ranges, "float32")}
    return Part(content)


def losses_part(history: RecordedHistory) -> Part:
    """Return the loss of the steps and what was measured at the ends of epochs.

    Of more than 1,500 steps the mean of the finite losses of as many equal parts is taken; how many losses of each
    part are not finite is counted.
    """
    scalars = history.scalars
    steps, losses = scalars["step"].astype(np.int64), scalars["loss"].astype(np.float64)
    part = Part({})
    bins = np.array_split(np.arange(len(steps)), _MOST_POINTS) if len(steps) > _MOST_POINTS else None
    odd = ~np.isfinite(losses)
    if bins is not None:
        means = [losses[b][~odd[b]].mean() if (~odd[b]).any() else np.nan for b in bins]
        odds = [int(odd[b].sum()) for b in bins]
        steps, losses = np.array([int(steps[b[-1]]) for b in bins]), np.array(means)
        least, most = len(scalars) // _MOST_POINTS, -(-len(scalars) // _MOST_POINTS)
        part.notes.append(f"The loss curve shows {_MOST_POINTS:,} means of {least} to {most} steps each.")
    else:
        odds = odd.astype(int).tolist()
    epochs: dict[str, Any] = {"steps": [int(epoch["step"] or 0) for epoch in history.epochs]}
    names = sorted({name for epoch in history.epochs for name in epoch["metrics"]})[:40]
    values = [[epoch["metrics"].get(name, float("nan")) for epoch in history.epochs] for name in names]
    epochs |= {"names": names, "values": blob(np.array(values).reshape(len(names), -1), "float64")}
    part.content = {
        "steps": blob(steps, "int32"),
        "losses": blob(losses, "float64"),
        "nonfinite": blob(odds, "int32"),
        "epochs": epochs,
        "best_step": history.best_step,
        "last_step": history.last_step,
        "status": history.status,
        "gaps": [
            {"from": gap.get("from_step"), "to": gap.get("to_step"), "reason": str(gap.get("reason"))[:300]}
            for gap in history.gaps[:100]
        ],
        "problems": [str(problem)[:500] for problem in history.problems[:20]],
    }
    return part
