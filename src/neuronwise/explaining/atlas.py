"""An atlas of a network's first layer: what each of its neurons looks for, side by side on one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.layer_neurons import neuron_names
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neurons import (
    answers,
    check_examples,
    evenly,
    locate_layer,
    picture_plan,
    sees_inputs,
    weight_rows,
)
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.separation import class_answers, quarters
from neuronwise.explaining.sizes import by_size
from neuronwise.explaining.targets import class_ids, target_values
from neuronwise.network import Network
from neuronwise.network.layers import Conv2D

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NEURONS = 64
"""Neurons that an atlas shows, at most: those whose weights are longest."""
_EXAMPLES, _LISTED, _STRONGEST = 1_000, 64, 3


@dataclass(frozen=True)
class Atlas(Explanation):
    """The neurons of a network's first layer side by side.

    Attributes:
        layer: Its name.
        neurons: Names of those shown, in their order.
        count: How many the layer has.
        weights: Of each, (neurons, inputs), or as pictures (neurons, channels, rows, columns).
        bias: Of each, (neurons,).
        norm: Length of the weights of each, (neurons,).
        input_names: Names of the inputs; of a kernel of its pixels.
        likes: For each neuron what its level alone tells best, in words; ``""`` where that is not known.
        separates: How well: the larger of AUC and 1 - AUC for classes, the rank correlation for values; NaN.
        target: What the targets are, ``""`` where they are not known.
    """

    layer: str
    neurons: tuple[str, ...]
    count: int
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    norm: NDArray[np.float64]
    input_names: tuple[str, ...]
    likes: tuple[str, ...]
    separates: NDArray[np.float64]
    target: str

    @property
    def is_pictures(self) -> bool:
        """Whether the weights are to be seen as pictures."""
        return self.weights.ndim == 4

    def blocks(self) -> Sequence[Block]:
        """Return a row for each neuron: its largest weights, and what it tells best."""
        shown, more = len(self.neurons), f", the {len(self.neurons)} with the longest weights"
        said: list[Block] = [
            f"{self.layer}: what its {self.count:,} neurons look for in the inputs{more if shown < self.count else ''}"
        ]
        heads = ["neuron", "bias", "‖w‖", "largest weights"]
        heads += [f"tells best of {self.target}", "how well"] if self.target else []
        rows = []
        for i in range(min(shown, _LISTED)):
            flat = self.weights[i].reshape(-1)
            top = by_size(flat, _STRONGEST)
            named = ", ".join(f"{self.input_names[j]} {flat[j]:+.2g}" for j in top)
            row = [self.neurons[i], f"{self.bias[i]:+.3g}", f"{self.norm[i]:.3g}", named]
            if self.target:
                well = self.separates[i]
                row += [self.likes[i] or "–", "–" if np.isnan(well) else f"{well:.2f}"]
            rows.append(tuple(row))
        return [*said, Table(tuple(heads), tuple(rows))]

    def figure(self) -> Figure:
        """Return all of them on one picture: as pictures of weights, or as a table of weights in colours."""
        from neuronwise.explaining.layer_pictures import draw_atlas

        return draw_atlas(self)


@np.errstate(all="ignore")  # inf and NaN are answers, not accidents
def atlas(
    network: Network,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    meaning: Meaning | None = None,
    most: int = MOST_NEURONS,
) -> Atlas:
    """Return what the neurons of the first layer with weights look for in the network's inputs.

    Args:
        network: The network.
        X: Examples, (rows, *input_shape), of which 1,000 are taken evenly: for what each neuron tells best; or None.
        y: Their targets, as for `detects`; or None.
        meaning: Names and units; default what the network knows.
        most: How many neurons, at most: those with the longest weights.

    Raises:
        UsageError: No layer with weights looks at the inputs themselves, or `X` or `y` does not fit.
    """
    meaning = Meaning.of(network) if meaning is None else meaning
    first = next((i for i, layer in enumerate(network.layers) if weight_rows(layer) is not None), None)
    if first is None or not sees_inputs(network, first):
        raise UsageError(
            "no layer with weights looks at the inputs themselves: what comes before it changes them",
            where="argument network",
            hint="neuronwise.explaining.detects gives the effective pattern of a neuron of any layer",
        )
    layer, position = locate_layer(network, network.layers[first].name)
    rows = weight_rows(layer)
    assert rows is not None
    W, b = rows.astype(np.float64), layer.parameters["b"].astype(np.float64)
    with np.errstate(all="ignore"):
        norm = np.sqrt(np.einsum("ij,ij->i", W, W))
    chosen = np.sort(by_size(norm, most))
    likes, separates, target = _likes(network, position, chosen, X, y, meaning)
    names = neuron_names(layer, len(W))
    input_names: tuple[str, ...]
    if isinstance(layer, Conv2D):
        shown = layer.W[chosen].astype(np.float64)
        several = layer.channels > 1
        places = np.ndindex(*layer.W.shape[1:])
        input_names = tuple(f"kernel[{c}] @ ({i}, {j})" if several else f"kernel @ ({i}, {j})" for c, i, j in places)
    else:
        plan = picture_plan(network, position, meaning.picture_shape)
        shown, input_names = W[chosen], tuple(meaning.input_names)
        if plan is not None:
            shown = plan.channels(shown)
            order = plan.channels(np.arange(W.shape[1])).reshape(-1).tolist()
            input_names = tuple(input_names[i] for i in order)
    return Atlas(
        layer.name, tuple(names[i] for i in chosen.tolist()), len(W), shown, b[chosen], norm[chosen], input_names,
        likes, separates, target,
    )  # fmt: skip


def _likes(
    network: Network,
    position: int,
    chosen: NDArray[np.int64],
    X: ArrayLike | None,
    y: ArrayLike | None,
    meaning: Meaning,
) -> tuple[tuple[str, ...], NDArray[np.float64], str]:
    """Return what each of some neurons tells best of the target, how well, and what the target is."""
    nothing = ("",) * len(chosen), np.full(len(chosen), np.nan), ""
    if X is None or y is None:
        return nothing
    examples = check_examples(network, X)
    names, ids = class_ids(y, len(examples), meaning)
    values = target_values(y, len(examples), meaning)
    rows = evenly(len(examples), _EXAMPLES)
    z, a = (np.empty((len(rows), len(chosen))) for _ in range(2))
    for part, _, every_z, every_a in answers(network, position, examples[rows]):
        best = every_z[..., chosen].argmax(axis=1)[:, None]
        z[part] = np.take_along_axis(every_z[..., chosen], best, axis=1)[:, 0]
        a[part] = np.take_along_axis(every_a[..., chosen], best, axis=1)[:, 0]
    likes, well = [], []
    for i in range(len(chosen)):
        if ids is not None:
            known = [one for one in class_answers(names, ids[rows], z[:, i], a[:, i]) if one.auc == one.auc]
            best_class = max(known, key=lambda one: one.separates) if known else None
            high = "" if best_class is None or best_class.auc >= 0.5 else "not "
            if best_class is not None and best_class.separates <= 0.5:  # it answers the same to all
                best_class = None
            likes.append("" if best_class is None else f"{high}{best_class.name}")
            well.append(np.nan if best_class is None else best_class.separates)
        else:
            assert values is not None
            correlation = quarters(values[rows], z[:, i], a[:, i])[1]
            likes.append("" if np.isnan(correlation) else "rises" if correlation > 0 else "falls")
            well.append(correlation)
    target = "the classes" if ids is not None else (meaning.target.name if meaning.target is not None else "the target")
    return tuple(likes), np.array(well, np.float64), target
