"""Dropout: in training, each activation is left out now and then, so that no neuron relies on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from neuronwise.errors import UsageError
from neuronwise.network.layers.base import Array, Layer, Pass, Shape
from neuronwise.network.randomness import generator


class Dropout(Layer):
    """In training, sets each of its inputs to 0 with probability `rate` and divides the others by 1 - `rate`.

    In evaluation (`predict`, `trace`, validation) it changes nothing. "Inverted" dropout, as torch and Keras have it
    (Srivastava et al. 2014, section 10): the expected value is the same in both.

    The mask of a step derives from the seed of the training, the layer's name and the number of the step alone.

    Args:
        rate: Probability of 0, from 0 to below 1; default 0.5.
        name: Default ``dropout1`` …
    """

    prefix = "dropout"
    properties: ClassVar[dict[str, dict[str, Any]]] = {
        "rate": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "description": "share set to 0 in training"},
    }

    def __init__(self, rate: float = 0.5, *, name: str | None = None) -> None:
        super().__init__(name)
        valid = isinstance(rate, (int, float, np.number)) and not isinstance(rate, bool) and 0 <= rate < 1
        if not valid:
            raise UsageError(f"expected a share from 0 to below 1, got {rate!r:.100}", where="argument rate")
        self.rate = float(rate)

    def _output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def start(self, x: Array, gradients: dict[str, Array] | None, *, training: bool = False) -> DropoutPass:
        """See `Layer.start`; in training `Pass.draw` must be called before each step."""
        return DropoutPass(self, x, gradients, training=training)

    def algebra(self) -> str:
        """What happens in training."""
        return f"a = x; in training a = x · mask / {1 - self.rate:g}, the mask 0 with probability {self.rate:g}"

    def unit_names(self) -> Sequence[str]:
        """The names of its inputs: it makes no new neurons."""
        return self.input_names or super().unit_names()

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"


class DropoutPass(Pass):
    """A `Dropout` layer at work.

    Attributes:
        mask: What x was multiplied by in the last training step: 0 or 1 / (1 - rate), (batch, *input_shape); None in
            evaluation.
    """

    layer: Dropout

    def __init__(self, layer: Dropout, x: Array, gradients: dict[str, Array] | None, *, training: bool) -> None:
        self.layer, self.x = layer, x
        self.z = self.delta = None
        self.mask: Array | None = None
        self.a = x
        if training and layer.rate > 0:
            self.a = np.empty_like(x)
            # NaN until drawn: a training step without its mask must not pass for one.
            self.mask = np.full_like(x, np.nan)
            self._flat_mask = self.mask.ravel(order="K")  # its memory in one row, as generators fill it
            self._kept = np.empty(self._flat_mask.shape, dtype=bool)
        if gradients is not None:
            self.da = np.empty_like(x)

    def draw(self, seed: int, step: int) -> None:
        """Draw the mask of a step."""
        if self.mask is None:
            return
        keep, mask = 1.0 - self.layer.rate, self._flat_mask
        generator(seed, f"dropout {self.layer.name}", step).random(out=mask, dtype=mask.dtype)
        np.less(mask, keep, out=self._kept)
        np.multiply(self._kept, mask.dtype.type(1.0 / keep), out=mask)

    def forward(self) -> None:
        """a = x · mask in training; in evaluation a is x."""
        if self.mask is not None:
            np.multiply(self.x, self.mask, self.a)

    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """dL/dx = dL/da · mask."""
        if dx is None:
            return
        if self.mask is None:
            np.copyto(dx, self.da)
        else:
            np.multiply(self.da, self.mask, dx)
