"""sync and clean, as they are typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from neuronwise.files import user_cache_folder, user_data_folder
from neuronwise.tracking import Store, open_store

from .conftest import Command


@pytest.fixture
def away(nw: Command, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the id of a run whose store could not be opened when it was trained, and now can."""
    path = tmp_path / "later" / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path.as_posix()}")
    path.mkdir(parents=True)  # a folder in its place: it cannot be opened
    train = nw("train", good, "--target", "price", "--quiet", "--epochs", 2, "--layers", 4, "--name", "mine", "--json")
    assert train.code == 0, train.err
    identity = str(train.json["id"])
    assert f"neuronwise sync {identity[:8]} sends to MLflow" in train.json["not_logged"][-1]
    path.rmdir()
    return identity


def test_sync_and_clean_say_what_they_did(nw: Command, away: str) -> None:
    outcome = nw("clean")
    assert outcome.code == 0
    assert f"mine ({away[:8]}) kept: it is only on this machine, not in MLflow\n  neuronwise sync {away[:8]}" in (
        outcome.out
    )
    outcome = nw("sync")
    assert outcome.code == 0, outcome.out + outcome.err
    assert outcome.err == f"sending mine ({away[:8]}) …\n"
    line, summary = outcome.out.splitlines()
    assert re.fullmatch(
        rf"mine \({away[:8]}\) sent: all of it is in MLflow, sqlite:///.*mlflow\.db, \d+ points of metrics and "
        r"\d+ files sent \([\d.]+ kB\)",
        line,
    )
    assert re.fullmatch(r"1 run: 1 sent; [\d.]+ kB", summary)
    assert nw("sync").out == "All runs of this machine are in MLflow, or were not to be.\n"
    (again,) = nw("sync", "mine", "--json").json
    assert (again["outcome"], again["files"], again["points"], again["id"]) == ("sent", 0, 0, away)
    assert "nothing was missing" in nw("sync", "mine").out
    assert [one["id"] for one in nw("runs", "--json").json] == [away]

    assert re.search(
        rf"mine \({away[:8]}\) would be freed \([\d.]+ kB\): its recording is in ", nw("clean", "--dry-run").out
    )
    freed = nw("clean", "--json").json
    assert freed["dry_run"] is False
    assert freed["runs"][0]["outcome"] == "freed"
    assert freed["runs"][0]["size_bytes"] > 0
    assert not (user_data_folder() / "runs" / away / "recording").exists()
    shown = nw("show", "mine")
    assert shown.code == 0
    assert "weights: norm of W" in shown.out
    assert re.search(r"^[\d.]+ kB freed, [\d.]+ kB of it copies of fetched runs$", nw("clean", "--cache").out, re.M)
    assert nw("show", away[:8]).code == 0

    assert nw("history", "mine", "loss").err == ""
    (copy,) = (user_cache_folder() / "runs").glob("*/recording/scalars-000000.npy")
    copy.write_bytes(copy.read_bytes()[:4200])
    assert "fetch it anew: neuronwise clean --cache" in nw("history", "mine", "loss").err
    assert nw("clean", "--cache").code == 0
    assert nw("history", "mine", "loss").err == ""


def test_a_run_that_cannot_be_sent_gives_exit_code_1_and_what_to_type(nw: Command, away: str) -> None:
    assert nw("sync").code == 0
    import os

    client = open_store(Store(os.environ["MLFLOW_TRACKING_URI"]))
    (made,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
    client.delete_run(made.info.run_id)
    outcome = nw("sync", "mine")
    assert outcome.code == 1
    assert f"failed: its MLflow run {made.info.run_id} was deleted" in outcome.out
    assert f"neuronwise sync {away[:8]} --anew" in outcome.out
    assert nw("sync", away[:8], "--anew").code == 0
    assert [one["id"] for one in nw("runs", "--json").json] == [away]


def test_what_cannot_be_used_is_said(nw: Command) -> None:
    outcome = nw("sync", "--anew")
    assert outcome.code == 2
    assert "neuronwise sync RUN --anew" in outcome.err
    for command in ("sync", "clean"):
        outcome = nw(command, "nonsense")
        assert outcome.code == 2
        assert "there is no run 'nonsense'" in outcome.err
    assert nw("clean").out == "0 B freed\n"
    assert nw("clean", "--cache", "--json").json == {"dry_run": False, "runs": [], "cache_bytes": 0}
