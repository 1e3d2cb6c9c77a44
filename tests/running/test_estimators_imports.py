"""What the estimators load and write: read off fresh processes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any


def test_neither_fit_nor_predict_writes_anything_or_loads_mlflow(tmp_path: Any) -> None:
    code = """
import sys
import numpy as np
from neuronwise import NeuralNetworkClassifier
X = np.random.default_rng(0).normal(size=(120, 3))
model = NeuralNetworkClassifier(epochs=3, random_state=0).fit(X, X[:, 0] > 0)
model.partial_fit(X, X[:, 0] > 0).predict_proba(X)
assert "mlflow" not in sys.modules and "torch" not in sys.modules, "loaded"
"""
    environment = {
        "NEURONWISE_HOME": str(tmp_path / "nw"),
        "HOME": str(tmp_path),
        "PATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    work = tmp_path / "work"
    work.mkdir()
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=work, env=environment, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    assert sorted(tmp_path.iterdir()) == [work]
    assert not list(work.iterdir())


def test_finding_the_names_does_not_load_scikit_learn() -> None:
    code = """
import sys, neuronwise, neuronwise.running
dir(neuronwise), neuronwise.from_sklearn
assert "sklearn" not in sys.modules
assert neuronwise.NeuralNetworkClassifier is neuronwise.running.NeuralNetworkClassifier
assert "sklearn" in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
