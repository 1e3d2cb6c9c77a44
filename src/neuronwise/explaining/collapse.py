"""Why a network needs its bends: without activation functions all layers together are one layer, W x + b.

With f(z) = z a layer is z = W x + b, and W₃ (W₂ (W₁ x + b₁) + b₂) + b₃ = (W₃ W₂ W₁) x + (W₃ W₂ b₁ + W₃ b₂ + b₃): one
matrix and one bias (Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 6.1). Here that matrix is multiplied
out, compared with the network whose activations were taken away, and with the network as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.figures import GREY, POSITIVE, dress, hex_colour, new_figure
from neuronwise.explaining.judging import Judge, amount_words, outputs, passes
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.network import ActivationLayer, Dense, Dropout, Flatten, Layer, Loss, MaxPool2D, Network
from neuronwise.network.buffers import empty_buffer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.floating[Any]]

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
"""How far the composed layer may be from the network without activations, as a share of its largest |z|."""
_SHOWN = 6


@dataclass(frozen=True)
class Collapsed(Explanation):
    """A network whose hidden activations were taken away, as the one layer it then is.

    Attributes:
        layers: Names of the layers that were multiplied together.
        shapes: The shape (n_out, n_in) of each as a matrix, in order.
        W: The composed matrix, (outputs, inputs), float64.
        b: The composed bias, (outputs,), float64.
        functions: The activation functions that were taken away, by layer.
        rows: Rows of the comparison; 0 without any.
        gap: Largest |z of the composed layer - z of the network without activations|.
        largest: Largest |z| of any layer of that network, which `tolerance` is a share of.
        tolerance: The largest gap, as a share of `largest`, that rounding explains in the network's dtype.
        score_name: ``"accuracy"`` or ``"R²"``.
        score: Of the network as it is; NaN without targets, and so are the next.
        linear_score: Of the same weights without activations.
        same_answers: Share of the rows for which both choose the same class; NaN where values are learned.
        distance: Mean |answer - linear answer|, in the target's unit; NaN for classes.
        examples: Of a few rows the number, the answer, the linear answer and the right one, in words.
    """

    layers: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    W: NDArray[np.float64]
    b: NDArray[np.float64]
    functions: dict[str, str]
    rows: int
    gap: float
    largest: float
    tolerance: float
    score_name: str
    score: float
    linear_score: float
    same_answers: float
    distance: float
    examples: tuple[tuple[int, str, str, str], ...]
    rows_are: str = "rows"

    @property
    def is_same(self) -> bool:
        """Whether the composed layer equals the network without activations, within the tolerance."""
        return bool(self.gap <= self.tolerance * max(self.largest, 1e-300))

    def blocks(self) -> list[Block]:
        """The composed layer, the proof that it is the same, and what the activations were good for."""
        n_out, n_in = self.W.shape
        taken = ", ".join(f"{name} of {layer}" for layer, name in self.functions.items()) or "nothing"
        count = len(self.layers)
        blocks: list[Block] = [
            f"{self._what(count)}: z = W x + b with W {n_out:,} × {n_in:,}",
            f"W = {' '.join(f'W({name})' for name in reversed(self.layers))}, sizes "
            f"{' · '.join(f'({a:,} × {b:,})' for a, b in reversed(self.shapes))}; b likewise. Taken away: {taken}",
        ]
        if self.rows:
            verdict = "the same" if self.is_same else "NOT the same"
            blocks.append(
                f"checked on {self.rows:,} {self.rows_are}: {verdict} as the network computed layer by layer without "
                f"activations, within {self.gap:.1e} (largest |z| {self.largest:.4g}; rounding allows "
                f"{self.tolerance * self.largest:.1e})"
            )
        if self.score == self.score and self.functions:
            blocks.append(
                f"What the bends are worth: {self.score_name} {self._score(self.score)} with them, "
                f"{self._score(self.linear_score)} with the same weights without them"
                + (
                    f"; {100 * self.same_answers:.1f} % of the answers stay"
                    if self.same_answers == self.same_answers
                    else f"; answers differ by {amount_words(self.distance)} on average"
                )
                + ". (These weights were learned with the bends; weights learned without them do better: the linear "
                "model of the input in neuronwise layers shows how far one layer gets.)"
            )
        if self.examples:
            rows = tuple((f"row {row:,}", *words) for row, *words in self.examples)
            blocks.append(
                Table(("of", "the network", "without bends", "right"), rows, title="Answers with and without")
            )
        return blocks

    def _what(self, count: int) -> str:
        if not self.functions:
            return f"the network is linear as it is: its {count} layer{'s are' if count != 1 else ' is'} one"
        return f"without activation functions the {count} layers are one"

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers, and whether both are the same."""
        return super().to_dict() | {"is_same": self.is_same}

    def _score(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.score_name == "accuracy" else f"{value:.4f}"

    def figure(self) -> Figure | None:
        """Score with and without activations; None where there were no targets, or no activations."""
        if self.score != self.score or not self.functions:
            return None
        percent = 100.0 if self.score_name == "accuracy" else 1.0
        figure = new_figure(5.5, 2.0)
        axes = figure.add_subplot()
        values = [percent * self.score, percent * self.linear_score]
        shown = [max(value, -percent) for value in values]
        axes.barh([0, 1], shown, color=[hex_colour(POSITIVE), GREY], height=0.6)
        axes.set_yticks([0, 1], ["the network", "the same weights,\nno activations"])
        axes.invert_yaxis()
        axes.axvline(0, color=GREY, linewidth=0.8)
        for place, value in enumerate(values):
            axes.text(
                max(shown[place], 0), place, f" {self._score(value / percent)}", va="center", color=GREY, fontsize=9
            )
        axes.set_xlim(min(0, *shown), max(1e-3, *shown) * 1.18)
        dress(axes, "What the bends are worth", self.score_name + (" in %" if percent > 1 else ""))
        return figure


def collapse(
    network: Network,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    loss: str | Loss | None = None,
    meaning: Meaning | None = None,
    rows: ArrayLike | None = None,
    rows_are: str = "rows",
) -> Collapsed:
    """Return the one layer that a network is without its hidden activations, and what those were good for.

    Every activation function before the output's is taken away; that of the output stays. Matrices are multiplied in
    float64, from the output down, as (outputs, n) times each layer: a convolution, an average pooling and a batch
    normalisation (with its running statistics) are matrices too, and are multiplied by running them backwards.

    Args:
        network: The network, as in use: nothing is dropped.
        X: Inputs to compare on, (rows, *input_shape); default none.
        y: Their class numbers (rows,), or values (rows, outputs); default no scores.
        loss: Default by the output activation.
        meaning: Names and units.
        rows: The number of each row in its data; the first few are told. Default from 0.
        rows_are: What the rows are, in words.

    Raises:
        UsageError: A layer takes the largest of its inputs (max pooling), which no matrix does; or data does not fit.
    """
    _check_linear(network)
    meaning = Meaning.of(network) if meaning is None else meaning
    linear = without_activations(network)
    W, b, layers, shapes = _composed(linear)
    functions = {
        layer.name: layer.activation.name
        for layer in network.layers[: _last_bend(network)]
        if layer.activation is not None and layer.activation.name != "identity"
    }
    gap = largest = 0.0
    count = 0
    score = linear_score = same = distance = float("nan")
    name = "accuracy" if meaning.target is not None and meaning.target.task != "regression" else "R²"
    examples: list[tuple[int, str, str, str]] = []
    if X is not None:
        inputs = network.check_input(X)
        if not len(inputs):
            raise UsageError("at least one row is needed, got none", where="argument X")
        count = len(inputs)
        judge = Judge(network, y, loss, meaning) if y is not None else None
        if judge is not None and len(judge) != count:
            raise UsageError(f"{count:,} inputs need as many targets, got {len(judge):,}", where="argument y")
        numbers = np.arange(count) if rows is None else np.asarray(rows)
        sums = np.zeros(4)
        for (part, space), (_, bent) in zip(passes(linear, inputs), passes(network, inputs), strict=True):
            z, a = outputs(space)
            composed = inputs[part].reshape(len(z), -1).astype(np.float64) @ W.T + b
            gap = float(np.max(np.abs(composed - z), initial=gap))
            largest = max(
                largest, *(float(np.abs(one.z).max(initial=0.0)) for one in space.passes if one.z is not None)
            )
            own_z, own = outputs(bent)
            if judge is not None:
                name = judge.score_words
                sums += _sums(judge, part, own_z, own, z, a)
            for place in range(max(0, min(_SHOWN - len(examples), len(z)))):
                right = "" if judge is None else _right_words(judge, part.start + place, meaning)
                row = int(numbers[part.start + place])
                examples.append((row, meaning.answer_words(own[place]), meaning.answer_words(a[place]), right))
        if judge is not None and judge.is_classes:
            score, linear_score, same = (float(one) for one in sums[:3] / count)
        elif judge is not None:
            score, linear_score = (float(judge.r2(one)) for one in sums[:2])
            distance = float(sums[3] / count)
    return Collapsed(
        tuple(layers), tuple(shapes), W, b, functions, count, gap, largest, TOLERANCE[str(network.dtype)], name, score,
        linear_score, same, distance, tuple(examples), rows_are,
    )  # fmt: skip


def without_activations(network: Network) -> Network:
    """Return a copy of a network whose activation functions before the output's are f(z) = z."""
    content = network.to_dict()
    for entry in content["layers"][: _last_bend(network)]:
        if "activation" in entry:
            entry["activation"] = "identity"
    made = Network.from_dict(content)
    made.parameters[...] = network.parameters
    made.buffers[...] = network.buffers
    return made


def _last_bend(network: Network) -> int:
    """Return the place of the layer whose activation is the output's."""
    place = len(network.layers) - 1
    while place > 0 and isinstance(network.layers[place], (Flatten, Dropout)):
        place -= 1
    return place


def _check_linear(network: Network) -> None:
    for layer in network.layers:
        if isinstance(layer, MaxPool2D):
            raise UsageError(
                "max pooling takes the largest of its inputs, which is a bend too: no matrix does that, so the layers "
                "cannot be multiplied together",
                where=f"layer {layer.name}",
                hint="networks of dense layers, convolutions, average pooling and batch normalisation can",
            )


def _composed(linear: Network) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str], list[tuple[int, int]]]:
    """Return W, b of all layers together, from the output down, and the names and shapes of those that are matrices."""
    n_out = linear.output_size
    W, b = np.eye(n_out), np.zeros(n_out)
    names: list[str] = []
    shapes: list[tuple[int, int]] = []
    for layer in reversed(linear.layers):
        if isinstance(layer, (Flatten, Dropout, ActivationLayer)):
            continue
        n_in = int(np.prod(layer.input_shape))
        if isinstance(layer, Dense):
            b += W @ layer.b.astype(np.float64)
            W = W @ layer.W.astype(np.float64)
        else:
            b += W @ _at_zero(layer)
            W = _pulled_back(layer, W)
        names.insert(0, layer.name)
        shapes.insert(0, (layer.neuron_count, n_in))
    return W, b, names, shapes


def _float64(layer: Layer) -> Layer:
    """Return a layer of its own, in float64 and without a bend."""
    alone = Network([layer.unbuilt()], input_shape=layer.input_shape, dtype="float64").layers[0]
    for own, values in ((alone.parameters, layer.parameters), (alone.buffers, layer.buffers)):
        for key in own:
            own[key][...] = values[key]
    return alone


def _at_zero(layer: Layer) -> NDArray[np.float64]:
    """Return what a layer makes of the input 0, laid out flat: its bias."""
    one = _float64(layer).start(np.zeros((1, *layer.input_shape)), None)
    one.forward()
    return np.asarray(one.a if one.z is None else one.z, np.float64).reshape(-1)


def _pulled_back(layer: Layer, W: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return W times the matrix of a layer: the gradient of W z by the layer's input, as z is linear in it."""
    alone = _float64(layer)
    gradients: dict[str, Array] = {key: np.zeros(shape) for key, shape in alone.parameter_shapes().items()}
    found = np.empty((len(W), int(np.prod(layer.input_shape))))
    for row in range(len(W)):  # one at a time: of a large picture a batch of 1,000 outputs would take gigabytes
        one = alone.start(empty_buffer((1, *layer.input_shape), np.dtype(np.float64)), gradients)
        one.x[...] = 0.0
        one.forward()
        one.da[...] = W[row].reshape(1, *layer.output_shape)
        dx = np.empty((1, *layer.input_shape))
        one.backward(dx, from_logits=True)
        found[row] = dx.reshape(-1)
    return found


def _sums(judge: Judge, rows: slice, z: Array, a: Array, linear_z: Array, linear_a: Array) -> NDArray[np.float64]:
    """Return what is summed over the rows: right answers or squares of both, equal answers, distance."""
    if judge.is_classes:
        both = judge.right(z, a, rows).sum(), judge.right(linear_z, linear_a, rows).sum()
        return np.array([*both, (judge.chosen(z, a) == judge.chosen(linear_z, linear_a)).sum(), 0.0], np.float64)
    both = judge.squares(a, rows).sum(), judge.squares(linear_a, rows).sum()
    with np.errstate(all="ignore"):
        distance = np.abs(judge.answers(a) - judge.answers(linear_a)).mean(axis=1).sum()
    return np.array([*both, 0.0, distance], np.float64)


def _right_words(judge: Judge, row: int, meaning: Meaning) -> str:
    if judge.ids is not None:
        return judge.class_names[int(judge.ids[row])]
    return meaning.answer_words(judge.targets[row])
