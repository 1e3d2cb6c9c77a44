"""Estimators with scikit-learn's contract. This package imports scikit-learn, so it is loaded when first used."""

from neuronwise.running.estimators.classifier import NeuralNetworkClassifier
from neuronwise.running.estimators.regressor import NeuralNetworkRegressor

__all__ = ["NeuralNetworkClassifier", "NeuralNetworkRegressor"]
