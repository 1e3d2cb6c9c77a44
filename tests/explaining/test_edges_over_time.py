"""When the angle of a kernel had settled."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import NotFoundError
from neuronwise.explaining.edges_over_time import default_steps, edges_over_time
from neuronwise.network import Conv2D, Dense, Flatten, Network

from .kernels_made import apart, gabor


class Turning:
    """A recording in which conv1[0] turns at first, conv1[1] never does, and conv1[2] is noise."""

    def __init__(self, steps: list[int]) -> None:
        self.keyframes = np.array(steps)
        self.stored: Any = SimpleNamespace(delivered_step=None)

    def at(self, step: int) -> Network:
        network = Network([Conv2D(3, 7), Flatten(), Dense(2)], input_shape=(9, 9))
        noise = np.random.default_rng(7).normal(size=(7, 7))
        angle = 150.0 - 110.0 * min(step, 100) / 100  # 40° from step 100 on
        network["conv1"].W = np.array([gabor(angle, 7, 4), (1 + step) * gabor(177, 7, 4, 1.5), noise])[:, None]
        return network


def test_the_step_is_the_first_from_which_the_angle_stays_within_10_degrees() -> None:
    told = edges_over_time(Turning([0, 50, 80, 90, 92, 100, 200]))  # type: ignore[arg-type]
    # At step 90 the angle is 51°, at 92 it is 48.8°: within 10° of 40°.
    assert told.settled == (92, 0, None)
    assert told.before == (90, None, None)
    assert apart(told.orientation[:, 0], [150, 95, 62, 51, 48.8, 40, 40]).max() < 3
    assert told.detects[:, 1].all()
    assert told.since == (0, 0, None)
    words = str(told)
    assert "2 of 3 neurons are detectors at the end" in words
    assert "step 91 to 92" in words or "step 91" in words
    assert "by step 0" in words
    assert "no detector" in words
    assert told.figure() is not None
    json.dumps(told.to_dict())


def test_an_angle_that_passes_over_the_end_of_the_scale_has_not_turned() -> None:
    class Passing(Turning):
        def at(self, step: int) -> Network:
            network = super().at(step)
            network["conv1"].W[0, 0] = gabor((176 + step) % 180, 7, 4)
            return network

    told = edges_over_time(Passing([0, 2, 4, 6]))  # type: ignore[arg-type]
    assert told.settled[0] == 0


def test_steps_can_be_chosen_and_are_sorted() -> None:
    told = edges_over_time(Turning([0, 100]), steps=[30, 10, 30])  # type: ignore[arg-type]
    assert told.steps.tolist() == [10, 30]


def test_default_steps_are_denser_at_the_beginning_and_end_with_what_was_delivered() -> None:
    recording = Turning(list(range(0, 5000, 10)))
    recording.stored.delivered_step = 4000
    steps = default_steps(recording)  # type: ignore[arg-type]
    assert len(steps) == 40
    assert (steps[0], steps[-1]) == (0, 4000)
    assert np.diff(steps[:5]).max() < np.diff(steps[-5:]).max()
    assert default_steps(Turning([0, 5, 9])) == [0, 5, 9]  # type: ignore[arg-type]


def test_without_any_state_that_is_said() -> None:
    with pytest.raises(NotFoundError, match="no weights"):
        edges_over_time(Turning([]))  # type: ignore[arg-type]


def test_without_detectors_the_picture_shows_the_most_selective() -> None:
    class Noise(Turning):
        def at(self, step: int) -> Network:
            network = super().at(step)
            network["conv1"].W = np.random.default_rng(step).normal(size=(3, 1, 7, 7))
            return network

    told = edges_over_time(Noise([1, 2]))  # type: ignore[arg-type]
    assert str(told).startswith("conv1: none of its 3 neurons is a detector at the end")
    assert told.figure() is not None
