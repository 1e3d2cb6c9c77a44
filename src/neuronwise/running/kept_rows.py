"""Rows that the inspector of a run shows, kept beside the run where they cannot be found again later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.files import write_atomically
from neuronwise.network import read_json

FILE = "inspector_rows.json"
_FORMAT, _VERSION = "neuronwise-inspector-rows", 0


def keep_rows(folder: Path, rows: dict[str, Any]) -> None:
    """Write what `inspecting.rows_of` returned into a run's folder.

    Raises:
        OSError: It cannot be written.
    """
    content = {"format": _FORMAT, "version": _VERSION} | rows
    write_atomically(folder / FILE, json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n")


def rows_in(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the rows that a page's data shows, and what it says of training rows."""
    inputs = {key: payload["inputs"][key] for key in ("drawn", "familiar") if key in payload["inputs"]}
    return {"examples": payload["examples"], "mean_input": payload.get("mean_input"), "inputs": inputs}


def find_rows(folder: Path, input_count: int) -> dict[str, Any] | None:
    """Return the rows kept beside a run; None where there are none, or they do not fit the network.

    Args:
        folder: Of the run.
        input_count: Numbers of one input.
    """
    try:
        content = read_json(folder / FILE, "rows of the inspector")
    except (FormatError, NotFoundError):
        return None
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (_FORMAT, _VERSION):
        return None
    rows = {key: content.get(key) for key in ("examples", "mean_input", "inputs")}
    if not isinstance(rows["inputs"], dict) or not _fits(rows["examples"], input_count):
        return None
    mean = rows["mean_input"]
    return rows if mean is None or _shape(mean) == [input_count] else None


def _fits(examples: Any, input_count: int) -> bool:
    if examples is None:
        return True
    if not isinstance(examples, dict) or not isinstance(examples.get("rows"), list):
        return False
    count = len(examples["rows"])
    y = _shape(examples.get("y"))
    return _shape(examples.get("X")) == [count, input_count] and y is not None and y[:1] == [count]


def _shape(packed: Any) -> Any:
    return packed.get("shape") if isinstance(packed, dict) else None
