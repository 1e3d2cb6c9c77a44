"""Which activation function follows a layer: from the modules, the autograd graph, or what became of its output."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuronwise.watching.torch_layers import WatchedLayer

if TYPE_CHECKING:
    import torch
    from torch import nn

# How many nodes of an autograd graph are looked through.
_MAX_NODES = 100_000


# What follows a layer, by the name of its node in the autograd graph: our name, and how to apply it again.
_Function = tuple[str, "Callable[[torch.Tensor], torch.Tensor]"]


def _function_of(node: Any) -> _Function | None:
    import torch
    from torch.nn import functional

    name = type(node).__name__
    plain: dict[str, _Function] = {
        "ReluBackward0": ("relu", torch.relu),
        "SigmoidBackward0": ("sigmoid", torch.sigmoid),
        "TanhBackward0": ("tanh", torch.tanh),
        "SiluBackward0": ("silu", functional.silu),
    }
    if name in plain:
        return plain[name]
    if name == "GeluBackward0":
        how = node._saved_approximate
        return "gelu", lambda z: functional.gelu(z, approximate=how)
    if name == "LeakyReluBackward0":
        slope = float(node._saved_negative_slope)
        return "leaky_relu", lambda z: functional.leaky_relu(z, slope)
    return None


def learn_activations(outputs: Iterable[torch.Tensor], produced: dict[Any, WatchedLayer]) -> None:
    """Find in an autograd graph which activation function follows which layer, and note it in the layer.

    Args:
        outputs: Of the model; none where it returns what is not known, or is called by its parts. Then what is behind
            the last layer is not seen.
        produced: The layer by the node that made its output.
    """
    consumers: dict[Any, set[Any]] = {}
    seen = {node for output in outputs if (node := output.grad_fn) is not None} | produced.keys()
    stack = list(seen)
    while stack and len(seen) < _MAX_NODES:
        node = stack.pop()
        for following, _ in node.next_functions:
            if following is None:
                continue
            if following in produced:
                consumers.setdefault(following, set()).add(node)
            if following not in seen:
                seen.add(following)
                stack.append(following)
    # One function after each call of the layer, and nothing else that its output goes to.
    follows: dict[WatchedLayer, list[_Function | None]] = {}
    for made, nodes in consumers.items():
        follows.setdefault(produced[made], []).append(_function_of(next(iter(nodes))) if len(nodes) == 1 else None)
    for layer, found in follows.items():
        first = found[0]
        if layer.activation is None and first is not None and all(one and one[0] == first[0] for one in found):
            layer.follow_with(*first)


def learn_from_sequence(model: nn.Module, layers: Sequence[WatchedLayer]) -> None:
    """Note the activation functions that follow layers in an `nn.Sequential`, of which no graph need be known."""
    import torch
    from torch import nn

    known: dict[type, Callable[[Any], _Function]] = {
        nn.ReLU: lambda module: ("relu", torch.relu),
        nn.Sigmoid: lambda module: ("sigmoid", torch.sigmoid),
        nn.Tanh: lambda module: ("tanh", torch.tanh),
        nn.SiLU: lambda module: ("silu", nn.functional.silu),
    }
    by_module = {id(layer.module): layer for layer in layers}
    for sequence in model.modules():
        if type(sequence) is not nn.Sequential:
            continue
        children = list(sequence)
        for one, following in itertools.pairwise(children):
            layer, make = by_module.get(id(one)), known.get(type(following))
            if layer is not None and make is not None and not _is_elsewhere(model, one, sequence):
                layer.follow_with(*make(following))


def _is_elsewhere(model: nn.Module, module: nn.Module, sequence: nn.Module) -> bool:
    """Return whether a module stands at another place too, where something else may follow it."""
    return sum(child is module for parent in model.modules() for child in parent._modules.values()) > 1


@dataclass(frozen=True)
class Output:
    """What a layer returned while it is not known what follows.

    Attributes:
        layer: The layer.
        z: A copy of it.
        given: What the module was given.
        returned: The tensor itself, which a function that works in place changes.
        version: How often that had been changed when it was returned; None where that is not counted.
    """

    layer: WatchedLayer
    z: torch.Tensor
    given: Any
    returned: torch.Tensor
    version: int | None

    @classmethod
    def of(cls, layer: WatchedLayer, values: torch.Tensor, given: Any) -> Output:
        """Return what is kept of an output until the pass is over."""
        kept = values.detach()
        return cls(layer, kept.clone(), given, kept, None if values.is_inference() else kept._version)


def learn_from_changes(outputs: Iterable[Output]) -> None:
    """Note the functions that have changed a layer's output in place, of which the graph of a view does not tell.

    It is known by its values: all are those of that function, bit by bit, and some would be others without it. A
    function that agrees with it on all of them, such as ReLU6 where nothing is above 6, is taken for it.
    """
    for one in outputs:
        if one.layer.activation is None and one.version is not None and one.returned._version != one.version:
            found = _function_that_made(one.returned, one.z)
            if found is not None:
                one.layer.follow_with(*found)


def _function_that_made(a: torch.Tensor, z: torch.Tensor) -> _Function | None:
    import torch
    from torch.nn import functional

    if torch.equal(a, z):
        return None
    known: list[_Function] = [
        ("relu", torch.relu), ("sigmoid", torch.sigmoid), ("tanh", torch.tanh), ("silu", functional.silu)
    ]  # fmt: skip
    negative = z < 0
    if bool(negative.any()):
        ratio = float((a[negative] / z[negative]).median())
        # As it was written, but for rounding.
        slopes = {round(ratio, digits) for digits in (2, 4) if ratio > 0}
        known += [("leaky_relu", functools.partial(functional.leaky_relu, negative_slope=slope)) for slope in slopes]
    return next(((name, function) for name, function in known if torch.equal(a, function(z))), None)
