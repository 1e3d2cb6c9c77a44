"""A run: what one training left, on disk and in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from neuronwise.data.checked import Checked
from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, did_you_mean
from neuronwise.files import folder_size_bytes, user_data_folder, write_atomically
from neuronwise.network import Network, read_json
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.scores import Score

if TYPE_CHECKING:
    from neuronwise.diagnosing import Diagnosis
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
        explained: Files that explain some held-out answers and the first layer, and the inspector's page, where this
            training made them.
        diagnosis: Why this training went as it did; None where it was not diagnosed, and of a run that was loaded.
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
    explained: list[Path] = field(default_factory=list, repr=False)
    diagnosis: Diagnosis | None = field(default=None, repr=False)

    @property
    def network(self) -> Network:
        """The network."""
        return self.model.network

    def predict(self, data: Any) -> NDArray[Any]:
        """Return an answer per row, as `FittedNetwork.predict`."""
        return self.model.predict(data)

    @property
    def history_on_disk(self) -> RecordedHistory:
        """The weights and biases over time (recording of version 0); fetched from MLflow if they were freed here.

        Raises:
            NotFoundError: There is no recording, or it cannot be fetched.
        """
        from neuronwise.recording import read_recording
        from neuronwise.running.locating import folder_with_recording

        return read_recording(folder_with_recording(self.folder) / "recording")

    @property
    def size_bytes(self) -> int:
        """Bytes of the local folder."""
        return folder_size_bytes(self.folder)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the model as JSON values; NaN and infinity, which JSON lacks, are null."""
        content = {
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
        finite: dict[str, Any] = _finite(content)
        return finite

    def save(self) -> None:
        """Write the model and then ``run.json``."""
        self.model.save(self.folder / "model")
        write_atomically(self.folder / "run.json", json.dumps(self.to_dict(), indent=1) + "\n")

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
        checked = Checked(content, where)
        baselines = [Checked(entry, where) for entry in checked.items("baselines", 100)]
        return cls(
            id=checked.text("id"),
            name=checked.text("name"),
            folder=folder,
            status=checked.text("status"),
            model=FittedNetwork.load(folder / "model"),
            metrics=_numbers(checked.any("metrics"), where),
            baselines=[Score(b.text("name"), _numbers(b.any("metrics"), where), b.text("note")) for b in baselines],
            settings=Checked(checked.any("settings"), where).data,
            data=_data(Checked(checked.any("data"), where)),
            history=[_numbers(epoch, where) for epoch in checked.items("history", 10_000_000)],
            best_epoch=None if checked.any("best_epoch") is None else checked.whole("best_epoch"),
            best_step=None if checked.any("best_step") is None else checked.whole("best_step"),
            steps=checked.whole("steps"),
            duration_s=checked.number("duration_s"),
            tracking_uri=checked.text_or_none("tracking_uri"),
        )


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


def _data(checked: Checked) -> dict[str, Any]:
    texts = {key: checked.text(key) for key in ("kind", "name", "source", "fingerprint", "target", "task")}
    return texts | {key: checked.whole(key) for key in ("train_rows", "validation_rows", "test_rows", "inputs")}


def _numbers(values: Any, where: str) -> dict[str, float]:
    """Return metrics by name; null, which stands for what is not finite, is NaN."""
    checked = Checked(values, where)
    return {str(key): float("nan") if value is None else checked.number(key) for key, value in checked.data.items()}


def _finite(value: Any) -> Any:
    """Return JSON values with NaN and infinity as None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:
        return value
    return None if isinstance(value, float) else value


def not_a_run(text: str, known: Iterable[str] = ()) -> NotFoundError:
    """Return the error for a RUN that names nothing, with the nearest of the known names."""
    path = os.path.expanduser(text)
    what = f"the folder {text!r} holds no run" if os.path.isdir(path) else f"there is no run {text!r:.200}"
    if os.path.isfile(path):
        what += ", which is a file"
    return NotFoundError(
        f"{what}.{did_you_mean(text, known)}",
        where="argument RUN",
        hint="neuronwise runs lists them; RUN is an id, the beginning of one, a name, 'latest' or a folder",
    )
