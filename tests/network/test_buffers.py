"""Buffers begin at a cache line, wherever a network gets its memory from."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from neuronwise.learning import get_optimizer
from neuronwise.learning.stepping import Stepper
from neuronwise.network import Network, get_loss
from neuronwise.network.buffers import empty_buffer, zeros_buffer


@pytest.mark.parametrize("shape", [(1,), (13_002,), (32, 784), (5, 3, 2), ()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_buffer_begins_at_a_multiple_of_64_bytes(shape: tuple[int, ...], dtype: str) -> None:
    for _ in range(5):
        for buffer in (empty_buffer(shape, np.dtype(dtype)), zeros_buffer(shape, np.dtype(dtype))):
            assert buffer.ctypes.data % 64 == 0
            assert buffer.shape == shape
            assert buffer.dtype == dtype
            assert buffer.flags.c_contiguous
            assert buffer.flags.writeable
    assert not buffer.any()


@pytest.mark.parametrize("size", [262_144, 262_145, 700_000, 1_100_000])
def test_a_large_buffer_begins_at_a_large_page(size: int) -> None:
    buffer = zeros_buffer((size,), np.dtype("float32"))
    assert buffer.ctypes.data % 2**21 == 0
    assert buffer.shape == (size,)
    assert not buffer.any()


def test_parameters_begin_at_a_cache_line_however_the_network_was_made(tmp_path: Path) -> None:
    network = Network.dense([7, 5, 3], output="softmax", seed=1)
    network.save(tmp_path)
    others = [network.copy(), copy.deepcopy(network), pickle.loads(pickle.dumps(network)), Network.load(tmp_path)]
    for one in [network, *others]:
        assert one.parameters.ctypes.data % 64 == 0
        np.testing.assert_array_equal(one.parameters, network.parameters)
        assert np.shares_memory(one.layers[0].parameters["W"], one.parameters)
    others[0].parameters[:] = 0.0
    assert network.parameters.any()


def test_what_a_step_works_on_begins_at_a_cache_line() -> None:
    network, optimizer = Network.dense([7, 5, 3], output="softmax"), get_optimizer("adam")
    optimizer.start(network.parameters)
    X, y = np.ones((9, 7), dtype=np.float32), np.zeros(9, dtype=np.int64)
    stepper = Stepper(network, X, y, None, get_loss(None, "softmax"), optimizer)
    stepper.step(np.arange(9))
    buffers = [stepper.gradients, stepper.space.x, optimizer.update, *optimizer.state.values()]
    for one in stepper.space.passes:
        buffers += [array for array in (one.z, one.a, one.delta) if array is not None]
    assert len(buffers) == 11
    assert all(buffer.ctypes.data % 64 == 0 for buffer in buffers)
