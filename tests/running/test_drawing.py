"""Activation functions in Braille dots."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.network import ACTIVATIONS, get_activation
from neuronwise.running import draw_activation

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def points(lines: list[str]) -> np.ndarray:
    """Return the dots of a drawing, (4 per line, 2 per character), read back from the characters."""
    rows = []
    for line in lines[:-1]:
        cells = [ord(c) - 0x2800 for c in line[:48]]
        rows += [[bool(code & DOTS[r][c]) for code in cells for c in (0, 1)] for r in range(4)]
    return np.array(rows)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_every_drawing_has_one_size_and_its_axes(name: str) -> None:
    lines = draw_activation(get_activation(name))
    assert len(lines) == 10
    assert lines[-1].startswith("z = -4")
    assert lines[-1].endswith("z = 4")
    assert all(0x2800 <= ord(c) <= 0x28FF for line in lines[:-1] for c in line[:48])
    drawn = points(lines)
    assert drawn.shape == (36, 96)
    assert drawn.any(axis=0).all(), "the curve has a point in every column"
    assert drawn[::2, 48].all(), "the axis at z = 0"


def test_the_curve_goes_through_the_right_points() -> None:
    lines = draw_activation(get_activation("relu"))
    drawn = points(lines)
    assert drawn[0, -1], "relu(4) = 4 is the top right corner"
    assert not drawn[:25, :40].any(), "nothing above 0 on the left"
    assert lines[0].endswith(" 4")
    assert lines[8].endswith(" -0.5")
    sigmoid = points(draw_activation(get_activation("sigmoid")))
    # Apart from the axes it is symmetric about (0, 1/2): rises from left to right.
    highest = [int(np.flatnonzero(sigmoid[:, j]).min()) for j in range(1, 47, 2)]
    assert highest == sorted(highest, reverse=True)


def test_identity_is_cut_at_the_edges_not_wrapped() -> None:
    drawn = points(draw_activation(get_activation("identity")))
    assert drawn[0, -1]
    assert drawn[-1, 0]
