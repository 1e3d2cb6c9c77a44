"""Pictures and explanations made of a network and its recording: pure functions, which train nothing."""

from neuronwise.explaining.detects import Detection, detects
from neuronwise.explaining.layer_neurons import LayerNeurons, layer_neurons
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neuron_on_input import NeuronOnInput, explain_neuron
from neuronwise.explaining.pictures import histograms_over_time, png, weight_histograms, weight_images
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.twins import Twin

__all__ = [
    "Block",
    "Detection",
    "Explanation",
    "LayerNeurons",
    "Meaning",
    "NeuronOnInput",
    "Table",
    "Twin",
    "detects",
    "explain_neuron",
    "histograms_over_time",
    "layer_neurons",
    "png",
    "weight_histograms",
    "weight_images",
]
