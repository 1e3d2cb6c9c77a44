"""Pictures and explanations made of a network and its recording: pure functions, which train nothing."""

from neuronwise.explaining.ablation import LayerImportance, rank_neurons
from neuronwise.explaining.atlas import Atlas, atlas
from neuronwise.explaining.collapse import Collapsed, collapse
from neuronwise.explaining.deep_patterns import DeepPattern, DeepPatterns, deep_patterns
from neuronwise.explaining.detects import Detection, detects
from neuronwise.explaining.edges import Edges, NeuronEdges, find_edges
from neuronwise.explaining.edges_over_time import EdgesOverTime, edges_over_time
from neuronwise.explaining.feature_importance import FeatureImportance, feature_importance
from neuronwise.explaining.feature_maps import FeatureMaps, feature_maps, fitting_size
from neuronwise.explaining.layer_neurons import LayerNeurons, layer_neurons
from neuronwise.explaining.layer_probe import LayersAdded, what_layers_add
from neuronwise.explaining.layers_together import LayersTogether
from neuronwise.explaining.local_linear import LocalLinear, Pullback, local_linear
from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.neuron_on_input import NeuronOnInput, explain_neuron
from neuronwise.explaining.neuron_over_time import NeuronOverTime, neuron_over_time
from neuronwise.explaining.path import through_neuron
from neuronwise.explaining.pictures import histograms_over_time, png, weight_histograms, weight_images
from neuronwise.explaining.prediction import Baseline, explain_prediction
from neuronwise.explaining.prediction_result import LayerContributions, PredictionExplanation
from neuronwise.explaining.receptive_fields import ReceptiveField, receptive_field
from neuronwise.explaining.result import Block, Explanation, Table
from neuronwise.explaining.slices import Slicing, slicings
from neuronwise.explaining.smallest_change import SmallestChange, smallest_change
from neuronwise.explaining.torch_models import explain_torch_prediction
from neuronwise.explaining.twins import Twin
from neuronwise.explaining.unlearned import what_is_not_learned
from neuronwise.explaining.unlearned_result import Unlearned
from neuronwise.explaining.what_if import LayerMoves, WhatIf, what_if

__all__ = [
    "Atlas",
    "Baseline",
    "Block",
    "Collapsed",
    "DeepPattern",
    "DeepPatterns",
    "Detection",
    "Edges",
    "EdgesOverTime",
    "Explanation",
    "FeatureImportance",
    "FeatureMaps",
    "LayerContributions",
    "LayerImportance",
    "LayerMoves",
    "LayerNeurons",
    "LayersAdded",
    "LayersTogether",
    "LocalLinear",
    "Meaning",
    "NeuronEdges",
    "NeuronOnInput",
    "NeuronOverTime",
    "PredictionExplanation",
    "Pullback",
    "ReceptiveField",
    "Slicing",
    "SmallestChange",
    "Table",
    "Twin",
    "Unlearned",
    "WhatIf",
    "atlas",
    "collapse",
    "deep_patterns",
    "detects",
    "edges_over_time",
    "explain_neuron",
    "explain_prediction",
    "explain_torch_prediction",
    "feature_importance",
    "feature_maps",
    "find_edges",
    "fitting_size",
    "histograms_over_time",
    "layer_neurons",
    "local_linear",
    "neuron_over_time",
    "png",
    "rank_neurons",
    "receptive_field",
    "slicings",
    "smallest_change",
    "through_neuron",
    "weight_histograms",
    "weight_images",
    "what_if",
    "what_is_not_learned",
    "what_layers_add",
]
