"""The neurons of a layer on many examples: how each answers; dead, always-on, saturated ones and twins by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.explaining.layer_sums import LayerSums
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
from neuronwise.explaining.sizes import by_size
from neuronwise.explaining.targets import class_ids
from neuronwise.explaining.twins import Twin, find_twins
from neuronwise.network import Layer, Network
from neuronwise.network.layers import Conv2D

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
        target: Name of a target that is a value; ``""`` otherwise.
        correlation: Pearson's, of the level (of a filter its mean over the places) and that target, as it is learned
            (after a logarithm, if one was taken); NaN where there is none, or either does not vary.
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
    target: str
    correlation: NDArray[np.float64]
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
        order = by_size(self.deviation, _LISTED)
        heads = ["neuron", "mean level", "deviation", "z > 0"]
        heads += ["most for", "least for"] if self.class_names else []
        heads += [f"correlation with {self.target}"] if self.target else []
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
            if self.target:
                row.append(_number(self.correlation[i]))
            rows.append(tuple(row))
        more = f": the {len(order)} that vary most, of {len(self.names):,}" if len(order) < len(self.names) else ""
        return Table(tuple(heads), tuple(rows), f"neurons{more}")

    def figure(self) -> Figure:
        """Return the mean level of each neuron for each class, or how each is spread; dead and odd ones marked."""
        from neuronwise.explaining.layer_pictures import draw_layer

        return draw_layer(self)


@np.errstate(all="ignore")  # inf and NaN are answers, not accidents
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
    values = None if y is None or ids is not None else np.asarray(y, np.float64).reshape(-1)
    sums = LayerSums(found, classes)
    for part, _, z, a in answers(network, position, rows, progress):
        sums.add(z, a, None if ids is None else ids[part], None if values is None else values[part])
    twins, how = _twins(network, found, position, rows, twins_of)
    target = "" if values is None else meaning.target.name if meaning.target is not None else "the target"
    return _told(found, sums, len(rows), classes, target, twins, how)


def neuron_names(layer: Layer, count: int) -> tuple[str, ...]:
    """Return ``hidden1[0]`` …; of a convolution the filters."""
    return tuple(f"{layer.name}[{i}]" for i in range(count))


def _told(
    layer: Layer,
    sums: LayerSums,
    examples: int,
    classes: tuple[str, ...],
    target: str,
    twins: tuple[Twin, ...],
    how: str,
) -> LayerNeurons:
    """Return what was measured, with the neurons that are to be named."""
    assert layer.activation is not None
    names, function, still, share = (
        neuron_names(layer, sums.count),
        layer.activation.name,
        sums.is_still,
        sums.saturated_share,
    )
    dead = still & (sums.greatest == 0) & (function == "relu")
    always = (sums.active == 1) & (function in _LINEAR_ABOVE)
    ended = share >= SATURATED_SHARE
    constant = still & ~dead & ~ended & (examples > 1)

    def named(mask: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(names[i] for i in np.flatnonzero(mask).tolist())

    return LayerNeurons(
        layer.name, names, function, examples, sums.mean, sums.deviation, sums.least, sums.greatest, sums.active, share,
        sums.nonfinite, classes, sums.class_means, target, sums.correlation, named(dead), named(constant),
        named(always), named(ended), named(sums.nonfinite > 0), twins, how,
    )  # fmt: skip


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
            seen.append(patches(layer, x, each).reshape(-1, k).astype(np.float64))
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
