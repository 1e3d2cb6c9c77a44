"""Drawings of a neuron over time: its pattern at some steps side by side, and how its answers went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.explaining.figures import (
    GREY,
    NEGATIVE,
    POSITIVE,
    clip,
    dress,
    escape_math,
    hex_colour,
    new_figure,
    signed_colormap,
)
from neuronwise.explaining.neuron_pictures import largest, picture
from neuronwise.explaining.sizes import by_size, drawable, sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neuronwise.explaining.neuron_over_time import NeuronOverTime

_INPUTS, _TICKS = 16, 9


def draw_over_time(told: NeuronOverTime) -> Figure:
    """Return patterns above; below their cosine with the last one, and the answers to classes or a target."""
    pictures = told.patterns.ndim == 4
    figure = new_figure(10.4, 5.0 if pictures else 6.2)
    figure.suptitle(escape_math(clip(str(told.blocks()[0]), 130)), color=GREY, fontsize=10, x=0.01, ha="left")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.0, 1.5) if pictures else (1.35, 1.0))
    top, low = parts
    if pictures:
        # Of several channels the one that holds most of the last pattern.
        channel = by_size(np.square(sizes(told.patterns[-1])).sum(axis=(1, 2)), 1)[0]
        limit = largest(told.patterns[list(told.shown)][:, channel])
        grid = top.subplots(1, len(told.shown), squeeze=False)[0]
        for axes, place in zip(grid, told.shown, strict=True):
            picture(axes, told.patterns[place, channel], limit, f"step {told.steps[place]:,}")
        of = f", channel {channel}" if told.patterns.shape[1] > 1 else ""
        words = "weights" if told.is_weights else "effective pattern"
        top.suptitle(f"{words}{of}, −{limit:.2g} to +{limit:.2g}", fontsize=9, color=GREY, x=0.01, ha="left")
    else:
        _draw_inputs(top.subplots(), told)
    left, right = low.subplots(1, 2)
    _draw_similarity(left, told)
    if told.class_names:
        _draw_classes(right, told)
    elif told.target_name:
        right.plot(told.correlation, color=hex_colour(POSITIVE))
        right.axhline(0.0, color=GREY, linewidth=0.8)
        right.set_ylim(-1.05, 1.05)
        _steps(right, told)
        dress(right, f"rank correlation with {clip(told.target_name, 30)}", "step")
    else:
        right.plot(told.norm, color=hex_colour(POSITIVE))
        _steps(right, told)
        dress(right, "length of its pattern", "step")
    return figure


def _draw_inputs(axes: Axes, told: NeuronOverTime) -> None:
    """Draw the inputs that matter most as rows, steps as columns."""
    order = np.array(by_size(sizes(told.patterns).max(axis=0), _INPUTS))
    order = order[np.argsort(-drawable(told.patterns[-1][order]), kind="stable")]
    values = told.patterns[:, order].T
    limit = largest(values)
    shown = axes.imshow(
        np.ma.masked_invalid(values), cmap=signed_colormap(), vmin=-limit, vmax=limit, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    ends = told.patterns[-1][order]
    names = [
        f"{clip(told.input_names[i], 32)} {'+' if v >= 0 else '−'}" for i, v in zip(order.tolist(), ends, strict=True)
    ]
    axes.set_yticks(range(len(order)), [escape_math(name) for name in names], fontsize=7)
    scale = axes.figure.colorbar(shown, ax=axes, ticks=[-limit, 0, limit])
    scale.ax.set_yticklabels([f"−{limit:.2g}", "0", f"+{limit:.2g}"], fontsize=7, color=GREY)
    scale.outline.set_visible(False)
    _steps(axes, told)
    more = f", the {len(order)} largest of {len(told.input_names):,}" if len(order) < len(told.input_names) else ""
    dress(axes, f"{'weights' if told.is_weights else 'effective pattern'} over the steps{more} (sign: at the end)")


def _draw_similarity(axes: Axes, told: NeuronOverTime) -> None:
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.plot(told.similarity, color=hex_colour(POSITIVE))
    marks: dict[int, list[str]] = {}
    for one in told.settled:
        marks.setdefault(int(np.searchsorted(told.steps, one.step)), []).append(one.what)
    for place, words in marks.items():
        axes.axvline(place, color=hex_colour(NEGATIVE), linewidth=0.9, linestyle=":")
        axes.text(place + 0.1, -0.98, ", ".join(words), rotation=90, fontsize=7, color=GREY, va="bottom", ha="left")
    axes.set_ylim(-1.05, 1.05)
    _steps(axes, told)
    dress(axes, "cosine of its pattern with the last; dotted: settled", "step")


def _draw_classes(axes: Axes, told: NeuronOverTime) -> None:
    limit = largest(told.class_means)
    shown = axes.imshow(
        np.ma.masked_invalid(told.class_means.T), cmap=signed_colormap(), vmin=-limit, vmax=limit, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    names = [escape_math(clip(name, 20)) for name in told.class_names]
    axes.set_yticks(range(len(names)), names, fontsize=7)
    scale = axes.figure.colorbar(shown, ax=axes, ticks=[-limit, 0, limit])
    scale.ax.set_yticklabels([f"−{limit:.2g}", "0", f"+{limit:.2g}"], fontsize=7, color=GREY)
    scale.outline.set_visible(False)
    _steps(axes, told)
    dress(axes, "mean level for each class", "step")


def _steps(axes: Axes, told: NeuronOverTime) -> None:
    """Label places by their steps: they lie evenly in the order in which they were looked at."""
    places = np.unique(np.linspace(0, len(told.steps) - 1, min(len(told.steps), _TICKS)).round().astype(int))
    axes.set_xticks(places, [f"{told.steps[i]:,}" for i in places], fontsize=7)
    axes.set_xlim(-0.5, len(told.steps) - 0.5)
