"""Small PyTorch trainings, watched, with one thing made wrong at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from neuronwise.recording import Recording
from neuronwise.watching import TorchWatcher


def blobs(rows: int = 240, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return three classes of points that a small network tells apart."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (rows,), generator=g)
    centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    return centres[y] + 0.6 * torch.randn(rows, 2, generator=g), y


def curve(rows: int = 240, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a curve to be followed."""
    g = torch.Generator().manual_seed(seed)
    x = 4 * torch.rand(rows, 1, generator=g) - 2
    return x, torch.sin(1.5 * x) + 0.05 * torch.randn(rows, 1, generator=g)


def network(outputs: int = 3, inputs: int = 2, width: int = 16, last: nn.Module | None = None) -> nn.Sequential:
    """Return a network of two hidden layers, the same each time."""
    torch.manual_seed(3)
    parts: list[nn.Module] = [nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(width, outputs), *([] if last is None else [last]))


def recorded(
    folder: Path,
    model: nn.Module,
    loss: nn.Module,
    data: tuple[torch.Tensor, torch.Tensor],
    *,
    held: tuple[torch.Tensor, torch.Tensor] | None = None,
    optimizer: Any = None,
    epochs: int = 15,
    batch: int = 16,
    shuffle: bool = True,
    clears: bool = True,
    tells_loss: bool = True,
    evaluates: str = "",
) -> Recording:
    """Train a model while it is watched, and return the recording."""
    x, y = data
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01) if optimizer is None else optimizer
    g = torch.Generator().manual_seed(1)
    watcher = TorchWatcher(
        model,
        optimizer,
        folder=folder,
        loss=loss if tells_loss else None,
        validation=held if tells_loss else None,
    )
    with watcher:
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=g) if shuffle else torch.arange(len(x))
            for which in order.split(batch):
                if clears:
                    optimizer.zero_grad()
                loss(model(x[which]), y[which]).backward()
                optimizer.step()
            if evaluates:
                model.train(evaluates == "train")
                with torch.no_grad():
                    model(x)
                model.train()
    return watcher.recording
