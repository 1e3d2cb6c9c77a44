"""Loops as people write them: passes that no step uses, scalers between recorded steps, hooks of others, odd losses."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neuronwise
from neuronwise.watching import TorchWatcher

from .helpers import events, metric, statistics

X = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Loop:
    """A model that learns, watched, with the losses that its steps had."""

    def __init__(self, folder: Path, *, model: nn.Module | None = None, optimizer: Any = None, **options: Any) -> None:
        torch.manual_seed(1)
        self.model = model or nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = optimizer or torch.optim.SGD(self.model.parameters(), lr=0.05)
        self.loss: Any = nn.CrossEntropyLoss()
        self.losses: list[float] = []
        self.watcher = TorchWatcher(
            self.model, self.optimizer, folder=folder / "recording", loss=self.loss, **{"strict": True} | options
        )

    def step(self, x: torch.Tensor = X) -> None:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), Y[: len(x)])
        loss.backward()
        self.losses.append(float(loss.detach()))
        self.optimizer.step()

    def check_losses(self) -> None:
        self.watcher.close()
        np.testing.assert_allclose(self.watcher.recording.history("loss").values, self.losses, rtol=1e-6)


# ---------------------------------------------------------------------- passes that no step uses


def test_passes_that_no_step_uses_are_left_out(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    for number in range(70):
        loop.model(torch.cat([X * 100] * 2))  # as `watcher.log(accuracy=(model(x)…))` does
        with contextlib.suppress(ValueError):
            loop.loss(loop.model(X[:, :4] * 50), Y[:3])  # breaks off
        loop.step()
        if number % 3 == 0:
            loop.loss(loop.model(X * 10), Y)  # only looked at
    loop.check_losses()
    state = loop.watcher.recording.stored.layer(2, "0")
    a = np.maximum(X.numpy() @ state["weight"].T + state["bias"], 0)
    np.testing.assert_allclose(statistics(loop.watcher, "0", "mean", 3), a.mean(0), rtol=1e-5)
    for step in (1, 3, 40, 54):
        assert statistics(loop.watcher, "0", "max", step).max() < 20  # of X itself, not of a hundred times that


def test_batches_are_those_that_are_learned_from(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    for _ in range(20):
        loop.step(X[:16])
        loop.model(X)  # as `watcher.log(accuracy=(model(x)…))` does
    loop.watcher.close()
    rows = [row for one in events(loop.watcher.folder, "batches") for row in one["columns"]["rows"]]
    assert set(rows) == {16}


@pytest.mark.parametrize("clears", [True, False])
def test_gradients_that_another_step_left_are_not_kept_ones(clears: bool, tmp_path: Path) -> None:
    """As the generator's step leaves gradients in the discriminator, which are cleared before its own."""
    loop = Loop(tmp_path)
    for _ in range(20):
        loop.model(X).sum().backward()  # on the way through this model to another
        if clears:
            loop.optimizer.zero_grad()
        for part in (X[:16], X[16:]):  # accumulated
            loop.loss(loop.model(part), Y[:16]).backward()
        loop.optimizer.step()
    loop.watcher.close()
    kept = [row for one in events(loop.watcher.folder, "batches") for row in one["columns"]["kept"]]
    assert set(kept[1:]) == {not clears}


class Heads(nn.Module):
    """Returns two things."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.classes, self.places = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = torch.relu(self.body(x))
        return self.classes(h), self.places(h)


@pytest.mark.parametrize("clears", [None, "none", "zero"])
@pytest.mark.parametrize("how", ["heads", "penalty", "parts"])
def test_gradients_of_the_same_backward_pass_are_not_kept_ones(how: str, clears: str | None, tmp_path: Path) -> None:
    """As the engine has some complete before it reaches the model's first output."""
    torch.manual_seed(0)
    model = Heads()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True)
    for _ in range(12):
        if clears:
            optimizer.zero_grad(set_to_none=clears == "none")
        for part in X.chunk(2 if how == "parts" else 1):
            classes, places = model(part)
            loss = nn.functional.cross_entropy(classes, Y[: len(part)]) + places.square().mean()
            if how == "penalty":
                loss = loss + 1e-3 * sum(one.square().sum() for one in model.parameters())
            loss.backward()
        optimizer.step()
    watcher.close()
    kept = [row for one in events(watcher.folder, "batches") for row in one["columns"]["kept"]]
    assert len(kept) > 5
    assert set(kept[1:]) == {not clears}
    assert not any(one._backward_hooks for one in model.parameters())


def test_a_step_that_the_loop_leaves_out_as_its_loss_is_nan(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    for number in range(70):
        if number in (20, 60):
            bad = X.clone()
            bad[0, 0] = torch.nan
            assert not loop.loss(loop.model(bad), Y).isfinite()
        loop.step()
    loop.check_losses()
    assert not events(loop.watcher.folder, "nonfinite")


def test_an_evaluation_with_gradients(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    for number in range(70):
        loop.step()
        if number % 7 == 0:
            loop.model.eval()
            loop.loss(loop.model(X * 3), Y)
            loop.model.train()
    loop.check_losses()


def test_losses_that_are_added_up_are_recorded_as_their_sum(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    for _ in range(70):
        loop.optimizer.zero_grad()
        total = loop.loss(loop.model(X), Y) + loop.loss(loop.model(X[:8]), Y[:8])
        total.backward()
        loop.losses.append(float(total.detach()))
        loop.optimizer.step()
    loop.check_losses()


@pytest.mark.parametrize("rate", ["number", "tensor"])
def test_the_learning_rate_of_each_step(rate: str, tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01) if rate == "tensor" else 0.01)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    loop = Loop(tmp_path, model=model, optimizer=optimizer)
    for _ in range(90):
        loop.step()
        schedule.step()
    loop.watcher.close()
    rates = loop.watcher.recording.history("learning_rate").values
    np.testing.assert_allclose(rates, 0.01 * 0.9 ** np.arange(90), rtol=1e-4)


# ---------------------------------------------------------------------- scalers


@pytest.mark.parametrize("told", [True, False])
def test_steps_that_a_scaler_skips_also_between_recorded_ones(told: bool, tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    loop = Loop(tmp_path, **({"scaler": scaler} if told else {}))
    skipped = (10, 60, 66, 75)
    for number in range(90):
        loop.optimizer.zero_grad()
        x = X.clone()
        if number == 66:
            x[0, 0] = torch.inf
        loss = loop.loss(loop.model(x), Y)
        (scaler.scale(loss) * (math.inf if number in skipped else 1)).backward()
        scaler.step(loop.optimizer)
        scaler.update()
        if number not in skipped:
            loop.losses.append(float(loss.detach()))
    loop.check_losses()
    told_events = events(loop.watcher.folder, "skipped")
    assert sum(one["count"] for one in told_events) == len(skipped)
    assert all(one.get("inferred", False) is not told for one in told_events)
    assert not events(loop.watcher.folder, "nonfinite")


# ---------------------------------------------------------------------- what fails alone


class Answering(nn.Module):
    """Answers with a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.layer(x)}


def test_a_validation_that_fails_is_left_out_and_said(tmp_path: Path) -> None:
    model = Answering()
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", loss=loss, validation=(X, Y))

    def train() -> None:
        for _ in range(20):
            optimizer.zero_grad()
            loss(model(X)["logits"], Y).backward()
            optimizer.step()

    with pytest.warns(RuntimeWarning, match="validation= is left out") as told:
        train()
    assert len(told) == 1
    watcher.close()
    assert watcher.recording.frames.tolist() == list(range(21))
    assert len(watcher.problems) == 1
    (event,) = events(watcher.folder, "left_out")
    assert event["step"] == 1


def test_validation_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(neuronwise.errors.UsageError, match="from_numpy"):
        Loop(tmp_path, validation=(X.numpy(), Y.numpy()))


def test_a_loss_that_returns_no_tensor_is_said(tmp_path: Path) -> None:
    class Dict(nn.Module):
        def forward(self, out: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": nn.functional.cross_entropy(out, target)}

    torch.manual_seed(0)
    model, loss = nn.Linear(4, 2), Dict()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", loss=loss)

    def train() -> None:
        for _ in range(60):
            optimizer.zero_grad()
            loss(model(X), Y)["loss"].backward()
            optimizer.step()

    with pytest.warns(RuntimeWarning, match="returned a dict"):
        train()
    watcher.close()
    assert len(watcher.problems) == 1


# ---------------------------------------------------------------------- hooks and optimizers of others


def test_gradients_are_those_after_hooks_that_came_later(tmp_path: Path) -> None:
    loop = Loop(tmp_path)

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(loop.model.parameters(), 0.01)

    loop.optimizer.register_step_pre_hook(clip)
    for _ in range(70):
        loop.step()
    loop.watcher.close()
    for step in (2, 30, 50, 54):  # the first was prepared for before
        assert metric(loop.watcher, "grad_norm")[step] == pytest.approx(0.01, rel=1e-3)


def test_outputs_are_those_after_hooks_that_came_later(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.model[2].register_forward_hook(lambda module, given, output: output * 0 + 7)
    for _ in range(60):
        loop.step()
    loop.watcher.close()
    for step in (2, 20, 50, 54):
        assert (statistics(loop.watcher, "2", "mean", step) == 7).all()


def test_lbfgs_whose_closures_begin_between_recorded_steps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    adam = torch.optim.Adam(model.parameters(), lr=0.001)
    lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=5)
    loop = Loop(tmp_path, model=model, optimizer=[adam, lbfgs])
    first: list[float] = []

    def closure() -> torch.Tensor:
        lbfgs.zero_grad()
        loss = loop.loss(model(X), Y)
        loss.backward()
        first.append(float(loss.detach()))
        return loss

    for number in range(75):
        if number < 70:
            adam.zero_grad()
            closure()
            adam.step()
        else:
            del first[:]
            lbfgs.step(closure)
        loop.losses.append(first[0] if number >= 70 else first[-1])
    loop.check_losses()


def test_an_optimizer_that_gets_the_parameters_later(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    watcher = TorchWatcher(model, folder=tmp_path / "recording", strict=True)
    for number in range(6):
        if number == 3:
            optimizer.add_param_group({"params": list(model.parameters())})
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
    watcher.close()
    assert watcher.step == 3


class Wrapping(torch.optim.Optimizer):
    """Steps by another one, as sharpness-aware minimisation does."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner
        super().__init__(inner.param_groups, {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.inner.step()


def test_a_step_within_a_step_is_one(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    optimizer = Wrapping(torch.optim.SGD(model.parameters(), lr=0.1))
    watcher = TorchWatcher(model, folder=tmp_path / "recording", strict=True)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
    watcher.close()
    assert watcher.step == 60
    assert np.isfinite(statistics(watcher, "Linear", "update_norm", 54)).all()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_scripting_a_watched_model_says_what_to_do(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    with pytest.raises(AttributeError, match="before watch"):
        torch.jit.script(loop.model)
    loop.watcher.close()
    torch.jit.script(loop.model)


# ---------------------------------------------------------------------- what follows a layer


class Twice(nn.Module):
    """Uses an output in more than one way, or a layer twice."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Linear(4, 4), nn.Linear(4, 2), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        if self.how == "product":
            return self.b(y * torch.sigmoid(y))
        if self.how == "sum":
            return self.b(y + torch.relu(y))
        return self.b(self.a(torch.relu(y)))


@pytest.mark.parametrize("how", ["product", "sum", "shared"])
def test_where_more_than_one_function_follows_none_is_said_to(how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    loop = Loop(tmp_path, model=Twice(how))
    loop.step()
    loop.watcher.close()
    assert loop.watcher.recording.stored.layout.layers["a"].activation is None
    assert statistics(loop.watcher, "a", "min", 1).min() < 0
    assert any("a, b" in note for note in loop.watcher.recording.notes)


@dataclasses.dataclass
class Answer:
    logits: torch.Tensor
    loss: torch.Tensor


class Told:
    """An object of which nothing is known."""

    def __init__(self, loss: torch.Tensor) -> None:
        self.loss = loss


class Returning(nn.Module):
    """A model as transformers are: the loss is computed within, and what it returns has a class of its own."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.c, self.how = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2), how

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        features = nn.functional.leaky_relu(self.b(torch.relu(self.a(x))), 0.1)
        logits = self.c(features)
        loss = nn.functional.cross_entropy(logits, y)
        return {
            "dict": lambda: {"loss": loss, "logits": logits},
            "tuple": lambda: (logits, loss),
            "dataclass": lambda: Answer(logits, loss),
            "object": lambda: Told(loss),
        }[self.how]()


@pytest.mark.parametrize("how", ["dict", "tuple", "dataclass", "object"])
def test_what_follows_a_layer_is_seen_whatever_the_model_returns(how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Returning(how)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        found = model(X, Y)
        (found["loss"] if how == "dict" else found[1] if how == "tuple" else found.loss).backward()
        optimizer.step()
    layers = watcher.recording.stored.layout.layers
    assert [layers[name].activation for name in "abc"] == ["relu", "leaky_relu", None]


def test_what_follows_a_layer_is_seen_of_models_that_are_called_by_their_parts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    parts = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 2)})
    optimizer = torch.optim.SGD(parts.parameters(), lr=0.1)
    with TorchWatcher(parts, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        y = nn.functional.gelu(parts["b"](nn.functional.leaky_relu(parts["a"](X), 0.1)))
        nn.functional.cross_entropy(parts["c"](y), Y).backward()
        optimizer.step()
    layers = watcher.recording.stored.layout.layers
    assert [layers[name].activation for name in "abc"] == ["leaky_relu", "gelu", None]
    assert statistics(watcher, "a", "min", 1).min() < 0


def test_nan_in_the_first_batch_is_of_step_1(tmp_path: Path) -> None:
    loop = Loop(tmp_path, strict=False)
    bad = X.clone()
    bad[0, 0] = torch.nan
    loop.step(bad)
    loop.watcher.close()
    (found,) = events(loop.watcher.folder, "nonfinite")
    assert (found["step"], found["since"], found["quantity"]) == (1, 0, "input")


# ---------------------------------------------------------------------- optimizers


class Plain(torch.optim.Optimizer):
    """As people write them: without a learning rate, or with none that is a number."""

    def __init__(self, parameters: Any, **settings: Any) -> None:
        super().__init__(parameters, settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=0.1)


@pytest.mark.parametrize("settings", [{}, {"lr": None}], ids=["none", "no number"])
def test_an_optimizer_without_a_learning_rate(settings: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    loop = Loop(tmp_path, model=model, optimizer=Plain(model.parameters(), **settings))
    for _ in range(60):
        loop.step()
    loop.check_losses()
    rates = loop.watcher.recording.history("learning_rate")
    assert len(rates.steps) == 60
    assert np.isnan(rates.values).all()


def test_a_step_before_there_are_gradients_is_none(tmp_path: Path) -> None:
    """As some take before the first step of a schedule, which warns otherwise."""
    torch.manual_seed(0)
    loop = Loop(tmp_path, model=Returning("tuple"))
    loop.optimizer.step()
    assert loop.watcher.step == 0
    for _ in range(3):
        loop.optimizer.zero_grad()
        loop.model(X, Y)[1].backward()
        loop.optimizer.step()
    loop.watcher.close()
    recording = loop.watcher.recording
    assert recording.frames.tolist() == [0, 1, 2, 3]
    assert [recording.stored.layout.layers[name].activation for name in "abc"] == ["relu", "leaky_relu", None]
