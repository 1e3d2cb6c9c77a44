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
from neuronwise.explaining.neuron_pictures import largest, picture
from neuronwise.explaining.sizes import by_size, drawable, sizes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from neuronwise.explaining.atlas import Atlas
    from neuronwise.explaining.layer_neurons import LayerNeurons

_DRAWN, _INPUTS = 64, 48


def draw_layer(told: LayerNeurons) -> Figure:
    """Return, of at most 64 neurons, the mean level for each class, or the range of levels, with who is dead or odd."""
    order = np.sort(by_size(told.deviation, _DRAWN))
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
        # What is not finite is no length; the neuron's label says so.
        low, high, mean = (drawable(one[order]) for one in (told.least, told.greatest, told.mean))
        left.hlines(places, low, high, color=hex_colour(POSITIVE), linewidth=2, alpha=0.5)
        left.plot(mean, places, "o", color=hex_colour(POSITIVE), markersize=4)
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


def draw_atlas(told: Atlas) -> Figure:
    """Return the first layer's neurons: a picture each, or a row of colours each."""
    return _atlas_of_pictures(told) if told.is_pictures else _atlas_of_table(told)


def _label(told: Atlas, i: int) -> str:
    """Return a neuron's index, and what it tells best."""
    index = told.neurons[i].rpartition("[")[2].rstrip("]")
    if not told.likes[i]:
        return index
    return f"{index}: {clip(told.likes[i], 12)} ({told.separates[i]:.2f})"


def _atlas_of_pictures(told: Atlas) -> Figure:
    count = len(told.neurons)
    columns = min(count, 8)
    rows = -(-count // columns)
    figure = new_figure(1.25 * columns + 0.6, 1.42 * rows + 0.9)
    limit = largest(told.weights)
    colours = told.weights.shape[1] == 3
    what = (
        "index: the class that its level alone tells best (AUC)"
        if told.target and not np.isnan(told.separates).all()
        else "index"
    )
    scale = "grey 0, red, green and blue by their weights" if colours else f"blue +{limit:.2g}, orange −{limit:.2g}"
    figure.suptitle(
        escape_math(f"{told.layer}: weights of {_shown_words(told)}  ({scale})\n{what}"),
        color=GREY, fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= count:
            axes.axis("off")
            continue
        if colours:
            shown = np.clip(0.5 + np.moveaxis(drawable(told.weights[place]), 0, -1) / (2 * limit), 0, 1)
            axes.imshow(shown, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(escape_math(_label(told, place)), fontsize=8, color=GREY)
            axes.set_frame_on(False)
        else:
            picture(axes, told.weights[place].mean(axis=0), limit, _label(told, place))
            axes.title.set_fontsize(8)
    return figure


def _atlas_of_table(told: Atlas) -> Figure:
    # Inputs whose weights are longest over the neurons; each kept in the order of the table.
    chosen = np.sort(by_size(np.square(sizes(told.weights)).sum(axis=0), _INPUTS))
    values = told.weights[:, chosen]
    limit = largest(values)
    height, width = max(2.6, 0.17 * len(told.neurons) + 2.0), 3.4 + 0.24 * len(chosen)
    figure = new_figure(max(width, 5.0), height)
    axes = figure.subplots()
    shown = axes.imshow(
        np.ma.masked_invalid(values), cmap=signed_colormap(), vmin=-limit, vmax=limit, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    for (i, j), value in np.ndenumerate(values):
        if abs(value) > 0.4 * limit:
            axes.text(j, i, "+" if value > 0 else "−", ha="center", va="center", fontsize=7, color=GREY)
    names = [escape_math(clip(told.input_names[i], 30)) for i in chosen.tolist()]
    axes.set_xticks(range(len(chosen)), names, rotation=90, fontsize=7)
    labels = [
        f"{name}  ({like} {abs(well):.2f})" if like else name
        for name, like, well in zip(told.neurons, told.likes, told.separates, strict=True)
    ]
    axes.set_yticks(range(len(labels)), [escape_math(label) for label in labels], fontsize=7)
    scale = figure.colorbar(shown, ax=axes, shrink=min(1.0, 2.4 / height), ticks=[-limit, 0, limit])
    scale.ax.set_yticklabels([f"−{limit:.2g}", "0", f"+{limit:.2g}"], fontsize=7, color=GREY)
    scale.outline.set_visible(False)
    more = f", the {len(chosen)} inputs of {len(told.input_names):,} with most weight" * (
        len(chosen) < len(told.input_names)
    )
    with_target = f"; in brackets: how its level goes with {told.target}" if told.target else ""
    dress(axes, f"{told.layer}: weights of {_shown_words(told)}{more}{with_target}")
    return figure


def _shown_words(told: Atlas) -> str:
    """Return how many neurons are shown, of how many."""
    count = len(told.neurons)
    return f"its {count:,} neurons" if count == told.count else f"the {count} longest of {told.count:,} neurons"
