"""A Parquet table read in batches of rows, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronwise.data.budget import parquet_metadata
from neuronwise.data.delimited import MAX_COLUMNS, check_names
from neuronwise.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


class ParquetSource:
    """A Parquet table on disk that can be read in batches any number of times.

    Attributes:
        path: The file.
        n_rows: Rows, as the file says.
        names: Names of the columns.
        schema: pyarrow's schema of the file.

    Raises:
        DataError: Damaged, no column or row, too many columns, or names that are empty or twice.
    """

    def __init__(self, path: Path, chunk_rows: int | None, chunk_cells: int = 1_000_000) -> None:
        found = parquet_metadata(path)
        self.path = path
        self.n_rows: int = found.num_rows
        self.schema: Any = found.schema.to_arrow_schema()
        self.names: list[str] = [str(name) for name in self.schema.names]
        if len(self.names) > MAX_COLUMNS:
            raise DataError(f"the table has {len(self.names):,} columns; the limit is {MAX_COLUMNS:,}", where=path.name)
        check_names(self.names, path.name)
        if not self.names:
            raise DataError("the table has no column", where=path.name)
        self._chunk_rows = chunk_rows or max(256, chunk_cells // len(self.names))
        if not self.n_rows:
            raise DataError(
                "the table has columns and no rows", where=path.name, hint="There is nothing to learn from."
            )

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows from the first to the last, as pyarrow Tables.

        Args:
            columns: Names of the columns wanted; None: all.

        Raises:
            DataError: The file is damaged.
        """
        import pyarrow as pa
        from pyarrow import parquet

        try:
            # Columns are read in pages of 1 MB: a row group may hold the whole table.
            with parquet.ParquetFile(self.path, buffer_size=1 << 20, pre_buffer=False) as file:
                names = None if columns is None else list(columns)
                for batch in file.iter_batches(self._chunk_rows, columns=names, use_threads=False):
                    # The order asked for; a nested column is read under its own name.
                    yield pa.Table.from_batches([batch]).select(names or self.names)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0][:200]
            raise DataError(f"the Parquet file is damaged or cut off: {reason}", where=self.path.name) from None

    def fingerprint(self) -> str:
        """Return the sha256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
