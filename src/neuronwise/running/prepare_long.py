"""A table too large to be read whole, prepared: surveyed, split, and encoded part by part to where it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import Column, FeatureEncoder, StreamedTable, describe_columns, describe_target
from neuronwise.data.scratch import large_array
from neuronwise.data.stream_encoding import encode_long, styles_of, transform_parts
from neuronwise.errors import UsageError
from neuronwise.files import format_bytes
from neuronwise.running.prepare import (
    DataOptions,
    Prepared,
    check_table_options,
    columns_to_drop,
    repeats,
    split_table,
    start_encoder,
)

if TYPE_CHECKING:
    from neuronwise.data.inputs import Unusual
    from neuronwise.running.fitted import FittedNetwork

# Beside X: y, its numbers while they are understood, which rows are whose, and the text of the target. Measured.
_BYTES_PER_ROW = 120
# The sample and its cells as text, or the part that is being encoded. Measured: up to 300 MB, and a fifth for luck.
_WORKING_BYTES = 360_000_000


def prepare_long(table: StreamedTable, options: DataOptions, seed: int, start: FittedNetwork | None) -> Prepared:
    """Return the data of a long table, split as if it had been read whole; see `prepare`."""
    name = check_table_options(table.column_names, options)
    kept = [name, *([options.group] if options.group else [])]
    for column in (*kept, *options.category, *options.numeric, *options.drop):
        table.check_column(column)  # before minutes are spent on reading
    table.look_through(kept)
    sample, targets = table.sample, table.column(name)
    target = describe_target(targets, name, task=options.task, log=options.log)
    rows = target.rows_with_target(targets)
    groups = None
    if options.group is not None:
        sample.cells(options.group)  # refuses a column of lists and the like, or one that is not there
        groups = table.groups(options.group)[rows]
    train, validation, test = split_table(target, targets, rows, groups, options, seed)
    columns: list[Column] = []
    if start is not None:
        encoder, target = start_encoder(start, "table"), start.target
        if name != target.name:
            raise UsageError(f"the run predicts {target.name!r}, not {name!r}", where="argument target")
    else:
        columns = describe_columns(
            sample, target=target, category=options.category, numeric=options.numeric, drop=columns_to_drop(options)
        )
        encoder = FeatureEncoder.fit(sample, columns, rows=_in_sample(table, rows[train]))
        target = target.fit(targets, rows[train])
    y = target.encode(targets, rows)
    notes = table.notes()
    if options.group is None and not len(options.drop):
        notes += repeats(sample, columns)
    del targets
    styles = styles_of(table, encoder)
    table.forget()
    X, on_disk = large_array((len(rows), encoder.n_inputs), table.options.budget)
    notes.append(_where(X, on_disk))
    if start is None:
        encoder, said = encode_long(table, encoder, rows, rows[train], X, styles)
        columns = _counted(columns, encoder)
    else:
        said = _encode_known(table, encoder, rows, X)
    held = y.nbytes + len(rows) * _BYTES_PER_ROW + (0 if on_disk else X.nbytes)
    return Prepared(
        table.name,
        table.source,
        table.fingerprint,
        "table",
        X,
        y,
        train,
        validation,
        test,
        encoder,
        target,
        (encoder.n_inputs,),
        columns,
        notes + said,
        rows,
        table,
        memory_bytes=held + _WORKING_BYTES,
        disk_bytes=X.nbytes if on_disk else 0,
    )


def _in_sample(table: StreamedTable, training: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of the sample that are learned from."""
    learned = np.zeros(table.n_rows, bool)
    learned[training] = True
    drawn = np.fromiter((table.sample.number_of(row) for row in range(len(table.sample))), np.int64)
    return np.flatnonzero(learned[drawn])


def _encode_known(
    table: StreamedTable, encoder: FeatureEncoder, rows: NDArray[np.int64], out: NDArray[np.float32]
) -> list[str]:
    """Write the vectors of `rows` by an encoder that is settled; return what it never saw, in sentences."""
    unusual: list[Unusual] = []
    at = 0
    for first, X in transform_parts(table, encoder, unusual):
        end = int(np.searchsorted(rows, first + len(X)))
        out[at:end] = X[rows[at:end] - first]
        at = end
    return [str(found) for found in unusual]


def _counted(columns: list[Column], encoder: FeatureEncoder) -> list[Column]:
    """Return the columns with what the whole table says of those that are inputs."""
    counted = {encoding.column.name: encoding.column for encoding in encoder.encodings}
    return [counted.get(column.name, column) for column in columns]


def _where(X: NDArray[np.float32], on_disk: bool) -> str:
    size = format_bytes(X.nbytes)
    if on_disk:
        return f"the encoded rows, {size}, lie in a temporary file, which is removed at the end"
    return f"the encoded rows take {size} of memory"
