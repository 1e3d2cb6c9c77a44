"""When something is recorded: by the number of the step; budgets may only double the distance, and say so."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from neuronwise.watching import Moments, TorchWatcher
from neuronwise.watching.moments import FRAME_RATIO

from .helpers import events, hooks_on


def moments_to(last: int, moments: Moments) -> list[int]:
    found, step = [], 0
    while step <= last:
        found.append(step)
        step = moments.next_frame(step)
    return found


def test_every_step_to_50_then_a_geometric_series() -> None:
    found = moments_to(1_000_000, Moments())
    assert found[:51] == list(range(51))
    series = sorted({math.ceil(50 * FRAME_RATIO**place) for place in range(1, 300)})
    assert found[51:] == [step for step in series if 50 < step <= 1_000_000]
    assert [sum(step <= last for step in found) for last in (2000, 100_000, 1_000_000)] == [102, 156, 187]


@given(step=st.integers(0, 10**9), doublings=st.integers(0, 6))
def test_the_next_is_above_and_not_far(step: int, doublings: int) -> None:
    moments = Moments(thinning=2**doublings)
    found = moments.next_frame(step)
    assert found > step
    assert found <= max(step + 2**doublings, 50 + 2**doublings, math.ceil(step * FRAME_RATIO ** (2**doublings)) + 1)


@given(doublings=st.integers(1, 6))
def test_thinned_moments_are_some_of_those_that_would_be(doublings: int) -> None:
    every, few = moments_to(20_000, Moments()), moments_to(20_000, Moments(thinning=2**doublings))
    assert set(few) <= set(every)
    assert len(few) >= len(every) / 2**doublings - 3
    assert len(few) <= len(every) / 2**doublings + 4


@given(step=st.integers(0, 10**6), every=st.integers(1, 1000))
def test_a_fixed_distance(step: int, every: int) -> None:
    found = Moments(every=every).next_frame(step)
    assert step < found <= step + every
    assert found % every == 0


@given(room=st.integers(3, 10_000))
def test_states_of_a_million_steps_have_room(room: int) -> None:
    moments, step, count = Moments(), 1, 1
    assert moments.fit_states(room)
    while step < 1_000_000:
        step, count = moments.next_keyframe(step), count + 1
    assert count <= max(room, 60)
    assert not Moments().fit_states(2)


def train(folder: Path, steps: int, size: int = 8, **options: object) -> TorchWatcher:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, size), nn.ReLU(), nn.Linear(size, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    watcher = TorchWatcher(model, optimizer, folder=folder, strict=True, **options)  # type: ignore[arg-type]
    x = torch.randn(4, 4)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
    watcher.close()
    return watcher


def test_a_training_is_recorded_at_these_steps(tmp_path: Path) -> None:
    watcher = train(tmp_path / "recording", 130, time_budget=1.0)
    frames = watcher.recording.frames.tolist()
    assert frames == moments_to(130, Moments())
    assert not events(watcher.folder, "thinned")
    keyframes = watcher.recording.keyframes.tolist()
    assert keyframes[:2] == [0, 1]
    assert keyframes[-1] == 130
    assert set(keyframes[:-1]) <= set(frames)
    assert set(watcher.recording.stored.histogram_steps.tolist()) == set(keyframes[1:-1])


def test_with_every_state_there_are_all_histograms_also_late(tmp_path: Path) -> None:
    """That the state is stored must be known when the step begins: then activations and gradients are seen."""
    loss = nn.MSELoss()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "r", loss=loss, time_budget=1.0, strict=True)
    for _ in range(300):
        optimizer.zero_grad()
        loss(model(torch.randn(4, 4)), torch.randn(4, 2)).backward()
        optimizer.step()
    watcher.close()
    recording = watcher.recording
    states = recording.stored.histogram_steps.tolist()
    assert len([step for step in states if step > 60]) >= 3
    for step in states:
        for layer in ("0", "2"):
            for what in ("W", "dW", "z", "a"):
                assert recording.histogram(layer, what, step).counts.sum() > 0, (step, layer, what)
    told = {event["step"] for event in events(watcher.folder, "loss") if "prediction" in event}
    assert told >= set(states)


def test_a_fixed_distance_of_statistics_is_kept_whatever_it_costs(tmp_path: Path) -> None:
    watcher = train(tmp_path / "recording", 130, time_budget=1e-9, statistics_every=10)
    assert watcher.recording.frames.tolist() == [0, 1, *range(10, 131, 10)]
    assert not events(watcher.folder, "thinned")


def test_hooks_are_there_only_during_recorded_steps(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", time_budget=1.0, strict=True)
    with_hooks = []
    for step in range(1, 91):
        if hooks_on(model):
            with_hooks.append(step)
        assert hooks_on(model, optimizer) - hooks_on(model) == (2 if hooks_on(model) else 1)
        optimizer.zero_grad()
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
    assert with_hooks == moments_to(90, Moments())[1:]
    watcher.close()
    assert not hooks_on(model, optimizer)


def test_what_takes_too_long_is_done_at_every_second_of_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuronwise.watching.torch_steps._FREE_S", 0.0)
    monkeypatch.setattr("neuronwise.watching.torch_steps._ALLOWED_PER_STEP_S", 0.0)
    monkeypatch.setattr(TorchWatcher, "__init__", _checked_from_0(TorchWatcher.__init__))
    watcher = train(tmp_path / "recording", 60, time_budget=1e-6)
    told = events(watcher.folder, "thinned")
    assert [one["factor"] for one in told] == [2 ** (1 + place) for place in range(len(told))]
    assert told
    assert all("watching has taken" in one["reason"] for one in told)
    frames = watcher.recording.frames.tolist()
    assert set(frames) <= set(moments_to(60, Moments()))
    for before, step in itertools.pairwise(frames[1:]):
        factor = max((one["factor"] for one in told if one["step"] <= before), default=1)
        assert step == Moments(thinning=factor).next_frame(before)


def _checked_from_0(init: object) -> object:
    def made(self: TorchWatcher, *arguments: object, **named: object) -> None:
        init(self, *arguments, **named)  # type: ignore[operator]
        self._steps._checked_cost = 0.0

    return made


def test_the_first_half_second_is_free(tmp_path: Path) -> None:
    watcher = train(tmp_path / "recording", 60, time_budget=1e-9)
    assert watcher.overhead_s < 0.5
    assert not events(watcher.folder, "thinned")


def test_bytes_beyond_the_budget_are_saved_by_doubling_the_distance(tmp_path: Path) -> None:
    watcher = train(tmp_path / "recording", 200, size=1500, bytes_budget=1_000_000, time_budget=1.0)
    told = events(watcher.folder, "thinned")
    assert told
    assert all("bytes" in one["reason"] for one in told)
    frames = watcher.recording.frames.tolist()
    assert set(frames) <= set(moments_to(200, Moments()))
    taken = sum(path.stat().st_size for path in watcher.folder.iterdir())
    assert taken < 1_000_000
    assert not watcher.recording.stored.check()


def test_states_that_have_no_room_are_told_of(tmp_path: Path) -> None:
    watcher = train(tmp_path / "recording", 3, size=60_000, bytes_budget=1_000_000, time_budget=1.0)
    assert not len(watcher.recording.keyframes)
    assert any("no weights are recorded" in note for note in watcher.recording.notes)


def test_what_watching_took_is_in_the_recording(tmp_path: Path) -> None:
    watcher = train(tmp_path / "recording", 60)
    (end,) = events(watcher.folder, "end")
    assert end["steps"] == 60
    assert 0 < end["overhead_s"] < end["elapsed_s"]
    assert end["skipped_steps"] == 0
