"""scikit-learn's transformers for a list of columns: assembled, fitted, read out, and put together again from numbers.

The columns come in as plain numbers (`ColumnEncoding.prepare`) and leave in the order of the transformers;
`output_order` leads back to the order of the inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.inputs import ColumnEncoding, Input, inputs_of
from neuronwise.data.places import WAVES, waves

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

# The order of the transformers, and so of what the ColumnTransformer puts out.
_GROUPS = ("numbers", "logarithms", "places", "yes or no", "flags", "categories")
_SCALED = ("numbers", "logarithms", "places")


def _places(encodings: Sequence[ColumnEncoding]) -> dict[str, list[tuple[int, int, list[int]]]]:
    """Return per transformer its columns of prepared numbers: (number, index of the encoding, its inputs' indices)."""
    places: dict[str, list[tuple[int, int, list[int]]]] = {group: [] for group in _GROUPS}
    number = at = 0
    for which, encoding in enumerate(encodings):
        kind = encoding.column.kind
        if kind == "category":
            k = len(encoding.categories)
            places["categories"].append((number, which, list(range(at, at + k))))
            number, at = number + 1, at + k
        elif encoding.column.place:
            places["places"].append((number, which, list(range(at, at + 1 + len(WAVES)))))
            number, at = number + 1, at + 1 + len(WAVES)
        else:
            group = "yes or no" if kind == "yes/no" else "logarithms" if encoding.column.log else "numbers"
            for _ in range(max(len(encoding.parts), 1)):
                places[group].append((number, which, [at]))
                number, at = number + 1, at + 1
        if encoding.flag:
            places["flags"].append((number, which, [at]))
            number, at = number + 1, at + 1
    return places


def output_order(encodings: Sequence[ColumnEncoding]) -> NDArray[np.int64]:
    """Return where in the transformer's output each input stands."""
    places = _places(encodings)
    out = [i for group in _GROUPS for _, _, inputs in places[group] for i in inputs]
    return np.argsort(np.array(out, np.int64), kind="stable")


def assemble(encodings: Sequence[ColumnEncoding]) -> ColumnTransformer:
    """Return the unfitted transformers of these columns."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    places = _places(encodings)
    # Category k is the number k by now; -1 is one that is missing or was never seen, and becomes all zeros.
    known = [np.arange(max(len(encodings[which].categories), 1)) for _, which, _ in places["categories"]]
    steps = {
        "numbers": make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()),
        "logarithms": make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), FunctionTransformer(_log), StandardScaler()
        ),
        "places": make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), FunctionTransformer(waves)
        ),
        "yes or no": SimpleImputer(strategy="most_frequent", keep_empty_features=True),
        "flags": "passthrough",
        "categories": OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False, dtype=np.float32),
    }
    return ColumnTransformer(
        [(group, steps[group], [number for number, _, _ in places[group]]) for group in _GROUPS if places[group]],
        sparse_threshold=0.0,
    )


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # Below zero nothing was seen; `check` says so, and the nearest value that was is taken.
    return np.log1p(np.maximum(values, 0.0))


def _steps(transformer: ColumnTransformer, group: str) -> tuple[Any, Any]:
    """Return the imputer of a group and its scaler (None for yes or no)."""
    fitted = transformer.named_transformers_[group]
    if group == "yes or no":
        return fitted, None
    return fitted["simpleimputer"], fitted["standardscaler"]


def fitted_inputs(
    encodings: Sequence[ColumnEncoding], transformer: ColumnTransformer, prepared: NDArray[np.float64]
) -> list[Input]:
    """Return the inputs with the numbers that the fitted transformers found."""
    inputs = [neuron for encoding in encodings for neuron in inputs_of(encoding)]
    places = _places(encodings)
    for group in (*_SCALED, "yes or no"):
        if not places[group]:
            continue
        imputer, scaler = _steps(transformer, group)
        for i, (number, _, (at, *_)) in enumerate(places[group]):
            seen = prepared[:, number][~np.isnan(prepared[:, number])]
            found: dict[str, float] = {"fill": float(imputer.statistics_[i])}
            if len(seen):
                found |= {"minimum": float(seen.min()), "maximum": float(seen.max())}
            if scaler is not None:
                found |= {"mean": float(scaler.mean_[i]), "scale": float(scaler.scale_[i])}
            inputs[at] = dataclasses.replace(inputs[at], **found)  # type: ignore[arg-type]
    return _with_different_names(inputs)


def with_ranges(
    encodings: Sequence[ColumnEncoding],
    inputs: Sequence[Input],
    minimum: NDArray[np.float64],
    maximum: NDArray[np.float64],
) -> list[Input]:
    """Return the inputs with the smallest and largest prepared number of each column seen; NaN where there was none."""
    changed = list(inputs)
    places = _places(encodings)
    for group in (*_SCALED, "yes or no"):
        for number, _, (at, *_) in places[group]:
            if not np.isnan(minimum[number]):
                found = {"minimum": float(minimum[number]), "maximum": float(maximum[number])}
                changed[at] = dataclasses.replace(changed[at], minimum=found["minimum"], maximum=found["maximum"])
    return changed


def restore(encodings: Sequence[ColumnEncoding], inputs: Sequence[Input]) -> ColumnTransformer:
    """Return the transformers fitted to the numbers that `inputs` hold."""
    transformer = assemble(encodings)
    places = _places(encodings)
    # Fitting on zeros gives every attribute its shape; the learned ones are then put in.
    transformer.fit(np.zeros((2, sum(encoding.width for encoding in encodings))))
    for group in (*_SCALED, "yes or no"):
        if places[group]:
            mine = [inputs[ats[0]] for _, _, ats in places[group]]
            imputer, scaler = _steps(transformer, group)
            imputer.statistics_ = np.array([neuron.fill for neuron in mine])
            if scaler is not None:
                scaler.mean_ = np.array([neuron.mean for neuron in mine])
                scaler.scale_ = np.array([neuron.scale for neuron in mine])
                scaler.var_ = scaler.scale_**2
    return transformer


def _with_different_names(inputs: list[Input]) -> list[Input]:
    taken: set[str] = set()
    for i, neuron in enumerate(inputs):
        name, n = neuron.name, 2
        while name in taken:
            name, n = f"{neuron.name} ({n})", n + 1
        taken.add(name)
        inputs[i] = dataclasses.replace(neuron, name=name)
    return inputs
