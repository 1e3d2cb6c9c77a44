from __future__ import annotations

import math
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuronwise.tracking import DatasetInfo, Store, Tracker, open_store


@pytest.fixture
def client(store: Store) -> Any:
    return open_store(store)


def points(client: Any, tracker: Tracker, key: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in client.get_metric_history(tracker.run_id, key)]


def test_a_run_has_its_parameters_metrics_and_tags(store: Store, client: Any) -> None:
    tracker = Tracker.start(
        store,
        name="it's </script>",
        params={"learning_rate": 0.01, "layers": [16, 16], "seed": None, "shuffle": True, "a=b": "x"},
        tags={"neuronwise.folder": "/somewhere", "mlflow.note.content": "# hello"},
    )
    for step in range(3):
        tracker.log_metrics({"loss": 1 / (step + 1), "hidden1/weight_norm": 2.5}, step=step)
    tracker.finish()
    assert tracker.not_logged == []
    assert tracker.is_online
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == tracker.run_name == "it's </script>"
    assert client.get_experiment(run.info.experiment_id).name == "neuronwise"
    assert run.data.params == {
        "learning_rate": "0.01",
        "layers": "16, 16",
        "seed": "",
        "shuffle": "true",
        "a_b": "x",
    }
    assert points(client, tracker, "loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert run.data.metrics["hidden1/weight_norm"] == 2.5
    assert run.data.tags["neuronwise.folder"] == "/somewhere"
    assert run.data.tags["mlflow.note.content"] == "# hello"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", run.data.tags["neuronwise.version"])
    assert run.data.tags["mlflow.user"]


def test_nan_and_inf_are_counted_never_sent(client: Any, tracker: Tracker) -> None:
    for step, value in enumerate([1.0, math.inf, -math.inf, math.nan, 0.5]):
        tracker.log_metrics({"loss": value}, step)
    assert tracker.flush()
    assert points(client, tracker, "loss") == [(0, 1.0), (4, 0.5)]
    assert points(client, tracker, "loss_nonfinite") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_numpy_numbers_are_taken_and_others_told(client: Any, tracker: Tracker) -> None:
    tracker.log_metrics(
        {"a": np.float32(0.5), "b": np.int64(3), "c": "high", "d": None},  # type: ignore[dict-item]
        step=np.int64(2),  # type: ignore[arg-type]
    )
    tracker.flush()
    assert client.get_run(tracker.run_id).data.metrics == {"a": 0.5, "b": 3.0}
    assert tracker.not_logged == [
        "the metric 'c' was not logged: str is no number",
        "the metric 'd' was not logged: NoneType is no number",
    ]


def test_at_most_200_keys(client: Any, tracker: Tracker) -> None:
    for step in range(2):
        tracker.log_metrics({f"layer{i}/grad_norm": 1.0 for i in range(250)}, step)
    tracker.flush()
    assert len(client.get_run(tracker.run_id).data.metrics) == 200
    assert tracker.not_logged == [
        "50 metrics beyond the 200 a run may have were not logged, such as 'layer200/grad_norm'"
    ]


def test_logging_metrics_is_quick(tracker: Tracker) -> None:
    metrics = {f"hidden{i}/weight_norm": float(i) for i in range(20)}
    start = time.perf_counter()
    for step in range(100):
        tracker.log_metrics(metrics, step)
    assert (time.perf_counter() - start) / 100 < 1e-3  # measured 12 µs, beside a thread that writes


def test_long_values_are_shortened(store: Store, client: Any) -> None:
    with Tracker.start(store, params={"p": "x" * 10_000}, tags={"t": "y" * 10_000}) as tracker:
        tracker.set_tags({"late": "z" * 9000, "mlflow.note.content": "note"})
    data = client.get_run(tracker.run_id).data
    assert (len(data.params["p"]), len(data.tags["t"]), len(data.tags["late"])) == (6000, 8000, 8000)
    assert data.params["p"].endswith("x…")
    assert data.tags["mlflow.note.content"] == "note"


def test_files_are_uploaded_once_and_listed(store: Store, client: Any, tracker: Tracker, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    (folder / "sub").mkdir(parents=True)
    (folder / "recording.json").write_text("{}")
    (folder / "sub" / "scalars-000000.npy").write_bytes(b"123")
    (folder / "scalars-000001.npy.part").write_bytes(b"not finished")
    (folder / "link").symlink_to(tmp_path)
    assert tracker.log_artifacts(folder)
    assert tracker.log_text("häuser", "neuronwise/note.txt")
    assert tracker.log_dict({"a": [1, 2]}, "neuronwise/some.json")
    (tmp_path / "Report.HTML").write_text("<html>")
    assert tracker.log_file(tmp_path / "Report.HTML", "neuronwise/report.html")
    assert tracker.not_logged == []

    def listed() -> dict[str, int]:
        found = {one.path: one.file_size for one in client.list_artifacts(tracker.run_id, "neuronwise")}
        return found | {one.path: one.file_size for one in client.list_artifacts(tracker.run_id, "neuronwise/sub")}

    assert set(listed()) == {
        "neuronwise/manifest.json",
        "neuronwise/note.txt",
        "neuronwise/recording.json",
        "neuronwise/report.html",
        "neuronwise/some.json",
        "neuronwise/sub",
        "neuronwise/sub/scalars-000000.npy",
    }
    # The same content is not sent again; changed content is.
    uploaded: list[str] = []
    real = tracker._client.log_artifact
    tracker._client.log_artifact = lambda run, local, path: (uploaded.append(Path(local).name), real(run, local, path))
    try:
        (folder / "recording.json").write_text("{ }")
        assert tracker.log_artifacts(folder)
    finally:
        tracker._client.log_artifact = real
    assert uploaded == ["recording.json", "manifest.json"]


@pytest.mark.parametrize("name", ["A.txt", "a?b", "a b", "é"])
def test_files_of_odd_names_are_told_and_nothing_is_sent(tracker: Tracker, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / name).write_text("x")
    assert not tracker.log_artifacts(folder)
    assert not tracker.log_text("x", "../x")
    assert f"'neuronwise/{name}' is no name for a file of ours" in tracker.not_logged[0]


def test_pictures_get_a_slider(client: Any, tracker: Tracker) -> None:
    from PIL import Image

    picture = np.zeros((56, 56, 3), np.uint8)
    for step in (0, 10):
        tracker.log_image(picture, "weights/hidden1 <é>", step)
        picture += 50  # the tracker has its own copy
    import io

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    tracker.log_image(buffer.getvalue(), "png", 1)
    tracker.flush()
    assert tracker.not_logged == []
    names = [one.path for one in client.list_artifacts(tracker.run_id, "images")]
    full = [name for name in names if name.endswith(".png")]
    assert sorted(re.findall(r"images/(.*?)\+step\+(\d+)", " ".join(full))) == [
        ("png", "1"),
        ("weights~hidden1 ___", "0"),
        ("weights~hidden1 ___", "10"),
    ]
    assert client.get_run(tracker.run_id).data.tags["mlflow.loggedImages"] == "True"
    first = next(name for name in full if "+step+0+" in name)
    assert np.asarray(Image.open(client.download_artifacts(tracker.run_id, first))).max() == 0


def test_a_picture_that_is_none_is_told(tracker: Tracker) -> None:
    tracker.log_image(b"no picture", "weights", 1)
    tracker.flush()
    assert tracker.not_logged[0].startswith("the picture 'weights' could not be logged: cannot identify image file")


def test_the_data_set_is_described_without_its_rows(client: Any, tracker: Tracker) -> None:
    hostile = "</script><img onerror=alert(1)> \u202e .csv"
    frame = pd.DataFrame({"sqft": [1.5], "zip": ["98103"], hostile: [1], "sold": [True], "price": [1]})
    tracker.log_input(
        DatasetInfo.from_frame(
            frame, name=hostile, digest="d" * 64, source="/data/houses.csv", rows=21613, target="price"
        )
    )
    tracker.log_input(DatasetInfo.from_arrays(np.zeros((5, 28, 28)), np.zeros(5, int), name="digits", digest="e"))
    tracker.flush()
    assert tracker.not_logged == []
    first, second = client.get_run(tracker.run_id).inputs.dataset_inputs
    assert first.dataset.name == hostile
    assert first.dataset.digest == "d" * 36
    assert (first.tags[0].key, first.tags[0].value) == ("mlflow.data.context", "training")
    import json

    columns = json.loads(first.dataset.schema)["mlflow_colspec"]
    assert [(one["name"], one["type"]) for one in columns] == [
        ("sqft", "double"),
        ("zip", "string"),
        (hostile, "long"),
        ("sold", "boolean"),
        ("price", "long"),
    ]
    assert json.loads(first.dataset.profile)["num_rows"] == 21613
    # MLflow's own reader understands the sources.
    from mlflow.data import get_source
    from mlflow.data.sources import LocalArtifactDatasetSource

    assert isinstance(get_source(first), LocalArtifactDatasetSource)
    assert get_source(first).uri == "/data/houses.csv"
    get_source(second)


def test_files_of_the_default_store_lie_in_its_folder(
    store: Store, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # An experiment of its own: where one keeps its files is settled by whoever makes it first.
    with Tracker.start(store, experiment="files") as tracker:
        assert tracker.log_text("x", "neuronwise/x.txt")
    assert store.artifact_root is not None
    assert list(store.artifact_root.glob("files/*/artifacts/neuronwise/x.txt"))
    assert not (tmp_path / "mlruns").exists()
    assert client.get_experiment("0").artifact_location.startswith(store.artifact_root.as_uri())


@pytest.mark.parametrize("name", ["Häuser & <preise>", "a/../../b", "x" * 400, "x" * 10_000])
def test_experiments_of_any_name(store: Store, client: Any, name: str) -> None:
    with Tracker.start(store, experiment=name) as tracker:
        assert tracker.log_text("x", "neuronwise/x.txt")
    assert tracker.not_logged == []
    # MLflow takes 500 characters.
    assert client.get_experiment(tracker.experiment_id).name == (name if len(name) <= 500 else "x" * 499 + "…")
    assert store.artifact_root is not None
    assert list(store.artifact_root.glob("*/*/artifacts/neuronwise/x.txt"))


def test_a_deleted_experiment_is_told(store: Store, client: Any) -> None:
    client.delete_experiment(client.create_experiment("gone"))
    tracker = Tracker.start(store, experiment="gone")
    assert not tracker.is_online
    assert "nothing was logged to MLflow: no run could be opened" in tracker.not_logged[0]
    assert "the experiment 'gone' was deleted" in tracker.not_logged[0]


# --------------------------------------------------------------- whose run it is


def test_the_users_active_run_is_used_and_stays_open(store: Store, client: Any) -> None:
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    with mlflow.start_run(run_name="mine", tags={"mlflow.note.content": "my words"}) as run:
        mlflow.log_param("seed", 1)
        tracker = Tracker.start(params={"seed": 2, "epochs": 3}, tags={"mlflow.note.content": "ours", "other": "x"})
        assert tracker.run_id == run.info.run_id
        assert not tracker.owns_run
        tracker.log_metrics({"loss": 1.0}, 1)
        tracker.finish()
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("after", 1.0)
    data = client.get_run(run.info.run_id).data
    assert data.params == {"seed": "1", "epochs": "3"}
    assert data.metrics == {"loss": 1.0, "after": 1.0}
    assert data.tags["mlflow.note.content"] == "my words"
    assert data.tags["other"] == "x"
    assert "neuronwise.version" in data.tags
    assert len(tracker.not_logged) == 1
    assert tracker.not_logged[0].startswith("the parameter 'seed' was not logged:")


def test_mlflow_run_id_is_used(store: Store, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with Tracker.start(store) as tracker:
        tracker.log_text("first", "neuronwise/a.txt")
    with Tracker.start(store) as again:
        again.log_text("second", "neuronwise/b.txt")
    assert tracker.run_id == again.run_id == run_id
    assert client.get_run(run_id).info.status == "RUNNING"
    assert set(again._uploads._manifest.files) == {"neuronwise/a.txt", "neuronwise/b.txt"}


def test_the_users_experiment_is_used(store: Store, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from the environment")
    with Tracker.start(store) as tracker:
        pass
    assert client.get_experiment(tracker.experiment_id).name == "from the environment"
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "123456")
    with Tracker.start(store) as tracker:
        pass
    assert client.get_experiment(tracker.experiment_id).name == "neuronwise"
    assert tracker.not_logged[0].startswith("the experiment that is set was not used:")
    assert mlflow.active_run() is None


# ------------------------------------------------------------------- how it ends


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")])
def test_the_status_tells_how_it_ended(store: Store, client: Any, error: type[BaseException], status: str) -> None:
    tracker = Tracker.start(store)
    with pytest.raises(error), tracker:
        raise error
    assert client.get_run(tracker.run_id).info.status == status


def test_after_the_end_nothing_more_is_taken(store: Store, client: Any) -> None:
    tracker = Tracker.start(store)
    tracker.finish("FAILED")
    tracker.finish("FINISHED")
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.set_tags({"a": "b"})
    assert not tracker.log_text("x", "neuronwise/x.txt")
    assert tracker.log_model("/nowhere") is None
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics) == ("FAILED", {})


ENDS = """
    import sys
    from neuronwise.tracking import Store, Tracker
    tracker = Tracker.start(Store({uri!r}), name="left alone")
    tracker.log_metrics({{"loss": 0.25}}, 1)
    print(tracker.run_id)
"""


def test_a_process_that_just_ends_sends_what_it_has(store: Store, client: Any) -> None:
    code = textwrap.dedent(ENDS).format(uri=store.uri)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=os.environ
    )
    assert result.stderr == ""
    run = client.get_run(result.stdout.strip())
    assert (run.info.status, run.data.metrics) == ("KILLED", {"loss": 0.25})


def test_settings_are_given_back(store: Store) -> None:
    before = dict(os.environ)
    Tracker.start(store).finish()
    Tracker.start("http://127.0.0.1:9").finish()
    assert dict(os.environ) == before


# -------------------------------------------------------------------- when it fails


def use_everything(tracker: Tracker, folder: Path) -> None:
    tracker.log_params({"a": 1})
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.set_tags({"a": "b"})
    tracker.log_image(np.zeros((4, 4), np.uint8), "k", 1)
    tracker.log_input(DatasetInfo("n", "d"))
    assert not tracker.log_text("x", "neuronwise/x.txt")
    assert not tracker.log_artifacts(folder)
    assert tracker.log_model(folder) is None
    tracker.finish()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_without_a_server_everything_goes_on(model_folder: Path, closed_port: int) -> None:
    start = time.perf_counter()
    tracker = Tracker.start(f"http://127.0.0.1:{closed_port}", params={"a": 1})
    use_everything(tracker, model_folder)
    assert time.perf_counter() - start < 5
    assert (tracker.run_id, tracker.is_online, tracker.run_url) == (None, False, None)
    assert len(tracker.not_logged) == 1
    assert re.match(
        r"nothing was logged to MLflow: the MLflow server 'http://127\.0\.0\.1:\d+' \(from argument\) cannot be "
        r"reached: .*refused \(start it, or unset",
        tracker.not_logged[0],
    )


@pytest.fixture
def silent_server() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield int(server.getsockname()[1])


def test_a_server_that_says_nothing_costs_a_bounded_time(
    silent_server: int, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuronwise.tracking.tracker._START_TIMEOUT_S", 1.0)
    start = time.perf_counter()
    tracker = Tracker.start(f"http://127.0.0.1:{silent_server}")
    use_everything(tracker, model_folder)
    assert time.perf_counter() - start < 4
    assert "gave no answer within 1 s" in tracker.not_logged[0]


def test_a_store_that_breaks_in_the_middle(store: Store, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronwise.tracking.background._PAUSES_S", (0.0,))
    tracker = Tracker.start(store, interval_s=0)

    class Broken:
        def __getattr__(self, name: str) -> Any:
            def fail(*_: Any, **__: Any) -> None:
                raise ConnectionError("connection reset\nby peer")

            return fail

    tracker._client = tracker._uploads._client = Broken()
    use_everything(tracker, model_folder)
    sentences = tracker.not_logged
    assert "the run could not be marked as FINISHED: connection reset" in sentences
    assert "1 points of metrics were not logged: connection reset" in sentences
    assert "the file 'neuronwise/x.txt' could not be logged: connection reset" in sentences
    assert "the model could not be logged: connection reset" in sentences


def test_a_run_that_is_deleted_meanwhile(store: Store, client: Any) -> None:
    tracker = Tracker.start(store, interval_s=0)
    client.delete_run(tracker.run_id)
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.flush()
    tracker.log_metrics({"loss": 2.0}, 2)
    tracker.finish()
    assert any(
        re.match(r"2 points of metrics were not logged: The run \w+ must be in the 'active' state", sentence)
        for sentence in tracker.not_logged
    )


def test_without_mlflow(store: Store, monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    tracker = Tracker.start()
    use_everything(tracker, model_folder)
    assert tracker.not_logged[0].startswith("nothing was logged to MLflow: MLflow is not installed (pip install")
