"""Why this answer, drawn: a waterfall of columns or a map over the picture, beside the hidden layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.data.columns import figure as number_words
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
    signed_colormap,
)
from neuronwise.explaining.prediction_result import PredictionExplanation, number, signed, top
from neuronwise.explaining.units import round_to

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _NEURONS, _LAYERS = 14, 6, 3
# Rows and columns up to which a pixel has room for a glyph.
_GLYPHS = 16


def draw(told: PredictionExplanation) -> Figure:
    """Return the picture of an explained prediction."""
    layers = told.layers[-_LAYERS:]
    is_picture = told.picture is not None
    count = min(len(told.names), _COLUMNS + 1) + 2
    height = 4.2 if is_picture else max(2.6, 0.32 * count + 1.3, 1.9 * len(layers))
    figure = new_figure(11.0 if layers or is_picture else 7.5, height)
    figure.suptitle(escape_math(clip(str(told.blocks()[0]), 110)), color=GREY, fontsize=11, x=0.01, ha="left")
    widths = [0.8, 1.0] if is_picture else [1.5]
    grid = figure.add_gridspec(1, len(widths) + bool(layers), width_ratios=widths + [1.0] * bool(layers))
    if is_picture:
        _picture(figure.add_subplot(grid[0]), told)
        _heat(figure, figure.add_subplot(grid[1]), told)
    else:
        _waterfall(figure.add_subplot(grid[0]), told)
    if layers:
        inner = grid[len(widths)].subgridspec(len(layers), 1)
        for place, layer in enumerate(layers):
            shown = top(layer, _NEURONS)
            names = [layer.names[i] for i in shown]
            signed_bars(figure.add_subplot(inner[place]), names, layer.contributions[shown])
            dress(figure.axes[-1], f"{layer.layer}: what its neurons add")
    return figure


def _waterfall(axes: Axes, told: PredictionExplanation) -> None:
    """Draw bars that each begin where the one before ends, from start to the answer."""
    unit = told.unit
    log = unit is not None and unit.log
    order = told.order
    shown, rest = order[:_COLUMNS], order[_COLUMNS:]
    names = [f"{clip(told.names[i], 24)} = {clip(told.values[i], 16)}" for i in shown]
    steps = [float(told.contributions[i]) for i in shown]
    if rest:
        names.append(f"the other {len(rest):,}")
        steps.append(float(told.contributions[rest].sum()))
    ends = np.cumsum([told.start, *steps])

    def amount(output: float) -> float:
        return unit.amount(output) if unit is not None else output

    at = [amount(float(end)) for end in ends]
    for place, step in enumerate(steps):
        if not (math.isfinite(at[place]) and math.isfinite(at[place + 1])):
            continue
        colour = hex_colour(POSITIVE if step >= 0 else NEGATIVE)
        left, right = sorted((at[place], at[place + 1]))
        axes.barh(place + 1, right - left, left=left, color=colour, height=0.65)
        axes.plot([at[place + 1]] * 2, [place + 0.65, place + 2.35], color=GREY, linewidth=0.6)
        words = f"× {unit.factor(step):.2f}" if log and unit is not None else signed(round_to(step, 3))
        if unit is not None and not log:
            words = unit.words(unit.difference(step, told.value), signed=True)
        axes.annotate(
            escape_math(words), (right, place + 1), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
            color=GREY,
        )  # fmt: skip
    rows = ["start", *names, "answer" if told.explains == "output" else "logit"]
    for place, value in ((0, at[0]), (len(rows) - 1, at[-1])):
        if math.isfinite(value):
            axes.plot([value], [place], marker="D", color=GREY, markersize=5)
            words = unit.words(value) if unit is not None else number(value)
            axes.annotate(
                escape_math(words), (value, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8,
                color=GREY,
            )  # fmt: skip
    axes.set_yticks(range(len(rows)), [escape_math(row) for row in rows])
    axes.invert_yaxis()
    if log:
        _log_axis(axes, at)
    _room(axes, [value for value in at if math.isfinite(value)], log)
    label = f"{unit.name}{' (each bar a factor)' if log else ''}" if unit is not None else told.what
    dress(axes, "", label)


def _room(axes: Axes, values: list[float], log: bool) -> None:
    """Leave room for words to the right of the bars."""
    if not values or (log and min(values) <= 0):
        return
    ends = [math.log(value) for value in (min(values), max(values))] if log else [min(values), max(values)]
    wide = (ends[1] - ends[0]) or 1.0
    limits = ends[0] - 0.05 * wide, ends[1] + 0.22 * wide
    axes.set_xlim(*(map(math.exp, limits) if log else limits))


def _log_axis(axes: Axes, values: list[float]) -> None:
    """Scale the axis by factors, with ticks at round amounts."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    finite = [value for value in values if math.isfinite(value) and value > 0]
    wide = bool(finite) and max(finite) / min(finite) > 8
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if wide else (1, 2, 3, 4, 5, 6, 8)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number_words(round_to(float(value), 3))))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _grey_picture(picture: Any) -> Any:
    values = np.asarray(picture, np.float64)
    return values.mean(axis=2) if values.ndim == 3 and values.shape[2] not in (3, 4) else values


def _picture(axes: Axes, told: PredictionExplanation) -> None:
    """Draw the input itself."""
    shown = _grey_picture(told.picture)
    if shown.ndim == 3:
        axes.imshow(np.clip(shown[..., :3], 0, 1), interpolation="nearest")
    else:
        axes.imshow(shown, cmap="gray", interpolation="nearest")
    _bare(axes, "the picture")


def _heat(figure: Figure, axes: Axes, told: PredictionExplanation) -> None:
    """Draw what each pixel adds, summed over channels; its outline is the picture, faint."""
    assert told.picture is not None
    heat = told.input_contributions.reshape(told.picture.shape)
    if heat.ndim == 3:
        heat = heat.sum(axis=2)
    finite = np.abs(heat[np.isfinite(heat)])
    limit = float(finite.max(initial=0.0)) or 1.0
    drawn = axes.imshow(heat, cmap=signed_colormap(), vmin=-limit, vmax=limit, interpolation="nearest")
    shape = np.asarray(_grey_picture(told.picture))
    grey = shape.mean(axis=2) if shape.ndim == 3 else shape
    if np.isfinite(grey).all() and grey.min() < grey.max() and min(grey.shape) > 1:
        axes.contour(grey, levels=[(grey.min() + grey.max()) / 2], colors=[GREY], linewidths=0.7)
    if max(heat.shape) <= _GLYPHS:  # the sign also as a glyph, where there is room for it
        for row, column in zip(*np.nonzero(np.abs(np.nan_to_num(heat)) > 0.12 * limit), strict=True):
            glyph = "+" if heat[row, column] > 0 else "−"
            axes.text(column, row, glyph, ha="center", va="center", fontsize=8, color=GREY)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
    bar.ax.tick_params(labelsize=8, colors=GREY)
    ends = [-limit, 0.0, limit]
    bar.set_ticks(ends, labels=[f"{signed(round_to(end, 2))}" if end else "0" for end in ends])
    title = f"what each pixel adds to {told.what}"
    if told.against is not None:
        title = f"what speaks for {told.output} (+) and for {told.against} (−)"
    _bare(axes, title)


def _bare(axes: Axes, title: str) -> None:
    dress(axes, clip(title, 48))
    axes.set_xticks([])
    axes.set_yticks([])
