"""What a network is: neurons, layers, activations, losses. The ground floor; needs NumPy only."""

from neuronwise.network.activations import ACTIVATIONS, Activation, get_activation
from neuronwise.network.initializers import INITIALIZERS, Initializer, get_initializer
from neuronwise.network.layers import (
    LAYERS,
    ActivationLayer,
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Neurons,
    NeuronView,
    Pass,
)
from neuronwise.network.losses import LOSSES, Loss, get_loss
from neuronwise.network.network import Network
from neuronwise.network.neuron import Neuron, NeuronExplanation, Term
from neuronwise.network.randomness import generator
from neuronwise.network.storage import read_json
from neuronwise.network.summary import Summary, SummaryRow
from neuronwise.network.trace import LayerTrace, Trace
from neuronwise.network.workspace import Workspace

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LAYERS",
    "LOSSES",
    "Activation",
    "ActivationLayer",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Flatten",
    "Initializer",
    "Layer",
    "LayerTrace",
    "Loss",
    "Network",
    "Neuron",
    "NeuronExplanation",
    "NeuronView",
    "Neurons",
    "Pass",
    "Summary",
    "SummaryRow",
    "Term",
    "Trace",
    "Workspace",
    "generator",
    "get_activation",
    "get_initializer",
    "get_loss",
    "read_json",
]
