"""Drawings of what a neuron detects: its pattern, the examples it likes, the classes it answers to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.figures import (
    GREY,
    NEGATIVE,
    POSITIVE,
    clip,
    dress,
    escape_math,
    hex_colour,
    new_figure,
    signed_bars,
)
from neuronwise.explaining.neuron_on_input import channel_names
from neuronwise.explaining.neuron_pictures import largest, picture
from neuronwise.explaining.sizes import by_size, drawable, sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from neuronwise.explaining.detects import Detection
    from neuronwise.explaining.liked import Liked

_BARS, _CHANNELS = 14, 4


def draw_detection(told: Detection) -> Figure:
    """Return the picture of a neuron on pictures, or on a table."""
    if told.most_pictures is not None and told.least_pictures is not None:
        return _draw_on_pictures(told, told.most_pictures, told.least_pictures)
    return _draw_on_table(told)


def _draw_on_pictures(told: Detection, most: NDArray[np.float64], least: NDArray[np.float64]) -> Figure:
    figure = new_figure(10.6, 5.6)
    figure.suptitle(escape_math(clip(str(told.blocks()[0]), 130)), color=GREY, fontsize=10, x=0.01, ha="left")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.0, 2.2))
    left, right = parts
    _draw_pattern(left, told)
    has_bars = bool(told.classes or told.quarters)
    top, low, *bars = right.subfigures(2 + has_bars, 1, height_ratios=(1.0, 1.0, 1.3)[: 2 + has_bars])
    for part, liked, pictures, words in (
        (top, told.most, most, "likes most"),
        (low, told.least, least, "likes least"),
    ):
        _draw_examples(part, liked, pictures, words)
    if bars:
        _draw_answers(bars[0].subplots(), told)
    return figure


def _draw_pattern(part: SubFigure, told: Detection) -> None:
    """Draw the pattern, each channel by itself, and how much it varies where it does."""
    shown = told.pattern
    if not shown.is_picture:
        _draw_pattern_bars(part.subplots(), told)
        return
    chosen = sorted(by_size(sizes(shown.mean).sum(axis=(1, 2)), _CHANNELS))
    names = channel_names(len(shown.mean), True)
    kinds: list[tuple[str, NDArray[Any]]] = [("weights" if shown.is_weights else "effective pattern", shown.mean)]
    if not shown.is_weights:
        kinds.append(("± spread", shown.spread))
    elif told.mean_terms is not None:
        kinds.append(("× mean input", told.mean_terms))
    one = len(chosen) == 1
    grid = part.subplots(len(kinds) if one else len(chosen), 1 if one else len(kinds), squeeze=False)
    for j, (words, values) in enumerate(kinds):
        limit = largest((values if shown.is_weights else shown.mean)[chosen])
        for i, channel in enumerate(chosen):
            axes = grid[j, 0] if one else grid[i, j]
            picture(axes, values[channel], limit, f"{words} {names[channel]}".strip(), bar=True)


def _draw_examples(part: SubFigure, liked: tuple[Liked, ...], pictures: NDArray[np.float64], words: str) -> None:
    count = max(1, len(liked))
    grid = part.subplots(1, count, squeeze=False)[0]
    for axes in grid:
        axes.axis("off")
    limit = largest(pictures)
    for i, (axes, one) in enumerate(zip(grid, liked, strict=False)):
        colours = len(pictures[i]) == 3 and pictures.min() >= 0
        if colours:
            axes.imshow(np.moveaxis(pictures[i], 0, -1) / limit, interpolation="nearest")
        else:
            axes.imshow(pictures[i].mean(axis=0), cmap="gray", interpolation="nearest")
        if one.window is not None:
            axes.add_patch(_frame(one.window))
        title = f"{clip(one.target, 10)}\n" if one.target else ""
        axes.set_title(escape_math(f"{title}z {one.z:+.2g}"), fontsize=8, color=GREY)
    part.suptitle(words, fontsize=9, color=GREY, x=0.01, ha="left")


def _frame(window: tuple[int, int, int, int]) -> Any:
    """Return the frame of what a neuron sees, to be laid on a picture."""
    from matplotlib.patches import Rectangle

    top, left, height, width = window
    return Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=hex_colour(NEGATIVE), linewidth=1.2)


def _draw_answers(axes: Axes, told: Detection) -> None:
    """Draw the mean level for each class with its AUC, or for each quarter of the target."""
    if told.classes:
        names = [one.name for one in told.classes]
        means = [one.mean for one in told.classes]
        marks = ["" if one.auc != one.auc else f"{one.auc:.2f}" for one in told.classes]
        title = "mean level for each class; above: AUC, how well it alone tells the class from the rest"
    else:
        names = [one.words.replace(" to ", "\nto ") for one in told.quarters]
        means = [one.mean for one in told.quarters]
        marks = [f"{100 * one.active:.0f} % on" for one in told.quarters]
        title = f"mean level by {clip(told.target_name, 20)}"
    heights = drawable(means)
    axes.bar(range(len(names)), heights, color=hex_colour(POSITIVE), width=0.7)
    axes.set_xticks(range(len(names)), [escape_math(clip(name, 24)) for name in names], fontsize=8)
    if len(names) > 12 or max(map(len, names)) > 24:
        axes.tick_params(axis="x", rotation=60)
    for i, (height, mark) in enumerate(zip(heights, marks, strict=True)):
        axes.text(i, max(height, 0.0), mark, ha="center", va="bottom", fontsize=7, color=GREY)
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.margins(y=0.15)
    dress(axes, title)


def _draw_pattern_bars(axes: Axes, told: Detection) -> None:
    shown = told.pattern
    order = by_size(shown.mean, _BARS)
    names = [told.input_names[i] for i in order]
    title = "effective pattern: dz/dx, ± its spread"
    signed_bars(axes, names, drawable(shown.mean[order]), title=title, label="per input")
    axes.errorbar(
        drawable(shown.mean[order]), range(len(order)),
        xerr=drawable(shown.spread[order]), fmt="none", ecolor=GREY, elinewidth=0.8,
    )  # fmt: skip


def _draw_on_table(told: Detection) -> Figure:
    terms = told.terms
    parts = (terms is not None) * 2 + (not told.pattern.is_weights) + bool(told.classes or told.quarters)
    figure = new_figure(4.0 * max(parts, 1) + 0.6, 4.4)
    figure.suptitle(escape_math(clip(str(told.blocks()[0]), 45 * max(parts, 1))), color=GREY, fontsize=10, x=0.01,
                    ha="left")  # fmt: skip
    widths = [1.45, 0.8] * (terms is not None) + [1.3] * (not told.pattern.is_weights)
    widths += [1.3] * bool(told.classes or told.quarters)
    panels = list(figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0])
    if terms is not None:
        order = terms.order()[:_BARS]
        left = len(terms.names) - len(order)
        title = "weights" + (f", the {len(order)} largest of {len(terms.names):,}" if left else "")
        names = [terms.names[i] for i in order]
        signed_bars(panels[0], names, drawable(terms.weights[order]), title=title)
        mean, moves = (drawable(one[order]) for one in (terms.mean, terms.moves))
        beside = panels[1]
        signed_bars(beside, [""] * len(order), mean, title="mean of input × weight", label="line: ± its deviation")
        beside.set_yticks(range(len(order)), [""] * len(order))
        beside.errorbar(mean, range(len(order)), xerr=moves, fmt="none", ecolor=GREY, elinewidth=0.8)
        panels = panels[2:]
    if not told.pattern.is_weights:
        _draw_pattern_bars(panels.pop(0), told)
    if panels:
        _draw_answers(panels[0], told)
    return figure
