"""Reading a checkpoint of PyTorch or safetensors: its tensors by name, and the whole numbers beside them.

Nothing in such a file can run: torch unpickles with ``weights_only=True``, and what would need more is refused. Values
are read one tensor at a time, when they are asked for.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.learning.checkpoint import FORMAT as TRAINING_STATE
from neuronwise.network.exchange import import_torch

# What a checkpoint may call the number of its step, the surest first; an epoch is no step, but in the right order.
STEP_KEYS = ("step", "global_step", "iteration", "epoch")
# Where weights usually stand in a file that holds more; any other place is looked at after these.
_USUAL = ("state_dict", "model_state_dict", "model_state", "model", "module", "network", "net", "weights")
_MAX_DEPTH = 4
_MAX_STATES = 1000
_ZIP = b"PK\x03\x04"
_SAVE_IT = "save the weights alone: torch.save(model.state_dict(), path)"
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
_NUMPY_KNOWS = ("F64", "F32", "F16")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, not yet read.

    Attributes:
        shape: Its shape.
        dtype: ``"float32"``, ``"bfloat16"`` …
        read: Returns its values as float32, or as they are where NumPy has their type; only of floating ones.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], NDArray[Any]]

    @property
    def is_floating(self) -> bool:
        """Whether its values are numbers with a fraction."""
        return self.dtype.startswith(("float", "bfloat"))


State = dict[str, StoredTensor]


@dataclass(frozen=True)
class CheckpointFile:
    """What is in a file.

    Attributes:
        path: The file.
        states: Every group of tensors by name, under where it stands: ``""`` at the top, ``"model_state_dict"``; the
            usual places first.
        numbers: The whole numbers at the top that may be its step, by name.
        is_ordered: Whether tensors stand in the order of the model's modules.
    """

    path: Path
    states: dict[str, State]
    numbers: dict[str, int]
    is_ordered: bool


@contextlib.contextmanager
def open_checkpoint(path: Path) -> Iterator[CheckpointFile]:
    """Open a file; its tensors can be read inside the block.

    Raises:
        NotFoundError: There is no such file.
        FormatError: It is no checkpoint, is damaged, or holds what would have to be unpickled.
        MissingExtraError: It is of PyTorch, which is not installed.
    """
    if not path.is_file():
        raise NotFoundError("there is no such file", where=str(path))
    if not path.stat().st_size:
        raise FormatError("the file is empty", where=str(path))
    if path.suffix == ".safetensors":
        with _open_safetensors(path) as found:
            yield found
    else:
        yield _load_torch(path)


def _load_torch(path: Path) -> CheckpointFile:
    torch = import_torch()
    with path.open("rb") as file:
        is_zip = file.read(len(_ZIP)) == _ZIP
    if is_zip:
        _check_zip(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old files; what matters is raised
            # Mapped, so that memory is taken for what is read only; files of before 2020 cannot be.
            content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=is_zip)
    except OSError:
        raise
    except Exception as error:
        raise _refusal(path, error) from error
    if isinstance(content, torch.Tensor) or not isinstance(content, Mapping):
        raise FormatError(
            f"it holds a {type(content).__name__:.100}, not tensors by name", where=str(path), hint=_SAVE_IT
        )
    if {"state", "param_groups"} <= set(content):
        raise FormatError(
            "it holds the state of an optimizer, and no weights",
            where=str(path),
            hint=f'name the files of the weights alone: "{path.parent / "model*"}"',
        )
    states = {place: _torch_state(state, path) for place, state in _states(content, torch.Tensor)}
    numbers = {key: number for key in STEP_KEYS if (number := _whole(content.get(key), torch)) is not None}
    return CheckpointFile(path, states, numbers, is_ordered=True)


def _check_zip(path: Path) -> None:
    """Refuse an archive that is not as torch writes it: an entry that is packed could unpack to any size."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeDecodeError) as error:
        raise FormatError(f"the file is truncated or damaged: {error!s:.200}", where=str(path)) from None
    if any("/code/__torch__" in entry.filename for entry in entries):
        raise FormatError(
            "it is a program of TorchScript, which would have to be run: that is not done",
            where=str(path),
            hint="save the weights alone: torch.save(program.state_dict(), path)",
        )
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.header_offset + entry.file_size > size:
            raise FormatError(
                f"its entry {entry.filename!r:.100} is packed or larger than the file: torch writes no such",
                where=str(path),
            )


def _refusal(path: Path, error: Exception) -> FormatError:
    """Return the error of a file that torch does not load."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError) and (found := re.search(r"(?:GLOBAL|class|module) (\S+\.\S+)", text)):
        return FormatError(
            f"it holds {found[1]:.100}, which would have to be unpickled: that can run any code, and is not done",
            where=str(path),
            hint=_SAVE_IT,
        )
    # Before that torch advises to load it all the same.
    reason = text.partition("WeightsUnpickler error:")[2] or text
    first = next((line.strip() for line in reason.splitlines() if line.strip()), "")
    is_reason = first and not first.startswith("Weights only load failed")
    told = f"{type(error).__name__}: {first:.300}" if is_reason else type(error).__name__
    return FormatError(
        f"it cannot be read as weights only: truncated, damaged or no checkpoint ({told})",
        where=str(path),
        hint=_SAVE_IT,
    )


def _states(content: Mapping[Any, Any], tensor: type) -> list[tuple[str, dict[str, Any]]]:
    """Return every dict in a dict that has tensors by name, with where it stands: the usual places first."""
    found: list[tuple[str, dict[str, Any]]] = []
    level: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    seen: set[int] = set()
    for _ in range(_MAX_DEPTH):
        below: list[tuple[str, Mapping[Any, Any]]] = []
        for place, one in level:
            if id(one) in seen or len(seen) >= _MAX_STATES:
                continue
            seen.add(id(one))
            tensors = {key: value for key, value in one.items() if isinstance(key, str) and isinstance(value, tensor)}
            if tensors:
                found.append((place, tensors))
            below += [
                (f"{place}.{key}" if place else str(key), value)
                for key, value in one.items()
                if isinstance(value, Mapping)
            ]
        level = sorted(below, key=lambda entry: _rank(entry[0]))
    return found


def _rank(place: str) -> int:
    name = place.rpartition(".")[2]
    return _USUAL.index(name) if name in _USUAL else len(_USUAL)


def _torch_state(tensors: Mapping[str, Any], path: Path) -> State:
    return {
        name: StoredTensor(
            tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), _torch_reader(name, tensor, path)
        )
        for name, tensor in tensors.items()
    }


def _torch_reader(name: str, tensor: Any, path: Path) -> Callable[[], NDArray[Any]]:
    def read() -> NDArray[Any]:
        try:
            plain = tensor.detach()
            if str(plain.dtype) not in ("torch.float64", "torch.float32", "torch.float16"):
                plain = plain.float()
            values: NDArray[Any] = plain.numpy()
        except Exception as error:  # a sparse or quantised tensor, one without values
            raise FormatError(f"the values of {name!r:.100} cannot be read: {error!s:.200}", where=str(path)) from error
        return values

    return read


def _whole(value: object, torch: Any) -> int | None:
    """Return a whole number from 0, also one that is a tensor; None if it is none."""
    if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_meta and not value.dtype.is_complex:
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 2**63 else None


@contextlib.contextmanager
def _open_safetensors(path: Path) -> Iterator[CheckpointFile]:
    from safetensors import SafetensorError, safe_open

    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(safe_open(path, framework="numpy"))
            heads = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            kinds = {name: str(head.get_dtype()) for name, head in heads.items()}
            if any(kind in _DTYPES and kind not in _NUMPY_KNOWS for kind in kinds.values()):
                import_torch()
                file = opened.enter_context(safe_open(path, framework="pt"))
            metadata = file.metadata() or {}
            state = {
                name: StoredTensor(
                    tuple(head.get_shape()),
                    _DTYPES.get(kinds[name], kinds[name].lower()),
                    _safetensors_reader(file, name, path),
                )
                for name, head in heads.items()
            }
        except SafetensorError as error:
            raise FormatError(f"not a whole safetensors file: {error!s:.200}", where=str(path)) from None
        numbers = metadata
        if metadata.get("format") == TRAINING_STATE:
            # Beside the network it holds what the optimizer remembers, and the best weights.
            state = {name: state[name] for name in ("parameters", "buffers") if name in state}
            numbers = _json_object(metadata.get("checkpoint", ""))
        yield CheckpointFile(path, {"": state}, _numbers(numbers), is_ordered=False)


def _safetensors_reader(file: Any, name: str, path: Path) -> Callable[[], NDArray[Any]]:
    from safetensors import SafetensorError

    def read() -> NDArray[Any]:
        try:
            values = file.get_tensor(name)
        except SafetensorError as error:
            raise FormatError(f"the values of {name!r:.100} cannot be read: {error!s:.200}", where=str(path)) from None
        found: NDArray[Any] = values if isinstance(values, np.ndarray) else values.float().numpy()
        return found

    return read


def _numbers(content: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of a step among JSON values or texts."""
    found = {}
    for key in STEP_KEYS:
        value = content.get(key)
        if type(value) is int or (isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value)):
            number = int(value)
            if 0 <= number < 2**63:
                found[key] = number
    return found


def _json_object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
