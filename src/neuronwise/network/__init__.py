"""What a network is: neurons, layers, activations, losses. The ground floor; needs NumPy only."""

from neuronwise.network.activations import ACTIVATIONS, Activation, get_activation
from neuronwise.network.assembly import layer_names
from neuronwise.network.description import network_schema, read_layers
from neuronwise.network.initializers import INITIALIZERS, Initializer, get_initializer
from neuronwise.network.layers import (
    LAYERS,
    ActivationLayer,
    AveragePool2D,
    BatchNorm,
    Channel,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    Neurons,
    NeuronView,
    Pass,
    PlacedNeuron,
)
from neuronwise.network.losses import LOSSES, Loss, get_loss
from neuronwise.network.network import Network
from neuronwise.network.neuron import Neuron, NeuronExplanation, Term
from neuronwise.network.randomness import generator
from neuronwise.network.storage import read_json
from neuronwise.network.summary import Summary, SummaryRow, summarize_layers
from neuronwise.network.trace import LayerTrace, Trace
from neuronwise.network.workspace import Workspace

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LAYERS",
    "LOSSES",
    "Activation",
    "ActivationLayer",
    "AveragePool2D",
    "BatchNorm",
    "Channel",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Initializer",
    "Layer",
    "LayerTrace",
    "Loss",
    "MaxPool2D",
    "Network",
    "Neuron",
    "NeuronExplanation",
    "NeuronView",
    "Neurons",
    "Pass",
    "PlacedNeuron",
    "Summary",
    "SummaryRow",
    "Term",
    "Trace",
    "Workspace",
    "generator",
    "get_activation",
    "get_initializer",
    "get_loss",
    "layer_names",
    "network_schema",
    "read_json",
    "read_layers",
    "summarize_layers",
]
