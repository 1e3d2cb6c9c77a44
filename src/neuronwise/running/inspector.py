"""The inspector of a run: what it shows, found; the page, written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, UsageError
from neuronwise.files import format_bytes, write_atomically
from neuronwise.inspecting import MOST_BYTES, ShownExamples, build_payload, page
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.run import Run
from neuronwise.running.subject import Subject

_SHOWN, _LEARNED = 240, 2_000
# Bytes of a page beside its data: script and style.
_PAGE_BYTES = 400_000


def inspector_page(
    run: str | Path | Run, data: Any = None, *, redact: bool = False, most_bytes: int = MOST_BYTES
) -> tuple[str, list[str]]:
    """Return the inspector of a run as one HTML page that loads nothing, and sentences on what it leaves out.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        data: What it learned from, where the run cannot find it by itself.
        redact: Whether no row of the data goes into the page.
        most_bytes: The largest page.

    Raises:
        NotFoundError: There is no such run.
        UsageError: The network is too large for one page.
    """
    subject = Subject(run, data)
    said: list[str] = []
    examples: ShownExamples | None = None
    learned: NDArray[Any] | None = None
    if not redact:
        try:
            examples, learned = _rows(subject)
        except NeuronwiseError as error:
            said.append(f"The page shows no examples: {error.message}")
    text = _page(subject, examples, learned, redact, said, most_bytes)
    return text, said


def write_inspector(
    run: str | Path | Run, file: str | Path, data: Any = None, *, redact: bool = False, most_bytes: int = MOST_BYTES
) -> list[str]:
    """Write the page of `inspector_page` into a file, and return its sentences.

    Raises:
        NotFoundError: There is no such run.
        UsageError: The network is too large for one page.
        OSError: The file cannot be written.
    """
    text, said = inspector_page(run, data, redact=redact, most_bytes=most_bytes)
    write_atomically(file, text)
    return said


def _rows(subject: Subject) -> tuple[ShownExamples, NDArray[Any]]:
    """Return held-out rows to show, drawn evenly, and training rows of which only what they have in common is kept."""
    data = subject.prepared
    found = subject.examples(most=_SHOWN)
    of = {"train": data.train, "validation": data.validation, "test": data.test}[found.part]
    learned = data.train[:: max(1, len(data.train) // _LEARNED)]
    return (
        ShownExamples(found.X, found.y, np.asarray(found.rows, np.int64), found.part, len(of)),
        np.asarray(data.X[learned], np.float32),
    )


def _page(
    subject: Subject,
    examples: ShownExamples | None,
    learned: NDArray[Any] | None,
    redact: bool,
    said: list[str],
    most_bytes: int,
) -> str:
    try:
        history = subject.recording.stored
    except (FormatError, NotFoundError) as error:
        history = None
        said.append(f"The page shows the network as it was delivered, without its past: {error.message}")
    described = _describe(subject.folder, subject.fitted)
    delivered = history.delivered_step if history is not None else None
    try:
        payload = build_payload(
            subject.network,
            subject.meaning,
            run=described,
            history=history,
            delivered=delivered if delivered is not None else int(described.get("steps") or 0),
            examples=examples,
            learned=learned,
            redacted=redact,
            room_bytes=most_bytes - _PAGE_BYTES,
        )
    except ValueError as error:
        raise UsageError(
            f"the network is too large for one page of {format_bytes(most_bytes)}: {error}",
            where=str(subject.folder),
            hint=f"neuronwise ui {subject.folder} shows it",
        ) from None
    said += payload["notes"]
    payload["notes"] = list(dict.fromkeys([*said]))
    shown = payload["examples"]
    if shown is not None:
        said.append(
            f"{len(shown['rows']):,} rows of the data ({shown['part']}, {format_bytes(shown['bytes'])}) are in the "
            "page; redacting leaves them out."
        )
    return page(payload, title=f"{described['name']}: inspector")


def _describe(folder: Path, fitted: FittedNetwork) -> dict[str, Any]:
    """Return what is said of the run in the page: nothing of this machine, no path."""
    entry: dict[str, Any] = {"id": "", "name": folder.name, "task": fitted.target.task, "target": fitted.target.name}
    try:
        run = Run.load(folder)
    except (FormatError, NotFoundError):
        return entry
    metrics = {key: float(value) for key, value in run.metrics.items() if np.isfinite(value)}
    return entry | {
        "id": run.id,
        "name": run.name or run.id[:8],
        "status": run.status,
        "steps": run.best_step or run.steps,
        "all_steps": run.steps,
        "metrics": metrics,
        "rows": {key: run.data.get(f"{key}_rows") for key in ("train", "validation", "test")},
        "loss": run.settings.get("loss") if isinstance(run.settings.get("loss"), str) else None,
    }
