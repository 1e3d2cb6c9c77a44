"""Where a training is first seen to be no longer finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.watching.torch_layers import WatchedLayer
from neuronwise.watching.torch_statistics import FIELD, TorchStatistics
from neuronwise.watching.torch_values import tensors_in

if TYPE_CHECKING:
    import torch

# How many nodes of an autograd graph are looked through.
_MAX_NODES = 100_000

Place = tuple[str | None, int | None, str]


@dataclass(frozen=True)
class Nonfinite:
    """Where a training was first seen to be no longer finite.

    Attributes:
        step: The step.
        since: The last step before it that was looked at and was finite.
        layer: The first layer in the order of the forward pass; None for the loss.
        neuron: Its first such neuron; None where that is not known.
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
        where = (
            "the loss" if self.layer is None else self.layer if self.neuron is None else f"{self.layer}[{self.neuron}]"
        )
        what = f"the {self.quantity} of {where} is" if self.layer is not None else "the loss is"
        return f"{what} NaN or infinite at step {self.step:,} (all was finite at step {self.since:,})"


class NonfiniteFinder:
    """Finds where a training is first not finite; from then on it is known.

    Args:
        event: Writes an event: kind and content.

    Attributes:
        found: Where it was first not finite; None as long as it is.
    """

    def __init__(self, event: Callable[..., None]) -> None:
        self._event = event
        self.found: Nonfinite | None = None
        self._clean_step = 0
        self._suspected: Place | None = None

    def begin(self) -> None:
        """Forget what was suspected in the step before."""
        self._suspected = None

    def suspect(self, outputs: Any, layers: Sequence[WatchedLayer]) -> None:
        """Find where a forward pass that was not looked at is not finite, as its loss is not.

        Args:
            outputs: What the loss was given.
            layers: The watched layers, with the weights before the update.
        """
        self._suspected = place_in_graph(outputs, layers)

    def look_at(self, step: int, statistics: TorchStatistics, order: Sequence[WatchedLayer], *, bad_loss: bool) -> None:
        """Look at a recorded step.

        Args:
            step: The step.
            statistics: With its values.
            order: The layers in the order in which they were called.
            bad_loss: Whether the loss is not finite.
        """
        if self.found is not None:
            return
        place = find_nonfinite(statistics, order, bad_loss=bad_loss)
        if place is not None and bad_loss and self._suspected is not None:
            place = self._suspected  # before the update
        if place is None:
            self._clean_step = step
        else:
            self._note(step, *place)

    def found_bad_loss(self, step: int) -> None:
        """Note a loss that is not finite, seen after its step was over."""
        if self.found is None:
            self._note(step, None, None, "loss")

    def _note(self, step: int, layer: str | None, neuron: int | None, quantity: str) -> None:
        self.found = Nonfinite(step, self._clean_step, layer, neuron, quantity)
        self._event("nonfinite", **asdict(self.found))


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


def place_in_graph(outputs: Any, layers: Sequence[WatchedLayer]) -> Place | None:
    """Return where a forward pass that nobody looked at is first not finite, by what autograd keeps of it.

    Args:
        outputs: What the loss was given: the outputs are those with a graph.
        layers: The watched layers, with the weights that they computed with.

    Returns:
        Layer, neuron and quantity; None where the graph does not tell.
    """
    found = [one for one in tensors_in(outputs) if one.grad_fn is not None]
    nodes = _nodes_of(found)
    by_parameter = {id(one): layer for layer in layers if layer.has_weights for one in [layer.weight]}
    steps: dict[WatchedLayer, Any] = {}  # the node of each layer's own operation
    for node in nodes:
        for following, _ in node.next_functions:
            layer = by_parameter.get(id(getattr(following, "variable", None)))
            if layer is not None and type(node).__name__ != "TBackward0":
                steps.setdefault(layer, node)
            elif type(following).__name__ == "TBackward0":  # a weight that is transposed
                inner = following.next_functions[0][0]
                if (layer := by_parameter.get(id(getattr(inner, "variable", None)))) is not None:
                    steps.setdefault(layer, node)
    order = sorted(steps, key=lambda layer: steps[layer]._sequence_nr())
    for before, layer in zip([None, *order], order, strict=False):
        bad = [row for one in (layer.weight, layer.bias) if one is not None for row in _bad_rows(one)]
        if bad:
            return layer.layout.name, layer.layout.rows[min(bad)], "weight"
        given = _given(steps[layer], layer.weight)
        if given is not None and not bool(given.isfinite().all()):
            if before is None:
                return layer.layout.name, layer.layout.rows[0], "input"
            return before.layout.name, _neuron_of(before, given), "activation"
    if order and any(not bool(one.isfinite().all()) for one in found):
        return order[-1].layout.name, _neuron_of(order[-1], found[0].detach()), "activation"
    return None


def _nodes_of(outputs: Sequence[torch.Tensor]) -> list[Any]:
    stack = [one.grad_fn for one in outputs]
    seen = set(stack)
    found = []
    while stack and len(seen) < _MAX_NODES:
        node = stack.pop()
        found.append(node)
        for following, _ in getattr(node, "next_functions", ()):
            if following is not None and following not in seen:
                seen.add(following)
                stack.append(following)
    return found


def _given(node: Any, weight: torch.Tensor) -> torch.Tensor | None:
    """Return what an operation was given beside the weight; None where autograd did not keep it."""
    for name in ("_saved_mat1", "_saved_self", "_saved_input"):
        value: Any = getattr(node, name, None)
        if value is None or not hasattr(value, "isfinite") or not value.is_floating_point():
            continue
        if value.data_ptr() != weight.data_ptr():
            given: torch.Tensor = value.detach()
            return given
    return None


def _bad_rows(parameter: torch.Tensor) -> list[int]:
    rows = parameter.detach().isfinite().reshape(parameter.shape[0], -1).all(1) if parameter.ndim else None
    return [] if rows is None else [int(row) for row in (~rows).nonzero().reshape(-1)[:1]]


def _neuron_of(layer: WatchedLayer, values: torch.Tensor) -> int | None:
    """Return the first neuron of a layer whose values, as those of the next layer's inputs, are not finite."""
    neurons = layer.neurons_of(values)
    if neurons is None:
        return None
    bad = (~neurons.isfinite()).any(2).any(0).nonzero().reshape(-1)
    return layer.layout.rows[int(bad[0])] if len(bad) else None
