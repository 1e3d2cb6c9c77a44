"""Everything a network computed for a batch: x, z and a of every layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NotFoundError, did_you_mean

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LayerTrace:
    """What one layer did with a batch.

    Attributes:
        name: The layer's name.
        x: Its input, (batch, *input_shape).
        z: Pre-activations, (batch, *output_shape); None for a layer that only reshapes.
        a: Activations, (batch, *output_shape).
    """

    name: str
    x: Array
    z: Array | None
    a: Array


class Trace:
    """Every z and a of a network on a batch: ``trace["hidden1"].z``, ``trace[-1].a``."""

    def __init__(self, layers: Sequence[LayerTrace]) -> None:
        self.layers = tuple(layers)

    def __getitem__(self, key: str | int) -> LayerTrace:
        if isinstance(key, int):
            return self.layers[key]
        for layer in self.layers:
            if layer.name == key:
                return layer
        raise no_such_layer(key, [layer.name for layer in self.layers])

    def __iter__(self) -> Iterator[LayerTrace]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def y_hat(self) -> Array:
        """Activations of the last layer, (batch, n_out)."""
        return self.layers[-1].a

    def __repr__(self) -> str:
        return f"<trace of {len(self.y_hat)} inputs through {', '.join(layer.name for layer in self.layers)}>"


def no_such_layer(key: object, names: list[str]) -> NotFoundError:
    """Return the error for a layer that does not exist."""
    return NotFoundError(
        f"there is no layer {key!r}.{did_you_mean(str(key), names)}",
        hint=f"the layers are {', '.join(names)}",
    )
