"""Ctrl-C: the first keeps what was learned, the second ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from neuronwise.learning import FitResult, Observer, TrainingState, fit
from neuronwise.learning.interrupt import InterruptGuard
from neuronwise.network import Network


class Presses(Observer):
    """Presses Ctrl-C at one step, so often."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step, self.times = step, times
        self.parameters: np.ndarray | None = None
        self.status: str | None = None

    def on_step_end(self, state: TrainingState) -> None:
        self.parameters = state.network.parameters.copy()
        if state.step == self.step:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)

    def on_fit_end(self, state: TrainingState) -> None:
        self.status = state.status


def _train(*observers: Observer) -> tuple[Network, FitResult]:
    network = Network.dense([2, 3, 1], seed=0)
    X = np.random.default_rng(0).normal(size=(20, 2))
    return network, fit(network, X, X.sum(axis=1), epochs=5, batch_size=4, observers=observers)


def test_ctrl_c_ends_after_the_step_and_keeps_the_weights() -> None:
    before, presses = signal.getsignal(signal.SIGINT), Presses(7)
    network, result = _train(presses)
    assert (result.status, result.steps, result.epochs) == ("interrupted", 7, 2)
    assert presses.status == "interrupted"
    assert len(result.history) == 1
    np.testing.assert_array_equal(network.parameters, presses.parameters)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_at_the_end_of_an_epoch_keeps_the_epoch() -> None:
    _, result = _train(Presses(10))
    assert (result.status, result.steps, len(result.history)) == ("interrupted", 10, 2)


def test_a_second_ctrl_c_ends_at_once() -> None:
    before, presses = signal.getsignal(signal.SIGINT), Presses(3, times=2)
    with pytest.raises(KeyboardInterrupt):
        _train(presses)
    assert presses.status is None
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_the_handler_is_restored_after_an_ordinary_end_and_after_an_error() -> None:
    class Fails(Observer):
        def on_step_end(self, state: TrainingState) -> None:
            raise ValueError("observer")

    mine = signal.getsignal(signal.SIGINT)
    _train()
    assert signal.getsignal(signal.SIGINT) is mine
    X = np.ones((4, 2))
    with pytest.raises(ValueError, match="observer"):
        fit(Network.dense([2, 1]), X, X[:, 0], observers=[Fails()], strict=True)
    assert signal.getsignal(signal.SIGINT) is mine


def test_the_users_own_handler_is_put_back() -> None:
    pressed: list[int] = []

    def own(number: int, frame: object) -> None:
        pressed.append(number)

    before = signal.signal(signal.SIGINT, own)
    try:
        _, result = _train(Presses(2))
        assert result.status == "interrupted"
        assert signal.getsignal(signal.SIGINT) is own
        assert pressed == []
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, result = _train(Presses(2, times=3))
        assert (result.status, result.steps) == ("finished", 25)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_signals_are_left_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with InterruptGuard() as guard:
            seen.append((signal.getsignal(signal.SIGINT), guard.requested))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_real_ctrl_c_from_outside_leaves_a_trained_network(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        import numpy as np
        from neuronwise.learning import Observer, fit
        from neuronwise.network import Network

        class Ready(Observer):
            def on_step_end(self, state):
                if state.step == 5:
                    print("ready", flush=True)

        network = Network.dense([4, 8, 1], seed=0)
        X = np.random.default_rng(0).normal(size=(200, 4))
        result = fit(network, X, X[:, 0], epochs=1_000_000, observers=[Ready()])
        network.save(sys.argv[1])
        print(result.status, result.steps)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "network")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    status, steps = output.split()
    assert status == "interrupted"
    assert int(steps) >= 5
    assert not np.array_equal(Network.load(tmp_path / "network").parameters, Network.dense([4, 8, 1]).parameters)
