"""A real MLflow server that is killed and started again beside a training: slow, so with `make test-full`."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import neuronwise
from neuronwise.learning import Observer, TrainingState
from neuronwise.running import sync
from neuronwise.running.tracking_file import TrackingState
from neuronwise.tracking import Store

from ..tracking.test_server import free_port, server_command, stop, wait_for
from .test_syncing import everything

pytestmark = pytest.mark.full

OPTIONS: dict[str, Any] = {"layers": [64], "epochs": 40, "patience": 40, "name": "mine"}


class Server:
    """A server on one port, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> Store:
        return Store(f"http://127.0.0.1:{self.port}")

    def start(self) -> None:
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        root = ["--artifacts-destination", str(self.folder / "artifacts")]
        command = [*server_command(self.folder), *root, "--port", str(self.port), "--workers", "1"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(f"{self.store.uri}/health", self.process)

    def kill(self) -> None:
        if self.process is not None:
            stop(self.process)
            self.process = None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    made = Server(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.store.uri)
    monkeypatch.setattr("neuronwise.tracking.run_log._UPLOAD_EVERY_S", 0.2)
    yield made
    made.kill()


class Slowly(Observer):
    """Stretches the epochs, so that something happens meanwhile; at one of them the server is killed."""

    def __init__(self, server: Server, kill_at: int | None) -> None:
        self.server, self.kill_at = server, kill_at

    def on_epoch_end(self, state: TrainingState) -> None:
        time.sleep(0.1)
        if state.epoch == self.kill_at:
            self.server.kill()


def points(server: Server, run_id: str) -> dict[str, Any]:
    found = everything(server.store, run_id)
    return {key: found[key] for key in ("status", "params", "metrics", "models", "images", "data", "files")}


@pytest.mark.parametrize("moment", ["start", "middle", "end"])
def test_nothing_is_lost_and_sync_completes_it(server: Server, moment: str) -> None:
    untracked = neuronwise.train("digits", track=False, **OPTIONS)
    server.start()
    whole = neuronwise.train("digits", observers=[Slowly(server, None)], **OPTIONS)
    assert whole.not_logged == []
    expected = points(server, whole.id)
    if moment == "start":
        server.kill()
    kill_at = {"start": None, "middle": 15, "end": 40}[moment]
    run = neuronwise.train("digits", observers=[Slowly(server, kill_at)], **OPTIONS)
    for one in (whole, run):
        assert one.network.parameters.tobytes() == untracked.network.parameters.tobytes()
    assert f"neuronwise sync {run.id[:8]} sends" in run.not_logged[-1]
    (failed,) = sync()
    assert failed.outcome == "failed"
    assert "cannot be reached" in failed.message
    server.start()
    (done,) = sync()
    assert (done.outcome, done.id) == ("sent", run.id)
    found = points(server, str(TrackingState.load(run.folder).run_id))
    assert {key: found["metrics"].get(key) for key in expected["metrics"]} == expected["metrics"]
    assert found == expected
    assert list(sync()) == []
    (again,) = sync([run.id])
    assert (again.outcome, again.points, again.files) == ("sent", 0, 0)
    assert points(server, str(done.run_id)) == expected


def test_a_server_that_comes_back_in_time_misses_nothing(server: Server) -> None:
    server.start()

    class Back(Slowly):
        def on_epoch_end(self, state: TrainingState) -> None:
            super().on_epoch_end(state)
            if state.epoch == 25:
                self.server.start()

    run = neuronwise.train("digits", observers=[Back(server, 15)], **OPTIONS)
    list(sync())
    found = everything(server.store, run.id)
    assert [step for step, _ in found["metrics"]["loss"]] == [epoch["step"] for epoch in run.history]
    assert found["status"] == "FINISHED"
