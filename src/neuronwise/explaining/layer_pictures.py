"""Drawings of whole layers: how each neuron answers to each class, how it is spread, and atlases of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from neuronwise.explaining.neuron_pictures import largest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neuronwise.explaining.layer_neurons import LayerNeurons

_DRAWN = 64


def draw_layer(told: LayerNeurons) -> Figure:
    """Return, of at most 64 neurons, the mean level for each class, or the range of levels, with who is dead or odd."""
    order = np.argsort(-np.nan_to_num(told.deviation, nan=np.inf), kind="stable")[:_DRAWN]
    order = np.sort(order)
    names = [told.names[i] for i in order.tolist()]
    states = [told.state(name) for name in names]
    twins = {name for pair in told.twins for name in (pair.neuron, pair.twin)}
    labels = [
        f"{name}{f'  ({state})' if state else ''}{'  =' if name in twins else ''}"
        for name, state in zip(names, states, strict=True)
    ]
    height = max(2.4, 0.17 * len(names) + 1.2)
    classes = len(told.class_names)
    figure = new_figure(5.2 + (min(classes, 30) * 0.26 if classes else 2.4), height)
    more = f", the {len(names)} that vary most" if len(names) < len(told.names) else ""
    mark = "  (= has a twin)" if twins else ""
    figure.suptitle(
        escape_math(f"{told.layer}: {len(told.names):,} {told.activation} neurons{more}{mark}"),
        color=GREY, fontsize=10,
    )  # fmt: skip
    if classes:
        left, right = figure.subplots(1, 2, width_ratios=(max(2.0, 0.26 * min(classes, 30)), 1.4), sharey=True)
        means = told.class_means[order]
        limit = largest(means)
        shown = left.imshow(
            np.ma.masked_invalid(means), cmap=signed_colormap(), vmin=-limit, vmax=limit, aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        left.set_xticks(range(classes), [escape_math(clip(name, 12)) for name in told.class_names], fontsize=8)
        if max(map(len, told.class_names)) > 2:
            left.tick_params(axis="x", rotation=60)
        scale = figure.colorbar(shown, ax=left, shrink=min(1.0, 2.4 / height), ticks=[-limit, 0, limit])
        scale.ax.set_yticklabels([f"−{limit:.2g}", "0", f"+{limit:.2g}"], fontsize=7, color=GREY)
        scale.outline.set_visible(False)
        dress(left, "mean level for each class")
    else:
        left, right = figure.subplots(1, 2, width_ratios=(2.0, 1.4), sharey=True)
        places = range(len(names))
        low, high = told.least[order], told.greatest[order]
        left.hlines(places, np.nan_to_num(low), np.nan_to_num(high), color=hex_colour(POSITIVE), linewidth=2, alpha=0.5)
        left.plot(told.mean[order], places, "o", color=hex_colour(POSITIVE), markersize=4)
        left.axvline(0.0, color=GREY, linewidth=0.8)
        dress(left, "levels: least, mean, greatest")
    left.set_yticks(range(len(names)), [escape_math(label) for label in labels], fontsize=7)
    left.set_ylim(len(names) - 0.5, -0.5)
    colours = [hex_colour(NEGATIVE if state else POSITIVE) for state in states]
    right.barh(range(len(names)), told.active[order], color=colours)
    right.set_xlim(0, 1)
    right.tick_params(labelleft=False)
    dress(right, "share with z > 0", "orange: see its name" if any(states) else "")
    right.tick_params(axis="y", length=0)
    return figure
