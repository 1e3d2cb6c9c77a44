"""The encoder of plain arrays: numbers are fed to the network as they are, or standardised column by column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from neuronwise.data.arrays import check_arrays
from neuronwise.data.checked import Checked
from neuronwise.errors import DataError

# Inputs this far from zero saturate or swamp a network whose weights expect values around 1.
_LARGE = 20.0
# Rows (and, while fitting, columns) at a time where numbers are standardised in float64 on their way to float32.
_CHUNK, _COLUMNS = 65_536, 16
# What the standard deviation of equal numbers may round to, in units of the largest of them.
_ROUNDING = 10 * np.finfo(np.float64).eps
_MAX_INPUTS = 10_000_000
_FAR = 1e30


class ArrayEncoder:
    """Takes numbers as they are, or standardised; remembers how many there are and the range seen in training.

    Args:
        n_inputs: Values per row.
        minimum: Smallest value seen in training.
        maximum: Largest value seen.
        labels: What class labels were: ``"int"``, ``"float"``, ``"bool"`` or ``"text"``.
        means: What is subtracted from each column, float64 (inputs,); None: the numbers are taken as they are.
        scales: What each column is divided by after that, above 0.
    """

    def __init__(
        self,
        n_inputs: int,
        minimum: float,
        maximum: float,
        labels: str = "text",
        means: NDArray[np.float64] | None = None,
        scales: NDArray[np.float64] | None = None,
    ) -> None:
        self.n_inputs, self.minimum, self.maximum, self.labels = n_inputs, minimum, maximum, labels
        self.means, self.scales = means, scales

    @classmethod
    def fit(cls, X: NDArray[Any], y: NDArray[Any] | None = None, *, standardize: bool = False) -> ArrayEncoder:
        """Return the encoder of rows like these, (rows, inputs), and labels like these.

        Args:
            X: Numbers, (rows, inputs).
            y: Labels, (rows,), or None.
            standardize: Whether each column is brought to mean 0 and standard deviation 1. Columns of 0 and 1 only
                stay as they are, and of those that are constant the mean is subtracted only.
        """
        kind = "O" if y is None else y.dtype.kind
        labels = {"i": "int", "u": "int", "f": "float", "b": "bool"}.get(kind, "text")
        means, scales = _statistics(X) if standardize else (None, None)
        return cls(X.shape[1], float(X.min()), float(X.max()), labels, means, scales)

    def as_given(self, names: NDArray[Any]) -> NDArray[Any]:
        """Return class names as the labels that were given, so that predictions can be compared with them."""
        if self.labels == "bool":
            return np.array([name.lower() in ("true", "1") for name in names], dtype=bool)
        if self.labels == "text":
            return names
        return names.astype(np.float64).astype({"int": np.int64, "float": np.float64}[self.labels])

    @property
    def input_names(self) -> list[str]:
        """``x[0]``, ``x[1]`` …"""
        return [f"x[{i}]" for i in range(self.n_inputs)]

    @property
    def advice(self) -> str | None:
        """A sentence where the values are too large to learn from well, or None."""
        if self.means is not None or max(abs(self.minimum), abs(self.maximum)) <= _LARGE:
            return None
        return (
            f"the values go from {self.minimum:,.4g} to {self.maximum:,.4g} and are learned as they are: scale them to "
            "about -1 to 1, or pass a DataFrame, whose columns are scaled"
        )

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the rows as float32 (rows, inputs); one row (inputs,) counts as a batch of one.

        Raises:
            DataError: Another number of values per row, or values that are not finite numbers.
        """
        if self.means is None or self.scales is None:
            return self._rows(X, np.float32)
        # Standardised before it is rounded to float32, which holds a year or a time of day but coarsely.
        rows = self._rows(X, np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64)
        out = np.empty(rows.shape, np.float32)
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK] - self.means
            part /= self.scales
            # What lies absurdly far from all that was learned is as far as float32 goes, not infinity.
            out[start : start + _CHUNK] = np.clip(part, -_FAR, _FAR, out=part)
        return out

    def _rows(self, X: Any, dtype: DTypeLike) -> NDArray[Any]:
        """Return the rows as they are, checked."""
        # Handed on as it is: turning it into an array here would lose the mask of a masked one unnoticed.
        rows, _ = check_arrays([X] if np.ndim(X) == 1 else X, dtype=dtype)
        if rows.shape[1] != self.n_inputs:
            raise DataError(f"expected {self.n_inputs} values per row, got {rows.shape[1]}", where="argument X")
        return rows

    def check(self, X: Any) -> list[str]:
        """Return a sentence if values lie beyond anything seen in training."""
        values = self._rows(X, np.float32 if self.means is None else np.float64)
        low, high = float(values.min()), float(values.max())
        if low >= self.minimum and high <= self.maximum:
            return []
        seen = f"{self.minimum:,.4g} to {self.maximum:,.4g}"
        return [f"values from {low:,.4g} to {high:,.4g} go beyond anything seen in training: {seen}"]

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as JSON's types."""
        content = {"n_inputs": self.n_inputs, "minimum": self.minimum, "maximum": self.maximum, "labels": self.labels}
        if self.means is not None and self.scales is not None:
            content |= {"means": self.means.tolist(), "scales": self.scales.tolist()}
        return content

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ArrayEncoder:
        """Return the encoder that `to_dict` wrote.

        Raises:
            FormatError: `data` is not such a dict.
        """
        checked = Checked(data, "encoder")
        labels = checked.choice("labels", ("int", "float", "bool", "text"))
        n_inputs = checked.whole("n_inputs")
        means = scales = None
        if "means" in checked.data or "scales" in checked.data:
            means, scales = _numbers(checked, "means", n_inputs), _numbers(checked, "scales", n_inputs)
            if not (scales > 0).all():
                raise checked.error("'scales' must be numbers above 0")
        return cls(n_inputs, checked.number("minimum"), checked.number("maximum"), labels, means, scales)


def _numbers(checked: Checked, key: str, count: int) -> NDArray[np.float64]:
    """Return a list of finite numbers, one for each input."""
    values = checked.items(key, _MAX_INPUTS)
    if len(values) != count or not all(type(value) in (int, float) and abs(value) <= 1e308 for value in values):
        raise checked.error(f"{key!r} must be {count:,} finite numbers, one for each input")
    return np.array(values, np.float64)


def _statistics(X: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and scale of each column; 0 and 1 where it is to stay as it is."""
    n = X.shape[1]
    means, scales = np.zeros(n), np.ones(n)
    for start in range(0, n, _COLUMNS):
        part = X[:, start : start + _COLUMNS].astype(np.float64)
        largest = np.abs(part).max(axis=0)
        part /= np.where(largest > 0, largest, 1.0)  # so that no sum overflows
        own = slice(start, start + part.shape[1])
        deviation = part.std(axis=0)
        varies = (deviation > _ROUNDING) & (largest > np.finfo(np.float64).tiny)
        means[own] = part.mean(axis=0) * largest
        scales[own] = np.where(varies, deviation * largest, 1.0)
        is_flag = varies & (largest == 1.0) & ((part == 0.0) | (part == 1.0)).all(axis=0)
        means[own][is_flag], scales[own][is_flag] = 0.0, 1.0
    return means, scales
