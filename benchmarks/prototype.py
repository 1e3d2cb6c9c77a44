"""The smallest honest training in NumPy: flat buffers, results written in place, nothing checked, nothing to look at.

It is what one writes in an afternoon who knows NumPy well, and the mark by which the engine is judged on any machine:
layers, names, checks, activations by name, recording and replay must not cost more than a tenth of its time. ReLU
layers, then softmax with cross-entropy or a linear output with squared error; SGD or Adam.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Prototype:
    """A network of dense layers, its parameters and their gradients in one array each."""

    def __init__(self, sizes: list[int], seed: int) -> None:
        self.sizes, rng = sizes, np.random.default_rng(seed)
        self.parameters = np.zeros(sum(n * m + m for n, m in itertools.pairwise(sizes)), np.float32)
        self.gradients = np.zeros_like(self.parameters)
        self.W, self.b = self._views(self.parameters)
        self.dW, self.db = self._views(self.gradients)
        for W in self.W:
            W[...] = rng.standard_normal(W.shape) * math.sqrt(2 / W.shape[1])

    def _views(self, flat: Array) -> tuple[list[Array], list[Array]]:
        weights, biases, start = [], [], 0
        for n, m in itertools.pairwise(self.sizes):
            weights.append(flat[start : start + n * m].reshape(m, n))
            biases.append(flat[start + n * m : start + n * m + m])
            start += n * m + m
        return weights, biases

    def train(
        self, X: Any, y: Any, batch: int, optimizer: str, rate: float, epochs: int, seen: Callable[[], bool]
    ) -> None:
        """Train for so many epochs, or until `seen` says after one of them that it is enough."""
        step = {"sgd": self._sgd, "adam": self._adam}[optimizer](rate)
        a = [np.empty((batch, n), np.float32) for n in self.sizes]
        delta = [np.empty_like(one) for one in a]
        positive = [np.empty(one.shape, bool) for one in a]
        ones, rows, last = np.ones(batch, np.float32), np.arange(batch), len(self.W) - 1
        rng = np.random.default_rng(0)
        for _ in range(epochs):
            order = rng.permutation(len(X))
            for start in range(0, len(X) - batch + 1, batch):
                index = order[start : start + batch]
                X.take(index, 0, a[0], "clip")
                for i, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
                    np.dot(a[i], W.T, a[i + 1])
                    np.add(a[i + 1], b, a[i + 1])
                    if i < last:
                        np.maximum(a[i + 1], 0, a[i + 1])
                self.loss = self._loss(a[-1], y[index], delta[-1], rows)
                for i in range(last, -1, -1):
                    np.dot(delta[i + 1].T, a[i], self.dW[i])
                    np.dot(ones, delta[i + 1], self.db[i])
                    if i:
                        np.dot(delta[i + 1], self.W[i], delta[i])
                        np.greater(a[i], 0, positive[i])
                        np.multiply(delta[i], positive[i], delta[i])
                step()
            if seen():
                break

    @staticmethod
    def _loss(z: Array, y: Any, delta: Array, rows: Any) -> float:
        """Return the mean loss and write its gradient by z into `delta`."""
        if y.ndim > 1:
            np.subtract(z, y, delta)
            loss = float(np.dot(delta.ravel(), delta.ravel())) / delta.size
            np.multiply(delta, 2 / delta.size, delta)
            return loss
        np.subtract(z, z.max(1, keepdims=True), z)
        np.exp(z, delta)
        total = delta.sum(1, keepdims=True)
        loss = float(np.log(total).sum() - z[rows, y].sum()) / len(y)
        np.divide(delta, total * len(y), delta)
        delta[rows, y] -= 1 / len(y)
        return loss

    def _sgd(self, rate: float) -> Callable[[], None]:
        change = np.empty_like(self.gradients)

        def step() -> None:
            np.multiply(self.gradients, rate, change)
            np.subtract(self.parameters, change, self.parameters)

        return step

    def _adam(self, rate: float) -> Callable[[], None]:
        m, v, change, t = *(np.zeros_like(self.gradients) for _ in range(3)), 0

        def step() -> None:
            nonlocal t
            t += 1
            np.multiply(self.gradients, 0.1, change)
            np.multiply(m, 0.9, m)
            np.add(m, change, m)
            np.multiply(self.gradients, self.gradients, change)
            np.multiply(change, 0.001, change)
            np.multiply(v, 0.999, v)
            np.add(v, change, v)
            np.sqrt(v, change)
            np.add(change, 1e-8 * math.sqrt(1 - 0.999**t), change)
            np.divide(m, change, change)
            np.multiply(change, rate * math.sqrt(1 - 0.999**t) / (1 - 0.9**t), change)
            np.subtract(self.parameters, change, self.parameters)

        return step

    def outputs(self, X: Any) -> Array:
        """Return what comes out of the last layer, before softmax."""
        for i, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            X = X @ W.T + b if i == len(self.W) - 1 else np.maximum(X @ W.T + b, 0)
        return X  # type: ignore[no-any-return]
