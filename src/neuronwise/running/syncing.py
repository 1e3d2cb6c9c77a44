"""Completing runs in MLflow: what a training could not send is sent from what it kept on disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, TrackingError, UsageError
from neuronwise.recording import read_recording
from neuronwise.running.checkpointing import name_of, training_lock
from neuronwise.running.learning_task import metrics_to_send
from neuronwise.running.locating import find_here
from neuronwise.running.names import new_local_id
from neuronwise.running.run import Run, not_a_run, runs_folder
from neuronwise.running.tracked import is_own_description, link_inspector, model_step, send_kept, tags_of
from neuronwise.running.tracking_file import FILE, TrackingState, tracked_folders
from neuronwise.running.watched_points import recorded_points
from neuronwise.running.watched_run import is_watched, name_of_watched
from neuronwise.tracking import LOCAL_ID_TAG, StoredRun, Tracker, find_or_create, resolve_store, store_of, stored_run
from neuronwise.tracking.store import Store, check_reachable

_DESCRIPTION = "mlflow.note.content"
# Points that may wait in the tracker while a long history is handed over.
_POINTS_AT_ONCE = 100


@dataclass(frozen=True)
class Synced:
    """What became of one run.

    Attributes:
        id: Its local id.
        name: Its name.
        outcome: ``"sent"``: all that it keeps is in MLflow now; ``"skipped"``: left alone, which is no fault;
            ``"failed"``: not all of it could be sent, or none.
        message: What, in a sentence.
        hint: How to mend it, or None.
        store: Address of the store, or None.
        run_id: Id of the MLflow run, or None.
        points: Points of metrics that were sent.
        files: Files that were sent.
        size_bytes: Their bytes.
    """

    id: str
    name: str
    outcome: str
    message: str
    hint: str | None = None
    store: str | None = None
    run_id: str | None = None
    points: int = 0
    files: int = 0
    size_bytes: int = 0


def sync(
    runs: Sequence[str | Path] = (), *, anew: bool = False, begun: Callable[[str, str], None] | None = None
) -> Iterator[Synced]:
    """Send to MLflow what is missing there of runs on this machine, and yield what became of each.

    A run is made in MLflow if it has none; what is there already is not sent again, so that a second time does no
    harm. A run whose process was killed is marked as such; one that still learns is left alone.

    Args:
        runs: Each a run id, its beginning, a name, ``"latest"``, or a folder; default all that are not complete.
        anew: Make a new MLflow run in the store that is used now, where that of before is gone.
        begun: Called with name and id of each run before it is sent.

    Raises:
        NotFoundError: A run is named that is not on this machine; nothing was sent.
    """
    folders = [local_run(str(run)) for run in runs] if runs else list(_incomplete())
    return (_sync_one(folder, anew, begun) for folder in dict.fromkeys(folders))


def _incomplete() -> Iterator[Path]:
    for folder in tracked_folders():
        state = TrackingState.find(folder)
        if state is None or not state.is_complete:
            yield folder


def local_run(text: str) -> Path:
    """Return the folder of a run of this machine, whatever state it is in.

    Raises:
        NotFoundError: It is not here, or several fit.
    """
    folder, named = runs_folder(), os.path.expanduser(text)
    if os.path.isfile(os.path.join(named, FILE)):
        return Path(named)
    found = find_here(text)
    if found is None and len(text) >= 4:
        found = next((path for path in tracked_folders() if path.name.startswith(text)), None)
    if found is None:
        known = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        raise not_a_run(text, known)
    return found


def _untracked(folder: Path) -> str:
    if is_watched(folder):
        return "it was watched with tracking=False"
    return "it was trained with --no-track, or by an older version"


def name_of_run(folder: Path) -> str:
    """Return the name of a run of this machine, trained or watched; empty where it cannot be read."""
    return name_of_watched(folder) if is_watched(folder) else name_of(folder)


def _sync_one(folder: Path, anew: bool, begun: Callable[[str, str], None] | None) -> Synced:
    if not (folder / FILE).is_file():
        return Synced(folder.name, name_of_run(folder), "skipped", _untracked(folder))
    try:
        state = TrackingState.load(folder)
    except FormatError as error:
        return Synced(folder.name, name_of_run(folder), "failed", str(error))
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(training_lock(folder))
        except UsageError:
            return Synced(folder.name, state.name, "skipped", "it still learns, or another process sends it")
        if begun is not None:
            begun(state.name, folder.name)
        try:
            return _Sending(state, anew).send()
        except NeuronwiseError as error:
            return Synced(folder.name, state.name, "failed", error.message, error.hint, state.store, state.run_id)
        except OSError as error:
            problem = f"{error.filename or folder}: {error.strerror or error}"
            return Synced(folder.name, state.name, "failed", problem, None, state.store, state.run_id)


class _Sending:
    """Sends one run, whose folder nobody else writes to meanwhile.

    Args:
        state: Of the run; what is found out is written down at once.
        anew: Whether to forget the MLflow run of before.
    """

    def __init__(self, state: TrackingState, anew: bool) -> None:
        self._state, self._folder = state, state.folder
        if anew:
            # Another id of its own, or the tag would find the run that is to be forgotten.
            state.local_id = state.tags[LOCAL_ID_TAG] = new_local_id()
            state.run_id, state.owns_run, state.is_complete = None, True, False
            state.store = resolve_store().display_uri
            state.save()

    def send(self) -> Synced:
        """Send what is missing and return what became of it.

        Raises:
            NeuronwiseError: The store or the run cannot be used.
        """
        state = self._state
        run = Run.load(self._folder) if (self._folder / "run.json").is_file() else None
        store = store_of(state.store)
        try:
            check_reachable(store)
        except TrackingError as error:
            hint = f"start it and sync again; or send the run to the store that is used now: {self._command}"
            raise TrackingError(error.message, hint=hint) from None
        self._make_run(store)
        if run is not None:
            self._note_store(run, store)
        there = self._what_is_there(store)
        if state.status is None:  # its process was killed; the result, if any, is of before it went on
            state.tags |= {"neuronwise.status": "killed", "neuronwise.folder": str(self._folder)}
        elif "neuronwise.status" not in state.tags:  # ended by an error, before it was told what to say
            state.tags |= {"neuronwise.status": state.status.lower()} if run is None else tags_of(run, None)
        if (written := state.tags.get(_DESCRIPTION)) is not None:
            found = there.tags.get(_DESCRIPTION, written)
            said = written if is_own_description(found) else found  # what the user wrote there stays
            state.tags[_DESCRIPTION] = link_inspector(str(said), there.experiment_id, str(state.run_id))
        tracker = Tracker.start(store, rejoin=state.run_id, reopen=False, tags=state.tags)
        problems: list[str] = []
        if tracker.is_online and tracker.skip_stored():
            problems = self._hand_over(tracker, run, there)
        tracker.owns_run = state.owns_run and not tracker.has_lost  # one that is not complete has not ended
        tracker.finish(
            state.status or "KILLED",  # type: ignore[arg-type]
            timeout_s=60.0,
            ended_ms=self._ended_ms(),
        )
        state.is_complete = not tracker.has_lost
        state.save()
        return self._outcome(tracker, store, problems)

    def _make_run(self, store: Store) -> None:
        """Make the MLflow run if there is none, and write its id down at once."""
        state = self._state
        if state.run_id is None:
            state.run_id = find_or_create(
                store,
                state.local_id,
                experiment=state.experiment,
                name=state.name,
                tags=state.tags,
                started_ms=state.began_ms,
            )
            state.store = store.display_uri
            state.save()
        elif store.path is not None and not store.path.exists():
            raise TrackingError(f"the store {store.display_uri} that it was sent to is gone", hint=self._anew())

    def _what_is_there(self, store: Store) -> StoredRun:
        run_id = str(self._state.run_id)
        try:
            there = stored_run(store, run_id)
        except NotFoundError:
            raise TrackingError(
                f"its MLflow run {run_id} is no longer in {store.display_uri}", hint=self._anew()
            ) from None
        if there.is_deleted:
            raise TrackingError(
                f"its MLflow run {run_id} was deleted in {store.display_uri}",
                hint=f"restore it: mlflow runs restore --run-id {run_id} (with MLFLOW_TRACKING_URI set to the store); "
                f"or {self._anew()}",
            )
        return there

    @property
    def _command(self) -> str:
        return f"neuronwise sync {self._folder.name[:8]} --anew"

    def _anew(self) -> str:
        return f"make a new one in the store that is used now: {self._command}"

    def _note_store(self, run: Run, store: Store) -> None:
        """Say in run.json too where the run is, and leave its time, by which runs are put in order."""
        if run.tracking_uri == store.display_uri:
            return
        path = self._folder / "run.json"
        info = path.stat()
        run.tracking_uri = store.display_uri
        run.save()
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _hand_over(self, tracker: Tracker, run: Run | None, there: StoredRun) -> list[str]:
        state = self._state
        tracker.log_params(state.params)
        if state.data_set is not None and not there.has_data_set:
            tracker.log_input(state.data_set)
        points = self._watched() if is_watched(self._folder) else _epochs(self._folder, run)
        for count, (step, values, elapsed_s) in enumerate(points):
            tracker.log_metrics(values, step, time_ms=state.began_ms + int(1000 * elapsed_s))
            if count % _POINTS_AT_ONCE == _POINTS_AT_ONCE - 1:
                tracker.flush(60.0)  # all of a long history at once would be thinned
        is_here = (self._folder / "recording" / "recording.json").is_file()
        return send_kept(
            tracker,
            self._folder,
            run,
            state.columns,
            with_pictures=is_here,
            with_model=run is not None and model_step(run) not in there.model_steps,
        )

    def _watched(self) -> Iterator[tuple[int, dict[str, float], float]]:
        """Return likewise what goes to MLflow of a watched training."""
        duration_s = ((self._ended_ms() or 0) - self._state.began_ms) / 1000
        return recorded_points(self._folder, max(0.0, duration_s))

    def _ended_ms(self) -> int | None:
        """Return when the training wrote last, so that a run that is completed later has the duration it had."""
        times = [
            path.stat().st_mtime_ns // 1_000_000
            for path in (self._folder / "run.json", self._folder / "recording" / "events.jsonl")
            if path.is_file()
        ]
        return max(times, default=None)

    def _outcome(self, tracker: Tracker, store: Store, problems: list[str]) -> Synced:
        state = self._state
        points, files, size_bytes = tracker.sent
        lacking = [*tracker.not_logged, *problems]
        message = f"all of it is in MLflow, {store.display_uri}" + (f", but {'; '.join(lacking)}" if lacking else "")
        if tracker.has_lost:
            message = f"not all of it could be sent: {'; '.join(lacking)}"
        return Synced(
            self._folder.name,
            state.name,
            "failed" if tracker.has_lost else "sent",
            message,
            "try again when the store answers: what was sent stays" if tracker.has_lost else None,
            store.display_uri,
            state.run_id,
            points,
            files,
            size_bytes,
        )


def _epochs(folder: Path, run: Run | None) -> Iterable[tuple[int, dict[str, float], float]]:
    """Return step, metrics and seconds since the beginning of each epoch: recorded, else out of the run's history."""
    found: dict[int, tuple[dict[str, float], float]] = {}
    for row in run.history if run is not None else ():
        step, seconds = int(row["step"]), row.get("seconds", 0.0)
        values = {key: value for key, value in row.items() if key not in ("epoch", "step", "seconds")}
        found[step] = (_with_speed(values, step, seconds), seconds)
    try:
        recorded: list[dict[str, Any]] = read_recording(folder / "recording").epochs
    except (FormatError, NotFoundError):
        recorded = []
    for epoch in recorded:
        step, seconds = epoch["step"] or 0, epoch.get("elapsed_s", 0.0)
        found[step] = (_with_speed(metrics_to_send(epoch["metrics"], epoch["layers"]), step, seconds), seconds)
    return [(step, *found[step]) for step in sorted(found)]


def _with_speed(values: dict[str, float], step: int, seconds: float) -> dict[str, float]:
    return values | ({"steps_per_second": step / seconds} if seconds > 0 else {})
