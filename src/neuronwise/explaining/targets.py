"""The targets of examples as explanations want them: which class each example has, or which value."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.errors import UsageError
from neuronwise.explaining.meaning import Meaning

_MOST_CLASSES = 1_000


def class_ids(y: ArrayLike | None, rows: int, meaning: Meaning) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    """Return the names of the classes and the class of each example; () and None where the targets are no classes.

    Args:
        y: Class ids (rows,), whole numbers from 0; or values (rows,) or (rows, 1), floating; or None.
        rows: How many examples there are.
        meaning: What the classes are called.

    Raises:
        UsageError: Another number of targets than examples, or ids that are none.
    """
    if y is None:
        return (), None
    values = np.asarray(y)
    if values.ndim not in (1, 2) or len(values) != rows or values.size != rows:
        raise UsageError(
            f"{rows:,} examples need as many targets, (rows,), got shape {values.shape}", where="argument y"
        )
    known = meaning.target
    is_classes = values.dtype.kind in "iub" if known is None else known.task != "regression"
    if not is_classes:
        return (), None
    ids = values.reshape(-1)
    if ids.dtype.kind not in "iub" and not (np.isfinite(ids) & (ids == np.rint(ids))).all():
        raise UsageError("the classes of examples are whole numbers", where="argument y")
    whole = ids.astype(np.int64)
    names = list(known.classes) if known is not None else [str(name) for name in meaning.output_names]
    highest = int(whole.max(initial=-1))
    if known is None and highest >= len(names):  # two classes and one output, say
        names = [str(i) for i in range(highest + 1)] if highest < _MOST_CLASSES else names
    if int(whole.min(initial=0)) < 0 or highest >= len(names):
        wrong = int(whole.min()) if whole.min() < 0 else highest
        raise UsageError(f"there are classes 0 to {len(names) - 1}, got {wrong}", where="argument y")
    return tuple(names), whole


def target_values(y: ArrayLike | None, rows: int, meaning: Meaning) -> NDArray[np.float64] | None:
    """Return the value of each example, (rows,), in the target's own unit; None where the targets are no values.

    Raises:
        UsageError: As for `class_ids`.
    """
    if y is None:
        return None
    names, ids = class_ids(y, rows, meaning)
    if ids is not None or names:
        return None
    values = np.asarray(y, np.float64).reshape(-1)
    if meaning.target is None:
        return values
    decoded: NDArray[np.float64] = np.asarray(meaning.target.decode(values), np.float64)
    return decoded
