"""The encoder of plain arrays: numbers are fed to the network as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.arrays import check_arrays
from neuronwise.data.checked import Checked
from neuronwise.errors import DataError

# Inputs this far from zero saturate or swamp a network whose weights expect values around 1.
_LARGE = 20.0


class ArrayEncoder:
    """Takes numbers as they are; remembers how many there are and the range seen in training.

    Args:
        n_inputs: Values per row.
        minimum: Smallest value seen in training.
        maximum: Largest value seen.
        labels: What class labels were: ``"int"``, ``"float"``, ``"bool"`` or ``"text"``.
    """

    def __init__(self, n_inputs: int, minimum: float, maximum: float, labels: str = "text") -> None:
        self.n_inputs, self.minimum, self.maximum, self.labels = n_inputs, minimum, maximum, labels

    @classmethod
    def fit(cls, X: NDArray[Any], y: NDArray[Any] | None = None) -> ArrayEncoder:
        """Return the encoder of rows like these, (rows, inputs), and labels like these."""
        kind = "O" if y is None else y.dtype.kind
        labels = {"i": "int", "u": "int", "f": "float", "b": "bool"}.get(kind, "text")
        return cls(X.shape[1], float(X.min()), float(X.max()), labels)

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
        if max(abs(self.minimum), abs(self.maximum)) <= _LARGE:
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
        # Handed on as it is: turning it into an array here would lose the mask of a masked one unnoticed.
        rows, _ = check_arrays([X] if np.ndim(X) == 1 else X)
        if rows.shape[1] != self.n_inputs:
            raise DataError(f"expected {self.n_inputs} values per row, got {rows.shape[1]}", where="argument X")
        return rows

    def check(self, X: Any) -> list[str]:
        """Return a sentence if values lie beyond anything seen in training."""
        values = self.transform(X)
        low, high = float(values.min()), float(values.max())
        if low >= self.minimum and high <= self.maximum:
            return []
        seen = f"{self.minimum:,.4g} to {self.maximum:,.4g}"
        return [f"values from {low:,.4g} to {high:,.4g} go beyond anything seen in training: {seen}"]

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as JSON's types."""
        return {"n_inputs": self.n_inputs, "minimum": self.minimum, "maximum": self.maximum, "labels": self.labels}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ArrayEncoder:
        """Return the encoder that `to_dict` wrote.

        Raises:
            FormatError: `data` is not such a dict.
        """
        checked = Checked(data, "encoder")
        labels = checked.choice("labels", ("int", "float", "bool", "text"))
        return cls(checked.whole("n_inputs"), checked.number("minimum"), checked.number("maximum"), labels)
