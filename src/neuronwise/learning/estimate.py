"""What a training will need, before it starts: memory, steps and time."""

from __future__ import annotations

import copy
import math
import time
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
        stepper.step(batch)  # allocates
        deadline = time.perf_counter() + 0.05
        while len(times) < 3 or (time.perf_counter() < deadline and len(times) < 100):
            began = time.perf_counter()
            stepper.step(batch)
            times.append(time.perf_counter() - began)
    steps = epochs * math.ceil(rows / batch_size)
    item = network.dtype.itemsize
    buffers = sum(
        4 * batch_size * layer.neuron_count + batch_size * math.prod(layer.input_shape) for layer in network.layers
    )
    arrays = 6 + len(helper.state)  # parameters, best ones, epoch's start, gradients, update, scratch
    memory = X.nbytes + y.nbytes + item * (network.parameter_count * (arrays + len(helper.state)) + buffers)
    return Estimate(memory, steps, steps * float(np.median(times)))
