"""The loss at every step, what its targets look like, and the loss on rows held out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from neuronwise.watching import TorchWatcher, WatchListener
from neuronwise.watching.torch_values import tensors_in

from .helpers import events, hooks_on, metric


class Recipe:
    """A training whose true losses are kept."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3), nn.Linear(5, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.losses: list[float] = []

    def train(self, loss_function: Any, steps: int, parts: int = 1, target: Any = None) -> None:
        for step in range(steps):
            self.optimizer.zero_grad()
            values = []
            for part in range(parts):
                generator = torch.Generator().manual_seed(10 * step + part)
                x = torch.randn(6, 4, generator=generator)
                y = torch.tensor([0, 1, 1, 2, 1, 0]) if target is None else target(self.model, x)
                loss = loss_function(self.model(x), y)
                loss.mean().backward()
                values.append(float(loss.detach().double().mean()))
            self.losses.append(sum(values) / parts)
            for group in self.optimizer.param_groups:
                group["lr"] = 0.1 / (step + 1)
            self.optimizer.step()


def check(watcher: TorchWatcher, recipe: Recipe) -> None:
    watcher.close()
    course = watcher.recording.history("loss")
    assert course.steps.tolist() == list(range(1, len(recipe.losses) + 1))
    np.testing.assert_allclose(course.values, recipe.losses, rtol=1e-6)
    rates = watcher.recording.history("learning_rate")
    np.testing.assert_allclose(rates.values, [0.1 / (step + 1) for step in range(len(recipe.losses))], rtol=1e-6)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("how", ["module", "function"])
def test_the_loss_of_every_step_also_of_those_without_statistics(how: str, parts: int, tmp_path: Path) -> None:
    recipe = Recipe()
    module = nn.CrossEntropyLoss() if how == "module" else None
    watcher = TorchWatcher(recipe.model, recipe.optimizer, folder=tmp_path / "recording", loss=module, strict=True)
    assert hooks_on(nn.Sequential(module)) == 1 if module else True
    recipe.train(module or watcher.observe(F.cross_entropy), 120, parts)
    check(watcher, recipe)
    assert 0 < len(watcher.recording.frames) < 90
    told = events(watcher.folder, "loss")
    assert {one["function"] for one in told} == {"CrossEntropyLoss" if module else "cross_entropy"}
    assert told[0]["step"] == 1
    assert told[0]["target"] == {
        "shape": [6], "dtype": "int64", "min": 0, "max": 2, "classes": 3, "counts": {"0": 2, "1": 3, "2": 1},
    }  # fmt: skip
    assert told[0]["prediction"]["shape"] == [6, 3]
    assert module is None or not hooks_on(nn.Sequential(module))


def test_targets_that_are_numbers(tmp_path: Path) -> None:
    recipe = Recipe()
    loss = nn.MSELoss()
    watcher = TorchWatcher(recipe.model, recipe.optimizer, folder=tmp_path / "recording", loss=loss, strict=True)
    target = torch.arange(18.0).reshape(6, 3) - 3
    recipe.train(loss, 3, target=lambda model, x: target)
    check(watcher, recipe)
    told = events(watcher.folder, "loss")[0]
    assert told["function"] == "MSELoss"
    assert told["target"] == {
        "shape": [6, 3], "dtype": "float32", "nonfinite": 0, "min": -3.0, "max": 14.0, "mean": 5.5,
    }  # fmt: skip


def test_a_loss_of_each_row_is_its_mean(tmp_path: Path) -> None:
    recipe = Recipe()
    loss = nn.CrossEntropyLoss(reduction="none")
    watcher = TorchWatcher(recipe.model, recipe.optimizer, folder=tmp_path / "recording", loss=loss, strict=True)
    recipe.train(loss, 5)
    check(watcher, recipe)


def test_targets_by_name(tmp_path: Path) -> None:
    recipe = Recipe()
    watcher = TorchWatcher(recipe.model, recipe.optimizer, folder=tmp_path / "recording", strict=True)
    loss = watcher.observe(F.cross_entropy)
    recipe.train(lambda out, y: loss(out, target=y, label_smoothing=0.1), 3)
    check(watcher, recipe)
    assert events(watcher.folder, "loss")[0]["target"]["classes"] == 3


@pytest.mark.parametrize("how", ["no_grad", "between"])
def test_an_evaluation_is_not_mixed_in(how: str, tmp_path: Path) -> None:
    recipe = Recipe()
    loss = nn.CrossEntropyLoss()
    watcher = TorchWatcher(recipe.model, recipe.optimizer, folder=tmp_path / "recording", loss=loss, strict=True)
    for _ in range(4):
        recipe.train(loss, 1)
        recipe.model.eval()
        with torch.no_grad() if how == "no_grad" else torch.inference_mode():
            loss(100 * recipe.model(torch.ones(2, 4)), torch.tensor([0, 1]))
        recipe.model.train()
    watcher.close()
    np.testing.assert_allclose(watcher.recording.history("loss").values, recipe.losses, rtol=1e-6)


def test_observing_changes_nothing_of_a_function(tmp_path: Path) -> None:
    recipe = Recipe()
    watcher = TorchWatcher(recipe.model, recipe.optimizer, folder=tmp_path / "recording", strict=True)
    observed = watcher.observe(F.mse_loss)
    assert observed.__name__ == "mse_loss"
    out, y = torch.ones(2, 3, requires_grad=True), torch.zeros(2, 3)
    assert torch.equal(observed(out, y, reduction="none"), F.mse_loss(out, y, reduction="none"))

    class Kept:
        def __call__(self, out: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": out.sum()}

    assert set(watcher.observe(Kept())(out)) == {"loss"}  # of what is no tensor nothing is recorded
    watcher.close()
    assert torch.equal(observed(out, y), F.mse_loss(out, y))


def test_the_loss_on_rows_held_out_is_that_of_the_model_after_the_step(tmp_path: Path) -> None:
    recipe, bare = Recipe(), Recipe()
    X, y = torch.randn(7, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    loss = nn.CrossEntropyLoss()
    torch.manual_seed(9)
    slow = {}
    for step in range(1, 13):
        bare.train(loss, 1)
        training = {name: one.clone() for name, one in bare.model.state_dict().items()}
        with torch.no_grad():
            slow[step] = float(loss(bare.model.eval()(X), y))
        bare.model.train().load_state_dict(training)
    state = torch.get_rng_state()
    watcher = TorchWatcher(
        recipe.model, recipe.optimizer, folder=tmp_path / "recording", loss=loss, validation=(X, y), strict=True
    )
    torch.manual_seed(9)
    for _ in range(12):
        recipe.train(loss, 1)
    watcher.close()
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(recipe.model.state_dict().values(), bare.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    told = metric(watcher, "val_loss")
    assert {1, 2} <= set(told)
    assert set(told) <= set(watcher.recording.keyframes.tolist())
    np.testing.assert_allclose([told[step] for step in told], [slow[step] for step in told], rtol=1e-6)
    # Its own losses are those of the training.
    np.testing.assert_allclose(watcher.recording.history("loss").values, recipe.losses, rtol=1e-6)


def test_a_validation_that_draws_random_numbers_leaves_those_of_the_training(tmp_path: Path) -> None:
    class Random(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + torch.rand(())

    states = []
    for watched in (False, True):
        torch.manual_seed(0)
        model, loss = Random(4, 3), nn.MSELoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if watched:
            TorchWatcher(
                model, optimizer, folder=tmp_path / "recording", loss=loss,
                validation=(torch.ones(2, 4), torch.ones(2, 3)), strict=True,
            )  # fmt: skip
        for _ in range(3):
            optimizer.zero_grad()
            loss(model(torch.ones(2, 4)), torch.zeros(2, 3)).backward()
            optimizer.step()
        states.append((torch.get_rng_state(), model.weight.detach().clone()))
    assert all(torch.equal(*pair) for pair in zip(*states, strict=True))


def test_what_is_logged(tmp_path: Path) -> None:
    recipe = Recipe()
    watcher = TorchWatcher(recipe.model, recipe.optimizer, folder=tmp_path / "recording", strict=True)
    for step in range(1, 4):
        recipe.train(nn.CrossEntropyLoss(), 1)
        watcher.log(accuracy=torch.tensor(step / 10), share=np.float32(0.5), count=step)
    watcher.log(last=math.nan)
    assert metric(watcher, "accuracy") == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})
    watcher.close()
    assert metric(watcher, "count") == {1: 1.0, 2: 2.0, 3: 3.0}
    assert metric(watcher, "share") == {1: 0.5, 2: 0.5, 3: 0.5}
    watcher.log(accuracy=9)
    assert len(metric(watcher, "accuracy")) == 3


def test_listeners_are_told_all(tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []

    class Listener(WatchListener):
        def on_loss(self, step: int, loss: float, learning_rate: float) -> None:
            told.append(("loss", step, loss))

        def on_metrics(self, step: int, metrics: Any) -> None:
            told.append(("metrics", step, dict(metrics)))

        def on_frame(self, step: int, row: Any, metrics: Any) -> None:
            told.append(("frame", step, row["weight_norm"][0].copy()))

        def on_close(self, status: str) -> None:
            told.append(("close", status))

    recipe = Recipe()
    loss = nn.CrossEntropyLoss()
    watcher = TorchWatcher(
        recipe.model, recipe.optimizer, folder=tmp_path / "recording", loss=loss, listeners=[Listener()], strict=True
    )
    recipe.train(loss, 2)
    watcher.log(accuracy=0.5)
    watcher.close()
    watcher.close()
    assert [one[1] for one in told if one[0] == "loss"] == [1, 2]
    assert [one[2] for one in told if one[0] == "loss"] == pytest.approx(recipe.losses)
    assert ("metrics", 2, {"accuracy": 0.5}) in told
    assert told[-1] == ("close", "finished")
    assert sum(one[0] == "close" for one in told) == 1
    frames = {one[1]: one[2] for one in told if one[0] == "frame"}
    assert set(frames) >= {1, 2}
    first = watcher.recording.stored.neurons(2)["weight_norm"][0]
    assert np.array_equal(frames[2], first)


def test_losses_that_torch_func_works_with_are_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(60, 4), torch.randn(60, 2)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        function = watcher.observe(F.mse_loss)

        def of_one(parameters: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            value: torch.Tensor = function(torch.func.functional_call(model, parameters, (x,)), y)
            return value

        for _ in range(60):
            parameters = {name: one.detach() for name, one in model.named_parameters()}
            each = torch.func.vmap(torch.func.grad(of_one), (None, 0, 0))(parameters, x, y)
            for name, parameter in model.named_parameters():
                parameter.grad = each[name].mean(0)
            optimizer.step()
    assert watcher.step == 60
    assert not events(watcher.folder, "unobserved")
    assert not len(watcher.recording.history("loss").steps)


# ---------------------------------------------------------------------- a loss that the model returns itself


class Returning(nn.Module):
    """A model that computes its loss, and returns it in one of the ways that people do."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Linear(4, 5), nn.Linear(5, 3), how

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        features = torch.relu(self.a(x))
        logits = self.b(features)
        loss = F.cross_entropy(logits, y)
        return {
            "dict": lambda: {"loss": loss, "logits": logits},
            "tuple": lambda: (logits, loss),
            "hidden": lambda: (loss, logits, (features,)),
            "number": lambda: loss,
            "part": lambda: (logits, features.square().mean()),
            "parts": lambda: {"of_logits": loss, "of_features": features.square().mean()},
            "detached": lambda: (logits, loss.detach()),
        }[self.how]()


def train_returning(model: Returning, optimizer: Any, steps: int, *, parts: int = 1, bad: int = 0) -> list[float]:
    losses = []
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        values = []
        for part in range(parts):
            x = torch.randn(6, 4, generator=torch.Generator().manual_seed(10 * step + part))
            if step == bad:
                x[0] = torch.inf
            found = model(x, torch.tensor([0, 1, 1, 2, 1, 0]))
            loss = next((one for one in tensors_in(found) if not one.ndim), None)
            if loss is None or not loss.requires_grad:
                loss = F.cross_entropy(found[0], torch.tensor([0, 1, 1, 2, 1, 0]))
            (loss / parts).backward()
            values.append(float(loss.detach()))
        losses.append(sum(values) / parts)
        with torch.no_grad():
            model(torch.ones(2, 4), torch.tensor([0, 1]))
        optimizer.step()
    return losses


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("how", ["dict", "tuple", "hidden"])
def test_a_loss_that_the_model_returns_is_seen_at_recorded_steps(how: str, parts: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Returning(how)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        losses = train_returning(model, optimizer, 80, parts=parts)
    course = watcher.recording.history("loss")
    assert course.steps.tolist() == watcher.recording.frames[1:].tolist()
    np.testing.assert_allclose(course.values, [losses[step - 1] for step in course.steps], rtol=1e-6)
    assert watcher.recording.history("learning_rate").values.tolist() == pytest.approx([0.1] * len(course.steps))


@pytest.mark.parametrize("how", ["number", "part", "parts", "detached"])
def test_a_number_that_may_be_no_loss_is_none(how: str, tmp_path: Path) -> None:
    """Such as an energy, of which the loss is made outside, or a part of a loss."""
    torch.manual_seed(0)
    model = Returning(how)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        train_returning(model, optimizer, 5)
    assert not len(watcher.recording.history("loss").steps)


def test_a_loss_that_is_observed_counts_and_not_the_one_that_the_model_returns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Returning("dict")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        function = watcher.observe(lambda found: 2 * found["loss"])
        for _ in range(5):
            function(model(torch.ones(2, 4), torch.tensor([0, 1]))).backward()
            optimizer.step()
    told = {one["function"] for one in events(watcher.folder, "loss")}
    assert told == {"<lambda>"}
    assert watcher.recording.history("loss").values[0] > 1.5


def test_where_the_loop_logs_its_loss_that_is_shown(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Returning("dict")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True) as watcher:
        for step in range(5):
            model(torch.ones(2, 4), torch.tensor([0, 1]))["loss"].backward()
            optimizer.step()
            watcher.log(loss=float(step))
    assert watcher.recording.history("loss").values.tolist() == [0, 1, 2, 3, 4]


def test_where_a_loss_that_the_model_returns_is_not_finite(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Returning("tuple")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TorchWatcher(model, optimizer, folder=tmp_path / "recording") as watcher:
        losses = train_returning(model, optimizer, 8, bad=5)
    np.testing.assert_allclose(watcher.recording.history("loss").values, losses, rtol=1e-6)
    (found,) = events(watcher.folder, "nonfinite")
    assert (found["step"], found["layer"], found["quantity"]) == (5, "a", "input")
