"""What the estimators take as X: frames of mixed columns or plain arrays, and the encoder that each gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import (
    ArrayEncoder,
    FeatureEncoder,
    TargetSpec,
    describe_columns,
    describe_target,
    read_table,
)
from neuronwise.data.arrays import as_array, refuse_non_finite
from neuronwise.errors import DataError, UsageError, did_you_mean
from neuronwise.running.estimators.compat import check_columns, check_numbers

Encoder = FeatureEncoder | ArrayEncoder
_OF_TEXT = {
    "X": "pass a DataFrame: its columns are encoded one by one",
    "y": "NeuralNetworkClassifier learns labels",
}


def is_frame(X: Any) -> bool:
    """Return whether X is a pandas or polars DataFrame."""
    # Inheriting counts, as a GeoDataFrame does.
    known = {(base.__name__, base.__module__.split(".")[0]) for base in type(X).__mro__}
    return not known.isdisjoint({("DataFrame", "pandas"), ("DataFrame", "polars")})


def check_inputs(estimator: Any, X: Any, encoder: Encoder | None, *, least: int = 1) -> Any:
    """Return X as the encoder takes it (None: as the encoder to come will): a frame, or numbers (rows, features).

    Number and names of the features are noted in the estimator, or compared with those noted if there is an encoder.

    Raises:
        ValueError: Not what can be learned from, or not what was learned from.
    """
    reset = encoder is None
    if type(X).__name__ == "LazyFrame":
        raise UsageError("a LazyFrame holds no rows yet", where="argument X", hint="X.collect()")
    if isinstance(X, np.ma.MaskedArray):
        X = as_array(X, "X")
    if is_frame(X) and not isinstance(encoder, ArrayEncoder):
        if not getattr(X.columns, "is_unique", True):
            read_table(X)  # which tells the columns that have the same name
        check_columns(estimator, X, reset=reset)
        if len(X) < least:
            raise UsageError(
                f"Found array with {len(X)} sample(s) (shape={X.shape}) while a minimum of {least} is required",
                where="argument X",
            )
        return X
    if isinstance(encoder, FeatureEncoder):
        return _as_frame(estimator, X)
    return _numbers(estimator, X, reset=reset, least=least)


def _numbers(estimator: Any, X: Any, *, reset: bool, least: int) -> NDArray[Any]:
    """Return numbers (rows, features); of values that are none, say which is the first."""
    try:
        return check_numbers(estimator, X, reset=reset, least=least)
    except ValueError as error:
        raise clearer(error, X, "X") from None


def clearer(error: ValueError, values: Any, name: str) -> ValueError:
    """Return scikit-learn's error; of text one with a hint, of NaN or infinity one that tells where the first is."""
    if "could not convert" in str(error):
        return DataError(f"Input {name} holds text: {error}", where=f"argument {name}", hint=_OF_TEXT[name])
    if f"Input {name} contains" in str(error):
        try:
            refuse_non_finite(np.asarray(values, dtype=np.float64), name)
        except DataError as placed:
            return placed
        except (TypeError, ValueError):  # not numbers only
            pass
    return error


def _as_frame(estimator: Any, X: Any) -> Any:
    """Return what is no frame as one with the columns of the fit, which it must have in their order."""
    import pandas as pd

    values = np.asarray(X)
    if values.ndim != 2 or not len(values) or values.dtype.kind == "c":
        values = check_numbers(estimator, X, reset=False, least=1)  # which refuses it
    check_columns(estimator, values, reset=False)
    return pd.DataFrame(values, columns=estimator._columns).infer_objects()


def column_names(X: Any) -> list[str]:
    """Return the names of a frame's columns as text."""
    return [str(name) for name in X.columns]


def take(X: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows of a frame or array."""
    if not is_frame(X):
        return X[rows]
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def fit_encoder(
    X: Any,
    y: NDArray[Any],
    spec: TargetSpec,
    rows: NDArray[np.int64],
    *,
    labels: NDArray[Any] | None,
    standardize: bool,
    category: Sequence[str],
    numeric: Sequence[str],
) -> Encoder:
    """Return the encoder fitted on some rows.

    Args:
        X: As `check_inputs` returns it.
        y: Class numbers, or numbers (n, k).
        spec: What is predicted.
        rows: Rows to fit on; the kinds of a frame's columns are judged on all rows, as `neuronwise.train` does.
        labels: The classes as they were given, or None.
        standardize: Whether the columns of a plain array are standardised.
        category: Columns of a frame that are categories.
        numeric: Columns of a frame that are numbers.

    Raises:
        UsageError: Columns named where there are none.
        DataError: A frame that cannot be understood.
    """
    if not is_frame(X):
        for name, given in (("category", category), ("numeric", numeric)):
            if len(given):
                raise UsageError(
                    f"a plain array has no named columns, got {given!r:.100}",
                    where=f"argument {name}",
                    hint="pass a DataFrame",
                )
        return ArrayEncoder.fit(take(X, rows), labels, standardize=standardize)
    category, numeric = _known(X, category, "category"), _known(X, numeric, "numeric")
    with told_in_python(X):
        table = read_table(X)
        judged = _with_target(X, y, spec)
        columns = describe_columns(
            table if judged is None else judged[0],
            target=None if judged is None else judged[1],
            category=category,
            numeric=numeric,
        )
        return FeatureEncoder.fit(table, columns, rows=rows)


def _known(X: Any, given: Sequence[str], argument: str) -> list[str]:
    """Return the names given by an argument, all of which must be columns of the frame."""
    columns = column_names(X)
    names = [given] if isinstance(given, str) else [str(name) for name in given]
    for name in names:
        if name not in columns:
            raise UsageError(
                f"there is no column {name!r:.60}.{did_you_mean(name, columns)}", where=f"argument {argument}"
            )
    return names


@contextmanager
def told_in_python(X: Any) -> Iterator[None]:
    """Let errors that name options of the command line, as ``--drop id``, tell what does the same here."""
    try:
        yield
    except UsageError as error:
        drop = "X.drop(columns=[{!r}])" if hasattr(X, "iloc") else "X.drop({!r})"
        ours = {"--category": "category=[{!r}]", "--numeric": "numeric=[{!r}]", "--drop": drop}
        hint = error.hint or ""
        for name in sorted(X.columns, key=lambda name: len(str(name)), reverse=True):
            for option, words in ours.items():
                hint = hint.replace(f"{option} {name}", words.format(name))
        raise type(error)(error.message, where=error.where, hint=hint or None) from None


def _with_target(X: Any, y: NDArray[Any], spec: TargetSpec) -> tuple[Any, TargetSpec] | None:
    """Return the table with the target as a further column, by which numbers that are names are told.

    None where several numbers are predicted at once, or always the same.
    """
    names = column_names(X)
    name = "y"
    while name in names:
        name += "_"
    if spec.task == "regression":
        if y.shape[1] > 1 or not (y != y[:1]).any():
            return None
        table = read_table(_add(X, name, y[:, 0]))
        return table, describe_target(table, name, task="regression", log=False)
    # Stand-ins for the classes, whose own names might be read as something else.
    words = [f"class {i}" for i in range(len(spec.classes))]
    table = read_table(_add(X, name, np.array(words, object)[y]))
    return table, replace(spec, name=name, classes=tuple(words))


def _add(X: Any, name: str, values: NDArray[Any]) -> Any:
    if hasattr(X, "iloc"):
        frame = X.copy(deep=False)
        frame[name] = values
        return frame
    import polars as pl

    return X.with_columns(pl.Series(name, values.tolist()))


def encode(encoder: Encoder, X: Any) -> NDArray[np.float32]:
    """Return the rows as the network's inputs, float32 (rows, inputs)."""
    if not is_frame(X):
        return encoder.transform(X)
    with told_in_python(X):
        return encoder.transform(X)
