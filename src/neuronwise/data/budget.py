"""How much memory the data of a training may take, and what reading a table whole would need."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from neuronwise.errors import DataError, UsageError

MEMORY_BYTES = 1_000_000_000
"""The budget where nothing else is said."""
VARIABLE = "NEURONWISE_MEMORY"
"""Environment variable that sets the budget: ``500MB``, ``4GB``, or bytes."""

# Measured on tables of numbers and words (docs/how-to/train-on-large-tables.md): cells as text, their distinct ones as
# Python strings with their counts, and the encoded float32 beside them.
_TEXT_FACTOR = 12
_BYTES_PER_PARQUET_CELL = 75
_GZIP_FACTOR = 4
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def memory_budget(given: int | str | None = None) -> int:
    """Return the bytes that the data of a training may take: `given`, else `NEURONWISE_MEMORY`, else 1 GB.

    Raises:
        UsageError: It is no size, such as ``"2GB"``.
    """
    where = "argument memory"
    if given is None:
        given, where = os.environ.get(VARIABLE) or MEMORY_BYTES, f"environment variable {VARIABLE}"
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return given
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", given) if isinstance(given, str) else None
    if match is None or match[2].upper() not in _UNITS or not float(match[1]) > 0:
        raise UsageError(f"expected a size such as '2GB' or a number of bytes, got {given!r:.60}", where=where)
    return max(1, int(float(match[1]) * _UNITS[match[2].upper()]))


def whole_bytes(path: Path) -> int:
    """Return about how many bytes of memory reading a table whole and encoding it takes; the file is not read.

    Raises:
        DataError: A Parquet file that is damaged.
    """
    if is_parquet(path):
        found: Any = parquet_metadata(path)
        return int(found.num_rows) * int(found.num_columns) * _BYTES_PER_PARQUET_CELL
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return path.stat().st_size * _TEXT_FACTOR * (_GZIP_FACTOR if packed else 1)


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its first bytes, or is called so."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1" or path.suffix.lower() in (".parquet", ".pq")


def parquet_metadata(path: Path) -> Any:
    """Return what pyarrow knows of a Parquet file without reading its cells.

    Raises:
        DataError: The file is damaged or cut off.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataError(f"the Parquet file is damaged or cut off: {reason}", where=path.name) from None
