"""Pictures of weights, as arrays of pixels: histograms, their course over time, first-layer weights as images.

Negative is orange, zero pale grey, positive blue, symmetric at zero. NaN is black: never a colour of the scale.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.figures import GREY, NEGATIVE, POSITIVE, ZERO, hex_colour, new_figure

Pixels = NDArray[np.uint8]

_ZERO_BAR = (62, 76, 89)


def signed_colours(values: NDArray[Any], largest: float) -> Pixels:
    """Return RGB pixels, (*shape, 3), of values on a scale from -largest to largest."""
    share = np.clip(np.nan_to_num(values / (largest or 1.0), nan=0.0), -1.0, 1.0)[..., None]
    ends = np.where(share < 0, np.array(NEGATIVE), np.array(POSITIVE))
    pixels = np.array(ZERO) * (1.0 - np.abs(share)) + ends * np.abs(share)
    pixels[~np.isfinite(values)] = 0
    rounded: Pixels = np.rint(pixels).astype(np.uint8)
    return rounded


def weight_images(
    W: NDArray[Any],
    input_shape: Sequence[int],
    *,
    largest: float | None = None,
    max_neurons: int = 64,
    width: int = 640,
) -> Pixels:
    """Return the weights of the first neurons of a layer as one grid of images, enlarged without smoothing.

    Args:
        W: Weights, (neurons, inputs).
        input_shape: Shape of one input: (height, width) or (height, width, channels), of which the mean is shown.
        largest: |weight| at the end of the scale; default the largest finite one.
        max_neurons: Neurons shown, from the first.
        width: About how wide the picture is, in pixels; each weight is a square of whole pixels.

    Raises:
        UsageError: The shape is none of a picture, or does not fit the weights.
    """
    if len(input_shape) not in (2, 3) or math.prod(input_shape) != W.shape[1]:
        raise UsageError(
            f"{W.shape[1]} inputs are no pictures of shape {tuple(input_shape)}", where="argument input_shape"
        )
    shown = np.asarray(W[:max_neurons], dtype=np.float64).reshape(-1, *input_shape)
    if shown.ndim == 4:
        shown = shown.mean(axis=3)
    n, height, breadth = shown.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale = max(1, math.ceil(width / (columns * (breadth + 0.5))))
    finite = np.abs(shown[np.isfinite(shown)])
    limit = largest if largest is not None else float(finite.max(initial=0.0))
    tiles = signed_colours(shown, limit).repeat(scale, axis=1).repeat(scale, axis=2)
    gap = max(2, scale // 2)
    grid = np.full((rows * (height * scale + gap) + gap, columns * (breadth * scale + gap) + gap, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top = gap + index // columns * (height * scale + gap)
        left = gap + index % columns * (breadth * scale + gap)
        grid[top : top + height * scale, left : left + breadth * scale] = tile
    return grid


def weight_histograms(name: str, steps: Sequence[int], matrices: Sequence[NDArray[Any]]) -> list[Pixels]:
    """Return a histogram of a layer's weights at each step, pictures of (300, 480, 3) with the same axes.

    The frame is drawn once and the bars are filled in: drawing each picture anew would take 20 times as long.

    Args:
        name: Name of the layer.
        steps: The steps.
        matrices: The weights at each of them; values that are not finite are left out and counted in the title.
    """
    finite = [W[np.isfinite(W)] for W in matrices]
    largest = max((float(np.abs(values).max(initial=0.0)) for values in finite), default=0.0) or 1.0
    bins = histogram_bins(matrices[0].size)
    counts = [np.histogram(values, bins=bins, range=(-largest, largest))[0] for values in finite]
    tallest = 1.05 * max(1, *(int(count.max()) for count in counts))
    figure = new_figure(4.8, 3.0)
    axes = figure.add_subplot()
    axes.set_xlim(-largest, largest)
    axes.set_ylim(0, tallest)
    axes.set_title(" ", fontsize=10)  # keeps the place
    axes.set_xlabel("weight", color=GREY)
    axes.set_ylabel("number of weights", color=GREY)
    frame = _draw(figure)
    box = axes.get_window_extent()
    left, right = round(box.x0) + 1, round(box.x1) - 1
    top, bottom = frame.shape[0] - round(box.y1) + 1, frame.shape[0] - round(box.y0) - 1
    edges = np.rint(np.linspace(left, right, bins + 1)).astype(int)
    colours = [NEGATIVE] * (bins // 2) + [_ZERO_BAR] + [POSITIVE] * (bins // 2)
    pictures = []
    for step, W, values, count in zip(steps, matrices, finite, counts, strict=True):
        picture = frame.copy()
        for index in range(bins):
            height = round(float(count[index]) / tallest * (bottom - top))
            picture[bottom - height : bottom, edges[index] : edges[index + 1]] = colours[index]
        lost = f", {W.size - values.size:,} not finite" if values.size < W.size else ""
        pictures.append(_write(picture, f"{name}: {W.size:,} weights at step {step:,}{lost}", (left + right) // 2))
    return pictures


def _write(picture: Pixels, text: str, middle: int) -> Pixels:
    """Return the picture with a line of text at its top."""
    from pathlib import Path

    import matplotlib as mpl
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    font = ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 13)
    ImageDraw.Draw(image).text((middle, 4), text, fill=GREY, font=font, anchor="ma")
    return np.asarray(image)


def histograms_over_time(steps: Sequence[int], layers: dict[str, Sequence[NDArray[Any]]]) -> Pixels:
    """Return the distribution of each layer's weights over the steps as one picture.

    A panel per layer: steps from left to right, weights from below to above, the darker the more of them (each
    step's share of its most frequent value), with the smallest and largest weight as lines.

    Args:
        steps: The steps, ascending.
        layers: For each layer its weights at each of these steps.
    """
    figure = new_figure(7.2, 1.9 * len(layers) + 0.5)
    grid = figure.subplots(len(layers), 1, squeeze=False, sharex=True)
    for axes, (name, history) in zip(grid[:, 0], layers.items(), strict=True):
        finite = [values[np.isfinite(values)] for values in history]
        largest = max((float(np.abs(values).max(initial=0.0)) for values in finite), default=0.0) or 1.0
        bins = histogram_bins(history[0].size)
        shares = np.zeros((bins, len(steps)))
        for column, values in enumerate(finite):
            counts, _ = np.histogram(values, bins=bins, range=(-largest, largest))
            shares[:, column] = counts / max(int(counts.max(initial=0)), 1)
        axes.pcolormesh(
            np.arange(len(steps) + 1) - 0.5, np.linspace(-largest, largest, bins + 1), np.sqrt(shares), cmap="Blues"
        )
        axes.plot(
            [values.min(initial=np.inf) if values.size else np.nan for values in finite], color=hex_colour(NEGATIVE)
        )
        axes.plot(
            [values.max(initial=-np.inf) if values.size else np.nan for values in finite], color=hex_colour(NEGATIVE)
        )
        axes.set_ylabel(name, color=GREY)
        places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 8)).astype(int))
        axes.set_xticks(places, [f"{steps[i]:,}" for i in places])
    grid[-1, 0].set_xlabel("step", color=GREY)
    grid[0, 0].set_title("weights over time, with the smallest and the largest as lines", fontsize=10, color=GREY)
    return _draw(figure)


def png(pixels: Pixels) -> bytes:
    """Return pixels, (height, width, 3), as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def histogram_bins(count: int) -> int:
    """Return the bars for so many weights: about their square root, 11 to 61, odd so that one stands at zero."""
    return max(11, min(61, math.isqrt(count))) | 1


def _draw(figure: Any) -> Pixels:
    figure.canvas.draw()
    return np.ascontiguousarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
