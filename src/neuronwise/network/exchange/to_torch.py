"""To PyTorch: a network as an `nn.Sequential` of torch's own modules, with copies of its parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.errors import MissingExtraError, UsageError
from neuronwise.network.layers import (
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
)
from neuronwise.network.layers.images import Axis
from neuronwise.network.network import Network

if TYPE_CHECKING:
    from torch import nn

_KNOWN = (Dense, Conv2D, MaxPool2D, AveragePool2D, BatchNorm, Dropout, Flatten, ActivationLayer)
# How torch's tensor lies, compared with ours: as ours is; (channels, rows, columns) where ours is (rows, columns,
# channels); (1, rows, columns) where ours is (rows, columns).
SAME, MOVED, ADDED = "same", "channels_first", "add_channel"
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def import_torch() -> Any:
    """Import and return the module `torch`.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("PyTorch is not installed", hint="pip install 'neuronwise[torch]'") from None
    return torch


def to_torch(network: Network, *, logits: bool = False) -> nn.Sequential:
    """Return the network as an `nn.Sequential`, in evaluation mode, equal in its outputs within 1e-6 (float64: 1e-12).

    It takes and gives what the network does, in the same shapes. Its modules bear the names of the layers, an
    activation that of its layer and its own: ``hidden1``, ``hidden1_relu``. torch has its channels first: for a
    network with channels last a small module of ours, `Permute`, stands before the first convolution and before what
    follows the last; all others are torch's own. Parameters and buffers are copies, on the CPU, of the network's
    dtype, and require gradients; no random number of torch is drawn. Call ``.train()`` before training it: only then
    dropout drops and batch normalisation uses the batch.

    Args:
        network: The network; it is not changed.
        logits: Whether to leave out a softmax or sigmoid of the last layer, so that the outputs suit
            `nn.CrossEntropyLoss` or `nn.BCEWithLogitsLoss`.

    Raises:
        MissingExtraError: PyTorch is not installed.
        UsageError: A layer of a kind that is not known here.
    """
    import_torch()
    import torch

    # Whatever mode the caller is in, the parameters are ordinary ones.
    with torch.inference_mode(mode=False), torch.no_grad():
        sequence = torch.nn.Sequential()
        for name, module in _modules(network, logits):
            sequence.add_module(_free_name(sequence, name), module)
        return sequence.eval()


def _modules(network: Network, logits: bool) -> Iterator[tuple[str, nn.Module]]:
    """Yield names and modules in order; the names may be taken already."""
    layout = SAME
    for layer in network.layers:
        if type(layer) not in _KNOWN:  # a subclass may compute anything
            raise UsageError(
                f"a layer of type {type(layer).__name__} has no counterpart here",
                where=f"layer {layer.name}",
                hint=f"known are {', '.join(kind.__name__ for kind in _KNOWN)}",
            )
        wanted = _wanted_layout(layer)
        if wanted not in (None, layout):
            yield from _relay(layout, SAME, layer.name, layer.input_shape)
            yield from _relay(SAME, wanted, layer.name, layer.input_shape)
            layout = wanted
        if isinstance(layer, Conv2D):
            yield from _convolution(layer)
            layout = MOVED if layer.data_format == "channels_last" else SAME
        elif not isinstance(layer, ActivationLayer):
            yield layer.name, _module(layer)
        activation = layer.activation
        is_last = layer is network.layers[-1]
        if isinstance(layer, ActivationLayer) or (activation is not None and activation.name != "identity"):
            assert activation is not None
            name = layer.name if isinstance(layer, ActivationLayer) else f"{layer.name}_{activation.name}"
            if not (logits and is_last and activation.name in ("softmax", "sigmoid")):
                yield name, _activation(activation.name, layer)
    yield from _relay(layout, SAME, "end", network.layers[-1].output_shape)


def _wanted_layout(layer: Layer) -> str | None:
    """Return how torch's tensor must lie for a layer; None where it does not matter."""
    if isinstance(layer, (ActivationLayer, Dropout)):
        return None
    if isinstance(layer, (BatchNorm, Conv2D, MaxPool2D, AveragePool2D)) and len(layer.input_shape) > 1:
        if len(layer.input_shape) == 2:
            return ADDED
        return MOVED if layer.data_format == "channels_last" else SAME
    return SAME


def _relay(old: str, new: str, name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the module that brings torch's tensor from one layout to another, one of which is SAME."""
    from torch import nn

    from neuronwise.network.exchange.permute import Permute

    if old == new:
        return
    if MOVED in (old, new):
        yield (
            f"{name}_channels_{'first' if new == MOVED else 'last'}",
            Permute(*(TO_FIRST if new == MOVED else TO_LAST)),
        )
    elif new == ADDED:
        yield f"{name}_add_channel", nn.Unflatten(1, (1, shape[0]))
    else:
        yield f"{name}_drop_channel", nn.Flatten(1, 2)


def _convolution(layer: Conv2D) -> Iterator[tuple[str, nn.Module]]:
    """Yield the convolution, with a module before it that adds zeros where they are not as many on both sides."""
    from torch import nn

    rows, columns = (zeros_around(axis) for axis in layer.axes(layer.input_shape))
    padding: Any = (rows[0], columns[0])
    if layer.padding == "same" and (rows[0] != rows[1] or columns[0] != columns[1]):
        yield f"{layer.name}_zeros", nn.ZeroPad2d((*columns, *rows))
        padding = 0
    elif layer.padding == "same" and layer.stride == (1, 1):
        padding = "same"
    W, settings = layer.W, {"stride": layer.stride, "padding": padding}
    yield layer.name, _filled(nn.Conv2d, layer, {"weight": "W", "bias": "b"}, *W.shape[1::-1], W.shape[2:], **settings)


def zeros_around(axis: Axis) -> tuple[int, int]:
    """Return how many zeros windows find before the first and after the last pixel."""
    return axis.before, max((axis.places - 1) * axis.stride + axis.window - axis.size - axis.before, 0)


def _module(layer: Layer) -> nn.Module:
    """Return the module for a layer without its activation, its parameters and buffers copied."""
    from torch import nn

    if isinstance(layer, Flatten):
        return nn.Flatten()
    if isinstance(layer, Dropout):
        return nn.Dropout(layer.rate)
    if isinstance(layer, Dense):
        return _filled(nn.Linear, layer, {"weight": "W", "bias": "b"}, *layer.W.shape[::-1])
    if isinstance(layer, (MaxPool2D, AveragePool2D)):
        pool = nn.MaxPool2d if isinstance(layer, MaxPool2D) else nn.AvgPool2d
        return pool(layer.pool_size, layer.stride, layer.padding)
    assert isinstance(layer, BatchNorm)
    keys = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
    kind = nn.BatchNorm1d if len(layer.input_shape) == 1 else nn.BatchNorm2d
    return _filled(kind, layer, keys, layer.features, eps=layer.epsilon, momentum=layer.momentum)


def _filled(kind: Any, layer: Layer, keys: dict[str, str], *sizes: Any, **settings: Any) -> nn.Module:
    """Return a module with the layer's values, made without drawing the first ones that torch would draw."""
    import torch

    values = layer.parameters | layer.buffers
    dtype = getattr(torch, str(next(iter(values.values())).dtype))
    module: nn.Module = torch.nn.utils.skip_init(kind, *sizes, dtype=dtype, device="cpu", **settings)  # type: ignore[no-untyped-call]
    for theirs, ours in keys.items():
        getattr(module, theirs).copy_(torch.from_numpy(np.array(values[ours])))
    if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)) and module.num_batches_tracked is not None:
        module.num_batches_tracked.zero_()
    return module


def _activation(name: str, layer: Layer) -> nn.Module:
    """Return the module of an activation function."""
    from torch import nn

    # Beyond its threshold torch takes softplus(z) as z; from 40 on that is exact in float64 too.
    makers: dict[str, Any] = {
        "identity": nn.Identity,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(0.01),
        "elu": nn.ELU,
        "gelu": nn.GELU,
        "softplus": lambda: nn.Softplus(threshold=40),
        "softmax": lambda: nn.Softmax(dim=1),
    }
    if name not in makers:
        raise UsageError(
            f"the activation {name!r} has no counterpart here",
            where=f"layer {layer.name}",
            hint=f"known are {list(makers)}",
        )
    module: nn.Module = makers[name]()
    return module


def _free_name(sequence: nn.Sequential, name: str) -> str:
    """Return the name, changed where torch would not take it: no dots, no attribute of a Sequential, not twice."""
    name = name.replace(".", "_")
    while hasattr(sequence, name):
        name += "_"
    return name
