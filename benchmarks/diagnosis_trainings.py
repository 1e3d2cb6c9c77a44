"""Building and taking the trainings that `diagnosis_faults` draws, watched or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from diagnosis_data import CLASSES, NUMBERS, PICTURES, SEQUENCES


class _Exp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()


class _Last(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cell(x)[0][:, -1]


class _Skip(nn.Module):
    def __init__(self, width: int, make: Any) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), make(), nn.Linear(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


_FUNCTIONS: dict[str, Any] = {
    "relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "leaky": nn.LeakyReLU, "elu": nn.ELU, "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid, "exp": _Exp, "softmax": lambda: nn.Softmax(dim=-1), "none": nn.Identity,
    "log_softmax": lambda: nn.LogSoftmax(dim=-1),
}  # fmt: skip


def data_of(case: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return inputs and targets to train with, and those held out, as tensors."""
    g = np.random.default_rng([case["number"], 7])
    make = {**CLASSES, **NUMBERS}[case["data"]]
    held = 200
    x, y = make(g, case["rows"] + held)
    x, y, xv, yv = x[held:], y[held:], x[:held], y[:held]
    if x.dtype.kind == "f":
        mean, std = x.mean(0), x.std(0) + 1e-6
        if case["data"] == "digits":
            mean, std = 0.0, 1.0
        x, xv = (x - mean) / std, (xv - mean) / std
    kind, size = case.get("inputs", ("", 0))
    for_all = {"times": lambda a: a * size, "offset": lambda a: a + size,
               "uneven": lambda a: a * np.exp(np.random.default_rng(3).normal(0, size, a.shape[1:])) + 0.0}  # fmt: skip
    if kind:
        x, xv = for_all[kind](x), for_all[kind](xv)
    kind, size = case.get("held", ("", 0))
    if kind:
        xv = xv * size if kind == "times" else xv + size
    classes = int(y.max()) + 1 if case["data"] in CLASSES else 0
    if (noise := case.get("noise")) and classes:
        y = np.where(g.random(len(y)) < noise, g.integers(0, classes, len(y)), y)
    elif noise:
        y = y + g.normal(0, 1.2, y.shape)
    if "shift" in case:
        y = (y + case["shift"]) % classes
    if "keep" in case:
        kept = (y == 0) | (g.random(len(y)) < case["keep"])
        x, y = x[kept], y[kept]
    if case.get("order"):
        order = np.argsort(y.reshape(-1), kind="stable")
        x, y = x[order], y[order]
    if "targets" in case:
        scale, offset = case["targets"]
        y, yv = y * scale + offset, yv * scale + offset
    as_input = torch.tensor if x.dtype.kind == "i" else lambda a: torch.tensor(a, dtype=torch.float32)
    if case["loss"] in ("mse", "bce_clipped", "bce", "bce_logits", "mae", "index"):
        goals = [torch.tensor(np.asarray(a, float).reshape(len(a), -1), dtype=torch.float32) for a in (y, yv)]
        if case.get("flat"):
            goals = [a[:, 0] for a in goals]
    else:
        goals = [torch.tensor(a.astype(int)) for a in (y, yv)]
    return as_input(x), goals[0], as_input(xv), goals[1]


def _model(case: dict[str, Any], x: torch.Tensor, classes: int) -> nn.Sequential:
    make = _FUNCTIONS[case["activation"]]
    parts: list[nn.Module] = []
    if case["data"] in PICTURES:
        parts += [nn.Conv2d(1, 8, 3, padding=1), make() if case["activation"] != "softmax" else nn.ReLU(),
                  nn.MaxPool2d(2), nn.Flatten()]  # fmt: skip
    elif case["data"] in SEQUENCES:
        wide = x.shape[-1]
        if case["data"] == "tokens":
            parts.append(nn.Embedding(6, 12))
            wide = 12
        parts.append(_Last((nn.GRU if case["cell"] == "gru" else nn.LSTM)(wide, 24, batch_first=True)))
    with torch.no_grad():
        width = nn.Sequential(*parts)(x[:2]).shape[-1]
    for wide in case["widths"]:
        parts.append(nn.Linear(width, wide))
        if case["norm"]:
            parts.append(nn.BatchNorm1d(wide))
        parts.append(make())
        if case["dropout"]:
            parts.append(nn.Dropout(case["dropout"]))
        width = wide
    if case["skip"]:
        parts.append(_Skip(width, make))
    outputs = case.get("outputs") or (classes if case["loss"] in ("ce", "nll") or "one_hot" in case["loss"] else 1)
    parts.append(nn.Linear(width, outputs))
    own = {"nll": "log_softmax", "bce": "sigmoid"}.get(case["loss"], "none")
    if (last := case.get("output", own)) != "none":
        parts.append(_FUNCTIONS[last]())
    model = nn.Sequential(*parts)
    init = case.get("init")
    with torch.no_grad():
        for part in model[:-1] if own == "none" else model[:-2]:
            if isinstance(part, (nn.Linear, nn.Conv2d)) and init:
                if init == "zeros":
                    part.weight.zero_()
                    part.bias.zero_()
                elif init == "const":
                    part.weight.fill_(0.1)
                    part.bias.zero_()
                elif init[0] == "times":
                    part.weight.mul_(init[1])
                else:
                    part.bias.fill_(init[1])
    return model


class _Loss(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.kind == "bce_clipped":
            p = out.clamp(1e-6, 1 - 1e-6)
            return -(y * p.log() + (1 - y) * (1 - p).log()).mean()
        goal = functional.one_hot(y, out.shape[-1]).float()
        return functional.mse_loss(out, goal) if self.kind == "one_hot_mse" else functional.l1_loss(out, goal)


def _loss(kind: str) -> nn.Module:
    known: dict[str, Any] = {"ce": nn.CrossEntropyLoss, "nll": nn.NLLLoss, "bce": nn.BCELoss, "mae": nn.L1Loss,
        "mse": nn.MSELoss,
                                 "bce_logits": nn.BCEWithLogitsLoss, "index": nn.MSELoss}  # fmt: skip
    return known[kind]() if kind in known else _Loss(kind)


def _optimizer(case: dict[str, Any], parameters: list[Any]) -> Any:
    kind, rate, decay = case["optimizer"], case["rate"], case["decay"]
    o = torch.optim
    return {
        "adam": lambda: o.Adam(parameters, rate, weight_decay=decay),
        "adamw": lambda: o.AdamW(parameters, rate, weight_decay=decay or 1e-2),
        "sgd": lambda: o.SGD(parameters, rate, weight_decay=decay),
        "momentum": lambda: o.SGD(parameters, rate, momentum=0.9, weight_decay=decay),
        "momentum99": lambda: o.SGD(parameters, min(0.3, rate * 10), momentum=0.995),
        "rmsprop": lambda: o.RMSprop(parameters, rate, weight_decay=decay),
        "adamax": lambda: o.Adamax(parameters, rate, weight_decay=decay),
        "adadelta": lambda: o.Adadelta(parameters, rate),
        "adagrad": lambda: o.Adagrad(parameters, rate),
        "adam_slow": lambda: o.Adam(parameters, rate, betas=(0.99, 0.999), eps=0.1),
    }[kind]()


def skill_of(case: dict[str, Any], model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return how much of the way from a constant guess to all right the model goes."""
    model.train(case.get("mode") == "evaluates_in_train")
    with torch.no_grad():
        out = model(x)
    model.train()
    if not bool(torch.isfinite(out).all()):
        return -9.0
    if case["data"] in NUMBERS:
        goal = y.reshape(out.shape)
        return float(1 - ((out - goal) ** 2).mean() / goal.var(unbiased=False))
    goal = y.reshape(-1).long()
    if out.shape[-1] > 1:
        guess = out.argmax(-1)
    elif case["loss"] == "index":
        guess = out[:, 0].round().long()
    else:
        guess = (out[:, 0] > (0 if case["loss"] == "bce_logits" else 0.5)).long()
    shares = [float((guess[goal == one] == one).float().mean()) for one in goal.unique().tolist()]
    return (sum(shares) / len(shares) - 1 / len(shares)) / (1 - 1 / len(shares))


def run(case: dict[str, Any], folder: Path | None) -> float:
    """Train a case, watched if a folder is given; return its skill held out."""
    import neuronwise

    x, y, xv, yv = data_of(case)
    torch.manual_seed(case["number"])
    classes = 0 if y.dtype == torch.float32 else int(max(y.max(), yv.max())) + 1
    model, loss = _model(case, x, classes), _loss(case["loss"])
    parameters = list(model.parameters())
    if how := case.get("frozen"):
        stay = [one for part in list(model)[: max(1, len(list(model)) - 3)] for one in part.parameters()]
        stay = stay or list(model[0].parameters())
        if how == "needs_none":
            for one in stay:
                one.requires_grad_(False)
        parameters = [one for one in parameters if id(one) not in {id(other) for other in stay}]
    optimizer = _optimizer(case, parameters)
    watcher = None
    if folder is not None:
        watcher = neuronwise.watch(
            model, optimizer, loss=loss, validation=(xv, yv), folder=folder, tracking=False, diagnose=False
        )
    g = torch.Generator().manual_seed(case["number"])
    size = min(case["batch"], len(x))
    for _ in range(case["epochs"]):
        model.train(case.get("mode") != "trains_in_eval")
        order = torch.arange(len(x)) if case.get("order") else torch.randperm(len(x), generator=g)
        for start in range(0, len(x), size):
            which = order[start : start + size]
            if case["norm"] and len(which) < 2:
                continue
            if case.get("clears", True):
                optimizer.zero_grad()
            loss(model(x[which]), y[which]).backward()
            optimizer.step()
        found = skill_of(case, model, xv, yv)
    if watcher is not None:
        watcher.close()
    return found
