"""All that the front end shows of a run, as JSON that fits into a number of bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.explaining import Meaning
from neuronwise.inspecting.blobs import blob, blob_bytes
from neuronwise.inspecting.diagnosis_data import diagnosis_part
from neuronwise.inspecting.familiar import find_familiar
from neuronwise.inspecting.history_data import Part, State, losses_part, states_part
from neuronwise.inspecting.meaning_data import describe_inputs, describe_outputs, drawn_like
from neuronwise.inspecting.module_data import describe_modules
from neuronwise.inspecting.network_data import describe_network
from neuronwise.inspecting.statistics_data import histograms_part, statistics_part
from neuronwise.network import Network
from neuronwise.recording import RecordedHistory

FORMAT, VERSION = "neuronwise-inspector", 0
MOST_BYTES = 10_000_000
"""Largest page: what MLflow's viewer shows quickly."""
NO_WEIGHTS = "No weights are in the page"
"""How the sentence on weights that are left out begins."""
_STATISTICS_OF_MODULES = 0.5  # where they are all that is shown
# Shares of the page that examples, statistics and histograms may take; weights take what is left.
_EXAMPLES, _STATISTICS, _HISTOGRAMS = 0.12, 0.2, 0.05
_MOST_EXAMPLES = 240


@dataclass(frozen=True)
class ShownExamples:
    """Rows of the data that the page may show.

    Attributes:
        X: Encoded inputs, (rows, *input_shape).
        y: Class ids (rows,) or encoded targets (rows, outputs).
        rows: Their numbers in the data.
        part: ``"test"``, ``"validation"`` or ``"train"``.
        of: How many rows that part has.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    rows: NDArray[np.int64]
    part: str
    of: int


def build_payload(
    network: Network,
    meaning: Meaning,
    *,
    run: dict[str, Any],
    history: RecordedHistory | None = None,
    delivered: int = 0,
    examples: ShownExamples | None = None,
    learned: NDArray[Any] | None = None,
    kept_rows: dict[str, Any] | None = None,
    redacted: bool = False,
    diagnosis: dict[str, Any] | None = None,
    layer_names: Mapping[str, str] | None = None,
    read: Callable[[int], State] | None = None,
    shown_inputs: Mapping[str, Any] | None = None,
    asks_for_weights: bool = False,
    room_bytes: int = MOST_BYTES,
) -> dict[str, Any]:
    """Return what the front end shows, as JSON values that take at most about `room_bytes`.

    Args:
        network: As it was delivered.
        meaning: What its inputs and outputs mean.
        run: ``id``, ``name``, ``status`` and what else is said of the run: texts and numbers.
        history: What was recorded; None where nothing was.
        delivered: The step of `network`.
        examples: Rows that may be shown; None: none.
        learned: Some encoded training rows, of which only what they have in common goes into the page: how drawings
            look, which directions they vary in. None, or `redacted`: not that either.
        kept_rows: What `rows_of` returned when the rows were at hand, where they no longer are.
        redacted: Whether no row may be shown, which the page then says.
        diagnosis: What `Diagnosis.to_dict` says of the training; None where it was not diagnosed.
        layer_names: What the recording calls layers that it calls otherwise than the network does.
        read: Returns parameters and buffers of the network at a stored step; default as the recording has them.
        shown_inputs: How inputs are shown, where that is known better than from their shape.
        asks_for_weights: Whether the page can ask for weights that do not fit.
        room_bytes: What it may take.

    Raises:
        ValueError: The weights of one step do not fit.
    """
    inputs = describe_inputs(meaning) | dict(shown_inputs or {})
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "run": run,
        "network": describe_network(network, layer_names),
        "inputs": inputs,
        "outputs": describe_outputs(meaning),
        "redacted": redacted,
        "examples": None,
    }
    if not redacted:
        room = int(room_bytes * _EXAMPLES)
        place_rows(content, kept_rows if kept_rows is not None else rows_of(inputs, examples, learned, room))
    left = float(room_bytes) - _size(content)
    stored = history.steps if history is not None else np.empty(0, np.int64)
    if read is None and history is not None:
        read = _reads(history)
    notes, left = _add_history(content, history, diagnosis, room_bytes, left)
    own = (network.parameters, network.buffers)
    try:
        states = states_part(delivered, own, stored, read or (lambda step: own), int(left * 0.97))
    except ValueError:
        if not asks_for_weights:
            raise
        states = Part({"delivered": delivered, "states": []})
    content["weights"] = states.content
    content["notes"] = [*states.notes, *notes]
    return content


def build_module_payload(
    history: RecordedHistory,
    *,
    run: dict[str, Any],
    why: str,
    graph: Mapping[str, Any] | None = None,
    diagnosis: dict[str, Any] | None = None,
    room_bytes: int = MOST_BYTES,
) -> dict[str, Any]:
    """Return what the front end shows of a watched model that is no `Network`: its modules and what was measured.

    Args:
        history: What was recorded.
        run: As for `build_payload`.
        why: Why its answers cannot be computed in the page.
        graph: The event ``graph`` of the recording, which says what follows what; None where none was seen.
        diagnosis: As for `build_payload`.
        room_bytes: What it may take. Weights that do not fit are left out, which the page says.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "run": run,
        "network": describe_modules(history.layout, why, graph),
        "inputs": {"kind": "vector", "names": []},
        "outputs": {"names": [], "task": None, "target": None, "classes": [], "log": False, "mean": 0.0, "scale": 1.0},
        "redacted": False,
        "examples": None,
    }
    left = float(room_bytes) - _size(content)
    notes, left = _add_history(content, history, diagnosis, room_bytes, left, share=_STATISTICS_OF_MODULES)
    last = int(history.steps[-1]) if len(history.steps) else history.last_step
    content["weights"] = {"delivered": last, "states": []}
    count = history.layout.parameter_count + history.layout.buffer_count
    if len(history.steps) and blob_bytes(count, "float32") > left * 0.97:  # then not one is read
        notes.append(f"{NO_WEIGHTS}: {count:,} of them are too many.")
    elif len(history.steps):
        read = _reads(history)
        try:
            states = states_part(last, read(last), history.steps, read, int(left * 0.97))
        except (FormatError, NotFoundError) as error:
            notes.append(f"{NO_WEIGHTS}: {error.message}")
        else:
            content["weights"] = states.content
            notes = [*states.notes, *notes]
    else:
        notes.append("The recording holds no weights.")
    content["notes"] = notes
    return content


def _reads(history: RecordedHistory) -> Callable[[int], State]:
    return lambda step: (history.parameters(step), history.buffers(step))


def _add_history(
    content: dict[str, Any],
    history: RecordedHistory | None,
    diagnosis: dict[str, Any] | None,
    room_bytes: int,
    left: float,
    *,
    share: float = _STATISTICS,
) -> tuple[list[str], float]:
    """Add what was measured and found; return sentences on what is left out, and the bytes that are left."""
    parts: dict[str, Part] = {}
    if history is not None:
        parts = {
            "statistics": statistics_part(history, int(room_bytes * share)),
            "histograms": histograms_part(history, int(room_bytes * _HISTOGRAMS)),
            "training": losses_part(history),
        }
    content["diagnosis"] = None
    if diagnosis is not None:
        parts["diagnosis"] = diagnosis_part(diagnosis, history)
    for name, part in parts.items():
        content[name] = part.content
        left -= _size(part.content)
    return [note for part in parts.values() for note in part.notes], left


def rows_of(
    inputs: Mapping[str, Any], examples: ShownExamples | None, learned: NDArray[Any] | None, room_bytes: int
) -> dict[str, Any]:
    """Return rows of the data, and what training rows have in common, as JSON values for `place_rows`."""
    found: dict[str, Any] = {"examples": None, "mean_input": None, "inputs": {}}
    if learned is not None and len(learned):
        flat = np.asarray(learned, np.float32).reshape(len(learned), -1)
        if inputs["kind"] == "picture" and (len(inputs["shape"]) == 2 or inputs["shape"][2] == 1):
            found["inputs"] = {"drawn": drawn_like(flat.reshape(-1, *inputs["shape"][:2])), "familiar": _familiar(flat)}
        found["mean_input"] = blob(flat.mean(axis=0), "float32")
    if examples is not None and len(examples.y):
        found["examples"] = _examples(examples, inputs, room_bytes)
    return found


def place_rows(content: dict[str, Any], rows: Mapping[str, Any]) -> None:
    """Put what `rows_of` returned into a page's data."""
    content["examples"] = rows["examples"]
    content["inputs"] |= rows["inputs"]
    if rows["mean_input"] is not None:
        content["mean_input"] = rows["mean_input"]


def _size(content: Any) -> int:
    """Return about how many bytes JSON values take."""
    from neuronwise.inspecting.blobs import inert_json

    return len(inert_json(content).encode("utf-8"))


def _familiar(flat: NDArray[np.float32]) -> dict[str, Any] | None:
    found = find_familiar(flat)
    if found is None:
        return None
    return {
        "mean": blob(found.mean, "float32"),
        "directions": blob(found.directions, "float32"),
        "limit": found.limit,
    }


def _examples(examples: ShownExamples, inputs: Mapping[str, Any], room_bytes: int) -> dict[str, Any]:
    """Return as many of the rows as fit, with their targets; pixels that are whole numbers take a byte each."""
    flat = np.asarray(examples.X, np.float32).reshape(len(examples.X), -1)
    scale, dtype = 1.0, "float32"
    if inputs["kind"] == "picture":
        whole = np.round(flat * np.float32(inputs["maximum"]))
        exact = (whole / np.float32(inputs["maximum"])).astype(np.float32)
        if inputs["maximum"] <= 255 and whole.min() >= 0 and whole.max() <= 255 and np.array_equal(exact, flat):
            flat, scale, dtype = whole, float(inputs["maximum"]), "uint8"
    count = min(len(flat), _MOST_EXAMPLES, max(1, room_bytes // max(blob_bytes(flat.shape[1], dtype), 1)))
    return {
        "X": blob(flat[:count], dtype),
        "divided_by": scale,
        "y": blob(np.asarray(examples.y[:count], np.float64).reshape(count, -1), "float64"),
        "rows": examples.rows[:count].tolist(),
        "part": examples.part,
        "of": examples.of,
        "bytes": int(flat[:count].astype(dtype).nbytes),
    }
