"""Which modules of torch are known, with which settings, and how the others are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuronwise.errors import UsageError
from neuronwise.network.layers import Shape

if TYPE_CHECKING:
    from torch import nn

# torch's word for an activation, ours, and the settings with which they are the same function.
TORCH_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "ReLU": ("relu", {}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": 0.01}),
    "ELU": ("elu", {"alpha": 1.0}),
    "GELU": ("gelu", {"approximate": "none"}),
    "Softplus": ("softplus", {"beta": 1.0}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Softmax": ("softmax", {}),
}
# Every other module that is known, and the method that reads it.
READERS = {
    "Linear": "_linear",
    "BatchNorm1d": "_batch_norm",
    "BatchNorm2d": "_batch_norm",
    "Conv2d": "_convolution",
    "ZeroPad2d": "_zero_pad",
    "MaxPool2d": "_pooling",
    "AvgPool2d": "_pooling",
    "Flatten": "_flatten",
    "Unflatten": "_unflatten",
    "Dropout": "_dropout",
    "Permute": "_permute",
}
KNOWN = ", ".join([*(name for name in READERS if name not in ("Unflatten", "Permute")), *TORCH_ACTIVATIONS, "Identity"])
# Settings with which a module is ours; the first is the one to advise.
_SETTINGS: dict[str, dict[str, tuple[Any, ...]]] = {
    "Conv2d": {"dilation": ((1, 1),), "groups": (1,), "padding_mode": ("zeros",)},
    "MaxPool2d": {"dilation": (1, (1, 1)), "return_indices": (False,)},
    "AvgPool2d": {"divisor_override": (None,)},
    "BatchNorm1d": {"track_running_stats": (True,)},
    "BatchNorm2d": {"track_running_stats": (True,)},
}
_ADVICE = {
    "LogSoftmax": "leave it out, or put nn.Softmax(dim=1) in its place: cross-entropy is computed from the logits",
    "Softmax2d": "only the values of a vector can be compared: nn.Flatten() and nn.Softmax(dim=1)",
    "Dropout1d": "it drops whole channels; nn.Dropout gives the same in evaluation",
    "Dropout2d": "it drops whole channels; nn.Dropout gives the same in evaluation",
    "AdaptiveAvgPool2d": "nn.AvgPool2d gives the same where its windows are all alike: nn.AvgPool2d((rows, columns)) "
    "of the whole picture for an output of 1",
    "AlphaDropout": "nn.Dropout gives the same in evaluation, not in training",
    "LazyLinear": "run the module once on a batch: its shapes are not known yet",
    "LazyConv2d": "run the module once on a batch: its shapes are not known yet",
    "LazyBatchNorm1d": "run the module once on a batch: its shapes are not known yet",
    "LazyBatchNorm2d": "run the module once on a batch: its shapes are not known yet",
}


def check_kind(path: str, module: nn.Module) -> None:
    """Refuse a module of a type that is not known, or that computes in a way of its own.

    The type must be torch's very own: a subclass may compute anything.
    """
    from torch import nn

    from neuronwise.network.exchange.permute import Permute

    kind = type(module)
    known = kind.__name__ in {*TORCH_ACTIVATIONS, *READERS, "Identity"}
    if not known or kind not in (Permute, getattr(nn, kind.__name__, None)):
        raise refusal(path, module, "this module is not known here", _advice(module))
    if "forward" in vars(module):
        raise refusal(path, module, "the forward of this module was replaced")


def _advice(module: nn.Module) -> str:
    """Return what to put in the place of a module that is not known."""
    from torch import nn
    from torch.nn.utils import parametrize

    kind = type(module)
    if parametrize.is_parametrized(module):
        return "make it permanent first: torch.nn.utils.parametrize.remove_parametrizations(module, name)"
    if isinstance(module, nn.Sequential):
        return "it has a forward of its own; if that only runs its modules in order: nn.Sequential(*module.children())"
    for base in kind.__mro__[1:]:
        if base.__name__ in {*TORCH_ACTIVATIONS, *READERS} and base is getattr(nn, base.__name__, None):
            advice = f"its own class may compute anything; an nn.{base.__name__} with its state_dict is known"
            return _ADVICE.get(kind.__name__, advice)
    return _ADVICE.get(kind.__name__, f"known are {KNOWN}")


def refusal(path: str, module: nn.Module, why: str, hint: str | None = None) -> UsageError:
    """Return the error of a module that cannot be taken."""
    return UsageError(f"{why}: {told(module)}", where=f"module {path}" if path else "argument module", hint=hint)


def told(module: nn.Module) -> str:
    """Return a module's type and settings on one line, of bounded length."""
    text = " ".join(repr(module).split())
    return text if len(text) <= 200 else f"{text[:200]}…"


def activation_of(path: str, module: Any, shape: Shape) -> str:
    """Return our word for an activation that is applied to values of a shape."""
    name, needed = TORCH_ACTIVATIONS[type(module).__name__]
    for key, value in needed.items():
        if getattr(module, key) != value:
            raise refusal(path, module, f"only {key}={value!r} is known here, got {getattr(module, key)!r}")
    if name == "softplus" and module.threshold < 20:
        raise refusal(path, module, f"only a threshold of at least 20 is known here, got {module.threshold}")
    if name == "softmax" and (len(shape) != 1 or module.dim not in (1, -1)):
        raise refusal(
            path,
            module,
            f"softmax over the values of a vector is known here, got dim={module.dim} for shape {shape}",
            "nn.Flatten() before it, and nn.Softmax(dim=1)",
        )
    return name


def check_settings(path: str, module: Any) -> None:
    """Refuse settings of a convolution, pooling or batch normalisation that change what it computes."""
    for key, known in _SETTINGS.get(type(module).__name__, {}).items():
        value = getattr(module, key)
        if value not in known:
            raise refusal(path, module, f"only {key}={known[0]!r} is known here, got {value!r}")


def check_pooling(path: str, module: Any, shape: Shape) -> None:
    """Refuse a pooling whose settings matter for a picture (rows, columns)."""
    axes = list(zip(shape, *map(pair, (module.kernel_size, module.stride, module.padding)), strict=True))
    if getattr(module, "count_include_pad", True) is not True and any(padding for *_, padding in axes):
        raise refusal(path, module, "padding counts in the mean here", "count_include_pad=True, or padding=0")
    for size, window, stride, padding in axes:
        places = (size + 2 * padding - window) // stride + 1
        # torch lets the last window reach beyond the picture, but not begin there.
        if module.ceil_mode and (size + 2 * padding - window) % stride and places * stride < size + padding:
            raise refusal(
                path,
                module,
                f"ceil_mode=True matters for a picture of {shape[0]} × {shape[1]} pixels",
                "ceil_mode=False",
            )


def pair(value: Any) -> tuple[int, int]:
    """Return a setting for rows and columns: torch takes one number for both."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return (numbers[0], numbers[-1])
