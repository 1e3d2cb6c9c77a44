"""What a neuron of a deeper layer looks for in the picture, and which kernels of the first layer it is built from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.edges import Edges, judge
from neuronwise.explaining.kernels import channels_first, first_layer, kernels, split
from neuronwise.explaining.local_linear import Pullback, Target, row_batches
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.receptive_fields import ReceptiveField, receptive_field
from neuronwise.explaining.result import Block, Explanation, Table, plain
from neuronwise.network import Conv2D, Dense, Network, Pass, Workspace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

PATCHES = 64
"""Number of patches, those that a neuron answers most, over which its local linear map is averaged."""

# Kernels of the first layer that are told of one neuron in a table of many, and of one alone.
_NAMED, _ROWS = 3, 16


@dataclass(frozen=True)
class DeepPattern:
    """What one neuron of a deeper layer looks for.

    Attributes:
        neuron: Its name.
        pattern: dz / dx, the local linear map on the part of the picture that it sees, averaged over the patches,
            each pixel over those in which it lies on the picture: (rows, columns, channels).
        mean_patch: Those patches, averaged: (rows, columns, channels); NaN where all of them lie outside the picture.
        agreement: Mean cosine between the map at one patch and the average, -1 to 1: 1 where it is the same everywhere.
        patches: Over how many patches it is averaged; fewer than asked for where it answers (z > 0) to fewer.
        examples: The example of each, (patches,), as rows of what was given.
        places: Row and column of each in the neuron's map, (patches, 2); (0, 0) for a dense layer.
        z: Mean z at those patches.
        weights: For each neuron of the first layer, dz / da summed over its places, mean over the patches.
        contributions: The same times a: what each adds to z, mean over the patches.
        bias: What the constants of the layers above the first add, mean over the patches.
        gap: z minus (contributions + bias): rounding where all functions between are piecewise linear.
    """

    neuron: str
    pattern: Array
    mean_patch: Array
    agreement: float
    patches: int
    examples: NDArray[np.int64]
    places: NDArray[np.int64]
    z: float
    weights: Array
    contributions: Array
    bias: float
    gap: float

    def order(self) -> list[int]:
        """Return the neurons of the first layer, those that add or take most first."""
        return [int(i) for i in np.argsort(-np.abs(self.contributions), kind="stable")]


@dataclass(frozen=True)
class DeepPatterns(Explanation):
    """What neurons of a deeper layer look for, and what it is built from.

    Attributes:
        layer: Name of the layer.
        neurons: One for each neuron that was asked about.
        field: What part of the picture they see; None where they see all of it.
        first: The first layer's neurons as detectors of edges.
        rows: How many examples were looked at.
        curved: Layers between whose function is not made of straight pieces: there the map is a slope only.
    """

    layer: str
    neurons: tuple[DeepPattern, ...]
    field: ReceptiveField | None
    first: Edges
    rows: int
    curved: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers; those of pictures with seven digits, as many as float32 has."""
        content = super().to_dict()
        for one, told in zip(self.neurons, content["neurons"], strict=True):
            told["pattern"], told["mean_patch"] = _seven_digits(one.pattern), _seven_digits(one.mean_patch)
        return content

    def blocks(self) -> Sequence[Block]:
        """Return the receptive field, how the patterns were made, and what each is built from."""
        seen = self.field.words if self.field is not None else f"each neuron of {self.layer} sees the whole picture"
        said: list[Block] = [f"{self.layer}: what its neurons look for", seen[0].upper() + seen[1:] + "."]
        said.append(
            f"A pattern is dz / dx averaged over the up to {PATCHES} patches, among {self.rows:,} examples, that the "
            "neuron answers most, laid over each other at its field. Agreement is the mean cosine of one patch's map "
            "with the average."
        )
        if self.curved:
            said.append(
                f"The functions of {', '.join(self.curved)} are curved, so the maps are slopes and the gap is more "
                "than rounding."
            )
        if len(self.neurons) == 1:
            return [*said, *self._one(self.neurons[0])]
        rows = tuple(
            (
                one.neuron,
                str(one.patches),
                f"{one.z:.3g}",
                f"{one.agreement:.2f}" if one.patches else "–",
                ", ".join(f"{self.first.neurons[i].neuron} {one.contributions[i]:+.2g}" for i in one.order()[:_NAMED])
                if one.patches
                else "no example gives it a finite z > 0",
            )
            for one in self.neurons
        )
        headings = ("neuron", "patches", "mean z", "agreement", f"most of z comes from neurons of {self.first.layer}")
        return [*said, Table(headings, rows)]

    def _one(self, one: DeepPattern) -> list[Block]:
        if not one.patches:
            return [f"{one.neuron}: no example gives it a finite z > 0, so there is no patch that it answers."]
        order = one.order()[:_ROWS]
        rows = [
            (
                self.first.neurons[i].neuron,
                self.first.label(i, unsure=True),
                f"{one.weights[i]:+.3g}",
                f"{one.contributions[i]:+.3g}",
            )
            for i in order
        ]
        if len(one.contributions) > len(order):
            rest = one.contributions.sum() - one.contributions[order].sum()
            rows.append((f"the rest ({len(one.contributions) - len(order)})", "", "", f"{rest:+.3g}"))
        rows.append(("constants of the layers above", "", "", f"{one.bias:+.3g}"))
        rows.append(("z, mean over the patches", "", "", f"{one.z:+.3g}"))
        headings = ("from", "detects", "dz / da", "adds to z")
        said = f"{one.neuron}: {one.patches} patches, agreement {one.agreement:.2f}; the sum misses z by {one.gap:.1g}."
        return [said, Table(headings, tuple(rows), f"What {one.neuron} is built from")]

    def figure(self) -> Figure:
        """Return patterns, mean patches, and the kernels of the first layer that they are built from."""
        from neuronwise.explaining.deep_pictures import draw_patterns

        return draw_patterns(self)


def deep_patterns(
    network: Network,
    name: str,
    x: ArrayLike,
    *,
    meaning: Meaning | None = None,
    patches: int = PATCHES,
    progress: Callable[[int, int], None] | None = None,
) -> DeepPatterns:
    """Return what the neurons of a layer above the first look for in pictures, and what they are built from.

    Where all functions between are piecewise linear (ReLU, pooling), z of a neuron is dz/dx · x plus a constant on
    the region of inputs around x, and likewise dz/da · a plus a constant in the activation levels of the first layer.

    Args:
        network: The network.
        name: A layer, for all of its neurons, or one neuron: ``"conv2"``, ``"conv2[3]"``, ``"hidden2[0]"``.
        x: Examples to look for patches in, (batch, *input_shape).
        meaning: What knows the shape of pictures that the network takes as a flat row.
        patches: Number of patches for each neuron. An example gives one, or more where there are fewer examples.
        progress: Called with the number of neurons done and of all.

    Raises:
        NotFoundError: There is no such layer or neuron.
        UsageError: It is the first layer, no layer of neurons, or the network's inputs are no pictures.
    """
    meaning = meaning or Meaning.of(network)
    base = kernels(network, None, meaning)
    layer, _, index = name.partition("[")
    found = network[layer]
    if not isinstance(found, (Conv2D, Dense)):
        raise UsageError(f"{layer!r} has no neurons with weights of their own", where="argument name")
    if layer == first_layer(network):
        raise UsageError(
            f"{layer!r} is the first layer: its pattern is its own weights", where="argument name", hint="find_edges"
        )
    if index:
        network.neuron(name)
    count = found.filters if isinstance(found, Conv2D) else found.neuron_count
    chosen = [int(index[:-1])] if index else list(range(count))
    inputs = np.asarray(network.check_input(x), network.dtype)
    if not len(inputs):
        raise UsageError("there are no examples to look for patches in", where="argument x")
    field = receptive_field(network, layer) if isinstance(found, Conv2D) else None
    target = Target.of_layer(network, layer, "z")
    best = _best_places(network, target, inputs, chosen, patches)
    neurons = []
    pulls = _Pullbacks(network, target)
    for done, (one, (examples, places)) in enumerate(zip(chosen, best, strict=True)):
        neurons.append(_average(pulls, one, inputs, examples, places, field, base.layer, meaning))
        if progress is not None:
            progress(done + 1, len(chosen))
    return DeepPatterns(layer, tuple(neurons), field, judge(base), len(inputs), tuple(target.curved(network)))


def _best_places(
    network: Network, target: Target, inputs: NDArray[Any], neurons: list[int], patches: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return for each neuron the examples and flat places where its z is largest and positive, the largest first."""
    each = max(1, math.ceil(patches / len(inputs)))
    # The best so far of each neuron: z, example, place. Never more than these and one batch are held.
    best_z = np.full((len(neurons), 0), -np.inf)
    best = np.zeros((2, len(neurons), 0), np.int64)
    space: Workspace | None = None
    for rows in row_batches(network, len(inputs)):
        count = rows.stop - rows.start
        if space is None or len(space.x) != count:
            space = Workspace(network.layers[: target.position + 1], network.input_shape, count, network.dtype)
        np.copyto(space.x, inputs[rows])
        with np.errstate(all="ignore"):
            space.forward()
        z, places = _largest(_maps(network, target, space.output), neurons, each)
        examples = np.broadcast_to(np.arange(rows.start, rows.stop)[:, None], z.shape[1:])
        every_z = np.concatenate([best_z, z.reshape(len(neurons), -1)], axis=1)
        examples = np.broadcast_to(examples.reshape(1, -1), (len(neurons), examples.size))
        every = np.concatenate([best, np.stack([examples, places.reshape(len(neurons), -1)])], axis=2)
        order = np.argsort(-every_z, axis=1, kind="stable")[:, :patches]
        best_z = np.take_along_axis(every_z, order, axis=1)
        best = np.take_along_axis(every, order[None], axis=2)
    known = (best_z > 0) & np.isfinite(best_z)
    return [(best[0, i][known[i]], best[1, i][known[i]]) for i in range(len(neurons))]


def _largest(maps: NDArray[Any], neurons: list[int], each: int) -> tuple[Array, NDArray[np.int64]]:
    """Return the largest values of each map and their places, (neurons, batch, each); what is no number is least."""
    flat = np.moveaxis(maps[:, neurons], 1, 0)
    flat = np.where(np.isnan(flat), -np.inf, flat)
    most = min(each, flat.shape[2])
    if most == 1:
        places = flat.argmax(axis=2)[:, :, None]
    else:
        places = np.argpartition(flat, flat.shape[2] - most, axis=2)[:, :, flat.shape[2] - most :]
    return np.take_along_axis(flat, places, axis=2).astype(np.float64), places.astype(np.int64)


def _maps(network: Network, target: Target, done: Pass) -> NDArray[Any]:
    """Return z of the target's layer as (batch, neurons, places)."""
    layer, z = network.layers[target.position], done.z
    assert z is not None
    if not isinstance(layer, Conv2D):
        return z[:, :, None]
    if layer.data_format == "channels_first":
        return z.reshape(len(z), layer.filters, -1)
    return np.moveaxis(z, -1, 1).reshape(len(z), layer.filters, -1)


class _Pullbacks:
    """A network with its way back for batches of few sizes: made once each, for all neurons."""

    def __init__(self, network: Network, target: Target) -> None:
        self.network, self.target = network, target
        self._made: dict[int, Pullback] = {}

    def of(self, size: int) -> Pullback:
        """Return the one for so many rows."""
        if size not in self._made:
            if len(self._made) > 1:  # neurons with fewer patches each have their own size
                self._made.pop(min(self._made))
            self._made[size] = Pullback(self.network, size, self.target)
        return self._made[size]


def _average(
    pulls: _Pullbacks,
    neuron: int,
    inputs: NDArray[Any],
    examples: NDArray[np.int64],
    places: NDArray[np.int64],
    field: ReceptiveField | None,
    first: str,
    meaning: Meaning,
) -> DeepPattern:
    network, target = pulls.network, pulls.target
    layer = network.layers[target.position]
    columns = field.places[1] if field is not None else 1
    where = np.stack([places // columns, places % columns], axis=1)
    shape = _picture(network, inputs[:1], meaning).shape[1:]
    size = field.size if field is not None else (shape[0], shape[1])
    total, seen, inside = (np.zeros((*size, width)) for width in (shape[2], shape[2], 1))
    maps = []
    sources = network[first]
    weights, added = np.zeros((2, sources.filters if isinstance(sources, Conv2D) else sources.neuron_count))
    bias = z_sum = 0.0
    for rows in row_batches(network, len(examples)):
        batch = inputs[examples[rows]]
        pull = pulls.of(len(batch))
        seed = np.zeros((len(batch), layer.neuron_count), network.dtype)
        flat = _flat_place(network, target, neuron, places[rows])
        z_sum += float(pull.forward(batch).reshape(len(batch), -1)[np.arange(len(batch)), flat].sum(dtype=np.float64))
        seed[np.arange(len(batch)), flat] = 1.0
        gradient, kept = pull.pull(seed.reshape(-1, *layer.output_shape), [first])
        slope = _by_neuron(sources, kept[first])
        weights += slope.sum(axis=(0, 2))
        added += (slope * _by_neuron(sources, pull.level(first))).sum(axis=(0, 2))
        above = network.layers[network.layers.index(sources) + 1 :]
        terms = pull.bias_terms()
        bias += sum(float(terms[one.name].sum()) for one in above if one.name in terms)
        pictures, slopes = (_picture(network, values, meaning) for values in (batch, gradient))
        for picture, one, (row, column) in zip(pictures, slopes, where[rows].tolist(), strict=True):
            aligned = _cut(one, field, row, column)
            maps.append(aligned.ravel())
            total += aligned
            seen += _cut(picture, field, row, column)
            inside += _cut(np.ones((*picture.shape[:2], 1)), field, row, column)
    n = max(len(examples), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        pattern = total / np.maximum(inside, 1.0)
        mean_patch = seen / inside
        cosines = [_cosine(one, pattern.ravel()) for one in maps]
    z, weights, added, bias = z_sum / n, weights / n, added / n, bias / n
    return DeepPattern(
        f"{layer.name}[{neuron}]", pattern, mean_patch, float(np.mean(cosines)) if cosines else math.nan,
        len(examples), examples, where, z, weights, added, bias, z - float(added.sum()) - bias,
    )  # fmt: skip


def _flat_place(
    network: Network, target: Target, neuron: int, places: NDArray[np.int64]
) -> NDArray[np.int64] | NDArray[Any]:
    """Return where a neuron at its places stands in the layer's flattened output."""
    layer = network.layers[target.position]
    if not isinstance(layer, Conv2D):
        return np.full(len(places), neuron)
    if layer.data_format == "channels_first":
        return neuron * (layer.neuron_count // layer.filters) + places
    return places * layer.filters + neuron


def _by_neuron(layer: Any, values: NDArray[Any]) -> Array:
    """Return values of the first layer's neurons, (batch, neurons, places)."""
    values = values.astype(np.float64)
    if not isinstance(layer, Conv2D):
        return values[:, :, None]
    if layer.data_format == "channels_last":
        values = np.moveaxis(values, -1, 1)
    return values.reshape(len(values), layer.filters, -1)


def _picture(network: Network, values: NDArray[Any], meaning: Meaning) -> Array:
    """Return inputs, or gradients by them, as pictures (batch, rows, columns, channels)."""
    wide = values.astype(np.float64)
    if channels_first(network, meaning):
        return np.moveaxis(wide, 1, -1)
    shape = values.shape[1:] if values.ndim > 2 else (meaning.picture_shape or values.shape[1:])
    return wide.reshape(len(values), *shape[:2], -1)


def _cut(picture: Array, field: ReceptiveField | None, row: int, column: int) -> Array:
    """Return the part of a picture, (rows, columns, channels), that the neuron at a place sees; 0 outside of it."""
    if field is None:
        return picture
    part = np.zeros((*field.size, picture.shape[2]))
    top, left = field.start(row, column)
    rows, columns = field.window(row, column)
    part[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = picture[rows, columns]
    return part


def _cosine(a: Array, b: Array) -> float:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms > 0 else math.nan


def as_one_picture(values: Array) -> Array:
    """Return (rows, columns, channels) as (rows, columns): the one mixture of channels that holds most of it."""
    picture: Array = split("", np.nan_to_num(values)[None]).pictures[0]
    return picture


def _seven_digits(values: Array) -> Any:
    rounded = np.array([float(f"{value:.7g}") for value in values.ravel()])
    return plain(rounded.reshape(values.shape))
