"""The course of weights, biases and gradients of each layer over the epochs, as sparklines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from neuronwise.running.terminal import Table

if TYPE_CHECKING:
    from neuronwise.running.run import Run

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 32

COURSES = {
    "weight_norm": "weights: norm of W",
    "bias_mean": "biases: mean",
    "grad_norm": "gradient: norm of dW",
    "update_ratio": "update: ‖ΔW‖ / ‖W‖",
    "zero_fraction": "activations that are 0",
}


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Return values as a line of blocks, ``×`` for what is not finite; more values than `width` are averaged."""
    if not values:
        return ""
    groups = _groups(list(values), width)
    means = [sum(value / len(group) for value in group) for group in groups]
    finite = [value for value in means if math.isfinite(value)]
    if not finite:
        return "×" * len(means)
    low, high = min(finite), max(finite)
    span = high / 8 - low / 8  # an eighth: of a training that diverges the whole may be more than a number holds
    if span <= 1e-12 * abs(high):  # means of what is constant differ by rounding
        span = 0

    def block(value: float) -> str:
        return _BLOCKS[0 if span == 0 else min(7, int((value / 8 - low / 8) / span * 8))]

    return "".join(block(value) if math.isfinite(value) else "×" for value in means)


def courses_table(run: Run) -> Table:
    """Return, for each layer and quantity, its first and last value and its course between them."""
    epochs = run.history_on_disk.epochs
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("  layer", "quantity", "first", "", "last", "from", "to"):
        table.add_column(heading, justify="right" if heading in ("first", "last", "from", "to") else "left")
    rows: list[tuple[str, str, list[float]]] = [
        ("training", key, [float(epoch[key]) for epoch in run.history if key in epoch and epoch[key] is not None])
        for key in ("loss", "val_loss", "val_accuracy", "val_r2")
    ]
    for layer in run.network.layers:
        for key, words in COURSES.items():
            values = [
                float(epoch["layers"][layer.name][key])
                for epoch in epochs
                if key in epoch["layers"].get(layer.name, {})
            ]
            rows.append((layer.name, words, values))
    before = ""
    for name, words, values in rows:
        if not values:
            continue
        finite = [value for value in values if math.isfinite(value)] or [math.nan]
        shown = "" if name == before else name
        before = name
        table.add_row(
            f"  {shown}",
            words,
            f"{values[0]:.3g}",
            sparkline(values),
            f"{values[-1]:.3g}",
            f"{min(finite):.3g}",
            f"{max(finite):.3g}",
        )
    return table


def _groups(values: list[float], width: int) -> list[list[float]]:
    if len(values) <= width:
        return [[value] for value in values]
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    return [values[a:b] for a, b in itertools.pairwise(edges) if b > a]
