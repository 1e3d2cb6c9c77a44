"""The picture of what is not learned: errors over time as numbers on shades, and which class was taken for which."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.figures import GREY, NEGATIVE, ZERO, clip, dress, escape_math, hex_colour, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neuronwise.explaining.unlearned_result import Unlearned

_MOST = 16


def draw(found: Unlearned) -> Figure:
    """Return the picture."""
    if found.classes is not None:
        labels, errors = found.classes.labels, found.classes.errors
        shown = _worst(errors[-1])
        title = "Share of each class that is wrong"
    elif found.slices:
        if len(found.slices) == 1:
            every = [(found.slices[0], place) for place in _worst(found.slices[0].errors[-1]).tolist()]
        else:
            every = [(one, place) for _, one, place in found.ranked if one is not found.classes][:_MOST]
        labels = tuple(f"{one.by} {one.labels[place]}" for one, place in every)
        errors = np.array([one.errors[:, place] for one, place in every]).T.reshape(len(found.steps), -1)
        shown = np.arange(len(labels))
        title = "Mean error by slice" if len(found.slices) == 1 else "Mean error of the worst slices"
    else:
        labels, errors, shown, title = (), np.zeros((len(found.steps), 0)), np.arange(0), "Mean error"
    columns = np.unique(np.linspace(0, len(found.steps) - 1, min(len(found.steps), 8)).astype(int))
    names = [*(clip(labels[place], 34) for place in shown), "all"]
    values = np.vstack([errors[:, shown][columns].T, found.errors[columns][None]])
    wide = found.classes is not None
    classes = len(found.classes.labels) if found.classes is not None else 0
    height = max(2.4, 1.1 + 0.34 * len(names))
    matrix_width = min(7.5, 2.6 + 0.42 * min(classes, _MOST))
    left_width = 1.0 + 0.085 * max(map(len, names)) + 0.62 * len(columns)
    figure = new_figure(left_width + (matrix_width if wide else 0), max(height, matrix_width - 0.6 if wide else 0))
    if wide:
        axes, second = figure.subplots(1, 2, width_ratios=[left_width, matrix_width])
        _confusion(second, found, shown if classes > _MOST else np.arange(classes))
    else:
        axes = figure.add_subplot()
    ticks = ["as\ndelivered" if found.steps[c] < 0 else f"{found.steps[c]:,}" for c in columns]
    words = [[_short(found, value) for value in row] for row in values]
    _shades(axes, values, words, names, ticks)
    kind = {"share wrong": "", "factor": " (a factor, in %)", "amount": f" ({found.unit})" if found.unit else ""}
    dress(axes, f"{title}{kind[found.kind]}, over time", "step")
    return figure


def _worst(errors: NDArray[Any]) -> NDArray[np.int64]:
    """Return the slices drawn: all in order, or of many the worst."""
    if len(errors) <= _MOST:
        return np.arange(len(errors))
    return np.argsort(-np.nan_to_num(errors, nan=-1.0), kind="stable")[:_MOST]


def _short(found: Unlearned, value: float) -> str:
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    if found.kind == "amount":
        return f"{value:.3g}" if value < 1e4 else f"{value / 1000:,.0f}k" if value < 1e7 else f"{value:.1e}"
    share = value if found.kind == "share wrong" else math.expm1(min(value, 50.0))
    percent = 100 * share
    return f"{percent:.1f}" if percent < 9.95 else f"{percent:.0f}" if percent < 1e4 else f"{percent:.0e}"


def _shades(axes: Axes, values: NDArray[Any], words: list[list[str]], names: list[str], ticks: list[str]) -> None:
    """Draw numbers on shades from grey (0) to orange (the largest), by square root: much lies near 0 at the end."""
    from matplotlib.colors import LinearSegmentedColormap

    made = LinearSegmentedColormap.from_list("errors", [hex_colour(ZERO), hex_colour(NEGATIVE)])
    shades = made.with_extremes(bad="black")
    top = float(values[np.isfinite(values)].max(initial=0.0)) or 1.0
    axes.imshow(np.sqrt(values / top), cmap=shades, vmin=0.0, vmax=1.0, aspect="auto")
    for row, of_row in enumerate(words):
        for column, word in enumerate(of_row):
            colour = "white" if not math.isfinite(values[row, column]) else "black"
            axes.text(column, row, word, ha="center", va="center", fontsize=8, color=colour)
    axes.set_yticks(range(len(names)), [escape_math(name) for name in names])
    axes.set_xticks(range(len(ticks)), ticks)
    axes.axhline(len(names) - 1.5, color=GREY, linewidth=0.8)


def _confusion(axes: Axes, found: Unlearned, shown: NDArray[np.int64]) -> None:
    """Draw which class was taken for which: counts, shaded by their share of the row's class; right ones in blue."""
    from matplotlib.colors import LinearSegmentedColormap

    from neuronwise.explaining.figures import POSITIVE

    assert found.classes is not None
    counts = found.confusion[np.ix_(shown, shown)]
    with np.errstate(all="ignore"):
        share = np.nan_to_num(counts / found.confusion.sum(axis=1)[shown][:, None])
    signed = -share
    off = ~np.eye(len(shown), dtype=bool)
    scale = float(share[off].max(initial=0.0)) or 1.0
    signed = np.where(off, signed / scale, share)
    shades = LinearSegmentedColormap.from_list("confused", [hex_colour(c) for c in (NEGATIVE, ZERO, POSITIVE)])
    axes.imshow(signed, cmap=shades, vmin=-1.0, vmax=1.0, aspect="equal")
    size = 8 if len(shown) <= 10 else 6.5
    for i in range(len(shown)):
        for j in range(len(shown)):
            if counts[i, j]:
                colour = "white" if i == j and share[i, j] > 0.6 else "black"
                axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=size, color=colour)
    names = [escape_math(clip(found.classes.labels[place], 14)) for place in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_xticks(range(len(shown)), names, rotation=0 if max(map(len, names)) <= max(3, 20 // len(names)) else 60)
    axes.set_ylabel("right class", color=GREY)
    more = f", the {len(shown)} worst" if len(shown) < len(found.classes.labels) else ""
    dress(axes, f"Rows: which was taken for which{more}", "the network's answer")
