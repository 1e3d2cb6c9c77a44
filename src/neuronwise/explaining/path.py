"""Contributions along a path: integrated gradients for inputs, conductance for the neurons between.

Where a network is curved, its slope at one point does not add up to its answer. Followed on the straight line from a
baseline r to the input x, it does: what each input adds to the output on the way is

    c_i = (x_i - r_i) · ∫ dF/dx_i dα, at r + α (x - r), α from 0 to 1

(Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", eq. 1), and what each neuron of a layer
adds is its conductance, c_j = ∫ dF/da_j · da_j/dα dα (Dhamdhere, Sundararajan and Yan 2018, "How Important Is a
Neuron?", eq. 3; they sum it over the inputs). Both sum to F(x) - F(r).

The integrals are sums over steps of the line, ½ (slope before + slope after) · (level after - level before): the
trapezoid rule, for inputs and neurons alike. At each step it is known what is missing, because the output itself is:
F after - F before - its trapezoid. Steps that miss much (a kink, a steep place) are halved until all together miss
little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.local_linear import Pullback, Target
from neuronwise.explaining.masks import neuron_mask
from neuronwise.network import Network

Array = NDArray[np.floating[Any]]
Values = NDArray[np.float64]

FIRST_STEPS, MOST_STEPS = 32, 4096
"""How many steps the line has at first, all alike, and at most."""
TOLERANCE = 1e-4
"""How much all steps together may miss, as a share of how much the output changes on the way."""
_ROUNDS = 40

Line = Callable[[Values], tuple[Values, Values]]


def refine(line: Line, precision: float, steps: int | None = None) -> tuple[Values, bool]:
    """Return the places of the steps, (steps + 1,) from 0 to 1, and whether the trapezoids over them are close enough.

    Args:
        line: Takes places on the line, (n,), and returns the output and its slope along the line there, (n,) each.
        precision: Relative precision of the outputs, below which nothing can be asked of them.
        steps: So many, all alike; default where they are needed.
    """
    at = np.linspace(0.0, 1.0, (steps or FIRST_STEPS) + 1)
    F, slope = line(at)
    for _ in range(_ROUNDS):
        missing = np.abs(np.diff(F) - 0.5 * (slope[1:] + slope[:-1]) * np.diff(at))
        noise = 16 * precision * float(np.abs(F).max())
        allowed = TOLERANCE * float(np.abs(np.diff(F)).sum()) + noise
        # NaN and infinity will not become numbers by looking closer.
        if missing.sum() <= allowed or not np.isfinite(missing).all():
            return at, bool(np.isfinite(missing).all())
        wide = np.flatnonzero((missing > allowed / (2 * len(missing))) & (missing > noise))
        if steps or not len(wide) or len(at) + len(wide) > MOST_STEPS + 1:
            return at, not steps and not len(wide)
        new = 0.5 * (at[wide] + at[wide + 1])
        new_F, new_slope = line(new)
        order = np.argsort(np.concatenate([at, new]), kind="stable")
        at, F, slope = (np.concatenate([old, more])[order] for old, more in ((at, new), (F, new_F), (slope, new_slope)))
    return at, False


@dataclass(frozen=True)
class PathContributions:
    """What inputs and neurons add to an output on the straight line from a baseline to an input.

    Attributes:
        start: The output at the baseline, F(r).
        value: The output at the input, F(x).
        inputs: Of each input, (*input_shape).
        layers: Of each neuron, (*output_shape), by layer.
        steps: Steps of the line.
        is_close: Whether all steps together miss no more than wanted.
        gap: F(x) - F(r) - the sum over the inputs.
    """

    start: float
    value: float
    inputs: Values
    layers: dict[str, Values]
    steps: int
    is_close: bool
    gap: float


def integrate(
    network: Network,
    x: Array,
    baseline: Array,
    target: Target,
    seed: Array,
    layers: Sequence[str] = (),
    *,
    steps: int | None = None,
) -> PathContributions:
    """Return what inputs and neurons add to an output between a baseline and one input.

    Args:
        network: The network.
        x: One input, (*input_shape).
        baseline: Where the line begins, (*input_shape).
        target: The layer that is asked about, and whether z or a of it.
        seed: Weights of its neurons in the output, (*output_shape): 1 at one of them, 0 at the others.
        layers: Layers below the target whose neurons are wanted too.
        steps: Of the line, all alike; default as many as are needed, where they are, 4,096 at most.
    """
    way = x.astype(np.float64) - baseline
    weights = np.asarray(seed, network.dtype)[None]
    pullbacks: dict[int, Pullback] = {}

    def look(at: Values, keep: Sequence[str]) -> tuple[Values, Values, dict[str, Array], dict[str, Array]]:
        """Return outputs, gradients, and gradients and levels of layers, at places on the line."""
        if len(at) not in pullbacks:
            pullbacks[len(at)] = Pullback(network, len(at), target)
        pullback = pullbacks[len(at)]
        F = pullback.forward(baseline + at.reshape(-1, *(1,) * x.ndim) * way) * weights
        gradient, kept = pullback.pull(weights, keep)
        levels = {name: pullback.level(name) for name in keep}
        return F.reshape(len(at), -1).sum(axis=1, dtype=np.float64), gradient.astype(np.float64), kept, levels

    size = network.rows_at_a_time

    def line(at: Values) -> tuple[Values, Values]:
        parts = [look(at[first : first + size], ())[:2] for first in range(0, len(at), size)]
        slopes = [(gradient * way).reshape(len(F), -1).sum(axis=1) for F, gradient in parts]
        return np.concatenate([F for F, _ in parts]), np.concatenate(slopes)

    with np.errstate(all="ignore"):
        at, is_close = refine(line, float(np.finfo(network.dtype).eps), steps)
        sums = TrapezoidSums(at)
        start = value = 0.0
        for first in range(0, len(at), size):
            F, gradient, kept, levels = look(at[first : first + size], layers)
            start, value = (float(F[0]) if first == 0 else start), float(F[-1])
            sums.add(gradient, {name: (kept[name], levels[name]) for name in layers})
        inputs = sums.slope * way
        # Where neither the point nor the baseline has a value there is no way between them.
        inputs[way == 0] = 0.0
    gap = value - start - float(inputs.sum())
    return PathContributions(start, value, inputs, sums.layers, len(at) - 1, is_close, gap)


class TrapezoidSums:
    """Sums over the steps of a line, filled part by part, from 0 to 1.

    Args:
        at: All places, (steps + 1,), in order.

    Attributes:
        slope: Mean slope of the output by each input, (*input_shape).
        layers: Conductances, by layer.
    """

    def __init__(self, at: Values) -> None:
        width = np.diff(at)
        self._weights = 0.5 * (np.append(width, 0.0) + np.append(0.0, width))
        self._done = 0
        self._last: dict[str, tuple[Values, Values]] = {}
        self.slope: Values = np.zeros(())
        self.layers: dict[str, Values] = {}

    def add(self, gradient: Array, layers: Mapping[str, tuple[Array, Array]]) -> None:
        """Take the next places: gradients by x, (n, *input_shape), and those by a and a itself, by layer."""
        own = self._weights[self._done : self._done + len(gradient)]
        self._done += len(gradient)
        self.slope = self.slope + np.tensordot(own, gradient.astype(np.float64), axes=1)
        for name, (slope, level) in layers.items():
            g, a = slope.astype(np.float64), level.astype(np.float64)
            if name in self._last:
                g, a = (np.concatenate([before, now]) for before, now in zip(self._last[name], (g, a), strict=True))
            self._last[name] = g[-1:], a[-1:]
            self.layers[name] = self.layers.get(name, 0.0) + (0.5 * (g[1:] + g[:-1]) * np.diff(a, axis=0)).sum(axis=0)


def through_neuron(
    network: Network,
    x: Array,
    neuron: str,
    output: int,
    *,
    baseline: Array | None = None,
    target: Target | None = None,
    steps: int | None = None,
) -> Values:
    """Return what each input adds to an output by way of one neuron alone: (*input_shape).

    It is ∫ dF/da_j · da_j/dx_i dα · (x_i - r_i) (Dhamdhere et al. 2018, eq. 2); over all inputs it sums to the neuron's
    conductance, but for what the trapezoids miss.

    Args:
        network: The network.
        x: One input, (*input_shape).
        neuron: ``"hidden1[7]"``; of a filter all places together.
        output: Place in the flattened output.
        baseline: Where the line begins; default zeros.
        target: What the output is of; default logits of a softmax or sigmoid, else the output itself.
        steps: Of the line, all alike; default as many as the whole network's integrated gradients need.

    Raises:
        NotFoundError: There is no such neuron.
        UsageError: It does not stand below the output.
    """
    asked = target or Target.answer(network)
    layer, mask = neuron_mask(network, neuron)
    position = network.layers.index(network[layer])
    if position >= asked.position:
        raise UsageError(f"{neuron!r:.100} does not stand below the output", where="argument neuron")
    weights = np.zeros((1, network.layers[asked.position].neuron_count), network.dtype)
    weights[0, output] = 1.0
    weights = weights.reshape(1, *network.layers[asked.position].output_shape)
    origin = np.zeros(x.shape) if baseline is None else np.asarray(baseline, np.float64)
    way = x.astype(np.float64) - origin
    count = steps or integrate(network, x, origin, asked, weights[0]).steps
    at = np.linspace(0.0, 1.0, count + 1)
    sums = TrapezoidSums(at)
    size = network.rows_at_a_time
    for first in range(0, len(at), size):
        part = at[first : first + size]
        points = origin + part.reshape(-1, *(1,) * x.ndim) * way
        above, below = Pullback(network, len(part), asked), Pullback(network, len(part), Target(position, "a"))
        above.forward(points)
        _, kept = above.pull(weights, [layer])
        below.forward(points)
        gradient, _ = below.pull(kept[layer] * mask)
        sums.add(gradient, {})
    found: Values = sums.slope * way
    return found
