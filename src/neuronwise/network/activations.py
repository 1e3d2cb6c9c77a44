"""Activation functions: what bends a neuron's weighted sum z into its activation level a = f(z).

Each knows its formula, its derivative, when to use it and its weakness, so that the same facts serve the
engine, the reference page and `neuronwise activations`. All work in place on buffers that the caller owns:
`forward` fills `a`, `backward` turns dL/da into delta = dL/dz. Both keep z and a intact, because z and a of
every layer are what users look at.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError, did_you_mean
from neuronwise.network.normal import normal_distribution

Array = NDArray[np.floating[Any]]

_MANY = 2_048  # numbers


class Activation(ABC):
    """An activation function f, elementwise except softmax.

    Attributes:
        name: The word used in code, files and on the command line.
        formula: f as text.
        derivative_formula: f' as text.
        value_range: The values that f can take, as an interval.
        use: When it is the right choice.
        weakness: Where it fails.
        is_piecewise_linear: Whether f is made of straight pieces through zero, so that f(z) = f'(z) · z.
    """

    name: str
    formula: str
    derivative_formula: str
    value_range: str
    use: str
    weakness: str
    is_piecewise_linear: bool = False

    @abstractmethod
    def forward(self, z: Array, a: Array) -> None:
        """Write f(z) into `a`; both of shape (batch, neurons)."""

    @abstractmethod
    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """Turn `delta` from dL/da into dL/dz in place; `scratch` has the same shape and is overwritten."""

    def __call__(self, z: Any) -> Array:
        """Return f(z) as a new array; integers count as float64, the last axis holds the neurons."""
        values = np.asarray(z)
        if not np.issubdtype(values.dtype, np.floating):
            values = values.astype(np.float64)
        buffer = np.atleast_1d(values)  # NumPy turns 0-d arrays into plain numbers, which are no buffer
        a = np.empty_like(buffer)
        with np.errstate(all="ignore"):
            self.forward(buffer, a)
        return a.reshape(values.shape)

    def derivative(self, z: Any) -> Array:
        """Return f'(z) elementwise as a new array.

        Raises:
            UsageError: For softmax, whose derivative is a matrix per input, not a number per neuron.
        """
        values = np.asarray(z, dtype=np.float64)
        buffer = np.atleast_1d(values)
        delta = np.ones_like(buffer)
        with np.errstate(all="ignore"):
            self.backward(delta, buffer, self(buffer), np.empty_like(buffer))
        return delta.reshape(values.shape)

    def __repr__(self) -> str:
        return f"<activation {self.name}: {self.formula}>"


class Identity(Activation):
    """f(z) = z."""

    name = "identity"
    formula = "f(z) = z"
    derivative_formula = "f'(z) = 1"
    value_range = "(-inf, inf)"
    use = "output of a regression (a price); a layer that should stay linear"
    weakness = "layers of it, however many, are together only one linear layer"
    is_piecewise_linear = True

    def forward(self, z: Array, a: Array) -> None:
        """Copy z."""
        np.copyto(a, z)

    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """Leave delta as it is."""


class Sigmoid(Activation):
    """f(z) = 1 / (1 + exp(-z))."""

    name = "sigmoid"
    formula = "f(z) = 1 / (1 + exp(-z))"
    derivative_formula = "f'(z) = f(z) · (1 - f(z))"
    value_range = "(0, 1)"
    use = "output of a yes/no question (a probability); the classic picture of a neuron that fires"
    weakness = "flat for |z| > 5: the gradient vanishes (at most 1/4 per layer); never centred at zero"

    def forward(self, z: Array, a: Array) -> None:
        """Overflow of exp at very negative z gives 1/inf = 0, right but for numbers below the normal range."""
        np.negative(z, out=a)
        np.exp(a, out=a)
        a += 1.0
        np.reciprocal(a, out=a)

    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """Multiply by a (1 - a)."""
        np.subtract(1.0, a, out=scratch)
        scratch *= a
        delta *= scratch


class Tanh(Activation):
    """f(z) = tanh(z)."""

    name = "tanh"
    formula = "f(z) = (exp(z) - exp(-z)) / (exp(z) + exp(-z))"
    derivative_formula = "f'(z) = 1 - f(z)²"
    value_range = "(-1, 1)"
    use = "small networks and recurrent ones; a sigmoid centred at zero, which learns faster"
    weakness = "flat for |z| > 3: the gradient vanishes in deep networks"

    def forward(self, z: Array, a: Array) -> None:
        """NumPy's own."""
        np.tanh(z, out=a)

    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """Multiply by 1 - a²."""
        np.multiply(a, a, out=scratch)
        np.subtract(1.0, scratch, out=scratch)
        delta *= scratch


class ReLU(Activation):
    """f(z) = max(0, z)."""

    name = "relu"
    formula = "f(z) = max(0, z)"
    derivative_formula = "f'(z) = 1 if z > 0, else 0"
    value_range = "[0, inf)"
    use = "hidden layers, the usual first choice: cheap, and its gradient does not vanish for z > 0"
    weakness = "a neuron whose z is negative for every input is dead: it outputs 0 and no longer learns"
    is_piecewise_linear = True

    def forward(self, z: Array, a: Array) -> None:
        """Keep NaN as NaN."""
        np.maximum(z, 0.0, out=a)

    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """Multiply by 1 where z > 0 and else by 0 (also at z = 0, as torch has it)."""
        # The same but for NaN; of many numbers `sign` takes four times as long, of few a comparison twice as long.
        if a.size < _MANY:
            np.sign(a, scratch)
        else:
            np.not_equal(a, 0.0, scratch)
        np.multiply(delta, scratch, delta)


class LeakyReLU(Activation):
    """f(z) = z for z > 0, else 0.01 z."""

    name = "leaky_relu"
    formula = "f(z) = z if z > 0, else 0.01 · z"
    derivative_formula = "f'(z) = 1 if z > 0, else 0.01"
    value_range = "(-inf, inf)"
    use = "hidden layers in which ReLU neurons die"
    weakness = "the slope 0.01 is one more thing to choose; it seldom beats ReLU where nothing dies"
    is_piecewise_linear = True
    slope = 0.01

    def forward(self, z: Array, a: Array) -> None:
        """max(z, 0.01 z)."""
        np.multiply(z, self.slope, out=a)
        np.maximum(z, a, out=a)

    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """Multiply by 1 or 0.01 (0.01 at z = 0, as torch has it)."""
        np.heaviside(z, 0.0, out=scratch)
        scratch *= 1.0 - self.slope
        scratch += self.slope
        delta *= scratch


class ELU(Activation):
    """f(z) = z for z > 0, else exp(z) - 1 (alpha = 1)."""

    name = "elu"
    formula = "f(z) = z if z > 0, else exp(z) - 1"
    derivative_formula = "f'(z) = 1 if z > 0, else exp(z)"
    value_range = "(-1, inf)"
    use = "hidden layers; smooth, and its mean is nearer zero than ReLU's"
    weakness = "needs exp, so it is slower than ReLU; still flat for very negative z"

    def forward(self, z: Array, a: Array) -> None:
        """exp(z) - 1 is never below z, so the maximum of both is the function."""
        np.minimum(z, 0.0, out=a)
        np.expm1(a, out=a)
        np.maximum(z, a, out=a)

    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """Multiply by min(a, 0) + 1."""
        np.minimum(a, 0.0, out=scratch)
        scratch += 1.0
        delta *= scratch


class GELU(Activation):
    """f(z) = z · Phi(z), exact, not the tanh approximation (Hendrycks and Gimpel 2016, eq. 1)."""

    name = "gelu"
    formula = "f(z) = z · Φ(z), Φ the normal distribution function"
    derivative_formula = "f'(z) = Φ(z) + z · exp(-z²/2) / √(2π)"
    value_range = "[-0.17, inf)"
    use = "hidden layers of deep networks and transformers: smooth near zero"
    weakness = "the slowest here; not monotone, so 'more input' can mean 'less output' for z < -0.75"

    def forward(self, z: Array, a: Array) -> None:
        """z times Phi(z)."""
        normal_distribution(z, a)
        a *= z

    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """Multiply by Phi(z) + z phi(z)."""
        density = np.multiply(z, z)
        density *= -0.5
        np.exp(density, out=density)
        density *= z
        density *= 1.0 / math.sqrt(2.0 * math.pi)
        normal_distribution(z, scratch)
        scratch += density
        delta *= scratch


class Softplus(Activation):
    """f(z) = log(1 + exp(z))."""

    name = "softplus"
    formula = "f(z) = log(1 + exp(z))"
    derivative_formula = "f'(z) = 1 / (1 + exp(-z))"
    value_range = "(0, inf)"
    use = "an output that must be positive (a rate, a standard deviation); a smooth ReLU"
    weakness = "slower than ReLU and never exactly zero, so nothing is sparse"

    def forward(self, z: Array, a: Array) -> None:
        """log(exp(z) + exp(0)), which never overflows."""
        np.logaddexp(z, 0.0, out=a)

    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """Multiply by the sigmoid of z."""
        SIGMOID.forward(z, scratch)
        delta *= scratch


class Softmax(Activation):
    """f(z)_i = exp(z_i) / sum_j exp(z_j), over the neurons of the layer."""

    name = "softmax"
    formula = "f(z)_i = exp(z_i) / Σ_j exp(z_j)"
    derivative_formula = "∂f_i/∂z_j = f_i · (1[i = j] - f_j)"
    value_range = "(0, 1), the neurons of the layer sum to 1"
    use = "output of a choice among classes: one probability per class"
    weakness = "an answer for every input, also for nonsense: probabilities say nothing of the unfamiliar"

    def forward(self, z: Array, a: Array) -> None:
        """The largest z of each row is subtracted first, so that exp cannot overflow."""
        # Over a few classes NumPy's own maximum and sum take three times as long as a look-up and a product.
        largest = z.take(z.argmax(-1) + row_starts(z.shape))
        np.subtract(z, largest[..., None], a)
        np.exp(a, a)
        np.divide(a, np.dot(a, _ones(z.shape[-1], a.dtype))[..., None], a)

    def backward(self, delta: Array, z: Array, a: Array, scratch: Array) -> None:
        """dL/dz_i = a_i (dL/da_i - sum_j a_j dL/da_j)."""
        np.multiply(delta, a, out=scratch)
        delta -= np.add.reduce(scratch, axis=-1, keepdims=True)
        delta *= a

    def derivative(self, z: Any) -> Array:
        """Refuse: the derivative of softmax is a matrix."""
        raise UsageError(
            "the derivative of softmax is a matrix per input, not one number per neuron",
            where="activation softmax",
            hint="its entries are a_i · (1[i = j] - a_j) with a = softmax(z)",
        )


@functools.lru_cache(maxsize=8)
def row_starts(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Return where each row (last axis) of an array begins when all lie one after the other; not to be changed."""
    starts = np.arange(0, math.prod(shape), shape[-1], dtype=np.intp).reshape(shape[:-1])
    starts.flags.writeable = False
    return starts


@functools.lru_cache(maxsize=16)
def _ones(n: int, dtype: np.dtype[Any]) -> Array:
    """Return n ones, with which a product sums over the last axis; not to be changed."""
    ones = np.ones(n, dtype=dtype)
    ones.flags.writeable = False
    return ones


SIGMOID = Sigmoid()

ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Identity(), SIGMOID, Tanh(), ReLU(), LeakyReLU(), ELU(), GELU(), Softplus(), Softmax(),
    )
}  # fmt: skip
"""Every activation by its name. To add one, write its class above and put it here."""


def get_activation(activation: str | Activation) -> Activation:
    """Return the activation of that name (an `Activation` is returned as it is).

    Raises:
        UsageError: There is none of that name; the message lists those that exist.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    raise UsageError(
        f"unknown activation {activation!r}.{did_you_mean(str(activation), ACTIVATIONS)}",
        where="argument activation",
        hint=f"known are {', '.join(ACTIVATIONS)}",
    )
