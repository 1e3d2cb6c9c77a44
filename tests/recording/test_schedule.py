from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise.network import Network
from neuronwise.recording import Schedule, expected_bytes, plan_recording
from neuronwise.recording.schedule import keyframe_dtype


@given(planned=st.integers(1, 5000), room=st.integers(0, 300))
def test_never_stores_more_than_there_is_room_for(planned: int, room: int) -> None:
    schedule = Schedule.fitting(planned, room)
    stored = [number for number in range(1, planned + 1) if schedule.stores(number)]
    assert len(stored) == schedule.count(planned)
    assert len(stored) <= room


@given(planned=st.integers(100, 5000), room=st.integers(40, 300))
def test_the_room_is_used(planned: int, room: int) -> None:
    stored = Schedule.fitting(planned, room).count(planned)
    assert stored >= min(planned, 0.5 * room)


@given(planned=st.integers(1, 5000), room=st.integers(1, 300))
def test_spacing_starts_at_one_and_only_doubles(planned: int, room: int) -> None:
    schedule = Schedule.fitting(planned, room)
    spacings = [schedule.spacing(number) for number in range(1, planned + 1)]
    if schedule.dense_until > 1:
        assert spacings[0] == 1
    for number, (before, after) in enumerate(itertools.pairwise(spacings), start=1):
        assert after in (before, 2 * before)
        if after != before:
            assert schedule.next_change(number) == number + 1


def test_all_are_stored_when_they_fit() -> None:
    schedule = Schedule.fitting(100, 100)
    assert schedule.count(100) == 100
    assert schedule.spacing(10**9) == 1


def test_nothing_is_stored_without_room() -> None:
    assert Schedule.fitting(10, 0).count(10) == 0
    assert not Schedule.fitting(10, 0).stores(4)


def test_a_short_training_of_a_small_network_is_recorded_whole() -> None:
    plan = plan_recording(Network.dense([784, 16, 16, 10]), steps=50_000, epochs=50)
    assert plan.notes == ()
    assert plan.keyframes.count(50) == 50
    assert plan.early_steps == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    # 62 keyframes of 13,002 float32 and 50,000 rows of 32 bytes.
    assert plan.size_bytes == pytest.approx(62 * 52_024 + 50_000 * 32, rel=0.05)


@pytest.mark.parametrize("max_bytes", [100_000, 1_000_000, 20_000_000])
@pytest.mark.parametrize("epochs", [1, 30, 5_000])
def test_the_plan_stays_below_the_bytes_allowed(max_bytes: int, epochs: int) -> None:
    network = Network.dense([64, 32, 10])
    assert expected_bytes(network, epochs * 100, epochs, max_bytes=max_bytes) <= max_bytes


def test_at_most_a_thousand_keyframes() -> None:
    plan = plan_recording(Network.dense([4, 2]), steps=10**6, epochs=10**5)
    assert plan.keyframes.count(10**5) + len(plan.early_steps) + 2 <= 1000
    assert "weights are recorded at" in plan.notes[0]


def test_a_network_too_large_for_the_budget_says_so() -> None:
    plan = plan_recording(Network.dense([1000, 100]), steps=100, epochs=10, max_bytes=500_000)
    assert plan.max_keyframes == 0
    assert plan.notes[0].startswith("no weights are recorded: one keyframe takes 400,416 bytes")


def test_rows_beyond_two_gigabytes_are_not_attempted() -> None:
    class Huge:
        parameter_count, buffer_count, dtype, layers = 600_000_000, 0, np.dtype("float32"), ()

    plan = plan_recording(Huge(), steps=10, epochs=1, max_bytes=10**11)  # type: ignore[arg-type]
    assert plan.max_keyframes == 0
    assert keyframe_dtype(600_000_000, np.dtype("float32")).itemsize == 16
