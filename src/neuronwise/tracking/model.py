"""A trained network as an MLflow model: loadable by `mlflow.pyfunc.load_model`, without pickle.

The model is stored "from code": a copy of `pyfunc_model.py` and the folder of the network. It is put together
here, then logged by an explicit client; `mlflow.pyfunc.log_model` would need the process's global tracking
address changed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuronwise.errors import UsageError
from neuronwise.tracking.quiet import calling_mlflow, without_warnings

CODE = Path(__file__).with_name("pyfunc_model.py")
_FORBIDDEN = {".pkl", ".pickle", ".joblib", ".py", ".pyc"}
# What loading and predicting needs; MLflow adds itself.
_REQUIREMENTS = ("neuronwise", "numpy", "safetensors", "pandas")


def requirements() -> list[str]:
    """Return the pip requirements of a model, from what is installed; nothing is looked up elsewhere."""
    lines = []
    for name in _REQUIREMENTS:
        try:
            lines.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(name)
    return lines


def save_pyfunc(
    folder: Path,
    destination: Path,
    *,
    columns: Sequence[str] | None = None,
    code: Path = CODE,
    model: Any = None,
) -> None:
    """Write an MLflow model into `destination`, which must not exist.

    Args:
        folder: The trained network: network.json, network.safetensors, encoder.json …
        destination: The model's folder.
        columns: Names of the input columns, for the signature; None for arrays.
        code: The file that MLflow will run on loading.
        model: An `mlflow.models.Model` that holds the ids of run and model, or None.

    Raises:
        UsageError: `folder` holds no network, or files that could run.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if "network.json" not in names:
        raise UsageError(f"{str(folder)!r} holds no network.json", where="argument folder")
    if bad := [path for path in folder.rglob("*") if path.suffix.lower() in _FORBIDDEN or path.is_symlink()]:
        raise UsageError(f"{bad[0].name!r} has no place in a model", where=str(folder))
    with without_warnings():  # the import warns too
        import mlflow.pyfunc
        from mlflow.models import Model
    model = model if model is not None else Model()
    with tempfile.TemporaryDirectory(prefix="neuronwise-") as staging:
        # Copied to neutral names: MLflow writes the absolute paths of what it is given into the model.
        staged = Path(staging) / "model"
        shutil.copytree(folder, staged)
        staged_code = Path(shutil.copyfile(code, Path(staging) / "neuronwise_model.py"))
        with without_warnings():
            mlflow.pyfunc.save_model(
                path=str(destination),
                python_model=str(staged_code),
                artifacts={"model": str(staged)},
                pip_requirements=requirements(),
                signature=_signature(columns),
                mlflow_model=model,
            )
    _forget_paths(model, destination)


def _signature(columns: Sequence[str] | None) -> Any:
    """Return a signature that names the columns and leaves their types open.

    With types MLflow would refuse whole numbers in a column that was fractional in training, and missing
    values in one that had none; our own encoder reads them all and says what it does.
    """
    if not columns:
        return None
    try:
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema
        from mlflow.types.schema import AnyType
    except ImportError:
        return None
    return ModelSignature(inputs=Schema([ColSpec(AnyType(), name, required=False) for name in columns]))


def _forget_paths(model: Any, destination: Path) -> None:
    """Take the absolute paths of this machine out of the MLmodel file; loading uses the relative ones."""
    flavor = model.flavors.get("python_function", {})
    if "model_code_path" in flavor:
        flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for artifact in flavor.get("artifacts", {}).values():
        artifact["uri"] = artifact["path"]
    model.save(str(destination / "MLmodel"))


def log_pyfunc(
    client: Any,
    experiment_id: str,
    run_id: str,
    folder: Path,
    *,
    columns: Sequence[str] | None = None,
    name: str = "model",
    code: Path = CODE,
    step: int = 0,
) -> str:
    """Log the network in `folder` as a model of a run and return its address, ``models:/m-…``.

    ``runs:/<run id>/<name>`` finds it too. A model that could not be completed is marked as failed.

    Raises:
        Exception: MLflow's own.
        UsageError: As for `save_pyfunc`.
    """
    with without_warnings():
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

    with calling_mlflow(), tempfile.TemporaryDirectory(prefix="neuronwise-") as temporary:
        destination = Path(temporary) / "model"
        logged = client.create_logged_model(experiment_id, name=name, source_run_id=run_id)
        try:
            model = Model(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            )
            save_pyfunc(folder, destination, columns=columns, code=code, model=model)
            client.log_model_artifacts(logged.model_id, str(destination))
            logged = client.finalize_logged_model(logged.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=step)])
        except BaseException:
            with contextlib.suppress(Exception):
                client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        return str(logged.model_uri)
