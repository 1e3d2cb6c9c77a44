"""Sending our own files to a run: each once, under names that every store takes, listed with its hash."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronwise.tracking.manifest import MANIFEST_PATH, Manifest, hash_file


class Uploads:
    """Our files in a run. Its methods call MLflow: they belong in the background thread.

    Args:
        client: An `mlflow.MlflowClient`.
        run_id: Of the run.
        manifest: What is there already.
    """

    def __init__(self, client: Any, run_id: str, manifest: Manifest) -> None:
        self._client, self._run_id, self._manifest = client, run_id, manifest
        self._changed = False

    def send(self, files: Mapping[str, Path]) -> None:
        """Send local files to their paths in the run, then the list; what is there with the same content stays."""
        for path, local in files.items():
            entry = hash_file(local)
            if self._manifest.files.get(path) == entry:
                continue
            self._put(local, path)
            self._manifest.files[path] = entry
            self._changed = True
        self.send_manifest()

    def send_text(self, text: str, path: str) -> None:
        """Send a text (UTF-8) to a path in the run."""
        with tempfile.TemporaryDirectory(prefix="neuronwise-") as folder:
            local = Path(folder) / "text"
            local.write_text(text, encoding="utf-8")
            self.send({path: local})

    def send_manifest(self) -> None:
        """Send the list of our files, if it has changed."""
        if self._changed:
            with tempfile.TemporaryDirectory(prefix="neuronwise-") as folder:
                local = Path(folder) / "manifest.json"
                local.write_text(self._manifest.to_json(), encoding="utf-8")
                self._put(local, MANIFEST_PATH)
            self._changed = False

    def _put(self, local: Path, path: str) -> None:
        parent, _, name = path.rpartition("/")
        if local.name == name:
            self._client.log_artifact(self._run_id, str(local), parent or None)
            return
        with tempfile.TemporaryDirectory(prefix="neuronwise-") as folder:
            renamed = Path(folder) / name  # MLflow keeps the name of the local file
            shutil.copyfile(local, renamed)
            self._client.log_artifact(self._run_id, str(renamed), parent or None)
