"""StoredStream: the rows of one stream of a recording by their step, checked where they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.recording.rows import SCALARS_DTYPE, field_bytes, intact, part_of

_MAX_STEP = 2**53


class StoredStream:
    """The rows of one stream by step: of each step the one of the last attempt.

    Attributes:
        steps: Recorded steps, ascending, (n,).
        rows_of: How many rows there are of each attempt, also of those that are not asked for.
    """

    def __init__(
        self,
        name: str,
        segments: Sequence[NDArray[np.void]],
        attempt: int | None,
        report: Callable[[str], None],
        where: str,
    ) -> None:
        self._name, self._segments, self._report, self._where = name, list(segments), report, where
        empty = np.empty(0, np.int64)
        steps = np.concatenate([empty, *(rows["step"] for rows in segments)])
        attempts = np.concatenate([empty, *(rows["attempt"].astype(np.int64) for rows in segments)])
        segment = np.repeat(np.arange(len(segments)), [len(rows) for rows in segments])
        row = np.concatenate([empty, *(np.arange(len(rows)) for rows in segments)])
        self.rows_of: dict[int, int] = dict(zip(*(one.tolist() for one in np.unique_counts(attempts)), strict=True))
        kept = (steps >= 0) & (steps <= _MAX_STEP)
        if not kept.all():
            report(f"{name}: {np.count_nonzero(~kept):,} rows are of no step that there can be, and are left out")
        if attempt is not None:
            kept &= attempts == attempt
        if not kept.all():
            steps, attempts, segment, row = steps[kept], attempts[kept], segment[kept], row[kept]
        # Sorted by step, then attempt, then place: the last of each step counts.
        order = np.lexsort((np.arange(len(steps)), attempts, steps))
        last = order[np.append(steps[order][1:] != steps[order][:-1], [True] * (len(order) > 0)).astype(bool)]
        self.steps: NDArray[np.int64] = steps[last]
        self._segment, self._row = segment[last], row[last]

    def __len__(self) -> int:
        return len(self.steps)

    def _place(self, step: int) -> int:
        place = int(np.searchsorted(self.steps, step))
        if place < len(self.steps) and self.steps[place] == step:
            return place
        what = {"keyframes": "weights", "neurons": "statistics", "layers": "histograms"}.get(self._name, self._name)
        nearest = int(self.steps[np.argmin(np.abs(self.steps - step))]) if len(self.steps) else None
        raise NotFoundError(
            f"no {what} are stored of step {step}",
            where=self._where,
            hint=f"the recording holds no {what}"
            if nearest is None
            else f"the nearest step whose {what} are stored is {nearest}",
        )

    def row(self, step: int) -> NDArray[np.void]:
        """Return the row of a step, (1,), unchecked but for its beginning."""
        place = self._place(step)
        row = int(self._row[place])
        found: NDArray[np.void] = self._segments[self._segment[place]][row : row + 1]
        return found

    def whole_row(self, step: int) -> NDArray[np.void]:
        """Return the row of a step, (1,), copied and checked.

        Raises:
            NotFoundError: There is none.
            FormatError: It is damaged.
        """
        row: NDArray[np.void] = np.array(self.row(step))
        self._refuse(intact(row), step)
        return row

    def field(self, step: int, name: str) -> NDArray[Any]:
        """Return a field of the row of a step, (1, …), checked; likewise."""
        row = self.row(step)
        self._refuse(intact(row, *field_bytes(row.dtype, name)), step)
        found: NDArray[Any] = row[name]
        return found

    def _refuse(self, good: NDArray[np.bool_], step: int) -> None:
        if not good.all():
            sentence = f"{self._name}: what is stored of step {step:,} is damaged"
            self._report(sentence)
            raise FormatError(sentence, where=self._where)

    def part(
        self, field: str, first: int, count: int, size: int, dtype: np.dtype[Any]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return values `first` to `first + count` of a field over all rows: steps (n,), values (n, count)."""
        steps, found = [], []
        for place, rows, own in self._of_segments():
            offset = field_bytes(rows.dtype, field)[0] + first * size
            good = intact(rows, offset, offset + count * size, own)
            values = part_of(rows, offset, (dtype.newbyteorder("<"), (count,)))[own]
            self._report_all(self.steps[place][~good])
            steps.append(self.steps[place][good])
            found.append(np.array(values[good], dtype=dtype))
        if not steps:
            return np.empty(0, np.int64), np.empty((0, count), dtype)
        order = np.argsort(np.concatenate(steps), kind="stable")
        return np.concatenate(steps)[order], np.concatenate(found)[order]

    def _of_segments(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.void], NDArray[np.intp]]]:
        """Yield, for each segment, the places in `steps` that it holds, its rows, and which of them they are."""
        for number, rows in enumerate(self._segments):
            place = np.flatnonzero(self._segment == number)
            if len(place):
                yield place, rows, self._row[place]

    def all(self) -> NDArray[np.void]:
        """Return all rows in the order of their steps, copied and read whole: of short rows only."""
        parts = list(self._of_segments())
        if not parts:
            return np.empty(0, SCALARS_DTYPE)
        order = np.argsort(np.concatenate([place for place, _, _ in parts]), kind="stable")
        found: NDArray[np.void] = np.concatenate([rows[own] for _, rows, own in parts])[order]
        return found

    def check(self) -> None:
        """Report every damaged row."""
        for place, rows, own in self._of_segments():
            self._report_all(self.steps[place][~intact(rows, places=own)])

    def _report_all(self, steps: NDArray[np.int64]) -> None:
        for step in steps.tolist():
            self._report(f"{self._name}: what is stored of step {step:,} is damaged")
