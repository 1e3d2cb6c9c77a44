"""Pictures and explanations made of a network and its recording: pure functions, which train nothing."""

from neuronwise.explaining.pictures import histograms_over_time, png, weight_histograms, weight_images

__all__ = ["histograms_over_time", "png", "weight_histograms", "weight_images"]
