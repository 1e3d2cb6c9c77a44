"""From whatever the user names to arrays, splits and words: the data of one training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import (
    ArrayEncoder,
    Column,
    FeatureEncoder,
    ImageData,
    RawTable,
    StreamedTable,
    TargetSpec,
    check_arrays,
    describe_columns,
    describe_target,
    is_image_source,
    memory_budget,
    open_table,
    read_images,
    read_table,
    split_rows,
)
from neuronwise.data.streaming import Told
from neuronwise.errors import DataError, UsageError
from neuronwise.running.fitted import Encoder, FittedNetwork, Kind


@dataclass
class DataOptions:
    """How data is to be understood and split.

    Attributes:
        target: Column to predict (tables).
        task: ``"regression"``, ``"binary"``, ``"multiclass"``, ``"classification"``, or None to find out.
        log: Learn the logarithm of the target; None to find out.
        category: Columns to be taken as categories.
        numeric: Columns to be taken as numbers.
        drop: Columns to be left out.
        group: Column whose equal values never stand on both sides of a split.
        test: Share of the rows held out for the result.
        validation: Share of the remaining rows held out for early stopping.
        image_size: (height, width) to which pictures are brought.
        memory: Bytes that the data may take, or a size such as ``"2GB"``; None: `NEURONWISE_MEMORY`, else 1 GB. A table
            on disk that would take more when read whole is read in parts.
    """

    target: str | None = None
    task: str | None = None
    log: bool | None = None
    category: Sequence[str] = ()
    numeric: Sequence[str] = ()
    drop: Sequence[str] = ()
    group: str | None = None
    test: float = 0.15
    validation: float = 0.1
    image_size: tuple[int, int] | None = None
    memory: int | str | None = None

    def __post_init__(self) -> None:
        for name in ("test", "validation"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
                raise UsageError(f"expected a share between 0 and 1, got {value!r}", where=f"argument {name}")
        memory_budget(self.memory)


@dataclass
class Prepared:
    """Data ready to be learned from.

    Attributes:
        name: Short name of the data.
        source: Where it came from.
        fingerprint: sha256 of the data.
        kind: ``"table"``, ``"image"`` or ``"array"``.
        X: Encoded inputs of all rows, (rows, inputs), float32.
        y: Encoded targets, as the loss wants them.
        train: Rows of X to learn from.
        validation: Rows of X for early stopping.
        test: Rows of X held out for the result.
        encoder: The fitted encoder.
        target: The fitted target.
        input_shape: Shape of one input: (inputs,), or that of the pictures.
        columns: What was understood of each column (tables).
        notes: Sentences about the reading of the data.
        source_rows: Row of the data for each row of X (rows without a target are left out).
        table: The table itself, whole or to be read in parts; None where there is none.
        memory_bytes: About how much memory the data takes, at most, while it is prepared and learned from; 0: as much
            as X and y.
        disk_bytes: How much of X lies in a temporary file.
    """

    name: str
    source: str
    fingerprint: str
    kind: Kind
    X: NDArray[np.float32]
    y: NDArray[Any]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    encoder: Encoder
    target: TargetSpec
    input_shape: tuple[int, ...]
    columns: list[Column] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    source_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    table: RawTable | StreamedTable | None = None
    memory_bytes: int = 0
    disk_bytes: int = 0

    def __post_init__(self) -> None:
        self.memory_bytes = self.memory_bytes or self.X.nbytes + self.y.nbytes


def prepare(
    data: Any, options: DataOptions, seed: int, start: FittedNetwork | None = None, reading: Told | None = None
) -> Prepared:
    """Read, understand, split and encode data.

    Args:
        data: Path, ``"digits"``, ``"mnist"``, pandas or polars frame, `ImageData`, or arrays ``(X, y)``.
        options: How to understand and split it.
        seed: Seed of the splits.
        start: A fitted network whose encoder is to be used again, so that its inputs keep their meaning.
        reading: Hears of the progress of a long table: what is done, rows done, rows in all.

    Raises:
        UsageError: The data or an option cannot be used; says where and how to mend it.
    """
    if isinstance(data, tuple):
        if len(data) != 2:
            raise UsageError(f"arrays come as (X, y), got a tuple of {len(data)}", where="argument data")
        return _prepare_arrays(data[0], data[1], options, seed, start)
    if isinstance(data, np.ndarray):
        raise UsageError(
            "an array alone has no target", where="argument data", hint="pass (X, y), or a DataFrame with target=..."
        )
    if isinstance(data, ImageData) or (isinstance(data, (str, Path)) and is_image_source(data)):
        return _prepare_images(data, options, seed, start)
    table = open_table(data, options.memory, reading)
    if isinstance(table, StreamedTable):
        from neuronwise.running.prepare_long import prepare_long

        return prepare_long(table, options, seed, start)
    return _prepare_table(table, options, seed, start)


def check_table_options(names: list[str], options: DataOptions) -> str:
    """Return the name of the target's column; refuse what does not go with a table of these columns."""
    if options.target is None:
        raise UsageError(
            "a table needs a column to predict",
            where="argument target",
            hint=f"--target COLUMN; the columns are {', '.join(names[:12])}",
        )
    if options.image_size is not None:
        raise UsageError(f"a table has no pictures, got {options.image_size!r}", where="argument image_size")
    column = _column_name(options.target)
    if options.group == column:
        raise UsageError(f"column {column!r} is the target, so it cannot group rows", where="argument group")
    return column


def columns_to_drop(options: DataOptions) -> list[str]:
    """Return the columns to leave out: a column that groups rows (the house of a sale) says nothing of a new row."""
    return [*options.drop, *([options.group] if options.group and options.group not in options.drop else [])]


def _prepare_table(table: RawTable, options: DataOptions, seed: int, start: FittedNetwork | None) -> Prepared:
    column = check_table_options(table.column_names, options)
    target = describe_target(table, column, task=options.task, log=options.log)
    rows = target.rows_with_target(table)
    groups = None
    if options.group is not None:
        table.check_column(options.group)
        table.cells(options.group)  # refuses a column of lists and the like
        groups = table.frame[options.group].to_numpy(dtype=object)[rows]
    train, validation, test = split_table(target, table, rows, groups, options, seed)
    encoder: FeatureEncoder
    if start is not None:
        encoder, target, columns = start_encoder(start, "table"), start.target, []
        if column != target.name:
            raise UsageError(f"the run predicts {target.name!r}, not {column!r}", where="argument target")
    else:
        columns = describe_columns(
            table, target=target.name, category=options.category, numeric=options.numeric, drop=columns_to_drop(options)
        )
        encoder = FeatureEncoder.fit(table, columns, rows=rows[train])
        target = target.fit(table, rows[train])
    notes = list(table.notes)
    if options.group is None and not len(options.drop):
        notes += repeats(table, columns)
    return Prepared(
        table.name,
        str(table.source),
        table.fingerprint,
        "table",
        encoder.transform(table, rows),
        target.encode(table, rows),
        train,
        validation,
        test,
        encoder,
        target,
        (len(encoder.input_names),),
        columns,
        notes + (encoder.check(table, rows) if start is not None else []),
        rows,
        table,
    )


def repeats(table: RawTable, columns: list[Column]) -> list[str]:
    """Say where an identifier repeats: the same thing could stand on both sides of the split."""
    notes = []
    for column in columns:
        repeated = len(table.frame) - column.n_missing - column.n_distinct
        if column.kind == "identifier" and repeated > 0:
            notes.append(
                f"{repeated:,} rows repeat a {column.name}; to keep the rows of one {column.name} on one side of the "
                f"split: --group {column.name}"
            )
    return notes


def _prepare_images(data: Any, options: DataOptions, seed: int, start: FittedNetwork | None) -> Prepared:
    _refuse_columns(options, "images")
    images = read_images(data, image_size=options.image_size)
    if images.labels is None:
        raise DataError("the images have no labels, so there is nothing to learn", where=images.source)
    encoder = images.encoder() if start is None else start_encoder(start, "image")
    stacks = [images.images] if images.test_images is None else [images.images, images.test_images]
    X = (
        np.concatenate([encoder.transform(stack) for stack in stacks])
        if len(stacks) > 1
        else encoder.transform(stacks[0])
    )
    labels = images.labels if images.test_labels is None else np.concatenate([images.labels, images.test_labels])
    target = _image_target(images, labels, options) if start is None else start.target
    if start is not None and tuple(images.class_names) != target.classes:
        raise UsageError(
            f"the run knows the classes {', '.join(target.classes[:10])}, "
            f"the images {', '.join(images.class_names[:10])}",
            where="argument from_run",
        )
    n = len(images.images)
    train, validation, test = _split_classes(labels[:n], options, seed, official_test=len(X) - n)
    notes = [*images.notes]
    if images.test_labels is not None:
        notes.append(f"{len(X) - n:,} images of the official test split are held out for the result")
    return Prepared(
        images.name,
        images.source,
        images.fingerprint,
        "image",
        X,
        labels,
        train,
        validation,
        test,
        encoder,
        target,
        tuple(encoder.input_shape),
        [],
        notes,
        np.arange(len(X), dtype=np.int64),
    )


def _image_target(images: ImageData, labels: NDArray[np.int64], options: DataOptions) -> TargetSpec:
    if options.task == "regression" or options.log:
        raise UsageError("images are learned by class, not as a number", where="argument task")
    counts = np.bincount(labels, minlength=len(images.class_names))
    return TargetSpec(
        name="class",
        task="binary" if len(images.class_names) == 2 else "multiclass",
        classes=tuple(images.class_names),
        class_counts=tuple(int(n) for n in counts),
        log=False,
        mean=0.0,
        scale=1.0,
        minimum=0.0,
        maximum=0.0,
        median=0.0,
        reason=f"{len(images.class_names)} classes of images",
        n_rows=len(labels),
        n_missing=0,
    )


def _refuse_columns(options: DataOptions, what: str) -> None:
    """Refuse options that name columns, where there are none."""
    for name in ("target", "group", "category", "numeric", "drop"):
        if getattr(options, name):
            raise UsageError(f"{what} have no columns, got {getattr(options, name)!r}", where=f"argument {name}")


def _column_name(target: Any) -> str:
    """Return the name of the target's column; the columns of a frame may be called by numbers."""
    if isinstance(target, bool) or not isinstance(target, (str, int, np.integer)):
        raise UsageError(f"expected the name of a column, got {target!r:.100}", where="argument target")
    return str(target)


def _prepare_arrays(X: Any, y: Any, options: DataOptions, seed: int, start: FittedNetwork | None) -> Prepared:
    import pandas as pd

    _refuse_columns(options, "arrays")
    if options.image_size is not None:
        raise UsageError("arrays have the size they have", where="argument image_size")
    values, _ = check_arrays(X, allow_nd=True)
    shape = values.shape[1:]
    values = values.reshape(len(values), -1)
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(values):
        raise UsageError(
            f"expected one target per row, ({len(values)},), got shape {labels.shape}", where="argument data"
        )
    if labels.dtype.kind in "buif":
        # NaN is no missing cell here: whoever passes arrays has filled them.
        check_arrays(values[:, :1].astype(np.float64), y, dtype=np.float64)
    table = read_table(pd.DataFrame({"y": labels}))
    target = describe_target(table, "y", task=options.task, log=options.log)
    rows = target.rows_with_target(table)
    train, validation, test = split_table(target, table, rows, None, options, seed)
    if start is None:
        encoder, target = ArrayEncoder.fit(values[rows[train]], labels), target.fit(table, rows[train])
    else:
        encoder, target = start_encoder(start, "array"), start.target
    return Prepared(
        "array",
        f"array of shape {np.shape(X)}",
        table.fingerprint,
        "array",
        values[rows] if len(rows) < len(values) else values,
        target.encode(table, rows),
        train,
        validation,
        test,
        encoder,
        target,
        shape,
        [],
        [encoder.advice] if encoder.advice else [],
        rows,
    )


def start_encoder(start: FittedNetwork, kind: Kind) -> Any:
    """Return the encoder of the run that is started from, if it is one for this kind of data."""
    if start.kind != kind:
        raise UsageError(f"the run learned from {start.kind} data, this is {kind} data", where="argument from_run")
    return start.encoder


def split_table(
    target: TargetSpec,
    table: RawTable,
    rows: NDArray[np.int64],
    groups: NDArray[Any] | None,
    options: DataOptions,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return positions within `rows` to learn from, to validate on and to test on."""
    classes = None if target.task == "regression" else target.encode(table, rows)
    return _split_rows(len(rows), classes, target.task, groups, options, seed)


def _split_classes(
    labels: NDArray[np.int64], options: DataOptions, seed: int, official_test: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    if not official_test:
        return _split_rows(len(labels), labels, "multiclass", None, options, seed)
    train, validation = split_rows(
        len(labels), y=labels, task="multiclass", fraction=options.validation, seed=seed, purpose="validation"
    )
    return train, validation, np.arange(len(labels), len(labels) + official_test, dtype=np.int64)


def _split_rows(
    n: int,
    y: NDArray[Any] | None,
    task: str,
    groups: NDArray[Any] | None,
    options: DataOptions,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    if n < 5:
        raise DataError(
            f"{n} {'row' if n == 1 else 'rows'} cannot be learned from: at least 5 are needed, "
            "to learn, to validate and to test"
        )
    rest, test = split_rows(n, y=y, task=task, groups=groups, fraction=options.test, seed=seed, purpose="test")
    train, validation = split_rows(
        len(rest),
        y=None if y is None else y[rest],
        task=task,
        groups=None if groups is None else groups[rest],
        fraction=options.validation,
        seed=seed,
        purpose="validation",
    )
    return rest[train], rest[validation], test
