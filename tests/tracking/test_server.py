"""With a real MLflow server: slow to start, so these run with `make test-full`."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neuronwise.tracking import Store, Tracker, download_artifacts, find_run, list_runs

pytestmark = pytest.mark.full


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"{url} did not answer")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[list[str]], tuple[str, subprocess.Popen[bytes]]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(command: list[str]) -> tuple[str, subprocess.Popen[bytes]]:
        port = free_port()
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (tmp_path / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--port", str(port), "--workers", "1"],
                env=environment,
                cwd=tmp_path,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        processes.append(process)
        wait_for(f"http://127.0.0.1:{port}/health", process)
        return f"http://127.0.0.1:{port}", process

    yield start
    for process in processes:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    import contextlib
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its own group: the server and its workers
    process.wait()


def server_command(tmp_path: Path) -> list[str]:
    command = shlex.split(str(Store("sqlite:////x").ui_command))[:-3]
    return [*command, "server", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]


def test_a_run_on_a_server_and_the_server_dies(
    serve: Callable[[list[str]], tuple[str, subprocess.Popen[bytes]]],
    tmp_path: Path,
    model_folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    uri, process = serve(server_command(tmp_path))
    store = Store(uri)
    with Tracker.start(store, name="whole", params={"a": 1}) as tracker:
        tracker.log_metrics({"loss": 0.5, "hidden1/weight_norm": float("inf")}, 1)
        assert tracker.log_artifacts(model_folder, "neuronwise/model")
        model = tracker.log_model(model_folder, columns=["sqft", "zip"])
    assert tracker.not_logged == []
    assert model is not None
    run = find_run(store, "latest")
    assert (run.name, run.status, run.metrics) == (
        "whole",
        "FINISHED",
        {"loss": 0.5, "hidden1/weight_norm_nonfinite": 1.0},
    )
    assert tracker.run_url == f"{uri}/#/experiments/{run.experiment_id}/runs/{run.run_id}?workflowType=machine_learning"
    fetched = download_artifacts(store, run.run_id, "neuronwise", tmp_path / "back")
    assert (tmp_path / "back" / "model" / "network.json").read_bytes() == (model_folder / "network.json").read_bytes()
    assert len(fetched) == 3
    assert len(list_runs(store)) == 1

    tracker = Tracker.start(store, name="cut")
    tracker.log_metrics({"loss": 1.0}, 1)
    assert tracker.flush()
    stop(process)
    start = time.perf_counter()
    for step in range(2, 100):
        tracker.log_metrics({"loss": 1.0 / step}, step)
    assert time.perf_counter() - start < 0.1
    assert not tracker.log_text("x", "neuronwise/x.txt")
    tracker.finish()
    assert time.perf_counter() - start < 40
    assert any(sentence.startswith("98 points of metrics were not logged") for sentence in tracker.not_logged)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_the_command_we_print_opens_the_page(
    store: Store, serve: Callable[[list[str]], tuple[str, subprocess.Popen[bytes]]]
) -> None:
    with Tracker.start(store, name="seen") as tracker:
        tracker.log_text("hello from the run", "neuronwise/note.txt")
    uri, _ = serve(shlex.split(str(store.ui_command)))
    with urllib.request.urlopen(f"{uri}/", timeout=20) as page:
        assert b"<title>MLflow</title>" in page.read()
    address = f"{uri}/get-artifact?path=neuronwise/note.txt&run_uuid={tracker.run_id}"
    with urllib.request.urlopen(address, timeout=20) as artifact:
        assert artifact.read() == b"hello from the run"
