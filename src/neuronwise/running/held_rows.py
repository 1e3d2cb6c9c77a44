"""Rows that a watched loop holds out, taken for its inspector: plain arrays, and few of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 2_000
"""Of more rows so many are taken, evenly spread: the page shows some, and says what they have in common."""


@dataclass(frozen=True)
class HeldRows:
    """Rows that were held out, as the loop has them, or some of them.

    Attributes:
        X: Inputs, (rows, *shape).
        y: Class ids (rows,), or targets (rows, outputs).
        rows: Their places among all that were held out.
        of: How many those are.
    """

    X: NDArray[np.float32]
    y: NDArray[Any]
    rows: NDArray[np.int64]
    of: int


def held_rows(validation: Any) -> HeldRows | None:
    """Return rows of (inputs, targets) as `watch` takes them; None where they are no tensors with a row for each."""
    if validation is None:
        return None
    X, y = validation
    if not (hasattr(X, "detach") and hasattr(y, "detach")) or X.ndim < 2 or not 1 <= y.ndim <= 2 or len(X) != len(y):
        return None
    count = len(X)
    if not count or X.is_complex() or y.is_complex():
        return None
    places = np.unique(np.linspace(0, count - 1, min(count, MOST_ROWS)).round().astype(np.int64))
    inputs, targets = (_on_host(one, places) for one in (X, y))
    return HeldRows(inputs.astype(np.float32), targets.astype(np.float64), places, count)


def _on_host(values: Any, places: NDArray[np.int64]) -> NDArray[Any]:
    """Return rows of a tensor as a new array; of a type that NumPy does not know (bfloat16) as float32."""
    values = values.detach().cpu()
    if str(values.dtype) == "torch.bfloat16":
        values = values.float()
    found: NDArray[Any] = values.numpy()[places]
    return found
