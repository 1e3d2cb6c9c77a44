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
