"""How a training goes about it, as the watcher writes it: settings, batches, graph, kind of loss, cleared gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from neuronwise.watching import TorchWatcher
from neuronwise.watching.torch_batches import InputsSeen, TargetsSeen, predictions_of
from neuronwise.watching.torch_graph import graph_of
from neuronwise.watching.torch_loss_kinds import loss_kinds

from .helpers import events


def _of(model: nn.Module, x: torch.Tensor) -> dict[str, Any]:
    return graph_of(model, [model(x)])


def _by_name(graph: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in graph["layers"]}


class Called(nn.Module):
    """One whose functions are calls, not modules."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.two(torch.tanh(self.one(x)))
        return torch.softmax(self.three(hidden + torch.tanh(self.one(x))), -1)


def test_the_graph_tells_what_lies_between_layers_whether_modules_or_calls() -> None:
    graph = _of(Called(), torch.randn(5, 3))
    layers = _by_name(graph)
    assert graph["output"] == ["softmax"]
    assert graph["last"] == ["three.weight"]
    assert graph["merges"] == 1
    assert layers["two"]["after"] == ["tanh"]
    assert layers["two"]["bare"] == []
    assert layers["three"]["bare"] == ["two.weight"]
    assert layers["one"]["follows"] == []


def test_layers_with_nothing_between_are_seen_through_views_and_normalisation() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 4), nn.Linear(4, 2))
    layers = _by_name(_of(model, torch.randn(3, 1, 6, 6)))
    assert layers["3"]["after"] == ["batchnorm"]
    assert layers["3"]["bare"] == ["0.weight"]
    assert layers["4"]["after"] == []
    assert layers["4"]["bare"] == ["3.weight"]


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
def test_the_graph_of_a_recurrent_model_has_its_weights(cell: Any) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = cell(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.cell(x)[0][:, -1])

    names = [one["weight"] for one in _of(Recurrent(), torch.randn(2, 5, 3))["layers"]]
    assert "head.weight" in names
    assert any(name.startswith("cell.") for name in names)


KINDS: list[tuple[str, Any, bool]] = [
    ("mse", F.mse_loss, False), ("mae", F.l1_loss, False), ("huber", F.smooth_l1_loss, False),
    ("bce_logits", F.binary_cross_entropy_with_logits, False), ("ce", F.cross_entropy, True), ("nll", F.nll_loss, True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "of_classes"), KINDS, ids=[one[0] for one in KINDS])
@given(seed=st.integers(0, 10_000))
def test_a_loss_is_known_by_its_value(name: str, function: Any, of_classes: bool, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    prediction = torch.randn(7, 3, generator=g) * 2
    target = torch.randint(0, 3, (7,), generator=g) if of_classes else torch.randint(0, 2, (7, 3), generator=g).float()
    assert name in loss_kinds(prediction, target, float(function(prediction, target)))
    assert name not in loss_kinds(prediction, target, 1.7 * float(function(prediction, target)) + 0.1)


def test_a_loss_that_is_none_of_the_known_ones_is_none() -> None:
    assert loss_kinds(torch.randn(4, 2), torch.randn(4, 2), 123.0) == []
    assert loss_kinds(torch.randn(4, 2), torch.randn(4, 2), float("nan")) == []


@given(st.integers(1, 6), st.integers(1, 40), st.integers(1, 4))
def test_moments_of_the_inputs_are_those_of_all_rows_together(batches: int, rows: int, features: int) -> None:
    g = np.random.default_rng(rows)
    every = [g.normal(3, 2, (rows, features)).astype(np.float32) for _ in range(batches)]
    seen = InputsSeen()
    for one in every:
        seen.take(torch.tensor(one))
    whole = np.concatenate(every).astype(float)
    mean, std = seen.moments()
    np.testing.assert_allclose(mean, whole.mean(0), atol=1e-9)
    np.testing.assert_allclose(std, whole.std(0), atol=1e-6)
    assert seen.distinct == len(np.unique(whole, axis=0))


def test_rows_that_come_again_are_counted() -> None:
    seen, x = InputsSeen(), torch.randn(10, 3)
    assert seen.take(x)["seen_before"] == 0
    assert seen.take(torch.cat([x[:4], torch.randn(2, 3)]))["seen_before"] == 4


def test_right_answers_are_counted_as_they_are_by_hand() -> None:
    out, y = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]]), torch.tensor([0, 0, 0])
    found = predictions_of(out, y)
    assert found["correct"] == pytest.approx(2 / 3)
    found = predictions_of(torch.tensor([[0.7], [0.2], [-1.0]]), torch.tensor([[1.0], [1.0], [0.0]]))
    assert found["correct_half"] == pytest.approx(2 / 3)
    assert found["correct_zero"] == 1
    assert found["sse"] == pytest.approx((0.09 + 0.64 + 1) / 3)


def test_targets_that_are_classes_are_counted() -> None:
    seen = TargetsSeen()
    seen.take(torch.tensor([0, 2, 2]))
    seen.take(torch.tensor([2, 1, 2]))
    assert seen.describe()["counts"] == {"0": 1, "1": 1, "2": 4}
    seen.take(torch.tensor([0.5]))
    assert "counts" not in seen.describe()


def _train(folder: Path, *, clear: str, steps: int = 4) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    model, loss = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 1, 0])
    with TorchWatcher(model, optimizer, folder=folder, loss=loss, strict=True):
        for _ in range(steps):
            if clear == "before":
                optimizer.zero_grad()
            out = model(x)
            if clear == "between":
                optimizer.zero_grad(set_to_none=False)
            loss(out, y).backward()
            if clear == "accumulates":
                loss(model(x), y).backward()
            optimizer.step()
            if clear in ("after", "accumulates"):
                model.zero_grad()
    return events(folder, "batches")


@pytest.mark.parametrize(
    ("clear", "kept"),
    [("before", False), ("between", False), ("after", False), ("accumulates", False), ("never", True)],
)
def test_gradients_that_are_not_cleared_are_seen_wherever_they_should_be(
    clear: str, kept: bool, tmp_path: Path
) -> None:
    found = [one for event in _train(tmp_path / "r", clear=clear)
             for one in event["columns"]["kept"]]  # fmt: skip
    assert len(found) == 4
    assert found == [False, *[kept] * 3]


def test_settings_are_written_once_and_again_when_they_change(tmp_path: Path) -> None:
    model, loss = nn.Sequential(nn.Linear(3, 2)), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    with TorchWatcher(model, optimizer, folder=tmp_path / "r", loss=loss, strict=True):
        for step in range(3):
            optimizer.zero_grad()
            loss(model(torch.randn(4, 3)), torch.randn(4, 2)).backward()
            optimizer.step()
            if step == 1:
                model[0].bias.requires_grad_(False)
    found = events(tmp_path / "r", "setting")
    assert [one["step"] for one in found] == [1, 3]
    assert found[0]["optimizers"][0]["kind"] == "SGD"
    assert found[0]["optimizers"][0]["groups"][0]["momentum"] == 0.5
    assert [one["frozen"] for one in found] == [[], ["0.bias"]]


def test_a_loss_that_is_infinite_once_is_known_by_its_other_values(tmp_path: Path) -> None:
    model, loss = nn.Sequential(nn.Linear(3, 2)), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with TorchWatcher(model, optimizer, folder=tmp_path / "r", loss=loss):
        for step in range(4):
            optimizer.zero_grad()
            target = torch.full((4, 2), float("inf")) if step == 1 else torch.randn(4, 2)
            loss(model(torch.randn(4, 3)), target).backward()
            if step != 1:
                optimizer.step()
            else:
                optimizer.zero_grad()
                optimizer.step()
    assert events(tmp_path / "r", "data")[-1]["loss_kinds"] == ["mse"]


def test_rows_held_out_are_asked_after_the_last_step_too(tmp_path: Path) -> None:
    model, loss = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)), nn.CrossEntropyLoss()
    optimizer, held = torch.optim.SGD(model.parameters(), lr=0.1), (torch.randn(20, 3), torch.randint(0, 2, (20,)))
    with TorchWatcher(model, optimizer, folder=tmp_path / "r", loss=loss, validation=held, strict=True):
        for _ in range(75):  # no state is stored of the last of these
            optimizer.zero_grad()
            loss(model(torch.randn(8, 3)), torch.randint(0, 2, (8,))).backward()
            optimizer.step()
    last = events(tmp_path / "r", "validated")[-1]
    model.eval()
    with torch.no_grad():
        out = model(held[0])
    assert last["step"] == 75
    assert last["loss"] == pytest.approx(float(loss(out, held[1])), rel=1e-6)
    assert last["correct"] == pytest.approx(float((out.argmax(1) == held[1]).float().mean()))
    assert len(last["recall"]) == 2
