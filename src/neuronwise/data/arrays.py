"""Plain arrays: numbers are taken as they are, and whatever cannot be taken right is refused.

Tables are typed column by column (see the readers of tables); an array carries no names and is not guessed
at. Every refusal says how many values are concerned and where the first one stands.
"""

from __future__ import annotations

import decimal
import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from neuronwise.errors import DataError, UsageError

_EXACT = 2**53
_AT_ONCE = 1_000_000


def check_arrays(
    X: ArrayLike, y: ArrayLike | None = None, *, dtype: DTypeLike = np.float32, allow_nd: bool = False
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return `X` and `y` as arrays that a network can learn from, or refuse them.

    An `X` that is right already is returned itself, without a copy; it may be read-only.

    Args:
        X: Numbers (n, features), of any numeric type, byte order and memory layout; bool counts as 0 and 1.
        y: Target of each row, (n,), (n, 1) or (n, outputs): numbers. Text is refused; see `array_target`.
        dtype: float32 (default) or float64.
        allow_nd: Also take an `X` of more than two dimensions, such as images.

    Returns:
        X of `dtype`, C-contiguous, in the machine's byte order. y as int64 (n,) if it holds one whole number or bool
        per row (class ids), else as `dtype`, (n,) or (n, outputs); None without y.

    Raises:
        DataError: NaN or infinity, nothing or one value where rows are expected, text, objects, dates, complex
            numbers, masked or sparse arrays, whole numbers beyond 2^53 (neighbours would fall together),
            values beyond the range of `dtype`, or lengths that differ.
        UsageError: `dtype` is neither float32 nor float64.
    """
    # NumPy's own instances: an equal one would cost a new view of what is right already.
    known: list[np.dtype[Any]] = [np.dtype(np.float32), np.dtype(np.float64)]
    asked = np.dtype(dtype).newbyteorder("=")
    if asked not in known:
        raise UsageError(f"dtype is float32 or float64, not {np.dtype(dtype)}", where="argument dtype")
    kind = known[known.index(asked)]
    values = as_numbers(X, "X")
    if values.ndim < 2:
        raise DataError(
            f"a 2-D array (rows, features) expected, X has shape {values.shape}",
            where="argument X",
            hint="X.reshape(-1, 1) if it is one feature, X.reshape(1, -1) if it is one row.",
        )
    if values.ndim > 2 and not allow_nd:
        raise DataError(
            f"a 2-D array (rows, features) expected, X has shape {values.shape}",
            where="argument X",
            hint="X.reshape(len(X), -1) lays every row out flat.",
        )
    if 0 in values.shape:
        what = "rows" if not len(values) else "features"
        raise DataError(f"X has no {what}: its shape is {values.shape}", where="argument X")
    checked = as_floats(values, kind, "X")
    if y is None:
        return checked, None
    target = as_numbers(y, "y", text_hint="array_target turns class names into class ids.")
    target = one_column(target)
    if len(target) != len(checked):
        raise DataError(
            f"X and y have different lengths: {len(checked):,} rows in X, {len(target):,} in y",
            where="argument y",
        )
    if target.ndim == 1 and target.dtype.kind in "bui":
        if target.dtype.kind == "u" and target.max() > np.iinfo(np.int64).max:
            raise DataError(f"class ids beyond 2^63: {target.max()}", where="argument y")
        return checked, target.astype(np.int64)
    return checked, as_floats(target, kind, "y")


def one_column(values: NDArray[Any]) -> NDArray[Any]:
    """Return y as (n,) where it has one column, else as (n, k)."""
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim not in (1, 2):
        raise DataError(f"y of shape (n,) or (n, k) expected, not {values.shape}", where="argument y")
    return values


def as_array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return anything that is a plain array or a list of such, untouched; refuse masks and sparse formats."""
    if isinstance(values, np.ma.MaskedArray):
        masked = int(np.ma.getmaskarray(values).sum())
        if masked:
            first = np.unravel_index(int(np.ma.getmaskarray(values).argmax()), values.shape)
            raise DataError(
                f"Input {name} is a masked array with {masked:,} masked {_values(masked)}, "
                f"the first at {place_words(first)}",
                where=f"argument {name}",
                hint=f"Fill them first: {name}.filled(…).",
            )
        return np.asarray(values.data)
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        raise DataError(
            f"Input {name} is a sparse array ({type(values).__name__})",
            where=f"argument {name}",
            hint=f"Networks take dense arrays: {name}.toarray(), if it fits into memory.",
        )
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"Input {name} is no array: {error}", where=f"argument {name}") from None


def as_numbers(values: ArrayLike, name: str, text_hint: str | None = None) -> NDArray[Any]:
    """Return an array of bool, whole or floating numbers, or refuse."""
    array = as_array(values, name)
    if array.dtype.kind in "buif":
        return array
    if array.dtype.kind == "O":
        return _from_objects(array, name)
    if array.dtype.kind in "UST":
        first = array.reshape(-1)[0] if array.size else ""
        raise DataError(
            f"Input {name} holds text ({str(first)!r:.60}), numbers are expected",
            where=f"argument {name}",
            hint=text_hint or "Pass a frame, whose columns are typed and encoded one by one, or convert to float.",
        )
    what = {"c": "complex numbers", "M": "dates", "m": "durations"}.get(array.dtype.kind, str(array.dtype))
    raise DataError(f"Input {name} holds {what}, numbers are expected", where=f"argument {name}")


def _from_objects(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return Python objects as numbers if each is one; text is not parsed, so nothing is read wrongly."""
    flat = array.reshape(-1).tolist()
    for index, value in enumerate(flat):
        if not is_missing(value) and not isinstance(value, numbers.Real | decimal.Decimal | np.bool):
            place = place_words(np.unravel_index(index, array.shape))
            raise DataError(
                f"Input {name} holds a value that is no number: {value!r:.60} ({type(value).__name__}) at {place}",
                where=f"argument {name}",
            )
    if flat and all(isinstance(value, bool | np.bool) for value in flat):
        return array.astype(bool)
    if flat and all(isinstance(value, numbers.Integral) for value in flat):
        if max(map(abs, flat)) > _EXACT:
            _refuse_large(np.array([abs(value) > _EXACT for value in flat]).reshape(array.shape), name)
        return array.astype(np.int64)
    found = [np.nan if is_missing(value) else float(value) for value in flat]
    return np.array(found, dtype=np.float64).reshape(array.shape)


def is_missing(value: object) -> bool:
    """Return whether a Python object stands for a missing value: None, NaN, NA or NaT."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and np.isnan(value))
    )


def as_floats(values: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return finite values as `dtype`, C-contiguous and native; the same object where nothing is to be done."""
    if values.dtype.kind in "ui" and values.dtype.itemsize == 8:
        too_large = values > _EXACT if values.dtype.kind == "u" else (values > _EXACT) | (values < -_EXACT)
        if too_large.any():
            _refuse_large(too_large, name)
    refuse_non_finite(values, name)
    with np.errstate(over="ignore"):
        floats = np.require(values, dtype, ["C", "A"])
    if values.dtype.kind == "f" and values.dtype.itemsize > dtype.itemsize:
        overflown = ~np.isfinite(floats)
        if overflown.any():
            count, place = int(overflown.sum()), _first(overflown)
            raise DataError(
                f"Input {name} contains values too large for {dtype}: {count:,} {_values(count)}, the first at {place}",
                where=f"argument {name}",
            )
    return floats


def _refuse_large(too_large: NDArray[np.bool_], name: str) -> None:
    count = int(too_large.sum())
    raise DataError(
        f"Input {name} contains whole numbers beyond 2^53, which floating numbers cannot tell apart: "
        f"{count:,} {_values(count)}, the first at {_first(too_large)}",
        where=f"argument {name}",
        hint="Identifiers are no features: leave that column out.",
    )


def refuse_non_finite(values: NDArray[Any], name: str) -> None:
    """Raise DataError, with counts and first places, if there is any NaN or infinity."""
    if values.dtype.kind != "f" or _all_finite(values):
        return
    nan, infinite = np.isnan(values), np.isinf(values)
    parts = [
        f"{word}: {int(bad.sum()):,} {_values(int(bad.sum()))}, the first at {_first(bad)}"
        for word, bad in (("NaN", nan), ("infinity", infinite))
        if bad.any()
    ]
    raise DataError(
        f"Input {name} contains {' and '.join(parts)}",
        where=f"argument {name}",
        hint="Fill or drop them first. Missing cells of a frame or a CSV file are filled and flagged."
        if name == "X"
        else "Drop these rows.",
    )


def _all_finite(values: NDArray[Any]) -> bool:
    # In parts: the marks of a large array would take a quarter of its memory.
    size = max(1, _AT_ONCE * len(values) // max(values.size, 1)) if values.ndim else 1
    if values.ndim == 0 or len(values) <= size:
        return bool(np.isfinite(values).all())
    return all(bool(np.isfinite(values[start : start + size]).all()) for start in range(0, len(values), size))


def _values(count: int) -> str:
    return "value" if count == 1 else "values"


def _first(bad: NDArray[np.bool_]) -> str:
    return place_words(np.unravel_index(int(bad.argmax()), bad.shape))


def place_words(index: tuple[Any, ...]) -> str:
    """Return an index in words: ``"row 17"``, ``"row 17, column 2"``, ``"row 17, place (3, 4)"``."""
    row, *rest = (int(i) for i in index) if index else (0,)
    if len(rest) == 1:
        return f"row {row}, column {rest[0]}"
    return f"row {row}, place ({', '.join(map(str, rest))})" if rest else f"row {row}"
