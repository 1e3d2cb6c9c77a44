"""A run: what one training left, on disk and in memory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError
from neuronwise.files import folder_size_bytes, user_data_folder, write_atomically
from neuronwise.network import Network, read_json
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.scores import Score

if TYPE_CHECKING:
    from neuronwise.recording import RecordedHistory

FORMAT = "neuronwise-run"
VERSION = 1


@dataclass
class Run:
    """What one training left.

    Attributes:
        id: Identifier: that of the MLflow run, or one of our own where MLflow could not be reached.
        name: Name, for people.
        folder: Local folder with ``run.json``, ``model/`` and ``recording/``.
        status: ``"finished"``, ``"early_stopped"``, ``"stopped"``, ``"interrupted"`` or ``"diverged"``.
        model: The fitted network; ``run.predict(frame)`` uses it.
        metrics: Result on the held-out rows, in the original unit (see `METRICS`).
        baselines: What simpler ways reach on the same rows.
        settings: What it was trained with.
        data: Name, source, fingerprint, rows of each part.
        history: Metrics of each epoch.
        best_epoch: The epoch whose weights were kept, or None for the last.
        best_step: The step at its end.
        steps: Optimizer steps taken.
        duration_s: Seconds of learning.
        tracking_uri: The MLflow store, or None where the run is not tracked.
        ui_command: Command that opens the store in a browser, or None.
        run_url: Address of the run in the store's web page, or None.
        not_logged: What could not be sent to MLflow, in sentences.
    """

    id: str
    name: str
    folder: Path
    status: str
    model: FittedNetwork = field(repr=False)
    metrics: dict[str, float]
    baselines: list[Score] = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)
    best_epoch: int | None
    best_step: int | None
    steps: int
    duration_s: float
    tracking_uri: str | None = None
    ui_command: str | None = None
    run_url: str | None = None
    not_logged: list[str] = field(default_factory=list, repr=False)

    @property
    def network(self) -> Network:
        """The network."""
        return self.model.network

    def predict(self, data: Any) -> NDArray[Any]:
        """Return an answer per row, as `FittedNetwork.predict`."""
        return self.model.predict(data)

    @property
    def history_on_disk(self) -> RecordedHistory:
        """The weights and biases over time (recording of version 0)."""
        from neuronwise.recording import read_recording

        return read_recording(self.folder / "recording")

    @property
    def size_bytes(self) -> int:
        """Bytes of the local folder."""
        return folder_size_bytes(self.folder)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the model as JSON values."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "metrics": self.metrics,
            "baselines": [{"name": s.name, "metrics": s.metrics, "note": s.note} for s in self.baselines],
            "settings": self.settings,
            "data": self.data,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_step": self.best_step,
            "steps": self.steps,
            "duration_s": self.duration_s,
            "parameters": self.network.parameter_count,
            "tracking_uri": self.tracking_uri,
        }

    def save(self) -> None:
        """Write the model and then ``run.json``."""
        self.model.save(self.folder / "model")
        # NaN (a metric of a diverged training) is no JSON: such values are left out as null.
        text = json.dumps(_finite(self.to_dict()), ensure_ascii=False, indent=1)
        write_atomically(self.folder / "run.json", text + "\n")

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Return the run kept in a folder.

        Raises:
            NotFoundError: There is no run in it.
            FormatError: A file is truncated, corrupt or hostile.
        """
        content = read_json(folder / "run.json", "run")
        where = str(folder / "run.json")
        if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
            raise FormatError(f"not a run of version {VERSION}", where=where)
        try:
            return cls(
                id=str(content["id"]),
                name=str(content["name"]),
                folder=folder,
                status=str(content["status"]),
                model=FittedNetwork.load(folder / "model"),
                metrics=dict(content["metrics"]),
                baselines=[Score(str(s["name"]), dict(s["metrics"]), str(s["note"])) for s in content["baselines"]],
                settings=dict(content["settings"]),
                data=dict(content["data"]),
                history=[dict(epoch) for epoch in content["history"]],
                best_epoch=content["best_epoch"],
                best_step=content["best_step"],
                steps=int(content["steps"]),
                duration_s=float(content["duration_s"]),
                tracking_uri=content["tracking_uri"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"the run is incomplete: {error!r}", where=where) from None


def runs_folder() -> Path:
    """Return the folder that holds a folder for each run."""
    return user_data_folder() / "runs"


def make_runs_folder() -> Path:
    """Return the folder that holds a folder for each run, made if absent: before hours of learning, not after.

    Raises:
        NeuronwiseError: It cannot be written.
    """
    folder = runs_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = None if os.access(folder, os.W_OK | os.X_OK) else "permission denied"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem is not None:
        raise NeuronwiseError(
            f"the folder of runs {str(folder)!r} cannot be written: {problem}",
            hint="set NEURONWISE_HOME to a folder that can be written",
        )
    return folder


def local_runs() -> list[Path]:
    """Return the folders of all local runs that are complete, the newest first."""
    folder = runs_folder()
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if (path / "run.json").is_file()]
    return sorted(found, key=lambda path: -(path / "run.json").stat().st_mtime)


def _finite(value: Any) -> Any:
    """Return JSON values with NaN and infinity as None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:
        return value
    return None if isinstance(value, float) else value


def not_a_run(text: str) -> NotFoundError:
    """Return the error for a RUN that names nothing."""
    return NotFoundError(
        f"there is no run {text!r}",
        where="argument RUN",
        hint="neuronwise runs lists them; RUN is an id, the beginning of one, a name, 'latest' or a folder",
    )
