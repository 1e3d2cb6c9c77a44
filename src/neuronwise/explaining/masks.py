"""Which values of a layer belong to a neuron that is named: one, or all places of a filter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuronwise.explaining.neurons import locate
from neuronwise.network import Network
from neuronwise.network.channels import neuron_axes


def neuron_mask(network: Network, name: str) -> tuple[str, NDArray[np.bool_]]:
    """Return the layer of a neuron, and which of its values, (*output_shape), are the neuron's.

    Args:
        network: The network.
        name: ``"hidden1[7]"``, ``"conv1[7]"`` (all places of the filter) or ``"conv1[7] @ (3, 4)"``.

    Raises:
        NotFoundError: There is no such neuron.
    """
    found = locate(network, name)
    mask = np.zeros(found.layer.output_shape, dtype=bool)
    axis = neuron_axes(network.layers)[found.position]
    places = mask if axis is None else np.moveaxis(mask, axis - 1, 0)[found.index : found.index + 1]
    if found.place is None:
        places[...] = True
    else:
        places[..., found.place[0], found.place[1]] = True
    return found.layer.name, mask
