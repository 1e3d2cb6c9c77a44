"""Whose error moved the weights: the gradients of each example's own loss, read off the passes of a batch.

A pass keeps x and delta of every example until its next batch, and the gradient of a batch is the mean of what each
example contributed. So after any step of a training (`Stepper.space.passes`) it can be asked for, at no cost to the
steps in which nobody asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NotFoundError, UsageError, did_you_mean
from neuronwise.files import format_bytes
from neuronwise.network import Dense, Pass
from neuronwise.network.layers.batch_norm import BatchNormPass

Array = NDArray[np.floating[Any]]

# Beyond this a per-example gradient is more likely a mistake than a wish.
_MAX_BYTES = 4_000_000_000


def example_gradients(passes: Sequence[Pass]) -> dict[str, dict[str, Array]]:
    """Return for each layer with parameters the gradients of each example's own loss; needs batch × parameters numbers.

    Their mean over the batch is the gradient of the batch, before clipping. Where the loss weights examples (class or
    sample weights), the loss of an example is its weight times what it would be alone. Dropout leaves out what it
    left out in the batch.

    Args:
        passes: All passes of a workspace in which a batch went forward and backward last.

    Returns:
        By the layer's name and the parameter's: (batch, *shape), in the network's dtype, copies.

    Raises:
        UsageError: The passes only go forward, they need more than 4 GB, or batch normalisation mixes the examples.
    """
    check_own_gradients(passes, "argument passes")
    return {one.layer.name: _own_gradients(one, slice(None)) for one in passes if one.layer.parameters}


def neuron_gradients(passes: Sequence[Pass], layer: str, neuron: int) -> dict[str, Array]:
    """Return how each example's own loss pulls at one neuron: as `example_gradients`, for its parameters alone.

    That of a dense layer needs batch × inputs numbers, however many neurons stand beside it.

    Args:
        passes: As for `example_gradients`.
        layer: Name of a layer with parameters.
        neuron: Which of its neurons, from 0: a filter of a convolution, a feature of a batch normalisation.

    Returns:
        By the parameter's name: ``"W"`` (batch, *shape of the neuron's weights), ``"b"`` (batch,); ``"gamma"`` and
        ``"beta"`` (batch,) of a batch normalisation.

    Raises:
        UsageError: As for `example_gradients`.
        NotFoundError: There is no such layer with parameters, or it has no such neuron.
    """
    own = {one.layer.name: one for one in passes if one.layer.parameters}
    if layer not in own:
        raise NotFoundError(
            f"there is no layer {layer!r} with parameters.{did_you_mean(layer, own)}",
            hint=f"the layers are {', '.join(own)}",
        )
    count = len(next(iter(own[layer].layer.parameters.values())))
    if isinstance(neuron, bool) or not isinstance(neuron, (int, np.integer)) or not 0 <= neuron < count:
        raise NotFoundError(f"the layer {layer!r} has {count} neurons, 0 to {count - 1}, got {neuron!r}")
    check_own_gradients(passes, "argument passes", own[layer].layer.parameter_count // count)
    return _own_gradients(own[layer], int(neuron))


def check_own_gradients(passes: Sequence[Pass], where: str, numbers: int | None = None) -> None:
    """Raise UsageError unless each example of the batch has gradients of its own, and few enough to be held.

    Args:
        passes: All passes of a workspace.
        where: The argument that asks for them, for the error.
        numbers: How many gradients of each example are wanted; default those of all parameters.
    """
    if any(one.layer.parameters and one.delta is None for one in passes):
        raise UsageError(
            "these passes only go forward, no gradient reached them",
            where=where,
            hint="take those of a step: stepper.space.passes",
        )
    if numbers is None:
        numbers = sum(one.layer.parameter_count for one in passes)
    rows = len(passes[0].x)
    needed = rows * numbers * passes[0].x.dtype.itemsize
    if needed > _MAX_BYTES:
        raise UsageError(
            f"the gradients of {rows:,} examples need {format_bytes(needed)}",
            where=where,
            hint="pass fewer examples at a time; of a step's passes ask for one neuron: neuron_gradients(passes, …)",
        )
    if any(_mixes(one) for one in passes):
        raise UsageError(
            "in training, batch normalisation makes the loss of every example depend on the whole batch: "
            "an example has no gradient of its own",
            where=where,
            hint="pass training=False to backpropagate, where the running statistics are used",
        )


def _mixes(one: Pass) -> bool:
    """Return whether what a pass makes of an example depends on the others: whether it normalises by the batch."""
    return isinstance(one, BatchNormPass) and one.mean is not one.layer.running_mean


def _own_gradients(one: Pass, neurons: slice | int) -> dict[str, Array]:
    """Return, for each parameter of a layer, the gradient of each example's own loss, for some neurons or one.

    delta is that of the mean over the batch; times the size of the batch it is that of the example's own loss.
    """
    m, delta = len(one.x), one.delta
    assert delta is not None
    with np.errstate(all="ignore"):
        if isinstance(one.layer, Dense):
            own = delta[:, neurons] * m
            return {"W": np.einsum("m...,mj->m...j", own, one.x), "b": own}
        # Any other layer: a pass of its own for one example at a time, into which x and delta are put.
        buffers = {key: np.empty_like(values) for key, values in one.layer.parameters.items()}
        found = {key: np.empty((m, *values[neurons].shape), values.dtype) for key, values in buffers.items()}
        x = np.empty((1, *one.x.shape[1:]), dtype=one.x.dtype)
        single = one.layer.start(x, buffers)
        for i in range(m):
            np.copyto(x, one.x[i])
            single.forward()
            np.multiply(delta[i], m, out=single.da[0])
            single.backward(None, from_logits=True)
            for key, values in buffers.items():
                found[key][i] = values[neurons]
    return found
