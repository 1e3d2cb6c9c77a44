"""What `watch` is given for a PyTorch model, checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronwise.errors import UsageError
from neuronwise.network.exchange import WRAPPERS

if TYPE_CHECKING:
    from torch.optim import Optimizer

_LEAST_BYTES = 1_000_000


def is_compiled(model: Any) -> bool:
    """Return whether `torch.compile` has made something of a model."""
    return hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None


def unwrapped(model: Any) -> Any:
    """Return what is inside of the wrappers of `torch.compile` and parallel trainings."""
    while (inside := WRAPPERS.get(type(model).__name__)) is not None and hasattr(model, inside):
        model = getattr(model, inside)
    return model


def check_model(model: Any, optimizer: Any) -> list[Optimizer]:
    """Return the optimizers, none where none was given.

    Raises:
        UsageError: They, or the model, are none, or do not go together.
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"expected an nn.Module, got {type(model).__name__}", where="argument model")
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(
            "a ScriptModule takes no hooks", where="argument model", hint="watch the module before it is scripted"
        )
    optimizers = list(optimizer) if isinstance(optimizer, (list, tuple)) else [] if optimizer is None else [optimizer]
    for one in optimizers:
        if not isinstance(one, torch.optim.Optimizer):
            raise UsageError(
                f"expected an optimizer of torch.optim, got {type(one).__name__}",
                where="argument optimizer",
                hint="watch(model, optimizer): hand in what step() is called of",
            )
    ids = {id(parameter) for parameter in model.parameters()}
    for one in optimizers:
        if not any(id(parameter) in ids for group in one.param_groups for parameter in group["params"]):
            raise UsageError(
                "the optimizer changes no parameter of this model",
                where="argument optimizer",
                hint="make it of model.parameters(), after the model was moved or wrapped",
            )
    return optimizers


def check_loss(loss: Any, validation: Any, scaler: Any) -> None:
    """Check what the loss is observed by.

    Raises:
        UsageError: An argument is of another kind.
    """
    import torch

    if loss is not None and not isinstance(loss, torch.nn.Module):
        raise UsageError(
            f"expected a loss module such as nn.CrossEntropyLoss(), got {loss!r:.100}",
            where="argument loss",
            hint="wrap a function: loss_function = watcher.observe(F.cross_entropy)",
        )
    if validation is not None and not (isinstance(validation, (tuple, list)) and len(validation) == 2 and loss):
        raise UsageError(
            "expected (inputs, targets), and beside it the loss module that compares them",
            where="argument validation",
            hint="watch(model, optimizer, loss=nn.CrossEntropyLoss(), validation=(X_val, y_val))",
        )
    for name, one in zip(("inputs", "targets"), validation or (), strict=False):
        if hasattr(one, "__array__") and not isinstance(one, torch.Tensor):
            raise UsageError(
                f"expected tensors, got {name} of type {type(one).__name__}",
                where="argument validation",
                hint="torch.from_numpy(X_val).float() makes one of a NumPy array",
            )
    if scaler is not None and not hasattr(scaler, "get_scale"):
        raise UsageError(f"expected a torch.amp.GradScaler, got {type(scaler).__name__}", where="argument scaler")


def check_settings(
    folder: Any, layers: Any, exclude: Any, time_budget: Any, bytes_budget: Any, statistics_every: Any
) -> None:
    """Check the rest.

    Raises:
        UsageError: An argument is of another kind, or out of range.
    """
    for name, patterns in (("layers", layers), ("exclude", exclude)):
        is_list = isinstance(patterns, Sequence) and not isinstance(patterns, str)
        if patterns is not None and not (is_list and all(isinstance(one, str) for one in patterns)):
            raise UsageError(f"expected a list of patterns, got {patterns!r:.100}", where=f"argument {name}")
    if not isinstance(folder, (str, Path)):
        raise UsageError(f"expected a path, got {type(folder).__name__}", where="argument folder")
    if not isinstance(time_budget, (int, float)) or isinstance(time_budget, bool) or not 0 < time_budget <= 1:
        raise UsageError(f"expected a share above 0, at most 1, got {time_budget!r:.50}", where="argument time_budget")
    if type(bytes_budget) is not int or bytes_budget < _LEAST_BYTES:
        raise UsageError(f"expected at least {_LEAST_BYTES:,}, got {bytes_budget!r:.50}", where="argument bytes_budget")
    if statistics_every is not None and (type(statistics_every) is not int or statistics_every < 1):
        raise UsageError(
            f"expected a whole number from 1, got {statistics_every!r:.50}", where="argument statistics_every"
        )
