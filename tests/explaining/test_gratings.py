"""Orientation, selectivity and the random kernels they are judged against."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.explaining import gratings
from neuronwise.explaining.edges import is_detector
from neuronwise.explaining.gratings import ANGLES, LARGEST_SIDE, chance, tune

from .kernels_made import Array, apart, centred, gabor, sobel

MANY = np.arange(0.0, 180.0, 7.3)


def slow_responses(kernel: Array) -> tuple[Array, float]:
    """Return the response at each angle and the largest to any grating: each fitted to the kernel by least squares."""
    right, up = centred(*kernel.shape)
    k = (kernel - kernel.mean()).ravel()
    k = k / math.sqrt(float(k @ k))
    best, largest = [], 0.0
    for angle in ANGLES:
        turn = math.radians(float(angle))
        across = -math.sin(turn) * right + math.cos(turn) * up
        squares = []
        for f in np.linspace(0.5 / max(kernel.shape), 0.5, 16):
            # The best phase, contrast and ground of the grating at once; R² is the squared cosine.
            columns = [np.cos(2 * np.pi * f * across), np.sin(2 * np.pi * f * across), np.ones_like(across)]
            A = np.stack([column.ravel() for column in columns], axis=1)
            fitted = A @ np.linalg.lstsq(A, k, rcond=None)[0]
            squares.append(float(fitted @ fitted))
        best.append(math.sqrt(sum(squares) / len(squares)))
        largest = max(largest, math.sqrt(max(squares)))
    return np.array(best), largest


@pytest.mark.parametrize("shape", [(3, 3), (5, 5), (4, 6), (9, 7)])
def test_responses_are_those_of_gratings_fitted_one_by_one(shape: tuple[int, int]) -> None:
    kernels = np.random.default_rng(1).normal(size=(4, *shape)) + 0.3
    told = tune(kernels)
    for index, kernel in enumerate(kernels):
        responses, largest = slow_responses(kernel)
        np.testing.assert_allclose(told.responses[index], responses, atol=1e-9)
        assert told.grating[index] == pytest.approx(largest, abs=1e-9)
        total = sum(
            r * complex(math.cos(2 * t), math.sin(2 * t)) for r, t in zip(responses, np.deg2rad(ANGLES), strict=True)
        )
        assert told.selectivity[index] == pytest.approx(abs(total) / responses.sum(), abs=1e-9)


@pytest.mark.parametrize("angle", [0.0, 5.0, 30.0, 45.0, 90.0, 130.0])
def test_pixels_that_an_edge_crosses_are_shared_exactly(angle: float) -> None:
    fine = (np.arange(200) + 0.5) / 200 - 0.5
    turn = math.radians(angle)
    for place in np.linspace(-0.9, 0.9, 7):
        beyond = place - math.sin(turn) * fine[None, :] + math.cos(turn) * fine[:, None] > 0
        assert gratings._covered(np.array([place]), angle)[0] == pytest.approx(beyond.mean(), abs=0.006)


def test_bars_and_edges_have_no_mean_and_norm_1() -> None:
    for stimuli in (gratings.edges(5, 7)[0], gratings.bars(5, 7), gratings.gratings(5, 7)[0].reshape(-1, 35)):
        assert np.abs(stimuli.mean(axis=1)).max() < 1e-12
        norms = np.linalg.norm(stimuli, axis=1)
        assert ((np.abs(norms - 1) < 1e-9) | (norms == 0)).all()


@pytest.mark.parametrize("size", [3, 5, 7, 9, 11])
def test_sobel_kernels_have_their_angle(size: int) -> None:
    told = tune(np.array([sobel(angle, size) for angle in MANY]))
    assert apart(told.orientation, MANY).max() < 5
    assert (np.abs(told.selectivity - 1 / 3) < 0.06).all()
    # Light above an edge at 0°: its light side is 90° further.
    assert np.abs((told.light - (MANY + 90) + 180) % 360 - 180).max() < 5


@pytest.mark.parametrize("size", [5, 7, 9, 11, 15, 28])
@pytest.mark.parametrize("period", [2.5, 3.0, 4.0, 5.0])
def test_gabor_kernels_have_their_angle(size: int, period: float) -> None:
    for phase in (0.0, 0.8, np.pi / 2, 2.5, 4.0):
        for width in (0.5, 0.56):
            told = tune(np.array([gabor(angle, size, period, phase, width) for angle in MANY]))
            assert apart(told.orientation, MANY).max() < 5, (phase, width)


@pytest.mark.parametrize("size", [7, 11, 28])
def test_gabor_kernels_as_wide_as_the_kernel_have_their_angle(size: int) -> None:
    for phase in (0.0, 0.8, np.pi / 2):
        told = tune(np.array([gabor(angle, size, float(size), phase) for angle in MANY]))
        assert apart(told.orientation, MANY).max() < 5


@pytest.mark.parametrize("period", [3.0, 4.0, 6.0])
def test_the_frequency_is_that_of_the_stripes(period: float) -> None:
    told = tune(np.array([gabor(angle, 15, period, 0.7) for angle in MANY]))
    assert (np.abs(told.frequency * period - 1) < 0.12).all()


@given(
    angle=st.floats(0, 179.9),
    scale=st.sampled_from([1e-30, 1e-3, -1.0, 250.0, -1e30]),
    ground=st.sampled_from([0.0, 0.5, -20.0]),
)
def test_neither_sign_nor_norm_nor_even_light_changes_anything(angle: float, scale: float, ground: float) -> None:
    kernel = gabor(angle, 7, 4.0, 0.6) + 0.1 * np.random.default_rng(0).normal(size=(7, 7))
    one, other = tune(np.array([kernel])), tune(np.array([scale * (kernel + ground)]))
    assert apart(one.orientation[0], other.orientation[0]) < 1e-6
    for name in ("selectivity", "frequency", "grating", "edge", "bar"):
        assert getattr(one, name)[0] == pytest.approx(getattr(other, name)[0], rel=1e-6)
    turned = np.abs((one.light[0] - other.light[0]) % 360)
    assert turned == pytest.approx(180.0 if scale < 0 else 0.0, abs=1e-5) or turned == pytest.approx(360, abs=1e-5)


@given(angle=st.floats(0, 179.9), size=st.sampled_from([5, 7, 9]))
def test_a_kernel_turned_by_a_quarter_turns_its_angle(angle: float, size: int) -> None:
    kernel = gabor(angle, size, 4.0, 0.9) + 0.2 * np.random.default_rng(2).normal(size=(size, size))
    told = tune(np.array([kernel, np.rot90(kernel), kernel[::-1]]))
    assert apart(told.orientation[0] + 90, told.orientation[1]) < 1e-6
    assert apart(-told.orientation[0], told.orientation[2]) < 1e-6  # as in a mirror
    assert np.ptp(told.selectivity) < 1e-9


def test_what_is_alike_in_all_directions_has_no_selectivity() -> None:
    right, up = centred(9, 9)
    r2 = right**2 + up**2
    blobs = np.array([np.exp(-r2 / 4), np.exp(-r2 / 3) - 0.4 * np.exp(-r2 / 8)])
    assert tune(blobs).selectivity.max() < 1e-6


def test_kernels_without_a_difference_or_not_finite_have_nothing() -> None:
    made = np.zeros((5, 5, 5))
    made[1] = 7.0
    made[2] = sobel(30, 5)
    made[2, 0, 0] = np.nan
    made[3] = sobel(30, 5)
    made[3, 4, 4] = np.inf
    made[4] = sobel(30, 5)
    told = tune(made)
    assert np.isnan(told.selectivity).tolist() == [True, True, True, True, False]
    assert np.isnan(told.responses[:4]).all()
    assert np.isnan(told.orientation[:4]).all()


@pytest.mark.parametrize("shape", [(3, 3), (4, 4), (5, 5), (7, 7), (11, 11), (5, 9), (28, 28)])
def test_at_most_5_percent_of_random_kernels_are_called_detectors(shape: tuple[int, int]) -> None:
    expected = chance(*shape)
    for seed in (11, 12):
        rng = np.random.default_rng(seed)
        count = 400 if shape[0] < 20 else 150
        for made in (
            rng.normal(size=(count, *shape)),
            rng.uniform(-1, 1, (count, *shape)),
            rng.random((count, *shape)),
        ):
            told = tune(made)
            assert is_detector(told.selectivity, expected.beyond(told.selectivity)).mean() <= 0.05


@pytest.mark.parametrize("size", [5, 7, 9, 11])
def test_sobel_and_gabor_kernels_are_called_detectors(size: int) -> None:
    made = [sobel(angle, size) for angle in MANY] + [gabor(a, size, 4.0, p) for a in MANY for p in (0.0, 0.8, 1.57)]
    told = tune(np.array(made))
    assert is_detector(told.selectivity, chance(size, size).beyond(told.selectivity)).all()


def test_chance_is_kept_and_depends_on_its_seed_alone() -> None:
    assert chance(5, 5) is chance(5, 5)
    again = tune(np.random.default_rng(0).standard_normal((100, 5, 5))).selectivity
    assert np.isin(again.round(12), chance(5, 5).selectivity.round(12)).all()
    beyond = chance(5, 5).beyond(np.array([0.0, 1.0, np.nan, np.median(chance(5, 5).selectivity)]))
    assert beyond[:2].tolist() == [0.0, 1.0]
    assert np.isnan(beyond[2])
    assert beyond[3] == pytest.approx(0.5, abs=0.01)


def test_3_by_3_kernels_of_sobel_are_told_their_angle_but_are_not_beyond_chance() -> None:
    told = tune(np.array([sobel(angle, 3) for angle in MANY]))
    beyond = chance(3, 3).beyond(told.selectivity)
    assert 0.8 < beyond.min() < 0.99


def test_large_kernels_are_averaged_down() -> None:
    side = 3 * LARGEST_SIDE
    told = tune(np.array([gabor(30.0, side, 24.0, 0.4)]))
    assert apart(told.orientation[0], 30.0) < 5
    assert told.frequency[0] == pytest.approx(1 / 24, rel=0.1)  # in cycles per pixel of the kernel as it was
    small = gratings.shrink(np.arange(2.0 * 40 * 70).reshape(2, 40, 70))
    assert small.shape == (2, 18, 32)
    assert small.mean() == pytest.approx(np.arange(2.0 * 40 * 70).mean())
