"""The neurons of a layer on many examples: how each answers; dead, always-on, saturated ones and twins by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neurons import (
    Progress,
    answers,
    check_examples,
    evenly,
    locate_layer,
    map_shape,
    patches,
    weight_rows,
)
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.targets import class_ids
from neuronwise.explaining.twins import Twin, find_twins
from neuronwise.network import Layer, Network
from neuronwise.network.layers import Conv2D
from neuronwise.recording.statistics import SATURATED_WITHIN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SATURATED_SHARE = 0.95
"""A sigmoid or tanh neuron is called saturated if so many of its levels are closer than 0.03 to an end of its range."""
# Functions with f(z) = z wherever z > 0: always there, a neuron is linear.
_LINEAR_ABOVE = ("relu", "leaky_relu", "elu")
# Examples, and values of a layer's inputs, by which twins are looked for.
_TWIN_EXAMPLES, _TWIN_VALUES = 2_048, 4_000_000
_NAMED, _LISTED = 24, 24


@dataclass(frozen=True)
class LayerNeurons(Explanation):
    """The neurons of a layer, each (neurons,) in their order, on some examples. Of a convolution: at all its places.

    Attributes:
        layer: Its name.
        names: Of the neurons.
        activation: Name of the activation function.
        examples: How many examples there were.
        mean, deviation: Of the activation levels; NaN where one of them is not finite.
        least, greatest: Of them.
        active: Share of examples (and places) with z > 0.
        saturated_share: Share of levels closer than 0.03 to an end of the range, of sigmoid and tanh; else NaN.
        nonfinite: How many levels are NaN or infinite.
        class_names: Of the classes; empty where the targets are no classes, or are not known.
        class_means: Mean level of each neuron over the examples of each class, (neurons, classes).
        dead: Names of ReLU neurons whose level is 0 on every example: with a slope of 0 there, nothing teaches them.
        constant: Names of others that answer the same to every example.
        always_on: Names of those with z > 0 on every example, of functions that are then f(z) = z: they are linear
            here and add nothing that a weighted sum could not.
        saturated: Names of sigmoid and tanh neurons with 95 % of their levels at an end of the range.
        not_finite: Names of those with a level that is NaN or infinite.
        twins: Pairs that look for the same.
        twins_looked_for: How: a sentence.
    """

    layer: str
    names: tuple[str, ...]
    activation: str
    examples: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    least: NDArray[np.float64]
    greatest: NDArray[np.float64]
    active: NDArray[np.float64]
    saturated_share: NDArray[np.float64]
    nonfinite: NDArray[np.int64]
    class_names: tuple[str, ...]
    class_means: NDArray[np.float64]
    dead: tuple[str, ...]
    constant: tuple[str, ...]
    always_on: tuple[str, ...]
    saturated: tuple[str, ...]
    not_finite: tuple[str, ...]
    twins: tuple[Twin, ...]
    twins_looked_for: str

    def state(self, name: str) -> str:
        """Return what is to be said of a neuron: ``"dead"``, ``"always on"`` …; ``""`` for a healthy one."""
        kinds = (
            ("not finite", self.not_finite), ("dead", self.dead), ("constant", self.constant),
            ("always on", self.always_on), ("saturated", self.saturated),
        )  # fmt: skip
        return ", ".join(words for words, names in kinds if name in names)

    def blocks(self) -> Sequence[Block]:
        """Return who is dead, always on, saturated or a twin, by name, then the neurons that vary most."""
        counted = [
            f"{len(names):,} {words}"
            for words, names in (
                ("not finite", self.not_finite), ("dead", self.dead), ("constant", self.constant),
                ("always on", self.always_on), ("saturated", self.saturated),
            )
            if names
        ]  # fmt: skip
        pairs = len(self.twins)
        counted.append("no twins" if not pairs else f"{pairs:,} {'pair' if pairs == 1 else 'pairs'} of twins")
        said: list[Block] = [
            f"{self.layer}: {len(self.names):,} {self.activation} "
            f"{'neuron' if len(self.names) == 1 else 'neurons'} on {self.examples:,} examples: {', '.join(counted)}"
        ]
        for words, why, names in (
            ("not finite", "a level of theirs is NaN or infinite", self.not_finite),
            (
                "dead",
                "their level is 0 on every example, and with ReLU's slope of 0 there nothing teaches them",
                self.dead,
            ),
            ("constant", "they answer the same to every example", self.constant),
            ("always on", "z > 0 on every example, so they are linear here", self.always_on),
            (
                "saturated",
                f"{SATURATED_SHARE:.0%} of their levels or more are at an end of the range, where they hardly learn",
                self.saturated,
            ),
        ):
            if names:
                said.append(f"{words}: {_named(names)} ({why})")
        if self.twins:
            rows = [
                (f"{one.neuron} and {one.twin}", f"{one.cosine:+.4f}", f"{one.scale:+.3g}", _number(one.correlation),
                 _number(one.levels), one.by)
                for one in self.twins[:_LISTED]
            ]  # fmt: skip
            more = f" (the {_LISTED} closest of {pairs:,} pairs)" if pairs > _LISTED else ""
            heads = ("pair", "cosine of weights", "times", "correlation of z", "of levels", "shown by")
            said.append(Table(heads, tuple(rows), f"twins: they look for the same{more}"))
        said.append(self.twins_looked_for)
        said.append(self._neurons())
        return said

    def _neurons(self) -> Table:
        order = np.argsort(-np.nan_to_num(self.deviation, nan=np.inf), kind="stable")[:_LISTED].tolist()
        heads = ["neuron", "mean level", "deviation", "z > 0"]
        heads += ["most for", "least for"] if self.class_names else []
        rows = []
        for i in order:
            row = [self.names[i], f"{self.mean[i]:.4g}", f"{self.deviation[i]:.4g}", f"{100 * self.active[i]:.3g} %"]
            if self.class_names:
                means = self.class_means[i]
                known = np.isfinite(means).any() and self.deviation[i] > 0
                row += [
                    f"{self.class_names[int(pick(means))]} ({means[int(pick(means))]:.3g})" if known else "–"
                    for pick in (np.nanargmax, np.nanargmin)
                ]
            rows.append(tuple(row))
        more = f": the {len(order)} that vary most, of {len(self.names):,}" if len(order) < len(self.names) else ""
        return Table(tuple(heads), tuple(rows), f"neurons{more}")

    def figure(self) -> Figure:
        """Return the mean level of each neuron for each class, or how each is spread; dead and odd ones marked."""
        from neuronwise.explaining.layer_pictures import draw_layer

        return draw_layer(self)


def layer_neurons(
    network: Network,
    layer: str,
    X: ArrayLike,
    y: ArrayLike | None = None,
    *,
    meaning: Meaning | None = None,
    progress: Progress | None = None,
    twins_of: int | None = None,
) -> LayerNeurons:
    """Return how the neurons of a layer answer to examples, and which are dead, always on, saturated or twins.

    Args:
        network: The network.
        layer: Name of a layer with neurons.
        X: Examples, (rows, *input_shape).
        y: Their targets: class ids (rows,) or standardised values (rows, 1), as `TargetSpec.encode` gives them; None
            where they are not known.
        meaning: Names of the classes; default what the network knows.
        progress: Called with the rows done and all rows.
        twins_of: Look for twins of the neuron at this place only.

    Raises:
        NotFoundError: There is no such layer, or it has no neurons of its own.
        UsageError: `X` or `y` does not fit.
    """
    meaning = Meaning.of(network) if meaning is None else meaning
    found, position = locate_layer(network, layer)
    rows = check_examples(network, X)
    classes, ids = class_ids(y, len(rows), meaning)
    measured = _Measured(found, classes)
    for part, _, z, a in answers(network, position, rows, progress):
        measured.add(z, a, None if ids is None else ids[part])
    twins, how = _twins(network, found, position, rows, twins_of)
    return measured.told(found, neuron_names(found, measured.count), len(rows), classes, twins, how)


def neuron_names(layer: Layer, count: int) -> tuple[str, ...]:
    """Return ``hidden1[0]`` …; of a convolution the filters."""
    return tuple(f"{layer.name}[{i}]" for i in range(count))


class _Measured:
    """Sums over batches, in float64, from the first batch's mean on so that no digits are lost."""

    def __init__(self, layer: Layer, classes: Sequence[str]) -> None:
        self._layer, self._classes = layer, len(classes)
        self.count, self._values = 0, 0

    def add(self, z: NDArray[Any], a: NDArray[Any], ids: NDArray[np.int64] | None) -> None:
        """Add a batch: (batch, places, neurons) each."""
        n = a.shape[-1]
        flat = a.reshape(-1, n).astype(np.float64)
        with np.errstate(all="ignore"):
            if not self.count:
                self.count = n
                self._first = np.nan_to_num(flat.mean(axis=0), posinf=0.0, neginf=0.0)
                self._sum, self._squares = np.zeros(n), np.zeros(n)
                self._least, self._greatest = np.full(n, np.inf), np.full(n, -np.inf)
                self._active, self._ends, self._nonfinite = (np.zeros(n, np.int64) for _ in range(3))
                self._by_class, self._in_class = np.zeros((self._classes, n)), np.zeros(self._classes)
            self._values += len(flat)
            away = flat - self._first
            self._sum += away.sum(axis=0)
            self._squares += np.einsum("ij,ij->j", away, away)
            self._least = np.minimum(self._least, flat.min(axis=0))
            self._greatest = np.maximum(self._greatest, flat.max(axis=0))
            self._active += (z.reshape(-1, n) > 0).sum(axis=0)
            self._nonfinite += (~np.isfinite(flat)).sum(axis=0)
            if (ends := _ends(self._layer)) is not None:
                self._ends += ((flat < ends[0] + SATURATED_WITHIN) | (flat > ends[1] - SATURATED_WITHIN)).sum(axis=0)
            if ids is not None:
                for place, levels in _grouped(ids, a.mean(axis=1, dtype=np.float64)):
                    self._by_class[place] += levels.sum(axis=0)
                    self._in_class[place] += len(levels)

    def told(
        self, layer: Layer, names: tuple[str, ...], examples: int, classes: tuple[str, ...], twins: tuple[Twin, ...],
        how: str,
    ) -> LayerNeurons:  # fmt: skip
        """Return what was measured, with the neurons that are to be named."""
        assert layer.activation is not None
        n, function = self._values, layer.activation.name
        with np.errstate(all="ignore"):
            mean = self._sum / n
            deviation = np.sqrt(np.maximum(self._squares / n - mean**2, 0.0))
            class_means = (self._by_class / self._in_class[:, None]).T
        still = self._greatest == self._least
        deviation[still] = 0.0
        has_ends = _ends(layer) is not None
        share = self._ends / n if has_ends else np.full(self.count, np.nan)
        dead = still & (self._greatest == 0) & (function == "relu")
        always = (self._active == n) if function in _LINEAR_ABOVE else np.zeros(self.count, bool)

        def named(mask: NDArray[np.bool_]) -> tuple[str, ...]:
            return tuple(names[i] for i in np.flatnonzero(mask).tolist())

        several, ended = examples > 1, share >= SATURATED_SHARE
        return LayerNeurons(
            layer.name, names, function, examples, mean + self._first, deviation, self._least, self._greatest,
            self._active / n, share, self._nonfinite, classes, class_means,
            named(dead), named(still & ~dead & ~ended & several), named(always), named(ended),
            named(self._nonfinite > 0), twins, how,
        )  # fmt: skip


def _ends(layer: Layer) -> tuple[float, float] | None:
    """Return the ends of the range of a sigmoid or tanh."""
    assert layer.activation is not None
    return {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}.get(layer.activation.name)


def _grouped(ids: NDArray[np.int64], values: NDArray[np.float64]) -> Sequence[tuple[int, NDArray[np.float64]]]:
    return [(int(one), values[ids == one]) for one in np.unique(ids)]


def _twins(
    network: Network, layer: Layer, position: int, X: NDArray[Any], only: int | None
) -> tuple[tuple[Twin, ...], str]:
    weights = weight_rows(layer)
    if weights is None:
        return (), f"Twins are not looked for: {layer.name} has no weights from one neuron to many."
    count, k = weights.shape
    rows = evenly(len(X), max(1, min(_TWIN_EXAMPLES, _TWIN_VALUES // k)))
    map_of = map_shape(network, position)
    if map_of is not None:  # a few places of each picture, instead of all
        rows = evenly(len(X), min(256, len(rows)))
    seen, levels = [], []
    for _, x, _z, a in answers(network, position, X[rows]):
        if isinstance(layer, Conv2D):
            each = evenly(a.shape[1], 8)
            every = patches(layer, x)
            seen.append(every[:, each].reshape(-1, k).astype(np.float64))
            levels.append(a[:, each].reshape(-1, count).astype(np.float64))
        else:
            seen.append(x.reshape(len(x), -1).astype(np.float64))
            levels.append(a.reshape(len(a), -1).astype(np.float64))
    with np.errstate(all="ignore"):
        twins = find_twins(
            neuron_names(layer, count), weights.astype(np.float64), layer.parameters["b"].astype(np.float64),
            np.concatenate(seen), np.concatenate(levels), rounding=float(np.finfo(network.dtype).eps), only=only,
        )  # fmt: skip
    what = f"{len(rows):,} examples" + (f" at up to 8 of their {map_of[0] * map_of[1]:,} places" if map_of else "")
    return twins, (
        f"Twins are pairs whose weights are nearly multiples of each other, or whose z go together on {what}, more "
        f"closely than random neurons of {k:,} inputs do."
    )


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:+.4f}"
