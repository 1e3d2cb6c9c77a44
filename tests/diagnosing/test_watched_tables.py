"""What is said of the columns of a table that a PyTorch loop learns from, seen through `watch` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuronwise.diagnosing import Diagnosis, diagnose, measure
from neuronwise.recording import Recording
from neuronwise.watching.columns import farthest, from_each, numbers_rows, same_columns, surest_right

from .nets import recorded


def _table(rows: int = 300, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(rows, 4))


def _price(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray((x[:, 0] + 0.5 * x[:, 1] ** 2 + 0.1 * np.random.default_rng(5).normal(size=len(x)))[:, None])


def _trained(folder: Path, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], xv: np.ndarray[Any, Any],
             yv: np.ndarray[Any, Any], **named: Any) -> tuple[Diagnosis, Recording]:  # fmt: skip
    def both(values: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.tensor(values) if values.dtype.kind == "i" else torch.tensor(values, dtype=torch.float32)

    torch.manual_seed(2)
    outputs = named.pop("outputs", 1)
    model = nn.Sequential(nn.Linear(x.shape[1], 24), nn.ReLU(), nn.Linear(24, outputs))
    loss = nn.CrossEntropyLoss() if outputs > 1 else nn.MSELoss()
    recording = recorded(folder, model, loss, (both(x), both(y)), held=(both(xv), both(yv)), **named)
    return diagnose(recording), recording


def _causes(found: Diagnosis) -> list[str]:
    return [one.cause for one in found.findings]


def _remarks(found: Diagnosis) -> dict[str, tuple[str, ...]]:
    return {one.name: one.layers for one in found.remarks}


def test_of_a_good_table_nothing_is_said(tmp_path: Path) -> None:
    x, xv = _table(), _table(200, 1)
    found, recording = _trained(tmp_path / "run", x, _price(x), xv, _price(xv), epochs=30)
    assert _causes(found) == [], str(found)
    assert {"constant_feature", "duplicate_feature", "outlier"}.isdisjoint(_remarks(found))
    assert measure(recording, "rows_in_both") == 0


def test_a_column_that_holds_the_answer(tmp_path: Path) -> None:
    x, xv = _table(), _table(200, 1)
    y, yv = _price(x), _price(xv)
    x[:, 2], xv[:, 2] = np.exp(y[:, 0]), np.exp(yv[:, 0])
    found, _ = _trained(tmp_path / "run", x, y, xv, yv)
    assert _causes(found)[:1] == ["leaking_target"]
    assert found.findings[0].layers == ("input[2]",)


def test_a_column_that_only_numbers_the_rows(tmp_path: Path) -> None:
    x, xv = _table(), _table(200, 1)
    x[:, 3] = np.arange(len(x)) / 100 - 1.5
    found, _ = _trained(tmp_path / "run", x, _price(x), xv, _price(xv))
    assert "identifier_feature" in _causes(found)


def test_constant_twice_the_same_and_far_off(tmp_path: Path) -> None:
    x, xv = _table(), _table(200, 1)
    y, yv = _price(x), _price(xv)
    x[:, 2], xv[:, 2] = 1.0, 1.0
    x[:, 3], xv[:, 3] = 2 * x[:, 1] + 1, 2 * xv[:, 1] + 1
    x[7, 0] = 900.0
    found, _ = _trained(tmp_path / "run", x, y, xv, yv)
    remarks = _remarks(found)
    assert remarks["constant_feature"] == ("input[2]",)
    assert remarks["duplicate_feature"] == ("input[1] and input[3]",)
    assert remarks["outlier"] == ("input[0]",)


def test_rows_held_out_that_were_learned_from(tmp_path: Path) -> None:
    x, xv = _table(), _table(200, 1)
    xv[:60] = x[100:160]
    found, recording = _trained(tmp_path / "run", x, _price(x), xv, _price(xv), epochs=30)
    assert measure(recording, "rows_in_both") == pytest.approx(0.3, abs=0.02)
    assert _causes(found) == ["duplicate_rows"]


def test_labels_of_which_many_are_wrong(tmp_path: Path) -> None:
    x, xv = _table(600), _table(600, 1)
    g = np.random.default_rng(3)
    y, yv = ((one[:, 0] > 0).astype(np.int64) for one in (x, xv))
    y, yv = (np.where(g.random(len(one)) < 0.3, 1 - one, one) for one in (y, yv))
    found, recording = _trained(tmp_path / "run", x, y, xv, yv, outputs=2)
    assert _causes(found)[:1] == ["wrong_labels"], str(found)
    assert measure(recording, "surest_error") == pytest.approx(0.3, abs=0.1)


def test_hard_rows_are_no_wrong_labels(tmp_path: Path) -> None:
    x, xv = _table(600), _table(600, 1)
    g = np.random.default_rng(3)
    y, yv = ((one[:, 0] + g.normal(0, 0.8, len(one)) > 0).astype(np.int64) for one in (x, xv))
    found, _ = _trained(tmp_path / "run", x, y, xv, yv, outputs=2, epochs=8)
    assert "wrong_labels" not in _causes(found), str(found)


# ---------------------------------------------------------------------- the arithmetic, the slow way


def test_columns_beside_the_slow_way() -> None:
    g = np.random.default_rng(0)
    x = g.normal(size=(80, 5))
    x[:, 4] = 3 * x[:, 1] - 2
    y = np.exp(x[:, 2])
    columns = list(x.T)
    assert same_columns(columns) == [(1, 4)]
    found = from_each(columns, y, is_by_class=False)
    for place, one in enumerate(columns):
        ranks = [sum(other < value for other in one) for value in one]
        goal = [sum(other < value for other in y) for value in y]
        slow = max(abs(np.corrcoef(one, y)[0, 1]), abs(np.corrcoef(ranks, goal)[0, 1]))
        assert found[place] == pytest.approx(slow)
    assert found[2] == pytest.approx(1)
    assert farthest(columns[0]) == pytest.approx(max(abs(v - np.mean(x[:, 0])) for v in x[:, 0]) / np.std(x[:, 0]))
    assert numbers_rows(np.arange(100.0)[g.permutation(100)])
    assert not numbers_rows(columns[0])
    assert not numbers_rows(np.repeat(np.arange(50.0), 2))


def test_the_surest_third_beside_the_slow_way() -> None:
    g = np.random.default_rng(0)
    out, goal = g.normal(size=(300, 3)), g.integers(0, 3, 300)
    sure = sorted(range(300), key=lambda row: sorted(out[row])[-1] - sorted(out[row])[-2])[-100:]
    assert surest_right(out, goal) == pytest.approx(np.mean([out[row].argmax() == goal[row] for row in sure]))
    single = g.normal(size=(300, 1))
    sure = sorted(range(300), key=lambda row: abs(single[row, 0]))[-100:]
    half = (goal > 0).astype(float)
    expected = np.mean([(single[row, 0] > 0) == half[row] for row in sure])
    assert surest_right(single, half, 0.0) == pytest.approx(expected)
    assert surest_right(out[:100], goal[:100]) is None
