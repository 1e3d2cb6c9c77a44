"""A neuron on one input: its weighted sum term by term, in names and original units, and what became of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neurons import Located, by_neuron, locate, map_shape, picture_plan, sees_inputs
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.unfamiliar import unfamiliar
from neuronwise.network import Network, Trace, get_activation
from neuronwise.network.layers import BatchNorm, Conv2D, Dense

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Terms that are listed; the rest stands in one line.
SHOWN = 12


@dataclass(frozen=True)
class InputTerm:
    """One term of a neuron's sum.

    Attributes:
        name: Of the input, or of the neuron of the layer below.
        original: The value in its original unit (``2,570``); None where it has none, such as an activation level.
        input: The value that is multiplied.
        weight: By which.
        product: Of both, in float64.
    """

    name: str
    original: str | None
    input: float
    weight: float
    product: float


@dataclass(frozen=True)
class Competitor:
    """A neuron of a softmax layer: its name, its z and its level, which add up to 1 over the layer."""

    name: str
    z: float
    a: float


@dataclass(frozen=True)
class NeuronOnInput(Explanation):
    """How a neuron came to its activation level on one input.

    Attributes:
        neuron: Its name.
        terms: One for each input, in their order.
        bias: The bias.
        z: The pre-activation as the network computed it.
        gap: z less the exact sum of terms and bias.
        rounding: What rounding may do at most to such a sum (Higham 2002, Accuracy and Stability of Numerical
            Algorithms, eq. 3.5: n u / (1 - n u) · Σ |terms|, with u half the spacing of floats around 1).
        activation: Name of the activation function.
        activation_level: a = f(z).
        competitors: Of a softmax, all neurons of the layer.
        note: What else is to be said: at which place, or how the input was normalised; ``""`` for nothing.
        unfamiliar: Sentences on what the input has that training never had.
        weight_pictures, input_pictures: Where the inputs are pictures, weights and inputs as (channels, rows, columns).
        channels: A name for each of these channels.
    """

    neuron: str
    terms: tuple[InputTerm, ...]
    bias: float
    z: float
    gap: float
    rounding: float
    activation: str
    activation_level: float
    competitors: tuple[Competitor, ...] = ()
    note: str = ""
    unfamiliar: tuple[str, ...] = ()
    weight_pictures: NDArray[np.float64] | None = None
    input_pictures: NDArray[np.float64] | None = None
    channels: tuple[str, ...] = ()

    @property
    def adds_up(self) -> bool:
        """Whether the terms and the bias are z, as exactly as rounding lets them; also where both are not finite."""
        return abs(self.gap) <= self.rounding or not math.isfinite(self.z)

    def largest(self, k: int | None = None) -> list[InputTerm]:
        """Return the `k` terms of largest |input × weight|, the largest first; those that are NaN come before all."""
        return sorted(self.terms, key=_size, reverse=True)[:k]

    def rest(self, k: int) -> float:
        """Return the sum of all but the `k` largest terms."""
        return _exact([term.product for term in self.largest()[k:]])

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as JSON's types; the pictures hold those of the terms again and are left out."""
        return {
            key: value for key, value in super().to_dict().items() if key not in ("weight_pictures", "input_pictures")
        }

    def blocks(self) -> Sequence[Block]:
        """Return the sum as a table, its check, and the activation function."""
        said: list[Block] = [
            f"{self.neuron} on this input: z = {_signed(self.z)}, activation level {self.activation}(z) = "
            f"{self.activation_level:.4g}"
        ]
        if self.note:
            said.append(self.note)
        said += self.unfamiliar
        said.append(self._table())
        said.append(self._check())
        wrong = [term for term in self.terms if not math.isfinite(term.product)]
        if wrong:
            named = ", ".join(term.name for term in wrong[:5]) + (" …" if len(wrong) > 5 else "")
            said.append(f"{len(wrong):,} of the terms are not finite: {named}")
        said.append(self._bend())
        return said

    def _table(self) -> Table:
        has_units = any(term.original is not None for term in self.terms)
        shown = self.largest(SHOWN)
        rows = [
            (
                term.name if term.original is None else f"{term.name} = {term.original}",
                f"{term.input:.4g}",
                f"{term.weight:.4g}",
                _signed(term.product),
            )
            for term in shown
        ]
        left = len(self.terms) - len(shown)
        if left:
            rows.append((f"the rest ({left:,} {'term' if left == 1 else 'terms'})", "", "", _signed(self.rest(SHOWN))))
        rows += [("bias", "", "", _signed(self.bias)), ("z", "", "", _signed(self.z))]
        return Table(("term", "scaled" if has_units else "input", "× weight", "= product"), tuple(rows))

    def _check(self) -> str:
        count = len(self.terms)
        summed = f"The {count:,} {'term and the bias add' if count == 1 else 'terms and the bias add'} up to"
        if not math.isfinite(self.z):
            return f"{summed} {_signed(self.z - self.gap)}, which is not finite, nor is the network's z, {self.z}."
        exact = f"{summed} {self.z - self.gap:+.6g}; the network's own z is {self.z:+.6g}: they differ by "
        if self.adds_up:
            return f"{exact}{abs(self.gap):.1e}, no more than rounding does (up to {self.rounding:.1e})."
        return f"{exact}{abs(self.gap):.1e}, MORE than rounding does (up to {self.rounding:.1e})."

    def _bend(self) -> str:
        if not self.competitors:
            activation = get_activation(self.activation)
            return f"a = {self.activation}(z): {activation.formula}; at z = {_signed(self.z)} it is " + (
                f"{self.activation_level:.4g}."
            )
        first = sorted(self.competitors, key=lambda one: -one.z if one.z == one.z else -math.inf)[:3]
        others = ", ".join(f"{one.name} z {_signed(one.z)} → {one.a:.4g}" for one in first)
        return (
            f"a = exp(z) / Σ exp(z of all {len(self.competitors)} neurons of the layer) = {self.activation_level:.4g}: "
            f"the levels add up to 1. The largest are {others}."
        )

    def figure(self) -> Figure:
        """Return the sum as bars, or as pictures weight × input = product, beside the activation function."""
        from neuronwise.explaining.neuron_pictures import draw_neuron_on_input

        return draw_neuron_on_input(self)


def explain_neuron(network: Network, neuron: str, x: ArrayLike, *, meaning: Meaning | None = None) -> NeuronOnInput:
    """Return how a neuron of a network came to its activation level on one input, term by term.

    The products are formed in float64 and added exactly; `NeuronOnInput.gap` says by how much the network's own z, in
    its own precision, differs. The terms of a deeper neuron are the activation levels of the layer below.

    Args:
        network: The network.
        neuron: Name: ``"hidden1[7]"``; of a convolution at a place, ``"conv1[7] @ (3, 4)"``, or without one, for the
            place where it answers most.
        x: One input of the network, (*input_shape), or a batch of one.
        meaning: Names and units of the inputs; default what the network knows.

    Raises:
        NotFoundError: There is no such neuron.
        UsageError: `x` is not one input of the network.

    Example:
        >>> from neuronwise import Network
        >>> network = Network.dense([3, 4, 2], seed=1)
        >>> told = explain_neuron(network, "hidden1[2]", [1.0, 0.5, -2.0])
        >>> len(told.terms), told.adds_up
        (3, True)
    """
    found = locate(network, neuron)
    batch = network.check_input(x)
    if len(batch) != 1:
        raise UsageError(f"one input is explained, got {len(batch):,}", where="argument x", hint="pass one row: x[0]")
    return of_trace(network, found, network.trace(batch), 0, meaning)


@np.errstate(all="ignore")  # inf and NaN are answers, not accidents
def of_trace(network: Network, found: Located, trace: Trace, row: int, meaning: Meaning | None = None) -> NeuronOnInput:
    """Return the same for a row of what a network computed for a batch."""
    meaning = Meaning.of(network) if meaning is None else meaning
    seen = trace.layers[found.position]
    assert seen.z is not None  # a layer with neurons
    z, a = (by_neuron(values[row : row + 1], network, found.position)[0] for values in (seen.z, seen.a))
    shape, note, at = map_shape(network, found.position), "", 0
    if shape is not None:
        if found.place is None:
            strongest = divmod(int(np.argmax(a[:, found.index])), shape[1])
            found = dataclasses.replace(found, place=strongest)
            note = f"Of its {shape[0]} × {shape[1]} places this is the one where it answers most."
        assert found.place is not None
        at = found.place[0] * shape[1] + found.place[1]
    parts = _parts(network, found, seen.x[row], at, meaning)
    with np.errstate(all="ignore"):
        products = parts.inputs * parts.weights
    terms = tuple(
        InputTerm(name, original, value, weight, product)
        for name, original, value, weight, product in zip(
            parts.names,
            _originals(meaning, parts),
            parts.inputs.tolist(),
            parts.weights.tolist(),
            products.tolist(),
            strict=True,
        )
    )
    own_z, level = float(z[at, found.index]), float(a[at, found.index])
    total = _exact([*products.tolist(), parts.bias])
    activation = found.layer.activation
    assert activation is not None
    competitors: tuple[Competitor, ...] = ()
    if activation.name == "softmax":
        names = meaning.output_names if found.position == len(network.layers) - 1 else found.layer.unit_names()
        competitors = tuple(Competitor(str(n), float(s), float(t)) for n, s, t in zip(names, z[0], a[0], strict=True))
    said = " ".join(part for part in (note, parts.note) if part)
    return NeuronOnInput(
        found.name, terms, parts.bias, own_z, own_z - total, _rounding(network, products, parts.bias),
        activation.name, level, competitors, said, tuple(unfamiliar(meaning, trace.layers[0].x[row])),
        parts.weight_pictures, parts.input_pictures, parts.channels,
    )  # fmt: skip


@dataclass(frozen=True)
class _Parts:
    """What a neuron multiplies: names, the network's inputs they are (None: none), values, weights, pictures."""

    names: Sequence[str]
    places: list[int] | None
    inputs: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float
    note: str = ""
    weight_pictures: NDArray[np.float64] | None = None
    input_pictures: NDArray[np.float64] | None = None
    channels: tuple[str, ...] = ()

    def with_pictures(self, weights: NDArray[np.float64], inputs: NDArray[np.float64], are_inputs: bool) -> _Parts:
        """Return the same with pictures, (channels, rows, columns); none of a patch that lies in the padding wholly."""
        if not weights.size:
            return self
        names = channel_names(len(weights), are_inputs)
        return dataclasses.replace(self, weight_pictures=weights, input_pictures=inputs, channels=names)


def _parts(network: Network, found: Located, x: NDArray[Any], at: int, meaning: Meaning) -> _Parts:
    layer, raw = found.layer, sees_inputs(network, found.position)
    if isinstance(layer, Dense):
        inputs, weights = x.astype(np.float64).reshape(-1), layer.W[found.index].astype(np.float64)
        names = meaning.input_names if raw else layer.input_names
        places = list(range(len(inputs))) if raw else None
        plan = picture_plan(network, found.position, meaning.picture_shape)
        parts = _Parts(names, places, inputs, weights, float(layer.b[found.index]))
        return parts if plan is None else parts.with_pictures(plan.channels(weights), plan.channels(inputs), raw)
    if isinstance(layer, Conv2D):
        assert found.place is not None
        view = layer.neurons[found.index].at(*found.place)
        inputs, weights = view.patch(x).astype(np.float64), view.weights.astype(np.float64)
        under = view.patch(np.arange(x.size).reshape(x.shape)).tolist()
        names = [(meaning.input_names if raw else layer.input_names)[i] for i in under]
        outside = layer.W[found.index].size - weights.size
        note = f"{outside:,} of its weights lie outside the picture, where there is nothing." if outside else ""
        parts = _Parts(names, under if raw else None, inputs, weights, float(layer.b[found.index]), note)
        return parts.with_pictures(weights.reshape(view.patch_shape), inputs.reshape(view.patch_shape), raw)
    values = by_neuron(x[None], network, found.position)[0]
    order = by_neuron(np.arange(x.size, dtype=np.float64).reshape(1, *x.shape), network, found.position)[0]
    place, value = int(order[at, found.index]), float(values[at, found.index])
    name = str((meaning.input_names if raw else layer.input_names)[place])
    if not isinstance(layer, BatchNorm):  # an activation that stands alone
        return _Parts([name], [place] if raw else None, np.array([value]), np.ones(1), 0.0)
    i = found.index
    mean, deviation = float(layer.running_mean[i]), math.sqrt(float(layer.running_var[i]) + layer.epsilon)
    note = (
        f"Its input {value:.4g} is normalised first: less the running mean {mean:.4g}, divided by the deviation "
        f"{deviation:.4g}. The weight is gamma, the bias beta."
    )
    normal = np.array([(value - mean) / deviation])
    return _Parts([f"{name}, normalised"], None, normal, np.array([float(layer.gamma[i])]), float(layer.beta[i]), note)


def channel_names(count: int, are_inputs: bool) -> tuple[str, ...]:
    """Return a name for each channel of a picture: red, green and blue of an input, numbers of others."""
    if are_inputs and count == 3:
        return ("red", "green", "blue")
    return ("",) if count == 1 else tuple(f"channel {i}" for i in range(count))


def _originals(meaning: Meaning, parts: _Parts) -> list[str | None]:
    if parts.places is None:
        return [None] * len(parts.inputs)
    return [meaning.original_words(i, value) for i, value in zip(parts.places, parts.inputs.tolist(), strict=True)]


def _rounding(network: Network, products: NDArray[np.float64], bias: float) -> float:
    unit = float(np.finfo(network.dtype).eps) / 2
    n = len(products) + 2  # a rounding of each product, of each addition and of the bias
    # Batch normalisation divides, too: its one term is rounded a few times more, which the 2 and this 4 allow for.
    share = (n + 4) * unit
    with np.errstate(all="ignore"):
        return share / (1 - share) * (float(np.abs(products).sum()) + abs(bias)) + float(np.finfo(network.dtype).tiny)


def _size(term: InputTerm) -> float:
    return math.inf if math.isnan(term.product) else abs(term.product)


def _exact(values: list[float]) -> float:
    """Return the exactly rounded sum; with inf or NaN that of IEEE arithmetic."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        with np.errstate(all="ignore"):
            return float(np.sum(values))


def _signed(value: float) -> str:
    return f"{value:+.4g}" if value else "0"
