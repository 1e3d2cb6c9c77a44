"""Optimizers: how gradients move the weights. All work in place on one flat array of parameters.

Formulas and defaults are those of torch.optim, so that a training can be repeated there. Each step writes
into `update` what is subtracted from the parameters, so that it can be looked at; `Optimizer.parts` says of what
it is made.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError, did_you_mean
from neuronwise.learning.arguments import fraction, not_negative, positive, whole_number
from neuronwise.network.buffers import empty_buffer, zeros_buffer

Array = NDArray[np.floating[Any]]
# Scale, weight and memory of an update that is learning rate · scale · (weight · gradients + memory), in float64;
# without memory None.
_Terms = tuple["float | NDArray[np.float64]", float, NDArray[np.float64] | None]

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

    @property
    def is_scaled_gradient(self) -> bool:
        """Whether `update` is nothing but the learning rate times the gradients."""
        return False

    @abstractmethod
    def _compute_update(self, gradients: Array, update: Array, state: Sequence[Array]) -> None:
        """Fill `update` of one block, for step number `steps` (from 1); `state` in the order of `state_names`."""

    def parts(
        self,
        parameters: Array,
        gradients: Array,
        state: Mapping[str, Any],
        step: int,
        learning_rate: float | None = None,
    ) -> dict[str, NDArray[np.float64]]:
        """Return the parts of which a step's update is the sum; only the settings of the optimizer are used.

        In this order, and only those that the optimizer has:

        - ``"gradient"``: what the gradient of this step alone contributed.
        - ``"memory"``: what those of earlier steps contributed, by the velocity of momentum, by Adam's first moment.
        - ``"weight_decay"``: what this step's pull towards zero contributed. Where the pull is added to the gradient
          (all but AdamW), that of earlier steps has become part of the memory.

        What Adam and RMSprop divide by is common to the parts: they use it as it is after the step, as the step does.
        The sum is the `update` of the step, but for the rounding of its dtype.

        Args:
            parameters: The parameters before the step.
            gradients: Its gradients, as `step` takes them: after clipping.
            state: The arrays of `state`, by name, copied **before** the step; `snapshot` has them. Others are ignored.
            step: Its number, from 1.
            learning_rate: That of this step, which a schedule may have changed; default `learning_rate`.

        Every weight is for itself, so that all arrays may also be the same part of the whole, say one neuron's.

        Returns:
            Arrays in the shape of `parameters`, float64.

        Raises:
            UsageError: A state is missing, shapes differ, or the step or the rate is none.
        """
        own = [state[name] for name in self.state_names() if name in state]
        if len(own) < len(self.state_names()):
            raise UsageError(
                f"{self.name} remembers {', '.join(self.state_names())}, got {', '.join(state) or 'nothing'}",
                where="argument state",
                hint="state = optimizer.snapshot(), taken before the step",
            )
        shapes = [array.shape for array in (parameters, gradients, *own)]
        if len(set(shapes)) > 1:
            raise UsageError(
                f"parameters, gradients and state must have one shape, got {', '.join(map(str, shapes))}",
                where="argument parameters",
            )
        count, decay = whole_number(step, "step", 1), self.weight_decay
        rate = self.learning_rate if learning_rate is None else not_negative(learning_rate, "learning_rate")
        with np.errstate(all="ignore"):
            pulled = parameters * decay + gradients if decay and not self._decoupled else gradients
            scale, weight, memory = self._terms(pulled, own, count)
            scale = rate * scale
            found = {"gradient": scale * weight * gradients.astype(np.float64)}
            if memory is not None:
                found["memory"] = scale * memory
            if decay:
                pull = decay * parameters.astype(np.float64)
                found["weight_decay"] = rate * pull if self._decoupled else scale * weight * pull
        return found

    @abstractmethod
    def _terms(self, gradients: Array, state: Sequence[Array], step: int) -> _Terms:
        """Return the update of `_compute_update` as terms, for the state before the step; nothing is changed."""

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

    @property
    def is_scaled_gradient(self) -> bool:
        """Whether `update` is nothing but the learning rate times the gradients: without weight decay."""
        return not self.weight_decay

    def _compute_update(self, gradients: Array, update: Array, state: Sequence[Array]) -> None:
        np.multiply(gradients, self.learning_rate, out=update)

    def _terms(self, gradients: Array, state: Sequence[Array], step: int) -> _Terms:
        return 1.0, 1.0, None


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

    def _terms(self, gradients: Array, state: Sequence[Array], step: int) -> _Terms:
        (velocity,) = state
        return 1.0, 1.0, self.momentum * velocity.astype(np.float64)

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

    def _terms(self, gradients: Array, state: Sequence[Array], step: int) -> _Terms:
        # dW + μ (μ v + dW) = (1 + μ) dW + μ² v
        (velocity,) = state
        return 1.0, 1.0 + self.momentum, self.momentum**2 * velocity.astype(np.float64)


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

    def _terms(self, gradients: Array, state: Sequence[Array], step: int) -> _Terms:
        # The squares in the dtype of the state, as in the step: one that overflows there counts as infinite here too.
        (square,) = state
        after = self.decay * square + (1.0 - self.decay) * (gradients * gradients)
        return 1.0 / (np.sqrt(after.astype(np.float64)) + self.epsilon), 1.0, None

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
        mean_factor, root_factor = self._factors(self.steps)
        first *= self.beta1
        first += gradients
        np.multiply(gradients, gradients, out=update)
        second *= self.beta2
        second += update
        np.sqrt(second, out=update)
        update += self.epsilon / root_factor
        np.divide(first, update, out=update)
        update *= self.learning_rate * mean_factor / root_factor

    def _terms(self, gradients: Array, state: Sequence[Array], step: int) -> _Terms:
        first, second = state
        mean_factor, root_factor = self._factors(step)
        after = self.beta2 * second + gradients * gradients  # in the dtype of the state, as for RMSprop
        scale = mean_factor / (root_factor * np.sqrt(after.astype(np.float64)) + self.epsilon)
        return scale, 1.0, self.beta1 * first.astype(np.float64)

    def _factors(self, step: int) -> tuple[float, float]:
        """Return the factors with which, in the letters of the paper, first · factor = m̂ and √second · factor = √v̂."""
        mean_factor = (1.0 - self.beta1) / (1.0 - self.beta1**step)
        return mean_factor, math.sqrt((1.0 - self.beta2) / (1.0 - self.beta2**step))

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
