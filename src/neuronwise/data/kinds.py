"""The kind of every column: found, with a reason that a person can check, and overridable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.cells import Cells, are_yes_no, yes_no
from neuronwise.data.codes import (
    OrderTest,
    name_hint,
    name_words,
    names_a_key,
    names_a_place_code,
    names_an_identifier,
    order_test,
)
from neuronwise.data.columns import ODD_SHARE, Column, Numbers, check_finite, figure, read_number_column, show, told_odd
from neuronwise.data.dates import TIME_OF_DAY, find_date_format, read_hours
from neuronwise.data.places import with_place
from neuronwise.data.reading import RawTable
from neuronwise.data.shapes import (
    MAX_CATEGORIES,
    is_heavy_tailed,
    is_skewed,
    kind_of_words,
    make_column,
    padded_digits,
    told_units,
    units,
)
from neuronwise.data.target import TargetSpec
from neuronwise.data.task import describe_target
from neuronwise.errors import DataError, UsageError

_TEST_ROWS = 20_000


def describe_columns(
    table: RawTable,
    *,
    target: str | TargetSpec | None = None,
    category: Iterable[str] = (),
    numeric: Iterable[str] = (),
    drop: Iterable[str] = (),
) -> list[Column]:
    """Return the kind of every column but the target, in the order of the table.

    Args:
        table: The table; all its rows are looked at.
        target: What is to be predicted: with it, numbers that are names are told by how the target follows them;
            without it, only by their column's name and shape.
        category: Columns that are categories, whatever they look like.
        numeric: Columns that are numbers, whatever they look like.
        drop: Columns to leave out.

    Raises:
        DataError: A named column does not exist; a column asked to be numeric holds a cell that is no number; one
            asked to be a category has more than `MAX_CATEGORIES`; an infinite number.
            A column of lists, durations or the like that is not dropped.
        UsageError: A column is named twice, or is the target.
    """
    spec = describe_target(table, target) if isinstance(target, str) else target
    forced: dict[str, str] = {}
    for option, names in (("category", category), ("numeric", numeric), ("drop", drop)):
        for name in [names] if isinstance(names, str) else names:
            table.check_column(name)
            if spec is not None and name == spec.name:
                raise UsageError(f"column {name!r} is the target", where=f"option --{option}")
            if forced.get(name, option) != option:
                raise UsageError(
                    f"column {name!r} is named by both --{forced[name]} and --{option}", where=f"option --{option}"
                )
            forced[name] = option
    judge = _Judge(table, spec)
    columns = [judge.column(name, forced.get(name)) for name in table.column_names if spec is None or name != spec.name]
    return with_place(table, columns, set(forced))


@dataclass
class _Judge:
    table: RawTable
    spec: TargetSpec | None
    _sample: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None

    def column(self, name: str, forced: str | None) -> Column:
        if forced == "drop" and name in self.table.refused:
            return Column(name, "dropped", "left out, as asked for", 0, 0)
        cells = self.table.cells(name)
        # An override that cannot be kept is an error; what is found without one never is, infinite numbers apart.
        found = self._forced(name, cells, forced) if forced else self._found(name, cells)
        examples = tuple(cells.words[:3]) if cells.values is None or cells.n_distinct <= 50 else self._first_words(name)
        return replace(found, examples=examples)

    def _first_words(self, name: str) -> tuple[str, ...]:
        cells = self.table.cells(name)
        values = cells.values
        assert values is not None
        return tuple(replace(cells, values=values[:3], counts=cells.counts[:3]).words)

    def _forced(self, name: str, cells: Cells, forced: str) -> Column:
        if forced == "drop":
            return make_column(cells, name, "dropped", "left out, as asked for")
        if not cells.n_present:
            raise DataError(
                f"all {cells.n_rows:,} cells are missing", where=self.table.where(column=name), hint=f"--drop {name}"
            )
        if forced == "category":
            if cells.n_distinct > MAX_CATEGORIES:
                raise DataError(
                    f"{cells.n_distinct:,} categories, each an input neuron; the limit is {MAX_CATEGORIES:,}",
                    where=self.table.where(column=name),
                    hint=f"Leave the column out: --drop {name}. Or put its values into fewer, larger groups.",
                )
            return make_column(cells, name, "category", "a category, as asked for")
        if (time := self._time(name, cells)) is not None:
            return time
        numbers = read_number_column(self.table, name, forced=True)
        assert numbers is not None  # forced
        return self._numeric(name, cells, numbers, "a number, as asked for")

    def _found(self, name: str, cells: Cells) -> Column:
        if not cells.n_present:
            return make_column(cells, name, "constant", "no row has a value, so nothing can be learned from it")
        if cells.n_distinct == 1:
            if min(cells.n_missing, cells.n_present) >= max(2, 0.001 * cells.n_rows):
                return make_column(
                    cells, name, "category", f"{cells.words[0]!r} or nothing: whether it is there is learned"
                )
            return make_column(
                cells, name, "constant", f"{cells.words[0]!r} in every row, so nothing can be learned from it"
            )
        if cells.n_distinct <= 20 and are_yes_no(cells.words):
            words = sorted(cells.words, key=lambda word: yes_no([word])[0])
            meaning = "" if words == ["0", "1"] else f": {words[0]} is 0, {words[-1]} is 1"
            return make_column(cells, name, "yes/no", f"two values, {words[0]} and {words[-1]}{meaning}")
        if name in self.table.declared and cells.n_distinct <= MAX_CATEGORIES:
            return make_column(
                cells, name, "category", f"declared a category by the table, {cells.n_distinct:,} values"
            )
        return (
            self._date(name, cells) or self._time(name, cells) or self._number(name, cells) or self._words(name, cells)
        )

    def _date(self, name: str, cells: Cells) -> Column | None:
        if cells.form == "date":
            days = cells.dates("%Y-%m-%d")
            return make_column(cells, name, "date", f"times from {days.min()} to {days.max()}".replace("T00:00:00", ""))
        if cells.form not in ("text", "integer"):
            return None
        if cells.form == "integer" and not 100_000 < np.max(cells.values[:1]) < 100_000_000:  # type: ignore[index]
            return None
        found = find_date_format(cells.words, cells.counts)
        if found is None:
            return None
        good = ~np.isnat(found.values)
        first, last = found.values[good].min(), found.values[good].max()
        reason = f"dates written like {cells.words[0]}, from {first} to {last}".replace("T00:00:00", "")
        if found.ambiguous:
            order = "month first" if found.format.startswith("%m") else "day first"
            reason += f"; {order} is assumed, day and month could be swapped in every row"
        odd: tuple[str, ...] = ()
        if not good.all():
            odd = tuple(np.array(cells.words, object)[~good])
            reason += "; " + told_odd(self.table, name, cells.rows_of(~good), odd, "no date")
        return replace(make_column(cells, name, "date", reason), date_format=found.format, odd=odd)

    def _time(self, name: str, cells: Cells) -> Column | None:
        if cells.form != "text" or ":" not in cells.words[0] + cells.words[-1]:
            return None
        hours = read_hours(cells.words)
        bad = np.isnan(hours)
        if cells.counts[bad].sum() > ODD_SHARE * cells.n_present:
            return None
        reason = (
            f"times of day written like {cells.words[int((~bad).argmax())]}, learned as hours since midnight, from "
            f"{figure(np.nanmin(hours))} to {figure(np.nanmax(hours))}"
        )
        odd = tuple(np.array(cells.words, object)[bad])
        if odd:
            reason += "; " + told_odd(self.table, name, cells.rows_of(bad), odd, "no time")
        return replace(make_column(cells, name, "numeric", reason), date_format=TIME_OF_DAY, odd=odd)

    def _number(self, name: str, cells: Cells) -> Column | None:
        values = cells.reading.values
        if cells.counts[np.isnan(values)].sum() > ODD_SHARE * cells.n_present:
            return None
        hint = name_hint(name)
        finite = values[~np.isnan(values)]
        whole = bool((finite == np.round(finite)).all())
        if whole and names_a_place_code(name) and cells.n_distinct > 0.5 * cells.n_present >= 1.5:
            told = (
                f"{cells.n_distinct:,} distinct values in {cells.n_present:,} rows, and it is called {name!r}: a name "
                "written as a number. Nearly every row has its own, so too few rows share one to learn from"
            )
            keep = f"--numeric {name} keeps it"
            if cells.n_distinct <= MAX_CATEGORIES:
                keep = f"--category {name} or " + keep
            return make_column(cells, name, "identifier", f"{told} ({keep})")
        if whole and (reason := self._identifier(name, cells, finite)):
            return make_column(cells, name, "identifier", reason + f" (--numeric {name} keeps it)")
        if whole and np.abs(finite).max() >= 2**53 and all(word.lstrip("-").isdigit() for word in cells.words[:100]):
            few = cells.n_distinct <= min(MAX_CATEGORIES, cells.n_present / 4)
            reason = f"{cells.n_distinct:,} distinct whole numbers beyond 2^53, too long for a measurement"
            return make_column(cells, name, "category" if few else "identifier", reason)
        check_finite(self.table, name, values)
        numbers = read_number_column(self.table, name)
        assert numbers is not None  # the share of odd cells was checked above
        if whole and (reason := self._name_in_digits(name, cells, values, hint)):
            if cells.n_distinct > MAX_CATEGORIES:
                advice = (
                    f"; with {cells.n_distinct:,} values (limit {MAX_CATEGORIES:,}) it is left out "
                    f"(--numeric {name} learns it as a number)"
                )
                return make_column(cells, name, "identifier", reason + advice)
            return replace(make_column(cells, name, "category", reason), odd=numbers.odd)
        return self._numeric(name, cells, numbers, "")

    def _words(self, name: str, cells: Cells) -> Column:
        found = kind_of_words(name, cells)
        odd = np.isnan(cells.reading.values)
        n_odd = int(cells.counts[odd].sum())
        if found.kind != "category" and not names_an_identifier(name) and (with_unit := units(cells)):
            return replace(found, kind="text", reason=told_units(name, with_unit))
        if found.kind == "category" or n_odd > 0.2 * cells.n_present or names_an_identifier(name):
            return found
        # Mostly numbers: dropping it as an id or as text without a word would hide a few typing errors.
        row = int(cells.rows_of(odd)[0])
        reason = (
            f"{cells.n_present - n_odd:,} cells are numbers and {n_odd:,} are not, such as "
            f"{show(cells.words[cells.codes[row]])} ({self.table.where(row)}): too many to count as missing. "
            f"Correct or empty them, or --drop {name}"
        )
        return replace(found, kind="text", reason=reason)

    def _identifier(self, name: str, cells: Cells, values: NDArray[np.float64]) -> str | None:
        """Return why the whole numbers tell one row from another and nothing else, or None."""
        share = cells.n_distinct / cells.n_present
        if cells.n_present < 3:
            return None
        said = f"{cells.n_distinct:,} distinct whole numbers in {cells.n_present:,} rows"
        if share < 0.95:
            many = cells.n_distinct > MAX_CATEGORIES or (share > 0.2 and cells.n_distinct > 20)
            told = f"{said}, and it is called {name!r}: it names what the row is about"
            return told if many and names_a_key(name) else None
        if names_an_identifier(name):
            return f"{said}, and it is called {name!r}: it names the row"
        if cells.n_present < 20 or name_hint(name) == "quantity" or set(name_words(name)) & {"t", "timestamp", "step"}:
            return None
        if values.max() - values.min() < 1.05 * cells.n_present and share > 0.99:
            return f"{said} without gaps: it numbers the rows"
        if cells.n_present < 200 or values.min() < 100_000:
            return None
        # A large, nearly unique whole number may still be a measure: then the target follows its size.
        binned = np.argsort(np.argsort(cells.reading.values)) * 10 // cells.n_distinct
        tested = self._order(binned.astype(np.float64), cells)
        # Without any effect the measured spread has a standard error of sqrt(2 (k - 1)) / rows, k = 10 bins.
        if (
            tested is not None
            and tested.spread < 0.005 + 2 * np.sqrt(18) / cells.n_present
            and not is_heavy_tailed(values)
        ):
            return f"{said}, and {self._target_name()} has nothing to do with their size: they name the rows"
        return None

    def _name_in_digits(self, name: str, cells: Cells, values: NDArray[np.float64], hint: str) -> str | None:
        """Return why the whole numbers are names (zip codes, shops), or None if they are quantities."""
        k, n = cells.n_distinct, cells.n_present
        several = f"{k:,} distinct values in {n:,} rows"
        if (digits := padded_digits(cells)) and hint != "quantity":
            return f"{several}, written with leading zeros ({digits}): a name in digits"
        if k > n / 2 or (k < 3 and hint != "code"):
            return None
        finite = values[~np.isnan(values)]
        if finite.min() < 0:
            return None
        tested = self._order(values, cells) if k <= MAX_CATEGORIES and k <= n / 5 else None
        follows = f"{self._target_name()} does not rise or fall with them"
        if hint == "code":
            said = f", {follows}," if tested is not None and tested.says_name else ""
            return f"{several}{said} and it is called {name!r}: a name written as a number"
        if hint == "quantity":
            clear = tested is not None and tested.says_name and tested.n_values >= 20 and tested.ordered < 0.1
            return f"{several} and {follows}: a name written as a number" if clear else None
        if hint == "maybe code":
            told = f"{several}, and it is called {name!r}: a name written as a number"
            if tested is None:
                return told if 5 <= k <= n / 10 else None
            # Where the values make no difference, one input is better than one for each.
            ordered = k < 5 or tested.spread < 0.005 or tested.ordered >= 0.8 or tested.p_value > 1e-4
            return None if ordered else f"{several}, it is called {name!r}, and {follows}: a name written as a number"
        if tested is not None and tested.says_name and k <= n / 10:
            return f"{several} and {follows}: a name written as a number"
        spread = (finite.max() - finite.min()) / max(finite.min(), 1)
        if self.spec is None and k <= n / 10 and finite.min() >= 10_000 and spread < 0.1:
            return f"{several}, all from {figure(finite.min())} to {figure(finite.max())}: they look like codes"
        return None

    def _numeric(self, name: str, cells: Cells, numbers: Numbers, reason: str) -> Column:
        values = numbers.values
        finite = values[~np.isnan(values)]
        span = f"{len(np.unique(finite)):,} distinct numbers from {figure(finite.min())} to {figure(finite.max())}"
        parts = [reason or "a number", span, *numbers.said]
        if np.abs(finite).max() >= 2**53 and (finite == np.round(finite)).all():
            parts.append("whole numbers beyond 2^53 are rounded")
        log = is_skewed(values, cells.counts)
        if log:
            parts.append("a few are very large, so the logarithm of 1 + the number is learned")
        column = make_column(cells, name, "numeric", "; ".join(parts))
        return replace(column, log=log, decimal=numbers.decimal, odd=numbers.odd)

    def _order(self, values: NDArray[np.float64], cells: Cells) -> OrderTest | None:
        """Return the order test of a column's numbers (one per distinct cell) against the target."""
        if self.spec is None:
            return None
        if self._sample is None:
            self._sample = _target_sample(self.table, self.spec)
        rows, y = self._sample
        column = np.append(values, np.nan)[cells.codes[rows]]
        known = ~np.isnan(column)
        return order_test(column[known], y[known])

    def _target_name(self) -> str:
        return "the target" if self.spec is None else self.spec.name if len(self.spec.name) <= 60 else "the target"


def _target_sample(table: RawTable, spec: TargetSpec) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return up to 20,000 rows that have a target, and for each its rank (regression) or one 0/1 column per class."""
    from scipy.stats import rankdata

    rows = spec.rows_with_target(table)
    if len(rows) > _TEST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, _TEST_ROWS, replace=False))
    y = spec.encode(table, rows)
    if spec.task == "regression":
        return rows, rankdata(y)[:, None] / len(y)
    common = np.argsort(-np.bincount(y, minlength=len(spec.classes)), kind="stable")[:20]
    return rows, (y[:, None] == common[None, :]).astype(np.float64)
