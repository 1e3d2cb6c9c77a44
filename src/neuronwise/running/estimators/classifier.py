"""The classifier: classes of any label, with the probability of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y, column_or_1d

from neuronwise.errors import UsageError
from neuronwise.learning import Optimizer, Schedule
from neuronwise.network import Loss, Network
from neuronwise.running.estimators.base import NeuralNetwork
from neuronwise.running.estimators.targets import Classes, Targets, plain_labels


class NeuralNetworkClassifier(ClassifierMixin, NeuralNetwork):  # type: ignore[misc]
    """A neural network that predicts classes, as a scikit-learn estimator.

    Args:
        layers: Neurons of each hidden layer; ``()`` for a linear model.
        hidden: Activation of the hidden layers.
        network: Instead of `layers` and `hidden`: a JSON file that describes a network of any layers, its content, or a
            `Network`, which is copied with its weights. Rows of X are brought to its input shape.
        optimizer: By name (``sgd``, ``momentum``, ``nesterov``, ``rmsprop``, ``adam``, ``adamw``) or an `Optimizer`.
        learning_rate: Default that of the optimizer.
        weight_decay: Default 0.001 for frames and standardised arrays, else that of the optimizer.
        batch_size: Rows per step; default 32, or 64 from 5,000 rows.
        epochs: Passes over the rows, at most; default 20 to 200 by the number of rows.
        patience: Epochs without a lower validation loss after which learning ends; default a fifth of the epochs, 5 to
            20.
        validation: Share of the rows held out to stop early; None learns from all rows, for all epochs.
            ``"auto"`` is 0.1 from 100 rows on, and none below.
        schedule: Learning-rate schedule by name, or a `Schedule`; default a constant rate.
        clip_norm: Largest norm of the gradients; default no limit.
        class_weight: ``"balanced"`` to make every class count the same, or a weight for each label.
        loss: Default cross-entropy.
        standardize: Whether the columns of a plain array are brought to mean 0 and deviation 1, by the rows that are
            learned from; columns of 0 and 1 stay as they are. False takes the numbers as they are, as pictures need
            it. Frames are always encoded column by column.
        category: Columns of a frame that are names, though they may look like numbers.
        numeric: Columns of a frame that are numbers.
        warm_start: Whether `fit` goes on from what was learned before, instead of from new weights; `layers`, `hidden`
            and `network` then change nothing any more.
        random_state: Of weights, split and order: a whole number gives the same network each time.
        threads: Threads of the matrix products.
        track: Whether to keep each `fit` as a run, with a recording, in MLflow; the calls of `partial_fit` add to one
            run, until `end_run`.
        experiment: MLflow experiment of that run.
        name: Name of that run.

    Attributes:
        network_: The `Network`; it takes what ``encoder_.transform(X)`` returns.
        encoder_: From rows to the network's inputs: a `FeatureEncoder` for frames, an `ArrayEncoder` for arrays.
        classes_: The labels, sorted, in their own dtype.
        n_features_in_: Columns of X.
        feature_names_in_: Their names, if X was a frame with names.
        n_iter_: Epochs taken.
        history_: Metrics of each epoch.
        loss_curve_: Mean loss of each epoch over its steps.
        result_: The `FitResult` of the last `fit`.
        run_: The `Run` of the last `fit`, or of the calls of `partial_fit`, with ``track=True``.

    Example:
        >>> from neuronwise import NeuralNetworkClassifier
        >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 8, [0, 1, 1, 0] * 8
        >>> NeuralNetworkClassifier(random_state=0).fit(X, y).score(X, y)
        1.0
    """

    def __init__(
        self,
        layers: str | Sequence[int] = (100,),
        *,
        hidden: str = "relu",
        network: Network | str | Path | dict[str, Any] | None = None,
        optimizer: str | Optimizer = "adam",
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        patience: int | None = None,
        validation: float | Literal["auto"] | None = "auto",
        schedule: str | Schedule | None = None,
        clip_norm: float | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
        loss: str | Loss | None = None,
        standardize: bool = True,
        category: Sequence[str] = (),
        numeric: Sequence[str] = (),
        warm_start: bool = False,
        random_state: Any = None,
        threads: int | None = 1,
        track: bool = False,
        experiment: str | None = None,
        name: str | None = None,
    ) -> None:
        self.layers = layers
        self.hidden = hidden
        self.network = network
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.validation = validation
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.class_weight = class_weight
        self.loss = loss
        self.standardize = standardize
        self.category = category
        self.numeric = numeric
        self.warm_start = warm_start
        self.random_state = random_state
        self.threads = threads
        self.track = track
        self.experiment = experiment
        self.name = name

    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn from each of these rows once, going on from what was learned, and return this estimator.

        With ``track=True`` each call adds to one run, `run_`, until `end_run`; a copy of this estimator, or a call with
        other settings, begins a run of its own.

        The state of the optimizer is kept from call to call. What numbers are standardised by, and what the columns of
        a frame are, is settled by the first call: its rows should be a fair sample.

        Args:
            X: As for `fit`.
            y: Label of each row.
            classes: All labels there will be; needed in the first call.
            sample_weight: A weight from 0 for each row, used as it is.

        Raises:
            ValueError: Data or a parameter that cannot be used, or a label that is none of the classes.
            TrainingDiverged: The loss became NaN or infinite; the last finite weights are kept.
        """
        fitted = hasattr(self, "network_")
        if classes is None and not fitted:
            raise UsageError("classes must be passed on the first call to partial_fit.", where="argument classes")
        if classes is not None and fitted and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise UsageError(
                f"`classes={np.asarray(classes)!r:.100}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r:.100}",
                where="argument classes",
            )
        if self.class_weight == "balanced":
            raise UsageError(
                "class_weight 'balanced' counts all rows, and partial_fit sees some of them",
                where="argument class_weight",
                hint="give a weight for each label, such as compute_class_weight of scikit-learn returns",
            )
        return self._one_pass(X, y, sample_weight, classes)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label of each row, (rows,), in the dtype of `classes_`.

        Args:
            X: Rows as in `fit`. Categories that were never seen are no error: ``encoder_.check(X)`` tells of them.
        """
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, float64 (rows, classes), in the order of `classes_`."""
        y_hat = self._outputs(X)
        return np.hstack([1.0 - y_hat, y_hat]) if y_hat.shape[1] == 1 else y_hat

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithm of `predict_proba`; of a probability of 0 it is -inf."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _check_y(self, y: Any, fitted: bool, classes: ArrayLike | None) -> tuple[NDArray[Any], Targets | None, bool]:
        y = plain_labels(y)
        shape = np.shape(y)
        if len(shape) == 2 and shape[1] > 1:
            raise UsageError(
                f"y should be a 1d array, got an array of shape {shape} instead: several labels for each row are "
                "not offered",
                where="argument y",
                hint="sklearn.multioutput.MultiOutputClassifier makes a network for each column",
            )
        labels = column_or_1d(y, warn=True)
        _check_y(labels, estimator=self)
        check_classification_targets(labels)
        if fitted:
            targets: Classes = self._targets
        else:
            targets = Classes(np.unique(labels if classes is None else np.asarray(classes)))
            if len(targets.labels) < 2:
                raise UsageError(
                    f"y holds 1 class, {targets.labels.tolist()[0]!r:.60}: at least two are needed", where="argument y"
                )
        return targets.number(labels), targets, True

    def _fit_targets(self, y: NDArray[Any], flat: bool) -> Classes:
        raise AssertionError("classes are known before the split")

    def _weights_by_class(self, y: NDArray[Any], targets: Classes) -> NDArray[np.float64] | None:
        if self.class_weight is None:
            return None
        # "balanced" counts the rows of the classes that are there; weights given by label may name others too.
        chosen = np.unique(y) if isinstance(self.class_weight, str) else np.arange(len(targets.labels))
        weights = np.zeros(len(targets.labels))
        weights[chosen] = compute_class_weight(self.class_weight, classes=targets.labels[chosen], y=targets.labels[y])
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise UsageError(
                f"expected 'balanced' or a weight from 0 for each label, got {self.class_weight!r:.200}",
                where="argument class_weight",
            )
        return weights

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels, sorted, in their own dtype."""
        labels: NDArray[Any] = self._targets.labels
        return labels
