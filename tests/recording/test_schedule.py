from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neuronwise.errors import UsageError
from neuronwise.files import folder_size_bytes
from neuronwise.learning import fit
from neuronwise.network import Conv2D, Dense, Flatten, Network
from neuronwise.recording import Plan, RecordingWriter, expected_bytes, plan_recording, read_recording
from neuronwise.recording.rows import keyframe_dtype
from neuronwise.recording.schedule import Schedule

NETWORKS = {
    "tiny": Network.dense([4, 2]),
    "digits": Network.dense([784, 64, 10]),
    "wide": Network.dense([100, 500, 500, 1]),
    "deep": Network.dense([8] * 30),
    "pictures": Network([Conv2D(8, 3), Conv2D(8, 3), Flatten(), Dense(10)], input_shape=(28, 28, 1)),
}
NAMES = st.sampled_from(sorted(NETWORKS))


@given(planned=st.integers(1, 5000), room=st.integers(0, 300))
def test_never_stores_more_than_there_is_room_for(planned: int, room: int) -> None:
    schedule = Schedule.fitting(planned, room)
    stored = [number for number in range(1, planned + 1) if schedule.stores(number)]
    assert len(stored) == schedule.count(planned)
    assert len(stored) <= room


@given(planned=st.integers(100, 5000), room=st.integers(40, 300))
def test_the_room_is_used(planned: int, room: int) -> None:
    assert Schedule.fitting(planned, room).count(planned) >= min(planned, 0.5 * room)


@given(planned=st.integers(1, 5000), room=st.integers(1, 300))
def test_spacing_starts_at_one_and_only_doubles(planned: int, room: int) -> None:
    schedule = Schedule.fitting(planned, room)
    spacings = [schedule.spacing(number) for number in range(1, planned + 1)]
    if schedule.dense_until > 1:
        assert spacings[0] == 1
    for before, after in itertools.pairwise(spacings):
        assert after in (before, 2 * before)


def test_all_are_stored_when_they_fit_and_none_without_room() -> None:
    assert Schedule.fitting(100, 100).count(100) == 100
    assert Schedule.fitting(100, 100).spacing(10**9) == 1
    assert Schedule.fitting(10, 0).count(10) == 0
    assert not Schedule.fitting(10, 0).stores(4)


@given(every=st.integers(0, 70), frames=st.integers(0, 70), early=st.booleans(), start=st.integers(0, 200))
def test_the_next_step_is_the_next_at_which_something_is_due(every: int, frames: int, early: bool, start: int) -> None:
    plan = Plan(every, early, True, frames, 0, Schedule(math.inf), Schedule(math.inf), 1, 10**6, 0, ())
    due = [step for step in range(start + 1, start + 200) if plan.is_keyframe(step) or plan.is_frame(step)]
    assert plan.next_step(start) == (due[0] if due else math.inf)


@given(
    name=NAMES,
    steps=st.integers(1, 3_000_000),
    epochs=st.integers(1, 5000),
    batch_size=st.integers(1, 4096),
    states=st.integers(0, 2),
    max_bytes=st.integers(200_000, 500_000_000),
)
# The frames at the ends of so many epochs alone would have taken more than is allowed.
@example(name="wide", steps=599_706, epochs=2544, batch_size=2230, states=2, max_bytes=61_211_726)
@settings(max_examples=300)
def test_the_plan_stays_below_the_bytes_allowed(
    name: str, steps: int, epochs: int, batch_size: int, states: int, max_bytes: int
) -> None:
    network = NETWORKS[name]
    epochs = min(epochs, steps)
    plan = plan_recording(network, steps, epochs, batch_size=batch_size, states=states, max_bytes=max_bytes)
    assert plan.size_bytes <= max_bytes
    assert plan.size_bytes == expected_bytes(
        network, steps, epochs, batch_size=batch_size, states=states, max_bytes=max_bytes
    )
    if not plan.keyframe_every:
        assert plan.max_keyframes == 0
        assert any("no weights are recorded" in note for note in plan.notes)
        return
    row = keyframe_dtype(network.parameter_count, network.dtype, network.buffer_count, states).itemsize
    assert plan.max_keyframes * row <= max_bytes
    due = len({0, steps, *range(plan.keyframe_every, steps + 1, plan.keyframe_every)})
    assert due <= plan.max_keyframes  # all that is due can be stored
    gave_way = [note for note in plan.notes if "whole states are stored every" in note]
    if not gave_way:
        assert plan.keyframe_every <= 500  # 200 of 100,000 steps
    if plan.frame_every:
        assert plan.frame_every % plan.keyframe_every == 0


@given(name=NAMES, steps=st.integers(1, 10**6), keyframes=st.integers(1, 5000), statistics=st.integers(1, 5000))
def test_fixed_spacings_are_kept_and_what_they_cost_is_said(
    name: str, steps: int, keyframes: int, statistics: int
) -> None:
    network = NETWORKS[name]
    plan = plan_recording(
        network, steps, 1, keyframe_every=keyframes, statistics_every=statistics, max_bytes=50_000_000
    )
    assert plan.statistics_every == statistics
    assert plan.keyframe_every == keyframes
    if steps // keyframes > plan.max_keyframes:
        assert any("whole states are stored up to step" in note for note in plan.notes)
    if plan.size_bytes > 50_000_000:
        assert any("statistics every" in note for note in plan.notes)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
@pytest.mark.parametrize("name", ["keyframe_every", "statistics_every"])
def test_a_spacing_below_one_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"argument {name}: expected a whole number from 1"):
        plan_recording(NETWORKS["tiny"], 10, 1, **{name: value})


def test_a_resumed_training_gets_the_bytes_that_are_left() -> None:
    network, used = NETWORKS["digits"], 30_000_000
    whole = plan_recording(network, 100_000, 100, states=2, max_bytes=50_000_000)
    rest = plan_recording(network, 200_000, 200, states=2, max_bytes=50_000_000, taken=100_000, used_bytes=used)
    assert used < rest.size_bytes <= 50_000_000
    assert rest.keyframe_every > whole.keyframe_every
    full = plan_recording(network, 200_000, 200, states=2, max_bytes=50_000_000, taken=100_000, used_bytes=50_000_000)
    assert full.max_keyframes == 0
    assert any("no weights are recorded" in note for note in full.notes)


def test_notes_say_what_gave_way() -> None:
    network = NETWORKS["wide"]
    assert plan_recording(network, 1000, 10).notes == ()
    notes = plan_recording(network, 1_000_000, 100_000, states=2, max_bytes=20_000_000).notes
    assert notes[0].startswith("loss is recorded at ")
    assert notes[1].startswith("layer summaries are recorded at ")
    assert notes[2].startswith("whole states are stored every ")
    assert "3,6" in notes[2]  # what one takes: 301,501 parameters, three times


def test_a_network_too_large_for_the_budget_says_so() -> None:
    plan = plan_recording(Network.dense([1000, 100]), steps=100, epochs=10, max_bytes=500_000)
    assert plan.max_keyframes == 0
    assert plan.notes[-1].startswith("no weights are recorded: one keyframe takes 400,")


def test_rows_beyond_two_gigabytes_are_not_attempted() -> None:
    class Huge:
        parameter_count, buffer_count, dtype, layers = 600_000_000, 0, np.dtype("float32"), ()

    assert keyframe_dtype(600_000_000, np.dtype("float32")).itemsize < 100


@given(
    layers=st.lists(st.integers(1, 40), min_size=0, max_size=3),
    epochs=st.integers(1, 12),
    batch_size=st.integers(3, 40),
    optimizer=st.sampled_from(["sgd", "momentum", "adam"]),
    max_bytes=st.sampled_from([120_000, 300_000, 1_000_000]),
    resume=st.booleans(),
)
@settings(max_examples=25)
def test_a_written_folder_stays_below_the_bytes_allowed(
    tmp_path_factory: pytest.TempPathFactory,
    layers: list[int],
    epochs: int,
    batch_size: int,
    optimizer: str,
    max_bytes: int,
    resume: bool,
) -> None:
    folder = tmp_path_factory.mktemp("bytes") / "recording"
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(150, 20)), generator.integers(0, 2, 150)
    options: dict[str, Any] = {"batch_size": batch_size, "optimizer": optimizer, "strict": True}

    def network() -> Network:
        return Network.dense([20, *layers, 2], output="softmax")

    writer = RecordingWriter(folder, max_bytes=max_bytes)
    first = fit(network(), X, y, epochs=epochs, observers=[writer], **options)
    if resume:
        writer = RecordingWriter(folder, max_bytes=max_bytes, resume=True)
        fit(network(), X, y, epochs=2 * epochs, observers=[writer], resume=first.checkpoint, **options)
    assert folder_size_bytes(folder) <= max_bytes
    history = read_recording(folder)
    assert history.check() == []
    assert writer.plan is not None
    if writer.plan.max_keyframes:
        assert history.steps[-1] == history.delivered_step == history.last_step
