"""The regressor: one number for each row, or several at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import _check_y, column_or_1d

from neuronwise.learning import Optimizer, Schedule
from neuronwise.network import Loss, Network
from neuronwise.running.estimators.base import NeuralNetwork
from neuronwise.running.estimators.inputs import clearer
from neuronwise.running.estimators.targets import Numbers, Targets


class NeuralNetworkRegressor(MultiOutputMixin, RegressorMixin, NeuralNetwork):  # type: ignore[misc]
    """A neural network that predicts a number, or several at once, as a scikit-learn estimator.

    The target is learned standardised, and predictions are in its own unit.

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
        loss: ``"squared_error"`` (default), ``"absolute_error"`` or ``"huber"``.
        log: Whether the logarithm of a target above 0 is learned.
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
        network_: The `Network`; it takes what ``encoder_.transform(X)`` returns, and yields the standardised target.
        encoder_: From rows to the network's inputs: a `FeatureEncoder` for frames, an `ArrayEncoder` for arrays.
        n_features_in_: Columns of X.
        feature_names_in_: Their names, if X was a frame with names.
        n_outputs_: Numbers predicted for each row.
        n_iter_: Epochs taken.
        history_: Metrics of each epoch.
        loss_curve_: Mean loss of each epoch over its steps.
        result_: The `FitResult` of the last `fit`.
        run_: The `Run` of the last `fit`, or of the calls of `partial_fit`, with ``track=True``.

    Example:
        >>> from neuronwise import NeuralNetworkRegressor
        >>> X, y = [[float(i)] for i in range(50)], [3.0 * i - 20.0 for i in range(50)]
        >>> NeuralNetworkRegressor(random_state=0).fit(X, y).score(X, y) > 0.99
        True
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
        loss: str | Loss | None = None,
        log: bool = False,
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
        self.loss = loss
        self.log = log
        self.standardize = standardize
        self.category = category
        self.numeric = numeric
        self.warm_start = warm_start
        self.random_state = random_state
        self.threads = threads
        self.track = track
        self.experiment = experiment
        self.name = name

    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from each of these rows once, going on from what was learned, and return this estimator.

        With ``track=True`` each call adds to one run, `run_`, until `end_run`; a copy of this estimator, or a call with
        other settings, begins a run of its own.

        The state of the optimizer is kept from call to call. What inputs and target are standardised by, and what the
        columns of a frame are, is settled by the first call: its rows should be a fair sample.

        Args:
            X: As for `fit`.
            y: Number of each row, (rows,), or numbers (rows, k).
            sample_weight: A weight from 0 for each row, used as it is.

        Raises:
            ValueError: Data or a parameter that cannot be used.
            TrainingDiverged: The loss became NaN or infinite; the last finite weights are kept.
        """
        return self._one_pass(X, y, sample_weight)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted number of each row in the unit of y, float64 (rows,), or (rows, k) for several.

        Args:
            X: Rows as in `fit`. Categories that were never seen are no error: ``encoder_.check(X)`` tells of them.
        """
        y_hat = self._outputs(X)
        targets: Numbers = self._targets
        return targets.decode(y_hat)

    def _check_y(self, y: Any, fitted: bool, classes: ArrayLike | None) -> tuple[NDArray[Any], Targets | None, bool]:
        try:
            numbers = _check_y(y, multi_output=True, y_numeric=True, estimator=self).astype(np.float64)
        except ValueError as error:
            raise clearer(error, y, "y") from None
        if numbers.ndim == 2 and numbers.shape[1] == 1:
            numbers = column_or_1d(numbers, warn=True)
        flat = numbers.ndim == 1
        if flat:
            numbers = numbers[:, None]
        if fitted and numbers.shape[1] != len(self._targets.means):
            raise ValueError(f"y has {numbers.shape[1]} columns, and {len(self._targets.means)} were learned")
        return numbers, self._targets if fitted else None, flat

    def _fit_targets(self, y: NDArray[Any], flat: bool) -> Numbers:
        return Numbers.fit(y, log=bool(self.log), flat=flat)

    @property
    def n_outputs_(self) -> int:
        """Numbers predicted for each row."""
        return len(self._targets.means)
