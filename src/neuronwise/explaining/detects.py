"""What a neuron detects: its pattern, what it likes, which classes it tells apart, how sparse it is, its twins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.average_terms import AverageTerms
from neuronwise.explaining.layer_neurons import layer_neurons
from neuronwise.explaining.liked import Liked, Liking, liked_table, pictures_of, telling_columns
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neuron_answers import neuron_answers
from neuronwise.explaining.neurons import (
    Located,
    Progress,
    check_examples,
    locate,
    picture_plan,
)
from neuronwise.explaining.pattern import Pattern, pattern
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.separation import ClassAnswer, Quarter, class_answers, quarters, sparseness
from neuronwise.explaining.sizes import by_size
from neuronwise.explaining.targets import class_ids, target_values
from neuronwise.explaining.twins import Twin
from neuronwise.network import Network
from neuronwise.network.layers import Conv2D

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LISTED = 12


@dataclass(frozen=True)
class Detection(Explanation):
    """What a neuron detects.

    Attributes:
        neuron: Its name.
        activation: Name of its activation function.
        examples: How many examples it was looked at on.
        state: ``"dead"``, ``"always on"`` …; ``""`` for a healthy neuron.
        bias: Its bias; None for a neuron without weights.
        terms: What each of its weights comes to on the examples; None for a neuron without weights.
        pattern: What it looks for in the network's inputs.
        input_names: Names of the network's inputs, for a pattern that is no picture.
        classes: How it answers to each class; empty where the targets are no classes.
        quarters: How it answers to quarters of the examples by target; empty where the targets are no values.
        target_name: Of that target.
        correlation: Spearman's, of level and target; NaN where there is none.
        mean: Mean activation level.
        active: Share of examples with z > 0.
        sparseness: From 0, all levels equal, to 1, one example has all (see `separation.sparseness`).
        nonfinite: How many levels are NaN or infinite.
        most, least: The examples it likes most and least, by z.
        twins: Neurons of its layer that look for the same.
        most_pictures, least_pictures: These examples where they are pictures, (count, channels, rows, columns).
        mean_terms: Mean of input × weight in the shape of a pattern that is the weights, as a picture.
    """

    neuron: str
    activation: str
    examples: int
    state: str
    bias: float | None
    terms: AverageTerms | None
    pattern: Pattern
    input_names: tuple[str, ...]
    classes: tuple[ClassAnswer, ...]
    quarters: tuple[Quarter, ...]
    target_name: str
    correlation: float
    mean: float
    active: float
    sparseness: float
    nonfinite: int
    most: tuple[Liked, ...]
    least: tuple[Liked, ...]
    twins: tuple[Twin, ...]
    most_pictures: NDArray[np.float64] | None = None
    least_pictures: NDArray[np.float64] | None = None
    mean_terms: NDArray[np.float64] | None = None

    def best_class(self) -> ClassAnswer | None:
        """Return the class that the neuron's level alone separates best from all others; None where none is."""
        known = [one for one in self.classes if one.auc == one.auc]
        return max(known, key=lambda one: one.separates) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as JSON's types; examples that are pictures by their rows only, and each number once."""
        left_out = ("most_pictures", "least_pictures", "mean_terms")
        return {key: value for key, value in super().to_dict().items() if key not in left_out}

    def blocks(self) -> Sequence[Block]:
        """Return what it detects in a sentence, then its weights, pattern, classes, examples and twins."""
        said: list[Block] = [f"{self.neuron} {self._headline()}"]
        said.append(
            f"On {self.examples:,} examples: z > 0 for {100 * self.active:.3g} % of them, mean level {self.mean:.4g}, "
            f"sparseness {self.sparseness:.2f} (0: answers to all alike, 1: to one only)."
            + (f" {self.nonfinite:,} levels are not finite." if self.nonfinite else "")
        )
        if any(one.place is not None for one in self.most):
            said.append("It looks at many places of each example: all of this is about the one where its z is largest.")
        if self.state:
            said.append(f"It is {self.state}.")
        if self.terms is not None:
            said.append(_terms_table(self.terms))
            said += self.terms.warnings
        if not self.pattern.is_weights:
            said += self._pattern_blocks()
        if self.classes:
            said.append(self._classes())
        if self.quarters:
            said.append(self._quarters())
        said.append(liked_table(self.most, "examples it likes most"))
        said.append(liked_table(self.least, "examples it likes least"))
        said.append(self._twins())
        return said

    def _headline(self) -> str:
        if self.state.startswith("dead"):
            return f"detects nothing: its level is 0 on all of {self.examples:,} examples"
        best = self.best_class()
        if best is not None:
            how = "answers most to" if best.auc >= 0.5 else "is low for"
            return (
                f"{how} {best.name}: its level alone tells {best.name} from the rest with AUC {best.separates:.2f}"
                + (" (0.5 would be chance)" if best.separates < 0.7 else "")
            )
        if self.correlation == self.correlation:
            way = "rises" if self.correlation > 0 else "falls"
            return f"{way} with {self.target_name}: rank correlation {self.correlation:+.2f}"
        return f"({self.activation}) on {self.examples:,} examples"

    def _pattern_blocks(self) -> list[Block]:
        shown = self.pattern
        over = "with z > 0 " if shown.active else "(of which none has z > 0) "
        words = (
            f"What it looks for in the inputs: dz/dx, averaged over {shown.examples:,} examples {over}. Agreement "
            f"{shown.agreement:.2f}: the mean cosine between each example's map and the average (1: all the same)."
        ).replace(" .", ".")
        if shown.curved:
            words += f" It holds only nearby, as {', '.join(shown.curved[:4])} bend their sums smoothly."
        if shown.is_picture:
            return [words]
        order = by_size(shown.mean, _LISTED)
        rows = tuple((self.input_names[i], f"{shown.mean[i]:+.4g}", f"± {shown.spread[i]:.2g}") for i in order)
        left = len(shown.mean) - len(order)
        title = "effective pattern on the inputs" + (
            f", the {len(order)} largest of {len(shown.mean):,}" if left else ""
        )
        return [words, Table(("input (scaled)", "dz/dx", "spread"), rows, title)]

    def _classes(self) -> Table:
        rows = tuple(
            (one.name, f"{one.examples:,}", f"{one.mean:.4g}", _percent(one.active), _figure(one.auc, ".3f"))
            for one in self.classes
        )
        return Table(("class", "examples", "mean level", "z > 0", "AUC alone"), rows, "how it answers to each class")

    def _quarters(self) -> Table:
        rows = tuple((one.words, f"{one.examples:,}", f"{one.mean:.4g}", _percent(one.active)) for one in self.quarters)
        heads = (f"{self.target_name} from … to", "examples", "mean level", "z > 0")
        return Table(heads, rows, f"how it answers to each quarter of the examples by {self.target_name}")

    def _twins(self) -> Block:
        if not self.twins:
            return "It has no twin in its layer."
        rows = tuple(
            (one.twin, f"{one.cosine:+.4f}", f"{one.scale:+.3g}", _figure(one.correlation, "+.4f"), one.by)
            for one in self.twins
        )
        return Table(
            ("twin", "cosine of weights", "times", "correlation of z", "shown by"), rows, "its twins", left=(0, 4)
        )

    def figure(self) -> Figure:
        """Return its pattern, what it likes and how it answers to classes, as one picture."""
        from neuronwise.explaining.detects_pictures import draw_detection

        return draw_detection(self)


@np.errstate(all="ignore")  # inf and NaN are answers, not accidents
def detects(
    network: Network,
    neuron: str,
    X: ArrayLike,
    y: ArrayLike | None = None,
    *,
    meaning: Meaning | None = None,
    rows: ArrayLike | None = None,
    most: int = 8,
    progress: Progress | None = None,
) -> Detection:
    """Return what a neuron detects: weights, pattern, classes, favourite examples, sparseness and twins.

    A convolution's filter answers at many places; on each example it is looked at where its z is largest, unless the
    neuron is named at a place.

    Args:
        network: The network.
        neuron: Name: ``"hidden1[7]"``, ``"conv1[7]"``, ``"conv1[7] @ (3, 4)"``.
        X: Examples, (rows, *input_shape), in the units of the network's inputs.
        y: Their targets, class ids (rows,) or values (rows,) or (rows, 1), as `TargetSpec.encode` gives them; None.
        meaning: Names and units; default what the network knows.
        rows: Numbers of the examples, (rows,), for those that are named; default 0, 1 ….
        most: How many examples it likes most, and how many least, are kept.
        progress: Called with the rows done and all rows.

    Raises:
        NotFoundError: There is no such neuron.
        UsageError: `X`, `y` or `rows` does not fit.
    """
    meaning = Meaning.of(network) if meaning is None else meaning
    found = locate(network, neuron)
    examples = check_examples(network, X)
    numbers = np.arange(len(examples)) if rows is None else np.asarray(rows)
    if numbers.shape != (len(examples),) or numbers.dtype.kind not in "iu":
        raise UsageError(
            f"{len(examples):,} examples need as many numbers, got shape {numbers.shape}", where="argument rows"
        )
    names, ids = class_ids(y, len(examples), meaning)
    values = target_values(y, len(examples), meaning)
    z, a, at, terms = neuron_answers(network, found, examples, meaning, progress)
    layer = layer_neurons(network, found.layer.name, examples, meaning=meaning, twins_of=found.index)
    found_pattern = pattern(network, found, examples, z, at, meaning=meaning)
    order = np.argsort(-z, kind="stable")  # NaN comes last in both directions
    usable = order[np.isfinite(z[order])]
    likes, dislikes = usable[:most], usable[::-1][:most]
    told = Liking(network, meaning, found, examples, numbers, z, a, at)
    told.describe(names, ids, values, telling_columns(found_pattern, terms, meaning, examples))
    quarter, correlation = quarters(values, z, a, meaning.target_words) if values is not None else ((), float("nan"))
    return Detection(
        found.name, layer.activation, len(examples), layer.state(layer.names[found.index]),
        float(found.layer.parameters["b"][found.index]) if "b" in found.layer.parameters else None,
        terms, found_pattern, () if found_pattern.is_picture else tuple(meaning.input_names),
        class_answers(names, ids, z, a) if ids is not None else (),
        quarter, meaning.target.name if meaning.target is not None else "the target", correlation,
        float(a.mean()), float((z > 0).mean()), sparseness(a), int((~np.isfinite(a)).sum()),
        told(likes), told(dislikes), layer.twins,
        pictures_of(network, meaning, examples[likes]), pictures_of(network, meaning, examples[dislikes]),
        _mean_terms(network, found, meaning, terms, found_pattern),
    )  # fmt: skip


def _mean_terms(
    network: Network, found: Located, meaning: Meaning, terms: AverageTerms | None, shown: Pattern
) -> NDArray[np.float64] | None:
    if terms is None or not (shown.is_weights and shown.is_picture):
        return None
    plan = picture_plan(network, found.position, meaning.picture_shape)
    if isinstance(found.layer, Conv2D) or plan is None:
        return terms.mean.reshape(shown.mean.shape)
    return plan.channels(terms.mean)


def _terms_table(terms: AverageTerms) -> Table:
    order = terms.order()[:_LISTED]
    rows = tuple(
        (terms.names[i], f"{terms.weights[i]:+.4g}", f"{terms.mean[i]:+.4g}", f"{terms.size[i]:.4g}",
         f"{terms.moves[i]:.4g}")
        for i in order
    )  # fmt: skip
    left = len(terms.names) - len(order)
    title = f"weights, the {len(order)} largest of {len(terms.names):,}" if left else "weights"
    heads = ("input", "weight", "mean of input × weight", "mean of its size", "moves z by")
    return Table(heads, rows, title)


def _percent(share: float) -> str:
    return "–" if share != share else f"{100 * share:.3g} %"


def _figure(value: float, spec: str) -> str:
    return "–" if value != value else format(value, spec)
