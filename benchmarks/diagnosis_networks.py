"""Healthy and faulty PyTorch trainings, made up at random, to calibrate `neuronwise.diagnose` and to try it on others.

    python benchmarks/diagnosis_networks.py make FOLDER --count 200   # trains, watches, keeps
    python benchmarks/diagnosis_networks.py score FOLDER              # diagnoses, prints figures

A training is drawn from its number: data, architecture, optimizer. Of each the healthy one is trained, and one or more
with a single fault put in. A pair counts only if the label is honest: the healthy one reaches a skill of 0.6 held out
(0 is a constant guess, 1 all right), and the fault costs three tenths of it at least. Numbers below 10,000 are for
calibration, the others are held out.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("OPENBLAS_CORETYPE", None)

import numpy as np
import torch
from torch import nn
from torch.nn import functional

HONEST_SKILL, HONEST_COST = 0.6, 0.3
HELD_FROM = 10_000


# ---------------------------------------------------------------------- data


def _rings(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    classes = int(g.integers(2, 5))
    radius, angle = g.uniform(0, classes, rows), g.uniform(0, 2 * np.pi, rows)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + g.normal(0, 0.08, (rows, 2))
    return x, np.minimum(radius.astype(int), classes - 1)


def _clouds(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    classes, features = int(g.integers(2, 7)), int(g.integers(2, 25))
    centres = g.normal(0, 2.2, (classes * 2, features)) / math.sqrt(features) * 2
    which = g.integers(0, classes * 2, rows)
    return centres[which] + g.normal(0, 0.7, (rows, features)), which % classes


def _corners(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    features = int(g.integers(2, 6))
    x = g.uniform(-1, 1, (rows, features))
    return x, ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)


def _teacher(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    features, classes = int(g.integers(5, 20)), int(g.integers(2, 5))
    x = g.normal(0, 1, (rows, features))
    z = np.tanh(x @ g.normal(0, 1.2, (features, 12)) / math.sqrt(features)) @ g.normal(0, 1, (12, classes))
    return x, (z - np.median(z, 0)).argmax(1)


def _bars(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    y = g.integers(0, 3, rows)
    x = g.normal(0, 0.3, (rows, 1, 10, 10))
    for row in range(rows):
        place = int(g.integers(1, 9))
        if y[row] == 0:
            x[row, 0, place] += 1
        elif y[row] == 1:
            x[row, 0, :, place] += 1
        else:
            x[row, 0] += np.eye(10, k=place - 5)
    return x, y


def _digits(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    found = load_digits()
    which = g.permutation(len(found.target))[:rows]
    return found.images[which][:, None] / 16, found.target[which]


def _tokens(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    x = g.integers(0, 6, (rows, 9))
    return x, (x[:, 0] + (x[:, -1] > 2)) % 3


def _sums(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    x = g.normal(0, 1, (rows, 12, 2))
    return x, (x[:, :, 0].sum(1) > x[:, :, 1].sum(1)).astype(int)


def _smooth(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    features = int(g.integers(1, 7))
    x = g.uniform(-2, 2, (rows, features))
    y = np.sin(x @ g.normal(0, 1.2, features)) + 0.4 * x[:, 0] + g.normal(0, 0.05, rows)
    return x, (y - y.mean())[:, None] / y.std()


def _plane(g: np.random.Generator, rows: int) -> tuple[Any, Any]:
    features = int(g.integers(3, 15))
    x = g.normal(0, 1, (rows, features))
    y = x @ g.normal(0, 1, features) + 0.5 * np.abs(x[:, 0]) + g.normal(0, 0.3, rows)
    return x, (y - y.mean())[:, None] / y.std()


CLASSES = {"rings": _rings, "clouds": _clouds, "corners": _corners, "teacher": _teacher, "bars": _bars,
    "digits": _digits,
               "tokens": _tokens, "sums": _sums}  # fmt: skip
NUMBERS = {"smooth": _smooth, "plane": _plane}
PICTURES, SEQUENCES = ("bars", "digits"), ("tokens", "sums")


# ---------------------------------------------------------------------- what is drawn


def draw(number: int) -> dict[str, Any]:
    """Return a training that should go well."""
    g = np.random.default_rng([number, 5])
    name = str(g.choice([*CLASSES, *NUMBERS, "smooth", "plane", "clouds", "teacher"]))
    optimizer = str(g.choice(["adam", "adam", "sgd", "momentum", "adamw", "rmsprop", "adamax"]))
    low, high = {"adam": (1e-3, 1e-2), "adamw": (1e-3, 1e-2), "sgd": (0.05, 0.3), "momentum": (0.01, 0.05),
                 "rmsprop": (5e-4, 3e-3), "adamax": (2e-3, 2e-2)}[optimizer]  # fmt: skip
    case: dict[str, Any] = {
        "number": number, "data": name, "rows": int(g.integers(300, 800)),
        "widths": [int(2 ** g.integers(4, 7)) for _ in range(int(g.integers(1, 4)))],
        "activation": str(g.choice(["relu", "relu", "relu", "tanh", "gelu", "leaky", "elu", "silu"])),
        "norm": bool(g.random() < 0.2), "dropout": float(g.choice([0, 0, 0, 0.1, 0.3])),
        "optimizer": optimizer, "rate": float(np.exp(g.uniform(np.log(low), np.log(high)))),
        "batch": int(g.choice([16, 32, 32, 64])), "epochs": int(g.integers(12, 30)),
        "cell": str(g.choice(["gru", "lstm"])),
        "loss": "mse" if name in NUMBERS else str(g.choice(["ce", "ce", "nll"])),
        "decay": float(g.choice([0, 0, 1e-5, 1e-4])), "skip": bool(g.random() < 0.1),
    }  # fmt: skip
    if name in ("corners", "sums") and g.random() < 0.6:
        case["loss"] = str(g.choice(["bce", "bce_logits"]))
    return case


def faults(case: dict[str, Any], g: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every fault that fits a training: its cause, and what to change."""
    rate, name, is_number = case["rate"], case["data"], case["data"] in NUMBERS
    yield "lr_too_high", {"rate": rate * 10 ** g.uniform(1.3, 3)}
    yield "lr_too_low", {"rate": rate / 10 ** g.uniform(1.7, 3.5)}
    yield "too_few_epochs", {"epochs": int(g.integers(1, 4))}
    yield "batch_too_large", {"batch": case["rows"]}
    yield "batch_too_small", {"batch": int(g.integers(1, 3)), "epochs": max(2, case["epochs"] // 12)}
    yield "wrong_optimizer", [{"optimizer": "adadelta", "rate": 1e-3}, {"optimizer": "adagrad", "rate": 3e-4},
                              {"optimizer": "adam_slow"}, {"optimizer": "momentum99"}][int(g.integers(4))]  # fmt: skip
    yield "missing_hidden_activation", {"activation": "none", "norm": False}
    yield "wrong_hidden_activation", [{"activation": "sigmoid", "widths": [32] * int(g.integers(4, 7)), "norm": False},
                                      {"activation": "softmax"}, {"activation": "exp"},
                                      {"activation": "hardsigmoid", "widths": [32] * 5, "norm": False},
                                      ][int(g.integers(4))]  # fmt: skip
    yield "bad_init_symmetric", {"init": str(g.choice(["zeros", "const"])), "norm": False}
    yield "bad_init_scale", {"init": ["times", float(10 ** g.choice([-2.5, -2, 1.3, 1.8]))], "norm": False}
    yield "bad_init_scale", {"init": ["bias", float(-(10 ** g.uniform(0.6, 1.3)))], "norm": False}
    if name not in ("tokens",):
        yield "input_not_normalised", {"inputs": [["times", 10 ** g.uniform(1.5, 3)], ["offset", 10 ** g.uniform(1, 2)],
                                                  ["uneven", 3]][int(g.integers(3))]}  # fmt: skip
        yield (
            "preprocessing_mismatch",
            {"held": [["times", 10 ** g.uniform(0.8, 2.4)], ["offset", 5]][int(g.integers(2))]},
        )
    if is_number:
        yield "target_not_normalised", {"targets": [10 ** g.uniform(1.5, 4), 10 ** g.uniform(0, 3)]}
        yield "label_shape_mismatch", {"flat": True}
        yield "wrong_output_activation", {"output": str(g.choice(["sigmoid", "relu", "tanh"]))}
        yield "wrong_loss", {"loss": "bce_clipped"}
    else:
        yield "wrong_labels", [{"noise": g.uniform(0.6, 0.9)}, {"shift": 1}][int(g.integers(2))]
        if case["loss"] in ("ce", "nll"):
            yield "wrong_output_activation", {"loss": "ce", "output": str(g.choice(["softmax", "relu", "sigmoid"]))}
            yield "wrong_output_activation", {"loss": "nll", "output": "softmax"}
            yield "wrong_loss", {"loss": str(g.choice(["one_hot_mse", "one_hot_mae"])), "output": "softmax"}
            yield "wrong_output_size", {"outputs": 1, "loss": "index"}
        else:
            yield "wrong_loss", {"loss": "mae", "output": "sigmoid"}
            yield "wrong_output_activation", {"loss": "bce_logits", "output": str(g.choice(["relu", "sigmoid"]))}
            yield "wrong_output_activation", {"loss": "bce_clipped", "output": "none"}
        yield "class_imbalance", {"keep": 0.03}
    yield "network_too_small", {"widths": [int(g.integers(1, 3))] * len(case["widths"])}
    yield "network_too_deep", {"widths": [24] * int(g.integers(10, 20)), "norm": False, "skip": False,
                               "activation": str(g.choice(["relu", "tanh", "sigmoid"]))}  # fmt: skip
    yield "overfitting", {"rows": 120, "noise": 0.25, "epochs": 60, "widths": [128, 128], "dropout": 0.0}
    yield "too_few_data", {"rows": int(g.integers(16, 60)), "epochs": 60}
    yield "excessive_regularisation", [{"decay": float(10 ** g.uniform(-1.2, 0))}, {"dropout": g.uniform(0.8, 0.95)}][
        int(g.integers(2))]  # fmt: skip
    yield "data_not_shuffled", {"order": True}
    yield "missing_zero_grad", {"clears": False}
    yield "frozen_layer", {"frozen": str(g.choice(["needs_none", "not_held"]))}
    if case["norm"] or case["dropout"]:
        yield "wrong_train_eval_mode", {"dropout": 0.5, "mode": str(g.choice(["evaluates_in_train", "trains_in_eval"])),
                                        "norm": True}  # fmt: skip


# ---------------------------------------------------------------------- building and training


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
        watcher = neuronwise.watch(model, optimizer, loss=loss, validation=(xv, yv), folder=folder, tracking=False)
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


def make(folder: Path, first: int, count: int, per_net: int, seconds: float) -> None:
    """Train networks and keep their recordings, with labels beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    every = sorted({cause for number in range(40) for cause, _ in faults(draw(number), np.random.default_rng(0))})
    with (folder / "labels.jsonl").open("a") as out:
        for number in range(first, first + count):
            if time.monotonic() - began > seconds:
                break
            case = draw(number)
            try:
                healthy = run(case, folder / f"{number}-healthy")
            except (ValueError, RuntimeError) as error:
                print(number, error, file=sys.stderr)
                continue
            if healthy < HONEST_SKILL:
                continue
            out.write(json.dumps({"run": f"{number}-healthy", "number": number, "cause": "", "skill": healthy}) + "\n")
            g = np.random.default_rng([number, 11])
            known: dict[str, list[Any]] = collections.defaultdict(list)
            for cause, change in faults(case, g):
                known[cause].append(change)
            wanted = [every[(number * per_net + place) % len(every)] for place in range(per_net)]
            for cause in wanted:
                if not (changes := known.get(cause)):
                    continue
                change = changes[int(g.integers(len(changes)))]
                name = f"{number}-{cause}"
                try:
                    skill = run(case | change, folder / name)
                except (ValueError, RuntimeError, IndexError) as error:
                    print(name, error, file=sys.stderr)
                    continue
                cost = 1 - max(0.0, skill) / healthy
                if math.isnan(cost) or cost >= HONEST_COST:
                    row = {"run": name, "number": number, "cause": cause, "skill": skill, "change": change}
                    out.write(json.dumps(row) + "\n")
            out.flush()


def score(folder: Path, part: str, show: bool) -> None:
    """Diagnose what is kept and print how often that is right."""
    import neuronwise

    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    rows = [one for one in rows if (folder / one["run"] / "recording" / "recording.json").exists()]
    rows = [one for one in rows if part == "all" or (one["number"] < HELD_FROM) == (part == "calibration")]
    figures: collections.Counter[str] = collections.Counter()
    by_cause: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for row in rows:
        found = neuronwise.diagnose(neuronwise.open(folder / row["run"]))
        causes = [one.cause for one in found.findings]
        if not row["cause"]:
            figures["healthy"] += 1
            figures["false_alarms"] += bool(causes)
            if causes and show:
                print("alarm", row["run"], round(row["skill"], 2), causes, found.skill)
            continue
        figures["faulty"] += 1
        figures["detected"] += bool(causes)
        figures["first_right"] += causes[:1] == [row["cause"]]
        figures["in_set"] += row["cause"] in causes
        figures["named"] += len(causes)
        by_cause[row["cause"]][causes[0] if causes else "-"] += 1
        if show and causes[:1] != [row["cause"]]:
            print(row["run"], round(row["skill"], 2), causes, row["change"])
    print(dict(figures))
    for cause, counts in sorted(by_cause.items()):
        print(f"{cause:28} {counts[cause]}/{sum(counts.values())}",
              ", ".join(f"{name} {count}" for name, count in counts.most_common() if name != cause))  # fmt: skip


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("make", "score"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--per-net", type=int, default=4, help="faults per network")
    parser.add_argument("--seconds", type=float, default=1e9, help="when to stop")
    parser.add_argument("--part", choices=("calibration", "held-out", "all"), default="all")
    parser.add_argument("--show", action="store_true", help="print what was named wrongly")
    args = parser.parse_args()
    if args.what == "make":
        make(args.folder, args.first, args.count, args.per_net, args.seconds)
    else:
        score(args.folder, args.part, args.show)


if __name__ == "__main__":
    main()
