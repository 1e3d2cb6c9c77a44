"""recording.json and attempt-….json: what was trained, and each time that it was begun or gone on with."""

from __future__ import annotations

import io
import math
import os
import platform
import re
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.files import write_exclusively
from neuronwise.recording.layout import Layout
from neuronwise.recording.sealed_json import decode, encode

if TYPE_CHECKING:
    from neuronwise.learning.observers import TrainingState
    from neuronwise.network import Network

FORMAT = "neuronwise-recording"
VERSION = 0

_MAX_JSON_BYTES = 64_000_000
_MAX_ATTEMPTS = 10_000
_NPY_HEADER = re.compile(
    rb"\{'descr': '(<i8|<f4|<f8)', 'fortran_order': False, 'shape': \((\d{1,15}(?:, \d{1,15})*),?\), \} *\n"
)
# Of the arrays beside a recording; none leads out of its folder.
_ARRAY_NAME = re.compile(r"probe\.npy|split-\w{1,100}\.npy")


@dataclass(frozen=True)
class Attempt:
    """One time that a training was begun or gone on with.

    Attributes:
        number: From 1.
        step: The step from which it went on; 0 for a beginning.
        began: When, as ISO 8601 in UTC.
        threads: Threads of the matrix products; None where it is not known.
        blas: The library of the matrix products with its version and kernel, or "".
        machine: System and processor architecture.
    """

    number: int
    step: int
    began: str
    threads: int | None
    blas: str
    machine: str


def describe(
    state: TrainingState, layout: Layout, *, data: Mapping[str, Any], files: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return the content of recording.json as JSON values.

    Args:
        state: Of the training before its first step.
        layout: Of its network.
        data: What identifies the data.
        files: Content of the arrays that lie beside it, by the names of their files.
    """
    network = state.network
    return describe_model(layout, network) | {
        # What must be the same for a step to be repeated: settings, and fingerprints of the data.
        "training": state.checkpoint().settings if state.make_checkpoint is not None else None,
        "planned_steps": state.epochs * state.steps_per_epoch,
        "seed": network.seed,
        "epochs": state.epochs,
        "steps_per_epoch": state.steps_per_epoch,
        "data": dict(data),
        "files": describe_files(files),
    }


def describe_files(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what recording.json says of the arrays beside it, by the names of their files."""
    return {name: {"bytes": len(content), "crc": f"{zlib.crc32(content):08x}"} for name, content in files.items()}


def describe_model(layout: Layout, network: Network | None) -> dict[str, Any]:
    """Return the part of recording.json that says what was recorded, not how it was trained.

    Args:
        layout: Of what is stored.
        network: The network; None of a model of another framework.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "network": None if network is None else network.to_dict() | {"dtype": str(layout.dtype)},
        "features": None if network is None else network.input_names,
        "classes": None if network is None else network.class_names,
        # A network that grows would get further layouts; each row names its own by its field `schema`.
        "schemas": {"0": layout.to_dict()},
        "training": None,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions that a recording names."""
    from neuronwise import __version__

    return {"neuronwise": __version__, "numpy": np.__version__, "python": platform.python_version()}


def begin_attempt(folder: Path, step: int, description: Mapping[str, Any]) -> int:
    """Write down that a training begins or goes on at a step, and return the attempt's number, which is nobody else's.

    The description stands in it too, so that a damaged recording.json is no loss.
    """
    threads, blas = _blas()
    number = max(_attempt_files(folder), default=0)
    while True:
        number += 1
        content = {
            "attempt": number,
            "step": step,
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "threads": threads,
            "blas": blas,
            "machine": f"{platform.system()} {platform.machine()}",
            "versions": versions(),
            "recording": description,
        }
        try:
            write_exclusively(folder / f"attempt-{number:06d}.json", encode("attempt", content, indent=1))
        except FileExistsError:  # another process was quicker
            continue
        return number


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write recording.json, once; of several writers the first.

    Raises:
        UsageError: There is that of another training.
    """
    try:
        write_exclusively(folder / "recording.json", encode("recording", description, indent=1))
    except FileExistsError:
        check_same(folder, description)


def check_same(folder: Path, description: Mapping[str, Any]) -> None:
    """Refuse to add to the recording of another training.

    Raises:
        UsageError: The network or how it is trained differs.
    """
    there = read_description(folder, [])
    now = decode("now", encode("now", {key: description[key] for key in ("schemas", "training")}))
    for key, value in (now or {}).items():
        if there.get(key) != value:
            raise UsageError(
                f"{str(folder)!r} holds the recording of another training: its {key} differ",
                where="argument folder",
                hint="give a folder of its own",
            )


def read_description(folder: Path, problems: list[str]) -> dict[str, Any]:
    """Return what recording.json holds, or where that is damaged, the copy in the first attempt that can be read.

    Raises:
        NotFoundError: There is no recording in `folder`.
        FormatError: It is damaged, and so are its copies; or of another version.
    """
    path = folder / "recording.json"
    try:
        description = _read(path, "recording")
    except (FormatError, FileNotFoundError, NotADirectoryError) as error:
        copies = (one.get("recording") for one in read_attempts(folder, []).values())
        description = next((copy for copy in copies if isinstance(copy, dict)), {})
        if not description and isinstance(error, FormatError):
            raise
        if not description:
            raise NotFoundError(f"there is no recording in {str(folder)!r}", where=str(path)) from None
        why = error.message if isinstance(error, FormatError) else "it is missing"
        # It is written before any copy of it: where it is there by now, the recording was just begun.
        if isinstance(error, FormatError) or not path.is_file():
            problems.append(f"recording.json: {why}; its copy in attempt-….json is read")
    if description.get("format") != FORMAT:
        raise FormatError("this is no recording of Neuronwise", where=str(path))
    if description.get("version") != VERSION:
        raise FormatError(
            f"the recording has version {description.get('version')!r:.50}, this reads version {VERSION}",
            where=str(path),
            hint="open it with the version of neuronwise that wrote it (see versions in recording.json)",
        )
    return description


def holds_recording(folder: Path) -> bool:
    """Return whether a folder is a recording, be it one whose recording.json is lost: there is a copy of it."""
    return any(os.path.isfile(folder / name) for name in ("recording.json", "attempt-000001.json"))


def read_attempts(folder: Path, problems: list[str]) -> dict[int, dict[str, Any]]:
    """Return the content of each attempt-….json by its number; damaged ones are told."""
    attempts = {}
    for number, path in sorted(_attempt_files(folder).items()):
        try:
            attempts[number] = _read(path, "attempt")
        except (FormatError, FileNotFoundError) as error:
            problems.append(f"{path.name}: {getattr(error, 'message', error)}")
    return attempts


def attempt_of(number: int, content: Mapping[str, Any]) -> Attempt:
    """Return an attempt as its file describes it, none of which is trusted."""
    step, threads = content.get("step"), content.get("threads")
    return Attempt(
        number,
        step if type(step) is int else 0,
        str(content.get("began", ""))[:40],
        threads if type(threads) is int else None,
        str(content.get("blas", ""))[:200],
        str(content.get("machine", ""))[:100],
    )


def npy_bytes(values: NDArray[Any]) -> bytes:
    """Return an array as the content of an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values, values.dtype.newbyteorder("<")), allow_pickle=False)
    return buffer.getvalue()


def write_beside(folder: Path, name: str, content: bytes) -> None:
    """Write an array beside the recording, unless the same is there.

    Raises:
        UsageError: There is another one of that name.
    """
    try:
        write_exclusively(folder / name, content)
    except FileExistsError:
        if (folder / name).read_bytes() != content:
            raise UsageError(f"{str(folder / name)!r} is there with another content", where="argument folder") from None


def read_array(folder: Path, name: str, description: Mapping[str, Any]) -> NDArray[Any]:
    """Return an array that `write_beside` wrote.

    Raises:
        NotFoundError: The recording has none of that name.
        FormatError: The file is damaged or gone.
    """
    files = description.get("files")
    entry = files.get(name) if isinstance(files, dict) else None
    if not isinstance(entry, dict) or not _ARRAY_NAME.fullmatch(name):
        raise NotFoundError(f"the recording holds no {name:.100}", where=str(folder))
    path = folder / name
    if not path.is_file() or path.is_symlink():
        raise FormatError("the file is missing, or is no plain file", where=str(path))
    if path.stat().st_size != entry.get("bytes"):
        raise FormatError(f"should have {entry.get('bytes')!r:.30} bytes, has {path.stat().st_size:,}", where=str(path))
    content = path.read_bytes()
    if f"{zlib.crc32(content):08x}" != entry.get("crc"):
        raise FormatError("its checksum is not that of its content: the file is damaged", where=str(path))
    return _from_npy(content, str(path))


def _from_npy(content: bytes, where: str) -> NDArray[Any]:
    """Return the array of an npy file that we wrote; the header is compared, not evaluated."""
    start = 10 + int.from_bytes(content[8:10], "little")
    match = _NPY_HEADER.fullmatch(content[10:start])
    if not content.startswith(b"\x93NUMPY\x01\x00") or match is None:
        raise FormatError("this is no array that we write", where=where)
    dtype, shape = np.dtype(match[1].decode()), tuple(int(n) for n in match[2].split(b",") if n.strip())
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise FormatError(f"{len(content) - start:,} bytes are no {shape!s:.100} of {dtype}", where=where)
    return np.frombuffer(content, dtype, offset=start).reshape(shape).copy()


def _read(path: Path, key: str) -> dict[str, Any]:
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_JSON_BYTES:
        raise FormatError(f"expected a plain file of at most {_MAX_JSON_BYTES:,} bytes", where=str(path))
    content = decode(key, path.read_bytes())
    if content is None:
        raise FormatError("its checksum is not that of its content: the file is damaged", where=str(path))
    return content


def _attempt_files(folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in folder.glob("attempt-??????.json"):
        number = path.name[8:14]
        if number.isascii() and number.isdigit() and len(found) < _MAX_ATTEMPTS:
            found[int(number)] = path
    return found


def _blas() -> tuple[int | None, str]:
    """Return how many threads the matrix products have, and what computes them."""
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool.get("user_api") == "blas" and "numpy" in pool["filepath"]]
    pools = pools or [pool for pool in threadpool_info() if pool.get("user_api") == "blas"]
    if not pools:
        return None, ""
    pool = pools[0]
    return int(pool["num_threads"]), " ".join(
        str(pool[key]) for key in ("internal_api", "version", "architecture") if pool.get(key)
    )
