"""All that the front end shows of a run, as JSON that fits into a number of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining import Meaning
from neuronwise.inspecting.blobs import blob, blob_bytes
from neuronwise.inspecting.diagnosis_data import diagnosis_part
from neuronwise.inspecting.familiar import find_familiar
from neuronwise.inspecting.history_data import histograms_part, losses_part, states_part, statistics_part
from neuronwise.inspecting.meaning_data import describe_inputs, describe_outputs, drawn_like
from neuronwise.inspecting.network_data import describe_network
from neuronwise.network import Network
from neuronwise.recording import RecordedHistory

FORMAT, VERSION = "neuronwise-inspector", 0
MOST_BYTES = 10_000_000
"""Largest page: what MLflow's viewer shows quickly."""
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
    redacted: bool = False,
    diagnosis: dict[str, Any] | None = None,
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
        redacted: Whether no row may be shown, which the page then says.
        diagnosis: What `Diagnosis.to_dict` says of the training; None where it was not diagnosed.
        room_bytes: What it may take.

    Raises:
        ValueError: The weights of one step do not fit.
    """
    notes: list[str] = []
    inputs, left = describe_inputs(meaning), float(room_bytes)
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "run": run,
        "network": describe_network(network),
        "inputs": inputs,
        "outputs": describe_outputs(meaning),
        "redacted": redacted,
    }
    if learned is not None and not redacted and len(learned):
        flat = np.asarray(learned, np.float32).reshape(len(learned), -1)
        if inputs["kind"] == "picture" and (len(inputs["shape"]) == 2 or inputs["shape"][2] == 1):
            inputs["drawn"] = drawn_like(flat.reshape(-1, *inputs["shape"][:2]))
            inputs["familiar"] = _familiar(flat)
        content["mean_input"] = blob(flat.mean(axis=0), "float32")
    content["examples"] = None
    if examples is not None and not redacted and len(examples.y):
        content["examples"] = _examples(examples, inputs, int(room_bytes * _EXAMPLES))
        left -= _size(content["examples"])
    if history is not None:
        statistics = statistics_part(history, int(room_bytes * _STATISTICS))
        histograms = histograms_part(history, int(room_bytes * _HISTOGRAMS))
        losses = losses_part(history)
        content |= {"statistics": statistics.content, "histograms": histograms.content, "training": losses.content}
        for part in (statistics, histograms, losses):
            notes += part.notes
            left -= _size(part.content)
    content["diagnosis"] = None
    if diagnosis is not None:
        found = diagnosis_part(diagnosis, history)
        content["diagnosis"] = found.content
        notes += found.notes
        left -= _size(found.content)
    left -= _size([content["network"], inputs, content["outputs"], run, content.get("mean_input")])
    states = states_part(network, history, delivered, int(left * 0.97))
    content["weights"] = states.content
    content["notes"] = [*states.notes, *notes]
    return content


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


def _examples(examples: ShownExamples, inputs: dict[str, Any], room_bytes: int) -> dict[str, Any]:
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
