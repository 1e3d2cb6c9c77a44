"""What is stored of calls whose number nobody knows: ever more sparsely, below the bytes allowed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from neuronwise.learning import Adam, Constant, TrainingState
from neuronwise.learning.identity import settings_identity
from neuronwise.learning.settings import Settings
from neuronwise.network import Network
from neuronwise.recording import PassRecorder, TrainingData, describe_pass, read_recording
from neuronwise.recording.batches import PassBatches
from neuronwise.recording.passes import Allowance, plan_passes


class Calls(TrainingState):
    """A training that is given portions, whose weights are moved at random."""

    def __init__(self, network: Network) -> None:
        super().__init__(network, 0, 0)
        self.optimizer = Adam()
        self.optimizer.start(network.parameters)
        self.optimizer_state, self._before = self.optimizer.state, 0
        self.gradients, self.update = np.ones_like(network.parameters), np.ones_like(network.parameters)
        self.workspace = network.workspace(8)
        self.workspace.x[:] = np.random.default_rng(0).normal(size=self.workspace.x.shape)
        self.workspace.forward()
        self.passes = self.workspace.passes
        self.make_checkpoint = self._checkpoint  # type: ignore[method-assign, assignment]

    @property
    def steps_before_epoch(self) -> int:
        return self._before

    def _checkpoint(self) -> object:
        from neuronwise.learning import Checkpoint

        asked = Settings(self.network, None, 1, 8, None, 0.0, None, None, True, 0)
        return Checkpoint(
            settings_identity(asked, self.optimizer, Constant()), 1, None, 0, self.network.parameters,
            self.network.buffers, dict(self.optimizer_state), {}, self.step, self.epoch, 0.0, None, None, None, None,
            None, [], 0.0,
        )  # fmt: skip

    def call(self, recorder: PassRecorder, steps: int) -> None:
        data = describe_pass(TrainingData(np.ones((8, 5)), np.ones(8), np.arange(8)))
        self.epoch, self.steps_per_epoch, self._before = self.epoch + 1, steps, self.step
        self.epoch_losses, self.epoch_rates = np.full(steps, 0.5), np.full(steps, 0.1)
        recorder.begin_pass(self, 8, data)
        due = recorder.next_step(self.step)
        for _ in range(steps):
            self.step += 1
            if self.step >= due:
                recorder.on_step_end(self)
                due = recorder.next_step(self.step)
        self.metrics = {"loss": 0.5}
        recorder.on_epoch_end(self)


@pytest.mark.parametrize(("calls", "steps"), [(3000, 1), (40, 300), (1, 20_000)])
@pytest.mark.parametrize("max_bytes", [300_000, 3_000_000])
def test_the_recording_stays_below_its_bytes(tmp_path: Path, calls: int, steps: int, max_bytes: int) -> None:
    state = Calls(Network.dense([5, 6, 3], output="softmax", seed=0))
    recorder = PassRecorder(tmp_path, max_bytes=max_bytes)
    recorder.on_fit_begin(state)
    for _ in range(calls):
        state.call(recorder, steps)
    state.status = "finished"
    recorder.on_fit_end(state)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < max_bytes
    history = read_recording(tmp_path)
    assert not history.problems
    assert len(history.steps) > 15
    assert history.steps[-1] == history.last_step == state.step
    # Ever sparser, but never without an end.
    stored = history.steps
    assert len(stored[stored > state.step / 2]) > 0
    assert all(one["steps"] == steps for one in history.passes)
    if len(history.passes) < calls:
        assert "it is not recorded what was learned from" in recorder.problems[0]


@pytest.mark.parametrize(("layers", "max_bytes"), [([5, 6, 3], 1_000_000), ([784, 100, 10], 200_000_000)])
def test_the_next_due_step_misses_none(layers: list[int], max_bytes: int) -> None:
    plan = plan_passes(Network.dense(layers, seed=0), states=2, max_bytes=max_bytes)
    every = [step for step in range(1, 50_000) if plan.is_keyframe(step) or plan.is_frame(step)]
    step, found = 0, []
    while (following := plan.next_step(step)) < 50_000:
        assert following > step
        step = int(following)
        if plan.is_keyframe(step) or plan.is_frame(step):
            found.append(step)
    assert found == every
    spacing = np.diff([step for step in every if plan.is_keyframe(step)])
    assert spacing[-1] > spacing[len(spacing) // 4]  # it only grows


def test_a_state_larger_than_the_bytes_allowed_is_told() -> None:
    plan = plan_passes(Network.dense([784, 100, 10], seed=0), states=2, max_bytes=1_000_000)
    assert not any(plan.is_keyframe(step) for step in range(1, 1000))
    assert "no weights are recorded" in plan.notes[0]
    assert plan.next_step(0) > 0


def test_an_allowance_is_free_at_first_and_then_by_its_spacing() -> None:
    allowance = Allowance.of(100.0, 50.0)
    assert (allowance.spacing, allowance.free) == (667, 200)
    assert allowance.grants(199, 1)
    assert not allowance.grants(200, 666)
    assert allowance.grants(200, 667)


def test_batches_know_which_steps_they_can_answer() -> None:
    data = [TrainingData(np.full((8, 2), float(value)), np.ones(8), np.arange(8)) for value in range(3)]
    passes = [
        {"first_step": 1 + 4 * place, "steps": 4, "number": place + 1, "batch_size": 2, "data": describe_pass(one)}
        for place, one in enumerate(data)
    ]
    batches = PassBatches(passes, 0, [data[2], data[0]])
    assert batches.has(1, 4)
    assert not batches.has(4, 5)
    assert batches.has(9, 12)
    assert not batches.has(12, 13)
    number, position, found, rows = batches.locate(10)
    assert (number, position, len(rows)) == (3, 1, 2)
    assert found is data[2]
    assert math.isclose(found.X[0, 0], 2.0)
