"""The inspector as a local page: all runs, any step of each."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuronwise.errors import NeuronwiseError, NotFoundError
from neuronwise.inspecting.history_data import WEIGHTS_ARE_HERE, losses_part, spread_evenly, state_entry
from neuronwise.inspecting.server import free_socket, make_app, new_token, serve
from neuronwise.recording import Recording
from neuronwise.running.find import Listed, list_runs
from neuronwise.running.inspector import inspector_payload, unfinished_folder

DEFAULT_PORT = 8765
_OPEN = 3  # runs that are kept open, the last used
_LISTED = 500
_MOST_STEPS = 2_000_000
_MOST_NEW = 24  # states of a running training that are sent at a time


@dataclass
class _Opened:
    """A run that is looked at; one thread at a time takes steps again."""

    payload: dict[str, Any]
    recording: Recording | None
    lock: threading.Lock = field(default_factory=threading.Lock)


class LocalRuns:
    """The runs of this machine and of the MLflow store; see `inspecting.server.Runs`."""

    def __init__(self) -> None:
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._lock = threading.Lock()

    def listing(self, *, everywhere: bool) -> dict[str, Any]:
        """Return the runs, the newest first, and why the store could not be asked."""
        runs, problem = list_runs(limit=_LISTED, ask_store=everywhere)
        return {"runs": [_entry(run) for run in runs], "problem": problem, "everywhere": everywhere}

    def payload(self, run: str) -> dict[str, Any]:
        """Return what the inspector shows of a run, with every step that can be answered.

        Raises:
            NeuronwiseError: It cannot be shown.
        """
        return self._open(run).payload

    def state(self, run: str, step: int) -> bytes:
        """Return weights and buffers after a step, taken again where it is not stored.

        Raises:
            NeuronwiseError: There is no such step.
        """
        opened = self._open(run)
        if opened.recording is None:
            raise NotFoundError("no step of this run was recorded")
        with opened.lock:
            network = opened.recording.at(step)
        return np.concatenate([network.parameters, network.buffers]).astype("<f4").tobytes()

    def news(self, run: str, since: int) -> dict[str, Any]:
        """Return what came since a step of a training that runs, and whether it still does.

        Raises:
            NeuronwiseError: There is no such run.
        """
        opened = self._open(run)
        if opened.recording is None:
            raise NotFoundError("nothing of this run was recorded")
        with opened.lock:
            opened.recording = opened.recording.refresh()
            history = opened.recording.stored
        steps = history.steps[history.steps > since]
        states = [
            state_entry(step, (history.parameters(step), history.buffers(step)))
            for step in spread_evenly(steps, _MOST_NEW).tolist()
        ]
        is_live = unfinished_folder(run) is not None
        if not is_live:
            with self._lock:
                self._opened.pop(run, None)  # opened again it is that which was delivered
        return {"states": states, "training": losses_part(history).content, "live": is_live}

    def _open(self, run: str) -> _Opened:
        from neuronwise.running.opening import open_recording

        with self._lock:
            if run in self._opened:
                self._opened.move_to_end(run)
                return self._opened[run]
            payload, said = inspector_payload(run)
            payload |= {"notes": list(dict.fromkeys(said)), "served": True, "live": unfinished_folder(run) is not None}
            recording: Recording | None = None
            try:
                recording = open_recording(run)
                steps = recording.keyframes if payload["live"] else recording.steps
                if isinstance(steps, range) and 1 < len(steps) <= _MOST_STEPS:
                    payload["weights"]["every"] = {"first": steps[0], "last": steps[-1]}
                    payload["notes"] = [note for note in payload["notes"] if not note.startswith(WEIGHTS_ARE_HERE)]
                elif not payload["live"] and recording.why_not_replayed:
                    payload["notes"].append(f"Only stored steps can be looked at: {recording.why_not_replayed}"[:400])
            except NeuronwiseError as error:
                payload["notes"].append(f"Its steps cannot be taken again: {error.message}"[:400])
            opened = self._opened[run] = _Opened(payload, recording)
            while len(self._opened) > _OPEN:
                self._opened.popitem(last=False)
            return opened


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
        chosen = (unfinished_folder(run) or find_folder(run)).name
    listening = free_socket(port)
    taken = listening.getsockname()[1]
    token = new_token()
    app = make_app(LocalRuns(), token, taken)
    ready(f"http://127.0.0.1:{taken}/enter?token={token}" + (f"&run={chosen}" if chosen else ""))
    serve(app, listening)
