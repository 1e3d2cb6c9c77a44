"""A picture of a network as SVG: columns of neurons, links coloured by sign and sized by magnitude.

Only NumPy and text: the picture stands in notebooks, in the README and in reports without any drawing library.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.network.layers import AveragePool2D, Conv2D, Dense, Flatten, Layer, MaxPool2D
from neuronwise.network.layers.base import Shape

if TYPE_CHECKING:
    from neuronwise.network.network import Network

NEGATIVE, POSITIVE = "#d9731a", "#2a74b8"  # orange and blue: told apart under every colour-vision deficiency
NOT_FINITE = "#8a1c9c"

_HEIGHT = 380
_TOP, _BOTTOM = 34, 58
_RADIUS = 8.0
_MAX_LINKS = 260  # per pair of layers; more only darken the picture


@dataclass
class _Column:
    """What stands for the input or for a layer with weights.

    Attributes:
        name: Of the layer, or ``input``.
        count: How many are drawn at most: neurons, or channels of pictures.
        detail: The line below the name.
        size: Shape of the outputs, for the title.
        are_pictures: Whether they are channels, drawn as squares.
        links: Strength of each link from the column before, (count, its count); None for the input.
        between: Names of the layers without weights that follow.
    """

    name: str
    count: int
    detail: str
    size: str
    are_pictures: bool
    links: NDArray[Any] | None = None
    between: list[str] = field(default_factory=list)


def draw_network(network: Network, *, width: int = 720, max_neurons: int = 16) -> str:
    """Return the picture as SVG text.

    A column stands for the input and for each layer with weights; pooling, dropout and the like are named between
    them. A circle is a neuron, a square a channel of pictures (of a convolution a filter). Of a layer with more than
    `max_neurons` of them the first and last are drawn, and its true number is written below. Of the links between two
    columns the strongest by |weight| are drawn, as many as can be told apart; those that are NaN or infinite are dashed
    and counted. A link from or to a channel stands for many weights: it is as strong as the root of their summed
    squares, and has the colour of their sum.

    Args:
        network: The network.
        width: Width in pixels.
        max_neurons: Neurons drawn per layer, at least 2.

    Raises:
        UsageError: `max_neurons` is below 2.
    """
    if isinstance(max_neurons, bool) or not isinstance(max_neurons, int) or max_neurons < 2:
        raise UsageError(f"expected a whole number from 2, got {max_neurons!r}", where="argument max_neurons")
    columns = _columns(network)
    x_of = np.linspace(70, width - 70, len(columns))
    shown = [_shown(column.count, max_neurons) for column in columns]
    y_of = [_places(len(indices), one.count > max_neurons) for indices, one in zip(shown, columns, strict=True)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}"'
        ' role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{html.escape(_title(network, columns))}</title>",
        f'<rect width="{width}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for k, column in enumerate(columns):
        if column.links is not None:
            places = float(x_of[k - 1]), float(x_of[k])
            parts += _links(column.links, shown[k], shown[k - 1], places, y_of[k], y_of[k - 1])
    for k, column in enumerate(columns):
        x = float(x_of[k])
        parts += _neurons(column, shown[k], x, y_of[k])
        parts.append(_text(x, _HEIGHT - 30, html.escape(_short(column.name)), "#1f2933", bold=True))
        parts.append(_text(x, _HEIGHT - 12, html.escape(column.detail), "#52606d"))
        if column.between and k + 1 < len(columns):
            names = html.escape(_short(", ".join(column.between)))
            parts.append(_text((x + float(x_of[k + 1])) / 2, _HEIGHT - 48, names, "#52606d"))
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


def _columns(network: Network) -> list[_Column]:
    """Return the input and the layers with weights."""
    shape = network.input_shape
    axis = _channel_axis(network.layers, shape)  # the axis of channels, as long as what flows are pictures, also flat
    count = math.prod(shape) if axis is None else _channels(shape, axis)
    size = str(count) if axis is None else _by(shape)
    columns = [_Column("input", count, f"{size if axis is not None else f'{count:,}'} inputs", size, axis is not None)]
    for layer in network.layers:
        if isinstance(layer, Dense):
            links = layer.W if axis is None else _joined(layer.W.reshape(layer.units, *shape), axis)
            shape, axis = layer.output_shape, None
            detail = f"{layer.units:,} {layer.activation.name}"
            columns.append(_Column(layer.name, layer.units, detail, str(layer.units), False, links))
        elif isinstance(layer, Conv2D):
            shape = layer.output_shape
            axis = 2 if layer.data_format == "channels_last" else 0
            rows, columns_ = (one.places for one in layer.axes(layer.input_shape))
            detail = f"{layer.filters:,} of {rows}×{columns_} {layer.activation.name}"
            columns.append(_Column(layer.name, layer.filters, detail, _by(shape), True, _joined(layer.W, 0)))
        elif not isinstance(layer, Flatten):  # which changes nothing that is drawn
            columns[-1].between.append(layer.name)
            if isinstance(layer, (MaxPool2D, AveragePool2D)):
                shape = layer.output_shape
    return columns


def _channel_axis(layers: list[Layer], shape: Shape) -> int | None:
    """Return the axis of the channels in the input, 2 also where it has none, if a layer of pictures comes first."""
    for layer in layers:
        if isinstance(layer, (Conv2D, MaxPool2D, AveragePool2D)):
            return 2 if len(shape) == 2 or layer.data_format == "channels_last" else 0
        if isinstance(layer, (Dense, Flatten)):
            break
    return None


def _channels(shape: Shape, axis: int) -> int:
    return shape[axis] if len(shape) == 3 else 1


def _joined(W: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return one number for the weights between a neuron and a channel, which lies along `axis` behind the first."""
    if W.ndim == 3:
        W = W[..., None]
    W = np.moveaxis(np.asarray(W, dtype=np.float64), axis + 1, 1)
    rest = (2, 3)
    with np.errstate(all="ignore"):
        norm: NDArray[Any] = np.sqrt((W * W).sum(axis=rest))
        return np.where(W.sum(axis=rest) < 0, -norm, norm)


def _by(shape: Shape) -> str:
    return "×".join(map(str, shape))


def _short(text: str) -> str:
    return text if len(text) <= 18 else text[:17] + "…"


def _title(network: Network, columns: list[_Column]) -> str:
    sizes = "-".join(column.size for column in columns)
    return f"Network {sizes} with {network.parameter_count:,} weights and biases"


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


def _neurons(column: _Column, indices: list[int], x: float, places: list[float]) -> list[str]:
    radius = min(_RADIUS, 0.42 * (places[1] - places[0])) if len(places) > 1 else _RADIUS
    style = 'fill="#ffffff" stroke="#3e4c59" stroke-width="1.4"'
    parts = []
    for index, y in zip(indices, places, strict=True):
        title = f"<title>{html.escape(column.name)}[{index}]</title>"
        if column.are_pictures:
            corner = f'x="{x - radius:.1f}" y="{y - radius:.1f}" width="{2 * radius:.1f}" height="{2 * radius:.1f}"'
            parts.append(f"<rect {corner} {style}>{title}</rect>")
        else:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {style}>{title}</circle>')
    if column.count > len(indices):
        middle = (places[len(places) // 2 - 1] + places[len(places) // 2]) / 2
        parts.append(_text(x, middle + 5, "⋮", "#3e4c59", bold=True))
    return parts


def _text(x: float, y: float, text: str, colour: str, *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{colour}"{weight}>{text}</text>'
