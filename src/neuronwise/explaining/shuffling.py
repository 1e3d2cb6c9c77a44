"""What a network loses when the values of a column are shuffled among the rows: permutation importance.

Breiman 2001, "Random Forests", section 10, for any model: a column that matters cannot be replaced by that of another
row. All inputs of a column (the categories of a zip code, the parts of a date) are moved together, so that each row
still has one category. Where the first layer with weights is dense its z is corrected for the columns that changed,
not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.judging import Judge, outputs, passes
from neuronwise.network import Network
from neuronwise.network.layers import Dense, Dropout, Flatten, Pass

Array = NDArray[np.floating[Any]]
Values = NDArray[np.float64]
Progress = Callable[[int, int], None]

# What functions that are not in NumPy cost, measured in multiplications of a matrix product; the others about 30.
_CURVES = {"gelu": 1000, "softplus": 700}


@dataclass(frozen=True)
class Shuffled:
    """What shuffling each column costs.

    Attributes:
        loss: Mean loss with all columns as they are.
        score: Accuracy, or R² of the values as they are learned.
        losses: Mean loss with a column shuffled, (repeats, columns).
        scores: Score likewise, (repeats, columns).
    """

    loss: float
    score: float
    losses: Values
    scores: Values


def shuffle_columns(
    network: Network,
    X: NDArray[Any],
    judge: Judge,
    groups: Sequence[NDArray[np.int64]],
    *,
    repeats: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> Shuffled:
    """Return loss and score with each group of inputs shuffled among the rows.

    In each repeat all groups are moved by the same permutation of the rows, drawn from (seed, repeat).

    Args:
        network: The network.
        X: Inputs, (rows, *input_shape).
        judge: Knows the right answers of these rows.
        groups: Places of each column's inputs in the flattened input.
        repeats: How often each is shuffled.
        seed: Of the permutations.
        progress: Called with the rows done and all rows.
    """
    count = len(X)
    flat = X.reshape(count, -1)
    orders = [np.random.default_rng([seed, repeat]).permutation(count) for repeat in range(repeats)]
    losses, marks = np.zeros((repeats, len(groups))), np.zeros((repeats, len(groups)))
    loss = mark = 0.0
    first = _first_dense(network)
    for rows, space in passes(network, X):
        z, a = outputs(space)
        loss += float(judge.losses(z, a, rows).sum())
        mark += _mark(judge, z, a, rows)
        begun = space.passes[first].z.copy() if first is not None else None  # type: ignore[union-attr]
        for column, places in enumerate(groups):
            for repeat, order in enumerate(orders):
                taken = flat[order[rows]][:, places] if len(places) > 1 else flat[order[rows], places[0]][:, None]
                with np.errstate(all="ignore"):
                    if first is not None and begun is not None:
                        change = taken - flat[rows][:, places]
                        W = space.passes[first].layer.parameters["W"]
                        _go_on(space.passes, first, begun + change @ W[:, places].T)
                    else:
                        shuffled = np.array(flat[rows])
                        shuffled[:, places] = taken
                        np.copyto(space.x, shuffled.reshape(space.x.shape))
                        space.forward()
                z, a = outputs(space)
                losses[repeat, column] += judge.losses(z, a, rows).sum()
                marks[repeat, column] += _mark(judge, z, a, rows)
        if progress is not None:
            progress(rows.stop, count)
    scores = marks / count if judge.is_classes else np.asarray(judge.r2(marks))
    score = mark / count if judge.is_classes else float(judge.r2(mark))
    return Shuffled(loss / count, score, losses / count, scores)


def cost_per_column(network: Network) -> int:
    """Return about how many multiplications it takes to answer one row with one column shuffled."""
    first = _first_dense(network)
    return cost_of(network, 0 if first is None else first + 1)


def cost_of(network: Network, first: int = 0) -> int:
    """Return about how many multiplications it takes to answer one row, from a layer on."""
    cost = 0
    for layer in network.layers[first:]:
        places = layer.neuron_count // len(layer.parameters["b"]) if "b" in layer.parameters else 1
        name = layer.activation.name if layer.activation is not None else ""
        cost += layer.parameter_count * max(1, places) + _CURVES.get(name, 30) * layer.neuron_count
    return max(1, cost)


def _mark(judge: Judge, z: Array, a: Array, rows: slice) -> float:
    return float(judge.right(z, a, rows).sum() if judge.is_classes else judge.squares(a, rows).sum())


def _first_dense(network: Network) -> int | None:
    """Return the place of the first layer if it is a dense one that sees the inputs as they are."""
    for place, layer in enumerate(network.layers):
        if isinstance(layer, Dense):
            return place
        if not isinstance(layer, (Flatten, Dropout)):
            return None
    return None


def _go_on(passes: Sequence[Pass], first: int, z: Array) -> None:
    """Compute all from the activation of a layer on, given its z; the z of its pass stays as it was."""
    activation = passes[first].layer.activation
    assert activation is not None
    activation.forward(np.ascontiguousarray(z), passes[first].a)
    if first == len(passes) - 1:
        np.copyto(passes[first].z, z)  # type: ignore[arg-type]
    for one in passes[first + 1 :]:
        one.forward()
