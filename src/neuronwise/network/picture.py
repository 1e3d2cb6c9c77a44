"""A picture of a network as SVG: columns of neurons, links coloured by sign and sized by magnitude.

Only NumPy and text: the picture stands in notebooks, in the README and in reports without any drawing library.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.network.layers import Dense

if TYPE_CHECKING:
    from neuronwise.network.network import Network

NEGATIVE, POSITIVE = "#d9731a", "#2a74b8"  # orange and blue: told apart under every colour-vision deficiency
NOT_FINITE = "#8a1c9c"

_HEIGHT = 380
_TOP, _BOTTOM = 34, 58
_RADIUS = 8.0
_MAX_LINKS = 260  # per pair of layers; more only darken the picture


def draw_network(network: Network, *, width: int = 720, max_neurons: int = 16) -> str:
    """Return the picture as SVG text.

    A column stands for the input and for each layer. Of a layer with more than `max_neurons` neurons the first
    and last are drawn, and its true number is written below. Of the links between two columns the strongest by
    |weight| are drawn, as many as can be told apart; those that are NaN or infinite are dashed and counted.

    Args:
        network: The network.
        width: Width in pixels.
        max_neurons: Neurons drawn per layer, at least 2.

    Raises:
        UsageError: `max_neurons` is below 2.
    """
    if isinstance(max_neurons, bool) or not isinstance(max_neurons, int) or max_neurons < 2:
        raise UsageError(f"expected a whole number from 2, got {max_neurons!r}", where="argument max_neurons")
    columns = [("input", "", math.prod(network.input_shape))]
    columns += [
        (layer.name, layer.activation.name if layer.activation else "", layer.neuron_count)
        for layer in network.layers
        if layer.parameter_count
    ]
    matrices = [layer.W for layer in network.layers if isinstance(layer, Dense)]
    x_of = np.linspace(70, width - 70, len(columns))
    shown = [_shown(count, max_neurons) for _, _, count in columns]
    y_of = [_places(len(indices), count > max_neurons) for indices, (_, _, count) in zip(shown, columns, strict=True)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}"'
        ' role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{html.escape(_title(network))}</title>",
        f'<rect width="{width}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for k, W in enumerate(matrices):
        parts += _links(W, shown[k + 1], shown[k], (float(x_of[k]), float(x_of[k + 1])), y_of[k + 1], y_of[k])
    for k, (name, activation, count) in enumerate(columns):
        parts += _neurons(name, shown[k], count, float(x_of[k]), y_of[k])
        label = f"{name}" if len(name) <= 18 else name[:17] + "…"
        detail = f"{count:,} {activation}".strip() if k else f"{count:,} inputs"
        parts.append(_text(float(x_of[k]), _HEIGHT - 30, html.escape(label), "#1f2933", bold=True))
        parts.append(_text(float(x_of[k]), _HEIGHT - 12, html.escape(detail), "#52606d"))
    parts.append(f'<text x="12" y="20" fill="{POSITIVE}">+ positive weight</text>')
    parts.append(f'<text x="140" y="20" fill="{NEGATIVE}">− negative weight</text>')
    parts.append(
        f'<text x="{width - 12}" y="20" text-anchor="end" fill="#52606d">{network.parameter_count:,} parameters</text>'
    )
    if broken := int(np.count_nonzero(~np.isfinite(network.parameters))):
        words = f"{broken:,} {'weight' if broken == 1 else 'weights'} NaN or infinite"
        parts.append(f'<text x="268" y="20" fill="{NOT_FINITE}" font-weight="600">{words}</text>')
    parts.append("</svg>")
    return "\n".join(parts)


def _title(network: Network) -> str:
    sizes = [math.prod(network.input_shape), *(layer.neuron_count for layer in network.layers if layer.parameter_count)]
    return f"Network {'-'.join(map(str, sizes))} with {network.parameter_count:,} weights and biases"


def _shown(count: int, limit: int) -> list[int]:
    """Return the indices of the neurons to draw: all, or the first and last ones around a gap."""
    if count <= limit:
        return list(range(count))
    half = limit // 2
    return [*range(half), *range(count - (limit - half), count)]


def _places(count: int, gap: bool) -> list[float]:
    """Return the height of each neuron; in a layer with a gap, the middle place is left free."""
    slots = count + (1 if gap else 0)
    span = _HEIGHT - _TOP - _BOTTOM - 2 * _RADIUS
    step = min(span / max(slots - 1, 1), 30.0)
    first = _TOP + _RADIUS + (span - step * (slots - 1)) / 2
    places = [first + step * slot for slot in range(slots)]
    if gap:
        del places[count // 2]
    return places


def _links(
    W: NDArray[Any],
    rows: list[int],
    columns: list[int],
    x: tuple[float, float],
    y_out: list[float],
    y_in: list[float],
) -> list[str]:
    block = np.asarray(W[np.ix_(rows, columns)], dtype=np.float64)
    finite = np.isfinite(block)
    strongest = np.argsort(-np.where(finite, np.abs(block), np.inf), axis=None, kind="stable")[:_MAX_LINKS]
    largest = float(np.abs(block).max(initial=0.0, where=finite)) or 1.0
    lines = []
    for place in strongest[::-1]:  # the strongest last, on top
        i, j = divmod(int(place), len(columns))
        strength = abs(block[i, j]) / largest if finite[i, j] else 1.0
        colour = NOT_FINITE if not finite[i, j] else POSITIVE if block[i, j] >= 0 else NEGATIVE
        dashes = "" if finite[i, j] else ' stroke-dasharray="4 3"'
        lines.append(
            f'<line x1="{x[0]:.1f}" y1="{y_in[j]:.1f}" x2="{x[1]:.1f}" y2="{y_out[i]:.1f}" stroke="{colour}" '
            f'stroke-width="{0.3 + 2.2 * strength:.2f}" stroke-opacity="{0.12 + 0.63 * strength:.2f}"{dashes}/>'
        )
    return lines


def _neurons(name: str, indices: list[int], count: int, x: float, places: list[float]) -> list[str]:
    radius = min(_RADIUS, 0.42 * (places[1] - places[0])) if len(places) > 1 else _RADIUS
    parts = []
    for index, y in zip(indices, places, strict=True):
        title = f"<title>{html.escape(name)}[{index}]</title>"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#ffffff" stroke="#3e4c59" stroke-width="1.4">'
            f"{title}</circle>"
        )
    if count > len(indices):
        middle = (places[len(places) // 2 - 1] + places[len(places) // 2]) / 2
        parts.append(_text(x, middle + 5, "⋮", "#3e4c59", bold=True))
    return parts


def _text(x: float, y: float, text: str, colour: str, *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{colour}"{weight}>{text}</text>'
