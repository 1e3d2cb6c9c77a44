"""What if: an input, a weight or a bias changed, neurons silenced; what moves, and what the answer is then."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import NotFoundError, UsageError, did_you_mean
from neuronwise.explaining.changed_inputs import change_inputs
from neuronwise.explaining.figures import GREY, clip, escape_math, new_figure, signed_bars
from neuronwise.explaining.masks import neuron_mask
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.prediction_result import number, signed
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.unfamiliar import unfamiliar
from neuronwise.explaining.units import OutputUnit
from neuronwise.network import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.floating[Any]]
Values = NDArray[np.float64]

_SHOWN, _BARS, _OUTPUTS = 15, 16, 10


@dataclass(frozen=True)
class LayerMoves:
    """The activation levels of a layer before and after a change.

    Attributes:
        layer: The layer.
        names: Of its neurons; of a convolution each place is one.
        before: (neurons,).
        after: (neurons,).
    """

    layer: str
    names: Sequence[str]
    before: Values
    after: Values

    @property
    def moved(self) -> NDArray[np.int64]:
        """Places of the neurons that moved, the largest movement first; from or to NaN is the largest."""
        same = (self.before == self.after) | (np.isnan(self.before) & np.isnan(self.after))
        places = np.flatnonzero(~same)
        return places[np.argsort(-self.size[places], kind="stable")]

    @property
    def size(self) -> Values:
        """How far each neuron moved; infinite from or to what is not finite."""
        with np.errstate(all="ignore"):
            return np.nan_to_num(np.abs(self.after - self.before), nan=np.inf, posinf=np.inf)


@dataclass(frozen=True)
class WhatIf(Explanation):
    """What a change does to a network and its answer.

    Attributes:
        changes: What was changed, in words.
        before, after: The answers in words.
        y_before, y_after: Activations of the output layer, (outputs,).
        output_names: Of the outputs.
        layers: Activation levels before and after, of each layer with neurons of its own, in order.
        unfamiliar: What of the changed input training has never seen.
        unit: How the output becomes the target of a regression, or None.
    """

    changes: tuple[str, ...]
    before: str
    after: str
    y_before: Values
    y_after: Values
    output_names: Sequence[str]
    layers: tuple[LayerMoves, ...]
    unfamiliar: tuple[str, ...] = ()
    unit: OutputUnit | None = None

    @property
    def moved(self) -> list[tuple[str, float, float]]:
        """Every neuron that moved: name, level before, level after; the largest movement first."""
        every = [
            (float(one.size[i]), one.names[i], float(one.before[i]), float(one.after[i]))
            for one in self.layers
            for i in one.moved.tolist()
        ]
        return [(name, before, after) for _, name, before, after in sorted(every, key=lambda item: -item[0])]

    def blocks(self) -> list[Block]:
        """Return both answers, what moved in each layer, and the neurons that moved most."""
        moved = self.moved
        count = sum(len(one.before) for one in self.layers)
        blocks: list[Block] = [self._headline(), *(f"changed: {words}" for words in self.changes)]
        blocks += [f"Beware: {words}." for words in self.unfamiliar]
        if len(self.y_before) > 1:
            blocks.append(self._outputs())
        if not moved:
            blocks.append(f"None of {count:,} activation levels moved.")
            return blocks
        by_layer = ", ".join(f"{one.layer} {len(one.moved):,} of {len(one.before):,}" for one in self.layers)
        blocks.append(f"{len(moved):,} of {count:,} activation levels moved: {by_layer}.")
        rows = tuple(
            (name, number(before), number(after), signed(after - before)) for name, before, after in moved[:_SHOWN]
        )
        title = "" if len(moved) <= _SHOWN else f"the {_SHOWN} that moved most; --json and to_dict() hold all"
        blocks.append(Table(("neuron", "before", "after", "moved"), rows, title))
        return blocks

    def _headline(self) -> str:
        words = f"{self.before} → {self.after}"
        if self.unit is None:
            return words if self.before != self.after else f"{self.before}: the answer stays."
        was, now = self.unit.amount(float(self.y_before[0])), self.unit.amount(float(self.y_after[0]))
        if was == now:
            return f"{self.before}: the answer stays."
        factor = f", × {now / was:.3f}" if was > 0 and now > 0 else ""
        return f"{words}: {self.unit.words(now - was, signed=True)}{factor}"

    def _outputs(self) -> Table:
        order = np.argsort(-np.maximum(self.y_before, self.y_after), kind="stable")[:_OUTPUTS].tolist()
        rows = tuple(
            (str(self.output_names[i]), number(float(self.y_before[i])), number(float(self.y_after[i])),
             signed(float(self.y_after[i] - self.y_before[i])))
            for i in order
        )  # fmt: skip
        title = "" if len(self.y_before) <= _OUTPUTS else f"the {_OUTPUTS} largest of {len(self.y_before):,} outputs"
        return Table(("output", "before", "after", "moved"), rows, title)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers, and the neurons that moved in order."""
        return super().to_dict() | {
            "moved": [{"neuron": name, "before": a, "after": b} for name, a, b in self.moved if a == a and b == b]
        }

    def figure(self) -> Figure | None:
        """Return bars of what moved most; None where nothing did."""
        moved = self.moved[:_BARS]
        if not moved:
            return None
        figure = new_figure(7.5, max(2.2, 0.28 * len(moved) + 1.3))
        figure.suptitle(escape_math(clip(self._headline(), 80)), color=GREY, fontsize=11, x=0.01, ha="left")
        axes = figure.subplots()
        differences = np.nan_to_num(np.array([after - before for _, before, after in moved]))
        label = f"change of the activation level (the {len(moved)} largest)"
        signed_bars(axes, [name for name, _, _ in moved], differences, label=label)
        return figure


def what_if(
    network: Network,
    x: ArrayLike,
    *,
    inputs: Mapping[str, object] | None = None,
    parameters: Mapping[str, float] | None = None,
    silence: Sequence[str] = (),
    meaning: Meaning | None = None,
    unit: str | None = None,
) -> WhatIf:
    """Return what moves, and the new answer, if inputs, weights or biases were others or neurons silent.

    Args:
        network: The network; it is not changed, a copy is.
        x: One input, (*input_shape).
        inputs: Raw values by column, ``{"zipcode": "98039"}``: see `change_inputs`.
        parameters: Numbers by name: ``{"hidden1[3].bias": 0.5, "hidden1[3].weights[sqft_living]": 0}``; a weight by the
            name of its input or by its place.
        silence: Neurons whose activation is replaced by 0: ``"hidden1[3]"``, a filter, or a filter at one place.
        meaning: Names and units; default the network's own names.
        unit: Sign of money before amounts; default what stood in the target's cells, if anything.

    Raises:
        NotFoundError: There is no such column, neuron or weight.
        UsageError: More than one input, or a value that cannot be used.
    """
    meaning = meaning or Meaning.of(network)
    rows = network.check_input(x)
    if len(rows) != 1:
        raise UsageError(f"one input is changed at a time, got {len(rows):,}", where="argument x", hint="x[0]")
    point = np.asarray(rows[0], network.dtype)
    new, said, unseen = change_inputs(meaning, point, inputs or {})
    changed, told = _with_parameters(network, parameters or {}, meaning)
    masks: dict[str, NDArray[np.bool_]] = {}
    for name in silence:
        layer, mask = neuron_mask(network, name)
        masks[layer] = masks.get(layer, False) | mask
    silent = [f"{name} silenced" for name in silence]
    before, after = _levels(network, point, {}), _levels(changed, new.astype(network.dtype), masks)
    layers = tuple(
        LayerMoves(
            layer.name,
            tuple(layer.unit_names()),
            before[layer.name].reshape(-1).astype(np.float64),
            after[layer.name].reshape(-1).astype(np.float64),
        )
        for layer in network.layers
        if layer.activation is not None
    )
    last = network.layers[-1].name
    answers = [values[last].reshape(-1).astype(np.float64) for values in (before, after)]
    words = OutputUnit.of(meaning.target, unit)
    shown = [
        meaning.answer_words(y) if words is None else f"{words.name} {words.words(words.amount(float(y[0])))}"
        for y in answers
    ]
    known = {one.split(" ")[0] for one in unseen}
    beyond = [one for one in unfamiliar(meaning, new) if one.split(" ")[0].rstrip(":") not in known]
    return WhatIf(
        (*said, *told, *silent), shown[0], shown[1], answers[0], answers[1], tuple(meaning.output_names), layers,
        (*unseen, *beyond), words,
    )  # fmt: skip


def _levels(network: Network, x: Array, silent: Mapping[str, NDArray[np.bool_]]) -> dict[str, Array]:
    """Return activation levels of each layer, some held at 0."""
    space = network.workspace(1)
    found = {}
    with np.errstate(all="ignore"):
        np.copyto(space.x, x[None])
        for one in space.passes:
            one.forward()
            if one.layer.name in silent:
                one.a[:, silent[one.layer.name]] = 0.0
            found[one.layer.name] = np.array(one.a[0])
    return found


def _with_parameters(network: Network, parameters: Mapping[str, float], meaning: Meaning) -> tuple[Network, list[str]]:
    """Return a copy of the network with some parameters replaced, and what was replaced in words."""
    if not parameters:
        return network, []
    changed = network.copy()
    said = []
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
            raise UsageError(f"expected a finite number, got {value!r:.100}", where=f"parameter {name}")
        match = re.fullmatch(r"(.+\])\.(?:(bias)|weights\[(.+)\])", name)
        if match is None:
            raise UsageError(
                f"{name!r:.100} is no name of a weight or bias",
                where="argument parameters",
                hint='they are named like "hidden1[3].bias" and "hidden1[3].weights[sqft_living]"',
            )
        neuron = changed.neuron(match[1])
        if "@" in match[1]:
            raise UsageError(
                "a filter has the same weights at all places",
                where=f"parameter {name}",
                hint=name.replace(match[1], match[1].split(" @")[0]),
            )
        if match[2]:
            said.append(f"{name}: {neuron.bias:.4g} → {float(value):.4g}")
            neuron.bias = float(value)
            continue
        weights = neuron.weights.reshape(-1)
        names = list(meaning.input_names if _sees_inputs(changed, match[1]) else neuron.input_names)
        place = names.index(match[3]) if match[3] in names else int(match[3]) if match[3].isdigit() else -1
        if not 0 <= place < len(weights):
            shown = ", ".join(map(str, names[:12])) + (" …" if len(names) > 12 else "")
            raise NotFoundError(
                f"{match[1]} has no weight of {match[3]!r:.100}.{did_you_mean(match[3], names)}",
                where=f"parameter {name}",
                hint=f"its inputs are {shown}",
            )
        said.append(f"{match[1]}.weights[{names[place]}]: {float(weights[place]):.4g} → {float(value):.4g}")
        weights[place] = value
    return changed, said


def _sees_inputs(network: Network, neuron: str) -> bool:
    """Whether a dense neuron's weights are those of the network's inputs, in their order."""
    layer = network[neuron.split("[")[0]]
    below = network.layers[: network.layers.index(layer)]
    return not any(one.activation is not None or one.parameters for one in below) and layer.parameters["W"].ndim == 2
