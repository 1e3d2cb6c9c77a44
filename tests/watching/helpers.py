"""Small models of PyTorch, ordinary loops that train them, and what is left on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it
from torch.utils.checkpoint import checkpoint

from neuronwise.recording.events import read_events
from neuronwise.watching import TorchWatcher

BATCH, CLASSES = 6, 3


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(4 * 4 * 4, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(F.relu(self.norm(self.conv(x)))).flatten(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.cells = kind(5, 4, num_layers=2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cells(x)[0][:, -1])


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.words(x)).mean(1))


class Attention(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, dropout=0.1, batch_first=True, **options)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(2, 4, 3, stride=2)
        self.up = nn.ConvTranspose2d(4, 5, 3, stride=2)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.up(F.relu(self.down(x)))).mean((2, 3)))


def mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(7, 6), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, CLASSES)
    )


def pictures(step: int) -> torch.Tensor:
    return _normal(step, BATCH, 2, 6, 6)


def rows(step: int) -> torch.Tensor:
    return _normal(step, BATCH, 7)


def sentences(step: int) -> torch.Tensor:
    return torch.randint(0, 11, (BATCH, 5), generator=torch.Generator().manual_seed(step))


def _normal(step: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(step))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], torch.Tensor]]] = {
    "mlp": (mlp, rows),
    "conv": (Conv, pictures),
    "lstm": (Recurrent, lambda step: _normal(step, BATCH, 4, 5)),
    "transformer": (Transformer, sentences),
    "attention": (Attention, lambda step: _normal(step, BATCH, 4, 6)),
    "transposed": (Transposed, pictures),
}


def targets(step: int, count: int = BATCH) -> torch.Tensor:
    return torch.randint(0, CLASSES, (count,), generator=torch.Generator().manual_seed(1000 + step))


def loss_of(model: nn.Module, x: torch.Tensor, step: int) -> torch.Tensor:
    return F.cross_entropy(model(x).float(), targets(step, len(x)))


class Loop:
    """A training loop; `optimizers` are what it steps, in the order of a step."""

    def __init__(self, model: nn.Module, batch_of: Callable[[int], torch.Tensor]) -> None:
        self.model, self.batch_of, self.scaler = model, batch_of, None
        self.optimizers = self.make()

    def make(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)]

    def step(self, number: int) -> None:
        self.optimizers[0].zero_grad()
        loss_of(self.model, self.batch_of(number), number).backward()
        self.optimizers[0].step()


class Adam(Loop):
    def make(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(self.model.parameters(), lr=0.01)]


class AdamW(Loop):
    def make(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(self.model.parameters(), lr=0.01, weight_decay=0.1)]


class Accumulating(Loop):
    def step(self, number: int) -> None:
        self.optimizers[0].zero_grad()
        for part in range(3):
            (loss_of(self.model, self.batch_of(100 * number + part), number) / 3).backward()
        self.optimizers[0].step()


class Clipping(Loop):
    def step(self, number: int) -> None:
        self.optimizers[0].zero_grad(set_to_none=False)
        (10 * loss_of(self.model, self.batch_of(number), number)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
        self.optimizers[0].step()


class Scaled(Loop):
    """Two of its first steps are skipped, as their gradients are infinite."""

    fused = False

    def make(self) -> list[torch.optim.Optimizer]:
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=3)  # type: ignore[assignment]
        return [torch.optim.Adam(self.model.parameters(), lr=0.01, fused=self.fused)]

    def step(self, number: int) -> None:
        assert self.scaler is not None
        self.optimizers[0].zero_grad()
        loss = self.scaler.scale(loss_of(self.model, self.batch_of(number), number))
        (loss * torch.inf if number in (1, 4) else loss).backward()
        self.scaler.step(self.optimizers[0])
        self.scaler.update()


class ScaledFused(Scaled):
    fused = True


class HalfPrecision(Loop):
    def step(self, number: int) -> None:
        self.optimizers[0].zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(self.model, self.batch_of(number), number)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
        self.optimizers[0].step()


class Evaluating(Loop):
    def step(self, number: int) -> None:
        super().step(number)
        with torch.no_grad():
            self.model(self.batch_of(50 + number))
        self.model.eval()
        self.model(self.batch_of(60 + number))
        with torch.inference_mode():
            self.model(self.batch_of(70 + number))
        self.model.train()


class Recomputing(Loop):
    reentrant = False

    def step(self, number: int) -> None:
        self.optimizers[0].zero_grad()
        # The second input is there as a reentrant one goes back only where an input needs gradients.
        out = checkpoint(
            lambda x, _: self.model(x),
            self.batch_of(number),
            torch.ones((), requires_grad=True),
            use_reentrant=self.reentrant,
        )
        F.cross_entropy(out, targets(number)).backward()
        self.optimizers[0].step()


class RecomputingReentrant(Recomputing):
    reentrant = True


class Two(Loop):
    def make(self) -> list[torch.optim.Optimizer]:
        parameters = list(self.model.parameters())
        half = len(parameters) // 2
        return [torch.optim.SGD(parameters[:half], lr=0.05), torch.optim.Adam(parameters[half:], lr=0.01)]

    def step(self, number: int) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss_of(self.model, self.batch_of(number), number).backward()
        for optimizer in self.optimizers:
            optimizer.step()


class SecondOrder(Loop):
    """Calls its closure within the step of the optimizer."""

    def make(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.LBFGS(self.model.parameters(), lr=0.05, max_iter=3)]

    def step(self, number: int) -> None:
        def closure() -> torch.Tensor:
            self.optimizers[0].zero_grad()
            loss = loss_of(self.model, self.batch_of(number), number)
            loss.backward()
            return loss

        self.optimizers[0].step(closure)


LOOPS: dict[str, type[Loop]] = {
    "sgd": Loop,
    "adam": Adam,
    "adamw": AdamW,
    "accumulation": Accumulating,
    "clipping": Clipping,
    "scaler": Scaled,
    "scaler, fused": ScaledFused,
    "bfloat16": HalfPrecision,
    "evaluation": Evaluating,
    "checkpointing": Recomputing,
    "checkpointing, reentrant": RecomputingReentrant,
    "two optimizers": Two,
    "closure": SecondOrder,
}


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def hooks_on(model: nn.Module, *optimizers: torch.optim.Optimizer) -> int:
    """Count the hooks of every kind, of optimizers in general too."""
    from torch.optim import optimizer as general

    count = len(general._global_optimizer_pre_hooks) + len(general._global_optimizer_post_hooks)
    for module in model.modules():
        for name, value in vars(module).items():
            if name.endswith("hooks") and name.startswith("_"):
                count += len(value)
    for parameter in model.parameters():
        count += len(parameter._backward_hooks or ())
        count += len(getattr(parameter, "_post_accumulate_grad_hooks", None) or ())
    for one in optimizers:
        for name, value in vars(one).items():
            if name.endswith("hooks") and name.startswith("_optimizer"):
                count += len(value)
    return count


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    problems: list[str] = []
    found = [event for event in read_events(folder, problems) if event["kind"] == kind]
    assert not problems
    return found


def metric(watcher: TorchWatcher, name: str) -> dict[int, float]:
    course = watcher.recording.history(name)
    return dict(zip(course.steps.tolist(), course.values.tolist(), strict=True))


def statistics(watcher: TorchWatcher, layer: str, quantity: str, step: int) -> np.ndarray[Any, Any]:
    course = watcher.recording.neurons(layer, quantity)
    return course.values[course.steps.tolist().index(step)]
