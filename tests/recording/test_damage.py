"""Whatever happens to the files: what is read is true, what is missing is told, and nothing hangs or crashes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError, ReplayWarning
from neuronwise.learning import ReduceOnPlateau
from neuronwise.recording import RecordedHistory, Recording, read_recording
from neuronwise.recording.sealed_json import encode
from neuronwise.recording.segments import HEADER_BYTES, npy_header

from . import helpers
from .helpers import ROWS, X, all_layers, small_segments, stop_at, train


class Answers(dict[str, Any]):
    """Every answer by its name; never printed whole."""

    def __repr__(self) -> str:
        return f"<{len(self)} answers>"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was interrupted and resumed, with several segments of each stream."""
    folder = tmp_path_factory.mktemp("sound") / "recording"
    options: dict[str, Any] = {"optimizer": "adam", "schedule": ReduceOnPlateau(patience=0, threshold=0.3)}
    writer = {"probe": X[:2], "split": {"train": ROWS}}
    with small_segments(6):
        first = train(folder, all_layers(), [stop_at(9)], writer=writer, **options)
        train(folder, all_layers(), writer=writer | {"resume": True}, resume=first.checkpoint, **options)
    assert read_recording(folder).check() == []
    assert len(list(folder.glob("keyframes-*.npy"))) > 3
    return folder


@pytest.fixture(scope="module")
def truth(sound: Path) -> Answers:
    answers = read_all(sound)[0]
    assert answers is not None
    return answers


def read_all(folder: Path) -> tuple[Answers | None, list[str]]:
    """Return every answer by its name, and the problems; None where the recording cannot be opened at all."""
    answers = Answers()

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            answer = question()
        except NeuronwiseError:
            return
        answers[name] = answer.tobytes() if isinstance(answer, (np.ndarray, np.void)) else answer

    try:
        history = RecordedHistory(folder)
    except NeuronwiseError as error:
        return None, [str(error)]
    recording = Recording(history)
    for row in history.scalars:
        answers[f"scalars {row['step']}"] = row.tobytes()
    for step in history.steps.tolist():
        ask(f"parameters {step}", lambda step=step: history.parameters(step))
        ask(f"buffers {step}", lambda step=step: history.buffers(step))
        if history.is_whole(step):
            ask(f"optimizer {step}", lambda step=step: np.array(list(history.optimizer_state(step).values())))
        ask(f"at {step}", lambda step=step: recording.at(step).parameters)
    for step in history.frames.tolist():
        ask(f"neurons {step}", lambda step=step: history.neurons(step))
        ask(f"layers {step}", lambda step=step: history.histograms(step))
    layer = history.layout.observed[0].name
    for name in (f"{layer}[1].bias", f"{layer}[0].weights", f"{layer}[2].grad_norm"):
        course = recording.history(name)
        for step, value in zip(course.steps.tolist(), course.values, strict=True):
            answers[f"{name} {step}"] = value.tobytes()
    ask("split", lambda: history.split("train"))
    ask("probe", lambda: history.probe)
    for epoch in history.epochs:
        answers[f"epoch {epoch['epoch']}"] = json.dumps(epoch, sort_keys=True)
    for attempt in history.attempts:
        answers[f"attempt {attempt.number}"] = attempt
    if history.status != "unfinished":
        answers["end"] = (history.status, history.delivered_step, history.best_step)
    answers["description"] = json.dumps(history.description, sort_keys=True)
    return answers, history.check()


def check(folder: Path, truth: Answers, changed: str) -> None:
    answers, problems = read_all(folder)
    if answers is None:
        assert changed in problems[0]
        return
    for name, answer in answers.items():
        if name == "end" and answer != truth["end"]:  # of the attempt before: the last one's is gone
            assert any("events.jsonl" in problem for problem in problems)
            continue
        assert answer == truth[name], name
    if set(answers) != set(truth):
        stream = changed.split("-0")[0]
        assert any(stream in problem for problem in problems), (set(truth) - set(answers), problems)


@dataclass
class Damage:
    """What happens to which file, and where in it.

    Attributes:
        kind: Of each kind of file as often as of any other, though there are many segments.
        which: Which of its files.
        how: What happens.
        places: Two places: anywhere, or (True) where something begins or ends.
        value: A byte is changed by this.
        more: What is put in.
    """

    kind: str
    which: int
    how: str
    places: list[tuple[bool, int]]
    value: int
    more: bytes

    def apply(self, folder: Path) -> str:
        files = sorted(path for path in folder.iterdir() if re.match(self.kind, path.name))
        path = files[self.which % len(files)]
        if self.how == "delete":
            path.unlink()
        else:
            path.write_bytes(self._changed(path.read_bytes()))
        return path.name

    def _changed(self, content: bytes) -> bytes:
        ends = [match.end() for match in re.finditer(rb"\n", content)]
        known = [0, len(content) - 1, HEADER_BYTES, *ends[-40:]]
        first, second = (
            min(known[place % len(known)], len(content)) if border else place % len(content)
            for border, place in self.places
        )
        match self.how:
            case "truncate":
                return content[:first]
            case "flip" if first < len(content):
                return content[:first] + bytes([content[first] ^ self.value]) + content[first + 1 :]
            case "insert":
                return content[:first] + self.more + content[first:]
            case "cut out":
                return content[: min(first, second)] + content[max(first, second) :]
            case "zero":  # a block that never reached the disk
                block = first // 512 * 512
                return content[:block] + bytes(len(content[block : block + 512])) + content[block + 512 :]
        return content


KINDS = ["attempt", "events", "keyframes", "layers", "neurons", "probe", "recording", "scalars", "split"]
DAMAGES = st.builds(
    Damage,
    kind=st.sampled_from(KINDS),
    which=st.integers(0, 30),
    how=st.sampled_from(["truncate", "flip", "insert", "cut out", "zero", "delete"]),
    places=st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 20)), min_size=2, max_size=2),
    value=st.integers(1, 255),
    more=st.binary(min_size=1, max_size=70),
)


def damage_and_check(sound: Path, truth: Answers, folder: Path, damage: Damage) -> None:
    shutil.copytree(sound, folder)
    try:
        check(folder, truth, damage.apply(folder))
    finally:
        shutil.rmtree(folder)


@given(damage=DAMAGES)
@settings(max_examples=80)
def test_any_damage_is_told_and_the_rest_is_true(sound: Path, truth: Answers, tmp_path: Path, damage: Damage) -> None:
    damage_and_check(sound, truth, tmp_path / "damaged", damage)


@pytest.mark.full
@given(damage=DAMAGES)
@settings(max_examples=3000)
def test_any_damage_at_length(sound: Path, truth: Answers, tmp_path: Path, damage: Damage) -> None:
    damage_and_check(sound, truth, tmp_path / "damaged", damage)


def test_any_missing_file_is_told(sound: Path, truth: Answers, tmp_path: Path) -> None:
    for path in sorted(sound.iterdir()):
        folder = tmp_path / "damaged"
        shutil.copytree(sound, folder)
        (folder / path.name).unlink()
        assert read_recording(folder).check(), path.name
        check(folder, truth, path.name)
        shutil.rmtree(folder)


def test_any_file_that_became_a_link_is_not_followed(sound: Path, truth: Answers, tmp_path: Path) -> None:
    for path in sorted(sound.iterdir()):
        folder = tmp_path / "linked"
        shutil.copytree(sound, folder)
        (folder / path.name).unlink()
        (folder / path.name).symlink_to(path)
        try:
            assert read_recording(folder).check(), path.name
        except FormatError as error:
            assert path.name in str(error)  # noqa: PT017 - either is right
        shutil.rmtree(folder)


def test_a_fifo_is_not_waited_for(sound: Path, tmp_path: Path) -> None:
    for name in ("recording.json", "events.jsonl", "scalars-000001.npy", "probe.npy", "attempt-000001.json"):
        folder = tmp_path / "fifo"
        shutil.copytree(sound, folder)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        try:
            assert read_recording(folder).check(), name
        except FormatError as error:
            assert name in str(error)  # noqa: PT017 - either is right
        shutil.rmtree(folder)


def test_a_damaged_description_is_read_from_its_copy(sound: Path, tmp_path: Path) -> None:
    for content in (b"", b"{", b"[" * 100_000, None):
        folder = tmp_path / "damaged"
        shutil.copytree(sound, folder)
        path = folder / "recording.json"
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        history = read_recording(folder)
        assert history.description == read_recording(sound).description
        assert "its copy in attempt-….json is read" in history.problems[0]
        for attempt in folder.glob("attempt-*.json"):
            attempt.unlink()
        with pytest.raises(NotFoundError if content is None else FormatError, match=r"recording\.json"):
            read_recording(folder)
        shutil.rmtree(folder)


# Files with right checksums, made by somebody who means harm.


def craft(sound: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copy a recording, and change its recording.json with the right checksum."""
    shutil.copytree(sound, folder)
    description = read_recording(sound).description
    change(description)
    (folder / "recording.json").write_bytes(encode("recording", description, indent=1))
    for path in folder.glob("attempt-*.json"):
        path.unlink()
    return folder


def schema(description: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = description["schemas"]["0"]
    return found


def dense(description: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema(description)["layers"][-1]
    return found


HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "another format": lambda d: d.update(format="something"),
    "another version": lambda d: d.update(version=9),
    "no schema": lambda d: d.update(schemas={}),
    "a schema of text": lambda d: d.update(schemas={"0": "x"}),
    "objects": lambda d: schema(d).update(dtype="object"),
    "too many parameters": lambda d: schema(d).update(parameter_count=2**62),
    "fewer parameters": lambda d: schema(d).update(parameter_count=3),
    "negative parameters": lambda d: schema(d).update(parameter_count=-1),
    "text for a number": lambda d: schema(d).update(parameter_count="12"),
    "10^12 neurons": lambda d: dense(d).update(neurons=10**12),
    "10^10 neurons without weights": lambda d: (
        dense(d).update(neurons=10**10, parameters={}),
        schema(d).update(neuron_count=schema(d)["neuron_count"] + 10**10 - 3),
    ),
    "neurons without weights": lambda d: dense(d).update(neurons=2),
    "a huge shape": lambda d: dense(d)["parameters"]["W"].update(shape=[2**40, 2**40]),
    "a negative shape": lambda d: dense(d)["parameters"]["W"].update(shape=[-3, -5]),
    "another offset": lambda d: dense(d)["parameters"]["W"].update(offset=0),
    "many axes": lambda d: dense(d)["parameters"]["W"].update(shape=[1] * 100),
    "a layer that is none": lambda d: schema(d)["layers"].append(7),
    "a layer twice": lambda d: schema(d)["layers"].append(schema(d)["layers"][3]),
    "many states": lambda d: schema(d).update(optimizer=["m"] * 1000),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_description_is_refused(sound: Path, tmp_path: Path, change: Any) -> None:
    folder = craft(sound, tmp_path / "hostile", change)
    with pytest.raises(FormatError, match=r"recording\.json"):
        read_recording(folder)


LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "another network": lambda d: d["network"]["layers"].pop(),
    "no network": lambda d: d.update(network=None),
    "a network of text": lambda d: d.update(network="x"),
    "10^12 inputs": lambda d: d["network"].update(input_shape=[10**12]),
    "another dtype": lambda d: d["network"].update(dtype="float64"),
    "no batches": lambda d: d["training"].update(batch_size=0),
    "batches of text": lambda d: d["training"].update(batch_size="x"),
    "no optimizer": lambda d: d["training"].pop("optimizer"),
    "another optimizer": lambda d: d["training"].update(optimizer={"name": "sgd"}),
    "an unknown optimizer": lambda d: d["training"].update(optimizer={"name": "x"}),
    "no training": lambda d: d.update(training=None),
    "steps without number": lambda d: d.update(planned_steps=None),
    "another schedule": lambda d: d["training"].update(schedule={"schedule": "constant"}),
    "files of numbers": lambda d: d.update(files=7),
    "a file elsewhere": lambda d: d["files"].update({"../secret.npy": {"bytes": 1, "crc": ""}}),
}


@pytest.mark.parametrize("change", LIES.values(), ids=LIES)
def test_what_a_lying_description_says_is_refused_when_it_is_used(sound: Path, tmp_path: Path, change: Any) -> None:
    recording = Recording(read_recording(craft(sound, tmp_path / "hostile", change)), helpers.data)
    missing = 18
    for ask in (
        lambda: recording.at(0),
        lambda: recording.step(missing),
        lambda: recording.steps,
        lambda: recording.history("hidden1[0].weights[0]"),
        recording.stored.check,
        lambda: recording.stored.split("train"),
        lambda: recording.stored.probe,
    ):
        with contextlib.suppress(NeuronwiseError), warnings.catch_warnings():
            warnings.simplefilter("ignore", ReplayWarning)
            ask()


def npy(shape: str, payload: bytes = b"") -> bytes:
    text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117) + b"\n" + payload


@pytest.mark.parametrize(
    "content",
    [
        npy(f"({2**62},)"), npy(f"({2**40},)", bytes(80)), npy("(-1,)", bytes(80)), npy("(3,)", bytes(80)),
        npy(f"({10**400},)"), npy("(10,)", bytes(80)).replace(b"'<i8'", b"'O'"), b"PK\x03\x04", b"",
        npy("[" * 90), npy("__import__('os').abort()"), npy("(2, 5)", bytes(80)),
    ],
    ids=range(11),
)  # fmt: skip
def test_a_hostile_array_is_refused(sound: Path, tmp_path: Path, content: bytes) -> None:
    entry = {"bytes": len(content), "crc": f"{zlib.crc32(content):08x}"}
    folder = craft(sound, tmp_path / "hostile", lambda d: d["files"].update({"split-train.npy": entry}))
    (folder / "split-train.npy").write_bytes(content)
    with pytest.raises(FormatError, match=r"split-train\.npy"):
        read_recording(folder).split("train")


def test_events_with_right_checksums_may_hold_anything(sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    shutil.copytree(sound, folder)
    anything: list[Any] = [None, -1, 10**400, 1e308, "x", [], {"a": []}, [[]] * 3, True]
    keys = ("attempt", "step", "epoch", "metrics", "layers", "rows", "state", "from_step", "status", "reason",
            "delivered_step", "first_step", "number", "batch_size", "data")  # fmt: skip
    with (folder / "events.jsonl").open("ab") as file:
        for kind in ("epoch", "end", "begin", "gap", "schedule", "pass", None, 7):
            for value in anything:
                file.write(encode("event", {"kind": kind, **dict.fromkeys(keys, value)}))
                file.write(
                    encode("event", {"kind": kind, "attempt": 1, "rows": {"scalars": value}, "layers": {"a": value}})
                )
        deep = b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}"
        file.write(b'{"crc": "%08x", "event": %s}\n' % (zlib.crc32(deep), deep))
    history = read_recording(folder)
    assert history.check()
    repr(history)
    with contextlib.suppress(NeuronwiseError):
        Recording(history, helpers.data).step(18)


@pytest.mark.parametrize("step", [10**400, 2**63, -(2**70)])
def test_steps_that_no_machine_counts_are_left_out(sound: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "hostile"
    shutil.copytree(sound, folder)
    with (folder / "events.jsonl").open("ab") as file:
        for kind in ("epoch", "metrics", "end"):
            told = {"kind": kind, "attempt": 1, "step": step, "delivered_step": step, "best_step": step, "epoch": step}
            file.write(encode("event", told | {"metrics": {"loss": 1.0}}))
    recording = Recording(read_recording(folder), helpers.data)
    assert len(recording.to_pandas("epochs")) == 6
    assert recording.to_pandas("metrics")["step"].tolist() == [0]
    assert recording.best_step is None
    assert recording.network.parameters.tobytes() == recording.at(20).parameters.tobytes()


def test_rows_of_impossible_steps_are_left_out(sound: Path, tmp_path: Path) -> None:
    from neuronwise.recording.rows import SCALARS_DTYPE, write_checksums

    folder = tmp_path / "hostile"
    shutil.copytree(sound, folder)
    rows = np.zeros(3, SCALARS_DTYPE)
    rows["step"], rows["attempt"] = [2**62, -5, 2**53 + 1], 2
    write_checksums(rows)
    (folder / "scalars-000009.npy").write_bytes(npy_header(SCALARS_DTYPE, 3) + rows.tobytes())
    history = read_recording(folder)
    assert history.last_step == 20
    assert any("3 rows are of no step that there can be" in problem for problem in history.problems)
    assert Recording(history, helpers.data).at(13).parameter_count


LIMITED = """
import resource, sys, time
import neuronwise.recording, neuronwise.recording.export, neuronwise.learning
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from neuronwise.errors import NeuronwiseError
try:
    history = neuronwise.recording.read_recording(sys.argv[1])
    history.check()
    print("read", len(history.scalars), history.problems[0])
except NeuronwiseError as error:
    print("refused", error)
"""


@pytest.mark.parametrize("bytes_", [1 << 40, 1 << 30])
def test_a_file_with_holes_takes_no_memory(sound: Path, tmp_path: Path, bytes_: int) -> None:
    folder = tmp_path / "hostile"
    shutil.copytree(sound, folder)
    os.truncate(folder / "scalars-000000.npy", bytes_)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("refused"), done.stdout
    assert "scalars-000000.npy" in done.stdout


def test_a_line_cut_out_of_the_events_is_told(sound: Path, tmp_path: Path) -> None:
    lines = (sound / "events.jsonl").read_bytes().splitlines(keepends=True)
    for place in range(len(lines)):
        folder = tmp_path / "cut"
        shutil.copytree(sound, folder)
        (folder / "events.jsonl").write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
        assert any("events.jsonl" in problem for problem in read_recording(folder).check()), place
        shutil.rmtree(folder)
