"""Why this answer: what each input, and each neuron of each hidden layer, adds to an output of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data import FeatureEncoder
from neuronwise.errors import UsageError
from neuronwise.explaining.local_linear import Pullback, Target, hidden_layers
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.path import integrate
from neuronwise.explaining.prediction_result import LayerContributions, Method, PredictionExplanation, Values
from neuronwise.explaining.unfamiliar import unfamiliar
from neuronwise.explaining.units import OutputUnit
from neuronwise.network import Network
from neuronwise.network.channels import neuron_axes

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Baseline:
    """What contributions are counted from.

    Attributes:
        values: An input, (inputs,) or (*input_shape).
        words: What it is: ``"the average of the 3,825 training rows"``.
    """

    values: NDArray[Any]
    words: str

    @classmethod
    def zeros(cls, meaning: Meaning) -> Baseline:
        """Return the baseline of zeros, and what that means for the inputs at hand."""
        words = "all inputs 0"
        if meaning.picture_shape is not None:
            words = "a black picture" if meaning.encoder is not None else "a picture of zeros"
        elif isinstance(meaning.encoder, FeatureEncoder):
            words = "all inputs 0: numbers at their mean, no category"
        return cls(np.zeros(len(meaning.input_names)), words)

    @classmethod
    def of(cls, given: ArrayLike | Baseline | None, meaning: Meaning) -> Baseline:
        """Return a baseline that a user gave, zeros where none.

        Raises:
            UsageError: Its size is not that of an input, or it has values that are not finite numbers.
        """
        if given is None:
            return cls.zeros(meaning)
        if isinstance(given, Baseline):
            return given
        values = np.asarray(given)
        if values.dtype.kind not in "fiub" or values.size != len(meaning.input_names) or not np.isfinite(values).all():
            raise UsageError(
                f"a baseline is one input of {len(meaning.input_names):,} finite numbers, got {values.dtype} of shape "
                f"{values.shape}",
                where="argument baseline",
            )
        return cls(values, "the given baseline")


@dataclass(frozen=True)
class Question:
    """Which output is asked about, as weights of the target's neurons.

    Attributes:
        target: The layer, and whether z or a of it.
        seed: (*output_shape): 1 at the output, -1 at the one it is compared with.
        name: Of the output.
        against: Of the one it is compared with, or None.
    """

    target: Target
    seed: Values
    name: str
    against: str | None

    @classmethod
    def of(
        cls, network: Network, y_hat: Array, output: str | int | None, against: str | int | None, meaning: Meaning
    ) -> Question:
        """Return the question on one answer, (outputs,): by default on the largest output.

        Raises:
            NotFoundError: There is no such output.
            UsageError: It is compared with itself, or there is only one.
        """
        target = Target.answer(network)
        layer = network.layers[target.position]
        seed = np.zeros(layer.neuron_count)
        two = meaning.target.classes if meaning.target is not None and meaning.target.task == "binary" else None
        if two is not None and against is None:
            # One neuron answers for both: the logit of the first class is minus that of the second.
            chosen = int(float(y_hat.reshape(-1)[0]) >= 0.5)
            if output is not None and str(output) == str(two[0]):
                chosen = 0
            elif output is not None:
                meaning.output(output)
                chosen = 1
            seed[0] = 1.0 if chosen else -1.0
            return cls(target, seed.reshape(layer.output_shape), str(two[chosen]), None)
        place = meaning.output(output, y_hat)
        seed[place] = 1.0
        other = None
        if against is not None:
            second = meaning.output(against)
            if second == place:
                raise UsageError(
                    f"{against!r:.100} is compared with itself: choose two different outputs", where="argument against"
                )
            seed[second] = -1.0
            other = str(meaning.output_names[second])
        return cls(target, seed.reshape(layer.output_shape), str(meaning.output_names[place]), other)


def explain_prediction(
    network: Network,
    x: ArrayLike,
    output: str | int | None = None,
    *,
    against: str | int | None = None,
    baseline: ArrayLike | Baseline | None = None,
    method: Literal["auto", "local linear map", "integrated gradients"] = "auto",
    steps: int | None = None,
    layers: Sequence[str] | None = None,
    meaning: Meaning | None = None,
    unit: str | None = None,
) -> PredictionExplanation:
    """Return why a network answers so for one input: what each column and each hidden neuron adds to an output.

    Of classes the logit (z before softmax or sigmoid) is explained, of numbers the output itself.

    Where every function is made of straight pieces (ReLU, leaky ReLU, identity; pooling, batch normalisation in
    evaluation) the network is a sum around the input, and the explanation is that sum: contribution = d output / d x ·
    (x - baseline), start = what the biases of all layers come to + d output / d x · baseline. Elsewhere it is
    integrated gradients, and of hidden neurons conductance (see `neuronwise.explaining.path`).

    Args:
        network: The network; it is not changed.
        x: One input, (*input_shape) or (inputs,).
        output: Name or index of the output; default the largest, which is the answer.
        against: Another output: the difference of both logits is explained ("why 7 and not 1?").
        baseline: What contributions are counted from, one input; default zeros, so that a contribution is gradient ×
            input. An average row is the better one for tables, because then a category counts by how it differs from
            the usual one.
        method: Default exact where that is possible, and integrated gradients elsewhere.
        steps: Steps of integrated gradients; default as many as bring the gap to 1e-4 of the sum of |contributions|.
        layers: Hidden layers whose neurons are told; default all that compute something.
        meaning: Names and units; default the network's own names.
        unit: Sign of money before amounts; default what stood in the target's cells, if anything.

    Raises:
        NotFoundError: There is no such output or layer.
        UsageError: More than one input, a baseline that does not fit, or the exact method asked of a curved network.
    """
    meaning = meaning or Meaning.of(network)
    inputs = network.check_input(x)
    if len(inputs) != 1:
        raise UsageError(
            f"one input is explained at a time, got {len(inputs):,}", where="argument x", hint="pass one row: x[0]"
        )
    point = np.asarray(inputs[0], network.dtype)
    question = Question.of(network, network.predict(inputs)[0], output, against, meaning)
    names = hidden_layers(network, question.target) if layers is None else _named(network, question.target, layers)
    reference = Baseline.of(baseline, meaning)
    origin = np.asarray(reference.values, np.float64).reshape(network.input_shape)
    curved = tuple(question.target.curved(network))
    if method not in ("auto", "local linear map", "integrated gradients"):
        raise UsageError(
            f"expected 'auto', 'local linear map' or 'integrated gradients', got {method!r:.100}",
            where="argument method",
        )
    if method == "local linear map" and curved:
        raise UsageError(
            f"{', '.join(curved)} is not made of straight pieces, so the local map does not add up to the answer",
            where="argument method",
            hint="method='integrated gradients'",
        )
    chosen: Method = "integrated gradients" if method == "integrated gradients" or curved else "local linear map"
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 1_000_000):
        raise UsageError(f"expected a whole number from 1 to 1,000,000, got {steps!r:.100}", where="argument steps")
    found = (_map if chosen == "local linear map" else _path)(network, point, origin, question, names, steps)
    return assemble(found, chosen, curved, question, network.predict(inputs)[0], point, reference, meaning, unit)


@dataclass(frozen=True)
class Found:
    """Contributions before they have names: see `PredictionExplanation`."""

    value: float
    start: float
    inputs: Values
    bias_terms: dict[str, float]
    layers: tuple[LayerContributions, ...]
    steps: int = 0
    is_close: bool = True


def _map(
    network: Network, x: Array, origin: Values, question: Question, layers: Sequence[str], steps: int | None
) -> Found:
    """Return the exact sum: gradient times input, and the constants of the layers."""
    seed = question.seed.astype(network.dtype)[None]
    pullback = Pullback(network, 1, question.target)
    value = float((pullback.forward(x[None]) * seed).sum(dtype=np.float64))
    gradient, kept = pullback.pull(seed, layers)
    terms = {name: float(term[0]) for name, term in pullback.bias_terms().items()}
    slope = gradient[0].astype(np.float64)
    with np.errstate(all="ignore"):
        inputs = slope * (x - origin)
        start = sum(terms.values()) + float((slope * origin).sum())
    told = []
    every = [layer.name for layer in network.layers]
    for name in layers:
        above = sum(terms.get(one, 0.0) for one in every[every.index(name) + 1 :])
        level, slopes = pullback.level(name)[0].astype(np.float64), kept[name][0].astype(np.float64)
        with np.errstate(all="ignore"):
            told.append(_layer(network, name, level, level * slopes, slopes, above, value))
    return Found(value, start, inputs, terms, tuple(told))


def _path(
    network: Network, x: Array, origin: Values, question: Question, layers: Sequence[str], steps: int | None
) -> Found:
    """Return integrated gradients and conductances."""
    found = integrate(network, x, origin, question.target, question.seed, layers, steps=steps)
    trace = network.trace(x[None])
    told = [
        _layer(network, name, trace[name].a[0].astype(np.float64), found.layers[name], None, found.start, found.value)
        for name in layers
    ]
    return Found(found.value, found.start, found.inputs, {}, tuple(told), found.steps, found.is_close)


def _layer(
    network: Network, name: str, level: Values, contributions: Values, slopes: Values | None, start: float, value: float
) -> LayerContributions:
    """Return a hidden layer's contributions, those of pictures summed over the places of each channel."""
    gap = value - start - float(contributions.sum())
    layer = network[name]
    axis = neuron_axes(network.layers)[network.layers.index(layer)]
    if contributions.ndim == 1:
        return LayerContributions(name, tuple(layer.unit_names()), level, slopes, contributions, start, gap)
    axes = tuple(place for place in range(contributions.ndim) if axis is None or place != axis - 1)
    sums, levels = np.atleast_1d(contributions.sum(axis=axes)), np.atleast_1d(level.mean(axis=axes))
    channels = tuple(f"{name}[{channel}]" for channel in range(len(sums)))
    return LayerContributions(name, channels, levels, None, sums, start, gap)


def assemble(
    found: Found,
    method: Method,
    curved: tuple[str, ...],
    question: Question,
    y_hat: NDArray[Any],
    x: NDArray[Any],
    reference: Baseline,
    meaning: Meaning,
    unit: str | None,
) -> PredictionExplanation:
    """Return contributions with names, units and words; `x` is one input, `y_hat` what the network answered."""
    flat = found.inputs.reshape(-1)
    columns = meaning.by_column(flat)
    picture = None
    if meaning.picture_shape is not None:
        picture = np.asarray(x).reshape(meaning.picture_shape)
    answers = np.asarray(y_hat, np.float64).reshape(-1)
    explains: Literal["logit", "output"] = "logit" if question.target.of == "z" else "output"
    probability = None
    if explains == "logit":
        place = int(np.argmax(question.seed.reshape(-1)))
        probability = float(answers[place])
        if question.seed.max() <= 0:  # the first of two classes
            probability = 1.0 - probability
    words = OutputUnit.of(meaning.target, unit)
    said = tuple(unfamiliar(meaning, x))
    answer = meaning.answer_words(answers)
    if words is not None:
        answer = f"{words.name} {words.words(words.amount(float(answers[0])))}"
    row = np.asarray(x, np.float64).reshape(-1)
    names = tuple(meaning.columns)
    if meaning.groups:
        values = [meaning.column_words(column, row) for column in names]
    else:
        values = [meaning.value_words(place, float(value)) for place, value in enumerate(row)]
    gap = found.value - found.start - float(flat.sum())
    return PredictionExplanation(
        answer, question.name, question.against, explains, found.value, probability, method, curved, found.steps,
        found.is_close, reference.words, found.start, names, values, columns, flat, found.bias_terms, gap,
        found.layers, words, said, picture,
    )  # fmt: skip


def _named(network: Network, target: Target, layers: Sequence[str]) -> list[str]:
    """Return layers that a user named, checked."""
    for name in layers:
        if network.layers.index(network[name]) >= target.position:
            raise UsageError(
                f"{name!r} is not below the output that is explained",
                where="argument layers",
                hint=f"hidden layers are {', '.join(hidden_layers(network, target)) or 'none here'}",
            )
    return list(layers)
