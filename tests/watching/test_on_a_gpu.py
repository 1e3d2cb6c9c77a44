"""On a GPU all is measured there; the numbers are those of the CPU. Skipped where there is none."""

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

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4)
        self.fc, self.out = torch.nn.Linear(144, 16), torch.nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.norm(self.conv(x))).flatten(1)
        return self.out(torch.tanh(self.fc(x)))


def train(device: str, folder: Path | None, *, steps: int = 30, amp: bool = False, **options: Any) -> Any:
    torch.manual_seed(0)
    X, y = torch.randn(64, 1, 8, 8), torch.randint(0, 3, (64,))
    model = Net().to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    scaler = torch.amp.GradScaler(device, enabled=amp, init_scale=1024.0)
    loss_function = torch.nn.CrossEntropyLoss()
    watcher = None
    if folder is not None:
        watcher = TorchWatcher(
            model, optimizer, folder=folder, loss=loss_function, scaler=scaler if amp else None, strict=True, **options
        )
    X, y = X.to(device), y.to(device)
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast(device, torch.float16, enabled=amp):
            loss = loss_function(model(X), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    if watcher is not None:
        watcher.close()
        return model, watcher.recording
    return model, None


def test_a_gpu_measures_what_the_cpu_does(tmp_path: Path) -> None:
    _, host = train("cpu", tmp_path / "cpu")
    _, device = train("cuda", tmp_path / "cuda")
    assert host.frames.tolist() == device.frames.tolist()
    for layer in host.stored.layout.observed:
        for quantity in NEURON_FIELDS:
            ours, theirs = (one.neurons(layer.name, quantity).values for one in (host, device))
            np.testing.assert_allclose(theirs[:8], ours[:8], rtol=2e-2, atol=2e-4, err_msg=f"{layer.name} {quantity}")
    np.testing.assert_allclose(device.history("loss").values[:8], host.history("loss").values[:8], rtol=1e-3)


@pytest.mark.parametrize("amp", [False, True])
def test_weights_are_the_same_to_the_last_bit(tmp_path: Path, amp: bool) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    bare, _ = train("cuda", None, amp=amp)
    watched, _ = train("cuda", tmp_path / "r", amp=amp)
    for one, other in zip(bare.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_gradients_in_half_precision_are_the_true_ones(tmp_path: Path) -> None:
    _, half = train("cuda", tmp_path / "half", amp=True, steps=3)
    _, full = train("cuda", tmp_path / "full", steps=3)
    ours, theirs = (one.neurons("fc", "grad_norm").values[1] for one in (half, full))
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_nothing_waits_for_the_gpu_but_where_a_state_is_stored(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Net().cuda()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loss_function = torch.nn.CrossEntropyLoss()
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "r", loss=loss_function, strict=True)
    X, y = torch.randn(64, 1, 8, 8).cuda(), torch.randint(0, 3, (64,)).cuda()
    watched = 0
    for step in range(1, 80):
        is_state = step >= watcher._frames._next_state
        if step > 5 and not is_state and watcher._frames._pending is None:
            torch.cuda.set_sync_debug_mode("error")
            watched += 1
        optimizer.zero_grad()
        loss_function(model(X), y).backward()
        optimizer.step()
        torch.cuda.set_sync_debug_mode("default")
        if step % 7 == 0:
            watcher._frames._complete()
    watcher.close()
    assert watched > 5
    assert len(watcher.recording.history("loss").steps) == 79


def test_what_is_not_finite_is_found(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Net().cuda()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watcher = TorchWatcher(model, optimizer, folder=tmp_path / "r")
    for step in range(1, 12):
        X = torch.randn(8, 1, 8, 8).cuda()
        if step == 6:
            X[0] = math.inf
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
    copy.deepcopy(model)
    watcher.close()
    found = watcher._frames.nonfinite.found
    assert found is not None
    assert (found.step, found.layer, found.quantity) == (6, "conv", "activation")
