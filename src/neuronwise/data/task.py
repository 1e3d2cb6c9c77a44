"""What a column is as a target: a regression, two classes or many; and whether its logarithm is learned."""

from __future__ import annotations

import numpy as np

from neuronwise.data.cells import Cells, are_yes_no, yes_no
from neuronwise.data.columns import Numbers, figure, read_number_column, show
from neuronwise.data.dates import find_date_format
from neuronwise.data.reading import RawTable
from neuronwise.data.target import MAX_CLASSES, TargetSpec, Task, class_ids
from neuronwise.errors import DataError, UsageError

MAX_COUNTED_CLASSES = 20
"""Whole numbers with at most this many distinct values are taken for classes."""


def describe_target(table: RawTable, target: str, *, task: str | None = None, log: bool | None = None) -> TargetSpec:
    """Return what kind of target the column is; mean and scale are those of all rows that have one.

    Args:
        table: The table.
        target: Name of the column.
        task: ``"regression"``, ``"binary"``, ``"multiclass"`` or ``"classification"`` (either); None: found.
        log: Whether the logarithm of a regression target is learned; None: found.

    Raises:
        DataError: No such column; all targets missing or the same; fewer than two rows; text for a regression;
            more than `MAX_CLASSES` classes; dates.
        UsageError: `task` is no task, or `log` is asked for a target that is not positive.
    """
    tasks = (None, "regression", "binary", "multiclass", "classification")
    if task not in tasks:
        raise UsageError(
            f"{task!r} is no task", where="argument task", hint=f"Choose {', '.join(map(str, tasks[1:]))}."
        )
    table.check_column(target)
    cells = table.cells(target)
    where = table.where(column=target)
    if not cells.n_present:
        raise DataError(f"the target is missing in all {cells.n_rows:,} rows", where=where)
    if cells.n_present < 2:
        raise DataError("only one row has a target, and nothing can be learned from one row", where=where)
    if cells.n_distinct == 1:
        raise DataError(
            f"the target is {show(cells.words[0])} in every row, so there is nothing to learn",
            where=where,
            hint="Choose another column with --target.",
        )
    numbers = read_number_column(table, target, forced=task == "regression", target=True)
    if task == "regression":
        assert numbers is not None  # forced
        return _regression(cells, target, numbers, where, log, "regression, as asked for")
    if cells.n_distinct <= 20 and are_yes_no(cells.words):
        truth = yes_no(cells.words)
        two = (cells.words[int((truth == 0).argmax())], cells.words[int((truth == 1).argmax())])
        return _classes(cells, target, two, where, task, f"two classes, {two[0]} and {two[1]}")
    if numbers is None:
        dated = cells.form == "date" or find_date_format(cells.words, cells.counts) is not None
        if dated and task is None:
            raise DataError(
                "the target is a date, which is not learned",
                where=where,
                hint="Turn it into a number (such as days since a fixed day), or give --task multiclass.",
            )
        names = tuple(sorted(cells.words))
        return _classes(cells, target, names, where, task, f"text with {len(names):,} distinct values: classes")
    values = np.unique(numbers.values[~np.isnan(numbers.values)])
    if len(values) < 2:
        raise DataError(f"the target is {figure(values[0])} in every row that has one", where=where)
    whole = bool((values == np.round(values)).all())
    few = len(values) == 2 or (whole and len(values) <= MAX_COUNTED_CLASSES and len(values) * 5 <= cells.n_present)
    if task in ("binary", "multiclass", "classification") or few:
        at = {float(number): word for word, number in zip(cells.words, numbers.values, strict=True)}
        names = tuple(at[float(value)] for value in values)
        reason = (
            f"{len(values)} distinct {'whole ' * whole}numbers: classes (--task regression learns them as a quantity)"
        )
        return _classes(cells, target, names, where, task, reason, numbers.odd)
    return _regression(cells, target, numbers, where, log, f"{len(values):,} distinct numbers: regression")


def _regression(cells: Cells, name: str, numbers: Numbers, where: str, log: bool | None, reason: str) -> TargetSpec:
    from scipy.stats import skew

    values = np.append(numbers.values, np.nan)[cells.codes]
    values = values[~np.isnan(values)]
    if values.min() == values.max():
        raise DataError(f"the target is {figure(values[0])} in every row that has one", where=where)
    positive = values.min() > 0
    if log and not positive:
        raise UsageError(
            f"the logarithm cannot be learned: the target goes down to {figure(values.min())}",
            where=where,
            hint="Leave --log out"
            + (f", or add a column with log(1 + {name}) to the table and learn that." if values.min() > -1 else "."),
        )
    if log is None and positive and len(values) >= 20:
        skewness, of_log = float(skew(values)), float(skew(np.log(values)))
        log = skewness > 0.8 and abs(of_log) < 0.7 * skewness
        if log:
            reason += (
                f". All values are positive and a few are very large (skewness {skewness:.1f}, of the logarithm "
                f"{of_log:.1f}), so its logarithm is learned; every result is told in the original unit"
            )
    elif log:
        reason += ". Its logarithm is learned, as asked for; every result is told in the original unit"
    if numbers.said:
        reason += f" ({'; '.join(numbers.said)})"
    learned = np.log(values) if log else values
    return TargetSpec(
        name, "regression", (), (), bool(log), float(learned.mean()), float(learned.std()) or 1.0,
        float(values.min()), float(values.max()), float(np.median(values)), reason,
        len(values), cells.n_rows - len(values), numbers.decimal, numbers.odd,
    )  # fmt: skip


def _classes(
    cells: Cells,
    name: str,
    names: tuple[str, ...],
    where: str,
    task: str | None,
    reason: str,
    odd: tuple[str, ...] = (),
) -> TargetSpec:
    if task == "binary" and len(names) != 2:
        shown = ", ".join(map(show, names[:5]))
        raise DataError(f"a binary target has two values, this one {len(names):,}: {shown} …", where=where)
    if len(names) > MAX_CLASSES or len(names) > max(2, cells.n_present / 2):
        limit = (
            f"the limit is {MAX_CLASSES:,}" if len(names) > MAX_CLASSES else "nearly every row is a class of its own"
        )
        raise DataError(
            f"the target has {len(names):,} classes in {cells.n_present:,} rows; {limit}",
            where=where,
            hint="Is it the right column? If it is a number: --task regression",
        )
    ids = class_ids(cells, names)
    counts = np.bincount(ids[ids >= 0].astype(np.int64), cells.counts[ids >= 0], len(names)).astype(int)
    n_rows = int(counts.sum())
    found: Task = "multiclass" if task == "multiclass" or len(names) > 2 else "binary"
    return TargetSpec(
        name, found, names, tuple(counts.tolist()), False, 0.0, 1.0, 0.0, 0.0, 0.0, reason,
        n_rows, cells.n_rows - n_rows, odd=odd,
    )  # fmt: skip
