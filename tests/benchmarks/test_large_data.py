"""The large table is made as it is said, trains in bounded memory, and the benchmark writes what the page quotes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "large_data.py"


@pytest.fixture(scope="module")
def large_data() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        spec = importlib.util.spec_from_file_location("large_data", SCRIPT)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def measured(file: Path, memory: str, home: Path) -> dict[str, Any]:
    """Train in a process of its own and return what it measured of itself."""
    command = [sys.executable, str(SCRIPT), "--worker", "train", str(file), memory, "1"]
    environment = os.environ | {"NEURONWISE_HOME": str(home), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_table_is_the_same_from_both_files_and_has_what_it_is_said_to_have(
    large_data: ModuleType, tmp_path: Path
) -> None:
    large_data.make(tmp_path / "t.csv", tmp_path / "t.parquet", 3000)
    text = pd.read_csv(tmp_path / "t.csv", parse_dates=["sold"])
    columns = pd.read_parquet(tmp_path / "t.parquet")
    assert text.shape == columns.shape == (3000, 40)
    assert text["sold"].astype(str).tolist() == columns["sold"].astype(str).tolist()
    pd.testing.assert_frame_equal(text.drop(columns="sold"), columns.drop(columns="sold"), check_dtype=False)
    assert 20 < text["m03"].isna().sum() < 120
    assert text["key"].is_unique


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(("kind", "rows"), [("csv", 60_000), ("parquet", 20_000)])
def test_a_table_beyond_the_budget_trains_in_the_memory_that_is_stated(
    kind: str, rows: int, large_data: ModuleType, tmp_path: Path
) -> None:
    files = {name: tmp_path / f"t.{name}" for name in ("csv", "parquet")}
    large_data.make(files["csv"], files["parquet"], rows)
    found = measured(files[kind], "3MB", tmp_path / "home")
    assert (found["rows"], found["inputs"]) == (rows, 50)
    assert found["disk_bytes"] == found["array_bytes"] == rows * 50 * 4
    assert found["metrics"]["r2"] > 0.7
    assert found["own_peak"] - found["libraries"] < found["data_bytes"] < 400_000_000
    assert [path for path in (tmp_path / "home" / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_two_million_rows_train_in_the_memory_that_is_stated(kind: str, large_data: ModuleType, tmp_path: Path) -> None:
    files = {name: tmp_path / f"t.{name}" for name in ("csv", "parquet")}
    large_data.make(files["csv"], files["parquet"], 2_000_000)
    array = 2_000_000 * 50 * 4
    for memory in ("1GB", "50MB"):
        found = measured(files[kind], memory, tmp_path / "home")
        assert found["array_bytes"] == array
        assert found["disk_bytes"] == (array if memory == "50MB" else 0)
        # Well under twice the array and what the libraries take.
        assert found["peak"] < 2 * array + 600_000_000
        assert found["own_peak"] - found["libraries"] < found["data_bytes"]
        if memory == "50MB":
            assert found["own_peak"] < 800_000_000
        assert found["metrics"]["r2"] > 0.99


def test_the_benchmark_measures_and_writes_a_table(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--out", str(tmp_path / "r.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "r.json").read_text())
    assert (result["benchmark"], result["quick"]) == ("large_data", True)
    assert [case["kind"] for case in result["cases"]] == ["csv", "csv", "parquet", "parquet", "csv", "parquet"]
    assert set(result["met"]) == {"peak", "encoding", "estimate"}
    assert "| --- |" in done.stdout
