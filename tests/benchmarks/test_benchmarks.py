"""The benchmarks run and write what the page on performance quotes; nothing is said here about how fast it all is."""

from __future__ import annotations

import importlib.util
import json
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


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    # The contenders run without what tunes OpenBLAS, though this process has it.
    out = tmp_path_factory.mktemp("steps") / "r.json"
    return _measure("training_step.py", out, OPENBLAS_CORETYPE="Haswell")


def test_training_steps_are_measured_for_every_contender_that_is_installed(steps: dict[str, Any]) -> None:
    assert [(case["network"], case["batch"], case["optimizer"]) for case in steps["cases"]] == [
        ("784-16-16-10", 32, "sgd"),
        ("30-64-64-1", 32, "adam"),
    ]
    installed = {"neuronwise", "scikit-learn"} | ({"torch"} if importlib.util.find_spec("torch") else set())
    for case in steps["cases"]:
        assert set(case["contenders"]) == installed
        assert set(case["ratios"]) == installed - {"neuronwise"}
        for contender in case["contenders"].values():
            assert set(contender["cpu_us"]) == {"median", "min", "max"}
            assert len(contender["rounds_cpu_us"]) == 1
    assert steps["notes"] == ([] if "torch" in installed else ["torch is not installed and was skipped"])
    assert {"met", "at_least", "found"} == set(steps["cases"][0]["aims"]["scikit-learn"])


def test_the_contenders_learn_the_same_thing(steps: dict[str, Any]) -> None:
    # From other first weights, so the losses are alike, not equal; a contender that does not learn would stand out.
    for case in steps["cases"]:
        losses = [contender["loss_after_2_epochs"] for contender in case["contenders"].values()]
        assert max(losses) < 2 * min(losses), case["network"]


def test_a_contender_that_is_missing_is_skipped_with_a_note(tmp_path: Path) -> None:
    # A package of that name that cannot be found: what is asked is whether there is a specification of it.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('torch', 'sklearn') else find(name, *a)\n"
    )
    result = _measure("training_step.py", tmp_path / "r.json", PYTHONPATH=str(tmp_path))
    assert result["notes"] == [
        "torch is not installed and was skipped",
        "scikit-learn is not installed and was skipped",
    ]
    assert all(set(case["contenders"]) == {"neuronwise"} for case in result["cases"])


def test_recording_is_measured_and_changes_no_weight(tmp_path: Path) -> None:
    result = _measure("recording.py", tmp_path / "r.json")
    assert [case["network"] for case in result["cases"]] == ["784-16-16-10", "784-128-64-10"]
    for case in result["cases"]:
        assert case["same_weights"] is True
        assert case["bytes"] > 4 * 13_002
        assert set(case["ratio_cpu"]) == {"median", "min", "max"}


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


def test_mnist_is_measured(tmp_path: Path, shared_data: Path) -> None:
    result = _measure("mnist.py", tmp_path / "r.json", "--data", shared_data / "mnist")
    assert [case["network"] for case in result["cases"]] == ["784-16-16-10", "784-128-64-10"]
    assert all(0.2 < case["accuracy"]["mean"] < 1 for case in result["cases"])


@pytest.mark.parametrize("name", ["training_step", "mnist", "houses", "recording"])
def test_the_results_kept_are_of_whole_runs(name: str) -> None:
    result = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text())
    assert result["benchmark"] == name
    assert result["quick"] is False


def test_the_page_on_performance_quotes_the_results_kept() -> None:
    done = _run("quote.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
