"""What the columns of a table that a PyTorch training is fed with tell, from a sample of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.watching.columns import farthest, from_each, numbers_rows, same_columns
from neuronwise.watching.torch_statistics import on_host

if TYPE_CHECKING:
    import torch

# So many rows are kept, of tables of so many columns; of fewer rows nothing is told.
_MOST_ROWS, _MOST_COLUMNS, _LEAST_ROWS = 1000, 200, 50
_MOST_NAMED = 20


class TableSeen:
    """A sample of the rows of a table, with their targets: the first different batches that were looked at."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.float64]] = []
        self._targets: list[NDArray[np.float64]] = []
        self._count = 0
        self._is_by_class = False
        self._described: tuple[int, dict[str, Any] | None] = (0, None)

    def take(self, inputs: Any, target: torch.Tensor) -> None:
        """Keep a batch's rows, if they are those of a table and there is room."""
        if self._count >= _MOST_ROWS or not hasattr(inputs, "is_floating_point") or not inputs.is_floating_point():
            return
        if inputs.ndim != 2 or not 1 < inputs.shape[1] <= _MOST_COLUMNS or target.ndim < 1:
            return
        if len(target) != len(inputs) or target.numel() != len(inputs):
            return
        self._rows.append(on_host(inputs.detach().cpu()).astype(np.float64))
        self._targets.append(on_host(target.detach().cpu()).astype(np.float64).reshape(-1))
        self._is_by_class = not target.is_floating_point()
        self._count += len(inputs)

    def describe(self) -> dict[str, Any] | None:
        """Return what the columns tell, by their places, as JSON values; None where it is no table, or too few rows."""
        if self._described[0] != self._count:
            self._described = (self._count, self._describe() if self._count >= _LEAST_ROWS else None)
        return self._described[1]

    def _describe(self) -> dict[str, Any] | None:
        width = self._rows[-1].shape[1]
        parts = [(rows, goal) for rows, goal in zip(self._rows, self._targets, strict=True) if rows.shape[1] == width]
        X, first = np.unique(np.concatenate([rows for rows, _ in parts]), axis=0, return_index=True)
        y = np.concatenate([goal for _, goal in parts])[first]
        good = np.isfinite(X).all(axis=1) & np.isfinite(y)
        X, y = X[good], y[good]
        if len(X) < _LEAST_ROWS:
            return None
        columns = list(X.T)
        return {
            "rows": len(X),
            "constant": [place for place, one in enumerate(columns) if np.ptp(one) == 0][:_MOST_NAMED],
            "same": same_columns(columns)[:_MOST_NAMED],
            "numbering": [place for place, one in enumerate(columns) if numbers_rows(one)][:_MOST_NAMED],
            "target_from": from_each(columns, y, is_by_class=self._is_by_class),
            "farthest": [farthest(one) for one in columns],
        }
