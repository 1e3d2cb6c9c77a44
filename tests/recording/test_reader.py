from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuronwise.errors import NotFoundError
from neuronwise.learning import ReduceOnPlateau
from neuronwise.network import Network
from neuronwise.recording import layer_summaries, read_recording

from .helpers import ROWS, Everything, X, all_layers, files_of, plain, small_segments, train


def test_what_numpy_reads_without_neuronwise(tmp_path: Path) -> None:
    everything = Everything()
    with small_segments(6):
        train(tmp_path, all_layers(), [everything], writer={"keyframe_every": 1, "probe": X[:2]})
    rows = np.concatenate([np.load(path, mmap_mode="r") for path in sorted(tmp_path.glob("keyframes-*.npy"))])
    assert rows["step"].tolist() == list(range(21))
    for row in rows:
        assert row["params"].tobytes() == everything.steps[int(row["step"])]["parameters"].tobytes()
        assert row["buffers"].tobytes() == everything.steps[int(row["step"])]["buffers"].tobytes()
    scalars = np.concatenate([np.load(path, mmap_mode="r") for path in sorted(tmp_path.glob("scalars-*.npy"))])
    assert scalars["loss"].tolist() == [everything.steps[step]["loss"] for step in range(1, 21)]
    assert np.load(tmp_path / "neurons-000000.npy", mmap_mode="r")["weight_norm"].shape[1] == 3 + 3 + 5 + 3
    assert {path.split("-")[0] for path in files_of(tmp_path)} == {
        "attempt", "events.jsonl", "keyframes", "layers", "neurons", "probe.npy", "recording.json", "scalars",
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_states_and_layers_of_a_step(tmp_path: Path, dtype: str) -> None:
    network = all_layers(dtype)
    train(tmp_path, network, optimizer="adam")
    history = read_recording(tmp_path)
    assert history.parameters(20).dtype == network.dtype
    assert history.parameter_count == network.parameter_count
    assert history.layer_names == [layer.name for layer in network.layers]
    for layer in network.layers:
        found = history.layer(20, layer.name)
        for key, values in {**layer.parameters, **layer.buffers}.items():
            np.testing.assert_array_equal(found[key], values)
    assert sorted(history.optimizer_state(20)) == ["gradient_sum", "square_sum"]
    assert history.is_whole(20)
    assert not history.is_whole(10**6)
    rebuilt = Network.from_dict(history.network_dict)
    rebuilt.parameters[:], rebuilt.buffers[:] = history.parameters(20), history.buffers(20)
    np.testing.assert_array_equal(rebuilt.predict(X[:4]), network.predict(X[:4]))


def test_what_is_handed_out_is_a_copy(tmp_path: Path) -> None:
    train(tmp_path, plain())
    history = read_recording(tmp_path)
    history.parameters(20)[:] = 0
    history.scalars["loss"][:] = 0
    assert history.parameters(20).any()
    assert read_recording(tmp_path).scalars["loss"].all()


def test_metrics_and_summaries_of_every_epoch(tmp_path: Path) -> None:
    network = plain()
    result = train(tmp_path, network, validation=np.arange(60, 70), writer={"statistics_every": 1})
    history = read_recording(tmp_path)
    assert [epoch["epoch"] for epoch in history.epochs] == [1, 2, 3, 4, 5]
    for recorded, true in zip(history.epochs, result.history, strict=True):
        assert recorded["step"] == true["step"]
        assert recorded["metrics"] == {key: value for key, value in true.items() if key.startswith(("loss", "val_"))}
        state = Network.from_dict(history.network_dict)
        state.parameters[:] = history.parameters(true["step"])
        expected = layer_summaries(state, history.layout, history.neurons(int(true["step"]))[0], ())
        for layer, summary in expected.items():
            for key, value in summary.items():
                assert recorded["layers"][layer][key] == value
    assert history.best_step == result.best_step == history.delivered_step


def test_schedules_that_note_something_have_it_by_step(tmp_path: Path) -> None:
    train(tmp_path, plain(), schedule=ReduceOnPlateau(patience=0, threshold=0.9))
    history = read_recording(tmp_path)
    assert history.schedule_state(0) == {}
    assert history.schedule_state(7) == history.schedule_state(4) != history.schedule_state(20)
    assert set(history.schedule_state(20)) == {"factor", "lowest", "bad_epochs", "waiting"}


def test_asking_for_what_is_not_there_names_what_is(tmp_path: Path) -> None:
    train(tmp_path, plain(), writer={"keyframe_every": 7, "statistics_every": 5, "split": {"train": ROWS}})
    history = read_recording(tmp_path)
    with pytest.raises(
        NotFoundError, match=r"no weights are stored of step 13\nthe nearest .* weights are stored is 1[24]"
    ):
        history.parameters(13)
    with pytest.raises(NotFoundError, match=r"no statistics are stored of step 14\nthe nearest .* is 15"):
        history.neurons(14)
    with pytest.raises(NotFoundError, match="no histograms are stored of step 1000000"):
        history.histograms(10**6)
    with pytest.raises(NotFoundError, match=r"no layer 'hiden1'\. Did you mean 'hidden1'\?"):
        history.layer(7, "hiden1")
    with pytest.raises(NotFoundError, match="no rows are recorded for 'test'"):
        history.split("test")
    with pytest.raises(NotFoundError, match="no rows are recorded for"):
        history.split("../../x")
    assert history.probe is None
    with pytest.raises(NotFoundError, match="there is no attempt 7\nattempts are 1"):
        read_recording(tmp_path, attempt=7)
    with pytest.raises(NotFoundError, match="there is no recording in"):
        read_recording(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="there is no recording in"):
        read_recording(tmp_path / "recording.json")


def test_a_recording_without_its_events_still_opens(tmp_path: Path) -> None:
    train(tmp_path, plain())
    (tmp_path / "events.jsonl").unlink()
    history = read_recording(tmp_path)
    assert history.epochs == []
    assert history.status == "unfinished"
    assert history.problems == [
        "events.jsonl is missing: no metrics and layer summaries",
        "events.jsonl: the beginning of attempt 1 is missing",
    ]
    assert len(history.scalars) == 20


def test_values_over_all_states_are_those_of_each(tmp_path: Path) -> None:
    with small_segments(4):
        train(tmp_path, all_layers(), writer={"keyframe_every": 3})
    history = read_recording(tmp_path)
    for layer in history.layout.layers.values():
        for place in layer.parameters.values():
            steps, values = history.values(place)
            np.testing.assert_array_equal(steps, history.steps)
            for step, row in zip(steps.tolist(), values, strict=True):
                np.testing.assert_array_equal(row, place.of(history.parameters(step)).ravel())
