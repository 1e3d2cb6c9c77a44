"""What a program handed to an estimator, prepared again as it was then: so the steps of its run can be taken again.

The run keeps no data. It keeps how the data was prepared: encoder and target in ``model/``, the rest in recording.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.checked import Checked
from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, UsageError
from neuronwise.learning import prepare_targets
from neuronwise.learning.rows import check_data, row_weights
from neuronwise.network import Loss, Network, get_loss
from neuronwise.recording import RecordedHistory, TrainingData
from neuronwise.running.estimators.inputs import Encoder, encode
from neuronwise.running.estimators.rows import Rows
from neuronwise.running.estimators.targets import Classes, Numbers, Targets
from neuronwise.running.fitted import FittedNetwork

if TYPE_CHECKING:
    from neuronwise.running.estimators.base import NeuralNetwork

# By the letter that NumPy has for each kind of label.
_LABELS: dict[str, Any] = {"b": bool, "i": np.int64, "u": np.uint64, "f": np.float64, "U": np.str_, "O": object}
_MOST = 10_000_000


def describe_given(estimator: NeuralNetwork, call: str, data: Rows, targets: Targets) -> dict[str, Any]:
    """Return, as JSON values for recording.json, how what was handed in is prepared.

    Args:
        estimator: As its arguments were checked by this call.
        call: ``"fit"`` or ``"partial_fit"``.
        data: The rows of the call.
        targets: What is learned.
    """
    labels: dict[str, Any] | None = None
    if isinstance(targets, Classes):
        kind, values = targets.labels.dtype.kind, targets.labels.tolist()
        if kind in "biufU" or all(isinstance(label, str) for label in values):
            labels = {"kind": kind, "values": values}
    features = getattr(estimator, "feature_names_in_", None)
    return {
        "call": call,
        "labels": labels,
        "class_weights": None if data.by_class is None else data.by_class.tolist(),
        "sample_weight": data.is_weighted,
        "columns": [str(name) for name in data.X.columns] if hasattr(data.X, "columns") else None,
        "features": None if features is None else [str(name) for name in features],
    }


def prepare_given(
    folder: Path, history: RecordedHistory, how: Mapping[str, Any], data: Any
) -> TrainingData | list[TrainingData]:
    """Return what was handed to an estimator as it learned from it; of calls of `partial_fit` a list.

    Args:
        folder: Of the run.
        history: Its recording.
        how: What `describe_given` said.
        data: ``(X, y)`` or ``(X, y, sample_weight)``; of calls of `partial_fit` also a list of these.

    Raises:
        UsageError: There is no data, or it cannot be that of the run.
        FormatError: What the run says of it is damaged.
    """
    where = str(history.folder / "recording.json")
    said = Checked(how, where)
    is_fit = said.text("call") == "fit"
    if data is None:
        raise _not_given(is_fit, bool(said.any("sample_weight")))
    calls = _calls(data)
    if is_fit and len(calls) != 1:
        raise UsageError(
            f"the run is one call of fit, and {len(calls)} are handed in",
            where="argument data",
            hint="data=(X, y)",
        )
    try:
        model = FittedNetwork.load(folder / "model")
    except NotFoundError:
        raise NotFoundError(
            "the recording alone does not say how what was handed in is prepared: that stands in the run's model/",
            where=str(folder),
            hint="open the run's folder",
        ) from None
    estimator = _stand_in(model, said, where)
    network = model.network
    activation = network.layers[-1].activation
    training = Checked(history.description.get("training"), where)
    loss = get_loss(training.text("loss"), activation.name if activation else "identity")
    try:
        if is_fit:
            return _of_fit(estimator, network, loss, calls[0], history.split("train"))
        return [_of_pass(estimator, network, loss, call) for call in calls]
    except NeuronwiseError:
        raise
    except (ValueError, TypeError) as error:  # of scikit-learn's checks of what an estimator is given
        raise UsageError(str(error).strip(), where="argument data") from None


def _not_given(is_fit: bool, is_weighted: bool) -> UsageError:
    one = "(X, y, sample_weight)" if is_weighted else "(X, y)"
    call, what, hint = ("fit", "it", one) if is_fit else ("calls of partial_fit", "what each was given", f"[{one}, …]")
    return UsageError(
        f"the run learned from what a program handed to {call}, and no data is kept",
        where="argument data",
        hint=f"hand {what} in again: neuronwise.open(RUN, data={hint})",
    )


def _calls(data: Any) -> list[tuple[Any, ...]]:
    """Return what each call was given, each (X, y) or (X, y, sample_weight)."""
    calls = list(data) if isinstance(data, list) else [data]
    for call in calls:
        if not isinstance(call, tuple) or len(call) not in (2, 3):
            what = f"a tuple of {len(call)}" if isinstance(call, tuple) else type(call).__name__
            raise UsageError(
                f"expected (X, y) or (X, y, sample_weight), of calls of partial_fit a list of these, got {what}",
                where="argument data",
            )
    return calls


def _stand_in(model: FittedNetwork, said: Checked, where: str) -> NeuralNetwork:
    """Return an estimator that checks what it is given as the one of the run did."""
    from neuronwise.running.estimators.classifier import NeuralNetworkClassifier
    from neuronwise.running.estimators.regressor import NeuralNetworkRegressor

    target = model.target
    estimator: NeuralNetwork
    if target.task == "regression":
        estimator = NeuralNetworkRegressor()
        estimator._targets = Numbers(np.array([target.mean]), np.array([target.scale]), target.log, flat=True)
    else:
        labels = _labels(said, target.classes, where)
        estimator = NeuralNetworkClassifier()
        estimator._targets = Classes(labels)
        if said.any("class_weights") is not None:
            weights = said.items("class_weights", len(labels))
            if len(weights) != len(labels) or not all(type(weight) is float for weight in weights):
                raise FormatError("the weights of the classes are none", where=where)
            estimator.class_weight = dict(zip(labels.tolist(), weights, strict=True))
    if not isinstance(model.encoder, Encoder):
        raise FormatError("the model is of pictures, which no estimator takes", where=where)
    estimator.encoder_ = model.encoder
    columns, features = said.any("columns"), said.any("features")
    if columns is not None:
        estimator._columns = [str(name) for name in said.items("columns", _MOST)]
    if features is not None:
        estimator.feature_names_in_ = np.array([str(name) for name in said.items("features", _MOST)], dtype=object)
    return estimator


def _labels(said: Checked, classes: Sequence[str], where: str) -> NDArray[Any]:
    if said.any("labels") is None:
        raise UsageError("the labels are of a kind that a run cannot keep", where="argument data")
    labels = Checked(said.any("labels"), where)
    kind, values = labels.text("kind"), labels.items("values", len(classes))
    if kind not in _LABELS or tuple(map(str, values)) != tuple(classes):
        raise FormatError("the labels are not those of the model", where=where)
    try:
        return np.array(values, dtype=_LABELS[kind])
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"the labels are not of their kind: {error}", where=where) from None


def _of_fit(
    estimator: NeuralNetwork, network: Network, loss: Loss, call: tuple[Any, ...], train: NDArray[np.int64]
) -> TrainingData:
    """Return what one call of `fit` learned from."""
    rows = estimator._check(*call, *(None,) * (3 - len(call)), fitted=True, least=1)
    if len(train) and train.max() >= len(rows.y):
        raise UsageError(
            f"what is handed in has {len(rows.y):,} rows that count, and the run learned from row {train.max()}",
            where="argument data",
            hint="hand in the data as it was; the stored weights can be read without it",
        )
    X, y = encoded(network, loss, estimator.encoder_, rows, estimator._targets)
    X, y = check_data(network, X, y)
    y = prepare_targets(network, y, loss, len(X))
    return TrainingData(X, y, train, row_weights(loss, network, None, weights_in_fit(rows, train), y, train))


def _of_pass(estimator: NeuralNetwork, network: Network, loss: Loss, call: tuple[Any, ...]) -> TrainingData:
    """Return what one call of `partial_fit` learned from."""
    rows = estimator._check(*call, *(None,) * (3 - len(call)), fitted=True, least=1)
    return pass_data(network, loss, *encoded(network, loss, estimator.encoder_, rows, estimator._targets), rows.weights)


def encoded(
    network: Network, loss: Loss, encoder: Encoder, rows: Rows, targets: Targets
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return rows as the network's inputs, (rows, *input_shape), and as targets of the loss."""
    X = encode(encoder, rows.X).reshape(-1, *network.input_shape)
    return X, targets.for_loss(rows.y, loss)


def weights_in_fit(rows: Rows, train: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return what each row counts in `fit`: of those learned from, the mean is 1."""
    weights = rows.weights
    return None if weights is None else weights * (len(train) / weights[train].sum())


def pass_data(
    network: Network, loss: Loss, X: NDArray[Any], y: NDArray[Any], weights: NDArray[np.float64] | None
) -> TrainingData:
    """Return what a call of `partial_fit` learns from: all of its rows, with their weights as they are."""
    return TrainingData(
        X.astype(network.dtype, copy=False),
        prepare_targets(network, y, loss, len(y)),
        np.arange(len(y), dtype=np.int64),
        None if weights is None else weights.astype(network.dtype),
    )
