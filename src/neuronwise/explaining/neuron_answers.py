"""What one neuron answers to many examples, and what its terms come to: the numbers that all else is told from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.average_terms import AverageTerms, TermSums
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neurons import Located, Progress, answers, map_shape, patch_at, sees_inputs
from neuronwise.network import Network
from neuronwise.network.layers import Conv2D, Dense


def neuron_answers(
    network: Network, found: Located, X: NDArray[Any], meaning: Meaning, progress: Progress | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], AverageTerms | None]:
    """Return z and a of a neuron on each example, at which place that is, and what its terms come to.

    Args:
        network: The network.
        found: The neuron; of a filter without a place, each example is looked at where its z is largest (or NaN).
        X: Examples, (rows, *input_shape).
        meaning: Names of the inputs.
        progress: Called with the rows done and all rows.

    Returns:
        z (rows,), a (rows,), places counted row by row (rows,), and the terms; None for a neuron without weights.
    """
    layer, map_of = found.layer, map_shape(network, found.position)
    z, a, at = np.empty(len(X)), np.empty(len(X)), np.zeros(len(X), np.int64)
    sums = None
    if isinstance(layer, (Dense, Conv2D)):
        sums = TermSums(layer.W[found.index].astype(np.float64).reshape(-1))
    fixed = None if map_of is None or found.place is None else found.place[0] * map_of[1] + found.place[1]
    for rows, x, every_z, every_a in answers(network, found.position, X, progress):
        own = every_z[..., found.index]
        places = own.argmax(axis=1) if fixed is None else np.full(len(own), fixed)
        each = np.arange(len(own))
        z[rows], a[rows], at[rows] = own[each, places], every_a[each, places, found.index], places
        if sums is not None:
            sums.add(patch_at(layer, x, places) if isinstance(layer, Conv2D) else x.reshape(len(x), -1))
    if sums is None:
        return z, a, at, None
    if isinstance(layer, Conv2D):
        kernel = np.ndindex(*layer.W.shape[1:])
        patch = [f"kernel[{c}] @ ({i}, {j})" if layer.channels > 1 else f"kernel @ ({i}, {j})" for c, i, j in kernel]
        return z, a, at, sums.told(patch)
    return z, a, at, sums.told(meaning.input_names if sees_inputs(network, found.position) else layer.input_names)
