"""The local linear map of a network at an input: how much each input counts there, and what the biases add.

Where every activation function is made of straight pieces through zero (ReLU, leaky ReLU, identity; pooling is so
too), a network is linear on the region around an input (Montúfar, Pascanu, Cho and Bengio 2014, "On the Number of
Linear Regions of Deep Neural Networks", section 2): out = J x + c. Then J is the gradient of the output by the input,
and c what the biases of all layers come to on their way to the output. Both are computed, none as the rest of the
other: J x + c = out is a check, and `LocalLinear.gap` says by how much it misses.

Elsewhere (sigmoid, tanh, GELU …) J is the slope at that point only: `LocalLinear.is_exact` is False.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError, UsageError
from neuronwise.files import format_bytes
from neuronwise.network import Layer, Network
from neuronwise.network.layers import ActivationLayer

Array = NDArray[np.floating[Any]]
Of = Literal["z", "a"]

# A map for every neuron of a layer and every row may be large.
_MAX_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Target:
    """What is asked about: z or a of a layer.

    Attributes:
        position: The layer's place in `network.layers`.
        of: ``"z"`` (pre-activation) or ``"a"`` (activation level).
    """

    position: int
    of: Of

    @classmethod
    def of_layer(cls, network: Network, layer: str | None = None, of: Of | None = None) -> Target:
        """Return the target that is z or a of a layer; default the last, and z where the layer has one.

        Raises:
            NotFoundError: There is no such layer.
            UsageError: z of a layer that has none (it only reshapes), or `of` is neither ``"z"`` nor ``"a"``.
        """
        if of not in (None, "z", "a"):
            raise UsageError(f"expected 'z' or 'a', got {of!r:.100}", where="argument of")
        position = len(network.layers) - 1 if layer is None else network.layers.index(network[layer])
        has_z = network.layers[position].activation is not None
        if of == "z" and not has_z:
            raise UsageError(
                f"the layer {network.layers[position].name!r} has no pre-activation z: it only rearranges or picks",
                where="argument of",
                hint='of="a"',
            )
        return cls(position, of or ("z" if has_z else "a"))

    @classmethod
    def answer(cls, network: Network) -> Target:
        """Return what a network's answer is best explained by: logits of a softmax or sigmoid, else the output itself.

        The softmax of an answer makes each class's probability depend on all logits; a logit stands for itself.
        """
        last = network.layers[-1].activation
        return cls(len(network.layers) - 1, "z" if last is not None and last.name in ("softmax", "sigmoid") else "a")

    def curved(self, network: Network) -> list[str]:
        """Return names of the layers on the way to the target whose function is not made of straight pieces."""
        used = network.layers[: self.position + (self.of == "a")]
        return [one.name for one in used if one.activation is not None and not one.activation.is_piecewise_linear]


class Pullback:
    """A network at work on batches of one size: forward once, then backward from any of its values to the inputs.

    The passes are the engine's own, as in backpropagation, in evaluation: dropout drops nothing, batch normalisation
    uses its running averages. The network is not changed.

    Args:
        network: The network.
        batch_size: Rows of a batch.
        target: What the gradients are of; default z of the last layer, or a where it has no z.

    Attributes:
        target: Likewise.
    """

    def __init__(self, network: Network, batch_size: int, target: Target | None = None) -> None:
        self.target = target or Target.of_layer(network)
        self._network = network
        self._space = network.workspace(batch_size, np.zeros_like(network.parameters), input_gradient=True)
        self._used = self._space.passes[: self.target.position + 1]
        assert self._space.dx is not None
        self._below = [self._space.dx, *(one.da for one in self._used[:-1])]
        self._constants: dict[str, Array] | None = None

    def forward(self, x: ArrayLike) -> Array:
        """Return the target's values, (batch, *output_shape of its layer): a buffer, overwritten by the next call.

        Args:
            x: Inputs, (batch, *input_shape).
        """
        with np.errstate(all="ignore"):
            np.copyto(self._space.x, x)
            for one in self._used:
                one.forward()
        return self._values

    @property
    def _values(self) -> Array:
        last = self._used[-1]
        if self.target.of == "a":
            return last.a
        assert last.z is not None
        return last.z

    def level(self, layer: str) -> Array:
        """Return the activation levels of a layer at or below the target after `forward`, (batch, *output_shape)."""
        return self._used[self._position(layer)].a

    def pull(self, seed: ArrayLike, keep: Collection[str] = ()) -> tuple[Array, dict[str, Array]]:
        """Return the gradient of the sum of seed · target by the inputs, for each row by itself; after `forward`.

        Args:
            seed: (batch, *output_shape of the target's layer), or what broadcasts to it: 1 at the neuron that is asked
                about and 0 elsewhere, or the weights of a sum of neurons.
            keep: Layers below the target of which the gradient by their activation levels is wanted too.

        Returns:
            The gradient by x, (batch, *input_shape), a buffer, and copies of those by a of the layers in `keep`.
        """
        wanted = {self._position(name): name for name in keep}
        kept: dict[str, Array] = {}
        with np.errstate(all="ignore"):
            np.copyto(self._used[-1].da, seed)
            from_z = self.target.of == "z"
            for position in range(self.target.position, -1, -1):
                one = self._used[position]
                if position in wanted:
                    kept[wanted[position]] = np.array(one.da)
                one.backward(self._below[position], from_logits=from_z)
                from_z = False
        return self._below[0], kept

    def bias_terms(self) -> dict[str, Array]:
        """Return what the constants of each layer add to what `pull` asked about last, (batch,) each, by layer.

        The constant of a dense layer or a convolution is its bias; of a batch normalisation, beta - gamma · mean /
        deviation. It is z of an input of zeros; its term is the sum of dout/dz times it.
        """
        if self._constants is None:
            self._constants = {one.layer.name: constant(one.layer, self._network.dtype) for one in self._used}
        terms = {}
        with np.errstate(all="ignore"):
            for one in self._used:
                if one.delta is not None and one.layer.parameters:
                    own = self._constants[one.layer.name]
                    terms[one.layer.name] = (one.delta * own).reshape(len(one.delta), -1).sum(axis=1, dtype=np.float64)
        return terms

    def _position(self, layer: str) -> int:
        position = self._network.layers.index(self._network[layer])
        if position > self.target.position:
            raise UsageError(
                f"the layer {layer!r} stands above {self._network.layers[self.target.position].name!r}, so nothing "
                "of it reaches there",
                where="argument layer",
            )
        return position


def constant(layer: Layer, dtype: np.dtype[Any]) -> Array:
    """Return what a layer makes of zeros, (1, *output_shape): z, which all layers compute by weights and constants."""
    one = layer.start(np.zeros((1, *layer.input_shape), dtype), None)
    with np.errstate(all="ignore"):
        one.forward()
    return one.a if one.z is None else one.z


@dataclass(frozen=True)
class LocalLinear:
    """The local linear maps of some neurons at some inputs; K neurons, each with a map of its own at each input.

    Attributes:
        layer: The layer of the neurons.
        of: Whether they are looked at as ``"z"`` or ``"a"``.
        neurons: Their places in the layer's flattened output, (K,).
        x: The inputs, (batch, *input_shape).
        value: What the network computed, (batch, K).
        gradient: d value / d x, (batch, K, *input_shape).
        bias_terms: What the constants of each layer add, (batch, K) each, float64, by layer.
        curved: Layers on the way whose function is not made of straight pieces; empty where the map is exact.
    """

    layer: str
    of: Of
    neurons: NDArray[np.int64]
    x: Array
    value: Array
    gradient: Array
    bias_terms: Mapping[str, NDArray[np.float64]] = field(repr=False)
    curved: tuple[str, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether contributions and bias terms sum to the value: every function on the way is piecewise linear."""
        return not self.curved

    @property
    def contributions(self) -> NDArray[np.float64]:
        """Gradient times input, (batch, K, *input_shape), formed in float64."""
        with np.errstate(all="ignore"):
            products: NDArray[np.float64] = self.gradient.astype(np.float64) * self.x[:, None]
        return products

    @property
    def bias(self) -> NDArray[np.float64]:
        """What the constants of all layers add, (batch, K)."""
        return np.asarray(sum(self.bias_terms.values(), np.zeros(self.value.shape)), np.float64)

    @property
    def gap(self) -> NDArray[np.float64]:
        """Value minus (contributions + bias), (batch, K): rounding where the map is exact."""
        total = self.contributions.reshape(*self.value.shape, -1).sum(axis=-1) + self.bias
        with np.errstate(all="ignore"):
            return np.asarray(self.value.astype(np.float64) - total)


def local_linear(
    network: Network,
    x: ArrayLike,
    layer: str | None = None,
    neurons: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
    *,
    of: Of | None = None,
) -> LocalLinear:
    """Return how neurons depend on the inputs at each of some inputs: gradient, bias terms, and the check of the sum.

    Args:
        network: The network.
        x: Inputs, (batch, *input_shape), or one.
        layer: The layer of the neurons; default the last.
        neurons: Places in the layer's flattened output, one or some; default all of them.
        of: ``"z"`` (default where the layer has one) or ``"a"``.

    Raises:
        NotFoundError: There is no such layer or neuron.
        UsageError: The shape of `x` does not fit, the layer has no z, or the result would take more than 2 GB.
    """
    target = Target.of_layer(network, layer, of)
    chosen = network.layers[target.position]
    places = _places(neurons, chosen)
    inputs = np.asarray(network.check_input(x), dtype=network.dtype)
    shape = (len(inputs), len(places), *network.input_shape)
    size = math.prod(shape) * network.dtype.itemsize
    if size > _MAX_BYTES:
        raise UsageError(
            f"maps of {len(places):,} neurons at {len(inputs):,} inputs take {format_bytes(size)}; the limit is "
            f"{format_bytes(_MAX_BYTES)}",
            where="argument neurons",
            hint="ask about fewer neurons or inputs at a time; Pullback goes batch by batch",
        )
    gradient = np.empty(shape, network.dtype)
    value = np.empty(shape[:2], network.dtype)
    terms: dict[str, NDArray[np.float64]] = {}
    for rows in row_batches(network, len(inputs)):
        batch = inputs[rows]
        pullback = Pullback(network, len(batch), target)
        values = pullback.forward(batch)
        value[rows] = values.reshape(len(batch), -1)[:, places]
        for k, place in enumerate(places.tolist()):
            seed = np.zeros((1, chosen.neuron_count), network.dtype)
            seed[0, place] = 1.0
            gradient[rows, k], _ = pullback.pull(seed.reshape(1, *chosen.output_shape))
            for name, term in pullback.bias_terms().items():
                terms.setdefault(name, np.zeros(shape[:2]))[rows, k] = term
    curved = tuple(target.curved(network))
    return LocalLinear(chosen.name, target.of, places, inputs, value, gradient, terms, curved)


def row_batches(network: Network, count: int) -> list[slice]:
    """Return slices of rows, each as many as a pass should take at a time."""
    size = network.rows_at_a_time
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def hidden_layers(network: Network, target: Target) -> list[str]:
    """Return names of the layers below a target that compute something of their own, in order.

    A last layer that is an activation function alone has its z from the layer below, which is then the target itself.
    """
    below = network.layers[: target.position]
    if target.of == "z" and isinstance(network.layers[target.position], ActivationLayer) and below:
        below = below[:-1]
    return [one.name for one in below if one.activation is not None]


def _places(neurons: Any, layer: Layer) -> NDArray[np.int64]:
    count = layer.neuron_count
    if neurons is None:
        return np.arange(count)
    places = np.atleast_1d(np.asarray(neurons))
    if places.ndim != 1 or places.dtype.kind not in "iu" or not places.size:
        raise UsageError(f"expected whole numbers, got {neurons!r:.100}", where="argument neurons")
    wrong = places[(places < 0) | (places >= count)]
    if len(wrong):
        raise NotFoundError(
            f"the layer {layer.name!r} has {count:,} neurons, 0 to {count - 1:,}, got {int(wrong[0])}",
            where="argument neurons",
        )
    return places.astype(np.int64)
