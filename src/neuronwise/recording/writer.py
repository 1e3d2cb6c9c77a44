"""RecordingWriter: writes what happens in a training into a folder, while it happens."""

from __future__ import annotations

import json
import logging
import math
import platform
import struct
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from neuronwise.errors import NeuronwiseError, UsageError
from neuronwise.files import write_atomically
from neuronwise.learning.observers import Observer
from neuronwise.recording.events import EventWriter
from neuronwise.recording.quantities import layer_summaries
from neuronwise.recording.schedule import (
    DEFAULT_MAX_BYTES,
    SCALARS_DTYPE,
    Plan,
    keyframe_dtype,
    plan_recording,
)
from neuronwise.recording.segments import SegmentWriter, next_index, read_stream

if TYPE_CHECKING:
    from neuronwise.learning.observers import TrainingState

FORMAT = "neuronwise-recording"
VERSION = 0

_log = logging.getLogger("neuronwise")

# Steps whose scalars wait in memory: 256 kB; they are written at the end of each epoch at the latest.
_BUFFER_ROWS = 8192


class RecordingWriter(Observer):
    """Records a training: weights at keyframes, loss at every step, layer summaries at every epoch.

    The folder then holds `recording.json` (what was trained, written once), `keyframes-*.npy` (step, epoch and
    all parameters), `scalars-*.npy` (one row per step) and `events.jsonl`; see `read_recording`. What was
    written survives `kill -9`: at most the scalars of the epoch that runs are lost.

    A recording that fails (a full disk) never stops the training: it ends with one warning, and `problems`
    says why.

    Args:
        folder: Made if absent; must not hold a recording, unless `resume`.
        max_bytes: The recording stays below this; weights of late epochs are then stored more sparsely.
        split: Row numbers of the data by purpose: ``{"train": …, "validation": …}``.
        data: JSON values that identify the data: fingerprint, file, target.
        strict: Raise instead of ending the recording when a measurement fails.
        resume: Continue the recording in `folder` of a training that is resumed; what it holds of later steps than
            the one at which the training goes on was recorded before, and the same will be recorded again.

    Attributes:
        problems: Sentences about what could not be recorded; empty if all is well.
        plan: What is stored when; None before training begins.
        summaries: The last layer summaries by layer name, for others to show or log.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        split: Mapping[str, ArrayLike] | None = None,
        data: Mapping[str, Any] | None = None,
        strict: bool = False,
        resume: bool = False,
    ) -> None:
        self.folder, self._resume = Path(folder), resume
        if (self.folder / "recording.json").exists() and not resume:
            raise UsageError(
                f"{str(self.folder)!r} already holds a recording",
                where="argument folder",
                hint="give a new folder, or delete the old recording",
            )
        if max_bytes <= 0:
            raise UsageError(f"must be above 0, got {max_bytes!r}", where="argument max_bytes")
        self.max_bytes, self.strict = int(max_bytes), strict
        self.problems: list[str] = []
        self.plan: Plan | None = None
        self.summaries: dict[str, dict[str, float]] = {}
        self._split = {name: np.asarray(rows, dtype=np.int64) for name, rows in (split or {}).items()}
        self._data = dict(data or {})
        self._pack = struct.Struct("<qqdd").pack_into
        self._buffer = bytearray(_BUFFER_ROWS * SCALARS_DTYPE.itemsize)
        self._end = len(self._buffer)
        self._offset = 0
        self._mask = 0
        self._attention: float = math.inf  # the next step at which more than a row of scalars is due
        self._active = False

    # What follows runs beside steps of 40 µs: one comparison decides whether anything else is due.
    def on_step_end(self, state: TrainingState) -> None:
        """Note the step's loss and learning rate; store the weights of early steps."""
        step = state.step
        if not step & self._mask:
            offset = self._offset
            self._pack(self._buffer, offset, step, state.epoch, state.loss, state.learning_rate)
            self._offset = offset = offset + 32
            if offset == self._end:
                self._guard(self._flush)
        if step >= self._attention:
            self._guard(lambda: self._attend(state))

    def on_fit_begin(self, state: TrainingState) -> None:
        """Write recording.json and the network before its first update."""
        self._guard(lambda: self._begin(state), starting=True)

    def on_epoch_end(self, state: TrainingState) -> None:
        """Write the epoch's scalars, metrics and layer summaries, and its weights if they are due."""
        self._guard(lambda: self._end_epoch(state))

    def on_fit_end(self, state: TrainingState) -> None:
        """Write the delivered network's weights and complete the files."""
        self._guard(lambda: self._end_fit(state))
        self.close()

    def close(self) -> None:
        """Complete the files. For a training that ended without `on_fit_end`; a second call does nothing."""
        self._guard(self._seal)
        self._active = False
        self._attention = math.inf

    def _guard(self, action: Callable[[], None], *, starting: bool = False) -> None:
        """Run `action`; a failure ends the recording, not the training."""
        if not (self._active or starting):
            self._offset = 0
            return
        try:
            action()
        except Exception as error:
            self._active = False
            self._offset, self._attention = 0, math.inf
            reason = str(error) if isinstance(error, NeuronwiseError) else f"{type(error).__name__}: {error}"
            self.problems.append(f"the recording in {self.folder} ended early: {reason}")
            _log.debug("recording failed", exc_info=error)
            if self.strict:
                raise
            warnings.warn(
                f"{self.problems[-1]}. The training goes on; pass strict=True to stop at such an error.",
                RuntimeWarning,
                stacklevel=3,
            )

    def _begin(self, state: TrainingState) -> None:
        network = state.network
        self.folder.mkdir(parents=True, exist_ok=True)
        self.plan = plan_recording(
            network,
            state.epochs * state.steps_per_epoch,
            state.epochs,
            states=len(state.optimizer_state),
            max_bytes=self.max_bytes,
        )
        self._row = np.zeros(1, _row_dtype(state))
        self._stored: set[int] = set()
        index = {"scalars": 0, "keyframes": 0}
        resumed = self._resume and (self.folder / "recording.json").exists()
        if resumed:
            index = {stream: next_index(self.folder, stream) for stream in index}
            keyframes = read_stream(self.folder, "keyframes", self._row.dtype, [])
            self._stored = {int(step) for rows in keyframes for step in rows["step"]}
        self._scalars = SegmentWriter(self.folder, "scalars", SCALARS_DTYPE, index=index["scalars"])
        self._keyframes = SegmentWriter(self.folder, "keyframes", self._row.dtype, index=index["keyframes"])
        if not resumed:
            for name, rows in self._split.items():
                _write_array(self.folder / f"split-{name}.npy", rows)
            content = describe(state, split=sorted(self._split), data=self._data)
            write_atomically(self.folder / "recording.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        self._events = EventWriter(self.folder)
        event = {"kind": "resume", "step": state.step} if resumed else {"kind": "begin"}
        self._events.write(event | {"epochs": state.epochs, "notes": list(self.plan.notes)})
        self._schedule_state = dict(state.schedule_state)
        self._active = True
        self._keyframe(state, state.step, state.epoch)
        self._early = list(reversed(self.plan.early_steps))
        self._plan_ahead(state.step)

    def _plan_ahead(self, step: int) -> None:
        """Set the spacing of scalars after `step`, and the step at which something else is due."""
        assert self.plan is not None
        spacing = self.plan.scalars.spacing(step + 1)
        self._mask = spacing - 1 if spacing else -1
        while self._early and self._early[-1] <= step:
            self._early.pop()
        # The spacing changes after the step before the boundary.
        self._attention = min(
            self._early[-1] if self._early else math.inf,
            max(step + 1, self.plan.scalars.next_change(step + 1) - 1),
        )

    def _attend(self, state: TrainingState) -> None:
        if self._early and state.step == self._early[-1]:
            self._keyframe(state, state.step, state.epoch)
        self._plan_ahead(state.step)

    def _flush(self) -> None:
        self._scalars.append(memoryview(self._buffer)[: self._offset])
        self._offset = 0

    def _keyframe(self, state: TrainingState, step: int, epoch: int, *, weights_only: bool = False) -> None:
        assert self.plan is not None
        if step in self._stored or len(self._stored) >= self.plan.max_keyframes:
            return
        # plan.max_keyframes is 0 where a row has no room for the parameters.
        row = self._row[0]
        row["step"], row["epoch"], row["params"] = step, epoch, state.network.parameters
        if state.network.buffer_count:
            row["buffers"] = state.network.buffers
        for place, values in enumerate(state.optimizer_state.values()):
            row["optimizer"][place] = np.nan if weights_only else values
        self._keyframes.append(self._row.view(np.uint8).data)
        self._stored.add(step)

    def _end_epoch(self, state: TrainingState) -> None:
        assert self.plan is not None
        self._flush()
        self.summaries = layer_summaries(state)
        if self.plan.events.stores(state.epoch) or state.epoch == state.epochs:
            self._events.write(
                {
                    "kind": "epoch",
                    "epoch": state.epoch,
                    "step": state.step,
                    "elapsed_s": state.elapsed_s,
                    "metrics": state.metrics,
                    "layers": self.summaries,
                }
            )
        if state.schedule_state != self._schedule_state:
            self._schedule_state = dict(state.schedule_state)
            self._events.write({"kind": "schedule", "step": state.step, "state": self._schedule_state})
        # One place is kept for the network that is delivered at the end.
        if self.plan.keyframes.stores(state.epoch) and len(self._stored) < self.plan.max_keyframes - 1:
            self._keyframe(state, state.step, state.epoch)

    def _end_fit(self, state: TrainingState) -> None:
        self._flush()
        delivered = self._delivered(state)
        if delivered is not None:
            # Weights that were put back have not the optimizer's state of their step beside them.
            self._keyframe(state, *delivered, weights_only=delivered[0] != state.step or state.divergence is not None)
        self._events.write(
            {
                "kind": "end",
                "status": state.status,
                "step": state.step,
                "epoch": state.epoch,
                "elapsed_s": state.elapsed_s,
                "best_step": state.best_step,
                "best_epoch": state.best_epoch,
                "delivered_step": delivered[0] if delivered is not None else None,
                "divergence": None if state.divergence is None else asdict(state.divergence),
            }
        )

    def _delivered(self, state: TrainingState) -> tuple[int, int] | None:
        """Return step and epoch of the weights that the network is left with; None if that is not known."""
        if state.status == "diverged":
            # The last finite weights: those before the step at which it began.
            return (state.divergence.step - 1, state.epoch) if state.divergence is not None else None
        if state.best_step is not None:  # its weights were put back: they are recorded under the step they belong to
            return state.best_step, state.best_epoch or 0
        return state.step, state.epoch

    def _seal(self) -> None:
        self._flush()
        self._scalars.seal()
        self._keyframes.seal()
        self._events.close()


def _row_dtype(state: TrainingState) -> np.dtype[np.void]:
    network = state.network
    return keyframe_dtype(network.parameter_count, network.dtype, network.buffer_count, len(state.optimizer_state))


def describe(
    state: TrainingState, *, split: Sequence[str] = (), data: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the content of recording.json as JSON values."""
    from neuronwise import __version__

    network = state.network
    return {
        "format": FORMAT,
        "version": VERSION,
        "network": network.to_dict(),
        "features": network.input_names,
        "classes": network.class_names,
        "parameters": {
            "count": network.parameter_count,
            "dtype": str(network.dtype),
            "layers": _places({layer.name: layer.parameters for layer in network.layers}),
        },
        "buffers": {
            "count": network.buffer_count,
            "layers": _places({layer.name: layer.buffers for layer in network.layers if layer.buffers}),
        },
        "optimizer": list(state.optimizer_state),
        # What must be the same for a step to be repeated: settings, and fingerprints of the data.
        "training": state.checkpoint().settings if state.make_checkpoint is not None else None,
        "planned_steps": state.epochs * state.steps_per_epoch,
        "seed": network.seed,
        "epochs": state.epochs,
        "steps_per_epoch": state.steps_per_epoch,
        "split": list(split),
        "data": dict(data or {}),
        "versions": {
            "neuronwise": __version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
        },
    }


def _places(layers: Mapping[str, Mapping[str, np.ndarray[Any, Any]]]) -> dict[str, dict[str, Any]]:
    """Return, for each layer, where its arrays stand in the flat one."""
    places: dict[str, dict[str, Any]] = {}
    offset = 0
    for name, arrays in layers.items():
        places[name] = {}
        for key, values in arrays.items():
            places[name][key] = {"offset": offset, "shape": list(values.shape)}
            offset += values.size
    return places


def _write_array(path: Path, values: np.ndarray[Any, Any]) -> None:
    import io

    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    write_atomically(path, buffer.getvalue())
