"""Which neurons of a layer that looks at pictures detect edges, lines or stripes, judged against random kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.gratings import (
    ANGLES,
    LARGEST_SIDE,
    RANDOM_KERNELS,
    RANDOM_SEED,
    Chance,
    Tuning,
    chance,
    tune,
)
from neuronwise.explaining.kernels import Kernels, kernels
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.network import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

BEYOND = 0.99
"""A detector is more selective than this share of random kernels …"""
LEAST_SELECTIVITY = 0.25
"""… and at least so selective: that of large random kernels is near 0, and a Sobel kernel has 0.28 to 0.35."""

# Rows of the table that are printed; the dictionary holds all.
_ROWS = 40
# A kernel of fewer pixels along a side has no orientation that could be told from chance.
_LEAST_SIDE = 3


@dataclass(frozen=True)
class NeuronEdges:
    """How one neuron answers to oriented edges, bars and gratings; see `gratings.Tuning` for definitions.

    Attributes:
        neuron: Its name.
        is_detector: More selective than 99 % of random kernels of its size, and at least 0.25.
        kind: What it answers best: ``"edge"``, ``"line"`` or ``"stripes"`` (several lines side by side).
        words: The verdict as a sentence.
        orientation: Angle of the lines it prefers, in degrees counterclockwise from horizontal, 0 ≤ θ < 180.
        selectivity: 1 minus the circular variance of its responses over the angles, 0 to 1.
        beyond: Share of random kernels that are less selective; NaN for kernels too small to be judged.
        frequency: Spatial frequency it answers most, in cycles per pixel.
        light: Of an edge, the direction of its light side in degrees counterclockwise from the right; else NaN.
        edge: Response to the best step edge, a cosine from 0 to 1.
        bar: Response to the best bar.
        grating: Response to the best grating.
        even_share: Share of the norm of its weights that answers to even light, which the responses leave out.
        colour: Weight of each channel in the picture that is judged, of norm 1.
        colour_share: Share of the kernel's squared norm that this picture holds; 1 for one channel.
    """

    neuron: str
    is_detector: bool
    kind: str
    words: str
    orientation: float
    selectivity: float
    beyond: float
    frequency: float
    light: float
    edge: float
    bar: float
    grating: float
    even_share: float
    colour: tuple[float, ...]
    colour_share: float


@dataclass(frozen=True)
class Edges(Explanation):
    """The neurons of a layer as detectors of edges.

    Attributes:
        layer: Name of the layer.
        size: Rows and columns of its kernels.
        neurons: One for each neuron, in order.
        angles: Angles in degrees at which the responses are computed, (36,).
        responses: Response of each neuron at each angle, (neurons, 36).
        pictures: The kernels, (neurons, rows, columns); of several channels, in the direction of each one's colour.
        random_kernels: How many random kernels were compared with.
        random_seed: Their seed.
        random_selectivity: Selectivity that 50 %, 90 % and 99 % of them stay below; NaN for kernels too small.
    """

    layer: str
    size: tuple[int, int]
    neurons: tuple[NeuronEdges, ...]
    angles: Array
    responses: Array
    pictures: Array
    random_kernels: int
    random_seed: int
    random_selectivity: tuple[float, float, float]

    @property
    def leaning(self) -> list[NeuronEdges]:
        """The neurons that are more selective than 99 % of random kernels, but too little to be called detectors."""
        return [one for one in self.neurons if one.beyond >= BEYOND and not one.is_detector]

    @property
    def detectors(self) -> list[NeuronEdges]:
        """The neurons that are detectors, the most selective first."""
        return sorted((one for one in self.neurons if one.is_detector), key=lambda one: -one.selectivity)

    def label(self, index: int, *, unsure: bool = False) -> str:
        """Return what a neuron detects, short: ``edge 45°``; ``–`` for none.

        Args:
            index: Its place in the layer.
            unsure: Whether an angle that may be chance is told too, as ``~45°``.
        """
        one = self.neurons[index]
        if one.is_detector:
            return f"{one.kind} {angle_words(one.orientation)}"
        return f"~{angle_words(one.orientation)}" if unsure and one.selectivity >= LEAST_SELECTIVITY else "–"

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers but the kernels, which are the network's own weights."""
        content = super().to_dict()
        del content["pictures"]
        return content

    def blocks(self) -> Sequence[Block]:
        """Return how many are detectors, how that was judged, and a table of the neurons, the most selective first."""
        ordered = sorted(self.neurons, key=lambda one: (not one.is_detector, -np.nan_to_num(one.selectivity, nan=-1.0)))
        rows = tuple(
            (
                one.neuron,
                one.kind if one.is_detector else "–",
                angle_words(one.orientation),
                _number(one.selectivity, 2),
                f"{100 * one.beyond:.1f} %" if np.isfinite(one.beyond) else "–",
                _number(one.frequency, 2),
                _number(1.0 / one.frequency if one.frequency else np.nan, 1),
                _number(one.edge, 2),
                _number(one.bar, 2),
                _number(one.grating, 2),
                _percent(one.even_share),
            )
            for one in ordered[:_ROWS]
        )
        headings = (
            "neuron", "detects", "angle", "selectivity", "beyond", "frequency", "period", "edge", "bar", "grating",
            "even light",
        )  # fmt: skip
        more = f", the {_ROWS} most selective of {len(ordered)}" if len(ordered) > _ROWS else ""
        return [self._headline(), *self._judged(), Table(headings, rows, f"Neurons of {self.layer}{more}")]

    def _headline(self) -> str:
        count, n = len(self.detectors), len(self.neurons)
        kernel = f"{self.size[0]} × {self.size[1]} pixels"
        if not count and not self.leaning:
            return f"{self.layer}: no oriented response beyond chance in any of its {n} neurons ({kernel})"
        if not count:
            return (
                f"{self.layer}: none of its {n} neurons is a detector of edges, lines or stripes ({kernel}); "
                f"{len(self.leaning)} lean to an angle, but weakly"
            )
        return (
            f"{self.layer}: {count} of {n} neurons {'is a detector' if count == 1 else 'are detectors'} of edges, "
            f"lines or stripes ({kernel})"
        )

    def _judged(self) -> list[str]:
        said = [one.words for one in self.detectors[:3]]
        if min(self.size) < _LEAST_SIDE:
            said.append(
                f"Kernels of {self.size[0]} × {self.size[1]} pixels are too small to have an orientation that could be "
                "told from chance: none is judged."
            )
            return said
        half, most, nearly_all = self.random_selectivity
        said.append(
            f"Judged against {self.random_kernels:,} random kernels of the same size and norm (seed "
            f"{self.random_seed}): half of them are less selective than {half:.2f}, 99 % less than {nearly_all:.2f}. "
            f"A detector is beyond 99 % of them and at least {LEAST_SELECTIVITY} selective; by chance alone that "
            f"would be {0.01 * len(self.neurons):.2g} of {len(self.neurons)} at most."
        )
        if min(self.size) == _LEAST_SIDE:
            above = sum(one.selectivity > most for one in self.neurons)
            said.append(
                f"With only {_LEAST_SIDE} pixels along a side an angle is told to some 7°, but hardly whether it is "
                "more than chance: a Sobel kernel itself, 0.28 to 0.35 selective, is not beyond 99 % of random ones. "
                f"The layer as a whole says more: {above} of {len(self.neurons)} neurons are beyond 90 % of random "
                f"kernels, where chance gives {0.1 * len(self.neurons):.2g}."
            )
        if self.leaning:
            said.append(
                f"{len(self.leaning)} more neurons are beyond 99 % of random kernels, but below {LEAST_SELECTIVITY}: "
                "random kernels differ from pixel to pixel, learned ones of this size are smooth, and whatever is "
                "smooth leans a little to some angle."
            )
        if max(self.size) > LARGEST_SIDE:
            said.append(
                f"The kernels were averaged down to {LARGEST_SIDE} pixels on their longer side: stripes finer than "
                f"{2 * max(self.size) / LARGEST_SIDE:.2g} pixels are not seen."
            )
        if any(len(one.colour) > 1 for one in self.neurons):
            least = min(one.colour_share for one in self.neurons)
            said.append(
                "Of several channels each neuron is seen in the one mixture of channels that holds most of its kernel: "
                f"at least {_percent(least)} of it here."
            )
        said.append(
            'The angle is that of the lines, counterclockwise from horizontal: 0° a horizon, 45° "/", 90° a lamp post. '
            "Selectivity is 1 minus the circular variance of the responses over the angles: 0 for all angles alike, 1 "
            "for a single one. Responses are cosines, even light left out; frequency in cycles per pixel, period in "
            "pixels."
        )
        return said

    def figure(self) -> Figure:
        """Return each kernel with its response over the angles."""
        from neuronwise.explaining.edge_pictures import draw_edges

        return draw_edges(self)


def find_edges(network: Network, layer: str | None = None, *, meaning: Meaning | None = None) -> Edges:
    """Return how the neurons of a layer answer to oriented edges, bars and gratings, and which detect edges.

    Args:
        network: The network.
        layer: A convolution, or a dense layer that looks at the picture itself; default the first layer with weights.
            The kernels of a deeper convolution look at the maps of the layer below, not at the picture.
        meaning: What knows the shape of pictures that the network takes as a flat row.

    Raises:
        NotFoundError: There is no such layer.
        UsageError: The network's inputs are no pictures, or the layer is of another kind.

    Example:
        >>> from neuronwise.network import Conv2D, Network
        >>> network = Network([Conv2D(1, 5)], input_shape=(8, 8))
        >>> network["output"].W = [[[[1, 1, 0, -1, -1]] * 5]]
        >>> find_edges(network).neurons[0].words
        'output[0]: edge detector at 90°, light at the left, selectivity 0.65, beyond all 1,000 random kernels'
    """
    return judge(kernels(network, layer, meaning))


def judge(found: Kernels) -> Edges:
    """Return which kernels detect edges."""
    tuning = tune(found.pictures)
    judged = min(found.size) >= _LEAST_SIDE
    random: Chance | None = chance(*found.size) if judged else None
    beyond = random.beyond(tuning.selectivity) if random is not None else np.full(len(found.pictures), np.nan)
    neurons = tuple(_neuron(found, tuning, float(beyond[index]), index) for index in range(len(found.pictures)))
    levels = np.quantile(random.selectivity, (0.5, 0.9, 0.99)).tolist() if random is not None else [np.nan] * 3
    return Edges(
        found.layer, found.size, neurons, ANGLES, tuning.responses, found.pictures, RANDOM_KERNELS, RANDOM_SEED,
        (levels[0], levels[1], levels[2]),
    )  # fmt: skip


def is_detector(selectivity: Any, beyond: Any) -> Any:
    """Return whether a selectivity that is beyond such a share of random kernels makes a detector."""
    return (np.asarray(beyond) >= BEYOND) & (np.asarray(selectivity) >= LEAST_SELECTIVITY)


def _neuron(found: Kernels, tuning: Tuning, beyond: float, index: int) -> NeuronEdges:
    name = f"{found.layer}[{index}]"
    edge, bar, grating = float(tuning.edge[index]), float(tuning.bar[index]), float(tuning.grating[index])
    selectivity, orientation = float(tuning.selectivity[index]), float(tuning.orientation[index])
    # A grating is fitted in its phase and contrast, so it always matches a little better than one edge or bar does.
    kind = "stripes" if grating > 1.25 * max(edge, bar) else "edge" if edge >= bar else "line"
    detects = bool(is_detector(selectivity, beyond))
    light = float(tuning.light[index]) if kind == "edge" else np.nan
    if not np.isfinite(found.weights[index]).all():
        words = f"{name}: its weights are not finite, so it has no orientation"
    elif not np.isfinite(selectivity):
        words = f"{name}: all of its weights are equal, so it answers to even light only"
    elif not np.isfinite(beyond):
        words = f"{name}: too small a kernel to have an orientation beyond chance"
    elif detects:
        side = f", light at the {side_words(light)}" if kind == "edge" else ""
        what = {"edge": "edge", "line": "line", "stripes": "stripe"}[kind]
        words = (
            f"{name}: {what} detector at {angle_words(orientation)}{side}, selectivity {selectivity:.2f}, beyond "
            f"{beyond_words(beyond, RANDOM_KERNELS)} random kernels"
        )
    elif beyond >= BEYOND:
        words = (
            f"{name}: leans to {angle_words(orientation)}, but weakly: selectivity {selectivity:.2f} is below "
            f"{LEAST_SELECTIVITY}, though beyond {beyond_words(beyond, RANDOM_KERNELS)} random kernels"
        )
    else:
        words = (
            f"{name}: no oriented response beyond chance (selectivity {selectivity:.2f}, beyond "
            f"{beyond_words(beyond, RANDOM_KERNELS)} random kernels)"
        )
    return NeuronEdges(
        name, detects, kind, words, orientation, selectivity, beyond, float(tuning.frequency[index]), light, edge, bar,
        grating, float(found.even_share[index]), tuple(found.colours[index].tolist()), float(found.colour_share[index]),
    )  # fmt: skip


def angle_words(angle: float) -> str:
    """Return an angle of lines in whole degrees, 0° to 179°: 179.7° is 0°."""
    return f"{round(angle) % 180}°" if np.isfinite(angle) else "–"


def beyond_words(beyond: float, count: int) -> str:
    """Return a share of random kernels in words: ``99.4 % of``, ``all 1,000``."""
    return f"all {count:,}" if beyond >= 1.0 else f"{100 * beyond:.1f} % of"


def side_words(direction: float) -> str:
    """Return a direction in degrees counterclockwise from the right in words: ``upper left``."""
    sides = ("right", "upper right", "top", "upper left", "left", "lower left", "bottom", "lower right")
    return sides[round(direction / 45.0) % 8]


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
