"""What does not fit is refused at once, in words that say what does; nothing is left then."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neuronwise.errors import UsageError
from neuronwise.watching import TorchWatcher

from .helpers import hooks_on

LOSS = nn.MSELoss()
X = torch.ones(2, 3)


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no module": ({"model": "net"}, "argument model", "expected an nn.Module, got str"),
    "a class": ({"model": nn.Linear}, "argument model", "expected an nn.Module, got type"),
    "no parameters": ({"model": nn.ReLU(), "optimizer": None}, "argument model", "no parameters"),
    "whole numbers only": (
        {"model": nn.ParameterList([nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)]),
         "optimizer": None},
        "argument model", "no parameters",
    ),
    "complex numbers": (
        {"model": nn.ParameterList([torch.ones(2, dtype=torch.complex64)]), "optimizer": None},
        "argument model", "complex",
    ),
    "no optimizer": ({"optimizer": "adam"}, "argument optimizer", "expected an optimizer of torch.optim, got str"),
    "an optimizer's class": ({"optimizer": torch.optim.Adam}, "argument optimizer", "got type"),
    "a list with none in it": ({"optimizer": [None]}, "argument optimizer", "got NoneType"),
    "of another model": (
        {"optimizer": torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)},
        "argument optimizer", "changes no parameter of this model",
    ),
    "a loss function": ({"loss": nn.functional.mse_loss}, "argument loss", "expected a loss module"),
    "a loss by name": ({"loss": "mse"}, "argument loss", "expected a loss module"),
    "validation without loss": ({"validation": (X, X)}, "argument validation", "the loss module"),
    "validation of one part": ({"validation": X, "loss": LOSS}, "argument validation", "inputs, targets"),
    "validation of three parts": ({"validation": (X, X, X), "loss": LOSS}, "argument validation", "inputs, targets"),
    "no budget": ({"time_budget": 0}, "argument time_budget", "got 0"),
    "more than all": ({"time_budget": 1.5}, "argument time_budget", "got 1.5"),
    "no number": ({"time_budget": "2%"}, "argument time_budget", "got '2%'"),
    "true": ({"time_budget": True}, "argument time_budget", "got True"),
    "not a number": ({"time_budget": float("nan")}, "argument time_budget", "got nan"),
    "few bytes": ({"bytes_budget": 1000}, "argument bytes_budget", "at least 1,000,000, got 1000"),
    "bytes by name": ({"bytes_budget": "1GB"}, "argument bytes_budget", "got '1GB'"),
    "broken bytes": ({"bytes_budget": 1e9}, "argument bytes_budget", "got 1000000000.0"),
    "every none": ({"statistics_every": 0}, "argument statistics_every", "got 0"),
    "every half": ({"statistics_every": 0.5}, "argument statistics_every", "got 0.5"),
    "one pattern": ({"layers": "0"}, "argument layers", "expected a list of patterns, got '0'"),
    "one to leave out": ({"exclude": "0"}, "argument exclude", "expected a list of patterns, got '0'"),
    "fits none": ({"layers": ["0", "encoder.*"]}, "argument layers", "'encoder.*' fits no module with parameters"),
    "leaves out none": ({"exclude": ["1"]}, "argument exclude", "'1' fits no module with parameters"),
    "leaves out all": ({"exclude": ["*"]}, "argument exclude", "nothing is left to watch"),
    "none at all": ({"layers": []}, "argument layers", "nothing is left to watch"),
    "no list": ({"layers": 3}, "argument layers", "expected a list of patterns, got 3"),
    "no words": ({"layers": [3]}, "argument layers", "expected a list of patterns, got [3]"),
    "no scaler": ({"scaler": True}, "argument scaler", "got bool"),
    "no folder": ({"folder": 3}, "argument folder", "got int"),
    "a file": ({"folder": __file__}, "argument folder", "is a file"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    wrong, where, message = WRONG[name]
    given = model()
    options: dict[str, Any] = {
        "model": given,
        "optimizer": torch.optim.SGD(given.parameters(), lr=0.1),
        "folder": tmp_path / "recording",
    } | wrong
    with pytest.raises(UsageError) as caught:
        TorchWatcher(**options)
    assert message in str(caught.value)
    assert where in str(caught.value)
    assert not hooks_on(given, *[one for one in [options["optimizer"]] if isinstance(one, torch.optim.Optimizer)])
    assert not hooks_on(LOSS)
    assert list(tmp_path.iterdir()) == []


def test_scripted_modules_are_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # newer versions of torch warn of scripting
        scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(UsageError, match="watch the module before it is scripted"):
        TorchWatcher(scripted, folder=tmp_path / "recording")


@pytest.mark.parametrize("value", ["high", None, [1.0, 2.0], torch.ones(2), {}])
def test_what_is_no_number_is_not_logged(value: Any, tmp_path: Path) -> None:
    given = model()
    watcher = TorchWatcher(given, folder=tmp_path / "recording")
    with pytest.raises(UsageError, match="argument accuracy of log"):
        watcher.log(accuracy=value)
    watcher.close()


def test_what_is_no_function_is_not_observed(tmp_path: Path) -> None:
    watcher = TorchWatcher(model(), folder=tmp_path / "recording")
    with pytest.raises(UsageError, match=r"expected a function, got 0\.5"):
        watcher.observe(0.5)  # type: ignore[arg-type]
    watcher.close()


@pytest.mark.parametrize("wrapped", ["DataParallel", "compiled"])
def test_what_is_inside_a_wrapper_is_watched(wrapped: str, tmp_path: Path) -> None:
    inside = model()
    outside = nn.DataParallel(inside) if wrapped == "DataParallel" else torch.compile(inside, backend="eager")
    optimizer = torch.optim.SGD(outside.parameters(), lr=0.1)
    watcher = TorchWatcher(outside, optimizer, folder=tmp_path / "recording", strict=True)
    outside(X).sum().backward()
    optimizer.step()
    watcher.close()
    assert watcher.recording.stored.layer_names == ["0", "2"]
