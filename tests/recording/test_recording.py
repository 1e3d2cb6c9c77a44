"""Recording: what can be asked, and what it says where there is no answer."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuronwise.errors import NeuronwiseError, NotFoundError, UsageError
from neuronwise.learning import fit
from neuronwise.network import Network
from neuronwise.recording import NEURON_FIELDS, Recording, RecordingWriter, read_recording

from .helpers import OPTIONS, Everything, X, Y, all_layers, data, plain, train

SPARSE: dict[str, Any] = {"keyframe_every": 7, "statistics_every": 5, "probe": X[:3]}


@pytest.fixture(scope="module")
def everything() -> Everything:
    return Everything()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, everything: Everything) -> Path:
    folder = tmp_path_factory.mktemp("recording") / "r"
    train(folder, all_layers(), [everything], writer=SPARSE, validation=np.arange(60, 70), learning_rate=0.02)
    return folder


@pytest.fixture
def recording(folder: Path) -> Recording:
    return Recording(read_recording(folder), data)


@pytest.fixture
def stored_only(folder: Path) -> Recording:
    return Recording(read_recording(folder))


def test_says_what_there_is(recording: Recording, stored_only: Recording) -> None:
    assert recording.steps == range(21)
    assert recording.why_not_replayed is None
    assert recording.keyframes.tolist() == [0, 1, 2, 4, 7, 8, 12, 14, 16, 20]
    assert recording.frames.tolist() == [0, 1, 2, 4, 5, 8, 10, 12, 15, 16, 20]
    assert recording.status == "finished"
    assert recording.best_step == recording.stored.best_step is not None
    assert recording.problems == []
    assert repr(recording) == "<Recording of 119 parameters, 10 states stored, finished>"
    np.testing.assert_array_equal(stored_only.steps, recording.keyframes)
    assert "the data they learned from is not at hand" in str(stored_only.why_not_replayed)


def test_any_step_stored_or_not(recording: Recording, everything: Everything) -> None:
    for step in (20, 3, 0, 14, 13, 19, 6):
        network = recording.at(step)
        assert network.parameters.tobytes() == everything.steps[step]["parameters"].tobytes()
        assert network.buffers.tobytes() == everything.steps[step]["buffers"].tobytes()
    assert recording.network.parameters.tobytes() == recording.at(recording.best_step or 0).parameters.tobytes()
    trace, probed = recording.trace(9, X[:3]), recording.probe(9)
    for layer in range(len(trace)):
        np.testing.assert_array_equal(trace[layer].a, probed[layer].a)
    np.testing.assert_array_equal(trace[-1].a, recording.at(9).trace(X[:3])[-1].a)
    assert recording.step(9).after.parameters.tobytes() == everything.steps[9]["parameters"].tobytes()


def test_without_the_data_what_is_stored_can_be_read_and_the_rest_says_why(stored_only: Recording) -> None:
    assert stored_only.at(7).parameter_count == 119
    for ask in (
        lambda: stored_only.at(6),
        lambda: stored_only.step(7),
        lambda: stored_only.neurons("conv1", "mean", [3]),
    ):
        with pytest.raises(NotFoundError, match=r"not at hand\nhand it in.* 10 stored states can be read .* step \d"):
            ask()
    assert stored_only.neurons("hidden1", "mean").values.shape == (11, 5)


@pytest.mark.parametrize("step", [-1, 21, 10**9, 2**62])
def test_a_step_that_was_not_taken_is_not_found(recording: Recording, step: int) -> None:
    with pytest.raises(NotFoundError, match=f"the training took 20 steps, got {step}"):
        recording.at(step)
    with pytest.raises(NotFoundError):
        recording.neurons("hidden1", "mean", [step])


def test_the_history_of_weights_and_biases(recording: Recording, everything: Everything) -> None:
    bias = recording.history("hidden1[2].bias")
    np.testing.assert_array_equal(bias.steps, recording.keyframes)
    every = recording.history("hidden1[2].weights")
    for at, step in enumerate(bias.steps.tolist()):
        network = recording.at(step)
        assert network["hidden1[2]"].bias == bias.values[at]
        np.testing.assert_array_equal(network["hidden1[2]"].weights.ravel(), every.values[at])
    one = recording.history("hidden1[2].weights[4]")
    np.testing.assert_array_equal(one.values, every.values[:, 4])
    name = recording.input_names("hidden1[2]")[4]
    np.testing.assert_array_equal(recording.history(f"hidden1[2].weights[{name}]").values, one.values)
    gamma = recording.history("norm1[1].weights")
    assert gamma.values.shape == (10, 1)
    np.testing.assert_array_equal(gamma.values[-1], recording.stored.layer(20, "norm1")["gamma"][1:2])
    assert recording.history("conv1[0].weights").values.shape == (10, 9)
    pixel = recording.history("conv1[1].weights[patch[0] @ (2, 1)]")
    assert pixel.values.tolist() == [recording.at(step)["conv1"].W[1, 0, 2, 1] for step in pixel.steps.tolist()]
    assert everything.steps


def test_the_history_of_the_training(recording: Recording, everything: Everything) -> None:
    loss = recording.history("loss")
    assert loss.steps.tolist() == list(range(1, 21))
    assert loss.values.tolist() == [everything.steps[step]["loss"] for step in range(1, 21)]
    assert set(recording.history("learning_rate").values.tolist()) == {0.02}
    held_out = recording.history("val_loss")
    assert held_out.steps.tolist() == [4, 8, 12, 16, 20]
    assert held_out.steps[np.argmin(held_out.values)] == recording.best_step


def test_the_norm_of_a_layer_has_a_history_by_its_name(recording: Recording) -> None:
    for quantity in ("grad_norm", "update_ratio"):
        course, known = recording.history(f"conv1.{quantity}"), recording.layer_norms("conv1", quantity)
        assert (course.name, course.steps.tolist()) == (f"conv1.{quantity}", known.steps[1:].tolist())
        np.testing.assert_array_equal(course.values, known.values[1:])  # before the first step there is none
    assert recording.history("conv1.weight_norm").steps[0] == 0


def test_without_its_losses_the_mean_of_an_epoch_is_not_given_for_that_of_a_step(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "r")
    (tmp_path / "r" / "scalars-000000.npy").unlink()
    damaged = Recording(read_recording(tmp_path / "r"), data)
    assert len(damaged.history("loss").steps) == 0
    assert damaged.problems
    assert damaged.history("val_loss").steps.tolist() == [4, 8, 12, 16, 20]


@pytest.mark.parametrize("wrong", [None, 3, ["hidden1"]])
def test_what_is_no_name_is_refused(recording: Recording, wrong: Any) -> None:
    for ask in (
        lambda: recording.history(wrong),
        lambda: recording.neurons(wrong, "mean"),
        lambda: recording.neurons("hidden1", wrong),
        lambda: recording.layer_norms("hidden1", wrong),
        lambda: recording.histogram(wrong, "W", 1),
        lambda: recording.to_pandas(wrong),
    ):
        with pytest.raises(UsageError, match="expected a name, got"):
            ask()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hiden1[0].bias", r"no layer 'hiden1'\. Did you mean 'hidden1'\?"),
        ("hidden1[5].bias", "'hidden1' has the neurons 0 to 4, got 5"),
        ("hidden1[0].biass", r"a neuron has no 'biass'\. Did you mean 'bias'\?"),
        ("hidden1[0]", "is a whole neuron"),
        ("hidden1[0].weights[99]", "has no input '99'"),
        (
            "hidden1[0].bias[1]",
            r"'bias' of a neuron is one number: there is no '1' of it\nsuch as \"hidden1\[0\]\.bias\"",
        ),
        ("hidden1[-1].bias", r"(?s)names no neuron.*from 0 on"),
        ("hidden1[٣].bias", "names no neuron"),
        (
            "conv1[2] @ (0, 1).mean",
            r"is one place of a convolution: its channels are recorded whole\nsuch as \"conv1\[2\]\"",
        ),
        ("conv1[2].weights[patch]", r"inputs are patch\[0\] @ \(0, 0\), patch\[0\] @ \(0, 1\)"),
        ("hidden1", r"is a whole layer\nsay what of it, such as \"hidden1\.grad_norm\", or which neuron"),
        ("hidden1.mean", r"a layer has no 'mean'"),
        ("hiden1.gradnorm", r"names nothing that was recorded\. Did you mean 'hidden1\.grad_norm'\?"),
        ("nothing", r"such as learning_rate, loss, val_accuracy, val_loss, conv1\[0\]\.bias"),
        ("dropout1.grad_norm", "has no neurons of its own"),
        ("hidden1[x].bias", "names no neuron"),
        ("flatten1[0].bias", r"'flatten1' \(Flatten\) has no neurons of its own"),
        ("val_los", r"names nothing that was recorded\. Did you mean 'val_loss'\?"),
        ("hidden1[0].bias\n", "names no neuron"),
    ],
)
def test_unknown_names_say_what_exists(recording: Recording, name: str, message: str) -> None:
    with pytest.raises(NotFoundError, match=message):
        recording.history(name)


def test_unknown_layers_and_quantities_say_what_exists(recording: Recording) -> None:
    with pytest.raises(NotFoundError, match=r"no layer 'conv'\."):
        recording.neurons("conv", "mean")
    with pytest.raises(
        NotFoundError, match=r"no quantity 'grad_nrm'\. Did you mean 'grad_norm'\?\nquantities of a neuron"
    ):
        recording.neurons("hidden1", "grad_nrm")
    with pytest.raises(NotFoundError, match="has no neurons of its own\nlayers with neurons: conv1, norm1"):
        recording.neurons("dropout1", "mean")
    with pytest.raises(NotFoundError, match=r"a layer has no 'mean'\.\nnorms of a layer are weight_norm"):
        recording.layer_norms("hidden1", "mean")
    with pytest.raises(NotFoundError, match="no histogram of 'b'\nthere are those of W, dW, z, a"):
        recording.histogram("hidden1", "b", 5)


def test_statistics_of_steps_that_are_not_stored_are_those_that_would_have_been(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuronwise.recording.schedule._FRAMES_ALLOWED_US", 1e6)  # histograms at every step
    train(tmp_path, all_layers(), writer={"statistics_every": 1}, validation=np.arange(60, 70), learning_rate=0.02)
    every = Recording(read_recording(tmp_path))
    for layer in ("conv1", "norm1", "output"):
        for quantity in NEURON_FIELDS:
            again, stored = (one.neurons(layer, quantity, range(21)) for one in (recording, every))
            np.testing.assert_array_equal(again.steps, np.arange(21))
            assert again.values.tobytes() == stored.values.tobytes()
        for quantity in ("weight_norm", "grad_norm", "update_norm", "update_ratio"):
            course = recording.layer_norms(layer, quantity, range(21))
            np.testing.assert_array_equal(course.values, every.layer_norms(layer, quantity, range(21)).values)
        for step in (3, 5, 19):
            one, other = recording.histogram(layer, "z", step), every.histogram(layer, "z", step)
            np.testing.assert_array_equal(one.counts, other.counts)
            np.testing.assert_array_equal(one.edges, other.edges)


def test_norms_of_a_layer_are_those_of_all_its_weights(recording: Recording) -> None:
    for step in (7, 9):
        again = recording.step(step)
        for what, parts in (("grad_norm", again.gradients), ("update_norm", again.update)):
            course = recording.layer_norms("hidden1", what, [step])
            assert course.values[0] == pytest.approx(np.linalg.norm(parts["hidden1"]["W"]), rel=1e-5)
        W = again.after["hidden1"].W
        assert recording.layer_norms("hidden1", "weight_norm", [step]).values[0] == pytest.approx(np.linalg.norm(W))
        ratio = np.linalg.norm(again.update["hidden1"]["W"]) / np.linalg.norm(W)
        assert recording.layer_norms("hidden1", "update_ratio", [step]).values[0] == pytest.approx(ratio, rel=1e-5)


def test_histograms_have_edges(recording: Recording) -> None:
    W = recording.at(6)["hidden1"].W
    found = recording.histogram("hidden1", "W", 6)
    assert found.counts.sum() == W.size
    assert (found.edges[0], found.edges[-1], len(found.edges)) == (W.min(), W.max(), 65)


def test_what_is_computed_is_kept_up_to_some_bytes(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    recording.neurons("hidden1", "mean", [3, 6])
    at = recording.replay._at
    recording.neurons("conv1", "std", [3])
    assert recording.replay._at == at  # nothing was taken again
    monkeypatch.setattr("neuronwise.recording.recording._CACHE_BYTES", 1)
    assert recording.neurons("hidden1", "mean", [9, 11, 13]).values.shape == (3, 5)
    assert len(recording._cache) == 0
    assert recording.neurons("hidden1", "mean", []).values.shape == (0, 5)


def test_a_damaged_frame_is_taken_again(folder: Path, tmp_path: Path, recording: Recording) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "r")
    (path,) = (tmp_path / "r").glob("neurons-*.npy")
    rows = np.load(path, mmap_mode="r+")
    rows["mean"][rows["step"] == 10] += 1
    rows.flush()
    true = recording.neurons("hidden1", "mean")
    again = Recording(read_recording(tmp_path / "r"), data).neurons("hidden1", "mean", [10])
    np.testing.assert_array_equal(again.values, true.values[true.steps == 10])
    without = Recording(read_recording(tmp_path / "r")).neurons("hidden1", "mean")
    assert without.steps.tolist() == [step for step in true.steps.tolist() if step != 10]


def test_a_recording_without_weights_says_so(tmp_path: Path) -> None:
    network = Network.dense([200, 100, 1], output="identity")
    X_ = np.random.default_rng(0).normal(size=(60, 200))
    fit(network, X_, X_[:, 0], epochs=2, observers=[RecordingWriter(tmp_path, max_bytes=60_000)], strict=True)
    recording = Recording(read_recording(tmp_path))
    assert recording.steps.tolist() == []  # type: ignore[union-attr]
    for ask in (lambda: recording.network, lambda: recording.at(2)):
        with pytest.raises(NotFoundError, match=r"holds no weights|not at hand"):
            ask()
    assert len(recording.history("loss").steps) == 4


def test_is_refreshed_while_a_training_runs(tmp_path: Path) -> None:
    lengths: list[int] = []
    errors: list[BaseException] = []
    begun, ended = threading.Event(), threading.Event()

    def run() -> None:
        try:
            writer = RecordingWriter(tmp_path / "r", keyframe_every=1, statistics_every=1)
            fit(plain(), X, Y, observers=[writer], **(OPTIONS | {"epochs": 150}))
        except BaseException as error:
            errors.append(error)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    recording = None
    while not ended.is_set():
        try:
            recording = Recording(read_recording(tmp_path / "r"), data) if recording is None else recording.refresh()
        except NotFoundError:  # not begun yet
            continue
        begun.set()
        lengths.append(len(recording.keyframes))
        told = [one for one in recording.problems if "was not sealed" not in one and "torn last row" not in one]
        assert all("events.jsonl" in one for one in told), told
        if lengths[-1]:
            assert recording.at(int(recording.keyframes[-1])).parameter_count == 203
    thread.join()
    assert errors == []
    assert recording is not None
    assert len(recording.refresh().keyframes) == 601
    assert lengths == sorted(lengths)
    assert recording.refresh().stored.check() == []


def test_reading_never_raises_anything_else(recording: Recording) -> None:
    for question in (
        "",
        "[",
        "a[0]",
        "hidden1[999999999999].bias",
        "x" * 10_000,
        "hidden1[0].weights[" + "9" * 5000 + "]",
    ):
        with pytest.raises(NeuronwiseError):
            recording.history(question)


@pytest.mark.parametrize("step", ["a", 1.5, True, None])
def test_what_is_no_step_is_refused_by_name(recording: Recording, step: Any, tmp_path: Path) -> None:
    layer = recording.stored.layout.observed[0].name
    for ask in (recording.at, recording.step, lambda one: recording.neurons(layer, "mean", steps=[one])):
        with pytest.raises(UsageError, match="argument step"):
            ask(step)
    with pytest.raises(UsageError, match="argument steps"):
        recording.neurons(layer, "mean", steps="12")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="argument name"):
        recording.history(3)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        recording.to_parquet(tmp_path / "file")
