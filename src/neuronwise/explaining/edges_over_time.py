"""How the orientations of a first layer's neurons came to be: kernels at chosen steps, and when each had settled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NotFoundError
from neuronwise.explaining.edges import Edges, angle_words, is_detector, judge
from neuronwise.explaining.gratings import tune
from neuronwise.explaining.kernels import KernelReader, split
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.recording import Recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

STEPS = 40
"""Steps that are looked at by default."""
SETTLED_WITHIN = 10.0
"""Degrees within which an orientation stays to the end once it has settled."""

_ROWS = 40


@dataclass(frozen=True)
class EdgesOverTime(Explanation):
    """Orientation and selectivity of a layer's neurons at steps of a training.

    Attributes:
        layer: Name of the layer.
        steps: The steps looked at, ascending, (steps,).
        orientation: In degrees, (steps, neurons).
        selectivity: (steps, neurons).
        detects: Whether each was a detector at each step, (steps, neurons).
        settled: For each neuron that is a detector at the last step, the first step looked at from which its
            orientation stays within 10 degrees of its last one to the end; None for others.
        before: The step looked at before that one, at which it had not settled; None where it had from the first on.
        since: For the same neurons the first step looked at from which it is a detector to the end.
        pictures: Kernels, (steps, neurons, rows, columns).
        last: The layer at the last step.
    """

    layer: str
    steps: NDArray[np.int64]
    orientation: Array
    selectivity: Array
    detects: NDArray[np.bool_]
    settled: tuple[int | None, ...]
    before: tuple[int | None, ...]
    since: tuple[int | None, ...]
    pictures: Array
    last: Edges

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers but the kernels, which are the weights of each step."""
        content = super().to_dict()
        del content["pictures"]
        return content

    def blocks(self) -> Sequence[Block]:
        """Return how many settled when, and a row for each neuron."""
        known = [step for step in self.settled if step is not None]
        n = len(self.settled)
        if known:
            headline = (
                f"{self.layer}: {len(known)} of {n} neurons are detectors at the end; half of them had their angle by "
                f"step {int(np.quantile(known, 0.5, method='higher')):,}, the last by step {max(known):,}; all are "
                f"detectors from step {max(step for step in self.since if step is not None):,} on"
            )
        else:
            headline = f"{self.layer}: none of its {n} neurons is a detector at the end, so no angle has settled"
        order = sorted(range(n), key=lambda i: (self.settled[i] is None, self.settled[i] or 0, i))[:_ROWS]
        chosen = self.chosen(6)
        rows = tuple(
            (
                self.last.neurons[i].neuron,
                self._settled_words(i),
                "–" if self.since[i] is None else f"step {self.since[i]:,}",
                *(angle_words(self.orientation[place, i]) for place in chosen),
                f"{self.selectivity[0, i]:.2f} → {self.selectivity[-1, i]:.2f}",
            )
            for i in order
        )
        headings = (
            "neuron",
            "settled",
            "detector from",
            *(f"step {self.steps[place]:,}" for place in chosen),
            "selectivity",
        )
        said = (
            f"{len(self.steps)} steps from {self.steps[0]:,} to {self.steps[-1]:,} were looked at. An angle has "
            f"settled when it stays within {SETTLED_WITHIN:.0f}° of the last one to the end; when it did between two "
            "steps that were looked at is not known."
        )
        return [headline, said, Table(headings, rows)]

    def _settled_words(self, index: int) -> str:
        step, before = self.settled[index], self.before[index]
        if step is None:
            return "no detector"
        return (
            f"by step {step:,}"
            if before is None
            else f"step {before + 1:,}"
            if step == before + 1
            else (f"step {before + 1:,} to {step:,}")
        )

    def chosen(self, count: int) -> list[int]:
        """Return places of at most so many of the steps, the first and last among them, evenly over their order."""
        return [int(i) for i in np.unique(np.linspace(0, len(self.steps) - 1, count).round())]

    def figure(self) -> Figure:
        """Return kernels of the neurons that settled, side by side over the steps."""
        from neuronwise.explaining.edge_pictures import draw_over_time

        return draw_over_time(self)


def edges_over_time(
    recording: Recording,
    layer: str | None = None,
    *,
    steps: Iterable[int] | None = None,
    meaning: Meaning | None = None,
) -> EdgesOverTime:
    """Return orientation and selectivity of a layer's neurons over a training, and when each orientation settled.

    Args:
        recording: The recording.
        layer: As for `find_edges`.
        steps: Steps to look at; those that are not stored are taken again. Default 40 stored ones, from the first to
            the one that was delivered (or the last), closer together at the beginning, when most is learned.
        meaning: As for `find_edges`.

    Raises:
        NotFoundError: A step or the layer does not exist, or no state is stored.
        UsageError: The network's inputs are no pictures.
    """
    chosen = sorted({int(step) for step in steps}) if steps is not None else default_steps(recording)
    if not chosen:
        raise NotFoundError("the recording holds no weights, so there is nothing to look at", where="argument steps")
    reader: KernelReader | None = None
    pictures = []
    for step in chosen:
        network = recording.at(step)
        reader = reader or KernelReader.of(network, layer, meaning)
        found = split(reader.layer, reader.read(network[reader.layer].parameters["W"]))
        pictures.append(found.pictures)
    last = judge(found)
    stack = np.stack(pictures)
    tuning = tune(stack.reshape(-1, *stack.shape[2:]))
    orientation, selectivity = (values.reshape(stack.shape[:2]) for values in (tuning.orientation, tuning.selectivity))
    # Random kernels less selective than BEYOND of them: the last step's judgement holds at all.
    level = last.random_selectivity[2]
    detects = np.array(is_detector(selectivity, np.where(selectivity >= level, 1.0, 0.0)))
    detects[-1] = [one.is_detector for one in last.neurons]
    settled, before = zip(
        *(_settled(chosen, orientation[:, i], bool(detects[-1, i])) for i in range(stack.shape[1])), strict=True
    )
    since = tuple(
        _settled(chosen, np.where(detects[:, i], 0.0, np.nan), is_last)[0] for i, is_last in enumerate(detects[-1])
    )
    return EdgesOverTime(
        last.layer, np.array(chosen, np.int64), orientation, selectivity, detects, settled, before, since, stack, last
    )


def default_steps(recording: Recording) -> list[int]:
    """Return stored steps to look at: at most 40, up to the network as delivered, closer together at the beginning."""
    stored = [int(step) for step in recording.keyframes]
    delivered = recording.stored.delivered_step
    if delivered is not None:
        stored = [step for step in stored if step <= delivered]
    if len(stored) <= STEPS:
        return stored
    wanted = np.unique(np.geomspace(1, len(stored), STEPS).round().astype(int)) - 1
    evenly = np.linspace(0, len(stored) - 1, STEPS).round().astype(int)
    order = np.unique(np.concatenate([wanted, evenly]))
    order = order[np.unique(np.linspace(0, len(order) - 1, STEPS).round().astype(int))]
    return [stored[i] for i in order.tolist()]


def _settled(steps: Sequence[int], angles: Array, is_known: bool) -> tuple[int | None, int | None]:
    """Return the first step from which angles stay within 10 degrees of the last one, and the step before it."""
    if not is_known:
        return None, None
    away = np.abs((angles - angles[-1] + 90.0) % 180.0 - 90.0)
    outside = np.flatnonzero(~(away <= SETTLED_WITHIN))
    place = int(outside[-1]) + 1 if len(outside) else 0
    return steps[place], steps[place - 1] if place else None
