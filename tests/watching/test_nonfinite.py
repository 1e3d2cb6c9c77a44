"""NaN and inf are located: the step, the layer, the neuron, what of it; and never raised unless asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from neuronwise.errors import TrainingDiverged
from neuronwise.watching import TorchWatcher

from .helpers import events, statistics


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.second = nn.Linear(5, 3)
        self.break_it: Callable[[torch.Tensor], torch.Tensor] = lambda z: z

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.break_it(F.relu(self.first(x))))


class Faulty:
    """Goes well up to a step, and then something is not finite, once."""

    def __init__(self, model: Net) -> None:
        self.model = model
        self.x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
        self.factor = 1.0
        self.after_backward: Callable[[], None] = lambda: None
        self.in_optimizer: Callable[[], None] = lambda: None

    def input(self) -> None:
        self.x = self.x.clone()
        self.x[0, 2] = torch.nan

    def weight(self) -> None:
        with torch.no_grad():
            self.model.second.weight[1, 3] = torch.inf

    def bias(self) -> None:
        with torch.no_grad():
            self.model.first.bias[2] = torch.nan

    def activation(self) -> None:
        # Too large for float32: each weight and each input is finite.
        with torch.no_grad():
            self.model.first.weight[3] = 3e38
            self.model.first.bias[3] = 3e38
        self.x = self.x.abs() + 10

    def between(self) -> None:
        self.model.break_it = lambda z: z / torch.zeros(())

    def loss(self) -> None:
        self.factor = torch.inf

    def gradient(self) -> None:
        def change() -> None:
            self.model.second.weight.grad[2, 0] = torch.nan  # type: ignore[index]

        self.after_backward = change

    def update(self) -> None:
        def change() -> None:
            with torch.no_grad():
                self.model.first.weight[4, 1] = -torch.inf

        self.in_optimizer = change


FAULTS: dict[str, tuple[Any, ...]] = {
    "input": ("first", 0, "input"),
    "weight": ("second", 1, "weight"),
    "bias": ("first", 2, "weight"),
    "activation": ("first", 3, "activation"),
    "between": ("second", 0, "input"),
    "loss": (None, None, "loss"),
    "gradient": ("second", 2, "gradient"),
    "update": ("first", 4, "weight"),
}


def train(
    fault: str, at: int, steps: int, folder: Path, rate: float = 0.01, **options: Any
) -> tuple[TorchWatcher, Faulty]:
    torch.manual_seed(3)
    model = Net()
    faulty = Faulty(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    options = {"time_budget": 1.0} | options
    watcher = TorchWatcher(model, optimizer, folder=folder / "recording", **options)
    loss_function = watcher.observe(F.cross_entropy)
    changing = optimizer.register_step_post_hook  # before the watcher's own is called it must have happened
    optimizer._optimizer_step_post_hooks.clear()
    changing(lambda *_: faulty.in_optimizer())
    watcher._steps._handles.after_steps(optimizer, watcher._steps._after)
    for step in range(1, steps + 1):
        if step == at:
            getattr(faulty, fault)()
        optimizer.zero_grad()
        loss = loss_function(model(faulty.x), torch.tensor([0, 1, 2, 0, 1, 2])) * faulty.factor
        if faulty.factor != 1.0:
            loss = watcher.observe(lambda: loss)()  # noqa: B023 - called now
        loss.backward()
        faulty.after_backward()
        optimizer.step()
    return watcher, faulty


@pytest.mark.parametrize("fault", FAULTS)
def test_the_first_is_located(fault: str, tmp_path: Path) -> None:
    watcher, _ = train(fault, 7, 12, tmp_path)
    watcher.close()
    layer, neuron, quantity = FAULTS[fault]
    (found,) = events(watcher.folder, "nonfinite")
    found = {name: found[name] for name in ("step", "since", "layer", "neuron", "quantity")}
    assert found == {"step": 7, "since": 6, "layer": layer, "neuron": neuron, "quantity": quantity}
    assert 7 in watcher.recording.keyframes
    assert watcher.recording.status == "finished"
    assert not watcher.problems


def test_a_training_that_is_finite_has_none(tmp_path: Path) -> None:
    watcher, _ = train("__init__", 10**9, 12, tmp_path)
    watcher.close()
    assert not events(watcher.folder, "nonfinite")


def test_statistics_show_it_and_drop_nothing(tmp_path: Path) -> None:
    watcher, faulty = train("weight", 7, 7, tmp_path)
    watcher.close()
    assert statistics(watcher, "second", "nonfinite_weights", 6).tolist() == [0, 0, 0]
    # After one step with NaN gradients all is NaN.
    assert not faulty.model.second.weight.isfinite().any()
    assert statistics(watcher, "second", "nonfinite_weights", 7).tolist() == [6, 6, 6]
    assert statistics(watcher, "second", "nonfinite_activations", 7)[[0, 2]].tolist() == [0, 0]
    assert statistics(watcher, "second", "nonfinite_activations", 7)[1] > 0
    assert np.isnan(statistics(watcher, "second", "weight_norm", 7)).all()
    assert np.isnan(statistics(watcher, "second", "grad_norm", 7)).all()
    assert not np.isfinite(statistics(watcher, "second", "mean", 7)[1])
    assert np.isfinite(statistics(watcher, "second", "mean", 7)[[0, 2]]).all()
    assert not np.isfinite(watcher.recording.layer_norms("second", "weight_norm").values[-1])


@pytest.mark.parametrize("fault", ["weight", "bias", "input", "activation", "loss"])
def test_between_recorded_steps_the_loss_tells(fault: str, tmp_path: Path) -> None:
    """Nobody looks at activations of step 13 then, but weights and what autograd keeps are still there."""
    watcher, _ = train(fault, 13, 30, tmp_path, statistics_every=10)
    watcher.close()
    (found,) = events(watcher.folder, "nonfinite")
    assert (found["step"], found["since"]) == (13, 10)
    assert (found["layer"], found["neuron"], found["quantity"]) == FAULTS[fault]
    assert {13, 14, 15, 16} <= set(watcher.recording.frames.tolist())
    assert 13 in watcher.recording.keyframes


@pytest.mark.parametrize("fault", FAULTS)
def test_strict_stops_with_what_was_found(fault: str, tmp_path: Path) -> None:
    layer, neuron, quantity = FAULTS[fault]
    with pytest.raises(TrainingDiverged) as caught:
        train(fault, 7, 12, tmp_path, strict=True)
    message = str(caught.value)
    assert "step 7" in message
    assert "step 6" in message
    assert quantity in message
    assert f"{layer}[{neuron}]" in message or layer is None


def test_a_learning_rate_that_is_too_large_is_survived(tmp_path: Path) -> None:
    watcher, _ = train("__init__", 10**9, 60, tmp_path, rate=1e30)
    watcher.close()
    (found,) = events(watcher.folder, "nonfinite")
    assert found["step"] <= 4
    assert watcher.step == 60
    assert not watcher.recording.stored.check()


def test_infinite_activations_of_several_passes_are_counted_together(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.full((5, 2), 3e38)  # times weights of about 1, a sum that float32 does not hold
    with torch.no_grad():
        model.weight.fill_(1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording") as watcher, np.errstate(all="raise"):
        for _ in range(2):  # of gradients that are accumulated
            model(x).clamp(max=1).sum().backward()
        optimizer.step()
    assert not watcher.problems
    assert statistics(watcher, "Linear", "nonfinite_activations", 1).tolist() == [10]
    assert [statistics(watcher, "Linear", name, 1).tolist() for name in ("mean", "min", "max")] == [[np.inf]] * 3


def test_gradients_whose_squares_are_too_large_are_finite(tmp_path: Path) -> None:
    """Of accumulated ones that are not finite a scaler would skip the step."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        for _ in range(3):
            optimizer.zero_grad()
            for part in (1, 2):
                (model(torch.full((4, 2), float(part))).sum() * 1e25).backward()
            optimizer.step()
    assert not events(watcher.folder, "skipped")
    np.testing.assert_allclose(statistics(watcher, "Linear", "grad_norm", 3), 12e25 * np.sqrt(2), rtol=1e-5)
    assert statistics(watcher, "Linear", "mean", 3) == pytest.approx(
        float(((model(torch.ones(1, 2)) + model(torch.full((1, 2), 2.0))) / 2).detach()), rel=1e-4
    )
