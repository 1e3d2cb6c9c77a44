"""Drawings of edges: kernels beside their responses, and over the steps of a training.

They take the numbers of the explanations and measure nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.figures import (
    GREY,
    POSITIVE,
    escape_math,
    hex_colour,
    new_figure,
    signed_colormap,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neuronwise.explaining.edges import Edges
    from neuronwise.explaining.edges_over_time import EdgesOverTime

# Neurons in one picture.
_SHOWN, _OVER_TIME = 64, 12
# Of one kernel with its response, in units of the kernel's side: a gap, the circle, and words below.
_WIDE, _HIGH = 2.35, 1.42
_FAINT = "#b7bfc7"


def draw_edges(told: Edges) -> Figure:
    """Return each kernel, with a line along its orientation, beside its response over the angles (polar).

    Of more than 64 neurons the 64 most selective are shown, in their order. Each kernel has a scale of its own.
    """
    selectivity = np.nan_to_num(np.array([one.selectivity for one in told.neurons]), nan=-1.0)
    chosen = np.sort(np.argsort(-selectivity, kind="stable")[:_SHOWN]).tolist()
    columns = min(len(chosen), max(2, round(math.sqrt(len(chosen) * 0.6))))
    rows = math.ceil(len(chosen) / columns)
    figure = new_figure(max(6.4, 1.05 * _WIDE * columns + 0.2), 1.05 * _HIGH * rows + 0.7)
    axes = blank(figure)
    axes.set_xlim(-0.1, _WIDE * columns)
    axes.set_ylim(_HIGH * rows, -0.12)
    reach = float(np.nanmax(told.responses[chosen], initial=0.0)) or 1.0
    for place, index in enumerate(chosen):
        left, top = _WIDE * (place % columns), _HIGH * (place // columns)
        one = told.neurons[index]
        kernel(axes, told.pictures[index], left, top, 1.0)
        if one.is_detector:
            _line(axes, one.orientation, left + 0.5, top + 0.5, 0.5)
        _polar(axes, told.angles, told.responses[index] / reach, left + 1.62, top + 0.5, one.is_detector)
        label = f"{one.neuron}  {one.kind} {round(one.orientation) % 180}°" if one.is_detector else f"{one.neuron}  –"
        number = f"selectivity {one.selectivity:.2f}" if np.isfinite(one.selectivity) else "no direction"
        weight = "bold" if one.is_detector else "normal"
        axes.text(left, top + 1.05, label, fontsize=7.5, color=GREY, va="top", weight=weight)
        axes.text(left + 2.16, top + 1.05, number, fontsize=7.5, color=GREY, va="top", ha="right")
    more = f" (the {len(chosen)} most selective of {len(told.neurons)})" if len(chosen) < len(told.neurons) else ""
    title(
        figure,
        f"{told.layer}: {len(told.detectors)} of {len(told.neurons)} detect edges, lines or stripes{more}",
        "kernel (blue +, orange −, each on its own scale), and its response to each angle",
    )
    return figure


def blank(figure: Figure) -> Axes:
    """Return axes without any frame, in which a unit is as high as it is wide."""
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_aspect("equal", anchor="NW")
    return axes


def title(figure: Figure, *lines: str) -> None:
    """Write lines over a figure, from its left."""
    words = escape_math("\n".join(lines))
    figure.suptitle(words, fontsize=9, color=GREY, x=0.01, ha="left")


def kernel(axes: Axes, picture: NDArray[Any], left: float, top: float, side: float, limit: float | None = None) -> None:
    """Draw weights, (rows, columns), into a square of blank axes, their longer side filling it; NaN is black.

    The largest and the smallest weight have their sign written on them, for those who do not see the colours.
    """
    rows, columns = picture.shape
    finite = np.abs(picture[np.isfinite(picture)])
    limit = limit or float(finite.max(initial=0.0)) or 1.0
    unit = side / max(rows, columns)
    left, top = left + (side - columns * unit) / 2, top + (side - rows * unit) / 2
    extent = (left, left + columns * unit, top + rows * unit, top)
    shown = np.ma.masked_invalid(picture)
    axes.imshow(shown, cmap=signed_colormap(), vmin=-limit, vmax=limit, extent=extent, interpolation="nearest")
    for place, glyph, has in ((shown.argmax(), "+", shown.max() > 0), (shown.argmin(), "−", shown.min() < 0)):
        if has is np.True_ or has is True:
            row, column = divmod(int(place), columns)
            x, y = left + (column + 0.5) * unit, top + (row + 0.5) * unit
            axes.text(x, y, glyph, fontsize=6.5, color="white", ha="center", va="center", weight="bold")


def _line(axes: Axes, angle: float, x: float, y: float, reach: float) -> None:
    """Draw a line of this orientation through a point; rows run downwards."""
    across, up = reach * math.cos(math.radians(angle)), reach * math.sin(math.radians(angle))
    axes.plot([x - across, x + across], [y + up, y - up], color=GREY, linewidth=1.0, linestyle=(0, (3, 2)))


def _polar(axes: Axes, angles: NDArray[Any], response: NDArray[Any], x: float, y: float, strong: bool) -> None:
    """Draw responses at angles of 0 to 180 degrees, and the same again opposite, as a closed curve round a point."""
    turn = np.linspace(0.0, 2 * np.pi, 73)
    axes.plot(x + 0.48 * np.cos(turn), y + 0.48 * np.sin(turn), color=_FAINT, linewidth=0.6)
    for dx, dy in ((0.48, 0.0), (0.0, 0.48)):
        axes.plot([x - dx, x + dx], [y - dy, y + dy], color=_FAINT, linewidth=0.4)
    if not np.isfinite(response).all():
        return
    around = np.deg2rad(np.concatenate([angles, angles + 180.0, angles[:1] + 360.0]))
    reach = 0.48 * np.concatenate([response, response, response[:1]])
    colour = hex_colour(POSITIVE) if strong else "#8a949e"
    axes.fill(x + reach * np.cos(around), y - reach * np.sin(around), color=colour, alpha=0.25, linewidth=0)
    axes.plot(x + reach * np.cos(around), y - reach * np.sin(around), color=colour, linewidth=1.1)


def draw_over_time(told: EdgesOverTime) -> Figure:
    """Return small multiples: a row for each neuron, its kernel at up to 8 steps, a frame from where it had settled.

    The detectors are shown in the order in which they settled; without any, the most selective neurons.
    """
    known = [i for i, step in enumerate(told.settled) if step is not None]
    known.sort(key=lambda i: (told.settled[i] or 0, i))
    if not known:
        known = [int(i) for i in np.argsort(-np.nan_to_num(told.selectivity[-1]), kind="stable")]
    shown, places = known[:_OVER_TIME], told.chosen(8)
    figure = new_figure(1.12 * len(places) + 2.0, 1.2 * _HIGH * 0.92 * len(shown) + 0.9)
    axes = blank(figure)
    high = 1.3
    axes.set_xlim(-1.75, 1.12 * len(places))
    axes.set_ylim(high * len(shown), -0.3)
    for column, place in enumerate(places):
        axes.text(1.12 * column + 0.5, -0.08, f"step {told.steps[place]:,}", fontsize=8, color=GREY, ha="center")
    for row, index in enumerate(shown):
        one = told.last.neurons[index]
        settled = told.settled[index]
        words = "no detector"
        if settled is not None:
            words = f"{one.kind} {round(one.orientation) % 180}°\nby step {settled:,}\n"
            words += f"detector\nfrom step {told.since[index]:,}"
        axes.text(-0.12, high * row + 0.3, one.neuron, fontsize=8, color=GREY, ha="right", weight="bold")
        axes.text(-0.12, high * row + 0.4, words, fontsize=7.5, color=GREY, ha="right", va="top")
        for column, place in enumerate(places):
            left, top = 1.12 * column, high * row
            kernel(axes, told.pictures[place, index], left, top, 1.0)
            angle, selectivity = told.orientation[place, index], told.selectivity[place, index]
            label = f"{round(angle) % 180}°  {selectivity:.2f}" if np.isfinite(angle) else "–"
            axes.text(left + 0.5, top + 1.03, label, fontsize=7, color=GREY, ha="center", va="top")
            if settled is not None and told.steps[place] >= settled:
                around = [left, left + 1, left + 1, left, left], [top, top, top + 1, top + 1, top]
                axes.plot(*around, color=hex_colour(POSITIVE), linewidth=1.6)
    more = f" ({len(shown)} of {len(known)})" if len(shown) < len(known) else ""
    title(
        figure,
        f"{told.layer}: kernels over the training{more}; angle and selectivity below",
        "framed: from here on the angle stays within 10° to the end; blue +, orange −, each on its own scale",
    )
    return figure
