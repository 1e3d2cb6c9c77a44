"""What a neuron looks for in the network's inputs: its weights, or deeper in the network its effective pattern.

A neuron of the first layer has one pattern: its weights. A deeper one has another at each input, the slope of its z
there (`local_linear`): exactly the linear map that the network is around that input, where its activation functions are
made of straight pieces. Averaged over examples that activate it, with how much it varies among them, that is its
effective pattern. Of a convolution's neuron it is what lies under it at the place of each picture where it answers
most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.local_linear import Pullback, Target, row_batches
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neurons import Located, by_neuron, map_shape, picture_plan, sees_inputs
from neuronwise.explaining.receptive_fields import ReceptiveField, is_map, receptive_field
from neuronwise.network import Network
from neuronwise.network.layers import Conv2D, Dense

MOST_EXAMPLES = 512
"""Examples whose slopes are averaged, at most."""


@dataclass(frozen=True)
class Pattern:
    """What a neuron looks for in the inputs.

    Attributes:
        mean: The weights, or the mean of dz/dx over the examples: (inputs,), or of pictures (channels, rows, columns).
        spread: Its standard deviation over the examples, likewise; 0 where it is the weights.
        is_weights: Whether it is the weights themselves, the same for every input.
        examples: Over how many examples the mean is.
        active: Whether these are examples with z > 0 only; if none is, all examples count.
        agreement: Mean cosine between each example's slopes and the mean: 1 if they are all the same.
        curved: Layers on the way whose function is not made of straight pieces: there the slopes hold only nearby.
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    is_weights: bool
    examples: int
    active: bool
    agreement: float
    curved: tuple[str, ...]

    @property
    def is_picture(self) -> bool:
        """Whether it is to be seen as a picture."""
        return self.mean.ndim == 3


def pattern(
    network: Network,
    found: Located,
    X: NDArray[Any],
    z: NDArray[Any],
    at: NDArray[np.int64],
    *,
    meaning: Meaning,
    most: int = MOST_EXAMPLES,
) -> Pattern:
    """Return what a neuron looks for.

    Args:
        network: The network.
        found: The neuron.
        X: Examples, (rows, *input_shape).
        z: Its pre-activation on each, (rows,).
        at: The place where it has that, counted row by row, (rows,); 0 for a layer that is no picture.
        meaning: Tells of inputs that are pictures.
        most: At most so many examples are taken, evenly of those with z > 0.
    """
    layer = found.layer
    if sees_inputs(network, found.position) and isinstance(layer, (Dense, Conv2D)):
        own = layer.W[found.index].astype(np.float64)
        plan = picture_plan(network, found.position, meaning.picture_shape)
        if isinstance(layer, Dense) and plan is not None:
            own = plan.channels(own)
        return Pattern(own, np.zeros_like(own), True, len(X), False, 1.0, ())
    rows = np.flatnonzero(z > 0)
    active = bool(len(rows))
    rows = rows if active else np.arange(len(X))
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
    slopes = _slopes(network, found, X[rows], at[rows], meaning)
    with np.errstate(all="ignore"):
        mean, spread = slopes.mean(axis=0), slopes.std(axis=0)
        flat, direction = slopes.reshape(len(slopes), -1), mean.reshape(-1)
        lengths = np.sqrt(np.einsum("ij,ij->i", flat, flat)) * np.sqrt(direction @ direction)
        known = lengths > 0
        agreement = float(np.mean((flat @ direction)[known] / lengths[known])) if known.any() else np.nan
    curved = tuple(Target(found.position, "z").curved(network))
    return Pattern(mean, spread, False, len(rows), active, agreement, curved)


def _slopes(
    network: Network, found: Located, X: NDArray[Any], at: NDArray[np.int64], meaning: Meaning
) -> NDArray[np.float64]:
    """Return dz/dx at each example: (rows, inputs), or (rows, channels, rows, columns), under the neuron's place."""
    shape = found.layer.output_shape
    count = int(np.prod(shape))
    order = by_neuron(np.arange(count, dtype=np.float64).reshape(1, *shape), network, found.position)[0]
    outputs = order[at, found.index].astype(np.int64)
    plan = picture_plan(network, 0, meaning.picture_shape)
    field = None if plan is None else field_of(network, found)
    parts = []
    for rows in row_batches(network, len(X)):
        batch = X[rows]
        pullback = Pullback(network, len(batch), Target(found.position, "z"))
        pullback.forward(batch)
        seed = np.zeros((len(batch), count), network.dtype)
        seed[np.arange(len(batch)), outputs[rows]] = 1.0
        gradient, _ = pullback.pull(seed.reshape(len(batch), *shape))
        flat = np.ascontiguousarray(gradient).reshape(len(batch), -1).astype(np.float64)
        if plan is None:
            parts.append(flat)
        elif field is None:
            parts.append(plan.channels(flat))
        else:
            parts.append(_crop(plan.channels(flat), field, *np.divmod(at[rows], field.places[1])))
    return np.concatenate(parts)


def _crop(
    pictures: NDArray[np.float64], field: ReceptiveField, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return of each picture, (n, channels, rows, columns), what a neuron sees at its place; 0 outside."""
    n, channels, height, width = pictures.shape
    found = np.zeros((n, channels, *field.size))
    for i in range(n):
        top, left = field.start(int(rows[i]), int(columns[i]))
        first, low = max(top, 0), max(left, 0)
        last, high = min(top + field.size[0], height), min(left + field.size[1], width)
        if last > first and high > low:
            found[i, :, first - top : last - top, low - left : high - left] = pictures[i, :, first:last, low:high]
    return found


def field_of(network: Network, found: Located) -> ReceptiveField | None:
    """Return what a neuron of a layer of pictures sees; None where no window stands between it and the inputs."""
    if map_shape(network, found.position) is None:
        return None
    if not any(is_map(layer) for layer in network.layers[: found.position + 1]):
        return None
    return receptive_field(network, found.layer.name)
