"""Drawing of feature maps: the picture first, then each neuron's activation levels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from neuronwise.explaining.feature_maps import FeatureMaps
from neuronwise.explaining.figures import GREY, escape_math, new_figure, signed_colormap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Width of the whole grid and of the gap between pictures, in inches.
_WIDTH, _TEXT = 11.0, 0.36
# Levels above this share of a map's largest would leave all others pale.
_QUANTILE = 0.995


def draw_maps(told: FeatureMaps) -> Figure:
    """Return the picture and all maps as one grid; each map on a scale of its own, symmetric at 0.

    A map's scale ends at the 99.5 % quantile of its |levels|, so that a few bright places do not leave it pale; its
    largest level is written below.
    """
    from matplotlib import colormaps

    rows, columns, channels = told.picture.shape
    count = len(told.neurons) + 1
    across = min(count, max(2, round(math.sqrt(count * rows / columns * 1.3))))
    down = math.ceil(count / across)
    side = _WIDTH / across
    high = side * rows / columns + _TEXT
    figure = new_figure(_WIDTH, down * high + 0.5)
    figure.set_layout_engine("none")
    total = down * high + 0.5
    words = f"{told.layer}: activation levels at every place of the picture; blue +, orange −, each on its own scale"
    figure.text(0.01, 1 - 0.12 / total, escape_math(words), fontsize=9, color=GREY, va="top")
    for place in range(count):
        left = (place % across) * side / _WIDTH + 0.004
        bottom = 1 - (0.4 + (place // across + 1) * high) / total
        axes = figure.add_axes((left, bottom + _TEXT / total, side / _WIDTH - 0.008, side * rows / columns / total))
        axes.set_axis_off()
        if place == 0:
            shown = told.picture[:, :, 0] if channels != 3 else np.clip(told.picture, 0.0, 1.0)
            axes.imshow(shown, cmap=colormaps["gray"], vmin=0.0, vmax=1.0, aspect="equal")
            caption = f"the picture, {rows} × {columns}"
        else:
            levels = np.ma.masked_invalid(told.levels[place - 1].astype(np.float64))
            sizes = np.abs(levels.compressed())
            limit = float(np.quantile(sizes, _QUANTILE)) if sizes.size else 1.0
            limit = limit or (float(sizes.max()) if sizes.size else 0.0) or 1.0
            # Pixels of the picture are more than the map's: each place a square, as it is. Else they are averaged.
            how = "nearest" if levels.shape[1] <= 100 * side else "antialiased"
            axes.imshow(levels, cmap=signed_colormap(), vmin=-limit, vmax=limit, aspect="equal", interpolation=how)
            label = told.labels[place - 1]
            caption = f"{told.neurons[place - 1]}{'  ' + label if label else ''}   {_range(levels)}"
        axes.set_anchor("NW")
        figure.text(left, bottom + (_TEXT - 0.06) / total, escape_math(caption), fontsize=8, color=GREY, va="top")
    return figure


def _range(levels: np.ma.MaskedArray) -> str:
    if not levels.count():
        return "nothing finite"
    low, high = float(levels.min()), float(levels.max())
    lost = levels.size - levels.count()
    more = f", {lost:,} not finite" if lost else ""
    if low == high:
        return f"everywhere {low:+.2g}{more}"
    return f"{'0' if low == 0 else format(low, '+.2g')} to {high:+.2g}{more}"
