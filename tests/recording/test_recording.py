from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from neuronwise.errors import FormatError, NotFoundError, TrainingDiverged, UsageError
from neuronwise.learning import fit
from neuronwise.learning.observers import Observer, TrainingState
from neuronwise.network import Network
from neuronwise.recording import RecordingWriter, layer_summaries, read_recording

from .helpers import files_of, pretend_training, small_network


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_every_keyframe_come_back_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    network = small_network(dtype=dtype)
    truth = pretend_training(network, [RecordingWriter(tmp_path / "r")], epochs=3, steps_per_epoch=10)
    history = read_recording(tmp_path / "r")
    # Step 0, early steps of the first epoch, the end of every epoch.
    assert history.steps.tolist() == [0, 1, 2, 4, 8, 10, 20, 30]
    for step in history.steps.tolist():
        flat = history.parameters(step)
        assert flat.dtype == network.dtype
        np.testing.assert_array_equal(flat, truth[step])
    assert history.problems == []
    assert files_of(tmp_path / "r") == [
        "events.jsonl",
        "keyframes-000000.npy",
        "recording.json",
        "scalars-000000.npy",
    ]


def test_a_layer_is_a_matrix_and_a_vector(tmp_path: Path) -> None:
    network = small_network()
    pretend_training(network, [RecordingWriter(tmp_path)])
    history = read_recording(tmp_path)
    for layer in network.layers:
        found = history.layer(30, layer.name)
        np.testing.assert_array_equal(found["W"], layer.W)
        np.testing.assert_array_equal(found["b"], layer.b)
    assert history.layer_names == ["hidden1", "output"]


def test_the_network_can_be_rebuilt_at_any_keyframe(tmp_path: Path) -> None:
    network = small_network()
    pretend_training(network, [RecordingWriter(tmp_path)])
    history = read_recording(tmp_path)
    rebuilt = Network.from_dict(history.network_dict)
    rebuilt.parameters[:] = history.parameters(30)
    x = np.random.default_rng(0).normal(size=(4, 5))
    np.testing.assert_array_equal(rebuilt.predict(x), network.predict(x))


def test_every_step_has_its_loss(tmp_path: Path) -> None:
    pretend_training(small_network(), [RecordingWriter(tmp_path)], epochs=2, steps_per_epoch=5000)
    scalars = read_recording(tmp_path).scalars
    np.testing.assert_array_equal(scalars["step"], np.arange(1, 10_001))
    np.testing.assert_array_equal(scalars["loss"], 1 / np.arange(1, 10_001))
    np.testing.assert_array_equal(scalars["epoch"], np.repeat([1, 2], 5000))
    assert set(scalars["learning_rate"]) == {0.1}


def test_metrics_and_summaries_of_every_epoch(tmp_path: Path) -> None:
    class Keep(Observer):
        def __init__(self) -> None:
            self.seen: list[dict[str, dict[str, float]]] = []

        def on_epoch_end(self, state: TrainingState) -> None:
            self.seen.append(layer_summaries(state))

    keep, writer = Keep(), RecordingWriter(tmp_path)
    pretend_training(small_network(), [keep, writer], epochs=3, steps_per_epoch=10)
    history = read_recording(tmp_path)
    assert [epoch["layers"] for epoch in history.epochs] == keep.seen
    assert [epoch["epoch"] for epoch in history.epochs] == [1, 2, 3]
    assert history.epochs[1]["step"] == 20
    assert history.epochs[1]["elapsed_s"] == 2
    assert history.epochs[1]["metrics"] == {"loss": 1 / 20, "val_loss": 1 / 10}
    assert writer.summaries == keep.seen[-1]
    assert history.status == "finished"


def test_early_stopping_records_the_delivered_network_under_its_step(tmp_path: Path) -> None:
    pretend_training(small_network(), [RecordingWriter(tmp_path)], epochs=5, best_epoch=2)
    history = read_recording(tmp_path)
    assert (history.status, history.best_step, history.delivered_step) == ("early_stopped", 20, 20)
    assert history.steps.tolist() == [0, 1, 2, 4, 8, 10, 20, 30, 40, 50]


def test_the_best_network_is_recorded_even_where_epochs_are_thinned(tmp_path: Path) -> None:
    network = small_network()
    writer = RecordingWriter(tmp_path, max_bytes=40_000)
    truth = pretend_training(network, [writer], epochs=200, steps_per_epoch=2, best_epoch=151)
    assert writer.plan is not None
    assert not writer.plan.keyframes.stores(151)
    history = read_recording(tmp_path)
    assert history.delivered_step == 302
    np.testing.assert_array_equal(history.parameters(302), truth[302])


def digits_like(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(200, 5))
    return X, (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


@pytest.mark.parametrize("validation", [None, 0.25])
def test_a_real_training_is_the_same_to_the_last_bit_and_comes_back(tmp_path: Path, validation: float | None) -> None:
    X, y = digits_like()
    alone, watched = small_network(), small_network()
    options = {"epochs": 12, "batch_size": 16, "validation": validation, "learning_rate": 0.05}
    fit(alone, X, y, **options)
    result = fit(watched, X, y, observers=[RecordingWriter(tmp_path)], strict=True, **options)
    np.testing.assert_array_equal(alone.parameters, watched.parameters)
    history = read_recording(tmp_path)
    assert history.problems == []
    assert history.status == result.status
    assert history.delivered_step == (result.best_step or result.steps)
    np.testing.assert_array_equal(history.parameters(history.delivered_step), watched.parameters)
    assert len(history.scalars) == result.steps
    for recorded, true in zip(history.epochs, result.history, strict=True):
        assert (recorded["epoch"], recorded["step"]) == (true["epoch"], true["step"])
        assert recorded["metrics"]["loss"] == true["loss"]
        # The loss of an epoch is the mean over its rows; the last batch may be smaller.
        steps = history.scalars[history.scalars["epoch"] == recorded["epoch"]]
        assert steps["loss"].mean() == pytest.approx(true["loss"], rel=0.2)
        assert recorded["layers"]["hidden1"]["update_ratio"] > 0


def test_a_training_that_diverges_is_recorded_up_to_there(tmp_path: Path) -> None:
    X, y = digits_like()
    network = Network.dense([5, 4, 4, 1], hidden="relu", output="identity")
    writer = RecordingWriter(tmp_path)
    with pytest.raises(TrainingDiverged) as raised:
        fit(network, X, 1e3 * y, optimizer="sgd", learning_rate=1e4, epochs=5, observers=[writer], strict=True)
    assert writer.problems == []
    history = read_recording(tmp_path)
    assert history.status == "diverged"
    assert history.delivered_step == raised.value.step - 1
    assert np.array_equal(history.parameters(history.delivered_step), network.parameters)
    assert history.problems == []
    assert 0 in history.steps


@pytest.mark.parametrize("max_bytes", [30_000, 60_000, 200_000])
def test_stays_below_the_bytes_allowed(tmp_path: Path, max_bytes: int) -> None:
    writer = RecordingWriter(tmp_path, max_bytes=max_bytes)
    pretend_training(small_network(), [writer], epochs=300, steps_per_epoch=20)
    history = read_recording(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= max_bytes
    steps = history.scalars["step"]
    assert len(set(steps.tolist())) == len(steps)
    assert history.steps[-1] == 6000
    if max_bytes < 200_000:
        assert writer.plan is not None
        assert writer.plan.notes
        assert steps[-1] > 5000
        assert set(np.diff(steps).tolist()) <= {2**k for k in range(12)}


def test_recording_json_tells_what_was_trained(tmp_path: Path) -> None:
    network = Network.dense(
        [2, 3, 2], seed=7, input_names=["sqft", "</script>"], class_names=["no", "yes"], output="softmax"
    )
    writer = RecordingWriter(tmp_path, data={"fingerprint": "abc"}, split={"train": [0, 2], "validation": [1]})
    writer.on_fit_begin(TrainingState(network, 1, 1))
    content = json.loads((tmp_path / "recording.json").read_text(encoding="utf-8"))
    assert (content["format"], content["version"], content["seed"]) == ("neuronwise-recording", 0, 7)
    assert content["features"] == ["sqft", "</script>"]
    assert content["classes"] == ["no", "yes"]
    assert content["parameters"] == {
        "count": 17,
        "dtype": "float32",
        "layers": {
            "hidden1": {"W": {"offset": 0, "shape": [3, 2]}, "b": {"offset": 6, "shape": [3]}},
            "output": {"W": {"offset": 9, "shape": [2, 3]}, "b": {"offset": 15, "shape": [2]}},
        },
    }
    assert content["data"] == {"fingerprint": "abc"}
    history = read_recording(tmp_path)
    assert history.split("train").tolist() == [0, 2]
    assert history.split("validation").tolist() == [1]
    assert history.status == "unfinished"
    with pytest.raises(NotFoundError, match="'test'"):
        history.split("test")


def test_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    class Look(Observer):
        def on_epoch_end(self, state: TrainingState) -> None:
            history = read_recording(tmp_path)
            seen.append((len(history.scalars), int(history.steps[-1])))

    pretend_training(small_network(), [RecordingWriter(tmp_path), Look()], epochs=2, steps_per_epoch=10)
    assert seen == [(10, 10), (20, 20)]


def test_recording_changes_nothing(tmp_path: Path) -> None:
    alone, watched = small_network(), small_network()
    state = np.random.get_state()[1].copy()
    pretend_training(alone, [])
    pretend_training(watched, [RecordingWriter(tmp_path)])
    np.testing.assert_array_equal(alone.parameters, watched.parameters)
    np.testing.assert_array_equal(state, np.random.get_state()[1])


def test_a_failing_disk_ends_the_recording_not_the_training(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r")

    def pull_the_plug(state: TrainingState) -> None:
        if state.step == 15:
            writer._keyframes._write = writer._scalars._write = full_disk  # type: ignore[method-assign]

    def full_disk(view: memoryview) -> None:
        raise OSError(28, "No space left on device")

    network = small_network()
    with pytest.warns(RuntimeWarning, match=r"ended early: OSError: .*No space left.* training goes on") as caught:
        truth = pretend_training(network, [writer], epochs=3, each_step=pull_the_plug)
    assert len(caught) == 1
    assert len(truth) == 31
    assert "No space left" in writer.problems[0]
    history = read_recording(tmp_path / "r")
    assert history.steps.tolist() == [0, 1, 2, 4, 8, 10]
    assert history.status == "unfinished"


def test_strict_raises_instead(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    writer = RecordingWriter(tmp_path / "file" / "r", strict=True)
    with pytest.raises(OSError, match="file"):
        pretend_training(small_network(), [writer])


def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    writer = RecordingWriter(tmp_path / "file" / "r")
    with pytest.warns(RuntimeWarning, match="training goes on"):
        pretend_training(small_network(), [writer], epochs=2)
    assert len(writer.problems) == 1


def test_an_existing_recording_is_not_written_over(tmp_path: Path) -> None:
    pretend_training(small_network(), [RecordingWriter(tmp_path)])
    with pytest.raises(UsageError, match="already holds a recording"):
        RecordingWriter(tmp_path)


def test_noting_a_step_is_cheap(tmp_path: Path) -> None:
    network = Network.dense([784, 16, 16, 10])
    writer = RecordingWriter(tmp_path)
    state = TrainingState(network, 10, 10_000)
    writer.on_fit_begin(state)
    state.step, state.loss, state.learning_rate = 8192, 0.5, 0.01
    writer.on_step_end(state)  # past the early steps

    def seconds(n: int = 2000) -> float:
        start = time.perf_counter()
        for step in range(state.step + 1, state.step + 1 + n):
            state.step = step
            writer.on_step_end(state)
        return (time.perf_counter() - start) / n

    # Measured 0.25 µs; ten times as much still is little beside a step of 40 µs. The fastest of some is
    # taken, since other work on the machine only adds.
    assert min(seconds() for _ in range(3)) < 2.5e-6


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    from helpers import pretend_training, small_network
    from neuronwise.recording import RecordingWriter

    def die(state):
        if state.step == 47:
            os.kill(os.getpid(), signal.SIGKILL)

    pretend_training(small_network(), [RecordingWriter({folder!r})], epochs=9, each_step=die)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), folder=str(tmp_path / "r"))
    result = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert result.returncode == -signal.SIGKILL
    truth = pretend_training(small_network(), [], epochs=9)
    history = read_recording(tmp_path / "r")
    assert history.steps.tolist() == [0, 1, 2, 4, 8, 10, 20, 30, 40]
    for step in history.steps.tolist():
        np.testing.assert_array_equal(history.parameters(step), truth[step])
    assert len(history.scalars) == 40
    assert [epoch["epoch"] for epoch in history.epochs] == [1, 2, 3, 4]
    assert history.status == "unfinished"
    assert "keyframes-000000.npy.part: was not sealed, 9 whole rows are read" in history.problems


def test_asking_for_what_is_not_there_names_what_is(tmp_path: Path) -> None:
    pretend_training(small_network(), [RecordingWriter(tmp_path)])
    history = read_recording(tmp_path)
    with pytest.raises(NotFoundError, match=r"step 13\nthe nearest step whose weights are stored is 10"):
        history.parameters(13)
    with pytest.raises(NotFoundError, match=r"no layer 'hiden1'\. Did you mean 'hidden1'\?"):
        history.layer(10, "hiden1")
    with pytest.raises(NotFoundError, match="there is no recording in"):
        read_recording(tmp_path / "elsewhere")


def edit(folder: Path, **changes: object) -> None:
    path = folder / "recording.json"
    content = json.loads(path.read_text())
    for dotted, value in changes.items():
        target = content
        *parents, last = dotted.split("__")
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "something"}, "no recording of Neuronwise"),
        ({"version": 9}, "the recording has version 9, this reads version 0"),
        ({"parameters__count": 2**62}, "parameters"),
        ({"parameters__count": -1}, "parameters"),
        ({"parameters__count": "12"}, "'count' should be int, is '12'"),
        ({"parameters__count": 10**9}, "does not describe rows"),
        ({"parameters__count": 48}, "does not describe rows"),
        ({"parameters__dtype": "object"}, "dtype 'object'"),
        ({"parameters__layers__hidden1": {"W": {"offset": 30, "shape": [4, 5]}}}, "do not fit"),
        ({"parameters__layers__hidden1": {"W": {"offset": 0, "shape": [2**40, 2**40]}}}, "do not fit"),
        ({"parameters__layers__hidden1": {"W": {"offset": -4, "shape": [1]}}}, "do not fit"),
        ({"parameters__layers__hidden1": [1]}, "not described"),
        ({"network": None}, "'network' should be dict"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_hostile_description_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    pretend_training(small_network(), [RecordingWriter(tmp_path)])
    edit(tmp_path, **changes)
    with pytest.raises(FormatError, match=message):
        read_recording(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_broken_description_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recording.json").write_bytes(content)
    with pytest.raises(FormatError, match=r"recording\.json"):
        read_recording(tmp_path)


def test_a_description_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recording.json").symlink_to(os.devnull)
    with pytest.raises(FormatError, match="plain file"):
        read_recording(tmp_path)


def test_a_recording_without_its_events_still_opens(tmp_path: Path) -> None:
    pretend_training(small_network(), [RecordingWriter(tmp_path)])
    (tmp_path / "events.jsonl").unlink()
    history = read_recording(tmp_path)
    assert history.epochs == []
    assert history.problems == ["events.jsonl is missing: no metrics and layer summaries"]
