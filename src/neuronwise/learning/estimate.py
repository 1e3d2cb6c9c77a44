"""What a training will need, before it starts: memory, steps and time."""

from __future__ import annotations

import copy
import math
import time
import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.learning.optimizers import Optimizer
from neuronwise.learning.stepping import Stepper
from neuronwise.learning.threads import blas_threads
from neuronwise.network import Loss, Network


@dataclass(frozen=True)
class Estimate:
    """What a training will need.

    Attributes:
        memory_bytes: Data, parameters, gradients, optimizer state and buffers.
        steps: Optimizer steps, if it runs to its last epoch.
        seconds: Time for those steps, extrapolated from a few steps on a copy.
    """

    memory_bytes: int
    steps: int
    seconds: float


def estimate_training(
    network: Network,
    X: NDArray[Any],
    y: NDArray[Any],
    loss: Loss,
    optimizer: Optimizer,
    *,
    rows: int,
    epochs: int,
    batch_size: int,
    threads: int | None = 1,
) -> Estimate:
    """Return memory and time, measured by a few steps of a copy; neither network nor optimizer are touched.

    Args:
        network: The network.
        X: Inputs in the network's dtype.
        y: Targets as `prepare_targets` returns them.
        loss: The loss.
        optimizer: The optimizer.
        rows: Rows that will be learned from.
        epochs: Epochs planned.
        batch_size: Rows per step.
        threads: Threads of the matrix products.
    """
    trial, helper = network.copy(), copy.copy(optimizer)
    helper.start(trial.parameters)
    stepper = Stepper(trial, X, y, None, loss, helper)
    batch = np.arange(min(batch_size, len(X)), dtype=np.int64)
    times: list[float] = []
    with blas_threads(threads), np.errstate(all="ignore"):
        held = _first_step(stepper, batch)
        deadline = time.perf_counter() + 0.05
        while len(times) < 3 or (time.perf_counter() < deadline and len(times) < 100):
            began = time.perf_counter()
            stepper.step(batch)
            times.append(time.perf_counter() - began)
    steps = epochs * math.ceil(rows / batch_size)
    # parameters, best ones, epoch's start, gradients, update, scratch; the optimizer's state and its copy
    arrays = network.parameters.nbytes * (6 + 2 * len(helper.state)) + 3 * network.buffers.nbytes
    layers = held * min(batch_size, rows) // len(batch)
    return Estimate(X.nbytes + y.nbytes + arrays + layers, steps, steps * float(np.median(times)))


def _first_step(stepper: Stepper, batch: NDArray[np.int64]) -> int:
    """Take a step and return how many bytes it left allocated: what the layers hold for a batch of that size."""
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        stepper.step(batch)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        if not traced:
            tracemalloc.stop()
    return max(0, after - before)
