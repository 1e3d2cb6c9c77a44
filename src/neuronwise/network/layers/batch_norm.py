"""Batch normalisation: each neuron's values are brought to mean 0 and variance 1 over the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.network.activations import Activation, get_activation
from neuronwise.network.layers.base import ACTIVATION_PROPERTY, Array, Layer, Pass, Shape
from neuronwise.network.layers.images import DATA_FORMAT_PROPERTY, PlaceNames, check_data_format


class BatchNorm(Layer):
    """z = gamma · (x - mean) / √(variance + epsilon) + beta, a = f(z) (Ioffe and Szegedy 2015, algorithms 1 and 2).

    In training, mean and variance are those of the batch, and running averages of them are kept in the buffers; in
    evaluation (`predict`, `trace`, validation) the running averages are used. Of a vector each feature is normalised by
    itself; of a picture each channel, over batch, rows and columns. A training batch that has one value only for each
    has no variance: it is normalised as in evaluation, and leaves the buffers alone.

    Args:
        momentum: Weight of a batch in the running averages, from 0 to 1; default 0.1. As in torch, running ←
            (1 - momentum) · running + momentum · batch (Keras calls 1 minus this momentum), with the variance of the
            batch taken over n - 1.
        epsilon: Above 0; default 1e-5.
        activation: Activation function by name; default ``"identity"``.
        data_format: Of pictures: ``"channels_last"``, (rows, columns, channels), or ``"channels_first"``. A picture
            without channels, (rows, columns), has one.
        name: Default ``norm1`` …

    Attributes:
        gamma: Scales, (features,) or (channels,): views of the network's parameters; first 1.
        beta: Shifts, likewise; first 0.
        running_mean: Buffer, likewise; first 0.
        running_var: Buffer, likewise; first 1.
    """

    prefix = "norm"
    properties: ClassVar[dict[str, dict[str, Any]]] = {
        "momentum": {"type": "number", "minimum": 0, "maximum": 1, "description": "weight of a batch in the averages"},
        "epsilon": {"type": "number", "exclusiveMinimum": 0, "description": "added to the variance"},
        "activation": ACTIVATION_PROPERTY,
        "data_format": DATA_FORMAT_PROPERTY,
    }
    activation: Activation

    def __init__(
        self,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        activation: str | Activation = "identity",
        *,
        data_format: str = "channels_last",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.momentum = _number(momentum, "momentum", "a number from 0 to 1", lambda v: 0 <= v <= 1)
        self.epsilon = _number(epsilon, "epsilon", "a number above 0", lambda v: 0 < v < math.inf)
        self.activation = get_activation(activation)
        self.data_format = check_data_format(data_format)

    def _output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) > 3:
            raise UsageError(
                f"BatchNorm takes a vector or a picture, but its input has shape {input_shape}",
                where=f"layer {self.name}",
            )
        if self.activation.name == "softmax" and len(input_shape) != 1:
            raise UsageError(
                f"softmax compares the values of a vector, but the input has shape {input_shape}",
                where=f"layer {self.name}",
                hint="put Flatten() before it",
            )
        return input_shape

    @property
    def axis(self) -> int | None:
        """The axis of a batch along which features or channels lie; None for a picture without channels."""
        axes = len(self.input_shape)
        if axes == 2:
            return None
        return axes if axes == 1 or self.data_format == "channels_last" else 1

    @property
    def features(self) -> int:
        """Number of features or channels."""
        return 1 if self.axis is None else self.input_shape[self.axis - 1]

    def parameter_shapes(self) -> dict[str, Shape]:
        """Gamma, then beta: (features,)."""
        return {"gamma": (self.features,), "beta": (self.features,)}

    def initial_parameters(self, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """Gamma 1, beta 0."""
        return {"gamma": np.ones(self.features), "beta": np.zeros(self.features)}

    def buffer_shapes(self) -> dict[str, Shape]:
        """Mean, then variance: (features,)."""
        return {"running_mean": (self.features,), "running_var": (self.features,)}

    def initial_buffers(self) -> dict[str, NDArray[np.float64]]:
        """Mean 0, variance 1."""
        return {"running_mean": np.zeros(self.features), "running_var": np.ones(self.features)}

    @property
    def gamma(self) -> Array:
        """Scales, (features,)."""
        return self._parameter("gamma")

    @gamma.setter
    def gamma(self, value: ArrayLike) -> None:
        self._assign("gamma", value)

    @property
    def beta(self) -> Array:
        """Shifts, (features,)."""
        return self._parameter("beta")

    @beta.setter
    def beta(self, value: ArrayLike) -> None:
        self._assign("beta", value)

    @property
    def running_mean(self) -> Array:
        """Running mean, (features,)."""
        return self.buffers["running_mean"]

    @property
    def running_var(self) -> Array:
        """Running variance, (features,)."""
        return self.buffers["running_var"]

    def start(self, x: Array, gradients: dict[str, Array] | None, *, training: bool = False) -> BatchNormPass:
        """See `Layer.start`; in training the statistics are those of the batch."""
        return BatchNormPass(self, x, gradients, training=training)

    def formula(self) -> str:
        """A gamma and a beta each."""
        return f"2 × {self.features}"

    def algebra(self) -> str:
        """The formula with the number of features."""
        return f"a = {self.activation.name}(γ (x - μ) / √(σ² + {self.epsilon:g}) + β), γ, β, μ, σ² {self.features}"

    def unit_names(self) -> Sequence[str]:
        """``norm1[7]`` of a vector, ``norm1[7] @ (3, 4)`` of pictures: channel, row and column of each output."""
        if len(self.output_shape) == 1:
            return super().unit_names()
        return PlaceNames(self.name, self.output_shape, self.data_format)

    def __repr__(self) -> str:
        activation = "" if self.activation.name == "identity" else f"activation={self.activation.name!r}"
        return f"BatchNorm({activation})"


class BatchNormPass(Pass):
    """A `BatchNorm` layer at work.

    Attributes:
        mean: Mean that x was brought to 0 by, (features,).
        var: Variance likewise: the mean of squares over the batch, not over n - 1.
    """

    layer: BatchNorm
    z: Array
    delta: Array | None

    def __init__(self, layer: BatchNorm, x: Array, gradients: dict[str, Array] | None, *, training: bool) -> None:
        self.layer, self.x = layer, x
        # In the memory order of x, so that the loops of both run alike.
        self.z, self.a, self._normal = np.empty_like(x), np.empty_like(x), np.empty_like(x)
        self._axes = tuple(axis for axis in range(x.ndim) if axis != layer.axis)
        self._count = math.prod(x.shape[axis] for axis in self._axes)
        self._from_batch = training and self._count > 1
        self._shape = tuple(1 if axis in self._axes else n for axis, n in enumerate(x.shape))
        n = layer.features
        self.mean, self.var = layer.running_mean, layer.running_var
        if self._from_batch:
            self.mean, self.var = np.empty(n, x.dtype), np.empty(n, x.dtype)
        self._deviation = np.empty(n, x.dtype)
        self.delta = None
        if gradients is not None:
            self._dgamma, self._dbeta = gradients["gamma"], gradients["beta"]
            self.delta = self.da = np.empty_like(x)
        self._scratch = np.empty_like(x)

    def _wide(self, values: Array) -> Array:
        """Return one value per feature in a shape that goes with x."""
        return values.reshape(self._shape)

    def _sum(self, values: Array, out: Array) -> None:
        """Write the sum over all axes but that of the features."""
        np.add.reduce(values, axis=self._axes, out=out[0, ...] if self.layer.axis is None else out)

    def forward(self) -> None:
        """Normalise, then z = gamma · normal + beta, a = f(z)."""
        layer, normal, scratch = self.layer, self._normal, self._scratch
        if self._from_batch:
            self._sum(self.x, self.mean)
            self.mean /= self._count
            np.subtract(self.x, self._wide(self.mean), normal)
            np.multiply(normal, normal, scratch)
            self._sum(scratch, self.var)
            self.var /= self._count
        else:
            np.subtract(self.x, self._wide(self.mean), normal)
        np.add(self.var, layer.epsilon, self._deviation)
        np.sqrt(self._deviation, self._deviation)
        np.divide(normal, self._wide(self._deviation), normal)
        np.multiply(normal, self._wide(layer.gamma), self.z)
        np.add(self.z, self._wide(layer.beta), self.z)
        layer.activation.forward(self.z, self.a)

    def backward(self, dx: Array | None, *, from_logits: bool = False) -> None:
        """dgamma = Σ delta · normal, dbeta = Σ delta, and dL/dx through the statistics of the batch.

        dL/dx = gamma / deviation · (delta - dbeta / n - normal · dgamma / n), n values of each feature in the batch; in
        evaluation, where the statistics are constants, gamma / deviation · delta.
        """
        layer, delta, scratch = self.layer, self.da, self._scratch
        if not from_logits:
            layer.activation.backward(delta, self.z, self.a, scratch)
        np.multiply(delta, self._normal, scratch)
        self._sum(scratch, self._dgamma)
        self._sum(delta, self._dbeta)
        if dx is None:
            return
        scale = self._wide(layer.gamma / self._deviation)
        if self._from_batch:
            np.multiply(self._normal, self._wide(self._dgamma / self._count), scratch)
            np.subtract(delta, scratch, scratch)
            np.subtract(scratch, self._wide(self._dbeta / self._count), scratch)
            np.multiply(scratch, scale, dx)
        else:
            np.multiply(delta, scale, dx)

    def update_buffers(self) -> None:
        """Running ← (1 - momentum) · running + momentum · batch, the variance over n - 1."""
        if not self._from_batch:
            return
        layer, momentum = self.layer, self.layer.momentum
        unbiased = momentum * self._count / (self._count - 1)
        for running, batch, weight in (
            (layer.running_mean, self.mean, momentum),
            (layer.running_var, self.var, unbiased),
        ):
            running *= 1.0 - momentum
            running += weight * batch


def _number(value: float, argument: str, wanted: str, valid: Any) -> float:
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not valid(value):
        raise UsageError(f"expected {wanted}, got {value!r:.100}", where=f"argument {argument}")
    return float(value)
