"""What makes a `Network` of the states of a watched model, where it is an `nn.Sequential` of known layers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from neuronwise.errors import UsageError
from neuronwise.network.exchange import from_torch_with_names
from neuronwise.recording import Layout
from neuronwise.recording.module_network import ModuleNetwork

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger("neuronwise")


class KeptNetwork:
    """The network that a model is, when its recording begins.

    Args:
        model: The model; it is not changed, run, or kept.
        layout: Of what is recorded.
        input_shape: Shape of one input, without the batch; None where none was seen.

    Attributes:
        network: What is kept of it; None of a model that is no such network.
        why_none: Why there is none; None if there is one.
        note: A sentence for the recording, where one would expect it; else None.
    """

    def __init__(self, model: nn.Module, layout: Layout, input_shape: tuple[int, ...] | None) -> None:
        self.network: ModuleNetwork | None = None
        self.why_none: str | None = None
        try:
            self.network = _network_of(model, layout, input_shape or None)
        except UsageError as error:
            self.why_none = f"{error.where}: {error.message}" if error.where else error.message
        except Exception as error:  # noqa: BLE001 - of what is watched besides nothing is lost
            _log.debug("describing the network failed", exc_info=error)
            self.why_none = f"{type(error).__name__}: {error}"
        is_sequence = any(kind.__name__ == "Sequential" for kind in type(model).__mro__)
        self.note = None
        if self.why_none is not None and is_sequence:
            self.note = f"the model is no Network of Neuronwise, its arrays are known by name only: {self.why_none}"
        self._modules = _modules(model) if self.network is not None else []

    def to_dict(self) -> dict[str, Any]:
        """Return what recording.json says of it, as JSON values."""
        return {"network": None if self.network is None else self.network.to_dict(), "why_no_network": self.why_none}

    def has_changed(self, model: nn.Module) -> bool:
        """Return whether modules were added, removed or exchanged for other ones since; once, then no longer."""
        if self.network is None or self._modules == _modules(model):
            return False
        self.network = None
        return True


def _network_of(model: nn.Module, layout: Layout, input_shape: tuple[int, ...] | None) -> ModuleNetwork:
    network, names = from_torch_with_names(model, input_shape=input_shape)  # type: ignore[arg-type]
    arrays: dict[str, dict[str, tuple[str, str]]] = {}
    for name, (layer, key) in names.items():
        path, _, own = name.rpartition(".")
        recorded = layout.layers.get(path)
        if recorded is None or own not in (recorded.parameters.keys() | recorded.buffers.keys()):
            raise UsageError(f"{name} is not recorded", where="arguments layers and exclude")
        arrays.setdefault(layer, {})[key] = (path, own)
    return ModuleNetwork(network.to_dict(), arrays)


def _modules(model: nn.Module) -> list[tuple[str, str]]:
    """Return what decides what a Sequential computes, besides its weights: its modules with their settings."""
    return [(path, repr(module)) for path, module in model.named_modules(remove_duplicate=False) if not module._modules]
