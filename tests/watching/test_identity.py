"""A watched training is the same to the last bit as one that is not, and nothing is left on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from neuronwise.watching import TorchWatcher

from .helpers import LOOPS, MODELS, Loop, hooks_on, seeded

STEPS = 8


def train(model: str, loop: str, watch: Any = None, steps: int = STEPS) -> tuple[Loop, Any]:
    make, batch_of = MODELS[model]
    trained = LOOPS[loop](seeded(make), batch_of)
    torch.manual_seed(7)
    watcher = None if watch is None else watch(trained)
    for step in range(steps):
        trained.step(step)
    return trained, watcher


def assert_same(one: Loop, other: Loop) -> None:
    for (name, first), second in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert torch.equal(first, second), name
        assert first.isfinite().all(), name
    for first, second in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert (first.grad is None) == (second.grad is None)
        assert first.grad is None or torch.equal(first.grad, second.grad)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("model", MODELS)
def test_a_watched_training_has_the_same_weights_and_random_state(model: str, loop: str, tmp_path: Path) -> None:
    bare, _ = train(model, loop)
    random = torch.get_rng_state()

    def watch(trained: Loop) -> TorchWatcher:
        # Some steps with statistics and some without.
        return TorchWatcher(
            trained.model, trained.optimizers, folder=tmp_path / "recording", statistics_every=3, strict=True
        )

    watched, watcher = train(model, loop, watch)
    assert torch.equal(torch.get_rng_state(), random)
    assert_same(bare, watched)
    watcher.close()
    assert not hooks_on(watched.model, *watched.optimizers)
    assert not watcher.problems
    assert watcher.recording.status == "finished"
    assert {0, 1, 3, 6} <= set(watcher.recording.frames.tolist())
    assert not watcher.recording.stored.check()
