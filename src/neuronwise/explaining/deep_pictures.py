"""Drawings of what deeper neurons look for, beside the kernels of the first layer that they are built from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuronwise.explaining.deep_patterns import DeepPattern, DeepPatterns, as_one_picture
from neuronwise.explaining.edge_pictures import blank, kernel, title
from neuronwise.explaining.figures import GREY, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Neurons in one picture, and kernels shown of each.
_SHOWN, _KERNELS = 24, 6
# From so many neurons on they stand in two columns, with half as many kernels each.
_TWO_COLUMNS = 7
_HIGH = 1.45


def draw_patterns(told: DeepPatterns) -> Figure:
    """Return a row for each neuron: its pattern, the mean patch, and the kernels that add or take most."""
    live = [one for one in told.neurons if one.patches]
    shown = live[:_SHOWN]
    across = 2 if len(shown) >= _TWO_COLUMNS else 1
    count = min(_KERNELS // across, len(told.first.neurons))
    wide, down = 2.65 + 1.12 * count, max(1, -(-len(shown) // across))
    figure = new_figure(max(6.4, 1.05 * wide * across + 0.2), 1.05 * _HIGH * down + 0.7)
    axes = blank(figure)
    axes.set_xlim(-0.05, wide * across)
    axes.set_ylim(_HIGH * down, -0.12)
    for place, one in enumerate(shown):
        _row(axes, told, one, wide * (place % across), _HIGH * (place // across), count)
    more = f", {len(shown)} of {len(told.neurons)} neurons" if len(shown) < len(told.neurons) else ""
    title(
        figure,
        f"{told.layer}{more}: what they look for (dz / dx), the mean of the patches that they answer most,",
        f"and the kernels of {told.first.layer} with what each adds to z; blue +, orange −, each on its own scale",
    )
    return figure


def _row(axes: Axes, told: DeepPatterns, one: DeepPattern, start: float, top: float, count: int) -> None:
    from matplotlib import colormaps

    kernel(axes, as_one_picture(one.pattern), start, top, 1.0)
    _words(axes, start, top, one.neuron, f"agreement {one.agreement:.2f}", bold=True)
    rows, columns = one.mean_patch.shape[:2]
    unit = 1.0 / max(rows, columns)
    left, upper = start + 1.15 + (1 - columns * unit) / 2, top + (1 - rows * unit) / 2
    patch = np.ma.masked_invalid(one.mean_patch.mean(axis=2) if one.mean_patch.shape[2] != 3 else one.mean_patch)
    extent = (left, left + columns * unit, upper + rows * unit, upper)
    axes.imshow(patch, cmap=colormaps["gray"], extent=extent, interpolation="nearest")
    _words(axes, start + 1.15, top, "mean patch", f"{one.patches} patches")
    for place, index in enumerate(one.order()[:count]):
        x = start + 2.45 + 1.12 * place
        kernel(axes, told.first.pictures[index], x, top + 0.1, 0.85)
        name = told.first.label(index, unsure=True)
        words = f"{one.contributions[index]:+.2g}" + (f"  {name}" if name != "–" else "")
        _words(axes, x, top, told.first.neurons[index].neuron, words)


def _words(axes: Axes, left: float, top: float, first: str, second: str, *, bold: bool = False) -> None:
    weight = "bold" if bold else "normal"
    axes.text(left, top + 1.03, first, fontsize=7, color=GREY, va="top", weight=weight)
    axes.text(left, top + 1.17, second, fontsize=7, color=GREY, va="top")
