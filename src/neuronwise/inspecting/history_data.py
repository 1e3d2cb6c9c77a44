"""What a training left, thinned to what a page can carry: weights at some steps, and the losses.

What is left out is said with its numbers, in `note`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.files import format_bytes
from neuronwise.inspecting.blobs import blob, blob_bytes
from neuronwise.recording import RecordedHistory

_MOST_STATES, _MOST_POINTS, _MOST_METRICS = 240, 1_500, 40
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


State = tuple[NDArray[Any], NDArray[Any]]
"""All parameters and all buffers of a network, flat."""


def states_part(
    delivered: int,
    network: State,
    stored: NDArray[np.int64],
    read: Callable[[int], State],
    room_bytes: int,
) -> Part:
    """Return weights at stored steps: all of them if they fit, else spread evenly, and those that were delivered.

    Args:
        delivered: The step of the network that was delivered.
        network: Its weights.
        stored: Steps of which weights are stored.
        read: Returns those of a step; raises `FormatError` or `NotFoundError` where they are damaged.
        room_bytes: What the weights may take in the page.

    Raises:
        ValueError: Not even one state fits.
    """
    count = network[0].size + network[1].size
    whole, half = blob_bytes(count, "float32"), blob_bytes(count, "float16")
    if whole > room_bytes:
        raise ValueError(
            f"{count:,} weights take {format_bytes(whole)}, and {format_bytes(room_bytes)} of the page are left"
        )
    others = stored[stored != delivered]
    fitting = (room_bytes - whole) // max(whole, 1)
    dtype, size = ("float32", whole) if fitting >= min(_LEAST_STATES, len(others)) else ("float16", half)
    most = min((room_bytes - whole) // max(size, 1), _MOST_STATES)
    chosen = spread_evenly(others, int(most)) if most > 0 else others[:0]
    entries, damaged = [], 0
    for step in chosen.tolist():
        try:
            entries.append(state_entry(step, read(step), dtype))
        except (FormatError, NotFoundError):  # the recording names it among its problems
            damaged += 1
    entries.append(state_entry(delivered, network))
    entries.sort(key=lambda entry: int(entry["step"]))
    part = Part({"delivered": delivered, "states": entries})
    if len(others) > len(chosen):
        part.notes.append(
            f"{WEIGHTS_ARE_HERE} {len(entries):,} of the {len(others) + 1:,} stored steps, spread evenly: the page is "
            f"kept small."
        )
    if dtype == "float16":
        part.notes.append("Weights of steps other than the delivered one are rounded to 11 binary digits.")
    if damaged:
        part.notes.append(f"Weights of {damaged:,} steps are damaged in the recording and left out.")
    return part


WEIGHTS_ARE_HERE = "Weights are here at"
"""How the sentence on thinned weights begins."""


def state_entry(step: int, state: State, dtype: str = "float32") -> dict[str, Any]:
    """Return the weights of one step as they stand among those of `states_part`."""
    return {"step": step, "parameters": blob(state[0], dtype), "buffers": blob(state[1], "float32")}


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
    measured = [(int(epoch["step"] or 0), epoch["metrics"]) for epoch in history.epochs]
    if not measured:  # of a watched training: what was logged with the loss on rows held out
        measured = [(step, metrics) for step, metrics in history.metrics if "val_loss" in metrics]
    names = sorted({name for _, metrics in measured for name in metrics})[:_MOST_METRICS]
    values = [[metrics.get(name, float("nan")) for _, metrics in measured] for name in names]
    epochs = {
        "steps": [step for step, _ in measured],
        "names": names,
        "values": blob(np.array(values, np.float64).reshape(len(names), len(measured)), "float64"),
    }
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
