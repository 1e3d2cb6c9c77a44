"""What classifier and regressor share: parameters, checks, and the way from X and y to a fitted network."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from neuronwise.data import ArrayEncoder, FeatureEncoder
from neuronwise.errors import NotFoundError, UsageError
from neuronwise.learning import Constant, Optimizer, Schedule, get_optimizer, get_schedule
from neuronwise.learning.threads import blas_threads
from neuronwise.network import Loss, Network, get_loss
from neuronwise.running.architecture import Choice, check_settings, choose_lengths, choose_network, make_optimizer
from neuronwise.running.estimators.given import describe_given, encoded, pass_data, weights_in_fit
from neuronwise.running.estimators.inputs import Encoder, check_inputs, column_names, encode, fit_encoder, is_frame
from neuronwise.running.estimators.passes import take_pass
from neuronwise.running.estimators.rows import Rows, check_share, hold_out, weigh
from neuronwise.running.estimators.targets import Classes, OutputSpec, Targets
from neuronwise.running.estimators.task import Task
from neuronwise.running.given_network import choose_given_network
from neuronwise.running.training import TrainOptions

if TYPE_CHECKING:
    from neuronwise.recording import Recording
    from neuronwise.running.estimators.pass_run import PassRun
    from neuronwise.running.run import Run


class NeuralNetwork(BaseEstimator):  # type: ignore[misc]
    """What `NeuralNetworkClassifier` and `NeuralNetworkRegressor` share; see there for the parameters."""

    layers: str | Sequence[int]
    hidden: str
    network: Network | str | Path | dict[str, Any] | None
    optimizer: str | Optimizer
    learning_rate: float | None
    weight_decay: float | None
    batch_size: int | None
    epochs: int | None
    patience: int | None
    validation: float | Literal["auto"] | None
    schedule: str | Schedule | None
    clip_norm: float | None
    loss: str | Loss | None
    standardize: bool
    category: Sequence[str]
    numeric: Sequence[str]
    warm_start: bool
    random_state: Any
    threads: int | None
    track: bool
    experiment: str | None
    name: str | None

    network_: Network
    encoder_: Encoder
    history_: list[dict[str, float]]
    _targets: Any
    _seed: int
    _optimizer: Optimizer | None
    _open_run: PassRun | None = None

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from rows and their targets, and return this estimator.

        What was learned before is forgotten, unless `warm_start` is set. Ctrl-C ends the learning after the step under
        way: the estimator is then fitted with what was learned by then, and KeyboardInterrupt is raised.

        Args:
            X: A pandas or polars DataFrame of any columns, or plain numbers (rows, features).
            y: Target of each row.
            sample_weight: A weight from 0 for each row, of which only the proportions count; rows of weight 0 are
                left out.

        Raises:
            ValueError: Data or a parameter that cannot be used.
            TrainingDiverged: The loss became NaN or infinite.
        """
        seed = self._draw_seed()
        options = self._options(seed)
        going_on = self.warm_start and hasattr(self, "network_")
        data = self._check(X, y, sample_weight, fitted=going_on, least=2)
        train, held_out = hold_out(data.y, self.validation, seed)
        targets = data.targets or self._fit_targets(data.y[train], data.flat)
        spec = targets.spec(data.name, data.y)
        if going_on:
            encoder, choice = self.encoder_, self._choose(spec, self.encoder_, seed, self.network_.copy())
        else:
            encoder = self._fit_encoder(data, targets, spec, train)
            choice = self._choose(spec, encoder, seed)
        X_in, y_in = encoded(choice.network, choice.loss, encoder, data, targets)
        task = Task(
            X=X_in,
            y=y_in,
            weights=weights_in_fit(data, train),
            train=train,
            held_out=held_out,
            encoder=encoder,
            spec=spec,
            choice=choice,
            optimizer=self._new_optimizer(encoder),
            lengths=choose_lengths(len(train), batch_size=self.batch_size, epochs=self.epochs, patience=self.patience),
            schedule=get_schedule(copy.deepcopy(self.schedule)),
            clip_norm=self.clip_norm,
            seed=seed,
            threads=self.threads,
        )
        self.end_run()
        if self.track:
            from neuronwise.running.estimators.tracked import learn_tracked

            result, self.run_ = learn_tracked(task, options, describe_given(self, "fit", data, targets))
        else:
            result = task.learn()
            self.__dict__.pop("run_", None)
        self._keep(data, encoder, targets, choice.network, seed, result.history)
        # Without all that is needed to go on, which would be most of a pickled estimator.
        self.result_ = replace(result, checkpoint=None)
        if result.status == "interrupted":
            raise KeyboardInterrupt
        return self

    def recording(self, X: Any = None, y: Any = None, sample_weight: Any = None) -> Recording:
        """Return the recording of this estimator's run: any weight, gradient and activation, at any step.

        Steps that are not stored are taken again, for which what was learned from must be handed in again.

        Args:
            X: As for `fit`; of several calls of `partial_fit` a list of what each was given, ``(X, y)`` or
                ``(X, y, sample_weight)``, in any order.
            y: As for `fit`; left out for a list.
            sample_weight: As for `fit`.

        Raises:
            NotFoundError: There is no run: `track` was False.
        """
        if not hasattr(self, "run_"):
            raise NotFoundError(
                "there is no recording: no run was kept of what this estimator learned", hint="fit with track=True"
            )
        from neuronwise.running.opening import open_recording

        return open_recording(self.run_, X if y is None else (X, y, sample_weight))

    def _one_pass(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None, classes: Any = None) -> Self:
        """Learn from each row once, going on from what was learned; see `partial_fit`."""
        fitted = hasattr(self, "network_")
        seed = self._seed if fitted else self._draw_seed()
        options = self._options(seed)
        data = self._check(X, y, sample_weight, fitted=fitted, least=1, classes=classes)
        targets = data.targets or self._fit_targets(data.y, data.flat)
        spec = targets.spec(data.name, data.y)
        rows = np.arange(len(data.y), dtype=np.int64)
        if fitted:
            encoder, choice = self.encoder_, self._choose(spec, self.encoder_, seed, self.network_)
            history = self.history_
        else:
            encoder = self._fit_encoder(data, targets, spec, rows)
            choice, history = self._choose(spec, encoder, seed), []
        network = choice.network
        optimizer = self._optimizer if fitted else None
        if optimizer is None:
            optimizer = self._new_optimizer(encoder)
            optimizer.start(network.parameters)
        number, steps = len(history) + 1, optimizer.steps
        X_in, y_in = encoded(network, choice.loss, encoder, data, targets)
        task = Task(
            X=X_in,
            y=y_in,
            weights=data.weights,
            train=rows,
            held_out=rows[:0],
            encoder=encoder,
            spec=spec,
            choice=choice,
            optimizer=optimizer,
            lengths=choose_lengths(len(rows), batch_size=self.batch_size, epochs=1, patience=1),
            schedule=Constant(),
            clip_norm=self.clip_norm,
            seed=seed,
            threads=self.threads,
        )
        prepared = pass_data(network, choice.loss, X_in, y_in, data.weights)
        if self.track:
            loss = self._run_for(task, options, data, targets).learn(task, prepared, number)
        else:
            self.end_run()
            self.__dict__.pop("run_", None)
            loss = take_pass(task, prepared, number)
        steps = optimizer.steps - steps + (int(history[-1]["step"]) if history else 0)
        self._keep(data, encoder, targets, network, seed, [*history, {"epoch": number, "step": steps, "loss": loss}])
        self._optimizer = optimizer
        return self

    def _run_for(self, task: Task, options: TrainOptions, data: Rows, targets: Targets) -> PassRun:
        """Return the run to which a call of `partial_fit` adds: that of the calls before, or a new one."""
        from neuronwise.running.estimators.pass_run import PassRun

        given = describe_given(self, "partial_fit", data, targets)
        if self._open_run is None or not self._open_run.goes_on_with(task, given):
            self.end_run()
            self._open_run = PassRun(task, options, given)
            self._open_run.end_with(self)
            self.run_ = self._open_run.run
        return self._open_run

    def end_run(self) -> Run | None:
        """End the run to which calls of `partial_fit` with ``track=True`` add, and return it; None if there is none.

        What is missing of it in MLflow is sent: pictures and model. The next call of `partial_fit` begins a run of its
        own. A run that is not ended so ends with the estimator or the program, and `neuronwise sync` sends the rest.
        """
        run, self._open_run = self._open_run, None
        return None if run is None else run.end()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: all but the open run, to which only this estimator adds."""
        return {key: value for key, value in super().__getstate__().items() if key != "_open_run"}

    def _keep(
        self,
        data: Rows,
        encoder: Encoder,
        targets: Targets,
        network: Network,
        seed: int,
        history: list[dict[str, float]],
    ) -> None:
        """Set what a fitted estimator has, all at once."""
        self.network_, self.encoder_, self._targets = network, encoder, targets
        self._seed, self._optimizer = seed, None
        if is_frame(data.X):
            self._columns = column_names(data.X)
        self.history_, self.n_iter_ = history, len(history)
        self.loss_curve_ = [epoch["loss"] for epoch in history]

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Return the activations of the output layer, float64 (rows, outputs).

        They are computed in float64, so that the answer for a row does not depend on the rows beside it.
        """
        check_is_fitted(self, "network_")
        x = encode(self.encoder_, check_inputs(self, X, self.encoder_))
        network = self.network_
        if network.dtype != np.float64:
            # Made of its parameters, so that no first weights are drawn, which takes longer than predicting a row.
            network = Network(
                [layer.unbuilt() for layer in network.layers],
                input_shape=network.input_shape,
                dtype="float64",
                _parameters=network.parameters.astype(np.float64),
                _buffers=network.buffers.astype(np.float64),
            )
        x = x.reshape(-1, *network.input_shape)
        with blas_threads(self.threads):
            y_hat: NDArray[np.float64] = network.predict(x).astype(np.float64, copy=False)
        return y_hat

    @abstractmethod
    def _check_y(self, y: Any, fitted: bool, classes: ArrayLike | None) -> tuple[NDArray[Any], Targets | None, bool]:
        """Return y, checked, and the targets, as `Rows` has them, and whether y was (rows,).

        Args:
            y: As given.
            fitted: Whether the targets are known already.
            classes: All classes, where they were given apart from y.
        """

    @abstractmethod
    def _fit_targets(self, y: NDArray[Any], flat: bool) -> Targets:
        """Return the targets that are fitted on the training rows."""

    def _weights_by_class(self, y: NDArray[Any], targets: Any) -> NDArray[np.float64] | None:
        """Return a weight for each class in the order of their numbers, or None."""
        return None

    def _check(
        self, X: Any, y: Any, sample_weight: Any, *, fitted: bool, least: int, classes: ArrayLike | None = None
    ) -> Rows:
        if y is None:
            raise UsageError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.",
                where="argument y",
            )
        name = getattr(y, "name", None)
        X = check_inputs(self, X, self.encoder_ if fitted else None, least=least)
        y, targets, flat = self._check_y(y, fitted, classes)
        check_consistent_length(X, y)
        by_class = self._weights_by_class(y, targets)
        weights = weigh(y, sample_weight, None if by_class is None else by_class[y])
        name = name if isinstance(name, str) else "y"
        return Rows(X, y, weights, targets, name, flat, by_class, sample_weight is not None).that_count()

    def _draw_seed(self) -> int:
        """Return the seed of weights, split and order: `random_state` itself where it is a number."""
        random = check_random_state(self.random_state)
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(random.randint(2**31 - 1))

    def _options(self, seed: int) -> TrainOptions:
        """Return the parameters in `train`'s words, all checked."""
        check_share(self.validation)
        options = TrainOptions(
            layers=self.layers,
            hidden=self.hidden,
            network=self.network,
            schedule=self.schedule,
            optimizer=self.optimizer,  # type: ignore[arg-type]
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            epochs=self.epochs,
            patience=self.patience,
            clip_norm=self.clip_norm,
            loss=self.loss,  # type: ignore[arg-type]
            seed=seed,
            threads=self.threads,
            experiment=self.experiment,
            name=self.name,
            track=bool(self.track),
        )
        check_settings(options)
        return options

    def _fit_encoder(self, data: Rows, targets: Targets, spec: OutputSpec, rows: NDArray[np.int64]) -> Encoder:
        encoder = fit_encoder(
            data.X,
            data.y,
            spec,
            rows,
            labels=targets.labels if isinstance(targets, Classes) else None,
            standardize=self.standardize,
            category=self.category,
            numeric=self.numeric,
        )
        if isinstance(encoder, ArrayEncoder) and encoder.advice:
            warnings.warn(f"{encoder.advice}; or leave standardize at True", stacklevel=3)
        return encoder

    def _choose(self, spec: OutputSpec, encoder: Encoder, seed: int, network: Network | None = None) -> Choice:
        """Return a new network with its loss, or `network`, which has learned, with its loss."""
        shape, names, loss = (encoder.n_inputs,), encoder.input_names, self.loss
        if network is not None:
            activation = network.layers[-1].activation
            return Choice(network, get_loss(loss, activation.name if activation else "identity"), [])
        if self.network is not None:
            return choose_given_network(self.network, spec, shape, names, seed=seed, loss=loss)  # type: ignore[arg-type]
        return choose_network(spec, shape, names, layers=self.layers, hidden=self.hidden, seed=seed, loss=loss)  # type: ignore[arg-type]

    def _new_optimizer(self, encoder: Encoder) -> Optimizer:
        if isinstance(self.optimizer, Optimizer):
            # A copy: a parameter of an estimator stays as it was given.
            return get_optimizer(copy.deepcopy(self.optimizer), self.learning_rate, self.weight_decay)
        is_scaled = isinstance(encoder, FeatureEncoder) or encoder.means is not None
        return make_optimizer(self.optimizer, self.learning_rate, self.weight_decay, "table" if is_scaled else "array")
