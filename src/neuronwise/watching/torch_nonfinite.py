"""Where a training is first seen to be no longer finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuronwise.watching.torch_layers import WatchedLayer
from neuronwise.watching.torch_statistics import FIELD, TorchStatistics

Place = tuple[str | None, int | None, str]


@dataclass(frozen=True)
class Nonfinite:
    """Where a training was first seen to be no longer finite.

    Attributes:
        step: The step.
        since: The last step before it that was looked at and was finite.
        layer: The first layer in the order of the forward pass; None for the loss.
        neuron: Its first such neuron.
        quantity: ``"weight"``, ``"input"``, ``"activation"``, ``"loss"`` or ``"gradient"``.
    """

    step: int
    since: int
    layer: str | None
    neuron: int | None
    quantity: str

    @property
    def sentence(self) -> str:
        """It in words."""
        where = f"{self.layer}[{self.neuron}]" if self.layer is not None else "the loss"
        what = f"the {self.quantity} of {where} is" if self.layer is not None else "the loss is"
        return f"{what} NaN or infinite at step {self.step:,} (all was finite at step {self.since:,})"


def find_nonfinite(statistics: TorchStatistics, order: Sequence[WatchedLayer], *, bad_loss: bool) -> Place | None:
    """Return layer, neuron and quantity of what is first not finite at a step, in the order of its computation.

    Args:
        statistics: With the values of the step.
        order: The layers in the order in which they were called.
        bad_loss: Whether the loss is not finite.

    Returns:
        None if all is finite.
    """
    if statistics.bad is not None:
        layer, neuron, quantity = statistics.bad
        return layer.layout.name, layer.layout.rows[neuron], quantity
    if (found := _first_in(statistics, order, "activations")) is not None:
        return found
    if bad_loss:
        return None, None, "loss"
    every = [*order, *(layer for layer in statistics.layers if layer not in order)]
    return _first_in(statistics, every, "gradients") or _first_in(statistics, every, "weights")


def _first_in(statistics: TorchStatistics, layers: Sequence[WatchedLayer], quantity: str) -> Place | None:
    values = statistics.values[FIELD[f"nonfinite_{quantity}"]]
    for layer in layers:
        if (places := np.flatnonzero(values[layer.place] > 0)).size:
            return layer.layout.name, layer.layout.rows[int(places[0])], quantity[:-1]
    return None
