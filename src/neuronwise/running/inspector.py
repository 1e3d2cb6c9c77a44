"""The inspector of a run: what it shows, found; the page, written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, UsageError
from neuronwise.explaining.meaning import Meaning
from neuronwise.files import write_atomically
from neuronwise.inspecting import MOST_BYTES, ShownExamples, build_payload
from neuronwise.recording import RecordedHistory
from neuronwise.running.findings import kept_diagnosis
from neuronwise.running.fitted import FittedNetwork
from neuronwise.running.inspector_page import PAGE_BYTES, as_page
from neuronwise.running.kept_rows import FILE as ROWS
from neuronwise.running.kept_rows import find_rows, keep_rows, rows_in
from neuronwise.running.prepare import Prepared
from neuronwise.running.run import Run
from neuronwise.running.shown_files import INSPECTOR

_SHOWN, _LEARNED = 240, 2_000


def inspector_page(
    run: str | Path | Run,
    data: Any = None,
    *,
    redact: bool = False,
    diagnosis: dict[str, Any] | None = None,
    most_bytes: int = MOST_BYTES,
) -> tuple[str, list[str]]:
    """Return the inspector of a run as one HTML page that loads nothing, and sentences on what it leaves out.

    Args:
        run: Run id, its beginning, name, ``"latest"`` or folder; or a `Run`.
        data: What it learned from, where the run cannot find it by itself.
        redact: Whether no row of the data goes into the page.
        diagnosis: What `Diagnosis.to_dict` says of the training; default what stands in the run's folder.
        most_bytes: The largest page.

    Raises:
        NotFoundError: There is no such run.
        UsageError: The network is too large for one page.
    """
    payload, said = inspector_payload(run, data, redact=redact, diagnosis=diagnosis, room_bytes=most_bytes - PAGE_BYTES)
    return as_page(payload, said), said


def inspector_payload(
    run: str | Path | Run,
    data: Any = None,
    *,
    redact: bool = False,
    diagnosis: dict[str, Any] | None = None,
    served: bool = False,
    room_bytes: int = MOST_BYTES,
) -> tuple[dict[str, Any], list[str]]:
    """Return what the inspector shows of a run, as JSON values, and sentences on what is left out.

    Args:
        run: As for `inspector_page`.
        data: As for `inspector_page`.
        redact: As for `inspector_page`.
        diagnosis: As for `inspector_page`.
        served: Whether `neuronwise ui` shows it, which can be asked for weights; rows that are kept beside the run are
            then taken, where there are any, without reading the data.
        room_bytes: What it may take.

    Raises:
        NotFoundError: There is no such run.
        UsageError: The network is too large.
    """
    from neuronwise.running.subject import Subject  # which stands on the training, as the training on this module

    if not isinstance(run, Run) and (begun := unfinished_folder(run)) is not None:
        return _unfinished_payload(begun, data, redact, diagnosis, served, room_bytes)
    if not isinstance(run, Run) and (watched := watched_folder(run)) is not None:
        from neuronwise.running.watched_inspector import watched_payload

        known = diagnosis if diagnosis is not None else kept_diagnosis(watched)
        return watched_payload(watched, redact=redact, diagnosis=known, served=served, room_bytes=room_bytes)
    subject = Subject(run, data)
    said: list[str] = []
    prepared: Prepared | None = None
    is_kept = (subject.folder / ROWS).is_file()
    if not redact and not (served and is_kept):
        try:
            prepared = subject.prepared
        except NeuronwiseError as error:
            if not is_kept:
                said.append(f"The page shows no examples: {error.message}")
    history: RecordedHistory | None = None
    try:
        history = subject.recording.stored
    except (FormatError, NotFoundError) as error:
        said.append(f"The page shows the network as it was delivered, without its past: {error.message}")
    payload = _payload(
        subject.folder, subject.fitted, history, prepared, redact, diagnosis, said, room_bytes, served=served
    )
    return payload, said


def watched_folder(run: str | Path) -> Path | None:
    """Return the folder of the watched run that `run` names, fetched if it is not here; None if it names none."""
    from neuronwise.running.locating import find_any, folder_with_recording
    from neuronwise.running.watched_run import WatchedRun

    try:
        found = find_any(run)
    except NotFoundError:  # what is wrong is said where it is looked for again
        return None
    return folder_with_recording(found.folder) if isinstance(found, WatchedRun) else None


def unfinished_folder(run: str | Path) -> Path | None:
    """Return the folder of a local run that still learns, or whose process was killed; None if `run` names none."""
    from neuronwise.running.checkpointing import find_begun
    from neuronwise.running.find import find_local

    if find_local(str(run)) is not None:
        return None
    folder = find_begun(str(run))
    return folder if folder is not None and not (folder / "run.json").is_file() else None


def _unfinished_payload(
    folder: Path, data: Any, redact: bool, diagnosis: dict[str, Any] | None, served: bool, room_bytes: int
) -> tuple[dict[str, Any], list[str]]:
    """Return what is there so far of a training that has not ended: the network is that of the last state stored."""
    from neuronwise.running.checkpointing import SavedTraining
    from neuronwise.running.opening import open_recording
    from neuronwise.running.reporter import Reporter
    from neuronwise.running.resuming import prepare_again

    saved, recording, said = SavedTraining.load(folder), open_recording(folder, data), list[str]()
    model = saved.model()
    fitted = FittedNetwork(recording.network, model.encoder, model.target, model.kind)
    prepared: Prepared | None = None
    if not redact:
        try:
            prepared = prepare_again(saved, data, Reporter())
        except NeuronwiseError as error:
            said.append(f"The page shows no examples: {error.message}")
    payload = _payload(folder, fitted, recording.stored, prepared, redact, diagnosis, said, room_bytes, served=served)
    payload["run"] |= {"id": saved.run_id, "name": saved.run_name or saved.run_id[:8], "status": "unfinished"}
    return payload, said


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


def keep_inspector(
    run: Run,
    data: Prepared,
    *,
    redact: bool = False,
    diagnosis: dict[str, Any] | None = None,
    told: Callable[[str], None] = lambda message: None,
) -> Path | None:
    """Write the inspector of a run that has just ended into its folder; nothing that goes wrong is raised.

    Args:
        run: The run, saved and evaluated.
        data: What it learned from.
        redact: Whether no row of the data may be shown.
        diagnosis: What `Diagnosis.to_dict` says of the training; None where it was not diagnosed.
        told: Hears why there is none.

    Returns:
        The file; None if it could not be made.
    """
    path = run.folder / INSPECTOR
    said: list[str] = []
    try:
        for stale in (path, run.folder / ROWS):  # of a training that went on
            stale.unlink(missing_ok=True)
        history = run.history_on_disk
        shown = None if redact else data
        payload = _payload(run.folder, run.model, history, shown, redact, diagnosis, said, MOST_BYTES - PAGE_BYTES)
        if shown is not None:  # so that it can be shown again without the data, and at once
            keep_rows(run.folder, rows_in(payload))
        write_atomically(path, as_page(payload, said))
    except Exception as error:  # noqa: BLE001 - the training is over and kept; nothing here may end it
        told(f"the inspector could not be made: {type(error).__name__}: {error!s:.300}")
        return None
    return path


def _rows(data: Prepared, network_shape: tuple[int, ...]) -> tuple[ShownExamples, NDArray[Any]]:
    """Return held-out rows to show, drawn evenly, and training rows of which only what they have in common is kept."""
    parts = {"test": data.test, "validation": data.validation, "train": data.train}
    part = next((name for name, rows in parts.items() if len(rows)), "train")
    rows = parts[part]
    chosen = rows if len(rows) <= _SHOWN else np.sort(np.random.default_rng(0).choice(rows, _SHOWN, replace=False))
    learned = data.train[:: max(1, len(data.train) // _LEARNED)]
    source = data.source_rows[chosen] if len(data.source_rows) else chosen
    X = np.asarray(data.X[chosen], np.float32).reshape(-1, *network_shape)
    shown = ShownExamples(X, data.y[chosen], np.asarray(source, np.int64), part, len(rows))
    return shown, np.asarray(data.X[learned], np.float32)


def _payload(
    folder: Path,
    fitted: FittedNetwork,
    history: RecordedHistory | None,
    data: Prepared | None,
    redact: bool,
    diagnosis: dict[str, Any] | None,
    said: list[str],
    room_bytes: int,
    *,
    served: bool = False,
) -> dict[str, Any]:
    network = fitted.network
    examples, learned = _rows(data, network.input_shape) if data is not None else (None, None)
    described = _describe(folder, fitted)
    delivered = history.delivered_step if history is not None else None
    try:
        payload = build_payload(
            network,
            Meaning.of(network, fitted.encoder, fitted.target),
            run=described,
            history=history,
            delivered=delivered if delivered is not None else _last_step(described, history),
            examples=examples,
            learned=learned,
            kept_rows=find_rows(folder, int(np.prod(network.input_shape))) if data is None and not redact else None,
            redacted=redact,
            diagnosis=diagnosis if diagnosis is not None else kept_diagnosis(folder),
            asks_for_weights=served,
            room_bytes=room_bytes,
        )
    except ValueError as error:
        raise UsageError(
            f"the network is too large for one page: {error}",
            where=str(folder),
            hint=f"neuronwise ui {folder} shows it",
        ) from None
    said += payload["notes"]
    return payload


def _last_step(described: dict[str, Any], history: RecordedHistory | None) -> int:
    if "steps" not in described and history is not None and len(history.steps):
        return int(history.steps[-1])  # of a training that has not ended
    return int(described.get("steps") or 0)


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
