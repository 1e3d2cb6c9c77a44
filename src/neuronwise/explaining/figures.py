"""Figures in the project's colours, drawn without any display: negative orange, zero pale, positive blue."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

NEGATIVE, ZERO, POSITIVE = (217, 115, 26), (238, 240, 242), (42, 116, 184)
"""Colours (red, green, blue) of the scale of signed values, symmetric at zero."""
GREY = "#3e4c59"
"""Colour of words and axes."""


def hex_colour(colour: tuple[int, int, int]) -> str:
    """Return a colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches at 100 dots each, that belongs to no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def signed_colormap() -> Colormap:
    """Return the scale of signed values for matplotlib; NaN is black, never a colour of the scale."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = [hex_colour(c) for c in (NEGATIVE, ZERO, POSITIVE)]
    return LinearSegmentedColormap.from_list("neuronwise", colours).with_extremes(bad="black")


def signed_bars(axes: Axes, names: list[str], values: Any, *, title: str = "", label: str = "") -> None:
    """Draw a horizontal bar for each name, the first on top: blue to the right, orange to the left.

    The sign stands at each name too, for those who do not see the colours.
    """
    colours = [hex_colour(POSITIVE if value >= 0 else NEGATIVE) for value in values]
    places = range(len(names))
    axes.barh(places, values, color=colours)
    signed = [f"{clip(name, 40)} {'+' if value >= 0 else '−'}" for name, value in zip(names, values, strict=True)]
    axes.set_yticks(places, [escape_math(words) for words in signed])
    axes.invert_yaxis()
    axes.axvline(0.0, color=GREY, linewidth=0.8)
    dress(axes, title, label)


def dress(axes: Axes, title: str = "", label: str = "") -> None:
    """Give axes the project's title, label and quiet frame."""
    if title:
        axes.set_title(escape_math(title), color=GREY, fontsize=10, loc="left")
    if label:
        axes.set_xlabel(escape_math(label), color=GREY)
    axes.tick_params(colors=GREY, labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def escape_math(words: str) -> str:
    """Return words of a user's so that matplotlib sets no formula where they hold dollar signs."""
    return words.replace("$", r"\$")


def clip(words: str, length: int) -> str:
    """Return words, cut where they are too long for a picture."""
    return words if len(words) <= length else words[: length - 1] + "…"


def figure_bytes(figure: Figure, ending: str) -> bytes:
    """Return a figure as a file: ``"png"`` or ``"svg"``, without a date, so that equal figures are equal files."""
    file = io.BytesIO()
    figure.savefig(file, format=ending, metadata={"Date": None} if ending == "svg" else {"Software": None})
    return file.getvalue()
