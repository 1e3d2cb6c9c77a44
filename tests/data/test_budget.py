"""The memory budget, and what reading a table whole would take."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from neuronwise.data.budget import memory_budget, whole_bytes
from neuronwise.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [(1, 1), ("500", 500), ("2GB", 2 * 10**9), (" 1.5 mb ", 1_500_000), ("1GiB", 2**30), ("3 kB", 3000)],
)
def test_sizes_are_read_as_people_write_them(given: Any, bytes_: int) -> None:
    assert memory_budget(given) == bytes_


@pytest.mark.parametrize("given", ["", "much", "2XB", "-1GB", "0", 0, -5, True, 1.5])
def test_what_is_no_size_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=r"argument memory: expected a size such as '2GB'"):
        memory_budget(given)


def test_the_environment_decides_where_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_budget() == 10**9
    monkeypatch.setenv("NEURONWISE_MEMORY", "3MB")
    assert memory_budget() == 3 * 10**6
    assert memory_budget("1MB") == 10**6


def test_more_text_and_more_cells_need_more(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 4)), columns=list("abcd"))
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    text = (tmp_path / "t.csv").read_bytes()
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text))
    assert whole_bytes(tmp_path / "t.csv") == 12 * len(text)
    assert whole_bytes(tmp_path / "t.parquet") == 75 * 500 * 4
    assert whole_bytes(tmp_path / "t.csv.gz") > 12 * len(text)


def test_a_damaged_parquet_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(DataError, match=r"t\.parquet: the Parquet file is damaged or cut off"):
        whole_bytes(tmp_path / "t.parquet")
