"""What `explain_prediction` returns: an answer as a sum over columns, and over the neurons of each hidden layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.columns import figure as number_words
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.units import OutputUnit, round_to

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = NDArray[np.float64]
Method = Literal["local linear map", "integrated gradients"]

# How many columns, pixels and neurons of a layer a table shows: those that count most.
_COLUMNS, _PIXELS, _NEURONS = 20, 8, 6


@dataclass(frozen=True)
class LayerContributions:
    """What each neuron of a hidden layer adds to an output.

    Attributes:
        layer: The layer.
        names: Of its neurons: of a convolution its filters, each summed over its places.
        activation: Activation level a of each, (neurons,); of a filter the mean over its places.
        slope: d output / d a of each, (neurons,); None for filters, which have one at each place, and for integrated
            gradients, where it changes along the line.
        contributions: (neurons,): a · slope, or the conductance.
        start: What they add to: what the biases of the layers above come to, or the output at the baseline.
        gap: The output minus start and all contributions.
        level: What `activation` is called: of a PyTorch module it is its output, before or after its function.
    """

    layer: str
    names: Sequence[str]
    activation: Values
    slope: Values | None
    contributions: Values
    start: float
    gap: float
    level: str = "activation level"


@dataclass(frozen=True)
class PredictionExplanation(Explanation):
    """One answer of a network as a sum: start + contributions + gap = value.

    Attributes:
        answer: The answer in words: ``price 512,300``, ``7 (93.1 %)``.
        output: Name of the output that is explained: a class, or the target.
        against: The class from whose logit the difference is explained, or None.
        explains: ``"logit"`` where the network ends in softmax or sigmoid, else ``"output"``.
        value: That logit or output, as the network computed it.
        probability: What softmax or sigmoid makes of it, or None.
        method: ``"local linear map"`` (exact) or ``"integrated gradients"``.
        curved: Layers whose functions are not made of straight pieces; empty where the map is exact.
        steps: Steps of the path of integrated gradients; 0 for the map.
        is_close: Whether integrated gradients came as close as wanted; True for the map.
        baseline: What contributions are counted from, in words.
        start: What the contributions add to. Of the map: what the same piece of it answers at the baseline, which for
            a baseline of zeros is `bias_terms` alone. Of integrated gradients: the output at the baseline.
        names: Of the columns; of the inputs where there is no table.
        values: What the input has there, in words.
        contributions: What each adds to the value, (columns,).
        input_contributions: The same of each single input, (inputs,).
        bias_terms: What the constants of each layer add to the value; empty for integrated gradients.
        gap: value - start - the sum of all contributions: rounding, or what integrated gradients missed.
        layers: The same over the neurons of each hidden layer.
        unit: How the output becomes the target of a regression, or None.
        unfamiliar: What of the input training has never seen.
        picture: The input as (height, width) or (height, width, channels), or None.
    """

    answer: str
    output: str
    against: str | None
    explains: Literal["logit", "output"]
    value: float
    probability: float | None
    method: Method
    curved: tuple[str, ...]
    steps: int
    is_close: bool
    baseline: str
    start: float
    names: Sequence[str]
    values: Sequence[str]
    contributions: Values
    input_contributions: Values
    bias_terms: Mapping[str, float]
    gap: float
    layers: tuple[LayerContributions, ...]
    unit: OutputUnit | None = None
    unfamiliar: tuple[str, ...] = ()
    picture: NDArray[Any] | None = field(default=None, repr=False)

    @property
    def is_exact(self) -> bool:
        """Whether the contributions are those of the network's own sum, not an integral's."""
        return self.method == "local linear map"

    @property
    def order(self) -> list[int]:
        """Places of the columns, those that count most first; NaN first of all."""
        return _order(self.contributions)

    def factor(self, column: str) -> float:
        """Return what a column multiplies the target by; of a target whose logarithm is learned."""
        assert self.unit is not None
        return self.unit.factor(float(self.contributions[list(self.names).index(column)]))

    def blocks(self) -> list[Block]:
        """Return the answer, the sum, its check, how it was found, and the hidden layers."""
        return [
            self._headline(), *self._notes(), self._sum_table(), self._check(), self._how(), *self._meaning(),
            *(_layer_table(one, self.unit, self.what, self.is_exact) for one in self.layers),
        ]  # fmt: skip

    @property
    def what(self) -> str:
        """What is explained, in words: ``the logit of 7``, ``the logarithm of price, standardised``."""
        if self.against is not None:
            return f"the logit of {self.output} minus that of {self.against}"
        if self.explains == "logit":
            return f"the logit of {self.output}"
        if self.unit is not None:
            return f"{'the logarithm of ' if self.unit.log else ''}{self.unit.name}, standardised"
        return self.output

    def _headline(self) -> str:
        if not self.order:
            return f"{self.answer}: {self.what} is {number(self.value)}."
        best = self.order[0]
        counted = f"{self.names[best]} {self.values[best]}".strip()
        if self.picture is not None:
            return f"{self.answer}: {self.what} is {number(self.value)}."
        amount = self._amount_words(float(self.contributions[best]))
        return f"{self.answer}: {counted} counts most, {amount}."

    def _amount_words(self, contribution: float) -> str:
        if self.unit is None:
            return f"{signed(contribution)} to {self.what}"
        about = self.unit.words(self.unit.difference(contribution, self.value), signed=True)
        return f"× {self.unit.factor(contribution):.2f}, about {about}" if self.unit.log else f"about {about}"

    def _notes(self) -> list[str]:
        return [f"Beware: {words}." for words in self.unfamiliar]

    def _sum_table(self) -> Table:
        unit = self.unit
        headings = ["pixel" if self.picture is not None else "column", "value", "contribution"]
        headings += ["factor"] * (unit is not None and unit.log) + ["about"] * (unit is not None)
        most = _PIXELS if self.picture is not None else _COLUMNS

        def cells(name: str, value: str, contribution: float) -> tuple[str, ...]:
            row = [name, value, signed(contribution)]
            if unit is not None and unit.log:
                row.append(f"× {unit.factor(contribution):.3f}")
            if unit is not None:
                row.append(unit.words(unit.difference(contribution, self.value), signed=True))
            return tuple(row)

        def total(name: str, amount: float) -> tuple[str, ...]:
            row = [name, "", number(amount)] + [""] * (unit is not None and unit.log)
            return tuple(row + ([unit.words(unit.amount(amount))] if unit is not None else []))

        order = self.order
        rows = [total(f"start ({self.baseline})", self.start)]
        rows += [cells(self.names[i], self.values[i], float(self.contributions[i])) for i in order[:most]]
        if rest := order[most:]:
            words = "pixels" if self.picture is not None else "columns"
            rows.append(cells(f"the other {len(rest):,} {words}", "", float(self.contributions[rest].sum())))
        rows.append(total(f"sum = {self.what}", self.start + float(self.contributions.sum())))
        return Table(tuple(headings), tuple(rows))

    def _check(self) -> str:
        size = abs(self.start) + float(np.abs(self.contributions).sum())
        share = f", {abs(self.gap) / size:.1e} of all that was added" if size > 0 and math.isfinite(self.gap) else ""
        return f"The network computed {number(self.value)}; the sum misses it by {self.gap:.1e}{share}."

    def _how(self) -> str:
        if self.is_exact:
            return (
                "Exact: every function of this network is made of straight pieces, so around this input it is a sum. "
                f"A contribution is gradient × (input − baseline); the baseline is {self.baseline}, and start is what "
                "the same piece answers there."
            )
        close = "" if self.is_close else ", which is more than wanted: the network is steep on the way"
        why = f"curved is {', '.join(self.curved)}" if self.curved else "asked for"
        return (
            f"Integrated gradients ({why}): what each input adds on the straight line from the baseline "
            f"({self.baseline}) to this input, in {self.steps:,} steps{close}."
        )

    def _meaning(self) -> list[str]:
        said = []
        if self.unit is not None and self.unit.log:
            said.append(
                f"The logarithm of {self.unit.name} was learned. What is added to a logarithm multiplies: so each "
                "contribution is a factor, and the product of all is the answer. The amounts tell by how much the "
                "answer would be smaller without one of them, and do not add up."
            )
        if self.probability is not None and self.explains == "logit":
            said.append(
                f"A logit is the sum before softmax or sigmoid turns it into a probability; that of {self.output} is "
                f"{100 * self.probability:.2f} %."
            )
        return said

    def figure(self) -> Figure:
        """Return the sum as a waterfall of bars, or as a map over the picture, beside the hidden layers."""
        from neuronwise.explaining.prediction_picture import draw

        return draw(self)


def number(value: float) -> str:
    """Return a number of four digits that count, with commas and a true minus sign."""
    if not math.isfinite(value):
        return str(value)
    return ("−" if value < 0 else "") + number_words(abs(round_to(value, 4)))


def signed(value: float) -> str:
    """Return a number with its sign, of at most four digits that count."""
    if not math.isfinite(value):
        return str(value)
    return ("−" if value < 0 else "+") + f"{abs(value):.4g}"


def _order(contributions: Values) -> list[int]:
    size = np.where(np.isnan(contributions), np.inf, np.abs(contributions))
    order: list[int] = np.argsort(-size, kind="stable").tolist()
    return order


def top(layer: LayerContributions, most: int = _NEURONS) -> list[int]:
    """Return places of the neurons that count most."""
    return _order(layer.contributions)[:most]


def _layer_table(layer: LayerContributions, unit: OutputUnit | None, what: str, is_exact: bool) -> Table:
    has_slope = layer.slope is not None
    has_factor = unit is not None and unit.log
    headings = ["neuron", layer.level, *(["slope"] * has_slope), "contribution", *(["factor"] * has_factor)]

    def cells(name: str, level: str, slope: str, value: float) -> tuple[str, ...]:
        factor = [f"× {unit.factor(value):.3f}"] if unit is not None and unit.log else []
        return (name, level, *([slope] * has_slope), signed(value), *factor)

    order = _order(layer.contributions)
    shown, rest = order[:_NEURONS], order[_NEURONS:]
    rows = [
        cells(
            layer.names[i], number(float(layer.activation[i])),
            signed(float(layer.slope[i])) if layer.slope is not None else "", float(layer.contributions[i]),
        )
        for i in shown
    ]  # fmt: skip
    if rest:
        silent = int((layer.activation[rest] == 0).sum())
        words = f"the other {len(rest):,}" + (f" ({silent:,} silent)" if silent else "")
        rows.append(cells(words, "", "", float(layer.contributions[rest].sum())))
    start = "biases above" if layer.level == "activation level" else "what does not pass through it"
    rows.append(cells(start if is_exact else "start", "", "", layer.start))
    total = layer.start + float(layer.contributions.sum())
    filler = [""] * (1 + has_slope)
    rows.append((f"sum (gap {layer.gap:.0e})", *filler, number(total), *([""] * has_factor)))
    return Table(
        tuple(headings), tuple(rows), title=f"{layer.layer}: what its {len(layer.names):,} neurons add to {what}"
    )
