"""The rows of one call: what each counts, and which are held out to stop early."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _check_sample_weight

from neuronwise.data import split_rows
from neuronwise.errors import UsageError
from neuronwise.running.estimators.inputs import take
from neuronwise.running.estimators.targets import Targets

# With fewer rows than this, a tenth of them says too little about when to stop: all are learned from.
MIN_ROWS_TO_HOLD_OUT = 100


@dataclass(frozen=True)
class Rows:
    """Checked rows of one call.

    Attributes:
        X: A frame, or numbers (rows, features).
        y: Class numbers (rows,), or numbers (rows, k).
        weights: A weight from 0 for each row, or None.
        targets: The classes, or how numbers are standardised; None where that is still to be fitted.
        name: What is predicted.
        flat: Whether y was (rows,).
        by_class: The weight of each class, by which `weights` are multiplied already, or None.
        is_weighted: Whether a weight for each row was given.
    """

    X: Any
    y: NDArray[Any]
    weights: NDArray[np.float64] | None
    targets: Targets | None
    name: str
    flat: bool
    by_class: NDArray[np.float64] | None = None
    is_weighted: bool = False

    def that_count(self) -> Rows:
        """Return the rows whose weight is above 0.

        Raises:
            UsageError: There are none.
        """
        if self.weights is None or self.weights.all():
            return self
        rows = np.flatnonzero(self.weights)
        if not len(rows):
            raise UsageError(
                "Sample weights must contain at least one non-zero number: the weights of all rows are 0",
                where="argument sample_weight",
            )
        return replace(self, X=take(self.X, rows), y=self.y[rows], weights=self.weights[rows])


def weigh(
    y: NDArray[Any], sample_weight: ArrayLike | None, by_class: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """Return the weight of each row: its own times that of its class; None if neither is given.

    Raises:
        ValueError: Not a weight from 0 for each row.
    """
    if sample_weight is None:
        return by_class
    weights: NDArray[np.float64] = _check_sample_weight(sample_weight, y, dtype=np.float64)
    if (weights < 0).any():
        raise UsageError(
            f"Negative values in data passed to `sample_weight`: the first is {weights[weights < 0][0]:g}",
            where="argument sample_weight",
        )
    return weights if by_class is None else weights * by_class


def check_share(validation: Any) -> None:
    """Raise UsageError if this is no share of rows that could be held out."""
    if validation is None or (isinstance(validation, str) and validation == "auto"):
        return
    if not (isinstance(validation, numbers.Real) and 0 < float(validation) < 1):
        raise UsageError(
            f"expected a share between 0 and 1, 'auto' or None, got {validation!r}", where="argument validation"
        )


def hold_out(
    y: NDArray[Any], validation: float | Literal["auto"] | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to learn from, and those held out for early stopping (perhaps none)."""
    n, share = len(y), validation
    if share == "auto":
        share = None if n < MIN_ROWS_TO_HOLD_OUT else 0.1
    if share is None or n < 2:
        return np.arange(n, dtype=np.int64), np.empty(0, dtype=np.int64)
    is_class = y.ndim == 1
    return split_rows(
        n,
        y=y if is_class else None,
        task="multiclass" if is_class else "regression",
        fraction=float(share),
        seed=seed,
        purpose="validation",
    )
