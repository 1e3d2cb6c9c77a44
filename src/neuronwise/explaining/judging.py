"""How right the answers of a network are, row by row: loss, class chosen, error. What several explanations share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.meaning import Meaning
from neuronwise.learning import prepare_targets
from neuronwise.network import Loss, Network, Workspace, get_loss

Array = NDArray[np.floating[Any]]


class Judge:
    """What the right answers to some rows are, and how to judge a network's.

    Args:
        network: Whose answers are judged.
        y: Class numbers (rows,) of classes, also of two (or one-hot); else values (rows, outputs), of one output
            also (rows,).
        loss: Default by the output activation, as in `fit`.
        meaning: Says whether classes are learned; without a target, whole numbers in y do, where the network has
            several outputs or a loss of classes.

    Attributes:
        loss: The loss.
        ids: The right class of each row, int64 (rows,); None where values are learned.
        targets: The targets as the loss wants them.
        class_names: Names of the classes in the order of their numbers; empty for values.

    Raises:
        UsageError: Targets that do not fit the network.
    """

    def __init__(
        self, network: Network, y: ArrayLike, loss: str | Loss | None = None, meaning: Meaning | None = None
    ) -> None:
        meaning = Meaning.of(network) if meaning is None else meaning
        activation = network.layers[-1].activation
        self.loss = get_loss(loss, activation.name if activation is not None else "identity")
        self.target = meaning.target
        values, n_out = np.asarray(y), network.output_size
        self._is_sigmoid = activation is not None and activation.name == "sigmoid"
        if self.target is not None:
            classes = self.target.task != "regression"
        else:
            about_classes = self.loss.name == "binary_cross_entropy" or n_out > 1
            whole = values.ndim == 1 and values.dtype.kind in "iub"
            classes = self.loss.targets == "classes" or (whole and about_classes)
        self.class_names: tuple[str, ...] = ()
        self.ids: NDArray[np.int64] | None = None
        if classes:
            self.class_names = _class_names(meaning, n_out)
            if self.loss.targets == "classes" and values.ndim == 2 and values.shape[1] == n_out > 1:  # one-hot
                values = prepare_targets(network, values, self.loss, len(values))
            self.ids = self._checked_ids(values)
            if self.loss.targets == "values":
                values = self.ids if n_out == 1 else np.eye(n_out)[self.ids]
        self.targets = prepare_targets(network, values, self.loss, len(values))
        self._flat = None if self.ids is not None else self.targets.reshape(len(self.targets), -1).astype(np.float64)

    def _checked_ids(self, values: NDArray[Any]) -> NDArray[np.int64]:
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        wrong = values.ndim != 1 or values.dtype.kind not in "fiub"
        if not wrong:
            with np.errstate(invalid="ignore"):
                ids = values.astype(np.int64)
            bad = (ids != values) | (ids < 0) | (ids >= len(self.class_names))
            if not bad.any():
                return ids
        got = f"shape {values.shape}" if wrong else f"{values[bad][0].item()!r} at row {int(np.argmax(bad))}"
        raise UsageError(
            f"expected class numbers from 0 to {len(self.class_names) - 1}, one a row, got {got}", where="argument y"
        )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def is_classes(self) -> bool:
        """Whether classes are learned, not values."""
        return self.ids is not None

    @property
    def score_words(self) -> str:
        """What `score` is called."""
        return "accuracy" if self.is_classes else "R²"

    def chosen(self, z: Array, a: Array) -> NDArray[np.int64]:
        """Return the class chosen for each row, (rows,): the largest output, of two classes by the threshold."""
        if a.shape[1] > 1:
            return np.asarray(a.argmax(axis=1), np.int64)
        by_z = self.loss.name == "binary_cross_entropy" or self._is_sigmoid
        return np.asarray((z if by_z else a - 0.5)[:, 0] > 0, np.int64)

    def right(self, z: Array, a: Array, rows: Any = slice(None)) -> NDArray[np.bool_]:
        """Return whether the right class was chosen for each of these rows, (rows,)."""
        assert self.ids is not None
        right: NDArray[np.bool_] = self.chosen(z, a) == self.ids[rows]
        return right

    def losses(self, z: Array, a: Array, rows: Any = slice(None)) -> NDArray[np.float64]:
        """Return the loss of each row, float64 (rows,); their mean is the loss of them all."""
        y = self.targets[rows]
        with np.errstate(all="ignore"):
            found = row_losses(self.loss, z, a, y)
        return found

    def squares(self, a: Array, rows: Any = slice(None)) -> NDArray[np.float64]:
        """Return (y_hat - y)², summed over the outputs, of each row where values are learned: float64 (rows,)."""
        assert self._flat is not None
        with np.errstate(all="ignore"):
            squares: NDArray[np.float64] = ((a - self._flat[rows]) ** 2).sum(axis=1)
        return squares

    @property
    def spread(self) -> float:
        """Σ (y - mean)² over all rows and outputs where values are learned; what R² compares with."""
        assert self._flat is not None
        return (
            float(((self._flat - self._flat.mean(axis=0)) ** 2).sum()) if (self._flat != self._flat[:1]).any() else 0.0
        )

    def r2(self, squares: Any) -> Any:
        """Return R² = 1 - Σ (y_hat - y)² / Σ (y - mean)² of sums of squares over all rows; NaN where y is constant."""
        spread = self.spread
        return 1.0 - np.asarray(squares) / spread if spread > 0 else np.full(np.shape(squares), np.nan)

    def answers(self, a: Array) -> NDArray[np.float64]:
        """Return answers in the target's own unit where one value is learned, else as they are: (rows, outputs)."""
        if self.target is not None and self.target.task == "regression":
            with np.errstate(all="ignore"):
                return np.asarray(self.target.decode(a), np.float64)[:, None]
        return np.asarray(a, np.float64)


def row_losses(loss: Loss, z: Array, a: Array, y: NDArray[Any]) -> NDArray[np.float64]:
    """Return the loss of each row by the formulas of `neuronwise.network.losses`, in float64: (rows,)."""
    z64, a64 = np.asarray(z, np.float64), np.asarray(a, np.float64)
    if loss.name == "categorical_cross_entropy":
        shifted = z64 - z64.max(axis=1, keepdims=True)
        picked = np.take_along_axis(shifted, np.asarray(y, np.int64)[:, None], axis=1)[:, 0]
        found = np.log(np.exp(shifted).sum(axis=1)) - picked
    elif loss.name == "binary_cross_entropy":
        found = (np.logaddexp(0.0, z64) - y * z64).mean(axis=1)
    elif loss.name == "squared_error":
        found = ((a64 - y) ** 2).mean(axis=1)
    elif loss.name == "absolute_error":
        found = np.abs(a64 - y).mean(axis=1)
    elif loss.name == "huber":
        size = np.abs(a64 - y)
        found = np.where(size < 1.0, 0.5 * size**2, size - 0.5).mean(axis=1)
    else:  # a loss of the user's own: one row at a time, which is slow but right
        found = np.array(
            [loss.evaluate(z[i : i + 1], a[i : i + 1], y[i : i + 1], z[i : i + 1].copy()) for i in range(len(z))]
        )
    return np.asarray(found, np.float64)


def amount_words(value: float) -> str:
    """Return an amount in words: ``34,210`` or ``0.5318``."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def passes(network: Network, X: NDArray[Any], rows_at_once: int | None = None) -> Iterator[tuple[slice, Workspace]]:
    """Yield the rows of X, a chunk at a time, with a workspace that has just seen them, its buffers used again."""
    space: Workspace | None = None
    chunk = network.rows_at_a_time if rows_at_once is None else rows_at_once
    for start in range(0, len(X), chunk):
        rows = slice(start, min(start + chunk, len(X)))
        count = rows.stop - rows.start
        if space is None or len(space.x) != count:
            space = network.workspace(count)
        with np.errstate(all="ignore"):
            np.copyto(space.x, X[rows])
            space.forward()
        yield rows, space


def outputs(space: Workspace) -> tuple[Array, Array]:
    """Return z and a of the last layer, (rows, outputs)."""
    a = space.output.a
    z = a if space.output.z is None else space.output.z
    return z.reshape(len(a), -1), a.reshape(len(a), -1)


def _class_names(meaning: Meaning, n_out: int) -> tuple[str, ...]:
    if meaning.target is not None:
        return tuple(map(str, meaning.target.classes))
    if n_out > 1:
        return tuple(map(str, meaning.output_names))
    return (f"not {meaning.output_names[0]}", str(meaning.output_names[0]))
