"""A network of ours out of the arrays of a watched module, which lie and are called otherwise than ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronwise.data.checked import Checked
from neuronwise.errors import FormatError
from neuronwise.network import Network, read_layers
from neuronwise.network.description import network_from_dict
from neuronwise.recording.layout import Layout, Place

# What a module may lack and a network of ours has: a bias is 0, the scale of a normalisation 1.
_CONSTANTS = {"b": 0.0, "beta": 0.0, "gamma": 1.0}


@dataclass(frozen=True)
class ModuleNetwork:
    """What makes a `Network` of a recorded state of a module: what `from_torch` found it to be.

    Attributes:
        description: The network, for `Network.from_dict`.
        arrays: Where each of its arrays is in the recording: by layer and name of the network, the layer and name of
            the recording, ``{"hidden1": {"W": ("0", "weight")}}``. What is not among them is constant: 0, γ is 1.
    """

    description: dict[str, Any]
    arrays: Mapping[str, Mapping[str, tuple[str, str]]]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        arrays = {layer: {key: list(place) for key, place in own.items()} for layer, own in self.arrays.items()}
        return {"description": self.description, "arrays": arrays}

    @classmethod
    def from_dict(cls, content: Any, where: str) -> ModuleNetwork:
        """Return it from JSON values, none of which is trusted.

        Raises:
            FormatError: A value is missing or of another kind.
        """
        checked = Checked(content, where)
        arrays: dict[str, dict[str, tuple[str, str]]] = {}
        for layer, own in Checked(checked.any("arrays"), where).data.items():
            one = Checked(own, where)
            for key in one.data:
                place = one.texts(key, 2)
                if len(place) != 2:
                    raise FormatError(f"{key!r:.100} should be a layer and a name, is {place!r:.100}", where=where)
                arrays.setdefault(str(layer), {})[str(key)] = (place[0], place[1])
        return cls(checked.any("description"), arrays)

    def make(self, layout: Layout, parameters: NDArray[Any], buffers: NDArray[Any], where: str) -> Network:
        """Return the network with the values of a recorded state.

        Args:
            layout: Of the recording.
            parameters: All parameters of the state, (layout.parameter_count,).
            buffers: All buffers, (layout.buffer_count,).
            where: What errors call it.

        Raises:
            FormatError: The description does not go with what is recorded.
        """
        layers = read_layers(self.description, where)
        if self.description.get("dtype", "float32") != str(layout.dtype):
            raise FormatError(f"the network is not of {layout.dtype}, as what is recorded", where=where)
        places: dict[tuple[str, str], tuple[Place, NDArray[Any]]] = {}
        for layer in layers:
            for key, shape in (layer.parameter_shapes() | layer.buffer_shapes()).items():
                of = self.arrays.get(layer.name, {}).get(key)
                if of is None:
                    if key not in _CONSTANTS:
                        raise FormatError(f"{layer.name}.{key} is nowhere in the recording", where=where)
                    continue
                found = layout.layers.get(of[0])
                is_buffer = found is not None and of[1] in found.buffers
                place = None if found is None else (found.buffers if is_buffer else found.parameters).get(of[1])
                if place is None or place.shape != tuple(shape):
                    there = "not there" if place is None else f"of shape {place.shape}"
                    raise FormatError(f"{layer.name}.{key} {tuple(shape)}: {of!r:.200} is {there}", where=where)
                places[layer.name, key] = place, buffers if is_buffer else parameters
        # So that little more memory is taken than the files have bytes: nothing is taken twice, and what is constant is
        # no longer than what its layer must have.
        if len({of for own in self.arrays.values() for of in own.values()}) < len(places):
            raise FormatError("two arrays of the network are one in the recording", where=where)
        network = network_from_dict(
            self.description,
            where=where,
            parameters=np.zeros(sum(layer.parameter_count for layer in layers), layout.dtype),
            buffers=np.zeros(sum(layer.buffer_count for layer in layers), layout.dtype),
        )
        for layer in network.layers:
            for key, own in (layer.parameters | layer.buffers).items():
                at = places.get((layer.name, key))
                own[...] = _CONSTANTS[key] if at is None else at[0].of(at[1])
        return network
