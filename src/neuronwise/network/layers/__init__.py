"""The layers, one module each. To add one, write its `Layer` and `Pass` and put the layer into `LAYERS`."""

from __future__ import annotations

from typing import Final

from neuronwise.network.layers.activation import ActivationLayer
from neuronwise.network.layers.base import Layer, Pass, Shape, UnitNames
from neuronwise.network.layers.batch_norm import BatchNorm
from neuronwise.network.layers.dense import Dense, DensePass
from neuronwise.network.layers.dropout import Dropout
from neuronwise.network.layers.flatten import Flatten, FlattenPass
from neuronwise.network.layers.views import Neurons, NeuronView

LAYERS: Final[dict[str, type[Layer]]] = {
    "Dense": Dense,
    "Flatten": Flatten,
    "Dropout": Dropout,
    "BatchNorm": BatchNorm,
    "Activation": ActivationLayer,
}
"""Every layer by its type name in files."""

__all__ = [
    "LAYERS",
    "ActivationLayer",
    "BatchNorm",
    "Dense",
    "DensePass",
    "Dropout",
    "Flatten",
    "FlattenPass",
    "Layer",
    "NeuronView",
    "Neurons",
    "Pass",
    "Shape",
    "UnitNames",
]
