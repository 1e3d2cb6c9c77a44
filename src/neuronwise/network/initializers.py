"""Initialisers: the weights before the first step. The default follows the activation.

fan_in is the number of inputs of a neuron, fan_out the number of neurons that each input feeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Initializer:
    """A rule for the first weights.

    Attributes:
        name: ``"he"``, ``"glorot"``, ``"lecun"``, ``"normal"``, ``"zeros"`` or ``"constant"``.
        value: Standard deviation of ``normal`` (default 0.05), value of ``constant`` (default 0.1), else None.
    """

    name: str
    value: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in INITIALIZERS:
            raise UsageError(
                f"unknown initialiser {self.name!r}.{did_you_mean(str(self.name), INITIALIZERS)}",
                where="argument initializer",
                hint=f"known are {', '.join(INITIALIZERS)}",
            )
        default = _DEFAULT_VALUES.get(self.name)
        if default is None and self.value is not None:
            raise UsageError(
                f"initialiser {self.name!r} takes no value, got {self.value!r}", where="argument initializer"
            )
        if self.value is None:
            object.__setattr__(self, "value", default)
        elif isinstance(self.value, bool) or not isinstance(self.value, (int, float)) or not abs(self.value) < 1e300:
            raise UsageError(
                f"the value must be a finite number, got {self.value!r:.100}", where="argument initializer"
            )

    def draw(self, shape: tuple[int, ...], fan_in: int, fan_out: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return first weights of `shape` in float64."""
        if self.name in ("zeros", "constant"):
            return np.full(shape, self.value if self.name == "constant" else 0.0)
        if self.name == "glorot":
            limit = math.sqrt(6.0 / (fan_in + fan_out))
            return rng.uniform(-limit, limit, shape)
        deviation = {"he": math.sqrt(2.0 / fan_in), "lecun": math.sqrt(1.0 / fan_in)}.get(self.name, self.value)
        return rng.standard_normal(shape) * float(deviation or 0.0)

    def to_json(self) -> str | dict[str, Any]:
        """Return the name alone, or name and value where there is one."""
        return self.name if self.value is None else {"name": self.name, "value": self.value}


INITIALIZERS: dict[str, str] = {
    "he": "normal, variance 2 / fan_in: keeps the size of activations through ReLU layers (He et al. 2015, eq. 10)",
    "glorot": "uniform, variance 2 / (fan_in + fan_out): for tanh, sigmoid, softmax (Glorot and Bengio 2010, eq. 16)",
    "lecun": "normal, variance 1 / fan_in (LeCun et al. 1998, section 4.6)",
    "normal": "normal with the standard deviation given (0.05)",
    "zeros": "all 0: every neuron of a hidden layer stays the same as its neighbour, for showing that this fails",
    "constant": "all the same value (0.1): fails as zeros does",
}
"""Every initialiser by its name, with what it does."""

_DEFAULT_VALUES = {"normal": 0.05, "constant": 0.1}
_FOR_ACTIVATION = {"relu": "he", "leaky_relu": "he", "elu": "he", "gelu": "he", "softplus": "he"}


def get_initializer(initializer: str | dict[str, Any] | Initializer | None, activation: str) -> Initializer:
    """Return the initialiser named, or the usual one for the activation when it is None.

    He for relu, leaky_relu, elu, gelu and softplus; Glorot for identity, sigmoid, tanh and softmax.
    """
    if isinstance(initializer, Initializer):
        return initializer
    if initializer is None:
        return Initializer(_FOR_ACTIVATION.get(activation, "glorot"))
    if isinstance(initializer, dict):
        unknown = set(initializer) - {"name", "value"}
        if unknown or "name" not in initializer:
            raise UsageError(
                f"an initialiser has the keys name and value, got {sorted(map(str, initializer))}",
                where="argument initializer",
            )
        return Initializer(initializer["name"], initializer.get("value"))
    return Initializer(initializer)
