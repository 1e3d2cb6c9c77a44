"""From scikit-learn: a fitted multilayer perceptron as a `Network`. scikit-learn itself is not imported."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuronwise.errors import UsageError
from neuronwise.network.layers import Dense
from neuronwise.network.network import Network

# scikit-learn's words for activations, and ours.
_ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "softmax": "softmax"}


def from_sklearn(model: Any) -> Network:
    """Return a fitted scikit-learn `MLPClassifier` or `MLPRegressor` as a network with the same weights.

    Its outputs are those of `predict_proba` (for two classes, and for several labels per row, one sigmoid for each
    probability) or of `predict` (regression), within 1e-12 in float64 and 1e-6 in float32; the precision is that of
    the model. The names of features and classes come along: of two classes the output is named by the second.

    Args:
        model: The fitted model. It is not changed, and nothing is shared with it.

    Raises:
        UsageError: Another object, a model that was not fitted, or one with an activation that is not known here.
    """
    kind = _kind(model)
    if kind is None:
        advice = None
        if hasattr(model, "steps"):
            advice = (
                "of a pipeline pass its last step: from_sklearn(pipeline[-1]); the network takes what the steps before "
                "it return: pipeline[:-1].transform(X)"
            )
        elif type(model).__name__.endswith("SearchCV"):
            advice = "of a search pass what it found: from_sklearn(search.best_estimator_)"
        elif hasattr(model, "network_"):
            advice = "its network is already one: model.network_"
        raise UsageError(
            f"a fitted MLPClassifier or MLPRegressor is accepted, got {type(model).__name__}",
            where="argument model",
            hint=advice,
        )
    if not hasattr(model, "coefs_"):
        raise UsageError(
            f"this {kind} is not fitted; a fitted MLPClassifier or MLPRegressor is accepted",
            where="argument model",
            hint="model.fit(X, y) comes first",
        )
    weights = [np.asarray(W).T for W in model.coefs_]
    biases = [np.asarray(b) for b in model.intercepts_]
    names = [model.activation] * (len(weights) - 1) + [model.out_activation_]
    for name in names:
        if name not in _ACTIVATIONS:
            raise UsageError(
                f"the activation {name!r} of this {kind} is not known here",
                where="argument model",
                hint=f"known are {', '.join(_ACTIVATIONS)}",
            )
    features = getattr(model, "feature_names_in_", None)
    network = Network(
        [Dense(len(b), _ACTIVATIONS[name]) for b, name in zip(biases, names, strict=True)],
        input_shape=weights[0].shape[1],
        dtype="float32" if weights[0].dtype == np.float32 else "float64",
        input_names=None if features is None else [str(name) for name in features],
        class_names=_class_names(model, len(biases[-1])) if kind == "MLPClassifier" else None,
    )
    for layer, W, b in zip(network.layers, weights, biases, strict=True):
        assert isinstance(layer, Dense)
        layer.W, layer.b = W, b
    return network


def _kind(model: Any) -> str | None:
    """Return which of the two known classes this is, or inherits from; None if neither."""
    for base in type(model).__mro__:
        if base.__name__ in ("MLPClassifier", "MLPRegressor") and base.__module__.split(".")[0] == "sklearn":
            return base.__name__
    return None


def _class_names(model: Any, n_outputs: int) -> list[str] | None:
    classes = [str(label) for label in model.classes_]
    if n_outputs == 1:
        return classes[-1:]
    return classes if len(classes) == n_outputs else None
