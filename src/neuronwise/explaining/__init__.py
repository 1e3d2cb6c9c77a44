"""Pictures and explanations made of a network and its recording: pure functions, which train nothing."""

from neuronwise.explaining.ablation import LayerImportance, rank_neurons
from neuronwise.explaining.atlas import Atlas, atlas
from neuronwise.explaining.collapse import Collapsed, collapse
from neuronwise.explaining.deep_patterns import DeepPattern, DeepPatterns, deep_patterns
from neuronwise.explaining.detects import Detection, detects
from neuronwise.explaining.edges import Edges, NeuronEdges, find_edges
from neuronwise.explaining.edges_over_time import EdgesOverTime, edges_over_time
from neuronwise.explaining.feature_maps import FeatureMaps, feature_maps, fitting_size
from neuronwise.explaining.layer_neurons import LayerNeurons, layer_neurons
from neuronwise.explaining.layer_probe import LayersAdded, what_layers_add
from neuronwise.explaining.layers_together import LayersTogether
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neuron_on_input import NeuronOnInput, explain_neuron
from neuronwise.explaining.neuron_over_time import NeuronOverTime, neuron_over_time
from neuronwise.explaining.pictures import histograms_over_time, png, weight_histograms, weight_images
from neuronwise.explaining.receptive_fields import ReceptiveField, receptive_field
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.slices import Slicing, slicings
from neuronwise.explaining.twins import Twin
from neuronwise.explaining.unlearned import Unlearned, what_is_not_learned

__all__ = [
    "Atlas",
    "Block",
    "Collapsed",
    "DeepPattern",
    "DeepPatterns",
    "Detection",
    "Edges",
    "EdgesOverTime",
    "Explanation",
    "FeatureMaps",
    "LayerImportance",
    "LayerNeurons",
    "LayersAdded",
    "LayersTogether",
    "Meaning",
    "NeuronEdges",
    "NeuronOnInput",
    "NeuronOverTime",
    "ReceptiveField",
    "Slicing",
    "Table",
    "Twin",
    "Unlearned",
    "atlas",
    "collapse",
    "deep_patterns",
    "detects",
    "edges_over_time",
    "explain_neuron",
    "feature_maps",
    "find_edges",
    "fitting_size",
    "histograms_over_time",
    "layer_neurons",
    "neuron_over_time",
    "png",
    "rank_neurons",
    "receptive_field",
    "slicings",
    "weight_histograms",
    "weight_images",
    "what_is_not_learned",
    "what_layers_add",
]
