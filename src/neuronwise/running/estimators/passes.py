"""One pass over the rows of one call of `partial_fit`, with an optimizer that remembers the calls before."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import TrainingDiverged
from neuronwise.learning.divergence import locate_divergence
from neuronwise.learning.optimizers import Optimizer
from neuronwise.learning.stepping import Stepper
from neuronwise.learning.threads import blas_threads
from neuronwise.network import Loss, Network, generator


def take_pass(
    network: Network,
    X: NDArray[Any],
    y: NDArray[Any],
    weights: NDArray[Any] | None,
    *,
    loss: Loss,
    optimizer: Optimizer,
    clip_norm: float | None,
    batch_size: int,
    seed: int,
    number: int,
    threads: int | None,
) -> float:
    """Learn from each row once and return the mean loss over the rows, each before its step.

    Args:
        network: The network; its parameters are changed in place.
        X: Inputs (rows, inputs) in the network's dtype.
        y: Targets as `prepare_targets` returns them.
        weights: A weight for each row, or None.
        loss: The loss.
        optimizer: A started optimizer, whose state goes on.
        clip_norm: Largest norm of the gradients, or None.
        batch_size: Rows per step.
        seed: Of the order of the rows.
        number: Number of this pass, from 1: the order of the rows follows from it and from `seed`.
        threads: Threads of the matrix products.

    Raises:
        TrainingDiverged: A loss or weight became NaN or infinite; the network keeps its last finite weights.
    """
    stepper = Stepper(network, X, y, weights, loss, optimizer, clip_norm, seed=seed)
    order = generator(seed, "partial fit", number).permutation(len(X))
    batches = [order[start : start + batch_size] for start in range(0, len(X), batch_size)]
    first_step, total = optimizer.steps + 1, 0.0
    with blas_threads(threads), np.errstate(all="ignore"):
        start = stepper.snapshot()
        for rows in batches:
            total += stepper.step(rows) * len(rows)
        if np.isfinite(total) and stepper.is_finite():
            return total / len(X)
        divergence = locate_divergence(stepper, start, batches, first_step)
    if divergence is None:  # with several threads, a repeated step may differ in its last bits
        stepper.restore(start)
        raise TrainingDiverged(
            "the loss was not finite (NaN or infinite)", step=first_step, layer=network.layers[-1].name, quantity="loss"
        )
    raise TrainingDiverged(
        f"the training diverged: {divergence.description}",
        step=divergence.step,
        layer=divergence.layer,
        quantity=divergence.quantity,
        hint=f"the learning rate was {optimizer.learning_rate:g}: try a tenth of it, or clip the gradients to a norm "
        "of 1. The network keeps its last finite weights.",
    )
