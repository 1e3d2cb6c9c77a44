"""The file of a checkpoint: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from neuronwise.errors import FormatError, NotFoundError
from neuronwise.learning import Adam, Checkpoint, Momentum, Observer, ReduceOnPlateau, TrainingState, WarmUp, fit
from neuronwise.learning.checkpoint import checksum
from neuronwise.network import Network
from neuronwise.network.layers import BatchNorm, Dense

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 3)), np.arange(20) % 2


class _Stop(Observer):
    def on_step_end(self, state: TrainingState) -> None:
        if state.step == 10:
            state.stop()


def _checkpoint(validated: bool = True, norm: bool = True, dtype: str = "float32", stop: bool = True) -> Checkpoint:
    layers = [Dense(4), *([BatchNorm()] if norm else []), Dense(2, "softmax")]
    return fit(
        Network(layers, input_shape=3, dtype=dtype), X, Y, optimizer=Adam(0.01) if norm else Momentum(0.1), epochs=5,
        batch_size=6, validation=0.2 if validated else None, patience=3 if validated else None,
        schedule=WarmUp(3, ReduceOnPlateau(patience=0)) if validated else None, observers=[_Stop()] if stop else [],
    ).checkpoint  # fmt: skip


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("stop", [True, False])
def test_every_field_comes_back(validated: bool, norm: bool, dtype: str, stop: bool, tmp_path: Path) -> None:
    checkpoint = _checkpoint(validated, norm, dtype, stop)
    checkpoint.save(tmp_path / "state.safetensors")
    assert os.listdir(tmp_path) == ["state.safetensors"]
    again = Checkpoint.load(tmp_path / "state.safetensors")
    for field in dataclasses.fields(Checkpoint):
        assert _equal(getattr(checkpoint, field.name), getattr(again, field.name)), field.name
    assert again.is_epoch_ended == checkpoint.is_epoch_ended == (not stop)
    assert (again.best_loss is None) == (not validated)


def test_before_the_first_step(tmp_path: Path) -> None:
    class Begin(Observer):
        def on_fit_begin(self, state: TrainingState) -> None:
            self.checkpoint = state.checkpoint()

    begin = Begin()
    fit(Network.dense([3, 2], output="softmax"), X, Y, epochs=1, observers=[begin], strict=True)
    begin.checkpoint.save(str(tmp_path / "state"))
    again = Checkpoint.load(str(tmp_path / "state"))
    assert (again.step, again.epoch, again.history, again.is_epoch_ended) == (0, 0, [], True)


@given(
    metrics=st.lists(st.tuples(st.floats(), st.floats(0), st.floats()), max_size=5),
    loss_sum=st.floats(),
    elapsed_s=st.floats(0, 1e300),
)
def test_any_losses_come_back(
    metrics: list[tuple[float, float, float]],
    loss_sum: float,
    elapsed_s: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("state") / "state"
    history = [
        {"epoch": i, "step": 3 * i, "seconds": seconds, "loss": loss, "val_loss": other}
        for i, (loss, seconds, other) in enumerate(metrics, start=1)
    ]
    changed = dataclasses.replace(
        _SMALL, history=history, epoch=len(history), loss_sum=loss_sum, elapsed_s=elapsed_s
    )  # fmt: skip
    changed.save(path)
    again = Checkpoint.load(path)
    assert _equal(again.history, history)
    assert _equal(again.loss_sum, loss_sum)
    assert again.elapsed_s == elapsed_s


_SMALL = _checkpoint(validated=False, norm=False)


def _write(path: Path, arrays: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write the file of a checkpoint with entries of its description or arrays changed (None: left out)."""
    checkpoint = _checkpoint()
    content = json.loads(checkpoint._to_json()) | changes
    content = {key: value for key, value in content.items() if value is not ...}
    tensors = {key: value for key, value in (checkpoint._tensors() | (arrays or {})).items() if value is not None}
    text = json.dumps(content)
    metadata = {"format": "neuronwise-checkpoint", "checkpoint": text, "crc": checksum(text, tensors)}
    path.write_bytes(save(tensors, metadata=metadata))
    return path


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"version": 2}, "its version should be 1, is 2"),
        ({"version": "1"}, "'version' must be a whole number, not '1'"),
        ({"step": ...}, "the entry 'step' is missing"),
        ({"step": -1}, "'step' must be a whole number"),
        ({"step": 1.5}, "'step' must be a whole number, not 1.5"),
        ({"epochs": True}, "'epochs' must be a whole number, not True"),
        ({"epochs": 10**400}, "'epochs' must be a whole number, not a value of type int"),
        ({"settings": []}, "'settings' must be an object, found list"),
        ({"schedule_state": "x"}, "'schedule_state' must be an object, found str"),
        ({"loss_sum": "1"}, "'loss_sum' must be a finite number, not '1'"),
        ({"elapsed_s": None}, "'elapsed_s' must be a finite number"),
        ({"patience": "3"}, "'patience' must be a whole number"),
        ({"best_loss": None}, "'best_loss', 'best_epoch' and 'best_step' must all be given or none"),
        ({"epoch": 7}, "it is in epoch 7, but has the metrics of 3 epochs"),
        ({"epoch": 1}, "it is in epoch 1, but has the metrics of 3 epochs"),
        ({"columns": ["epoch"]}, "the array 'history' is float64 (3, 6), which does not go with the others"),
        ({"columns": ["epoch"] * 6}, "'columns' holds the same text twice"),
        ({"columns": "loss"}, "'columns' must be a list"),
        ({"columns": ["loss", "step", "seconds", "epoch", "a", "b"]}, "its epochs are not numbered from 1"),
        ({"columns": ["epoch", "step", "seconds", "a", "b", "c"]}, "its history lacks one of epoch, step, seconds and"),
        ({"best_epoch": None, "best_loss": None, "best_step": None}, "unknown array 'best_"),
        ({"arrays": {"parameters": None}}, "the array 'parameters' is missing"),
        ({"arrays": {"best_parameters": None}}, "the array 'best_parameters' is missing"),
        ({"arrays": {"extra": np.zeros(3, np.float32)}}, "unknown array 'extra'"),
        ({"arrays": {"buffers": np.zeros(3, np.float32)}}, "buffers' is float32"),
        ({"arrays": {"optimizer.gradient_sum": np.zeros(3, np.float32)}}, "'optimizer.gradient_sum' is float32 (3,)"),
        ({"arrays": {"parameters": np.zeros(38, np.int32)}}, "'parameters' should be float32 or float64, is I32"),
        ({"arrays": {"best_parameters": np.zeros(38)}}, "'best_parameters' is float64 (38,), which does not go with"),
        ({"arrays": {"history": np.zeros((3, 6), np.float32)}}, "the array 'history' is float32 (3, 6)"),
        ({"arrays": {"history": np.zeros(6)}}, "the array 'history' is float64 (6,)"),
        ({"arrays": {"history": np.array(1.0)}}, "the array 'history' is float64 ()"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "state.safetensors", **changes)
    with pytest.raises(FormatError) as caught:
        Checkpoint.load(path)
    assert text in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_the_writer_of_these_files_writes_good_ones(tmp_path: Path) -> None:
    assert _equal(Checkpoint.load(_write(tmp_path / "state")).parameters, _checkpoint().parameters)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not a whole safetensors file"),
        (b"PK\x03\x04 something else", "not a whole safetensors file"),
        (b"\xff" * 8 + b"{}", "not a whole safetensors file"),
        (save({"parameters": np.zeros(3, np.float32)}), "its format should be 'neuronwise-checkpoint', is None"),
        (save({}, metadata={"format": "x" * 1000}), "is 'xxx"),
        (save({}, metadata={"format": "neuronwise-checkpoint"}), "its description is not valid JSON"),
        (save({}, metadata={"format": "neuronwise-checkpoint", "checkpoint": "["}), "is not valid JSON"),
        (save({}, metadata={"format": "neuronwise-checkpoint", "checkpoint": "[" * 10**6}), "is not valid JSON"),
        (save({}, metadata={"format": "neuronwise-checkpoint", "checkpoint": "[]"}), "expected an object, found list"),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else "file"
    ),  # not by their bytes: safetensors orders the keys of its metadata anew each time
)
def test_what_is_no_checkpoint_is_refused(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(FormatError) as caught:
        Checkpoint.load(tmp_path / "state")
    assert text in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    content = _write(tmp_path / "whole").read_bytes()
    for length in range(0, len(content), 97):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(FormatError):
            Checkpoint.load(tmp_path / "cut")


@given(data=st.data())
def test_a_damaged_file_is_refused_or_the_same(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(_write(folder / "whole").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # Not up to the length of the file, in which the seconds taken vary: Hypothesis repeats what it drew.
        place = data.draw(st.integers(0, 100_000) | st.integers(0, 3000))
        content[place % len(content)] = data.draw(st.integers(0, 255))
    (folder / "damaged").write_bytes(content)
    with contextlib.suppress(FormatError):
        found, whole = Checkpoint.load(folder / "damaged"), Checkpoint.load(folder / "whole")
        assert found._to_json() == whole._to_json()
        for name, values in whole._tensors().items():
            np.testing.assert_array_equal(found._tensors()[name], values)


def test_one_wrong_bit_is_noticed(tmp_path: Path) -> None:
    content = bytearray(_write(tmp_path / "whole").read_bytes())
    content[-5] ^= 1
    (tmp_path / "wrong").write_bytes(content)
    with pytest.raises(FormatError, match="its checksum is not that of its content"):
        Checkpoint.load(tmp_path / "wrong")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no checkpoint 'state' in"):
        Checkpoint.load(tmp_path / "state")
    with pytest.raises(NotFoundError):
        Checkpoint.load(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _SMALL.save(tmp_path / "state")
    before = (tmp_path / "state").read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        dataclasses.replace(_SMALL, step=7).save(tmp_path / "state")
    assert (tmp_path / "state").read_bytes() == before
    assert os.listdir(tmp_path) == ["state"]
    with pytest.raises(OSError, match="No such file"):
        _SMALL.save(tmp_path / "absent" / "state")


def test_nan_in_a_history_is_no_number_of_an_epoch(tmp_path: Path) -> None:
    history = np.full((3, 6), math.nan)
    with pytest.raises(FormatError, match="its epochs are not numbered from 1"):
        Checkpoint.load(_write(tmp_path / "state", arrays={"history": history}))
