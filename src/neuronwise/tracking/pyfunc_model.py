"""The code that MLflow stores with a model and runs when it is loaded: no pickle, only a call of neuronwise.

MLflow executes a copy of this file (``mlflow.pyfunc.load_model``); nothing in the package imports it. The
network and its encoder lie beside it as safetensors and JSON.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class NeuronwiseModel(PythonModel):  # type: ignore[misc]
    """A network trained by Neuronwise, with the encoder of its data."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network and its encoder: data only, nothing in them can run."""
        import neuronwise

        self._fitted = neuronwise.load(context.artifacts["model"])

    # The hint of the frame tells MLflow not to convert it; arrays are taken as well.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> Any:
        """Return the predictions for a frame with the columns of the training data, or for an array."""
        return self._fitted.predict(model_input)


set_model(NeuronwiseModel())
