"""The tensors in what modules are given and return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def is_wrapped(value: Any) -> bool:
    """Return whether a value is a tensor that `torch.func` works with, on which there are no hooks."""
    import torch

    return isinstance(value, torch.Tensor) and bool(torch._C._functorch.is_functorch_wrapped_tensor(value))


def tensors_in(values: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in what a module returned: a tensor, a tuple, a dict, a data class of them."""
    import torch

    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for one in values:
            yield from tensors_in(one)
    elif isinstance(values, Mapping):
        for one in values.values():
            yield from tensors_in(one)
    elif is_dataclass(values):
        for field in fields(values):
            yield from tensors_in(getattr(values, field.name, None))
