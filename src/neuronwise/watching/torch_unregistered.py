"""Layers that a PyTorch model keeps where it does not know of them: in a plain list, tuple or dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def unregistered(model: nn.Module) -> list[str]:
    """Return the attributes that hold layers which get gradients and are none of the model's, ``"encoder.blocks"``.

    ``model.parameters()`` leaves them out, so no optimizer that is made of it trains them. What is kept so on purpose,
    as a teacher, gets no gradients.

    Args:
        model: After a backward pass.
    """
    known = {id(one) for one in model.parameters()}
    found = []
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") or not isinstance(value, (list, tuple, dict)):
                continue
            strangers = (one for layer in _modules_in(value) for one in layer.parameters() if id(one) not in known)
            if any(one.grad is not None for one in strangers):
                found.append(f"{path}.{name}" if path else name)
    return found


def _modules_in(value: list[object] | tuple[object, ...] | dict[object, object]) -> Iterator[nn.Module]:
    from torch import nn

    for one in value.values() if isinstance(value, dict) else value:
        if isinstance(one, nn.Module):
            yield one
