"""sync: what a training could not send is sent from disk, once."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import neuronwise
from neuronwise import Run
from neuronwise.errors import NotFoundError
from neuronwise.learning import Observer, TrainingState
from neuronwise.running import Synced, find_run, list_runs, resume, sync
from neuronwise.running.checkpointing import training_lock
from neuronwise.running.run import runs_folder
from neuronwise.running.tracked import tags_of
from neuronwise.running.tracking_file import TrackingState
from neuronwise.tracking import Store, open_store, resolve_store
from neuronwise.tracking.manifest import Manifest, fetch_manifest

from .conftest import make_frame
from .flaky import Flaky, kill_one

OPTIONS: dict[str, Any] = {"layers": [5], "epochs": 6, "drop": ["sign"], "name": "mine"}


class At(Observer):
    """Does something at the end of an epoch."""

    def __init__(self, epoch: int, action: Callable[[], None]) -> None:
        self.epoch, self.action = epoch, action

    def on_epoch_end(self, state: TrainingState) -> None:
        if state.epoch == self.epoch:
            self.action()


def everything(store: Store, run_id: str) -> dict[str, Any]:
    """Return all that a store has of a run, such as two runs can be compared by."""
    client = open_store(store)
    run = client.get_run(run_id)
    metrics = {}
    for key in run.data.metrics:
        points = client.get_metric_history(run_id, key)
        metrics[key] = sorted((one.step, one.value) for one in points)  # MLflow orders them by time
    manifest = manifest_of(store, run_id)
    return {
        "status": run.info.status,
        "params": run.data.params,
        "metrics": {key: points for key, points in metrics.items() if key != "steps_per_second"},
        "speeds": [step for step, _ in metrics.get("steps_per_second", [])],
        "tags": {key: value for key, value in run.data.tags.items() if key.startswith(("neuronwise.", "mlflow.note"))},
        "data": [one.dataset.name for one in run.inputs.dataset_inputs],
        "models": [one.step for one in run.outputs.model_outputs],
        "images": sorted(one.path.split("timestamp")[0] for one in client.list_artifacts(run_id, "images")),
        "files": set(manifest.files),
    }


def manifest_of(store: Store, run_id: str) -> Manifest:
    return fetch_manifest(open_store(store), run_id)


def one(outcome: Iterator[Synced]) -> Synced:
    (found,) = outcome
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what MLflow has of the training when nothing fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(tmp_path_factory.mktemp("whole")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        run = neuronwise.train(make_frame(), "y", **OPTIONS)
        assert run.not_logged == []
        return everything(resolve_store(), run.id) | {"weights": run.network.parameters.tobytes()}


def check_whole(found: dict[str, Any], whole: dict[str, Any]) -> None:
    own = ("neuronwise.local_id", "neuronwise.folder")
    for part in ("status", "params", "metrics", "speeds", "data", "models", "images", "files"):
        assert found[part] == whole[part], part
    assert set(found["tags"]) == set(whole["tags"])
    for key in set(found["tags"]) - set(own):
        assert found["tags"][key] == whole["tags"][key]


def nothing_more(store: Store, run: Run, flaky: Flaky, run_id: str) -> None:
    """Check that to sync again does nothing: of all runs, and of this one by its name."""
    before = everything(store, run_id)
    assert list(sync()) == []
    flaky.calls.clear()
    again = one(sync([run.id]))
    assert (again.outcome, again.points, again.files) == ("sent", 0, 0)
    assert everything(store, run_id) == before
    assert not {"log_artifact", "log_image", "create_run", "create_logged_model"} & set(flaky.calls)


# ---------------------------------------------------------------- the store is away


def test_away_at_the_start_the_run_is_made_and_completed_once(
    store: Store, flaky: Flaky, whole: dict[str, Any]
) -> None:
    flaky.is_down = True
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    assert run.tracking_uri is None
    assert run.network.parameters.tobytes() == whole["weights"]
    assert any(f"neuronwise sync {run.id[:8]} sends" in sentence for sentence in run.not_logged)
    assert one(sync()).outcome == "failed"
    flaky.is_down = False
    done = one(sync())
    assert (done.outcome, done.id, done.name) == ("sent", run.id, "mine")
    assert done.run_id != run.id
    assert done.size_bytes > 0
    assert done.run_id is not None
    check_whole(everything(store, done.run_id), whole)
    nothing_more(store, run, flaky, done.run_id)
    assert find_run(done.run_id).id == find_run("mine").id == find_run(run.id[:6]).id == run.id
    assert find_run("latest").tracking_uri == store.display_uri
    listed, problem = list_runs()
    assert problem is None
    assert [(each.id, each.name, each.status) for each in listed] == [(run.id, "mine", "finished")]


def test_a_run_that_mlflow_never_had_links_to_its_inspector_when_it_is_sent(store: Store, flaky: Flaky) -> None:
    flaky.is_down = True
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    (run.folder / "inspector.html").write_text("<!doctype html>")
    state = TrackingState.load(run.folder)
    state.tags["mlflow.note.content"] = tags_of(run, None)["mlflow.note.content"]
    assert "Open the inspector" not in state.tags["mlflow.note.content"]
    state.save()
    flaky.is_down = False
    done = one(sync())
    stored = open_store(store).get_run(str(done.run_id))
    link = f"#/experiments/{stored.info.experiment_id}/runs/{done.run_id}/artifacts/neuronwise/inspector.html"
    said = stored.data.tags["mlflow.note.content"]
    assert said.startswith(f"**[Open the inspector]({link}?workflowType=machine_learning)**: ")
    assert "weights and biases" in said
    anew = one(sync([run.id], anew=True))
    assert anew.run_id != done.run_id
    assert f"/runs/{anew.run_id}/" in open_store(store).get_run(str(anew.run_id)).data.tags["mlflow.note.content"]


def test_a_description_that_the_user_wrote_stays(store: Store, flaky: Flaky) -> None:
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    open_store(store).set_tag(run.id, "mlflow.note.content", "my words")
    state = TrackingState.load(run.folder)
    state.is_complete = False
    state.save()
    assert one(sync()).outcome == "sent"
    assert open_store(store).get_run(run.id).data.tags["mlflow.note.content"] == "my words"


def test_away_in_the_middle_the_run_is_completed(store: Store, flaky: Flaky, whole: dict[str, Any]) -> None:
    run = neuronwise.train(make_frame(), "y", observers=[At(3, lambda: setattr(flaky, "is_down", True))], **OPTIONS)
    assert run.network.parameters.tobytes() == whole["weights"]
    assert run.not_logged
    flaky.is_down = False
    done = one(sync())
    assert (done.outcome, done.run_id) == ("sent", run.id)
    check_whole(everything(store, run.id), whole)
    nothing_more(store, run, flaky, run.id)


def test_away_in_the_middle_and_back_at_the_end_nothing_is_missing(
    store: Store, flaky: Flaky, whole: dict[str, Any]
) -> None:
    down, up = (At(epoch, lambda to=to: setattr(flaky, "is_down", to)) for epoch, to in ((2, True), (6, False)))
    run = neuronwise.train(make_frame(), "y", observers=[down, At(4, lambda: time.sleep(0.1)), up], **OPTIONS)
    assert run.network.parameters.tobytes() == whole["weights"]
    list(sync())
    check_whole(everything(store, run.id), whole)


@pytest.mark.parametrize(
    "fails",
    [
        {"log_artifact"},
        {"log_batch"},
        {"log_image"},
        {"create_logged_model"},
        {"finalize_logged_model"},
        {"set_terminated"},
        {"log_inputs"},
    ],
    ids=lambda fails: min(fails),
)
def test_whatever_fails_at_the_end_is_made_up_for(
    store: Store, flaky: Flaky, whole: dict[str, Any], fails: set[str]
) -> None:
    flaky.fails = fails
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    assert run.network.parameters.tobytes() == whole["weights"]
    assert run.not_logged
    state = TrackingState.load(run.folder)
    assert not state.is_complete
    assert one(sync()).outcome == "failed"
    flaky.fails = set()
    assert one(sync()).outcome == "sent"
    check_whole(everything(store, str(TrackingState.load(run.folder).run_id)), whole)
    nothing_more(store, run, flaky, run.id)


def test_a_kill_between_making_the_run_and_writing_its_id_down_makes_no_second_one(
    store: Store, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky.is_down = True
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    flaky.is_down = False

    def killed(self: TrackingState) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrackingState, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            list(sync())
    assert TrackingState.load(run.folder).run_id is None
    assert one(sync()).outcome == "sent"
    assert len(list_runs()[0]) == 1
    assert flaky.calls["create_run"] == 1


def test_a_run_that_was_resumed_after_it_was_sent_goes_on_there(store: Store, flaky: Flaky) -> None:
    flaky.is_down = True
    frame = make_frame()
    run = neuronwise.train(frame, "y", **(OPTIONS | {"epochs": 3}))
    flaky.is_down = False
    done = one(sync())
    longer = resume(run, frame, epochs=6)
    assert longer.not_logged == []
    found = everything(store, str(done.run_id))
    assert found["status"] == "FINISHED"
    assert [step for step, _ in found["metrics"]["loss"]] == [epoch["step"] for epoch in longer.history]
    assert list(sync()) == []


# ---------------------------------------------------------------- killed, learning, deleted


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not of Windows")
def test_a_killed_run_is_completed_as_killed_and_can_still_go_on(store: Store, tmp_path: Path) -> None:
    folder = kill_one()
    assert open_store(store).get_run(folder.name).info.status == "RUNNING"
    done = one(sync())
    assert (done.outcome, done.name) == ("sent", "killed")
    found = everything(store, folder.name)
    assert found["status"] == "KILLED"
    assert found["tags"]["neuronwise.status"] == "killed"
    assert len(found["metrics"]["loss"]) == 4
    parts = {path.name for path in (folder / "recording").glob("*.part")}
    assert parts  # rows that were written but not sealed are not lost either
    assert {f"neuronwise/recording/{name}" for name in parts} <= found["files"]
    assert list(sync()) == []
    # It can still go on, and everything of it then is in the store.
    run = resume("killed")
    assert run.not_logged == []
    assert everything(store, folder.name)["status"] == "FINISHED"
    assert list(sync()) == []


def test_a_run_that_still_learns_is_left_alone(store: Store, flaky: Flaky) -> None:
    flaky.is_down = True
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    flaky.is_down = False
    with training_lock(run.folder):
        done = one(sync())
    assert (done.outcome, done.message) == ("skipped", "it still learns, or another process sends it")
    assert list_runs("neuronwise" if "neuronwise" in _experiments(store) else None)[0][0].id == run.id


def _experiments(store: Store) -> set[str]:
    return {one.name for one in open_store(store).search_experiments()}


def test_a_run_that_was_deleted_says_how_to_recover_and_others_go_on(store: Store, flaky: Flaky) -> None:
    runs = []
    for name in ("gone", "sound"):
        flaky.fails = {"log_artifact"}
        runs.append(neuronwise.train(make_frame(), "y", **(OPTIONS | {"name": name})))
    flaky.fails = set()
    gone, sound = runs
    client = open_store(store)
    client.delete_run(gone.id)
    done = {each.name: each for each in sync()}
    assert done["sound"].outcome == "sent"
    assert done["gone"].outcome == "failed"
    assert f"its MLflow run {gone.id} was deleted" in done["gone"].message
    assert f"mlflow runs restore --run-id {gone.id}" in str(done["gone"].hint)
    assert f"neuronwise sync {gone.id[:8]} --anew" in str(done["gone"].hint)
    client.restore_run(gone.id)
    assert one(sync()).run_id == gone.id
    client.delete_run(gone.id)
    anew = one(sync(["gone"], anew=True))
    assert anew.outcome == "sent"
    assert anew.run_id not in (gone.id, sound.id)
    assert sorted(each.id for each in list_runs()[0]) == sorted([gone.id, sound.id])
    assert one(sync(["gone"])).run_id == anew.run_id


def test_a_store_that_is_gone_says_so(store: Store, flaky: Flaky, tmp_path: Path) -> None:
    flaky.fails = {"log_artifact"}
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    flaky.fails = set()
    os.rename(tmp_path / "home" / "mlflow.db", tmp_path / "elsewhere.db")
    done = one(sync())
    assert (done.outcome, done.id) == ("failed", run.id)
    assert "is gone" in done.message
    assert not (tmp_path / "home" / "mlflow.db").exists()


def test_a_run_that_was_not_to_be_tracked_is_left_alone(kept_run: Run, in_home: Path) -> None:
    assert list(sync()) == []
    done = one(sync(["kept"]))
    assert (done.outcome, done.id) == ("skipped", kept_run.id)
    assert "--no-track" in done.message
    with pytest.raises(NotFoundError, match="there is no run 'nonsense'"):
        sync(["kept", "nonsense"])


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "neuronwise-tracking", "version": 1}'])
def test_a_damaged_file_stops_no_other_run(store: Store, flaky: Flaky, content: str) -> None:
    flaky.is_down = True
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    flaky.is_down = False
    damaged = runs_folder() / ("ab" * 16)
    damaged.mkdir()
    (damaged / "tracking.json").write_text(content)
    done = {each.id: each for each in sync()}
    assert done[run.id].outcome == "sent"
    assert done[damaged.name].outcome == "failed"
    assert "tracking.json" in done[damaged.name].message


def test_no_password_is_kept(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    flaky.is_down = True
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    assert "secret" not in (run.folder / "tracking.json").read_text()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    done = one(sync())
    assert (done.outcome, done.message) == ("failed", "the password of the store 'http://***@127.0.0.1:9' is not kept")
    assert "MLFLOW_TRACKING_URI" in str(done.hint)


def test_what_is_kept_reads_back_as_it_was_written(store: Store, flaky: Flaky) -> None:
    flaky.is_down = True
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    state = TrackingState.load(run.folder)
    assert state.store == store.display_uri
    assert state.columns == ["a", "b", "kind"]
    assert state.data_set is not None
    assert state.data_set.rows == 90
    before = (run.folder / "tracking.json").read_text()
    state.save()
    assert (run.folder / "tracking.json").read_text() == before
    assert json.loads(before)["status"] == "FINISHED"


def test_a_run_of_an_estimator_is_completed_too(store: Store, flaky: Flaky) -> None:
    from neuronwise import NeuralNetworkRegressor

    frame = make_frame()
    flaky.is_down = True
    model = NeuralNetworkRegressor((4,), epochs=3, random_state=0, track=True).fit(frame[["a", "b"]], frame["y"])
    flaky.is_down = False
    done = one(sync())
    assert (done.outcome, done.id) == ("sent", model.run_.id)
    found = everything(store, str(done.run_id))
    assert found["status"] == "FINISHED"
    assert len(found["metrics"]["loss"]) == 3
    assert {"neuronwise/recording/recording.json", "neuronwise/run.json", "neuronwise/model/network.json"} <= found[
        "files"
    ]
    assert list(sync()) == []
