"""The layers, one module each. To add one, write its `Layer` and `Pass` and put the layer into `LAYERS`."""

from __future__ import annotations

from typing import Final

from neuronwise.network.layers.activation import ActivationLayer
from neuronwise.network.layers.base import Layer, Pass, Shape, UnitNames
from neuronwise.network.layers.batch_norm import BatchNorm
from neuronwise.network.layers.conv2d import Conv2D
from neuronwise.network.layers.dense import Dense, DensePass
from neuronwise.network.layers.dropout import Dropout
from neuronwise.network.layers.flatten import Flatten, FlattenPass
from neuronwise.network.layers.pooling import AveragePool2D, MaxPool2D
from neuronwise.network.layers.views import Channel, Neurons, NeuronView, PlacedNeuron

LAYERS: Final[dict[str, type[Layer]]] = {
    "Dense": Dense,
    "Flatten": Flatten,
    "Conv2D": Conv2D,
    "MaxPool2D": MaxPool2D,
    "AveragePool2D": AveragePool2D,
    "Dropout": Dropout,
    "BatchNorm": BatchNorm,
    "Activation": ActivationLayer,
}
"""Every layer by its type name in files."""

__all__ = [
    "LAYERS",
    "ActivationLayer",
    "AveragePool2D",
    "BatchNorm",
    "Channel",
    "Conv2D",
    "Dense",
    "DensePass",
    "Dropout",
    "Flatten",
    "FlattenPass",
    "Layer",
    "MaxPool2D",
    "NeuronView",
    "Neurons",
    "Pass",
    "PlacedNeuron",
    "Shape",
    "UnitNames",
]
