"""Frames and Parquet files brought to four plain forms: text, numbers, truth values and times.

What a frame may hold is endless; what leaves here is not. A column whose cells have no honest plain form (lists,
bytes, complex numbers, durations) is handed out beside the frame, with an error that names it and says how to turn
it into one that has. Whoever uses the column raises that error; who does not need the column never meets it.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import numbers
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.data.delimited import MAX_COLUMNS, check_names
from neuronwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MAX_CELLS = 200_000_000
"""Most cells (rows × columns) of a Parquet table."""


Refused = dict[str, DataError]
"""Columns whose cells have no plain form, each with the error to raise where it is used."""


def normalise_frame(frame: pd.DataFrame, where: str) -> tuple[pd.DataFrame, frozenset[str], list[str], Refused]:
    """Return a frame of plain columns with text names, the names declared as categories, notes, and refused columns.

    A refused column holds the name of its type in every row. The input is not changed; the index is left off.

    Raises:
        DataError: No column or row; names duplicate, empty or on several levels.
    """
    import pandas as pd

    notes: list[str] = []
    if frame.columns.nlevels > 1:
        raise DataError(
            f"the column names have {frame.columns.nlevels} levels (a MultiIndex)",
            where=where,
            hint="Join them: frame.columns = ['_'.join(map(str, names)) for names in frame.columns]",
        )
    names = [str(name) for name in frame.columns]
    if not names:
        raise DataError("the table has no column", where=where)
    if len(names) > MAX_COLUMNS:
        raise DataError(f"the table has {len(names):,} columns; the limit is {MAX_COLUMNS:,}", where=where)
    check_names(names, where)
    for i, name in enumerate(names):
        _check_unicode(name, f"{where}, name of column {i + 1}")
    if not len(frame):
        raise DataError("the table has columns and no rows", where=where, hint="There is nothing to learn from.")
    if any(not isinstance(name, str) for name in frame.columns):
        notes.append("column names that are no text were turned into text")
    if not isinstance(frame.index, pd.RangeIndex) and any(name is not None for name in frame.index.names):
        notes.append(
            f"the index {str(frame.index.names[0])!r} is no column and is not used (reset_index() makes it one)"
        )
    declared = frozenset(
        name for name, dtype in zip(names, frame.dtypes, strict=True) if isinstance(dtype, pd.CategoricalDtype)
    )
    columns: dict[str, pd.Series[Any]] = {}
    refused: Refused = {}
    for i, name in enumerate(names):
        series = frame.iloc[:, i].reset_index(drop=True)
        try:
            columns[name] = _normalise(series, f"{where}, column {name}", notes)
        except DataError as error:
            refused[name] = error
            columns[name] = pd.Series([f"<{series.dtype}>"] * len(series), dtype=object)
    return pd.DataFrame(columns), declared, notes, refused


def _normalise(series: pd.Series[Any], where: str, notes: list[str]) -> pd.Series[Any]:
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.SparseDtype):
        series = pd.Series(np.asarray(series))
    elif isinstance(dtype, pd.CategoricalDtype):
        series = pd.Series(series.to_numpy(dtype=object), dtype=object).infer_objects()
    elif isinstance(dtype, pd.ArrowDtype):
        series = series.convert_dtypes(dtype_backend="numpy_nullable")
    dtype = series.dtype
    types = pd.api.types
    if isinstance(dtype, pd.DatetimeTZDtype):
        notes.append(f"{where.rsplit(', ', 1)[-1]}: times in {dtype.tz} are taken as the local time they show")
        local: pd.Series[Any] = series.dt.tz_localize(None)
        return local
    if types.is_complex_dtype(dtype):
        raise DataError("the cells are complex numbers", where=where, hint="Keep .real and .imag as two columns.")
    if types.is_timedelta64_dtype(dtype):
        raise DataError(
            "the cells are durations", where=where, hint="Turn them into numbers: column.dt.total_seconds()"
        )
    if types.is_bool_dtype(dtype) or types.is_datetime64_dtype(dtype):
        return series
    if types.is_numeric_dtype(dtype):
        if isinstance(dtype, np.dtype):
            native = series.to_numpy().astype(dtype.newbyteorder("="), copy=False)
            # float16 and long double have no factorisation; float64 holds the first exactly.
            wide = (
                native.astype(np.float64)
                if native.dtype.itemsize not in (4, 8) and native.dtype.kind == "f"
                else native
            )
            return pd.Series(wide)
        return series
    if isinstance(dtype, pd.StringDtype):
        return series
    if isinstance(dtype, (pd.PeriodDtype, pd.IntervalDtype)):
        return series.astype(str).where(series.notna(), None)
    return pd.Series([_cell_text(cell, where, row) for row, cell in enumerate(series)], dtype=object)


def _cell_text(cell: object, where: str, row: int) -> str | None:
    import pandas as pd

    if cell is None or cell is pd.NaT or cell is pd.NA:
        return None
    if isinstance(cell, str):
        _check_unicode(cell, f"{where}, row {row}")
        return str(cell)
    if isinstance(cell, (bool, np.bool_)):
        return "true" if cell else "false"
    if isinstance(cell, numbers.Integral):
        return str(int(cell))
    if isinstance(cell, (float, np.floating)):
        return None if np.isnan(cell) else str(cell)
    if isinstance(cell, decimal.Decimal):
        return None if cell.is_nan() else str(cell)
    if isinstance(cell, (datetime.datetime, datetime.date)):
        return cell.isoformat()
    if isinstance(cell, (pd.Interval, pd.Period, datetime.time)):
        return str(cell)
    raise DataError(
        f"row {row} holds a {type(cell).__name__}, which is no number, text, date or truth value",
        where=where,
        hint="Leave the column out, or turn its cells into numbers or text.",
    )


def _check_unicode(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text is not valid Unicode: character {error.start} is half of a pair", where=where
        ) from None


def read_parquet(path: Path) -> Any:
    """Return the pyarrow Table of a Parquet file.

    Raises:
        DataError: Damaged or cut off, or more than `MAX_CELLS` cells.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            rows, columns = file.metadata.num_rows, file.metadata.num_columns
            if rows * columns > MAX_CELLS:
                raise DataError(
                    f"the table has {rows:,} rows × {columns:,} columns; the limit is {MAX_CELLS:,} cells",
                    where=path.name,
                    hint="Take fewer columns or a sample of the rows.",
                )
            return file.read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataError(f"the Parquet file is damaged or cut off: {reason}", where=path.name) from None


def frame_from_arrow(table: Any, where: str) -> tuple[pd.DataFrame, Refused]:
    """Return a pandas frame that keeps integers exact beside missing values, and the refused columns.

    Refused are lists, records, bytes and other nested types; such a column holds the name of its type in every row.
    """
    import pandas as pd
    import pyarrow as pa

    check_names([str(name) for name in table.column_names], where)
    refused: Refused = {}
    for i, field in enumerate(table.schema):
        kind = pa.types
        if any(
            test(field.type)
            for test in (kind.is_nested, kind.is_binary, kind.is_large_binary, kind.is_fixed_size_binary)
        ):
            refused[field.name] = DataError(
                f"the cells are of type {field.type}, which is no number, text, date or truth value",
                where=f"{where}, column {field.name}",
                hint="Leave the column out, or turn its cells into numbers or text.",
            )
            table = table.set_column(i, field.name, pa.array([f"<{field.type}>"] * table.num_rows, pa.string()))
    exact = {
        getattr(pa, f"{u}int{bits}")(): getattr(pd, f"{u.upper()}Int{bits}Dtype")()
        for u in ("", "u")
        for bits in (8, 16, 32, 64)
    }
    exact[pa.bool_()] = pd.BooleanDtype()
    frame: pd.DataFrame = table.to_pandas(types_mapper=exact.get, date_as_object=False, ignore_metadata=True)
    return frame, refused


def frame_fingerprint(frame: pd.DataFrame) -> str:
    """Return the sha256 of a normalised frame's names, types and cells."""
    import pandas as pd

    digest = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        digest.update(f"{len(name)}:{name}:{column.dtype}:{len(column)};".encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(pd.util.hash_pandas_object(column, index=False)).data)
    return digest.hexdigest()
