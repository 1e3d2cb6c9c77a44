"""Targets in the form that a loss wants, and weights of classes and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data.arrays import as_numbers, refuse_non_finite
from neuronwise.errors import UsageError
from neuronwise.network import Loss, Network

ClassWeights = str | Mapping[int, float] | Sequence[float]


def prepare_targets(network: Network, y: ArrayLike, loss: Loss, rows: int) -> NDArray[Any]:
    """Return targets as the loss wants them: int64 class numbers (rows,), or values (rows, n_out).

    Raises:
        UsageError: Wrong length or shape, class numbers outside 0 to n_out - 1, values that are not finite.
    """
    values = np.asarray(y)
    if values.dtype.kind not in "fiub":
        raise UsageError(f"targets must be numbers, got dtype {values.dtype}", where="argument y")
    if values.ndim == 0:
        values = values.reshape(1)
    n_out = network.output_size
    if loss.targets == "classes":
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim == 2 and values.shape[1] == n_out:  # one-hot
            if not np.isin(values, (0, 1)).all() or not (values.sum(axis=1) == 1).all():
                raise UsageError("each row of one-hot targets must hold a single 1 and else 0", where="argument y")
            values = values.argmax(axis=1)
        _check_rows(values, rows, f"({rows},)")
        if values.shape != (rows,):
            if values.ndim == 1:
                raise UsageError(f"{rows:,} inputs need as many targets, got {len(values):,}", where="argument y")
            raise UsageError(f"expected class numbers of shape ({rows},), got {values.shape}", where="argument y")
        with np.errstate(invalid="ignore"):  # NaN and what is beyond int64 differ after the cast
            classes = values.astype(np.int64)
        if not np.array_equal(classes, values) or classes.min(initial=0) < 0 or classes.max(initial=0) >= n_out:
            wrong = values[(classes != values) | (classes < 0) | (classes >= n_out)][0].item()
            raise UsageError(
                f"class numbers go from 0 to {n_out - 1} (the network has {n_out} outputs), got {wrong!r}",
                where="argument y",
            )
        return classes
    shape = f"({rows}, {n_out})" + (f" or ({rows},)" if n_out == 1 else "")
    _check_rows(values, rows, shape)
    if values.ndim == 1 and n_out == 1:
        values = values[:, None]
    elif values.ndim == 1 and rows == 1 and len(values) == n_out:
        values = values[None]
    if values.shape != (rows, n_out):
        raise UsageError(f"expected targets of shape {shape}, got {values.shape}", where="argument y")
    with np.errstate(over="ignore"):
        targets = np.ascontiguousarray(values, dtype=network.dtype)
    finite = np.isfinite(targets)
    if not finite.all():
        first = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise UsageError(
            f"targets contain NaN or infinity: {int((~finite).sum()):,} values, the first at row {first}",
            where="argument y",
        )
    if loss.name == "binary_cross_entropy" and (targets.min(initial=0) < 0 or targets.max(initial=0) > 1):
        raise UsageError("the targets of binary cross-entropy lie between 0 and 1", where="argument y")
    return targets


def example_weights(
    class_weights: ClassWeights | None, y: NDArray[Any], loss: Loss, n_out: int, dtype: np.dtype[Any]
) -> NDArray[Any] | None:
    """Return a weight for each row, (rows,), from weights of the classes; None without them.

    ``"balanced"`` gives class c the weight rows / (classes × rows of c), as scikit-learn does, so that every
    class counts the same and the mean weight is 1. A mapping or sequence gives weights by class number.

    Raises:
        UsageError: The loss is not one of classes, a class has no weight, or a weight is not a positive number.
    """
    if class_weights is None:
        return None
    binary = loss.name == "binary_cross_entropy" and n_out == 1
    if loss.targets != "classes" and not binary:
        raise UsageError(f"class weights need classes, the loss is {loss.name!r}", where="argument class_weights")
    classes = y.reshape(-1).astype(np.int64)
    count = 2 if binary else n_out
    if isinstance(class_weights, str) or not isinstance(class_weights, Mapping | Sequence | np.ndarray):
        if class_weights != "balanced":
            raise UsageError(
                f"expected 'balanced' or weights by class, got {class_weights!r}", where="argument class_weights"
            )
        sizes = np.bincount(classes, minlength=count)
        weights = np.where(sizes > 0, len(classes) / (np.count_nonzero(sizes) * np.maximum(sizes, 1)), 1.0)
    else:
        pairs = class_weights.items() if isinstance(class_weights, Mapping) else enumerate(class_weights)
        given: dict[int, Any] = dict.fromkeys(range(count), "none")
        for key, value in pairs:
            if key not in given:
                raise UsageError(
                    f"there is no class {key!r}, they go from 0 to {count - 1}", where="argument class_weights"
                )
            given[key] = value
        weights = np.ones(count)
        for key, value in given.items():
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not 0 < value < np.inf:
                got = value if value == "none" else repr(value.item() if isinstance(value, np.number) else value)
                raise UsageError(f"class {key} needs a positive weight, got {got}", where="argument class_weights")
            weights[key] = value
    result: NDArray[Any] = weights[classes].astype(dtype)
    return result


def sample_weights(sample_weight: ArrayLike | None, rows: int) -> NDArray[np.float64] | None:
    """Return one weight from 0 for each row, (rows,); None without them.

    Raises:
        UsageError: Not one number per row, a negative one, NaN or infinity.
    """
    if sample_weight is None:
        return None
    weights = as_numbers(sample_weight, "sample_weight")
    if weights.shape != (rows,):
        raise UsageError(
            f"{rows:,} rows need as many weights, of shape ({rows},), got shape {weights.shape}",
            where="argument sample_weight",
        )
    refuse_non_finite(weights, "sample_weight")
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise UsageError(f"weights are numbers from 0, got {weights[row]} at row {row}", where="argument sample_weight")
    return weights.astype(np.float64)


def _check_rows(values: NDArray[Any], rows: int, shape: str) -> None:
    if len(values) != rows and not (rows == 1 and values.ndim == 1):
        raise UsageError(
            f"{rows:,} inputs need as many targets, got {len(values):,}",
            where="argument y",
            hint=f"expected shape {shape}",
        )
