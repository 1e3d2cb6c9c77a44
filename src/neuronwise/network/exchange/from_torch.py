"""From PyTorch: an `nn.Sequential` of known layers as a `Network`. Live modules only: nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronwise.errors import UsageError
from neuronwise.network.assembly import layer_names
from neuronwise.network.buffers import empty_buffer
from neuronwise.network.exchange.to_torch import import_torch
from neuronwise.network.exchange.torch_modules import KNOWN, check_kind, refusal, told
from neuronwise.network.exchange.torch_reader import ModuleReader
from neuronwise.network.layers import Flatten, Layer, Shape
from neuronwise.network.network import Network

if TYPE_CHECKING:
    from torch import nn

# What torch.compile and data-parallel training put around a module, and where the module is.
WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}


def from_torch(
    module: nn.Sequential,
    *,
    input_shape: int | Sequence[int] | None = None,
    input_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Network:
    """Return an `nn.Sequential` as a network with the same weights, equal in evaluation within 1e-6 (float64: 1e-12).

    Pictures stay channels first, (channels, rows, columns), so every weight lies as it lay. An activation directly
    after a layer with weights becomes that layer's, any other an `ActivationLayer`; `nn.Identity` is left out. Layers
    bear the names of their modules where these have names (not numbers), nested ones with dots, else the usual ones.

    The module is not changed, run, or shared with: weights are copied, from whatever device. What it lacks (a bias, the
    scale and shift of batch normalisation) is 0 or 1 here, and can be learned. Hooks are not carried over. Softplus
    beyond torch's threshold of 20 differs by up to 2.1e-9.

    Args:
        module: A Sequential, perhaps of Sequentials, of modules known here, float32 or float64 (without weights:
            float32).
        input_shape: Shape of one input, without the batch: 784, or (channels, rows, columns). Not needed if the first
            module with weights is `nn.Linear` or `nn.BatchNorm1d`, with nothing that reshapes before it.
        input_names: As for `Network`.
        class_names: As for `Network`.

    Raises:
        MissingExtraError: PyTorch is not installed.
        UsageError: A module or setting that is not known here, weights that two modules share, another dtype, or
            shapes that do not fit; the message names the module's path.
    """
    return from_torch_with_names(module, input_shape=input_shape, input_names=input_names, class_names=class_names)[0]


def from_torch_with_names(
    module: nn.Sequential,
    *,
    input_shape: int | Sequence[int] | None = None,
    input_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> tuple[Network, dict[str, tuple[str, str]]]:
    """Return what `from_torch` does, and where each tensor of the module's state dict is in the network.

    The latter by the tensor's name: ``{"0.weight": ("hidden1", "W")}``. All lie as they lay. What the module lacks, and
    is a constant in the network, is not among them.
    """
    torch = import_torch()
    if not isinstance(module, torch.nn.Sequential):
        if (inside := WRAPPERS.get(type(module).__name__)) is not None:
            hint = f"network = from_torch(module.{inside})"
        elif isinstance(module, torch.nn.Module):
            hint = "network = from_torch(nn.Sequential(…)), of the modules in the order in which they run"
        else:
            hint = "a live module is needed; files are not read: they could run code"
        raise UsageError(f"an nn.Sequential is needed, got {type(module).__name__}", where="argument module", hint=hint)
    modules = list(_flattened(module, ""))
    for path, one in modules:
        check_kind(path, one)
    _refuse_shared_weights(modules)
    modules = [(path, one) for path, one in modules if not isinstance(one, torch.nn.Identity)]
    if not modules:
        raise UsageError(f"there is no layer in it: {told(module)}", where="argument module", hint=f"known are {KNOWN}")
    shape = _input_shape(modules, input_shape)
    reader = ModuleReader(modules, shape)
    reader.read()
    layers = [layer for layer, _ in reader.found]
    dtype = np.dtype(reader.dtype or "float32")
    _name(layers, reader.names)
    network = Network(
        layers,
        input_shape=shape,
        dtype=str(dtype),
        input_names=input_names,
        class_names=class_names,
        _parameters=empty_buffer((reader.parameter_count,), dtype),
        _buffers=empty_buffer((reader.buffer_count,), dtype),
    )
    for layer, values in reader.found:
        for key, own in (layer.parameters | layer.buffers).items():
            own[...] = values[key]
    names = {
        theirs: (layer.name, ours)
        for layer, taken in zip(layers, reader.sources, strict=True)
        for theirs, ours in taken.items()
    }
    return network, names


def _flattened(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that are no Sequential, in order, with their paths."""
    from torch import nn

    is_plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
    if not is_plain or "forward" in vars(module):
        yield path, module
        return
    for name, child in module._modules.items():  # named_children leaves out what occurs twice
        place = f"{path}.{name}" if path else name
        if child is None:
            raise UsageError("there is None where a module is needed", where=f"module {place}", hint="leave it out")
        yield from _flattened(child, place)


def _refuse_shared_weights(modules: list[tuple[str, nn.Module]]) -> None:
    """Refuse weights that two places share: ours would part at the first step of a training."""
    owners: dict[Any, str] = {}
    for path, module in modules:
        for key, tensor in module.named_parameters(recurse=False):
            owner = owners.setdefault(_place_in_memory(tensor), f"{path}.{key}")
            if owner != f"{path}.{key}":
                raise refusal(
                    path, module, f"its {key} is shared with {owner}", "copy.deepcopy(module) gives one of its own"
                )


def _place_in_memory(tensor: Any) -> Any:
    """Return what two tensors have in common if one is a view of the other, such as its transpose."""
    try:
        return str(tensor.device), tensor.data_ptr() or id(tensor)
    except RuntimeError:  # a tensor without memory
        return id(tensor)


def _input_shape(modules: list[tuple[str, nn.Module]], given: int | Sequence[int] | None) -> Shape:
    """Return the shape of one input, read off a leading Linear where it is not given."""
    from torch import nn

    if given is not None:
        return Network([Flatten()], input_shape=given).input_shape  # which checks it
    example = "784"
    for _, module in modules:
        if isinstance(module, nn.Linear):
            return (module.in_features,)
        if isinstance(module, nn.BatchNorm1d):
            return (module.num_features,)
        if isinstance(module, nn.Conv2d):
            example = f"({module.in_channels}, 28, 28)"
        if next(module.parameters(), None) is not None or isinstance(module, (nn.Flatten, nn.Unflatten)):
            break
    raise UsageError(
        "the shape of one input cannot be read off the first module",
        where="argument input_shape",
        hint=f"from_torch(module, input_shape={example})",
    )


def _name(layers: list[Layer], names: list[str | None]) -> None:
    """Give the layers the names of their modules, but for those that are no names here or that others bear."""
    for _ in range(2):  # the second time for names that were usual ones of layers which got their own since
        for layer, name in zip(layers[::-1], names[::-1], strict=True):  # the last first, or "output" would be taken
            own, layer.given_name = layer.given_name, name
            try:
                layer_names(layers)
            except UsageError:
                layer.given_name = own
