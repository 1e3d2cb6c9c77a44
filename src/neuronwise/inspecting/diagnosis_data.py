"""What a diagnosis found, as the front end needs it: texts of reasonable length, and the series measured."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from neuronwise.errors import NeuronwiseError
from neuronwise.inspecting.blobs import blob
from neuronwise.inspecting.history_data import Part, spread_evenly
from neuronwise.recording import RecordedHistory, Recording

_MOST_FINDINGS, _MOST_SENTENCES, _MOST_NAMES, _MOST_EVIDENCE = 40, 200, 60, 30
_MOST_TEXT, _MOST_SERIES, _MOST_POINTS = 2_000, 60, 400
_LISTS = {"findings": _MOST_FINDINGS, "symptoms": _MOST_FINDINGS, "remarks": _MOST_FINDINGS}
_SENTENCES = ("checked", "missing")


def diagnosis_part(found: Mapping[str, Any], history: RecordedHistory | None) -> Part:
    """Return a diagnosis as the page shows it, with each series that its evidence names, as far as that is stored.

    Args:
        found: What `Diagnosis.to_dict` returned, perhaps read from a file that is not trusted.
        history: What was recorded; None: no series is drawn.
    """
    content: dict[str, Any] = {key: _plain(value) for key, value in found.items() if not isinstance(value, list | dict)}
    notes = []
    for key, most in _LISTS.items():
        entries = [one for one in _items(found.get(key)) if isinstance(one, Mapping)]
        if len(entries) > most:
            notes.append(f"Of {len(entries):,} {key} of the diagnosis {most} are here.")
        content[key] = [_entry(one) for one in entries[:most]]
    for key in _SENTENCES:
        content[key] = [_plain(one) for one in _items(found.get(key))[:_MOST_SENTENCES]]
    names = [one["series"] for key in _LISTS for entry in content[key] for one in entry.get("evidence", [])]
    names = [name for name in dict.fromkeys(names) if isinstance(name, str) and name]
    told = found.get("series")
    known = _told(told, names) if isinstance(told, Mapping) else {}
    others = [name for name in names if name not in known][:_MOST_SERIES]
    content["series"] = known | (_series(others, history) if history is not None else {})
    return Part(content, notes)


def _entry(one: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for key, value in one.items():
        if key == "evidence":
            rows = [row for row in _items(value) if isinstance(row, Mapping)][:_MOST_EVIDENCE]
            entry[key] = [{"series": ""} | {name: _plain(cell) for name, cell in row.items()} for row in rows]
        elif isinstance(value, list):
            entry[key] = [_plain(name) for name in value[:_MOST_NAMES]]
            entry[f"{key}_count"] = len(value)
        elif isinstance(value, Mapping):
            entry[key] = {name: _plain(cell) for name, cell in value.items() if not isinstance(cell, list | dict)}
            if isinstance(line := entry[key].get("line"), str):
                entry[key]["line"] = _without_folders(line)
        else:
            entry[key] = _plain(value)
    return entry


def _without_folders(line: str) -> str:
    """Return a command with files by their names: a page that is e-mailed says nothing of the machine it is from."""
    if not line.startswith("neuronwise "):
        return line
    try:
        words = shlex.split(line)
    except ValueError:
        return re.sub(r"(?<![^\s'\"=])(?:[A-Za-z]:\\|/)[^'\"]*[/\\]", "", line)
    names = [PurePosixPath(word).name if PurePosixPath(word).is_absolute() else word for word in words]
    names = [PureWindowsPath(word).name if PureWindowsPath(word).is_absolute() else word for word in names]
    return line if names == words else shlex.join(names)


def _told(series: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the series that the diagnosis brings along, of those that are drawn."""
    found = {}
    for name in names[:_MOST_SERIES]:
        one = series.get(name)
        if not isinstance(one, Mapping):
            continue
        steps, values = _items(one.get("steps")), _items(one.get("values"))
        if not steps or len(steps) != len(values) or not all(type(step) is int for step in steps):
            continue
        found[name] = {
            "words": str(one.get("words") or "")[:_MOST_TEXT],
            "steps": steps[: 10 * _MOST_POINTS],
            "values": blob([_number(value) for value in values[: 10 * _MOST_POINTS]], "float64"),
            "of": one["of"] if type(one.get("of")) is int else len(steps),
        }
    return found


def _number(value: Any) -> float:
    """Return a number of JSON, in which one that is not finite is a text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _series(names: list[str], history: RecordedHistory) -> dict[str, Any]:
    recording, found = Recording(history), {}
    for name in names:
        try:
            course = recording.history(name)
        except NeuronwiseError:
            continue  # the view says that it is not stored
        if np.ndim(course.values) != 1 or not len(course.steps):
            continue
        steps, values = np.asarray(course.steps, np.int64), np.asarray(course.values, np.float64)
        places = spread_evenly(np.arange(len(steps)), _MOST_POINTS)
        # What is not finite must be seen, however it is thinned.
        odd = np.flatnonzero(~np.isfinite(values))[:1]
        places = np.union1d(places, odd)
        found[name] = {
            "steps": steps[places].tolist(),
            "values": blob(values[places], "float64"),
            "of": len(steps),
        }
    return found


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _plain(value: Any) -> Any:
    """Return a value that JSON can carry, texts cut."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)[:_MOST_TEXT]
