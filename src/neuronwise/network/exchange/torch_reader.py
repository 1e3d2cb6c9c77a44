"""Reading torch's modules one after the other, each as a layer of ours with its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.network.exchange.to_torch import ADDED, MOVED, SAME, TO_FIRST, TO_LAST, zeros_around
from neuronwise.network.exchange.torch_modules import (
    READERS,
    TORCH_ACTIVATIONS,
    activation_of,
    check_pooling,
    check_settings,
    pair,
    refusal,
)
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
    Shape,
)
from neuronwise.network.layers.images import Axis

if TYPE_CHECKING:
    from torch import nn

_ABSENT = {"b": 0.0, "gamma": 1.0, "beta": 0.0}  # what bias=False and affine=False stand for


class ModuleReader:
    """Reads modules one after the other, following the shape of one input through them.

    Attributes:
        shape: Shape of what the next module gets, as ours has it.
        layout: How torch's tensor lies compared with it.
        found: The layers, unbuilt, with their parameters and buffers.
        names: The name of each, or None.
        sources: Of each, our name of every tensor by its name in the module's state dict.
        dtype: ``"float32"`` or ``"float64"``; None before the first weights.
    """

    def __init__(self, modules: list[tuple[str, nn.Module]], shape: Shape) -> None:
        self.shape, self.layout = shape, SAME
        self.found: list[tuple[Layer, dict[str, NDArray[Any]]]] = []
        self.names: list[str | None] = []
        self.sources: list[dict[str, str]] = []
        self.dtype: str | None = None
        self.parameter_count = self.buffer_count = 0
        self._modules, self._position = modules, 0
        self._zeros: tuple[int, ...] | None = None
        self._taken: dict[str, str] = {}

    def read(self) -> None:
        """Read all modules.

        Raises:
            UsageError: A setting that is not known here, or shapes that do not fit.
        """
        while self._position < len(self._modules):
            path, module = self._modules[self._position]
            self._position += 1
            name = type(module).__name__
            if name in TORCH_ACTIVATIONS:
                self._activation_layer(path, module)
            else:
                getattr(self, READERS[name])(path, module)
        if self.layout != SAME:
            raise UsageError(
                "the axes are still in another order at the end",
                where="argument module",
                hint="put Permute(0, 2, 3, 1)",
            )

    def _activation_layer(self, path: str, module: nn.Module) -> None:
        name = activation_of(path, module, self.shape)
        self._add(path, module, lambda: ActivationLayer(name))

    def _linear(self, path: str, module: nn.Linear) -> None:
        values = self._values(path, module, {"weight": "W", "bias": "b"})
        activation = self._take_activation((module.out_features,))
        self._add(path, module, lambda: Dense(module.out_features, activation), values)

    def _convolution(self, path: str, module: nn.Conv2d) -> None:
        check_settings(path, module)
        self._need_axes(path, module, 3)
        values = self._values(path, module, {"weight": "W", "bias": "b"})
        data_format, padding = self._data_format, self._padding(path, module)
        activation = self._take_activation(self.shape)
        kernel: Any = module.kernel_size
        stride: Any = module.stride
        self._add(
            path,
            module,
            lambda: Conv2D(
                module.out_channels, kernel, activation, stride=stride, padding=padding, data_format=data_format
            ),
            values,
        )
        self.layout = MOVED if data_format == "channels_last" else SAME

    def _padding(self, path: str, module: nn.Conv2d) -> Any:
        """Return our padding for a convolution and the `ZeroPad2d` before it."""
        own: Any = (0, 0) if module.padding == "valid" else module.padding
        if self._zeros is None:
            return own if isinstance(own, str) or any(own) else "valid"
        left, right, top, bottom = self._zeros
        self._zeros = None
        if isinstance(own, str):
            raise refusal(path, module, f"ZeroPad2d before padding={own!r} is not known here")
        before, after = (top + own[0], left + own[1]), (bottom + own[0], right + own[1])
        if before == after and min(before) >= 0:
            return before
        windows = zip(self._picture, pair(module.kernel_size), pair(module.stride), strict=True)
        if [zeros_around(Axis.same(*one)) for one in windows] == list(zip(before, after, strict=True)):
            return "same"
        raise refusal(
            path,
            module,
            f"{before} zeros before and {after} after rows and columns are not known here",
            "as many on both sides, or those of padding 'same'",
        )

    def _zero_pad(self, path: str, module: nn.ZeroPad2d) -> None:
        following = self._modules[self._position : self._position + 1]
        if not following or type(following[0][1]).__name__ != "Conv2d":
            raise refusal(path, module, "it is known only directly before a Conv2d")
        self._zeros = tuple(module.padding)

    def _pooling(self, path: str, module: nn.MaxPool2d | nn.AvgPool2d) -> None:
        check_settings(path, module)
        self._need_axes(path, module, 3)
        check_pooling(path, module, self._picture)
        kind = MaxPool2D if type(module).__name__ == "MaxPool2d" else AveragePool2D
        size, stride, padding = pair(module.kernel_size), pair(module.stride), pair(module.padding)
        data_format = self._data_format
        self._add(path, module, lambda: kind(size, stride=stride, padding=padding, data_format=data_format))

    def _batch_norm(self, path: str, module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        check_settings(path, module)
        if module.momentum is None:
            raise refusal(path, module, "momentum=None, the mean over all batches, is not known here", "momentum=0.1")
        axes = 1 if type(module).__name__ == "BatchNorm1d" else 3
        self._need_axes(path, module, axes)
        keys = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
        values = self._values(path, module, keys)
        options = {"data_format": self._data_format} if axes == 3 else {}
        momentum, epsilon, activation = module.momentum, module.eps, self._take_activation(self.shape)
        self._add(path, module, lambda: BatchNorm(momentum, epsilon, activation, **options), values)

    def _flatten(self, path: str, module: nn.Flatten) -> None:
        axes = len(self.shape) + (self.layout == ADDED)
        start, end = (n % (axes + 1) if -axes - 1 <= n <= axes else n for n in (module.start_dim, module.end_dim))
        if self.layout == ADDED and (start, end) == (1, 2):
            self.layout = SAME
            return
        if (start, end) != (1, axes):
            raise refusal(
                path, module, f"only what flattens all axes of an input of shape {self.shape} is known", "nn.Flatten()"
            )
        if self.layout == MOVED:
            raise refusal(path, module, "its input has its axes in another order", "put Permute(0, 2, 3, 1) before it")
        self.layout = SAME
        self._add(path, module, Flatten)

    def _dropout(self, path: str, module: nn.Dropout) -> None:
        self._add(path, module, lambda: Dropout(module.p))

    def _permute(self, path: str, module: Any) -> None:
        wanted = {(SAME, TO_FIRST): MOVED, (MOVED, TO_LAST): SAME}.get((self.layout, tuple(module.axes)))
        if wanted is None or len(self.shape) != 3:
            raise refusal(path, module, f"this order of axes is not known for an input of shape {self.shape}")
        self.layout = wanted

    def _unflatten(self, path: str, module: nn.Unflatten) -> None:
        known = (
            module.dim == 1 and len(self.shape) == 2 and tuple(module.unflattened_size) in ((1, self.shape[0]), (1, -1))
        )
        if not known or self.layout != SAME:
            raise refusal(path, module, f"of an input of shape {self.shape} only a channel can be made: (1, rows)")
        self.layout = ADDED

    @property
    def _data_format(self) -> str:
        """Where our layers find the channels at this place."""
        if self.layout != ADDED:
            return "channels_last" if self.layout == MOVED else "channels_first"
        # A picture without channels gets them from the next convolution: last, if they are brought there later.
        rest = [module for _, module in self._modules[self._position - 1 :]]
        orders = [getattr(module, "axes", None) for module in rest if type(module).__name__ == "Permute"]
        convolutions = any(type(module).__name__ == "Conv2d" for module in rest)
        return "channels_first" if convolutions and orders[:1] != [TO_LAST] else "channels_last"

    @property
    def _picture(self) -> Shape:
        """Rows and columns."""
        return self.shape[1:] if self.layout == SAME else self.shape[:2]

    def _need_axes(self, path: str, module: nn.Module, axes: int) -> None:
        found = len(self.shape) + (self.layout == ADDED)
        if found != axes:
            wanted = "a vector" if axes == 1 else "a picture (channels, rows, columns)"
            raise refusal(path, module, f"it takes {wanted}, but its input has shape {self.shape}")

    def _take_activation(self, shape: Shape) -> str:
        """Return the activation that follows, and pass over it; ``"identity"`` if another module does."""
        for path, module in self._modules[self._position : self._position + 1]:
            if type(module).__name__ in TORCH_ACTIVATIONS:
                self._position += 1
                return activation_of(path, module, shape)
        return "identity"

    def _values(self, path: str, module: Any, keys: dict[str, str]) -> dict[str, NDArray[Any]]:
        """Return parameters and buffers by our names; those that are absent are left out."""
        values = {}
        for theirs, ours in keys.items():
            tensor = getattr(module, theirs, None)
            if tensor is None:
                continue
            if theirs not in module._parameters and theirs not in module._buffers:
                raise refusal(
                    path,
                    module,
                    f"its {theirs} is computed by a hook (weight_norm, prune)",
                    "make it permanent first: torch.nn.utils.remove_weight_norm, torch.nn.utils.prune.remove",
                )
            dtype = str(tensor.dtype).removeprefix("torch.")
            if dtype not in ("float32", "float64") or dtype != (self.dtype or dtype):
                needed = f"{self.dtype}, as before it" if self.dtype else "float32 or float64"
                raise refusal(path, module, f"its {theirs} is {dtype}; needed is {needed}", "module.float()")
            self.dtype = dtype
            self._taken[f"{path}.{theirs}"] = ours
            if tensor.is_meta:  # before memory is taken for values that are not there
                raise refusal(path, module, f"its {theirs} has a shape but no values (device meta)")
            try:
                values[ours] = tensor.numpy(force=True)
            except (RuntimeError, TypeError, NotImplementedError, ValueError) as error:
                raise refusal(path, module, f"its {theirs} cannot be read: {error!s:.200}") from None
        return values

    def _add(
        self, path: str, module: nn.Module, make: Callable[[], Layer], values: dict[str, NDArray[Any]] | None = None
    ) -> None:
        """Add a layer, after a check that its shapes are those of the values."""
        values = {} if values is None else values
        try:
            layer = make()
            layer.build(self.shape, layer.name)
        except UsageError as error:
            raise refusal(path, module, error.message, error.hint) from None
        for key, shape in (layer.parameter_shapes() | layer.buffer_shapes()).items():
            if key not in values and key not in _ABSENT:
                raise refusal(path, module, f"its {key} is missing")
            found = values.setdefault(key, np.broadcast_to(_ABSENT.get(key, 0.0), shape)).shape
            if found != shape:
                raise refusal(
                    path, module, f"its input has shape {self.shape}, which asks for {key} {shape}, not {found}"
                )
        self.parameter_count += layer.parameter_count
        self.buffer_count += layer.buffer_count
        self.shape = layer.output_shape
        layer.release()
        self.found.append((layer, values))
        self.sources.append(self._taken)
        self._taken = {}
        words = path.split(".")
        name = ".".join(word for word in words if not word.isdigit())
        self.names.append(None if words[-1].isdigit() else name)
