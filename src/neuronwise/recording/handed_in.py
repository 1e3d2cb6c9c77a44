"""What was given to `learning.fit`, handed in again: prepared as it was then, so that its steps can be repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.learning import prepare_targets
from neuronwise.learning.identity import data_identity
from neuronwise.learning.rows import check_data, row_weights
from neuronwise.network import get_loss
from neuronwise.recording.batches import TrainingData
from neuronwise.recording.described import network_of, settings_of
from neuronwise.recording.reader import RecordedHistory

_FORMS = "(X, y) or (X, y, sample_weight), as learning.fit was given them"


def prepare_given_to_fit(history: RecordedHistory, data: Any) -> TrainingData:
    """Return what a recorded call of `learning.fit` learned from.

    Args:
        history: The recording.
        data: ``(X, y)`` or ``(X, y, sample_weight)``. Weights of classes are found where they were ``"balanced"``;
            others are a part of sample_weight.

    Raises:
        NotFoundError: No data is handed in.
        UsageError: It is no such pair, or cannot be what was learned from.
        FormatError: The recording does not say how it was taken.
    """
    settings = settings_of(history)
    if data is None:
        raise NotFoundError(
            "steps that are not stored must be taken again, and the data they learned from is not at hand",
            where=str(history.folder),
            hint=f"hand it in: neuronwise.open(RUN, data=…), {_FORMS}",
        )
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        what = f"a tuple of {len(data)}" if isinstance(data, tuple) else type(data).__name__
        raise UsageError(f"expected {_FORMS}, got {what}", where="argument data")
    network = network_of(history)
    activation = network.layers[-1].activation
    loss = get_loss(settings.get("loss"), activation.name if activation else "identity")
    X, y = check_data(network, data[0], data[1])
    y = prepare_targets(network, y, loss, len(X))
    rows = _rows(history, len(X))
    given = data[2] if len(data) == 3 else None
    found = TrainingData(X, y, rows, row_weights(loss, network, None, given, y, rows))
    weighed = settings.get("sample_weight")
    if weighed is None or weighed == _identity(found):
        return found
    if loss.targets != "classes" and (loss.name, network.output_size) != ("binary_cross_entropy", 1):
        return found  # it has no classes that could weigh
    balanced = replace(found, weights=row_weights(loss, network, "balanced", given, y, rows))
    return balanced if weighed == _identity(balanced) else found


def _identity(data: TrainingData) -> Any:
    """Return what tells the weights of rows from others."""
    return data_identity(data.X, data.y, data.weights, data.rows, None)["sample_weight"]


def _rows(history: RecordedHistory, count: int) -> NDArray[np.int64]:
    """Return the rows that were learned from: those that are stored, else all."""
    try:
        rows = history.split("train")
    except NotFoundError:
        return np.arange(count, dtype=np.int64)
    if len(rows) and rows.min() < 0:
        raise FormatError("a row number is below 0", where=str(history.folder / "split-train.npy"))
    if len(rows) and rows.max() >= count:
        raise UsageError(
            f"what is handed in has {count:,} rows, and the training learned from row {rows.max():,}",
            where="argument data",
            hint="hand in the data as it was; the stored weights can be read without it",
        )
    return rows
