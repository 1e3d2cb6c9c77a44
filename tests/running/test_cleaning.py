"""clean: only what was verified in the store is deleted, and it is found again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuronwise
from neuronwise import Run
from neuronwise.errors import NotFoundError
from neuronwise.files import folder_size_bytes, user_cache_folder
from neuronwise.running import Cleaned, clean, clean_cache, find_run, list_runs, recording_folder, resume, sync
from neuronwise.running.checkpointing import training_lock
from neuronwise.tracking import Store, open_store

from .conftest import make_frame
from .flaky import Flaky

OPTIONS: dict[str, Any] = {"layers": [5], "epochs": 4, "drop": ["sign"], "name": "mine"}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def only(found: Any) -> Cleaned:
    (one,) = found
    assert isinstance(one, Cleaned)
    return one


@pytest.fixture
def run(store: Store) -> Run:
    return neuronwise.train(make_frame(), "y", **OPTIONS)


def kept(run: Run, reason: str, outcome: str = "kept") -> Cleaned:
    """Check that the run is left alone, to the last byte."""
    before = files(run.folder)
    done = only(clean(["mine"]))
    assert (done.outcome, done.size_bytes) == (outcome, 0)
    assert reason in done.message
    assert files(run.folder) == before
    return done


def test_what_was_verified_is_freed_and_everything_still_works(run: Run, flaky: Flaky) -> None:
    frame = make_frame()
    history, answers = run.history_on_disk, run.predict(frame)
    scalars, step = np.array(history.scalars), neuronwise.open(run, frame).at(5).parameters.tobytes()
    size = folder_size_bytes(run.folder / "recording")
    before = files(run.folder)
    would = only(clean(dry_run=True))
    assert (would.outcome, would.size_bytes) == ("freed", size)
    assert files(run.folder) == before
    done = only(clean())
    assert done == would
    assert not (run.folder / "recording").exists()
    left = files(run.folder)
    assert {name: content for name, content in left.items() if name != "moved.json"} == {
        name: content for name, content in before.items() if not name.startswith("recording")
    }
    listed, _ = list_runs()
    assert [one.name for one in listed] == ["mine"]
    found = find_run("mine")
    np.testing.assert_array_equal(found.predict(frame), answers)
    np.testing.assert_array_equal(neuronwise.load("mine").predict(frame), answers)
    np.testing.assert_array_equal(found.history_on_disk.scalars, scalars)
    place = recording_folder("mine")
    assert place == user_cache_folder() / "runs" / run.id
    assert neuronwise.open(place, frame).at(5).parameters.tobytes() == step
    assert "freed before" in only(clean()).message
    assert [one.files for one in sync(["mine"])] == [0]
    assert clean_cache(dry_run=True) == folder_size_bytes(user_cache_folder() / "runs") > size
    assert clean_cache() > size
    assert clean_cache() == 0
    assert recording_folder("mine") == place
    flaky.is_down = True
    assert recording_folder("mine") == place
    clean_cache()
    with pytest.raises(NotFoundError, match=r"its recording was moved to MLflow .* and cannot be fetched"):
        recording_folder("mine")


def test_a_freed_run_that_is_gone_from_the_store_says_how_it_comes_back(run: Run, store: Store) -> None:
    assert only(clean()).outcome == "freed"
    clean_cache()
    open_store(store).delete_run(run.id)
    with pytest.raises(NotFoundError, match=f"(?s)moved to MLflow.*mlflow runs restore --run-id {run.id}"):
        recording_folder("mine")


def test_a_freed_run_goes_on_with_its_whole_recording(run: Run, flaky: Flaky) -> None:
    scalars = np.array(run.history_on_disk.scalars)
    assert only(clean()).outcome == "freed"
    flaky.is_down = True
    with pytest.raises(NotFoundError, match="cannot be fetched"):
        resume("mine", make_frame(), epochs=6)
    flaky.is_down = False
    longer = resume("mine", make_frame(), epochs=6)
    assert longer.not_logged == []
    recorded = longer.history_on_disk
    assert recorded.problems == []
    np.testing.assert_array_equal(recorded.scalars[: len(scalars)], scalars)
    assert len(recorded.epochs) == 6
    assert only(clean()).outcome == "freed"


def test_a_cut_short_deletion_is_finished_by_the_next(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.array(run.history_on_disk.scalars)
    unlink, left = Path.unlink, 2

    def cut(self: Path, **options: Any) -> None:
        nonlocal left
        if self.parent.name == "recording":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        unlink(self, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", cut)
        with pytest.raises(KeyboardInterrupt):
            list(clean())
    assert (run.folder / "recording").is_dir()
    np.testing.assert_array_equal(find_run("mine").history_on_disk.scalars, whole)
    assert only(clean()).outcome == "freed"
    assert not (run.folder / "recording").exists()


# ---------------------------------------------------------------- what is left alone


def test_a_file_that_is_not_the_same_in_the_store(run: Run, tmp_path: Path) -> None:
    (stored,) = (tmp_path / "home" / "mlartifacts").rglob("recording/keyframes-000000.npy")
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    assert "keyframes-000000.npy" in kept(run, "is not the one that was logged", "failed").message
    stored.unlink()
    kept(run, "cannot be fetched", "failed")


def test_a_file_of_any_kind_that_was_lost_there(run: Run, tmp_path: Path) -> None:
    (stored,) = (tmp_path / "home" / "mlartifacts").rglob("neuronwise/run.json")
    stored.unlink()
    kept(run, "'neuronwise/run.json' cannot be fetched", "failed")


def test_a_local_file_that_the_store_does_not_have(run: Run) -> None:
    (run.folder / "recording" / "scalars-000009.npy.part").write_bytes(b"rows of another process")
    done = kept(run, "recording/scalars-000009.npy.part is not the same in MLflow")
    assert f"neuronwise sync {run.id[:8]}" in str(done.hint)
    list(sync(["mine"]))
    assert only(clean()).outcome == "freed"


def test_a_link_is_not_followed(run: Run, tmp_path: Path) -> None:
    path = run.folder / "recording" / "recording.json"
    shutil.move(path, tmp_path / "precious.json")
    path.symlink_to(tmp_path / "precious.json")
    kept(run, "recording/recording.json is not the same in MLflow")


def test_a_run_that_learns(run: Run) -> None:
    with training_lock(run.folder):
        kept(run, "it still learns")


def test_a_run_that_is_not_complete_or_not_in_a_store(store: Store, flaky: Flaky) -> None:
    flaky.is_down = True
    run = neuronwise.train(make_frame(), "y", **OPTIONS)
    assert "neuronwise sync" in str(kept(run, "only on this machine").hint)
    flaky.is_down, flaky.fails = False, {"log_image"}
    assert [one.outcome for one in sync()] == ["failed"]
    kept(run, "not all of it is in MLflow")


def test_an_untracked_run(kept_run: Run, in_home: Path) -> None:
    before = files(kept_run.folder)
    done = only(clean(["kept"]))
    assert (done.outcome, done.message, done.hint) == ("kept", "it is only on this machine, not in MLflow", None)
    assert files(kept_run.folder) == before


def test_a_run_that_was_deleted_in_the_store(run: Run, store: Store) -> None:
    open_store(store).delete_run(run.id)
    assert f"mlflow runs restore --run-id {run.id}" in str(kept(run, "was deleted").hint)


def test_a_store_that_is_away(run: Run, flaky: Flaky) -> None:
    flaky.is_down = True
    kept(run, "nothing was deleted: the store is away", "failed")
