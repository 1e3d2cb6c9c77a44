"""Kernels whose orientation is known: Sobel, Gabor, lines; drawn here without the code that is tested."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import convolve2d

Array = NDArray[np.float64]


def centred(rows: int, columns: int) -> tuple[Array, Array]:
    """Return how far right and how far up each pixel lies from the centre."""
    row, column = np.mgrid[0:rows, 0:columns].astype(float)
    return column - (columns - 1) / 2, (rows - 1) / 2 - row


def sobel(angle: float, size: int) -> Array:
    """Return the Sobel kernel whose edge has this angle, smoothed by [1, 2, 1] to an odd size, light above 0°."""
    to_right: Array = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    while len(to_right) < size:
        to_right = convolve2d(to_right, np.outer([1.0, 2, 1], [1.0, 2, 1]))
    to_top = to_right.T[::-1]
    turn = np.deg2rad(angle)
    return -np.sin(turn) * to_right + np.cos(turn) * to_top


def gabor(angle: float, size: int, period: float, phase: float = 0.0, width: float = 0.56) -> Array:
    """Return a Gabor kernel whose stripes have this angle; its envelope's deviation is `width` periods."""
    right, up = centred(size, size)
    turn = np.deg2rad(angle)
    across = -np.sin(turn) * right + np.cos(turn) * up
    envelope = np.exp(-(right**2 + up**2) / (2 * (width * period) ** 2))
    return np.asarray(envelope * np.cos(2 * np.pi * across / period + phase))


def apart(a: Any, b: Any) -> Any:
    """Return how far two angles of lines are apart, 0 to 90 degrees."""
    return np.abs((np.asarray(a) - np.asarray(b) + 90.0) % 180.0 - 90.0)
