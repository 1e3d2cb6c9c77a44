"""Why an answer, what if, and what the answers rest on: of a run, a fitted network, an estimator or a PyTorch model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuronwise.data import FeatureEncoder
from neuronwise.errors import DataError, NotFoundError, UsageError
from neuronwise.explaining.feature_importance import FeatureImportance, feature_importance
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.prediction import Baseline, explain_prediction
from neuronwise.explaining.prediction_result import PredictionExplanation
from neuronwise.explaining.smallest_change import SmallestChange, smallest_change
from neuronwise.explaining.what_if import WhatIf, what_if
from neuronwise.network import Network
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.run import Run
from neuronwise.running.subject import Part, Subject

Progress = Callable[[int, int], None]
BaselineName = Literal["average", "zeros"]

# Training rows of which the average is made, at most.
_AVERAGED = 100_000


def explain(
    what: Any,
    x: Any = None,
    output: str | int | None = None,
    *,
    row: int | None = None,
    against: str | int | None = None,
    baseline: BaselineName | ArrayLike | None = None,
    method: Literal["auto", "local linear map", "integrated gradients"] = "auto",
    steps: int | None = None,
    layers: Sequence[str] | None = None,
    step: int | None = None,
    data: Any = None,
    unit: str | None = None,
) -> PredictionExplanation:
    """Return why an answer came out: what each column and each hidden neuron adds to it.

    Args:
        what: A run (its id, the beginning of one, its name, ``"latest"``, its folder, a `Run`), a fitted network
            (`neuronwise.load`), a fitted estimator, a `Network`, or a PyTorch module.
        x: The input. Of runs, fitted networks and estimators raw data: a table or frame, a file, a picture, an array;
            of a `Network` or a module one encoded input. Of a run, default the row `row` of what it learned from.
        output: Class or output that is explained, by name or index; default the answer.
        row: Which row of `x` (default the first), or, without `x`, of the data that the run learned from.
        against: Another class: explained is why the one and not the other.
        baseline: What contributions are counted from: ``"average"``, the average training row (default for the tables
            and arrays of runs, where it can be found), ``"zeros"`` (default elsewhere), or one encoded input.
        method: Default exact where the network is made of straight pieces, else integrated gradients.
        steps: Steps of integrated gradients; default as many as are needed.
        layers: Hidden layers that are told; default all.
        step: The run's network after this step; default as it was delivered.
        data: What the run learned from, where it cannot find it by itself.
        unit: Sign of money before amounts, ``"$"``; default what stood in the target's cells, if anything.

    Raises:
        NotFoundError: There is no such run, row, output or layer.
        UsageError: An argument that cannot be used.

    Example:
        >>> told = explain("latest", row=17)  # doctest: +SKIP
        >>> print(told)  # doctest: +SKIP
    """
    options: dict[str, Any] = {"against": against, "method": method, "steps": steps, "layers": layers}
    if _is_module(what):
        from neuronwise.explaining.torch_models import explain_torch_prediction

        if x is None:
            raise _no_input()
        given = None if isinstance(baseline, str) and baseline == "zeros" else baseline
        if isinstance(given, str):
            raise UsageError(
                f"the average of what a module learned from is not known, got {given!r:.100}",
                where="argument baseline",
                hint="baseline=X.mean(axis=0)",
            )
        return explain_torch_prediction(what, x if row is None else x[row], output, baseline=given, **options)
    if isinstance(what, Network):
        if x is None:
            raise _no_input()
        one = np.asarray(x) if row is None else np.asarray(x)[row]
        given = _baseline(baseline, None, Meaning.of(what))
        return explain_prediction(what, one, output, baseline=given, unit=unit, **options)
    subject: Subject | None = None
    if isinstance(what, (str, Path, Run)):
        subject = Subject(what, data, step=step)
        network, meaning = subject.network, subject.meaning
        one, _ = _input(subject, x, row)
    else:
        fitted = _fitted(what)
        network, meaning = fitted.network, Meaning.of(fitted.network, fitted.encoder, fitted.target)
        if x is None:
            raise _no_input()
        encoded, _ = fitted.encode(x)
        one = _pick(np.asarray(encoded, network.dtype).reshape(-1, *network.input_shape), row)
    given = _baseline(baseline, subject, meaning)
    return explain_prediction(network, one, output, baseline=given, meaning=meaning, unit=unit, **options)


def what_if_run(
    run: str | Path | Run,
    x: Any = None,
    *,
    row: int | None = None,
    inputs: Mapping[str, object] | None = None,
    parameters: Mapping[str, float] | None = None,
    silence: Sequence[str] = (),
    step: int | None = None,
    data: Any = None,
    unit: str | None = None,
) -> WhatIf:
    """Return what moves, and the new answer of a run's network, if something were otherwise.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        x: Raw data; default the row `row` of what the run learned from.
        row: Which row.
        inputs: Raw values by column, ``{"zipcode": "98039"}``.
        parameters: Numbers by the name of a weight or bias, ``{"hidden1[3].bias": 0.5}``.
        silence: Neurons held at 0, ``["hidden1[3]"]``.
        step: The network after this step; default as it was delivered.
        data: What the run learned from, where it cannot find it by itself.
        unit: Sign of money before amounts.

    Raises:
        NotFoundError: There is no such run, row, column, neuron or weight.
        DataError: A value that cannot be read as what its column was learned as.
    """
    subject = Subject(run, data, step=step)
    one, _ = _input(subject, x, row)
    return what_if(
        subject.network, one, inputs=inputs, parameters=parameters, silence=silence, meaning=subject.meaning, unit=unit
    )


def smallest_change_of_run(
    run: str | Path | Run,
    column: str,
    x: Any = None,
    *,
    row: int | None = None,
    by: float | None = None,
    to: str | None = None,
    step: int | None = None,
    data: Any = None,
    unit: str | None = None,
) -> SmallestChange:
    """Return the smallest change of one column that flips a run's answer, or moves it by an amount.

    Args:
        run: As for `what_if_run`; so are `x`, `row`, `step`, `data` and `unit`.
        column: Name of the column.
        x: Raw data.
        row: Which row.
        by: By how much the answer of a regression has to rise or, negative, fall; None for classes.
        to: The class it has to become; default any other.
        step: The network after this step.
        data: What the run learned from.
        unit: Sign of money before amounts.

    Raises:
        NotFoundError: There is no such run, row, column or class.
        UsageError: `by` where classes are predicted, or none where a number is.
    """
    subject = Subject(run, data, step=step)
    one, _ = _input(subject, x, row)
    return smallest_change(subject.network, one, column, by=by, to=to, meaning=subject.meaning, unit=unit)


def important_features(
    run: str | Path | Run,
    *,
    output: str | int | None = None,
    part: Part = "held-out",
    repeats: int | None = None,
    seed: int = 0,
    step: int | None = None,
    data: Any = None,
    progress: Progress | None = None,
) -> FeatureImportance:
    """Return how much the answers of a run's network rest on each column, over rows of its data.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        output: The class whose logit contributions are measured for; default the class chosen for each row.
        part: Rows it is measured on; those that were learned from show what was learned by heart too.
        repeats: How often each column is shuffled; default 5, fewer where there are very many.
        seed: Of the permutations.
        step: The network after this step; default as it was delivered.
        data: What the run learned from, where it cannot find it by itself.
        progress: Called with what is done and all there is to do.

    Raises:
        NotFoundError: There is no such run or output, or its data is not to be found.
    """
    subject = Subject(run, data, step=step)
    meaning = subject.meaning
    if output is not None:
        meaning.output(output)  # said before the data is read
    rows = subject.examples(part)
    reference = _average(subject) if meaning.picture_shape is None else None
    return feature_importance(
        subject.network, rows.X, rows.y, output=output, repeats=repeats, seed=seed, loss=subject.loss, meaning=meaning,
        baseline=None if reference is None else reference.values,
        baseline_words="the average of these rows" if reference is None else reference.words,
        rows_are=subject.rows_words(rows), progress=progress,
    )  # fmt: skip


def _input(subject: Subject, x: Any, row: int | None) -> tuple[NDArray[Any], list[str]]:
    """Return one encoded input, of raw data or of the run's own, and what of it training never saw."""
    if x is not None:
        encoded, said = subject.encode(x)
        return _pick(encoded, row), said
    if row is None:
        raise UsageError(
            "which input? Say the number of a row of the data, or hand in new data", where="argument row", hint="row=17"
        )
    return subject.row(row), []


def _pick(rows: NDArray[Any], row: int | None) -> NDArray[Any]:
    if not 0 <= (row or 0) < len(rows):
        raise NotFoundError(f"there is no row {row}: the data has {len(rows):,}, from 0", where="argument row")
    one: NDArray[Any] = rows[row or 0]
    return one


def _baseline(given: Any, subject: Subject | None, meaning: Meaning) -> Any:
    """Return the baseline that was asked for, or the usual one: the average row of tables and arrays."""
    if isinstance(given, str):
        if given not in ("average", "zeros"):
            raise UsageError(f"expected 'average', 'zeros' or one input, got {given!r:.100}", where="argument baseline")
        if given == "average" and subject is None:
            raise UsageError(
                "the average of the training rows is known of runs only",
                where="argument baseline",
                hint="baseline=X.mean(axis=0)",
            )
        return _average(subject) if given == "average" and subject is not None else None
    if given is not None or subject is None or meaning.picture_shape is not None:
        return given
    try:
        return _average(subject)
    except (NotFoundError, UsageError, DataError):
        zeros = Baseline.zeros(meaning)
        return Baseline(zeros.values, f"{zeros.words}; the training rows were not found")


def _average(subject: Subject) -> Baseline:
    """Return the average of the training rows."""
    rows = subject.examples("train", most=_AVERAGED)
    total = len(subject.prepared.train)
    words = f"the average of {'' if len(rows.X) == total else f'{len(rows.X):,} of '}the {total:,} training rows"
    return Baseline(rows.X.reshape(len(rows.X), -1).mean(axis=0, dtype=np.float64), words)


def _fitted(what: Any) -> FittedNetwork:
    """Return a fitted network: itself, or that of a fitted estimator."""
    if isinstance(what, FittedNetwork):
        return what
    if hasattr(what, "network_") and hasattr(what, "encoder_"):
        return _of_estimator(what)
    unfitted = hasattr(what, "get_params") and hasattr(what, "fit")
    raise UsageError(
        f"this {type(what).__name__} is not fitted, so it has no network yet"
        if unfitted
        else f"got {type(what).__name__}, not a run, a fitted network, an estimator, a Network or a PyTorch module",
        where="argument what",
        hint="call its fit first" if unfitted else None,
    )


def _of_estimator(estimator: Any) -> FittedNetwork:
    """Return the network of a fitted estimator with its encoder and what its outputs mean."""
    from neuronwise.running.estimators.targets import Classes

    targets, encoder = estimator._targets, estimator.encoder_
    if isinstance(targets, Classes):
        target = targets.spec("y", np.arange(len(targets.labels)))
    else:  # of the values themselves only mean and scale matter here
        target = targets.spec("y", targets.decode(np.zeros((2, len(targets.means)))).reshape(2, -1))
    return FittedNetwork(
        estimator.network_, encoder, target, "table" if isinstance(encoder, FeatureEncoder) else "array"
    )


def _is_module(what: Any) -> bool:
    """Whether something is a PyTorch module, found without importing PyTorch."""
    return any(
        kind.__module__ == "torch.nn.modules.module" and kind.__name__ == "Module" for kind in type(what).__mro__
    )


def _no_input() -> UsageError:
    return UsageError("an input is needed to explain the answer for it, got None", where="argument x")
