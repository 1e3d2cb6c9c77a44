from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from neuronwise.errors import UsageError
from neuronwise.tracking import Store, Tracker, open_store, save_pyfunc
from neuronwise.tracking.model import requirements

# In a fresh process, with a stand-in for neuronwise.load that says what it was given.
LOAD = """
    import json, os, sys
    import pandas as pd
    import neuronwise

    class Fitted:
        def __init__(self, folder):
            self.names = sorted(os.listdir(folder))
            from neuronwise.network import Network
            self.network = Network.load(folder)

        def predict(self, frame):
            kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
            z = self.network.predict(frame[["sqft", "zip"]].fillna(0).to_numpy(float))
            return {"files": self.names, "columns": kinds, "y_hat": z.ravel().tolist()}

    neuronwise.__dict__["load"] = Fitted
    import mlflow
    mlflow.set_tracking_uri(sys.argv[1])
    frame = pd.DataFrame({"sqft": [1, 2], "zip": [0.5, None], "unknown": ["a", "b"]})
    print(json.dumps([mlflow.pyfunc.load_model(uri).predict(frame) for uri in sys.argv[2:]]))
"""


def load_and_predict(store: Store, *uris: str) -> tuple[list[dict[str, object]], str]:
    import json

    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LOAD), store.uri, *uris],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout), result.stderr


def test_a_logged_model_predicts_in_a_fresh_process(store: Store, tracker: Tracker, model_folder: Path) -> None:
    import numpy as np

    from neuronwise.network import Network

    uri = tracker.log_model(model_folder, columns=["sqft", "zip"], step=7)
    assert tracker.not_logged == []
    assert uri is not None
    assert re.fullmatch(r"models:/m-\w+", uri)
    (first, second), noise = load_and_predict(store, uri, f"runs:/{tracker.run_id}/model")
    assert first == second
    assert first["files"] == ["encoder.json", "network.json", "network.safetensors"]
    # Whole numbers and missing values pass as they are; columns nobody asked for do no harm.
    assert list(first["columns"])[:2] == ["sqft", "zip"]  # type: ignore[call-overload]
    expected = Network.load(model_folder).predict(np.array([[1, 0.5], [2, 0]]))
    np.testing.assert_allclose(first["y_hat"], expected.ravel(), rtol=1e-6)
    assert "type hints" not in noise
    assert "Warning" not in noise


def test_the_model_holds_no_pickle_and_no_paths_of_this_machine(
    store: Store, tracker: Tracker, model_folder: Path, tmp_path: Path
) -> None:
    tracker.log_model(model_folder, columns=["sqft", "zip"])
    client = open_store(store)
    model_id = client.get_run(tracker.run_id).outputs.model_outputs[0].model_id
    logged = client.get_logged_model(model_id)
    assert (logged.name, str(logged.status)) == ("model", "READY")
    from urllib.parse import unquote, urlsplit

    folder = Path(unquote(urlsplit(logged.artifact_location).path))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names == [
        "MLmodel",
        "artifacts/model/encoder.json",
        "artifacts/model/network.json",
        "artifacts/model/network.safetensors",
        "conda.yaml",
        "neuronwise_model.py",
        "python_env.yaml",
        "requirements.txt",
    ]
    text = (folder / "MLmodel").read_text(encoding="utf-8").replace(logged.artifact_location, "")
    assert "/tmp" not in text
    assert str(model_folder) not in text
    assert "person" not in text
    assert '"name": "sqft"' in text


def test_requirements_name_what_is_installed() -> None:
    lines = requirements()
    assert any(line.startswith("neuronwise==") for line in lines)
    assert any(line.startswith("numpy==") for line in lines)


def test_a_folder_without_a_network_is_told(tracker: Tracker, tmp_path: Path) -> None:
    assert tracker.log_model(tmp_path) is None
    assert "holds no network.json" in tracker.not_logged[0]
    assert tracker.log_model(tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", ["model.pkl", "sub/weights.joblib", "evil.py"])
def test_files_that_could_run_are_refused(model_folder: Path, tmp_path: Path, name: str) -> None:
    path = model_folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    with pytest.raises(UsageError, match="has no place in a model"):
        save_pyfunc(model_folder, tmp_path / "out")


def test_a_model_that_fails_is_marked_as_failed(
    store: Store, tracker: Tracker, model_folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError('no model here')\n")
    assert tracker.log_model(model_folder, code=broken) is None
    assert "the model could not be logged:" in tracker.not_logged[0]
    client = open_store(store)
    models = client.search_logged_models([tracker.experiment_id], filter_string=f"source_run_id = '{tracker.run_id}'")
    assert [str(model.status) for model in models] == ["FAILED"]


def test_a_model_of_arrays_has_no_signature(store: Store, model_folder: Path, tmp_path: Path) -> None:
    save_pyfunc(model_folder, tmp_path / "out")
    assert (
        "signature: null" in (tmp_path / "out" / "MLmodel").read_text()
        or "signature" not in (tmp_path / "out" / "MLmodel").read_text()
    )
