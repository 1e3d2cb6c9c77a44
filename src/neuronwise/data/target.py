"""The target: a number, two classes or many, found, shown, and turned into what a network can be trained on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data.cells import Cells, match_words, yes_no
from neuronwise.data.columns import figure, show
from neuronwise.data.reading import RawTable
from neuronwise.errors import DataError

Task = Literal["regression", "binary", "multiclass"]

MAX_CLASSES = 1_000
"""Most classes of a target."""


@dataclass(frozen=True)
class TargetSpec:
    """What is to be predicted, and the way to the network's numbers and back.

    Attributes:
        name: Column.
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        classes: Class names in the order of their ids; empty for regression.
        class_counts: Rows of each class.
        log: The logarithm of the target is learned.
        mean, scale: What is subtracted, then divided by (after the logarithm); 0 and 1 for classes.
        minimum, maximum, median: Of the target, in its own unit (regression).
        reason: Why it is taken so, in words.
        n_rows: Rows that have a target.
        n_missing: Rows that have none and are left out.
        odd: Cells that could not be read as numbers and count as missing.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    log: bool
    mean: float
    scale: float
    minimum: float
    maximum: float
    median: float
    reason: str
    n_rows: int
    n_missing: int
    decimal: str = "."
    odd: tuple[str, ...] = ()

    @property
    def n_outputs(self) -> int:
        """Output neurons: 1 for regression and two classes, else one per class."""
        return len(self.classes) if self.task == "multiclass" else 1

    def rows_with_target(self, table: RawTable) -> NDArray[np.int64]:
        """Return the rows (int64, ascending) of `table` that have a target."""
        values = self._values(table)
        return np.flatnonzero(~np.isnan(values))

    def fit(self, table: RawTable, rows: ArrayLike | None = None) -> TargetSpec:
        """Return this target with mean and scale of the given (training) rows; classes are returned unchanged.

        Raises:
            DataError: The target is the same in all these rows.
        """
        if self.task != "regression":
            return self
        values = self._values(table)
        values = values[~np.isnan(values)] if rows is None else values[np.asarray(rows)]
        learned = np.log(values) if self.log else values
        mean, scale = float(learned.mean()), float(learned.std())
        if not scale > 0:
            raise DataError(
                f"the target is {figure(values[0])} in all of the {len(values):,} training rows", where=self.name
            )
        return dataclasses.replace(self, mean=mean, scale=scale)

    def encode(self, table: RawTable, rows: ArrayLike | None = None) -> NDArray[Any]:
        """Return y of the given rows (all that have a target, if None).

        float32 (n, 1), standardised (after the logarithm if `log`), for regression; int64 (n,) class ids for classes.

        Raises:
            DataError: A row has no target, or one that is no number, not positive though `log`, or a new class.
        """
        values = self._values(table)
        wanted = np.flatnonzero(~np.isnan(values)) if rows is None else np.asarray(rows, np.int64)
        chosen = values[wanted]
        if np.isnan(chosen).any():
            row = int(wanted[np.isnan(chosen)][0])
            raise DataError("this row has no target", where=table.where(row, self.name))
        if self.task != "regression":
            return chosen.astype(np.int64)
        if self.log and (chosen <= 0).any():
            row = int(wanted[chosen <= 0][0])
            raise DataError(
                f"the target is {figure(values[row])}, and its logarithm is learned", where=table.where(row, self.name)
            )
        learned = np.log(chosen) if self.log else chosen
        return ((learned - self.mean) / self.scale).astype(np.float32)[:, None]

    def decode(self, y_hat: ArrayLike) -> NDArray[Any]:
        """Return predictions in the target's own terms.

        Args:
            y_hat: Regression: the network's output (n,) or (n, 1). Classes: ids (n,) as integers, or
                probabilities, (n, 1) of the second of two classes or (n, classes).

        Returns:
            float64 (n,) in the original unit, or class names (n,) as an array of str objects.
        """
        raw = np.asarray(y_hat)
        if self.task == "regression":
            learned = raw.reshape(len(raw), -1)[:, 0].astype(np.float64) * self.scale + self.mean
            units: NDArray[np.float64] = np.exp(learned) if self.log else learned
            return units
        if raw.ndim == 2 and raw.shape[1] > 1:
            ids = raw.argmax(axis=1)
        elif raw.dtype.kind in "iub" and raw.ndim == 1:
            ids = raw.astype(np.int64)
        else:
            ids = (raw.reshape(-1) >= 0.5).astype(np.int64)
        names: NDArray[np.object_] = np.array(self.classes, object)[ids]
        return names

    def describe(self) -> list[str]:
        """Return what was understood of the target, in sentences."""
        lines = [f"{self.name}: {self.reason}"]
        if self.task == "regression":
            lines.append(
                f"{self.n_rows:,} rows have a target, from {figure(self.minimum)} to {figure(self.maximum)}, "
                f"median {figure(self.median)}"
            )
        else:
            pairs = list(zip(self.classes, self.class_counts, strict=True))
            shown = ", ".join(f"{show(name)} {count:,}" for name, count in pairs[:12])
            more = f" and {len(pairs) - 12:,} more" if len(pairs) > 12 else ""
            lines.append(f"{self.n_rows:,} rows have a target: {shown}{more}")
            single = [name for name, count in pairs if count == 1]
            if single:
                verb = "class has" if len(single) == 1 else "classes have"
                lines.append(
                    f"{len(single):,} {verb} a single row and cannot be both learned and tested: {show(single[0])}"
                )
        if self.n_missing:
            verb = "row has" if self.n_missing == 1 else "rows have"
            lines.append(
                f"{self.n_missing:,} {verb} no target and left out".replace(
                    "and left", "and is left" if self.n_missing == 1 else "and are left"
                )
            )
        if self.odd:
            lines.append(f"cells that are no number count as missing: {', '.join(show(cell) for cell in self.odd[:3])}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return the target as JSON's types."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, data: object) -> TargetSpec:
        """Return the target that `to_dict` wrote.

        Raises:
            FormatError: `data` is not such a dict.
        """
        from neuronwise.data.checked import Checked

        d = Checked(data, "target")
        task = d.choice("task", ("regression", "binary", "multiclass"))
        classes = d.texts("classes", MAX_CLASSES, distinct=True)
        counts = d.wholes("class_counts", MAX_CLASSES)
        if (
            len(counts) != len(classes)
            or (task == "regression") != (not classes)
            or (task == "binary" and len(classes) != 2)
        ):
            raise d.error("classes do not fit the task")
        return cls(
            name=d.text("name"), task=task,  # type: ignore[arg-type]
            classes=classes, class_counts=counts, log=d.truth("log"),
            mean=d.number("mean"), scale=d.number("scale", above=0.0),
            minimum=d.number("minimum"), maximum=d.number("maximum"), median=d.number("median"),
            reason=d.text("reason"),
            n_rows=d.whole("n_rows"), n_missing=d.whole("n_missing"),
            decimal=d.choice("decimal", (".", ",")), odd=d.texts("odd", 1_000_000),
        )  # fmt: skip

    def _values(self, table: RawTable) -> NDArray[np.float64]:
        """Return a number (or class id) per row, NaN where the target is missing."""
        cells = table.cells(self.name)
        if self.task == "regression":
            values = cells.numbers(self.decimal).values.copy()
            unknown = np.isnan(values)
            what = "is not a number"
        else:
            values = class_ids(cells, self.classes)
            unknown = values < 0
            what = f"is none of the {len(self.classes)} classes"
        unknown &= cells.counts > 0
        odd = set(self.odd)
        known_odd = np.zeros(len(values), bool)
        for code in np.flatnonzero(unknown).tolist():
            known_odd[code] = cells.word(code) in odd
        if (unknown & ~known_odd).any():
            row = int(cells.rows_of(unknown & ~known_odd)[0])
            raise DataError(f"{show(cells.word(int(cells.codes[row])))} {what}", where=table.where(row, self.name))
        values[unknown] = np.nan
        return np.append(values, np.nan)[cells.codes]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def class_ids(cells: Cells, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the class id of each distinct cell as a float, -1 where it is none of the classes."""
    ids = match_words(cells.words, names).astype(np.float64)
    if len(names) == 2 and list(yes_no(names)) == [0.0, 1.0]:
        truth = yes_no(cells.words)
        ids = np.where(np.isnan(truth), ids, truth)
    return ids
