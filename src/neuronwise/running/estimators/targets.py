"""What the estimators learn: classes of any label, or one or several numbers; there and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import TargetSpec
from neuronwise.data.arrays import is_missing
from neuronwise.errors import DataError, UsageError
from neuronwise.network import Loss


@dataclass(frozen=True)
class OutputSpec(TargetSpec):
    """A `TargetSpec` of several numbers at once."""

    outputs: int = 1

    @property
    def n_outputs(self) -> int:
        """Output neurons."""
        return self.outputs if self.task == "regression" else super().n_outputs


@dataclass(frozen=True, eq=False)
class Classes:
    """Classes: y is class numbers, int64 (n,), counted from 0 in the order of the sorted labels."""

    labels: NDArray[Any]

    def spec(self, name: str, y: NDArray[np.int64]) -> OutputSpec:
        """Return the target in the words of the other packages."""
        task = "binary" if len(self.labels) == 2 else "multiclass"
        counts = np.bincount(y, minlength=len(self.labels)).tolist()
        return _spec(name, task, len(y), classes=tuple(map(str, self.labels.tolist())), class_counts=tuple(counts))

    def number(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Return the class number of each label.

        Raises:
            UsageError: A label that is none of the classes.
        """
        try:
            places = np.searchsorted(self.labels, y).clip(0, len(self.labels) - 1)
        except TypeError:  # text among numbers, or the other way round
            places = np.zeros(len(y), dtype=np.int64)
        unknown = np.asarray(self.labels[places] != y)
        if unknown.any():
            known = ", ".join(repr(label) for label in self.labels[:10].tolist())
            raise UsageError(
                f"the label {y[unknown][:1].tolist()[0]!r:.60} is none of the classes {known}", where="argument y"
            )
        return np.asarray(places, dtype=np.int64)

    def for_loss(self, y: NDArray[np.int64], loss: Loss) -> NDArray[Any]:
        """Return y as the loss wants it: class numbers, or 0 and 1 in a column for each output."""
        if loss.targets == "classes":
            return y
        if len(self.labels) == 2:
            return y.astype(np.float32)[:, None]
        return np.eye(len(self.labels), dtype=np.float32)[y]


@dataclass(frozen=True, eq=False)
class Numbers:
    """One or several numbers, learned standardised: y is (n, k), in its own unit.

    Attributes:
        means: Subtracted from each column, after the logarithm if `log`.
        scales: What it is divided by then.
        log: Whether the logarithm is learned.
        flat: Whether predictions are (n,), not (n, k).
    """

    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    log: bool
    flat: bool

    @classmethod
    def fit(cls, y: NDArray[np.float64], *, log: bool, flat: bool) -> Numbers:
        """Return mean and scale of these (training) rows; a number that is always the same is only shifted.

        Raises:
            UsageError: The logarithm is to be learned of a number that is not above 0.
        """
        learned = _logarithm(y) if log else y
        largest = np.abs(learned).max(axis=0)
        units = learned / np.where(largest > 0, largest, 1.0)  # so that no sum overflows
        deviations = units.std(axis=0)
        varies = (deviations > 10 * np.finfo(np.float64).eps) & (largest > np.finfo(np.float64).tiny)
        return cls(units.mean(axis=0) * largest, np.where(varies, deviations * largest, 1.0), log, flat)

    def spec(self, name: str, y: NDArray[np.float64]) -> OutputSpec:
        """Return the target in the words of the other packages; mean and scale are those of the first number."""
        first = y[:, 0]
        return _spec(
            name, "regression", len(y), log=self.log, mean=float(self.means[0]), scale=float(self.scales[0]),
            minimum=float(first.min()), maximum=float(first.max()), median=float(np.median(first)), outputs=y.shape[1],
        )  # fmt: skip

    def for_loss(self, y: NDArray[np.float64], loss: Loss) -> NDArray[Any]:
        """Return y standardised, float32 (n, k)."""
        learned = _logarithm(y) if self.log else y
        return ((learned - self.means) / self.scales).astype(np.float32)

    def decode(self, y_hat: NDArray[Any]) -> NDArray[np.float64]:
        """Return the network's outputs (n, k) in the unit of y, (n,) or (n, k)."""
        numbers = y_hat.astype(np.float64) * self.scales + self.means
        if self.log:
            numbers = np.exp(numbers)
        return numbers[:, 0] if self.flat else numbers


Targets = Classes | Numbers


def plain_labels(y: Any) -> Any:
    """Return labels as an array of their own dtype, as far as they are one; None, NaN and NA are refused.

    Raises:
        DataError: A label is missing; the message names the first such row.
    """
    labels = np.asarray(y)
    if labels.ndim == 0:
        return y
    kind = labels.dtype.kind
    missing = np.isnan(labels) if kind == "f" else np.zeros(labels.shape, dtype=bool)
    if kind == "O":
        missing = np.array([is_missing(label) for label in labels.reshape(-1)], dtype=bool).reshape(labels.shape)
    if missing.any():
        raise DataError(
            f"Input y contains NaN: {int(missing.sum()):,} missing, the first at row {np.argwhere(missing)[0][0]}",
            where="argument y",
            hint="Drop these rows.",
        )
    # What pandas can hold with gaps (Int64, boolean) has a type of NumPy's without them.
    plain = getattr(getattr(y, "dtype", None), "numpy_dtype", labels.dtype)
    return labels.astype(plain) if kind == "O" and np.dtype(plain).kind in "biuf" else labels


def _logarithm(y: NDArray[np.float64]) -> NDArray[np.float64]:
    if (y <= 0).any():
        raise UsageError(
            f"the logarithm cannot be learned: y goes down to {y.min():g}", where="argument log", hint="log=False"
        )
    return np.log(y)


def _spec(name: str, task: Any, rows: int, **given: Any) -> OutputSpec:
    settings: dict[str, Any] = {
        "classes": (), "class_counts": (), "log": False, "mean": 0.0, "scale": 1.0,
        "minimum": 0.0, "maximum": 0.0, "median": 0.0,
    }  # fmt: skip
    return OutputSpec(name, task, reason="given", n_rows=rows, n_missing=0, **(settings | given))
