"""Pictures and explanations made of a network and its recording: pure functions, which train nothing."""

from neuronwise.explaining.meaning import Meaning
from neuronwise.explaining.pictures import histograms_over_time, png, weight_histograms, weight_images
from neuronwise.explaining.result import Block, Explanation, Table

__all__ = [
    "Block",
    "Explanation",
    "Meaning",
    "Table",
    "histograms_over_time",
    "png",
    "weight_histograms",
    "weight_images",
]
