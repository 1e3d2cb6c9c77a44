"""A plain target: whether it is a number, two classes or many, and the class of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data.arrays import (
    as_array,
    as_floats,
    as_numbers,
    is_missing,
    one_column,
    place_words,
    refuse_non_finite,
)
from neuronwise.data.target import MAX_CLASSES, Task
from neuronwise.data.task import MAX_COUNTED_CLASSES
from neuronwise.errors import DataError, UsageError, did_you_mean

TASKS: Final = ("regression", "binary", "multiclass", "classification")


@dataclass(frozen=True, eq=False)
class ArrayTarget:
    """What a plain target was understood as.

    Attributes:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        y: Class ids int64 (n,), counted from 0 in the order of `classes`; for a regression float32 (n,), or
            (n, n_outputs) for several targets at once.
        classes: The classes as they stood in the target, sorted; empty for a regression.
        why: One sentence for the user: how the task was found.
    """

    task: Task
    y: NDArray[Any]
    classes: list[Any]
    why: str

    @property
    def class_names(self) -> list[str]:
        """Return the classes as text."""
        return [str(value) for value in self.classes]


def check_task(task: str) -> Task | Literal["classification"]:
    """Return `task` if it is ``"regression"``, ``"binary"``, ``"multiclass"`` or ``"classification"`` (either).

    Raises:
        UsageError: It is none of them.
    """
    for known in TASKS:
        if task == known:
            return known
    raise UsageError(
        f"{task!r} is no task; known are {', '.join(TASKS)}.{did_you_mean(str(task), TASKS)}", where="argument task"
    )


def array_target(y: ArrayLike, task: str | None = None) -> ArrayTarget:
    """Return what a plain target means: its task, its classes, and y as the network learns it.

    Without `task`: text and bool are classes; two different numbers are two classes; whole numbers are classes if
    there are at most 20 different ones with at least 5 rows on average; other numbers are a quantity (the same
    rule as for the target of a table); several columns are one-hot classes if each row is 0 but for a single 1, else
    several quantities.

    Args:
        y: (n,), (n, 1) or (n, k): text, bool or numbers.
        task: ``"regression"``, ``"binary"``, ``"multiclass"`` or ``"classification"`` instead of the rule above.

    Raises:
        DataError: Missing or infinite values, only one class or a constant, more than 1,000 classes, several
            labels per row, or values that the task cannot mean.
        UsageError: `task` is unknown.
    """
    wanted = None if task is None else check_task(task)
    values = one_column(_text_or_numeric(y))
    if not len(values):
        raise DataError("y is empty", where="argument y")
    is_text = values.dtype.kind in "UO"
    if not is_text:
        refuse_non_finite(values, "y")
    if values.ndim == 2:
        return _several_columns(values, wanted, is_text)
    distinct, ids = np.unique(values, return_inverse=True)
    as_classes, why = _reads_as_classes(values, distinct)
    if wanted == "regression" or (wanted is None and not as_classes):
        if is_text:
            raise DataError(
                f"a regression needs numbers, y holds text: {values.tolist()[0]!r:.60}",
                where="argument y",
                hint="Leave task out, or convert: y.astype(float).",
            )
        _refuse_constant(distinct)
        return ArrayTarget("regression", as_floats(values, np.dtype(np.float32), "y"), [], why)
    _refuse_constant(distinct)
    if len(distinct) > MAX_CLASSES:
        raise DataError(
            f"{len(distinct):,} different values in {len(values):,} rows are too many classes "
            f"(at most {MAX_CLASSES:,})",
            where="argument y",
            hint="Is this a name or a number? A number is learned with task='regression'.",
        )
    if wanted == "binary" and len(distinct) != 2:
        raise DataError(f"task binary means two classes, y has {len(distinct):,}", where="argument y")
    return ArrayTarget(_class_task(wanted, len(distinct)), ids.reshape(-1).astype(np.int64), distinct.tolist(), why)


def _reads_as_classes(values: NDArray[Any], distinct: NDArray[Any]) -> tuple[bool, str]:
    n, k = len(values), len(distinct)
    if values.dtype.kind in "UO":
        return True, f"y holds text: {k:,} classes."
    if values.dtype.kind == "b":
        return True, "y holds yes and no: two classes."
    if k == 2:
        return True, "y holds two different numbers: two classes."
    whole = values.dtype.kind in "ui" or bool((distinct == np.rint(distinct)).all())
    said = f"y holds {'whole ' * whole}numbers with {k:,} different values in {n:,} rows"
    if whole and k <= MAX_COUNTED_CLASSES and n >= 5 * k:
        return True, f"{said}: classes."
    return False, f"{said}: a quantity."


def _several_columns(values: NDArray[Any], task: str | None, is_text: bool) -> ArrayTarget:
    k = values.shape[1]
    if is_text or k == 0:
        raise DataError(
            f"text of shape {values.shape}: one class per row expected" if is_text else "y has no columns",
            where="argument y",
        )
    zeros_and_ones = bool(((values == 0) | (values == 1)).all())
    one_hot = zeros_and_ones and bool((values.sum(axis=1) == 1).all())
    if task != "regression" and one_hot:
        ids = values.argmax(axis=1).astype(np.int64)
        _refuse_constant(np.unique(ids))
        if k > MAX_CLASSES:
            raise DataError(f"{k:,} classes are too many (at most {MAX_CLASSES:,})", where="argument y")
        if task == "binary" and k != 2:
            raise DataError(f"task binary means two classes, y has {k} columns", where="argument y")
        why = f"Every row of y is 0 but for a single 1: {k} classes, one-hot."
        return ArrayTarget(_class_task(task, k), ids, list(range(k)), why)
    if task not in (None, "regression") or (zeros_and_ones and task is None):
        raise DataError(
            f"y has {k} columns that are not one-hot (a single 1 per row): one class per row expected",
            where="argument y",
            hint="Several labels per row are not supported; learn each column by itself.",
        )
    constant = np.flatnonzero((values == values[:1]).all(axis=0))
    if len(constant) == k:
        raise DataError("every column of y is constant: there is nothing to learn", where="argument y")
    y = as_floats(values, np.dtype(np.float32), "y")
    return ArrayTarget("regression", y, [], f"y holds {k} columns of numbers: {k} quantities.")


def _class_task(wanted: str | None, n_classes: int) -> Task:
    return "multiclass" if wanted == "multiclass" or n_classes != 2 else "binary"


def _refuse_constant(distinct: NDArray[Any]) -> None:
    if len(distinct) == 1:
        raise DataError(
            f"y is constant (always {distinct.tolist()[0]!r:.60}): there is nothing to learn", where="argument y"
        )


def _text_or_numeric(y: ArrayLike) -> NDArray[Any]:
    """Return y as text ("U", or objects that are all str) or as numbers."""
    array = as_array(y, "y")
    if array.dtype.kind == "U":
        if isinstance(y, np.ndarray):
            return array
        # From a list NumPy has made text of everything, also of a NaN among names.
        array = np.array(y, dtype=object)
    if array.dtype.kind not in "OT":
        return as_numbers(array, "y")
    flat = array.reshape(-1).tolist()
    is_text = [isinstance(value, str) for value in flat]
    if flat and all(is_text):
        return array.astype(object)
    if any(is_text):
        first = is_text.index(False)
        odd = flat[first]
        what = "a missing value" if is_missing(odd) else f"{odd!r:.60} ({type(odd).__name__})"
        raise DataError(
            f"Input y holds text and other things: {is_text.count(False):,} of {len(flat):,}, "
            f"the first is {what} at {place_words(np.unravel_index(first, array.shape))}",
            where="argument y",
        )
    return as_numbers(array, "y")
