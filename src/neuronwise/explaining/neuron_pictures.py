"""Drawings of what is told of neurons: they take the numbers of the explanations and measure nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.figures import (
    GREY,
    NEGATIVE,
    POSITIVE,
    dress,
    escape_math,
    hex_colour,
    new_figure,
    signed_bars,
    signed_colormap,
)
from neuronwise.explaining.sizes import by_size, drawable, sizes
from neuronwise.network import get_activation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neuronwise.explaining.neuron_on_input import NeuronOnInput

# Bars of one sum, and channels of one patch, that are drawn.
_BARS, _CHANNELS = 12, 4
# Pixels of a picture, at most, in which signs are written.
_SIGNS = 144


def draw_neuron_on_input(told: NeuronOnInput) -> Figure:
    """Return a neuron's sum: weight × input = product as pictures, or bars; and the activation function beside it."""
    if told.weight_pictures is not None and told.input_pictures is not None:
        return _draw_products(told, told.weight_pictures, told.input_pictures)
    shown = told.largest(_BARS)
    names = [term.name if term.original is None else f"{term.name} = {term.original}" for term in shown]
    values = [term.product for term in shown]
    left = len(told.terms) - len(shown)
    if left:
        names.append(f"the rest ({left:,} terms)")
        values.append(told.rest(_BARS))
    names += ["bias", "z, the sum"]
    values += [told.bias, told.z]
    figure = new_figure(9.6, max(3.2, 0.27 * len(names) + 1.0))
    bars, curve = figure.subplots(1, 2, width_ratios=(1.6, 1.0))
    signed_bars(bars, names, drawable(values), title=f"{told.neuron}: what adds up to z", label="input × weight")
    bars.axhline(len(names) - 1.5, color=GREY, linewidth=0.8)
    _draw_bend(curve, told)
    return figure


def _draw_products(told: NeuronOnInput, weights: NDArray[np.float64], inputs: NDArray[np.float64]) -> Figure:
    with np.errstate(all="ignore"):
        products = weights * inputs
    chosen = sorted(by_size(sizes(products).sum(axis=(1, 2)), _CHANNELS))
    figure = new_figure(11.2, 2.6 * len(chosen) + 0.7)
    parts: Any = figure.subfigures(1, 2, width_ratios=(2.6, 1.0))
    panels, side = parts
    grid = panels.subplots(len(chosen), 3, squeeze=False)
    kinds = (("weight", weights), ("× input", inputs), ("= product", products))
    for column, (words, pictures) in enumerate(kinds):
        limit = largest(pictures[chosen])
        for row, channel in enumerate(chosen):
            of = told.channels[channel] if channel < len(told.channels) else ""
            title = words if not of else f"{words}, {of}"
            picture(grid[row, column], pictures[channel], limit, title, bar=True)
    more = f", the {len(chosen)} of {len(weights)} channels that add most" if len(chosen) < len(weights) else ""
    with np.errstate(all="ignore"):
        total = float(products.sum())
    panels.suptitle(
        escape_math(f"{told.neuron}{more}: the products add up to {total:+.4g}, with bias {told.bias:+.4g}"),
        color=GREY, fontsize=10,
    )  # fmt: skip
    beside = side.subplots()
    _draw_bend(beside, told)
    beside.set_box_aspect(1.0)
    return figure


def _draw_bend(axes: Axes, told: NeuronOnInput) -> None:
    """Draw the activation function with its point; of a softmax the levels of the whole layer."""
    if told.competitors:
        shown = sorted(told.competitors, key=lambda one: -float(sizes(one.a)))[:_BARS]
        names = [f"▶ {one.name}" if one.z == told.z and one.a == told.activation_level else one.name for one in shown]
        signed_bars(axes, names, drawable([one.a for one in shown]), title="softmax: levels that add up to 1")
        return
    activation = get_activation(told.activation)
    reach = max(4.0, 1.3 * abs(told.z)) if np.isfinite(told.z) else 4.0
    z = np.linspace(-reach, reach, 401)
    axes.axhline(0.0, color=GREY, linewidth=0.5)
    axes.axvline(0.0, color=GREY, linewidth=0.5)
    axes.plot(z, activation(z), color=hex_colour(POSITIVE))
    words = f"a = {told.activation}(z) = {told.activation_level:.4g}"
    if np.isfinite(told.z) and np.isfinite(told.activation_level):
        axes.plot([told.z], [told.activation_level], "o", color=hex_colour(NEGATIVE), markersize=8)
    else:
        words += ": not finite"
    dress(axes, words, f"z (here {told.z:+.4g})")


def picture(axes: Axes, values: NDArray[Any], limit: float, title: str = "", *, bar: bool = False) -> None:
    """Draw a picture in the colours of signed values, NaN black, symmetric at zero, with a scale if asked."""
    shown = axes.imshow(
        np.ma.masked_invalid(values), cmap=signed_colormap(), vmin=-limit, vmax=limit, interpolation="nearest"
    )
    if values.size <= _SIGNS:  # the sign also as a glyph, for those who do not see the colours
        for (i, j), value in np.ndenumerate(values):
            if abs(value) > 0.25 * limit:
                axes.text(j, i, "+" if value > 0 else "−", ha="center", va="center", fontsize=7, color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    if title:
        axes.set_title(escape_math(title), color=GREY, fontsize=9)
    if bar:
        scale = axes.figure.colorbar(shown, ax=axes, shrink=0.75, ticks=[-limit, 0, limit])
        scale.ax.set_yticklabels([f"−{limit:.2g}", "0", f"+{limit:.2g}"], fontsize=7, color=GREY)
        scale.outline.set_visible(False)


def largest(values: NDArray[Any]) -> float:
    """Return the largest finite |value|, the end of a scale; 1 where there is none or all are 0."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0)) or 1.0
