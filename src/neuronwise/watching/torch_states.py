"""The whole state of a watched model, as its recording keeps it, and modules that came to it later."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from neuronwise.errors import UsageError
from neuronwise.recording import Layout
from neuronwise.watching.torch_layers import WatchedLayer
from neuronwise.watching.torch_statistics import on_host

if TYPE_CHECKING:
    import torch
    from torch import nn

Arrays = list[NDArray[Any]]


class States:
    """Reads the state of a model: every parameter and buffer that is recorded.

    Args:
        model: The model.
        layers: What is recorded of it.
        layout: Where each has its place.
        tell: Called with a sentence and an error where something is left out from now on.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[WatchedLayer],
        layout: Layout,
        tell: Callable[[str, Exception], None],
    ) -> None:
        self._model, self._layers, self._layout, self._tell = model, layers, layout, tell
        self._has_other_buffers = False
        self._modules = sum(1 for _ in model.modules())

    def read(self) -> tuple[Arrays, Arrays]:
        """Return the parameters and the buffers as they are, on the host, in the order of the layout.

        Raises:
            UsageError: A parameter has another shape than at the beginning.
        """
        for layer in self._layers:
            places = layer.layout.parameters.values()
            if [tuple(one.shape) for one in layer.parameters] != [place.shape for place in places]:
                raise UsageError(
                    f"the shapes of {layer.layout.name} are no longer what they were",
                    where="argument model",
                    hint="watch a model after its layers were replaced",
                )
        return self._arrays([one for layer in self._layers for one in layer.parameters]), self._arrays(self._buffers())

    def _arrays(self, tensors: Sequence[torch.Tensor]) -> Arrays:
        return [on_host(one.detach().cpu()).astype(self._layout.dtype, copy=False) for one in tensors]

    def _buffers(self) -> list[torch.Tensor]:
        """Return all buffers; NaN for those that have another shape than at the beginning, which is told once."""
        import torch

        found, others = [], []
        for layer in self._layers:
            own = layer.buffers
            for key, place in layer.layout.buffers.items():
                if key not in own:
                    others.append(f"{layer.layout.name}.{key}")
                found.append(own[key] if key in own else torch.full(place.shape, math.nan))
        if others and not self._has_other_buffers:
            self._has_other_buffers = True
            names = ", ".join(others[:5]) + (" …" if len(others) > 5 else "")
            self._tell("some buffers are not recorded", ValueError(f"{names}: of another shape than at the beginning"))
        return found

    def added(self) -> list[str]:
        """Return the paths of modules with parameters that came to the model and are not recorded; each time once."""
        count, before = sum(1 for _ in self._model.modules()), self._modules
        self._modules = count
        if count <= before:
            return []
        known = set(self._layout.layers) | {layer.path for layer in self._layers}
        return [
            path
            for path, module in self._model.named_modules()
            if path and path not in known and any(one is not None for one in module._parameters.values())
        ]
