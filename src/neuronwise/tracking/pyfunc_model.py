"""The code that MLflow stores with a model and runs when it is loaded: no pickle, only a call of neuronwise.

MLflow executes a copy of this file (``mlflow.pyfunc.load_model``); nothing in the package imports it. The
network and its encoder lie beside it as safetensors and JSON.
"""

from __future__ import annotations

import warnings

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

with warnings.catch_warnings():
    # MLflow asks for type hints that it would then use to convert the frame; ours must arrive as it is.
    warnings.filterwarnings("ignore", message=".*Add type hints to the `predict` method")

    class NeuronwiseModel(PythonModel):  # type: ignore[misc]
        """A network trained by Neuronwise, with the encoder of its data."""

        def load_context(self, context: PythonModelContext) -> None:
            """Read the network and its encoder: data only, nothing in them can run."""
            import neuronwise

            self._fitted = neuronwise.load(context.artifacts["model"])

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            """Return the predictions for a frame with the columns of the training data."""
            return self._fitted.predict(model_input)


set_model(NeuronwiseModel())
