"""What a PyTorch model computes between its layers, read from the autograd graph of one forward pass.

Modules tell what a model has; the graph tells what it does, whether activation functions are modules or calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

# How many nodes of a graph are looked through.
_MAX_NODES = 20_000

# Nodes that bend what comes in, by their name without "Backward0".
NONLINEAR = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Elu": "elu", "Gelu": "gelu",
    "Silu": "silu", "LeakyRelu": "leaky_relu", "Hardsigmoid": "hardsigmoid", "Hardtanh": "hardtanh",
    "Hardswish": "hardswish", "Softmax": "softmax", "LogSoftmax": "log_softmax", "Exp": "exp", "Abs": "abs",
    "MaxPool2DWithIndices": "maxpool", "MaxPool3DWithIndices": "maxpool", "SqueezeBackward1MaxPool": "maxpool",
    "Prelu": "prelu", "PreluKernel": "prelu", "LogSigmoid": "log_sigmoid", "Mish": "mish", "Pow": "pow", "Sin": "sin",
    "Cos": "cos", "Log": "log", "Sqrt": "sqrt", "Sign": "sign", "Clamp": "clamp", "ClampMin": "clamp",
    "ScaledDotProductFlashAttentionForCpu": "attention", "ScaledDotProductEfficientAttention": "attention",
    "ScaledDotProductFlashAttention": "attention", "NativeLayerNorm": "layernorm", "NativeGroupNorm": "groupnorm",
    "MaximumBackward": "maximum", "Amax": "maximum", "RreluWithNoise": "rrelu", "Threshold": "relu", "Celu": "elu",
    "FusedRmsNorm": "rmsnorm", "Rsqrt": "norm", "MkldnnRnnLayer": "rnn", "CudnnRnn": "rnn",
}  # fmt: skip
# Of these it matters that they are there, and they bend nothing by themselves.
_NOTED = {"NativeBatchNorm": "batchnorm", "CudnnBatchNorm": "batchnorm", "NativeDropout": "dropout"}


def graph_of(model: nn.Module, outputs: Iterable[torch.Tensor]) -> dict[str, Any]:
    """Return what follows what, as JSON values.

    Args:
        model: The model.
        outputs: What it returned, with gradients.

    Returns:
        ``layers``: for each weight that the outputs depend on, its ``name`` (module path), ``after`` (the functions
        between it and the layers that it gets its input from, or the model's input), ``follows`` (those layers) and
        ``bare`` (those of them whose outputs come in with nothing in between that bends them). ``output``: the
        functions after the last layers, the last one first. ``merges``: how many additions of two computed values
        there are, as skip connections make. ``complete``: whether the whole graph was looked through.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    matrices = {id(parameter) for parameter in model.parameters() if parameter.ndim > 1}
    roots = [node for output in outputs if (node := output.grad_fn) is not None]
    owner: dict[Any, str] = {}
    merges, seen, stack = 0, set(roots), list(roots)
    while stack and len(seen) < _MAX_NODES:
        node = stack.pop()
        if _kind(node) == "Add" and _computed_inputs(node) > 1:
            merges += 1
        if (weight := _weight_of(node, names, matrices)) is not None:
            owner[node] = weight
        for following in _next(node):
            if following not in seen:
                seen.add(following)
                stack.append(following)
    layers: dict[str, dict[str, Any]] = {}
    for node, weight in owner.items():
        path = weight.rpartition(".")[0] or weight
        kinds, follows, bare = _between(_next(node), owner)
        found = layers.setdefault(weight, {"name": path, "weight": weight, "after": [], "follows": [], "bare": []})
        for key, values in (("after", kinds), ("follows", follows), ("bare", bare)):
            found[key] += [one for one in values if one not in found[key]]
    kinds, follows, _ = _between(roots, owner)
    return {
        "layers": list(layers.values()),
        "output": kinds,
        "last": follows,
        "merges": merges,
        "complete": len(seen) < _MAX_NODES,
    }


def _kind(node: Any) -> str:
    name = type(node).__name__
    return name[: name.rfind("Backward")] if "Backward" in name else name


def _next(node: Any) -> Iterator[Any]:
    for following, _ in node.next_functions:
        if following is not None:
            yield following


def _computed_inputs(node: Any) -> int:
    """Return how many inputs of a node were computed, other than of parameters alone."""
    return sum(not hasattr(one, "variable") for one in _next(node))


def _weight_of(node: Any, names: Mapping[int, str], matrices: set[int]) -> str | None:
    """Return the name of the matrix that a node multiplies by, through views of it; None if there is none."""
    if _kind(node) not in ("Addmm", "Mm", "Convolution", "Linear", "Embedding", "Bmm", "MkldnnConvolution",
                           "ConvolutionOverrideable", "SlowConv2D", "Matmul", "Addbmm", "Baddbmm", "Mv", "Addmv",
                           "MkldnnRnnLayer", "CudnnRnn", "ThnnConv2D", "MkldnnLinear"):  # fmt: skip
        return None
    for following in _next(node):
        one: Any = following
        for _ in range(4):  # transposed, viewed, cast
            if hasattr(one, "variable"):
                break
            one = next(_next(one), None) if _kind(one) in ("T", "Transpose", "View", "Permute", "ToCopy") else None
            if one is None:
                break
        if one is not None and hasattr(one, "variable") and id(one.variable) in matrices:
            return names.get(id(one.variable))
    return None


def _between(starts: Iterable[Any], owner: Mapping[Any, str]) -> tuple[list[str], list[str], list[str]]:
    """Return the functions on the ways down to the next layers, these layers, and those reached unbent."""
    kinds: list[str] = []
    reached: list[str] = []
    bare: list[str] = []
    stack = [(node, False) for node in starts]
    seen = set(stack)
    place = 0
    while place < len(stack):
        node, is_bent = stack[place]
        place += 1
        if node in owner:
            for target, is_wanted in ((reached, True), (bare, not is_bent)):
                if is_wanted and owner[node] not in target:
                    target.append(owner[node])
            continue
        kind = _kind(node)
        if (name := NONLINEAR.get(kind)) is not None:
            is_bent = True
        name = name or _NOTED.get(kind)
        if name is not None and name not in kinds:
            kinds.append(name)
        for following in _next(node):
            if (following, is_bent) not in seen:
                seen.add((following, is_bent))
                stack.append((following, is_bent))
    return kinds, reached, bare
