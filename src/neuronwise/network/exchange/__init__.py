"""Networks of other libraries as ours. The libraries themselves are not imported here."""

from neuronwise.network.exchange.from_sklearn import from_sklearn
from neuronwise.network.exchange.from_torch import from_torch
from neuronwise.network.exchange.to_torch import to_torch

__all__ = ["from_sklearn", "from_torch", "to_torch"]
