"""The benchmarks run and write what the page on performance quotes; nothing is said here about how fast it all is."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from neuronwise.data import make_houses

REPOSITORY = Path(__file__).resolve().parents[2]
BENCHMARKS = REPOSITORY / "benchmarks"


def _run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
        check=False,
    )


def _measure(script: str, out: Path, *arguments: object, **environment: str) -> dict[str, Any]:
    done = _run(script, "--quick", "--out", out, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(out.read_text())
    assert result["benchmark"] == Path(script).stem
    assert result["quick"] is True
    assert result["machine"]["cpu"]
    assert result["machine"]["versions"]["numpy"]
    assert "| --- |" in done.stdout
    return result


INSTALLED = {"neuronwise", "plain NumPy", "scikit-learn"}
for _module, _names in {"torch": ("torch", "torch DataLoader"), "jax": ("jax",)}.items():
    if importlib.util.find_spec(_module):
        INSTALLED |= set(_names)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    # The contenders run without what tunes OpenBLAS, though this process has it.
    out = tmp_path_factory.mktemp("steps") / "r.json"
    return _measure("training.py", out, OPENBLAS_CORETYPE="Haswell")


def test_training_steps_are_measured_for_every_contender_that_is_installed(steps: dict[str, Any]) -> None:
    assert [(case["network"], case["batch"], case["optimizer"]) for case in steps["cases"]] == [
        ("784-16-16-10", 32, "sgd"),
        ("30-64-64-1", 32, "adam"),
    ]
    for case in steps["cases"]:
        assert set(case["contenders"]) == INSTALLED
        assert set(case["ratios"]) == INSTALLED - {"neuronwise"}
        for contender in case["contenders"].values():
            assert set(contender["cpu_us"]) == {"median", "min", "max"}
            assert len(contender["rounds_cpu_us"]) == 1
    assert set(steps["means"]) == INSTALLED - {"neuronwise"}
    assert steps["aims"]["times_plain_numpy"]["aim"] == 1.1
    assert {one["rival"] for one in steps["aims"]["single_steps"]} == INSTALLED & {"torch", "scikit-learn"}


def test_the_contenders_learn_the_same_thing(steps: dict[str, Any]) -> None:
    # From other first weights, so the losses differ; but a contender that does not learn stays above these.
    for case, least in zip(steps["cases"], (math.log(10), 0.3), strict=True):
        for name, contender in case["contenders"].items():
            assert 0 < contender["loss_after_2_epochs"] < least, (case["network"], name)


def test_the_bound_stands_beside_with_what_it_was_computed_from(steps: dict[str, Any]) -> None:
    assert steps["hardware"]["peak"]["flops_per_s"] >= steps["hardware"]["peak_numpy"]["flops_per_s"] > 1e8
    assert steps["hardware"]["bandwidth_bytes_per_s"] > 1e7
    assert all(case["bound_us"] > 0 for case in steps["cases"])


def test_flops_and_bytes_of_the_bound_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import bound

    # Forward 2 · 3 · (4·5 + 5·2) = 180, dW as much, dx of the second layer only: 2 · 3 · 10 = 60.
    assert bound.flops([4, 5, 2], 3) == 420
    # The rows of the batch, 4 · 3 · 4 bytes; 37 parameters with two states are 444 bytes, each read and written.
    assert bound.moved([4, 5, 2], 3, "adam", 1_000) == 48
    assert bound.moved([4, 5, 2], 3, "adam", 100) == 48 + 2 * 444
    assert bound.moved([4, 5, 2], 3, "sgd", 100) == 48 + 2 * 148
    measured = {"peak": {"flops_per_s": 1e6}, "bandwidth_bytes_per_s": 1e6, "cache_bytes": 1_000}
    assert bound.bound_us(measured, [4, 5, 2], 3, "sgd") == pytest.approx(468)


def test_a_contender_that_is_missing_is_skipped_with_a_note(tmp_path: Path) -> None:
    # Packages of these names that cannot be imported, as those of another platform.
    for name in ("torch", "jax"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no module named {name}')")
    result = _measure("training.py", tmp_path / "r.json", PYTHONPATH=str(tmp_path))
    assert result["notes"] == [
        f"{contender} was skipped: no module named {name}"
        for contender, name in (("torch", "torch"), ("torch DataLoader", "torch"), ("jax", "jax"))
    ]
    assert all(set(case["contenders"]) == {"neuronwise", "plain NumPy", "scikit-learn"} for case in result["cases"])
    assert result["hardware"]["peak"]["by"] == "numpy"
    assert "mean_ratio_to_torch" not in result["aims"]


TOOLS = {"numpy.save", "MLflow, each step", "MLflow, 500 at once"}
if importlib.util.find_spec("wandb"):
    TOOLS.add("wandb, offline")
if importlib.util.find_spec("tensorboard") and importlib.util.find_spec("torch"):
    TOOLS.add("TensorBoard")


def test_recording_is_measured_beside_other_tools_and_changes_no_weight(tmp_path: Path) -> None:
    result = _measure("recording.py", tmp_path / "r.json")
    networks = ["784-16-16-10", "784-128-64-10"]
    assert [(case["network"], case["optimizer"]) for case in result["cost"]] == [
        (network, optimizer) for network in networks for optimizer in ("sgd", "adam")
    ]
    ours = {"recording", "recording, statistics_every=1"}
    for case in result["cost"]:
        assert set(case["kinds"]) == {"bare", "numpy.save"} | ours
        assert all(case["kinds"][name]["bytes"] > 4 * 13_002 * case["kinds"][name]["keyframes"] for name in ours)
    assert [case["network"] for case in result["tools"]] == networks[:1]
    for case in result["tools"]:
        assert set(case["kinds"]) == {"bare", "recording, keyframe_every=500"} | TOOLS
        assert all(kind["bytes"] > 0 for name, kind in case["kinds"].items() if name != "bare")
    for case in result["cost"] + result["tools"]:
        assert all(kind["same_weights"] for kind in case["kinds"].values())
        assert all({"median", "min", "max"} < set(kind["ratio_wall"]) for kind in case["kinds"].values())
    for case in result["seeks"]:
        assert case["same_bits"] == case["seeks"] == 20
    assert [case["keyframes"] for case in result["histories"]] == [41, 11]
    assert {type(aim["met"]) for aim in result["aims"]} == {bool}
    assert len(result["notes"]) == 5 - len(TOOLS)


def test_a_tool_that_is_missing_is_skipped_with_a_note(tmp_path: Path) -> None:
    for name in ("torch", "mlflow", "wandb"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no module named {name}')")
    code = (
        "import pathlib, recorders; tools, notes = recorders.load_all(pathlib.Path()); print(*tools, *notes, sep='\\n')"
    )
    path = os.pathsep.join(map(str, (tmp_path, BENCHMARKS, REPOSITORY / "src")))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False
    )
    assert done.stdout.splitlines() == [
        "numpy.save",
        "TensorBoard was skipped: no module named torch",
        "wandb, offline was skipped: no module named wandb",
        "MLflow, each step was skipped: no module named mlflow",
        "MLflow, 500 at once was skipped: no module named mlflow",
    ], done.stderr


def test_house_sales_are_measured_beside_the_contenders(tmp_path: Path) -> None:
    table = tmp_path / "houses.csv"
    make_houses(400, 0).to_csv(table, index=False)
    result = _measure("houses.py", tmp_path / "r.json", "--data", table)
    names = {"neuronwise", "linear regression", "scikit-learn MLP", "gradient boosting"}
    assert set(result["means"]) == names
    assert set(result["splits"][0]["scores"]) == names
    assert set(result["met"]) == {
        "r2_log",
        "median_percent_error",
        "above_linear_regression_on_each_split",
        "seconds_of_each_split",
    }


def test_explaining_is_measured(tmp_path: Path) -> None:
    only = ["deep_patterns, hidden2", "find_edges"]
    result = _measure("explaining.py", tmp_path / "r.json", *(word for name in only for word in ("--only", name)))
    assert [case["name"] for case in result["cases"]] == only
    assert result["data"] == "made"
    for case in result["cases"]:
        assert case["peak_bytes"] > case["added_bytes"] > 0
        assert case["wall_s"] > 0
    assert set(result["met"]) == {"peak", "seconds"}


def test_mnist_is_measured(tmp_path: Path, shared_data: Path) -> None:
    result = _measure("mnist.py", tmp_path / "r.json", "--data", shared_data / "mnist")
    assert [case["network"] for case in result["cases"]] == ["784-16-16-10", "784-128-64-10"]
    assert all(0.2 < case["accuracy"]["mean"] < 1 for case in result["cases"])


def test_mnist_is_raced_to_an_accuracy_and_learned_by_convolution(tmp_path: Path, shared_data: Path) -> None:
    result = _measure("mnist_race.py", tmp_path / "r.json", "--data", shared_data / "mnist")
    assert [case["optimizer"] for case in result["cases"]] == ["sgd", "adam"]
    for case in result["cases"]:
        assert set(case["contenders"]) == INSTALLED
        assert all(0.2 < one["accuracy"]["mean"] < 1 for one in case["contenders"].values())
        assert all(one["cpu_s"]["median"] > 0 for one in case["contenders"].values())
    found = result["convolution"]["contenders"]
    assert set(found) == INSTALLED & {"neuronwise", "torch"}
    assert all(0.2 < one["accuracy"]["mean"] < 1 for one in found.values())


@pytest.mark.parametrize("name", ["training", "mnist", "mnist_race", "houses", "recording", "explaining", "inspector"])
def test_the_results_kept_are_of_whole_runs(name: str) -> None:
    result = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text())
    assert result["benchmark"] == name
    assert result["quick"] is False


def test_the_page_on_performance_quotes_the_results_kept() -> None:
    done = _run("quote.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.full
def test_training_is_measured_while_mlflow_is_away(tmp_path: Path) -> None:
    result = _measure("mlflow_away.py", tmp_path / "r.json")
    assert list(result["kinds"]) == ["in a folder only", "MLflow away from the start", "MLflow killed in the middle"]
    assert all(kind["same_weights"] for kind in result["kinds"].values())
