"""What the diagnosis of a run found, as it is told at the end and kept beside it. Light: every command needs it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.network import read_json
from neuronwise.running.printable import printable
from neuronwise.running.shown_files import DIAGNOSIS, DIAGNOSIS_PAGE

FINDINGS_TAG = "neuronwise.findings"
"""Tag of a run in MLflow: the causes that were found, joined by commas, or ``"none"``."""
_MOST_LAYERS = 3
_MARKS = re.compile(r"([\\`*{}\[\]<>#|~&])")


def kept_diagnosis(folder: Path) -> dict[str, Any] | None:
    """Return what `Diagnosis.to_dict` said when a run ended; None where it was not diagnosed, or that cannot be read.

    Args:
        folder: Of the run.
    """
    try:
        content = read_json(folder / DIAGNOSIS, "diagnosis")
    except (FormatError, NotFoundError):
        return None
    if not isinstance(content, dict) or content.get("format") != "neuronwise-diagnosis":
        return None
    found = content.get("findings")
    return content if isinstance(found, list) and all(isinstance(one, dict) for one in found) else None


def forget_diagnosis(folder: Path) -> None:
    """Delete the diagnosis of a training that has gone on since.

    Raises:
        OSError: It cannot be deleted.
    """
    for name in (DIAGNOSIS, DIAGNOSIS_PAGE):
        (folder / name).unlink(missing_ok=True)


def findings_tags(content: dict[str, Any] | None) -> dict[str, Any]:
    """Return the tag that names the findings; none where there was no diagnosis."""
    if content is None:
        return {}
    return {FINDINGS_TAG: ",".join(str(one.get("cause")) for one in content["findings"]) or "none"}


def in_a_word(one: dict[str, Any]) -> str:
    """Return a finding in a line: ``"The learning rate is too high (lr_too_high, 93 %): hidden1, since step 12"``."""
    said = f"{one.get('title')} ({one.get('cause')}, {_percent(one.get('confidence'))})"
    layers, first = one.get("layers"), one.get("first_step")
    where = [str(name) for name in layers] if isinstance(layers, list) else []
    more = f" and {len(where) - _MOST_LAYERS} more" if len(where) > _MOST_LAYERS else ""
    places = [f"in {', '.join(where[:_MOST_LAYERS])}{more}"] if where else []
    places += [f"since step {first:,}"] if isinstance(first, int) else []
    return said + (f": {', '.join(places)}" if places else "")


def told(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the findings, each with the line to type; of none how much was looked at."""
    found = [(in_a_word(one), _line(one.get("treatment"))) for one in content["findings"]]
    return found or [(nothing_found(content), "")]


def described(content: dict[str, Any] | None) -> list[str]:
    """Return what the description of a run in MLflow says of it, in Markdown: a paragraph, or none."""
    if content is None:
        return []
    place = f"`neuronwise/{DIAGNOSIS_PAGE}` under *Artifacts*"
    if not content["findings"]:
        return [f"Diagnosis: {nothing_found(content)}, {place}."]
    return [f"**Diagnosis**: {'; '.join(_inert(in_a_word(one)) for one in content['findings'])}. {place}."]


def _inert(words: str) -> str:
    """Return words in which Markdown finds no mark: names of layers and columns are whatever somebody chose."""
    return _MARKS.sub(r"\\\1", words)


def closing_lines(content: dict[str, Any], run: str) -> list[str]:
    """Return what a terminal is told at the end of a training: each finding, what to try, and where it says why.

    Args:
        content: What `Diagnosis.to_dict` said.
        run: What names the run in a command.
    """
    lines = []
    for words, line in told(content):
        lines += [f"neuronwise: {words}", *([f"  try  {line}"] if line else [])]
    if content["findings"]:
        lines.append(f"  why  neuronwise diagnose {shlex.quote(run)}")
    return [printable(line, one_line=True) for line in lines]


def nothing_found(content: dict[str, Any]) -> str:
    """Return what is said where nothing was found."""
    looked = content.get("checked")
    count = len(looked) if isinstance(looked, list) else 0
    return f"nothing wrong found ({count} thing{'s' * (count != 1)} looked at)"


def _line(treatment: Any) -> str:
    return str(treatment.get("line") or "") if isinstance(treatment, dict) else ""


def _percent(value: Any) -> str:
    return f"{value:.0%}".replace("%", " %") if isinstance(value, (int, float)) else "?"
