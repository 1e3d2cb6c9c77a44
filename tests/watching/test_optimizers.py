"""Optimizers that compute gradients within a step, and several of them: what is shown belongs to the step shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from neuronwise.watching import TorchWatcher

from .helpers import events, metric, rows, statistics
from .test_statistics import unevenly


def make_model() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))


def lbfgs(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(parameters, lr=0.1, max_iter=4, line_search_fn="strong_wolfe")


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {"LBFGS": lbfgs, "SGD": sgd}


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_a_closure_all_is_of_its_first_call(name: str, clip: float | None, by_name: bool, tmp_path: Path) -> None:
    """By the weights before the step: LBFGS calls it again at others, SGD gets what the first call computed."""
    model = make_model()
    optimizer = OPTIMIZERS[name](model.parameters())
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", statistics_every=2, strict=True)
    mean = watcher.observe(unevenly)
    true: dict[int, dict[str, Any]] = {}
    calls, recorded = 0, (1, 2, 4, 6)
    for step in range(1, 7):
        x = rows(step)

        def closure(x: torch.Tensor = x) -> torch.Tensor:
            nonlocal calls
            calls += 1
            optimizer.zero_grad()
            loss: torch.Tensor = mean(model(x))
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            return loss

        loss = unevenly(model(x))  # which is another call, of the same
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        norm = float(torch.cat([one.flatten() for one in gradients]).norm())
        factor = 1.0 if clip is None else min(1.0, clip / norm)
        weights = model[2].weight.detach().clone()
        hidden = torch.tanh(model[0].weight.detach() @ x.T + model[0].bias.detach()[:, None])
        optimizer.step(closure=closure) if by_name else optimizer.step(closure)
        true[step] = {
            "grad_norm": gradients[2].norm(dim=1).numpy() * factor,
            "bias_grad": gradients[3].numpy() * factor,
            "update_norm": (weights - model[2].weight.detach()).norm(dim=1).numpy(),
            "norm": norm,
            "loss": float(loss.detach()),
            "mean": hidden.mean(1).numpy(),
        }
    watcher.close()
    assert (calls > 12) == (name == "LBFGS")
    for step in recorded:
        for quantity in ("grad_norm", "bias_grad", "update_norm"):
            found = statistics(watcher, "2", quantity, step)
            np.testing.assert_allclose(found, true[step][quantity], rtol=1e-4, atol=1e-6, err_msg=f"{step} {quantity}")
        np.testing.assert_allclose(statistics(watcher, "0", "mean", step), true[step]["mean"], rtol=1e-4, atol=1e-6)
    losses = watcher.recording.history("loss")
    np.testing.assert_allclose(losses.values, [true[int(step)]["loss"] for step in losses.steps], rtol=1e-5)
    assert losses.steps.tolist() == [1, 2, 3, 4, 5, 6]
    if clip is not None:
        found = metric(watcher, "grad_norm_before_clipping")
        assert found == pytest.approx({step: true[step]["norm"] for step in recorded}, rel=1e-4)
        assert metric(watcher, "grad_norm") == pytest.approx(dict.fromkeys(recorded, clip), rel=1e-4)
    else:
        assert not events(watcher.folder, "metrics")


def test_a_closure_that_fails_leaves_nothing_of_its_step(tmp_path: Path) -> None:
    model = make_model()
    optimizer = lbfgs(model.parameters())
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "recording", strict=True)
    calls = 0

    def closure(x: torch.Tensor, fails_at: int) -> torch.Tensor:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = unevenly(model(x))
        loss.backward()
        if calls == fails_at:
            raise ZeroDivisionError
        return loss

    for fails_at in (0, 1, 2, 0):
        calls, before = 0, watcher.step
        x = rows(fails_at + 3)
        weights = model[0].weight.detach().clone()
        bias = model[0].bias.detach().clone()
        try:
            optimizer.step(lambda x=x, fails_at=fails_at: closure(x, fails_at))
        except ZeroDivisionError:
            assert fails_at
            assert watcher.step == before
    watcher.close()
    assert watcher.step == 2
    hidden = torch.tanh(F.linear(rows(3), weights, bias))
    np.testing.assert_allclose(statistics(watcher, "0", "mean", 2), hidden.mean(0).numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("given", [True, False])
def test_of_two_networks_each_has_the_gradients_of_its_own_steps(given: bool, tmp_path: Path) -> None:
    """One of which is clipped: norms that are told are its own."""
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {"maker": nn.Linear(3, 7), "judge": nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 1))}
    )
    optimizers = {name: torch.optim.SGD(model[name].parameters(), lr=0.01) for name in ("judge", "maker")}
    watcher = TorchWatcher(
        model, list(optimizers.values()) if given else None, folder=tmp_path / "recording", strict=True
    )
    true: dict[int, tuple[str, Any, float]] = {}
    for number in range(4):
        noise = torch.randn(5, 3, generator=torch.Generator().manual_seed(number))
        optimizers["judge"].zero_grad()
        unevenly(model["judge"](model["maker"](noise).detach())).backward()
        unevenly(model["judge"](rows(number))).backward()
        norm = float(nn.utils.clip_grad_norm_(model["judge"].parameters(), 0.3))
        true[2 * number + 1] = "judge.0", model["judge"][0].weight.grad.norm(dim=1).numpy(), norm
        optimizers["judge"].step()
        optimizers["maker"].zero_grad()
        unevenly(model["judge"](model["maker"](noise))).backward()  # which leaves gradients on the judge, too
        true[2 * number + 2] = "maker", model["maker"].weight.grad.norm(dim=1).numpy(), 0.0
        optimizers["maker"].step()
    watcher.close()
    for step, (layer, norms, _) in true.items():
        np.testing.assert_allclose(statistics(watcher, layer, "grad_norm", step), norms, rtol=1e-5)
        other = "judge.0" if layer == "maker" else "maker"
        if step > 1:  # of optimizers that were not given, the second is known from its first step on
            for quantity in ("grad_norm", "bias_grad", "nonfinite_gradients"):
                assert np.isnan(statistics(watcher, other, quantity, step)).all()
        assert statistics(watcher, other, "update_norm", step).max() == 0
    told = metric(watcher, "grad_norm_before_clipping")
    assert told == pytest.approx({step: norm for step, (layer, _, norm) in true.items() if layer != "maker"}, rel=1e-5)


def test_a_parameter_of_two_optimizers_has_gradients_at_the_steps_of_both(tmp_path: Path) -> None:
    model = make_model()
    optimizers = [sgd(model.parameters()), sgd(model[2].parameters())]
    watcher = TorchWatcher(model, optimizers, folder=tmp_path / "recording", strict=True)
    for number in range(4):
        for optimizer in optimizers:
            optimizer.zero_grad()
        unevenly(model(rows(number))).backward()
        optimizers[number % 2].step()
    watcher.close()
    assert np.isfinite(watcher.recording.neurons("2", "grad_norm").values[1:]).all()
    measured = np.isfinite(watcher.recording.neurons("0", "grad_norm").values[1:]).all(axis=1)
    assert measured.tolist() == [True, False, True, False]
