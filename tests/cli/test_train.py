"""train, predict and make-houses, from the user's side."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import neuronwise
from neuronwise.files import user_data_folder

from .conftest import Command
from .helpers import Outcome, finish, start, table, tree


@dataclass(frozen=True)
class Tracked:
    """A home with two runs, trained through the command line and tracked by MLflow."""

    home: Path
    houses_csv: Path
    houses: Outcome
    digits: Outcome


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONWISE_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert finish(start("make-houses", "houses.csv", "--rows", 400, cwd=folder)).code == 0
        houses = finish(
            start("train", "houses.csv", "--target", "price", "--epochs", 12, "--name", "houses", cwd=folder)
        )
        digits = finish(
            start("train", "digits", "--layers", 8, "--epochs", 3, "--name", "digits", "--json", cwd=folder)
        )
        yield Tracked(folder / "home", folder / "houses.csv", houses, digits)


@pytest.fixture
def in_home(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> Tracked:
    monkeypatch.setenv("NEURONWISE_HOME", str(tracked.home))
    return tracked


def test_training_tells_what_it_understood_why_and_how_well(tracked: Tracked) -> None:
    outcome = tracked.houses
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    out = outcome.out
    assert "houses.csv: 400 rows (306 to learn from, 34 to validate, 60 held out)" in out
    assert re.search(r"zipcode +category", out)
    assert re.search(r"sale_id +identifier", out)
    assert "hidden layers: relu: " in out
    assert "output: identity: price can be any number, here its logarithm" in out
    assert "loss: squared_error" in out
    assert re.search(r"hidden1 +Dense +64 .*total", out, re.DOTALL)
    assert "of memory, at most" in out
    assert f"tracked by MLflow in sqlite:///{tracked.home.as_posix()}/mlflow.db" in out
    assert re.search(r"epoch 12/12  loss [\d.]+  val_loss [\d.]+  val_r2 -?[\d.]+  [\d,]+ steps/s\n", out)
    for word in ("network", "mean", "linear regression"):
        assert re.search(rf"^  {word} +-?\d", out, re.MULTILINE)
    assert "neuronwise show latest" in out
    assert "neuronwise predict latest houses.csv" in out
    assert f'mlflow ui --backend-store-uri "sqlite:///{tracked.home.as_posix()}/mlflow.db"' in out


def test_json_stands_alone_on_stdout(tracked: Tracked) -> None:
    assert tracked.digits.code == 0, tracked.digits.err
    content = tracked.digits.json
    assert content["name"] == "digits"
    assert content["status"] == "finished"
    assert 0 < content["metrics"]["accuracy"] <= 1
    assert [one["name"] for one in content["baselines"]] == ["majority class", "logistic regression"]
    assert content["not_logged"] == []
    assert Path(content["folder"]).is_dir()
    assert "steps/s" not in tracked.digits.err


def test_the_mlflow_run_holds_all_that_was_promised(in_home: Tracked) -> None:
    from neuronwise.running import find_run
    from neuronwise.tracking import open_store, resolve_store

    run = find_run("houses")
    client = open_store(resolve_store())
    stored = client.get_run(run.id)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "houses"
    params = stored.data.params
    assert params["layers"] == "64, 32"
    assert params["optimizer"] == "adam"
    assert params["parameters"] == str(run.network.parameter_count)
    assert params["data"] == "houses.csv"
    assert params["seed"] == "0"
    for key in ("loss", "val_loss", "val_r2"):
        history = client.get_metric_history(run.id, key)
        assert [point.step for point in history] == [epoch["step"] for epoch in run.history]
        assert [point.value for point in history] == pytest.approx([epoch[key] for epoch in run.history])
    for layer in ("hidden1", "hidden2", "output"):
        for key in ("weight_norm", "bias_mean", "grad_norm", "update_ratio", "zero_fraction"):
            if (layer, key) != ("output", "zero_fraction"):
                assert len(client.get_metric_history(run.id, f"{layer}/{key}")) == 12, (layer, key)
    W = run.history_on_disk.layer(run.history[-1]["step"], "hidden1")["W"]
    norm = client.get_metric_history(run.id, "hidden1/weight_norm")[-1].value
    assert norm == pytest.approx(np.sqrt((W.astype(np.float64) ** 2).sum()), rel=1e-5)
    assert stored.data.metrics["test/r2"] == pytest.approx(run.metrics["r2"])
    assert len(stored.data.metrics) <= 200
    (used,) = stored.inputs.dataset_inputs
    assert used.dataset.name == "houses.csv"
    assert json.loads(used.dataset.schema)
    tags = stored.data.tags
    assert tags["neuronwise.status"] == run.status
    assert tags["neuronwise.version"] == neuronwise.__version__
    assert "3,649 weights and biases" in tags["mlflow.note.content"]


def test_the_mlflow_run_holds_pictures_over_steps_and_our_files(in_home: Tracked) -> None:
    from neuronwise.running import find_run
    from neuronwise.tracking import open_store, resolve_store

    client = open_store(resolve_store())

    def files(run_id: str, path: str | None = None) -> set[str]:
        found = set()
        for one in client.list_artifacts(run_id, path):
            found |= files(run_id, one.path) if one.is_dir else {one.path}
        return found

    for name, picture in (("houses", "hidden1.weights"), ("digits", "hidden1.weights_as_images")):
        run = find_run(name)
        there = files(run.id)
        steps = {
            int(match[1])
            for path in there
            if path.startswith("images/") and (match := re.search(rf"{picture}[%+]step[%+](\d+)[%+].*\.png$", path))
        }
        assert {0, int(run.history[-1]["step"])} <= steps
        assert len(steps) <= 10
        for path in ("neuronwise/run.json", "neuronwise/manifest.json", "neuronwise/model/network.safetensors"):
            assert path in there
        assert "neuronwise/recording/recording.json" in there
        assert "neuronwise/recording/weights_over_time.png" in there
    every = {path.name for path in in_home.home.rglob("*") if path.is_file()}
    assert not [name for name in every if name.endswith((".pkl", ".pickle", ".joblib", ".part", ".tmp"))]


def test_the_logged_model_predicts_alike_in_a_fresh_process(in_home: Tracked, tmp_path: Path) -> None:
    from neuronwise.running import find_run

    run = find_run("houses")
    script = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow, numpy, pandas
mlflow.set_tracking_uri(sys.argv[1])
frame = pandas.read_csv(sys.argv[2], dtype=str, keep_default_na=False).drop(columns="price")
numpy.save(sys.argv[4], mlflow.pyfunc.load_model(f"runs:/{sys.argv[3]}/model").predict(frame))
"""
    out = tmp_path / "predicted.npy"
    arguments = [str(run.tracking_uri), str(in_home.houses_csv), run.id, str(out)]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(out), neuronwise.load("houses").predict(in_home.houses_csv), rtol=1e-6)


def test_runs_and_show_know_the_tracked_runs(in_home: Tracked, nw: Command) -> None:
    listed = nw("runs", "--json").json
    assert {one["name"]: one["status"] for one in listed} == {"houses": "finished", "digits": "finished"}
    assert all(one["size_bytes"] > 10_000 for one in listed)
    assert all(one["experiment"] == "neuronwise" for one in listed)
    assert {one["parameters"] for one in listed} == {3649, 610}
    assert nw("runs", "--experiment", "neuronwise", "--limit", 1, "--json").json == listed[:1]
    outcome = nw("runs", "--experiment", "neuronwis")
    assert outcome.code == 2
    assert "there is no experiment 'neuronwis'. Did you mean 'neuronwise'?" in outcome.err
    text = nw("runs").out
    assert "houses" in text
    assert "2 runs," in text
    assert "houses.csv: price (regression)" in nw("show", "houses").out
    outcome = nw("show", "house")
    assert outcome.code == 2
    assert "Did you mean 'houses'?" in outcome.err


def test_a_run_that_is_only_in_the_store_is_fetched(in_home: Tracked, nw: Command, tmp_path: Path) -> None:
    import shutil

    from neuronwise.running import find_run

    run = find_run("digits")
    kept = shutil.move(run.folder, tmp_path / "kept")
    try:
        outcome = nw("show", "digits", "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.json["id"] == run.id
        assert Path(outcome.json["folder"]) == in_home.home / "cache" / "runs" / run.id
        fetched = neuronwise.load(run.id)
        assert fetched.network.parameters.tobytes() == run.network.parameters.tobytes()
        assert [one["size_bytes"] for one in nw("runs", "--json").json if one["name"] == "digits"] == [0]
        assert "not here" in nw("runs").out
    finally:
        shutil.move(kept, run.folder)


def test_quiet_prints_the_result_only(quick: Callable[..., Outcome]) -> None:
    outcome = quick()
    assert outcome.code == 0
    assert outcome.out.strip().startswith("Result on 9 held-out rows")
    for word in ("epoch 1", "steps/s", "Network", "…"):
        assert word not in outcome.out
    assert outcome.err == ""


def test_without_tracking_nothing_is_said_of_mlflow(nw: Command, good: Path, tmp_path: Path) -> None:
    outcome = nw("train", good, "--target", "price", "--no-track", "--epochs", 2)
    assert outcome.code == 0
    assert "kept in a local folder only, not in MLflow" in outcome.out
    assert "sending to MLflow" not in outcome.out
    assert not (tmp_path / "home" / "mlflow.db").exists()


def test_json_without_a_terminal_has_no_nan(nw: Command, tmp_path: Path) -> None:
    # With one held-out row R² is not defined: NaN in Python, and no JSON.
    path = tmp_path / "tiny.csv"
    path.write_text(table(6))
    outcome = nw("train", path, "--target", "price", "--no-track", "--epochs", 2, "--json")
    assert outcome.code == 0
    assert outcome.json["metrics"]["r2"] is None
    assert nw("show", "latest", "--json").json["metrics"]["r2"] is None
    assert nw("show", "latest").code == 0
    assert nw("runs").code == 0
    assert nw("runs", "--json").json[0]["result"][0] == "mean_absolute_error"


def test_try_layers_prints_one_table(nw: Command, good: Path) -> None:
    arguments = ["train", good, "--target", "price", "--no-track", "--epochs", 2, "--try-layers", "none; 3 ;4,2"]
    outcome = nw(*arguments)
    assert outcome.code == 0
    rows = outcome.out.split("What each layer of capacity buys")[1]
    assert re.search(r"none \(linear\) +7 ", rows)
    assert re.search(r"\n *3 +25 ", rows)
    assert re.search(r"\n *4,2 +41 ", rows)
    outcome = nw(*arguments, "--json")
    assert [(one["layers"], one["parameters"]) for one in outcome.json] == [([], 7), ([3], 25), ([4, 2], 41)]
    assert all("r2" in one["metrics"] and one["seconds"] > 0 and one["run"] for one in outcome.json)
    outcome = nw(*arguments, "--quiet")
    assert outcome.out.strip().startswith("What each layer of capacity buys")


@pytest.mark.parametrize(("rate", "diverged", "code"), [("1e6", ["none (linear)", "64,64"], 1), ("0.5", ["64,64"], 0)])
def test_try_layers_goes_on_after_one_that_diverges(
    nw: Command, good: Path, rate: str, diverged: list[str], code: int
) -> None:
    outcome = nw(
        "train", good, "--target", "price", "--no-track", "--epochs", 40, "--try-layers", "64,64;none",
        "--optimizer", "sgd", "--learning-rate", rate, "--hidden", "identity",
    )  # fmt: skip
    rows = outcome.out.split("What each layer of capacity buys")[1]
    said = [line.strip() for line in rows.splitlines() if "diverged" in line]
    assert sorted(re.split(r"  +", line)[0] for line in said) == sorted(diverged)
    assert re.search(r"note layers 64,64: step \d+, layer \w+: the training diverged: ", outcome.out)
    assert outcome.code == code


def test_settings_reach_the_training(quick: Callable[..., Outcome], nw: Command) -> None:
    outcome = nw(
        "train", "digits", "--no-track", "--json", "--epochs", 1, "--layers", "5,3", "--hidden", "tanh",
        "--optimizer", "momentum", "--learning-rate", "0.02", "--batch-size", 50, "--patience", 3, "--clip-norm", 2,
        "--class-weights", "balanced", "--seed", 7, "--weight-decay", "0.5", "--test", "0.3", "--validation", "0.2",
        "--name", "mine",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    content = outcome.json
    expected: dict[str, Any] = {
        "layers": [5, 3], "hidden": "tanh", "output": "softmax", "loss": "categorical_cross_entropy",
        "optimizer": "momentum", "learning_rate": 0.02, "batch_size": 50, "epochs": 1, "patience": 3, "clip_norm": 2.0,
        "class_weights": "balanced", "seed": 7, "weight_decay": 0.5,
    }  # fmt: skip
    assert content["settings"].items() >= expected.items()
    assert content["name"] == "mine"
    assert content["data"]["test_rows"] == pytest.approx(0.3 * 1797, abs=10)
    assert content["data"]["validation_rows"] == pytest.approx(0.2 * 0.7 * 1797, abs=10)


def test_columns_may_be_given_one_by_one_or_joined(nw: Command, good: Path) -> None:
    base = ["train", good, "--target", "price", "--no-track", "--epochs", 1]
    for arguments in (["--numeric", "zipcode", "--numeric", "sqft"], ["--numeric", "zipcode, sqft"]):
        assert "2 input neurons" in nw(*base, *arguments).out
    for arguments in (["--drop", "zipcode"], ["--drop", "zipcode,"]):
        assert "1 input neuron" in nw(*base, *arguments).out


def test_pictures_are_brought_to_a_size(nw: Command, tmp_path: Path) -> None:
    from PIL import Image

    for index, name in enumerate(("cat", "dog")):
        (tmp_path / "pics" / name).mkdir(parents=True)
        for i in range(8):
            values = np.full((6, 5), 100 * index + i, dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "pics" / name / f"{i}.png")
    outcome = nw("train", tmp_path / "pics", "--no-track", "--epochs", 1, "--image-size", "4x3", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["data"]["inputs"] == 12
    answers = nw("predict", "latest", tmp_path / "pics" / "cat" / "0.png").out.splitlines()
    assert answers[0] == "prediction,P(cat),P(dog)"
    assert len(answers) == 2


def test_from_goes_on_where_a_run_ended(quick: Callable[..., Outcome], nw: Command, good: Path) -> None:
    assert quick("--name", "first").code == 0
    first = neuronwise.load("first").network.parameters.copy()
    arguments = ["train", good, "--target", "price", "--no-track", "--epochs", 1, "--from", "first"]
    outcome = nw(*arguments)
    assert outcome.code == 0, outcome.err
    assert "those of the run given with --from" in outcome.out
    from neuronwise.running import find_run

    began = find_run("latest").history_on_disk.parameters(0)
    assert began.tobytes() == first.tobytes()
    assert neuronwise.load("first").network.parameters.tobytes() == first.tobytes()


def test_predict_prints_csv_or_json_or_writes_a_file(
    quick: Callable[..., Outcome], nw: Command, good: Path, tmp_path: Path
) -> None:
    assert quick().code == 0
    printed = nw("predict", "latest", good)
    assert printed.code == 0
    assert printed.err == ""
    expected = neuronwise.load("latest").predict(good)
    (tmp_path / "printed.csv").write_text(printed.out)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "printed.csv")["prediction"], expected)
    assert [row["prediction"] for row in nw("predict", "latest", good, "--json").json] == pytest.approx(list(expected))
    outcome = nw("predict", "latest", good, "--out", tmp_path / "out.csv")
    assert outcome.out == ""
    assert outcome.err == f"60 predictions written to {tmp_path / 'out.csv'}\n"
    assert (tmp_path / "out.csv").read_text() == printed.out
    assert nw("predict", "latest", good, "--out", tmp_path / "out.parquet").code == 0
    np.testing.assert_allclose(pd.read_parquet(tmp_path / "out.parquet")["prediction"], expected)


def test_predict_reports_what_was_never_seen(quick: Callable[..., Outcome], nw: Command, tmp_path: Path) -> None:
    assert quick().code == 0
    path = tmp_path / "new.csv"
    path.write_text("sqft,zipcode\n99999,98001\n900,11111\n,98001\n")
    outcome = nw("predict", "latest", path)
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) == 4
    notes = [line for line in outcome.err.splitlines() if line.startswith("note: ")]
    assert any("11111" in line and "zipcode" in line for line in notes)
    assert any("sqft" in line for line in notes)


def test_make_houses_writes_the_same_file_for_the_same_seed(nw: Command, tmp_path: Path) -> None:
    for name, seed in (("a.csv", 1), ("b.csv", 1), ("c.csv", 2)):
        outcome = nw("make-houses", tmp_path / name, "--rows", 30, "--seed", seed)
        assert outcome.code == 0
        assert f"30 house sales written to {tmp_path / name}" in outcome.out
        assert f"neuronwise train {tmp_path / name} --target price" in outcome.out
    a, b, c = ((tmp_path / name).read_text() for name in ("a.csv", "b.csv", "c.csv"))
    assert a == b != c
    assert len(pd.read_csv(tmp_path / "a.csv")) == 30


def test_without_a_server_the_training_still_succeeds(nw: Command, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    outcome = nw("train", good, "--target", "price", "--epochs", 2)
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    assert text.count("nothing was logged to MLflow") == 1
    assert "http://127.0.0.1:9" in text
    assert "unset MLFLOW_TRACKING_URI" in text
    assert (user_data_folder() / "runs").is_dir()
    listed = nw("runs")
    assert listed.code == 0
    assert "only the runs on this machine are listed" in listed.err
    assert "good.csv" in listed.out
    outcome = nw("train", good, "--target", "price", "--epochs", 2, "--json")
    assert "nothing was logged to MLflow" in outcome.json["not_logged"][0]
    assert outcome.json["tracking_uri"] is None


def test_a_file_store_is_refused_with_the_way_out(
    nw: Command, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    outcome = nw("train", good, "--target", "price", "--epochs", 2)
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    assert "MLflow no longer takes a folder as its store" in text
    assert "migrate-filestore" in text
    assert not (tmp_path / "mlruns").exists()
    assert nw("show", "latest").code == 0


def test_a_diverging_training_fails_with_place_and_keeps_the_run(nw: Command, good: Path) -> None:
    arguments = ["--learning-rate", "1e6", "--optimizer", "sgd", "--epochs", 30, "--layers", "8,8"]
    outcome = nw("train", good, "--target", "price", *arguments)
    assert outcome.code == 1
    match = re.search(r"Error: step (\d+), layer (\w+): the training diverged", outcome.err)
    assert match is not None
    assert int(match[1]) >= 1
    assert match[2] in ("hidden1", "hidden2", "output")
    kept = re.search(r"neuronwise show ([0-9a-f]{8})", outcome.err)
    assert kept is not None
    shown = nw("show", kept[1], "--json")
    assert shown.code == 0
    assert shown.json["status"] == "diverged"
    assert nw("show", kept[1]).code == 0
    (listed,) = nw("runs", "--json").json
    assert listed["status"] == "diverged"
    fitted = neuronwise.load("latest")
    assert np.isfinite(fitted.network.parameters).all()
    from neuronwise.tracking import open_store, resolve_store

    stored = open_store(resolve_store()).get_run(shown.json["id"])
    assert stored.info.status == "FAILED"
    assert "diverged" in stored.data.tags["neuronwise.failure"]
    assert f"step {match[1]}" in stored.data.tags["mlflow.note.content"]


def test_nothing_else_is_written_beside_the_data(
    nw: Command, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert nw("train", "good.csv", "--target", "price", "--no-track", "--epochs", 1).code == 0
    assert {path for path in tree(tmp_path) if not path.startswith("home")} == {"good.csv"}


NETWORK = {
    "format": "neuronwise-network",
    "version": 1,
    "layers": [
        {"type": "Conv2D", "filters": 3, "kernel_size": 3},
        {"type": "MaxPool2D"},
        {"type": "Flatten"},
        {"type": "Dense", "units": 10, "activation": "softmax"},
    ],
}


def test_a_network_of_a_file_is_trained_and_goes_on(nw: Command, tmp_path: Path) -> None:
    path = tmp_path / "conv.json"
    path.write_text(json.dumps(NETWORK))
    trained = ("train", "digits", "--network", path, "--no-track", "--json")
    whole = nw(*trained, "--epochs", 4).json
    assert whole["settings"]["network"] == "8×8-6×6×3-3×3×3-27-10"
    short = nw(*trained, "--epochs", 2).json
    outcome = nw("train", "--resume", short["id"], "--epochs", 4, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["id"] == short["id"]
    assert outcome.json["metrics"] == whole["metrics"]
    assert f"the training of {short['name']} goes on" in nw("train", "--resume", short["id"], "--epochs", 5).out


def test_a_schedule_and_its_warm_up_are_told_and_used(nw: Command) -> None:
    trained = ("train", "digits", "--epochs", 2, "--no-track", "--layers", 8)
    plain = nw(*trained, "--json").json
    run = nw(*trained, "--schedule", "cosine", "--warm-up", 10, "--json").json
    assert (run["settings"]["schedule"], run["settings"]["warm_up"]) == ("cosine", 10)
    assert run["history"] != plain["history"]
    assert "schedule plateau" in nw(*trained, "--schedule", "plateau").out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train"], "argument DATA: there is no data to learn from"),
        (
            ["train", "digits", "--network", "a.json", "--layers", "3"],
            "--layers: the network is that of the file",
        ),
        (["train", "digits", "--network", "a.json", "--hidden", "tanh"], "--hidden: the network is that of the"),
        (["train", "digits", "--network", "a.json", "--try-layers", "3"], "--network: --try-layers says which"),
        (
            ["train", "digits", "--network", "a.json", "--from", "latest"],
            "--network: the network is that of the",
        ),
        (["train", "digits", "--network", "a.json"], "--network: there is no file 'a.json'"),
        (["train", "--resume", "latest", "--batch-size", "3"], "--batch-size: a training that goes on keeps its"),
        (["train", "--resume", "latest", "--from", "latest"], "--from: a training that goes on keeps its settings"),
        (["train", "--resume", "latest"], "there is no run 'latest'"),
        (["train", "digits", "--schedule", "cosinus"], "'cosinus' is not one of"),
        (["train", "digits", "--warm-up", "-1"], "--warm-up: expected a whole number from 0"),
        (["count", "--network", "a.json"], "--network: there is no file 'a.json'"),
        (["count", "3", "4", "--network", "a.json"], "argument SIZES: the sizes are those of the file, got '3 4' too"),
    ],
)
def test_wrong_options_of_networks_and_resumption_are_usage_errors(
    nw: Command, arguments: list[str], part: str
) -> None:
    outcome = nw(*arguments)
    assert outcome.code == 2, outcome.out
    assert part in outcome.err, outcome.err
    assert "Traceback" not in outcome.err
