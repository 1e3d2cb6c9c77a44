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
    index = places if count > MOST_ROWS else slice(None)
    inputs = X.detach()[index].cpu().float().numpy()
    targets = y.detach()[index].cpu().double().numpy()
    return HeldRows(np.array(inputs, np.float32), np.array(targets), places, count)
