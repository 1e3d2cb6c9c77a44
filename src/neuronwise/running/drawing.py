"""Activation functions drawn in text, for the terminal."""

from __future__ import annotations

import numpy as np

from neuronwise.network import Activation

_WIDTH, _HEIGHT = 48, 9  # characters; each holds 2 × 4 points
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Unicode's Braille patterns


def draw_activation(activation: Activation) -> list[str]:
    """Return f(z) for z from -4 to 4 as lines of Braille dots, with both axes and the range shown.

    Softmax depends on the other neurons; it is drawn for two neurons, the other one at z = 0.
    """
    z = np.linspace(-4.0, 4.0, 2 * _WIDTH)
    alone = activation.name != "softmax"
    f = activation(z) if alone else activation(np.stack([z, np.zeros_like(z)], axis=1))[:, 0]
    low, high = min(-0.5, float(f.min())), max(1.2, float(f.max()))
    low, high = max(low, -4.0), min(high, 4.0)
    rows = 4 * _HEIGHT

    def row(value: float) -> int:
        return round((high - value) / (high - low) * (rows - 1))

    grid = np.zeros((rows, 2 * _WIDTH), dtype=bool)
    if 0 <= row(0.0) < rows:
        grid[row(0.0), ::4] = True
    grid[::2, _WIDTH] = True
    previous = row(float(f[0]))
    for column, value in enumerate(f):
        here = row(float(value))
        top, bottom = sorted((previous, here))
        grid[max(top, 0) : min(bottom, rows - 1) + 1, column] = True
        previous = here
    lines = []
    for i in range(_HEIGHT):
        cells = []
        for j in range(_WIDTH):
            block = grid[4 * i : 4 * i + 4, 2 * j : 2 * j + 2]
            code = sum(_DOTS[r][c] for r in range(4) for c in range(2) if block[r, c])
            cells.append(chr(0x2800 + code))
        label = f"{high:.2g}" if i == 0 else f"{low:.2g}" if i == _HEIGHT - 1 else ""
        lines.append("".join(cells) + f" {label}")
    lines.append(f"{'z = -4':<{_WIDTH // 2}}{'z = 4':>{_WIDTH // 2}}")
    return lines
