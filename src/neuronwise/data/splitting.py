"""Which rows are learned from and which are held out: by chance, by class, or by group, always repeatable."""

from __future__ import annotations

import hashlib
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data.array_targets import array_target, check_task
from neuronwise.errors import DataError, UsageError

Indices = NDArray[np.int64]


def split_rows(
    n: int,
    *,
    y: ArrayLike | None = None,
    task: str | None = None,
    groups: ArrayLike | None = None,
    fraction: float = 0.15,
    seed: int = 0,
    purpose: str = "test",
) -> tuple[Indices, Indices]:
    """Return the rows to learn from and the rows held out, as two sorted int64 arrays.

    Together they are all rows, each once; neither is empty. The split depends on the arguments only, on no
    random state: the same (seed, purpose) gives the same split, another purpose an independent one.

    - With `groups`, all rows of a group stand on the same side, and `fraction` counts groups. A row whose group is
      missing is a group of its own. `y` is not looked at.
    - With classes, every class is held out in proportion, to within one row. A class keeps at least one row to
      learn from, so one with a single row is never held out (unless there is nothing else).
    - Otherwise rows are drawn by chance.

    Args:
        n: Number of rows, at least 2.
        y: Target of each row, for the split by class.
        task: ``"binary"``, ``"multiclass"`` or ``"classification"`` splits by class, ``"regression"`` by chance; None
            finds out from `y` as `array_target` does.
        groups: Group of each row, of any type, for example the house of a sale.
        fraction: Share to hold out, above 0 and below 1; at least one row (group) and at most all but one.
        seed: A whole number from 0.
        purpose: What the split is for: ``"test"``, ``"validation"``, …

    Raises:
        UsageError: Fewer than 2 rows or groups, lengths that differ, or an argument out of range.
    """
    n = _whole(n, "n")
    seed = _whole(seed, "seed")
    if n < 2:
        raise UsageError(
            f"{n} {'row' if n == 1 else 'rows'} cannot be split: at least 2 are needed", where="argument n"
        )
    if not 0 < fraction < 1:
        raise UsageError(f"a share above 0 and below 1 expected, not {fraction}", where="argument fraction")
    random = _random_state(seed, purpose)
    if groups is not None:
        held_out = _by_group(_group_codes(groups, n), fraction, random, purpose)
    else:
        classes = None if y is None else _class_codes(y, task, n)
        held_out = _by_chance(n, fraction, random) if classes is None else _by_class(classes, fraction, random)
    kept = np.ones(n, dtype=bool)
    kept[held_out] = False
    return np.flatnonzero(kept).astype(np.int64), np.flatnonzero(~kept).astype(np.int64)


def _by_chance(n: int, fraction: float, random: np.random.RandomState) -> Indices:
    return random.permutation(n)[: _share(n, fraction)]


def _by_group(codes: Indices, fraction: float, random: np.random.RandomState, purpose: str) -> Indices:
    from sklearn.model_selection import GroupShuffleSplit

    n_groups = int(codes.max()) + 1
    if n_groups < 2:
        raise UsageError(
            "all rows belong to one group: nothing can be held out without splitting it",
            where="argument groups",
            hint=f"Name a column with at least 2 different values, or split the {purpose} rows without groups.",
        )
    splitter = GroupShuffleSplit(n_splits=1, test_size=_share(n_groups, fraction), random_state=random)
    _, held_out = next(splitter.split(codes, groups=codes))
    return np.asarray(held_out, dtype=np.int64)


def _by_class(classes: Indices, fraction: float, random: np.random.RandomState) -> Indices:
    from sklearn.model_selection import StratifiedShuffleSplit

    counts = np.bincount(classes)
    rows = np.flatnonzero(counts[classes] > 1)
    if not len(rows):
        return _by_chance(len(classes), fraction, random)
    codes = np.unique(classes[rows], return_inverse=True)[1]
    n_held_out, n_classes = _share(len(rows), fraction), int(codes.max()) + 1
    if n_classes <= min(n_held_out, len(rows) - n_held_out):
        splitter = StratifiedShuffleSplit(n_splits=1, test_size=n_held_out, random_state=random)
        _, held_out = next(splitter.split(codes, codes))
    else:
        # Fewer held-out rows than classes, which scikit-learn refuses: every k-th row of the rows in order of
        # class, both orders by chance, takes the floor or the ceiling of each class's share.
        order = np.lexsort((random.permutation(len(rows)), random.permutation(n_classes)[codes]))
        places = (np.arange(n_held_out) + random.random_sample()) * (len(rows) / n_held_out)
        held_out = order[np.minimum(places.astype(np.int64), len(rows) - 1)]
    held_out = np.asarray(held_out, dtype=np.int64)
    # With a large fraction a small class may have gone as a whole: one row of it comes back.
    held_codes, first = np.unique(codes[held_out], return_index=True)
    whole = np.bincount(codes[held_out], minlength=n_classes)[held_codes] == np.bincount(codes)[held_codes]
    return np.asarray(rows[np.delete(held_out, first[whole])], dtype=np.int64)


def _share(n: int, fraction: float) -> int:
    return min(max(round(n * fraction), 1), n - 1)


def _class_codes(y: ArrayLike, task: str | None, n: int) -> Indices | None:
    """Return the class of each row counted from 0, or None where the target is a number."""
    if task is not None and check_task(task) == "regression":
        return None
    values = np.asarray(y)
    if values.ndim == 0 or len(values) != n:
        raise UsageError(f"y has shape {values.shape}, but there are {n:,} rows", where="argument y")
    if task is None:
        try:
            target = array_target(values)
        except DataError:
            return None  # whether a target can be learned is not for a split to judge
        return None if target.task == "regression" else target.y
    if values.ndim == 2 and values.shape[1] > 1:
        return np.asarray(values.argmax(axis=1), dtype=np.int64)
    return np.asarray(np.unique(values.ravel(), return_inverse=True)[1], dtype=np.int64)


def _group_codes(groups: ArrayLike, n: int) -> Indices:
    """Return the group of each row counted from 0; missing ones are told apart."""
    import pandas as pd

    values: Any = groups if isinstance(groups, pd.Series) else np.asarray(groups)
    if values.ndim != 1 or len(values) != n:
        raise UsageError(f"groups has shape {values.shape}, but there are {n:,} rows", where="argument groups")
    found, known = pd.factorize(values)
    codes = np.array(found, dtype=np.int64)
    codes[codes < 0] = len(known) + np.arange(int((codes < 0).sum()))
    return codes


def _whole(value: object, name: str) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if isinstance(value, bool) or number < 0:
        raise UsageError(f"a whole number from 0 expected, not {value!r}", where=f"argument {name}")
    return number


def _random_state(seed: int, purpose: str) -> np.random.RandomState:
    words = np.frombuffer(hashlib.sha256(purpose.encode()).digest()[:16], dtype="<u4")
    sequence = np.random.SeedSequence([seed, *(int(word) for word in words)])
    return np.random.RandomState(np.random.MT19937(sequence))
