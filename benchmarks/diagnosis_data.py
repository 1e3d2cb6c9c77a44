"""Data made up at random for `diagnosis_networks`: classes, numbers, pictures and sequences, each learnable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def _rings(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    classes = int(g.integers(2, 5))
    radius, angle = g.uniform(0, classes, rows), g.uniform(0, 2 * np.pi, rows)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + g.normal(0, 0.08, (rows, 2))
    return x, np.minimum(radius.astype(int), classes - 1)


def _clouds(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    classes, features = int(g.integers(2, 7)), int(g.integers(2, 25))
    centres = g.normal(0, 2.2, (classes * 2, features)) / math.sqrt(features) * 2
    which = g.integers(0, classes * 2, rows)
    return centres[which] + g.normal(0, 0.7, (rows, features)), which % classes


def _corners(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    features = int(g.integers(2, 6))
    x = g.uniform(-1, 1, (rows, features))
    return x, ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)


def _teacher(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    features, classes = int(g.integers(5, 20)), int(g.integers(2, 5))
    x = g.normal(0, 1, (rows, features))
    z = np.tanh(x @ g.normal(0, 1.2, (features, 12)) / math.sqrt(features)) @ g.normal(0, 1, (12, classes))
    return x, (z - np.median(z, 0)).argmax(1)


def _bars(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    y = g.integers(0, 3, rows)
    x = g.normal(0, 0.3, (rows, 1, 10, 10))
    for row in range(rows):
        place = int(g.integers(1, 9))
        if y[row] == 0:
            x[row, 0, place] += 1
        elif y[row] == 1:
            x[row, 0, :, place] += 1
        else:
            x[row, 0] += np.eye(10, k=place - 5)
    return x, y


def _digits(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    found = load_digits()
    which = g.permutation(len(found.target))[:rows]
    return found.images[which][:, None] / 16, found.target[which]


def _tokens(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    x = g.integers(0, 6, (rows, 9))
    return x, (x[:, 0] + (x[:, -1] > 2)) % 3


def _sums(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    x = g.normal(0, 1, (rows, 12, 2))
    return x, (x[:, :, 0].sum(1) > x[:, :, 1].sum(1)).astype(int)


def _smooth(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    features = int(g.integers(1, 7))
    x = g.uniform(-2, 2, (rows, features))
    y = np.sin(x @ g.normal(0, 1.2, features)) + 0.4 * x[:, 0] + g.normal(0, 0.05, rows)
    return x, (y - y.mean())[:, None] / y.std()


def _plane(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    features = int(g.integers(3, 15))
    x = g.normal(0, 1, (rows, features))
    y = x @ g.normal(0, 1, features) + 0.5 * np.abs(x[:, 0]) + g.normal(0, 0.3, rows)
    return x, (y - y.mean())[:, None] / y.std()


CLASSES = {"rings": _rings, "clouds": _clouds, "corners": _corners, "teacher": _teacher, "bars": _bars,
    "digits": _digits,
               "tokens": _tokens, "sums": _sums}  # fmt: skip
NUMBERS = {"smooth": _smooth, "plane": _plane}
PICTURES, SEQUENCES = ("bars", "digits"), ("tokens", "sums")
