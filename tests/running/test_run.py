"""What a training left, on disk and read back without trust."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronwise import Run
from neuronwise.errors import FormatError, NeuronwiseError, NotFoundError
from neuronwise.running.run import local_runs, make_runs_folder, not_a_run, runs_folder


def test_a_run_read_back_is_the_run(kept_run: Run) -> None:
    loaded = Run.load(kept_run.folder)
    assert loaded.to_dict() == kept_run.to_dict()
    assert loaded.network.parameters.tobytes() == kept_run.network.parameters.tobytes()
    assert loaded.folder == kept_run.folder
    assert loaded.size_bytes == kept_run.size_bytes > 1000


def test_what_is_written_is_strict_json(kept_run: Run) -> None:
    def refuse(word: str) -> Any:
        raise AssertionError(word)

    content = json.loads((kept_run.folder / "run.json").read_text(), parse_constant=refuse)
    assert content["format"] == "neuronwise-run"
    assert content["status"] == "finished"
    assert len(content["history"]) == 6


def test_nan_is_null_on_disk_and_nan_again(kept_run: Run, tmp_path: Path) -> None:
    from dataclasses import replace

    run = replace(kept_run, folder=tmp_path / "run", metrics={"r2": math.nan, "mean_absolute_error": math.inf})
    run.save()
    text = (tmp_path / "run" / "run.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["metrics"] == {"r2": None, "mean_absolute_error": None}
    assert math.isnan(Run.load(tmp_path / "run").metrics["r2"])


def test_names_of_any_script_survive(kept_run: Run, tmp_path: Path) -> None:
    from dataclasses import replace

    for name in ("größe 面积", "a\x1b[31m\n", "\ud800"):
        run = replace(kept_run, folder=tmp_path / "run", name=name)
        run.save()
        assert Run.load(tmp_path / "run").name == name


def copy(run: Run, folder: Path) -> dict[str, Any]:
    shutil.copytree(run.folder, folder)
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return content


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"}, {"version": 2}, {"id": 5}, {"name": None}, {"status": []}, {"metrics": []},
        {"metrics": {"r2": "high"}}, {"metrics": {"r2": True}}, {"baselines": {}}, {"baselines": [1]},
        {"baselines": [{"name": "mean"}]}, {"settings": 3}, {"data": {}}, {"data": None}, {"history": {"a": 1}},
        {"history": [5]}, {"best_epoch": "one"}, {"best_step": -1}, {"steps": "many"}, {"steps": 10**400},
        {"duration_s": None}, {"duration_s": "x"}, {"tracking_uri": 7}, {"name": "x" * 10**6},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_a_hostile_run_is_refused(kept_run: Run, tmp_path: Path, change: dict[str, Any]) -> None:
    content = copy(kept_run, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(json.dumps(content | change))
    with pytest.raises(FormatError) as caught:
        Run.load(tmp_path / "run")
    assert "run.json" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("key", ["id", "name", "status", "metrics", "data", "history", "steps", "tracking_uri"])
def test_a_missing_entry_is_named(kept_run: Run, tmp_path: Path, key: str) -> None:
    content = copy(kept_run, tmp_path / "run")
    del content[key]
    (tmp_path / "run" / "run.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=f"'{key}' is missing"):
        Run.load(tmp_path / "run")


@given(st.integers(0, 100))
def test_a_truncated_run_is_refused(kept_run: Run, percent: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy(kept_run, Path(folder) / "run")
        path = Path(folder) / "run" / "run.json"
        content = path.read_bytes().rstrip()
        path.write_bytes(content[: (len(content) - 1) * percent // 100])
        with pytest.raises(FormatError, match=r"run\.json"):
            Run.load(path.parent)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"run\.json"):
        Run.load(tmp_path)


def test_local_runs_are_complete_ones_the_newest_first(tmp_path: Path) -> None:
    assert local_runs() == []
    for age, name in enumerate(["new", "old", "oldest"]):
        folder = runs_folder() / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        os.utime(folder / "run.json", (1e9 - age, 1e9 - age))
    (runs_folder() / "unfinished").mkdir()
    (runs_folder() / "a file").write_text("")
    assert [path.name for path in local_runs()] == ["new", "old", "oldest"]


def test_the_folder_of_runs_is_made_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_runs_folder() == runs_folder()
    assert runs_folder().is_dir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(NeuronwiseError, match="cannot be written: permission denied"):
        make_runs_folder()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEURONWISE_HOME", str(tmp_path / "file"))
    with pytest.raises(NeuronwiseError, match="NEURONWISE_HOME"):
        make_runs_folder()


def test_a_run_that_is_not_there_suggests_the_nearest() -> None:
    error = not_a_run("hauses", ["houses", "digits"])
    assert "there is no run 'hauses'. Did you mean 'houses'?" in str(error)
    assert error.exit_code == 2
