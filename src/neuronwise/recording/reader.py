"""RecordedHistory: what is stored in a recording, read back without trusting it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.recording.description import Attempt, attempt_of, read_array, read_attempts, read_description
from neuronwise.recording.events import read_events
from neuronwise.recording.layout import Layout, Place
from neuronwise.recording.module_network import ModuleNetwork
from neuronwise.recording.rows import (
    BLOCK_BYTES,
    STREAMS,
    holds_values,
    intact,
    stream_dtypes,
)
from neuronwise.recording.sealed_json import numbers
from neuronwise.recording.segments import read_stream
from neuronwise.recording.stored_stream import StoredStream


class RecordedHistory:
    """What was recorded of a training. Made by `read_recording`.

    Where a step was recorded by several attempts, the last one counts.

    Attributes:
        folder: Where it lies.
        description: The content of recording.json.
        layout: Where everything stands in the flat arrays.
        network_dict: The network as a description, for `Network.from_dict`; None of a model of another framework.
        network_changed_at: From which step on the modules of a watched model were no longer what `module_network` says;
            None if they never were.
        attempts: Each time that the training was begun or gone on with.
        steps: Steps whose state is stored (keyframes), ascending, (n,) int64; 0 is the network before training.
        frames: Steps whose statistics are stored, likewise.
        histogram_steps: Steps whose histograms are stored, likewise.
        epochs: One dict per recorded epoch: ``epoch``, ``step``, ``elapsed_s``, ``metrics`` (name to number)
            and ``layers`` (layer to quantity to number).
        metrics: What else was measured at steps: (step, name to number), in the order of the steps.
        gaps: What is missing because writing failed for a while: dicts with ``from_step``, ``to_step``, ``reason``.
        notes: Sentences about how it was recorded, such as what of the plan gave way.
        status: How the training ended: ``"finished"``, ``"early_stopped"``, ``"stopped"``, ``"interrupted"``,
            ``"diverged"``, or ``"unfinished"`` if it runs or was killed; ``"checkpoints"`` where only states of it
            are known, see `from_checkpoints`.
        delivered_step: The step of the network that was delivered; None if unfinished. Of a diverged training
            those are the last finite weights.
        best_step: The step of the best network; None if unknown.
        problems: Sentences about what is missing or damaged; empty if all is well.

    Args:
        folder: The recording.
        attempt: Read what this attempt wrote only; default what all did.
    """

    def __init__(self, folder: str | Path, *, attempt: int | None = None) -> None:
        self.folder = Path(folder)
        self.problems: list[str] = []
        self.description = read_description(self.folder, self.problems)
        schemas = self.description.get("schemas")
        self.layout = Layout.from_dict(schemas.get("0") if isinstance(schemas, dict) else None, self._where)
        network = self.description.get("network")
        self.network_dict: dict[str, Any] | None = network if isinstance(network, dict) else None
        self._attempt = attempt
        # Of a training that runs, more may come while it is read: an attempt is written before its first event, and
        # rows before the event that counts them.
        begun, written = self._read_events()
        contents = read_attempts(self.folder, self.problems)
        self.attempts: list[Attempt] = [attempt_of(number, content) for number, content in contents.items()]
        if attempt is not None and attempt not in contents:
            raise NotFoundError(
                f"there is no attempt {attempt!r:.50}",
                where=str(self.folder),
                hint=f"attempts are {', '.join(str(one.number) for one in self.attempts) or 'none'}",
            )
        dtypes = stream_dtypes(self.layout)
        self._streams = {name: self._stream(name, dtypes[name]) for name in STREAMS}
        self._scalars, self._keyframes, self._neurons, self._histograms = self._streams.values()
        self._compare_attempts(begun, written)
        self.steps: NDArray[np.int64] = self._keyframes.steps if holds_values(self.layout) else np.empty(0, np.int64)
        self.frames: NDArray[np.int64] = self._neurons.steps
        self.histogram_steps: NDArray[np.int64] = self._histograms.steps

    def _stream(self, name: str, dtype: np.dtype[Any]) -> StoredStream:
        # Of a long row only the beginning is read now; any other part is checked when it is used.
        segments = read_stream(self.folder, name, dtype, self.problems, check=BLOCK_BYTES)
        return StoredStream(name, segments, self._attempt, self._damaged, str(self.folder))

    def _damaged(self, sentence: str) -> None:
        if sentence not in self.problems:
            self.problems.append(sentence)

    @property
    def _where(self) -> str:
        return str(self.folder / "recording.json")

    def _read_events(self) -> tuple[set[int], dict[int, Any]]:
        """Take in events.jsonl; return which attempts it knows, and how many rows of each stream each has written."""
        self.status = "unfinished"
        self._schedule_states: list[tuple[int, Any]] = []
        gaps: dict[tuple[int | None, int | None], dict[str, Any]] = {}
        self.passes: list[dict[str, Any]] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.notes: list[str] = []
        self.delivered_step: int | None = None
        self.best_step: int | None = None
        self.network_changed_at: int | None = None
        epochs: dict[int, dict[str, Any]] = {}
        begun: set[int] = set()
        self._ended: set[int] = set()
        indices: dict[int, set[int]] = {}
        written: dict[int, Any] = {}
        for event in read_events(self.folder, self.problems):
            of = _whole(event.get("attempt")) or 0
            if event.get("kind") in ("begin", "resume"):
                begun.add(of)
            elif event.get("kind") == "end":
                self._ended.add(of)
            if (index := _whole(event.get("index"))) is not None:
                indices.setdefault(of, set()).add(index)
            written[of] = event.get("rows", written.get(of))
            if self._attempt is not None and event.get("attempt") != self._attempt:
                continue
            kind, step = event.get("kind"), _whole(event.get("step"))
            if kind == "epoch":
                layers = event.get("layers")
                layers = layers if isinstance(layers, dict) else {}
                epochs[_whole(event.get("epoch")) or 0] = {
                    **numbers({key: event.get(key) for key in ("epoch", "step", "elapsed_s")}),
                    "epoch": _whole(event.get("epoch")),
                    "step": step,
                    "metrics": numbers(event.get("metrics")),
                    "layers": {name: numbers(values) for name, values in layers.items()},
                }
            elif kind == "metrics":
                self.metrics.append((step or 0, numbers(event.get("metrics"))))
            elif kind == "schedule":
                self._schedule_states.append((step or 0, event.get("state")))
            elif kind == "gap":
                # A hole is told again each time that writing was tried in vain; the last time says where it ends.
                gaps[_whole(event.get("attempt")), _whole(event.get("from_step"))] = event
            elif kind == "pass":
                self.passes.append(event)
            elif kind == "network_changed" and self.network_changed_at is None:
                self.network_changed_at = step
            elif kind in ("begin", "resume"):
                self.status, self.delivered_step, self.best_step = "unfinished", None, None
                self.notes += [note for note in _texts(event.get("notes")) if note not in self.notes]
            elif kind == "end":
                self.status = str(event.get("status"))[:40]
                self.delivered_step = _whole(event.get("delivered_step"))
                self.best_step = _whole(event.get("best_step"))
        self.gaps: list[dict[str, Any]] = list(gaps.values())
        for gap in self.gaps:
            first, last = _whole(gap.get("from_step")), _whole(gap.get("to_step"))
            is_open = gap.get("goes_on") is False
            where = f"from step {first} on nothing" if is_open else f"between steps {first} and {last} not everything"
            self.problems.append(f"{where} was recorded: {gap.get('reason')!s:.300}")
        self.epochs: list[dict[str, Any]] = [epochs[number] for number in sorted(epochs)]
        for number, found in indices.items():
            if missing := max(found) + 1 - len(found):
                self._damaged(f"events.jsonl: {missing:,} event(s) of attempt {number} are missing")
        return begun, written

    def _compare_attempts(self, begun: set[int], written: dict[int, Any]) -> None:
        """Tell what is missing of what the events and attempt-….json say there was: whole files may be gone."""
        known = {one.number for one in self.attempts}
        for number in sorted(begun - known):
            self._damaged(f"attempt-{number:06d}.json is missing or damaged")
        for number in sorted(known - begun):
            self._damaged(f"events.jsonl: the beginning of attempt {number} is missing")
        for number, counts in written.items():
            for name, count in numbers(counts).items():
                there = self._streams[name].rows_of.get(number, 0) if name in self._streams else 0
                if there < count:
                    self._damaged(f"{name}: {count - there:,.0f} of {count:,.0f} rows of attempt {number} are missing")

    @cached_property
    def module_network(self) -> ModuleNetwork | None:
        """What makes a `Network` of a state of a watched module; None where it is none, or the network is ours.

        Raises:
            FormatError: What is said of it cannot be read.
        """
        watched = self.description.get("watched")
        found = watched.get("network") if isinstance(watched, dict) else None
        return None if found is None else ModuleNetwork.from_dict(found, self._where)

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return self.layout.parameter_count

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers in order."""
        return list(self.layout.layers)

    @property
    def last_step(self) -> int:
        """The last step of which anything is recorded."""
        last = [stream.steps[-1:] for stream in (self._keyframes, self._neurons, self._scalars)]
        return int(np.concatenate(last).max(initial=0))

    @cached_property
    def scalars(self) -> NDArray[np.void]:
        """One row per recorded step, ascending: ``step``, ``epoch``, ``loss``, ``learning_rate`` …"""
        return self._scalars.all()

    def parameters(self, step: int) -> NDArray[Any]:
        """Return all weights and biases after a step, (parameter_count,), laid out as `Network.parameters`.

        Raises:
            NotFoundError: Nothing is stored of that step; the message names the nearest that is.
            FormatError: What is stored of it is damaged.
        """
        return self._field(step, "params")

    def buffers(self, step: int) -> NDArray[Any]:
        """Return all buffers after a step, (buffer_count,), laid out as `Network.buffers`.

        Raises:
            NotFoundError: Nothing is stored of that step; the message names the nearest that is.
            FormatError: What is stored of it is damaged.
        """
        if not self.layout.buffer_count:
            return np.empty(0, self.layout.dtype)
        return self._field(step, "buffers")

    def is_whole(self, step: int) -> bool:
        """Return whether all is stored of a step that decides the next one, and is undamaged.

        Of weights that were put back at the end, what the optimizer remembered beside them is not known.
        """
        try:
            row = self._keyframes.row(step)
        except (NotFoundError, FormatError):
            return False
        return bool(row["whole"][0]) and bool(intact(row).all())

    def optimizer_state(self, step: int) -> dict[str, NDArray[Any]]:
        """Return what the optimizer remembered after a step, by name, each laid out as `Network.parameters`.

        Raises:
            NotFoundError: Nothing is stored of that step; the message names the nearest that is.
            FormatError: What is stored of it is damaged.
        """
        if not self.layout.optimizer_names:
            return {}
        return dict(zip(self.layout.optimizer_names, self._field(step, "optimizer"), strict=True))

    def _field(self, step: int, name: str) -> NDArray[Any]:
        if not len(self.steps):
            raise NotFoundError(
                f"no weights are stored of step {step}", where=str(self.folder), hint="the recording holds no weights"
            )
        return np.array(self._keyframes.field(int(step), name)[0], dtype=self.layout.dtype)

    def values(self, place: Place) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return some parameters that lie together, over all stored states: steps (n,) and values (n, place.size).

        Steps at which they are damaged are left out and told in `problems`.
        """
        if not len(self.steps):
            return np.empty(0, np.int64), np.empty((0, place.size), self.layout.dtype)
        size = self.layout.dtype.itemsize
        return self._keyframes.part("params", place.offset, place.size, size, self.layout.dtype)

    def statistics(self, quantity: str, place: Place) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return a statistic of neurons that lie together, over all frames: steps (n,) and values (n, place.size).

        Steps at which it is damaged are left out and told in `problems`.

        Args:
            quantity: One of `NEURON_FIELDS`.
            place: Where the neurons are among those of all layers.
        """
        dtype = self.layout.dtype
        return self._neurons.part(quantity, place.offset, place.size, dtype.itemsize, dtype)

    def neurons(self, step: int) -> NDArray[np.void]:
        """Return the statistics of a frame, one row, (1,), with a field over all neurons for each of `NEURON_FIELDS`.

        Raises:
            NotFoundError: No statistics are stored of that step.
            FormatError: What is stored of it is damaged.
        """
        return self._neurons.whole_row(step)

    def histograms(self, step: int) -> NDArray[np.void]:
        """Return the histograms of a frame, likewise, over all observed layers."""
        return self._histograms.whole_row(step)

    def schedule_state(self, step: int) -> dict[str, Any]:
        """Return `Schedule.snapshot` as it was after a step; empty where the schedule notes nothing."""
        known = [(noted, place, state) for place, (noted, state) in enumerate(self._schedule_states) if noted <= step]
        found = max(known, key=lambda one: one[:2])[2] if known else {}
        return found if isinstance(found, dict) else {}

    def layer(self, step: int, name: str) -> dict[str, NDArray[Any]]:
        """Return the parameters and buffers of one layer after a step: ``{"W": (n_out, n_in), "b": (n_out,)}``.

        Raises:
            NotFoundError: No such layer, or nothing is stored of that step.
            FormatError: What is stored of it is damaged.
        """
        layer = self.layout.layer(name)
        flat, buffers = self.parameters(step), self.buffers(step)
        return {key: place.of(flat) for key, place in layer.parameters.items()} | {
            key: place.of(buffers) for key, place in layer.buffers.items()
        }

    def split(self, name: str) -> NDArray[np.int64]:
        """Return the row numbers of a part of the data, ``"train"`` or ``"validation"``.

        Raises:
            NotFoundError: No such part was recorded.
            FormatError: The file is damaged.
        """
        try:
            rows = read_array(self.folder, f"split-{name}.npy", self.description)
        except NotFoundError:
            raise NotFoundError(f"no rows are recorded for {name!r:.100}", where=str(self.folder)) from None
        if rows.dtype != np.int64 or rows.ndim != 1:
            raise FormatError(f"expected row numbers, got {rows.dtype} {rows.shape}", where=f"split-{name}.npy")
        return rows

    @property
    def probe(self) -> NDArray[Any] | None:
        """The probe inputs, (n, *input_shape); None if none were kept.

        Raises:
            FormatError: The file is damaged.
        """
        try:
            return read_array(self.folder, "probe.npy", self.description)
        except NotFoundError:
            return None

    def check(self) -> list[str]:
        """Read every byte, and return sentences about all that is missing or damaged; empty if all is well.

        An attempt that has not ended is one of them.
        """
        for stream in self._streams.values():
            stream.check()
        for number in sorted({one.number for one in self.attempts} - self._ended):
            self._damaged(f"events.jsonl: attempt {number} has not ended, was killed, or the end of its events is lost")
        files = self.description.get("files")
        for name in files if isinstance(files, dict) else ():
            try:
                read_array(self.folder, str(name), self.description)
            except (NotFoundError, FormatError) as error:
                self._damaged(f"{name!s:.100}: {error.message}")
        return list(self.problems)

    def __repr__(self) -> str:
        return f"<recording of {len(self.epochs)} epochs, weights at {len(self.steps)} steps, {self.status}>"


def read_recording(folder: str | Path, *, attempt: int | None = None) -> RecordedHistory:
    """Return the recording in a folder, also of a training that still runs or was killed.

    Nothing in the files can run, and no more memory is taken than the files have bytes.

    Args:
        folder: The recording.
        attempt: Read what this attempt wrote only; default what all did.

    Raises:
        NotFoundError: There is no recording in `folder`, or no such attempt.
        FormatError: The files are not a recording, or hostile.
    """
    return RecordedHistory(folder, attempt=attempt)


def _texts(values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _whole(value: object) -> int | None:
    return value if type(value) is int and abs(value) < 2**63 else None
