"""How good a network is on data it does not learn from: loss and one plain metric, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.network import Loss, Network, Workspace

# Rows per forward pass: enough to be fast, few enough to stay within a few MB.
_CHUNK = 2048


class Evaluator:
    """Loss and metric of a network on a fixed set of rows, with its buffers kept between calls.

    Args:
        network: The network.
        X: Inputs, (rows, *input_shape), in the network's dtype.
        y: Targets as `prepare_targets` returns them.
        loss: The loss.
    """

    def __init__(self, network: Network, X: NDArray[Any], y: NDArray[Any], loss: Loss) -> None:
        self._network, self._X, self._y, self._loss = network, X, y, loss
        self._spaces: dict[int, tuple[Workspace, NDArray[Any]]] = {}
        if loss.targets == "values" and loss.name != "binary_cross_entropy":
            # Not from the mean where all are the same: its rounding would make a small number of what is 0.
            centred = y - y.mean(axis=0, dtype=np.float64) if (y != y[:1]).any() else np.zeros(1)
            self._total = float((centred**2).sum())

    def __call__(self) -> dict[str, float]:
        """Return ``loss`` (mean over the rows) and ``accuracy`` (classes) or ``r2`` (values).

        R² is 1 minus the squared errors over those of the mean of these rows; it is missing where the targets
        are all the same.
        """
        with np.errstate(all="ignore"):
            return self._measure()

    def _measure(self) -> dict[str, float]:
        rows, total, right, squared = len(self._X), 0.0, 0, 0.0
        for start in range(0, rows, _CHUNK):
            x, y = self._X[start : start + _CHUNK], self._y[start : start + _CHUNK]
            space, scratch = self._space(len(x))
            np.copyto(space.x, x)
            a = space.forward()
            z = space.output.z
            total += self._loss.evaluate(a if z is None else z, a, y, scratch) * len(x)
            if self._loss.targets == "classes":
                right += int(np.count_nonzero(a.argmax(axis=1) == y))
            elif self._loss.name == "binary_cross_entropy":
                positive = (a if z is None else z) > 0
                right += int(np.count_nonzero((positive == (y > 0.5)).all(axis=1)))
            else:
                squared += float(((a - y) ** 2).sum(dtype=np.float64))
        metrics = {"loss": total / rows}
        if self._loss.targets == "classes" or self._loss.name == "binary_cross_entropy":
            metrics["accuracy"] = right / rows
        elif self._total > 0:
            metrics["r2"] = 1.0 - squared / self._total
        return metrics

    def _space(self, rows: int) -> tuple[Workspace, NDArray[Any]]:
        if rows not in self._spaces:
            space = self._network.workspace(rows)
            self._spaces[rows] = space, np.empty_like(space.output.a)
        return self._spaces[rows]
