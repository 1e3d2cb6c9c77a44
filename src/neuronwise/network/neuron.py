"""One neuron: inputs times weights, summed, plus a bias, bent by an activation function."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.network.activations import Activation, get_activation

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Term:
    """One term of a weighted sum: the product of an input and its weight."""

    name: str
    input: float
    weight: float
    product: float


@dataclass(frozen=True)
class NeuronExplanation:
    """How a neuron came to its activation level on one input, term by term.

    Attributes:
        neuron: Its name, such as ``"hidden1[7]"``.
        terms: One term per input, in the order of the inputs.
        bias: The bias b.
        z: The weighted sum plus the bias, as the neuron computes it.
        activation: Name of the activation function.
        activation_level: a = f(z).
        gap: How far the terms and the bias, added up exactly, miss z (rounding of the neuron's own sum).
    """

    neuron: str
    terms: tuple[Term, ...]
    bias: float
    z: float
    activation: str
    activation_level: float
    gap: float

    def largest(self, k: int | None = None) -> list[Term]:
        """Return the `k` terms (default all) of largest |input × weight|, the largest first."""
        return sorted(self.terms, key=lambda term: -abs(term.product))[:k]

    def __str__(self) -> str:
        shown = self.largest(10)
        width = max([len("bias"), *(min(len(term.name), 32) for term in shown)])
        lines = [f"{self.neuron}: z = Σ input × weight + bias, a = {self.activation}(z)"]
        for term in shown:
            name = term.name if len(term.name) <= 32 else term.name[:31] + "…"
            lines.append(f"  {name:<{width}}  {term.input:>11.5g} × {term.weight:>11.5g} = {term.product:>+12.5g}")
        rest = sorted(self.terms, key=lambda term: -abs(term.product))[10:]
        if rest:
            label = f"rest ({len(rest):,} terms)"
            lines.append(f"  {label:<{width + 27}} = {math.fsum(term.product for term in rest):>+12.5g}")
        lines.append(f"  {'bias':<{width}}  {'':>25} = {self.bias:>+12.5g}")
        lines.append(f"  {'z':<{width}}  {'':>25} = {self.z:>+12.5g}   (the terms miss it by {abs(self.gap):.1e})")
        lines.append(f"  {'a':<{width}}  {self.activation + '(z)':>25} = {self.activation_level:>12.5g}")
        return "\n".join(lines)


class NeuronBase(ABC):
    """What a lone neuron and a neuron inside a layer share."""

    @property
    @abstractmethod
    def weights(self) -> Array:
        """The weights, (n_in,)."""

    @property
    @abstractmethod
    def bias(self) -> float:
        """The bias."""

    @property
    @abstractmethod
    def activation(self) -> Activation:
        """The activation function."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The neuron's name."""

    @property
    @abstractmethod
    def input_names(self) -> Sequence[str]:
        """The names of its inputs."""

    @abstractmethod
    def _level(self, x: Array, z: Array) -> Array:
        """Return a for inputs x and their z; both with a batch axis."""

    def z(self, x: ArrayLike) -> Any:
        """Return the weighted sum plus bias: a number for one input (n,), an array (m,) for a batch (m, n).

        Raises:
            UsageError: `x` has another number of inputs, or is not numeric.
        """
        inputs = self._check(x)
        with np.errstate(all="ignore"):  # inf and NaN are answers, not accidents
            z = inputs @ self.weights + np.asarray(self.bias, dtype=self.weights.dtype)
        return z if inputs.ndim == 2 else float(z)

    def __call__(self, x: ArrayLike) -> Any:
        """Return the activation level: a number for one input (n,), an array (m,) for a batch (m, n)."""
        inputs = self._check(x)
        batch = np.atleast_2d(inputs)
        level = self._level(batch, np.atleast_1d(self.z(inputs)))
        return level if inputs.ndim == 2 else float(level[0])

    def explain(self, x: ArrayLike) -> NeuronExplanation:
        """Return the weighted sum for one input (n,), term by term, and what became of it.

        The products are formed in float64 and added exactly; `gap` says by how much z, as the neuron computed
        it in its own precision, differs.

        Raises:
            UsageError: `x` is a batch, or has another number of inputs.
        """
        inputs = self._check(x)
        if inputs.ndim != 1:
            raise UsageError(
                f"explain takes one input of shape ({len(self.weights)},), got {inputs.shape}",
                where=f"neuron {self.name}",
                hint="pass one row: neuron.explain(x[0])",
            )
        exact_inputs, exact_weights = inputs.astype(np.float64), self.weights.astype(np.float64)
        with np.errstate(all="ignore"):
            products = exact_inputs * exact_weights
        z, bias = self.z(inputs), float(self.bias)
        terms = tuple(
            Term(*values)
            for values in zip(
                self.input_names,
                exact_inputs.tolist(),
                exact_weights.tolist(),
                products.tolist(),
                strict=True,
            )
        )
        total = _exact_sum([*products.tolist(), bias])
        return NeuronExplanation(self.name, terms, bias, z, self.activation.name, self(inputs), z - total)

    def _check(self, x: ArrayLike) -> Array:
        n = len(self.weights)
        inputs = np.asarray(x)
        if inputs.dtype.kind not in "fiub":
            raise UsageError(f"inputs must be numbers, got dtype {inputs.dtype}", where=f"neuron {self.name}")
        if inputs.ndim not in (1, 2) or inputs.shape[-1] != n:
            raise UsageError(
                f"expected {n} inputs, shape ({n},) or (batch, {n}), got shape {inputs.shape}",
                where=f"neuron {self.name}",
            )
        with np.errstate(over="ignore"):
            return inputs.astype(self.weights.dtype, copy=False)


def _exact_sum(values: list[float]) -> float:
    """Return the exactly rounded sum; sums with inf or NaN follow IEEE arithmetic."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # fsum refuses inf - inf and sums beyond the largest float
        with np.errstate(all="ignore"):
            return float(np.sum(values))


class Neuron(NeuronBase):
    """A neuron on its own, without any network.

    Args:
        weights: The weights, (n,).
        bias: The bias, which shifts the threshold at which the neuron fires.
        activation: The activation function by name; softmax needs a layer and is refused.
        names: Names of the inputs; default ``x[0]``, ``x[1]`` ….
        dtype: ``"float64"`` (default) or ``"float32"``.

    Example:
        >>> neuron = Neuron([0.5, -1.0], bias=0.25, activation="relu", names=["sqft", "age"])
        >>> neuron([2.0, 0.5])
        0.75
        >>> neuron.explain([2.0, 0.5]).terms[1].product
        -0.5

    Raises:
        UsageError: Weights that are not a vector of finite numbers, unknown activation, wrong number of names.
    """

    def __init__(
        self,
        weights: ArrayLike,
        bias: float = 0.0,
        activation: str | Activation = "sigmoid",
        names: Sequence[str] | None = None,
        dtype: str = "float64",
    ) -> None:
        if dtype not in ("float32", "float64"):
            raise UsageError(f"dtype must be 'float32' or 'float64', got {dtype!r}", where="argument dtype")
        try:
            self._weights = np.array(weights, dtype=dtype)
            self._bias = float(bias)
        except (TypeError, ValueError) as error:
            raise UsageError(f"weights and bias must be numbers: {error}", where="Neuron") from None
        if self._weights.ndim != 1 or self._weights.size == 0:
            raise UsageError(
                f"weights must be a vector of at least one number, got shape {self._weights.shape}",
                where="Neuron",
            )
        finite = np.isfinite([*self._weights, self._bias])
        if not finite.all():
            wrong = [*self._weights.tolist(), self._bias][int(finite.argmin())]
            raise UsageError(f"weights and bias must be finite, got {wrong}", where="Neuron")
        self._activation = get_activation(activation)
        if self._activation.name == "softmax":
            raise UsageError(
                "softmax compares the neurons of a layer, so one neuron alone cannot have it",
                where="argument activation",
                hint='use a layer, Dense(10, "softmax"), or another activation such as "sigmoid"',
            )
        self._names = tuple(names) if names is not None else tuple(f"x[{i}]" for i in range(self._weights.size))
        if len(self._names) != self._weights.size:
            raise UsageError(
                f"{self._weights.size} weights need as many names, got {len(self._names)}",
                where="argument names",
            )
        for name in self._names:
            if not isinstance(name, str):
                raise UsageError(f"names must be text, got {name!r}", where="argument names")

    @property
    def weights(self) -> Array:
        """The weights, (n,); changing them changes the neuron."""
        return self._weights

    @property
    def bias(self) -> float:
        """The bias."""
        return self._bias

    @bias.setter
    def bias(self, value: float) -> None:
        self._bias = float(value)

    @property
    def activation(self) -> Activation:
        """The activation function."""
        return self._activation

    @property
    def name(self) -> str:
        """Always ``"neuron"``."""
        return "neuron"

    @property
    def input_names(self) -> Sequence[str]:
        """The names of the inputs."""
        return self._names

    def _level(self, x: Array, z: Array) -> Array:
        return self._activation(z)

    def __repr__(self) -> str:
        return f"Neuron({self._weights.size} inputs, bias {self._bias:.4g}, {self._activation.name})"
