"""What a recording of a PyTorch model says at its beginning: what the model is, and what cannot be seen of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from neuronwise.watching.torch_layers import WatchedLayer

if TYPE_CHECKING:
    import torch
    from torch import nn


def described(model: nn.Module, *, is_compiled: bool) -> dict[str, Any]:
    """Return what recording.json says of a model, as JSON values."""
    import torch

    trainable = sum(one.numel() for one in model.parameters() if one.requires_grad)
    return {
        "framework": "torch",
        "version": torch.__version__,
        "model": type(model).__name__,
        "parameters": sum(one.numel() for one in model.parameters()),
        "trainable": trainable,
        "compiled": is_compiled,
    }


def notes_on(layers: Sequence[WatchedLayer], *, sees_outputs: bool, is_blind: bool, has_probe: bool) -> list[str]:
    """Return sentences about what is not seen of activations.

    Args:
        layers: The layers, when it is known what follows each.
        sees_outputs: Whether the model's own forward pass shows activations.
        is_blind: Whether none was seen before the first step.
        has_probe: Whether a copy answers a probe.
    """
    notes = []
    if not sees_outputs:
        notes.append(
            "the model is compiled: its activations are those of an uncompiled copy on the probe"
            if has_probe
            else "the model is compiled: its activations are not seen (argument probe= shows those of a few inputs)"
        )
    if is_blind and sees_outputs:
        notes.append(
            "no forward pass of its modules was seen before the first step, as where a model is compiled after it "
            "is watched: activations may be missing (argument probe= shows those of a few inputs)"
        )
    unknown = [one.layout.name for one in layers if one.answers and one.layout.activation is None]
    if unknown and sees_outputs:
        some = ", ".join(unknown[:5]) + (" …" if len(unknown) > 5 else "")
        notes.append(f"no activation function was seen to follow {some}: statistics are of what they return")
    return notes


def has_lazy(model: nn.Module) -> bool:
    """Return whether a parameter or buffer has no shape yet."""
    from torch.nn.parameter import is_lazy

    return any(is_lazy(one) for one in _tensors(model))


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()
