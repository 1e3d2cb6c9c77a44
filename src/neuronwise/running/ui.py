"""The inspector as a local page: all runs, any step of each."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NeuronwiseError, NotFoundError
from neuronwise.inspecting.blobs import blob
from neuronwise.inspecting.diagnosis_data import diagnosis_part
from neuronwise.inspecting.history_data import WEIGHTS_ARE_HERE, losses_part, spread_evenly, state_entry
from neuronwise.inspecting.payload import NO_WEIGHTS
from neuronwise.inspecting.server import free_socket, make_app, new_token, serve
from neuronwise.inspecting.statistics_data import STATISTICS, statistics_part
from neuronwise.recording import Place, Recording
from neuronwise.running.find import Listed, list_runs
from neuronwise.running.inspector import inspector_payload, unfinished_folder, watched_folder

DEFAULT_PORT = 8765
_OPEN = 3  # runs that are kept open, the last used
_LISTED = 500
_MOST_STEPS = 2_000_000
_MOST_NEW = 24  # states of a running training that are sent at a time
_ROOM_BYTES, _NEWS_BYTES = 4_000_000, 1_000_000  # of a page, of which more is asked for; of news of a training


@dataclass
class _Opened:
    """A run that is looked at; one thread at a time takes steps again or diagnoses."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    payload: dict[str, Any] | None = None
    recording: Recording | None = None
    layers: tuple[str, ...] = ()
    diagnosis: dict[str, Any] | None = None


class LocalRuns:
    """The runs of this machine and of the MLflow store; see `inspecting.server.Runs`."""

    def __init__(self) -> None:
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._lock = threading.Lock()

    def listing(self, *, everywhere: bool) -> dict[str, Any]:
        """Return the runs, the newest first, and why the store could not be asked."""
        runs, problem = list_runs(limit=_LISTED, ask_store=everywhere)
        return {"runs": [_entry(run) for run in runs], "problem": problem, "everywhere": everywhere, "limit": _LISTED}

    def payload(self, run: str) -> dict[str, Any]:
        """Return what the inspector shows of a run, with every step that can be answered.

        Raises:
            NeuronwiseError: It cannot be shown.
        """
        opened = self._open(run)
        with opened.lock:
            return dict(opened.payload or {})

    def state(self, run: str, step: int) -> bytes:
        """Return weights and buffers after a step, taken again where it is not stored.

        Raises:
            NeuronwiseError: There is no such step.
        """
        opened = self._open(run)
        with opened.lock:
            found = _recording_of(opened)
            if opened.payload is not None and opened.payload["network"]["answers"]:
                network = found.at(step)
                arrays = [network.parameters, network.buffers]
            else:
                arrays = [found.stored.parameters(step), found.stored.buffers(step)]
        return np.concatenate(arrays).astype("<f4").tobytes()

    def news(self, run: str, since: int) -> dict[str, Any]:
        """Return what came since a step of a training that runs, and whether it still does.

        Raises:
            NeuronwiseError: There is no such run.
        """
        opened = self._open(run)
        with opened.lock:
            opened.recording = _recording_of(opened).refresh()
            recording, history = opened.recording, opened.recording.stored
            is_network = bool(opened.payload and opened.payload["network"]["answers"])
        steps = history.steps[history.steps > since]
        states = []
        for step in spread_evenly(steps, _MOST_NEW).tolist():
            try:
                if is_network:
                    network = recording.at(step)
                    states.append(state_entry(step, (network.parameters, network.buffers)))
                else:
                    states.append(state_entry(step, (history.parameters(step), history.buffers(step))))
            except NeuronwiseError:  # it is said among the recording's problems
                continue
        live = is_live(run)
        if not live:
            with self._lock:
                self._opened.pop(run, None)  # opened again it is that which was delivered
        return {
            "states": states,
            "training": losses_part(history).content,
            "statistics": statistics_part(history, _NEWS_BYTES).content,
            "live": live,
        }

    def neuron(self, run: str, layer: int, neuron: int) -> dict[str, Any]:
        """Return all that was measured of a neuron, at every step at which it was.

        Raises:
            NeuronwiseError: There is no such neuron, or nothing was recorded.
        """
        opened = self._open(run)
        with opened.lock:
            history, names = _recording_of(opened).stored, opened.layers
        if layer >= len(names) or names[layer] not in history.layout.layers:
            raise NotFoundError(f"there is no layer {layer} that was measured")
        of = history.layout.layers[names[layer]]
        if neuron >= of.neurons:
            raise NotFoundError(f"{of.name:.100} has {of.neurons:,} neurons that are measured, got {neuron}")
        found = {}
        for name in STATISTICS:
            steps, values = history.statistics(name, Place(of.first_neuron + neuron, (1,)))
            found[name] = {"steps": steps.tolist(), "values": blob(values[:, 0], "float32")}
        return found

    def diagnosis(self, run: str) -> dict[str, Any]:
        """Return why a run's training went as it did: as it was found at its end, else found now.

        Raises:
            NeuronwiseError: Nothing was recorded.
        """
        opened = self._open(run)
        with opened.lock:
            recording = _recording_of(opened)
            if opened.diagnosis is None:
                from neuronwise.diagnosing import diagnose

                opened.diagnosis = diagnosis_part(diagnose(recording).to_dict(), recording.stored).content
                if opened.payload is not None and not opened.payload["live"]:
                    opened.payload["diagnosis"] = opened.diagnosis
            found = opened.diagnosis
            if opened.payload is not None and opened.payload["live"]:
                opened.diagnosis = None  # the next time more is known
        return found

    def _open(self, run: str) -> _Opened:
        """Return a run, read if it is not open yet; others can be asked for meanwhile."""
        with self._lock:
            opened = self._opened.setdefault(run, _Opened())
            self._opened.move_to_end(run)
            while len(self._opened) > _OPEN:
                self._opened.popitem(last=False)
        with opened.lock:
            if opened.payload is None:
                try:
                    self._read(run, opened)
                except BaseException:
                    with self._lock:
                        if self._opened.get(run) is opened:
                            del self._opened[run]
                    raise
        return opened

    def _read(self, run: str, opened: _Opened) -> None:
        from neuronwise.running.opening import open_recording

        live = is_live(run)
        payload, said = inspector_payload(run, served=True, room_bytes=_ROOM_BYTES)
        payload |= {"notes": list(dict.fromkeys(said)), "served": True, "live": live}
        notes: list[str] = payload["notes"]
        try:
            opened.recording = recording = open_recording(run)
            steps = recording.keyframes if live else _steps_of(run, recording)
            if isinstance(steps, range) and 1 < len(steps) <= _MOST_STEPS:
                payload["weights"]["every"] = {"first": steps[0], "last": steps[-1]}
            else:
                stored = recording.keyframes
                changed = recording.stored.network_changed_at
                if changed is not None and payload["network"]["answers"]:
                    stored = stored[stored < changed]
                payload["weights"]["listed"] = stored.tolist()
                if not live and (why := _why_stored_only(recording)) is not None:
                    notes.append(f"Only stored steps can be looked at: {why}"[:400])
            # All of them are asked for when they are looked at.
            kept = ("Statistics of", "Of the", WEIGHTS_ARE_HERE, NO_WEIGHTS)
            payload["notes"] = [note for note in notes if not note.startswith(kept)]
        except NeuronwiseError as error:
            notes.append(f"Its steps cannot be taken again: {error.message}"[:400])
        opened.layers = tuple(str(layer["name"]) for layer in payload["network"]["layers"])
        opened.payload = payload


def _steps_of(run: str, recording: Recording) -> range | NDArray[np.int64]:
    """Return the steps that can be looked at; where the data is at its place it is not read for that."""
    from neuronwise.recording.described import settings_of
    from neuronwise.running.checkpointing import SavedTraining
    from neuronwise.running.find import find_folder

    try:
        settings_of(recording.stored)
        source = SavedTraining.load(find_folder(run)).source
    except NeuronwiseError:
        return recording.steps
    if source is None or (os.path.isabs(source) and not os.path.exists(source)) or not len(recording.keyframes):
        return recording.steps
    return range(int(recording.keyframes[0]), recording.stored.last_step + 1)


def _why_stored_only(recording: Recording) -> str | None:
    """Return why steps that are not stored cannot be taken again; None if they can."""
    try:
        recording.replay  # noqa: B018 - found and checked now
    except NeuronwiseError as error:
        return error.message
    return None


def _recording_of(opened: _Opened) -> Recording:
    if opened.recording is None:
        raise NotFoundError("no step of this run was recorded")
    return opened.recording


def is_live(run: str) -> bool:
    """Return whether a run of this machine trains now: whether a process holds its folder."""
    from neuronwise.running.checkpointing import is_held
    from neuronwise.running.watched_run import find_watched

    folder = unfinished_folder(run)
    if folder is None:
        folder = find_watched(run)
    return folder is not None and is_held(folder)


def _entry(run: Listed) -> dict[str, Any]:
    result = None
    if run.result is not None and np.isfinite(run.result[1]):
        result = {"name": run.result[0], "value": run.result[1]}
    return {
        "id": run.id,
        "name": run.name,
        "started": run.started.isoformat(timespec="seconds") if run.started is not None else None,
        "status": run.status,
        "data": run.data,
        "parameters": run.parameters,
        "result": result,
        "experiment": run.experiment,
    }


def serve_ui(run: str | None = None, *, port: int = DEFAULT_PORT, ready: Callable[[str], None]) -> None:
    """Show the runs on a local page until Ctrl-C.

    Args:
        run: The run that is shown first, as everywhere; None: the list of all.
        port: Port on loopback; if it is taken, the next that is free.
        ready: Hears the address, once it is answered.

    Raises:
        NotFoundError: There is no such run.
        UsageError: No port is free.
    """
    from neuronwise.running.find import find_folder

    chosen = ""
    if run is not None:
        chosen = (unfinished_folder(run) or watched_folder(run) or find_folder(run)).name
    listening = free_socket(port)
    taken = listening.getsockname()[1]
    token = new_token()
    app = make_app(LocalRuns(), token, taken)
    ready(f"http://127.0.0.1:{taken}/enter?token={token}" + (f"&run={chosen}" if chosen else ""))
    threading.Thread(target=_warm_up, daemon=True, name="neuronwise-warm-up").start()
    serve(app, listening)


def _warm_up() -> None:
    """Load what the first run that is opened needs, while the list is read."""
    import neuronwise.running.subject
    import neuronwise.running.watched_inspector  # noqa: F401 - loaded, not used
