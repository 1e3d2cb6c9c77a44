"""Checkpoint: everything that decides how a training goes on, in memory or in one file.

The file is safetensors: arrays, and a text of JSON beside them. Nothing in it can run, and names, shapes and dtypes are
compared with one another before any array is read.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.checked import Checked
from neuronwise.errors import FormatError, NotFoundError
from neuronwise.files import write_atomically

Array = NDArray[np.floating[Any]]

FORMAT = "neuronwise-checkpoint"
VERSION = 1

_MAX_KEYS = 1000
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype(np.float32), "F64": np.dtype(np.float64)}
_STATE = "optimizer."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training as it stands after a step: `fit(…, resume=checkpoint)` goes on from it, to the last bit.

    Arrays are copies: nothing that happens later changes them.

    Attributes:
        settings: What must be the same for the training to be the same, as JSON values by the name of the argument of
            `fit`: network, loss, optimizer, schedule, batch size, seed …; of data their sizes and fingerprints.
        epochs: Epochs planned; a resumed training may plan others.
        patience: Patience of the early stopping, or None; likewise.
        planned_steps: Steps planned when the training first began, which schedules that last as long go by.
        parameters: `Network.parameters` after the step (not the best ones).
        buffers: `Network.buffers` likewise.
        optimizer_state: The arrays that the optimizer remembers, by name.
        schedule_state: `Schedule.snapshot`.
        step: Steps taken.
        epoch: The epoch under way, from 1; 0 before the first. It is ended if `history` has an entry for it.
        loss_sum: Sum over the rows of the epoch under way of the loss of their batch.
        best_loss: Lowest validation loss, or None.
        best_epoch: Its epoch, or None.
        best_step: Its step, or None.
        best_parameters: Parameters of that step, or None.
        best_buffers: Buffers of that step, or None.
        history: As `FitResult.history`.
        elapsed_s: Seconds that the training has taken so far.
    """

    settings: dict[str, Any] = field(repr=False)
    epochs: int
    patience: int | None
    planned_steps: int
    parameters: Array = field(repr=False)
    buffers: Array = field(repr=False)
    optimizer_state: dict[str, Array] = field(repr=False)
    schedule_state: dict[str, Any] = field(repr=False)
    step: int
    epoch: int
    loss_sum: float
    best_loss: float | None
    best_epoch: int | None
    best_step: int | None
    best_parameters: Array | None = field(repr=False)
    best_buffers: Array | None = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)
    elapsed_s: float

    @property
    def is_epoch_ended(self) -> bool:
        """Whether the last epoch begun is ended (or none is begun), so that the next step is the first of an epoch."""
        return len(self.history) == self.epoch

    def save(self, path: str | Path) -> None:
        """Write it to one file, whole or not at all.

        Raises:
            OSError: The folder does not exist or cannot be written.
        """
        from safetensors.numpy import save

        tensors, text = self._tensors(), self._to_json()
        metadata = {"format": FORMAT, "checkpoint": text, "crc": checksum(text, tensors)}
        write_atomically(path, save(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Return the checkpoint that `save` wrote. Nothing in the file is ever executed.

        Raises:
            NotFoundError: There is no such file.
            FormatError: It is truncated, corrupt or hostile; the message names what is wrong.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise NotFoundError(f"there is no checkpoint {path.name!r} in {path.parent}", where=str(path))
        try:
            with safe_open(path, framework="numpy") as file:
                return cls._read(file, str(path))
        except (SafetensorError, OSError) as error:
            raise FormatError(f"not a whole safetensors file: {error}", where=str(path)) from None

    def _tensors(self) -> dict[str, NDArray[Any]]:
        arrays = {"parameters": self.parameters, "buffers": self.buffers}
        arrays |= {_STATE + name: values for name, values in self.optimizer_state.items()}
        if self.best_parameters is not None and self.best_buffers is not None:
            arrays |= {"best_parameters": self.best_parameters, "best_buffers": self.best_buffers}
        columns = self._columns
        history = [[row[key] for key in columns] for row in self.history]
        arrays["history"] = np.array(history, dtype=np.float64).reshape(len(history), len(columns))
        return {name: np.ascontiguousarray(values) for name, values in arrays.items()}

    @property
    def _columns(self) -> list[str]:
        return list(self.history[0]) if self.history else []

    def _to_json(self) -> str:
        content = {
            "version": VERSION,
            "settings": self.settings,
            "epochs": self.epochs,
            "patience": self.patience,
            "planned_steps": self.planned_steps,
            "schedule_state": self.schedule_state,
            "step": self.step,
            "epoch": self.epoch,
            "loss_sum": float(self.loss_sum),
            "best_loss": None if self.best_loss is None else float(self.best_loss),
            "best_epoch": self.best_epoch,
            "best_step": self.best_step,
            "columns": self._columns,
            "elapsed_s": self.elapsed_s,
        }
        return json.dumps(content)

    @classmethod
    def _read(cls, file: Any, where: str) -> Checkpoint:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise FormatError(f"its format should be {FORMAT!r}, is {metadata.get('format')!r:.100}", where=where)
        try:
            content = Checked(json.loads(metadata.get("checkpoint", "")), where)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"its description is not valid JSON: {error}", where=where) from None
        if content.whole("version") != VERSION:
            raise FormatError(
                f"its version should be {VERSION}, is {content.whole('version')}",
                where=where,
                hint="a newer neuronwise may have written it: pip install --upgrade neuronwise",
            )
        columns, shapes = content.texts("columns", _MAX_KEYS, distinct=True), _shapes(file, where)
        best_epoch = _optional(content, "best_epoch", content.whole)
        _check_shapes(shapes, len(columns), best_epoch is not None, where)
        arrays = {name: file.get_tensor(name) for name in shapes}
        if metadata.get("crc") != checksum(metadata["checkpoint"], arrays):
            raise FormatError("its checksum is not that of its content: the file is damaged", where=where)
        found = cls(
            settings=_mapping(content, "settings"),
            epochs=content.whole("epochs"),
            patience=_optional(content, "patience", content.whole),
            planned_steps=content.whole("planned_steps"),
            parameters=arrays["parameters"],
            buffers=arrays["buffers"],
            optimizer_state={
                name.removeprefix(_STATE): values for name, values in arrays.items() if name.startswith(_STATE)
            },
            schedule_state=_mapping(content, "schedule_state"),
            step=content.whole("step"),
            epoch=content.whole("epoch"),
            loss_sum=_number(content, "loss_sum"),
            best_loss=_optional(content, "best_loss", lambda key: _number(content, key)),
            best_epoch=best_epoch,
            best_step=_optional(content, "best_step", content.whole),
            best_parameters=arrays.get("best_parameters"),
            best_buffers=arrays.get("best_buffers"),
            history=[_row(columns, values) for values in arrays["history"].tolist()],
            elapsed_s=content.number("elapsed_s"),
        )
        found._check(where)
        return found

    def _check(self, where: str) -> None:
        """Refuse counts that contradict one another."""
        best = (self.best_loss, self.best_epoch, self.best_step)
        if None in best and best != (None, None, None):
            raise FormatError("'best_loss', 'best_epoch' and 'best_step' must all be given or none", where=where)
        if not self.epoch - 1 <= len(self.history) <= self.epoch:
            raise FormatError(
                f"it is in epoch {self.epoch}, but has the metrics of {len(self.history)} epochs", where=where
            )
        if [row.get("epoch") for row in self.history] != list(range(1, len(self.history) + 1)):
            raise FormatError("its epochs are not numbered from 1", where=where)
        if self.history and not {"epoch", "step", "seconds", "loss"} <= set(self.history[0]):
            raise FormatError("its history lacks one of epoch, step, seconds and loss", where=where)


def checksum(text: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return CRC-32 over the text and the bytes of all arrays in the order of their names, as 8 hexadecimal digits."""
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(np.ascontiguousarray(tensors[name]).data if tensors[name].size else b"", crc)
    return f"{crc:08x}"


def _shapes(file: Any, where: str) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Return dtype and shape of every array, none of which is read yet."""
    shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    for name in file.keys():  # noqa: SIM118 - not a dict
        one = file.get_slice(name)
        if one.get_dtype() not in _DTYPES:
            raise FormatError(
                f"the array {name!r:.100} should be float32 or float64, is {one.get_dtype()}", where=where
            )
        shapes[name] = _DTYPES[one.get_dtype()], tuple(one.get_shape())
    return shapes


def _check_shapes(
    shapes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]], columns: int, has_best: bool, where: str
) -> None:
    """Refuse arrays that are missing, too many, or do not go with one another."""
    best = {"best_parameters", "best_buffers"} if has_best else set()
    required = {"parameters", "buffers", "history"} | best
    if missing := required - set(shapes):
        raise FormatError(f"the array {min(missing)!r} is missing", where=where)
    if unknown := {name for name in shapes if name not in required and not name.startswith(_STATE)}:
        raise FormatError(f"unknown array {min(unknown)!r:.100}", where=where)
    dtype = shapes["parameters"][0]
    for name, (own, shape) in shapes.items():
        like = "buffers" if name.endswith("buffers") else "parameters"
        expected = (np.dtype(np.float64), (shape[0] if shape else 0, columns)) if name == "history" else (
            dtype, shapes[like][1]
        )  # fmt: skip
        if (own, shape) != expected or (name != "history" and len(shape) != 1):
            raise FormatError(
                f"the array {name!r:.100} is {own} {shape}, which does not go with the others", where=where
            )


def _row(columns: tuple[str, ...], values: list[float]) -> dict[str, float]:
    """Return the metrics of an epoch; its number and step are whole."""
    return {
        key: int(value) if key in ("epoch", "step") and value.is_integer() else value
        for key, value in zip(columns, values, strict=True)
    }


def _optional(content: Checked, key: str, read: Callable[[str], Any]) -> Any:
    return None if content.any(key) is None else read(key)


def _number(content: Checked, key: str) -> float:
    """Return a number; a loss may be infinite without a value that was not finite."""
    value = content.any(key)
    return value if isinstance(value, float) else content.number(key)


def _mapping(content: Checked, key: str) -> dict[str, Any]:
    value = content.any(key)
    if not isinstance(value, dict):
        raise content.error(f"{key!r} must be an object, found {type(value).__name__}")
    return value
