"""How good a network is on data it does not learn from: loss and one plain metric, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.network import Loss, Network, Workspace


class Evaluator:
    """Loss and metric of a network on a fixed set of rows, with its buffers kept between calls.

    The network answers as in use: nothing is dropped, and batch normalisation takes its running statistics. The rows
    are gathered a chunk at a time, never copied whole, so that X may be memory-mapped.

    Args:
        network: The network.
        X: Inputs, (rows, *input_shape), in the network's dtype.
        y: Targets as `prepare_targets` returns them.
        loss: The loss.
        rows: Numbers of the rows of X and y to look at; default all of them.
    """

    def __init__(
        self, network: Network, X: NDArray[Any], y: NDArray[Any], loss: Loss, rows: NDArray[np.int64] | None = None
    ) -> None:
        self._network, self._X, self._y, self._loss, self._rows = network, X, y, loss, rows
        self._count = len(X) if rows is None else len(rows)
        self._chunk = network.rows_at_a_time
        self._spaces: dict[int, tuple[Workspace, NDArray[Any]]] = {}
        self._is_regression = loss.targets == "values" and loss.name != "binary_cross_entropy"
        if self._is_regression:
            self._total = self._squares_around_mean()

    @property
    def data(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64] | None]:
        """X, y and the numbers of the rows looked at, or None for all."""
        return self._X, self._y, self._rows

    def __call__(self) -> dict[str, float]:
        """Return ``loss`` (mean over the rows) and ``accuracy`` (classes) or ``r2`` (values).

        R² is 1 minus the squared errors over those of the mean of these rows; it is missing where the targets
        are all the same.
        """
        with np.errstate(all="ignore"):
            return self._measure()

    def _measure(self) -> dict[str, float]:
        total, right, squared = 0.0, 0, 0.0
        for chunk in self._chunks():
            y = self._y[chunk]
            space, scratch = self._space(len(y))
            if isinstance(chunk, slice):
                np.copyto(space.x, self._X[chunk])
            else:
                self._X.take(chunk, 0, space.x, "clip")
            a = space.forward()
            z = space.output.z
            total += self._loss.evaluate(a if z is None else z, a, y, scratch) * len(y)
            if self._loss.targets == "classes":
                right += int(np.count_nonzero(a.argmax(axis=1) == y))
            elif self._loss.name == "binary_cross_entropy":
                positive = (a if z is None else z) > 0
                right += int(np.count_nonzero((positive == (y > 0.5)).all(axis=1)))
            else:
                squared += float(((a - y) ** 2).sum(dtype=np.float64))
        metrics = {"loss": total / self._count}
        if not self._is_regression:
            metrics["accuracy"] = right / self._count
        elif self._total > 0:
            metrics["r2"] = 1.0 - squared / self._total
        return metrics

    def _squares_around_mean(self) -> float:
        """Return the sum of (y - mean)²; exactly 0 where all are the same, which rounding of the mean would hide."""
        first = self._y[self._rows[:1] if self._rows is not None and self._count else slice(0, 1)]
        total, differ = np.zeros(self._y.shape[1:]), False
        for chunk in self._chunks():
            y = self._y[chunk]
            total += y.sum(axis=0, dtype=np.float64)
            differ = differ or bool((y != first).any())
        if not differ:
            return 0.0
        mean = total / self._count
        return float(sum(((self._y[chunk] - mean) ** 2).sum() for chunk in self._chunks()))

    def _chunks(self) -> Iterator[slice | NDArray[np.int64]]:
        """Yield places in X and y, a chunk at a time."""
        for start in range(0, self._count, self._chunk):
            stop = min(start + self._chunk, self._count)
            yield slice(start, stop) if self._rows is None else self._rows[start:stop]

    def _space(self, rows: int) -> tuple[Workspace, NDArray[Any]]:
        if rows not in self._spaces:
            space = self._network.workspace(rows)
            self._spaces[rows] = space, np.empty(space.output.a.shape, dtype=self._network.dtype)
        return self._spaces[rows]
