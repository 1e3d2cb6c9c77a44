"""Losses: how wrong an answer is. Every loss is a mean over the batch, as are the gradients from it.

Squared, absolute and Huber error are means over batch and outputs, as in torch. The cross-entropies take the
logits z of the output layer, so that they stay exact where a probability rounds to 0 or 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError, did_you_mean
from neuronwise.network.activations import SIGMOID, Activation, get_activation, row_starts

Array = NDArray[np.floating[Any]]


class Loss(ABC):
    """A loss over a batch.

    Attributes:
        name: The word used in code, files and on the command line.
        formula: The loss of one example as text.
        on_logits: True where `evaluate` yields dL/dz, False where it yields dL/da.
        targets: ``"values"`` of shape (batch, outputs) or ``"classes"`` of shape (batch,), int64 from 0.
        activations: The output activations that it goes with, the usual one first; empty for any.
    """

    name: str
    formula: str
    on_logits: bool
    targets: str = "values"
    activations: tuple[str, ...] = ()

    @abstractmethod
    def evaluate(
        self, z: Array, a: Array, y: NDArray[Any], delta: Array, weights: Array | None = None, *, linked: bool = False
    ) -> float:
        """Return the mean loss over the batch and write its gradient into `delta`.

        Args:
            z: Logits of the output layer, (batch, outputs).
            a: Its activations, (batch, outputs).
            y: Targets: (batch, outputs) in the dtype of z, or (batch,) class numbers (see `targets`).
            delta: Receives dL/dz or dL/da of the mean loss (see `on_logits`), (batch, outputs).
            weights: A weight for each example, (batch,); the loss is then sum(w_i L_i) / batch.
            linked: Whether `a` is `activations[0]` of z (the softmax or sigmoid that a cross-entropy needs), so
                that it need not be computed again.
        """

    def check_activation(self, activation: Activation) -> None:
        """Refuse an output activation that this loss cannot go with.

        Raises:
            UsageError: With the activations that it takes.
        """
        if self.activations and activation.name not in self.activations:
            raise UsageError(
                f"the loss {self.name!r} does not go with the output activation {activation.name!r}",
                where="layer output",
                hint=f"use output={self.activations[0]!r} (or {', '.join(self.activations[1:])}), or another loss",
            )

    def __call__(self, y_hat: Any, y: Any) -> float:
        """Return the mean loss for predictions `y_hat`: logits for the cross-entropies, else activations.

        Raises:
            UsageError: Targets of another size than the predictions, or class numbers that are none.
        """
        z = np.atleast_2d(np.asarray(y_hat, dtype=np.float64))
        targets = self._class_numbers(z, y) if self.targets == "classes" else np.asarray(y, dtype=np.float64)
        if self.targets != "classes" and targets.size != z.size:
            raise UsageError(
                f"predictions of shape {z.shape} need as many targets, got shape {targets.shape}", where="argument y"
            )
        with np.errstate(all="ignore"):
            shaped = targets if self.targets == "classes" else targets.reshape(z.shape)
            return float(self.evaluate(z, z, shaped, np.empty_like(z)))

    def _class_numbers(self, z: Array, y: Any) -> NDArray[Any]:
        values = np.asarray(y)
        if values.shape != z.shape[:1]:
            raise UsageError(
                f"{len(z)} predictions need as many class numbers, got shape {values.shape}", where="argument y"
            )
        valid = np.isin(values, np.arange(z.shape[1]))
        if not valid.all():
            wrong = values[~valid][0].item()
            raise UsageError(f"class numbers go from 0 to {z.shape[1] - 1}, got {wrong!r}", where="argument y")
        return values.astype(np.int64)

    def __repr__(self) -> str:
        return f"<loss {self.name}: {self.formula}>"


def _weighted_sum(losses: Array, weights: Array | None) -> float:
    """Return the sum over all examples and outputs, each example times its weight."""
    per_example = losses.reshape(len(losses), -1).sum(axis=1)
    return float(per_example.sum() if weights is None else per_example @ weights)


class _Regression(Loss):
    """What the losses of a difference a - y share."""

    on_logits = False

    def evaluate(
        self, z: Array, a: Array, y: NDArray[Any], delta: Array, weights: Array | None = None, *, linked: bool = False
    ) -> float:
        """See `Loss.evaluate`."""
        np.subtract(a, y, out=delta)
        loss = self._reduce(delta, weights)
        delta *= self._factor / delta.size
        if weights is not None:
            delta *= weights[:, None]
        return float(loss / delta.size)

    _factor = 1.0

    @abstractmethod
    def _reduce(self, difference: Array, weights: Array | None) -> float:
        """Return the sum of the losses and turn `difference` into its gradient, up to `_factor`."""


class SquaredError(_Regression):
    """(y_hat - y)², mean over batch and outputs."""

    name = "squared_error"
    formula = "L = (ŷ - y)²"
    _factor = 2.0

    def _reduce(self, difference: Array, weights: Array | None) -> float:
        if weights is None:
            flat = difference.reshape(-1)
            return float(np.dot(flat, flat))
        return _weighted_sum(difference * difference, weights)


class AbsoluteError(_Regression):
    """|y_hat - y|, mean over batch and outputs; the gradient at 0 is 0."""

    name = "absolute_error"
    formula = "L = |ŷ - y|"

    def _reduce(self, difference: Array, weights: Array | None) -> float:
        loss = _weighted_sum(np.abs(difference), weights)
        np.sign(difference, out=difference)
        return loss


class Huber(_Regression):
    """Squared below 1, absolute beyond (Huber 1964; delta = 1 as torch's HuberLoss), mean over batch and outputs."""

    name = "huber"
    formula = "L = (ŷ - y)²/2 if |ŷ - y| < 1, else |ŷ - y| - 1/2"

    def _reduce(self, difference: Array, weights: Array | None) -> float:
        clipped = np.clip(difference, -1.0, 1.0)
        loss = _weighted_sum(clipped * (difference - 0.5 * clipped), weights)
        np.copyto(difference, clipped)
        return loss


class BinaryCrossEntropy(Loss):
    """Cross-entropy of independent yes/no outputs, on logits, mean over batch and outputs."""

    name = "binary_cross_entropy"
    formula = "L = log(1 + exp(z)) - y·z"
    on_logits = True
    activations = ("sigmoid", "identity")

    def evaluate(
        self, z: Array, a: Array, y: NDArray[Any], delta: Array, weights: Array | None = None, *, linked: bool = False
    ) -> float:
        """log(1 + exp(-|z|)) + max(z, 0) - y z neither overflows nor, for y of 0 and 1, cancels.

        The derivative is sigmoid(z) - y.
        """
        losses = np.abs(z)
        np.negative(losses, out=losses)
        np.exp(losses, out=losses)
        np.log1p(losses, out=losses)
        margin = np.maximum(z, 0.0)
        margin -= y * z
        losses += margin
        loss = _weighted_sum(losses, weights)
        if linked:
            np.subtract(a, y, out=delta)
        else:
            SIGMOID.forward(z, delta)
            delta -= y
        delta *= 1.0 / delta.size
        if weights is not None:
            delta *= weights[:, None]
        return float(loss / delta.size)


class CategoricalCrossEntropy(Loss):
    """Minus the log of the probability given to the right class, on logits, mean over the batch."""

    name = "categorical_cross_entropy"
    formula = "L = log(Σ_j exp(z_j)) - z_y"
    on_logits = True
    targets = "classes"
    activations = ("softmax", "identity")

    # Below this a float32 probability has lost its last digits, and log would lose them too.
    _smallest_exact = 1e-30
    _surely_exact = 60.0

    def evaluate(
        self, z: Array, a: Array, y: NDArray[Any], delta: Array, weights: Array | None = None, *, linked: bool = False
    ) -> float:
        """The derivative is softmax(z) - onehot(y).

        -log(softmax(z)_y) is read off the softmax while that is exact, and computed from the logits otherwise.
        """
        m = len(z)
        if not linked:
            get_activation("softmax").forward(z, delta)
            a = delta
        index = y + row_starts(z.shape)
        picked = a.take(index)
        losses = np.log(picked)
        loss = -float(np.add.reduce(losses) if weights is None else losses @ weights)
        # No loss is negative, so a small sum means that every probability was large enough to be exact.
        if not loss < self._surely_exact and picked[picked.argmin()] < self._smallest_exact:
            shifted = z - z.max(axis=1, keepdims=True)
            losses = np.log(np.exp(shifted).sum(axis=1)) - shifted.reshape(-1).take(index)
            loss = float(np.add.reduce(losses) if weights is None else losses @ weights)
        picked -= 1.0
        picked *= 1.0 / m
        np.multiply(a, 1.0 / m, delta)
        delta.put(index, picked)
        if weights is not None:
            delta *= weights[:, None]
        return float(loss / m)


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (SquaredError(), AbsoluteError(), Huber(), BinaryCrossEntropy(), CategoricalCrossEntropy())
}
"""Every loss by its name. To add one, write its class above and put it here."""

_FOR_OUTPUT = {"softmax": "categorical_cross_entropy", "sigmoid": "binary_cross_entropy"}


def get_loss(loss: str | Loss | None, output_activation: str = "identity") -> Loss:
    """Return the loss named, or the usual one for the output activation when it is None.

    Categorical cross-entropy for softmax, binary for sigmoid, squared error for all others.

    Raises:
        UsageError: There is none of that name; the message lists those that exist.
    """
    if isinstance(loss, Loss):
        return loss
    if loss is None:
        return LOSSES[_FOR_OUTPUT.get(output_activation, "squared_error")]
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]
    raise UsageError(
        f"unknown loss {loss!r}.{did_you_mean(str(loss), LOSSES)}",
        where="argument loss",
        hint=f"known are {', '.join(LOSSES)}",
    )
