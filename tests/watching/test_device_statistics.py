"""What a GPU computes, computed on the CPU: the numbers are those of the other way."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from neuronwise.recording import NEURON_FIELDS  # noqa: E402
from neuronwise.watching import TorchWatcher  # noqa: E402
from neuronwise.watching.device_statistics import DeviceStatistics  # noqa: E402
from neuronwise.watching.host_statistics import HostStatistics  # noqa: E402
from neuronwise.watching.torch_activations import learn_from_sequence  # noqa: E402
from neuronwise.watching.torch_layers import watched_layers  # noqa: E402

nn = torch.nn


def model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 7, bias=False), nn.Tanh(),
        nn.Linear(7, 5), nn.Sigmoid(), nn.Linear(5, 2),
    )  # fmt: skip


@pytest.mark.parametrize("bad", [None, "weight", "gradient", "activation"])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("scale", [None, 8.0])
def test_both_ways_agree(bad: str | None, frozen: bool, scale: float | None) -> None:
    found = []
    for kind in (HostStatistics, DeviceStatistics):
        one = copy.deepcopy(model())
        layers, layout, _ = watched_layers(one, None, None)
        learn_from_sequence(one, layers)
        values = np.full((len(NEURON_FIELDS), layout.neuron_count), 7, np.float32)
        statistics = kind(layers, values)
        if frozen:
            for parameter in one[4].parameters():
                parameter.requires_grad_(False)
        chance = torch.Generator().manual_seed(1)
        for _ in range(2):
            statistics.begin()
            handles = [
                layer.module.register_forward_hook(
                    lambda module, given, output, layer=layer, to=statistics: to.see(layer, output, given)
                )
                for layer in layers
            ]
            x = torch.randn(6, 1, 8, 8, generator=chance)
            if bad == "activation":
                x[2] = math.inf
            one.zero_grad()
            for half in (x[:2], x[2:]):  # two calls within a step
                one(half).square().sum().backward()
            for handle in handles:
                handle.remove()
            if bad == "gradient":
                one[6].weight.grad[1, 2] = math.nan
            statistics.before_step(None if scale is None else torch.tensor(scale))
            with torch.no_grad():
                for parameter in one.parameters():
                    if parameter.grad is not None:
                        parameter -= 0.01 * parameter.grad.nan_to_num()
                if bad == "weight":
                    one[0].weight[1, 0, 0, 0] = math.nan
            statistics.after_step()
            statistics.take(statistics.fetch())
        found.append(values)
    host, device = found
    for place, name in enumerate(NEURON_FIELDS):
        np.testing.assert_allclose(device[place], host[place], rtol=2e-5, atol=1e-6, err_msg=name)


def test_a_training_is_recorded_alike_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for kind in (HostStatistics, DeviceStatistics):
        monkeypatch.setattr("neuronwise.watching.torch_frames.statistics_of", kind)
        one = model()
        optimizer = torch.optim.Adam(one.parameters(), 1e-2)
        folder = tmp_path / kind.__name__
        # On a busy machine the budget would have one of them record less.
        with TorchWatcher(one, optimizer, folder=folder, strict=True, time_budget=1.0) as watcher:
            for step in range(70):
                x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(step))
                optimizer.zero_grad()
                one(x).square().sum().backward()
                optimizer.step()
        found.append(watcher.recording)
    host, device = found
    np.testing.assert_array_equal(host.frames, device.frames)
    np.testing.assert_array_equal(host.stored.histogram_steps, device.stored.histogram_steps)
    for layer in host.stored.layout.observed:
        for quantity in NEURON_FIELDS:
            ours, theirs = (one.neurons(layer.name, quantity).values for one in (host, device))
            np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-5, err_msg=f"{layer.name} {quantity}")


def test_before_the_first_step_there_are_weights_only() -> None:
    one = model()
    layers, layout, _ = watched_layers(one, None, None)
    values = np.zeros((len(NEURON_FIELDS), layout.neuron_count), np.float32)
    statistics = DeviceStatistics(layers, values)
    statistics.after_step(with_update=False, with_activations=False)
    statistics.take(statistics.fetch())
    there = {name for place, name in enumerate(NEURON_FIELDS) if not np.isnan(values[place]).all()}
    assert there == {"weight_norm", "bias", "nonfinite_weights"}
