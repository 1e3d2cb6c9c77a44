"""RecordedHistory: a recording read back, without trusting it."""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError, did_you_mean
from neuronwise.recording.events import numbers, read_events
from neuronwise.recording.schedule import SCALARS_DTYPE, keyframe_dtype
from neuronwise.recording.segments import read_stream
from neuronwise.recording.writer import FORMAT, VERSION

_MAX_JSON_BYTES = 64_000_000
_MAX_PARAMETERS = 10**10
_MAX_KEYFRAMES = 1_000_000
_SPLIT_NAME = re.compile(r"[a-z0-9_-]{1,40}")


@dataclass(frozen=True)
class _Place:
    """Where a parameter stands in the flat array."""

    offset: int
    shape: tuple[int, ...]

    def of(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return it as a view of the flat array."""
        return flat[self.offset : self.offset + math.prod(self.shape)].reshape(self.shape)


class RecordedHistory:
    """What was recorded of a training. Made by `read_recording`.

    Attributes:
        folder: Where it lies.
        description: The content of recording.json.
        optimizer_names: What the optimizer remembers for each parameter.
        network_dict: The network as a description, for `Network.from_dict`.
        steps: Steps whose weights are stored, ascending, (n,) int64; 0 is the network before training.
        epochs: One dict per recorded epoch: ``epoch``, ``step``, ``elapsed_s``, ``metrics`` (name to number)
            and ``layers`` (layer to quantity to number).
        status: How the training ended: ``"finished"``, ``"early_stopped"``, ``"stopped"``, ``"interrupted"``,
            ``"diverged"``, or ``"unfinished"`` if it runs or was killed.
        delivered_step: The step of the network that was delivered; None if unfinished. Of a diverged training
            those are the last finite weights.
        best_step: The step of the best network; None if unknown.
        problems: Sentences about what is missing or damaged; empty if all is well.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.problems: list[str] = []
        self.description = _read_description(self.folder)
        self.network_dict: dict[str, Any] = _entry(self.description, "network", dict, self._where)
        parameters = _entry(self.description, "parameters", dict, self._where)
        self.parameter_count: int = _entry(parameters, "count", int, self._where)
        if not 0 <= self.parameter_count <= _MAX_PARAMETERS:
            raise FormatError(f"{self.parameter_count:,} parameters", where=self._where)
        if (dtype := _entry(parameters, "dtype", str, self._where)) not in ("float32", "float64"):
            raise FormatError(f"weights of dtype {dtype!r:.100}", where=self._where)
        self.dtype = np.dtype(dtype)
        self._layers = _read_layers(parameters, self.parameter_count, self._where)
        buffers = self.description.get("buffers", {"count": 0, "layers": {}})  # absent in older recordings
        self.buffer_count: int = _entry(buffers, "count", int, self._where)
        if not 0 <= self.buffer_count <= _MAX_PARAMETERS:
            raise FormatError(f"{self.buffer_count:,} values of buffers", where=self._where)
        self._buffers = _read_layers(buffers, self.buffer_count, self._where)
        states = self.description.get("optimizer", [])  # absent in older recordings
        if not isinstance(states, list) or len(states) > 8 or not all(isinstance(name, str) for name in states):
            raise FormatError(f"the key 'optimizer' should be a list of names, is {states!r:.100}", where=self._where)
        self.optimizer_names: tuple[str, ...] = tuple(states)
        row = keyframe_dtype(self.parameter_count, self.dtype, self.buffer_count, len(states))
        self._keyframes = read_stream(self.folder, "keyframes", row, self.problems)
        self._scalars = read_stream(self.folder, "scalars", SCALARS_DTYPE, self.problems)
        self._index = self._index_keyframes()
        self.steps: NDArray[np.int64] = np.array(sorted(self._index), dtype=np.int64)
        self._read_events()

    @property
    def _where(self) -> str:
        return str(self.folder / "recording.json")

    def _index_keyframes(self) -> dict[int, tuple[int, int]]:
        if sum(map(len, self._keyframes)) > _MAX_KEYFRAMES:
            raise FormatError(f"more than {_MAX_KEYFRAMES:,} keyframes", where=str(self.folder))
        index = {}
        for segment, rows in enumerate(self._keyframes):
            for row, step in enumerate(rows["step"].tolist()):
                index[step] = (segment, row)
        return index

    def _read_events(self) -> None:
        self.status = "unfinished"
        self._schedule_states: list[tuple[int, Any]] = []
        self.epochs: list[dict[str, Any]] = []
        self.delivered_step: int | None = None
        self.best_step: int | None = None
        for event in read_events(self.folder, self.problems):
            if event.get("kind") == "epoch":
                layers = event.get("layers")
                layers = layers if isinstance(layers, dict) else {}
                self.epochs.append(
                    {
                        **numbers({key: event.get(key) for key in ("epoch", "step", "elapsed_s")}),
                        "epoch": _whole(event.get("epoch")),
                        "step": _whole(event.get("step")),
                        "metrics": numbers(event.get("metrics")),
                        "layers": {name: numbers(values) for name, values in layers.items()},
                    }
                )
            elif event.get("kind") == "schedule":
                self._schedule_states.append((_whole(event.get("step")) or 0, event.get("state")))
            elif event.get("kind") == "resume":
                # What was recorded beyond the step that the training went on from was recorded again.
                step = _whole(event.get("step")) or 0
                self.epochs = [epoch for epoch in self.epochs if (epoch["step"] or 0) <= step]
                self.status, self.delivered_step, self.best_step = "unfinished", None, None
            elif event.get("kind") == "end":
                self.status = str(event.get("status"))[:40]
                self.delivered_step = _whole(event.get("delivered_step"))
                self.best_step = _whole(event.get("best_step"))

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers in order."""
        return list(self._layers)

    @cached_property
    def scalars(self) -> NDArray[np.void]:
        """One row per recorded step: ``step``, ``epoch``, ``loss``, ``learning_rate``."""
        if len(self._scalars) == 1:
            return self._scalars[0]
        rows = np.concatenate(self._scalars) if self._scalars else np.empty(0, SCALARS_DTYPE)
        if (np.diff(rows["step"]) > 0).all():
            return rows
        # A resumed training repeats the steps after its checkpoint: the later row of a step counts.
        _, last = np.unique(rows["step"][::-1], return_index=True)
        return rows[len(rows) - 1 - last]

    def parameters(self, step: int) -> NDArray[Any]:
        """Return all weights and biases after a step, (parameter_count,), laid out as `Network.parameters`.

        Raises:
            NotFoundError: Nothing is stored of that step; the message names the nearest that is.
        """
        return self._field(step, "params")

    def buffers(self, step: int) -> NDArray[Any]:
        """Return all buffers after a step, (buffer_count,), laid out as `Network.buffers`.

        Raises:
            NotFoundError: Nothing is stored of that step; the message names the nearest that is.
        """
        if not self.buffer_count:
            return np.empty(0, self.dtype)
        return self._field(step, "buffers")

    def optimizer_state(self, step: int) -> dict[str, NDArray[Any]]:
        """Return what the optimizer remembered after a step, by name, each laid out as `Network.parameters`.

        It is NaN for weights that were put back at the end: nothing can be repeated from there.

        Raises:
            NotFoundError: Nothing is stored of that step; the message names the nearest that is.
        """
        if not self.optimizer_names:
            return {}
        return dict(zip(self.optimizer_names, self._field(step, "optimizer"), strict=True))

    def _field(self, step: int, name: str) -> NDArray[Any]:
        if (place := self._index.get(int(step))) is None:
            raise NotFoundError(
                f"no weights are stored of step {step}", where=str(self.folder), hint=self._nearest(int(step))
            )
        segment, row = place
        return np.array(self._keyframes[segment][row][name], dtype=self.dtype)

    def schedule_state(self, step: int) -> dict[str, Any]:
        """Return `Schedule.snapshot` as it was after a step; empty where the schedule notes nothing."""
        found: Any = {}
        for noted, state in self._schedule_states:
            if noted <= step:
                found = state
        return found if isinstance(found, dict) else {}

    def _nearest(self, step: int) -> str:
        if not len(self.steps):
            return "the recording holds no weights"
        nearest = int(self.steps[np.argmin(np.abs(self.steps - step))])
        return f"the nearest step whose weights are stored is {nearest}"

    def layer(self, step: int, name: str) -> dict[str, NDArray[Any]]:
        """Return the parameters and buffers of one layer after a step: ``{"W": (n_out, n_in), "b": (n_out,)}``.

        Raises:
            NotFoundError: No such layer, or nothing is stored of that step.
        """
        if name not in self._layers:
            raise NotFoundError(
                f"there is no layer {name!r}.{did_you_mean(name, self._layers)}",
                hint=f"the layers are {', '.join(self._layers)}",
            )
        flat, buffers = self.parameters(step), self.buffers(step)
        return {key: place.of(flat) for key, place in self._layers[name].items()} | {
            key: place.of(buffers) for key, place in self._buffers.get(name, {}).items()
        }

    def split(self, name: str) -> NDArray[np.int64]:
        """Return the row numbers of a part of the data, ``"train"`` or ``"validation"``.

        Raises:
            NotFoundError: No such part was recorded.
            FormatError: The file is damaged.
        """
        names = self.description.get("split") or []
        path = self.folder / f"split-{name}.npy"
        if name not in names or not _SPLIT_NAME.fullmatch(name) or not path.is_file() or path.is_symlink():
            raise NotFoundError(f"no rows are recorded for {name!r}", where=str(self.folder))
        try:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise FormatError(f"cannot be read: {error!s:.200}", where=str(path)) from None
        if rows.dtype != np.int64 or rows.ndim != 1:
            raise FormatError(f"expected row numbers, got {rows.dtype} {rows.shape}", where=str(path))
        return np.array(rows)

    def __repr__(self) -> str:
        return f"<recording of {len(self.epochs)} epochs, weights at {len(self.steps)} steps, {self.status}>"


def read_recording(folder: str | Path) -> RecordedHistory:
    """Return the recording in a folder, also of a training that still runs or was killed.

    Nothing in the files can run, and no more memory is taken than the files have bytes.

    Raises:
        NotFoundError: There is no recording in `folder`.
        FormatError: The files are not a recording, or hostile.
    """
    return RecordedHistory(folder)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "recording.json"
    try:
        info = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"there is no recording in {str(folder)!r}", where=str(path)) from None
    if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_JSON_BYTES:
        raise FormatError(f"expected a plain file of at most {_MAX_JSON_BYTES:,} bytes", where=str(path))
    try:
        description = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"this is no JSON: {error!s:.200}", where=str(path)) from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise FormatError("this is no recording of Neuronwise", where=str(path))
    if description.get("version") != VERSION:
        raise FormatError(
            f"the recording has version {description.get('version')!r:.50}, this reads version {VERSION}",
            where=str(path),
            hint="open it with the version of neuronwise that wrote it (see versions in recording.json)",
        )
    return description


def _read_layers(parameters: Mapping[str, Any], count: int, where: str) -> dict[str, dict[str, _Place]]:
    layers: dict[str, dict[str, _Place]] = {}
    for name, entries in _entry(parameters, "layers", dict, where).items():
        layers[name] = {}
        if not isinstance(entries, dict):
            raise FormatError(f"layer {name!r:.100} is not described", where=where)
        for key, entry in entries.items():
            offset, shape = _entry(entry, "offset", int, where), _entry(entry, "shape", list, where)
            sizes = all(type(n) is int and 0 <= n <= count for n in shape)
            if len(shape) > 8 or not sizes or not 0 <= offset <= offset + math.prod(shape) <= count:
                raise FormatError(
                    f"{name!r:.100} {key!r:.20}: offset {offset} and shape {shape!r:.100} do not fit "
                    f"{count:,} parameters",
                    where=where,
                )
            layers[name][key] = _Place(offset, tuple(shape))
    return layers


def _entry(values: Any, key: str, kind: type, where: str) -> Any:
    value = values.get(key) if isinstance(values, dict) else None
    if type(value) is not kind:
        raise FormatError(f"the key {key!r} should be {kind.__name__}, is {value!r:.100}", where=where)
    return value


def _whole(value: object) -> int | None:
    return value if type(value) is int else None
