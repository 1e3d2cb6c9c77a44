from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neuronwise.errors import FormatError, NotFoundError, UsageError
from neuronwise.tracking import Store, Tracker, download_artifacts, find_run, list_runs, open_store


@pytest.fixture(scope="module")
def runs(store: Store) -> dict[str, str]:
    """Four runs of ours in two experiments, the last made by someone else."""
    found = {}
    for name, experiment in [("first", "one"), ('it\'s "second"', "one"), ("twin", "two"), ("twin", "two")]:
        with Tracker.start(store, name=name, experiment=experiment, params={"name": name}) as tracker:
            tracker.log_metrics({"loss": 0.5}, 3)
            tracker.log_text("content", "neuronwise/deep/a.txt")
            tracker.log_text("other", "neuronwise/b.txt")
        found[name if name not in found else "twin 2"] = str(tracker.run_id)
    client = open_store(store)
    found["foreign"] = client.create_run("0", run_name="foreign").info.run_id
    return found


def test_latest_is_the_last_of_ours(store: Store, runs: dict[str, str]) -> None:
    latest = find_run(store, "latest")
    assert latest.run_id == runs["twin 2"]
    assert (latest.name, latest.experiment, latest.status) == ("twin", "two", "FINISHED")
    assert (latest.metrics, latest.params) == ({"loss": 0.5}, {"name": "twin"})
    assert latest.is_ours
    assert latest.started is not None
    assert latest.duration_s is not None
    assert 0 <= latest.duration_s < 60


@pytest.mark.parametrize("name", ["first", 'it\'s "second"', "foreign"])
def test_by_name_and_by_id_and_by_its_beginning(store: Store, runs: dict[str, str], name: str) -> None:
    identity = runs[name]
    assert find_run(store, name).run_id == identity
    assert find_run(store, f" {identity} ").run_id == identity
    assert find_run(store, identity[:10].upper()).run_id == identity


def test_two_of_one_name_are_listed_not_guessed(store: Store, runs: dict[str, str]) -> None:
    with pytest.raises(NotFoundError, match="2 runs are called so") as caught:
        find_run(store, "twin")
    assert runs["twin"] in str(caught.value)
    assert runs["twin 2"] in str(caught.value)


@pytest.mark.parametrize("text", ["frist", "abcdef0123", "' OR '1'='1", "%", "\\", "a\"b'c", "../x", "\u202e"])
def test_an_unknown_run_is_told_with_the_latest(store: Store, runs: dict[str, str], text: str) -> None:
    with pytest.raises(NotFoundError, match="there is no such run") as caught:
        find_run(store, text)
    assert runs["first"] in str(caught.value.hint)
    if text == "frist":
        assert "Did you mean 'first'?" in str(caught.value)


def test_empty_text_names_no_run(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no run is named"):
        find_run(store, "  ")


def test_runs_are_listed_latest_first(store: Store, runs: dict[str, str]) -> None:
    assert [run.run_id for run in list_runs(store)] == [
        runs[name] for name in ("twin 2", "twin", 'it\'s "second"', "first")
    ]
    assert [run.name for run in list_runs(store, "one")] == ['it\'s "second"', "first"]
    assert len(list_runs(store, limit=1)) == 1
    with pytest.raises(NotFoundError, match=r"no experiment 'onee'\. Did you mean 'one'\?"):
        list_runs(store, "onee")


def test_asking_does_not_make_a_store(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/none.db")
    assert list_runs(store) == []
    with pytest.raises(NotFoundError, match="no runs yet"):
        find_run(store, "latest")
    assert list(tmp_path.iterdir()) == []


def test_our_files_come_back(store: Store, runs: dict[str, str], tmp_path: Path) -> None:
    fetched = download_artifacts(store, runs["first"], "neuronwise", tmp_path / "all")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in fetched) == ["all/b.txt", "all/deep/a.txt"]
    assert (tmp_path / "all" / "deep" / "a.txt").read_text() == "content"
    assert download_artifacts(store, runs["first"], "neuronwise/b.txt", tmp_path / "one") == [
        tmp_path / "one" / "b.txt"
    ]
    assert not list((tmp_path / "all").glob(".neuronwise-*"))


def test_files_of_others_are_not_touched_even_with_names_that_break_listings(
    store: Store, runs: dict[str, str], tmp_path: Path
) -> None:
    client = open_store(store)
    folder = artifacts(client, runs["first"])
    for name in ["C:\\x.txt", "a?b", "a%2fb", "new\nline"]:
        (folder / "neuronwise" / name).write_text("theirs")
    fetched = download_artifacts(store, runs["first"], "", tmp_path)
    assert sorted(path.name for path in fetched) == ["a.txt", "b.txt"]


def artifacts(client: Any, run_id: str) -> Path:
    from urllib.parse import unquote, urlsplit

    return Path(unquote(urlsplit(client.get_run(run_id).info.artifact_uri).path))


def test_changed_and_hostile_files_are_refused(store: Store, runs: dict[str, str], tmp_path: Path) -> None:
    folder = artifacts(open_store(store), runs["twin"]) / "neuronwise"
    (folder / "b.txt").write_text("otHer")
    with pytest.raises(FormatError, match=r"'neuronwise/b\.txt' is not the one that was logged"):
        download_artifacts(store, runs["twin"], "neuronwise/b.txt", tmp_path)
    assert list(tmp_path.glob("*.txt")) == []
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../../evil"] = {"bytes": 1, "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match="no name of a file of ours"):
        download_artifacts(store, runs["twin"], "neuronwise", tmp_path)


def test_what_is_not_there_or_too_large(store: Store, runs: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="holds no files of Neuronwise"):
        download_artifacts(store, runs["foreign"], "neuronwise", tmp_path)
    with pytest.raises(NotFoundError, match="no files of Neuronwise in 'elsewhere'"):
        download_artifacts(store, runs["first"], "elsewhere", tmp_path)
    with pytest.raises(UsageError, match="take 12 B, more than the 5 B allowed"):
        download_artifacts(store, runs["first"], "neuronwise", tmp_path, max_bytes=5)
