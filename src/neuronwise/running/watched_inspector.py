"""The inspector of a watched run: of an `nn.Sequential` all views, of other models its modules over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuronwise.data import TargetSpec
from neuronwise.errors import NeuronwiseError
from neuronwise.explaining.meaning import Meaning
from neuronwise.files import write_atomically
from neuronwise.inspecting import MOST_BYTES, ShownExamples, build_module_payload, build_payload
from neuronwise.inspecting.history_data import State
from neuronwise.network import Network
from neuronwise.network.activations import get_activation
from neuronwise.recording import RecordedHistory, Recording, read_recording
from neuronwise.recording.events import read_events
from neuronwise.running.held_rows import HeldRows
from neuronwise.running.inspector_page import PAGE_BYTES, as_page
from neuronwise.running.kept_rows import FILE as ROWS
from neuronwise.running.kept_rows import find_rows, keep_rows, rows_in
from neuronwise.running.shown_files import INSPECTOR
from neuronwise.running.watched_run import WatchedRun

# What the loss makes of logits, by the kinds of loss that were seen.
_OF_LOGITS = {"ce": "softmax", "bce_logits": "sigmoid"}
_CLASSIFYING = ("ce", "nll", "bce", "bce_logits", "hinge", "ce_probs", "one_hot_mse", "one_hot_mae", "one_hot_huber")
_SHOWN, _LEAST_SIDE = 240, 8


def watched_payload(
    folder: Path,
    *,
    redact: bool = False,
    held: HeldRows | None = None,
    diagnosis: dict[str, Any] | None = None,
    served: bool = False,
    room_bytes: int = MOST_BYTES,
) -> tuple[dict[str, Any], list[str]]:
    """Return what the inspector shows of a watched run, as JSON values, and sentences on what is left out.

    Args:
        folder: Of the run, with its recording.
        redact: Whether no row may be shown.
        held: Rows that were held out; default those kept beside the run.
        diagnosis: What `Diagnosis.to_dict` says of the training; None where it was not diagnosed.
        served: Whether `neuronwise ui` shows it, which can be asked for weights.
        room_bytes: What it may take.

    Raises:
        NotFoundError: Nothing is recorded yet.
        FormatError: The recording cannot be read.
    """
    run = WatchedRun.load(folder)
    history = read_recording(folder / "recording")
    events = read_events(history.folder, [])
    described = _describe(run, history, events)
    said: list[str] = []
    network, why = _network_of(history)
    if network is not None:
        try:
            payload = _as_network(
                folder, history, network, events, described, redact, held, diagnosis, served, room_bytes
            )
        except ValueError as error:  # too large for a page
            why = str(error)
        else:
            said += payload["notes"]
            return payload, said
    graph = next((event for event in events if event.get("kind") == "graph"), None)
    payload = build_module_payload(
        history, run=described, why=why, graph=graph, diagnosis=diagnosis, room_bytes=room_bytes
    )
    said += payload["notes"]
    return payload, said


def keep_watched_inspector(
    folder: Path,
    *,
    held: HeldRows | None = None,
    redact: bool = False,
    diagnosis: dict[str, Any] | None = None,
    told: Callable[[str], None] = lambda message: None,
) -> Path | None:
    """Write the inspector of a watched run that has just ended into its folder; nothing that goes wrong is raised.

    Rows that it shows are kept beside it, so that it can be made again.

    Args:
        folder: Of the run.
        held: Rows that were held out.
        redact: Whether no row may be shown.
        diagnosis: What `Diagnosis.to_dict` says of the training; None where it was not diagnosed.
        told: Hears why there is none.

    Returns:
        The file; None if it could not be made.
    """
    path = folder / INSPECTOR
    try:
        for stale in (path, folder / ROWS):
            stale.unlink(missing_ok=True)
        room = MOST_BYTES - PAGE_BYTES
        payload, said = watched_payload(folder, redact=redact, held=held, diagnosis=diagnosis, room_bytes=room)
        if payload["examples"] is not None and held is not None:
            keep_rows(folder, rows_in(payload))
        write_atomically(path, as_page(payload, said))
    except Exception as error:  # noqa: BLE001 - the training is over and recorded; nothing here may end it
        told(f"the inspector could not be made: {type(error).__name__}: {error!s:.300}")
        return None
    return path


def _network_of(history: RecordedHistory) -> tuple[Network | None, str]:
    """Return the network after the last stored step; or None, and why there is none."""
    steps = _steps(history)
    watched = history.description.get("watched")
    why = str(watched.get("why_no_network") or "") if isinstance(watched, dict) else ""
    why = why.removeprefix("argument module: ")
    if history.module_network is None or not len(steps):
        return None, why or "no state of it is stored"
    try:
        return Recording(history).at(int(steps[-1])), ""
    except NeuronwiseError as error:
        return None, error.message


def _steps(history: RecordedHistory) -> NDArray[np.int64]:
    """Return the stored steps at which the model is the network that is described."""
    changed = history.network_changed_at
    return history.steps if changed is None else history.steps[history.steps < changed]


def _as_network(
    folder: Path,
    history: RecordedHistory,
    network: Network,
    events: Iterable[dict[str, Any]],
    described: dict[str, Any],
    redact: bool,
    held: HeldRows | None,
    diagnosis: dict[str, Any] | None,
    served: bool,
    room_bytes: int,
) -> dict[str, Any]:
    data = _last_of(events, "data")
    kinds = [str(kind) for kind in data.get("loss_kinds") or ()]
    inputs = data.get("inputs")
    notes: list[str] = []
    network, shown_as = _with_shares(network, kinds)
    notes += shown_as
    target = _target(network, kinds)
    recording = Recording(history)

    def read(step: int) -> State:
        found = recording.at(step)
        return found.parameters, found.buffers

    assert history.module_network is not None
    names = {layer: next(iter(own.values()))[0] for layer, own in history.module_network.arrays.items() if own}
    kept = None if redact or held is not None else find_rows(folder, int(np.prod(network.input_shape)))
    examples, learned = held_examples(network, held, target) if held is not None and not redact else (None, None)
    if examples is None and not redact and kept is None and (probe := _probe(history, network)) is not None:
        examples = ShownExamples(probe, np.zeros(len(probe)), np.arange(len(probe)), "probe", len(probe))
        target = None  # what is right for them is not known, and must not seem so
    meaning = Meaning.of(network, None, target)
    payload = build_payload(
        network,
        meaning,
        run=described,
        history=history,
        delivered=int(_steps(history)[-1]),
        examples=examples,
        learned=learned,
        kept_rows=kept,
        redacted=redact,
        diagnosis=diagnosis,
        layer_names=names,
        read=read,
        shown_inputs=_shown_inputs(network, inputs if isinstance(inputs, dict) else {}, notes),
        asks_for_weights=served,
        room_bytes=room_bytes,
    )
    if payload["examples"] is None and not redact:
        notes.append(
            "There are no examples: watch(…, loss=…, validation=(inputs, targets)) shows some that are held out. An "
            "input of your own can be made."
        )
    payload["notes"] = [*notes, *payload["notes"]]
    return payload


def _with_shares(network: Network, kinds: list[str]) -> tuple[Network, list[str]]:
    """Return the network with what the loss makes of its logits as the last function; and a sentence on that."""
    last = network.layers[-1]
    shares = next((_OF_LOGITS[kind] for kind in kinds if kind in _OF_LOGITS), None)
    is_open = last.activation is not None and last.activation.name == "identity" and len(last.output_shape) == 1
    if shares is None or not is_open:
        return network, []
    last.activation = get_activation(shares)
    return network, [f"The model returns logits; shown is the {shares} of them, as the loss takes it."]


def _target(network: Network, kinds: list[str]) -> TargetSpec | None:
    """Return what the outputs mean as far as the loss tells; None where it does not."""
    if any(kind in _CLASSIFYING for kind in kinds):
        if network.output_size == 1:
            return _spec("binary", ("0", "1"))
        if "ce" in kinds or "nll" in kinds or any(kind.startswith("one_hot") for kind in kinds):
            return _spec("multiclass", tuple(str(k) for k in range(network.output_size)))
        return None
    if kinds and network.output_size == 1:
        return _spec("regression", ())
    return None


def _spec(task: Literal["regression", "binary", "multiclass"], classes: tuple[str, ...]) -> TargetSpec:
    return TargetSpec(
        name="target", task=task, classes=classes, class_counts=(), log=False, mean=0.0, scale=1.0, minimum=np.nan,
        maximum=np.nan, median=np.nan, reason="", n_rows=0, n_missing=0, odd=(),
    )  # fmt: skip


def _shown_inputs(network: Network, inputs: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return how inputs are shown where the network does not say: as pictures, and from which to which value."""
    shape = network.input_shape
    low, high = inputs.get("min"), inputs.get("max")
    is_known = isinstance(low, int | float) and isinstance(high, int | float) and high > low
    ends = {"low": float(low), "high": float(high)} if is_known else {}  # type: ignore[arg-type]
    if len(shape) == 3 and shape[0] in (1, 3):  # channels first
        size = [shape[1], shape[2]] if shape[0] == 1 else [shape[1], shape[2], shape[0]]
        return {"kind": "picture", "shape": size, "maximum": 1.0, "planes": shape[0] > 1} | ends
    side = round(shape[0] ** 0.5) if len(shape) == 1 else 0
    if side >= _LEAST_SIDE and side * side == shape[0] and is_known and float(low) >= 0:  # type: ignore[arg-type]
        notes.append(f"The {shape[0]:,} inputs are shown as a picture of {side} × {side}.")
        return {"kind": "picture", "shape": [side, side], "maximum": 1.0} | ends
    return {}


def held_examples(
    network: Network, held: HeldRows, target: TargetSpec | None
) -> tuple[ShownExamples | None, NDArray[np.float32] | None]:
    """Return held-out rows as the page shows them, drawn evenly; None where they do not fit the network."""
    size = int(np.prod(network.input_shape))
    if not len(held.X) or held.X[0].size != size or len(held.X) != len(held.y):
        return None, None
    X = held.X.reshape(-1, *network.input_shape)
    chosen = np.arange(len(X))
    if len(X) > _SHOWN:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, _SHOWN, replace=False))
    y = held.y[chosen]
    if target is not None and target.task == "multiclass" and y.ndim == 2 and y.shape[1] > 1:
        y = y.argmax(axis=1)  # shares of classes, or one of them as a row of 0 and 1
    return ShownExamples(X[chosen], y, held.rows[chosen], "validation", held.of), X


def _probe(history: RecordedHistory, network: Network) -> NDArray[np.float32] | None:
    try:
        probe = history.probe
    except NeuronwiseError:
        return None
    if probe is None or not len(probe) or probe[0].size != int(np.prod(network.input_shape)):
        return None
    return np.asarray(probe, np.float32).reshape(-1, *network.input_shape)


def _describe(run: WatchedRun, history: RecordedHistory, events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what is said of the run in the page: nothing of this machine, no path."""
    last: dict[str, float] = {}
    for _, metrics in history.metrics:
        last |= {name: value for name, value in metrics.items() if np.isfinite(value) and "/" not in name}
    metrics = {"val_loss": last["val_loss"]} if "val_loss" in last else {}
    return {
        "id": run.id,
        "name": run.name or run.id[:8],
        "task": None,
        "target": None,
        "status": run.status,
        "steps": history.last_step,
        "all_steps": history.last_step,
        "metrics": metrics,
        "watched": run.model[:200],
    }


def _last_of(events: Iterable[dict[str, Any]], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for event in events:
        if event.get("kind") == kind:
            found = event
    return found
