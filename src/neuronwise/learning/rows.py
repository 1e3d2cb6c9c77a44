"""Which rows a training learns from, which it validates on, and what each row counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data import check_arrays, split_rows
from neuronwise.errors import UsageError
from neuronwise.learning.evaluation import Evaluator
from neuronwise.learning.targets import ClassWeights, example_weights, prepare_targets, sample_weights
from neuronwise.network import Loss, Network, generator

Validation = float | tuple[ArrayLike, ArrayLike] | NDArray[np.int64]


def check_data(network: Network, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return X, (rows, *input_shape) and not copied if it is right already, and y as numbers."""
    inputs, targets = check_arrays(X, y, dtype=network.dtype, allow_nd=True)
    if targets is None:
        raise UsageError("a target for each row is needed, got None", where="argument y")
    return network.check_input(inputs), targets


def split(
    loss: Loss,
    y: NDArray[Any],
    groups: ArrayLike | None,
    validation: Validation | None,
    training_rows: ArrayLike | None,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to learn from and those held out."""
    n = len(y)
    given = None if training_rows is None else _rows(training_rows, n, "training_rows")
    by_share = isinstance(validation, (int, float))
    if groups is not None and not by_share:
        raise UsageError(
            "groups say how to split, but nothing is to be split",
            where="argument groups",
            hint="pass validation=0.1, a share of the rows",
        )
    if isinstance(validation, np.ndarray):
        held_out = _rows(validation, n, "validation")
        if given is not None and (shared := np.intersect1d(given, held_out)).size:
            raise UsageError(f"row {shared[0]} is in training_rows too", where="argument validation")
        rest = np.setdiff1d(np.arange(n), held_out) if given is None else given
        if not rest.size:
            raise UsageError("no rows are left to learn from", where="argument validation")
        return rest, held_out
    rows = np.arange(n, dtype=np.int64) if given is None else given
    if validation is None or isinstance(validation, tuple):
        return rows, rows[:0]
    if isinstance(validation, bool) or not by_share or not 0 < validation < 1:
        raise UsageError(
            f"expected a share between 0 and 1, (X, y) or an array of rows, got {validation!r}",
            where="argument validation",
        )
    classes = loss.targets == "classes" or loss.name == "binary_cross_entropy"
    labels = None if groups is None else np.asarray(groups)
    if labels is not None and len(labels) != n:
        raise UsageError(f"{n:,} rows need as many labels, got {len(labels):,}", where="argument groups")
    training, held_out = split_rows(
        len(rows),
        y=y.reshape(n, -1)[rows, 0] if classes else None,
        task="multiclass" if classes else "regression",
        groups=None if labels is None else labels[rows],
        fraction=float(validation),
        seed=seed,
        purpose="validation",
    )
    return rows[training], rows[held_out]


def row_weights(
    loss: Loss,
    network: Network,
    class_weights: ClassWeights | None,
    sample_weight: ArrayLike | None,
    y: NDArray[Any],
    training: NDArray[np.int64],
) -> NDArray[Any] | None:
    """Return what each row of the data counts, class weight times sample weight; None if all count the same.

    ``"balanced"`` counts the rows that are learned from.
    """
    by_class = example_weights(class_weights, y[training], loss, network.output_size, network.dtype)
    by_row = sample_weights(sample_weight, len(y))
    if by_row is not None and not by_row[training].any():
        raise UsageError(
            f"the weights of all {len(training):,} rows to learn from are 0: there is nothing to learn",
            where="argument sample_weight",
        )
    if by_class is None and by_row is None:
        return None
    weights = np.ones(len(y)) if by_row is None else by_row.copy()
    if by_class is not None:
        weights[training] *= by_class
    with np.errstate(over="ignore"):
        result: NDArray[Any] = weights.astype(network.dtype)
    if not np.isfinite(result).all():
        raise UsageError(
            f"weights too large for {network.dtype}, the largest is {weights.max():g}", where="argument sample_weight"
        )
    return result


def make_evaluator(
    loss: Loss,
    network: Network,
    X: NDArray[Any],
    y: NDArray[Any],
    held_out: NDArray[np.int64],
    validation: Validation | None,
) -> Evaluator | None:
    """Return what measures the network on the rows held out, which are not copied, or on data of their own."""
    if validation is None:
        return None
    if not isinstance(validation, tuple):
        return Evaluator(network, X, y, loss, held_out)
    if len(validation) != 2:
        count = f"{len(validation)} value{'' if len(validation) == 1 else 's'}"
        raise UsageError(f"expected (X, y), got {count}", where="argument validation")
    try:
        X_val, y_raw = check_data(network, *validation)
        return Evaluator(network, X_val, prepare_targets(network, y_raw, loss, len(X_val)), loss)
    except UsageError as error:
        error.where = "argument validation"
        raise


def _rows(values: ArrayLike, n: int, argument: str) -> NDArray[np.int64]:
    """Return row numbers as int64, or say what is wrong with them."""
    rows = np.asarray(values)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not rows.size:
        raise UsageError(f"expected an array of row numbers, got {values!r:.100}", where=f"argument {argument}")
    if rows.min() < 0 or rows.max() >= n:
        raise UsageError(
            f"row numbers go from 0 to {n - 1}, got {rows.min()} to {rows.max()}", where=f"argument {argument}"
        )
    return rows.astype(np.int64)


def batches(
    rows: NDArray[np.int64], size: int, seed: int, epoch: int, *, shuffle: bool = True, skip: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each step of an epoch but the first ones; the same whenever it is asked.

    Args:
        rows: The rows to learn from.
        size: Rows of a batch; the last one of an epoch may have fewer.
        seed: Of the order.
        epoch: The epoch, from 1.
        shuffle: Whether each epoch has an order of its own.
        skip: Batches to leave out.
    """
    rows = epoch_order(rows, seed, epoch, shuffle=shuffle)
    for start in range(skip * size, len(rows), size):
        yield rows[start : start + size]


def epoch_order(rows: NDArray[np.int64], seed: int, epoch: int, *, shuffle: bool = True) -> NDArray[np.int64]:
    """Return the rows in the order in which an epoch, from 1, visits them; arguments as `batches`."""
    return rows[generator(seed, "shuffle", epoch).permutation(len(rows))] if shuffle else rows


def pass_order(rows: int, seed: int, number: int) -> NDArray[np.int64]:
    """Return the order in which a pass of `partial_fit`, from 1, visits so many rows."""
    return generator(seed, "partial fit", number).permutation(rows)
