"""watch: one line before a PyTorch loop, and the run shows every neuron over time."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import time
import warnings
import weakref
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronwise.errors import NeuronwiseError, UsageError
from neuronwise.network.exchange import import_torch
from neuronwise.recording.schedule import DEFAULT_MAX_BYTES
from neuronwise.running.checkpointing import training_lock
from neuronwise.running.parameter_table import ParameterTable, parameter_table
from neuronwise.running.run import make_runs_folder
from neuronwise.running.watched_run import WatchedRun
from neuronwise.running.watched_tracking import WatchedSender, WatchedTracking
from neuronwise.watching import TorchWatcher

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from neuronwise.diagnosing import Diagnosis
    from neuronwise.running.held_rows import HeldRows


def watch(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    *,
    loss: nn.Module | None = None,
    scaler: Any = None,
    validation: tuple[Any, Any] | None = None,
    layers: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    probe: Any = None,
    folder: str | Path | None = None,
    time_budget: float = 0.02,
    bytes_budget: int = DEFAULT_MAX_BYTES,
    statistics_every: int | None = None,
    tracking: bool = True,
    diagnose: bool = True,
    redact: bool = False,
    strict: bool = False,
    name: str | None = None,
    experiment: str | None = None,
) -> WatchedTraining:
    """Watch a PyTorch model while a loop of your own trains it: every neuron, in the run's recording and in MLflow.

    Call it before the loop; nothing else need be changed, and nothing of the training is: weights are the same to the
    last bit. The run ends with `close()`, at the end of a ``with`` block, when the watcher and all that it watches are
    gone, or when the process ends. It is read by `neuronwise.open(RUN)`, also while it trains.

    Args:
        model: The model, or a part of one; wrapped by `torch.compile` or a parallel wrapper, what is inside.
        optimizer: The optimizer, or several, of which every step counts; None: any that changes these parameters.
        loss: The loss module, whose calls are looked at; for a function see `TorchWatcher.observe`.
        scaler: The gradient scaler, by which it is known which steps were skipped.
        validation: (inputs, targets), on which a copy of the model in evaluation mode is tried with `loss` whenever a
            state is stored: metric ``val_loss``.
        layers: Patterns of module paths to watch (``"encoder.*"``); default all with parameters.
        exclude: Patterns not to watch.
        probe: A few inputs; a copy of the model answers them, where its own activations cannot be seen
            (`torch.compile`).
        folder: Folder of the run, which must not hold one; default a new one beside the other runs.
        time_budget: Share of the time that watching may take, beyond 20 µs a step, steps 0 to 50 and half a second;
            what exceeds it doubles the distance of what is recorded.
        bytes_budget: Bytes that the recording may take.
        statistics_every: Steps between statistics, whatever they cost; default every step to 50, then ever fewer.
        tracking: Whether to keep the run in MLflow: in the run that is open in this process, else in a new one.
        diagnose: Say at the end why the training went as it did, in closing lines on stderr and as
            `WatchedTraining.diagnosis`, and keep that beside the run and in MLflow.
        redact: Keep no row of `validation` in the run's inspector; else up to 240 of them are in its page.
        strict: Raise instead of going on: when a measurement fails, or something is not finite.
        name: Name of the run; default made up by MLflow.
        experiment: MLflow experiment; default the user's, else ``neuronwise``.

    Returns:
        The watcher: `log` notes metrics of your own, `recording` is what was recorded so far, `run_id` names the run.

    Raises:
        UsageError: An argument does not fit; nothing was written.
        MissingExtraError: PyTorch is not installed.
    """
    import_torch()
    if folder is not None and not isinstance(folder, (str, Path)):
        raise UsageError(f"expected a path, got {folder!r:.100}", where="argument folder")
    for argument, text in (("name", name), ("experiment", experiment)):
        if text is not None and not isinstance(text, str):
            raise UsageError(f"expected a text, got {text!r:.100}", where=f"argument {argument}")
    if folder is not None and (Path(folder) / "recording" / "recording.json").exists():
        raise UsageError(
            f"{str(folder)!r} already holds a recording",
            where="argument folder",
            hint="give a new folder: a watched training cannot go on in the recording of another",
        )
    # First the watcher, which checks its arguments: where one does not fit, no run is left behind.
    watcher = WatchedTraining(
        model, optimizer, folder=Path(), loss=loss, scaler=scaler, validation=validation, layers=layers,
        exclude=exclude, probe=probe, time_budget=time_budget, bytes_budget=bytes_budget,
        statistics_every=statistics_every, strict=strict,
    )  # fmt: skip
    try:
        watcher._begin_run(None if folder is None else Path(folder), tracking, name, experiment, diagnose, redact)
    except BaseException:
        watcher.close("failed")
        raise
    return watcher


class WatchedTraining(TorchWatcher):
    """A `TorchWatcher` that belongs to a run. Made by `neuronwise.watch`.

    Attributes:
        run_id: Id of the run: that of the MLflow run, or one of our own where MLflow could not be reached.
        run_name: Its name.
        run_folder: Its folder, with ``recording/``.
        not_logged: What could not be sent to MLflow, in sentences; complete when the watcher is closed.
    """

    run_id: str
    run_name: str
    run_folder: Path

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._sender: WatchedSender | None = None
        self._held_out = named.get("validation")
        self._pid, self._has_ended = os.getpid(), False
        super().__init__(*arguments, **named)

    def _begin_run(
        self,
        folder: Path | None,
        tracking: bool,
        name: str | None,
        experiment: str | None,
        diagnose: bool,
        redact: bool,
    ) -> None:
        """Make the run and its folder, and have what is recorded from now on sent to MLflow."""
        if folder is None:
            make_runs_folder()  # before a run is made in MLflow: it may not be writable
        table = parameter_table(self._model)
        kind = type(self._model).__name__
        if tracking:
            kept = WatchedTracking.open(name, experiment, self._params(table), _description(kind, table))
        else:
            kept = WatchedTracking(None, name)
        held = contextlib.ExitStack()
        try:
            self.run_id, self.run_name = kept.run_id, kept.run_name
            self.run_folder = (make_runs_folder() / kept.run_id if folder is None else folder).absolute()
            self.run_folder.mkdir(parents=True, exist_ok=True)
            self.folder = self._frames._folder = self.run_folder / "recording"
            held.enter_context(training_lock(self.run_folder, "argument folder"))
            started = datetime.now().astimezone().isoformat(timespec="seconds")
            parameters = 0 if table is None else table.parameters
            run = WatchedRun(self.run_folder, self.run_id, self.run_name, kind, "torch", parameters, started)
            run.save()
            if table is not None:
                table.save(self.run_folder)
            kept.keep(self.run_folder)
        except BaseException as error:
            kept.give_up()
            held.close()
            if isinstance(error, OSError):
                place = error.filename or self.run_folder
                raise NeuronwiseError(
                    f"{str(place)!r} cannot be written: {error.strerror or error}",
                    where="argument folder" if folder is not None else None,
                    hint="name a folder that can be written: neuronwise.watch(…, folder=…)",
                ) from None
            raise
        self._sender = WatchedSender(kept, run, held, diagnose=diagnose, has_page=tracking, redact=redact)
        self._listeners.append(self._sender)
        self._steps.began = time.perf_counter()  # opening the store was no part of the training
        if tracking and not kept.is_online:
            warnings.warn(
                f"{'; '.join(kept.not_logged)}. The training is recorded in {self.run_folder}, and neuronwise sync "
                "sends it to MLflow later.",
                RuntimeWarning,
                stacklevel=4,
            )
        # Before that of the watcher itself, which does not know how the process ends.
        self._at_end = functools.partial(_end_at_exit, weakref.ref(self))
        atexit.register(self._at_end)

    def _params(self, table: ParameterTable | None) -> dict[str, Any]:
        """Return what MLflow is told of the model; under names that a user does not log, as those are set once."""
        import torch

        found: dict[str, Any] = {"watched.model": type(self._model).__name__, "watched.torch": torch.__version__}
        if table is not None:
            found |= {"watched.parameters": table.parameters, "watched.trainable": table.trainable}
        if self._loss_module is not None:
            found["watched.loss"] = type(self._loss_module).__name__
        return found

    @property
    def not_logged(self) -> list[str]:
        """See the class."""
        return [] if self._sender is None else list(self._sender.problems)

    @property
    def diagnosis(self) -> Diagnosis | None:
        """What was found when the watcher was closed; None before, and with ``diagnose=False``."""
        return None if self._sender is None else self._sender.diagnosis

    def diagnose(self) -> Diagnosis:
        """Return why the training does not go well so far, as `neuronwise.diagnose` does.

        Raises:
            NotFoundError: Nothing was recorded yet.
        """
        from neuronwise.diagnosing import diagnose

        return diagnose(self.recording)

    def close(self, status: str = "finished") -> None:
        """Complete the recording and the run and remove all hooks; a second call does nothing.

        Args:
            status: How the training ended: ``"finished"``, ``"failed"`` or ``"interrupted"``.
        """
        self._close(status, wait=True)

    def _close(self, status: str, *, wait: bool) -> None:
        was_ours = self._is_in_own_process()
        super().close(status)
        if not was_ours or self._sender is None or self._has_ended:
            return  # the second time may be when the interpreter ends, and PyTorch must not be asked anything any more
        self._has_ended = True
        atexit.unregister(self._at_end)
        self._note_table()
        if self._sender.has_page:
            self._sender.held = self._held_rows()
        self._sender.end(status, self.step, wait=wait)

    def __del__(self) -> None:
        # The loop's function has returned, say, and with the model goes the watcher. Whatever thread this is, it must
        # not wait here.
        with contextlib.suppress(Exception):
            self._close("finished", wait=False)

    def _held_rows(self) -> HeldRows | None:
        """Return rows of `validation` for the inspector; None where there are none that it can show."""
        from neuronwise.running.held_rows import held_rows

        try:
            return held_rows(self._held_out)
        except Exception as error:  # noqa: BLE001 - of the training and its recording nothing is lost
            self.problems.append(f"the rows held out are not in the inspector: {type(error).__name__}: {error!s:.300}")
            return None

    def _is_in_own_process(self) -> bool:
        return os.getpid() == self._pid

    def _note_table(self) -> None:
        """Write down how many parameters there are, where that was not known at the beginning: of lazy modules."""
        assert self._sender is not None
        run = self._sender.run
        if run.parameters or (table := parameter_table(self._model)) is None:
            return
        run.parameters = table.parameters
        try:
            table.save(self.run_folder)
        except OSError as error:
            self.problems.append(f"the table of parameters was not written: {error}")

    def __repr__(self) -> str:
        return f"<Watcher of {type(self._model).__name__}, {self.step:,} steps, run {self.run_name!r}>"


def _end_at_exit(reference: weakref.ref[WatchedTraining]) -> None:
    """End the run of a watcher that nobody closed; if an error ends the process, as failed."""
    watcher = reference()
    if watcher is None:
        return
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)  # at a prompt it ends nothing
    watcher.close("finished" if error is None else "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")


def _description(kind: str, table: ParameterTable | None) -> str:
    """Return the run's description for MLflow's page, in Markdown."""
    count = "" if table is None else f", {table.parameters:,} parameters, {table.trainable:,} of them trainable"
    return (
        f"Neuronwise watched a training of {kind} (PyTorch){count}.\n\n"
        "Loss, learning rate and norms of every layer: *Model metrics* (a section per layer). Layers with their "
        "parameters: `neuronwise/parameters.md` under *Artifacts*. Every neuron over time: `neuronwise show RUN`, "
        "`neuronwise.open(RUN)`."
    )
