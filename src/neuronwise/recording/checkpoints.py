"""from_checkpoints: the checkpoints that a training left, as a recording."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import NeuronwiseError, UsageError
from neuronwise.files import folder_mode, format_bytes, user_cache_folder
from neuronwise.network import Network
from neuronwise.recording.checkpoint_files import open_checkpoint
from neuronwise.recording.checkpoint_models import Model, Naming, model_of
from neuronwise.recording.checkpoint_steps import Given, Steps, file_of, find_checkpoints, find_steps, given_steps
from neuronwise.recording.description import VERSION, begin_attempt, describe_model, write_description
from neuronwise.recording.events import EventWriter
from neuronwise.recording.layout import Layout
from neuronwise.recording.reader import read_recording
from neuronwise.recording.recording import Recording
from neuronwise.recording.rows import MAX_ROW_BYTES, holds_values, stream_dtypes, write_checksums
from neuronwise.recording.segments import Sealer, SegmentWriter
from neuronwise.recording.statistics import Measured, Statistics

if TYPE_CHECKING:
    from torch import nn

_STREAMS = ("keyframes", "neurons", "layers")


def from_checkpoints(
    pattern: str | Path | Sequence[str | Path],
    model: nn.Module | Network,
    *,
    folder: str | Path | None = None,
    steps: Given = None,
    input_shape: int | Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Return the checkpoints that a training left as a recording: every weight and its statistics at each of them.

    Checkpoints are state dicts of PyTorch (.pt, .pth …, read with ``weights_only=True``), also inside a dict with
    other things, safetensors files, folders of `Network.save`, and what `learning.Checkpoint.save` writes. Nothing in
    them can run. Of gradients and activations nothing is known: their statistics are NaN, and no step between can be
    taken again. All values become float32, or float64 if any is: both hold those of half precision exactly.

    The checkpoints are copied once, one at a time, into a folder that takes their size on the disk. The same
    checkpoints are not copied again.

    Args:
        pattern: A pattern (``"checkpoints/*.pt"``), a folder, or a list of paths.
        model: The model that was trained, as it was made; its weights do not matter, and it is not changed. A
            `Network`, or a module of PyTorch: what `from_torch` can take becomes a `Network` at each step, of any other
            the arrays are known under the paths of its modules.
        folder: Where the recording is written, a new folder; default one in the cache.
        steps: The step of each checkpoint: numbers in the order of the files, or what returns one for a path. Default a
            whole number in the checkpoint called ``step``, ``global_step``, ``iteration`` or ``epoch``; else the last
            one in its name, or in that of its folder; else their order from 0. `Recording.notes` says which.
        input_shape: As for `from_torch`, where it cannot be read off the module: (channels, rows, columns).
        progress: Called after each file that was read with how many were, and how many there are (each is read twice).

    Raises:
        NotFoundError: There is no such file.
        UsageError: A checkpoint is of another model, two are of the same step, or `folder` holds something else.
        FormatError: A file is damaged, or would have to be unpickled.
        MissingExtraError: A file or the model is of PyTorch, which is not installed.
        OSError: The folder cannot be written; nothing is left behind.
    """
    files = find_checkpoints(pattern)
    given = given_steps(files, steps)
    known = model_of(model, input_shape)
    fingerprint = _fingerprint(files, given, known)
    own = user_cache_folder() / "checkpoints" / fingerprint[:32]
    place = own if folder is None else Path(folder).expanduser()
    if (found := _existing(place, fingerprint)) is not None:
        return found
    if folder is not None and (place.is_file() or (place.is_dir() and any(place.iterdir()))):
        raise UsageError(
            f"{str(place)!r} already holds something else",
            where="argument folder",
            hint="give a new folder, or none: the cache is used",
        )
    told = _Progress(progress, 2 * len(files))
    survey = _survey(files, given, known, told)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name[:60]}.", suffix=".tmp"))
    try:
        _write(temporary, survey, fingerprint, told)
        temporary.chmod(folder_mode())
        if place == own and place.exists() and _existing(place, fingerprint) is None:
            shutil.rmtree(place)  # a damaged one of ours
        with contextlib.suppress(OSError):
            os.rename(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    # Ours, or that of another process which was quicker and made the same.
    if (found := _existing(place, fingerprint)) is None:
        raise UsageError(f"{str(place)!r} could not be written: something else was put there", where="argument folder")
    return found


@dataclass(frozen=True)
class _Survey:
    """What a first look at all files found: that they fit, before anything is written."""

    files: list[Path]
    steps: Steps
    epochs: list[int]
    model: Model
    naming: Naming
    layout: Layout
    notes: list[str]


class _Progress:
    """Counts files that were read, and tells it."""

    def __init__(self, tell: Callable[[int, int], None] | None, total: int) -> None:
        self._tell, self._total, self._done = tell, total, 0

    def one_more(self) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._total)


def _survey(files: list[Path], given: list[int] | None, model: Model, progress: _Progress) -> _Survey:
    """Look at every file: whether it is of the model, of which step, and of which precision."""
    naming: Naming | None = None
    numbers, dtypes, places = [], set(), set()
    for path in files:
        with open_checkpoint(file_of(path)) as file:
            if naming is None:
                naming = model.naming_of(file)
            place, tensors = model.tensors(file, naming)
            dtypes |= {tensor.dtype for _, tensor in tensors}
            places.add(place)
            numbers.append(file.numbers)
        progress.one_more()
    assert naming is not None
    is_double = "float64" in dtypes or model.layout.dtype == np.float64
    layout = Layout(list(model.layout.layers.values()), np.dtype("float64" if is_double else "float32"))
    if not holds_values(layout) or max(stream_dtypes(layout)[one].itemsize for one in _STREAMS) > MAX_ROW_BYTES:
        size = (layout.parameter_count + layout.buffer_count) * layout.dtype.itemsize
        raise UsageError(
            f"a state of {format_bytes(size)} is too large for a recording: at most {format_bytes(MAX_ROW_BYTES)}",
            where="argument model",
        )
    steps = find_steps(files, numbers, given)
    notes = [steps.told]
    if any(places):
        notes.append(f"the weights stand under {', '.join(map(repr, sorted(places)))} in the checkpoints")
    if half := sorted(dtypes - {"float32", "float64"}):
        notes.append(f"values of {', '.join(half)} became {layout.dtype}, which holds them exactly")
    if model.note is not None:
        notes.append(model.note)
    epochs = [one.get("epoch", 0) for one in numbers]
    return _Survey(files, steps, epochs, model, naming, layout, notes)


def _write(folder: Path, survey: _Survey, fingerprint: str, progress: _Progress) -> None:
    """Write the recording into a folder."""
    layout, model = survey.layout, survey.model
    order = sorted(range(len(survey.files)), key=lambda place: survey.steps.numbers[place])
    first, last = (survey.steps.numbers[place] for place in (order[0], order[-1]))
    description = describe_model(layout, model.network)
    description |= {"data": {}, "files": {}, "checkpoints": {"fingerprint": fingerprint}}
    attempt = begin_attempt(folder, first, description)
    write_description(folder, description)
    with contextlib.ExitStack() as closed:
        events, sealer = EventWriter(folder), Sealer()
        closed.callback(events.close)
        closed.callback(sealer.close)
        events.write({"kind": "begin", "attempt": attempt, "step": first, "notes": survey.notes})
        dtypes = stream_dtypes(layout)
        streams = {name: SegmentWriter(folder, name, dtypes[name], sealer) for name in _STREAMS}
        for stream in streams.values():
            closed.callback(stream.seal)
        row = np.zeros(1, dtypes["keyframes"])
        row["attempt"] = attempt
        parameters: NDArray[Any] = row["params"][0]
        if len(model.parameters):
            parameters[...] = model.parameters
        statistics = Statistics(model.network, layout)
        update, before = None, None
        for place in order:
            path, step = survey.files[place], survey.steps.numbers[place]
            is_next = survey.steps.are_steps and before is not None and step == before + 1
            if is_next:  # what one step subtracted
                update = parameters.copy() if update is None else update
                update[...] = parameters
            with open_checkpoint(file_of(path)) as file:
                where, tensors = model.tensors(file, survey.naming)
                for slot, tensor in tensors:
                    if slot.place.size:
                        slot.place.of(row["buffers"][0] if slot.is_buffer else parameters)[...] = tensor.read()
            if is_next and update is not None:
                with np.errstate(all="ignore"):
                    update -= parameters
            measured = Measured(parameters, None, update if is_next else None, ())
            row["step"], row["epoch"] = step, survey.epochs[place]
            rows = {
                "keyframes": row,
                "neurons": statistics.measure_neurons(measured),
                "layers": statistics.measure_layers(measured),
            }
            for name, one in rows.items():
                one["step"], one["attempt"] = step, attempt
                write_checksums(one)
                streams[name].append(one.view(np.uint8).data)
            events.write({"kind": "checkpoint", "attempt": attempt, "step": step, "file": path.name, "place": where})
            before = step
            progress.one_more()
        events.write({"kind": "end", "attempt": attempt, "status": "checkpoints", "step": last, "delivered_step": last})


def _existing(folder: Path, fingerprint: str) -> Recording | None:
    """Return the recording of these checkpoints that is there already, if it is whole."""
    if not (folder / "recording.json").is_file():
        return None
    try:
        history = read_recording(folder)
    except NeuronwiseError:
        return None
    is_same = history.description.get("checkpoints") == {"fingerprint": fingerprint}
    # It got its name when it was whole, so what is missing is known.
    return Recording(history) if is_same and not history.problems and len(history.steps) else None


def _fingerprint(files: list[Path], given: list[int] | None, model: Model) -> str:
    """Return what tells these checkpoints of this model from any others: their places, sizes, times and names."""
    content: list[Any] = [VERSION, given, model.layout.to_dict()]
    content.append(None if model.network is None else model.network.to_dict())
    content.append([sorted(naming.slots) for naming in model.namings])
    for path in files:
        file = file_of(path)
        info = file.stat()
        content.append([str(file.resolve()), info.st_size, info.st_mtime_ns])
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
