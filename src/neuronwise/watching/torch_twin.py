"""Copies of a watched model, which answer where the model itself must not be called."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from neuronwise.watching.torch_activations import learn_activations
from neuronwise.watching.torch_layers import WatchedLayer, tensors_in

if TYPE_CHECKING:
    import torch
    from torch import nn


def ask_twin(
    model: nn.Module, layers: Sequence[WatchedLayer], probe: Any, see: Callable[[WatchedLayer, torch.Tensor, Any], None]
) -> Any:
    """Let an uncompiled copy of the model answer the probe, and return that.

    Args:
        model: The model.
        layers: Its layers.
        probe: The inputs.
        see: Called with layer, output and what the module was given.
    """
    twin = copy.deepcopy(model)
    own = dict(twin.named_modules())
    for layer in layers:
        if layer.answers:
            path = layer.path.rpartition(".")[0] if layer.unseen else layer.path
            own[path].register_forward_hook(_hook_for(layer, see))
    with same_random_state(model):
        return twin(probe)


def learn_from_twin(model: nn.Module, layers: Sequence[WatchedLayer], probe: Any) -> None:
    """Find by a copy which activation function follows which layer."""
    import torch

    produced: dict[Any, WatchedLayer] = {}

    def see(layer: WatchedLayer, values: torch.Tensor, given: Any) -> None:
        if values.grad_fn is not None:
            produced[values.grad_fn] = layer

    with torch.enable_grad():
        learn_activations(tensors_in(ask_twin(model, layers, probe, see)), produced)


def validation_loss(
    model: nn.Module,
    loss: nn.Module,
    validation: tuple[Any, Any],
    answered: Callable[[nn.Module, Any, float], None] | None = None,
) -> float:
    """Return the loss of a copy of the model, in evaluation mode, on inputs and targets held out.

    Args:
        model: The model.
        loss: The loss module.
        validation: (inputs, targets).
        answered: Called with the copy, what it answered, and the loss.
    """
    import torch

    twin = copy.deepcopy(model).eval()
    with torch.no_grad(), same_random_state(model):
        out = twin(validation[0])
        value = float(loss.forward(out, validation[1]))
        if answered is not None:
            answered(twin, out, value)
        return value


def same_random_state(model: nn.Module) -> AbstractContextManager[None]:
    """Leave the random state as it was, also of the GPUs that the model is on."""
    import torch

    devices = {one.device for one in model.parameters() if one.device.type == "cuda"}
    found: AbstractContextManager[None] = torch.random.fork_rng(devices=list(devices))
    return found


def _hook_for(
    layer: WatchedLayer, see: Callable[[WatchedLayer, torch.Tensor, Any], None]
) -> Callable[[Any, Any, Any], None]:
    def hook(module: Any, given: Any, output: Any) -> None:
        values = next(tensors_in(given if layer.looks_at_inputs else output), None)
        if values is not None:
            see(layer, values, given)

    return hook
