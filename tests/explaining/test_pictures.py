"""Pictures of weights: shape, colours, and what is no number."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from neuronwise.errors import UsageError
from neuronwise.explaining import histograms_over_time, png, weight_histograms, weight_images
from neuronwise.explaining.pictures import NEGATIVE, POSITIVE, ZERO, histogram_bins, signed_colours

BLACK = (0, 0, 0)
WHITE = (255, 255, 255)


def colours(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(v) for v in pixel) for pixel in np.unique(picture.reshape(-1, 3), axis=0)}


@pytest.mark.parametrize(
    ("value", "colour"),
    [
        (0.0, ZERO), (2.0, POSITIVE), (-2.0, NEGATIVE), (5.0, POSITIVE), (-5.0, NEGATIVE),
        (math.nan, BLACK), (math.inf, BLACK), (-math.inf, BLACK),
    ],
)  # fmt: skip
def test_the_ends_the_middle_and_what_is_no_number(value: float, colour: tuple[int, int, int]) -> None:
    assert tuple(signed_colours(np.array([value]), 2.0)[0]) == colour


@given(npst.arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)), st.floats(1e-6, 1e6))
def test_a_value_and_its_opposite_are_equally_far_from_zero(values: np.ndarray, largest: float) -> None:
    assert signed_colours(values, largest).shape == (3, 4, 3)

    def share(pixels: np.ndarray, end: tuple[int, int, int]) -> np.ndarray:
        # How far the colour went from that of zero to the end of the scale, by its widest channel.
        channel = int(np.argmax(np.abs(np.subtract(end, ZERO))))
        return (pixels[..., channel].astype(float) - ZERO[channel]) / (end[channel] - ZERO[channel])

    up, down = signed_colours(np.abs(values), largest), signed_colours(-np.abs(values), largest)
    np.testing.assert_allclose(share(up, POSITIVE), share(down, NEGATIVE), atol=0.01)


@given(npst.arrays(np.float32, 12, elements=st.floats(width=32)))
def test_any_numbers_have_colours_and_no_number_is_black(values: np.ndarray) -> None:
    pixels = signed_colours(values, 1.0)
    assert pixels.dtype == np.uint8
    assert ((pixels == 0).all(axis=1) == ~np.isfinite(values)).all()


def test_a_larger_weight_is_never_paler() -> None:
    pixels = signed_colours(np.linspace(0.0, 1.0, 50), 1.0).astype(int)
    distance = np.abs(pixels - np.array(ZERO)).sum(axis=1)
    assert (np.diff(distance) >= 0).all()


def test_all_zero_is_the_colour_of_zero_not_a_division_by_it() -> None:
    picture = weight_images(np.zeros((4, 9)), (3, 3))
    assert colours(picture) == {ZERO, WHITE}


@pytest.mark.parametrize(
    ("neurons", "shown", "columns", "rows"), [(1, 1, 1, 1), (5, 5, 3, 2), (16, 16, 4, 4), (100, 64, 8, 8)]
)
def test_neurons_stand_in_a_grid_enlarged_without_smoothing(neurons: int, shown: int, columns: int, rows: int) -> None:
    W = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], (neurons, 12))
    picture = weight_images(W, (3, 4), width=200)
    assert colours(picture) == {NEGATIVE, ZERO, POSITIVE, WHITE}
    assert 195 <= picture.shape[1] <= 260
    scale = math.ceil(200 / (columns * 4.5))
    gap = max(2, scale // 2)
    assert picture.shape == (rows * (3 * scale + gap) + gap, columns * (4 * scale + gap) + gap, 3)
    for index in range(shown):
        top, left = gap + index // columns * (3 * scale + gap), gap + index % columns * (4 * scale + gap)
        tile = picture[top : top + 3 * scale, left : left + 4 * scale]
        expected = signed_colours(W[index].reshape(3, 4), 1.0)
        for y in range(3):
            for x in range(4):
                cell = tile[y * scale : (y + 1) * scale, x * scale : (x + 1) * scale]
                assert (cell == expected[y, x]).all()
    # Places without a neuron are left white.
    if shown < columns * rows:
        assert (picture[-gap - 3 * scale : -gap, -gap - 4 * scale : -gap] == 255).all()


def test_nan_is_black_and_does_not_spoil_the_scale() -> None:
    W = np.array([[1.0, -1.0, np.nan, np.inf]])
    assert colours(weight_images(W, (2, 2))) == {POSITIVE, NEGATIVE, BLACK, WHITE}
    assert colours(weight_images(np.full((1, 4), np.nan), (2, 2))) == {BLACK, WHITE}


def test_one_scale_for_all_steps() -> None:
    W = np.array([[1.0, -1.0, 0.0, 0.0]])
    assert POSITIVE not in colours(weight_images(W, (2, 2), largest=2.0))
    assert POSITIVE in colours(weight_images(W, (2, 2), largest=1.0))


def test_colours_of_a_picture_are_averaged() -> None:
    W = np.array([[1.0, -1.0, 0.0] * 4])
    assert colours(weight_images(W, (2, 2, 3))) == {ZERO, WHITE}


@pytest.mark.parametrize("shape", [(3, 3), (12,), (2, 2, 3, 1), (5, 5), ()])
def test_weights_that_are_no_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="12 inputs are no pictures"):
        weight_images(np.zeros((2, 12)), shape)


def test_histograms_share_their_frame_and_show_their_sign() -> None:
    random = np.random.default_rng(0)
    matrices = [random.normal(0, 0.1, (16, 64)), random.normal(0, 1.0, (16, 64))]
    narrow, wide = weight_histograms("hidden1", [0, 1234], matrices)
    assert narrow.shape == wide.shape == (300, 480, 3)
    assert narrow.dtype == np.uint8
    for picture in (narrow, wide):
        assert {NEGATIVE, POSITIVE} <= colours(picture)
    # The axes, the labels and the ticks are the same in both: only the title and the bars differ.
    assert (narrow[-40:] == wide[-40:]).all()

    def breadth(picture: np.ndarray) -> int:
        columns = np.flatnonzero((picture == POSITIVE).all(axis=2).any(axis=0))
        return int(columns.max() - columns.min())

    assert breadth(narrow) < breadth(wide) / 2


def test_bars_are_as_high_as_their_counts() -> None:
    W = np.array([-1.0] * 30 + [1.0] * 60 + [0.0] * 10)
    (picture,) = weight_histograms("output", [1], [W])

    def height(colour: tuple[int, int, int]) -> int:
        return int((picture == colour).all(axis=2).sum(axis=0).max())

    assert height(POSITIVE) == pytest.approx(2 * height(NEGATIVE), abs=2)


def test_negative_and_positive_bars_mirror_each_other() -> None:
    W = np.abs(np.random.default_rng(1).normal(size=500))
    (right,) = weight_histograms("output", [1], [np.append(W, -W.max())])
    (left,) = weight_histograms("output", [1], [np.append(-W, W.max())])
    assert int((right == POSITIVE).all(axis=2).sum()) == pytest.approx(
        int((left == NEGATIVE).all(axis=2).sum()), rel=0.03
    )


@pytest.mark.parametrize(
    "W",
    [
        np.full((2, 2), np.nan),
        np.zeros((3, 3)),
        np.array([[np.inf, 1.0]]),
        np.full((2, 2), 1e38, np.float32),
        np.full((2, 2), 1e-300),
        np.ones((1, 1)),
    ],
    ids=["nan", "zero", "inf", "huge", "tiny", "one"],
)
def test_histograms_of_odd_weights_are_pictures(W: np.ndarray) -> None:
    for picture in weight_histograms("hidden1", [0, 5], [W, W]):
        assert picture.shape == (300, 480, 3)
    assert histograms_over_time([0, 5], {"hidden1": [W, W]}).shape[2] == 3


def test_what_is_not_finite_is_said_in_the_title() -> None:
    sound, broken = weight_histograms("h", [1, 1], [np.ones(40), np.append(np.ones(39), np.nan)])
    assert not (sound[:24] == broken[:24]).all()


@pytest.mark.parametrize(("count", "bins"), [(1, 11), (100, 11), (400, 21), (10_000, 61), (10**7, 61)])
def test_few_weights_have_few_bars_and_one_at_zero(count: int, bins: int) -> None:
    assert histogram_bins(count) == bins
    assert bins % 2 == 1


def test_the_course_has_a_panel_for_each_layer() -> None:
    random = np.random.default_rng(2)
    one = {"hidden1": [random.normal(size=(4, 5)) for _ in range(3)]}
    two = one | {"output": [random.normal(size=(2, 4)) for _ in range(3)]}
    first, second = histograms_over_time([0, 1, 9], one), histograms_over_time([0, 1, 9], two)
    assert first.dtype == second.dtype == np.uint8
    assert first.shape[1] == second.shape[1] == 720
    assert second.shape[0] > first.shape[0]


def test_a_png_is_the_picture() -> None:
    picture = weight_images(np.random.default_rng(3).normal(size=(4, 9)), (3, 3))
    content = png(picture)
    assert content.startswith(b"\x89PNG\r\n")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), picture)


def test_drawing_leaves_pyplot_alone() -> None:
    import sys

    weight_histograms("h", [1], [np.ones(40)])
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        assert pyplot.get_fignums() == []
