"""A uniform sample of the rows of a table whose length is not known before its end."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Sample(NamedTuple):
    """Rows drawn: their cells (a pyarrow Table), their numbers in the source, and the lines on which they begin."""

    cells: Any
    rows: NDArray[np.int64]
    lines: NDArray[np.int64]


class RowSampler:
    """Keeps `size` rows of all that pass, each with the same chance, in the order of the table; all if there are fewer.

    Every row draws a number, and the rows with the smallest ones are kept: so the rows kept depend on the seed alone
    and not on the chunks in which they come.
    """

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self._size, self._random = size, random
        self._parts: list[tuple[NDArray[np.float64], Sample]] = []
        self._held, self._limit = 0, np.inf

    def feed(self, cells: Any, first_row: int, lines: NDArray[np.int64]) -> None:
        """Let the next rows pass: a pyarrow Table, the number of its first row, and the line of each row."""
        keys = self._random.random(cells.num_rows)
        chosen = np.flatnonzero(keys < self._limit)
        if not len(chosen):
            return
        taken = cells if len(chosen) == cells.num_rows else cells.take(chosen)
        self._parts.append((keys[chosen], Sample(taken, chosen + first_row, lines[chosen])))
        self._held += len(chosen)
        if self._held > self._size + max(self._size // 4, 1000):
            self._prune()

    def finish(self) -> Sample:
        """Return the rows that were kept."""
        self._prune()
        return self._parts[0][1]

    def _prune(self) -> None:
        import pyarrow as pa

        keys = np.concatenate([keys for keys, _ in self._parts])
        cells = pa.concat_tables([part.cells for _, part in self._parts])
        rows = np.concatenate([part.rows for _, part in self._parts])
        lines = np.concatenate([part.lines for _, part in self._parts])
        if len(keys) > self._size:
            kept = np.sort(np.argpartition(keys, self._size - 1)[: self._size])
            keys, cells, rows, lines = keys[kept], cells.take(kept), rows[kept], lines[kept]
            self._limit = keys.max()
        self._parts, self._held = [(keys, Sample(cells.combine_chunks(), rows, lines))], len(keys)
