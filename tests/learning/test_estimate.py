"""What a training will need, found without touching anything."""

from __future__ import annotations

import numpy as np
import pytest

from neuronwise.learning import OPTIMIZERS, estimate_training, get_optimizer
from neuronwise.network import LOSSES, Network


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_network_and_optimizer_are_left_untouched(name: str) -> None:
    network = Network.dense([10, 20, 3], output="softmax", seed=0)
    X, y = np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32), np.arange(50) % 3
    optimizer = get_optimizer(name)
    optimizer.start(network.parameters)
    optimizer.step(network.parameters.copy(), np.ones_like(network.parameters))
    parameters, state = network.parameters.copy(), {k: v.copy() for k, v in optimizer.state.items()}
    update, random = optimizer.update.copy(), np.random.get_state()[1].copy()
    found = estimate_training(
        network, X, y, LOSSES["categorical_cross_entropy"], optimizer, rows=45, epochs=7, batch_size=8
    )
    np.testing.assert_array_equal(network.parameters, parameters)
    assert optimizer.steps == 1
    np.testing.assert_array_equal(optimizer.update, update)
    for key, value in state.items():
        np.testing.assert_array_equal(optimizer.state[key], value)
    np.testing.assert_array_equal(np.random.get_state()[1], random)
    assert found.steps == 7 * 6  # 45 rows in batches of 8: 5 whole ones and one of 5
    assert 0 < found.seconds < 60
    assert X.nbytes + y.nbytes + 4 * network.parameter_count < found.memory_bytes < 10_000_000


def test_an_optimizer_that_has_not_started_stays_so() -> None:
    network = Network.dense([2, 1], seed=0)
    optimizer = get_optimizer("adam")
    estimate_training(
        network, np.ones((3, 2), np.float32), np.ones((3, 1), np.float32), LOSSES["squared_error"], optimizer,
        rows=3, epochs=1, batch_size=100,
    )  # fmt: skip
    assert optimizer.state == {}
    assert not hasattr(optimizer, "update")


def test_memory_grows_with_what_is_kept() -> None:
    def bytes_of(optimizer: str, units: int, batch_size: int) -> int:
        network = Network.dense([4, units, 1], seed=0)
        X, y = np.ones((64, 4), np.float32), np.ones((64, 1), np.float32)
        return estimate_training(
            network, X, y, LOSSES["squared_error"], get_optimizer(optimizer), rows=64, epochs=1, batch_size=batch_size
        ).memory_bytes

    plain = bytes_of("sgd", 100, 8)
    assert bytes_of("adam", 100, 8) > bytes_of("momentum", 100, 8) > plain
    assert bytes_of("sgd", 200, 8) > plain
    assert bytes_of("sgd", 100, 16) > plain
