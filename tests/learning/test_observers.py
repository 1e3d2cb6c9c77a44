"""Observers that fail, once and never again, or strictly."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from neuronwise.learning import Observer, TrainingState, fit
from neuronwise.network import Network

MOMENTS = ["on_fit_begin", "on_step_end", "on_epoch_end", "on_fit_end"]


class Failing(Observer):
    """Fails at one moment, and counts all."""

    def __init__(self, moment: str) -> None:
        self.moment, self.calls = moment, dict.fromkeys(MOMENTS, 0)

    def _called(self, moment: str) -> None:
        self.calls[moment] += 1
        if moment == self.moment:
            raise KeyError("no such thing")

    def on_fit_begin(self, state: TrainingState) -> None:
        self._called("on_fit_begin")

    def on_step_end(self, state: TrainingState) -> None:
        self._called("on_step_end")

    def on_epoch_end(self, state: TrainingState) -> None:
        self._called("on_epoch_end")

    def on_fit_end(self, state: TrainingState) -> None:
        self._called("on_fit_end")


def _train(*observers: Observer, **options: Any) -> Network:
    rng = np.random.default_rng(0)
    network = Network.dense([3, 4, 1], seed=0)
    fit(network, rng.normal(size=(20, 3)), rng.normal(size=20), epochs=3, batch_size=5, observers=observers, **options)
    return network


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_failing_observer_is_one_warning_and_the_same_bits(moment: str) -> None:
    expected = _train()
    failing, healthy = Failing(moment), Failing("never")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = _train(failing, healthy)
    np.testing.assert_array_equal(found.parameters, expected.parameters)
    assert [w.category for w in caught] == [RuntimeWarning]
    step = {"on_fit_begin": 0, "on_step_end": 1, "on_epoch_end": 4, "on_fit_end": 12}[moment]
    text = str(caught[0].message)
    assert f"Failing.{moment} failed at step {step} and is not called again: KeyError: 'no such thing'" in text
    assert "pass strict=True" in text
    assert failing.calls[moment] == 1
    assert healthy.calls == {"on_fit_begin": 1, "on_step_end": 12, "on_epoch_end": 3, "on_fit_end": 1}
    after = MOMENTS[MOMENTS.index(moment) + 1 :]
    assert all(failing.calls[later] == 0 for later in after if (moment, later) != ("on_epoch_end", "on_step_end"))


def test_two_that_fail_are_two_warnings() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _train(Failing("on_step_end"), Failing("on_step_end"))
    assert len(caught) == 2


@pytest.mark.parametrize("moment", MOMENTS)
def test_strict_lets_the_error_through(moment: str) -> None:
    with pytest.raises(KeyError, match="no such thing"):
        _train(Failing(moment), strict=True)


def test_an_observer_may_look_at_one_moment_only() -> None:
    class End(Observer):
        seen = 0

        def on_fit_end(self, state: TrainingState) -> None:
            self.seen = state.step

    end = End()
    _train(end)
    assert end.seen == 12


def test_an_observer_in_two_places_is_called_twice() -> None:
    watcher = Failing("never")
    _train(watcher, watcher)
    assert watcher.calls["on_step_end"] == 24


class Sleepy(Observer):
    """Wants steps 1, 10 and every one from 20 on."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.updates: list[np.ndarray] = []
        self.losses: dict[int, float] = {}

    def on_step_end(self, state: TrainingState) -> None:
        self.steps.append(state.step)
        self.updates.append(state.update.copy())

    def next_step(self, step: int) -> float:
        return 1 if step < 1 else 10 if step < 10 else max(20, step + 1)

    def on_epoch_end(self, state: TrainingState) -> None:
        first = (state.epoch - 1) * state.steps_per_epoch
        self.losses |= {first + i + 1: loss for i, loss in enumerate(state.epoch_losses.tolist())}


def test_an_observer_may_sleep_and_finds_the_losses_it_slept_through() -> None:
    sleepy, awake = Sleepy(), Everyone()
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 300)).astype(np.float32), rng.integers(0, 3, 64)
    # More weights than an optimizer handles at a time: what is subtracted is kept only where somebody looks.
    network = Network.dense([300, 230, 3], output="softmax")
    fit(network, X, y, epochs=3, batch_size=8, optimizer="sgd", observers=[sleepy, awake])
    assert sleepy.steps == [1, 10, 20, 21, 22, 23, 24]
    assert sleepy.losses == awake.losses
    for step, update in zip(sleepy.steps, sleepy.updates, strict=True):
        np.testing.assert_array_equal(update, awake.updates[step])
    alone = Sleepy()
    fit(
        Network.dense([300, 230, 3], output="softmax"), X, y, epochs=3, batch_size=8, optimizer="sgd", observers=[alone]
    )
    assert alone.steps == sleepy.steps
    np.testing.assert_array_equal(alone.updates, sleepy.updates)


class Everyone(Observer):
    def __init__(self) -> None:
        self.losses: dict[int, float] = {}
        self.updates: dict[int, np.ndarray] = {}

    def on_step_end(self, state: TrainingState) -> None:
        self.losses[state.step], self.updates[state.step] = state.loss, state.update.copy()


def test_the_rates_of_an_epoch_are_those_of_its_steps() -> None:
    class Rates(Observer):
        def __init__(self) -> None:
            self.seen: list[float] = []
            self.kept: list[float] = []

        def on_step_end(self, state: TrainingState) -> None:
            self.seen.append(state.learning_rate)

        def on_epoch_end(self, state: TrainingState) -> None:
            self.kept += state.epoch_rates.tolist()

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 3)), rng.integers(0, 3, 64)
    for schedule in (None, "cosine", "plateau"):
        rates = Rates()
        fit(Network.dense([3, 3], output="softmax"), X, y, epochs=3, batch_size=8, observers=[rates], schedule=schedule)
        assert rates.seen == rates.kept
