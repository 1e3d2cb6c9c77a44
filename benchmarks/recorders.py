"""The other tools of the benchmark of recording, as observers of `neuronwise.learning.fit`.

All do one task: note the loss of every step and, every so many steps, all weights and biases of every layer in the form
the tool offers, and have all of it on disk at the end. `numpy.save` and MLflow (as files of a run) keep the values
themselves; TensorBoard and wandb keep histograms of them, from which no weight can be read back. None of them keeps the
state of the optimizer, so none can repeat a step. None sends anything: wandb runs offline, MLflow writes to a SQLite
file, and what else they write goes to a temporary folder.
"""

# ruff: noqa: D102 - what each method does is said once, in `Recorder`

from __future__ import annotations

import importlib.metadata
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from neuronwise.learning import Observer, TrainingState

EXPERIMENT = "benchmark"


def environment(folder: Path) -> dict[str, str]:
    """Return what keeps the tools quiet, offline and within `folder`; it must be set before they are imported."""
    return {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_CONSOLE": "off",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONFIG_DIR": str(folder),
        "WANDB_CACHE_DIR": str(folder),
        "WANDB_DATA_DIR": str(folder),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "DO_NOT_TRACK": "true",
    }


class Recorder(Observer):
    """One tool that records one training.

    Args:
        folder: Empty; for this training.
        every: Steps from one state of the weights to the next.
    """

    package: ClassVar[str]
    """What must be installed."""
    weights: ClassVar[str]
    """What it keeps of the weights."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> None:
        """Import the tool, and make in `folder` what all of its runs share; ImportError where it is not installed."""

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version(cls.package)

    @abstractmethod
    def on_step_end(self, state: TrainingState) -> None:
        """Note the loss, and the weights if they are due."""

    @abstractmethod
    def on_fit_end(self, state: TrainingState) -> None:
        """Bring everything to disk."""


def arrays(state: TrainingState) -> dict[str, Any]:
    """Return weights and biases of every layer by name."""
    return {f"{layer.name}.{key}": values for layer in state.network.layers for key, values in layer.parameters.items()}


class NumpySave(Recorder):
    """A file of all parameters for each state, and one of the losses."""

    package, weights = "numpy", "values"

    @classmethod
    def load(cls, folder: Path) -> None:
        import numpy  # noqa: F401

    def on_fit_begin(self, state: TrainingState) -> None:
        self.losses: list[float] = []

    def on_step_end(self, state: TrainingState) -> None:
        self.losses.append(state.loss)
        if state.step % self.every == 0:
            import numpy as np

            np.save(self.folder / f"weights-{state.step}.npy", state.network.parameters)

    def on_fit_end(self, state: TrainingState) -> None:
        import numpy as np

        np.save(self.folder / "losses.npy", self.losses)


class TensorBoard(Recorder):
    """`SummaryWriter` of torch: `add_scalar` at each step, `add_histogram` for each array."""

    package, weights = "tensorboard", "histograms"

    @classmethod
    def load(cls, folder: Path) -> None:
        import torch.utils.tensorboard  # noqa: F401

    def on_fit_begin(self, state: TrainingState) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(self.folder)

    def on_step_end(self, state: TrainingState) -> None:
        self.writer.add_scalar("loss", state.loss, state.step)
        if state.step % self.every == 0:
            for name, values in arrays(state).items():
                self.writer.add_histogram(name, values, state.step)

    def on_fit_end(self, state: TrainingState) -> None:
        self.writer.close()


class Wandb(Recorder):
    """`Run.log` of wandb at each step, with a `wandb.Histogram` for each array; its service ends with the training."""

    package, weights = "wandb", "histograms"

    @classmethod
    def load(cls, folder: Path) -> None:
        import wandb  # noqa: F401

    def on_fit_begin(self, state: TrainingState) -> None:
        import wandb

        # Without what it would measure of the machine and read of the repository beside the training.
        settings = wandb.Settings(
            console="off", disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True
        )
        self.run = wandb.init(project=EXPERIMENT, mode="offline", dir=self.folder, settings=settings)

    def on_step_end(self, state: TrainingState) -> None:
        row: dict[str, Any] = {"loss": state.loss}
        if state.step % self.every == 0:
            import wandb

            row |= {name: wandb.Histogram(values) for name, values in arrays(state).items()}
        self.run.log(row, step=state.step)

    def on_fit_end(self, state: TrainingState) -> None:
        import wandb

        self.run.finish()
        wandb.teardown()


class Mlflow(Recorder):
    """`MlflowClient.log_metric` at each step, into a SQLite file; the weights as files of the run."""

    package, weights = "mlflow", "values"

    @classmethod
    def load(cls, folder: Path) -> None:
        from mlflow import MlflowClient

        client = MlflowClient()
        if client.get_experiment_by_name(EXPERIMENT) is None:
            client.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())

    def on_fit_begin(self, state: TrainingState) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient()
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        self.run_id = self.client.create_run(experiment.experiment_id).info.run_id

    def on_step_end(self, state: TrainingState) -> None:
        self.note_loss(state)
        if state.step % self.every == 0:
            import numpy as np

            path = self.folder / f"weights-{state.step}.npy"
            np.save(path, state.network.parameters)
            self.client.log_artifact(self.run_id, str(path))  # a copy
            path.unlink()

    def note_loss(self, state: TrainingState) -> None:
        self.client.log_metric(self.run_id, "loss", state.loss, step=state.step)

    def on_fit_end(self, state: TrainingState) -> None:
        self.client.set_terminated(self.run_id)


class MlflowBatches(Mlflow):
    """The same with the losses of 500 steps in one `MlflowClient.log_batch`."""

    def on_fit_begin(self, state: TrainingState) -> None:
        from mlflow.entities import Metric

        super().on_fit_begin(state)
        self.metric = Metric
        self.waiting: list[Any] = []

    def note_loss(self, state: TrainingState) -> None:
        self.waiting.append(self.metric("loss", state.loss, time.time_ns() // 1_000_000, state.step))
        if len(self.waiting) == 500:
            self.send()

    def send(self) -> None:
        self.client.log_batch(self.run_id, metrics=self.waiting)
        self.waiting = []

    def on_fit_end(self, state: TrainingState) -> None:
        self.send()
        super().on_fit_end(state)


RECORDERS: dict[str, type[Recorder]] = {
    "numpy.save": NumpySave,
    "TensorBoard": TensorBoard,
    "wandb, offline": Wandb,
    "MLflow, each step": Mlflow,
    "MLflow, 500 at once": MlflowBatches,
}


def load_all(folder: Path) -> tuple[dict[str, type[Recorder]], list[str]]:
    """Return the tools that can be imported, and a note for each that cannot."""
    usable, notes = {}, []
    for name, kind in RECORDERS.items():
        try:
            kind.load(folder)
        except ImportError as error:
            notes.append(f"{name} was skipped: {error}")
        else:
            usable[name] = kind
    return usable, notes
