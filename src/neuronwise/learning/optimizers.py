"""Optimizers: how gradients move the weights. All work in place on one flat array of parameters.

Formulas and defaults are those of torch.optim, so that a training can be repeated there. Each step writes
into `update` what is subtracted from the parameters, so that it can be looked at.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError, did_you_mean
from neuronwise.learning.arguments import fraction, not_negative, positive
from neuronwise.network.buffers import empty_buffer, zeros_buffer

Array = NDArray[np.floating[Any]]

# Parameters handled at a time: their few arrays then stay in a core's cache from one operation to the next.
_BLOCK = 65_536
# Every so many steps (a power of 2) what decayed to nothing is set to 0; see `Optimizer._flush`.
_FLUSH_EVERY = 64


class Optimizer(ABC):
    """A rule that turns gradients into a change of the parameters.

    Args:
        learning_rate: Size of the steps, above 0; default `default_learning_rate`.
        weight_decay: Pull towards zero, from 0 (default 0; AdamW 0.01). It is added to the gradient (L2), but
            AdamW subtracts it from the weights directly. It acts on weights and biases alike, as in torch.

    Attributes:
        name: The word used in code, files and on the command line.
        update: What the last step subtracted from the parameters, laid out as they are; see `keeps_update`.
        keeps_update: Whether `update` is filled (default). Where nobody looks at it, a large network's step is up to
            a tenth faster without: what is computed for a block of parameters then never leaves the core's cache.
        state: The arrays that it remembers between steps, by name.
        steps: Number of steps taken since `start`.
    """

    name: str
    default_learning_rate = 0.01
    default_weight_decay = 0.0
    keeps_update = True

    def __init__(self, learning_rate: float | None = None, weight_decay: float | None = None) -> None:
        self.learning_rate = positive(
            self.default_learning_rate if learning_rate is None else learning_rate, "learning_rate"
        )
        self.weight_decay = not_negative(
            self.default_weight_decay if weight_decay is None else weight_decay, "weight_decay"
        )
        self.state: dict[str, Array] = {}
        self.steps = 0

    def start(self, parameters: Array) -> None:
        """Forget all state and allocate what is needed for parameters of this size."""
        shape, dtype = parameters.shape, parameters.dtype
        self.update: Array = zeros_buffer(shape, dtype)
        self._scratch = empty_buffer((min(len(parameters), _BLOCK),), dtype)
        self._passing = empty_buffer((min(len(parameters), _BLOCK),), dtype)
        self.state = {name: zeros_buffer(shape, dtype) for name in self.state_names()}
        self.steps = 0

    def step(self, parameters: Array, gradients: Array) -> None:
        """Change the parameters in place; `gradients` is only read."""
        self.steps += 1
        size, state = len(parameters), list(self.state.values())
        if size <= _BLOCK:
            self._step(parameters, gradients, self.update, state)
        else:
            for start in range(0, size, _BLOCK):
                part = slice(start, start + _BLOCK)
                update = self.update[part] if self.keeps_update else self._passing[: size - start]
                self._step(parameters[part], gradients[part], update, [array[part] for array in state])
        if not self.steps % _FLUSH_EVERY:
            self._flush(parameters)

    def _step(self, parameters: Array, gradients: Array, update: Array, state: Sequence[Array]) -> None:
        """Take the step of one block; all arrays are that part of the whole."""
        if self.weight_decay:
            scratch = self._scratch[: len(parameters)]
            if self._decoupled:
                self._compute_update(gradients, update, state)
                np.multiply(parameters, self.learning_rate * self.weight_decay, out=scratch)
                update += scratch
            else:
                np.multiply(parameters, self.weight_decay, out=scratch)
                scratch += gradients
                self._compute_update(scratch, update, state)
        else:
            self._compute_update(gradients, update, state)
        np.subtract(parameters, update, parameters)

    def _flush(self, parameters: Array) -> None:
        """Set to 0 what decayed to almost nothing, as the sums of a weight whose gradient stays 0 do.

        Such sums would end as subnormal numbers, at which a processor is many times slower, and 0.9 times the
        smallest of them rounds to itself, so that they would never reach 0. The limit, 1e-30 in float32, is far
        below what any step can notice. Weight decay does the same to the weights of a dead neuron; there the
        limit is 1e-15 (1e-150 in float64), so that the squares of their gradients stay normal too.
        """
        for array in self.state.values():
            array[np.abs(array) < 1e8 * np.finfo(array.dtype).tiny] = 0.0
        if self.weight_decay:
            parameters[np.abs(parameters) < 1e4 * math.sqrt(np.finfo(parameters.dtype).tiny)] = 0.0

    _decoupled = False

    def state_names(self) -> tuple[str, ...]:
        """Return the names of the arrays in `state`, in the order in which `_compute_update` takes them."""
        return ()

    @abstractmethod
    def _compute_update(self, gradients: Array, update: Array, state: Sequence[Array]) -> None:
        """Fill `update` of one block, for step number `steps` (from 1); `state` in the order of `state_names`."""

    def settings(self) -> dict[str, float]:
        """Return the settings by name, for tracking."""
        return {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}

    def snapshot(self) -> dict[str, Any]:
        """Return a copy of all that decides the next step."""
        return {"steps": self.steps, "learning_rate": self.learning_rate} | {
            name: array.copy() for name, array in self.state.items()
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot."""
        self.steps, self.learning_rate = snapshot["steps"], snapshot["learning_rate"]
        for name, array in self.state.items():
            np.copyto(array, snapshot[name])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value:g}' for key, value in self.settings().items())})"


class SGD(Optimizer):
    """W ← W - η dW (stochastic gradient descent)."""

    name = "sgd"
    default_learning_rate = 0.1

    def _compute_update(self, gradients: Array, update: Array, state: Sequence[Array]) -> None:
        np.multiply(gradients, self.learning_rate, out=update)


class Momentum(Optimizer):
    """v ← μ v + dW, W ← W - η v (Polyak 1964, in torch's form).

    Args:
        learning_rate: As for `Optimizer`.
        weight_decay: As for `Optimizer`.
        momentum: μ, from 0 to below 1.
    """

    name = "momentum"

    def __init__(
        self, learning_rate: float | None = None, weight_decay: float | None = None, momentum: float = 0.9
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self.momentum = fraction(momentum, "momentum")

    def state_names(self) -> tuple[str, ...]:
        """See `Optimizer.state_names`."""
        return ("velocity",)

    def _compute_update(self, gradients: Array, update: Array, state: Sequence[Array]) -> None:
        (velocity,) = state
        velocity *= self.momentum
        velocity += gradients
        np.multiply(velocity, self.learning_rate, out=update)

    def settings(self) -> dict[str, float]:
        """See `Optimizer.settings`."""
        return super().settings() | {"momentum": self.momentum}


class Nesterov(Momentum):
    """v ← μ v + dW, W ← W - η (dW + μ v) (Sutskever et al. 2013, in torch's form)."""

    name = "nesterov"

    def _compute_update(self, gradients: Array, update: Array, state: Sequence[Array]) -> None:
        (velocity,) = state
        velocity *= self.momentum
        velocity += gradients
        np.multiply(velocity, self.momentum, out=update)
        update += gradients
        update *= self.learning_rate


class RMSprop(Optimizer):
    """s ← ρ s + (1-ρ) dW², W ← W - η dW / (√s + ε) (Hinton 2012, lecture 6e, in torch's form).

    Args:
        learning_rate: As for `Optimizer`.
        weight_decay: As for `Optimizer`.
        decay: ρ, from 0 to below 1.
        epsilon: ε, above 0.
    """

    name = "rmsprop"
    default_learning_rate = 0.001

    def __init__(
        self,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        decay: float = 0.99,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self.decay, self.epsilon = fraction(decay, "decay"), positive(epsilon, "epsilon")

    def state_names(self) -> tuple[str, ...]:
        """See `Optimizer.state_names`."""
        return ("mean_square",)

    def _compute_update(self, gradients: Array, update: Array, state: Sequence[Array]) -> None:
        (square,) = state
        np.multiply(gradients, gradients, out=update)
        update *= 1.0 - self.decay
        square *= self.decay
        square += update
        np.sqrt(square, out=update)
        update += self.epsilon
        np.divide(gradients, update, out=update)
        update *= self.learning_rate

    def settings(self) -> dict[str, float]:
        """See `Optimizer.settings`."""
        return super().settings() | {"decay": self.decay, "epsilon": self.epsilon}


class Adam(Optimizer):
    """m ← β₁ m + (1-β₁) dW, v ← β₂ v + (1-β₂) dW², W ← W - η m̂ / (√v̂ + ε) (Kingma and Ba 2015, algorithm 1).

    The sums kept are m / (1-β₁) and v / (1-β₂): the same steps with fewer passes over the weights, the
    factors and the bias corrections being folded into two numbers.

    Args:
        learning_rate: As for `Optimizer`.
        weight_decay: As for `Optimizer`.
        beta1: β₁, from 0 to below 1.
        beta2: β₂, from 0 to below 1.
        epsilon: ε, above 0.
    """

    name = "adam"
    default_learning_rate = 0.001

    def __init__(
        self,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self.beta1, self.beta2 = fraction(beta1, "beta1"), fraction(beta2, "beta2")
        self.epsilon = positive(epsilon, "epsilon")

    def state_names(self) -> tuple[str, ...]:
        """See `Optimizer.state_names`."""
        return ("gradient_sum", "square_sum")

    def _compute_update(self, gradients: Array, update: Array, state: Sequence[Array]) -> None:
        first, second = state
        # m̂ = first · mean_factor and v̂ = second · square_factor, in the letters of the paper.
        mean_factor = (1.0 - self.beta1) / (1.0 - self.beta1**self.steps)
        root_factor = math.sqrt((1.0 - self.beta2) / (1.0 - self.beta2**self.steps))
        first *= self.beta1
        first += gradients
        np.multiply(gradients, gradients, out=update)
        second *= self.beta2
        second += update
        np.sqrt(second, out=update)
        update += self.epsilon / root_factor
        np.divide(first, update, out=update)
        update *= self.learning_rate * mean_factor / root_factor

    def settings(self) -> dict[str, float]:
        """See `Optimizer.settings`."""
        return super().settings() | {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: W ← W - η λ W besides (Loshchilov and Hutter 2019)."""

    name = "adamw"
    default_weight_decay = 0.01
    _decoupled = True


OPTIMIZERS: dict[str, type[Optimizer]] = {
    optimizer.name: optimizer for optimizer in (SGD, Momentum, Nesterov, RMSprop, Adam, AdamW)
}
"""Every optimizer by its name. To add one, write its class above and put it here."""


def get_optimizer(
    optimizer: str | Optimizer, learning_rate: float | None = None, weight_decay: float | None = None
) -> Optimizer:
    """Return a new optimizer of that name (an `Optimizer` is returned as it is).

    Raises:
        UsageError: There is none of that name, a rate is not positive, or settings are given beside an `Optimizer`.
    """
    if isinstance(optimizer, Optimizer):
        if learning_rate is not None or weight_decay is not None:
            raise UsageError(
                "learning_rate and weight_decay are given both in the optimizer and beside it",
                where="argument optimizer",
                hint="set them in the optimizer: Adam(learning_rate=0.001)",
            )
        return optimizer
    if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
        raise UsageError(
            f"unknown optimizer {optimizer!r}.{did_you_mean(str(optimizer), OPTIMIZERS)}",
            where="argument optimizer",
            hint=f"known are {', '.join(OPTIMIZERS)}",
        )
    return OPTIMIZERS[optimizer](learning_rate, weight_decay)


def clip_by_norm(gradients: Array, limit: float) -> float:
    """Scale `gradients` in place so that their norm over all layers is at most `limit`; return the norm before.

    The formula is that of torch.nn.utils.clip_grad_norm_ (Pascanu et al. 2013, algorithm 1).
    """
    norm = math.sqrt(float(np.dot(gradients, gradients)))
    if math.isinf(norm):  # perhaps only the squares overflowed: a norm of infinity would clip everything to 0
        norm = float(np.linalg.norm(gradients.astype(np.float64)))
    if norm > limit:
        gradients *= limit / (norm + 1e-6)
    return norm
