"""The statistics of a PyTorch model's neurons at a step; docs/reference/quantities.md defines each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.recording import NEURON_FIELDS
from neuronwise.watching.torch_layers import WatchedLayer
from neuronwise.watching.torch_values import tensors_in

if TYPE_CHECKING:
    import torch

FIELD = {name: place for place, name in enumerate(NEURON_FIELDS)}
"""The place of each statistic among the fields of a row."""
# In this order weights, gradients, updates.
NORMS, BIASES = ("weight_norm", "grad_norm", "update_norm"), ("bias", "bias_grad")
COUNTS = ("nonfinite_weights", "nonfinite_gradients")
OF_ACTIVATIONS = ("mean", "std", "min", "max", "inactive", "saturated", "nonfinite_activations")


_Pass = tuple[int, "dict[WatchedLayer, Seen]", "tuple[WatchedLayer, int, str] | None"]


class TorchStatistics(ABC):
    """Measures the neurons of some layers at a step. Made by `statistics_of`.

    Args:
        layers: The layers.
        values: Where the statistics go, (fields in the order of `NEURON_FIELDS`, neurons).

    Attributes:
        weighted: Those of the layers that have weights.
        bad: The first layer in the order of the forward pass with an activation that is NaN or infinite, its first such
            neuron, and whether its ``"input"``, its ``"weight"`` or only its ``"activation"`` is; None if there is
            none, or it is on a GPU.
    """

    is_on_host = True

    def __init__(self, layers: Sequence[WatchedLayer], values: NDArray[Any]) -> None:
        self.layers, self.values = layers, values
        self.weighted = [layer for layer in layers if layer.has_weights]
        self.seen: dict[WatchedLayer, Seen] = {}
        self.bad: tuple[WatchedLayer, int, str] | None = None
        self._pass = 0
        self._earlier: list[_Pass] = []

    @property
    def order(self) -> list[WatchedLayer]:
        """The layers in the order in which they were called in this step."""
        return list(self.seen)

    def begin(self) -> None:
        """Forget what was seen of the step before."""
        self._earlier.clear()
        self.seen.clear()
        self.bad = None

    def begin_pass(self, number: int) -> None:
        """Begin another forward pass within the step."""
        if self.seen:
            self._earlier.append((self._pass, self.seen, self.bad))
            self.seen, self.bad = {}, None
        self._pass = number

    def end_passes(self, dropped: Set[int]) -> None:
        """Put what was seen in the passes of a step together.

        Args:
            dropped: The numbers of those that no step came of.
        """
        if not self._earlier and self._pass not in dropped:
            return
        passes = [*self._earlier, (self._pass, self.seen, self.bad)]
        self._earlier, self.seen, self.bad = [], {}, None
        for number, seen, bad in passes:
            if number in dropped:
                continue
            for layer, one in seen.items():
                before = self.seen.get(layer)
                self.seen[layer] = one if before is None else joined(before, one)
            self.bad = self.bad or bad

    def see(self, layer: WatchedLayer, values: torch.Tensor, given: Any) -> None:
        """Take in the activations of one call, and of several calls within a step all together.

        Args:
            layer: The layer.
            values: Its output, (or for a transposed convolution its input), before the activation function.
            given: What the module was given.
        """
        values = values.detach()
        found = layer.neurons_of(values if layer.activation is None else layer.activation(values))
        if found is None:
            return
        one = self._measure(found, layer.layout.activation)
        before = self.seen.get(layer)
        self.seen[layer] = one if before is None else joined(before, one)
        if self.is_on_host and one.nonfinite is not None and self.bad is None:
            is_given = any(not bool(tensor.isfinite().all()) for tensor in tensors_in(given))
            own = (one for one in layer.module._parameters.values() if one is not None)
            is_own = any(not bool(tensor.isfinite().all()) for tensor in own)
            neuron = int(np.flatnonzero(one.nonfinite)[0])
            self.bad = layer, neuron, "weight" if is_own else "input" if is_given else "activation"

    @abstractmethod
    def _measure(self, values: torch.Tensor, activation: str | None) -> Seen:
        """Return what one call shows, of values (…, neurons, places) after the activation function."""

    @abstractmethod
    def before_step(self, scale: Any) -> None:
        """Measure the gradients, and keep the weights to compare with.

        Args:
            scale: A tensor of one number that the gradients were multiplied by, and the optimizer divides by; or None.
        """

    @abstractmethod
    def after_step(self, *, with_update: bool = True, with_activations: bool = True) -> None:
        """Measure the weights, what the step subtracted from them, and take in the activations that were seen.

        Args:
            with_update: Whether `before_step` was called: else updates and gradients are NaN.
            with_activations: Whether activations belong to this step: else they are NaN.
        """

    @abstractmethod
    def fetch(self) -> Any:
        """Return what has to be waited for until `values` is filled, for `take`; None if it is."""

    @abstractmethod
    def take(self, waiting: Any) -> None:
        """Wait for what `fetch` returned: `values` is filled then."""


class Seen:
    """What was seen of a layer's activations: counts and moments of each neuron, as arrays or as tensors.

    Attributes:
        size: How many values each neuron had.
        mean: Their mean.
        squares: The sum of their squared distances from it.
        low: The least.
        high: The greatest.
        inactive: How many are 0, of a ReLU; else None.
        saturated: How many are near an end of the range, of a sigmoid or tanh; else None.
        nonfinite: How many are NaN or infinite; None where none is.
    """

    def __init__(
        self, size: int, mean: Any, squares: Any, low: Any, high: Any, inactive: Any, saturated: Any, nonfinite: Any
    ) -> None:
        self.size, self.mean, self.squares, self.low, self.high = size, mean, squares, low, high
        self.inactive, self.saturated, self.nonfinite = inactive, saturated, nonfinite

    def fields(self) -> tuple[Any, ...]:
        """Return the statistics in the order of `OF_ACTIVATIONS`."""
        shares = (math.nan if count is None else count / self.size for count in (self.inactive, self.saturated))
        nonfinite = 0 if self.nonfinite is None else self.nonfinite
        return self.mean, (self.squares / self.size) ** 0.5, self.low, self.high, *shares, nonfinite


def joined(one: Seen, other: Seen) -> Seen:
    """Return both together (Chan, Golub, LeVeque 1979)."""
    size = one.size + other.size
    of: Any = np
    if not isinstance(one.low, np.ndarray):
        import torch

        of = torch
    with np.errstate(all="ignore"):
        away = other.mean - one.mean
        # Infinity and infinity are no distance apart that could be computed.
        total = one.mean * (one.size / size) + other.mean * (other.size / size)
        mean = of.where(of.isfinite(away), one.mean + away * (other.size / size), total)
        squares = one.squares + other.squares + away * away * (one.size * other.size / size)
    return Seen(
        size,
        mean,
        squares,
        of.minimum(one.low, other.low),
        of.maximum(one.high, other.high),
        _sum(one.inactive, other.inactive),
        _sum(one.saturated, other.saturated),
        _sum(one.nonfinite, other.nonfinite),
    )


def _sum(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def on_host(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor of the host as an array: its own memory, where NumPy knows its dtype."""
    import torch

    tensor = tensor.detach()
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    found: NDArray[Any] = tensor.numpy()
    return found


def statistics_of(layers: Sequence[WatchedLayer], values: NDArray[Any]) -> TorchStatistics:
    """Return what measures these layers, where their weights are."""
    from neuronwise.watching.device_statistics import DeviceStatistics
    from neuronwise.watching.host_statistics import HostStatistics

    if all(layer.weight.device.type == "cpu" for layer in layers if layer.has_weights):
        return HostStatistics(layers, values)
    return DeviceStatistics(layers, values)
